//! Token counts in one normal form, whatever the source calls "input".
//!
//! Vendors disagree on whether the input count includes what a cache served. Here the algebra is decided by the column
//! a decoder fills, and [`complete`] works out the rest:
//!
//! | the vendor's input count | goes to | who |
//! | --- | --- | --- |
//! | leaves the caches out | `input_tokens_uncached` | Bedrock, Anthropic, API Management for Claude |
//! | includes them | `input_tokens` | OpenAI, Azure OpenAI, Gemini, OpenTelemetry |
//!
//! In the normal form `input_tokens = uncached + cache reads + cache writes`, and `output_tokens` includes reasoning;
//! where a vendor counts reasoning apart (Gemini), the decoder adds it with [`sum`].
//!
//! Left out: prices, and counts guessed from text.

use super::json::Value;
use crate::schema::Call;

/// A count at `path`. What is negative is no count and stays in `attributes`.
pub(crate) fn count(value: Value<'_>, path: &str, column: &'static str) -> Option<i64> {
    let found = value.find(path)?;
    let number = found.as_int().filter(|number| *number >= 0)?;
    found.mark(column);
    Some(number)
}

/// Fills a column that is still empty from the first of `paths` that has a count. A count that repeats what the column
/// holds is taken as well; one that contradicts it stays in `attributes`.
pub(crate) fn fill(slot: &mut Option<i64>, value: Value<'_>, paths: &[&str], column: &'static str) {
    for path in paths {
        match *slot {
            None => *slot = count(value, path, column),
            Some(known) => {
                let found = value.find(path);
                if let Some(same) = found.filter(|found| found.as_int() == Some(known)) {
                    same.mark(column);
                }
            }
        }
    }
}

/// Fills what a call took, gave and both together, where a gateway keeps the names that OpenAI gave them.
pub(crate) fn fill_totals(call: &mut Call<'_>, usage: Value<'_>) {
    let (input, output, total) = (
        &mut call.input_tokens,
        &mut call.output_tokens,
        &mut call.total_tokens,
    );
    fill(input, usage, &["prompt_tokens"], "input_tokens");
    fill(output, usage, &["completion_tokens"], "output_tokens");
    fill(total, usage, &["total_tokens"], "total_tokens");
}

/// The sum of what is known; `None` when nothing is, or when it is too large to be a count.
pub(crate) fn sum(counts: &[Option<i64>]) -> Option<i64> {
    let mut known = counts.iter().flatten().peekable();
    known.peek()?;
    known.try_fold(0_i64, |total, count| total.checked_add(*count))
}

/// Works out the columns that follow from those a decoder filled, and says in `tokens_source` where they come from.
/// The last step of a decoder, after every body was read.
///
/// `reported`: the source gave the counts or their parts. `derived`: one of input and output is the total less the
/// other. `absent`: there are none.
pub(crate) fn complete(call: &mut Call<'_>) {
    let caches = sum(&[call.cache_read_input_tokens, call.cache_write_input_tokens]);
    match (call.input_tokens, call.input_tokens_uncached) {
        (None, uncached @ Some(_)) => call.input_tokens = sum(&[uncached, caches]),
        (Some(input), None) => {
            // A cache larger than the whole is a source that left it out of its input after all: say nothing.
            call.input_tokens_uncached =
                Some(input - caches.unwrap_or(0)).filter(|rest| *rest >= 0);
        }
        _ => {}
    }
    let reported = call.input_tokens.is_some() || call.output_tokens.is_some();
    let mut derived = false;
    if let Some(total) = call.total_tokens {
        let rest = |known: i64| Some(total - known).filter(|rest| *rest >= 0);
        match (call.input_tokens, call.output_tokens) {
            (Some(input), None) => {
                call.output_tokens = rest(input);
                derived = call.output_tokens.is_some();
            }
            (None, Some(output)) => {
                call.input_tokens = rest(output);
                derived = call.input_tokens.is_some();
            }
            _ => {}
        }
    } else if call.output_tokens.is_some() && call.input_tokens.is_some()
        || call.operation == Some("embeddings")
    {
        call.total_tokens = sum(&[call.input_tokens, call.output_tokens]);
    }
    if call.tokens_source.is_none() {
        call.tokens_source = Some(match (derived, reported || call.total_tokens.is_some()) {
            (true, _) => "derived",
            (false, true) => "reported",
            (false, false) => "absent",
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::Arena;
    use super::*;

    #[test]
    fn caches_are_added_where_the_vendor_leaves_them_out() {
        let mut call = Call {
            input_tokens_uncached: Some(41),
            cache_read_input_tokens: Some(1200),
            cache_write_input_tokens: Some(7),
            output_tokens: Some(23),
            ..Call::default()
        };
        complete(&mut call);
        assert_eq!(call.input_tokens, Some(1248));
        assert_eq!(call.total_tokens, Some(1271));
        assert_eq!(call.tokens_source, Some("reported"));
    }

    #[test]
    fn caches_are_subtracted_where_the_vendor_includes_them() {
        let mut call = Call {
            input_tokens: Some(120),
            cache_read_input_tokens: Some(64),
            output_tokens: Some(88),
            ..Call::default()
        };
        complete(&mut call);
        assert_eq!(call.input_tokens_uncached, Some(56));
        assert_eq!(call.total_tokens, Some(208));
    }

    #[test]
    fn a_cache_larger_than_the_input_leaves_the_rest_unknown() {
        let mut call = Call {
            input_tokens: Some(26),
            cache_read_input_tokens: Some(48_854),
            ..Call::default()
        };
        complete(&mut call);
        assert_eq!(call.input_tokens_uncached, None);
        assert_eq!(call.total_tokens, None);
    }

    #[test]
    fn the_missing_one_of_three_is_derived() {
        let mut call = Call {
            input_tokens: Some(10),
            total_tokens: Some(35),
            ..Call::default()
        };
        complete(&mut call);
        assert_eq!(call.output_tokens, Some(25));
        assert_eq!(call.tokens_source, Some("derived"));
    }

    #[test]
    fn nothing_is_absent_and_not_zero() {
        let mut call = Call::default();
        complete(&mut call);
        assert_eq!(call.input_tokens, None);
        assert_eq!(call.tokens_source, Some("absent"));
    }

    #[test]
    fn sums_that_overflow_are_no_count() {
        assert_eq!(sum(&[Some(i64::MAX), Some(1)]), None);
        assert_eq!(sum(&[None, Some(2)]), Some(2));
        assert_eq!(sum(&[None, None]), None);
    }

    #[test]
    fn a_count_that_contradicts_stays_left_over() {
        let arena = Arena::new();
        let value = arena
            .parse(br#"{"same":5,"other":6,"negative":-1}"#)
            .unwrap();
        let mut slot = Some(5);
        fill(
            &mut slot,
            value,
            &["same", "other", "negative"],
            "output_tokens",
        );
        assert_eq!(slot, Some(5));
        assert_eq!(value.leftover(), Some(r#"{"other":6,"negative":-1}"#));
        assert_eq!(count(value, "negative", "output_tokens"), None);
    }
}

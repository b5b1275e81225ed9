//! For which time, step and subject a panel is asked.

use datafusion::prelude::SessionContext;
use serde_json::Value;

use crate::catalog::{Panel, Span, Values};
use crate::detect::rows;
use crate::error::{Error, Result};

/// The steps there are: each divides the next but for a few, and an hour or a day is whole in all of them.
const STEPS: [Span; 12] = [
    Span(10_000_000),
    Span(30_000_000),
    Span::minutes(1),
    Span::minutes(5),
    Span::minutes(10),
    Span::minutes(15),
    Span::minutes(30),
    Span::hours(1),
    Span::hours(3),
    Span::hours(6),
    Span::hours(12),
    Span::hours(24),
];
/// About as many steps as a chart has room for.
const MOST_STEPS: i64 = 120;
/// More than this is asked for by mistake.
const LONGEST: Span = Span::hours(24 * 366 * 5);

/// A question to a board: a range of time, and whose calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// First instant, in microseconds.
    pub from: i64,
    /// Instant after the last.
    pub to: i64,
    /// Only this caller.
    pub caller: Option<String>,
    /// Only this model.
    pub model: Option<String>,
}

impl Asked {
    /// A range that is one.
    ///
    /// # Errors
    /// When it is empty or longer than any log.
    pub fn new(from: i64, to: i64) -> Result<Asked> {
        let wrong = |message: &str| {
            Err(Error::Usage {
                message: message.into(),
                hint: Some("`from` comes before `to`: `2026-03-02T00:00:00Z`".into()),
            })
        };
        match to.checked_sub(from) {
            Some(1..) if to - from <= LONGEST.0 => Ok(Asked {
                from,
                to,
                caller: None,
                model: None,
            }),
            Some(1..) => wrong("the range is longer than five years"),
            _ => wrong("the range is empty"),
        }
    }

    /// What a panel's query is filled with. The range begins with a whole step, so that the first is no half.
    pub fn values(&self, panel: &Panel) -> Values {
        let bucket = bucket_of(self.to - self.from, panel.bucket);
        let from = match panel.chart.is_over_time() {
            true => self.from.div_euclid(bucket.0) * bucket.0,
            false => self.from,
        };
        Values {
            from,
            to: self.to,
            bucket,
            caller: self.caller.clone(),
            model: self.model.clone(),
            series: None,
        }
    }
}

/// The step for a range: the shortest that a chart has room for, and none shorter than makes sense.
pub fn bucket_of(range: i64, shortest: Option<Span>) -> Span {
    let shortest = shortest.unwrap_or_default();
    let fits = |step: &&Span| step.0 * MOST_STEPS >= range && **step >= shortest;
    match STEPS.iter().find(fits) {
        Some(step) => *step,
        // Whole days.
        None => {
            let day = STEPS[STEPS.len() - 1].0;
            let days = (range / MOST_STEPS / day + 1).max((shortest.0 + day - 1) / day);
            Span(days * day)
        }
    }
}

/// First and last event of the calls and management operations of a session; `None` when there is none.
///
/// # Errors
/// When they cannot be read.
pub async fn extent(context: &SessionContext) -> Result<Option<(i64, i64)>> {
    let mut whole: Option<(i64, i64)> = None;
    for table in ["calls", "audit"] {
        if !context.table_exist(table)? {
            continue;
        }
        let journal = match table {
            // What the store tells of itself is no log.
            "audit" => format!(" WHERE source_format <> '{}'", crate::store::JOURNAL),
            _ => String::new(),
        };
        let sql = format!(
            "SELECT CAST(min(event_time) AS BIGINT) AS first, CAST(max(event_time) AS BIGINT) AS last FROM {table}{journal}"
        );
        let row = rows(context, &sql).await?.pop().unwrap_or_default();
        let number = |name: &str| row.get(name).and_then(Value::as_i64);
        if let (Some(first), Some(last)) = (number("first"), number("last")) {
            let (a, b) = whole.unwrap_or((first, last));
            whole = Some((a.min(first), b.max(last)));
        }
    }
    Ok(whole)
}

/// A time as a person writes it: a date, a date with a time, or a length of time before `end`, as `24h`.
///
/// # Errors
/// When it is none.
pub fn moment(text: &str, end: i64) -> Result<i64, String> {
    let text = text.trim();
    if let Ok(span) = text.trim_start_matches('-').parse::<Span>() {
        return Ok(end - span.0);
    }
    crate::ingest::time::parse(text)
        .map(|time| time.micros.0)
        .ok_or_else(|| {
            format!("`{text}` is no time; write `2026-03-02T00:00:00Z`, or `24h` for a day before")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_fit_the_range_and_are_not_too_short() {
        for (range, shortest, step) in [
            (Span::hours(1), None, Span(30_000_000)),
            (Span::hours(24), None, Span::minutes(15)),
            (Span::hours(24), Some(Span::hours(1)), Span::hours(1)),
            (Span::hours(24 * 7), None, Span::hours(3)),
            (Span::hours(24 * 120), None, Span::hours(24)),
            (Span::hours(24 * 365), None, Span::hours(24 * 4)),
            (Span::minutes(1), Some(Span::minutes(10)), Span::minutes(10)),
        ] {
            assert_eq!(bucket_of(range.0, shortest), step, "{range}");
        }
    }

    #[test]
    fn times_are_dates_or_lengths_before_an_end() {
        let end = 1_772_496_000_000_000;
        assert_eq!(moment("24h", end), Ok(1_772_409_600_000_000));
        assert_eq!(moment("-1h", end), Ok(end - Span::hours(1).0));
        assert_eq!(moment("2026-03-03T00:00:00Z", 0), Ok(end));
        assert!(moment("yesterday", end).is_err());
        assert!(Asked::new(end, end).is_err());
        assert!(Asked::new(0, end * 2).is_err());
    }
}

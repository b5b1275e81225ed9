//! Runs rules over a range of windows: which instants, over which rows, and what came of it.
//!
//! Nothing here knows the clock: the range is given or follows from what is stored. What is stored is decided by a
//! [`FindingSink`].

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;

use super::episode::{Episode, episodes};
use super::evaluate::{Evaluated, Prepared, Window};
use super::json;
use super::record::{FindingSink, Order, Record, record};
use super::source::{Needs, extent};
use crate::catalog::{ParamValue, RuleFile, State};
use crate::error::Result;

/// Which windows, by the instant at which they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// After the last stored one, up to the last event.
    SinceLast,
    /// The one that ends at the last instant not after this time.
    At(i64),
    /// Those that end after the first time, and not after the second; the first and last event where not given.
    Between(Option<i64>, Option<i64>),
}

/// How to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Which windows.
    pub range: Range,
    /// Parameters that differ from their defaults: rule, name, value.
    pub params: Vec<(String, String, ParamValue)>,
    /// Bytes that one rule may hold in memory.
    pub memory: u64,
    /// Rules to evaluate at a time.
    pub threads: usize,
    /// When the run began, in microseconds since the epoch; only written down.
    pub evaluated_at: i64,
}

/// What came of one rule.
#[derive(Debug, Clone)]
pub struct RuleOutcome<'a> {
    /// The rule.
    pub file: &'a RuleFile,
    /// Windows by how they ended.
    pub states: BTreeMap<&'static str, usize>,
    /// First reason that was given for a state that is neither fired nor clear.
    pub detail: Option<String>,
    /// What was found, one entry an episode.
    pub episodes: Vec<Episode>,
    /// How long it took.
    pub elapsed: Duration,
    record: Option<Record>,
}

impl RuleOutcome<'_> {
    /// Windows evaluated.
    pub fn windows(&self) -> usize {
        self.states.values().sum()
    }
}

/// Evaluates rules, several at a time, and stores what came of it in one commit. Outcomes come in the order of the
/// rules.
///
/// # Errors
/// When the store cannot be read or written. A rule that fails is an outcome in state `error`.
pub fn run<'a>(
    runtime: &tokio::runtime::Handle,
    store: &SessionContext,
    rules: &[&'a RuleFile],
    options: &RunOptions,
    sink: Option<&mut dyn FindingSink>,
) -> Result<Vec<RuleOutcome<'a>>> {
    let next = Mutex::new(rules.iter().enumerate());
    let outcomes = Mutex::new(Vec::with_capacity(rules.len()));
    std::thread::scope(|scope| {
        let work = || {
            // The guard must not live while a rule runs.
            let take = || {
                next.lock()
                    .expect("no thread panics while it holds this")
                    .next()
            };
            while let Some((index, file)) = take() {
                let outcome = runtime.block_on(run_rule(store, file, options));
                outcomes
                    .lock()
                    .expect("no thread panics while it holds this")
                    .push((index, outcome));
            }
        };
        for _ in 0..options.threads.clamp(1, rules.len().max(1)) {
            scope.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no thread panicked");
    outcomes.sort_by_key(|(index, _)| *index);
    let mut outcomes = outcomes
        .into_iter()
        .map(|(_, outcome)| outcome)
        .collect::<Result<Vec<_>>>()?;
    let records: Vec<Record> = outcomes
        .iter_mut()
        .filter_map(|outcome| outcome.record.take())
        .collect();
    if let Some(sink) = sink
        && !records.is_empty()
    {
        sink.commit(records)?;
    }
    Ok(outcomes)
}

async fn run_rule<'a>(
    store: &SessionContext,
    file: &'a RuleFile,
    options: &RunOptions,
) -> Result<RuleOutcome<'a>> {
    let started = Instant::now();
    let extent = extent(store, file).await?;
    let last_event = extent.map(|(_, last)| last);
    let stored = stored(store, file).await?;
    let ends = instants(file, options.range, extent, stored.iter().max().copied());
    let overrides: Vec<_> = options
        .params
        .iter()
        .filter(|(rule, ..)| *rule == file.rule.id)
        .map(|(_, name, value)| (name.clone(), value.clone()))
        .collect();
    let mut evaluated = Vec::with_capacity(ends.len());
    let mut params = serde_json::Value::Null;
    match Prepared::new(store, file, &overrides, last_event).await {
        Ok(prepared) => {
            params = prepared.params_json();
            let needs = Needs::of(store, &prepared)?;
            evaluate(
                store,
                &prepared,
                &needs,
                &overrides,
                last_event,
                &ends,
                options.memory,
                &mut evaluated,
            )
            .await?;
        }
        Err(error) => {
            let failed = |end: &i64| Evaluated {
                window: Window {
                    start: end - file.rule.window.0,
                    end: *end,
                },
                state: State::Error,
                found: Vec::new(),
                detail: Some(format!("{error:#}")),
                elapsed: Duration::ZERO,
            };
            evaluated.extend(ends.iter().map(failed));
        }
    }
    let mut states = BTreeMap::new();
    for evaluation in &evaluated {
        *states.entry(evaluation.state.name()).or_default() += 1;
    }
    let detail = evaluated
        .iter()
        .find(|e| !matches!(e.state, State::Fired | State::Clear))
        .and_then(|e| e.detail.clone());
    let episodes = episodes(&file.rule, &evaluated);
    // A failed window is not an evaluation: it must be tried again, so nothing is stored from the first one on.
    let sound = evaluated
        .iter()
        .position(|e| e.state == State::Error)
        .unwrap_or(evaluated.len());
    let new: Vec<Evaluated> = evaluated
        .drain(..sound)
        .filter(|e| !stored.contains(&e.window.end))
        .collect();
    let order = match (new.first(), stored.iter().max()) {
        (Some(first), Some(last)) if first.window.end < *last => Order::Backfill,
        _ => Order::Forward,
    };
    let record =
        (!new.is_empty()).then(|| record(&file.rule, &new, &params, options.evaluated_at, order));
    Ok(RuleOutcome {
        file,
        states,
        detail,
        episodes,
        elapsed: started.elapsed(),
        record,
    })
}

/// Evaluates instants in order: from memory when their rows fit, else half by half, at last from the store.
#[expect(
    clippy::too_many_arguments,
    reason = "a recursion over one of them; a struct would only rename the rest"
)]
async fn evaluate(
    store: &SessionContext,
    prepared: &Prepared<'_>,
    needs: &Needs,
    overrides: &[(String, ParamValue)],
    last_event: Option<i64>,
    ends: &[i64],
    memory: u64,
    evaluated: &mut Vec<Evaluated>,
) -> Result<()> {
    let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
        return Ok(());
    };
    let rule = &prepared.file.rule;
    let reach = rule.window.0 + rule.baseline.map_or(0, |baseline| baseline.0);
    let range = Window {
        start: first - reach,
        end: *last,
    };
    if let Some(context) = needs.load(store, range, memory).await? {
        let prepared = Prepared::new(&context, prepared.file, overrides, last_event).await?;
        for end in ends {
            evaluated.push(prepared.evaluate(*end).await);
        }
        return Ok(());
    }
    // Halves read their reach twice: worth it only while that is the smaller part.
    if last - first > reach {
        let (early, late) = ends.split_at(ends.len() / 2);
        Box::pin(evaluate(
            store, prepared, needs, overrides, last_event, early, memory, evaluated,
        ))
        .await?;
        return Box::pin(evaluate(
            store, prepared, needs, overrides, last_event, late, memory, evaluated,
        ))
        .await;
    }
    for end in ends {
        evaluated.push(prepared.evaluate(*end).await);
    }
    Ok(())
}

/// The instants of a range: multiples of `every` since the epoch, so that any two machines agree.
pub fn instants(
    file: &RuleFile,
    range: Range,
    extent: Option<(i64, i64)>,
    stored: Option<i64>,
) -> Vec<i64> {
    let every = file.rule.every.0;
    let floor = |time: i64| time.div_euclid(every) * every;
    let (after, until) = match (range, extent) {
        (Range::At(time), _) => return vec![floor(time)],
        (Range::Between(Some(from), Some(to)), _) => (from, to),
        (_, None) => return Vec::new(),
        (Range::Between(from, to), Some((first, last))) => {
            (from.unwrap_or(first), to.unwrap_or(last))
        }
        // A window is closed once an event at or after its end was seen.
        (Range::SinceLast, Some((first, last))) => (stored.unwrap_or(first), last),
    };
    let count = (floor(until) - floor(after)).max(0) / every;
    (1..=count).map(|n| floor(after) + n * every).collect()
}

/// Ends of the windows of this rule and version that are stored.
async fn stored(store: &SessionContext, file: &RuleFile) -> Result<HashSet<i64>> {
    let rule = &file.rule;
    let sql = format!(
        "SELECT DISTINCT window_end FROM evaluations WHERE rule_id = '{}' AND rule_version = {}",
        rule.id, rule.version
    );
    let batches = store.sql(&sql).await?.collect().await?;
    let mut ends = HashSet::new();
    for batch in &batches {
        for index in 0..batch.num_rows() {
            let row = json::row(batch, index)?;
            let end = row["window_end"]
                .as_str()
                .and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
            ends.extend(end.map(|end| end.timestamp_micros()));
        }
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Pack;

    const MINUTE: i64 = 60_000_000;

    fn ends(range: Range, extent: Option<(i64, i64)>, stored: Option<i64>) -> Vec<i64> {
        let pack = Pack::embedded();
        let file = pack.rule("token-burn").expect("ships");
        instants(file, range, extent, stored)
            .into_iter()
            .map(|end| end / MINUTE)
            .collect()
    }

    #[test]
    fn instants_are_multiples_of_every_whatever_the_range() {
        let extent = Some((61 * MINUTE, 83 * MINUTE));
        assert_eq!(ends(Range::SinceLast, extent, None), [65, 70, 75, 80]);
        assert_eq!(ends(Range::SinceLast, extent, Some(75 * MINUTE)), [80]);
        assert_eq!(ends(Range::SinceLast, extent, Some(80 * MINUTE)), [0; 0]);
        assert_eq!(ends(Range::At(79 * MINUTE), extent, None), [75]);
        assert_eq!(
            ends(
                Range::Between(Some(70 * MINUTE), Some(80 * MINUTE)),
                extent,
                None
            ),
            [75, 80]
        );
        assert_eq!(ends(Range::SinceLast, None, None), [0; 0]);
    }

    #[test]
    fn adjacent_ranges_share_no_instant_and_miss_none() {
        let whole = ends(Range::Between(Some(0), Some(600 * MINUTE)), None, None);
        let mut parts = ends(Range::Between(Some(0), Some(303 * MINUTE)), None, None);
        parts.extend(ends(
            Range::Between(Some(303 * MINUTE), Some(600 * MINUTE)),
            None,
            None,
        ));
        assert_eq!(parts, whole);
    }
}

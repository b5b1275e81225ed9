//! A rule's life with a store: commits, runs after each, and rows that come late.
//!
//! What a test gives happens twice, far enough apart to be two findings. Of the first, the last row comes when its windows
//! have long closed; of the second, a little late. What is stored after that must be what one backtest finds.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::prelude::SessionContext;
use tokio::runtime::Handle;

use super::rows::Rows;
use super::trial::Trial;
use crate::catalog::{Property, Rule, RuleFile, Span};
use crate::detect::episode::Episode;
use crate::detect::evaluate::first_table;
use crate::detect::findings::{Change, Event, alike};
use crate::detect::json::time_text;
use crate::detect::run::{Range, RuleOutcome, RunOptions, context_of, run};
use crate::detect::stored;
use crate::error::{Error, Result};
use crate::store::{Store, WriteOptions};

/// What came of it.
#[derive(Debug)]
pub(super) struct Life {
    late: Option<String>,
    revised: Option<String>,
    one_pass: Option<String>,
}

impl Life {
    /// Why a property does not hold.
    pub(super) fn failure(&self, property: Property) -> Option<String> {
        match property {
            Property::Late => self.late.clone(),
            Property::Revised => self.revised.clone(),
            _ => self.one_pass.clone(),
        }
    }
}

/// How long after its time a row is expected here.
const LATENESS: Span = Span::minutes(15);

/// Lives through it.
///
/// # Errors
/// When the store cannot be written or read.
pub(super) fn live(runtime: &Handle, file: &RuleFile, trial: &Trial<'_>) -> Result<Life> {
    let rule = &file.rule;
    let folder = tempfile::tempdir().map_err(Error::io("make a folder in", "."))?;
    let store = Store::open_or_create(folder.path())?;
    let every = rule.every.0;
    let apart = 4 * rule.window.0 + rule.quiet.0.max(2 * rule.window.0) + 2 * LATENESS.0;
    let apart = (apart + every - 1).div_euclid(every) * every;
    let (first, second) = (trial.case.at, trial.case.at + apart);
    let again = again(&trial.rows, apart)?;
    let [early, first_late] = without_last(rule, &trial.rows, first)?;
    let [early_again, second_late] = without_last(rule, &again, second)?;

    // A run begins with the first event, and the backtest must as well.
    let oldest = first_table(rule).map(|table| early.times(table));
    let oldest = oldest.and_then(|times| times.into_iter().min());
    let begin = (first - rule.window.0 - every).max(oldest.unwrap_or(second));
    let until = second + rule.window.0;
    let options = RunOptions {
        threads: 1,
        begin: Some(begin),
        lateness: LATENESS,
        late_horizon: Span(2 * (until - begin)),
        params: trial
            .params()
            .into_iter()
            .map(|(name, value)| (rule.id.clone(), name, value))
            .collect(),
        ..RunOptions::default()
    };
    let run_with = |options: RunOptions| -> Result<RuleOutcome<'_>> {
        let mut outcomes = run(runtime, &store, &[file], &options)?;
        Ok(outcomes.remove(0))
    };
    commit(&store, &[&early.shuffled(3)?, &early_again.shuffled(4)?])?;
    run_with(options.clone())?;
    commit(&store, &[&first_late, &second_late])?;
    let closing = RunOptions {
        is_complete: true,
        closed_until: Some(until),
        ..options
    };
    let last = run_with(closing.clone())?;
    let backtest = run_with(RunOptions {
        range: Range::Between(Some(begin), Some(until)),
        dry_run: true,
        ..closing
    })?;

    let context = runtime.block_on(context_of(&store))?;
    let (states, kept) = runtime.block_on(kept(&context, rule, (begin, until)))?;
    // Where other tables of the test go on for longer, its last row is late by more than that.
    let ends = |rows: &Rows| {
        let tables = rows.tables.keys();
        tables.flat_map(|table| rows.times(*table)).max()
    };
    let is_in_time = ends(&early_again) < ends(&second_late).map(|end| end + LATENESS.0);
    let is_first = |episode: &Episode| episode.first_window.start < first + rule.window.0;
    let (told, told_again): (Vec<&Episode>, Vec<&Episode>) =
        kept.iter().partition(|episode| is_first(episode));
    let (real, real_again): (Vec<&Episode>, Vec<&Episode>) = backtest
        .episodes
        .iter()
        .partition(|episode| is_first(episode));
    let of = |wanted: bool| {
        let changes = last.changes.iter();
        changes.filter(move |change| is_first(&change.finding.episode) == wanted)
    };
    Ok(Life {
        late: unlike(&told_again, &real_again).or_else(|| {
            unexplained(
                of(false).filter(|_| is_in_time),
                &[Event::Opened, Event::Updated, Event::Resolved],
            )
        }),
        revised: unlike(&told, &real).or_else(|| {
            let events = [
                Event::Opened,
                Event::Revised,
                Event::Retracted,
                Event::Resolved,
            ];
            unexplained(of(true), &events)
        }),
        one_pass: (states != backtest.states)
            .then(|| format!("windows: {states:?}, were {:?}", backtest.states)),
    })
}

/// The same rows later, as other events.
fn again(rows: &Rows, by: i64) -> Result<Rows> {
    rows.later(by)?.each_column(|name, column| {
        if name != "event_id" {
            return Ok(Arc::clone(column));
        }
        let ids = column.as_string::<i32>().iter();
        let ids = ids.map(|id| id.map(|id| format!("{id}-again")));
        Ok(Arc::new(ids.collect::<StringArray>()) as ArrayRef)
    })
}

/// The rows but for the last of the rule's first table by an instant, and that one.
fn without_last(rule: &Rule, rows: &Rows, at: i64) -> Result<[Rows; 2]> {
    let Some(table) = first_table(rule) else {
        return rows.split(crate::schema::Table::Calls, |_| false);
    };
    let times = rows.times(table).into_iter().enumerate();
    let last = times
        .filter(|(_, time)| *time < at)
        .max_by_key(|(_, time)| *time);
    let last = last.map(|(place, _)| place);
    let [late, early] = rows.split(table, |place| Some(place) == last)?;
    Ok([early, late])
}

pub(super) fn commit(store: &Store, parts: &[&Rows]) -> Result<()> {
    let mut writer = store.writer(WriteOptions::default())?;
    for rows in parts {
        for (table, batch) in &rows.tables {
            if batch.num_rows() > 0 {
                writer.write(*table, RecordBatch::clone(batch))?;
            }
        }
    }
    writer.commit(&[])?;
    Ok(())
}

/// Windows by how they ended, and the findings that stand.
async fn kept(
    context: &SessionContext,
    rule: &Rule,
    (begin, until): (i64, i64),
) -> Result<(BTreeMap<&'static str, usize>, Vec<Episode>)> {
    let mut states: BTreeMap<&'static str, usize> = BTreeMap::new();
    for window in stored::windows(context, rule, (begin, until))
        .await?
        .values()
    {
        *states.entry(window.state.name()).or_default() += 1;
    }
    let findings = stored::findings(context, rule, begin).await?;
    let findings = findings.into_iter().filter(|finding| !finding.is_retracted);
    Ok((states, findings.map(|finding| finding.episode).collect()))
}

fn describe(episode: &Episode) -> String {
    format!(
        "{} from {} to {}, {} windows",
        serde_json::Value::Object(episode.evidence.clone()),
        time_text(episode.first_window.end),
        time_text(episode.last_window.end),
        episode.windows
    )
}

/// What differs between findings that are stored and those of the backtest.
fn unlike(told: &[&Episode], real: &[&Episode]) -> Option<String> {
    let only = |these: &[&Episode], those: &[&Episode], sign: char| -> Vec<String> {
        let same = |a: &Episode, b: &Episode| a.entity == b.entity && alike(a, b);
        these
            .iter()
            .filter(|episode| !those.iter().any(|other| same(episode, other)))
            .map(|episode| format!("  {sign} {}", describe(episode)))
            .collect()
    };
    let mut lines = only(real, told, '-');
    lines.extend(only(told, real, '+'));
    if lines.is_empty() && told.len() == real.len() {
        return None;
    }
    Some(format!(
        "{} findings stored, {} in one backtest\n{}",
        told.len(),
        real.len(),
        lines.join("\n")
    ))
}

/// The first change whose event is none of those that can explain it.
fn unexplained<'c>(
    mut changes: impl Iterator<Item = &'c Change>,
    events: &[Event],
) -> Option<String> {
    let odd = changes.find(|change| !events.contains(&change.event))?;
    Some(format!(
        "told as `{}`: {}",
        odd.event.name(),
        describe(&odd.finding.episode)
    ))
}

//! Findings of rules as signals for correlations: one row for each time that a firing window of a finding tells of.
//!
//! A window tells of the times of its first and of its last event, and of its own end where the rule returns neither.
//! So what is correlated are times of events, and neither when a rule ran nor how its windows lie. A window that fired
//! without being part of a finding, as one that did not hold for long enough, is no signal.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::prelude::SessionContext;
use serde_json::Value;

use super::evaluate::{Evaluated, Found, Window};
use super::findings::{Change, Finding, same_rows};
use super::slice::SortedTable;
use super::stored::{self, Progress, StoredWindow};
use crate::catalog::{Correlation, Dedup, LinkedSignal, Rule, State};
use crate::error::Result;

/// What rules of a run came to, which is not stored yet.
#[derive(Debug, Default)]
pub(super) struct Fresh(HashMap<String, Left>);

/// What one rule came to.
#[derive(Debug, Clone)]
pub(super) struct Left {
    /// The windows that it evaluated, in the order of time.
    pub(super) evaluated: Vec<Evaluated>,
    /// What happened to its findings.
    pub(super) changes: Vec<Change>,
    /// How far it has come.
    pub(super) progress: Progress,
    /// End of the last window that no row is expected for any more.
    pub(super) closed: i64,
}

impl Fresh {
    /// Adds a rule.
    pub(super) fn add(&mut self, rule: &Rule, left: Left) {
        self.0.insert(rule.id.clone(), left);
    }

    /// What a rule came to in this run.
    pub(super) fn of(&self, rule: &Rule) -> Option<&Left> {
        self.0.get(&rule.id)
    }
}

/// Windows and findings of one rule, stored and fresh.
#[derive(Debug)]
pub(super) struct Heard<'s> {
    signal: &'s LinkedSignal,
    windows: BTreeMap<i64, StoredWindow>,
    /// By their entities.
    findings: HashMap<String, Vec<Finding>>,
}

impl<'s> Heard<'s> {
    /// The windows of a rule that may hold an event of a range of time, and those that say whether it was covered.
    pub(super) async fn load(
        context: &SessionContext,
        signal: &'s LinkedSignal,
        fresh: Option<&Left>,
        range: Window,
    ) -> Result<Heard<'s>> {
        let rule = &signal.rule;
        let ends = (range.start - rule.every.0, range.end + rule.window.0);
        let mut windows = stored::windows(context, rule, ends).await?;
        let fresh_windows = fresh.iter().flat_map(|left| &left.evaluated);
        for evaluated in fresh_windows {
            if (ends.0..=ends.1).contains(&evaluated.window.end) {
                windows.insert(evaluated.window.end, StoredWindow::of(evaluated));
            }
        }
        let mut by_entity: HashMap<String, Vec<Finding>> = HashMap::new();
        for finding in findings(context, rule, fresh, ends.0).await? {
            let entity = Value::Object(finding.episode.entity.clone()).to_string();
            by_entity.entry(entity).or_default().push(finding);
        }
        Ok(Heard {
            signal,
            windows,
            findings: by_entity,
        })
    }

    /// The rule.
    pub(super) fn signal(&self) -> &'s LinkedSignal {
        self.signal
    }

    /// Whether its data could have shown something in its last window that ends by an instant.
    pub(super) fn is_covered_at(&self, end: i64) -> bool {
        let every = self.signal.rule.every.0;
        let window = self.windows.get(&(end.div_euclid(every) * every));
        window.is_some_and(|window| is_covered(window.state))
    }

    /// The rows that it has in a range of time.
    fn points(&self, range: Window, points: &mut Vec<Point>) {
        let rule = &self.signal.rule;
        for window in self.windows.values() {
            for found in &window.found {
                let Some(finding) = self.finding(window.window, found) else {
                    continue;
                };
                for by in subjects(&self.signal.columns, found) {
                    let times = times(window.window, found);
                    let within = |time: &i64| (range.start..range.end).contains(time);
                    points.extend(times.into_iter().filter(within).map(|time| Point {
                        time,
                        signal: self.signal.alias.clone(),
                        rule_id: rule.id.clone(),
                        finding_id: finding.id.clone(),
                        severity: found.severity.name(),
                        technique: rule.atlas.first().cloned(),
                        score: found.score,
                        risk: rule.risk.as_ref().map(|risk| risk.score),
                        event_count: found.event_count,
                        window_end: window.window.end,
                        by: by.clone(),
                    }));
                }
            }
        }
    }

    /// The finding that a row of a window belongs to.
    fn finding(&self, window: Window, found: &Found) -> Option<&Finding> {
        let dedup = self.signal.rule.dedup;
        let entity = Value::Object(found.entity.clone()).to_string();
        self.findings.get(&entity)?.iter().find(|finding| {
            let episode = &finding.episode;
            !finding.is_retracted
                && finding.excepted.is_none()
                && (episode.first_window.end..=episode.last_window.end).contains(&window.end)
                && (dedup != Dedup::Row || same_rows(&episode.evidence, &found.columns))
        })
    }
}

/// The findings of a rule as they stand whose last window ends at an instant or later.
pub(super) async fn findings(
    context: &SessionContext,
    rule: &Rule,
    fresh: Option<&Left>,
    from: i64,
) -> Result<Vec<Finding>> {
    let mut findings: BTreeMap<String, Finding> = BTreeMap::new();
    let stored = stored::findings(context, rule, from).await?;
    let changed = fresh.iter().flat_map(|left| &left.changes);
    let changed = changed.map(|change| change.finding.clone());
    for finding in stored.into_iter().chain(changed) {
        findings.insert(finding.id.clone(), finding);
    }
    Ok(findings.into_values().collect())
}

/// Whether a window in that state says that there was something, or that there was nothing.
pub(super) fn is_covered(state: State) -> bool {
    matches!(state, State::Fired | State::Clear)
}

/// The times that a row of a window tells of.
pub(super) fn times(window: Window, found: &Found) -> Vec<i64> {
    let last = window.end - 1;
    let inside = |time: i64| time.clamp(window.start, last);
    match (found.first_seen, found.last_seen) {
        (None, None) => vec![last],
        (Some(time), None) | (None, Some(time)) => vec![inside(time)],
        (Some(first), Some(second)) if inside(first) == inside(second) => vec![inside(first)],
        (Some(first), Some(second)) => vec![inside(first), inside(second)],
    }
}

/// What a row is about: the texts of its columns. A list stands for each of its values; a row without a value is about
/// nobody.
fn subjects(columns: &[String], found: &Found) -> Vec<Vec<String>> {
    let mut subjects = vec![Vec::new()];
    for column in columns {
        let values = found.columns.get(column).map(texts).unwrap_or_default();
        subjects = subjects
            .iter()
            .flat_map(|subject| {
                values.iter().map(move |value| {
                    let mut longer = subject.clone();
                    longer.push(value.clone());
                    longer
                })
            })
            .collect();
    }
    subjects
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        other => vec![other.to_string()],
    }
}

/// A row of the table `signals`.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    time: i64,
    signal: String,
    rule_id: String,
    finding_id: String,
    severity: &'static str,
    technique: Option<String>,
    score: Option<f64>,
    risk: Option<f64>,
    event_count: Option<i64>,
    window_end: i64,
    by: Vec<String>,
}

/// The table that a correlation reads, for a range of time.
pub(super) fn table(
    correlation: &Correlation,
    heard: &[Heard<'_>],
    range: Window,
) -> Result<SortedTable> {
    let mut points = Vec::new();
    for heard in heard {
        heard.points(range, &mut points);
    }
    let schema = correlation.schema();
    let text = |of: &dyn Fn(&Point) -> Option<String>| -> ArrayRef {
        Arc::new(points.iter().map(of).collect::<StringArray>())
    };
    let time = |of: &dyn Fn(&Point) -> i64| -> ArrayRef {
        let times: TimestampMicrosecondArray = points.iter().map(|point| Some(of(point))).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let number = |of: &dyn Fn(&Point) -> Option<f64>| -> ArrayRef {
        Arc::new(points.iter().map(of).collect::<Float64Array>())
    };
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(match field.name().as_str() {
            "event_time" => time(&|point| point.time),
            "window_end" => time(&|point| point.window_end),
            "signal" => text(&|point| Some(point.signal.clone())),
            "rule_id" => text(&|point| Some(point.rule_id.clone())),
            "finding_id" => text(&|point| Some(point.finding_id.clone())),
            "severity" => text(&|point| Some(point.severity.to_string())),
            "technique" => text(&|point| point.technique.clone()),
            "score" => number(&|point| point.score),
            "risk" => number(&|point| point.risk),
            "event_count" => Arc::new(
                points
                    .iter()
                    .map(|point| point.event_count)
                    .collect::<Int64Array>(),
            ),
            by => {
                let place = correlation.by.iter().position(|column| column == by);
                let place = place.unwrap_or_default();
                text(&|point| point.by.get(place).cloned())
            }
        });
    }
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    SortedTable::new(schema, &[batch], "event_time")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Severity;
    use serde_json::{Map, json};

    fn found(columns: Value, first: Option<i64>, last: Option<i64>) -> Found {
        Found {
            entity: Map::new(),
            title: String::new(),
            severity: Severity::Low,
            has_severity: false,
            event_count: None,
            first_seen: first,
            last_seen: last,
            score: None,
            columns: columns.as_object().cloned().unwrap_or_default(),
        }
    }

    #[test]
    fn a_window_tells_of_its_first_and_last_event() {
        let window = Window { start: 10, end: 20 };
        let of = |first, last| times(window, &found(Value::Null, first, last));
        assert_eq!(of(Some(12), Some(15)), [12, 15]);
        assert_eq!(of(Some(12), Some(12)), [12]);
        assert_eq!(of(None, Some(15)), [15]);
        assert_eq!(of(None, None), [19]);
        // What a rule returns of its baseline lies before the window.
        assert_eq!(of(Some(3), Some(25)), [10, 19]);
    }

    #[test]
    fn a_list_is_about_each_of_its_values_and_null_about_nobody() {
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
        let row = found(
            json!({"caller": "a", "callers": ["a", "b", null], "nobody": null, "port": 5}),
            None,
            None,
        );
        let of = |names: &[&str]| -> Vec<Vec<String>> {
            let columns: Vec<String> = columns(names);
            subjects(&columns, &row)
        };
        assert_eq!(of(&["caller"]), [["a"]]);
        assert_eq!(of(&["callers", "port"]), [["a", "5"], ["b", "5"]]);
        assert_eq!(of(&["caller", "nobody"]), [[""; 2]; 0]);
        assert_eq!(of(&["missing"]), [[""; 1]; 0]);
    }
}

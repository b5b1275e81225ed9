//! How far rules have come, and what they could not look at.

use std::collections::BTreeMap;

use serde_json::Value;

use super::evaluate::first_table;
use super::run::context_of;
use super::source::Extents;
use super::stored::{self, Progress, rows};
use crate::catalog::RuleFile;
use crate::error::Result;
use crate::schema::Table;
use crate::store::Store;

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleStatus {
    /// The rule.
    pub rule_id: String,
    /// Its version.
    pub rule_version: i64,
    /// End of the last window that was closed and evaluated; `None` when it never ran.
    pub last_closed: Option<i64>,
    /// How long before the last event that was, in microseconds.
    pub lag: Option<i64>,
    /// Windows by how they ended last.
    pub states: BTreeMap<String, i64>,
    /// Windows that were passed over and not evaluated since.
    pub open_gaps: i64,
    /// Rows that came too late to be looked at when they did.
    pub late_dropped: i64,
    /// Findings that go on.
    pub open_findings: i64,
    /// Findings of which nobody is told by an exception.
    pub excepted: i64,
    /// What its evaluations took, in milliseconds.
    pub elapsed_ms: f64,
}

impl RuleStatus {
    /// As one JSON object.
    pub fn json(&self) -> Value {
        serde_json::json!({
            "rule": self.rule_id,
            "version": self.rule_version,
            "last_closed": self.last_closed.map(super::time_text),
            "lag_seconds": self.lag.map(|lag| lag / 1_000_000),
            "states": self.states,
            "open_gaps": self.open_gaps,
            "late_dropped": self.late_dropped,
            "open_findings": self.open_findings,
            "excepted": self.excepted,
            "elapsed_ms": self.elapsed_ms,
        })
    }
}

/// Where rules stand, in their order.
///
/// # Errors
/// When the store cannot be read.
pub async fn status(store: &Store, rules: &[&RuleFile]) -> Result<Vec<RuleStatus>> {
    let context = context_of(store).await?;
    let snapshot = store.snapshot(Table::Evaluations)?;
    let sources = rules.iter().filter_map(|file| first_table(&file.rule));
    let extents = Extents::of(store, sources)?;
    let mut statuses = Vec::with_capacity(rules.len());
    for file in rules {
        let rule = &file.rule;
        let of_rule = format!(
            "rule_id = '{}' AND rule_version = {}",
            rule.id, rule.version
        );
        let progress = Progress::read(snapshot.transactions(), rule);
        let last_event = match rule.correlation {
            Some(_) => extents.last(),
            None => extents.of_source(first_table(rule)).map(|(_, last)| last),
        };
        let sql = format!(
            "SELECT state, count(*) AS n FROM (SELECT state, row_number() OVER \
             (PARTITION BY window_end ORDER BY revision DESC) AS place FROM evaluations \
             WHERE {of_rule} AND state <> 'gap') WHERE place = 1 GROUP BY state"
        );
        let states = rows(&context, &sql)
            .await?
            .into_iter()
            .filter_map(|row| Some((row["state"].as_str()?.to_string(), row["n"].as_i64()?)));
        let states = states.collect();
        let sql = format!(
            "SELECT sum(late_dropped) AS late_dropped, sum(elapsed_ms) AS elapsed_ms FROM evaluations \
             WHERE {of_rule}"
        );
        let sums = rows(&context, &sql).await?.pop().unwrap_or_default();
        let sql = format!(
            "SELECT count(*) FILTER (WHERE status = 'open') AS n, count(excepted) AS excepted FROM findings_now WHERE {of_rule}"
        );
        let open = rows(&context, &sql).await?.pop().unwrap_or_default();
        let mut open_gaps = 0;
        for gap in stored::gaps(&context, rule, EVER).await? {
            let windows = stored::windows(&context, rule, gap.ends).await?;
            let mut end = gap.ends.0;
            while end <= gap.ends.1 {
                open_gaps += i64::from(gap.is_open_at(end, windows.get(&end)));
                end += rule.every.0;
            }
        }
        statuses.push(RuleStatus {
            rule_id: rule.id.clone(),
            rule_version: rule.version,
            last_closed: progress.last,
            lag: last_event
                .zip(progress.last)
                .map(|(event, last)| event - last),
            states,
            open_gaps,
            late_dropped: number(&sums, "late_dropped") as i64,
            open_findings: number(&open, "n") as i64,
            excepted: number(&open, "excepted") as i64,
            elapsed_ms: number(&sums, "elapsed_ms"),
        });
    }
    Ok(statuses)
}

/// Years 1900 and 2200.
const EVER: (i64, i64) = (-2_208_988_800_000_000, 7_258_118_400_000_000);

fn number(row: &serde_json::Map<String, Value>, name: &str) -> f64 {
    row.get(name).and_then(Value::as_f64).unwrap_or(0.0)
}

/// Everything that happened to a finding, as rows of `findings`, in order.
///
/// # Errors
/// When the store cannot be read.
pub async fn history(
    store: &Store,
    finding_id: &str,
) -> Result<Vec<serde_json::Map<String, Value>>> {
    let context = context_of(store).await?;
    let id: String = finding_id.chars().filter(char::is_ascii_hexdigit).collect();
    let sql = format!("SELECT * FROM findings WHERE finding_id = '{id}' ORDER BY revision");
    rows(&context, &sql).await
}

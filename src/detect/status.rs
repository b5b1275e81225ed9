//! How far rules have come, and what they could not look at.

use std::collections::{BTreeMap, HashMap};

use datafusion::prelude::SessionContext;
use serde_json::{Map, Value};

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
    /// How many there were, counting windows that were evaluated again.
    pub evaluations: i64,
    /// When it was last evaluated, by the clock.
    pub last_run: Option<i64>,
    /// Windows of that last time.
    pub last_windows: i64,
    /// What they took, in milliseconds.
    pub last_ms: f64,
    /// End of the first window that is still to close; it does once every source has come beyond it by the lateness.
    pub next_window: Option<i64>,
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
            "evaluations": self.evaluations,
            "last_run": self.last_run.map(super::time_text),
            "last_windows": self.last_windows,
            "last_ms": self.last_ms,
            "next_window": self.next_window.map(super::time_text),
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
    let states = by_rule(&context, STATES).await?;
    let sums = by_rule(&context, SUMS).await?;
    let lasts = by_rule(&context, LAST_RUNS).await?;
    let open = by_rule(&context, FINDINGS).await?;
    for file in rules {
        let rule = &file.rule;
        let key = (rule.id.clone(), rule.version);
        let of =
            |table: &ByRule, name: &str| table.get(&key).map_or(0.0, |rows| number(&rows[0], name));
        let progress = Progress::read(snapshot.transactions(), rule);
        let last_event = match rule.correlation {
            Some(_) => extents.last(),
            None => extents.of_source(first_table(rule)).map(|(_, last)| last),
        };
        let states = states.get(&key).into_iter().flatten();
        let states = states
            .filter_map(|row| Some((row["state"].as_str()?.to_string(), row["n"].as_i64()?)))
            .collect();
        let mut open_gaps = 0;
        let gaps = match of(&sums, "gaps") > 0.0 {
            true => stored::gaps(&context, rule, EVER).await?,
            false => Vec::new(),
        };
        for gap in gaps {
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
            late_dropped: of(&sums, "late_dropped") as i64,
            open_findings: of(&open, "n") as i64,
            excepted: of(&open, "excepted") as i64,
            elapsed_ms: of(&sums, "elapsed_ms"),
            evaluations: of(&sums, "n") as i64,
            last_run: lasts
                .get(&key)
                .and_then(|rows| stored::time(&rows[0]["evaluated_at"])),
            last_windows: of(&lasts, "n") as i64,
            last_ms: of(&lasts, "elapsed_ms"),
            next_window: progress.last.map(|last| last + rule.every.0),
        });
    }
    Ok(statuses)
}

/// Windows of each rule by how they ended last.
const STATES: &str = "SELECT rule_id, rule_version, state, count(*) AS n FROM (SELECT rule_id, rule_version, state, \
     row_number() OVER (PARTITION BY rule_id, rule_version, window_end ORDER BY revision DESC) AS place \
     FROM evaluations WHERE state <> 'gap') WHERE place = 1 GROUP BY rule_id, rule_version, state";

const SUMS: &str = "SELECT rule_id, rule_version, sum(late_dropped) AS late_dropped, sum(elapsed_ms) AS elapsed_ms, \
     count(*) FILTER (WHERE state <> 'gap') AS n, count(*) FILTER (WHERE state = 'gap') AS gaps \
     FROM evaluations GROUP BY rule_id, rule_version";

/// The last run of each rule.
const LAST_RUNS: &str = "SELECT e.rule_id, e.rule_version, max(e.evaluated_at) AS evaluated_at, \
     count(*) FILTER (WHERE e.state <> 'gap') AS n, sum(e.elapsed_ms) AS elapsed_ms FROM evaluations AS e \
     JOIN (SELECT rule_id, rule_version, max(run) AS run FROM evaluations GROUP BY rule_id, rule_version) AS latest \
     ON e.rule_id = latest.rule_id AND e.rule_version = latest.rule_version AND e.run = latest.run \
     GROUP BY e.rule_id, e.rule_version";

const FINDINGS: &str = "SELECT rule_id, rule_version, count(*) FILTER (WHERE status = 'open') AS n, \
     count(excepted) AS excepted FROM findings_now GROUP BY rule_id, rule_version";

/// Rows by the rule and the version that they are of.
type ByRule = HashMap<(String, i64), Vec<Map<String, Value>>>;

/// The rows of a query, by rule.
async fn by_rule(context: &SessionContext, sql: &str) -> Result<ByRule> {
    let mut of_rules = ByRule::new();
    for row in rows(context, sql).await? {
        let key = row["rule_id"].as_str().zip(row["rule_version"].as_i64());
        if let Some((id, version)) = key {
            of_rules
                .entry((id.to_string(), version))
                .or_default()
                .push(row);
        }
    }
    Ok(of_rules)
}

/// Years 1900 and 2200.
const EVER: (i64, i64) = (-2_208_988_800_000_000, 7_258_118_400_000_000);

fn number(row: &Map<String, Value>, name: &str) -> f64 {
    row.get(name).and_then(Value::as_f64).unwrap_or(0.0)
}

/// Everything that happened to a finding, as rows of `findings`, in order.
///
/// # Errors
/// When the store cannot be read.
pub async fn history(store: &Store, finding_id: &str) -> Result<Vec<Map<String, Value>>> {
    let context = context_of(store).await?;
    let id: String = finding_id.chars().filter(char::is_ascii_hexdigit).collect();
    let sql = format!("SELECT * FROM findings WHERE finding_id = '{id}' ORDER BY revision");
    rows(&context, &sql).await
}

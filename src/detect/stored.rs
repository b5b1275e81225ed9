//! What earlier runs left in the store: how far each rule has come, what its windows gave, and its findings.

use std::collections::{BTreeMap, HashMap};

use datafusion::prelude::SessionContext;
use serde_json::{Map, Value};

use super::episode::{Episode, Seen};
use super::evaluate::{Evaluated, Found, Window, is_frozen};
use super::findings::Finding;
use super::json;
use super::late::Versions;
use crate::catalog::{Rule, Severity, State};
use crate::error::{Error, Result};
use crate::schema::Table;

/// How far a rule has come. It is kept as application transactions of the commits that hold its evaluations, so it
/// is true exactly when they are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// End of the last window that was closed and evaluated.
    pub(super) last: Option<i64>,
    /// End of the first window that was evaluated.
    pub(super) first: Option<i64>,
    /// Commits so far. The next one is refused when another run was faster.
    pub(super) runs: i64,
    /// The versions of the tables that were seen.
    pub(super) versions: Versions,
    /// Of a correlation, how many runs of each of its signals were seen.
    pub(super) signals: BTreeMap<String, i64>,
}

impl Progress {
    /// Reads it from the transactions of the table of evaluations.
    pub(super) fn read(transactions: &HashMap<String, i64>, rule: &Rule) -> Progress {
        let name = application(rule);
        let versions = Table::ALL.into_iter().filter_map(|table| {
            let version = transactions.get(&format!("{name}/{}", table.name()))?;
            Some((table, u64::try_from(*version).ok()?))
        });
        Progress {
            last: transactions.get(&name).copied(),
            // Versions only go up, and the first window goes back.
            first: transactions
                .get(&format!("{name}/first"))
                .map(|first| -first),
            runs: transactions
                .get(&format!("{name}/runs"))
                .copied()
                .unwrap_or(0),
            versions: versions.collect(),
            signals: seen_signals(transactions, &name),
        }
    }

    /// The transactions that lead from here to there.
    pub(super) fn transactions(&self, next: &Progress, rule: &Rule) -> Vec<(String, i64)> {
        let name = application(rule);
        let mut transactions = vec![(format!("{name}/runs"), next.runs)];
        if let Some(last) = next.last.filter(|last| Some(*last) > self.last) {
            transactions.push((name.clone(), last));
        }
        if let Some(first) = next
            .first
            .filter(|first| self.first.is_none_or(|known| *first < known))
        {
            transactions.push((format!("{name}/first"), -first));
        }
        for (table, version) in &next.versions {
            if Some(version) > self.versions.get(table) {
                transactions.push((
                    format!("{name}/{}", table.name()),
                    i64::try_from(*version).unwrap_or(i64::MAX),
                ));
            }
        }
        for (signal, runs) in &next.signals {
            if Some(runs) > self.signals.get(signal) {
                transactions.push((format!("{name}/signal/{signal}"), *runs));
            }
        }
        transactions
    }
}

fn seen_signals(transactions: &HashMap<String, i64>, name: &str) -> BTreeMap<String, i64> {
    let prefix = format!("{name}/signal/");
    let seen = transactions.iter().filter_map(|(application, runs)| {
        Some((application.strip_prefix(&prefix)?.to_string(), *runs))
    });
    seen.collect()
}

fn application(rule: &Rule) -> String {
    format!("rule/{}@{}", rule.id, rule.version)
}

/// A window that was evaluated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredWindow {
    /// The window.
    pub(super) window: Window,
    /// Counts its rows.
    pub(super) revision: i64,
    /// The run that stored it.
    pub(super) run: i64,
    /// How it ended.
    pub(super) state: State,
    /// What was found.
    pub(super) found: Vec<Found>,
    /// Of whom it says nothing.
    pub(super) frozen: Vec<Found>,
    /// Whether rows of its time were still expected.
    pub(super) is_early: bool,
}

impl StoredWindow {
    /// A window that is not stored yet.
    pub(super) fn of(evaluated: &Evaluated) -> StoredWindow {
        StoredWindow {
            window: evaluated.window,
            revision: 0,
            run: i64::MAX,
            state: evaluated.state,
            found: evaluated.found.clone(),
            frozen: evaluated.frozen.clone(),
            is_early: false,
        }
    }

    /// What it came to.
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen {
            window: self.window,
            state: self.state,
            found: &self.found,
            frozen: &self.frozen,
        }
    }
}

/// The windows of a rule that end in a range, both ends included, each as it was evaluated last.
pub(super) async fn windows(
    context: &SessionContext,
    rule: &Rule,
    range: (i64, i64),
) -> Result<BTreeMap<i64, StoredWindow>> {
    let windows = evaluations(context, rule, &ends_within(range)).await?;
    Ok(windows
        .into_iter()
        .map(|window| (window.window.end, window))
        .collect())
}

/// Every revision of the windows of a rule that a run after some number of runs has stored, or that end in a range, in
/// the order in which they were stored.
pub(super) async fn revisions(
    context: &SessionContext,
    rule: &Rule,
    seen: i64,
    range: Option<(i64, i64)>,
) -> Result<Vec<StoredWindow>> {
    let of_rule = of_rule(rule);
    let mut wanted = format!(
        "window_end IN (SELECT window_end FROM evaluations WHERE {of_rule} AND run > {seen})"
    );
    if let Some(range) = range {
        wanted = format!("({wanted} OR {})", ends_within(range));
    }
    evaluations(context, rule, &wanted).await
}

/// End of the last window of a rule that was evaluated, closed or open.
pub(super) async fn latest(context: &SessionContext, rule: &Rule) -> Result<Option<i64>> {
    let sql = format!(
        "SELECT max(window_end) AS latest FROM evaluations WHERE {}",
        of_rule(rule)
    );
    let row = rows(context, &sql).await?.pop();
    Ok(row.and_then(|row| time(row.get("latest")?)))
}

fn of_rule(rule: &Rule) -> String {
    format!(
        "rule_id = '{}' AND rule_version = {}",
        rule.id, rule.version
    )
}

fn ends_within((from, to): (i64, i64)) -> String {
    format!(
        "window_end BETWEEN TIMESTAMP '{}' AND TIMESTAMP '{}'",
        json::time_text(from),
        json::time_text(to)
    )
}

/// Evaluations of a rule for which a condition holds, in the order of their revisions.
async fn evaluations(
    context: &SessionContext,
    rule: &Rule,
    condition: &str,
) -> Result<Vec<StoredWindow>> {
    let sql = format!(
        "SELECT window_start, window_end, revision, run, state, returned, is_early FROM evaluations \
         WHERE {} AND state <> 'gap' AND {condition} ORDER BY revision",
        of_rule(rule)
    );
    let mut windows = Vec::new();
    for row in rows(context, &sql).await? {
        let (Some(start), Some(end)) = (time(&row["window_start"]), time(&row["window_end"]))
        else {
            continue;
        };
        let state = row["state"].as_str().unwrap_or_default();
        let returned: Vec<Map<String, Value>> = match row["returned"].as_str() {
            Some(text) => serde_json::from_str(text).map_err(|_| damaged("evaluations", rule))?,
            None => Vec::new(),
        };
        let (frozen, returned): (Vec<_>, Vec<_>) = returned
            .into_iter()
            .partition(|columns| is_frozen(rule, columns));
        let rows = |rows: Vec<Map<String, Value>>| -> Vec<Found> {
            let rows = rows.into_iter();
            rows.map(|columns| Found::new(rule, columns)).collect()
        };
        let stored = StoredWindow {
            window: Window { start, end },
            revision: row["revision"].as_i64().unwrap_or(1),
            run: row["run"].as_i64().unwrap_or(0),
            state: State::from_name(state).unwrap_or(State::Error),
            found: rows(returned),
            frozen: rows(frozen),
            is_early: row["is_early"].as_bool().unwrap_or(false),
        };
        windows.push(stored);
    }
    Ok(windows)
}

/// Windows that a run passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredGap {
    /// Ends of the first and the last.
    pub(super) ends: (i64, i64),
    /// The run.
    pub(super) run: i64,
}

impl StoredGap {
    /// Whether a window in it is still to be evaluated, as far as `known` tells.
    pub(super) fn is_open_at(&self, end: i64, known: Option<&StoredWindow>) -> bool {
        (self.ends.0..=self.ends.1).contains(&end)
            && known.is_none_or(|known| known.run <= self.run)
    }
}

/// The gaps of a rule that reach into a range, filled or not.
pub(super) async fn gaps(
    context: &SessionContext,
    rule: &Rule,
    (from, to): (i64, i64),
) -> Result<Vec<StoredGap>> {
    let sql = format!(
        "SELECT window_start, window_end, run FROM evaluations \
         WHERE rule_id = '{}' AND rule_version = {} AND state = 'gap' \
         AND window_end >= TIMESTAMP '{}' AND window_start < TIMESTAMP '{}'",
        rule.id,
        rule.version,
        json::time_text(from),
        json::time_text(to)
    );
    let rows = rows(context, &sql).await?.into_iter().filter_map(|row| {
        Some(StoredGap {
            ends: (
                time(&row["window_start"])? + rule.window.0,
                time(&row["window_end"])?,
            ),
            run: row["run"].as_i64()?,
        })
    });
    Ok(rows.collect())
}

/// The findings of a rule whose last window ends at an instant or later, each after its last event.
pub(super) async fn findings(
    context: &SessionContext,
    rule: &Rule,
    from: i64,
) -> Result<Vec<Finding>> {
    let sql = format!(
        "SELECT * FROM findings WHERE rule_id = '{}' AND rule_version = {} \
         AND window_end >= TIMESTAMP '{}' ORDER BY revision",
        rule.id,
        rule.version,
        json::time_text(from)
    );
    let mut findings = BTreeMap::new();
    for row in rows(context, &sql).await? {
        let finding = finding(rule, &row).ok_or_else(|| damaged("findings", rule))?;
        findings.insert(finding.id.clone(), finding);
    }
    let mut findings: Vec<Finding> = findings.into_values().collect();
    findings.sort_by(|a, b| {
        (a.episode.first_window.end, &a.id).cmp(&(b.episode.first_window.end, &b.id))
    });
    Ok(findings)
}

fn finding(rule: &Rule, row: &Map<String, Value>) -> Option<Finding> {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let integer = |name: &str| row.get(name).and_then(Value::as_i64);
    let instant = |name: &str| row.get(name).and_then(time);
    let object = |name: &str| -> Option<Map<String, Value>> {
        match text(name) {
            Some(text) => serde_json::from_str(text).ok(),
            None => Some(Map::new()),
        }
    };
    let (start, first_end, last_end) = (
        instant("window_start")?,
        instant("first_window_end")?,
        instant("window_end")?,
    );
    let status = text("status")?;
    Some(Finding {
        id: text("finding_id")?.to_string(),
        revision: integer("revision")?,
        is_retracted: status == "retracted",
        is_suppressed: row.get("suppressed").and_then(Value::as_bool)?,
        folded: integer("folded").unwrap_or(0),
        excepted: text("excepted").map(str::to_string),
        episode: Episode {
            rule_id: rule.id.clone(),
            rule_version: rule.version,
            title: text("title")?.to_string(),
            severity: Severity::from_name(text("severity")?)?,
            entity: object("entity")?,
            first_window: Window {
                start,
                end: first_end,
            },
            last_window: Window {
                start: last_end - rule.window.0,
                end: last_end,
            },
            windows: usize::try_from(integer("windows")?).ok()?,
            event_count: integer("event_count"),
            first_seen: instant("first_seen"),
            last_seen: instant("last_seen"),
            score: row.get("score").and_then(Value::as_f64),
            evidence: object("evidence")?,
            is_open: status == "open",
        },
    })
}

/// To go on as if there were nothing would take back or repeat what was told.
fn damaged(table: &str, rule: &Rule) -> Error {
    Error::Store {
        message: format!(
            "a row of table `{table}` of rule `{}` cannot be read back",
            rule.id
        ),
        hint: Some("`inferwatch store verify` says which files are damaged".to_string()),
    }
}

/// The rows of a query.
pub(crate) async fn rows(context: &SessionContext, sql: &str) -> Result<Vec<Map<String, Value>>> {
    let batches = context.sql(sql).await?.collect().await?;
    let mut rows = Vec::new();
    for batch in &batches {
        for index in 0..batch.num_rows() {
            rows.push(json::row(batch, index)?);
        }
    }
    Ok(rows)
}

/// A time as [`json::time_text`] writes it, in microseconds.
pub(super) fn time(value: &Value) -> Option<i64> {
    let time = chrono::DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(time.timestamp_micros())
}

//! Rules for people: the list with how each stands, and one with its text, its windows and its gaps.

use std::collections::BTreeMap;

use datafusion::prelude::SessionContext;
use serde_json::{Map, Value, json};

use super::asked::{Asked, bucket_of};
use super::triage::quoted;
use crate::catalog::{Pack, RuleFile};
use crate::detect::{rows, time_text};
use crate::error::Result;

/// Windows that say why they said nothing.
const MOST_DETAILS: usize = 200;

/// The rules, with what came of them in a range.
///
/// # Errors
/// When the store cannot be read.
pub async fn rules(context: &SessionContext, pack: &Pack, asked: &Asked) -> Result<Value> {
    let mut found: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    if context.table_exist("evaluations")? {
        let sql = format!(
            "SELECT rule_id, count(*) AS windows, count(*) FILTER (WHERE state = 'fired') AS fired, \
             count(*) FILTER (WHERE state = 'error') AS failed, count(*) FILTER (WHERE state = 'not_covered') AS uncovered, \
             max(window_end) AS last_window, sum(elapsed_ms) AS elapsed_ms FROM ({}) GROUP BY rule_id",
            last_windows("TRUE", asked)
        );
        for row in rows(context, &sql).await? {
            let id = row["rule_id"].as_str().unwrap_or_default().to_string();
            found.insert(id, row);
        }
    }
    if context.table_exist("findings_now")? {
        let sql = format!(
            "SELECT rule_id, count(*) AS findings, count(*) FILTER (WHERE status = 'open') AS open \
             FROM findings_now WHERE {} GROUP BY rule_id",
            within("event_time", asked)
        );
        for mut row in rows(context, &sql).await? {
            let id = row["rule_id"].as_str().unwrap_or_default().to_string();
            found.entry(id).or_default().append(&mut row);
        }
    }
    let list = pack.rules.iter().map(|file| {
        let rule = &file.rule;
        let mut row = json!({
            "rule_id": rule.id,
            "title": rule.title,
            "severity": rule.severity.name(),
            "status": rule.status.name(),
            "family": family(file),
            "every": rule.every.to_string(),
            "window": rule.window.to_string(),
        });
        if let (Some(row), Some(found)) = (row.as_object_mut(), found.get(&rule.id)) {
            row.extend(
                found
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
        }
        row
    });
    Ok(json!({"rules": list.collect::<Vec<_>>()}))
}

/// A rule: what it says of itself, its query, how its windows ended, what was passed over and what was found. `None`
/// when the pack has none of that name.
///
/// # Errors
/// When the store cannot be read.
pub async fn rule(
    context: &SessionContext,
    pack: &Pack,
    id: &str,
    asked: &Asked,
) -> Result<Option<Value>> {
    let Ok(file) = pack.rule(id) else {
        return Ok(None);
    };
    let of_rule = format!("rule_id = {}", quoted(id));
    let bucket = bucket_of(asked.to - asked.from, Some(file.rule.every));
    let (mut windows, mut details, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    if context.table_exist("evaluations")? {
        let last = last_windows(&of_rule, asked);
        let sql = format!(
            "SELECT date_bin(INTERVAL '{} seconds', window_end) AS time, state AS series, count(*) AS value, \
             avg(elapsed_ms) AS elapsed_ms FROM ({last}) GROUP BY 1, 2 ORDER BY 1, 2",
            bucket.0 / 1_000_000
        );
        windows = rows(context, &sql).await?;
        let sql = format!(
            "SELECT window_start, window_end, state, findings, detail, elapsed_ms, is_early, evaluated_at \
             FROM ({last}) WHERE state <> 'clear' ORDER BY window_end DESC LIMIT {MOST_DETAILS}"
        );
        details = rows(context, &sql).await?;
        let sql = format!(
            "SELECT window_start, window_end, detail, late_dropped, evaluated_at FROM evaluations \
             WHERE {of_rule} AND state = 'gap' AND {} ORDER BY window_end DESC LIMIT {MOST_DETAILS}",
            within("window_end", asked)
        );
        gaps = rows(context, &sql).await?;
    }
    let mut found = Vec::new();
    if context.table_exist("findings_now")? {
        let sql = format!(
            "SELECT finding_id, event_time, status, severity, title, entity, event_count, suppressed FROM findings_now \
             WHERE {of_rule} AND {} ORDER BY event_time DESC LIMIT 100",
            within("event_time", asked)
        );
        found = rows(context, &sql).await?;
    }
    Ok(Some(json!({
        "rule": header(file),
        "from": time_text(asked.from),
        "to": time_text(asked.to),
        "bucket_seconds": bucket.0 / 1_000_000,
        "windows": windows,
        "details": details,
        "gaps": gaps,
        "findings": found,
    })))
}

/// Each window as it was told last, of the newest version that looked at it.
fn last_windows(of_rule: &str, asked: &Asked) -> String {
    format!(
        "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY rule_id, window_end \
         ORDER BY rule_version DESC, revision DESC, run DESC) AS place FROM evaluations \
         WHERE {of_rule} AND state <> 'gap' AND {}) WHERE place = 1",
        within("window_end", asked)
    )
}

fn within(column: &str, asked: &Asked) -> String {
    format!(
        "{column} >= to_timestamp_micros({}) AND {column} <= to_timestamp_micros({})",
        asked.from, asked.to
    )
}

/// What a rule says of itself, and its query.
pub(super) fn header(file: &RuleFile) -> Value {
    let rule = &file.rule;
    let params = rule.params.iter().map(
        |param| json!({"name": param.name, "default": param.default.json(), "doc": param.doc}),
    );
    json!({
        "rule_id": rule.id,
        "title": rule.title,
        "version": rule.version,
        "status": rule.status.name(),
        "severity": rule.severity.name(),
        "confidence": rule.confidence.name(),
        "family": family(file),
        "source": rule.source,
        "window": rule.window.to_string(),
        "every": rule.every.to_string(),
        "baseline": rule.baseline.map(|span| span.to_string()),
        "entity": rule.entity,
        "atlas": rule.atlas,
        "owasp": rule.owasp,
        "description": rule.description.trim(),
        "false_positives": rule.false_positives,
        "evasion": rule.evasion,
        "references": rule.references,
        "runbook": rule.runbook,
        "params": params.collect::<Vec<_>>(),
        "sql": file.sql.trim(),
        "path": file.path.display().to_string(),
    })
}

/// The folder that a rule is in.
fn family(file: &RuleFile) -> String {
    let folder = file.path.parent().and_then(|folder| folder.file_name());
    folder.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

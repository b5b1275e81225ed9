//! The list of findings, and one finding with all that belongs to it.

use datafusion::prelude::SessionContext;
use serde_json::{Map, Value, json};

use super::triage::{history, quoted};
use crate::catalog::{Pack, RuleFile};
use crate::detect::rows;
use crate::error::Result;

/// More than a page shows; who wants all asks in SQL.
const MOST_FINDINGS: usize = 500;
/// Events that are shown of a finding.
const MOST_EVENTS: usize = 200;

/// Columns of the list.
const LISTED: &str = "f.finding_id, f.event_time, f.status, f.rule_id, f.title, f.severity, f.confidence, f.entity, \
    f.event_count, f.windows, f.first_seen, f.last_seen, f.score, f.suppressed, f.excepted";

/// The newest findings of a session, those that nobody is told of at the end of each, and how many there are.
///
/// # Errors
/// When they cannot be read.
pub async fn findings(context: &SessionContext, from: i64, to: i64) -> Result<Value> {
    let has_triage = context.table_exist("triage")?;
    let (columns, join) = match has_triage {
        true => (
            ", t.triage_state, t.triage_note, t.triaged_by, t.event_time AS triaged_at",
            " LEFT JOIN triage AS t ON t.finding_id = f.finding_id",
        ),
        false => ("", ""),
    };
    let within = format!(
        "f.event_time >= to_timestamp_micros({from}) AND f.event_time < to_timestamp_micros({to})"
    );
    let sql = format!(
        "SELECT {LISTED}{columns} FROM findings_now AS f{join} WHERE {within} \
         ORDER BY f.suppressed, f.event_time DESC, f.finding_id LIMIT {}",
        MOST_FINDINGS + 1
    );
    let mut list = rows(context, &sql).await?;
    let is_cut = list.len() > MOST_FINDINGS;
    list.truncate(MOST_FINDINGS);
    for finding in &mut list {
        parse(finding, "entity");
    }
    Ok(json!({"findings": list, "is_cut": is_cut, "has_triage": has_triage}))
}

/// A finding: what is known of it, what happened to it, the windows of its rule, the events that made it, other findings
/// of the same subject, and what people said. `None` when this session has none of that id.
///
/// # Errors
/// When it cannot be read.
pub async fn finding(context: &SessionContext, pack: &Pack, id: &str) -> Result<Option<Value>> {
    // Also one that was retracted: somebody may have been told of it.
    let sql = format!(
        "SELECT * FROM findings WHERE finding_id = {} ORDER BY revision",
        quoted(id)
    );
    let mut revisions = rows(context, &sql).await?;
    let Some(mut last) = revisions.last().cloned() else {
        return Ok(None);
    };
    for finding in revisions.iter_mut().chain([&mut last]) {
        parse(finding, "entity");
        parse(finding, "evidence");
    }
    let text = |name: &str| last[name].as_str().unwrap_or_default().to_string();
    let rule = pack.rule(&text("rule_id")).ok();
    let (start, end) = (text("window_start"), text("window_end"));
    let windows = windows(context, &text("rule_id"), &start, &end).await?;
    let events = match rule {
        Some(rule) => events(context, rule, &last).await?,
        None => None,
    };
    let related = related(context, &last).await?;
    Ok(Some(json!({
        "finding": last,
        "revisions": revisions,
        "windows": windows,
        "events": events,
        "related": related,
        "triage": history(context, id).await?,
        "has_triage": context.table_exist("triage")?,
        "rule": rule.map(super::rule::header),
    })))
}

/// JSON in a column of text, as what it is.
fn parse(row: &mut Map<String, Value>, name: &str) {
    let parsed = row
        .get(name)
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok());
    if let Some(parsed) = parsed {
        row.insert(name.to_string(), parsed);
    }
}

/// How the windows of a rule ended around a finding, each as it was told last.
async fn windows(
    context: &SessionContext,
    rule: &str,
    start: &str,
    end: &str,
) -> Result<Vec<Map<String, Value>>> {
    if !context.table_exist("evaluations")? {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT window_end, state, findings, detail FROM (
            SELECT *, row_number() OVER (PARTITION BY rule_version, window_end ORDER BY revision DESC, run DESC) AS place
            FROM evaluations
            WHERE rule_id = {} AND state <> 'gap'
                AND window_end >= TIMESTAMP {start} - INTERVAL '1 hour'
                AND window_end <= TIMESTAMP {end} + INTERVAL '1 hour'
        ) WHERE place = 1 ORDER BY window_end LIMIT 2000",
        quoted(rule),
        start = quoted(start),
        end = quoted(end),
    );
    rows(context, &sql).await
}

/// The rows of the rule's first table with the same subject, between the first and the last that counted, and the query
/// for them. `None` where the subject is none that a row has.
async fn events(
    context: &SessionContext,
    rule: &RuleFile,
    finding: &Map<String, Value>,
) -> Result<Option<Value>> {
    let source = rule
        .rule
        .source
        .first()
        .map_or("calls_merged", String::as_str);
    // The merged view has a row a call, whatever log the rule reads.
    let table = match source {
        "calls" => "calls_merged",
        other => other,
    };
    let Some(entity) = finding["entity"].as_object() else {
        return Ok(None);
    };
    if !context.table_exist(table)? {
        return Ok(None);
    }
    let schema = context.table_provider(table).await?.schema();
    let mut conditions = Vec::new();
    for (name, value) in entity {
        let column = match name.as_str() {
            name if schema.field_with_name(name).is_ok() => format!("\"{name}\""),
            "deployment" => "coalesce(model_deployment, model)".to_string(),
            _ => continue,
        };
        conditions.push(match value {
            Value::Null => format!("{column} IS NULL"),
            Value::String(text) => format!("{column} = {}", quoted(text)),
            other => format!("{column} = {other}"),
        });
    }
    if conditions.is_empty() {
        return Ok(None);
    }
    let text = |name: &str| finding[name].as_str();
    let from = text("first_seen")
        .or(text("window_start"))
        .unwrap_or_default();
    let to = text("last_seen").or(text("window_end")).unwrap_or_default();
    let columns: &[&str] = match table {
        "audit" => &[
            "event_time",
            "caller",
            "action_class",
            "action",
            "resource_id",
            "outcome",
            "source_ip",
        ],
        "calls_merged" => &[
            "event_time",
            "caller",
            "model",
            "outcome",
            "total_tokens",
            "duration_ms",
            "injection_score",
            "prediction_class",
            "source_ip",
            "event_id",
        ],
        _ => return Ok(None),
    };
    let sql = format!(
        "SELECT {}\nFROM {table}\nWHERE event_time >= TIMESTAMP {} AND event_time <= TIMESTAMP {}\n    AND {}\n\
         ORDER BY event_time\nLIMIT {MOST_EVENTS}",
        columns.join(", "),
        quoted(from),
        quoted(to),
        conditions.join("\n    AND "),
    );
    let list = rows(context, &sql).await?;
    // A column that says nothing here only takes room.
    let told: Vec<&&str> = columns
        .iter()
        .filter(|column| list.iter().any(|row| !row[**column].is_null()))
        .collect();
    let cells = |row: &Map<String, Value>| -> Value {
        told.iter().map(|column| row[**column].clone()).collect()
    };
    let values: Vec<Value> = list.iter().map(cells).collect();
    Ok(Some(json!({
        "sql": sql,
        "columns": told,
        "rows": values,
        "is_cut": list.len() == MOST_EVENTS,
    })))
}

/// Other findings of the same subject, a day before and after.
async fn related(
    context: &SessionContext,
    finding: &Map<String, Value>,
) -> Result<Vec<Map<String, Value>>> {
    let Some(entity) = finding["entity"].as_object() else {
        return Ok(Vec::new());
    };
    // The entity is JSON text there. A value in it is found as it is written in JSON, between its quotes.
    let subjects: Vec<String> = entity
        .values()
        .filter(|value| value.as_str().is_some_and(|text| text.len() > 2))
        .map(|value| format!("strpos(entity, {}) > 0", quoted(&format!(":{value}"))))
        .collect();
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    let text = |name: &str| quoted(finding[name].as_str().unwrap_or_default());
    let sql = format!(
        "SELECT finding_id, event_time, status, rule_id, title, severity, entity, event_count, suppressed \
         FROM findings_now WHERE event_time >= TIMESTAMP {} - INTERVAL '1 day' \
         AND event_time < TIMESTAMP {} + INTERVAL '1 day' AND finding_id <> {} AND ({}) \
         ORDER BY event_time LIMIT 100",
        text("window_start"),
        text("window_end"),
        text("finding_id"),
        subjects.join(" OR "),
    );
    let mut list = rows(context, &sql).await?;
    for finding in &mut list {
        parse(finding, "entity");
    }
    Ok(list)
}

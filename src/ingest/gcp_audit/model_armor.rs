//! Model Armor: what a template found in a prompt or an answer, in `metadata` or in the response of a sanitizing call.
//!
//! Results stand by filter, each with a match state and, one level down, what kind of result it is. Matched text is the
//! user's and goes to the parts.

use super::{REQUESTS, RESPONSES, after};
use crate::ingest::body::parts::{Turn, code};
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType, Reject, Rows};
use crate::ingest::{guardrail, tokens};
use crate::schema::{Call, GuardrailFinding};

const RESULTS: [&str; 12] = [
    "sanitizationResult",
    "sanitization_result",
    "metadata/response/sanitizationResult",
    "metadata/sanitizationResult",
    "metadata/response/sanitization_result",
    "metadataJson/response/sanitizationResult",
    "metadataJson/sanitizationResult",
    "metadata_json/response/sanitizationResult",
    "response/sanitizationResult",
    "responseJson/sanitizationResult",
    "response/sanitization_result",
    "response_json/sanitizationResult",
];

/// Fields of a result that are the user's text, or where in it something was found.
const QUOTES: [&str; 6] = [
    "quote",
    "text",
    "matchedText",
    "uri",
    "deidentifiedData",
    "data",
];

/// The payload of Model Armor's own log, which tells of every text it was given.
pub(super) fn operation(record: Value<'_>) -> Option<Value<'_>> {
    let payload = ["jsonPayload", "json_payload"]
        .iter()
        .find_map(|key| record.get(key)?.object())?;
    let is_result = RESULTS[..2].iter().any(|key| payload.get(key).is_some());
    is_result.then_some(payload)
}

/// Decodes an entry of that log: a supplement, since the call itself is logged by whoever made it.
pub(super) fn decode<'a>(
    record: Value<'a>,
    payload: Value<'a>,
    rows: &mut Rows<'a>,
) -> Result<(), Reject> {
    let time = record.time("timestamp", "event_time").ok_or(Reject::Time)?;
    let log = record.find("logName").and_then(Value::as_text);
    let mut row = CallRow {
        call: Call {
            event_time: time,
            log_time: record.time("receiveTimestamp", "log_time"),
            event_id: record.text("insertId", "event_id").unwrap_or_default(),
            source_format: "gcp.model_armor",
            record_role: "supplement",
            provider: Some("gcp.vertex_ai"),
            operation: Some("other"),
            operation_raw: payload.text("operationType", "operation_raw"),
            cloud_provider: Some("gcp"),
            cloud_account_id: record
                .text("resource/labels/resource_container", "cloud_account_id")
                .or_else(|| after(log?, "projects"))
                .map(|project| project.strip_prefix("projects/").unwrap_or(project)),
            cloud_region: record.text("resource/labels/location", "cloud_region"),
            // Its name holds a `/`, which is no step of a path here.
            correlation_id: record
                .get("labels")
                .and_then(|labels| labels.get("modelarmor.googleapis.com/client_correlation_id"))
                .map(|id| id.mark("correlation_id"))
                .and_then(Value::as_text),
            outcome: "success",
            content_state: Some("inline"),
            ..Call::default()
        },
        ..CallRow::default()
    };
    if let Some(template) = record.text("resource/labels/template_id", "guardrail_ids") {
        guardrail::ran(&mut row, template);
    }
    let kind = row
        .call
        .operation_raw
        .unwrap_or_default()
        .to_ascii_lowercase();
    read(payload, &kind.replace('_', ""), &mut row);
    let turn = if kind.contains("response") {
        Turn::answer(0)
    } else {
        Turn::new(Direction::Input, Some("user"), 0)
    };
    for key in ["sanitizationInput", "sanitization_input"] {
        if let Some(input) = payload.take(key, "content") {
            turn.leaves(&mut row, PartType::Text, input);
        }
    }
    for (key, value) in payload.entries() {
        // The input was taken whole.
        if !key.to_ascii_lowercase().contains("input") {
            texts(value, turn, quoted(turn), &mut row);
        }
    }
    tokens::complete(&mut row.call);
    guardrail::settle(&mut row.call);
    rows.calls.push(row);
    Ok(())
}

/// Reads the findings of an entry, if it has any.
pub(super) fn read<'a>(payload: Value<'a>, verb: &str, row: &mut CallRow<'a>) {
    scrub(payload, row);
    let Some(result) = RESULTS.iter().find_map(|path| payload.find(path)) else {
        return;
    };
    let direction = if verb.contains("modelresponse") || result.get("sanitizedResponse").is_some() {
        "output"
    } else {
        "input"
    };
    let verdict = result
        .get("sanitizationVerdict")
        .or_else(|| result.get("sanitization_verdict"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    // A match is only reported unless the verdict says that it stopped the text.
    let action = if verdict.to_ascii_uppercase().contains("BLOCK") {
        "blocked"
    } else {
        "detected"
    };
    row.call.guardrail_action.get_or_insert("none");
    for name in ["templateName", "template", "name"] {
        if let Some(id) = payload
            .find("request")
            .and_then(|request| request.get(name)?.as_text())
        {
            guardrail::ran(row, id);
        }
    }
    let results = result
        .get("filterResults")
        .or_else(|| result.get("filter_results"));
    for (filter, value) in results
        .map(Value::structure)
        .into_iter()
        .flat_map(Value::entries)
    {
        if let Some(filter) = code(filter) {
            filter_result(filter, value, direction, action, row);
        }
    }
    for (filter, value) in results
        .map(Value::structure)
        .into_iter()
        .flat_map(Value::items)
        .flat_map(Value::entries)
    {
        if let Some(filter) = code(filter) {
            filter_result(filter, value, direction, action, row);
        }
    }
}

/// A result, which may be wrapped in an object named for its kind.
fn filter_result<'a>(
    filter: &'a str,
    value: Value<'a>,
    direction: &'static str,
    action: &'static str,
    row: &mut CallRow<'a>,
) {
    let inner = find_state(value, 3);
    let Some((state, holder)) = inner else {
        return;
    };
    if state != "MATCH_FOUND" {
        return;
    }
    // Responsible AI says which of its types matched.
    let types = ["raiFilterTypeResults", "rai_filter_type_results"]
        .iter()
        .find_map(|key| holder.get(key));
    let before = row.call.guardrail_findings.len();
    for (kind, result) in types
        .map(Value::structure)
        .into_iter()
        .flat_map(Value::entries)
    {
        let matched = matches!(find_state(result, 1), Some(("MATCH_FOUND", _)));
        if let Some(kind) = code(kind).filter(|_| matched) {
            push(kind, filter, result, direction, action, row);
        }
    }
    if row.call.guardrail_findings.len() == before {
        push(filter, filter, holder, direction, action, row);
    }
}

fn push<'a>(
    category: &'a str,
    filter: &str,
    result: Value<'a>,
    direction: &'static str,
    action: &'static str,
    row: &mut CallRow<'a>,
) {
    let confidence = ["confidenceLevel", "confidence_level"]
        .iter()
        .find_map(|key| result.get(key)?.as_str())
        .and_then(guardrail::level);
    row.call.guardrail_findings.push(GuardrailFinding {
        direction: Some(direction),
        policy: Some(if filter.eq_ignore_ascii_case("sdp") {
            "pii"
        } else {
            "content"
        }),
        category: Some(category),
        action: Some(action),
        confidence,
        score: None,
    });
}

/// The match state of a result and the object it stands in.
fn find_state(value: Value<'_>, depth: u8) -> Option<(&str, Value<'_>)> {
    let here = [
        "filterMatchState",
        "matchState",
        "filter_match_state",
        "match_state",
    ]
    .iter()
    .find_map(|key| value.get(key)?.as_str());
    if let Some(state) = here {
        return Some((state, value));
    }
    let depth = depth.checked_sub(1)?;
    value
        .entries()
        .find_map(|(_, inner)| find_state(inner, depth))
}

/// Takes what may be text of the call out of a value and makes it parts: quotations, and whatever is no code.
fn texts<'a>(value: Value<'a>, turn: Turn<'a>, quoting: Turn<'a>, row: &mut CallRow<'a>) {
    let value = value.structure();
    if value.as_str().is_some_and(|text| code(text).is_none()) {
        value.mark("content");
        turn.leaves(row, PartType::Raw, value);
    }
    for item in value.items() {
        texts(item, turn, quoting, row);
    }
    for (key, inner) in value.entries() {
        let is_quote = QUOTES.iter().any(|quote| quote.eq_ignore_ascii_case(key));
        if is_quote || code(key).is_none() {
            inner.mark("content");
            quoting.leaves(row, PartType::Raw, inner.structure());
        } else {
            texts(inner, turn, quoting, row);
        }
    }
}

/// Where a quotation of such a text goes.
fn quoted(turn: Turn<'_>) -> Turn<'_> {
    Turn {
        direction: Direction::GuardrailMatch,
        ..turn
    }
}

/// Requests and responses of calls have a type and a name in practice, and metadata names of services. Whatever else
/// they have is text of the call.
fn scrub<'a>(payload: Value<'a>, row: &mut CallRow<'a>) {
    let asked = Turn::new(Direction::Input, Some("user"), 0);
    for (keys, turn) in [
        (REQUESTS, asked),
        (RESPONSES, Turn::answer(0)),
        (["metadata", "metadataJson", "metadata_json"], asked),
    ] {
        // A request has the text itself, everything else quotes it.
        let quoting = if keys == REQUESTS { turn } else { quoted(turn) };
        for body in keys.iter().filter_map(|key| payload.get(key)) {
            texts(body, turn, quoting, row);
        }
    }
}

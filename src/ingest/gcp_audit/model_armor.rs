//! Model Armor: what a template found in a prompt or an answer, in `metadata` or in the response of a sanitizing call.
//!
//! Results stand by filter, each with a match state and, one level down, what kind of result it is. Matched text is the
//! user's and goes to the parts.

use crate::ingest::body::parts::{Turn, code, scrub_into};
use crate::ingest::guardrail;
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType};
use crate::schema::GuardrailFinding;

const RESULTS: [&str; 10] = [
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

/// Reads the findings of an entry, if it has any.
pub(super) fn read<'a>(payload: Value<'a>, verb: &str, row: &mut CallRow<'a>) {
    scrub_requests(payload, row);
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
    quotes(result, direction, row);
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

/// Takes quoted text out of a result.
fn quotes<'a>(value: Value<'a>, direction: &'static str, row: &mut CallRow<'a>) {
    let role = if direction == "input" {
        "user"
    } else {
        "assistant"
    };
    for (key, inner) in value.entries() {
        if QUOTES.iter().any(|quote| quote.eq_ignore_ascii_case(key)) {
            inner.mark("content");
            Turn::new(Direction::GuardrailMatch, Some(role), 0).leaves(row, PartType::Raw, inner);
        } else {
            quotes(inner, direction, row);
        }
    }
    for item in value.items() {
        quotes(item, direction, row);
    }
}

/// Requests and responses of calls have a type and a name in practice. Whatever else they have is text of the call.
fn scrub_requests<'a>(payload: Value<'a>, row: &mut CallRow<'a>) {
    for (keys, place) in [
        (
            ["request", "requestJson", "request_json"],
            Turn::new(Direction::Input, Some("user"), 0),
        ),
        (
            ["response", "responseJson", "response_json"],
            Turn::answer(0),
        ),
    ] {
        for body in keys.iter().filter_map(|key| payload.get(key)) {
            scrub_into(body.structure(), place, PartType::Raw, row);
        }
    }
}

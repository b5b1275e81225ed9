//! What the proxy's guardrails did.
//!
//! `guardrail_information` is a list, was a single object in older versions, and stood inside `metadata` for a while.

use super::super::body::parts::{Turn, warn};
use super::super::json::Value;
use super::super::record::{CallRow, Direction, PartType};
use crate::schema::GuardrailFinding;

/// Names of guardrails and categories are written by administrators; longer than this is no name.
const LONGEST_NAME: usize = 200;

pub(super) fn read<'a>(record: Value<'a>, metadata: Option<Value<'a>>, row: &mut CallRow<'a>) {
    let applied = metadata.and_then(|metadata| metadata.get("applied_guardrails"));
    if let Some(applied) = applied {
        applied.mark("guardrail_ids");
        for name in applied
            .structure()
            .items_or_self()
            .filter_map(Value::as_text)
        {
            ran(name, row);
        }
    }
    let status = |place: Value<'a>| place.get("status").and_then(Value::as_text);
    let status = status(record).or_else(|| status(metadata?));
    let failed = status.is_some_and(|status| status.eq_ignore_ascii_case("failure"));
    let keys = [
        "guardrail_information",
        "standard_logging_guardrail_information",
    ];
    let places = [Some(record), metadata];
    let lists = places
        .into_iter()
        .flatten()
        .flat_map(|place| keys.iter().filter_map(move |key| place.get(key)));
    for list in lists.collect::<Vec<_>>() {
        for information in list.structure().items_or_self() {
            read_one(information.structure(), failed, row);
        }
    }
    let status = record
        .find("status_fields/guardrail_status")
        .and_then(Value::as_text);
    match status.unwrap_or_default() {
        "guardrail_intervened" if row.call.guardrail_findings.is_empty() => {
            row.call.guardrail_action = Some("blocked");
        }
        "success" => drop(row.call.guardrail_action.get_or_insert("none")),
        "guardrail_failed_to_respond" => warn(&mut row.call, "guardrail_failed"),
        _ => {}
    }
    // What the findings say is more than that something ran.
    if !row.call.guardrail_findings.is_empty() && row.call.guardrail_action == Some("none") {
        row.call.guardrail_action = None;
    }
}

fn ran<'a>(name: &'a str, row: &mut CallRow<'a>) {
    if name.len() <= LONGEST_NAME && !row.call.guardrail_ids.contains(&name) {
        row.call.guardrail_ids.push(name);
    }
    row.call.guardrail_action.get_or_insert("none");
}

fn read_one<'a>(information: Value<'a>, failed: bool, row: &mut CallRow<'a>) {
    if !information.is_object() {
        return;
    }
    if let Some(name) = information.text("guardrail_name", "guardrail_ids") {
        ran(name, row);
    }
    let mode = information
        .get("guardrail_mode")
        .map(Value::to_json)
        .unwrap_or_default();
    let direction = if mode.contains("post") {
        "output"
    } else {
        "input"
    };
    let status = information
        .text("guardrail_status", "guardrail_action")
        .unwrap_or_default();
    if status == "guardrail_failed_to_respond" {
        warn(&mut row.call, "guardrail_failed");
    }
    let score = ["confidence_score", "risk_score"]
        .iter()
        .find_map(|path| information.float(path, "guardrail_findings"));
    let find = |policy, category, action| GuardrailFinding {
        direction: Some(direction),
        policy: Some(policy),
        category,
        action: Some(action),
        confidence: None,
        score,
    };
    let mut findings = Vec::new();
    let intervened = matches!(status, "guardrail_intervened" | "blocked");
    // Masking is what an intervention did, unless the call did not go on.
    let masks = if intervened && failed {
        "blocked"
    } else {
        "masked"
    };
    let masked = information.get("masked_entity_count");
    for (kind, count) in masked.into_iter().flat_map(Value::entries) {
        if count.as_int().is_some_and(|count| count > 0) && kind.len() <= LONGEST_NAME {
            findings.push(find("pii", Some(kind), masks));
        }
    }
    let declared = information
        .text("guardrail_action", "guardrail_action")
        .unwrap_or_default();
    let action = match declared.to_ascii_lowercase().as_str() {
        "blocked" | "block" | "deny" => "blocked",
        "masked" | "mask" | "anonymized" | "modify" => "masked",
        _ if intervened && findings.is_empty() => "blocked",
        _ if intervened => masks,
        _ => "detected",
    };
    if let Some(categories) = information.take("violation_categories", "guardrail_categories") {
        for category in categories
            .structure()
            .items_or_self()
            .filter_map(Value::as_text)
        {
            if category.len() <= LONGEST_NAME {
                findings.push(find("custom", Some(category), action));
            }
        }
    }
    if let Some(masked) = masked {
        masked.mark("guardrail_findings");
    }
    if intervened && findings.is_empty() {
        findings.push(find("custom", None, action));
    }
    row.call.guardrail_findings.append(&mut findings);
    let quoted = Turn::new(Direction::GuardrailMatch, None, 0);
    for key in [
        "guardrail_response",
        "match_details",
        "guardrail_request",
        "patterns",
    ] {
        if let Some(value) = information.take(key, "content") {
            quoted.leaves(row, PartType::Raw, value.structure());
        }
    }
}

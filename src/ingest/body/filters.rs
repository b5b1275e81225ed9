//! What filters say in a body: Azure's content filter results and Gemini's safety ratings. Each that found something is
//! a finding; `guardrail::settle` sums them up.

use super::parts::{self, code, warn};
use crate::ingest::guardrail::level;
use crate::ingest::json::Value;
use crate::ingest::record::CallRow;
use crate::schema::GuardrailFinding;

/// Notes that a filter withheld the prompt or the response.
pub(super) fn blocked(row: &mut CallRow<'_>) {
    row.call.guardrail_action = Some("blocked");
    parts::blocked(&mut row.call);
}

/// The same where the log gives a reason: that is the finding, unless one of the ratings was.
pub(super) fn stopped<'a>(row: &mut CallRow<'a>, reason: &'a str, direction: &'static str) {
    let explains = |finding: &GuardrailFinding<'_>| {
        finding.action == Some("blocked") && finding.direction == Some(direction)
    };
    if !row.call.guardrail_findings.iter().any(explains) {
        row.call.guardrail_findings.push(GuardrailFinding {
            direction: Some(direction),
            policy: Some(match reason {
                "SPII" => "pii",
                "BLOCKLIST" => "word",
                _ => "content",
            }),
            category: Some(reason),
            action: Some("blocked"),
            ..GuardrailFinding::default()
        });
    }
    blocked(row);
}

/// Azure's `content_filter_results`: an object by category, each `{filtered, severity}` or `{filtered, detected}`.
///
/// A category that is safe is no finding; one that was seen and let through is `detected`.
pub(super) fn azure<'a>(results: Value<'a>, direction: &'static str, row: &mut CallRow<'a>) {
    for (category, result) in results.structure().entries() {
        if code(category).is_none() {
            continue;
        }
        // The filter itself failed, so nothing was checked.
        if category.eq_ignore_ascii_case("error") {
            warn(&mut row.call, "content_filter_error");
            continue;
        }
        row.call.guardrail_action.get_or_insert("none");
        // Blocklists came as a bare list once.
        let list = if result.is_array() {
            Some(result)
        } else {
            result
                .get("details")
                .or_else(|| result.get("sub_categories"))
        };
        let before = row.call.guardrail_findings.len();
        for item in list.into_iter().flat_map(Value::items) {
            let name = ["id", "sub_category", "name"]
                .iter()
                .find_map(|key| item.get(key)?.as_text().filter(|name| code(name).is_some()));
            if let Some(name) = name {
                azure_result(item, category, name, direction, row);
            }
        }
        if row.call.guardrail_findings.len() == before && result.is_object() {
            azure_result(result, category, category, direction, row);
        }
    }
}

fn azure_result<'a>(
    result: Value<'a>,
    category: &str,
    name: &'a str,
    direction: &'static str,
    row: &mut CallRow<'a>,
) {
    let is = |key: &str| result.get(key).and_then(Value::as_bool) == Some(true);
    let severity = result
        .get("severity")
        .and_then(Value::as_str)
        .and_then(level);
    let action = if is("redacted") {
        "masked"
    } else if is("filtered") {
        "blocked"
    } else if is("detected") || severity.is_some_and(|severity| severity != "none") {
        "detected"
    } else {
        return;
    };
    row.call.guardrail_findings.push(GuardrailFinding {
        direction: Some(direction),
        policy: Some(azure_policy(category)),
        category: Some(name),
        action: Some(action),
        confidence: severity,
        score: None,
    });
}

fn azure_policy(category: &str) -> &'static str {
    match category.to_ascii_lowercase().as_str() {
        "profanity" | "custom_blocklists" => "word",
        "custom_topics" => "topic",
        "personally_identifiable_information" => "pii",
        "ungrounded_material" => "grounding",
        "task_adherence" => "reasoning",
        _ => "content",
    }
}

/// Gemini's `safetyRatings`: `{category, probability, severity, blocked}`, each with a score beside it.
///
/// `NEGLIGIBLE` is no finding unless it blocked.
pub(super) fn gemini<'a>(ratings: Value<'a>, direction: &'static str, row: &mut CallRow<'a>) {
    for rating in ratings.structure().items_or_self() {
        let word = |key: &str| rating.get(key).and_then(Value::as_str);
        let Some(category) = word("category").filter(|category| code(category).is_some()) else {
            continue;
        };
        row.call.guardrail_action.get_or_insert("none");
        let is_blocked = rating.get("blocked").and_then(Value::as_bool) == Some(true);
        let probability = word("probability").and_then(level);
        if !is_blocked && probability.is_none_or(|probability| probability == "none") {
            continue;
        }
        row.call.guardrail_findings.push(GuardrailFinding {
            direction: Some(direction),
            policy: Some("content"),
            category: category.strip_prefix("HARM_CATEGORY_").or(Some(category)),
            action: Some(if is_blocked { "blocked" } else { "detected" }),
            confidence: probability,
            score: ["probabilityScore", "probability_score"]
                .iter()
                .find_map(|key| rating.get(key)?.as_float()),
        });
    }
}

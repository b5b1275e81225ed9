//! What guardrails say in a body: Azure's content filter results, Gemini's safety ratings, and the columns that sum up
//! either.

use super::parts::{code, warn};
use crate::ingest::json::Value;
use crate::ingest::record::CallRow;
use crate::schema::GuardrailFinding;

/// Severities in rising order.
const SEVERITIES: [&str; 4] = ["none", "low", "medium", "high"];

/// Actions in rising order.
const ACTIONS: [&str; 4] = ["none", "detected", "masked", "blocked"];

/// A guardrail ran: its action stands at least at `action`.
pub(crate) fn ran(row: &mut CallRow<'_>, action: &'static str) {
    raise(&mut row.call.guardrail_action, action, &ACTIONS);
}

/// A guardrail withheld the prompt or the response.
pub(crate) fn blocked(row: &mut CallRow<'_>) {
    ran(row, "blocked");
    row.call.outcome = "blocked";
}

/// A guardrail withheld the prompt or the response and gave no more than a reason, which is the finding if none of the
/// ratings was.
pub(crate) fn stopped<'a>(row: &mut CallRow<'a>, reason: &'a str, direction: &'static str) {
    let is_explained =
        row.call.guardrail_findings.iter().any(|finding| {
            finding.action == Some("blocked") && finding.direction == Some(direction)
        });
    if !is_explained {
        let policy = match reason {
            "SPII" => "pii",
            "BLOCKLIST" => "word",
            _ => "content",
        };
        find(
            row,
            GuardrailFinding {
                direction: Some(direction),
                policy: Some(policy),
                category: Some(reason),
                action: Some("blocked"),
                confidence: None,
                score: None,
            },
        );
    }
    blocked(row);
}

/// Notes a finding, and in the columns that sum up all of them.
pub(crate) fn find<'a>(row: &mut CallRow<'a>, finding: GuardrailFinding<'a>) {
    if let Some(action) = finding.action {
        raise(&mut row.call.guardrail_action, action, &ACTIONS);
    }
    if let Some(severity) = finding.confidence {
        severity_at_least(row, severity);
    }
    add(&mut row.call.guardrail_policies, finding.policy);
    add(&mut row.call.guardrail_categories, finding.category);
    row.call.guardrail_findings.push(finding);
}

/// The strongest severity that was logged is at least this one.
fn severity_at_least<'a>(row: &mut CallRow<'a>, severity: &'a str) {
    raise(&mut row.call.guardrail_max_severity, severity, &SEVERITIES);
}

fn raise<'a>(cell: &mut Option<&'a str>, word: &'a str, order: &[&str]) {
    let rank = |word: &str| order.iter().position(|known| *known == word);
    if cell.is_none_or(|current| rank(current) < rank(word)) {
        *cell = Some(word);
    }
}

fn add<'a>(list: &mut Vec<&'a str>, word: Option<&'a str>) {
    if let Some(word) = word.filter(|word| !list.contains(word)) {
        list.push(word);
    }
}

/// Azure's `content_filter_results`: an object by category, each `{filtered, severity}` or `{filtered, detected}`.
///
/// A category that is safe is no finding; one that was seen and let through is `detected`.
pub(crate) fn azure<'a>(results: Value<'a>, direction: &'static str, row: &mut CallRow<'a>) {
    for (category, result) in results.structure().entries() {
        let Some(category) = code(category) else {
            continue;
        };
        // The filter itself failed, so nothing was checked.
        if category.eq_ignore_ascii_case("error") {
            warn(&mut row.call, "content_filter_error");
            continue;
        }
        let named = ["details", "sub_categories"]
            .iter()
            .find_map(|key| result.get(key));
        // Blocklists came as a bare list once.
        let list = if result.is_array() {
            Some(result)
        } else {
            named
        };
        let before = row.call.guardrail_findings.len();
        for item in list.into_iter().flat_map(Value::items) {
            let name = ["id", "sub_category", "name"]
                .iter()
                .find_map(|key| item.get(key)?.as_text().and_then(code));
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
    let is = |key: &str| result.get(key).and_then(Value::as_bool).unwrap_or(false);
    let severity = result
        .get("severity")
        .and_then(Value::as_str)
        .and_then(|word| severity(word, "safe"));
    ran(row, "none");
    let action = if is("redacted") {
        "masked"
    } else if is("filtered") {
        "blocked"
    } else if is("detected") || severity.is_some_and(|severity| severity != "none") {
        "detected"
    } else {
        if let Some(severity) = severity {
            severity_at_least(row, severity);
        }
        return;
    };
    find(
        row,
        GuardrailFinding {
            direction: Some(direction),
            policy: Some(azure_policy(category)),
            category: Some(name),
            action: Some(action),
            confidence: severity,
            score: None,
        },
    );
}

/// A vendor's word for a severity as one of ours; `nothing` is its word for none.
fn severity(word: &str, nothing: &str) -> Option<&'static str> {
    if word.eq_ignore_ascii_case(nothing) {
        return Some("none");
    }
    SEVERITIES
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(word))
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
pub(crate) fn gemini<'a>(ratings: Value<'a>, direction: &'static str, row: &mut CallRow<'a>) {
    for rating in ratings.structure().items_or_self() {
        let word = |key: &str| rating.get(key).and_then(Value::as_str);
        let Some(category) = word("category").and_then(code) else {
            continue;
        };
        let is_blocked = rating
            .get("blocked")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let probability = word("probability").and_then(|word| severity(word, "NEGLIGIBLE"));
        ran(row, "none");
        if let Some(probability) = probability {
            severity_at_least(row, probability);
        }
        if !is_blocked && probability.is_none_or(|probability| probability == "none") {
            continue;
        }
        find(
            row,
            GuardrailFinding {
                direction: Some(direction),
                policy: Some("content"),
                category: Some(category.strip_prefix("HARM_CATEGORY_").unwrap_or(category)),
                action: Some(if is_blocked { "blocked" } else { "detected" }),
                confidence: probability,
                score: ["probabilityScore", "probability_score"]
                    .iter()
                    .find_map(|key| rating.get(key)?.as_float()),
            },
        );
    }
}

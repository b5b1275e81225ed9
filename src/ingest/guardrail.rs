//! What Bedrock Guardrails say about a call, in both dialects.
//!
//! Converse writes `trace.guardrail.{inputAssessment, outputAssessments, modelOutput}`, InvokeModel writes
//! `amazon-bedrock-trace.guardrail.{input, outputs, modelOutput}` with the verdict beside it. Assessments stand under
//! the guardrail's id, on the output side in an array of such objects or in arrays under each id.
//!
//! A finding is one policy that saw something: blocked, masked, or, in detect-only mode, let through. Names and kinds are
//! metadata; what matched is the user's text and becomes a part.
//!
//! [`settle`] sums findings up for every format.

use super::body::parts::{Turn, blocked, code, keep_codes, warn};
use super::json::Value;
use super::record::{CallRow, Direction, PartType};
use crate::schema::{Call, GuardrailFinding};

/// Notes that a guardrail ran, by its id or ARN.
pub(crate) fn ran<'a>(row: &mut CallRow<'a>, id: &'a str) {
    let id = id.rsplit('/').next().unwrap_or(id);
    if code(id).is_some() && !row.call.guardrail_ids.contains(&id) {
        row.call.guardrail_ids.push(id);
    }
    row.call.guardrail_action.get_or_insert("none");
}

/// Notes the verdict that stands beside a response: `INTERVENED`, `GUARDRAIL_INTERVENED` or `NONE`.
pub(crate) fn action(verdict: &str, row: &mut CallRow<'_>) {
    if verdict.to_ascii_uppercase().ends_with("INTERVENED") {
        row.call.guardrail_action = Some("blocked");
    } else {
        row.call.guardrail_action.get_or_insert("none");
    }
}

/// Reads `trace.guardrail` of Converse or `amazon-bedrock-trace.guardrail` of InvokeModel.
pub(crate) fn trace<'a>(trace: Value<'a>, row: &mut CallRow<'a>) {
    let trace = trace.structure();
    row.call.guardrail_action.get_or_insert("none");
    for (key, value) in trace.entries() {
        match key.to_ascii_lowercase().as_str() {
            "inputassessment" | "inputassessments" | "input" => assessments(value, "input", row),
            "outputassessment" | "outputassessments" | "outputs" | "output" => {
                assessments(value, "output", row);
            }
            "modeloutput" => {
                let withheld = Turn::new(Direction::Withheld, Some("assistant"), 0);
                for text in value.items_or_self() {
                    withheld.text_or_leaves(row, text);
                }
                value.mark("content");
            }
            // A sentence of the service about what it saw.
            "actionreason" => {
                Turn::ERROR.text_or_leaves(row, value);
                value.mark("content");
            }
            _ => keep_codes(value),
        }
    }
}

/// Where a guardrail's quotation of the text goes.
fn quoted<'a>(direction: &str) -> Turn<'a> {
    let role = match direction {
        "input" => "user",
        _ => "assistant",
    };
    Turn::new(Direction::GuardrailMatch, Some(role), 0)
}

/// Assessments by guardrail: `{id: assessment}`, `{id: [assessment]}`, an array of either, or of bare assessments.
fn assessments<'a>(value: Value<'a>, direction: &'static str, row: &mut CallRow<'a>) {
    let value = value.structure();
    for by_guardrail in value.items_or_self() {
        if !by_guardrail.is_object() {
            by_guardrail.mark("content");
        }
        if is_assessment(by_guardrail) {
            read_assessment(by_guardrail, direction, row);
            continue;
        }
        for (id, list) in by_guardrail.entries() {
            if code(id).is_none() {
                by_guardrail.mark("content");
            }
            ran(row, id);
            for assessment in list.structure().items_or_self() {
                read_assessment(assessment, direction, row);
            }
        }
    }
}

/// One kind of result: where it stands, its policy, what names its category.
struct Kind {
    policy: &'static str,
    list: &'static str,
    name: &'static str,
    category: &'static str,
}

const KINDS: [Kind; 7] = [
    kind("topicPolicy", "topics", "topic", "name"),
    kind("contentPolicy", "filters", "content", "type"),
    // The word itself would be the user's text.
    kind("wordPolicy", "customWords", "word", ""),
    kind("wordPolicy", "managedWordLists", "word", "type"),
    kind("sensitiveInformationPolicy", "piiEntities", "pii", "type"),
    kind("sensitiveInformationPolicy", "regexes", "pii", "name"),
    kind("contextualGroundingPolicy", "filters", "grounding", "type"),
];

const fn kind(
    policy: &'static str,
    list: &'static str,
    name: &'static str,
    category: &'static str,
) -> Kind {
    Kind {
        policy,
        list,
        name,
        category,
    }
}

/// Whether a value is an assessment itself and not one under its guardrail's id.
fn is_assessment(value: Value<'_>) -> bool {
    let has = |policy| value.get(policy).is_some();
    has("automatedReasoningPolicy")
        || has("invocationMetrics")
        || KINDS.iter().any(|kind| has(kind.policy))
}

fn read_assessment<'a>(assessment: Value<'a>, direction: &'static str, row: &mut CallRow<'a>) {
    if !assessment.is_object() {
        assessment.mark("content");
        return;
    }
    for kind in &KINDS {
        let Some(results) = assessment
            .get(kind.policy)
            .and_then(|policy| policy.get(kind.list))
        else {
            continue;
        };
        for result in results.structure().items_or_self() {
            read_result(result, kind, direction, row);
        }
    }
    if let Some(reasoning) = assessment.get("automatedReasoningPolicy") {
        for finding in reasoning
            .get("findings")
            .into_iter()
            .flat_map(Value::items_or_self)
        {
            automated_reasoning(finding, direction, row);
        }
    }
    for (key, value) in assessment.entries() {
        // Latency, units and coverage, and which guardrail it was, are figures and ids; all else is read above.
        match key {
            "invocationMetrics" | "appliedGuardrailDetails" => keep_codes(value),
            "automatedReasoningPolicy" => drop(value.mark("guardrail_findings")),
            _ if KINDS.iter().any(|kind| kind.policy == key) => {
                value.mark("guardrail_findings");
            }
            _ => {
                quoted(direction).leaves(row, PartType::Raw, value);
                value.mark("content");
                warn(&mut row.call, "unknown_guardrail_policy");
            }
        }
    }
}

fn read_result<'a>(result: Value<'a>, kind: &Kind, direction: &'static str, row: &mut CallRow<'a>) {
    let string = |key| result.get(key).and_then(Value::as_str);
    let score = result.get("score").and_then(Value::as_float);
    let threshold = result.get("threshold").and_then(Value::as_float);
    let confidence = string("confidence").and_then(level);
    let action = match string("action").unwrap_or_default() {
        text if text.eq_ignore_ascii_case("BLOCKED") => "blocked",
        text if text.eq_ignore_ascii_case("ANONYMIZED") => "masked",
        // Detect only, or a result that is listed and found nothing.
        _ => {
            let seen = match (result.get("detected").and_then(Value::as_bool), score) {
                (Some(detected), _) => detected,
                (None, Some(score)) => threshold.is_some_and(|threshold| score < threshold),
                (None, None) => confidence != Some("none"),
            };
            if !seen {
                return;
            }
            "detected"
        }
    };
    if let Some(text) = string("match") {
        quoted(direction).text(row, PartType::Text, text);
    }
    let category = match kind.category {
        "" => Some("CUSTOM_WORD"),
        // Written by the guardrail's author, so it may have spaces; a name has no more than this.
        key => string(key).filter(|name| (1..=200).contains(&name.len())),
    };
    row.call.guardrail_findings.push(GuardrailFinding {
        direction: Some(direction),
        policy: Some(kind.name),
        category,
        action: Some(action),
        confidence,
        score,
    });
}

/// `{"invalid": {…}}`: the key says what was proved, the rest quotes the text.
fn automated_reasoning<'a>(finding: Value<'a>, direction: &'static str, row: &mut CallRow<'a>) {
    for (verdict, details) in finding.entries() {
        quoted(direction).leaves(row, PartType::Raw, details);
        if code(verdict).is_some() && !verdict.eq_ignore_ascii_case("valid") {
            row.call.guardrail_findings.push(GuardrailFinding {
                direction: Some(direction),
                policy: Some("reasoning"),
                category: Some(verdict),
                action: Some("detected"),
                ..GuardrailFinding::default()
            });
        }
    }
}

/// A confidence, severity or probability in the schema's four words.
pub(crate) fn level(raw: &str) -> Option<&'static str> {
    const LEVELS: [(&str, &[&str]); 4] = [
        ("none", &["none", "safe", "negligible"]),
        ("low", &["low", "low_and_above"]),
        ("medium", &["medium", "medium_and_above"]),
        ("high", &["high"]),
    ];
    LEVELS
        .iter()
        .find(|(_, names)| names.iter().any(|name| name.eq_ignore_ascii_case(raw)))
        .map(|(level, _)| *level)
}

/// Sums up the findings: policies, categories, the highest severity, the strongest action, and `blocked` as the outcome
/// of a call that was stopped. The last step of a decoder that fills `guardrail_findings`.
///
/// A guardrail that intervened by masking alone did not block: the caller got an answer.
pub(crate) fn settle(call: &mut Call<'_>) {
    let order = |words: [&'static str; 4], word: Option<&str>| {
        words.iter().position(|known| Some(*known) == word)
    };
    let levels = ["none", "low", "medium", "high"];
    let actions = ["none", "detected", "masked", "blocked"];
    let (mut severity, mut strongest) = (None, None);
    for finding in &call.guardrail_findings {
        severity = severity.max(order(levels, finding.confidence));
        strongest = strongest.max(order(actions, finding.action));
        for (list, name) in [
            (&mut call.guardrail_policies, finding.policy),
            (&mut call.guardrail_categories, finding.category),
        ] {
            if let Some(name) = name
                && !list.contains(&name)
            {
                list.push(name);
            }
        }
    }
    if call.guardrail_max_severity.is_none() {
        call.guardrail_max_severity = match (severity, call.guardrail_action) {
            (Some(level), _) => Some(levels[level]),
            (None, Some("none")) if call.guardrail_findings.is_empty() => Some("none"),
            _ => None,
        };
    }
    call.guardrail_action = match (call.guardrail_action, strongest.map(|at| actions[at])) {
        (_, found @ Some("blocked" | "masked")) => found,
        (Some("blocked"), _) => Some("blocked"),
        (declared, found) => found.or(declared),
    };
    if call.guardrail_action == Some("blocked") {
        blocked(call);
    }
}

#[cfg(test)]
mod tests;

//! What counts as a finding, as a block, and where assessments hide.

use super::super::json::Arena;
use super::*;

/// Action, outcome and severity after a trace and the verdict beside it.
fn read(
    text: &str,
    verdict: &str,
) -> (
    Option<&'static str>,
    &'static str,
    Option<&'static str>,
    usize,
) {
    let arena = Arena::new();
    let mut row = CallRow::default();
    trace(arena.parse(text.as_bytes()).unwrap(), &mut row);
    action(verdict, &mut row);
    settle(&mut row.call);
    // The words are the module's own; only their lifetime is the record's.
    let word = |found: Option<&str>| {
        [
            "none", "detected", "masked", "blocked", "low", "medium", "high",
        ]
        .into_iter()
        .find(|word| Some(*word) == found)
    };
    (
        word(row.call.guardrail_action),
        word(Some(row.call.outcome)).unwrap_or(""),
        word(row.call.guardrail_max_severity),
        row.call.guardrail_findings.len(),
    )
}

#[test]
fn only_a_block_is_an_outcome() {
    let filter = |action: &str, more: &str| {
        format!(
            r#"{{"input":{{"g":{{"contentPolicy":{{"filters":[{{"type":"HATE","confidence":"MEDIUM","action":"{action}"{more}}}]}}}}}}}}"#
        )
    };
    assert_eq!(
        read(&filter("BLOCKED", ""), "INTERVENED"),
        (Some("blocked"), "blocked", Some("medium"), 1)
    );
    assert_eq!(
        read(&filter("ANONYMIZED", ""), "INTERVENED"),
        (Some("masked"), "", Some("medium"), 1)
    );
    assert_eq!(
        read(&filter("NONE", ""), "NONE"),
        (Some("detected"), "", Some("medium"), 1)
    );
    assert_eq!(
        read(&filter("NONE", r#","detected":true"#), "NONE"),
        (Some("detected"), "", Some("medium"), 1)
    );
    // Listed, and found nothing: no finding.
    assert_eq!(
        read(&filter("NONE", r#","detected":false"#), "NONE"),
        (Some("none"), "", Some("none"), 0)
    );
}

#[test]
fn assessments_are_found_in_every_nesting() {
    let assessment =
        r#"{"contentPolicy":{"filters":[{"type":"HATE","confidence":"LOW","action":"BLOCKED"}]}}"#;
    for text in [
        format!(r#"{{"inputAssessment":{{"g":{assessment}}}}}"#),
        format!(r#"{{"outputAssessments":{{"g":[{assessment}]}}}}"#),
        format!(r#"{{"outputAssessments":[{{"g":{assessment}}}]}}"#),
        format!(r#"{{"outputs":[{{"g":[{assessment}]}}]}}"#),
        format!(r#"{{"outputs":[{assessment}]}}"#),
        format!(r#"{{"input":{assessment}}}"#),
    ] {
        assert_eq!(
            read(&text, "NONE"),
            (Some("blocked"), "blocked", Some("low"), 1),
            "{text}"
        );
    }
}

#[test]
fn a_policy_nobody_knows_keeps_its_words_and_says_so() {
    let arena = Arena::new();
    let mut row = CallRow::default();
    let text = br#"{"input":{"g":{"newPolicy":{"hits":[{"quote":"their words"}]}}}}"#;
    let found = arena.parse(text).unwrap();
    trace(found, &mut row);
    assert_eq!(row.parts[0].text, Some("their words"));
    assert_eq!(row.call.parse_warnings, ["unknown_guardrail_policy"]);
    assert_eq!(found.leftover(), None);
}

#[test]
fn an_intervention_without_a_trace_is_a_block() {
    assert_eq!(
        read("{}", "INTERVENED"),
        (Some("blocked"), "blocked", None, 0)
    );
    assert_eq!(
        read("{}", "GUARDRAIL_INTERVENED"),
        (Some("blocked"), "blocked", None, 0)
    );
    assert_eq!(read("{}", "NONE"), (Some("none"), "", Some("none"), 0));
}

#[test]
fn grounding_is_found_wanting_below_its_threshold_only() {
    let grounding = |score: &str| {
        format!(
            r#"{{"outputs":[{{"g":{{"contextualGroundingPolicy":{{"filters":[{{"type":"GROUNDING","threshold":0.7,"score":{score},"action":"NONE"}}]}}}}}}]}}"#
        )
    };
    assert_eq!(read(&grounding("0.69"), "NONE").3, 1);
    assert_eq!(read(&grounding("0.7"), "NONE").3, 0);
}

#[test]
fn a_failed_call_stays_failed() {
    let mut call = Call {
        outcome: "failure",
        guardrail_action: Some("blocked"),
        ..Call::default()
    };
    settle(&mut call);
    assert_eq!(call.outcome, "failure");
}

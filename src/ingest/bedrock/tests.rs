//! Every variant of the log, as rows; and that no word of a prompt leaves the parts.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::json::Arena;
use super::super::mutate;
use super::super::testing::{decode_lines, decode_record};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/testdata/formats/bedrock/",
            $name
        ))
    };
}

#[test]
fn converse() {
    insta::assert_snapshot!(decode_lines(fixture!("converse.jsonl")));
}

#[test]
fn invoke_model() {
    insta::assert_snapshot!(decode_lines(fixture!("invoke_model.jsonl")));
}

#[test]
fn streams() {
    insta::assert_snapshot!(decode_lines(fixture!("streams.jsonl")));
}

#[test]
fn guardrails() {
    insta::assert_snapshot!(decode_lines(fixture!("guardrails.jsonl")));
}

#[test]
fn edges() {
    insta::assert_snapshot!(decode_lines(fixture!("edges.jsonl")));
}

const ALL: &str = concat!(
    fixture!("converse.jsonl"),
    fixture!("invoke_model.jsonl"),
    fixture!("streams.jsonl"),
    fixture!("guardrails.jsonl"),
    fixture!("edges.jsonl"),
);

/// Every fixture.
static RECORDS: LazyLock<Vec<serde_json::Value>> = LazyLock::new(|| {
    ALL.lines()
        .map(|line| serde_json::from_str(line).expect("a fixture is JSON"))
        .collect()
});

/// Keys under which a body has what a person, a model or a tool said.
const WORDS: [&str; 32] = [
    "text",
    "content",
    "thinking",
    "prompt",
    "inputText",
    "outputText",
    "generation",
    "completion",
    "message",
    "says",
    "answers",
    "match",
    "naturalLanguage",
    "modelOutput",
    "actionReason",
    "negativeText",
    "query",
    "documents",
    "texts",
    "title",
    "snippet",
    "description",
    "data",
    "preamble",
    "partial_json",
    "path",
    "city",
    "to",
    "words",
    "system",
    "errorMessage",
    "stopSequences",
];

/// Puts the marker in place of every word that was said.
fn plant(value: &mut serde_json::Value, said: bool, marker: &str) {
    use serde_json::Value;
    match value {
        Value::String(text) if said => *text = marker.to_owned(),
        Value::Array(items) => {
            for item in items {
                plant(item, said, marker);
            }
        }
        Value::Object(entries) => {
            for (key, value) in entries {
                let said = WORDS.contains(&key.as_str());
                plant(value, said, marker);
            }
        }
        _ => {}
    }
}

/// What is written of a record outside the parts.
fn columns(decoded: &str) -> String {
    decoded
        .lines()
        .filter(|line| !line.starts_with("-- part"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn no_word_that_was_said_is_in_a_column() {
    // One that could pass for a code as well.
    for marker in ["three planted words", "planted-word"] {
        let mut parts = 0;
        for mut record in RECORDS.iter().cloned() {
            plant(&mut record, false, marker);
            let decoded = decode_record(record.to_string().as_bytes());
            assert!(!columns(&decoded).contains(marker), "{decoded}");
            parts += decoded.matches(marker).count();
        }
        assert!(parts > 100, "the marker reaches the parts: {parts}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn changed_records_end_as_a_row_or_a_reason(which in 0_usize..100, changes in mutate::mutations()) {
        let mut record = RECORDS[which % RECORDS.len()].clone();
        plant(&mut record, false, "three planted words");
        let text = mutate::apply(&record, &changes);
        let arena = Arena::new();
        let changed = arena.parse(text.as_bytes()).expect("a changed record is JSON");
        // What is no longer of this format is for another decoder.
        if !super::recognises(changed) {
            return Ok(());
        }
        let decoded = decode_record(text.as_bytes());
        prop_assert!(!columns(&decoded).contains("planted"), "{}", decoded);
        let ends = ["-- call", "rejected: "];
        prop_assert!(ends.iter().any(|end| decoded.contains(end)), "{}", decoded);
    }
}

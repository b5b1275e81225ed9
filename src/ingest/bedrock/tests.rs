//! Every variant of the log, as rows; and that no word of a prompt leaves the parts.

use super::super::testing::decode_lines;

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

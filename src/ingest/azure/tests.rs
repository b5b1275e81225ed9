//! Every variant of the log, as rows; and that no word of a prompt leaves the parts.

use crate::ingest::testing::{decode_lines, texts_stay_in_parts};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/testdata/formats/azure/",
            $name,
            ".jsonl"
        ))
    };
}

#[test]
fn request_response() {
    insta::assert_snapshot!(decode_lines(fixture!("request_response")));
}

#[test]
fn other_categories() {
    insta::assert_snapshot!(decode_lines(fixture!("other_categories")));
}

#[test]
fn activity() {
    insta::assert_snapshot!(decode_lines(fixture!("activity")));
}

#[test]
fn gateway() {
    insta::assert_snapshot!(decode_lines(fixture!("gateway")));
}

#[test]
fn gateway_llm() {
    insta::assert_snapshot!(decode_lines(fixture!("gateway_llm")));
}

const ALL: &str = concat!(
    fixture!("request_response"),
    fixture!("other_categories"),
    fixture!("activity"),
    fixture!("gateway"),
    fixture!("gateway_llm"),
);

texts_stay_in_parts!(ALL);

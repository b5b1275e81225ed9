//! Every variant of the log, as rows; and that no word of a prompt leaves the parts.

use crate::ingest::testing::{decode_lines, texts_stay_in_parts};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/testdata/formats/gcp_audit/",
            $name,
            ".jsonl"
        ))
    };
}

#[test]
fn calls() {
    insta::assert_snapshot!(decode_lines(fixture!("calls")));
}

#[test]
fn admin() {
    insta::assert_snapshot!(decode_lines(fixture!("admin")));
}

const ALL: &str = concat!(fixture!("calls"), fixture!("admin"),);

texts_stay_in_parts!(ALL);

//! Management events and calls as rows.

use super::super::testing::decode_lines;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/testdata/formats/cloudtrail/",
            $name
        ))
    };
}

#[test]
fn management() {
    insta::assert_snapshot!(decode_lines(fixture!("management.jsonl")));
}

#[test]
fn runtime() {
    insta::assert_snapshot!(decode_lines(fixture!("runtime.jsonl")));
}

//! Every variant of the log, as rows; and that no word of a prompt leaves the parts.

use crate::ingest::testing::{decode_lines, texts_stay_in_parts};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/testdata/formats/vertex/",
            $name,
            ".jsonl"
        ))
    };
}

#[test]
fn request_response() {
    insta::assert_snapshot!(decode_lines(fixture!("request_response")));
}

const ALL: &str = concat!(fixture!("request_response"),);

texts_stay_in_parts!(ALL);

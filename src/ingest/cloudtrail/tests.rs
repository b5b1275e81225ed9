//! Management events and calls as rows.

use proptest::prelude::*;

use super::super::json::Arena;
use super::super::mutate;
use super::super::testing::{decode_lines, decode_record};

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn changed_events_end_as_a_row_or_a_reason(which in 0_usize..100, changes in mutate::mutations()) {
        let lines: Vec<_> = concat!(fixture!("management.jsonl"), fixture!("runtime.jsonl")).lines().collect();
        let record = serde_json::from_str(lines[which % lines.len()]).expect("a fixture is JSON");
        let text = mutate::apply(&record, &changes);
        let arena = Arena::new();
        // What is no longer of this format is for another decoder.
        if !super::recognises(arena.parse(text.as_bytes()).expect("a changed event is JSON")) {
            return Ok(());
        }
        let decoded = decode_record(text.as_bytes());
        let ends = ["-- call", "-- audit", "-- skipped: ", "rejected: "];
        prop_assert!(ends.iter().any(|end| decoded.contains(end)), "{}", decoded);
        // What an agent was asked, or an error quotes, is no column of a call.
        if decoded.contains("-- call") {
            let columns = decoded.lines().filter(|line| !line.starts_with("-- part"));
            prop_assert!(columns.clone().all(|line| !line.contains("tell me a secret")), "{}", decoded);
        }
    }
}

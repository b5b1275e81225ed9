//! Every variant of the log, as rows; and that no word of a prompt leaves the parts.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::ingest::mutate;
use crate::ingest::testing::{decode_lines, decode_record};

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

/// What every text of a person, a model or a tool begins with in the fixtures.
const MARKER: &str = "QUOKKA";

/// The lines of a decoded record that are columns, and not parts.
fn columns(decoded: &str) -> impl Iterator<Item = &str> {
    decoded.lines().filter(|line| !line.starts_with("-- part"))
}

fn assert_kept_apart(decoded: &str) {
    if let Some(line) = columns(decoded).find(|line| line.contains(MARKER)) {
        panic!("a text left the parts: {line}");
    }
}

#[test]
fn texts_are_parts_and_nothing_else() {
    assert!(ALL.contains(MARKER));
    for line in ALL.lines() {
        assert_kept_apart(&decode_record(line.as_bytes()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn changed_records_are_read_or_refused(at in any::<prop::sample::Index>(), changes in mutate::mutations()) {
        let lines: Vec<_> = ALL.lines().collect();
        let record = serde_json::from_str(lines[at.index(lines.len())]).expect("a fixture is JSON");
        let changed = mutate::apply(&record, &changes);
        let decoded = decode_record(changed.as_bytes());
        // A row, a skip, a refusal, or no format of ours any more.
        prop_assert!(decoded.lines().count() > 1 || decoded.contains("not recognised"), "{decoded}");
        assert_kept_apart(&decoded);
    }
}

//! The gate of a quiet day.

use std::fs;

use serde_json::Value;

use super::why::{Place, rule, tick};

/// `test --noise` over a few hundred calls: one rule that fires for whoever has called, one that never does.
fn tested(noise: &str, arguments: &[&str]) -> (i32, String, String) {
    let place = Place::new(&rule(""), &[tick(1)]);
    let rules = place.folder.path().join("rules");
    let talker = rule(noise)
        .replace("\"burn\"", "\"talker\"")
        .replace("500_000", "0");
    fs::write(rules.join("talker.sql"), talker).expect("ours");
    let mut all = vec![
        "test",
        "rules",
        "--quick",
        "--noise",
        "--noise-calls",
        "400",
    ];
    all.extend(arguments);
    place.program(&all)
}

#[test]
fn a_rule_that_finds_what_is_ordinary_does_not_pass() {
    let (code, out, errors) = tested("", &["--format", "json"]);
    assert_eq!(code, 1, "{errors}");
    let report: Value = serde_json::from_str(&out).expect("an object");
    let [burn, talker] = &report["noise"].as_array().expect("a list")[..] else {
        panic!("{out}");
    };
    // A caller has a hundred times fewer tokens in an hour of such a day.
    assert_eq!(
        (&burn["rule"], &burn["findings"], &burn["passed"]),
        (&"burn".into(), &0.into(), &true.into())
    );
    assert_eq!(burn["calls"], 400);
    // The rule of three: none in 400 is below 3 / 400.
    let bound = burn["bound_per_call"].as_f64().expect("a number");
    assert!((bound - 2.9957 / 400.0).abs() < 1e-6, "{bound}");
    // Sixty callers, most of whom call.
    assert_eq!(
        (&talker["allowed"], &talker["passed"]),
        (&"<= 1 per 10k calls".into(), &false.into())
    );
    assert!(talker["findings"].as_u64() > Some(30), "{talker}");
    assert_eq!(report["failed"], 1);
    // Allowed, it passes; who says so is told.
    let (code, out, errors) = tested("noise = \"<= 1 per 1 calls\"", &[]);
    assert_eq!(code, 0, "{out}{errors}");
    assert!(
        out.contains("noise of 2 rules on a quiet day of 400 calls: "),
        "{out}"
    );
    assert!(out.contains("allowed <= 1 per 1 calls\n"), "{out}");
    // Nonsense is not taken for nothing.
    let (code, out, _) = tested("noise = \"little\"", &[]);
    assert_eq!(code, 2);
    assert!(
        out.contains("`little` is not like `<= 1 per 10k calls`"),
        "{out}"
    );
}

//! Proposals for findings that were false: each is tried before it is made.

use std::fs;

use serde_json::Value;

use super::why::{Place, hour, row, rule, tick};

/// The names of the findings by caller.
fn findings(place: &Place) -> Vec<(String, String)> {
    let (_, out, errors) = place.program(&[
        "sql",
        "SELECT finding_id, entity FROM findings_now ORDER BY window_start, entity",
        "--format",
        "ndjson",
    ]);
    let rows = out.lines().map(|line| {
        let row: Value = serde_json::from_str(line).expect(&errors);
        let entity: Value =
            serde_json::from_str(row["entity"].as_str().expect("a text")).expect("an object");
        let text = |value: &Value| value.as_str().expect("a text").to_string();
        (text(&entity["caller"]), text(&row["finding_id"]))
    });
    rows.collect()
}

fn id(findings: &[(String, String)], caller: &str) -> String {
    let found = findings.iter().find(|(name, _)| name == caller);
    found.expect("is found").1.clone()
}

/// `low` has 600,000 tokens in the hour before noon, `high` 900,000.
fn place() -> Place {
    let mut rows = hour("low", 100_000);
    rows.extend(hour("high", 150_000));
    rows.push(row(1_000, "low", 2_000_000));
    rows.push(tick(1_200));
    let place = Place::new(&rule("quiet = \"10m\""), &rows);
    place.run(&[]);
    place
}

fn tune(place: &Place, arguments: &[&str]) -> (i32, String, String) {
    let mut all = vec!["tune", "--rules", "rules"];
    all.extend(arguments);
    place.program(&all)
}

#[test]
fn a_parameter_that_lies_between_is_proposed() {
    let place = place();
    let found = findings(&place);
    let (low, high) = (id(&found, "low"), id(&found, "high"));
    let (code, out, errors) = tune(&place, &["--fp", &low, "--tp", &high, "--by", "parameter"]);
    assert_eq!(code, 0, "{errors}");
    // 600,000 is the least that more than 600,000 is not: what lies under it would not silence it.
    assert_eq!(out, "[burn]\nmax_tokens = 600000\n");
    assert_eq!(
        errors,
        "`burn.max_tokens` from 500000 to 600000: tried, 1 false finding silent with it, 1 right one still fires\n"
    );
    // It does what it says, for somebody else who looks.
    fs::write(place.folder.path().join("params.toml"), &out).expect("ours");
    let (_, out, _) = place.program(&[
        "run",
        "--rules",
        "rules",
        "--params",
        "params.toml",
        "--from",
        "1970-01-01T00:00:00Z",
        "--dry-run",
        "--format",
        "ndjson",
    ]);
    let callers: Vec<String> = out
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("an object")["entity"]["caller"].to_string()
        })
        .collect();
    assert_eq!(callers, ["\"high\"", "\"low\""]);
    // The other way round no limit can tell them apart, and nothing is proposed.
    let (code, out, errors) = tune(&place, &["--fp", &high, "--tp", &low, "--by", "parameter"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        errors.contains("nothing that was tried silences 1 false finding"),
        "{errors}"
    );
}

#[test]
fn an_exception_is_proposed_and_written_once() {
    let place = place();
    let found = findings(&place);
    let (low, high) = (id(&found, "low"), id(&found, "high"));
    let arguments = [
        "--fp",
        &high,
        "--tp",
        &low,
        "--owner",
        "ml \"team\"",
        "--reason",
        "a batch job",
        "--expires",
        "1970-02-01",
        "--write",
        "batch.sql",
    ];
    let (code, out, errors) = tune(&place, &arguments);
    assert_eq!(code, 0, "{errors}");
    let wanted = "-- /// exception\n-- id      = \"batch\"\n-- rules   = [\"burn\"]\n-- reason  = \"a batch job\"\n\
                  -- owner   = 'ml \"team\"'\n-- expires = 1970-02-01T00:00:00Z\n-- ///\nSELECT 'high' AS caller\n";
    assert_eq!(out, wanted);
    let path = place.folder.path().join("batch.sql");
    assert_eq!(fs::read_to_string(&path).expect("is there"), wanted);
    // A file that is there stays.
    let (code, _, errors) = tune(&place, &arguments);
    assert_eq!(code, 2);
    assert!(errors.contains("`batch.sql` is there"), "{errors}");
    // With it, the findings are as it was said.
    let (_, out, _) = place.program(&[
        "run",
        "--rules",
        "rules",
        "--exceptions",
        "batch.sql",
        "--from",
        "1970-01-01T00:00:00Z",
        "--dry-run",
        "--format",
        "ndjson",
    ]);
    assert!(
        out.contains("\"low\"") && !out.contains("\"high\""),
        "{out}"
    );
    let (code, out, _) = place.program(&["fmt", "--check", "batch.sql"]);
    assert_eq!((code, out.as_str()), (0, ""));
}

#[test]
fn a_subject_that_is_right_elsewhere_is_not_excepted() {
    // `low` was false at noon and right in the afternoon, with far more.
    let place = place();
    let found = findings(&place);
    let of_low: Vec<&String> = found
        .iter()
        .filter(|(caller, _)| caller == "low")
        .map(|(_, id)| id)
        .collect();
    let [noon, afternoon] = of_low[..] else {
        panic!("{found:?}");
    };
    let (code, out, _) = tune(
        &place,
        &["--fp", noon, "--tp", afternoon, "--expires", "1970-02-01"],
    );
    assert_eq!((code, out.as_str()), (0, "[burn]\nmax_tokens = 600000\n"));
    let (code, out, _) = tune(
        &place,
        &[
            "--fp",
            noon,
            "--tp",
            afternoon,
            "--by",
            "exception",
            "--expires",
            "1970-02-01",
        ],
    );
    assert_eq!((code, out.as_str()), (1, ""));
}

#[test]
fn what_cannot_be_proved_is_said() {
    let place = place();
    let found = findings(&place);
    let (low, high) = (id(&found, "low"), id(&found, "high"));
    let error = |arguments: &[&str]| {
        let (code, _, errors) = tune(&place, arguments);
        assert_eq!(code, 2, "{errors}");
        errors
    };
    assert!(error(&["--fp", "0123"]).starts_with("inferwatch: no finding `0123`\nhint: "));
    assert!(error(&["--fp", &low, "--tp", &low]).contains("is both false and right"));
    assert!(error(&["--fp", &low, "--param", "max_token"]).contains("did you mean `max_tokens`?"));
    assert!(
        error(&[
            "--fp",
            &low,
            "--write",
            "x.sql",
            "--by",
            "exception",
            "--expires",
            "1970-02-01"
        ])
        .contains("`--owner NAME`")
    );
    // With other parameters than those it was found with, it does not come out again.
    fs::write(
        place.folder.path().join("params.toml"),
        "[burn]\nmax_tokens = 800_000\n",
    )
    .expect("ours");
    let (code, _, errors) = tune(
        &place,
        &["--fp", &low, "--tp", &high, "--params", "params.toml"],
    );
    assert_eq!(code, 2);
    assert!(
        errors.contains(&format!("finding `{low}` does not come out again")),
        "{errors}"
    );
}

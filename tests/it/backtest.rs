//! Looking back: against labels, beside another revision of a rule, and with other values of a parameter.

use std::fs;
use std::process::Command;

use insta::assert_snapshot;
use serde_json::Value;

use super::why::{Place, hour, row, rule, tick};

/// Two callers above 500,000 tokens an hour before noon, one with 300,000, and one that wakes at 16:00.
fn place() -> Place {
    let mut rows = hour("a", 100_000);
    rows.extend(hour("b", 150_000));
    rows.extend(hour("c", 50_000));
    rows.push(row(960, "a", 700_000));
    rows.push(tick(1_200));
    Place::new(&rule("quiet = \"10m\""), &rows)
}

fn backtest(place: &Place, arguments: &[&str]) -> (i32, Vec<Value>, String) {
    let mut all = vec!["backtest", "--rules", "rules", "--format", "ndjson"];
    all.extend(arguments);
    let (code, out, errors) = place.program(&all);
    let lines = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"));
    (code, lines.collect(), errors)
}

#[test]
fn findings_are_scored_against_labels() {
    let place = place();
    // `a` at noon is hit, `c` is missed; `a` in the afternoon and `b` are in no label.
    let labels = "caller,from,to\na,1970-01-01T11:00:00Z,1970-01-01T12:00:00Z\nc,1970-01-01T11:00:00Z,1970-01-01T12:00:00Z\n";
    fs::write(place.folder.path().join("labels.csv"), labels).expect("ours");
    let (code, lines, errors) = backtest(&place, &["--labels", "labels.csv"]);
    assert_eq!(code, 1, "{errors}");
    let score = &lines[0]["labels"];
    assert_eq!(
        (&score["wanted"], &score["hits"], &score["unknown"]),
        (&2.into(), &1.into(), &0.into())
    );
    assert_eq!(score["recall"]["value"], 0.5);
    assert_eq!(score["precision"]["value"], 0.333333);
    assert_eq!(score["missed"][0]["entity"]["caller"], "c");
    let wrong: Vec<&Value> = score["false"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| &it["entity"]["caller"])
        .collect();
    assert_eq!(wrong, ["b", "a"]);
    // With something harmless among them, the labels are not all there is.
    let labels = "{\"caller\": \"a\", \"to\": \"1970-01-01T12:00:00Z\"}\n{\"caller\": \"b\", \"label\": false}\n";
    fs::write(place.folder.path().join("labels.jsonl"), labels).expect("ours");
    let (_, lines, _) = backtest(&place, &["--labels", "labels.jsonl"]);
    let score = &lines[0]["labels"];
    assert_eq!((&score["hits"], &score["unknown"]), (&1.into(), &1.into()));
    assert_eq!(score["false"].as_array().map(Vec::len), Some(1));
    assert_eq!(score["precision"]["value"], 0.5);
    let (_, out, errors) =
        place.program(&["backtest", "--rules", "rules", "--labels", "labels.csv"]);
    // The last column but three is how long it took.
    let lists: Vec<&str> = out
        .lines()
        .filter(|line| line.starts_with("missed") || line.starts_with("false"))
        .collect();
    assert_snapshot!(format!("{}\n{errors}", lists.join("\n")));
    assert!(
        out.contains("50% (9-91)") && out.contains("33% (6-79)"),
        "{out}"
    );
}

fn git(place: &Place, arguments: &[&str]) {
    let output = Command::new("git")
        .current_dir(place.folder.path().join("rules"))
        .args([
            "-c",
            "user.name=test",
            "-c",
            "user.email=test@localhost",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_rule_is_compared_with_another_revision() {
    let place = place();
    let file = place.folder.path().join("rules/burn.sql");
    let before = fs::read_to_string(&file).expect("is there");
    git(&place, &["init", "-q"]);
    git(&place, &["add", "."]);
    git(&place, &["commit", "-q", "-m", "first"]);
    let (code, lines, errors) = backtest(&place, &["--diff", "HEAD"]);
    assert_eq!((code, lines[0]["same"].as_u64()), (0, Some(3)), "{errors}");
    // `c` has 300,000, so it is found from 250,000 on; `b` and `a` are found for longer; the afternoon is the same.
    fs::write(
        &file,
        before
            .replace("500_000", "250_000")
            .replace("version     = 1", "version     = 2"),
    )
    .expect("ours");
    let (code, lines, _) = backtest(&place, &["--diff", "HEAD"]);
    let line = &lines[0];
    let callers = |list: &str, at: &str| -> Vec<String> {
        let items = line[list].as_array().expect("a list").iter();
        items
            .map(|it| {
                it.pointer(at)
                    .expect("is there")
                    .as_str()
                    .expect("a text")
                    .to_string()
            })
            .collect()
    };
    assert_eq!(code, 1);
    assert_eq!(callers("added", "/entity/caller"), ["c"]);
    assert_eq!(callers("lost", "/entity/caller"), [""; 0]);
    assert_eq!(callers("changed", "/now/entity/caller"), ["b", "a"]);
    assert_eq!(
        (
            line["same"].as_u64(),
            line["version_before"].as_i64(),
            line["version"].as_i64()
        ),
        (Some(1), Some(1), Some(2))
    );
    assert_snapshot!(
        place
            .program(&["backtest", "--rules", "rules", "--diff", "HEAD"])
            .1
    );
}

#[test]
fn a_revision_that_cannot_be_read_says_why() {
    let place = place();
    let error = |revision: &str| {
        let (code, _, errors) =
            place.program(&["backtest", "--rules", "rules", "--diff", revision]);
        assert_eq!(code, 2);
        errors
    };
    assert!(
        error("HEAD")
            .starts_with("inferwatch: `rules/burn.sql` is not inside of a git repository\nhint: "),
        "{}",
        error("HEAD")
    );
    git(&place, &["init", "-q"]);
    git(&place, &["commit", "-q", "--allow-empty", "-m", "nothing"]);
    assert!(
        error("HEAD").starts_with("inferwatch: `rules/burn.sql` is not in `HEAD`\n"),
        "{}",
        error("HEAD")
    );
    assert!(
        error("nowhere").starts_with("inferwatch: no revision `nowhere` in the repository"),
        "{}",
        error("nowhere")
    );
    assert!(
        error("--output=x").contains("is no revision")
            || error("--output=x").contains("unexpected argument")
    );
    let (code, _, errors) = place.program(&["backtest", "--rules", "rules", "--diff=--output=x"]);
    assert_eq!(code, 2);
    assert!(
        errors.starts_with("inferwatch: `--output=x` is no revision\n"),
        "{errors}"
    );
    let (code, _, errors) = place.program_with(
        &["backtest", "--rules", "rules", "--diff", "HEAD"],
        |command| command.env("PATH", "/nowhere"),
    );
    assert_eq!(code, 2);
    assert!(
        errors.starts_with("inferwatch: cannot run `git`\nhint: "),
        "{errors}"
    );
}

#[test]
fn values_of_a_parameter_are_tried_and_one_is_proposed() {
    let place = place();
    let (code, lines, errors) = backtest(&place, &["--suggest", "max_tokens"]);
    assert_eq!(code, 0, "{errors}");
    let found: Vec<(i64, u64)> = lines
        .iter()
        .map(|line| {
            (
                line["value"].as_i64().expect("whole"),
                line["findings"].as_u64().expect("whole"),
            )
        })
        .collect();
    // By hand: the largest sums of an hour are 600,000 and 700,000 (`a`, twice), 900,000 (`b`), 300,000 (`c`), 1 (`clock`).
    for (value, findings) in &found {
        let sums = [600_000, 700_000, 900_000, 300_000];
        let wanted = sums.iter().filter(|sum| **sum > *value).count() as u64;
        assert_eq!(*findings, wanted, "{value}");
    }
    assert!(
        found.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "{found:?}"
    );
    // Six around the default, the default, and six where findings change.
    assert!(found.len() > 10, "{found:?}");
    assert!(
        lines
            .iter()
            .any(|line| line["is_default"] == true && line["value"] == 500_000)
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| line["is_proposed"] == true)
            .count(),
        1
    );
    // With labels: `c` is wanted too, so the line lies below 300,000.
    fs::write(place.folder.path().join("labels.csv"), "caller\na\nb\nc\n").expect("ours");
    let (_, lines, _) = backtest(
        &place,
        &["--suggest", "burn.max_tokens", "--labels", "labels.csv"],
    );
    let proposed = lines
        .iter()
        .find(|line| line["is_proposed"] == true)
        .expect("one");
    assert!(proposed["value"].as_i64() < Some(300_000), "{proposed}");
    assert_eq!(
        (
            &proposed["recall"]["value"],
            &proposed["precision"]["value"]
        ),
        (&1.0.into(), &1.0.into())
    );
    let (code, _, errors) = backtest(&place, &["--suggest", "min_tokens"]);
    assert_eq!(
        (code, errors.as_str()),
        (
            2,
            "inferwatch: rule `burn` has no parameter `min_tokens`\nhint: it has: max_tokens\n"
        )
    );
    // Nothing was edited.
    let text = fs::read_to_string(place.folder.path().join("rules/burn.sql")).expect("is there");
    assert_eq!(text, rule("quiet = \"10m\""));
}

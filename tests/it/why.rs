//! Why a rule did not fire: prepared cases, each through the program, with the reason that is known for it.

use std::process::Command;

use inferwatch::schema::{Call, CallBuilder, Micros, Table};
use inferwatch::store::{Store, WriteOptions};
use insta::assert_snapshot;
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{ended, program};

const MINUTE: i64 = 60_000_000;

/// A call of the first day of 1970.
#[derive(Clone, Copy)]
pub(super) struct Row {
    minute: i64,
    caller: Option<&'static str>,
    tokens: Option<i64>,
    outcome: &'static str,
    model: &'static str,
    source: &'static str,
}

pub(super) fn row(minute: i64, caller: &'static str, tokens: i64) -> Row {
    Row {
        minute,
        caller: Some(caller),
        tokens: Some(tokens),
        outcome: "success",
        model: "m",
        source: "test",
    }
}

/// A call of somebody else that says how late it is.
pub(super) fn tick(minute: i64) -> Row {
    row(minute, "clock", 1)
}

/// The same call every ten minutes of the hour before noon.
pub(super) fn hour(caller: &'static str, tokens: i64) -> Vec<Row> {
    (0..6).map(|n| row(660 + 10 * n, caller, tokens)).collect()
}

const RULE: &str = "\
-- /// rule
-- id          = \"burn\"
-- title       = \"Many tokens\"
-- version     = 1
-- status      = \"test\"
-- severity    = \"low\"
-- confidence  = \"low\"
-- source      = [\"calls\"]
-- requires    = [\"caller\"]
-- window      = \"1h\"
-- every       = \"5m\"
-- entity      = [\"caller\"]
-- early       = \"never\"
-- description = \"Adds tokens.\"
-- EXTRA
-- [params]
-- max_tokens = { default = 500_000, doc = \"tokens\" }
-- ///
SELECT
    caller,
    sum(input_tokens) AS tokens,
    count(*) AS event_count
FROM calls
WHERE event_time >= $window_start AND event_time < $window_end
    AND input_tokens > 0
    AND outcome = 'success'
GROUP BY caller
HAVING sum(input_tokens) > $max_tokens;
";

/// A store and a rule in a folder.
pub(super) struct Place {
    pub(super) folder: TempDir,
    commits: usize,
}

impl Place {
    pub(super) fn new(rule: &str, rows: &[Row]) -> Place {
        let folder = TempDir::new().expect("a folder");
        std::fs::create_dir(folder.path().join("rules")).expect("ours");
        std::fs::write(folder.path().join("rules/burn.sql"), rule).expect("ours");
        let mut place = Place { folder, commits: 0 };
        place.commit(rows);
        place
    }

    fn commit(&mut self, rows: &[Row]) {
        let mut calls = CallBuilder::default();
        for (number, row) in rows.iter().enumerate() {
            let id = format!("{}-{number}", self.commits);
            calls.append(&Call {
                event_time: Micros(row.minute * MINUTE),
                event_id: &id,
                source_format: row.source,
                record_role: "primary",
                caller: row.caller,
                input_tokens: row.tokens,
                outcome: row.outcome,
                model: Some(row.model),
                hour: "1970-01-01T00",
                ..Call::default()
            });
        }
        self.commits += 1;
        let store = Store::open_or_create(&self.folder.path().join("store")).expect("a store");
        let mut writer = store.writer(WriteOptions::default()).expect("a writer");
        writer
            .write(Table::Calls, calls.finish())
            .expect("rows are taken");
        writer.commit(&[]).expect("a commit");
    }

    pub(super) fn program(&self, arguments: &[&str]) -> (i32, String, String) {
        self.program_with(arguments, |command| command)
    }

    /// The same with something else in its surroundings.
    pub(super) fn program_with(
        &self,
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command) -> &mut Command,
    ) -> (i32, String, String) {
        ended(prepare(&mut program(self.folder.path(), arguments)))
    }

    pub(super) fn run(&self, arguments: &[&str]) {
        let mut all = vec!["run", "--once", "--rules", "rules"];
        all.extend(arguments);
        let (code, _, errors) = self.program(&all);
        assert!(code < 2, "{errors}");
    }

    fn explain(&self, subject: &str, arguments: &[&str]) -> (i32, String, String) {
        let mut all = vec![
            "explain",
            "burn",
            "--rules",
            "rules",
            "--at",
            "1970-01-01T12:00:00Z",
            "--why-not",
            subject,
        ];
        all.extend(arguments);
        self.program(&all)
    }

    /// The answer for a caller at noon.
    fn why(&self, caller: &str, arguments: &[&str]) -> Value {
        let mut all = vec!["--format", "json"];
        all.extend(arguments);
        let (code, out, errors) = self.explain(&format!("caller={caller}"), &all);
        assert_eq!(code, 0, "{errors}");
        serde_json::from_str(&out).expect("one object")
    }
}

pub(super) fn rule(extra: &str) -> String {
    let extra: String = extra.lines().map(|line| format!("-- {line}\n")).collect();
    RULE.replace("-- EXTRA\n", &extra)
}

fn said(why: &Value, reason: &str, sentence: &str) {
    assert_eq!(why["reason"], reason, "{why:#}");
    let answer = why["answer"].as_str().expect("a sentence");
    assert!(answer.contains(sentence), "{answer}");
}

/// Names of steps and the rows that were left.
fn steps(why: &Value) -> Vec<(String, u64)> {
    let steps = why["steps"].as_array().expect("a list").iter();
    let pairs = steps.map(|step| {
        let name = step["step"].as_str().expect("a name").to_string();
        (name, step["rows"].as_u64().expect("a number"))
    });
    pairs.collect()
}

#[test]
fn a_threshold_that_was_just_missed() {
    // Twice 150,000 and once 112,000 are 412,000; the failure and the hour before do not count.
    let mut rows = vec![
        row(660, "a", 150_000),
        row(670, "a", 150_000),
        row(680, "a", 112_000),
        row(659, "a", 400_000),
        tick(700),
        tick(800),
    ];
    rows.push(Row {
        outcome: "failure",
        ..row(690, "a", 400_000)
    });
    let place = Place::new(&rule(""), &rows);
    place.run(&[]);
    let why = place.why("a", &[]);
    said(
        &why,
        "threshold",
        "sum(input_tokens) = 412,000, needs > 500,000: 88,000 short",
    );
    let step = |name: &str, rows: u64| (name.to_string(), rows);
    assert_eq!(
        steps(&why),
        [
            step("rows of `calls` in the window", 5),
            step("of caller = 'a'", 4),
            step("input_tokens > 0", 4),
            step("outcome = 'success'", 3),
            step("groups by caller", 1),
            step("sum(input_tokens) > 500,000", 0),
        ]
    );
    assert_snapshot!(place.explain("caller=a", &[]).1);
}

#[test]
fn a_threshold_of_the_environment_counts() {
    let place = Place::new(&rule(""), &hour("a", 100_000));
    std::fs::write(
        place.folder.path().join("params.toml"),
        "[burn]\nmax_tokens = 600_000\n",
    )
    .expect("ours");
    let why = place.why("a", &["--params", "params.toml"]);
    said(
        &why,
        "threshold",
        "sum(input_tokens) = 600,000, needs > 600,000: exactly on the line",
    );
}

#[test]
fn a_condition_that_takes_the_rows_away() {
    let mut rows = hour("a", 200_000);
    for row in &mut rows {
        row.outcome = "blocked";
    }
    rows.push(tick(800));
    let place = Place::new(&rule(""), &rows);
    let why = place.why("a", &[]);
    said(
        &why,
        "filtered",
        "`outcome = 'success'` takes away the last 6 of its rows: `outcome` is 'blocked' in 6",
    );
}

#[test]
fn a_column_without_values() {
    let mut rows = hour("a", 0);
    for row in &mut rows {
        row.tokens = None;
    }
    rows.push(tick(700));
    let place = Place::new(&rule(""), &rows);
    said(
        &place.why("a", &[]),
        "column_empty",
        "`input_tokens` is null in all 6 rows",
    );
    // The subject's own column.
    for row in &mut rows {
        row.caller = None;
    }
    rows.push(tick(800));
    let place = Place::new(&rule(""), &rows);
    let why = place.why("a", &[]);
    said(
        &why,
        "column_empty",
        "`caller` is null in all 7 rows of `calls` in the window",
    );
    assert_eq!(why["state"], "not_covered");
}

#[test]
fn rows_that_are_some_hours_off() {
    // Noon in New York is 17:00 in London: a log that wrote 07:00 meant 12:00.
    let mut rows = hour("a", 100_000);
    for row in &mut rows {
        row.minute -= 300;
    }
    rows.extend([tick(700), tick(800)]);
    let place = Place::new(&rule(""), &rows);
    let why = place.why("a", &[]);
    said(&why, "time_shift", "its rows are 5 hours earlier");
    said(&why, "time_shift", "1970-01-01T07:00:00Z");
    // Ten minutes off are another window, and no other zone.
    let mut rows = hour("a", 100_000);
    for row in &mut rows {
        row.minute += 61;
    }
    rows.extend([tick(700), tick(800)]);
    let place = Place::new(&rule(""), &rows);
    said(
        &place.why("a", &[]),
        "no_subject",
        "the first after it at 1970-01-01T12:01:00Z, 1m after it ends",
    );
}

#[test]
fn a_subject_that_is_spelled_otherwise() {
    let mut rows = hour("Alice", 100_000);
    rows.extend([row(700, "alicia", 1), row(701, "bob", 1), tick(800)]);
    let place = Place::new(&rule(""), &rows);
    let why = place.why("alice", &[]);
    said(&why, "spelled_otherwise", "`Alice` (6 rows)");
    said(&why, "spelled_otherwise", "differs in case alone");
    said(
        &place.why("carol", &[]),
        "no_subject",
        "no row of `calls` has caller = 'carol', in the window or out of it",
    );
    let (code, _, errors) = place.explain("callr=alice", &[]);
    assert_eq!(
        (code, errors.as_str()),
        (
            2,
            "inferwatch: `callr` is no column of the entity of `burn`\nhint: did you mean `caller`?\n"
        )
    );
}

#[test]
fn a_window_without_any_row() {
    let place = Place::new(&rule(""), &[tick(600), tick(655), tick(725), tick(800)]);
    let why = place.why("a", &[]);
    said(
        &why,
        "no_rows",
        "`calls` has no row in the window, of anybody",
    );
    said(
        &why,
        "no_rows",
        "the last before it at 1970-01-01T10:55:00Z, 5m before it begins",
    );
    said(
        &why,
        "no_rows",
        "the first after it at 1970-01-01T12:05:00Z, 5m after it ends",
    );
}

#[test]
fn a_window_that_is_still_open() {
    let mut rows = hour("a", 100_000);
    rows.push(tick(723));
    let place = Place::new(&rule(""), &rows);
    place.run(&[]);
    let why = place.why("a", &[]);
    said(
        &why,
        "not_closed",
        "it closes with an event of 1970-01-01T12:15:00Z or later, and the last event of the store is of 1970-01-01T12:03:00Z",
    );
    // A source that is behind is waited for.
    let mut rows = hour("a", 100_000);
    rows.push(tick(740));
    rows.push(Row {
        source: "slow",
        ..tick(705)
    });
    let place = Place::new(&rule(""), &rows);
    place.run(&[]);
    let why = place.why("a", &[]);
    said(
        &why,
        "not_closed",
        "the last of the source `slow` is of 1970-01-01T11:45:00Z",
    );
    // Nothing there yet at all.
    let place = Place::new(&rule(""), &[tick(600)]);
    said(
        &place.why("a", &[]),
        "not_closed",
        "the last of `calls` is of 1970-01-01T10:00:00Z",
    );
}

#[test]
fn a_window_that_nobody_evaluated_and_one_that_fired() {
    let mut rows = hour("a", 100_000);
    rows.push(tick(800));
    let mut place = Place::new(&rule(""), &rows);
    let why = place.why("a", &[]);
    said(&why, "not_evaluated", "the rule never ran on this store");
    place.run(&[]);
    said(&place.why("a", &[]), "fired", "it did fire: finding ");
    // Rows that came since, and that no run has looked at.
    place.commit(&hour("b", 100_000));
    said(
        &place.why("b", &[]),
        "late",
        "its rows came after run 1 had evaluated the window",
    );
    place.run(&[]);
    said(&place.why("b", &[]), "fired", "it did fire");
}

#[test]
fn rows_beyond_the_horizon() {
    let mut place = Place::new(&rule(""), &[tick(700), tick(4_000)]);
    place.run(&[]);
    place.commit(&hour("a", 100_000));
    place.run(&[]);
    let why = place.why("a", &[]);
    said(
        &why,
        "late_dropped",
        "rows came later than 1d after their time",
    );
    assert_eq!(
        why["facts"]["gap"],
        "rows came later than 1d after their time (6 rows not looked at)"
    );
    let hint = why["hint"].as_str().expect("a hint");
    assert!(
        hint.contains("--from 1970-01-01T11:55:00Z --to 1970-01-01T12:00:00Z"),
        "{hint}"
    );
}

#[test]
fn an_exception() {
    let mut rows = hour("a", 100_000);
    rows.push(tick(800));
    let place = Place::new(&rule(""), &rows);
    std::fs::write(
        place.folder.path().join("batch.sql"),
        "-- /// exception\n-- id = \"batch\"\n-- rules = [\"burn\"]\n-- reason = \"a batch job\"\n\
         -- owner = \"ml\"\n-- expires = 1970-02-01\n-- ///\nSELECT 'a' AS caller",
    )
    .expect("ours");
    let with = ["--exceptions", "batch.sql"];
    let sentence =
        "the exception `batch` keeps it silent until 1970-02-01T00:00:00Z (ml: a batch job)";
    said(&place.why("a", &with), "excepted", sentence);
    place.run(&with);
    said(&place.why("a", &with), "excepted", sentence);
    // What is stored tells, without the file.
    said(
        &place.why("a", &[]),
        "excepted",
        "the exception `batch` keeps it silent: finding ",
    );
}

#[test]
fn suppression() {
    // Told in the hour that ends at 08:00, and again at noon, within six hours.
    let mut rows: Vec<Row> = (0..6).map(|n| row(420 + 10 * n, "a", 100_000)).collect();
    rows.extend(hour("a", 100_000));
    rows.push(tick(800));
    let place = Place::new(&rule("quiet = \"10m\"\nsuppress.for = \"6h\""), &rows);
    place.run(&[]);
    said(
        &place.why("a", &[]),
        "suppressed",
        "the same subject within 6h of one that was told",
    );
    let (_, out, _) = place.program(&[
        "explain",
        "burn",
        "--rules",
        "rules",
        "--at",
        "1970-01-01T08:00:00Z",
        "--why-not",
        "caller=a",
        "--format",
        "json",
    ]);
    said(
        &serde_json::from_str(&out).expect("one object"),
        "fired",
        "it did fire",
    );
}

#[test]
fn less_long_than_the_rule_asks_for() {
    // The six calls are all in the windows that end from 11:51 to 12:00: at 11:55 and at 12:00.
    let mut rows = hour("a", 100_000);
    rows.push(tick(800));
    let place = Place::new(&rule("for = \"20m\""), &rows);
    place.run(&[]);
    said(
        &place.why("a", &[]),
        "below_for",
        "it fired without a pause for 5m, and `for` asks for 20m: 15m short",
    );
}

#[test]
fn too_little_history() {
    let text = "\
-- /// rule
-- id          = \"burn\"
-- title       = \"More than usual\"
-- version     = 1
-- status      = \"test\"
-- severity    = \"low\"
-- confidence  = \"low\"
-- source      = [\"calls\"]
-- requires    = [\"caller\"]
-- window      = \"1h\"
-- every       = \"5m\"
-- baseline    = \"3h\"
-- min_history = 10
-- entity      = [\"caller\"]
-- description = \"Counts calls beside those before.\"
-- ///
SELECT now.caller, now.n AS event_count, coalesce(before.n, 0) AS history_count
FROM (
    SELECT caller, count(*) AS n FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end GROUP BY caller
) AS now
LEFT JOIN (
    SELECT caller, count(*) AS n FROM calls
    WHERE event_time >= $baseline_start AND event_time < $window_start GROUP BY caller
) AS before ON before.caller = now.caller
WHERE coalesce(before.n, 0) < $min_history OR now.n > 2 * before.n
";
    let mut rows = hour("a", 1);
    rows.extend((0..4).map(|n| row(600 + n, "a", 1)));
    rows.push(tick(800));
    let place = Place::new(text, &rows);
    place.run(&[]);
    let why = place.why("a", &[]);
    said(&why, "learning", "history_count = 4, needs 10: 6 short");
}

#[test]
fn a_join_that_leaves_the_subject_out() {
    let text = "\
-- /// rule
-- id          = \"burn\"
-- title       = \"A new model\"
-- version     = 1
-- status      = \"test\"
-- severity    = \"low\"
-- confidence  = \"low\"
-- source      = [\"calls\"]
-- requires    = [\"caller\"]
-- window      = \"1h\"
-- every       = \"5m\"
-- baseline    = \"3h\"
-- entity      = [\"caller\", \"model\"]
-- description = \"A model that the caller did not use before.\"
-- ///
WITH history AS (
    SELECT DISTINCT caller, model FROM calls
    WHERE event_time >= $baseline_start AND event_time < $window_start
),
recent AS (
    SELECT caller, model, count(*) AS event_count FROM calls
    WHERE event_time >= $window_start AND event_time < $window_end GROUP BY caller, model
)
SELECT recent.caller, recent.model, recent.event_count
FROM recent
WHERE NOT EXISTS (
    SELECT 1 FROM history WHERE history.caller = recent.caller AND history.model = recent.model
)
";
    let mut rows = hour("a", 1);
    rows.extend([row(600, "a", 1), tick(800)]);
    let place = Place::new(text, &rows);
    said(
        &place.why("a", &[]),
        "unmatched",
        "all of them have a match on caller, model",
    );
    // Each of its columns is there, but not both in one row.
    let (_, out, _) = place.explain("caller=a,model=n", &["--format", "json"]);
    said(
        &serde_json::from_str(&out).expect("one object"),
        "no_subject",
        "model = 'n'",
    );
}

#[test]
fn what_strangers_wrote_reaches_no_terminal() {
    let mut rows = hour("a\u{1b}[31m", 1);
    rows.push(tick(800));
    let place = Place::new(&rule(""), &rows);
    let (code, out, _) = place.explain("caller=a\u{1b}[31n", &[]);
    assert_eq!(code, 0);
    assert!(
        !out.contains('\u{1b}') && out.contains(r"\u{1b}[31m"),
        "{out}"
    );
}

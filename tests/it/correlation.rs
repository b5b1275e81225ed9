//! Correlations: what lies together in time, what does not, and what becomes of it when signals come late, change or
//! are taken back.

use std::borrow::Cow;
use std::path::PathBuf;

use inferwatch::catalog::check::Checker;
use inferwatch::catalog::{Level, Pack};
use inferwatch::detect::{Event, Range, RuleOutcome, RunOptions, context_of, run, run_cases};
use inferwatch::schema::{Call, CallBuilder, Micros, Table};
use inferwatch::store::{Store, WriteOptions};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::ask::lines;

const MINUTE: i64 = 60_000_000;

pub(super) type File = (PathBuf, Cow<'static, str>);

/// A rule that fires on calls of one model, and names their times.
pub(super) fn signal(id: &str, model: &str, extra: &str) -> File {
    let header = [
        &format!("id = \"{id}\""),
        "title = \"t\"",
        "description = \"d\"",
        "version = 1",
        "status = \"test\"",
        "severity = \"low\"",
        "confidence = \"low\"",
        "source = [\"calls\"]",
        "requires = [\"caller\"]",
        "window = \"10m\"",
        "every = \"5m\"",
        "entity = [\"caller\"]",
    ];
    let header: String = header
        .into_iter()
        .chain(extra.lines())
        .map(|line| format!("-- {line}\n"))
        .collect();
    let sql = format!(
        "SELECT caller, count(*) AS event_count, min(event_time) AS first_seen, max(event_time) AS last_seen \
         FROM calls WHERE event_time >= $window_start AND event_time < $window_end AND model = '{model}' \
         GROUP BY caller"
    );
    let text = format!("-- /// rule\n{header}-- ///\n{sql}");
    (PathBuf::from(format!("{id}.sql")), Cow::Owned(text))
}

/// A correlation of the signals `one`, `two` and `three`.
pub(super) fn correlation(keys: &str, rest: &str) -> File {
    let header = [
        "id = \"together\"",
        "kind = \"correlation\"",
        "title = \"t\"",
        "description = \"d\"",
        "version = 1",
        "status = \"test\"",
        "severity = \"critical\"",
        "confidence = \"high\"",
    ];
    let header: String = header
        .into_iter()
        .chain(keys.lines())
        .map(|line| format!("-- {line}\n"))
        .collect();
    let text = format!("-- /// rule\n{header}-- ///\n{rest}");
    (PathBuf::from("together.sql"), Cow::Owned(text))
}

const SIGNALS: &str = "signals = [\n  { rule = \"one\", as = \"a\" },\n  { rule = \"two\", as = \"b\" },\n  \
                       { rule = \"three\", as = \"c\" },\n]";

fn pack(keys: &str) -> Pack {
    let files = [
        signal("one", "one", ""),
        signal("two", "two", ""),
        signal("three", "three", ""),
        correlation(keys, ""),
    ];
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    pack
}

/// Three signals within ten minutes.
fn three_in_ten() -> Pack {
    pack(&format!(
        "{SIGNALS}\nsignals_required = 3\nwithin = \"10m\"\nby = [\"caller\"]"
    ))
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

/// How many findings an inline test gets of signals at these minutes: rule, minute before the end of the window.
fn found(keys: &str, signals: &[(&str, f64)]) -> usize {
    let rows: String = signals
        .iter()
        .map(|(rule, minute)| {
            let before = (minute * 60_000.0).round() as i64;
            format!(
                "--   {{ event_time = \"-{before}ms\", rule_id = \"{rule}\", caller = \"x\" }},\n"
            )
        })
        .collect();
    let test = format!(
        "-- /// test\n-- name = \"t\"\n-- at = 2026-01-01T02:00:00Z\n-- given.signals = [\n{rows}-- ]\n\
         -- expect = []\n-- ///\n"
    );
    let files = [
        signal("one", "one", ""),
        signal("two", "two", ""),
        signal("three", "three", ""),
        correlation(keys, &test),
    ];
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    let file = pack.rule("together").expect("is there");
    let results = run_cases(runtime().handle(), vec![file], 1).expect("the views plan");
    // None are expected, so that the failure says how many there are.
    match &results[0][0].failure {
        None => 0,
        Some(failure) => {
            let count = failure
                .strip_prefix("expected 0 findings, got ")
                .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            count.unwrap_or_else(|| panic!("{failure}"))
        }
    }
}

/// Keys with `window` and `every` so wide that all that a test gives is in the last step.
fn keys(rest: &str) -> String {
    format!("{SIGNALS}\nevery = \"10m\"\nwithin = \"10m\"\nby = [\"caller\"]\n{rest}")
}

#[test]
fn signals_lie_together_when_they_are_less_than_within_apart() {
    let keys = keys("signals_required = 3");
    let found = |signals: &[(&str, f64)]| found(&keys, signals);
    assert_eq!(found(&[("one", 9.5), ("two", 5.5), ("three", 0.5)]), 1);
    assert_eq!(found(&[("one", 9.5), ("two", 3.5), ("three", 9.4)]), 1);
    // Exactly ten minutes are too many, a millisecond less is not.
    assert_eq!(found(&[("one", 10.5), ("two", 5.0), ("three", 0.5)]), 0);
    assert_eq!(
        found(&[("one", 10.499_99), ("two", 5.0), ("three", 0.5)]),
        1
    );
    assert_eq!(found(&[("one", 11.0), ("two", 5.0), ("three", 0.5)]), 0);
    // Three of a kind are one signal.
    assert_eq!(found(&[("one", 9.0), ("one", 5.0), ("one", 1.0)]), 0);
    assert_eq!(found(&[("one", 9.0), ("two", 5.0), ("two", 1.0)]), 0);
}

#[test]
fn what_was_the_last_of_an_earlier_step_is_not_told_again() {
    // The window also holds the ten minutes before its step, for what comes together with what is in it.
    let keys = keys("signals_required = 3");
    assert_eq!(
        found(&keys, &[("one", 19.0), ("two", 15.0), ("three", 11.0)]),
        0
    );
}

#[test]
fn an_order_is_kept_whatever_lies_between() {
    let keys = keys("order = [\"a\", \"b\", \"c\"]");
    let found = |signals: &[(&str, f64)]| found(&keys, signals);
    assert_eq!(found(&[("one", 9.0), ("two", 5.0), ("three", 1.0)]), 1);
    assert_eq!(found(&[("one", 9.0), ("three", 5.0), ("two", 1.0)]), 0);
    assert_eq!(found(&[("two", 9.0), ("one", 5.0), ("three", 1.0)]), 0);
    assert_eq!(
        found(&[("two", 9.0), ("one", 8.0), ("two", 5.0), ("three", 1.0)]),
        1
    );
    // The chain counts that began last.
    assert_eq!(
        found(&[("one", 12.0), ("one", 9.0), ("two", 5.0), ("three", 1.0)]),
        1
    );
    assert_eq!(
        found(&[("one", 12.0), ("two", 9.0), ("one", 5.0), ("three", 1.0)]),
        0
    );
    // At the same time is no other order.
    assert_eq!(found(&[("one", 5.0), ("two", 5.0), ("three", 5.0)]), 1);
    assert_eq!(found(&[("one", 11.0), ("two", 5.0), ("three", 1.0)]), 0);
}

#[test]
fn an_absent_signal_must_be_absent_for_as_long() {
    let keys = keys("signals_required = 2\nabsent = [\"c\"]");
    let found = |signals: &[(&str, f64)]| found(&keys, signals);
    assert_eq!(found(&[("one", 5.0), ("two", 1.0)]), 1);
    assert_eq!(found(&[("one", 5.0), ("three", 3.0), ("two", 1.0)]), 0);
    assert_eq!(found(&[("three", 10.5), ("one", 5.0), ("two", 1.0)]), 0);
    assert_eq!(found(&[("three", 11.0), ("one", 5.0), ("two", 1.0)]), 1);
    // After the last one it undoes nothing.
    assert_eq!(found(&[("one", 5.0), ("two", 2.0), ("three", 1.0)]), 1);
}

#[test]
fn so_many_rules_of_a_signal_can_be_required() {
    let keys = "signals = [\n  { rule = \"one\", as = \"a\" },\n  { rule = \"two\", as = \"a\" },\n  \
                { rule = \"three\", as = \"b\" },\n]\nevery = \"10m\"\nwithin = \"10m\"\nby = [\"caller\"]\n\
                signals_required = { a = 2, b = 1 }";
    let found = |signals: &[(&str, f64)]| found(keys, signals);
    assert_eq!(found(&[("one", 5.0), ("two", 3.0), ("three", 1.0)]), 1);
    assert_eq!(found(&[("one", 5.0), ("one", 3.0), ("three", 1.0)]), 0);
    assert_eq!(found(&[("one", 5.0), ("two", 3.0)]), 0);
}

fn refused(keys: &str, rest: &str) -> Vec<String> {
    let files = [
        signal("one", "one", ""),
        signal("two", "two", ""),
        signal("three", "three", ""),
        correlation(keys, rest),
    ];
    let pack = Pack::from_files(files.into_iter());
    let report =
        runtime().block_on(async { Checker::new().await.expect("plans").check(&pack).await });
    report
        .problems
        .iter()
        .filter(|problem| problem.level == Level::Error)
        .map(|problem| format!("{}: {}", problem.code, problem.message))
        .collect()
}

#[test]
fn a_correlation_is_checked_without_data() {
    let by = "within = \"10m\"\nby = [\"caller\"]";
    let good = format!("{SIGNALS}\nsignals_required = 2\n{by}");
    assert_eq!(refused(&good, ""), [""; 0]);
    let first = |keys: &str, rest: &str| refused(keys, rest).into_iter().next().unwrap_or_default();
    for (keys, wanted) in [
        (good.replace("\"two\"", "\"too\""), "L-REF: no rule `too`"),
        (
            format!("{good}\nabsent = [\"d\"]"),
            "L-HEADER: no signal is `d`",
        ),
        (
            good.replace("signals_required = 2", "signals_required = 4"),
            "L-HEADER: `signals_required` must lie between 1 and 3, the signals there are",
        ),
        (
            good.replace("signals_required = 2\n", ""),
            "L-HEADER: `signals_required` is missing: how many different signals must come together",
        ),
        (
            good.replace("[\"caller\"]", "[\"session\"]"),
            "L-REF: `session` is not a column of the entity of `one`",
        ),
        (
            format!("{good}\non = {{ \"one\" = \"calle\" }}"),
            "L-REF: `one` does not return `calle`",
        ),
        (
            format!("{good}\nwindow = \"1h\""),
            "L-HEADER: unknown key `window`",
        ),
        (
            format!("{good}\nevery = \"20m\""),
            "L-HEADER: `every` is longer than nothing and not longer than `within`",
        ),
    ] {
        assert_eq!(first(&keys, ""), wanted, "{keys}");
    }
    // A query of its own, in place of the one that the header means.
    let query =
        "SELECT caller FROM signals WHERE event_time >= $window_start AND event_time < $window_end";
    assert_eq!(refused(&format!("{SIGNALS}\n{by}"), query), [""; 0]);
    assert!(
        first(&good, query).contains("leave out"),
        "{}",
        first(&good, query)
    );
    assert_eq!(
        first(&format!("{SIGNALS}\n{by}"), "SELECT caller FROM signals"),
        "L-TIME: no lower bound on `event_time` of `signals` can be proved"
    );
}

#[test]
fn correlations_in_a_circle_are_refused() {
    let of = |id: &str, other: &str| {
        let text = correlation(
            &format!(
                "signals = [\"one\", \"{other}\"]\nsignals_required = 2\nwithin = \"10m\"\nby = [\"caller\"]"
            ),
            "",
        )
        .1
        .replace("\"together\"", &format!("\"{id}\""));
        (PathBuf::from(format!("{id}.sql")), Cow::Owned(text))
    };
    let circle = [signal("one", "one", ""), of("x", "y"), of("y", "x")];
    let pack = Pack::from_files(circle.into_iter());
    assert_eq!(pack.problems.len(), 2, "{:?}", pack.problems);
    let chain = [
        signal("one", "one", ""),
        signal("two", "two", ""),
        of("x", "y"),
        of("y", "two"),
    ];
    assert_eq!(Pack::from_files(chain.into_iter()).problems, []);
}

/// A call, on the minute: number, minute, caller, model.
pub(super) type Row = (usize, i64, &'static str, &'static str);

pub(super) struct TestStore {
    folder: TempDir,
}

impl TestStore {
    pub(super) fn new() -> TestStore {
        let folder = tempfile::tempdir().expect("a folder");
        TestStore { folder }
    }

    /// Opened anew each time, as by another process.
    fn open(&self) -> Store {
        Store::open_or_create(&self.folder.path().join("store")).expect("a store")
    }

    pub(super) fn commit(&self, rows: &[Row]) {
        self.commit_as("success", rows);
    }

    pub(super) fn commit_failures(&self, rows: &[Row]) {
        self.commit_as("failure", rows);
    }

    fn commit_as(&self, outcome: &'static str, rows: &[Row]) {
        let mut calls = CallBuilder::default();
        for (number, minute, caller, model) in rows {
            calls.append(&Call {
                event_time: Micros(minute * MINUTE + 1_000_000),
                event_id: &format!("event-{number}"),
                source_format: "test",
                record_role: "primary",
                caller: Some(caller),
                model: Some(model),
                outcome,
                hour: "1970-01-01T00",
                ..Call::default()
            });
        }
        let mut writer = self
            .open()
            .writer(WriteOptions::default())
            .expect("a writer");
        writer
            .write(Table::Calls, calls.finish())
            .expect("rows are taken");
        writer.commit(&[]).expect("a commit");
    }

    pub(super) fn run<'a>(&self, pack: &'a Pack, options: &RunOptions) -> Vec<RuleOutcome<'a>> {
        let runtime = runtime();
        let rules: Vec<_> = pack.rules.iter().collect();
        run(runtime.handle(), &self.open(), &rules, options).expect("runs")
    }

    /// What happened to the findings of the correlation.
    fn events(&self, pack: &Pack, options: &RunOptions) -> Vec<Event> {
        self.of_correlation(pack, options)
            .changes
            .iter()
            .map(|change| change.event)
            .collect()
    }

    fn of_correlation<'a>(&self, pack: &'a Pack, options: &RunOptions) -> RuleOutcome<'a> {
        self.run(pack, options)
            .into_iter()
            .find(|outcome| outcome.file.rule.correlation.is_some())
            .expect("is in the pack")
    }

    pub(super) fn query(&self, sql: &str) -> Vec<String> {
        runtime().block_on(async {
            let context = context_of(&self.open()).await.expect("a context");
            let batches = context.sql(sql).await.expect("plans");
            let batches = batches.collect().await.expect("runs");
            let mut lines: Vec<String> = batches.iter().flat_map(lines).collect();
            lines.sort_unstable();
            lines
        })
    }

    /// What the correlation found, without the names of findings: these say when one was first seen.
    pub(super) fn findings(&self) -> Vec<String> {
        self.query(
            "SELECT status, window_start, first_window_end, window_end, windows, entity, event_count, \
             first_seen, last_seen, json_get(evidence, 'signals') FROM findings_now WHERE rule_id = 'together'",
        )
    }

    /// What its windows came to. Of one and the same signal, several findings may have been told.
    fn answers(&self) -> Vec<String> {
        self.query(
            "SELECT window_end, state, findings FROM (SELECT *, row_number() OVER \
             (PARTITION BY window_end ORDER BY revision DESC) AS place FROM evaluations \
             WHERE rule_id = 'together' AND state <> 'gap') WHERE place = 1",
        )
    }

    /// The findings that each finding of the correlation names, and whether all of them stand.
    fn assert_named_findings_stand(&self) {
        let standing = self.query("SELECT finding_id FROM findings_now");
        let named = self.query(
            "SELECT json_get(evidence, 'findings') FROM findings_now WHERE rule_id = 'together'",
        );
        for line in &named {
            let ids: Vec<&str> = line.split('"').filter(|text| text.len() == 32).collect();
            assert!(ids.len() >= 3, "{line}");
            for id in ids {
                assert!(standing.iter().any(|known| known == id), "{id} of {line}");
            }
        }
    }
}

pub(super) fn complete() -> RunOptions {
    RunOptions {
        is_complete: true,
        threads: 2,
        ..RunOptions::default()
    }
}

fn open_ended() -> RunOptions {
    RunOptions {
        is_complete: false,
        ..complete()
    }
}

/// A call of nobody's model, so that time goes on.
pub(super) fn tick(number: usize, minute: i64) -> Row {
    (number, minute, "clock", "none")
}

#[test]
fn a_finding_names_the_findings_that_it_is_made_of() {
    let pack = three_in_ten();
    let store = TestStore::new();
    store.commit(&[
        (1, 600, "x", "one"),
        (2, 604, "x", "two"),
        (3, 609, "x", "three"),
        // Another caller has only two of them, and a third one all three, too far apart.
        (4, 604, "y", "two"),
        (5, 609, "y", "three"),
        (6, 600, "z", "one"),
        (7, 606, "z", "two"),
        (8, 611, "z", "three"),
        tick(9, 700),
    ]);
    store.run(&pack, &complete());
    let found = store.query(
        "SELECT entity, severity, event_count, json_get(evidence, 'rules') FROM findings_now \
         WHERE rule_id = 'together'",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("{\"caller\":\"x\"} critical 3 "),
        "{found:?}"
    );
    for rule in ["one", "two", "three"] {
        assert!(found[0].contains(&format!("\"{rule}\"")), "{found:?}");
    }
    store.assert_named_findings_stand();
    // Nothing is new, so nothing happens.
    let count = || store.query("SELECT count(*) FROM evaluations");
    let before = count();
    assert_eq!(store.events(&pack, &complete()), []);
    assert_eq!(count(), before);
}

#[test]
fn a_late_signal_completes_a_correlation_that_was_clear() {
    let pack = three_in_ten();
    let store = TestStore::new();
    store.commit(&[(1, 600, "x", "one"), (3, 609, "x", "three"), tick(9, 900)]);
    assert_eq!(store.events(&pack, &complete()), []);
    store.commit(&[(2, 604, "x", "two"), tick(10, 905)]);
    assert_eq!(
        store.events(&pack, &complete()),
        [Event::Opened, Event::Resolved]
    );
    store.assert_named_findings_stand();
}

#[test]
fn a_signal_that_is_taken_back_takes_the_correlation_back() {
    // Fires on a lone call; another that comes late makes it not so.
    let failing = signal("two", "two", "")
        .1
        .replace("GROUP BY caller", "GROUP BY caller HAVING count(*) < 2");
    let files = [
        signal("one", "one", ""),
        (PathBuf::from("two.sql"), Cow::Owned(failing)),
        signal("three", "three", ""),
        correlation(
            &format!("{SIGNALS}\nsignals_required = 3\nwithin = \"10m\"\nby = [\"caller\"]"),
            "",
        ),
    ];
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    let store = TestStore::new();
    store.commit(&[
        (1, 600, "x", "one"),
        (2, 604, "x", "two"),
        (3, 609, "x", "three"),
        tick(9, 900),
    ]);
    let events = store.events(&pack, &complete());
    assert_eq!(events, [Event::Opened, Event::Resolved]);
    // One more call in every window that held the one.
    store.commit(&[(4, 603, "x", "two"), tick(10, 905)]);
    assert_eq!(store.events(&pack, &complete()), [Event::Retracted]);
    assert_eq!(store.findings(), [""; 0]);
}

#[test]
fn what_only_the_old_version_of_a_signal_said_is_taken_back() {
    let keys = format!("{SIGNALS}\nsignals_required = 3\nwithin = \"10m\"\nby = [\"caller\"]");
    let version = |number: usize, model: &str| {
        let text = signal("two", model, "").1;
        let text = text.replace("version = 1", &format!("version = {number}"));
        let files = [
            signal("one", "one", ""),
            (PathBuf::from("two.sql"), Cow::Owned(text)),
            signal("three", "three", ""),
            correlation(&keys, ""),
        ];
        Pack::from_files(files.into_iter())
    };
    let store = TestStore::new();
    // Two days ago and today, `x` has the second signal as it was; today, `y` has it as it will be.
    let day = |first: usize, minute: i64| {
        [
            (first, minute, "x", "one"),
            (first + 1, minute + 4, "x", "two"),
            (first + 2, minute + 8, "x", "three"),
            (first + 3, minute, "y", "one"),
            (first + 4, minute + 4, "y", "other"),
            (first + 5, minute + 8, "y", "three"),
        ]
    };
    store.commit(&day(10, 600)[..3]);
    store.commit(&day(20, 600 + 2 * 1_440));
    store.commit(&[tick(9, 700 + 2 * 1_440)]);
    let found = |store: &TestStore| {
        store.query("SELECT entity, window_start FROM findings_now WHERE rule_id = 'together'")
    };
    store.run(&version(1, "two"), &complete());
    let (old, new) = ("1970-01-01T0", "1970-01-03T0");
    let is = |lines: &[String], wanted: &[(&str, &str)]| {
        let mut wanted = wanted.iter();
        let is_one = |line: &String| {
            let next = wanted.next();
            next.is_some_and(|(who, when)| line.contains(who) && line.contains(when))
        };
        assert!(
            lines.iter().all(is_one) && wanted.next().is_none(),
            "{lines:?}"
        );
    };
    is(&found(&store), &[("x", old), ("x", new)]);
    store.run(&version(2, "other"), &complete());
    is(&found(&store), &[("y", new)]);
    let before = store.query("SELECT count(*) FROM evaluations WHERE rule_id = 'together'");
    store.run(&version(2, "other"), &complete());
    let after = store.query("SELECT count(*) FROM evaluations WHERE rule_id = 'together'");
    assert_eq!(before, after);
}

#[test]
fn a_correlation_that_runs_later_than_its_signals_misses_nothing() {
    let pack = three_in_ten();
    let signals: Vec<_> = pack
        .rules
        .iter()
        .filter(|file| file.rule.correlation.is_none())
        .collect();
    let all: Vec<_> = pack.rules.iter().collect();
    let store = TestStore::new();
    let runtime = runtime();
    let run_of = |rules: &[&_]| {
        run(runtime.handle(), &store.open(), rules, &complete()).expect("runs");
    };
    store.commit(&[(1, 600, "x", "one"), (2, 604, "x", "two"), tick(8, 650)]);
    run_of(&all);
    // The third signal comes late, and for some runs nobody asks for the correlation.
    store.commit(&[(3, 603, "x", "three"), tick(9, 700)]);
    run_of(&signals);
    store.commit(&[tick(10, 750)]);
    run_of(&signals);
    assert_eq!(store.findings().len(), 0);
    run_of(&[all
        .iter()
        .find(|file| file.rule.id == "together")
        .expect("is there")]);
    assert_eq!(store.findings().len(), 1);
}

#[test]
fn without_data_a_correlation_says_nothing() {
    let absent = pack(&format!(
        "{SIGNALS}\nsignals_required = 2\nabsent = [\"c\"]\nwithin = \"10m\"\nby = [\"caller\"]"
    ));
    // `three` looks at a table that has no row.
    let mut files: Vec<File> = vec![signal("one", "one", ""), signal("two", "two", "")];
    let text = signal("three", "three", "")
        .1
        .replace("[\"calls\"]", "[\"audit\"]")
        .replace("FROM calls", "FROM audit")
        .replace("model = 'three'", "action = 'three'");
    files.push((PathBuf::from("three.sql"), Cow::Owned(text)));
    let keys = format!(
        "{SIGNALS}\nsignals_required = 2\nabsent = [\"c\"]\nwithin = \"10m\"\nby = [\"caller\"]"
    );
    files.push(correlation(&keys, ""));
    let blind = Pack::from_files(files.into_iter());
    assert_eq!(blind.problems, []);
    let rows = [(1, 600, "x", "one"), (2, 604, "x", "two"), tick(9, 700)];
    let states = |pack: &Pack| {
        let store = TestStore::new();
        store.commit(&rows);
        let outcome = store.of_correlation(pack, &complete());
        let count = |name: &str| outcome.states.get(name).copied().unwrap_or(0);
        (count("fired"), count("clear"), count("not_covered"))
    };
    // Windows that end before the first window of any signal have nothing to go by.
    let (fired, clear, unknown) = states(&absent);
    assert!(
        fired > 0 && clear > 50 && unknown < 15,
        "{fired} {clear} {unknown}"
    );
    let (fired, clear, unknown) = states(&blind);
    assert!(
        fired == 0 && clear == 0 && unknown > 50,
        "{fired} {clear} {unknown}"
    );
}

/// Two hours in which each caller does each thing now and then.
fn traffic(seed: u64) -> Vec<Row> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rows = Vec::new();
    for minute in 600..720 {
        for caller in ["x", "y", "z"] {
            for model in ["one", "two", "three"] {
                if random.random_bool(0.08) {
                    rows.push((rows.len(), minute, caller, model));
                }
            }
        }
        if minute % 10 == 0 {
            rows.push(tick(rows.len(), minute));
        }
    }
    rows.push(tick(rows.len(), 800));
    rows
}

#[test]
fn any_order_of_arrival_ends_in_the_correlations_of_one_clean_run() {
    for keys in [
        "signals_required = 3",
        "order = [\"a\", \"b\", \"c\"]",
        "signals_required = 2\nabsent = [\"c\"]",
    ] {
        let pack = pack(&format!(
            "{SIGNALS}\n{keys}\nwithin = \"10m\"\nby = [\"caller\"]\nquiet = \"5m\""
        ));
        let rows = traffic(7);
        let clean = TestStore::new();
        clean.commit(&rows);
        clean.run(&pack, &complete());
        assert!(clean.findings().len() >= 2, "{}", clean.findings().len());
        let mut random = StdRng::seed_from_u64(11);
        let mut shuffled = rows.clone();
        shuffled.shuffle(&mut random);
        let mut late: Vec<(i64, Row)> = rows
            .iter()
            .map(|row| (row.1 + random.random_range(0..60), *row))
            .collect();
        late.sort_by_key(|(arrives, _)| *arrives);
        let late: Vec<Row> = late.into_iter().map(|(_, row)| row).collect();
        // Each arrival with one of the kinds: debug builds are slow.
        let arrivals = [
            ("shuffled", &shuffled, open_ended(), "= 3"),
            ("late", &late, complete(), "absent"),
            ("in order", &rows, open_ended(), "absent"),
            ("late", &late, complete(), "order"),
        ];
        for (what, rows, options, kind) in arrivals {
            if !keys.contains(kind) {
                continue;
            }
            let store = TestStore::new();
            for chunk in rows.chunks(rows.len() / 3) {
                store.commit(chunk);
                store.run(&pack, &options);
            }
            store.run(&pack, &complete());
            assert_eq!(store.answers(), clean.answers(), "{what}, {keys}");
            assert_eq!(store.findings(), clean.findings(), "{what}, {keys}");
            if keys.contains("= 3") {
                store.assert_named_findings_stand();
            }
        }
    }
}

#[test]
fn a_correlation_can_be_a_signal_of_another() {
    let upper = correlation(
        "signals = [\"together\", \"late\"]\norder = [\"together\", \"late\"]\nwithin = \"30m\"\nby = [\"caller\"]",
        "",
    )
    .1
    .replace("id = \"together\"", "id = \"above\"");
    let files = [
        signal("one", "one", ""),
        signal("two", "two", ""),
        signal("three", "three", ""),
        signal("late", "late", ""),
        correlation(
            &format!("{SIGNALS}\nsignals_required = 3\nwithin = \"10m\"\nby = [\"caller\"]"),
            "",
        ),
        (PathBuf::from("above.sql"), Cow::Owned(upper)),
    ];
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    let store = TestStore::new();
    let above = "SELECT count(*) FROM findings_now WHERE rule_id = 'above'";
    store.commit(&[
        (1, 600, "x", "one"),
        (2, 604, "x", "two"),
        (4, 620, "x", "late"),
        tick(9, 700),
    ]);
    store.run(&pack, &complete());
    assert_eq!(store.query(above), ["0"]);
    // What the lower one is made of comes late, and in one run both are found.
    store.commit(&[(3, 609, "x", "three"), tick(10, 705)]);
    store.run(&pack, &complete());
    assert_eq!(store.findings().len(), 1);
    assert_eq!(store.query(above), ["1"]);
}

#[test]
fn a_backtest_finds_what_a_run_finds() {
    let pack = three_in_ten();
    let store = TestStore::new();
    store.commit(&traffic(3));
    let tried = store.of_correlation(
        &pack,
        &RunOptions {
            range: Range::Between(None, None),
            dry_run: true,
            ..complete()
        },
    );
    let found = store.of_correlation(&pack, &complete());
    let of = |outcome: &RuleOutcome<'_>| -> Vec<_> {
        let episodes = outcome.episodes.iter();
        let mut all: Vec<_> = episodes
            .map(|episode| {
                (
                    episode.first_seen,
                    episode.last_seen,
                    episode.entity.clone(),
                )
            })
            .map(|key| format!("{key:?}"))
            .collect();
        all.sort_unstable();
        all
    };
    assert!(!found.episodes.is_empty());
    assert_eq!(of(&tried), of(&found));
}

//! Runs over stores: which windows are evaluated, when, and what becomes of findings when logs come late, twice, in
//! pieces or out of order.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;

use inferwatch::catalog::{Pack, Severity, Span, State};
use inferwatch::detect::{
    Episode, Event, Needs, Prepared, Range, RuleOutcome, RunOptions, Window, context_of, run,
};
use inferwatch::schema::{Call, CallBuilder, Micros, Table};
use inferwatch::store::{CompactOptions, Store, SweepOptions, WriteOptions};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

pub(crate) const MINUTE: i64 = 60_000_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// A row of `calls`, made of what the rules here look at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) time: i64,
    caller: &'static str,
    tokens: i64,
    outcome: &'static str,
}

pub(crate) fn row(number: usize, minute: i64, caller: &'static str, tokens: i64) -> Row {
    Row {
        id: format!("event-{number}"),
        time: minute * MINUTE,
        caller,
        tokens,
        outcome: "success",
    }
}

/// A store in a folder of its own.
pub(crate) struct TestStore {
    folder: TempDir,
}

impl TestStore {
    pub(crate) fn new() -> TestStore {
        let folder = tempfile::tempdir().expect("a folder");
        TestStore { folder }
    }

    pub(crate) fn with(rows: &[Row]) -> TestStore {
        let store = TestStore::new();
        store.commit(rows);
        store
    }

    /// Opened anew each time, as by another process.
    pub(crate) fn open(&self) -> Store {
        Store::open_or_create(&self.folder.path().join("store")).expect("a store")
    }

    pub(crate) fn commit(&self, rows: &[Row]) {
        let mut calls = CallBuilder::default();
        for row in rows {
            calls.append(&Call {
                event_time: Micros(row.time),
                event_id: &row.id,
                source_format: "test",
                record_role: "primary",
                caller: Some(row.caller),
                input_tokens: Some(row.tokens),
                output_tokens: Some(0),
                outcome: row.outcome,
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

    pub(crate) fn run<'a>(&self, pack: &'a Pack, options: &RunOptions) -> Vec<RuleOutcome<'a>> {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let rules: Vec<_> = pack.rules.iter().collect();
        run(runtime.handle(), &self.open(), &rules, options).expect("runs")
    }

    fn run_one<'a>(&self, pack: &'a Pack, options: &RunOptions) -> RuleOutcome<'a> {
        self.run(pack, options).remove(0)
    }

    /// The same in order.
    fn sorted(&self, sql: &str) -> Vec<String> {
        let mut lines = self.query(sql);
        lines.sort_unstable();
        lines
    }

    /// The rows of a query as texts.
    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let context = context_of(&self.open()).await.expect("a context");
            let batches = context
                .sql(sql)
                .await
                .expect("plans")
                .collect()
                .await
                .expect("runs");
            let mut lines = Vec::new();
            for batch in &batches {
                for row in 0..batch.num_rows() {
                    let cells = batch.columns().iter().map(|column| {
                        arrow::util::display::array_value_to_string(column, row).expect("prints")
                    });
                    lines.push(cells.collect::<Vec<_>>().join(" "));
                }
            }
            lines
        })
    }

    /// The findings as they stand, without their names: these say when a finding was first seen.
    pub(crate) fn findings(&self) -> Vec<String> {
        self.sorted(
            "SELECT rule_id, entity, status, severity, window_start, first_window_end, window_end, windows, \
             event_count, first_seen, last_seen, evidence FROM findings_now",
        )
    }

    /// What every window came to.
    pub(crate) fn answers(&self) -> Vec<String> {
        self.sorted(
            "SELECT rule_id, window_end, state, returned FROM (SELECT *, row_number() OVER \
             (PARTITION BY rule_id, window_end ORDER BY revision DESC) AS place FROM evaluations) \
             WHERE place = 1 AND state <> 'gap'",
        )
    }
}

fn shipped(id: &str) -> Pack {
    let mut pack = Pack::embedded();
    pack.rules.retain(|file| file.rule.id == id);
    pack
}

pub(crate) fn rule(id: &str, header: &str, sql: &str) -> (PathBuf, Cow<'static, str>) {
    let text = format!(
        "-- /// rule\n-- id = \"{id}\"\n-- title = \"t\"\n-- description = \"d\"\n-- version = 1\n\
         -- status = \"test\"\n-- severity = \"low\"\n-- confidence = \"low\"\n-- source = [\"calls\"]\n\
         -- requires = [\"caller\"]\n-- window = \"30m\"\n-- every = \"5m\"\n-- entity = [\"caller\"]\n\
         {}-- ///\n{sql}",
        header
            .lines()
            .map(|line| format!("-- {line}\n"))
            .collect::<String>()
    );
    (PathBuf::from(format!("{id}.sql")), Cow::Owned(text))
}

pub(crate) const BOUNDS: &str = "event_time >= $window_start AND event_time < $window_end";

/// A rule that may fire early, one whose findings more rows may undo, one that reads a baseline, one through the
/// merged view, and those whose findings are windows or rows.
pub(crate) fn rules() -> Pack {
    let count = |having: &str| {
        format!(
            "SELECT caller, count(*) AS event_count, min(event_time) AS first_seen, max(event_time) AS last_seen \
             FROM calls WHERE {BOUNDS} GROUP BY caller HAVING {having}"
        )
    };
    let files = [
        rule("counted", "", &count("count(*) > 9")),
        rule(
            "failing",
            "quiet = \"20m\"",
            &count("count(*) FILTER (WHERE outcome = 'failure') * 2.0 > count(*)"),
        ),
        rule(
            "grown",
            "baseline = \"2h\"\nquiet = \"10m\"",
            &format!(
                "SELECT now.caller, now.n AS event_count FROM \
                 (SELECT caller, count(*) AS n FROM calls WHERE {BOUNDS} GROUP BY caller) AS now JOIN \
                 (SELECT caller, count(*) AS n FROM calls WHERE event_time >= $baseline_start \
                 AND event_time < $window_start GROUP BY caller) AS before ON now.caller = before.caller \
                 WHERE now.n * 2 > before.n"
            ),
        ),
        rule(
            "merged",
            "source = [\"calls_merged\"]\ndedup = \"window\"",
            &count("sum(input_tokens) > 70").replace("FROM calls ", "FROM calls_merged "),
        ),
        rule("rows", "dedup = \"row\"", &count("count(*) > 11")),
        rule("held", "for = \"10m\"", &count("count(*) > 9")),
    ];
    let files = files.map(|(path, text)| {
        // A key given again replaces the one above.
        let source = "-- source = [\"calls\"]\n";
        let text = match text.matches("-- source").count() {
            2 => Cow::Owned(text.replacen(source, "", 1)),
            _ => text,
        };
        (path, text)
    });
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    assert_eq!(pack.rules.len(), 6);
    pack
}

/// Hours from 10:00 on with bursts, quiet times, and an hour without any row.
pub(crate) fn traffic(seed: u64, until: i64) -> Vec<Row> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rows = Vec::new();
    for minute in 600..until {
        if (700..760).contains(&minute) {
            continue;
        }
        for caller in ["a", "b", "c"] {
            let is_busy = random.random_bool(0.3) || (minute / 20 + caller.len() as i64) % 5 == 0;
            if !is_busy && random.random_bool(0.7) {
                continue;
            }
            let mut next = row(rows.len(), minute, caller, random.random_range(1..12));
            next.time += random.random_range(0..MINUTE);
            if random.random_bool(if minute / 30 % 3 == 0 { 0.7 } else { 0.1 }) {
                next.outcome = "failure";
            }
            rows.push(next);
        }
    }
    rows
}

pub(crate) fn complete() -> RunOptions {
    RunOptions {
        is_complete: true,
        threads: 2,
        ..RunOptions::default()
    }
}

pub(crate) fn open_ended() -> RunOptions {
    RunOptions {
        is_complete: false,
        ..complete()
    }
}

/// Rows in commits, a run after each, and a last one that knows that no more will come.
fn in_pieces(pack: &Pack, commits: &[Vec<Row>], options: &RunOptions) -> TestStore {
    let store = TestStore::new();
    for rows in commits {
        store.commit(rows);
        store.run(pack, options);
    }
    store.run(pack, &complete());
    store
}

pub(crate) fn assert_same(store: &TestStore, clean: &TestStore, what: &str) {
    for (got, wanted) in [
        (store.answers(), clean.answers()),
        (store.findings(), clean.findings()),
    ] {
        let only = |these: &[String], those: &[String]| -> Vec<String> {
            let missing = these.iter().filter(|line| !those.contains(line));
            missing.take(3).cloned().collect()
        };
        assert_eq!(only(&got, &wanted), only(&wanted, &got), "{what}");
        assert_eq!(got.len(), wanted.len(), "{what}");
    }
}

#[test]
fn any_order_of_arrival_ends_in_the_findings_of_one_clean_run() {
    let pack = rules();
    // One order a run of the tests; INFERWATCH_SEEDS asks for more.
    let seeds = std::env::var("INFERWATCH_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(1) {
        let rows = traffic(seed, 800);
        let clean = TestStore::with(&rows);
        clean.run(&pack, &complete());
        assert!(clean.findings().len() > 10, "{}", clean.findings().len());
        let mut random = StdRng::seed_from_u64(seed);

        // Commit after commit, as it happened.
        let chunks = |rows: &[Row], size: usize| -> Vec<Vec<Row>> {
            rows.chunks(size).map(<[Row]>::to_vec).collect()
        };
        let store = in_pieces(&pack, &chunks(&rows, 90), &open_ended());
        assert_same(&store, &clean, "in order");

        // Every commit has rows of all hours.
        let mut shuffled = rows.clone();
        shuffled.shuffle(&mut random);
        let store = in_pieces(&pack, &chunks(&shuffled, 130), &open_ended());
        assert_same(&store, &clean, "shuffled");

        // Each row late by up to two hours, and windows closed at once.
        let mut late: Vec<(i64, Row)> = rows
            .iter()
            .map(|row| (row.time + random.random_range(0..2 * HOUR), row.clone()))
            .collect();
        late.sort_by_key(|(arrives, _)| *arrives);
        let late: Vec<Row> = late.into_iter().map(|(_, row)| row).collect();
        let store = in_pieces(&pack, &chunks(&late, 90), &complete());
        assert_same(&store, &clean, "late");

        // Every row twice, once in its place and once anywhere.
        let mut twice = rows.clone();
        twice.extend(shuffled);
        let store = in_pieces(&pack, &chunks(&twice, 260), &open_ended());
        assert_same(&store, &clean, "twice");
    }
}

#[test]
fn a_run_after_a_run_changes_nothing() {
    let pack = rules();
    let store = TestStore::with(&traffic(9, 900));
    store.run(&pack, &complete());
    let count =
        "SELECT (SELECT count(*) FROM findings) AS f, (SELECT count(*) FROM evaluations) AS e";
    let before = store.query(count);
    for options in [complete(), open_ended()] {
        let outcomes = store.run(&pack, &options);
        assert!(
            outcomes
                .iter()
                .all(|outcome| outcome.windows() == 0 && outcome.changes.is_empty())
        );
    }
    // Told to look again, it does, and stores nothing.
    let range = Range::Between(Some(620 * MINUTE), Some(880 * MINUTE));
    let outcomes = store.run(
        &pack,
        &RunOptions {
            range,
            ..complete()
        },
    );
    assert!(outcomes.iter().all(|outcome| outcome.windows() == 52));
    assert!(outcomes.iter().any(|outcome| !outcome.episodes.is_empty()));
    assert_eq!(store.query(count), before);
}

#[test]
fn a_compaction_makes_no_window_be_evaluated_again_and_hides_no_late_row() {
    let pack = rules();
    let compact = |store: &Store, at: i64| {
        let options = CompactOptions {
            at,
            ..CompactOptions::default()
        };
        let tasks = store.plan_compaction(&options).expect("a plan");
        let report = store.compact(tasks, &options).expect("it is compacted");
        assert!(report.periods > 0);
    };
    let store = TestStore::with(&traffic(9, 900));
    store.run(&pack, &complete());
    let answers = store.answers();
    compact(&store.open(), 10 * 24 * HOUR);
    let outcomes = store.run(&pack, &complete());
    assert!(outcomes.iter().all(|outcome| outcome.windows() == 0));
    // A row comes late, and is compacted away with the others before anybody has looked at it.
    let late: Vec<Row> = (0..12).map(|n| row(9_000 + n, 700, "late", 1)).collect();
    let without = TestStore::with(&traffic(9, 900));
    without.commit(&late);
    store.commit(&late);
    compact(&store.open(), 10 * 24 * HOUR);
    let outcomes = store.run(&pack, &complete());
    assert!(outcomes.iter().all(|outcome| outcome.windows() > 0));
    without.run(&pack, &complete());
    assert_eq!(store.answers(), without.answers());
    assert_ne!(store.answers(), answers);
    // The file that it came in is gone, and the log that told of it.
    store.commit(&[row(9_100, 701, "late", 1)]);
    compact(&store.open(), 10 * 24 * HOUR);
    let sweep = SweepOptions {
        at: chrono::Utc::now().timestamp_micros() + 30 * 24 * HOUR,
        ..SweepOptions::default()
    };
    assert!(store.open().sweep(&sweep).expect("it is swept").files > 0);
    store.run(&pack, &complete());
    without.commit(&[row(9_100, 701, "late", 1)]);
    without.run(&pack, &complete());
    assert_eq!(store.answers(), without.answers());
}

#[test]
fn late_rows_touch_exactly_their_windows() {
    let pack = rules();
    let counted = |store: &TestStore| {
        let outcomes = store.run(&pack, &complete());
        let outcome = outcomes
            .into_iter()
            .find(|outcome| outcome.file.rule.id == "counted");
        outcome.expect("one of them")
    };
    let mut rows: Vec<Row> = (0..300).map(|n| row(n, 600 + n as i64, "a", 1)).collect();
    let late = rows.remove(100);
    let store = TestStore::with(&rows);
    counted(&store);
    // 11:40 lies in the windows of half an hour that end from 11:45 to 12:10.
    store.commit(std::slice::from_ref(&late));
    let outcome = counted(&store);
    assert_eq!((outcome.again, outcome.windows()), (6, 6));
    assert_eq!(outcome.late_dropped(), 0);
    let revised = store.query(
        "SELECT window_end FROM evaluations WHERE rule_id = 'counted' AND revision = 2 ORDER BY 1",
    );
    let ends: Vec<String> = (0..6)
        .map(|n| {
            format!(
                "1970-01-01T{:02}:{:02}:00Z",
                11 + (45 + 5 * n) / 60,
                (45 + 5 * n) % 60
            )
        })
        .collect();
    assert_eq!(revised, ends);
    // It was in the store before: evaluated again, and nothing new.
    store.commit(&[late]);
    let outcome = counted(&store);
    assert_eq!((outcome.again, outcome.changes.len()), (6, 0));
    assert_eq!(counted(&store).windows(), 0);
}

/// `burner` uses 400 tokens an hour more than it may, from 02:00 to 02:30.
fn six_hours() -> Vec<Row> {
    let mut rows = Vec::new();
    for minute in 0..360 {
        rows.push(row(rows.len(), minute, "app", 20));
        let is_burning = (120..150).contains(&minute);
        let tokens = if is_burning { 20_001 } else { 2 };
        rows.push(row(rows.len(), minute, "burner", tokens));
    }
    rows
}

#[test]
fn one_burst_is_one_finding_over_all_its_windows() {
    let pack = shipped("token-burn");
    let store = TestStore::with(&six_hours());
    let outcome = store.run_one(&pack, &complete());
    let [episode]: &[Episode] = &outcome.episodes else {
        panic!("{:?}", outcome.episodes)
    };
    assert_eq!(episode.severity, Severity::High);
    assert_eq!(episode.entity["caller"], "burner");
    let fired = |end: i64| {
        let tokens = |minute: i64| {
            if (120..150).contains(&minute) {
                20_001
            } else {
                2
            }
        };
        (end - 60..end).map(tokens).sum::<i64>() > 500_000
    };
    let ends: Vec<i64> = (1..)
        .map(|n| n * 5)
        .take_while(|end| *end <= 359)
        .filter(|end| fired(*end))
        .collect();
    assert_eq!(episode.first_window.end, ends[0] * MINUTE);
    assert_eq!(episode.last_window.end, ends[ends.len() - 1] * MINUTE);
    assert_eq!(episode.windows, ends.len());
    // The last event is at 05:59, so the window that ends at 05:55 is the last one closed: 71 windows.
    assert_eq!(outcome.windows(), 71);
    assert_eq!(outcome.states["fired"], ends.len());
    assert_eq!(store.query("SELECT count(*) FROM evaluations"), ["71"]);
    let events = "SELECT revision, event, status, windows FROM findings ORDER BY revision";
    let windows = ends.len();
    assert_eq!(
        store.query(events),
        [
            format!("1 opened open {windows}"),
            format!("2 resolved resolved {windows}")
        ]
    );
}

#[test]
fn memory_decides_how_a_range_is_read_but_not_what_is_found() {
    // Through the merged view, which is written out in memory and planned anew for each window that is read from the
    // store. Twenty minutes of `burner` burning are above the line, ten are not.
    let sql = format!(
        "SELECT caller, sum(input_tokens) AS tokens FROM calls_merged WHERE {BOUNDS} GROUP BY caller \
         HAVING sum(input_tokens) > 300000"
    );
    let (path, text) = rule("burning", "", &sql);
    let text = text
        .replace("[\"calls\"]", "[\"calls_merged\"]")
        .replace("window = \"30m\"", "window = \"20m\"")
        .replace("every = \"5m\"", "every = \"10m\"");
    let pack = Pack::from_files([(path, Cow::Owned(text))].into_iter());
    assert_eq!(pack.problems, []);
    let mut rows = Vec::new();
    for minute in 90..160 {
        let is_burning = (120..150).contains(&minute);
        let tokens = if is_burning { 20_001 } else { 2 };
        rows.push(row(rows.len(), minute, "burner", tokens));
        let first = rows.len();
        rows.extend((first..first + 30).map(|number| row(number, minute, "app", 20)));
    }
    let store = TestStore::with(&rows);
    let found = |memory: u64| {
        let options = RunOptions {
            range: Range::Between(Some(100 * MINUTE), Some(160 * MINUTE)),
            memory,
            dry_run: true,
            ..complete()
        };
        let outcome = store.run_one(&pack, &options);
        let told = format!("{:?}: {:?}", outcome.states, outcome.detail);
        assert!(!outcome.states.contains_key("error"), "{told}");
        (outcome.episodes, outcome.states)
    };
    let whole = found(1 << 30);
    assert_eq!(whole.0.len(), 1, "{:?}", whole.1);
    let (first, last) = (whole.0[0].first_window.end, whole.0[0].last_window.end);
    assert_eq!((first, last), (140 * MINUTE, 150 * MINUTE));
    assert_eq!(whole.1["fired"] + whole.1["clear"], 6, "{:?}", whole.1);

    // The least that does for three of the six windows does not for all.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let memory = runtime.block_on(async {
        let context = context_of(&store.open()).await.expect("a context");
        let prepared = Prepared::new(&context, &pack.rules[0], &[], None).await;
        let needs = Needs::of(&context, &prepared.expect("plans")).expect("plans");
        let fits = async |start: i64, end: i64, memory: u64| {
            let (start, end) = (start * MINUTE, end * MINUTE);
            let loaded = needs.load(&context, Window { start, end }, memory).await;
            loaded.expect("is read").is_some()
        };
        let mut memory = 100_000;
        while !(fits(90, 130, memory).await && fits(120, 160, memory).await) {
            memory += memory / 32;
        }
        assert!(!fits(90, 160, memory).await, "{memory}");
        memory
    });
    assert_eq!(found(memory), whole, "half by half");
    assert_eq!(found(1), whole, "from the store");
    assert_eq!(
        store.query("SELECT count(*) FROM evaluations"),
        ["0"],
        "dry"
    );
}

#[test]
fn a_store_without_rows_is_not_covered_and_not_clear() {
    let pack = shipped("token-burn");
    let range = Range::At(HOUR);
    let outcome = TestStore::new().run_one(
        &pack,
        &RunOptions {
            range,
            ..complete()
        },
    );
    let states: Vec<_> = outcome.states.keys().copied().collect();
    assert_eq!(states, [State::NotCovered.name()]);
}

#[test]
fn a_finding_is_opened_updated_revised_retracted_and_resolved() {
    let pack = {
        let mut pack = rules();
        pack.rules.retain(|file| file.rule.id == "failing");
        pack
    };
    let failing = |number: usize, minute: i64| Row {
        outcome: "failure",
        ..row(number, minute, "a", 1)
    };
    let events = |outcome: &RuleOutcome<'_>| -> Vec<(Event, usize)> {
        let changes = outcome.changes.iter();
        changes
            .map(|change| (change.event, change.finding.episode.windows))
            .collect()
    };
    let store = TestStore::new();
    // Two of three fail at 10:01; the window from 09:40 to 10:10 is the second that shows it.
    store.commit(&[
        failing(0, 601),
        failing(1, 601),
        row(2, 601, "a", 1),
        row(3, 610, "b", 1),
    ]);
    assert_eq!(
        events(&store.run_one(&pack, &complete())),
        [(Event::Opened, 2)]
    );
    store.commit(&[row(4, 620, "b", 1)]);
    assert_eq!(
        events(&store.run_one(&pack, &complete())),
        [(Event::Updated, 4)]
    );
    // Late: the finding is worse than was told.
    store.commit(&[failing(5, 602)]);
    assert_eq!(
        events(&store.run_one(&pack, &complete())),
        [(Event::Revised, 4)]
    );
    // Later still, calls that did not fail: it was nothing.
    store.commit(&[row(6, 602, "a", 1), row(7, 603, "a", 1)]);
    assert_eq!(
        events(&store.run_one(&pack, &complete())),
        [(Event::Retracted, 4)]
    );
    assert_eq!(store.findings(), [""; 0]);
    // And a failure again: the same finding, told again, and over after twenty quiet minutes.
    store.commit(&[failing(8, 603), failing(9, 604), failing(10, 604)]);
    assert_eq!(
        events(&store.run_one(&pack, &complete())),
        [(Event::Opened, 4)]
    );
    store.commit(&[row(11, 720, "b", 1)]);
    let last = store.run_one(&pack, &complete());
    assert_eq!(events(&last), [(Event::Updated, 6), (Event::Resolved, 6)]);
    let kept = store.query("SELECT DISTINCT finding_id FROM findings");
    assert_eq!(kept.len(), 1, "one name through all of it");
    let revisions = store.query("SELECT revision FROM findings ORDER BY 1");
    assert_eq!(revisions, ["1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn what_comes_beyond_the_horizon_is_counted_and_can_be_filled() {
    let pack = {
        let mut pack = rules();
        pack.rules.retain(|file| file.rule.id == "counted");
        pack
    };
    let mut rows: Vec<Row> = (0..300).map(|n| row(n, 600 + n as i64, "a", 1)).collect();
    let late: Vec<Row> = rows.drain(5..50).collect();
    let clean = TestStore::with(&[rows.clone(), late.clone()].concat());
    clean.run(&pack, &complete());
    let store = TestStore::with(&rows);
    let options = RunOptions {
        late_horizon: "2h".parse::<Span>().expect("a span"),
        ..complete()
    };
    store.run_one(&pack, &options);
    store.commit(&late);
    let outcome = store.run_one(&pack, &options);
    assert_eq!(
        (outcome.late_dropped(), outcome.again, outcome.gaps.len()),
        (45, 0, 1)
    );
    // 10:05 to 10:49 lie in windows that end from 10:10 to 11:15.
    let gap = "SELECT window_start, window_end, late_dropped FROM evaluations WHERE state = 'gap'";
    assert_eq!(
        store.query(gap),
        ["1970-01-01T09:40:00Z 1970-01-01T11:15:00Z 45"]
    );
    assert_ne!(store.findings(), clean.findings());
    let (first, last) = outcome.gaps[0].ends;
    let range = Range::Between(Some(first - 1), Some(last));
    store.run_one(&pack, &RunOptions { range, ..options });
    assert_same(&store, &clean, "filled");
}

#[test]
fn rows_older_than_all_others_leave_no_window_out() {
    let pack = rules();
    let rows = [
        row(0, 600, "a", 1),
        row(1, 720, "a", 1),
        row(2, 740, "a", 1),
    ];
    let clean = TestStore::with(&rows);
    clean.run(&pack, &complete());
    let store = TestStore::with(&rows[1..]);
    store.run(&pack, &complete());
    store.commit(&rows[..1]);
    store.run(&pack, &complete());
    // With an hour's patience, what lies between is a gap and no silence.
    assert_same(&store, &clean, "older");
    let impatient = RunOptions {
        late_horizon: Span::hours(1),
        ..complete()
    };
    let store = TestStore::with(&rows[1..]);
    store.run(&pack, &impatient);
    store.commit(&rows[..1]);
    let outcomes = store.run(&pack, &impatient);
    let counted = outcomes
        .iter()
        .find(|outcome| outcome.file.rule.id == "counted");
    let gaps = &counted.expect("one of them").gaps;
    assert_eq!(gaps.len(), 1);
    assert_eq!(
        (gaps[0].ends, gaps[0].late_dropped),
        ((605 * MINUTE, 680 * MINUTE), 1)
    );
}

#[test]
fn what_no_run_came_for_is_a_gap_beyond_the_catch_up() {
    let pack = {
        let mut pack = rules();
        pack.rules.retain(|file| file.rule.id == "counted");
        pack
    };
    let rows: Vec<Row> = (0..600).map(|n| row(n, n as i64, "a", 1)).collect();
    let clean = TestStore::with(&rows);
    clean.run(&pack, &complete());
    let store = TestStore::with(&rows[..100]);
    let options = RunOptions {
        max_catchup: "3h".parse::<Span>().expect("a span"),
        ..complete()
    };
    store.run_one(&pack, &options);
    store.commit(&rows[100..]);
    let outcome = store.run_one(&pack, &options);
    // Windows up to 01:35 were there; those up to 09:55 have closed; three hours of them are made good.
    assert_eq!((outcome.windows(), outcome.gaps.len()), (36, 1));
    assert_eq!(
        outcome.gaps[0].ends,
        (HOUR + 40 * MINUTE, 6 * HOUR + 55 * MINUTE)
    );
    let (first, last) = outcome.gaps[0].ends;
    let range = Range::Between(Some(first - 1), Some(last));
    store.run_one(&pack, &RunOptions { range, ..options });
    assert_same(&store, &clean, "filled");
}

#[test]
fn a_window_waits_for_its_rows_unless_more_can_only_add() {
    let pack = rules();
    let rows: Vec<Row> = (0..61)
        .map(|n| Row {
            outcome: "failure",
            ..row(n, 600 + n as i64, "a", 1)
        })
        .collect();
    let store = TestStore::with(&rows);
    let ends = |outcomes: &[RuleOutcome<'_>], id: &str| {
        let outcome = outcomes.iter().find(|outcome| outcome.file.rule.id == id);
        outcome.map(RuleOutcome::windows)
    };
    // The last event is at 11:00, and rows are expected for a quarter of an hour.
    let outcomes = store.run(&pack, &open_ended());
    assert_eq!(ends(&outcomes, "counted"), Some(12), "more rows only add");
    assert_eq!(ends(&outcomes, "failing"), Some(9), "a share may fall");
    assert_eq!(ends(&outcomes, "grown"), Some(9), "a baseline may rise");
    assert_eq!(
        ends(&outcomes, "merged"),
        Some(9),
        "a merged call may change"
    );
    // What was seen early is looked at again until it has closed, and stored again only when it came to something else.
    let early = "SELECT count(*) FROM evaluations WHERE is_early AND rule_id = 'counted'";
    assert_eq!(store.query(early), ["3"]);
    let outcomes = store.run(&pack, &open_ended());
    assert_eq!(ends(&outcomes, "counted"), Some(3));
    assert_eq!(ends(&outcomes, "failing"), Some(0));
    assert_eq!(store.query(early), ["3"]);
}

#[test]
fn the_same_subject_is_told_once_unless_it_got_worse() {
    let having = "GROUP BY caller HAVING count(*) > 9";
    let sql = format!(
        "SELECT caller, count(*) AS event_count, CASE WHEN count(*) > 25 THEN 'high' ELSE 'low' END AS severity \
         FROM calls WHERE {BOUNDS} {having}"
    );
    let header = "quiet = \"5m\"\n[suppress]\nfor = \"6h\"\n[risk]\nscore = 40";
    let pack = Pack::from_files([rule("bursts", header, &sql)].into_iter());
    assert_eq!(pack.problems, []);
    let mut rows = Vec::new();
    for (hour, size) in [(1, 10), (3, 12), (5, 30), (6, 10), (12, 10)] {
        for n in 0..size {
            rows.push(row(
                rows.len(),
                hour * 60,
                if n < 100 { "a" } else { "b" },
                1,
            ));
        }
    }
    rows.push(row(rows.len(), 14 * 60, "b", 1));
    let clean = TestStore::with(&rows);
    clean.run(&pack, &complete());
    let told = "SELECT severity, suppressed, folded, risk, risk_object FROM findings_now ORDER BY window_end";
    let expected = [
        "low false 0 40.0 a",
        "low true 1 40.0 a",
        "high false 1 40.0 a",
        "low true 1 40.0 a",
        "low false 1 40.0 a",
    ];
    assert_eq!(clean.query(told), expected);
    let commits: Vec<Vec<Row>> = rows.chunks(7).map(<[Row]>::to_vec).collect();
    assert_eq!(
        in_pieces(&pack, &commits, &complete()).query(told),
        expected
    );
}

#[test]
fn names_of_findings_are_theirs_alone() {
    let pack = rules();
    let store = TestStore::with(&traffic(3, 900));
    store.run(&pack, &complete());
    let ids = store.query("SELECT finding_id FROM findings_now");
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
}

//! Runs over stores: which windows are evaluated, when, and what becomes of findings when logs come late, twice, in
//! pieces or out of order.

mod arrival;
mod telling;
mod windows;

use std::borrow::Cow;
use std::path::PathBuf;

use inferwatch::catalog::Pack;
use inferwatch::detect::{RuleOutcome, RunOptions, context_of, run};
use inferwatch::schema::{Call, Micros};
use inferwatch::store::Store;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::ask::lines;
use crate::calls;

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
        let calls = rows.iter().map(|row| Call {
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
        calls::commit(&self.open(), calls);
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
            batches.iter().flat_map(lines).collect()
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

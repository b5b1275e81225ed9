//! Correlations: what lies together in time, what does not, and what becomes of it when signals come late, change or
//! are taken back.

mod changes;
mod meaning;

use std::borrow::Cow;
use std::path::PathBuf;

use inferwatch::catalog::Pack;
use inferwatch::detect::{Event, RuleOutcome, RunOptions, context_of, run};
use inferwatch::schema::{Call, Micros};
use inferwatch::store::Store;
use tempfile::TempDir;

use crate::ask::lines;
use crate::calls;

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
        let ids: Vec<String> = rows.iter().map(|row| format!("event-{}", row.0)).collect();
        let calls = rows
            .iter()
            .zip(&ids)
            .map(|((_, minute, caller, model), id)| Call {
                event_time: Micros(minute * MINUTE + 1_000_000),
                event_id: id,
                source_format: "test",
                record_role: "primary",
                caller: Some(caller),
                model: Some(model),
                outcome,
                hour: "1970-01-01T00",
                ..Call::default()
            });
        calls::commit(&self.open(), calls);
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

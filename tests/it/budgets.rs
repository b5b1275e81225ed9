//! A rule that needs more than it may have is stopped, says so, takes nothing from others, and is tried again.

use std::borrow::Cow;
use std::path::PathBuf;

use inferwatch::catalog::{Pack, ParamValue};
use inferwatch::detect::{RuleOutcome, RunOptions, context_of, run};
use inferwatch::schema::{Call, CallBuilder, Micros, Table};
use inferwatch::store::{Store, WriteOptions};
use tempfile::TempDir;

const MINUTE: i64 = 60_000_000;

fn rule(id: &str, budget: &str, sql: &str) -> (PathBuf, Cow<'static, str>) {
    let text = format!(
        "-- /// rule\n-- id = \"{id}\"\n-- title = \"t\"\n-- description = \"d\"\n-- version = 1\n\
         -- status = \"test\"\n-- severity = \"low\"\n-- confidence = \"low\"\n-- source = [\"calls\"]\n\
         -- requires = [\"caller\"]\n-- window = \"30m\"\n-- every = \"15m\"\n-- entity = [\"caller\"]\n{budget}\
         -- [params]\n-- least = {{ default = 0, doc = \"tokens of a row that counts\" }}\n-- ///\n{sql}"
    );
    (PathBuf::from(format!("{id}.sql")), Cow::Owned(text))
}

fn of(table: &str) -> String {
    format!(
        "{table}.event_time >= $window_start AND {table}.event_time < $window_end AND {table}.input_tokens >= $least"
    )
}

/// Every row with every row with every row, letter by letter: two hundred million comparisons of texts for six hundred
/// rows, which take no memory to speak of and a time that no test has.
fn dear() -> String {
    format!(
        "SELECT a.caller, count(*) AS event_count FROM calls AS a, calls AS b, calls AS c \
         WHERE {} AND {} AND {} \
         AND levenshtein(repeat(a.event_id, 4), repeat(b.event_id || c.event_id, 4)) <> 7 GROUP BY a.caller",
        of("a"),
        of("b"),
        of("c")
    )
}

fn large() -> String {
    format!(
        "SELECT a.caller, count(*) AS event_count, array_length(array_agg(a.event_id || b.event_id)) AS n \
         FROM calls AS a, calls AS b WHERE {} AND {} GROUP BY a.caller",
        of("a"),
        of("b")
    )
}

fn plain() -> String {
    format!(
        "SELECT caller, count(*) AS event_count FROM calls WHERE {} GROUP BY caller",
        of("calls")
    )
}

struct Stored {
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Stored {
    fn new() -> Stored {
        let stored = Stored {
            folder: TempDir::new().expect("a folder"),
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
        };
        let mut calls = CallBuilder::default();
        for number in 0..600_i64 {
            calls.append(&Call {
                event_time: Micros(600 * MINUTE + number * MINUTE / 20),
                event_id: &format!("event-{number}"),
                source_format: "test",
                record_role: "primary",
                caller: Some("a"),
                input_tokens: Some(10),
                outcome: "success",
                hour: "1970-01-01T10",
                ..Call::default()
            });
        }
        let mut writer = stored
            .open()
            .writer(WriteOptions::default())
            .expect("a writer");
        writer.write(Table::Calls, calls.finish()).expect("rows");
        writer.commit(&[]).expect("a commit");
        stored
    }

    fn open(&self) -> Store {
        Store::open_or_create(self.folder.path()).expect("a store")
    }

    fn run<'p>(&self, pack: &'p Pack, least: i64) -> Vec<RuleOutcome<'p>> {
        let rules: Vec<_> = pack.rules.iter().collect();
        let params = rules.iter().map(|file| {
            (
                file.rule.id.clone(),
                "least".to_string(),
                ParamValue::Integer(least),
            )
        });
        let options = RunOptions {
            is_complete: true,
            threads: 1,
            params: params.collect(),
            ..RunOptions::default()
        };
        run(self.runtime.handle(), &self.open(), &rules, &options).expect("runs")
    }

    /// Rule, last state of each window, revision, and reason.
    fn windows(&self, id: &str) -> Vec<(String, i64, String)> {
        let sql = format!(
            "SELECT state, revision, coalesce(detail, '') AS detail FROM evaluations WHERE rule_id = '{id}' \
             ORDER BY window_end, revision"
        );
        let rows = self.runtime.block_on(async {
            let context = context_of(&self.open()).await.expect("a context");
            context
                .sql(&sql)
                .await
                .expect("plans")
                .collect()
                .await
                .expect("runs")
        });
        let mut windows = Vec::new();
        for batch in &rows {
            for row in 0..batch.num_rows() {
                let cell = |column: usize| {
                    let column = batch.column(column);
                    arrow::util::display::array_value_to_string(column, row).expect("prints")
                };
                windows.push((cell(0), cell(1).parse().expect("a number"), cell(2)));
            }
        }
        windows
    }
}

#[test]
fn a_dear_rule_is_stopped_recorded_and_tried_again_and_others_go_on() {
    let files = [
        rule("a-dear", "-- [budget]\n-- time = \"3s\"\n", &dear()),
        rule("b-large", "-- [budget]\n-- memory = \"256KiB\"\n", &large()),
        rule("c-plain", "", &plain()),
    ];
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    let stored = Stored::new();
    let outcomes = stored.run(&pack, 0);
    let [dear, large, plain] = &outcomes[..] else {
        panic!("three rules")
    };
    // The rows are from 10:00 to 10:30: windows end at 10:15 and, as the last row is at 10:29:57, no later.
    assert_eq!((plain.windows(), plain.states["fired"]), (1, 1));
    assert_eq!(dear.states["error"], 1);
    assert!(
        dear.detail
            .as_ref()
            .is_some_and(|detail| detail.contains("3s")),
        "{:?}",
        dear.detail
    );
    assert_eq!(large.states["error"], 1, "{:?}", large.states);
    let reason = large.detail.as_deref().unwrap_or_default();
    assert!(reason.contains("Resources exhausted"), "{reason}");
    let told = stored.windows("a-dear");
    assert_eq!((told[0].0.as_str(), told[0].1, told.len()), ("error", 1, 1));
    assert!(told[0].2.contains("took longer than 3s"), "{told:?}");
    assert_eq!(stored.windows("b-large")[0].0, "error");

    // Tried again, and stopped again: that is no news.
    let outcomes = stored.run(&pack, 0);
    assert_eq!(outcomes[0].states["error"], 1);
    assert_eq!(stored.windows("a-dear").len(), 1);
    assert_eq!(outcomes[2].windows(), 0);

    // Where it has less to do, it gets through, and the window is what it should have been.
    let outcomes = stored.run(&pack, 11);
    assert_eq!(
        outcomes[0].states.get("clear"),
        Some(&1),
        "{:?}",
        outcomes[0].detail
    );
    let told: Vec<(String, i64)> = stored
        .windows("a-dear")
        .into_iter()
        .map(|it| (it.0, it.1))
        .collect();
    assert_eq!(told, [("error".to_string(), 1), ("clear".to_string(), 2)]);
}

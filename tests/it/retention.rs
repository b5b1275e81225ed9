//! Retention: what goes, what stays, and that a plan is what is done.

use std::path::PathBuf;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use inferwatch::Error;
use inferwatch::catalog::{Span, Tier};
use inferwatch::retention;
use inferwatch::schema::{Call, CallBuilder, Content, ContentBuilder, Micros, Table};
use inferwatch::store::{CompactOptions, Hold, Store, WriteOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::ask::numbers;
use crate::command::run;

/// 2028-02-28T00:00:00Z, from `date -u -d @1835308800`: two days before March, as the year has a leap day.
const START: i64 = 1_835_308_800_000_000;
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

fn store(folder: &TempDir) -> Store {
    Store::open_or_create(&folder.path().join("store")).expect("a store")
}

fn commit(store: &Store, table: Table, batch: RecordBatch, source: &str) {
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    writer.write(table, batch).expect("rows are taken");
    writer.commit(&[(source.to_owned(), 1)]).expect("a commit");
}

/// Calls with a time, a caller and a number of tokens.
fn calls(rows: &[(i64, &str, i64)]) -> RecordBatch {
    let mut builder = CallBuilder::default();
    for (number, (time, caller, tokens)) in rows.iter().enumerate() {
        builder.append(&Call {
            event_time: Micros(*time),
            event_id: &format!("{time}-{number}"),
            source_format: "test",
            record_role: "primary",
            source_file: Some("f"),
            source_offset: Some(number as i64),
            caller: Some(caller),
            model: Some("m"),
            outcome: "success",
            input_tokens: Some(*tokens),
            attributes: Some("{\"secret\":1}"),
            ..Call::default()
        });
    }
    builder.finish()
}

fn tier(id: &str, text: &str) -> Tier {
    Tier::read(PathBuf::from(format!("{id}.sql")), text)
        .unwrap_or_else(|problems| panic!("{problems:?}"))
        .expect("a tier")
}

/// A tier whose query gives everything there is, however young.
fn greedy(table: &str, action: &str, age: &str) -> Tier {
    tier(
        "greedy",
        &format!(
            "-- /// tier\n-- id = \"greedy\"\n-- title = \"all\"\n-- version = 1\n-- table = \"{table}\"\n\
             -- action = {action}\n-- minimum_age = \"{age}\"\n-- ///\n\
             SELECT period FROM partitions WHERE \"table\" = '{table}';\n"
        ),
    )
}

fn shipped(ids: &[&str]) -> Vec<Tier> {
    let mut tiers = Tier::embedded();
    tiers.retain(|tier| ids.contains(&tier.id.as_str()));
    assert_eq!(tiers.len(), ids.len());
    tiers
}

async fn apply(store: &Store, tiers: &[Tier], at: i64) -> Vec<retention::Applied> {
    retention::apply(store, tiers, at, |_| Ok(()), &WriteOptions::default())
        .await
        .expect("it is applied")
}

async fn times(store: &Store) -> Vec<i64> {
    let context = SessionContext::new();
    store.register(&context).expect("tables register");
    let sql = "SELECT CAST(event_time AS BIGINT) FROM calls ORDER BY 1";
    let batches = context
        .sql(sql)
        .await
        .expect(sql)
        .collect()
        .await
        .expect(sql);
    let values = batches.iter().flat_map(|batch| {
        batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    });
    values.collect()
}

#[tokio::test]
async fn the_tests_of_the_tiers_that_ship_pass() {
    let mut cases = 0;
    for tier in Tier::embedded() {
        for result in retention::test(&tier).await.expect("it runs") {
            assert_eq!(result.found, None, "{}: {}", result.tier, result.name);
            cases += 1;
        }
    }
    assert!(cases >= 10, "{cases}");
}

#[tokio::test]
async fn no_tier_takes_a_row_that_is_too_young_or_leaves_one_that_is_older_by_a_period() {
    let mut random = StdRng::seed_from_u64(5);
    for round in 0..6 {
        let folder = TempDir::new().expect("a folder");
        let store = store(&folder);
        let mut rows: Vec<(i64, &str, i64)> = (0..60)
            .map(|_| {
                (
                    START + random.random_range(-40..6) * DAY + random.random_range(0..DAY),
                    ["a", "b"][random.random_range(0..2)],
                    1,
                )
            })
            .collect();
        // On the boundaries, one before and one after them, and from a clock that is years ahead.
        let cut = START - 10 * DAY;
        rows.extend([
            (cut - 1, "edge", 1),
            (cut, "edge", 1),
            (cut + 1, "edge", 1),
            (START + 900 * DAY, "skewed", 1),
        ]);
        commit(&store, Table::Calls, calls(&rows), "s");
        // Hours, days or months, by chance.
        let compact = CompactOptions {
            at: START + 60 * DAY,
            day_after: [0, i64::MAX][random.random_range(0..2)],
            month_after: [0, 70 * DAY, i64::MAX][round % 3],
            ..CompactOptions::default()
        };
        let tasks = store.plan_compaction(&compact).expect("a plan");
        store.compact(tasks, &compact).expect("it is compacted");
        let longest = numbers(
            &store,
            "SELECT max(CAST(period_end AS BIGINT) - CAST(period_start AS BIGINT)) FROM partitions",
        )
        .await[0];
        let at = START
            + random.random_range(0..3) * DAY
            + random.random_range(0..3) * HOUR
            + random.random_range(-1..2);
        let tiers = [greedy("calls", "\"expire\"", "10d")];
        let plan = retention::plan(&store, &tiers, at).await.expect("a plan");
        let planned: i64 = plan.tiers[0].partitions.iter().map(|it| it.rows).sum();
        let before = times(&store).await;
        apply(&store, &tiers, at).await;
        let after = times(&store).await;
        assert_eq!(
            before.len() as i64 - after.len() as i64,
            planned,
            "the plan is what was done"
        );
        let young = |times: &[i64]| times.iter().filter(|time| at - **time < 10 * DAY).count();
        assert_eq!(young(&after), young(&before), "no young row went");
        assert!(
            after.iter().all(|time| at - time <= 10 * DAY + longest),
            "none stayed for too long"
        );
        assert!(planned > 0 || longest > 20 * DAY);
    }
}

#[tokio::test]
async fn a_row_of_exactly_the_age_goes_and_one_microsecond_younger_stays() {
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder);
    // The last instant of an hour, and the first of the next.
    commit(
        &store,
        Table::Calls,
        calls(&[(START + HOUR - 1, "a", 1), (START + HOUR, "a", 2)]),
        "s",
    );
    let tiers = [greedy("calls", "\"expire\"", "366d")];
    apply(&store, &tiers, START + HOUR + 366 * DAY - 1).await;
    assert_eq!(times(&store).await, [START + HOUR - 1, START + HOUR]);
    apply(&store, &tiers, START + HOUR + 366 * DAY).await;
    assert_eq!(times(&store).await, [START + HOUR]);
}

#[tokio::test]
async fn calls_are_summed_up_before_they_expire_and_the_sums_stay() {
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder);
    commit(
        &store,
        Table::Calls,
        calls(&[
            (START, "a", 1),
            (START + 1, "a", 2),
            (START + 30 * HOUR, "b", 4),
        ]),
        "1",
    );
    let tiers = shipped(&["usage-rollup", "calls-expire"]);
    let sums = "SELECT count(*), sum(calls), sum(input_tokens), count(DISTINCT caller) FROM usage";
    apply(&store, &tiers, START + 3 * DAY).await;
    assert_eq!(numbers(&store, sums).await, [2, 3, 7, 2]);
    // Nothing is new; and again nothing after a compaction, which writes other files of the same rows.
    assert_eq!(apply(&store, &tiers, START + 3 * DAY).await, []);
    commit(&store, Table::Calls, calls(&[(START + 2, "a", 8)]), "2");
    for _ in 0..2 {
        let compact = CompactOptions {
            at: START + 10 * DAY,
            ..CompactOptions::default()
        };
        let tasks = store.plan_compaction(&compact).expect("a plan");
        store.compact(tasks, &compact).expect("it is compacted");
        apply(&store, &tiers, START + 10 * DAY).await;
        assert_eq!(numbers(&store, sums).await, [2, 4, 15, 2]);
    }
    // A row comes right before its day expires, and is in the sums all the same.
    commit(&store, Table::Calls, calls(&[(START + 3, "a", 16)]), "3");
    let applied = apply(&store, &tiers, START + 91 * DAY).await;
    assert!(
        applied
            .iter()
            .any(|it| it.tier == "calls-expire" && it.rows == 4),
        "{applied:?}"
    );
    assert_eq!(numbers(&store, sums).await, [2, 5, 31, 2]);
    assert_eq!(times(&store).await, [START + 30 * HOUR]);
    // What comes for a day that has gone goes, and does not take the place of its sums.
    commit(&store, Table::Calls, calls(&[(START + 4, "z", 32)]), "4");
    let plan = retention::plan(&store, &tiers, START + 91 * DAY)
        .await
        .expect("a plan");
    assert!(
        plan.tiers[0]
            .kept
            .iter()
            .any(|kept| kept.why.contains("final")),
        "{plan:?}"
    );
    apply(&store, &tiers, START + 91 * DAY).await;
    assert_eq!(numbers(&store, sums).await, [2, 5, 31, 2]);
    assert_eq!(times(&store).await, [START + 30 * HOUR]);
    // Two expiries are told of.
    assert_eq!(
        numbers(
            &store,
            "SELECT count(*) FROM audit WHERE action_class = 'store.retention'"
        )
        .await,
        [2]
    );
    let report = store.verify(true).expect("it can be verified");
    assert_eq!(report.problems, []);
}

#[tokio::test]
async fn expiry_touches_the_log_alone() {
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder);
    commit(
        &store,
        Table::Calls,
        calls(&[(START, "a", 1), (START + 30 * HOUR, "b", 4)]),
        "1",
    );
    let files = |store: &Store| -> Vec<(PathBuf, u64)> {
        let entries = walkdir::WalkDir::new(store.root().join("calls")).sort_by_file_name();
        entries
            .into_iter()
            .map(|entry| entry.expect("listed"))
            .filter(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|extension| extension == "parquet")
            })
            .map(|entry| {
                (
                    entry.path().to_path_buf(),
                    entry.metadata().expect("there").len(),
                )
            })
            .collect()
    };
    let before = files(&store);
    apply(&store, &shipped(&["calls-expire"]), START + 200 * DAY).await;
    assert_eq!(times(&store).await, [0; 0]);
    assert_eq!(files(&store), before);
}

#[tokio::test]
async fn a_hold_keeps_what_it_covers() {
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder);
    commit(
        &store,
        Table::Calls,
        calls(&[(START, "a", 1), (START, "b", 2), (START + 2 * DAY, "a", 4)]),
        "1",
    );
    store
        .add_hold(Hold {
            id: "matter".into(),
            caller: Some("a".into()),
            until: Some(START + DAY),
            reason: "letter".into(),
            added: START,
            ..Hold::default()
        })
        .expect("a hold");
    let tiers = shipped(&["calls-expire"]);
    let plan = retention::plan(&store, &tiers, START + 200 * DAY)
        .await
        .expect("a plan");
    let kept: Vec<_> = plan.tiers[0]
        .kept
        .iter()
        .map(|kept| (kept.partition.caller.as_deref(), kept.why.as_str()))
        .collect();
    assert_eq!(kept, [(Some("a"), "legal hold `matter`")]);
    apply(&store, &tiers, START + 200 * DAY).await;
    assert_eq!(
        numbers(&store, "SELECT count(*), sum(input_tokens) FROM calls").await,
        [1, 1]
    );
    assert_eq!(
        numbers(
            &store,
            "SELECT count(*) FROM legal_holds WHERE released IS NULL"
        )
        .await,
        [1]
    );
    store
        .release_hold("matter", START, "settled")
        .expect("it is released");
    assert!(store.release_hold("matter", START, "again").is_err());
    apply(&store, &tiers, START + 200 * DAY).await;
    assert_eq!(times(&store).await, [0; 0]);
}

#[tokio::test]
async fn columns_are_emptied_and_text_is_redacted_once() {
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder);
    commit(
        &store,
        Table::Calls,
        calls(&[(START, "a", 1), (START + DAY, "b", 2)]),
        "1",
    );
    let mut content = ContentBuilder::default();
    content.append(&Content {
        event_time: Micros(START),
        event_id: "e",
        source_format: "test",
        direction: "input",
        part_type: "text",
        text: Some("write to ada@example.org"),
        ..Content::default()
    });
    commit(&store, Table::Content, content.finish(), "2");
    let mut second = greedy("content", "\"redact\"\n-- columns = [\"text\"]", "5d");
    second.id = "redact".into();
    let tiers = [
        greedy(
            "calls",
            "\"drop-columns\"\n-- columns = [\"attributes\"]",
            "5d",
        ),
        second,
    ];
    let at = START + 6 * DAY;
    let applied = apply(&store, &tiers, at).await;
    assert_eq!(applied.iter().map(|it| it.rows).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(
        numbers(
            &store,
            "SELECT count(*), count(attributes), sum(input_tokens) FROM calls"
        )
        .await,
        [2, 1, 3]
    );
    assert_eq!(
        numbers(
            &store,
            "SELECT count(*) FROM content WHERE text LIKE 'write to %' AND text NOT LIKE '%ada%'"
        )
        .await,
        [1]
    );
    // What is done is not done again, until a row comes.
    assert_eq!(apply(&store, &tiers, at).await, []);
    commit(&store, Table::Calls, calls(&[(START + 1, "a", 8)]), "3");
    assert_eq!(apply(&store, &tiers, at).await.len(), 1);
    assert_eq!(
        numbers(&store, "SELECT count(*), count(attributes) FROM calls").await,
        [3, 1]
    );
    let report = store.verify(true).expect("it can be verified");
    assert_eq!(report.problems, []);
}

#[test]
fn a_tier_says_what_is_wrong_with_it() {
    let read = |action: &str, sql: &str| {
        let text = format!(
            "-- /// tier\n-- id = \"x\"\n-- title = \"t\"\n-- version = 1\n-- table = \"calls\"\n-- action = {action}\n-- minimum_age = \"1d\"\n-- ///\n{sql}\n"
        );
        let problem = Tier::read(PathBuf::from("x.sql"), &text)
            .expect_err("it is wrong")
            .remove(0);
        problem.message
    };
    let select = "SELECT period FROM partitions;";
    assert!(read("\"forget\"", select).contains("forget"));
    assert!(read("\"redact\"", select).contains("columns"));
    assert!(read("\"redact\"\n-- columns = [\"input_tokens\"]", select).contains("no text"));
    assert!(read("\"drop-columns\"\n-- columns = [\"caller\"]", select).contains("stays"));
    assert!(read("\"rollup\"", select).contains("INSERT"));
    assert!(read("\"expire\"", "DELETE FROM calls;").contains("DELETE"));
    assert!(read("\"expire\"", "SELECT 1; SELECT 2;").contains("one SELECT"));
    assert!(read("\"expire\"", "").contains("SELECT"));
    assert_eq!(
        greedy("calls", "\"expire\"", "1d").minimum_age,
        Span::hours(24)
    );
}

#[tokio::test]
async fn a_plan_that_would_be_another_by_now_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder);
    commit(&store, Table::Calls, calls(&[(START, "a", 1)]), "1");
    let tiers = shipped(&["calls-expire"]);
    let error = retention::apply(
        &store,
        &tiers,
        START + 200 * DAY,
        |_| {
            Err(Error::Moved {
                message: "no".into(),
            })
        },
        &WriteOptions::default(),
    )
    .await
    .expect_err("it is refused");
    assert!(error.hint().is_some());
    assert_eq!(times(&store).await, [START]);

    let run = |arguments: &[&str]| run(folder.path(), arguments);
    let only = ["--tier", "calls-expire", "--format", "json"];
    let (code, plan, _) = run(&[&["retention", "plan", "--at", "2028-12-01"], &only[..]].concat());
    assert_eq!(code, 1);
    std::fs::write(folder.path().join("plan.json"), &plan).expect("written");
    commit(&store, Table::Calls, calls(&[(START + 5, "a", 2)]), "2");
    let apply = [&["retention", "apply", "--plan", "plan.json"], &only[..]].concat();
    let (code, _, told) = run(&apply);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("another now"), "{told}");
    assert_eq!(numbers(&store, "SELECT count(*) FROM calls").await, [2]);
    let (_, plan, _) = run(&[&["retention", "plan", "--at", "2028-12-01"], &only[..]].concat());
    std::fs::write(folder.path().join("plan.json"), &plan).expect("written");
    let (code, out, told) = run(&apply);
    assert_eq!(code, 0, "{told}");
    assert!(out.contains("\"rows\": 2"), "{out}");
    assert_eq!(numbers(&store, "SELECT count(*) FROM calls").await, [0]);
}

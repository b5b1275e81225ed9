//! Compaction, and what is removed after it: nothing is lost, whoever reads, writes or dies meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use inferwatch::catalog::Tier;
use inferwatch::retention;
use inferwatch::schema::{
    Call, CallBuilder, Content, ContentBuilder, Filter, FilterBuilder, Micros, Table,
};
use inferwatch::store::{CompactOptions, Store, SweepOptions, WriteOptions};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::ask::numbers;
use crate::command::{self, run};
use crate::folder::{copy, files};

/// 2026-01-30T22:00:00Z, from `date -u -d @1769810400`: two hours before the end of a month's last day but one.
const START: i64 = 1_769_810_400_000_000;
const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

fn call<'a>(time: i64, id: &'a str, caller: &'a str, file: &'a str, number: i64) -> Call<'a> {
    Call {
        event_time: Micros(time),
        event_id: id,
        source_format: "test",
        record_role: "primary",
        source_file: Some(file),
        source_offset: Some(number),
        caller: Some(caller),
        model: Some("m"),
        outcome: "success",
        input_tokens: Some(number),
        attributes: Some("{\"a\":1}"),
        tags: vec![("k", "v")],
        ..Call::default()
    }
}

fn calls<'a>(rows: impl IntoIterator<Item = Call<'a>>) -> RecordBatch {
    let mut builder = CallBuilder::default();
    for row in rows {
        builder.append(&row);
    }
    builder.finish()
}

fn commit(store: &Store, table: Table, batch: RecordBatch, source: &str) {
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    writer.write(table, batch).expect("rows are taken");
    writer.commit(&[(source.to_owned(), 1)]).expect("a commit");
}

fn options(at: i64) -> CompactOptions {
    CompactOptions {
        at,
        ..CompactOptions::default()
    }
}

fn compact(store: &Store, options: &CompactOptions) -> inferwatch::store::CompactReport {
    let tasks = store.plan_compaction(options).expect("a plan");
    let report = store.compact(tasks, options).expect("it is compacted");
    assert_eq!(report.failed, []);
    report
}

/// Sweeps as if long after, so that nothing has to wait.
fn sweep_all(store: &Store) -> inferwatch::store::SweepReport {
    let late = SweepOptions {
        at: chrono::Utc::now().timestamp_micros() + 30 * DAY,
        ..SweepOptions::default()
    };
    store.sweep(&late).expect("it is swept")
}

const SUMS: &str = "SELECT count(*), sum(input_tokens), sum(source_offset * 7 + input_tokens), count(DISTINCT caller), \
     CAST(sum(date_part('epoch', event_time)) AS BIGINT) FROM calls";

fn periods(store: &Store, table: Table) -> BTreeMap<String, usize> {
    let snapshot = store.snapshot(table).expect("a snapshot");
    let mut periods = BTreeMap::new();
    for file in snapshot.iter() {
        *periods.entry(file.period().to_owned()).or_default() += 1;
    }
    periods
}

fn assert_sound(store: &Store) {
    let report = store.verify(true).expect("it can be verified");
    assert_eq!(report.problems, []);
}

/// Some callers' calls over three days, in as many commits as asked.
fn fill(store: &Store, commits: usize) {
    let mut random = StdRng::seed_from_u64(7);
    for number in 0..commits {
        let ids: Vec<String> = (0..40).map(|row| format!("e-{number}-{row}")).collect();
        let mut rows: Vec<Call<'_>> = ids
            .iter()
            .enumerate()
            .map(|(row, id)| {
                // Hours of four days, the last of one month and the first of the next.
                let hour = [0, 1, 2, 3, 26, 27, 50, 51][random.random_range(0..8)];
                let time = START + hour * HOUR + random.random_range(0..HOUR);
                let caller = ["alice", "bob", "carol", "d/../e"][random.random_range(0..4)];
                call(time, id, caller, "f.jsonl", (number * 40 + row) as i64)
            })
            .collect();
        rows.shuffle(&mut random);
        commit(
            store,
            Table::Calls,
            calls(rows),
            &format!("source-{number}"),
        );
    }
}

#[tokio::test]
async fn hours_become_days_and_days_months_and_no_row_changes() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
    fill(&store, 3);
    let before = numbers(&store, SUMS).await;
    let files = store.snapshot(Table::Calls).expect("a snapshot").len();
    // The last of the rows lies before 2026-02-02T22:00Z. A day after the second of February, days; the month of
    // January is over for ten days then, which is not enough.
    let at = START + 14 * DAY;
    let plan = store.plan_compaction(&options(at)).expect("a plan");
    assert_eq!(
        plan.iter()
            .map(|task| (task.period.as_str(), task.reason))
            .collect::<Vec<_>>(),
        ["2026-01-30", "2026-01-31", "2026-02-01", "2026-02-02"]
            .map(|day| (day, "hours that are over"))
    );
    let report = compact(&store, &options(at));
    assert_eq!(
        (report.periods, report.rows, report.duplicates),
        (4, 120, 0)
    );
    assert_eq!(report.files_before, files as u64);
    assert_eq!(numbers(&store, SUMS).await, before);
    assert!(
        periods(&store, Table::Calls)
            .keys()
            .all(|period| period.len() == 10)
    );
    assert_sound(&store);
    // What is done is done.
    assert_eq!(store.plan_compaction(&options(at)).expect("a plan"), []);

    // A straggler comes, and both months are over for long.
    commit(
        &store,
        Table::Calls,
        calls([Call {
            hour: "2026-01-30T22",
            ..call(START, "late", "zoe", "g", 5)
        }]),
        "late",
    );
    let with_late = numbers(&store, SUMS).await;
    let plan = store.plan_compaction(&options(at)).expect("a plan");
    assert_eq!(plan.len(), 1, "the day of the straggler: {plan:?}");
    compact(&store, &options(START + 70 * DAY));
    assert_eq!(
        periods(&store, Table::Calls)
            .into_keys()
            .collect::<Vec<_>>(),
        ["2026-01", "2026-02"]
    );
    for store in [store.clone(), Store::open(store.root()).expect("a store")] {
        assert_eq!(numbers(&store, SUMS).await, with_late);
        // The hour is known to lie in the month, and no file is passed over for it.
        assert_eq!(
            numbers(
                &store,
                "SELECT count(*) FROM calls WHERE caller = 'zoe' AND hour = '2026-01-30T22'"
            )
            .await,
            [1]
        );
    }
    assert_sound(&store);

    // Everything that was replaced is still there, and goes when its time has come.
    let soon = SweepOptions::default();
    let swept = store.sweep(&soon).expect("it is swept");
    assert_eq!((swept.files, swept.orphans), (0, 0));
    assert!(swept.waiting > 0);
    let gone = sweep_all(&store);
    assert_eq!(gone.files, swept.waiting);
    assert_eq!(numbers(&store, SUMS).await, with_late);
    let report = store.verify(true).expect("it can be verified");
    assert_eq!(
        (report.problems, report.unreferenced),
        (Vec::new(), Vec::new())
    );
    assert!(
        !store.root().join("calls/period=2026-01-30T22").exists(),
        "no empty folder is left"
    );
}

#[tokio::test]
async fn what_was_logged_twice_is_kept_once_and_nothing_else_goes() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
    let at = START;
    // The same event from two files; the same id with another count of tokens; another caller's.
    commit(
        &store,
        Table::Calls,
        calls([call(at, "1", "a", "f", 1), call(at, "2", "a", "f", 2)]),
        "1",
    );
    commit(
        &store,
        Table::Calls,
        calls([
            call(at, "1", "a", "g", 1),
            call(at, "2", "a", "g", 3),
            call(at, "1", "b", "g", 1),
        ]),
        "2",
    );
    let mut filters = FilterBuilder::default();
    let filter = |file| Filter {
        event_time: Micros(at),
        event_id: "1",
        caller: Some("a"),
        source_format: "test",
        source_file: Some(file),
        source_offset: Some(1),
        category: Some("hate"),
        ..Filter::default()
    };
    // Two findings of one call may say the same. Their copies may not.
    for file in ["f", "f", "g", "g"] {
        filters.append(&filter(file));
        commit(
            &store,
            Table::Filters,
            filters.finish(),
            &format!(
                "filter {file} {}",
                store.snapshot(Table::Filters).expect("a snapshot").len()
            ),
        );
    }
    let report = compact(&store, &options(at + DAY));
    assert_eq!(report.duplicates, 1 + 2);
    assert_eq!(
        numbers(&store, "SELECT count(*), sum(input_tokens) FROM calls").await,
        [4, 1 + 2 + 3 + 1]
    );
    assert_eq!(
        numbers(
            &store,
            "SELECT count(*), count(DISTINCT source_file) FROM filters"
        )
        .await,
        [2, 1]
    );
    assert_sound(&store);
}

#[tokio::test]
async fn many_partitions_become_few_with_age() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
    let names: Vec<String> = (0..60).map(|n| format!("caller-{n:02}")).collect();
    for hour in 0..3 {
        let start = START - 20 * HOUR + hour * HOUR;
        let names = &names[20 * hour as usize..][..20];
        let rows = names
            .iter()
            .enumerate()
            .map(|(n, name)| call(start, "x", name, "f", n as i64));
        commit(&store, Table::Calls, calls(rows), &hour.to_string());
    }
    assert_eq!(store.snapshot(Table::Calls).expect("a snapshot").len(), 60);
    let mut options = options(START + 3 * DAY);
    options.write.max_partitions_per_hour = 10;
    compact(&store, &options);
    // Sixty callers with a row each are more than ten partitions, and none is large enough for one of its own.
    let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
    let found: Vec<_> = snapshot
        .iter()
        .map(|file| (file.partition_caller().is_some(), file.rows()))
        .collect();
    assert_eq!(found, [(false, 60)]);
    assert_sound(&store);
}

#[tokio::test]
async fn compaction_brings_nothing_new_and_forgets_no_source() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
    fill(&store, 3);
    let version = store
        .snapshot(Table::Calls)
        .expect("a snapshot")
        .version()
        .expect("a version");
    compact(&store, &options(START + 14 * DAY));
    let later = store
        .snapshot(Table::Calls)
        .expect("a snapshot")
        .version()
        .expect("a version");
    assert!(later > version);
    // Who asks what came since then learns of no file; since the beginning, of the three commits' rows, once.
    assert_eq!(
        store.added_since(Table::Calls, version).expect("the log"),
        Some(Vec::new())
    );
    let all = store
        .added_since(Table::Calls, 0)
        .expect("the log")
        .expect("it is known");
    assert_eq!(all.iter().map(|file| file.rows).sum::<i64>(), 120);
    commit(
        &store,
        Table::Calls,
        calls([call(START, "late", "zoe", "g", 5)]),
        "late",
    );
    let since = store
        .added_since(Table::Calls, version)
        .expect("the log")
        .expect("it is known");
    assert_eq!(since.iter().map(|file| file.rows).collect::<Vec<_>>(), [1]);
    // Once the replaced files are gone, their times are in no file of that name, and it is said so.
    sweep_all(&store);
    assert_eq!(
        store
            .times_of(Table::Calls, &all[0])
            .expect("it is looked for"),
        None
    );
    assert_eq!(
        store
            .added_since(Table::Calls, version)
            .expect("the log")
            .map(|files| files.len()),
        Some(1)
    );
}

#[tokio::test]
async fn the_log_is_cleaned_up_and_nothing_of_it_is_forgotten() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
    // One that has read the table once, and sleeps while the log goes on and loses its beginning.
    let sleeper = Store::open(store.root()).expect("a store");
    fill(&store, 2);
    let known = sleeper
        .snapshot(Table::Calls)
        .expect("a snapshot")
        .version();
    for number in 0..60 {
        let id = format!("n-{number}");
        commit(
            &store,
            Table::Calls,
            calls([call(START, &id, "alice", "h", number)]),
            &id,
        );
    }
    compact(&store, &options(START + 14 * DAY));
    let sums = numbers(&store, SUMS).await;
    let swept = sweep_all(&store);
    assert!(swept.log_files > 40, "{swept:?}");
    let log = store.root().join("calls/_delta_log");
    assert!(!log.join(format!("{:020}.json", 1)).exists());
    for store in [
        store.clone(),
        sleeper.clone(),
        Store::open(store.root()).expect("a store"),
    ] {
        assert_eq!(numbers(&store, SUMS).await, sums);
        let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
        assert_ne!(snapshot.version(), known);
        // What was read from where is known as before.
        assert_eq!(snapshot.transactions().len(), 62);
        assert!(snapshot.transactions().contains_key("source-0"));
        assert!(snapshot.transactions().contains_key("n-59"));
        assert_eq!(store.added_since(Table::Calls, 1).expect("the log"), None);
    }
    // From the log alone, whatever was saved.
    fs::remove_dir_all(store.root().join("calls/_inferwatch")).ok();
    let fresh = Store::open(store.root()).expect("a store");
    assert_eq!(numbers(&fresh, SUMS).await, sums);
    assert_eq!(
        fresh
            .snapshot(Table::Calls)
            .expect("a snapshot")
            .transactions()
            .len(),
        62
    );
    assert_sound(&store);
    commit(
        &store,
        Table::Calls,
        calls([call(START, "after", "alice", "h", 1)]),
        "after",
    );
    assert_eq!(
        numbers(&sleeper, "SELECT count(*) FROM calls").await,
        [sums[0] + 1]
    );
}

/// Asks the same again and again while something is done to the store, through one store that stays open and through a
/// new one each time. Every answer is looked at, with the one before; the last is asked for when all is done.
fn while_read(root: &Path, sql: &str, look: impl Fn(&[i64], &[i64]) + Sync, act: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for anew in [false, true] {
            let (done, look) = (&done, &look);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                let mut store = Store::open(root).expect("a store");
                let mut before = Vec::new();
                loop {
                    let last = done.load(Ordering::Acquire);
                    if anew {
                        store = Store::open(root).expect("a store");
                    }
                    let found = runtime.block_on(numbers(&store, sql));
                    look(&before, &found);
                    before = found;
                    if last {
                        return;
                    }
                }
            });
        }
        act();
        done.store(true, Ordering::Release);
    });
}

#[test]
fn readers_see_one_state_while_files_come_change_and_go() {
    let folder = TempDir::new().expect("a folder");
    let root = folder.path().join("store");
    let store = Store::open_or_create(&root).expect("a store");
    fill(&store, 2);
    // Each batch that is written has forty rows whose tokens and offsets are the same.
    let sql = "SELECT count(*), sum(input_tokens), sum(source_offset) FROM calls";
    let look = |before: &[i64], found: &[i64]| {
        assert_eq!(found[0] % 40, 0, "{found:?}");
        assert_eq!(found[1], found[2], "{found:?}");
        assert_eq!(found[1], found[0] * (found[0] - 1) / 2, "{found:?}");
        assert!(before.first() <= found.first(), "{before:?}, {found:?}");
    };
    while_read(&root, sql, look, || {
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let store = Store::open(&root).expect("a store");
                for number in 2..14_i64 {
                    let ids: Vec<String> = (0..40).map(|row| format!("w-{number}-{row}")).collect();
                    let rows = ids.iter().enumerate().map(|(row, id)| {
                        let time = START + (row as i64 % 5) * HOUR;
                        call(time, id, "alice", "w", number * 40 + row as i64)
                    });
                    commit(&store, Table::Calls, calls(rows), &format!("w-{number}"));
                }
            });
            while !writer.is_finished() {
                compact(&store, &options(START + 14 * DAY));
                // What was replaced stays for the readers; the log loses its beginning under them.
                let now = chrono::Utc::now().timestamp_micros();
                let sweep = SweepOptions {
                    at: now,
                    log_retention: 0,
                    ..SweepOptions::default()
                };
                store.sweep(&sweep).expect("it is swept");
            }
            writer.join().expect("it wrote");
        });
    });
    assert_eq!(
        store.snapshot(Table::Calls).expect("a snapshot").rows(),
        14 * 40
    );
    compact(&store, &options(START + 14 * DAY));
    assert_sound(&store);
}

#[test]
fn readers_see_whole_periods_while_they_expire() {
    const HOURS: i64 = 24;
    let folder = TempDir::new().expect("a folder");
    let root = folder.path().join("store");
    let store = Store::open_or_create(&root).expect("a store");
    for hour in 0..HOURS {
        let ids: Vec<String> = (0..10).map(|row| format!("{hour}-{row}")).collect();
        let rows = ids
            .iter()
            .map(|id| call(START + hour * HOUR, id, "alice", "f", hour));
        commit(&store, Table::Calls, calls(rows), &format!("hour-{hour}"));
    }
    let tier = "-- /// tier\n-- id = \"all\"\n-- title = \"all\"\n-- version = 1\n-- table = \"calls\"\n\
                -- action = \"expire\"\n-- minimum_age = \"1d\"\n-- ///\n\
                SELECT period FROM partitions WHERE \"table\" = 'calls';\n";
    let tier = Tier::read("all.sql".into(), tier)
        .expect("right")
        .expect("a tier");
    // What is left are the last hours, each as a whole.
    let sql = "SELECT count(*), coalesce(min(input_tokens), 24), coalesce(sum(input_tokens), 0) FROM calls";
    let look = |before: &[i64], found: &[i64]| {
        let first = found[1];
        assert_eq!(found[0], (HOURS - first) * 10, "{found:?}");
        assert_eq!(found[2], (first..HOURS).sum::<i64>() * 10, "{found:?}");
        assert!(
            before.get(1).is_none_or(|before| *before <= first),
            "{before:?}, {found:?}"
        );
    };
    while_read(&root, sql, look, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        for hour in 1..=HOURS {
            let at = START + hour * HOUR + DAY;
            let tiers = [tier.clone()];
            let write = WriteOptions::default();
            runtime
                .block_on(retention::apply(&store, &tiers, at, |_| Ok(()), &write))
                .expect("it is applied");
            store.sweep(&SweepOptions::default()).expect("it is swept");
        }
    });
    assert_eq!(store.snapshot(Table::Calls).expect("a snapshot").rows(), 0);
}

#[test]
fn two_that_compact_the_same_files_do_it_once() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
    fill(&store, 2);
    let options = options(START + 14 * DAY);
    let tasks = store.plan_compaction(&options).expect("a plan");
    let first = store
        .compact(tasks.clone(), &options)
        .expect("it is compacted");
    assert_eq!(first.failed, []);
    // As if on another machine, where the lock is not seen.
    let second = store.compact(tasks, &options).expect("it is tried");
    assert_eq!(second.periods, 0);
    assert_eq!(second.failed.len() as u64, first.periods);
    assert_eq!(store.snapshot(Table::Calls).expect("a snapshot").rows(), 80);
    let report = store.verify(true).expect("it can be verified");
    assert_eq!(report.problems, []);
    assert_eq!(
        report.unreferenced.len() as u64,
        first.files_before,
        "no new file is left over"
    );
}

#[test]
fn long_prompts_are_compacted_within_the_memory_that_was_given() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
    let mut random = StdRng::seed_from_u64(9);
    for number in 0..4_i64 {
        let mut rows = ContentBuilder::default();
        let mut text = String::new();
        for row in 0..30_i64 {
            text.clear();
            text.extend((0..100_000).map(|_| random.random_range('a'..='z')));
            rows.append(&Content {
                event_time: Micros(START + row * SECOND),
                event_id: "e",
                caller: Some("alice"),
                model: Some("m"),
                source_format: "test",
                source_file: Some("f"),
                source_offset: Some(number * 30 + row),
                direction: "input",
                part_type: "text",
                text: Some(&text),
                ..Content::default()
            });
        }
        commit(&store, Table::Content, rows.finish(), &number.to_string());
    }
    let mut options = options(START + DAY);
    // A sixth of what there is, so that most is spilled.
    options.write.memory_budget = 2 << 20;
    let report = compact(&store, &options);
    assert_eq!(
        (report.files_before, report.files_after, report.rows),
        (4, 1, 120)
    );
    assert_sound(&store);
}

#[test]
fn a_compaction_killed_at_any_moment_and_run_again_loses_and_doubles_nothing() {
    const MOMENTS: usize = 16;
    let reference = TempDir::new().expect("a folder");
    let store = Store::open_or_create(&reference.path().join("store")).expect("a store");
    fill(&store, 3);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let sums = runtime.block_on(numbers(&store, SUMS));
    let before = files(reference.path()).len();
    let arguments = ["compact", "--at", "2026-02-20", "--threads", "1"];
    let whole = {
        let folder = TempDir::new().expect("a folder");
        copy(reference.path(), folder.path());
        assert_eq!(run(folder.path(), &arguments).0, 0);
        files(folder.path()).len() - before
    };
    let mut killed = 0;
    for moment in 0..MOMENTS {
        let folder = TempDir::new().expect("a folder");
        copy(reference.path(), folder.path());
        let wanted = before + whole * moment / MOMENTS;
        killed += usize::from(command::killed(folder.path(), &arguments, wanted));
        let store = Store::open(&folder.path().join("store")).expect("a store");
        assert_eq!(
            runtime.block_on(numbers(&store, SUMS)),
            sums,
            "killed at {moment}"
        );
        let (code, _, told) = run(folder.path(), &arguments);
        assert_eq!(code, 0, "{told}");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        assert_eq!(
            runtime.block_on(numbers(&store, SUMS)),
            sums,
            "killed at {moment}, run again"
        );
        sweep_all(&store);
        let report = store.verify(true).expect("it can be verified");
        assert_eq!(
            (report.problems, report.unreferenced),
            (Vec::new(), Vec::new())
        );
        assert_eq!(runtime.block_on(numbers(&store, SUMS)), sums);
    }
    assert!(
        killed > MOMENTS / 2,
        "only {killed} were killed before they were over"
    );
}

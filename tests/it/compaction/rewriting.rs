//! What becomes of files with age: the same rows in fewer of them, and nothing of the log forgotten.

use std::collections::BTreeMap;
use std::fs;

use inferwatch::schema::{Call, Content, ContentBuilder, Filter, FilterBuilder, Micros, Table};
use inferwatch::store::{Store, SweepOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::{
    DAY, HOUR, SECOND, START, SUMS, assert_sound, call, calls, commit, compact, fill, options,
    sweep_all,
};
use crate::ask::numbers;

fn periods(store: &Store, table: Table) -> BTreeMap<String, usize> {
    let snapshot = store.snapshot(table).expect("a snapshot");
    let mut periods = BTreeMap::new();
    for file in snapshot.iter() {
        *periods.entry(file.period().to_owned()).or_default() += 1;
    }
    periods
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

//! Compaction beside readers, beside another one, and killed in the middle.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use inferwatch::catalog::Tier;
use inferwatch::retention;
use inferwatch::schema::Table;
use inferwatch::store::{Store, SweepOptions, WriteOptions};
use tempfile::TempDir;

use super::{
    DAY, HOUR, START, SUMS, assert_sound, call, calls, commit, compact, fill, options, sweep_all,
};
use crate::ask::numbers;
use crate::command::{self, run};
use crate::folder::{copy, files};

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

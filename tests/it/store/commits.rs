//! Commits: each row once, whoever writes and however often; a commit holds all of its tables or none.

use std::time::Duration;

use inferwatch::schema::Table;
use inferwatch::store::{Outcome, Store, WriteOptions};

use super::{SECOND, TEN, assert_sound, call, calls, commit, marked, number, open, transactions};

#[tokio::test]
async fn rows_come_back_and_a_second_commit_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    assert_eq!(number(&store, "SELECT count(*) FROM calls").await, 0);
    for expected in [Outcome::Committed, Outcome::AlreadyCommitted] {
        let mut writer = store.writer(WriteOptions::default()).expect("a writer");
        let rows = (0..1000).map(|n| {
            call(
                TEN + n * SECOND,
                Some(["a", "b"][n as usize % 2]),
                Some("m"),
                n,
            )
        });
        writer
            .write(Table::Calls, calls(rows))
            .expect("rows are taken");
        let commits = writer.commit(&transactions(7)).expect("a commit");
        assert_eq!(commits.len(), 1);
        assert_eq!(commits[0].outcome, expected);
        // The store itself, and one opened anew.
        for store in [
            store.clone(),
            Store::open(store.root()).expect("it is a store"),
        ] {
            assert_eq!(number(&store, "SELECT count(*) FROM calls").await, 1000);
            assert_eq!(
                number(&store, "SELECT sum(input_tokens) FROM calls").await,
                999 * 1000 / 2
            );
            assert_eq!(
                number(&store, "SELECT count(*) FROM calls WHERE caller = 'a'").await,
                500
            );
            assert_eq!(
                store
                    .snapshot(Table::Calls)
                    .expect("a snapshot")
                    .transactions()["source"],
                7
            );
        }
    }
}

#[tokio::test]
async fn writers_in_many_threads_commit_every_row_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    std::thread::scope(|scope| {
        for writer in 0..4_i64 {
            // Each opens the store itself, as another process would.
            let store = Store::open(store.root()).expect("a store");
            scope.spawn(move || {
                for n in 0..5 {
                    for expected in [Outcome::Committed, Outcome::AlreadyCommitted] {
                        let mut rows = store.writer(WriteOptions::default()).expect("a writer");
                        rows.write(
                            Table::Calls,
                            calls([call(TEN, Some("a"), Some("m"), 100 * writer + n)]),
                        )
                        .expect("rows are taken");
                        let commits = rows
                            .commit(&[(format!("writer-{writer}"), n)])
                            .expect("a commit");
                        assert_eq!(commits[0].outcome, expected);
                    }
                }
            });
        }
    });
    let store = Store::open(store.root()).expect("a store");
    assert_eq!(number(&store, "SELECT count(*) FROM calls").await, 20);
    assert_eq!(
        number(&store, "SELECT sum(input_tokens) FROM calls").await,
        5 * 600 + 4 * 10
    );
    assert_sound(&store);
}

#[test]
fn an_ingest_holds_the_store_against_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let options = WriteOptions {
        exclusive: true,
        lock_timeout: Duration::ZERO,
        ..WriteOptions::default()
    };
    let first = store.writer(options.clone()).expect("a writer");
    let error = store
        .writer(options.clone())
        .err()
        .expect("the store is held");
    assert!(error.to_string().contains("in use") && error.hint().is_some());
    store.writer(WriteOptions::default()).expect("rules go on");
    drop(first);
    store.writer(options).expect("it is free again");
}

#[test]
fn some_sources_committed_and_some_not_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    commit(&store, calls([call(TEN, Some("a"), Some("m"), 1)]), 5);
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    writer
        .write(Table::Calls, calls([call(TEN, Some("a"), Some("m"), 1)]))
        .expect("rows are taken");
    let error = writer
        .commit(&[("source".into(), 5), ("other".into(), 1)])
        .expect_err("half is in");
    assert!(error.hint().is_some(), "{error}");
    assert_eq!(store.snapshot(Table::Calls).expect("a snapshot").rows(), 1);
}

#[test]
fn a_commit_without_rows_records_its_sources() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    writer.commit(&transactions(3)).expect("a commit");
    let store = Store::open(store.root()).expect("a store");
    assert_eq!(
        store
            .snapshot(Table::Calls)
            .expect("a snapshot")
            .transactions()["source"],
        3
    );
    assert!(
        store
            .snapshot(Table::Content)
            .expect("a snapshot")
            .version()
            .is_none()
    );
}

#[tokio::test]
async fn an_evaluation_and_its_findings_are_one_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    for expected in [Outcome::Committed, Outcome::AlreadyCommitted] {
        let mut writer = store.writer(WriteOptions::default()).expect("a writer");
        for (table, batch) in marked("x", "rule")
            .into_iter()
            .filter(|(table, _)| matches!(table, Table::Findings | Table::Evaluations))
        {
            writer.write(table, batch).expect("rows are taken");
        }
        let commits = writer
            .commit_to(Table::Evaluations, &[("rule:1".into(), 9)])
            .expect("a commit");
        let tables: Vec<_> = commits
            .iter()
            .map(|commit| (commit.table, commit.outcome))
            .collect();
        assert_eq!(
            tables,
            [(Table::Findings, expected), (Table::Evaluations, expected)]
        );
    }
    assert_eq!(number(&store, "SELECT count(*) FROM findings").await, 1);
    assert_eq!(number(&store, "SELECT count(*) FROM evaluations").await, 1);
    assert_sound(&store);
}

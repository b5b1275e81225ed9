//! The store from outside: what is written is read, once, by us and by nobody who should not.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use inferwatch::schema::{Call, CallBuilder, Content, ContentBuilder, Micros, Table};
use inferwatch::store::{Outcome, Store, WriteOptions};

/// 2026-11-20T10:00:00Z.
const TEN: i64 = 1_795_168_800_000_000;
const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;

/// A call by a caller to a model, some seconds after ten, with a number of its own.
fn call<'a>(time: i64, caller: Option<&'a str>, model: Option<&'a str>, number: i64) -> Call<'a> {
    Call {
        event_time: Micros(time),
        event_id: "event",
        source_format: "test",
        record_role: "primary",
        source_file: Some("test.jsonl"),
        source_offset: Some(number),
        caller,
        model,
        outcome: "success",
        input_tokens: Some(number),
        duration_ms: Some(0.5),
        hour: "2026-11-20T10",
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

fn open(folder: &Path) -> Store {
    Store::open_or_create(&folder.join("store")).expect("an empty folder becomes a store")
}

fn context(store: &Store) -> SessionContext {
    let context = SessionContext::new();
    store.register(&context).expect("tables register");
    context
}

async fn query(store: &Store, sql: &str) -> Vec<RecordBatch> {
    context(store)
        .sql(sql)
        .await
        .expect(sql)
        .collect()
        .await
        .expect(sql)
}

/// The first column of the only row.
async fn number(store: &Store, sql: &str) -> i64 {
    let batches = query(store, sql).await;
    let batch = batches
        .iter()
        .find(|batch| batch.num_rows() > 0)
        .expect("a row");
    batch.column(0).as_primitive::<Int64Type>().value(0)
}

fn transactions(version: i64) -> Vec<(String, i64)> {
    vec![("source".to_owned(), version)]
}

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

//! Reading: which files a query opens, and what the log and its checkpoints say without opening any.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::collect;
use inferwatch::schema::{Call, CallBuilder, Table};
use inferwatch::store::{Store, WriteOptions};

use super::{
    HOUR, SECOND, TEN, assert_sound, call, calls, commit, context, number, open, query,
    transactions,
};

/// What the scan of a query reports, by name.
async fn scan_metrics(store: &Store, sql: &str) -> HashMap<String, usize> {
    let context = context(store);
    let plan = context
        .sql(sql)
        .await
        .expect(sql)
        .create_physical_plan()
        .await
        .expect(sql);
    collect(Arc::clone(&plan), context.task_ctx())
        .await
        .expect(sql);
    let mut all = HashMap::new();
    let mut plans = vec![plan];
    while let Some(plan) = plans.pop() {
        if plan.name() == "DataSourceExec" {
            let metrics = plan.metrics().expect("a scan has metrics");
            for metric in metrics
                .iter()
                .filter(|metric| metric.value().name().starts_with("files_in_"))
            {
                *all.entry(metric.value().name().to_owned()).or_insert(0) +=
                    metric.value().as_usize();
            }
        }
        plans.extend(plan.children().into_iter().cloned());
    }
    all
}

#[tokio::test]
async fn files_are_chosen_before_they_are_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    // Ten hours of four callers with two models, a thousand rows each: eighty files.
    let mut builder = CallBuilder::default();
    let hours: Vec<String> = (0..10)
        .map(|hour| format!("2026-11-20T{:02}", 10 + hour))
        .collect();
    for (hour, name) in hours.iter().enumerate() {
        for n in 0..800 {
            let time = TEN + i64::try_from(hour).expect("small") * HOUR + n * SECOND;
            let caller = ["a", "b", "c", "d"][usize::try_from(n % 4).expect("small")];
            let model = ["m1", "m2"][usize::try_from(n / 4 % 2).expect("small")];
            builder.append(&Call {
                hour: name,
                ..call(time, Some(caller), Some(model), n)
            });
        }
    }
    commit(&store, builder.finish(), 1);
    let cases = [
        ("SELECT count(event_id) FROM calls", 80),
        ("SELECT event_id FROM calls WHERE caller = 'b'", 20),
        (
            "SELECT event_id FROM calls WHERE caller = 'b' AND model = 'm2'",
            10,
        ),
        ("SELECT event_id FROM calls WHERE hour = '2026-11-20T12'", 8),
        (
            "SELECT event_id FROM calls WHERE hour >= '2026-11-20T18' AND caller IN ('a', 'b')",
            8,
        ),
        (
            "SELECT event_id FROM calls WHERE event_time >= TIMESTAMP '2026-11-20 11:00:00Z' AND event_time < TIMESTAMP '2026-11-20 12:00:00Z' AND caller = 'a' AND model = 'm1'",
            1,
        ),
        ("SELECT event_id FROM calls WHERE caller IS NULL", 0),
        ("SELECT event_id FROM calls WHERE input_tokens > 797", 20),
        ("SELECT event_id FROM calls LIMIT 150", 2),
    ];
    for (sql, expected) in cases {
        let metrics = scan_metrics(&store, sql).await;
        if expected > 0 {
            assert_eq!(
                (metrics["files_in_table"], metrics["files_in_scan"]),
                (80, expected),
                "{sql}"
            );
        }
    }
    // What EXPLAIN ANALYZE shows a person.
    let plan = query(
        &store,
        "EXPLAIN ANALYZE SELECT event_id FROM calls WHERE caller = 'b'",
    )
    .await;
    let plan = pretty_format_batches(&plan).expect("text").to_string();
    assert!(
        plan.contains("files_in_table=80") && plan.contains("files_in_scan=20"),
        "{plan}"
    );
    // The filter is in the scan, once, and nothing filters again.
    assert!(!plan.contains("FilterExec"), "{plan}");
    assert_eq!(plan.matches("caller@").count(), 1, "{plan}");
    // Counts and extremes of whole numbers are in the log: no file is read.
    let plan = query(
        &store,
        "EXPLAIN SELECT count(*), max(input_tokens) FROM calls",
    )
    .await;
    let plan = pretty_format_batches(&plan).expect("text").to_string();
    assert!(!plan.contains("DataSourceExec"), "{plan}");
    assert_eq!(
        number(&store, "SELECT max(input_tokens) FROM calls").await,
        799
    );
}

#[tokio::test]
async fn files_one_after_the_other_are_not_taken_for_sorted() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    // All callers of an hour in one file: `a` and a null at ten, `b` at eleven.
    let options = WriteOptions {
        max_partitions_per_hour: 1,
        ..WriteOptions::default()
    };
    let mut writer = store.writer(options).expect("a writer");
    let rows = [
        call(TEN, Some("a"), Some("m"), 1),
        call(TEN, None, Some("m"), 2),
        call(TEN + HOUR, Some("b"), Some("m"), 3),
        call(TEN + HOUR, Some("c"), Some("m"), 4),
    ];
    writer
        .write(Table::Calls, calls(rows))
        .expect("rows are taken");
    writer.commit(&transactions(1)).expect("a commit");
    assert_eq!(store.snapshot(Table::Calls).expect("a snapshot").len(), 2);
    let answer = query(&store, "SELECT caller FROM calls ORDER BY caller").await;
    let text = pretty_format_batches(&answer).expect("text").to_string();
    let rows: Vec<&str> = text
        .lines()
        .skip(3)
        .map(|line| line.trim_matches(['|', ' ']))
        .collect();
    assert_eq!(rows[..4], ["a", "b", "c", ""]);
}

#[tokio::test]
async fn checkpoints_are_made_and_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    for n in 1..=55 {
        commit(&store, calls([call(TEN, Some("a"), Some("m"), n)]), n);
    }
    assert!(
        store
            .root()
            .join("calls/_delta_log/00000000000000000050.checkpoint.parquet")
            .is_file()
    );
    let _ = std::fs::remove_dir_all(store.root().join("calls/_inferwatch"));
    // What the checkpoint sums up is not needed any more.
    for n in 0..50 {
        std::fs::remove_file(store.root().join(format!("calls/_delta_log/{n:020}.json")))
            .expect("a commit");
    }
    let store = Store::open(store.root()).expect("a store");
    assert_eq!(
        number(&store, "SELECT sum(input_tokens) FROM calls").await,
        55 * 56 / 2
    );
    assert_eq!(
        store
            .snapshot(Table::Calls)
            .expect("a snapshot")
            .transactions()["source"],
        55
    );
    assert_sound(&store);
}

#[tokio::test]
async fn system_tables_and_info_agree_with_the_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let rows = (0..100).map(|n| {
        call(
            TEN + n * SECOND,
            [Some("a"), Some("b")][usize::try_from(n % 2).expect("small")],
            Some("m"),
            n,
        )
    });
    commit(&store, calls(rows), 42);
    let answer = query(
        &store,
        "SELECT table, caller, model, period, files, rows, first_event, last_event FROM partitions ORDER BY caller",
    )
    .await;
    let expected = "\
+-------+--------+-------+---------------+-------+------+----------------------+----------------------+
| table | caller | model | period        | files | rows | first_event          | last_event           |
+-------+--------+-------+---------------+-------+------+----------------------+----------------------+
| calls | a      | m     | 2026-11-20T10 | 1     | 50   | 2026-11-20T10:00:00Z | 2026-11-20T10:01:38Z |
| calls | b      | m     | 2026-11-20T10 | 1     | 50   | 2026-11-20T10:00:01Z | 2026-11-20T10:01:39Z |
+-------+--------+-------+---------------+-------+------+----------------------+----------------------+";
    assert_eq!(
        pretty_format_batches(&answer).expect("text").to_string(),
        expected
    );
    assert_eq!(
        number(
            &store,
            "SELECT count(*) FROM files WHERE rows = 50 AND bytes > 0"
        )
        .await,
        2
    );
    assert_eq!(
        number(
            &store,
            "SELECT position FROM ingests WHERE source = 'source'"
        )
        .await,
        42
    );
    let info = store.info().await.expect("numbers");
    assert_eq!(info.formats, [("test".to_owned(), 100)]);
    assert_eq!(info.callers, 2);
    let calls = &info.tables[0];
    assert_eq!(
        (calls.table, calls.files, calls.rows),
        (Table::Calls, 2, 100)
    );
    assert_eq!(calls.time_range, Some((TEN, TEN + 99 * SECOND)));
}

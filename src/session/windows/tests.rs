use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::session::{SessionOptions, context};

/// A row: two keys, an order key, a value.
type Row = (Option<u8>, i64, Option<i64>, Option<f64>);

/// Rows in some order, in batches of three.
fn table(rows: &[Row]) -> Arc<MemTable> {
    let batches: Vec<RecordBatch> = rows
        .chunks(3)
        .map(|rows| {
            let caller: StringViewArray = rows
                .iter()
                .map(|row| row.0.map(|name| format!("a caller with the name {name}")))
                .collect();
            RecordBatch::try_from_iter_with_nullable([
                ("caller", Arc::new(caller) as _, true),
                (
                    "region",
                    Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))) as _,
                    true,
                ),
                (
                    "place",
                    Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()) as _,
                    true,
                ),
                (
                    "value",
                    Arc::new(rows.iter().map(|row| row.3).collect::<Float64Array>()) as _,
                    true,
                ),
            ])
            .unwrap()
        })
        .collect();
    let schema = batches[0].schema();
    let (left, right) = batches.split_at(batches.len() / 2);
    Arc::new(MemTable::try_new(schema, vec![left.to_vec(), right.to_vec()]).unwrap())
}

/// DataFusion as it is, with our functions.
fn plain() -> SessionContext {
    let mut context =
        SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    inferwatch_udfs::register_all(&mut context).unwrap();
    context
}

fn grouped() -> SessionContext {
    let options = SessionOptions {
        target_partitions: Some(2),
        ..SessionOptions::default()
    };
    context(&options).unwrap()
}

async fn answer(context: &SessionContext, rows: &[Row], sql: &str) -> String {
    context.register_table("calls", table(rows)).unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

async fn plan(context: &SessionContext, sql: &str) -> String {
    answer(
        context,
        &[(Some(1), 1, Some(1), Some(1.0))],
        &format!("EXPLAIN {sql}"),
    )
    .await
}

const WINDOWS: [&str; 5] = [
    "PARTITION BY caller ORDER BY place ROWS BETWEEN 3 PRECEDING AND CURRENT ROW",
    "PARTITION BY caller, region ORDER BY place DESC NULLS LAST ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING",
    "PARTITION BY region ORDER BY place RANGE BETWEEN 2 PRECEDING AND CURRENT ROW",
    "PARTITION BY caller ORDER BY place, value GROUPS BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING",
    "PARTITION BY caller",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// DataFusion's own plan, which sorts, is the second source.
    #[test]
    fn a_grouped_window_is_the_sorted_window(
        rows in prop::collection::vec(
            (prop::option::weighted(0.9, 0..3_u8), 0..3_i64, prop::option::weighted(0.9, 0..40_i64), prop::option::weighted(0.9, 0.0..9.0)),
            1..40,
        ),
        window in prop::sample::select(WINDOWS.to_vec()),
        is_sorted in any::<bool>(),
    ) {
        let mut rows: Vec<Row> = rows;
        // Which of two rows of one order key comes first is open, so there are none.
        for (number, row) in rows.iter_mut().enumerate() {
            row.2 = row.2.map(|place| place * 40 + number as i64);
        }
        if rows.iter().filter(|row| row.2.is_none()).count() > 1 {
            rows.retain(|row| row.2.is_some());
        }
        prop_assume!(!rows.is_empty());
        if is_sorted {
            rows.sort_by_key(|row| row.2);
        }
        let sql = format!(
            "SELECT *, round(rolling_zscore(value) OVER w, 9) AS z, round(rolling_robust_zscore(value) OVER w, 9) AS r \
             FROM calls WINDOW w AS ({window}) ORDER BY caller, region, place, value"
        );
        let runtime = Runtime::new().unwrap();
        let expected = runtime.block_on(answer(&plain(), &rows, &sql));
        let actual = runtime.block_on(answer(&grouped(), &rows, &sql));
        prop_assert_eq!(actual, expected);
    }
}

#[tokio::test]
async fn a_window_of_ours_needs_no_sort() {
    let sql = format!(
        "SELECT rolling_zscore(value) OVER ({}) FROM calls",
        WINDOWS[0]
    );
    let plan = plan(&grouped(), &sql).await;
    assert!(plan.contains("GroupedWindowExec"), "{plan}");
    assert!(!plan.contains("SortExec"), "{plan}");
}

#[tokio::test]
async fn other_windows_keep_their_plan() {
    for sql in [
        "SELECT sum(value) OVER (PARTITION BY caller ORDER BY place) FROM calls",
        "SELECT row_number() OVER (PARTITION BY caller ORDER BY place) FROM calls",
        "SELECT rolling_zscore(value) OVER (ORDER BY place) FROM calls",
    ] {
        let plan = plan(&grouped(), sql).await;
        assert!(!plan.contains("GroupedWindowExec"), "{plan}");
    }
}

#[tokio::test]
async fn what_comes_after_is_sorted_when_it_asks_for_it() {
    let rows: Vec<Row> = (0..20)
        .map(|n| {
            (
                Some((n % 3) as u8),
                n,
                Some(20 - n),
                Some((n * n % 7) as f64),
            )
        })
        .collect();
    let sql = format!(
        "SELECT caller, place, rolling_zscore(value) OVER ({}) AS z FROM calls ORDER BY caller, place",
        WINDOWS[0]
    );
    assert_eq!(
        answer(&grouped(), &rows, &sql).await,
        answer(&plain(), &rows, &sql).await
    );
}

#[tokio::test]
async fn memory_is_bounded_and_shared_buffers_count_once() {
    let options = SessionOptions {
        memory_limit: 1 << 20,
        target_partitions: Some(1),
        ..SessionOptions::default()
    };
    let context = context(&options).unwrap();
    let run = async |rows: usize| {
        let sql = format!(
            "SELECT count(z) FROM (SELECT rolling_zscore(value) OVER (PARTITION BY value % 7 ORDER BY value % 5 \
             ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) AS z FROM generate_series(1, {rows}) AS s(value))"
        );
        context.sql(&sql).await.unwrap().collect().await
    };
    assert!(run(10_000).await.is_ok());
    let error = run(1_000_000).await.unwrap_err().to_string();
    assert!(error.contains("GroupedWindowExec"), "{error}");
}

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::session::{SessionOptions, context};

fn sharing(memory_limit: usize) -> SessionContext {
    context(&SessionOptions {
        memory_limit,
        target_partitions: Some(2),
        share_parts: true,
        ..SessionOptions::default()
    })
    .unwrap()
}

async fn answer(context: &SessionContext, sql: &str) -> String {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

async fn plan(sql: &str) -> String {
    let explained = answer(&sharing(1 << 30), &format!("EXPLAIN {sql}")).await;
    let (_, physical) = explained.split_once("physical_plan").unwrap();
    physical.to_string()
}

/// Pairs that were not there in the first part of the numbers: an aggregate named twice, in a join with itself.
const NEW_PAIRS: &str = "
    WITH seen AS (SELECT value % 97 AS a, value % 89 AS b, min(value) AS since FROM generate_series(1, 5000) AS s(value) GROUP BY 1, 2),
    known AS (SELECT a, min(since) AS since FROM seen GROUP BY a)
    SELECT seen.a, count(*) AS pairs, max(seen.since - known.since) AS later
    FROM seen JOIN known ON known.a = seen.a WHERE seen.since % 7 > 2 GROUP BY seen.a ORDER BY seen.a";

#[tokio::test]
async fn answers_are_those_of_the_plan_that_shares_nothing() {
    let plain = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    for sql in [
        NEW_PAIRS,
        "WITH n AS (SELECT value % 10 AS k, count(*) AS n FROM generate_series(1, 1000) AS s(value) GROUP BY 1) \
         SELECT l.k, l.n, r.n FROM n l JOIN n r ON l.k = r.k AND r.n > 5 ORDER BY 1",
        "WITH n AS (SELECT value % 10 AS k, max(value) AS n FROM generate_series(1, 1000) AS s(value) GROUP BY 1) \
         (SELECT k, n FROM n ORDER BY n LIMIT 2) UNION ALL (SELECT k, n FROM n ORDER BY n DESC LIMIT 2) ORDER BY 2",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + (SELECT count(*) FROM generate_series(1, 2)) FROM t WHERE n < 9) \
         SELECT count(*), sum(n) FROM t",
    ] {
        let expected = answer(&plain, sql).await;
        assert_eq!(answer(&sharing(1 << 30), sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn rows_that_do_not_fit_are_computed_again() {
    let sql = "WITH n AS (SELECT value AS k, count(*) AS n FROM generate_series(1, 60000) AS s(value) GROUP BY 1) \
        SELECT count(*), sum(l.n + r.n) FROM n l JOIN n r ON l.k = r.k";
    let counts = answer(&sharing(1 << 30), sql).await;
    assert!(counts.contains("| 60000    | 120000"), "{counts}");
    // The rows are two columns of eight bytes, more than a megabyte in all.
    for megabytes in [8, 12, 16, 24] {
        let context = sharing(megabytes << 20);
        let answered = context.sql(sql).await.unwrap().collect().await;
        if let Ok(batches) = answered {
            assert_eq!(pretty_format_batches(&batches).unwrap().to_string(), counts);
        }
    }
}

#[tokio::test]
async fn rows_that_lie_in_one_buffer_are_accounted_once() {
    let context = sharing(1 << 30);
    let sql = "WITH n AS (SELECT concat('a name of some thirty-two bytes ', value) AS k, count(*) AS n FROM generate_series(1, 200000) AS s(value) GROUP BY 1) \
        SELECT count(*), sum(l.n + r.n) FROM n l JOIN n r ON l.k = r.k";
    let plan = context.sql(sql).await.unwrap();
    let plan = plan.create_physical_plan().await.unwrap();
    collect(Arc::clone(&plan), context.task_ctx())
        .await
        .unwrap();
    // What is kept is kept as long as the plan. A name has 33 to 38 bytes, a count 8, and a vector may have room for as
    // many again; there are twelve batches in each of both streams.
    let kept = context.runtime_env().memory_pool.reserved();
    assert!((200_000 * 40..200_000 * 150).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_part_is_shown_once_and_named_where_it_is_used_again() {
    let plan = plan(NEW_PAIRS).await;
    assert_eq!(plan.matches("Shared").count(), 2, "{plan}");
    assert_eq!(plan.matches("LazyMemoryExec").count(), 1, "{plan}");
}

#[tokio::test]
async fn places_that_read_other_columns_share_all_the_same() {
    let sql = "WITH n AS (SELECT value % 10 AS k, count(*) AS n, max(value) AS m FROM generate_series(1, 1000) AS s(value) GROUP BY 1) \
        SELECT l.k, l.n FROM n l LEFT JOIN n r ON l.k = r.m % 10 AND l.k > 3 WHERE r.m IS NULL";
    let plan = plan(sql).await;
    assert_eq!(plan.matches("LazyMemoryExec").count(), 1, "{plan}");
}

#[tokio::test]
async fn windows_are_shared_with_what_is_computed_in_them() {
    let sql = "WITH n AS (SELECT value, abs(value - 500) + abs(value - 500) * 2 AS m, \
            last_value(abs(value - 500)) OVER (PARTITION BY value % 3 ORDER BY value ROWS BETWEEN 2 PRECEDING AND 2 FOLLOWING) AS l \
            FROM generate_series(1, 1000) AS s(value)) \
        SELECT a.l, b.m FROM n a JOIN n b ON a.l = b.value";
    let plan = plan(sql).await;
    assert_eq!(plan.matches("LazyMemoryExec").count(), 1, "{plan}");
}

#[tokio::test]
async fn places_with_filters_of_their_own_read_less_and_share_nothing() {
    let sql = "WITH n AS (SELECT value % 10 AS k, count(*) AS n FROM generate_series(1, 1000) AS s(value) GROUP BY 1) \
        SELECT * FROM n l, n r WHERE l.k = 3 AND r.k = 4";
    let plan = plan(sql).await;
    assert!(!plan.contains("Shared"), "{plan}");
    assert_eq!(plan.matches("FilterExec").count(), 2, "{plan}");
}

#[tokio::test]
async fn what_differs_from_run_to_run_is_not_shared() {
    let plan = plan(
        "WITH n AS (SELECT random() AS r, count(*) AS n FROM generate_series(1, 9) AS s(value) GROUP BY 1) \
         SELECT l.r = r.r FROM n l CROSS JOIN n r",
    )
    .await;
    assert!(!plan.contains("Shared"), "{plan}");
}

#[tokio::test]
async fn a_statement_can_be_run_again() {
    let context = sharing(1 << 30);
    let first = answer(&context, NEW_PAIRS).await;
    assert_eq!(answer(&context, NEW_PAIRS).await, first);
}

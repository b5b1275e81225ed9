//! The view `calls_merged`: what several logs say of one call is one call.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use inferwatch::catalog::{register_views, views};
use inferwatch::schema::{Call, CallBuilder, Micros, Table};
use inferwatch::session::{self, SessionOptions};

const MINUTE: i64 = 60_000_000;

fn batch(rows: &[Call<'_>]) -> RecordBatch {
    let mut builder = CallBuilder::default();
    for row in rows {
        builder.append(row);
    }
    builder.finish()
}

pub(super) fn call(
    minute: i64,
    id: &'static str,
    format: &'static str,
    role: &'static str,
) -> Call<'static> {
    Call {
        event_time: Micros(minute * MINUTE),
        event_id: id,
        source_format: format,
        record_role: role,
        outcome: "success",
        hour: "1970-01-01T00",
        ..Call::default()
    }
}

fn context_with(calls: &RecordBatch) -> SessionContext {
    let context = session::context(&SessionOptions::default()).expect("a context");
    for table in Table::ALL {
        let batches = match table {
            Table::Calls => vec![calls.clone()],
            _ => Vec::new(),
        };
        let provider = MemTable::try_new(table.schema(), vec![batches]).expect("fits");
        context
            .register_table(table.name(), Arc::new(provider))
            .expect("a new name");
    }
    context
}

pub(super) async fn merged(rows: &[Call<'_>], sql: &str) -> RecordBatch {
    let context = context_with(&batch(rows));
    register_views(&context, &views()).await.expect("plans");
    let batches = context
        .sql(sql)
        .await
        .expect("plans")
        .collect()
        .await
        .expect("runs");
    arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("alike")
}

/// Counts and sums over the merged view, by whoever reads it.
pub(super) async fn totals(rows: &[Call<'_>]) -> (i64, i64, i64) {
    let got = merged(
        rows,
        "SELECT count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0) FROM calls_merged",
    )
    .await;
    let number = |column: usize| got.column(column).as_primitive::<Int64Type>().value(0);
    (number(0), number(1), number(2))
}

#[tokio::test]
async fn bedrock_and_cloudtrail_are_one_call() {
    let account = Some("210987654321");
    let log = Call {
        cloud_account_id: account,
        request_id: Some("req-1"),
        caller: Some("arn:user/dana"),
        input_tokens: Some(100),
        ..call(10, "log", "aws.bedrock.invocation", "primary")
    };
    let trail = Call {
        cloud_account_id: account,
        request_id: Some("req-1"),
        caller: Some("arn:other"),
        source_ip: Some("198.51.100.7"),
        ..call(10, "trail", "aws.cloudtrail", "supplement")
    };
    // The same request id in another account is another call; a refused call is in no invocation log.
    let other = Call {
        cloud_account_id: Some("1"),
        ..trail.clone()
    };
    let refused = Call {
        request_id: Some("req-2"),
        outcome: "failure",
        error_type: Some("AccessDenied"),
        ..trail.clone()
    };
    let rows = [
        log,
        trail.clone(),
        Call {
            event_id: "trail-again",
            ..trail
        },
        Call {
            event_id: "other",
            ..other
        },
        Call {
            event_id: "refused",
            ..refused
        },
    ];
    let got = merged(&rows, "SELECT event_id, caller, source_ip, input_tokens, supplement_count FROM calls_merged ORDER BY event_id").await;
    let ids: Vec<_> = got.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(ids, ["log", "other", "refused"]);
    assert_eq!(
        got.column(1).as_string::<i32>().value(0),
        "arn:user/dana",
        "what the primary knows stays"
    );
    assert_eq!(
        got.column(2).as_string::<i32>().value(0),
        "198.51.100.7",
        "what it does not know is filled"
    );
    assert_eq!(got.column(3).as_primitive::<Int64Type>().value(0), 100);
    assert_eq!(
        got.column(4).as_primitive::<Int64Type>().values().to_vec(),
        [2, 1, 1]
    );
}

#[tokio::test]
async fn an_event_fills_its_span_and_is_no_call_of_its_own() {
    let rows = [
        Call {
            trace_id: Some("t"),
            span_id: Some("s1"),
            caller: Some("front-desk"),
            user_type: Some("service"),
            ..call(10, "span-1", "otel.span", "primary")
        },
        Call {
            trace_id: Some("t"),
            span_id: Some("s2"),
            caller: Some("front-desk"),
            user_type: Some("service"),
            ..call(10, "span-2", "otel.span", "primary")
        },
        Call {
            trace_id: Some("t"),
            span_id: Some("s1"),
            caller: Some("dana"),
            user_type: Some("user"),
            finish_reasons: vec!["stop"],
            input_text_length: Some(42),
            ..call(12, "event", "otel.event", "supplement")
        },
        Call {
            trace_id: Some("t"),
            span_id: Some("agent"),
            input_tokens: Some(900),
            ..call(10, "agent", "otel.span", "supplement")
        },
    ];
    let got = merged(
        &rows,
        "SELECT event_id, input_text_length, finish_reasons, caller, user_type FROM calls_merged ORDER BY event_id",
    )
    .await;
    assert_eq!(got.num_rows(), 2);
    assert_eq!(
        got.column(1)
            .as_primitive::<Int64Type>()
            .iter()
            .collect::<Vec<_>>(),
        [Some(42), None]
    );
    assert_eq!(
        got.column(2)
            .as_list::<i32>()
            .value(0)
            .as_string::<i32>()
            .value(0),
        "stop"
    );
    // A service stands for want of a person, and yields to one.
    let text = |column: usize| got.column(column).as_string::<i32>().clone();
    let people: Vec<_> = text(3).iter().flatten().map(str::to_owned).collect();
    let types: Vec<_> = text(4).iter().flatten().map(str::to_owned).collect();
    assert_eq!(people, ["dana", "front-desk"]);
    assert_eq!(types, ["user", "service"]);
}

#[tokio::test]
async fn a_supplement_beyond_the_window_still_fills_and_adds_no_row() {
    let with = |minute, id, format, role| Call {
        correlation_id: Some("c"),
        ..call(minute, id, format, role)
    };
    let rows = [
        Call {
            caller: Some("a"),
            ..with(59, "call", "azure.openai.request_response", "primary")
        },
        Call {
            input_tokens: Some(7),
            ..with(61, "gateway", "azure.apim.gateway", "supplement")
        },
    ];
    let range = |from: i64, to: i64| {
        let time = |minute: i64| {
            format!(
                "TIMESTAMP '1970-01-01T{:02}:{:02}:00Z'",
                minute / 60,
                minute % 60
            )
        };
        format!(
            "SELECT event_id, input_tokens FROM calls_merged WHERE event_time >= {} AND event_time < {}",
            time(from),
            time(to)
        )
    };
    let got = merged(&rows, &range(0, 60)).await;
    assert_eq!(
        (
            got.num_rows(),
            got.column(1).as_primitive::<Int64Type>().value(0)
        ),
        (1, 7)
    );
    // In the hour of the supplement alone, the call is not told again.
    let got = merged(
        &rows,
        &format!("SELECT count(*) AS n FROM ({})", range(60, 120)),
    )
    .await;
    assert_eq!(got.column(0).as_primitive::<Int64Type>().value(0), 0);
}

#[tokio::test]
async fn the_nearest_audit_entry_of_the_same_model_is_the_calls() {
    let second = |seconds: f64| Micros((seconds * 1e6) as i64);
    let request = |seconds, id| Call {
        event_time: second(seconds),
        cloud_account_id: Some("demo-ai"),
        model: Some("gemini-2.5-flash"),
        operation: Some("generate_content"),
        input_tokens: Some(10),
        ..call(0, id, "gcp.vertex.request_response", "primary")
    };
    let entry = |seconds, id| Call {
        caller: Some("svc-bot"),
        input_tokens: None,
        event_id: id,
        source_format: "gcp.vertex.audit",
        ..request(seconds, id)
    };
    let rows = [
        // Two calls and their entries, interleaved.
        request(100.0, "r1"),
        entry(100.2, "a1"),
        request(103.0, "r2"),
        entry(102.9, "a2"),
        // A stream: two entries of one operation, the last of them nearer to the next call than to its own.
        request(200.0, "r3"),
        Call {
            correlation_id: Some("op"),
            outcome: "unknown",
            ..entry(200.1, "a3-first")
        },
        Call {
            correlation_id: Some("op"),
            record_role: "supplement",
            model: None,
            ..entry(203.8, "a3-last")
        },
        request(204.0, "r4"),
        // Too far apart; another project; another model; no project at all.
        request(300.0, "r5"),
        entry(305.1, "a5"),
        Call {
            cloud_account_id: Some("other"),
            ..entry(100.0, "a6")
        },
        Call {
            model: Some("gemini-2.5-pro"),
            ..entry(103.0, "a7")
        },
        Call {
            cloud_account_id: None,
            ..request(100.1, "r8")
        },
        // What was refused or only counted is no request that was logged; a check is no call.
        Call {
            outcome: "failure",
            ..entry(204.0, "a9")
        },
        Call {
            operation: Some("count_tokens"),
            ..entry(204.0, "a10")
        },
        Call {
            operation: Some("other"),
            operation_raw: Some("google.cloud.modelarmor.v1.ModelArmor.SanitizeUserPrompt"),
            record_role: "supplement",
            ..entry(204.0, "check")
        },
    ];
    let got = merged(
        &rows,
        "SELECT concat_ws(' ', event_id, match, array_to_string(array_sort(supplement_ids), ' ')) \
         FROM calls_merged ORDER BY event_id",
    )
    .await;
    let lines: Vec<_> = got.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(
        lines,
        [
            "a10 a10",
            "a5 a5",
            "a6 a6",
            "a7 a7",
            "a9 a9",
            "r1 heuristic a1",
            "r2 heuristic a2",
            "r3 heuristic a3-first a3-last",
            "r4",
            "r5",
            "r8",
        ]
    );
    // Six requests of ten tokens; the entries have none.
    assert_eq!(totals(&rows).await, (11, 60, 0));
}

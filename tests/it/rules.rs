//! The shipped rules, the lints, the merged view of calls, and runs over many windows.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use inferwatch::catalog::check::Checker;
use inferwatch::catalog::{Pack, Problem, RuleFile, register_views, views};
use inferwatch::detect::{CaseResult, run_cases};
use inferwatch::schema::{Call, CallBuilder, Micros, Table};
use inferwatch::session::{self, SessionOptions};

const MINUTE: i64 = 60_000_000;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

fn pack_of(name: &str, text: &str) -> Pack {
    Pack::from_files([(PathBuf::from(format!("{name}.sql")), Cow::Borrowed(text))].into_iter())
}

#[test]
fn the_shipped_rules_have_no_error_and_no_warning() {
    let pack = Pack::embedded();
    assert!(pack.rules.len() >= 18, "{}", pack.rules.len());
    assert!(pack.lock.is_some());
    let report =
        runtime().block_on(async { Checker::new().await.expect("plans").check(&pack).await });
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, [""; 0]);
}

#[test]
fn every_test_of_every_shipped_rule_passes() {
    let pack = Pack::embedded();
    let results = cases(pack.rules.iter().collect());
    for (file, results) in pack.rules.iter().zip(results) {
        assert_eq!(file.cases.len(), results.len());
        for (case, result) in file.cases.iter().zip(results) {
            assert_eq!(result.failure, None, "{} / {}", file.rule.id, case.name);
        }
    }
}

/// What comes of the tests of rules.
fn cases(files: Vec<&RuleFile>) -> Vec<Vec<CaseResult>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    run_cases(runtime().handle(), files, threads).expect("the views plan")
}

#[test]
fn every_shipped_rule_has_a_test_that_fires_and_two_that_do_not() {
    for file in &Pack::embedded().rules {
        let silent = file
            .cases
            .iter()
            .filter(|case| case.expect.as_ref().is_some_and(Vec::is_empty))
            .count();
        let firing = file
            .cases
            .iter()
            .filter(|case| case.expect.as_ref().is_some_and(|rows| !rows.is_empty()))
            .count();
        assert!(
            firing >= 1 && silent >= 2,
            "{}: {firing} firing, {silent} silent",
            file.rule.id
        );
    }
}

/// A rule that never fires, and one that fires on everything, must both be noticed by a rule's own tests.
#[test]
fn tests_of_a_rule_fail_when_its_line_is_moved() {
    let pack = Pack::embedded();
    let file = pack.rule("token-burn").expect("ships");
    for (from, to) in [
        ("> $max_tokens", "> $max_tokens + 1"),
        ("> $max_tokens", ">= $max_tokens"),
    ] {
        let mut changed = file.clone();
        changed.sql = file.sql.replace(from, to);
        assert_ne!(changed.sql, file.sql);
        let results = cases(vec![&changed]).remove(0);
        let failed = results.iter().filter(|result| result.failure.is_some());
        assert!(failed.count() > 0, "{to}");
    }
}

/// A header that is right, around a query.
fn rule_with(extra: &str, sql: &str) -> String {
    let keys = [
        "id = \"r\"",
        "title = \"t\"",
        "version = 1",
        "status = \"test\"",
        "severity = \"low\"",
        "confidence = \"low\"",
        "source = [\"calls\"]",
        "requires = [\"caller\"]",
        "window = \"1h\"",
        "every = \"5m\"",
        "entity = [\"caller\"]",
        "description = \"d\"",
    ];
    // A key given again replaces the one above.
    let replaced = |key: &&&str| {
        !extra
            .lines()
            .any(|line| line.split(' ').next() == key.split(' ').next())
    };
    let header: String = keys
        .iter()
        .filter(replaced)
        .map(|key| format!("-- {key}\n"))
        .collect();
    let extra: String = extra.lines().map(|line| format!("-- {line}\n")).collect();
    format!("-- /// rule\n{header}{extra}-- ///\n{sql}")
}

const BOUNDS: &str = "event_time >= $window_start AND event_time < $window_end";

fn problems(extra: &str, sql: &str) -> Vec<Problem> {
    let pack = pack_of("r", &rule_with(extra, sql));
    runtime()
        .block_on(async { Checker::new().await.expect("plans").check(&pack).await })
        .problems
}

fn codes(extra: &str, sql: &str) -> Vec<&'static str> {
    problems(extra, sql)
        .iter()
        .map(|problem| problem.code)
        .collect()
}

#[test]
fn a_rule_without_faults_has_no_problem() {
    assert_eq!(
        problems(
            "",
            &format!(
                "SELECT caller, count(*) AS event_count FROM calls WHERE {BOUNDS} GROUP BY caller"
            )
        ),
        []
    );
}

#[test]
fn time_must_be_bounded_on_both_sides_of_every_scan() {
    assert_eq!(codes("", "SELECT caller FROM calls"), ["L-TIME", "L-TIME"]);
    assert_eq!(
        codes(
            "",
            "SELECT caller FROM calls WHERE event_time >= $window_start"
        ),
        ["L-TIME"]
    );
    // Under `OR`, inside a function, on another column, or as a literal, a bound bounds nothing.
    assert_eq!(
        codes(
            "",
            &format!("SELECT caller FROM calls WHERE {BOUNDS} OR caller = 'x'")
        ),
        ["L-TIME", "L-TIME"]
    );
    assert_eq!(
        codes(
            "",
            "SELECT caller FROM calls WHERE date_trunc('hour', event_time) = date_trunc('hour', $window_start)"
        ),
        ["L-TIME", "L-TIME"]
    );
    assert_eq!(
        codes(
            "",
            "SELECT caller FROM calls WHERE log_time >= $window_start AND log_time < $window_end"
        ),
        ["L-TIME", "L-TIME"]
    );
    assert_eq!(
        codes(
            "",
            "SELECT caller FROM calls WHERE event_time >= TIMESTAMP '2020-01-01T00:00:00Z' AND event_time < $window_end"
        ),
        ["L-TIME"]
    );
    // One scan of two.
    let sql =
        format!("SELECT caller FROM calls WHERE {BOUNDS} AND caller IN (SELECT caller FROM audit)");
    assert_eq!(
        codes("source = [\"calls\", \"audit\"]", &sql),
        ["L-TIME", "L-TIME"]
    );
    // A bound that reaches the scan through a CTE, and arithmetic on the window.
    let sql = "WITH recent AS (SELECT caller, event_time FROM calls) SELECT caller FROM recent \
               WHERE event_time >= $window_end - INTERVAL '5 minutes' AND event_time < $window_end";
    assert_eq!(codes("", sql), [""; 0]);
}

#[test]
fn a_baseline_ends_where_the_window_starts() {
    let history = "event_time >= $baseline_start AND event_time <";
    let sql = |end: &str| {
        format!(
            "SELECT caller FROM calls WHERE {BOUNDS} AND caller NOT IN \
             (SELECT caller FROM calls WHERE caller IS NOT NULL AND {history} {end})"
        )
    };
    assert_eq!(codes("baseline = \"7d\"", &sql("$window_start")), [""; 0]);
    assert_eq!(codes("baseline = \"7d\"", &sql("$window_end")), ["L-BASE"]);
    // Without `baseline` in the header there is no history to read.
    assert_eq!(
        codes(
            "",
            "SELECT caller FROM calls WHERE event_time >= $window_start - INTERVAL '1 day' AND event_time < $window_end"
        ),
        ["L-TIME"]
    );
}

#[test]
fn answers_that_differ_from_run_to_run_are_refused() {
    for clock in ["now()", "current_timestamp", "current_date"] {
        assert!(
            codes(
                "",
                &format!("SELECT caller, {clock} AS t FROM calls WHERE {BOUNDS}")
            )
            .contains(&"L-VOLATILE"),
            "{clock}"
        );
    }
    assert_eq!(
        codes(
            "",
            &format!("SELECT caller FROM calls WHERE {BOUNDS} AND random() < 0.5")
        ),
        ["L-VOLATILE"]
    );
    assert_eq!(
        codes(
            "",
            &format!("SELECT caller, uuid() AS id FROM calls WHERE {BOUNDS}")
        ),
        ["L-VOLATILE"]
    );
}

#[test]
fn a_rule_only_selects() {
    for sql in [
        "DELETE FROM calls",
        "COPY calls TO 'x.parquet'",
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO calls SELECT * FROM calls",
        "SELECT caller INTO t FROM calls",
        "SELECT 1; SELECT 2",
        "EXPLAIN SELECT 1",
        "SET x = 1",
        "",
    ] {
        assert_eq!(codes("", sql), ["L-WRITE"], "{sql}");
    }
}

#[test]
fn what_the_schema_does_not_have_is_named_with_its_line() {
    let found = problems(
        "",
        &format!("SELECT\n    caller,\n    event_tme\nFROM calls\nWHERE {BOUNDS}"),
    );
    assert_eq!(
        (found[0].code, found[0].line),
        ("L-SCHEMA", Some(17)),
        "{}",
        found[0]
    );
    assert!(found[0].message.contains("event_tme"));
    assert_eq!(
        codes("", &format!("SELECT caller FROM cals WHERE {BOUNDS}")),
        ["L-SCHEMA"]
    );
    assert_eq!(
        codes(
            "",
            &format!("SELECT nosuch(caller) AS caller FROM calls WHERE {BOUNDS}")
        ),
        ["L-SCHEMA"]
    );
    // A type that does not fit, an entity that is not returned, an output column of the wrong type.
    assert_eq!(
        codes(
            "",
            &format!("SELECT caller FROM calls WHERE {BOUNDS} AND finish_reasons > 3")
        ),
        ["L-SCHEMA"]
    );
    assert_eq!(
        codes("", &format!("SELECT model FROM calls WHERE {BOUNDS}")),
        ["L-SCHEMA"]
    );
    assert_eq!(
        codes(
            "",
            &format!("SELECT caller, model AS event_count FROM calls WHERE {BOUNDS}")
        ),
        ["L-SCHEMA"]
    );
    // A table that the header does not declare, and the reverse.
    assert_eq!(
        codes(
            "source = [\"audit\"]",
            &format!("SELECT caller FROM calls WHERE {BOUNDS}")
        ),
        ["L-SCHEMA", "L-SCHEMA"]
    );
    let found = problems(
        "requires = [\"input_tokns\"]",
        &format!("SELECT caller FROM calls WHERE {BOUNDS}"),
    );
    assert_eq!(
        found[0].hint.as_deref(),
        Some("did you mean `input_tokens`?")
    );
    // A parameter that is not declared.
    let found = problems(
        "",
        "SELECT caller FROM calls WHERE event_time >= $window_strt AND event_time < $window_end",
    );
    assert_eq!(
        found[0].hint.as_deref(),
        Some("did you mean `$window_start`?")
    );
}

#[test]
fn rows_multiplied_before_a_count_are_refused() {
    let two_unnests = format!(
        "SELECT caller, count(*) AS event_count FROM (SELECT caller, a, unnest(guardrail_categories) AS b FROM \
         (SELECT caller, guardrail_categories, unnest(guardrail_policies) AS a FROM calls WHERE {BOUNDS})) GROUP BY caller"
    );
    assert_eq!(codes("", &two_unnests), ["L-CARTESIAN"]);
    let cross = format!(
        "SELECT a.caller, count(*) AS event_count FROM (SELECT caller FROM calls WHERE {BOUNDS}) a \
         CROSS JOIN (SELECT model FROM calls WHERE {BOUNDS}) b GROUP BY a.caller"
    );
    assert_eq!(codes("", &cross), ["L-CARTESIAN"]);
    let zipped = format!(
        "SELECT caller, count(*) AS event_count FROM (SELECT caller, unnest(guardrail_policies) AS a, \
         unnest(guardrail_categories) AS b FROM calls WHERE {BOUNDS}) GROUP BY caller"
    );
    assert_eq!(codes("", &zipped), [""; 0]);
    let single = format!(
        "SELECT a.caller, count(*) AS event_count FROM (SELECT caller FROM calls WHERE {BOUNDS}) a \
         CROSS JOIN (SELECT count(*) AS n FROM calls WHERE {BOUNDS}) b GROUP BY a.caller"
    );
    assert_eq!(codes("", &single), [""; 0]);
}

#[test]
fn headers_are_checked_key_by_key() {
    let ok = format!("SELECT caller FROM calls WHERE {BOUNDS}");
    let told = |extra: &str| {
        let found = problems(extra, &ok);
        (found[0].code, found[0].line, found[0].hint.clone())
    };
    assert_eq!(
        told("severty = \"high\""),
        (
            "L-HEADER",
            Some(14),
            Some("did you mean `severity`?".into())
        )
    );
    assert_eq!(
        told("severity = \"hgih\""),
        ("L-HEADER", Some(13), Some("did you mean `high`?".into()))
    );
    for extra in [
        "window = \"1 hour\"",
        "every = \"40m\"",
        "every = \"7m\"",
        "version = 0",
        "id = \"other\"",
        "entity = []",
        "mode = \"tumbling\"",
    ] {
        assert_eq!(told(extra).0, "L-HEADER", "{extra}");
    }
    assert_eq!(
        codes(
            "mode = \"tumbling\"\nevery = \"1h\"\ntumbling_reason = \"daily report\"",
            &ok
        ),
        ["L-STRADDLE"]
    );
}

#[test]
fn what_is_only_doubtful_is_a_warning() {
    let sql = format!(
        "SELECT caller, count(*) AS event_count FROM calls WHERE {BOUNDS} GROUP BY caller HAVING count(*) > 7"
    );
    assert_eq!(codes("", &sql), ["L-LITERAL"]);
    let sql =
        format!("SELECT max(caller) AS caller, count(*) AS event_count FROM calls WHERE {BOUNDS}");
    assert_eq!(codes("", &sql), ["L-NOENTITY"]);
    let ok = format!("SELECT caller FROM calls WHERE {BOUNDS}");
    assert_eq!(codes("atlas = [\"AML.T9999\"]", &ok), ["L-MAP"]);
    assert_eq!(codes("owasp = [\"LLM01\"]", &ok), ["L-MAP", "L-MAP"]);
    // Blind spots, false positives, runbook and tests are what makes a rule stable.
    assert_eq!(codes("status = \"stable\"", &ok), ["L-DOC"; 4]);
    assert_eq!(
        codes("[params]\nlimit = { default = 1, doc = \"d\" }", &ok),
        ["L-DEADCOL"]
    );
}

#[test]
fn a_rule_keeps_its_meaning_under_its_version() {
    let check = |text: &str, lock: &str| {
        let files = [
            (PathBuf::from("rules.lock"), Cow::Owned(lock.to_string())),
            (PathBuf::from("r.sql"), Cow::Owned(text.to_string())),
        ];
        let pack = Pack::from_files(files.into_iter());
        runtime().block_on(async { Checker::new().await.expect("plans").check(&pack).await })
    };
    let codes = |text: &str, lock: &str| {
        check(text, lock)
            .problems
            .iter()
            .map(|problem| problem.code)
            .collect::<Vec<_>>()
    };
    let sql = format!("SELECT caller FROM calls WHERE {BOUNDS}");
    let lock = check(&rule_with("", &sql), "").lock.render();
    assert_eq!(
        codes(&rule_with("", &sql), ""),
        ["L-VERSION"],
        "not in the lock"
    );
    assert_eq!(codes(&rule_with("", &sql), &lock), [""; 0]);
    // Layout, comments, keyword case and prose are no meaning.
    let same = sql.replace("SELECT", "-- who\nselect\n   ");
    assert_eq!(
        codes(&rule_with("title = \"another\"", &same), &lock),
        [""; 0]
    );
    let changed = format!("{sql} AND outcome = 'failure'");
    assert_eq!(codes(&rule_with("", &changed), &lock), ["L-VERSION"]);
    assert_eq!(
        codes(&rule_with("severity = \"high\"", &sql), &lock),
        ["L-VERSION"]
    );
    let raised = check(&rule_with("version = 2", &changed), &lock);
    assert!(
        raised.problems[0]
            .message
            .contains("not in the lock file yet")
    );
}

// The merged view.

fn batch(rows: &[Call<'_>]) -> RecordBatch {
    let mut builder = CallBuilder::default();
    for row in rows {
        builder.append(row);
    }
    builder.finish()
}

fn call(minute: i64, id: &'static str, format: &'static str, role: &'static str) -> Call<'static> {
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

async fn merged(rows: &[Call<'_>], sql: &str) -> RecordBatch {
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
async fn azure_response_usage_and_gateway_are_one_call() {
    let with = |id, format, role| Call {
        correlation_id: Some("c-1"),
        ..call(10, id, format, role)
    };
    let rows = [
        Call {
            caller: Some("object-1"),
            duration_ms: Some(640.0),
            ..with("response", "azure.openai.request_response", "primary")
        },
        Call {
            input_tokens: Some(120),
            output_tokens: Some(88),
            ..with("usage", "azure.openai.request_usage", "supplement")
        },
        Call {
            http_status_code: Some(200),
            source_ip: Some("198.51.100.7"),
            ..with("gateway", "azure.apim.gateway", "supplement")
        },
        Call {
            input_tokens: Some(120),
            output_tokens: Some(88),
            ..with("gateway-llm", "azure.apim.gateway_llm", "supplement")
        },
        // Without a correlation id nothing says what it belongs to, and usage alone is no call.
        Call {
            input_tokens: Some(5),
            ..call(11, "lost", "azure.openai.request_usage", "supplement")
        },
        Call {
            input_tokens: Some(7),
            ..call(11, "lost-too", "azure.openai.request_usage", "supplement")
        },
    ];
    let got = merged(
        &rows,
        "SELECT event_id, caller, input_tokens, output_tokens, http_status_code FROM calls_merged",
    )
    .await;
    assert_eq!(got.num_rows(), 1);
    assert_eq!(got.column(1).as_string::<i32>().value(0), "object-1");
    assert_eq!(
        got.column(2).as_primitive::<Int64Type>().value(0),
        120,
        "not added up over the logs"
    );
    assert_eq!(got.column(3).as_primitive::<Int64Type>().value(0), 88);
    assert_eq!(got.column(4).as_primitive::<Int32Type>().value(0), 200);
}

#[tokio::test]
async fn a_block_that_one_of_the_logs_saw_is_no_failure() {
    let with = |id, correlation, format, role, outcome| Call {
        correlation_id: Some(correlation),
        outcome,
        ..call(10, id, format, role)
    };
    let (service, gateway) = ("azure.openai.request_response", "azure.apim.gateway");
    let rows = [
        Call {
            caller: Some("object-1"),
            http_status_code: Some(400),
            ..with("filtered", "c-1", service, "primary", "failure")
        },
        Call {
            http_status_code: Some(400),
            error_type: Some("content_filter"),
            guardrail_action: Some("blocked"),
            ..with("filtered-gateway", "c-1", gateway, "primary", "blocked")
        },
        // A second record of the gateway says less; the order of the words does not decide.
        Call {
            guardrail_action: Some("none"),
            ..with(
                "filtered-llm",
                "c-1",
                "azure.apim.gateway_llm",
                "supplement",
                "success",
            )
        },
        Call {
            caller: Some("object-1"),
            ..with("broken", "c-2", service, "primary", "failure")
        },
        Call {
            guardrail_action: Some("masked"),
            ..with("broken-gateway", "c-2", gateway, "primary", "failure")
        },
        Call {
            guardrail_action: Some("none"),
            ..with(
                "broken-llm",
                "c-2",
                "azure.apim.gateway_llm",
                "supplement",
                "unknown",
            )
        },
    ];
    let got = merged(
        &rows,
        "SELECT event_id, outcome, guardrail_action, error_type FROM calls_merged ORDER BY correlation_id",
    )
    .await;
    let text = |column: usize| {
        let column = got.column(column).as_string::<i32>().iter();
        column
            .map(|text| text.unwrap_or("-").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(text(0), ["filtered", "broken"]);
    assert_eq!(text(1), ["blocked", "failure"]);
    assert_eq!(text(2), ["blocked", "masked"]);
    assert_eq!(text(3), ["content_filter", "-"]);
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

/// Counts and sums over the merged view, by whoever reads it.
async fn totals(rows: &[Call<'_>]) -> (i64, i64, i64) {
    let got = merged(
        rows,
        "SELECT count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0) FROM calls_merged",
    )
    .await;
    let number = |column: usize| got.column(column).as_primitive::<Int64Type>().value(0);
    (number(0), number(1), number(2))
}

#[tokio::test]
async fn a_call_in_the_logs_of_gateway_and_service_is_counted_once() {
    let at = |minute, id, format, role, correlation| Call {
        correlation_id: Some(correlation),
        request_id: Some(correlation),
        ..call(minute, id, format, role)
    };
    let response = |minute, id, correlation| {
        at(
            minute,
            id,
            "azure.openai.request_response",
            "primary",
            correlation,
        )
    };
    let gateway =
        |minute, id, correlation| at(minute, id, "azure.apim.gateway", "primary", correlation);
    let llm = |minute, id, correlation| {
        at(
            minute,
            id,
            "azure.apim.gateway_llm",
            "supplement",
            correlation,
        )
    };
    let rows = [
        // One call in four records: request, its nearly empty twin, gateway, the gateway's count of tokens.
        Call {
            caller: Some("object-1"),
            input_tokens: Some(120),
            input_tokens_uncached: Some(120),
            output_tokens: Some(88),
            cost_usd: Some(3.0),
            cost_source: Some("list"),
            tokens_source: Some("reported"),
            content_state: Some("absent"),
            ..response(10, "a-full", "a")
        },
        Call {
            model: Some("gpt-4o"),
            ..response(10, "a-thin", "a")
        },
        Call {
            source_ip: Some("198.51.100.7"),
            input_tokens: Some(120),
            output_tokens: Some(88),
            content_state: Some("inline"),
            ..gateway(10, "a-gateway", "a")
        },
        Call {
            input_tokens: Some(120),
            input_tokens_uncached: Some(56),
            cache_read_input_tokens: Some(64),
            output_tokens: Some(88),
            cost_usd: Some(2.0),
            cost_source: Some("list"),
            ..llm(10, "a-llm", "a")
        },
        // In the log of the service alone; in that of the gateway alone; nearly empty in the service's.
        Call {
            caller: Some("object-2"),
            input_tokens: Some(10),
            output_tokens: Some(1),
            ..response(11, "b", "b")
        },
        Call {
            input_tokens: Some(7),
            output_tokens: Some(2),
            ..gateway(12, "c", "c")
        },
        response(13, "d-thin", "d"),
        Call {
            input_tokens: Some(5),
            output_tokens: Some(3),
            ..gateway(13, "d-gateway", "d")
        },
        // The gateway has an id of its own and knows the service's from the answer.
        Call {
            caller: Some("object-3"),
            input_tokens: Some(40),
            output_tokens: Some(4),
            ..response(14, "e", "e-service")
        },
        Call {
            request_id: Some("e-service"),
            input_tokens: Some(40),
            output_tokens: Some(4),
            user_agent: Some("curl/8"),
            ..gateway(14, "e-gateway", "e-own")
        },
        Call {
            model_deployment: Some("prod"),
            ..llm(14, "e-llm", "e-own")
        },
        // Without an id nothing joins anything.
        Call {
            correlation_id: None,
            request_id: None,
            input_tokens: Some(1000),
            ..gateway(15, "f", "f")
        },
        Call {
            correlation_id: None,
            request_id: None,
            input_tokens: Some(2000),
            ..gateway(15, "g", "g")
        },
    ];
    // 120 + 10 + 7 + 5 + 40 + 1000 + 2000 and 88 + 1 + 2 + 3 + 4, in seven calls.
    assert_eq!(totals(&rows).await, (7, 3182, 98));
    let got = merged(
        &rows,
        "SELECT event_id, source_ip, cache_read_input_tokens, input_tokens_uncached, cost_usd, content_state, match, \
         array_to_string(array_sort(supplement_ids), ' '), user_agent, model_deployment \
         FROM calls_merged ORDER BY event_id",
    )
    .await;
    let text = |row: usize, column: usize| {
        let column = got.column(column).as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let ids: Vec<_> = (0..7).filter_map(|row| text(row, 0)).collect();
    assert_eq!(ids, ["a-full", "b", "c", "d-thin", "e", "f", "g"]);
    assert_eq!(text(0, 1).as_deref(), Some("198.51.100.7"));
    assert_eq!(got.column(2).as_primitive::<Int64Type>().value(0), 64);
    assert_eq!(
        got.column(3).as_primitive::<Int64Type>().value(0),
        56,
        "the share of the cache is not counted twice"
    );
    let cost = got.column(4).as_primitive::<Float64Type>().value(0);
    assert!(
        (cost - 2.0).abs() < f64::EPSILON,
        "the price that knows of the cache"
    );
    assert_eq!(text(0, 5).as_deref(), Some("inline"));
    assert_eq!(text(0, 6).as_deref(), Some("exact"));
    assert_eq!(text(0, 7).as_deref(), Some("a-gateway a-llm a-thin"));
    assert_eq!(text(1, 6), None);
    assert_eq!(text(4, 8).as_deref(), Some("curl/8"));
    assert_eq!(text(4, 9).as_deref(), Some("prod"));
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

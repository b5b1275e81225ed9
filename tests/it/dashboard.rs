//! Boards: what is checked of them, and whether their numbers are those of the store. The expected numbers follow by
//! hand from the few calls that are written here.

use std::fs;
use std::path::Path;

use inferwatch::dashboard::{self, Triage};
use inferwatch::detect::{Range, RunOptions, context_of, run};
use inferwatch::schema::{Audit, AuditBuilder, Call, CallBuilder, Micros, Table};
use inferwatch::store::{Store, WriteOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::{bare, ended};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
/// 2026-03-02T10:00:00Z.
const TEN: i64 = 1_772_445_600 * SECOND;

fn program(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    ended(bare(folder).arg("--no-config").args(arguments))
}

/// A call at a minute after ten.
fn call(minute: i64, id: &'static str) -> Call<'static> {
    Call {
        event_time: Micros(TEN + minute * MINUTE),
        event_id: id,
        request_id: Some(id),
        source_format: "generic",
        record_role: "primary",
        model: Some("m1"),
        model_deployment: Some("m1-prod"),
        outcome: "success",
        hour: "2026-03-02T10",
        ..Call::default()
    }
}

/// Two hours: three answers for Ada, a failure and a throttled call of Bob, a refusal of Eve in two of the logs, a
/// block that the gateway alone calls one, and a change of a guardrail.
fn store_in(folder: &Path) -> Store {
    let store = Store::open_or_create(&folder.join("inferwatch-store")).expect("a store");
    let mut calls = CallBuilder::default();
    for (minute, id, duration) in [(1, "a1", 100.0), (2, "a2", 200.0), (3, "a3", 300.0)] {
        calls.append(&Call {
            caller: Some("ada"),
            input_tokens: Some(80),
            output_tokens: Some(20),
            total_tokens: Some(100),
            cost_usd: Some(0.5),
            duration_ms: Some(duration),
            ..call(minute, id)
        });
    }
    calls.append(&Call {
        caller: Some("bob"),
        outcome: "failure",
        http_status_code: Some(500),
        ..call(10, "b1")
    });
    calls.append(&Call {
        caller: Some("bob"),
        outcome: "failure",
        http_status_code: Some(429),
        ..call(70, "b2")
    });
    // A request that was refused, in the invocation log of one cloud and, as a management event, in its audit log.
    calls.append(&Call {
        caller: Some("eve"),
        outcome: "failure",
        error_type: Some("AccessDeniedException"),
        http_status_code: Some(403),
        ..call(80, "e1")
    });
    // The same call of Azure OpenAI twice: the service saw a bad request, the gateway in front of it a filter.
    for (id, format, outcome, action) in [
        ("z1", "azure.openai.request_response", "failure", None),
        ("z2", "azure.apim.gateway", "blocked", Some("blocked")),
    ] {
        calls.append(&Call {
            source_format: format,
            correlation_id: Some("same"),
            caller: (format == "azure.openai.request_response").then_some("ada"),
            outcome,
            http_status_code: Some(400),
            guardrail_action: action,
            ..call(90, id)
        });
    }
    let mut audit = AuditBuilder::default();
    for (id, request, class, outcome) in [
        ("x1", "e1", "other", "failure"),
        ("x2", "x2", "guardrail.delete", "success"),
    ] {
        audit.append(&Audit {
            event_time: Micros(TEN + 81 * MINUTE),
            event_id: id,
            request_id: Some(request),
            source_format: "aws.cloudtrail",
            action: Some("DeleteGuardrail"),
            action_class: class,
            outcome,
            error_type: (outcome == "failure").then_some("AccessDenied"),
            caller: Some("eve"),
            hour: "2026-03-02T11",
            ..Audit::default()
        });
    }
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    writer.write(Table::Calls, calls.finish()).expect("rows");
    writer.write(Table::Audit, audit.finish()).expect("rows");
    writer.commit(&[("test".to_owned(), 1)]).expect("a commit");
    store
}

fn rendered(folder: &Path, board: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["dashboard", "render", board, "--format", "json"];
    arguments.extend([
        "--from",
        "2026-03-02T10:00:00Z",
        "--to",
        "2026-03-02T12:00:00Z",
    ]);
    arguments.extend(more);
    let (code, out, errors) = program(folder, &arguments);
    assert_eq!(code, 0, "{errors}");
    serde_json::from_str(&out).expect("an object")
}

/// The rows of a panel as objects.
fn rows(board: &Value, panel: &str) -> Vec<Value> {
    let answer = &board["answers"][panel];
    let columns = answer["columns"].as_array().expect(panel);
    let rows = answer["rows"].as_array().expect(panel);
    let object = |row: &Value| -> Value {
        let cells = columns.iter().zip(row.as_array().expect("a row"));
        let cells = cells.map(|(column, cell)| {
            (
                column["name"].as_str().expect("a name").to_owned(),
                cell.clone(),
            )
        });
        Value::Object(cells.collect())
    };
    rows.iter().map(object).collect()
}

fn near(value: &Value, expected: f64) {
    let value = value.as_f64().expect("a number");
    assert!((value - expected).abs() < 1e-9, "{value}, not {expected}");
}

#[test]
fn what_ships_is_right() {
    let folder = TempDir::new().expect("a folder");
    let (code, out, errors) = program(folder.path(), &["dashboard", "check", "--strict"]);
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    assert_eq!(out, "3 boards, 32 panels: 0 errors, 0 warnings\n");
}

#[test]
fn what_is_wrong_with_a_panel_is_told_with_its_line() {
    let folder = TempDir::new().expect("a folder");
    let panel = |id: &str, chart: &str, more: &str, sql: &str| {
        let text = format!(
            "-- /// panel\n-- id = \"{id}\"\n-- title = \"T\"\n-- board = \"securty\"\n-- position = 1\n\
             -- chart = \"{chart}\"\n{more}-- description = \"d\"\n-- ///\n{sql}\n"
        );
        fs::write(folder.path().join(format!("{id}.sql")), text).expect("ours");
    };
    panel(
        "no-bounds",
        "stat",
        "",
        "SELECT count(*) AS value FROM calls WHERE event_time >= $from",
    );
    panel(
        "no-steps",
        "line",
        "",
        "SELECT event_time AS time, 1 AS value FROM calls\nWHERE event_time >= $from AND event_time < $to",
    );
    panel("no-number", "stat", "", "SELECT 'x' AS value");
    panel("no-parameter", "table", "", "SELECT 1\nWHERE $form IS NULL");
    panel(
        "no-column",
        "table",
        "-- drill_down = \"/rules/token-brun\"\n",
        "SELECT callr FROM calls WHERE event_time >= $from AND event_time < $to",
    );
    let (code, out, _) = program(
        folder.path(),
        &["dashboard", "check", ".", "--format", "json"],
    );
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&out).expect("an object");
    let told: Vec<(String, &str, i64, &str)> = report["problems"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|problem| {
            let path = Path::new(problem["path"].as_str().expect("a path"));
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let line = problem["line"].as_i64().expect("a line");
            (
                name,
                problem["code"].as_str().expect("a code"),
                line,
                problem["message"].as_str().expect("a message"),
            )
        })
        .collect();
    let has = |name: &str, code: &str, line: i64, message: &str| {
        assert!(
            told.iter()
                .any(|(n, c, l, m)| (n.as_str(), *c, *l) == (name, code, line)
                    && m.contains(message)),
            "{name} {code} {line} {message}: {told:#?}"
        );
    };
    has(
        "no-bounds",
        "L-TIME",
        9,
        "no upper bound on `event_time` of `calls`",
    );
    has("no-bounds", "L-REF", 1, "there is no board `securty`");
    has(
        "no-steps",
        "L-CHART",
        1,
        "the steps are not those asked for",
    );
    has("no-number", "L-CHART", 9, "`value` is no number");
    has("no-parameter", "L-SCHEMA", 10, "`$form` is not a parameter");
    has("no-column", "L-SCHEMA", 10, "callr");
    has("no-column", "L-REF", 1, "leads to no known page");
}

#[test]
fn numbers_of_security_are_those_of_the_calls() {
    let folder = TempDir::new().expect("a folder");
    store_in(folder.path());
    let board = rendered(folder.path(), "security", &[]);
    let value = |panel: &str| rows(&board, panel)[0]["value"].clone();
    // Seven calls: the one in two logs counts once.
    assert_eq!(
        rows(&board, "calls-total"),
        [json!({"value": 7, "previous": 0})]
    );
    assert_eq!(value("blocked-total"), 1);
    near(&value("cost-total"), 1.5);
    // Two hours have steps of a minute; tokens are summed up by quarters of an hour at least.
    assert_eq!(
        rows(&board, "tokens-by-caller"),
        [json!({"time": "2026-03-02T10:00:00Z", "series": "ada", "value": 300})]
    );
    assert_eq!(
        rows(&board, "guardrail-blocks"),
        [json!({"time": "2026-03-02T11:00:00Z", "series": "unnamed", "value": 1.0})]
    );
    // Ada's block names her, and Bob was there in the hour before.
    assert_eq!(
        rows(&board, "callers-unique-new"),
        [
            json!({"time": "2026-03-02T10:00:00Z", "callers": 2, "new callers": 2}),
            json!({"time": "2026-03-02T11:00:00Z", "callers": 3, "new callers": 1}),
        ]
    );
    // A dollar and a half in a quarter of an hour is six an hour.
    let cost = rows(&board, "cost-burn");
    assert_eq!(cost.len(), 1);
    near(&cost[0]["value"], 6.0);
    // One request, in two logs.
    assert_eq!(
        rows(&board, "access-denied"),
        [json!({"time": "2026-03-02T11:00:00Z", "series": "eve", "value": 1})]
    );
    let changes = rows(&board, "control-changes");
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (&changes[0]["change"], &changes[0]["caller"]),
        (&json!("guardrail.delete"), &json!("eve"))
    );
    // Somebody's alone.
    let ada = rendered(folder.path(), "security", &["--caller", "ada"]);
    assert_eq!(rows(&ada, "calls-total")[0]["value"], 4);
    let nobody = rendered(folder.path(), "security", &["--caller", "' OR '1'='1"]);
    assert_eq!(rows(&nobody, "calls-total")[0]["value"], 0);
}

#[test]
fn numbers_of_model_and_reliability_are_those_of_the_calls() {
    let folder = TempDir::new().expect("a folder");
    store_in(folder.path());
    let board = rendered(folder.path(), "reliability", &[]);
    let value = |panel: &str| rows(&board, panel)[0]["value"].clone();
    // Of seven calls the 500 and the 429 are failures of the service; the 403 and the filter are not.
    near(&value("availability"), 1.0 - 2.0 / 7.0);
    near(&value("budget-left"), 1.0 - 2.0 / (7.0 * 0.005));
    assert_eq!(value("throttled-total"), 1);
    let objective = &rows(&board, "budget-table")[0];
    assert_eq!(
        (&objective["deployment"], &objective["errors"]),
        (&json!("m1-prod"), &json!(2))
    );
    near(&objective["budget_used_share"], 2.0 / (7.0 * 0.005));
    assert_eq!(objective["last_error"], "2026-03-02T11:10:00Z");
    assert_eq!(
        rows(&board, "throttles"),
        [json!({"time": "2026-03-02T11:00:00Z", "series": "m1", "value": 1})]
    );
    let mix = &rows(&board, "token-mix")[0];
    assert_eq!(
        (&mix["input"], &mix["output"], &mix["cache reads"]),
        (&json!(240), &json!(60), &Value::Null)
    );
    let sources = rows(&board, "sources");
    let records: i64 = sources
        .iter()
        .filter_map(|row| row["records"].as_i64())
        .sum();
    assert_eq!(records, 8);

    let board = rendered(folder.path(), "model", &[]);
    let rates = rows(&board, "request-rate");
    // Three calls in the first five minutes.
    near(&rates[0]["value"], 0.6);
    let latency = rows(&board, "latency");
    assert_eq!(latency.len(), 1);
    near(&latency[0]["p50"], 200.0);
    let spread = rows(&board, "latency-spread");
    let told: Vec<_> = spread
        .iter()
        .map(|row| (row["series"].as_str(), row["value"].as_i64()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("100 to 200 ms"), Some(1)),
            (Some("200 to 500 ms"), Some(2))
        ]
    );
}

#[test]
fn a_board_as_a_page_holds_its_data_and_asks_for_nothing() {
    let folder = TempDir::new().expect("a folder");
    store_in(folder.path());
    let (code, _, errors) = program(
        folder.path(),
        &["dashboard", "render", "security", "-o", "security.html"],
    );
    assert_eq!(code, 0, "{errors}");
    assert!(
        errors.contains("Security operations: 13 panels in `security.html`"),
        "{errors}"
    );
    let page = fs::read_to_string(folder.path().join("security.html")).expect("a page");
    assert!(page.contains("default-src 'none'"));
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"));
    let (code, _, errors) = program(folder.path(), &["dashboard", "render", "secuirty"]);
    assert_eq!(code, 2);
    assert!(
        errors.contains("no board `secuirty`\nhint: did you mean `security`?"),
        "{errors}"
    );
}

#[test]
fn triage_is_kept_audited_and_does_not_move_the_clock() {
    let folder = TempDir::new().expect("a folder");
    let store = store_in(folder.path());
    // Months later than the logs.
    let later = TEN + 200 * 24 * 60 * MINUTE;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let words = || {
        let context = runtime.block_on(context_of(&store)).expect("a session");
        runtime
            .block_on(dashboard::history(&context, "f1"))
            .expect("words")
    };
    assert_eq!(words(), []);
    let said = [
        (Triage::Acknowledged, "looking", 0),
        (Triage::FalsePositive, "a test's key", 1),
    ];
    for (state, note, after) in said {
        let at = later + after * MINUTE;
        state
            .write(&store, "f1", note, "o'brien", at)
            .expect("written");
    }
    let told: Vec<_> = words()
        .iter()
        .map(|word| {
            (
                word["state"].clone(),
                word["note"].clone(),
                word["who"].clone(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                json!("false_positive"),
                json!("a test's key"),
                json!("o'brien")
            ),
            (json!("acknowledged"), json!("looking"), json!("o'brien")),
        ]
    );
    let (code, out, errors) = program(
        folder.path(),
        &[
            "sql",
            "SELECT finding_id, triage_state, triaged_by FROM triage",
            "--format",
            "json",
        ],
    );
    assert_eq!(code, 0, "{errors}");
    let rows: Value = serde_json::from_str(&out).expect("rows");
    assert_eq!(
        rows,
        json!([{"finding_id": "f1", "triage_state": "false_positive", "triaged_by": "o'brien"}])
    );
    // Rules look as far as the logs go, not as far as people have worked.
    let pack = inferwatch::catalog::Pack::embedded();
    let rule = pack.rule("guardrail-weakened").expect("ships");
    let options = RunOptions {
        range: Range::SinceLast,
        dry_run: true,
        is_complete: true,
        ..RunOptions::default()
    };
    let outcomes = run(runtime.handle(), &store, &[rule], &options).expect("runs");
    assert!(
        outcomes[0].windows() < 500,
        "{} windows",
        outcomes[0].windows()
    );
    assert_eq!(outcomes[0].gaps, []);
    let too_long = "x".repeat(dashboard::LONGEST_NOTE + 1);
    assert!(
        Triage::Closed
            .write(&store, "f1", &too_long, "a", later)
            .is_err()
    );
    assert!(
        Triage::from_name("clsed")
            .is_err_and(|error| error.hint() == Some("did you mean `closed`?"))
    );
}

/// The optimizer changes the sides of joins when it learns how many rows there are, as in a store of few large files.
#[test]
fn calls_are_counted_as_well_in_a_store_that_was_compacted() {
    let folder = TempDir::new().expect("a folder");
    let run = |arguments: &[&str]| {
        let (code, out, errors) = program(folder.path(), arguments);
        assert_eq!(code, 0, "{arguments:?}: {errors}");
        out
    };
    run(&["generate", "--rows", "30000", "--incidents", "logs"]);
    run(&["ingest", "logs"]);
    run(&["compact"]);
    let query = "SELECT count(*) AS calls FROM calls_merged \
                 WHERE event_time >= TIMESTAMP '2026-03-02T00:00:00Z' AND event_time < TIMESTAMP '2026-03-03T00:00:00Z'";
    let out = run(&["sql", query, "--format", "ndjson"]);
    // 30,000 and those of the incidents: as many as `generate` says that it made.
    assert_eq!(out, "{\"calls\":36858}\n");
}

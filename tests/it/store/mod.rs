//! The store from outside: what is written is read, once, by us and by nobody who should not.

mod columns;
mod commits;
mod damage;
mod partitions;
mod reading;
mod secrecy;

use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use inferwatch::schema::{
    Audit, AuditBuilder, Call, CallBuilder, Content, ContentBuilder, Evaluation, EvaluationBuilder,
    Filter, FilterBuilder, Finding, FindingBuilder, GuardrailFinding, InjectionFinding, Micros,
    Quarantine, QuarantineBuilder, Table, Usage, UsageBuilder,
};
use inferwatch::store::{Outcome, Store, WriteOptions};

use crate::calls::batch as calls;

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

/// Commits calls, as one application at one version.
fn commit(store: &Store, batch: RecordBatch, version: i64) {
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    writer.write(Table::Calls, batch).expect("rows are taken");
    let commits = writer.commit(&transactions(version)).expect("a commit");
    assert_eq!(commits[0].outcome, Outcome::Committed);
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter();
    entries
        .map(|entry| entry.expect("listed"))
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.into_path())
        .collect()
}

fn assert_sound(store: &Store) {
    let report = store.verify(true).expect("it can be verified");
    assert_eq!(report.problems, [], "the store is sound");
    assert_eq!(report.unreferenced, [], "nothing is left over");
}

/// A batch of one row of every table, with `text` in every column that can hold it and is not in `clear`.
fn marked<'a>(text: &'a str, clear: &'a str) -> Vec<(Table, RecordBatch)> {
    let mut calls = CallBuilder::default();
    calls.append(&Call {
        event_time: Micros(TEN),
        caller: Some(clear),
        model: Some(clear),
        source_format: clear,
        record_role: clear,
        provider: Some(clear),
        operation: Some(clear),
        outcome: clear,
        event_id: text,
        source_file: Some(text),
        conversation_id: Some(text),
        end_user_id: Some(text),
        user_agent: Some(text),
        finish_reasons: vec![text],
        tags: vec![(text, text)],
        tool_names: vec![text],
        attributes: Some(text),
        parse_warnings: vec![text],
        guardrail_findings: vec![GuardrailFinding {
            category: Some(text),
            ..Default::default()
        }],
        injection_findings: vec![InjectionFinding {
            signature: Some(text),
            ..Default::default()
        }],
        hour: clear,
        ..Call::default()
    });
    let mut content = ContentBuilder::default();
    content.append(&Content {
        event_time: Micros(TEN),
        caller: Some(clear),
        model: Some(clear),
        source_format: clear,
        event_id: text,
        source_file: Some(text),
        direction: text,
        role: Some(text),
        part_type: text,
        text: Some(text),
        tool_name: Some(text),
        tool_call_id: Some(text),
        tool_arguments: Some(text),
        mime_type: Some(text),
        uri: Some(text),
        redacted_kinds: vec![text],
        hour: clear,
        ..Content::default()
    });
    let mut filters = FilterBuilder::default();
    filters.append(&Filter {
        event_time: Micros(TEN),
        caller: Some(clear),
        model: Some(clear),
        source_format: clear,
        event_id: text,
        category: Some(text),
        hour: clear,
        ..Filter::default()
    });
    let mut audit = AuditBuilder::default();
    audit.append(&Audit {
        event_time: Micros(TEN),
        caller: Some(clear),
        source_format: clear,
        action_class: clear,
        event_id: text,
        request_params: Some(text),
        response: Some(text),
        attributes: Some(text),
        resource_id: Some(text),
        outcome: text,
        hour: clear,
        ..Audit::default()
    });
    let mut quarantine = QuarantineBuilder::default();
    quarantine.append(&Quarantine {
        ingest_time: Micros(TEN),
        source_file: text,
        reason: text,
        line: Some(text),
        ..Quarantine::default()
    });
    let mut findings = FindingBuilder::default();
    findings.append(&Finding {
        rule_id: clear,
        finding_id: text,
        title: text,
        severity: text,
        entity: Some(text),
        evidence: Some(text),
        ..Finding::default()
    });
    let mut evaluations = EvaluationBuilder::default();
    evaluations.append(&Evaluation {
        rule_id: clear,
        state: text,
        detail: Some(text),
        params: Some(text),
        ..Evaluation::default()
    });
    let mut usage = UsageBuilder::default();
    usage.append(&Usage {
        caller: Some(clear),
        provider: Some(text),
        ..Usage::default()
    });
    vec![
        (Table::Calls, calls.finish()),
        (Table::Content, content.finish()),
        (Table::Filters, filters.finish()),
        (Table::Audit, audit.finish()),
        (Table::Quarantine, quarantine.finish()),
        (Table::Findings, findings.finish()),
        (Table::Evaluations, evaluations.finish()),
        (Table::Usage, usage.finish()),
    ]
}

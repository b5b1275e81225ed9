//! The store from outside: what is written is read, once, by us and by nobody who should not.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use inferwatch::schema::{
    Audit, AuditBuilder, Call, CallBuilder, Content, ContentBuilder, Evaluation, EvaluationBuilder,
    Filter, FilterBuilder, Finding, FindingBuilder, GuardrailFinding, InjectionFinding, Micros,
    Quarantine, QuarantineBuilder, Table, Usage, UsageBuilder,
};
use inferwatch::store::{Outcome, Store, WriteOptions};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

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

/// Takes a column out of a table's files and its log, as if it had never been there.
fn forget_column(table: &Path, column: &str) {
    let log = table.join("_delta_log");
    std::fs::remove_dir_all(table.join("_inferwatch")).ok();
    for path in files_below(&log) {
        let text = std::fs::read_to_string(&path).expect("text");
        let mut actions: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        for action in &mut actions {
            if let Some(schema) = action.pointer_mut("/metaData/schemaString") {
                let mut known: serde_json::Value =
                    serde_json::from_str(schema.as_str().expect("text")).expect("JSON");
                let fields = known["fields"].as_array_mut().expect("fields");
                let before = fields.len();
                fields.retain(|field| field["name"] != column);
                assert_eq!(fields.len(), before - 1);
                *schema = known.to_string().into();
            }
            if let Some(add) = action.get_mut("add") {
                let file = table.join(add["path"].as_str().expect("a path"));
                add["size"] = without_column(&file, column).into();
            }
        }
        let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
        std::fs::write(&path, lines).expect("written");
    }
}

/// Writes a file anew without a column; its size.
fn without_column(path: &Path, column: &str) -> u64 {
    let file = std::fs::File::open(path).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .expect("Parquet");
    let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("rows")).collect();
    let schema = batches[0].schema();
    let kept: Vec<usize> = (0..schema.fields().len())
        .filter(|index| schema.field(*index).name() != column)
        .collect();
    let schema = Arc::new(schema.project(&kept).expect("columns"));
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, schema, None).expect("a writer");
    for batch in batches {
        writer
            .write(&batch.project(&kept).expect("columns"))
            .expect("rows");
    }
    writer.close().expect("written");
    path.metadata().expect("a file").len()
}

#[tokio::test]
async fn a_store_from_before_a_column_came_is_read_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = |from: i64, source: Option<&'static str>| {
        calls((from..from + 10).map(|n| Call {
            cost_source: source,
            ..call(TEN + n * SECOND, Some("a"), Some("m"), n)
        }))
    };
    commit(&open(folder.path()), rows(0, None), 1);
    let table = folder.path().join("store/calls");
    forget_column(&table, "cost_source");

    let store = open(folder.path());
    assert_sound(&store);
    let without = "SELECT count(*) FROM calls WHERE cost_source IS NULL";
    let with = "SELECT count(*) FROM calls WHERE cost_source = 'list'";
    assert_eq!(number(&store, without).await, 10);
    assert_eq!(
        number(&store, "SELECT sum(input_tokens) FROM calls").await,
        45
    );

    commit(&store, rows(10, Some("list")), 2);
    commit(&store, rows(20, Some("list")), 3);
    for store in [store, open(folder.path())] {
        assert_eq!(number(&store, without).await, 10);
        assert_eq!(number(&store, with).await, 20);
        assert_sound(&store);
    }
    // Other readers learn of the column from the first commit that has it, and once.
    let told = |version: u64| {
        let path = table.join(format!("_delta_log/{version:020}.json"));
        let text = std::fs::read_to_string(path).expect("a commit");
        text.contains("metaData") && text.contains("cost_source")
    };
    assert_eq!(
        [told(0), told(1), told(2), told(3)],
        [false, false, true, false]
    );
}

#[tokio::test]
async fn ten_thousand_callers_share_a_bounded_number_of_partitions() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let names: Vec<String> = (0..10_000).map(|n| format!("caller-{n:05}")).collect();
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..3_i64 {
        // Some callers are loud, and others in each round than in that before; the rest have a row or two.
        let mut rows = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let loud = n / 50 == usize::try_from(round).expect("small");
            for _ in 0..if loud { 110 } else { 1 } {
                rows.push(call(
                    TEN + random.random_range(0..HOUR),
                    Some(name),
                    Some("m"),
                    1,
                ));
            }
        }
        rows.shuffle(&mut random);
        let options = WriteOptions {
            min_partition_rows: 100,
            ..WriteOptions::default()
        };
        let mut writer = store.writer(options).expect("a writer");
        writer
            .write(Table::Calls, calls(rows))
            .expect("rows are taken");
        writer.commit(&transactions(round)).expect("a commit");
        let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
        let partitions: HashSet<_> = snapshot.iter().map(|file| file.partition()).collect();
        assert!(
            partitions.len() <= 64,
            "{} partitions after round {round}",
            partitions.len()
        );
        // Fifty loud ones in the first round, then only what is left: thirteen, since one is for all others.
        let own = partitions
            .iter()
            .filter(|partition| partition.caller.is_some())
            .count();
        assert_eq!(own, if round == 0 { 50 } else { 63 });
        let rows = (round + 1) * (9_950 + 50 * 110);
        assert_eq!(number(&store, "SELECT count(*) FROM calls").await, rows);
        assert_eq!(
            number(&store, "SELECT count(DISTINCT caller) FROM calls").await,
            10_000
        );
    }
    assert_sound(&store);
}

#[tokio::test]
async fn few_callers_have_partitions_of_their_own_however_few_their_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let names: Vec<String> = (0..32).map(|n| format!("caller-{n}")).collect();
    let rows = names
        .iter()
        .flat_map(|name| ["m1", "m2"].map(|model| call(TEN, Some(name), Some(model), 1)));
    commit(&store, calls(rows), 1);
    let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
    assert_eq!(snapshot.len(), 64);
    assert!(
        snapshot
            .iter()
            .all(|file| file.partition_caller().is_some() && file.partition_model().is_some())
    );
    let folder = store
        .root()
        .join("calls/period=2026-11-20T10/partition_model=m1/partition_caller=caller-7");
    assert_eq!(files_below(&folder).len(), 1);
}

#[tokio::test]
async fn spilled_rows_end_up_as_those_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = StdRng::seed_from_u64(2);
    let texts: Vec<String> = (0..1_000)
        .map(|n| {
            "x".repeat(if n % 200 == 0 {
                100_000
            } else {
                random.random_range(0..2_000)
            })
        })
        .collect();
    let names: Vec<String> = (0..100)
        .map(|n| format!("caller-{}", n * 7919 % 100))
        .collect();
    let mut stores = Vec::new();
    for (name, memory_budget) in [("memory", 1 << 30), ("spilled", 300_000)] {
        let store = Store::open_or_create(&folder.path().join(name)).expect("a store");
        let options = WriteOptions {
            memory_budget,
            min_partition_rows: 4,
            ..WriteOptions::default()
        };
        let mut writer = store.writer(options).expect("a writer");
        let mut random = StdRng::seed_from_u64(3);
        for chunk in texts.chunks(30) {
            let (mut calls, mut content) = (CallBuilder::default(), ContentBuilder::default());
            for text in chunk {
                let number = random.random_range(0..1_000_000_i64);
                let row = call(
                    TEN + random.random_range(0..5) * HOUR + random.random_range(0..HOUR),
                    Some(
                        names[random
                            .random_range(0..100_usize)
                            .min(random.random_range(0..100))]
                        .as_str(),
                    ),
                    [None, Some("m1"), Some("m2")][random.random_range(0..3)],
                    number,
                );
                calls.append(&row);
                content.append(&Content {
                    event_time: row.event_time,
                    event_id: row.event_id,
                    caller: row.caller,
                    model: row.model,
                    source_format: row.source_format,
                    source_file: row.source_file,
                    source_offset: row.source_offset,
                    direction: "input",
                    seq: 1,
                    part_type: "text",
                    text: Some(text),
                    hour: row.hour,
                    ..Content::default()
                });
            }
            writer
                .write(Table::Calls, calls.finish())
                .expect("rows are taken");
            writer
                .write(Table::Content, content.finish())
                .expect("rows are taken");
        }
        writer.commit(&transactions(1)).expect("a commit");
        assert_sound(&store);
        stores.push(store);
    }
    for table in [Table::Calls, Table::Content] {
        let described: Vec<Vec<_>> = stores
            .iter()
            .map(|store| {
                let snapshot = store.snapshot(table).expect("a snapshot");
                let mut files: Vec<_> = snapshot
                    .iter()
                    .map(|file| (file.partition(), file.rows(), file.time_range()))
                    .collect();
                files.sort();
                files
            })
            .collect();
        assert!(described[0].len() > 10, "there is something to compare");
        assert_eq!(described[0], described[1]);
    }
    for sql in [
        "SELECT count(*), sum(source_offset), sum(length(text)), min(event_time), max(event_time) FROM content",
        "SELECT caller, model, count(*), sum(source_offset) FROM calls GROUP BY 1, 2 ORDER BY 1, 2",
    ] {
        let answers = [query(&stores[0], sql).await, query(&stores[1], sql).await];
        let [memory, spilled] =
            answers.map(|batches| pretty_format_batches(&batches).expect("text").to_string());
        assert_eq!(memory, spilled);
    }
    assert_eq!(
        files_below(&stores[1].root().join("spill")),
        Vec::<PathBuf>::new()
    );
}

/// Everything the log says, and everything in Parquet files but the pages themselves.
fn log_and_footers(root: &Path) -> Vec<(PathBuf, String)> {
    let mut texts = Vec::new();
    for path in files_below(root) {
        let bytes = std::fs::read(&path).expect("a file");
        if path
            .extension()
            .is_some_and(|extension| extension == "parquet")
            && !path.to_string_lossy().contains("_delta_log")
        {
            let length = u32::from_le_bytes(
                bytes[bytes.len() - 8..bytes.len() - 4]
                    .try_into()
                    .expect("four bytes"),
            );
            // Column and offset indexes stand before the footer; they begin after the last page.
            let metadata = parquet::file::metadata::ParquetMetaDataReader::new()
                .parse_and_finish(&std::fs::File::open(&path).expect("a file"))
                .expect("a footer");
            let pages = metadata
                .row_groups()
                .iter()
                .flat_map(|group| group.columns())
                .map(|column| {
                    let (start, length) = column.byte_range();
                    start + length
                });
            let end = usize::try_from(pages.max().expect("a column")).expect("small");
            assert!(end <= bytes.len() - 8 - length as usize);
            texts.push((path, String::from_utf8_lossy(&bytes[end..]).into_owned()));
        } else {
            texts.push((path, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    texts
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

#[tokio::test]
async fn no_text_is_in_the_log_or_in_footers() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    for (table, batch) in marked("MARKER-of-a-secret-prompt", "allowed-value") {
        writer.write(table, batch).expect("rows are taken");
    }
    let commits = writer.commit(&transactions(1)).expect("a commit");
    assert_eq!(commits.len(), Table::ALL.len());
    assert_sound(&store);
    let texts = log_and_footers(store.root());
    assert!(texts.len() > 2 * Table::ALL.len());
    for (path, text) in &texts {
        assert!(!text.contains("MARKER"), "{}", path.display());
    }
    // The search would find something: what may be there is there, in logs and in footers.
    let found = |extension: &str| {
        texts
            .iter()
            .filter(|(path, text)| {
                path.extension().is_some_and(|e| e == extension) && text.contains("allowed-value")
            })
            .count()
    };
    assert!(found("json") >= 6 && found("parquet") >= 6);
    assert_eq!(
        number(
            &store,
            "SELECT count(*) FROM content WHERE text LIKE '%MARKER%'"
        )
        .await,
        1
    );
}

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
async fn null_and_hostile_callers_come_back_as_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open_or_create(&folder.path().join("a b%2F é#?")).expect("a store");
    let long = "l".repeat(10_000);
    let longer = "l".repeat(10_001);
    let wide = "\u{10FFFF}".repeat(200);
    let callers = [
        None,
        Some(""),
        Some("../../x"),
        Some("/etc/passwd"),
        Some("a\0b"),
        Some("a=b/c%"),
        Some("%2E%2E"),
        Some("."),
        Some(".."),
        Some("\u{1F600} \u{202E}é"),
        Some("__HIVE_DEFAULT_PARTITION__"),
        Some(&long),
        Some(&longer),
        Some(&wide),
        Some("arn:aws:iam::1:user/bob"),
        Some("line\nbreak"),
        Some("\"quote\\"),
    ];
    let mut rows = Vec::new();
    for (n, caller) in callers.iter().enumerate() {
        for model in [None, Some(""), Some("../m")] {
            rows.push(call(TEN, *caller, model, i64::try_from(n).expect("small")));
        }
    }
    commit(&store, calls(rows), 1);
    // Twice: the second time from the log alone.
    for round in 0..2 {
        let store = Store::open(store.root()).expect("a store");
        for (n, caller) in callers.iter().enumerate() {
            let context = context(&store);
            let state = context.table("calls").await.expect("a table");
            let filter = match caller {
                Some(caller) => {
                    datafusion::prelude::col("caller").eq(datafusion::prelude::lit(*caller))
                }
                None => datafusion::prelude::col("caller").is_null(),
            };
            let batches = state
                .filter(filter)
                .expect("a filter")
                .collect()
                .await
                .expect("rows");
            let offsets: Vec<i64> = batches
                .iter()
                .flat_map(|batch| {
                    batch
                        .column_by_name("source_offset")
                        .expect("a column")
                        .as_primitive::<Int64Type>()
                        .values()
                        .to_vec()
                })
                .collect();
            assert_eq!(
                offsets,
                [i64::try_from(n).expect("small"); 3],
                "{caller:?} in round {round}"
            );
        }
        assert_sound(&store);
        let _ = std::fs::remove_dir_all(store.root().join("calls/_inferwatch"));
    }
    // Nothing left the table's folder.
    let outside = files_below(folder.path())
        .into_iter()
        .filter(|path| !path.starts_with(store.root()))
        .count();
    assert_eq!(outside, 0);
    assert!(files_below(store.root()).iter().all(|path| {
        path.strip_prefix(store.root())
            .expect("inside")
            .components()
            .count()
            <= 5
    }));
}

#[tokio::test]
async fn a_commit_cut_off_by_a_crash_is_set_aside_with_a_warning() {
    for saved in [true, false] {
        for damage in ["empty", "cut", "zeros"] {
            let folder = tempfile::tempdir().expect("a folder");
            let store = open(folder.path());
            commit(&store, calls([call(TEN, Some("a"), Some("m"), 1)]), 1);
            if saved {
                // Another process saves what it had to read.
                Store::open(store.root())
                    .expect("a store")
                    .snapshot(Table::Calls)
                    .expect("a snapshot");
            }
            commit(&store, calls([call(TEN, Some("a"), Some("m"), 2)]), 2);
            let newest = store
                .root()
                .join("calls/_delta_log/00000000000000000002.json");
            let text = std::fs::read(&newest).expect("a commit");
            let torn = match damage {
                "empty" => Vec::new(),
                "cut" => text[..text.len() - 40].to_vec(),
                _ => vec![0; text.len()],
            };
            std::fs::write(&newest, torn).expect("damage is done");
            let store = Store::open(store.root()).expect("a store");
            assert_eq!(
                number(&store, "SELECT count(*) FROM calls").await,
                1,
                "{damage}, saved: {saved}"
            );
            let warnings = store.take_warnings();
            assert_eq!(warnings.len(), 1);
            assert!(
                warnings[0].contains("calls") && warnings[0].contains("commit 2"),
                "{}",
                warnings[0]
            );
            assert!(store.take_warnings().is_empty());
            // The same rows again: they were never in.
            commit(&store, calls([call(TEN, Some("a"), Some("m"), 2)]), 2);
            assert_eq!(
                number(&store, "SELECT sum(input_tokens) FROM calls").await,
                3
            );
            let report = store.verify(true).expect("it can be verified");
            assert_eq!(report.problems, []);
            assert_eq!(
                report.unreferenced.len(),
                1,
                "the file of the commit that was lost"
            );
        }
    }
}

#[tokio::test]
async fn other_damage_stops_with_a_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    for n in 1..=3 {
        commit(&store, calls([call(TEN, Some("a"), Some("m"), n)]), n);
    }
    std::fs::write(
        store
            .root()
            .join("calls/_delta_log/00000000000000000002.json"),
        "garbage\n{\"add\":{}}\n",
    )
    .expect("damage");
    let _ = std::fs::remove_dir_all(store.root().join("calls/_inferwatch"));
    let store = Store::open(store.root()).expect("a store");
    let error = store
        .snapshot(Table::Calls)
        .expect_err("the log is damaged");
    assert!(error.to_string().contains("calls"), "{error}");
    assert!(error.hint().is_some());
    assert!(store.take_warnings().is_empty(), "nothing was moved");
    let report = store.verify(false).expect("damage is reported");
    assert!(
        report
            .problems
            .iter()
            .any(|problem| problem.message.contains("commit 2 is damaged")),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_saved_snapshot_that_is_damaged_or_old_is_not_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    commit(&store, calls([call(TEN, Some("a"), Some("m"), 1)]), 1);
    Store::open(store.root())
        .expect("a store")
        .snapshot(Table::Calls)
        .expect("a snapshot");
    let saved = store.root().join("calls/_inferwatch/snapshot");
    let whole = std::fs::read(&saved).expect("it was saved");
    for (at, _) in whole.iter().enumerate().step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&saved, &damaged).expect("damage");
        let store = Store::open(store.root()).expect("a store");
        assert_eq!(store.snapshot(Table::Calls).expect("a snapshot").rows(), 1);
    }
    // Old is fine, with what came after on top.
    std::fs::write(&saved, &whole).expect("as it was");
    for n in 2..=5 {
        commit(&store, calls([call(TEN, Some("a"), Some("m"), n)]), n);
    }
    std::fs::write(&saved, &whole).expect("as it was");
    let store = Store::open(store.root()).expect("a store");
    let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
    assert_eq!(
        (
            snapshot.rows(),
            snapshot.version(),
            snapshot.transactions()["source"]
        ),
        (5, Some(5), 5)
    );
    assert_sound(&store);
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

#[tokio::test]
async fn verify_finds_what_was_done_to_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let rows = ["a", "b", "c", "d"].map(|caller| call(TEN, Some(caller), Some("m"), 1));
    commit(&store, calls(rows), 1);
    assert_sound(&store);
    let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
    let path = |index: usize| store.root().join("calls").join(snapshot.file(index).path());
    std::fs::remove_file(path(0)).expect("gone");
    let whole = std::fs::read(path(1)).expect("a file");
    std::fs::write(path(1), &whole[..whole.len() - 1]).expect("cut");
    // As many bytes, another content: only reading it all can tell.
    std::fs::copy(path(3), path(2)).expect("exchanged");
    std::fs::copy(path(3), path(3).with_file_name("part-x.parquet")).expect("left over");
    let shallow = store.verify(false).expect("a report");
    assert_eq!(shallow.problems.len(), 2, "{:?}", shallow.problems);
    assert_eq!(shallow.unreferenced.len(), 1);
    let deep = store.verify(true).expect("a report");
    assert_eq!(deep.problems.len(), 3, "{:?}", deep.problems);
    assert!(
        deep.problems
            .iter()
            .any(|problem| problem.message.contains("another partition"))
    );
}

#[cfg(unix)]
#[test]
fn restricted_tables_and_keys_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    for (table, batch) in marked("x", "y") {
        writer.write(table, batch).expect("rows are taken");
    }
    writer.commit(&transactions(1)).expect("a commit");
    let mode = |path: &Path| {
        std::fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    for private in ["keys", "content", "quarantine", "pending", "spill"] {
        assert_eq!(mode(&store.root().join(private)), 0o700, "{private}");
    }
    assert_eq!(mode(&store.root().join("keys/input-hash.key")), 0o600);
    for path in files_below(&store.root().join("content")) {
        assert!(
            path.to_string_lossy().contains("_delta_log") || mode(&path) == 0o600,
            "{}",
            path.display()
        );
    }
    let again = Store::open_or_create(store.root()).expect("a store");
    assert_eq!(again.secret(), store.secret());
    assert_ne!(store.secret(), &[0; 32]);
}

#[test]
fn a_folder_that_is_not_a_store_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Store::open(folder.path()).expect_err("it is empty");
    assert!(error.to_string().contains("is not a store") && error.hint().is_some());
    std::fs::write(folder.path().join("thesis.txt"), "precious").expect("a file");
    let error = Store::open_or_create(folder.path()).expect_err("it is somebody else's");
    assert!(error.hint().is_some());
    assert_eq!(files_below(folder.path()).len(), 1);
}

#[test]
fn a_store_that_was_not_finished_is_made_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("store");
    std::fs::create_dir_all(root.join("keys")).expect("a folder");
    // The marker under the name that it has until it is on the disk.
    std::fs::write(root.join(".inferwatch.json.4711.00ff.tmp"), "{").expect("a file");
    Store::open_or_create(&root).expect("nothing else is in there");

    let other = folder.path().join("other");
    std::fs::create_dir_all(&other).expect("a folder");
    std::fs::write(other.join(".thesis.txt.4711.00ff.tmp"), "precious").expect("a file");
    Store::open_or_create(&other).expect_err("it is somebody else's");
}

#[test]
fn a_log_that_was_not_begun_is_a_table_without_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    for left in [
        None,
        Some(".00000000000000000000.json.4711.00ff.tmp"),
        Some(".torn-00000000000000000000-00ff.json"),
    ] {
        let store = open(&folder.path().join(left.unwrap_or("nothing")));
        let log = store.root().join("calls/_delta_log");
        std::fs::create_dir_all(&log).expect("a folder");
        if let Some(name) = left {
            std::fs::write(log.join(name), "{").expect("a file");
        }
        let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
        assert_eq!((snapshot.version(), snapshot.rows()), (None, 0));
        commit(&store, calls([call(TEN, Some("a"), Some("m"), 1)]), 1);
        assert_sound(&store);
        // A log whose versions are gone was begun.
        let store = Store::open(store.root()).expect("a store");
        assert_eq!(store.snapshot(Table::Calls).expect("a snapshot").rows(), 1);
        for path in files_below(&log) {
            std::fs::remove_file(path).expect("gone");
        }
        let store = Store::open(store.root()).expect("a store");
        store
            .snapshot(Table::Calls)
            .expect_err("rows were there before");
    }
}

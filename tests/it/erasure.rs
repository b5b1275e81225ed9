//! Erasure: nothing of somebody is left, no more goes than was asked for, and the receipt never says too much.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use inferwatch::catalog::Tier;
use inferwatch::erasure::{EraseOptions, Receipt, Target, erase, verify};
use inferwatch::retention;
use inferwatch::schema::{
    Audit, AuditBuilder, Call, CallBuilder, Content, ContentBuilder, Evaluation, EvaluationBuilder,
    Filter, FilterBuilder, Finding, FindingBuilder, Micros, Quarantine, QuarantineBuilder, Table,
};
use inferwatch::store::{CompactOptions, Hold, Store, SweepOptions, WriteOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use crate::ask::numbers;
use crate::command::{self, run};
use crate::folder::{copy, files};

const ALICE: &str = "arn:aws:iam::1:user/alice";
const BOB: &str = "arn:aws:iam::1:user/bob";
/// 2026-03-02T10:00:00Z, from `date -u -d @1772445600`.
const TEN: i64 = 1_772_445_600_000_000;
const HOUR: i64 = 3_600_000_000;

fn commit(store: &Store, rows: Vec<(Table, RecordBatch)>, source: &str) {
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    for (table, batch) in rows {
        writer.write(table, batch).expect("rows are taken");
    }
    writer.commit(&[(source.to_owned(), 1)]).expect("a commit");
}

/// Calls of both, with text that names neither, and an end user each.
fn rows(number: i64) -> Vec<(Table, RecordBatch)> {
    let (mut calls, mut content, mut filters) = (
        CallBuilder::default(),
        ContentBuilder::default(),
        FilterBuilder::default(),
    );
    for (caller, user, marker) in [(ALICE, "eve-17", "quokka"), (BOB, "mallory-3", "wombat")] {
        let id = format!("{marker}-{number}");
        let text = format!("{marker} says {number}");
        let time = Micros(TEN + number * 1_000);
        calls.append(&Call {
            event_time: time,
            event_id: &id,
            source_format: "test",
            record_role: "primary",
            source_file: Some("f"),
            source_offset: Some(number),
            caller: Some(caller),
            model: Some("m"),
            end_user_id: Some(user),
            outcome: "success",
            input_tokens: Some(number),
            ..Call::default()
        });
        content.append(&Content {
            event_time: time,
            event_id: &id,
            caller: Some(caller),
            model: Some("m"),
            source_format: "test",
            direction: "input",
            part_type: "text",
            text: Some(&text),
            ..Content::default()
        });
        filters.append(&Filter {
            event_time: time,
            event_id: &id,
            caller: Some(caller),
            source_format: "test",
            category: Some("hate"),
            ..Filter::default()
        });
    }
    vec![
        (Table::Calls, calls.finish()),
        (Table::Content, content.finish()),
        (Table::Filters, filters.finish()),
    ]
}

/// A store that has been at work for a while: several commits, a checkpoint, a compaction, sums, findings.
async fn store_in(folder: &Path, commits: i64) -> Store {
    let store = Store::open_or_create(&folder.join("store")).expect("a store");
    for number in 0..commits {
        commit(&store, rows(number), &format!("source-{number}"));
    }
    let mut findings = FindingBuilder::default();
    let mut evaluations = EvaluationBuilder::default();
    let mut audit = AuditBuilder::default();
    for caller in [ALICE, BOB] {
        let entity = format!("{{\"caller\":\"{caller}\"}}");
        let title = format!("{caller} asks too much");
        findings.append(&Finding {
            finding_id: caller,
            rule_id: "r",
            title: &title,
            window_end: Micros(TEN + HOUR),
            entity: Some(&entity),
            ..Finding::default()
        });
        audit.append(&Audit {
            event_time: Micros(TEN),
            event_id: caller,
            source_format: "test",
            action_class: "model.list",
            outcome: "success",
            caller: Some(caller),
            ..Audit::default()
        });
    }
    let returned = format!("[{{\"caller\":\"{ALICE}\"}},{{\"caller\":\"{BOB}\"}}]");
    evaluations.append(&Evaluation {
        rule_id: "r",
        window_end: Micros(TEN + HOUR),
        state: "fired",
        returned: Some(&returned),
        ..Evaluation::default()
    });
    let mut quarantine = QuarantineBuilder::default();
    let file = format!("logs/{ALICE}.jsonl");
    quarantine.append(&Quarantine {
        ingest_time: Micros(TEN),
        source_file: &file,
        reason: "broken",
        ..Quarantine::default()
    });
    let rest = vec![
        (Table::Findings, findings.finish()),
        (Table::Evaluations, evaluations.finish()),
        (Table::Audit, audit.finish()),
        (Table::Quarantine, quarantine.finish()),
    ];
    commit(&store, rest, "rest");
    let compact = CompactOptions {
        at: TEN + 5 * HOUR,
        ..CompactOptions::default()
    };
    let tasks = store.plan_compaction(&compact).expect("a plan");
    store.compact(tasks, &compact).expect("it is compacted");
    let mut tiers = Tier::embedded();
    tiers.retain(|tier| tier.id == "usage-rollup");
    retention::apply(
        &store,
        &tiers,
        TEN + 5 * HOUR,
        |_| Ok(()),
        &WriteOptions::default(),
    )
    .await
    .expect("summed up");
    store
}

fn options() -> EraseOptions {
    EraseOptions {
        at: chrono::Utc::now().timestamp_micros(),
        grace: HOUR,
        tables: Vec::new(),
        dry_run: false,
        write: WriteOptions::default(),
    }
}

/// Sweeps as `compact` does, at some time after now.
fn sweep(store: &Store, after: i64) {
    let at = chrono::Utc::now().timestamp_micros() + after;
    store
        .sweep(&SweepOptions {
            at,
            ..SweepOptions::default()
        })
        .expect("it is swept");
}

const COUNTS: &str = "SELECT (SELECT count(*) FROM calls) AS a, (SELECT count(*) FROM content) AS b, \
     (SELECT count(*) FROM filters) AS c, (SELECT count(*) FROM findings) AS d, \
     (SELECT count(*) FROM evaluations) AS e, (SELECT count(*) FROM usage) AS f, \
     (SELECT count(*) FROM quarantine) AS g, \
     (SELECT count(*) FROM audit WHERE source_format = 'test') AS h";

/// Files below a folder whose name or bytes, decompressed where they are Parquet, have a word in them.
fn with_word(folder: &Path, word: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.expect("listed");
        let mut text = entry
            .path()
            .strip_prefix(folder)
            .expect("below")
            .to_string_lossy()
            .into_owned();
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path()).expect("read");
            text.push_str(&String::from_utf8_lossy(&bytes));
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "parquet")
            {
                let file = fs::File::open(entry.path()).expect("opened");
                let reader = ParquetRecordBatchReaderBuilder::try_new(file)
                    .expect("Parquet")
                    .build()
                    .expect("read");
                let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("rows")).collect();
                text.push_str(&pretty_format_batches(&batches).expect("text").to_string());
            }
        }
        if text.contains(word) {
            found.push(entry.into_path());
        }
    }
    found
}

#[tokio::test]
async fn after_the_grace_period_nothing_of_a_caller_is_in_any_byte() {
    let folder = TempDir::new().expect("a folder");
    let store = store_in(folder.path(), 52).await;
    let root = store.root().to_path_buf();
    assert_eq!(
        numbers(&store, COUNTS).await,
        [104, 104, 104, 2, 1, 2, 1, 2]
    );
    assert!(
        root.join("calls/_delta_log/00000000000000000050.checkpoint.parquet")
            .exists()
    );
    let before = with_word(&root, "user%2Falice").len() + with_word(&root, "alice").len();
    assert!(before > 10, "{before}");
    // A released hold names her as well.
    let hold = Hold {
        id: "old".into(),
        caller: Some(ALICE.into()),
        added: TEN,
        ..Hold::default()
    };
    store.add_hold(hold).expect("a hold");
    let refused =
        erase(&store, &Target::Caller(ALICE.into()), &options()).expect_err("she is held");
    assert!(
        refused.to_string().contains("legal hold `old`"),
        "{refused}"
    );
    assert_eq!(numbers(&store, COUNTS).await[0], 104);
    store
        .release_hold("old", TEN + HOUR, "settled")
        .expect("released");

    let dry = EraseOptions {
        dry_run: true,
        ..options()
    };
    let told = erase(&store, &Target::Caller(ALICE.into()), &dry).expect("told");
    assert_eq!(numbers(&store, COUNTS).await[0], 104);
    let receipt = erase(&store, &Target::Caller(ALICE.into()), &options()).expect("erased");
    assert_eq!(
        told.tables
            .iter()
            .map(|table| (&table.table, table.rows))
            .collect::<Vec<_>>(),
        receipt
            .tables
            .iter()
            .map(|table| (&table.table, table.rows))
            .collect::<Vec<_>>()
    );
    // What is the others' is all there, and of the window only what it said of both.
    assert_eq!(numbers(&store, COUNTS).await, [52, 52, 52, 1, 1, 1, 0, 1]);
    assert_eq!(
        numbers(
            &store,
            "SELECT sum(input_tokens), count(DISTINCT caller) FROM calls"
        )
        .await,
        [51 * 52 / 2, 1]
    );
    assert_eq!(
        numbers(
            &store,
            "SELECT count(*) FROM evaluations WHERE returned IS NULL"
        )
        .await,
        [1]
    );
    assert_eq!(
        numbers(
            &store,
            "SELECT count(*) FROM audit WHERE action_class = 'store.erase'"
        )
        .await,
        [1]
    );

    // Copies are left, and the receipt does not hide it.
    let proof = verify(&store, &receipt).expect("looked for");
    assert_eq!(proof.rows, []);
    assert!(!proof.holds() && !proof.files.is_empty());
    assert_eq!(proof.is_complete, Some(false));
    sweep(&store, 0);
    assert!(!verify(&store, &receipt).expect("looked for").holds());

    sweep(&store, 2 * HOUR);
    for word in ["alice", "quokka"] {
        assert_eq!(with_word(&root, word), Vec::<PathBuf>::new());
    }
    let proof = verify(&store, &receipt).expect("looked for");
    assert!(proof.holds(), "{proof:?}");
    assert_eq!(proof.is_complete, Some(true));
    // The store goes on: known sources are known, the log can be read, others' rows are there.
    for store in [store.clone(), Store::open(&root).expect("a store")] {
        assert_eq!(numbers(&store, COUNTS).await, [52, 52, 52, 1, 1, 1, 0, 1]);
        let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
        assert!(snapshot.transactions().contains_key("source-0"));
    }
    commit(&store, rows(100), "again");
    let report = store.verify(true).expect("it can be verified");
    assert_eq!(report.problems, []);
    // She is back, and the proof no longer holds.
    assert!(!verify(&store, &receipt).expect("looked for").holds());
}

#[tokio::test]
async fn an_end_user_goes_with_the_text_of_the_calls_and_a_predicate_with_what_it_names() {
    let folder = TempDir::new().expect("a folder");
    let store = store_in(folder.path(), 3).await;
    let receipt = erase(&store, &Target::EndUser("eve-17".into()), &options()).expect("erased");
    assert_eq!(
        receipt
            .tables
            .iter()
            .map(|table| (table.table.as_str(), table.rows))
            .collect::<Vec<_>>(),
        [("calls", 3), ("content", 3), ("filters", 3)]
    );
    sweep(&store, 2 * HOUR);
    for word in ["eve-17", "quokka"] {
        assert_eq!(with_word(store.root(), word), Vec::<PathBuf>::new());
    }
    assert!(verify(&store, &receipt).expect("looked for").holds());

    let target = Target::Where("input_tokens >= 1 AND caller LIKE '%bob'".into());
    let receipt = erase(&store, &target, &options()).expect("erased");
    assert_eq!(
        receipt
            .tables
            .iter()
            .map(|table| table.rows)
            .collect::<Vec<_>>(),
        [2, 2, 2]
    );
    assert_eq!(numbers(&store, COUNTS).await[..3], [1, 1, 1]);
    assert_eq!(
        numbers(
            &store,
            "SELECT count(*) FROM content WHERE text = 'wombat says 0'"
        )
        .await,
        [1]
    );
    // A hold on an end user covers the calls and their text.
    let hold = Hold {
        id: "h".into(),
        end_user: Some("mallory-3".into()),
        added: TEN,
        ..Hold::default()
    };
    store.add_hold(hold).expect("a hold");
    let refused = erase(
        &store,
        &Target::Where("caller IS NOT NULL".into()),
        &options(),
    );
    assert!(refused.is_err());
    let only_text = EraseOptions {
        tables: vec![Table::Content],
        ..options()
    };
    assert!(
        erase(
            &store,
            &Target::Where("text LIKE 'wombat%'".into()),
            &only_text
        )
        .is_err()
    );
    assert_eq!(numbers(&store, COUNTS).await[..3], [1, 1, 1]);
    for wrong in ["no_such_column = 1", "input_tokens + 1", "("] {
        assert!(
            erase(&store, &Target::Where(wrong.into()), &options()).is_err(),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn an_erasure_killed_at_any_moment_is_all_or_nothing_and_can_be_run_again() {
    const MOMENTS: usize = 12;
    let reference = TempDir::new().expect("a folder");
    store_in(reference.path(), 2).await;
    let copy = || {
        let folder = TempDir::new().expect("a folder");
        copy(reference.path(), folder.path());
        folder
    };
    let arguments = ["erase", "--caller", ALICE, "--grace", "1h"];
    let whole = copy();
    let before = files(whole.path()).len();
    assert_eq!(run(whole.path(), &arguments).0, 0);
    let more = files(whole.path()).len() - before;
    let mut killed = 0;
    for moment in 0..MOMENTS {
        let folder = copy();
        let wanted = before + more * moment / MOMENTS;
        killed += usize::from(command::killed(folder.path(), &arguments, wanted));
        let (code, _, told) = run(folder.path(), &arguments);
        assert_eq!(code, 0, "{told}");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        assert_eq!(
            numbers(&store, COUNTS).await,
            [2, 2, 2, 1, 1, 1, 0, 1],
            "killed at {moment}"
        );
        let report = store.verify(true).expect("it can be verified");
        assert_eq!(report.problems, []);
        // Also what the killed run had written and nobody named.
        sweep(&store, 48 * HOUR);
        assert_eq!(
            with_word(store.root(), "alice"),
            Vec::<PathBuf>::new(),
            "killed at {moment}"
        );
    }
    assert!(
        killed > MOMENTS / 2,
        "only {killed} were killed before they were over"
    );
}

#[tokio::test]
async fn the_receipt_on_the_command_line_is_honest() {
    let folder = TempDir::new().expect("a folder");
    store_in(folder.path(), 2).await;
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    let (code, _, told) = run(&["erase"]);
    assert_eq!((code, told.contains("--caller")), (2, true), "{told}");
    let (code, _, told) = run(&[
        "erase",
        "--caller",
        ALICE,
        "--receipt",
        "store/receipt.json",
    ]);
    assert_eq!(
        (code, told.contains("cannot be kept in the store")),
        (2, true),
        "{told}"
    );
    let (code, out, _) = run(&["erase", "--caller", "nobody", "--format", "table"]);
    assert_eq!((code, out.as_str()), (0, "nothing to erase\n"));
    let (code, out, told) = run(&[
        "erase",
        "--caller",
        ALICE,
        "--receipt",
        "receipt.json",
        "--format",
        "table",
    ]);
    assert_eq!(code, 0, "{told}");
    assert!(
        out.contains("Copies for queries that read them stay until"),
        "{out}"
    );
    let receipt: Receipt =
        serde_json::from_slice(&fs::read(folder.path().join("receipt.json")).expect("there"))
            .expect("a receipt");
    assert_eq!(receipt.subject, ALICE);
    let (code, out, _) = run(&["erase", "verify", "receipt.json", "--format", "table"]);
    assert_eq!(code, 1);
    assert!(out.contains("copies stay until"), "{out}");
    // It is not written over.
    let (code, _, _) = run(&["erase", "--caller", BOB, "--receipt", "receipt.json"]);
    assert_eq!(code, 2);
    let later = chrono::DateTime::from_timestamp_micros(receipt.last_copy_until)
        .expect("a time")
        .to_rfc3339();
    assert_eq!(run(&["compact", "--at", &later]).0, 0);
    let (code, out, _) = run(&["erase", "verify", "receipt.json", "--format", "table"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("nothing is left"), "{out}");
}

//! A damaged disk, a full one, a wrong clock: what is said, and what is done about it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use arrow::array::RecordBatch;
use inferwatch::schema::{Call, CallBuilder, Micros, Table};
use inferwatch::store::{Fault, Store, WriteOptions};
use tempfile::TempDir;

use crate::command::run;

/// 2026-03-02T10:00:00Z, from `date -u -d @1772445600`.
const TEN: i64 = 1_772_445_600_000_000;
const HOUR: i64 = 3_600_000_000;

fn calls(hour: i64, rows: i64) -> RecordBatch {
    let mut builder = CallBuilder::default();
    for number in 0..rows {
        builder.append(&Call {
            event_time: Micros(TEN + hour * HOUR),
            event_id: &format!("{hour}-{number}"),
            source_format: "test",
            caller: Some("a"),
            outcome: "success",
            ..Call::default()
        });
    }
    builder.finish()
}

/// Three hours with one, two and four rows.
fn store(folder: &TempDir) -> Store {
    let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
    for hour in 0..3 {
        let mut writer = store.writer(WriteOptions::default()).expect("a writer");
        writer
            .write(Table::Calls, calls(hour, 1 << hour))
            .expect("rows are taken");
        writer.commit(&[(hour.to_string(), 1)]).expect("a commit");
    }
    store
}

fn file_of(store: &Store, rows: i64) -> PathBuf {
    let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
    let file = snapshot
        .iter()
        .find(|file| file.rows() == rows)
        .expect("it is there");
    store.root().join("calls").join(file.path())
}

#[test]
fn files_that_are_gone_or_cut_are_found_and_taken_out_when_asked() {
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder);
    let (gone, cut) = (file_of(&store, 1), file_of(&store, 2));
    fs::remove_file(&gone).expect("gone");
    let bytes = fs::read(&cut).expect("read");
    fs::write(&cut, &bytes[..bytes.len() / 2]).expect("cut");
    let report = store.verify(false).expect("it can be verified");
    let mut faults: Vec<Fault> = report
        .problems
        .iter()
        .map(|problem| problem.fault)
        .collect();
    faults.sort_by_key(|fault| *fault as u8);
    assert_eq!(faults, [Fault::Missing, Fault::Damaged]);
    // It says what it would do, and does nothing.
    let before = fs::read(&cut).expect("read");
    let (code, out, _) = run(folder.path(), &["store", "repair", "--format", "table"]);
    assert_eq!(code, 1);
    assert!(out.contains("loses 3 rows"), "{out}");
    assert_eq!(fs::read(&cut).expect("read"), before);
    assert_eq!(store.snapshot(Table::Calls).expect("a snapshot").rows(), 7);
    // Compaction leaves the damaged hour alone, says so, and does the others.
    let (code, _, told) = run(folder.path(), &["compact", "--at", "2026-03-10"]);
    assert_eq!(code, 1);
    assert!(told.contains("not compacted"), "{told}");

    let (code, out, told) = run(
        folder.path(),
        &["store", "repair", "--apply", "--format", "table"],
    );
    assert_eq!(code, 0, "{told}");
    assert!(out.contains("3 rows are lost"), "{out}");
    let store = Store::open(store.root()).expect("a store");
    assert_eq!(store.snapshot(Table::Calls).expect("a snapshot").rows(), 4);
    assert_eq!(store.verify(true).expect("it can be verified").problems, []);
    let aside = fs::read_dir(store.root().join("damaged"))
        .expect("there")
        .count();
    assert_eq!(aside, 1, "what is damaged is kept");
    let (code, out, _) = run(
        folder.path(),
        &["sql", "--format", "csv", "SELECT count(*) AS n FROM calls"],
    );
    assert_eq!((out.as_str(), code), ("n\n4\n", 0));
    let (code, _, _) = run(folder.path(), &["store", "repair"]);
    assert_eq!(code, 0);
}

#[test]
fn a_commit_that_cannot_be_completed_is_given_up_when_asked() {
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder);
    fs::write(
        store.root().join("pending/torn.json"),
        "{\"transactions\":[",
    )
    .expect("written");
    assert!(
        store.writer(WriteOptions::default()).is_err(),
        "no other commit passes it over"
    );
    let report = store.verify(false).expect("it can be verified");
    assert_eq!(
        report
            .problems
            .iter()
            .map(|problem| problem.fault)
            .collect::<Vec<_>>(),
        [Fault::Pending]
    );
    let (code, _, told) = run(folder.path(), &["store", "repair", "--apply"]);
    assert_eq!(code, 0, "{told}");
    store.writer(WriteOptions::default()).expect("a writer");
    assert_eq!(store.snapshot(Table::Calls).expect("a snapshot").rows(), 7);
}

#[test]
fn a_gap_in_the_log_is_not_papered_over() {
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder);
    fs::remove_file(
        store
            .root()
            .join(format!("calls/_delta_log/{:020}.json", 2)),
    )
    .expect("gone");
    let (code, out, _) = run(
        folder.path(),
        &["store", "repair", "--apply", "--format", "table"],
    );
    assert_eq!(code, 1);
    assert!(out.contains("restore `_delta_log`"), "{out}");
    assert!(out.contains("nothing was done"), "{out}");
}

#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing_and_says_what_to_do() {
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder);
    let version = store.snapshot(Table::Calls).expect("a snapshot").version();
    let program = env!("CARGO_BIN_EXE_inferwatch");
    // No file may grow beyond a kilobyte or two, as on a disk that is full.
    let script = format!(
        "trap '' XFSZ; ulimit -f 2; exec '{program}' --no-config --store store compact --at 2026-03-10"
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path())
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("not compacted"), "{told}");
    let now = Store::open(store.root()).expect("a store");
    assert_eq!(
        now.snapshot(Table::Calls).expect("a snapshot").version(),
        version
    );
    assert_eq!(now.verify(true).expect("it can be verified").problems, []);
    // With room again it goes on, and removes what was left.
    let (code, _, told) = run(folder.path(), &["compact", "--at", "2026-03-10"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(now.snapshot(Table::Calls).expect("a snapshot").len(), 1);
}

#[test]
fn a_clock_that_has_jumped_expires_nothing() {
    let folder = TempDir::new().expect("a folder");
    let store = store(&folder);
    // As if it were long ago that anything was written: a file's time in the log is what it is compared with.
    let log = store
        .root()
        .join(format!("calls/_delta_log/{:020}.json", 1));
    for version in 1..=3 {
        let path = log.with_file_name(format!("{version:020}.json"));
        let text = fs::read_to_string(&path).expect("text");
        let lines = text.lines().map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            if let Some(time) = line.pointer_mut("/add/modificationTime") {
                *time = 1_700_000_000_000_i64.into();
            }
            format!("{line}\n")
        });
        fs::write(&path, lines.collect::<String>()).expect("written");
    }
    fs::remove_dir_all(store.root().join("calls/_inferwatch")).ok();
    let (code, _, told) = run(folder.path(), &["retention", "apply"]);
    assert_eq!(code, 2, "{told}");
    assert!(
        told.contains("is the clock right?") && told.contains("--at"),
        "{told}"
    );
    let (code, _, told) = run(
        folder.path(),
        &[
            "retention",
            "apply",
            "--tier",
            "calls-expire",
            "--at",
            "2027-01-01",
        ],
    );
    assert_eq!(code, 0, "{told}");
}

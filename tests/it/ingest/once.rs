//! Whatever is read again, grows, or was killed in the middle is in the store once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use inferwatch::schema::Table;
use inferwatch::store::Store;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use super::{MARKER, line, logs, query, sums};
use crate::ask::lines;
use crate::command::{program, run};
use crate::folder::entries;

#[test]
fn the_same_content_under_any_name_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    logs(folder, 2, 40);
    let ingest = ["ingest", "--content", "redacted", "logs"];
    assert_eq!(run(folder, &ingest).0, 0);
    let once = sums(folder);
    assert!(once.contains("calls,80,80,"), "{once}");
    fs::copy(folder.join("logs/0.jsonl"), folder.join("logs/copy.jsonl")).unwrap();
    let (code, _, told) = run(folder, &ingest);
    assert_eq!(code, 0);
    assert!(
        told.contains("3  files whose content the store has already"),
        "{told}"
    );
    assert_eq!(sums(folder), once);
}

#[test]
fn a_growing_file_is_read_on_from_where_it_ended() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let whole: String = (0..30).map(line).collect();
    let log = folder.join("live.jsonl");
    let cut = whole.len() / 2;
    fs::write(&log, &whole[..cut]).unwrap();
    let (code, _, told) = run(folder, &["ingest", "live.jsonl"]);
    assert_eq!(code, 0);
    assert!(told.contains("pending"), "{told}");
    fs::write(&log, &whole).unwrap();
    assert_eq!(run(folder, &["ingest", "live.jsonl"]).0, 0);
    let count = "SELECT count(*) AS n, count(DISTINCT request_id) AS ids FROM calls";
    assert_eq!(query(folder, count), "n,ids\n30,30\n");
}

#[test]
fn text_can_be_added_later_without_a_second_row_of_metadata() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    logs(folder, 1, 10);
    assert_eq!(run(folder, &["ingest", "logs"]).0, 0);
    assert_eq!(
        run(folder, &["ingest", "--content", "redacted", "logs"]).0,
        0
    );
    let counts =
        "SELECT (SELECT count(*) FROM calls) AS calls, (SELECT count(*) FROM content) AS parts";
    assert_eq!(query(folder, counts), "calls,parts\n10,20\n");
}

#[test]
fn a_run_killed_at_any_moment_and_run_again_is_as_if_run_once() {
    const MOMENTS: usize = 50;
    let input = |folder: &Path| {
        fs::create_dir_all(folder.join("logs")).unwrap();
        for file in 0..2 {
            // Two hours of three callers each: six partitions in two tables, and one of what cannot be read.
            let lines = (0..12).map(|n| line(168 * (2 * file + n / 6) + 24 * (n / 2 % 3) + n % 2));
            let text = lines.collect::<String>() + &format!("{{\"{MARKER}\": broken\n");
            fs::write(folder.join(format!("logs/{file}.jsonl")), text).unwrap();
        }
    };
    let ingest = ["ingest", "--content", "redacted", "logs"];
    let reference = TempDir::new().unwrap();
    input(reference.path());
    let (code, _, told) = run(reference.path(), &ingest);
    assert_eq!(code, 0, "the clean run said: {told}");
    let once = records(reference.path());
    let counts = |table: Table| once.iter().filter(|(of, _)| *of == table).count();
    let tables = [Table::Calls, Table::Content, Table::Quarantine];
    assert_eq!(tables.map(counts), [24, 48, 2], "{once:#?}");
    let whole = entries(reference.path());

    // A moment is a number of files and folders in the store, from none to all that a whole run leaves there. Nothing
    // depends on how long anything takes: a run that was over before it could be killed is tried again, to be killed
    // when half as much is there.
    let next = AtomicUsize::new(0);
    let kills = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(moment) = Some(next.fetch_add(1, Ordering::Relaxed))
                    && moment < MOMENTS
                {
                    let mut wanted = whole * moment / MOMENTS;
                    let (killed, found) = loop {
                        let folder = TempDir::new().unwrap();
                        input(folder.path());
                        match killed_with(folder.path(), &ingest, wanted) {
                            Some(found) => break (folder, found),
                            None if wanted > 0 => wanted /= 2,
                            None => panic!("a run was over before it could be killed at all"),
                        }
                    };
                    let what = format!(
                        "killed when {wanted} files and folders were asked for, and {found} of {whole} there"
                    );
                    let (code, _, told) = run(killed.path(), &ingest);
                    assert_eq!(code, 0, "{what}; run again, it said: {told}");
                    let differ = difference(&once, &records(killed.path()));
                    assert!(differ.is_empty(), "{what}; run again: {told}\n{differ:#?}");
                    let store = Store::open(&killed.path().join("store")).expect(&what);
                    let report = store.verify(false).expect(&what);
                    assert!(report.problems.is_empty(), "{what}: {:?}", report.problems);
                    kills.lock().unwrap().push(found);
                }
            });
        }
    });
    let mut kills = kills.into_inner().unwrap();
    kills.sort_unstable();
    assert_eq!(kills.len(), MOMENTS, "{kills:?}");
    // How much was there when they were killed. Were it mostly the same, most moments would not have been tested.
    let mut stages = kills.clone();
    stages.dedup();
    assert!(stages.len() > 10, "of {whole} were there: {kills:?}");
    let is_midway = |found: &&usize| (whole / 10..whole).contains(*found);
    let midway = kills.iter().filter(is_midway).count();
    assert!(midway >= MOMENTS / 2, "of {whole} were there: {kills:?}");
}

/// The records that are in one more often than in the other, and how much more often in the second.
fn difference(
    first: &[(Table, String)],
    second: &[(Table, String)],
) -> BTreeMap<(Table, String), i64> {
    let mut counts = BTreeMap::new();
    for (records, one) in [(first, -1), (second, 1)] {
        for record in records {
            *counts.entry(record.clone()).or_default() += one;
        }
    }
    counts.retain(|_, count| *count != 0);
    counts
}

/// Runs the program until its store has so many files and folders, and kills it: how many there were then, or `None`
/// when it was over before.
fn killed_with(folder: &Path, arguments: &[&str], wanted: usize) -> Option<usize> {
    let mut child = program(folder, arguments)
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    while entries(folder) < wanted && child.try_wait().expect("it is ours").is_none() {
        std::thread::yield_now();
    }
    child.kill().expect("it is ours");
    let status = child.wait().expect("it ended");
    status.code().is_none().then(|| entries(folder))
}

/// What was read from the logs, record by record, as the files of the store have it. Ids are left out: their key is the
/// store's own.
fn records(folder: &Path) -> Vec<(Table, String)> {
    let columns = [
        "event_time",
        "request_id",
        "caller",
        "input_tokens",
        "text",
        "line",
        "source_file",
        "source_offset",
    ];
    let store = Store::open(&folder.join("store")).expect("a store");
    let mut records = Vec::new();
    for table in [Table::Calls, Table::Content, Table::Quarantine] {
        for entry in store.snapshot(table).expect("a snapshot").iter() {
            let path = store.root().join(table.name()).join(entry.path());
            let file = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap());
            let file = file.expect("a Parquet file");
            let wanted = ProjectionMask::columns(file.parquet_schema(), columns);
            for batch in file.with_projection(wanted).build().expect("it is read") {
                let batch = batch.expect("rows");
                records.extend(lines(&batch).into_iter().map(|line| (table, line)));
            }
        }
    }
    records.sort_unstable();
    records
}

#[test]
fn a_damaged_archive_is_told_and_what_came_before_is_kept() {
    use std::io::Write as _;
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let text: String = (0..3_000).map(line).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    fs::write(folder.join("cut.json.gz"), &whole[..whole.len() / 2]).unwrap();
    let (code, _, told) = run(folder, &["ingest", "cut.json.gz"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("failed      `cut.json.gz`"), "{told}");
    // Delivered again whole, it is read on.
    fs::write(folder.join("cut.json.gz"), &whole).unwrap();
    assert_eq!(run(folder, &["ingest", "cut.json.gz"]).0, 0);
    let count = "SELECT count(*) AS n, count(DISTINCT request_id) AS ids FROM calls";
    assert_eq!(query(folder, count), "n,ids\n3000,3000\n");
}

/// Of a table that is cut the rows that were kept are known when it comes whole, also where another file made the commit.
#[test]
fn a_damaged_archive_of_a_table_gives_no_row_twice() {
    use std::io::Write as _;
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let mut table = "time,model,request_id\n".to_owned();
    for number in 0..100_000 {
        table += &format!("2026-03-02T09:15:04Z,m,request-number-{number:06}-of-a-table\n");
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(table.as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    fs::write(folder.join("cut.csv.gz"), &whole[..whole.len() / 4 * 3]).unwrap();
    fs::write(folder.join("other.jsonl"), line(1)).unwrap();
    let (code, _, told) = run(folder, &["ingest", "cut.csv.gz", "other.jsonl"]);
    assert_eq!(code, 1, "{told}");
    let kept = "SELECT count(*) > 10000 AND count(*) < 99999 AS kept FROM calls WHERE source_file = 'cut.csv.gz'";
    assert_eq!(query(folder, kept), "kept\ntrue\n");
    fs::write(folder.join("cut.csv.gz"), &whole).unwrap();
    assert_eq!(run(folder, &["ingest", "cut.csv.gz"]).0, 0);
    let count = "SELECT count(*) AS n, count(DISTINCT request_id) AS ids FROM calls WHERE source_file = 'cut.csv.gz'";
    assert_eq!(query(folder, count), "n,ids\n100000,100000\n");
}

//! Texts: nowhere when none are kept, and else in their column alone.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{MARKER, logs, query};
use crate::command::run;

/// What is no place for a text, whatever is kept.
const WITHOUT_TEXT: [&str; 7] = [
    "calls",
    "filters",
    "audit",
    "quarantine",
    "files",
    "partitions",
    "ingests",
];

#[test]
fn no_byte_of_a_prompt_is_in_a_store_that_keeps_no_text() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    logs(folder, 1, 20);
    assert_eq!(run(folder, &["ingest", "logs"]).0, 0);
    for entry in walkdir::WalkDir::new(folder.join("store")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            let found = bytes
                .windows(MARKER.len())
                .any(|window| window == MARKER.as_bytes());
            assert!(!found, "{}", entry.path().display());
        }
    }
    // Pages are compressed, so every value of every table is looked at as well.
    for table in ["content"].iter().chain(&WITHOUT_TEXT) {
        let rows = query(folder, &format!("SELECT * FROM {table}"));
        assert!(!rows.contains(MARKER), "{table}");
    }
}

#[test]
fn kept_text_is_in_the_text_column_of_content_and_nowhere_else() {
    for mode in ["redacted", "raw"] {
        let folder = TempDir::new().unwrap();
        let folder = folder.path();
        logs(folder, 1, 20);
        assert_eq!(run(folder, &["ingest", "--content", mode, "logs"]).0, 0);
        let kept = query(
            folder,
            "SELECT count(*) AS parts FROM content WHERE text LIKE '%xyzzyquokka%'",
        );
        assert_eq!(kept, "parts\n40\n", "{mode}");
        let rows = query(folder, "SELECT * EXCEPT (text) FROM content");
        assert!(!rows.contains(MARKER), "{mode}: {rows}");
        for table in WITHOUT_TEXT {
            let rows = query(folder, &format!("SELECT * FROM {table}"));
            assert!(!rows.contains(MARKER), "{mode}: {table}");
        }
        let marked = |bytes: &[u8]| memchr::memmem::find(bytes, MARKER.as_bytes()).is_some();
        for entry in walkdir::WalkDir::new(folder.join("store")) {
            let entry = entry.unwrap();
            let path = entry.path().strip_prefix(folder).unwrap();
            assert!(
                !marked(path.as_os_str().as_encoded_bytes()),
                "{}",
                path.display()
            );
            if !entry.file_type().is_file() {
                continue;
            }
            let bytes = fs::read(entry.path()).unwrap();
            let is_content = path.starts_with("store/content")
                && path.extension().is_some_and(|is| is == "parquet");
            let beside_pages = if is_content {
                &bytes[end_of_pages(entry.path())..]
            } else {
                &bytes[..]
            };
            assert!(!marked(beside_pages), "{mode}: {}", path.display());
        }
    }
}

/// Where the pages of a Parquet file end, and its indexes and footer begin.
fn end_of_pages(path: &Path) -> usize {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let ends = reader.metadata().row_groups().iter().flat_map(|group| {
        group.columns().iter().map(|column| {
            let (start, length) = column.byte_range();
            usize::try_from(start + length).unwrap()
        })
    });
    ends.max().expect("a file has columns")
}

#[test]
fn redacted_text_holds_no_address() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    logs(folder, 1, 5);
    assert_eq!(
        run(folder, &["ingest", "--content", "redacted", "logs"]).0,
        0
    );
    let text = query(
        folder,
        "SELECT text FROM content WHERE direction = 'input' ORDER BY text LIMIT 1",
    );
    assert_eq!(text, format!("text\n\"{MARKER} question 0, [EMAIL]\"\n"));
    let rows = query(folder, "SELECT * FROM content") + &query(folder, "SELECT * FROM calls");
    assert!(!rows.contains("ada@example.org"));
}

//! Secrecy: no text outside the pages of its table, and no file that others than the owner may read.

use std::path::{Path, PathBuf};

use inferwatch::schema::Table;
use inferwatch::store::{Store, WriteOptions};

use super::{assert_sound, files_below, marked, number, open, transactions};

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

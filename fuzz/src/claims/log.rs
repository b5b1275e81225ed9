//! The log of a table: whatever its commits say, it is read or refused, and both ways to read it come to the same.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use inferwatch::schema::Table;
use inferwatch::store::{Store, TableSnapshot, WriteOptions};
use tempfile::TempDir;

/// What ends a commit within an input.
const BETWEEN: &[u8] = b"\n====\n";

/// A store with an empty table, made once.
static BEGUN: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    let mark = [("begun".to_owned(), 1)];
    writer.commit(&mark).expect("an empty commit");
    folder
});

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("is copied")),
        }
    }
}

fn summary(snapshot: &TableSnapshot) -> (Option<u64>, Vec<String>, Vec<(String, i64)>) {
    let mut files: Vec<String> = snapshot
        .iter()
        .map(|file| {
            format!(
                "{} {} {} {} {:?} {:?}",
                file.path(),
                file.size(),
                file.rows(),
                file.modified(),
                file.partition(),
                file.time_range()
            )
        })
        .collect();
    files.sort();
    let transactions = snapshot.transactions().iter();
    let mut transactions: Vec<_> = transactions
        .map(|(id, version)| (id.clone(), *version))
        .collect();
    transactions.sort();
    (snapshot.version(), files, transactions)
}

/// Commits after the first, one behind the other; a part that begins with `_` is the pointer to the last checkpoint.
pub(super) fn delta_log(data: &[u8]) {
    let folder = TempDir::new().expect("a folder");
    let root = folder.path().join("store");
    copy(&BEGUN.path().join("store"), &root);
    let log = root.join("calls/_delta_log");
    let follower = Store::open(&root).expect("a store");
    let begun = follower.snapshot(Table::Calls).expect("an empty table");
    let mut version = begun.version().expect("a version");

    let mut rest = data;
    while !rest.is_empty() {
        let end = rest
            .windows(BETWEEN.len())
            .position(|window| window == BETWEEN);
        let part = &rest[..end.unwrap_or(rest.len())];
        rest = &rest[end.map_or(rest.len(), |end| end + BETWEEN.len())..];
        let name = match part.strip_prefix(b"_") {
            Some(_) => "_last_checkpoint".to_owned(),
            None => {
                version += 1;
                format!("{version:020}.json")
            }
        };
        let part = part.strip_prefix(b"_").unwrap_or(part);
        fs::write(log.join(name), part).expect("is written");
    }

    let followed = follower.snapshot(Table::Calls);
    // And from the start, with nothing that was remembered.
    let _ = fs::remove_dir_all(root.join("calls/_inferwatch"));
    let replayed = Store::open(&root).expect("a store").snapshot(Table::Calls);
    if let (Ok(followed), Ok(replayed)) = (&followed, &replayed) {
        assert_eq!(summary(followed), summary(replayed));
    }
}

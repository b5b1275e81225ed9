//! The commits after a known version, read without replaying the log.
//!
//! Commits that add and remove files and set transactions, which are all that this program makes, are a few lines of
//! JSON each. Anything else in one, such as a new schema, and the whole is left to the kernel.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::data_file::DataFile;
use crate::store::layout::{self, Partition};
use crate::store::log::commit_path;
use crate::store::snapshot::{TableSnapshot, log_statistics};

/// One line of a commit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    add: Option<Add>,
    remove: Option<Remove>,
    txn: Option<Transaction>,
    #[serde(rename = "commitInfo")]
    _commit_info: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Add {
    path: String,
    partition_values: HashMap<String, Option<String>>,
    size: i64,
    modification_time: i64,
    stats: Option<String>,
    deletion_vector: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remove {
    path: String,
    deletion_vector: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    app_id: String,
    version: i64,
}

/// The newest version, from `base` on; `None` when that needs the kernel.
pub(super) fn follow(base: &TableSnapshot, table_folder: &Path) -> Result<Option<TableSnapshot>> {
    let Some(mut version) = base.version() else {
        return Ok(None);
    };
    let mut added: Vec<DataFile> = Vec::new();
    let mut removed: HashSet<String> = HashSet::new();
    let mut transactions = HashMap::new();
    loop {
        let path = commit_path(table_folder, version + 1);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        if is_torn(&text) {
            return Ok(None);
        }
        // What one commit says twice of a file or an application has no order that all readers agree on.
        let mut said = HashSet::new();
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let Ok(line) = serde_json::from_slice::<Line>(line) else {
                return Ok(None);
            };
            if let Some(remove) = line.remove {
                let Some(path) =
                    layout::disk_path(&remove.path).filter(|_| remove.deletion_vector.is_none())
                else {
                    return Ok(None);
                };
                if !said.insert(path.clone()) {
                    return Ok(None);
                }
                added.retain(|file| file.path != path);
                removed.insert(path);
            }
            if let Some(add) = line.add {
                let Some(file) =
                    data_file(base.table(), add).filter(|file| said.insert(file.path.clone()))
                else {
                    return Ok(None);
                };
                added.push(file);
            }
            if let Some(transaction) = line.txn {
                if !said.insert(format!("txn:{}", transaction.app_id)) {
                    return Ok(None);
                }
                transactions.insert(transaction.app_id, transaction.version);
            }
        }
        version += 1;
    }
    // Old commits are cleaned up, oldest first: only while the last that was read is there has the next never been.
    if !commit_path(table_folder, version).exists() {
        return Ok(None);
    }
    // A file may be added again, with other statistics.
    let mut seen = HashSet::new();
    added.reverse();
    added.retain(|file| seen.insert(file.path.clone()));
    added.reverse();
    removed.extend(seen);
    let removed: Vec<String> = removed.into_iter().collect();
    base.apply(version, &added, &removed, transactions)
        .map(Some)
}

fn data_file(table: Table, mut add: Add) -> Option<DataFile> {
    if add.deletion_vector.is_some() {
        return None;
    }
    let (rows, statistics) = log_statistics::from_json(table, add.stats.as_deref());
    let mut value = |column: &str| add.partition_values.remove(column).flatten();
    Some(DataFile {
        path: layout::disk_path(&add.path)?,
        size: add.size,
        rows: rows?,
        modified: add.modification_time,
        partition: Partition {
            period: value("period").unwrap_or_default(),
            model: value("partition_model"),
            caller: value("partition_caller"),
        },
        statistics,
    })
}

/// Whether a commit's file is what a crash leaves of one that nobody was told of: empty, or cut off.
pub(super) fn is_torn(text: &[u8]) -> bool {
    let mut lines = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .peekable();
    if lines.peek().is_none() {
        return true;
    }
    while let Some(line) = lines.next() {
        let whole = serde_json::from_slice::<IgnoredAny>(line).is_ok();
        // Only the last line can be cut. Blocks that never reached the disk read as zeros.
        if !whole {
            return lines.peek().is_none() || line.contains(&0);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::log::log_folder;
    use crate::store::snapshot::{encode, transaction_columns};

    const ADD: &str = r#"{"add":{"path":"a","partitionValues":{},"size":1,"modificationTime":1,"stats":"{\"numRecords\":1}"}}"#;
    const REMOVE: &str = r#"{"remove":{"path":"a"}}"#;
    const ONE: &str = r#"{"txn":{"appId":"x","version":1}}"#;
    const TWO: &str = r#"{"txn":{"appId":"x","version":2}}"#;

    /// How many files there are after commits of these lines; `None` where that is for the kernel to say.
    fn files(commits: &[&[&str]]) -> Option<usize> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(log_folder(folder.path())).unwrap();
        let nothing = encode(Table::Calls, &[]).unwrap();
        let transactions = transaction_columns(&HashMap::new()).unwrap();
        let base = TableSnapshot::new(Table::Calls, 0, nothing, transactions);
        std::fs::write(commit_path(folder.path(), 0), "").unwrap();
        for (lines, version) in commits.iter().zip(1..) {
            std::fs::write(commit_path(folder.path(), version), lines.join("\n")).unwrap();
        }
        let followed = follow(&base, folder.path()).unwrap()?;
        Some(followed.len())
    }

    #[test]
    fn what_a_commit_says_twice_is_left_to_the_kernel() {
        assert_eq!(files(&[&[ADD, ONE], &[REMOVE, TWO], &[ADD]]), Some(1));
        assert_eq!(files(&[&[ADD], &[ADD]]), Some(1));
        assert_eq!(files(&[&[ADD], &[REMOVE]]), Some(0));
        for twice in [[ADD, REMOVE], [REMOVE, ADD], [ADD, ADD], [ONE, TWO]] {
            assert_eq!(files(&[&[ADD], &twice]), None, "{twice:?}");
        }
    }

    #[test]
    fn only_a_cut_end_is_torn() {
        assert!(is_torn(b""));
        assert!(is_torn(b"\n"));
        assert!(is_torn(b"{\"commitInfo\":{}}\n{\"add\":{\"path\":\"a"));
        assert!(is_torn(b"{\"commitInfo\":{}}\n\0\0\0\0"));
        assert!(!is_torn(b"{\"commitInfo\":{}}\n{\"add\":{}}\n"));
        assert!(!is_torn(b"{\"commitInfo\":{}}\ngarbage\n{\"add\":{}}\n"));
    }
}

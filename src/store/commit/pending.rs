//! Commits that have begun: written down before, and completed by whoever writes next.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::locking::lock;
use super::{PATIENCE, TableChange, commit_table};
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::Store;
use crate::store::data_file::DataFile;
use crate::store::disk::{self, Access};
use crate::store::log::Operation;
use crate::store::snapshot::TableSnapshot;

/// A commit that has begun.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    transactions: Vec<(String, i64)>,
    tables: Vec<PendingTable>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PendingTable {
    table: String,
    added: Vec<DataFile>,
    removed: Vec<String>,
    operation: Operation,
}

pub(super) fn write_pending(
    store: &Store,
    changes: &[TableChange],
    transactions: &[(String, i64)],
) -> Result<PathBuf> {
    let pending = Pending {
        transactions: transactions.to_vec(),
        tables: changes
            .iter()
            .map(|change| PendingTable {
                table: change.table.name().to_owned(),
                added: change.added.clone(),
                removed: change.removed.clone(),
                operation: change.operation,
            })
            .collect(),
    };
    let bytes = serde_json::to_vec(&pending).map_err(|error| Error::Store {
        message: format!("pending commit: {error}"),
        hint: None,
    })?;
    let path = store
        .pending_folder()
        .join(format!("{}.json", disk::random_name()?));
    disk::write_new(&path, &bytes, Access::Private)?;
    Ok(path)
}

/// Pending commits that cannot be completed, and why.
pub(in crate::store) fn pending_problems(store: &Store) -> Result<Vec<(Table, PathBuf, String)>> {
    let folder = store.pending_folder();
    let mut problems = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
        let path = entry.map_err(Error::io("list", &folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        let pending: Pending = match serde_json::from_slice(&bytes) {
            Ok(pending) => pending,
            Err(error) => {
                let message = format!("a commit that was begun cannot be read: {error}");
                problems.push((Table::Calls, path, message));
                continue;
            }
        };
        let lost = pending.tables.iter().find_map(|of| {
            let table = Table::from_name(&of.table)?;
            let folder = store.table_folder(table);
            let file = of
                .added
                .iter()
                .find(|file| !folder.join(&file.path).is_file())?;
            Some((table, folder.join(&file.path)))
        });
        if let Some((table, file)) = lost {
            let message = format!(
                "a commit that was begun lacks its file `{}`",
                file.display()
            );
            problems.push((table, path, message));
        }
    }
    Ok(problems)
}

/// Files of a table that a pending commit names.
pub(in crate::store) fn pending_files(store: &Store, table: Table) -> Result<HashSet<String>> {
    let folder = store.pending_folder();
    let mut files = HashSet::new();
    for entry in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
        let path = entry.map_err(Error::io("list", &folder))?.path();
        // One that cannot be read names who knows what: then nothing is safe to say.
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let pending: Pending = serde_json::from_slice(&bytes).map_err(|error| Error::Store {
            message: format!("pending commit `{}`: {error}", path.display()),
            hint: Some("`inferwatch store repair` says what can be done".into()),
        })?;
        let of_table = pending
            .tables
            .into_iter()
            .filter(|of| of.table == table.name());
        files.extend(of_table.flat_map(|of| of.added).map(|file| file.path));
    }
    Ok(files)
}

/// Completes what a crash has left pending, if anything is. Whoever decides by what the tables hold what is left to do
/// calls this first: one of them may be a commit behind the others.
pub(crate) fn complete(store: &Store) -> Result<()> {
    let folder = store.pending_folder();
    let mut entries = std::fs::read_dir(&folder).map_err(Error::io("list", &folder))?;
    if entries.next().is_none() {
        return Ok(());
    }
    // It may also be of a commit that is under way; then it is gone when the lock is free.
    let _lock = lock(&store.lock_path("commit"), PATIENCE)?;
    complete_pending(store)
}

/// As [`complete`]. The caller holds the lock, so nobody is at it.
pub(super) fn complete_pending(store: &Store) -> Result<()> {
    let folder = store.pending_folder();
    disk::remove_temporary(&folder)?;
    let entries = std::fs::read_dir(&folder).map_err(Error::io("list", &folder))?;
    for entry in entries {
        let path = entry.map_err(Error::io("list", &folder))?.path();
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let damaged = |what: String| Error::Store {
            message: format!("pending commit `{}`: {what}", path.display()),
            hint: Some(
                "remove the file to give that commit up, then ingest its sources again".into(),
            ),
        };
        let pending: Pending =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        for table in pending.tables {
            let change = TableChange {
                table: Table::from_name(&table.table)
                    .ok_or_else(|| damaged(format!("no table is called `{}`", table.table)))?,
                added: table.added,
                removed: table.removed,
                operation: table.operation,
            };
            if !is_applied(
                &*store.refresh(change.table)?,
                &change,
                &pending.transactions,
            ) {
                for file in &change.added {
                    let data = store.table_folder(change.table).join(&file.path);
                    if !data.is_file() {
                        return Err(damaged(format!("its file `{}` is gone", data.display())));
                    }
                }
                commit_table(store, &change, &pending.transactions)?;
            }
        }
        disk::remove_file(&path).map_err(Error::io("remove", &path))?;
        disk::sync_folder(&folder)?;
    }
    Ok(())
}

/// Whether a change is in the table already.
fn is_applied(
    snapshot: &TableSnapshot,
    change: &TableChange,
    transactions: &[(String, i64)],
) -> bool {
    if let Some(file) = change.added.first() {
        return snapshot.iter().any(|known| known.path() == file.path);
    }
    if let Some(removed) = change.removed.first() {
        return snapshot.iter().all(|known| known.path() != removed);
    }
    let known = snapshot.transactions();
    transactions
        .iter()
        .all(|(application, version)| known.get(application).is_some_and(|at| at >= version))
}

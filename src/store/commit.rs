//! Commits to several tables that take effect as one.
//!
//! Delta has no transaction over two tables. So what a commit will do is written down first, as a *pending* file in
//! the store; then table after table is committed; then the pending file goes. Whoever writes next completes what a
//! crash left pending, before anything else. Commits of one store follow one another under a lock that is held for
//! the commit alone, not while rows are sorted and written.

mod locking;
mod pending;

use std::collections::HashSet;
use std::time::Duration;

pub(crate) use locking::{lock, lock_shared};
pub(crate) use pending::complete;
pub(super) use pending::{pending_files, pending_problems};

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::data_file::DataFile;
use crate::store::disk;
use crate::store::log::{Change, Committed, Operation, log_folder};
use crate::store::snapshot::TableSnapshot;
use crate::store::{CHECKPOINT_INTERVAL, Store};
use pending::{complete_pending, write_pending};

/// What to do to one table.
#[derive(Debug, Clone)]
pub(crate) struct TableChange {
    pub(crate) table: Table,
    pub(crate) added: Vec<DataFile>,
    /// Paths on disk below the table's folder.
    pub(crate) removed: Vec<String>,
    pub(crate) operation: Operation,
}

/// What was done to one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableCommit {
    /// The table.
    pub table: Table,
    /// The version of it that has the rows.
    pub version: u64,
    /// Rows that were added.
    pub rows: u64,
    /// Files that were added.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Whether this commit did it, or an earlier one with the same transactions.
    pub outcome: Outcome,
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// This commit.
    Committed,
    /// An earlier one: nothing was changed.
    AlreadyCommitted,
}

/// How long to wait for another commit, which takes seconds at most.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
/// Another program may write to a table too; then the commit is tried again on top of what it did.
const ATTEMPTS: usize = 20;

/// Commits the changes if `still` finds the store as it was when they were decided on, while nobody else commits. The
/// transactions are notes of maintenance, that neither grow nor stand for rows.
pub(crate) fn commit_if(
    store: &Store,
    changes: &[TableChange],
    transactions: &[(String, i64)],
    still: impl FnOnce() -> Result<()>,
) -> Result<Vec<TableCommit>> {
    let _lock = lock(&store.lock_path("commit"), PATIENCE)?;
    complete_pending(store)?;
    still()?;
    commit_all(store, changes, transactions)
}

/// Commits the changes. See [`super::StoreWriter::commit_to`].
pub(crate) fn commit(
    store: &Store,
    anchor: Table,
    changes: Vec<TableChange>,
    transactions: &[(String, i64)],
) -> Result<Vec<TableCommit>> {
    let _lock = lock(&store.lock_path("commit"), PATIENCE)?;
    complete_pending(store)?;
    if already_committed(&*store.snapshot(anchor)?, transactions)? {
        return changes
            .iter()
            .map(|change| discard(store, change))
            .collect();
    }
    commit_all(store, &changes, transactions)
}

fn commit_all(
    store: &Store,
    changes: &[TableChange],
    transactions: &[(String, i64)],
) -> Result<Vec<TableCommit>> {
    for change in changes {
        are_live(store, change)?;
    }
    let pending = if changes.len() > 1 {
        Some(write_pending(store, changes, transactions)?)
    } else {
        None
    };
    let commits = changes
        .iter()
        .map(|change| commit_table(store, change, transactions))
        .collect::<Result<Vec<_>>>()?;
    if let Some(path) = pending {
        disk::remove_file(&path).map_err(Error::io("remove", &path))?;
        disk::sync_parent(&path)?;
    }
    Ok(commits)
}

/// What a change removes must be there, before anything of it is committed.
fn are_live(store: &Store, change: &TableChange) -> Result<()> {
    if change.removed.is_empty() {
        return Ok(());
    }
    let snapshot = store.refresh(change.table)?;
    let live: HashSet<&str> = snapshot.iter().map(|file| file.path()).collect();
    match change
        .removed
        .iter()
        .find(|path| !live.contains(path.as_str()))
    {
        None => Ok(()),
        Some(path) => Err(Error::Moved {
            message: format!(
                "table `{}` no longer has the file `{path}`: somebody else has rewritten or removed it",
                change.table.name()
            ),
        }),
    }
}

/// Whether every application is at its version or beyond.
fn already_committed(snapshot: &TableSnapshot, transactions: &[(String, i64)]) -> Result<bool> {
    let known = snapshot.transactions();
    let done = |(application, version): &&(String, i64)| {
        known.get(application).is_some_and(|at| at >= version)
    };
    let count = transactions.iter().filter(done).count();
    if count > 0 && count < transactions.len() {
        let first = transactions
            .iter()
            .find(done)
            .map(|(application, _)| application.as_str());
        return Err(Error::Store {
            message: format!(
                "{count} of {} sources were committed by somebody else meanwhile, as `{}`",
                transactions.len(),
                first.unwrap_or_default()
            ),
            hint: Some("run again: what is in the store already is skipped".into()),
        });
    }
    Ok(count > 0)
}

/// Removes the files of a change that is not needed: nobody has seen them.
fn discard(store: &Store, change: &TableChange) -> Result<TableCommit> {
    let folder = store.table_folder(change.table);
    for file in &change.added {
        let path = folder.join(&file.path);
        disk::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(TableCommit {
        table: change.table,
        version: store.snapshot(change.table)?.version().unwrap_or_default(),
        rows: 0,
        files: 0,
        bytes: 0,
        outcome: Outcome::AlreadyCommitted,
    })
}

fn commit_table(
    store: &Store,
    change: &TableChange,
    transactions: &[(String, i64)],
) -> Result<TableCommit> {
    let log = store.log(change.table);
    log.create()?;
    for _ in 0..ATTEMPTS {
        let base = store.refresh(change.table)?;
        let outcome = log.commit(
            &base,
            Change {
                added: &change.added,
                removed: &change.removed,
                transactions,
                operation: change.operation,
            },
        )?;
        let Committed::At(version) = outcome else {
            continue;
        };
        let next = base.apply(
            version,
            &change.added,
            &change.removed,
            transactions.iter().cloned(),
        )?;
        store.remember(next);
        if version > 0
            && version % CHECKPOINT_INTERVAL == 0
            && let Err(error) = log.checkpoint().and_then(|()| {
                disk::remove_temporary(&log_folder(&store.table_folder(change.table)))
            })
        {
            // The commit stands all the same, and the next checkpoint will do.
            store.warn(format!(
                "table `{}`: no checkpoint at version {version}: {error}",
                change.table.name()
            ));
        }
        return Ok(TableCommit {
            table: change.table,
            version,
            rows: change
                .added
                .iter()
                .map(|file| file.rows.unsigned_abs())
                .sum(),
            files: change.added.len(),
            bytes: change
                .added
                .iter()
                .map(|file| file.size.unsigned_abs())
                .sum(),
            outcome: Outcome::Committed,
        });
    }
    Err(Error::Store {
        message: format!(
            "table `{}` is written to by another program all the time",
            change.table.name()
        ),
        hint: Some("stop it, then run again: the rows are safe and will be committed first".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Call, CallBuilder, Finding, FindingBuilder, Micros};
    use crate::store::{Partition, StoreWriter, WriteOptions};

    /// Two tables' files, written but not committed.
    fn changes(store: &Store) -> Vec<TableChange> {
        let mut calls = CallBuilder::default();
        calls.append(&Call {
            event_time: Micros(0),
            caller: Some("a"),
            ..Call::default()
        });
        let mut findings = FindingBuilder::default();
        findings.append(&Finding {
            window_end: Micros(0),
            ..Finding::default()
        });
        let mut writer: StoreWriter = store.writer(WriteOptions::default()).expect("a writer");
        writer
            .write(Table::Calls, calls.finish())
            .expect("rows are taken");
        writer
            .write(Table::Findings, findings.finish())
            .expect("rows are taken");
        writer.stage(Table::Calls).expect("files are written")
    }

    fn rows(store: &Store, table: Table) -> i64 {
        store.snapshot(table).expect("a snapshot").rows()
    }

    #[test]
    fn what_a_crash_left_pending_is_completed_once() {
        let transactions = [("source".to_owned(), 1)];
        for committed in 0..=2 {
            let folder = tempfile::tempdir().expect("a folder");
            let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
            let changes = changes(&store);
            assert_eq!(changes.len(), 2);
            write_pending(&store, &changes, &transactions).expect("it is written");
            for change in &changes[..committed] {
                commit_table(&store, change, &transactions).expect("a commit");
            }
            // The crash is here. The next commit, of the same source, finds it all done.
            let store = Store::open(store.root()).expect("a store");
            let commits =
                commit(&store, Table::Calls, Vec::new(), &transactions).expect("a commit");
            assert_eq!(commits, []);
            assert_eq!(
                (rows(&store, Table::Calls), rows(&store, Table::Findings)),
                (1, 1)
            );
            assert_eq!(
                std::fs::read_dir(store.pending_folder())
                    .expect("a folder")
                    .count(),
                0
            );
            let report = store.verify(true).expect("a report");
            assert_eq!(
                (
                    report.problems.len(),
                    report.unreferenced.len(),
                    report.rows
                ),
                (0, 0, 2)
            );
        }
    }

    #[test]
    fn a_writer_finds_all_tables_at_the_same_commit() {
        let transactions = [("source".to_owned(), 1)];
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
        let changes = changes(&store);
        write_pending(&store, &changes, &transactions).expect("it is written");
        commit_table(&store, &changes[0], &transactions).expect("a commit");
        // The crash is here. Who comes next sees that the source is there, and has nothing to commit.
        let store = Store::open(store.root()).expect("a store");
        assert_eq!(rows(&store, Table::Findings), 0);
        store.writer(WriteOptions::default()).expect("a writer");
        assert_eq!(rows(&store, Table::Findings), 1);
    }

    #[test]
    fn a_pending_commit_without_its_files_is_not_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
        let changes = changes(&store);
        write_pending(&store, &changes, &[]).expect("it is written");
        let lost = store
            .table_folder(Table::Findings)
            .join(&changes[1].added[0].path);
        std::fs::remove_file(lost).expect("gone");
        for _ in 0..2 {
            let error = commit(&store, Table::Calls, Vec::new(), &[]).expect_err("a file is gone");
            assert!(error.hint().is_some());
        }
        assert_eq!(
            changes[0].added[0].partition,
            Partition {
                period: "1970-01-01T00".into(),
                model: None,
                caller: Some("a".into()),
            }
        );
    }

    #[test]
    fn files_are_removed_and_added_in_one_commit() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
        let first = changes(&store);
        commit(&store, Table::Calls, first.clone(), &[]).expect("a commit");
        let mut second = changes(&store);
        second.retain(|change| change.table == Table::Calls);
        second[0].removed = first[0]
            .added
            .iter()
            .map(|file| file.path.clone())
            .collect();
        second[0].operation = Operation::Optimize;
        commit(&store, Table::Calls, second.clone(), &[]).expect("a commit");
        // From memory, from the log, and with the commit read on top of what was saved.
        for store in [
            store.clone(),
            Store::open(store.root()).expect("a store"),
            Store::open(store.root()).expect("a store"),
        ] {
            let snapshot = store.snapshot(Table::Calls).expect("a snapshot");
            let paths: Vec<_> = snapshot.iter().map(|file| file.path().to_owned()).collect();
            assert_eq!(paths, [second[0].added[0].path.clone()]);
        }
        let error = commit(&store, Table::Calls, second, &[]).expect_err("the files are gone");
        assert!(error.hint().is_some());
    }
}

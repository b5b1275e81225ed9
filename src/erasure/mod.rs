//! Erasure: rows of one caller, one end user, or that a predicate names, taken out of every table.
//!
//! [`erase`] writes the files that have such rows anew without them, in one commit of all tables, and gives a
//! [`Receipt`]. The files as they were, the commits and the checkpoints that tell of them stay until the grace period is
//! over; the store remembers to remove them then. [`verify`] proves it.

mod matching;
mod proof;
mod receipt;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::{
    Entry, FileEntry, Hold, Operation, Store, TableChange, WriteOptions, commit_if,
};
use matching::Matcher;

pub use proof::{Proof, verify};
pub use receipt::{Erased, Receipt};

/// Whose rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Those of a principal.
    Caller(String),
    /// Those of a person behind an application's principal.
    EndUser(String),
    /// Those for which a predicate holds.
    Where(String),
}

/// How to erase.
#[derive(Debug, Clone)]
pub struct EraseOptions {
    /// What time it is, microseconds since the epoch.
    pub at: i64,
    /// How long replaced files stay for queries that read them, in microseconds.
    pub grace: i64,
    /// Only these tables; every table that can have such rows when empty.
    pub tables: Vec<Table>,
    /// Say what would be erased, and erase nothing.
    pub dry_run: bool,
    /// How files are written.
    pub write: WriteOptions,
}

/// What is to be done to one table.
struct Work {
    table: Table,
    erased: Erased,
    /// Files to write anew by period.
    rewrite: BTreeMap<String, Vec<String>>,
    /// Files of which no row is left.
    remove: Vec<String>,
}

/// Erases.
///
/// # Errors
/// When a legal hold covers one of the rows: then nothing is erased. When the store cannot be read or written, or
/// changes while rows are written anew: then nothing is erased either.
pub fn erase(store: &Store, target: &Target, options: &EraseOptions) -> Result<Receipt> {
    let _maintenance = store.lock_maintenance(options.write.lock_timeout)?;
    // Completes what a crash has left, so that it is erased as well, and keeps those away who clean up.
    let writer = store.writer(options.write.clone())?;
    let holds: Vec<Hold> = store.holds()?.into_iter().filter(Hold::is_active).collect();
    let tables = tables_of(target, &options.tables);
    let mut matcher = Matcher::new(store, target, &tables)?;
    let mut work = Vec::new();
    for table in &tables {
        work.push(look(store, *table, &mut matcher, &holds)?);
    }
    work.retain(|work| work.erased.rows > 0 || work.erased.cleaned > 0);
    let due = options
        .at
        .max(chrono::Utc::now().timestamp_micros())
        .saturating_add(options.grace);
    let mut receipt = Receipt::new(store, target, &tables, options.at, due);
    receipt.tables = work.iter().map(|work| work.erased.clone()).collect();
    if options.dry_run {
        return Ok(receipt);
    }
    // First, so that a run that is killed and run again does not find nothing to do and forget this.
    if let Target::Caller(name) | Target::EndUser(name) = target {
        store.forget_in_holds(name)?;
    }
    if work.is_empty() {
        return Ok(receipt);
    }
    let mut changes = Vec::new();
    let progress = AtomicU64::new(0);
    for (work, erased) in work.iter().zip(&mut receipt.tables) {
        let mut change = TableChange {
            table: work.table,
            added: Vec::new(),
            removed: work.remove.clone(),
            operation: Operation::Update,
        };
        for (period, files) in &work.rewrite {
            let mut keep = |batch: RecordBatch| {
                let matched = matcher.matches(work.table, &batch)?;
                let batch = filter_record_batch(&batch, &not(&matched.erase)?)?;
                matcher.cleaned(work.table, batch)
            };
            let edited = store.edit(
                work.table,
                period,
                files,
                &options.write,
                &progress,
                &mut keep,
            )?;
            change.added.extend(edited.added);
            change.removed.extend(edited.removed);
        }
        erased.files_rewritten = change.removed.len() as u64 - erased.files_removed;
        changes.push(change);
    }
    let mut entry = Entry::new("erase", options.at);
    let rows: u64 = receipt.tables.iter().map(|erased| erased.rows).sum();
    let erasure = store.begin_erasure(due)?;
    receipt.id.clone_from(&erasure.id);
    // Who it was stands nowhere in the store any more.
    entry = entry
        .resource(&erasure.id)
        .detail("kind", target.kind())
        .detail("rows", rows)
        .detail(
            "tables",
            changes
                .iter()
                .map(|change| change.table.name())
                .collect::<Vec<_>>(),
        );
    let told = entry.stage(store)?;
    // One commit a table: the event may stand among rows of `audit` that are taken out.
    match changes
        .iter_mut()
        .find(|change| change.table == Table::Audit)
    {
        Some(audit) => audit.added.extend(told.added),
        None => changes.push(told),
    }
    let commits = match commit_if(store, &changes, &[], || Ok(())) {
        Ok(commits) => commits,
        Err(error @ Error::Moved { .. }) => {
            store.forget_erasure(&erasure)?;
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    drop(writer);
    store.note_erasure(erasure, &commits)?;
    Ok(receipt)
}

/// The tables that can have rows of a target.
fn tables_of(target: &Target, wanted: &[Table]) -> Vec<Table> {
    let default: &[Table] = match target {
        Target::Caller(_) => &Table::ALL,
        Target::EndUser(_) => &[
            Table::Calls,
            Table::Content,
            Table::Filters,
            Table::Quarantine,
            Table::Findings,
            Table::Evaluations,
        ],
        Target::Where(_) => &[Table::Calls, Table::Content, Table::Filters],
    };
    match wanted.is_empty() {
        true => default.to_vec(),
        // In the order of all: which calls go decides which text does.
        false => Table::ALL
            .into_iter()
            .filter(|table| wanted.contains(table))
            .collect(),
    }
}

/// Finds the files that have such rows.
fn look(store: &Store, table: Table, matcher: &mut Matcher, holds: &[Hold]) -> Result<Work> {
    let snapshot = store.snapshot(table)?;
    let folder = store.root().join(table.name());
    let mut work = Work {
        table,
        erased: Erased::new(table),
        rewrite: BTreeMap::new(),
        remove: Vec::new(),
    };
    let mut by_period: HashMap<String, Vec<FileEntry<'_>>> = HashMap::new();
    for file in snapshot
        .iter()
        .filter(|file| matcher.may_match(table, file))
    {
        by_period
            .entry(file.period().to_owned())
            .or_default()
            .push(file);
    }
    for (period, files) in by_period {
        for file in files {
            let (mut rows, mut cleaned) = (0, 0);
            for batch in store.read_file(table, &folder.join(file.path()))? {
                let batch = batch?;
                let matched = matcher.find(table, &batch)?;
                refuse_held(table, &batch, &matched.erase, holds, matcher)?;
                rows += matched.erase.true_count() as u64;
                cleaned += matched.clean;
            }
            if rows == 0 && cleaned == 0 {
                continue;
            }
            work.erased.rows += rows;
            work.erased.cleaned += cleaned;
            work.erased.bytes += file.size().unsigned_abs();
            if rows == file.rows().unsigned_abs() {
                work.erased.files_removed += 1;
                work.remove.push(file.path().to_owned());
            } else {
                work.rewrite
                    .entry(period.clone())
                    .or_default()
                    .push(file.path().to_owned());
            }
        }
    }
    Ok(work)
}

/// An erasure that touches one held row is none at all.
fn refuse_held(
    table: Table,
    batch: &RecordBatch,
    erase: &BooleanArray,
    holds: &[Hold],
    matcher: &Matcher,
) -> Result<()> {
    for hold in holds.iter().filter(|hold| hold.covers_table(table)) {
        let held = matcher.held(hold, table, batch)?;
        if (0..batch.num_rows()).any(|row| erase.value(row) && held[row]) {
            return Err(Error::Usage {
                message: format!(
                    "legal hold `{}` covers rows of `{}` that would be erased; nothing was erased",
                    hold.id,
                    table.name()
                ),
                hint: Some(format!(
                    "`inferwatch hold list` says why it is there; `inferwatch hold release {}` ends it",
                    hold.id
                )),
            });
        }
    }
    Ok(())
}

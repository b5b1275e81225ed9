//! The rows of some files, written anew: what compaction, erasure and redaction have in common.
//!
//! Files are read one after the other and sorted in bounded memory, as at ingest. What was written is read back, and
//! only when it is, row for row, what was read may a commit name it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::Store;
use crate::store::access::Reading;
use crate::store::data_file::{self, DataFile};
use crate::store::disk;
use crate::store::fingerprint::{Duplicates, Sum};
use crate::store::layout::Grain;
use crate::store::period::{Pair, PeriodWriter};
use crate::store::sort::Sorter;
use crate::store::writer::WriteOptions;

/// Rows are collected to batches of so many before they are sorted: thousands of files may have one or two each.
const BATCH_ROWS: usize = 4096;
/// Or of so many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// Files to write anew, all of one period.
pub(super) struct Rewrite<'a> {
    pub(super) store: &'a Store,
    pub(super) table: Table,
    pub(super) grain: Grain,
    /// The period's name.
    pub(super) period: &'a str,
    /// Paths of the files, below the table's folder.
    pub(super) files: &'a [String],
    /// Pairs that have a partition in files that stay.
    pub(super) known: &'a HashSet<Pair>,
    /// Whether what was logged twice is dropped.
    pub(super) unique: bool,
    pub(super) options: &'a WriteOptions,
    /// Counts the files that are done.
    pub(super) progress: &'a AtomicU64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    pub(super) added: Vec<DataFile>,
    /// Rows in the files as they were.
    pub(super) rows_before: u64,
    /// Rows that were logged twice.
    pub(super) duplicates: u64,
}

impl Rewrite<'_> {
    /// Writes what `edit` leaves of the rows. Nothing is committed; on an error the new files are gone again.
    pub(super) fn run(
        &self,
        edit: &mut dyn FnMut(RecordBatch) -> Result<RecordBatch>,
    ) -> Result<Rewritten> {
        let folder = self.store.table_folder(self.table);
        let reading = self.store.reading(self.table)?;
        let mut rewritten = Rewritten::default();
        let mut sum = Sum::default();
        let spill_folder = self.options.spill_folder.clone();
        let spill_folder = spill_folder.unwrap_or_else(|| self.store.spill_folder());
        let mut sorter = Sorter::new(self.table, self.grain, spill_folder);
        let mut waiting = Waiting::new(self.table);
        for path in self.files {
            for batch in data_file::read(self.table, &folder.join(path), &reading)? {
                let batch = batch?;
                rewritten.rows_before += batch.num_rows() as u64;
                let batch = edit(batch)?;
                sum.add(&batch)?;
                if let Some(batch) = waiting.push(batch)? {
                    sorter.push(batch);
                }
                if sorter.bytes() > self.options.memory_budget {
                    sorter.spill()?;
                }
            }
            self.progress.fetch_add(1, Ordering::Relaxed);
        }
        sorter.push(waiting.take()?);
        let mut periods = sorter.finish()?;
        drop(sorter);
        if periods.len() > 1 {
            return Err(self.wrong("they hold rows of another period"));
        }
        let Some((index, rows)) = periods.pop() else {
            return Ok(rewritten);
        };
        if self.grain.name(index) != self.period {
            return Err(self.wrong("they hold rows of another period"));
        }
        let mut duplicates = match self.unique {
            true => Duplicates::of(self.table)?,
            false => None,
        };
        let writer = PeriodWriter::new(self.store, self.table, &folder, self.options)?;
        let written = writer.write(self.period.to_owned(), rows, self.known, &mut |batch| {
            match &mut duplicates {
                Some(duplicates) => duplicates.drop_from(batch),
                None => Ok(batch),
            }
        });
        rewritten.added = written?;
        let checked = writer.finish().and_then(|()| {
            let dropped = duplicates.map(|duplicates| duplicates.dropped);
            let dropped = dropped.unwrap_or_default();
            rewritten.duplicates = dropped.rows;
            self.check(&folder, &reading, &rewritten.added, sum.without(dropped))
        });
        if let Err(error) = checked {
            discard(&folder, &rewritten.added);
            return Err(error);
        }
        Ok(rewritten)
    }

    /// Reads what was written, and compares it with what should have been.
    fn check(
        &self,
        folder: &Path,
        reading: &Reading,
        added: &[DataFile],
        wanted: Sum,
    ) -> Result<()> {
        let mut found = Sum::default();
        for file in added {
            for batch in data_file::read(self.table, &folder.join(&file.path), reading)? {
                found.add(&batch?)?;
            }
        }
        if found != wanted {
            return Err(self.wrong(&format!(
                "{} rows were to be written, and what was written reads as {} others or other rows",
                wanted.rows, found.rows
            )));
        }
        Ok(())
    }

    fn wrong(&self, what: &str) -> Error {
        Error::Store {
            message: format!(
                "table `{}`, files of {}: {what}; nothing was changed",
                self.table.name(),
                self.period
            ),
            hint: Some("`inferwatch store verify --deep` says whether a file is damaged".into()),
        }
    }
}

/// Removes files that nobody has seen.
pub(super) fn discard(folder: &Path, files: &[DataFile]) {
    for file in files {
        // What stays is found later as a file that no log names.
        let _ = disk::remove_file(&folder.join(&file.path));
    }
}

/// Small batches that become a large one.
struct Waiting {
    table: Table,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Waiting {
    fn new(table: Table) -> Waiting {
        Waiting {
            table,
            batches: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    fn push(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>> {
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
        let full = self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES;
        full.then(|| self.take()).transpose()
    }

    fn take(&mut self) -> Result<RecordBatch> {
        let batch = concat_batches(&self.table.schema(), &self.batches)?;
        *self = Waiting::new(self.table);
        Ok(batch)
    }
}

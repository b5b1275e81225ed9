//! Rows in, files out, and one commit: the writing side of a store.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use arrow::array::RecordBatch;

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::Store;
use crate::store::commit::{self, TableChange, TableCommit};
use crate::store::data_file::DataFile;
use crate::store::disk::{self, Access};
use crate::store::layout::Grain;
use crate::store::log::Operation;
use crate::store::period::{Pair, PeriodWriter, pair_of};
use crate::store::sort::{PeriodRows, Sorter};

/// How a [`StoreWriter`] works.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Bytes of rows to hold in memory; what is beyond is sorted and spilled.
    pub memory_budget: usize,
    /// Where to spill; the store's own folder when `None`.
    pub spill_folder: Option<PathBuf>,
    /// Most partitions of an hour, the shared one included.
    pub max_partitions_per_hour: usize,
    /// Rows that a pair of caller and model needs for a partition of its own once there are more pairs than
    /// partitions.
    pub min_partition_rows: u64,
    /// Rows that a pair needs in one commit for a file of its own; fewer go into the file that is shared, whatever
    /// partitions there are. For who commits little and often: compaction puts each row in its place later.
    pub min_file_rows: u64,
    /// Threads that sort and encode.
    pub threads: usize,
    /// Hold the store against other writers that ask for the same, for as long as the writer lives: an ingest, whose
    /// work would be in vain if another did it too. Commits follow one another in any case.
    pub exclusive: bool,
    /// How long to wait for a writer that holds the store.
    pub lock_timeout: Duration,
}

impl Default for WriteOptions {
    fn default() -> Self {
        WriteOptions {
            memory_budget: 256 << 20,
            spill_folder: None,
            max_partitions_per_hour: 64,
            min_partition_rows: 1_000,
            min_file_rows: 0,
            threads: thread::available_parallelism().map_or(2, usize::from),
            exclusive: false,
            lock_timeout: Duration::from_secs(10),
        }
    }
}

/// Collects rows of any table, in any order, and commits them.
///
/// Nothing is visible before [`Self::commit`], and a writer that is dropped leaves nothing behind.
pub struct StoreWriter {
    store: Store,
    options: WriteOptions,
    sorters: HashMap<Table, Sorter>,
    /// Held, not read.
    _lock: Option<File>,
    /// Says that somebody is writing files that no log names yet; shared with all others that do.
    _writing: File,
}

impl StoreWriter {
    pub(super) fn new(store: Store, options: WriteOptions) -> Result<StoreWriter> {
        let lock = match options.exclusive {
            true => Some(commit::lock(
                &store.lock_path("writer"),
                options.lock_timeout,
            )?),
            false => None,
        };
        let writing = commit::lock_shared(&store.lock_path("writing"), options.lock_timeout)?;
        let writer = StoreWriter {
            store,
            options,
            sorters: HashMap::new(),
            _lock: lock,
            _writing: writing,
        };
        disk::create_folder(&writer.spill_folder(), Access::Private)?;
        commit::complete(&writer.store)?;
        Ok(writer)
    }

    /// Adds rows. The batch has the table's schema.
    ///
    /// # Errors
    /// When the schema is another, or rows cannot be spilled.
    pub fn write(&mut self, table: Table, batch: RecordBatch) -> Result<()> {
        if batch.schema_ref().fields() != table.schema().fields() {
            return Err(Error::Store {
                message: format!("rows for table `{}` do not have its columns", table.name()),
                hint: None,
            });
        }
        let spill_folder = self.spill_folder();
        let sorter = self
            .sorters
            .entry(table)
            .or_insert_with(|| Sorter::new(table, Grain::of(table), spill_folder));
        sorter.push(batch);
        if self.sorters.values().map(Sorter::bytes).sum::<usize>() > self.options.memory_budget
            && let Some(largest) = self
                .sorters
                .values_mut()
                .max_by_key(|sorter| sorter.bytes())
        {
            largest.spill()?;
        }
        Ok(())
    }

    /// Writes the files of every table that has rows, then commits each such table once, in the order of
    /// [`Table::ALL`], with the application transactions. [`Table::Calls`] is committed in any case, so that it
    /// alone can say which sources are in the store.
    ///
    /// # Errors
    /// See [`Self::commit_to`].
    pub fn commit(&mut self, transactions: &[(String, i64)]) -> Result<Vec<TableCommit>> {
        self.commit_to(Table::Calls, transactions)
    }

    /// As [`Self::commit`], with `anchor` as the table that is committed in any case and whose transactions decide
    /// whether this has been done already. All tables are committed, or, after a crash, will be before the next
    /// commit. Done already means: every application is at its version or beyond; then nothing changes and each
    /// [`TableCommit`] says so.
    ///
    /// # Errors
    /// When some, but not all, of the applications are at their version already; when a file cannot be written; when
    /// a log is damaged. Whatever the error, the rows are gone from the writer, and nothing was committed or the
    /// whole will be; data files may be left over that no log names.
    pub fn commit_to(
        &mut self,
        anchor: Table,
        transactions: &[(String, i64)],
    ) -> Result<Vec<TableCommit>> {
        let changes = self.stage(anchor)?;
        commit::commit(&self.store, anchor, changes, transactions)
    }

    /// Writes the files of every table that has rows, and says what to commit.
    pub(super) fn stage(&mut self, anchor: Table) -> Result<Vec<TableChange>> {
        let mut changes = Vec::new();
        for table in Table::ALL {
            let sorter = self
                .sorters
                .get_mut(&table)
                .filter(|sorter| !sorter.is_empty());
            let files = match sorter {
                Some(sorter) => {
                    let periods = sorter.finish();
                    sorter.clear();
                    self.write_files(table, periods?)?
                }
                None => Vec::new(),
            };
            if table == anchor || !files.is_empty() {
                changes.push(TableChange {
                    table,
                    added: files,
                    removed: Vec::new(),
                    operation: Operation::Write,
                });
            }
        }
        Ok(changes)
    }

    /// As [`Self::stage`], when no other table was written to.
    pub(crate) fn stage_one(&mut self, table: Table) -> Result<TableChange> {
        let mut changes = self.stage(table)?;
        changes.retain(|change| change.table == table);
        Ok(changes.pop().expect("the table that was asked for"))
    }

    fn spill_folder(&self) -> PathBuf {
        self.options
            .spill_folder
            .clone()
            .unwrap_or_else(|| self.store.spill_folder())
    }

    /// Writes the rows of one table, several periods at a time.
    fn write_files(
        &self,
        table: Table,
        mut periods: Vec<(i64, PeriodRows)>,
    ) -> Result<Vec<DataFile>> {
        let snapshot = self.store.snapshot(table)?;
        let mut dedicated: HashMap<String, HashSet<Pair>> = HashMap::new();
        for file in snapshot.iter() {
            if let Some(pair) = pair_of(&file.partition()) {
                let period = file.period().to_owned();
                dedicated.entry(period).or_default().insert(pair);
            }
        }
        periods.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.weight()));
        let threads = self.options.threads.clamp(1, periods.len().max(1));
        let folder = self.store.table_folder(table);
        let writer = PeriodWriter::new(&self.store, table, &folder, &self.options)?;
        let none = HashSet::new();
        let next = Mutex::new(periods.into_iter());
        let results: Vec<Result<Vec<DataFile>>> = thread::scope(|scope| {
            let work = || {
                let mut files = Vec::new();
                loop {
                    let Some((period, rows)) =
                        next.lock().expect("no thread panics with it").next()
                    else {
                        return Ok(files);
                    };
                    let name = Grain::of(table).name(period);
                    let known = dedicated.get(&name).unwrap_or(&none);
                    files.extend(writer.write(name, rows, known, &mut |batch| Ok(batch))?);
                }
            };
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let join = |worker: thread::ScopedJoinHandle<'_, _>| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            workers.into_iter().map(join).collect()
        });
        let mut files: Vec<DataFile> = results.into_iter().collect::<Result<Vec<_>>>()?.concat();
        writer.finish()?;
        files.sort_by(|left, right| {
            (&left.partition, &left.path).cmp(&(&right.partition, &right.path))
        });
        Ok(files)
    }
}

//! Rows in, files out, and one commit: the writing side of a store.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::partition;

use crate::error::{Error, Result};
use crate::schema::{Layout, Table};
use crate::store::Store;
use crate::store::commit::{self, TableChange, TableCommit};
use crate::store::data_file::{DataFile, PartitionWriter, Unsynced};
use crate::store::disk::{self, Access};
use crate::store::layout::{self, Partition};
use crate::store::log::Operation;
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
}

/// Caller and model.
type Pair = (Option<String>, Option<String>);

impl StoreWriter {
    pub(super) fn new(store: Store, options: WriteOptions) -> Result<StoreWriter> {
        let lock = match options.exclusive {
            true => Some(commit::lock(
                &store.lock_path("writer"),
                options.lock_timeout,
            )?),
            false => None,
        };
        let writer = StoreWriter {
            store,
            options,
            sorters: HashMap::new(),
            _lock: lock,
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
            .or_insert_with(|| Sorter::new(table, spill_folder));
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
            if file.partition_caller().is_some() || file.partition_model().is_some() {
                let Partition {
                    period,
                    model,
                    caller,
                } = file.partition();
                dedicated.entry(period).or_default().insert((caller, model));
            }
        }
        periods.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.weight()));
        let threads = self.options.threads.clamp(1, periods.len().max(1));
        let folder = self.store.table_folder(table);
        let access = if table.is_restricted() {
            Access::Private
        } else {
            Access::Shared
        };
        disk::create_folder(&folder, access)?;
        let syncer = Syncer::new(&folder);
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
                    let name = layout::period_name(table, period);
                    let known = dedicated.get(&name);
                    files.extend(self.write_period(table, &folder, name, rows, known, &syncer)?);
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
        syncer.finish()?;
        files.sort_by(|left, right| {
            (&left.partition, &left.path).cmp(&(&right.partition, &right.path))
        });
        Ok(files)
    }

    fn write_period(
        &self,
        table: Table,
        folder: &Path,
        period: String,
        rows: PeriodRows,
        known: Option<&HashSet<Pair>>,
        syncer: &Syncer<'_>,
    ) -> Result<Vec<DataFile>> {
        let mut files = Vec::new();
        let mut done = |file, unsynced| {
            files.push(file);
            syncer.add(unsynced)
        };
        let common = Partition {
            period,
            ..Partition::default()
        };
        let mut shared = PartitionWriter::new(table, folder, common.clone());
        if table.layout() != Layout::CallerModelHour {
            for batch in rows.sorted()? {
                shared.write(&batch?, &mut done)?;
            }
            shared.finish(&mut done)?;
            return Ok(files);
        }
        let schema = table.schema();
        let (caller, model) = (schema.index_of("caller")?, schema.index_of("model")?);
        let own = self.choose_pairs(count_pairs(&rows, [caller, model])?, known);
        let mut current: Option<PartitionWriter<'_>> = None;
        for batch in rows.sorted()? {
            let batch = batch?;
            let keys = [caller, model].map(|column| Arc::clone(batch.column(column)));
            let callers = keys[0].as_string::<i32>();
            let models = keys[1].as_string::<i32>();
            let mut pending = 0..0;
            for range in partition(&keys)?.ranges() {
                let pair = (value(callers, range.start), value(models, range.start));
                if !own.contains(&pair) {
                    // Neighbours in the shared partition are written in one go.
                    if pending.end != range.start {
                        flush(&batch, &mut pending, &mut shared, &mut done)?;
                        pending = range.start..range.start;
                    }
                    pending.end = range.end;
                    continue;
                }
                let same = current.as_ref().is_some_and(|writer| {
                    writer.partition().caller == pair.0 && writer.partition().model == pair.1
                });
                if !same {
                    if let Some(mut writer) = current.take() {
                        writer.finish(&mut done)?;
                    }
                    let (caller, model) = pair;
                    let partition = Partition {
                        period: common.period.clone(),
                        model,
                        caller,
                    };
                    current = Some(PartitionWriter::new(table, folder, partition));
                }
                let writer = current.as_mut().expect("made above");
                writer.write(&batch.slice(range.start, range.len()), &mut done)?;
            }
            flush(&batch, &mut pending, &mut shared, &mut done)?;
        }
        if let Some(mut writer) = current {
            writer.finish(&mut done)?;
        }
        shared.finish(&mut done)?;
        Ok(files)
    }

    /// Which pairs of an hour get partitions of their own: those that have one already, and the largest others.
    fn choose_pairs(
        &self,
        counts: HashMap<Pair, u64>,
        known: Option<&HashSet<Pair>>,
    ) -> HashSet<Pair> {
        let known = known.cloned().unwrap_or_default();
        let mut own: HashSet<Pair> = counts
            .keys()
            .filter(|pair| known.contains(*pair))
            .cloned()
            .collect();
        // One partition is for all others; it is not needed, and not counted, when there are none.
        let mut others: Vec<(Pair, u64)> = counts
            .into_iter()
            .filter(|(pair, _)| !known.contains(pair) && may_have_own(pair))
            .collect();
        let few = known.len() + others.len() <= self.options.max_partitions_per_hour;
        let free = if few {
            others.len()
        } else {
            self.options
                .max_partitions_per_hour
                .saturating_sub(1 + known.len())
        };
        others.retain(|(_, rows)| few || *rows >= self.options.min_partition_rows);
        others.sort_unstable_by(|left, right| {
            right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0))
        });
        own.extend(others.into_iter().take(free).map(|(pair, _)| pair));
        own
    }
}

/// Delta reads an empty partition value as null, and all null is the shared partition.
fn may_have_own((caller, model): &Pair) -> bool {
    let empty = |value: &Option<String>| value.as_deref() == Some("");
    !empty(caller) && !empty(model) && (caller.is_some() || model.is_some())
}

fn value(column: &StringArray, row: usize) -> Option<String> {
    column.is_valid(row).then(|| column.value(row).to_owned())
}

fn flush(
    batch: &RecordBatch,
    pending: &mut std::ops::Range<usize>,
    shared: &mut PartitionWriter<'_>,
    done: &mut impl FnMut(DataFile, Unsynced) -> Result<()>,
) -> Result<()> {
    if pending.start < pending.end {
        shared.write(&batch.slice(pending.start, pending.len()), done)?;
    }
    *pending = 0..0;
    Ok(())
}

/// Rows of every pair of caller and model.
fn count_pairs(rows: &PeriodRows, columns: [usize; 2]) -> Result<HashMap<Pair, u64>> {
    let mut counts: HashMap<Pair, u64> = HashMap::new();
    rows.each_batch(&columns, |batch| {
        let (callers, models) = (
            batch.column(0).as_string::<i32>(),
            batch.column(1).as_string::<i32>(),
        );
        for range in partition(batch.columns())?.ranges() {
            let pair = (value(callers, range.start), value(models, range.start));
            *counts.entry(pair).or_default() += range.len() as u64;
        }
        Ok(())
    })?;
    Ok(counts)
}

/// Makes files durable. Each waits for the disk, so many wait at once.
struct Syncer<'a> {
    table_folder: &'a Path,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    files: Vec<Unsynced>,
    folders: BTreeSet<PathBuf>,
}

/// Disks take many requests at a time, and a thread that waits costs nothing.
const SYNC_THREADS: usize = 16;
/// Files that may wait, since each is open.
const WAITING_FILES: usize = 128;

impl Syncer<'_> {
    fn new(table_folder: &Path) -> Syncer<'_> {
        Syncer {
            table_folder,
            waiting: Mutex::default(),
        }
    }

    fn add(&self, file: Unsynced) -> Result<()> {
        let files = {
            let mut waiting = self.waiting.lock().expect("no thread panics with it");
            let above = file.path.ancestors().skip(1);
            waiting.folders.extend(
                above
                    .take_while(|path| path.starts_with(self.table_folder))
                    .map(Path::to_path_buf),
            );
            waiting.files.push(file);
            if waiting.files.len() < WAITING_FILES {
                return Ok(());
            }
            std::mem::take(&mut waiting.files)
        };
        Self::sync_files(&files)
    }

    /// Synchronises the files that are left, then every folder between a file and the table's.
    fn finish(self) -> Result<()> {
        let waiting = self.waiting.into_inner().expect("no thread panics with it");
        Self::sync_files(&waiting.files)?;
        let folders: Vec<PathBuf> = waiting.folders.into_iter().collect();
        in_parallel(&folders, |folder| disk::sync_folder(folder))
    }

    fn sync_files(files: &[Unsynced]) -> Result<()> {
        in_parallel(files, |file| {
            file.file
                .sync_all()
                .map_err(Error::io("synchronise", &file.path))
        })
    }
}

fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..SYNC_THREADS.min(items.len()))
            .map(|_| {
                scope.spawn(|| {
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        work(item)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })
}

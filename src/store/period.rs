//! Writes the rows of one period as the files of its partitions, and makes them last.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::partition;

use crate::error::{Error, Result};
use crate::keys::TableKey;
use crate::schema::{Layout, Table};
use crate::store::Store;
use crate::store::data_file::{DataFile, PartitionWriter};
use crate::store::disk::{self, NewFile};
use crate::store::layout::Partition;
use crate::store::sort::PeriodRows;
use crate::store::writer::WriteOptions;

/// Caller and model.
pub(super) type Pair = (Option<String>, Option<String>);

/// The pair that a partition is for; `None` for one that many share.
pub(super) fn pair_of(partition: &Partition) -> Option<Pair> {
    let pair = (partition.caller.clone(), partition.model.clone());
    (pair.0.is_some() || pair.1.is_some()).then_some(pair)
}

/// Writes periods of one table. What it has written lasts, and may be named in a commit, after [`Self::finish`].
pub(super) struct PeriodWriter<'a> {
    table: Table,
    folder: &'a Path,
    options: &'a WriteOptions,
    key: Option<TableKey>,
    syncer: Syncer<'a>,
}

impl<'a> PeriodWriter<'a> {
    pub(super) fn new(
        store: &Store,
        table: Table,
        folder: &'a Path,
        options: &'a WriteOptions,
    ) -> Result<PeriodWriter<'a>> {
        let key = store.writing(table)?;
        disk::create_folder(folder, disk::access(table))?;
        Ok(PeriodWriter {
            table,
            folder,
            options,
            key,
            syncer: Syncer::new(folder),
        })
    }

    /// Waits until everything is on the disk.
    pub(super) fn finish(self) -> Result<()> {
        self.syncer.finish()
    }

    /// Writes the rows of a period, of which `keep` gives back those that are to be kept. Pairs that are `known` to
    /// have a partition get one.
    pub(super) fn write(
        &self,
        period: String,
        rows: PeriodRows,
        known: &HashSet<Pair>,
        keep: &mut dyn FnMut(RecordBatch) -> Result<RecordBatch>,
    ) -> Result<Vec<DataFile>> {
        let (table, folder) = (self.table, self.folder);
        let mut files = Vec::new();
        let mut done = |file, unsynced| {
            files.push(file);
            self.syncer.add(unsynced)
        };
        let common = Partition {
            period,
            ..Partition::default()
        };
        let mut shared = PartitionWriter::new(table, folder, common.clone(), self.key.as_ref());
        if table.layout() != Layout::CallerModelHour {
            for batch in rows.sorted()? {
                shared.write(&keep(batch?)?, &mut done)?;
            }
            shared.finish(&mut done)?;
            return Ok(files);
        }
        let schema = table.schema();
        let (caller, model) = (schema.index_of("caller")?, schema.index_of("model")?);
        let own = self.choose_pairs(count_pairs(&rows, [caller, model])?, known);
        let mut current: Option<PartitionWriter<'_>> = None;
        for batch in rows.sorted()? {
            let batch = keep(batch?)?;
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
                    current = Some(PartitionWriter::new(
                        table,
                        folder,
                        partition,
                        self.key.as_ref(),
                    ));
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
    fn choose_pairs(&self, mut counts: HashMap<Pair, u64>, known: &HashSet<Pair>) -> HashSet<Pair> {
        counts.retain(|_, rows| *rows >= self.options.min_file_rows);
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
    done: &mut impl FnMut(DataFile, NewFile) -> Result<()>,
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
    files: Vec<NewFile>,
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

    fn add(&self, file: NewFile) -> Result<()> {
        let files = {
            let mut waiting = self.waiting.lock().expect("no thread panics with it");
            let above = file.path().ancestors().skip(1);
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

    fn sync_files(files: &[NewFile]) -> Result<()> {
        in_parallel(files, |file| {
            file.sync().map_err(Error::io("synchronise", file.path()))
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

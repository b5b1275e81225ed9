//! Compaction: many small files become few large ones, and partitions grow with age.
//!
//! Hours that are over become days, and days months. What belongs to one period after that is written anew together, so
//! that it is decided again which pairs of caller and model deserve a partition, and events that were logged twice meet.
//! A commit removes the files as they were and adds the new ones; whoever reads goes on with what it has begun.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::parallel::in_parallel;
use crate::schema::Table;
use crate::store::commit::{self, TableChange};
use crate::store::data_file::FILE_BYTES;
use crate::store::layout::{Grain, Period};
use crate::store::log::Operation;
use crate::store::period::{Pair, pair_of};
use crate::store::rewrite::{Rewrite, Rewritten, discard};
use crate::store::snapshot::{FileEntry, TableSnapshot};
use crate::store::verify::chain;
use crate::store::{Store, WriteOptions};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// A file that has grown to this is left alone unless new rows lie among its own.
const FULL_BYTES: i64 = (FILE_BYTES / 4 * 3) as i64;
/// A period is open for as long after its end: its logs still come.
const OPEN: i64 = 2 * HOUR;
/// An open period is written anew only when a partition has so many small files.
const OPEN_FILES: usize = 8;
/// A file of less is tiny: to open it costs more than to read it.
const TINY_BYTES: i64 = 4 << 20;
/// A commit is made after so many files were written anew,
const COMMIT_FILES: usize = 1000;
/// or so many bytes.
const COMMIT_BYTES: u64 = 1 << 30;

/// How to compact.
#[derive(Debug, Clone)]
pub struct CompactOptions {
    /// What time it is, microseconds since the epoch.
    pub at: i64,
    /// Only these tables; all when empty.
    pub tables: Vec<Table>,
    /// Only tiny files, where a period has so many more of them than partitions, and nothing else: rows that were logged
    /// twice may stay, and larger files as they are. It costs what these files hold, however much the period does.
    pub tiny_files: Option<usize>,
    /// How long after its end the hours of a day become one, in microseconds.
    pub day_after: i64,
    /// How long after its end the days of a month become one, in microseconds.
    pub month_after: i64,
    /// How files are written.
    pub write: WriteOptions,
    /// Counts the files that are done.
    pub progress: Arc<AtomicU64>,
}

impl Default for CompactOptions {
    fn default() -> CompactOptions {
        CompactOptions {
            at: chrono::Utc::now().timestamp_micros(),
            tables: Vec::new(),
            tiny_files: None,
            day_after: DAY,
            month_after: 31 * DAY,
            write: WriteOptions::default(),
            progress: Arc::default(),
        }
    }
}

/// Files that are to become fewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactTask {
    /// The table.
    pub table: Table,
    /// The period that they will be of.
    pub period: String,
    /// Paths below the table's folder.
    pub files: Vec<String>,
    /// Rows in them.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why.
    pub reason: &'static str,
    grain: Grain,
    /// Pairs that have a partition among the files that stay.
    known: HashSet<Pair>,
}

impl CompactTask {
    fn of(
        table: Table,
        period: String,
        grain: Grain,
        files: &[FileEntry<'_>],
        known: HashSet<Pair>,
        reason: &'static str,
    ) -> CompactTask {
        CompactTask {
            table,
            period,
            files: files.iter().map(|file| file.path().to_owned()).collect(),
            rows: files.iter().map(|file| file.rows().unsigned_abs()).sum(),
            bytes: files.iter().map(|file| file.size().unsigned_abs()).sum(),
            reason,
            grain,
            known,
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Periods that were written anew.
    pub periods: u64,
    /// Files that were removed.
    pub files_before: u64,
    /// Files that were added.
    pub files_after: u64,
    /// Their bytes, before and after.
    pub bytes_before: u64,
    /// See above.
    pub bytes_after: u64,
    /// Rows that were read.
    pub rows: u64,
    /// Rows that were logged twice and are gone.
    pub duplicates: u64,
    /// Periods that were left as they were, and why.
    pub failed: Vec<(Table, String, String)>,
}

impl Store {
    /// What [`Self::compact`] would do.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn plan_compaction(&self, options: &CompactOptions) -> Result<Vec<CompactTask>> {
        let mut tasks = Vec::new();
        for table in Table::ALL {
            if options.tables.is_empty() || options.tables.contains(&table) {
                let snapshot = self.snapshot(table)?;
                tasks.extend(match options.tiny_files {
                    Some(enough) => plan_tiny(&snapshot, enough),
                    None => plan(&snapshot, options),
                });
            }
        }
        Ok(tasks)
    }

    /// Does what was planned. A period whose files cannot be read, or that somebody else has changed meanwhile, is left
    /// as it is, and the report says so.
    ///
    /// # Errors
    /// When somebody else is at it, or nothing can be written at all.
    pub fn compact(
        &self,
        tasks: Vec<CompactTask>,
        options: &CompactOptions,
    ) -> Result<CompactReport> {
        if tasks.is_empty() {
            return Ok(CompactReport::default());
        }
        let _maintenance = self.lock_maintenance(options.write.lock_timeout)?;
        self.compact_locked(tasks, options)
    }

    /// Keeps others from rewriting and removing files, on this machine: elsewhere, whoever comes second fails.
    pub(crate) fn lock_maintenance(&self, patience: Duration) -> Result<File> {
        commit::lock(&self.lock_path("maintenance"), patience)
    }

    /// As [`Self::compact`], for who holds the lock.
    pub(crate) fn compact_locked(
        &self,
        tasks: Vec<CompactTask>,
        options: &CompactOptions,
    ) -> Result<CompactReport> {
        let mut report = CompactReport::default();
        let _writing = commit::lock_shared(&self.lock_path("writing"), options.write.lock_timeout)?;
        commit::complete(self)?;
        for chunk in chunks(tasks) {
            self.compact_chunk(chunk, options, &mut report)?;
        }
        Ok(report)
    }

    /// Writes some periods of one table anew, and commits them together.
    fn compact_chunk(
        &self,
        chunk: Vec<CompactTask>,
        options: &CompactOptions,
        report: &mut CompactReport,
    ) -> Result<()> {
        let table = chunk[0].table;
        if let Some(lock) = self.lock_on(table)? {
            let periods = format!("{} periods", chunk.len());
            report.failed.push((table, periods, lock.to_string()));
            return Ok(());
        }
        let folder = self.table_folder(table);
        let threads = options.write.threads.min(chunk.len()).max(1);
        let write = WriteOptions {
            memory_budget: options.write.memory_budget / threads,
            ..options.write.clone()
        };
        let results = in_parallel(chunk, threads, |task| {
            let rewrite = Rewrite {
                store: self,
                table,
                grain: task.grain,
                period: &task.period,
                files: &task.files,
                known: &task.known,
                unique: true,
                options: &write,
                progress: &options.progress,
            };
            let result = rewrite.run(&mut |batch| Ok(batch));
            (task, result)
        });
        let mut change = TableChange {
            table,
            added: Vec::new(),
            removed: Vec::new(),
            operation: Operation::Optimize,
        };
        let mut done: Vec<(CompactTask, Rewritten)> = Vec::new();
        for (task, result) in results {
            match result {
                Ok(rewritten) => {
                    change.added.extend(rewritten.added.iter().cloned());
                    change.removed.extend(task.files.iter().cloned());
                    done.push((task, rewritten));
                }
                Err(error) => {
                    let failed = (table, task.period, chain(&error));
                    report.failed.push(failed);
                }
            }
        }
        if change.removed.is_empty() {
            return Ok(());
        }
        match commit::commit(self, table, vec![change.clone()], &[]) {
            Ok(_) => {}
            Err(error @ Error::Moved { .. }) => {
                discard(&folder, &change.added);
                for (task, _) in done {
                    report.failed.push((table, task.period, chain(&error)));
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        for (task, rewritten) in done {
            report.periods += 1;
            report.files_before += task.files.len() as u64;
            report.files_after += rewritten.added.len() as u64;
            report.bytes_before += task.bytes;
            let bytes = rewritten.added.iter().map(|file| file.size.unsigned_abs());
            report.bytes_after += bytes.sum::<u64>();
            report.rows += rewritten.rows_before;
            report.duplicates += rewritten.duplicates;
        }
        Ok(())
    }
}

/// Tasks that are committed together.
fn chunks(tasks: Vec<CompactTask>) -> Vec<Vec<CompactTask>> {
    let mut chunks: Vec<Vec<CompactTask>> = Vec::new();
    let (mut files, mut bytes) = (0, 0);
    for task in tasks {
        let fits = chunks.last().is_some_and(|chunk| {
            chunk[0].table == task.table && files < COMMIT_FILES && bytes < COMMIT_BYTES
        });
        if !fits {
            chunks.push(Vec::new());
            (files, bytes) = (0, 0);
        }
        files += task.files.len();
        bytes += task.bytes;
        chunks.last_mut().expect("made above").push(task);
    }
    chunks
}

/// The files that will be of one period.
#[derive(Default)]
struct Group<'a> {
    /// Those of shorter periods.
    finer: Vec<FileEntry<'a>>,
    own: Vec<FileEntry<'a>>,
}

fn plan(snapshot: &TableSnapshot, options: &CompactOptions) -> Vec<CompactTask> {
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for file in snapshot.iter() {
        // A time beyond the calendar has no longer period to be part of.
        let Some(period) = Period::parse(file.period()) else {
            continue;
        };
        let grain = match snapshot.table() {
            // A rollup puts whole days in the place of days.
            Table::Usage => period.grain,
            _ => grain_at(period, options),
        };
        let target = period.within(grain);
        let group = groups.entry(target.clone()).or_default();
        if file.period() == target {
            group.own.push(file);
        } else {
            group.finer.push(file);
        }
    }
    groups
        .into_iter()
        .filter_map(|(period, group)| task(snapshot.table(), period, group, options))
        .collect()
}

/// As [`plan`], for tiny files alone.
fn plan_tiny(snapshot: &TableSnapshot, enough: usize) -> Vec<CompactTask> {
    let mut periods: BTreeMap<&str, Vec<FileEntry<'_>>> = BTreeMap::new();
    for file in snapshot.iter().filter(|file| file.size() < TINY_BYTES) {
        periods.entry(file.period()).or_default().push(file);
    }
    periods.retain(|_, files| {
        // As many will be left.
        let partitions: HashSet<_> = files.iter().map(FileEntry::partition).collect();
        files.len() - partitions.len() >= enough
    });
    let tasks = periods.into_iter().filter_map(|(period, tiny)| {
        let grain = Period::parse(period)?.grain;
        let stay = snapshot
            .iter()
            .filter(|file| file.period() == period && file.size() >= TINY_BYTES);
        let known = stay.filter_map(|file| pair_of(&file.partition())).collect();
        let (table, period) = (snapshot.table(), period.to_owned());
        Some(CompactTask::of(
            table,
            period,
            grain,
            &tiny,
            known,
            "many tiny files",
        ))
    });
    tasks.collect()
}

/// How long the period should be that has a file's rows.
fn grain_at(period: Period, options: &CompactOptions) -> Grain {
    let is_due = |grain: Grain, after: i64| {
        Period::parse(&period.within(grain))
            .is_some_and(|whole| options.at.saturating_sub(whole.end) >= after)
    };
    if is_due(Grain::Month, options.month_after) {
        Grain::Month
    } else if is_due(Grain::Day, options.day_after) {
        Grain::Day.max(period.grain)
    } else {
        period.grain
    }
}

fn task(
    table: Table,
    period: String,
    group: Group<'_>,
    options: &CompactOptions,
) -> Option<CompactTask> {
    let Period { grain, end, .. } = Period::parse(&period)?;
    let (small, full): (Vec<_>, Vec<_>) = group
        .own
        .into_iter()
        .partition(|file| file.size() < FULL_BYTES);
    let mut partitions: HashMap<_, usize> = HashMap::new();
    for file in &small {
        *partitions.entry(file.partition()).or_default() += 1;
    }
    let enough = match options.at.saturating_sub(end) < OPEN {
        true => OPEN_FILES,
        false => 2,
    };
    let reason = if let Some(finer) = group.finer.first() {
        match Period::parse(finer.period())?.grain {
            Grain::Hour => "hours that are over",
            Grain::Day | Grain::Month => "days that are over",
        }
    } else if partitions.values().any(|files| *files >= enough) {
        "small files"
    } else if partitions.len() > options.write.max_partitions_per_hour {
        "too many partitions"
    } else {
        return None;
    };
    let mut chosen = group.finer;
    chosen.extend(small);
    let (among, apart): (Vec<_>, Vec<_>) = full
        .into_iter()
        .partition(|file| chosen.iter().any(|other| overlap(file, other)));
    chosen.extend(among);
    let known = apart
        .iter()
        .filter_map(|file| pair_of(&file.partition()))
        .collect();
    Some(CompactTask::of(
        table, period, grain, &chosen, known, reason,
    ))
}

/// Whether two files may hold rows of one caller and time.
fn overlap(one: &FileEntry<'_>, other: &FileEntry<'_>) -> bool {
    let callers = one.callers().zip(other.callers());
    let times = one.time_range().zip(other.time_range());
    callers.is_none_or(|(one, other)| one.0 <= other.1 && other.0 <= one.1)
        && times.is_none_or(|(one, other)| one.0 <= other.1 && other.0 <= one.1)
}

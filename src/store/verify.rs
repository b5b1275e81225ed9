//! Whether a store is what its logs say it is.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::Store;
use crate::store::access::Reading;
use crate::store::commit;
use crate::store::data_file;
use crate::store::layout::Period;
use crate::store::log::{commit_path, commit_versions, log_folder};
use crate::store::snapshot::{FileEntry, TableSnapshot};
use crate::store::sort::Keys;
use crate::store::statistics::{Bound, Collector, ColumnStatistics};
use crate::store::tail;

/// What can be done about a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A data file is gone.
    Missing,
    /// A data file cannot be read, or is not what the log says.
    Damaged,
    /// The copy of the last replay of the log is wrong; it can be made again.
    Saved,
    /// A commit that was to change several tables cannot be completed.
    Pending,
    /// The log itself: only a backup has what it said.
    Log,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The table.
    pub table: Table,
    /// The file, where it is one.
    pub path: Option<PathBuf>,
    /// What is wrong.
    pub message: String,
    /// Of what kind it is.
    pub fault: Fault,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files that were looked at.
    pub files: usize,
    /// Rows in them.
    pub rows: i64,
    /// What is wrong; empty when the store is sound.
    pub problems: Vec<Problem>,
    /// Tables with how many of their files were not opened, being encrypted, and what they need.
    pub sealed: Vec<(Table, usize, String)>,
    /// Data files that no log names, with their bytes: left by a crash, or by a writer that is still at work. They
    /// take room and do no harm.
    pub unreferenced: Vec<(PathBuf, u64)>,
}

impl Store {
    /// Checks that every log can be read and has no gap, that every file is there with its size and as many rows as
    /// the log says, and, when `deep`, decodes everything and checks order, period and statistics. Damage is
    /// reported, not returned as an error.
    ///
    /// # Errors
    /// When the store's own folders cannot be listed.
    pub fn verify(&self, deep: bool) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        for table in Table::ALL {
            let folder = self.table_folder(table);
            if !log_folder(&folder).is_dir() {
                continue;
            }
            let mut check = Check {
                table,
                folder: &folder,
                deep,
                reading: None,
                lock: None,
                sealed: 0,
                report: &mut report,
            };
            match self.reading(table) {
                Ok(reading) => check.reading = reading,
                // What is not encrypted yet can be looked at.
                Err(error @ Error::Locked { .. }) => check.lock = Some(error),
                Err(error) => return Err(error),
            }
            check.commits()?;
            // From the log itself, whatever was saved of it.
            match self.log(table).read() {
                Ok(Some(snapshot)) => check.snapshot(self, &snapshot)?,
                Ok(None) => {}
                Err(error) => {
                    let message = format!("the log cannot be read: {}", chain(&error));
                    check.problem(None, message, Fault::Log);
                }
            }
            if let (1.., Some(lock)) = (check.sealed, &check.lock) {
                let sealed = (table, check.sealed, lock.to_string());
                report.sealed.push(sealed);
            }
        }
        for (table, path, message) in commit::pending_problems(self)? {
            report.problems.push(Problem {
                table,
                path: Some(path),
                message,
                fault: Fault::Pending,
            });
        }
        Ok(report)
    }
}

struct Check<'a> {
    table: Table,
    folder: &'a Path,
    deep: bool,
    reading: Reading,
    /// Why encrypted files cannot be opened.
    lock: Option<Error>,
    /// Files that were not.
    sealed: usize,
    report: &'a mut VerifyReport,
}

impl Check<'_> {
    fn problem(&mut self, path: Option<PathBuf>, message: String, fault: Fault) {
        self.report.problems.push(Problem {
            table: self.table,
            path,
            message,
            fault,
        });
    }

    /// The commits that are left are without a gap, and each can be read.
    fn commits(&mut self) -> Result<()> {
        let versions = commit_versions(self.folder)?;
        for pair in versions.windows(2) {
            if pair[1] != pair[0] + 1 {
                self.problem(
                    None,
                    format!("commits {} to {} are missing", pair[0] + 1, pair[1] - 1),
                    Fault::Log,
                );
            }
        }
        for version in versions {
            let path = commit_path(self.folder, version);
            let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
            let whole = |line: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
            let mut lines = text
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            if tail::is_torn(&text) || !lines.all(whole) {
                self.problem(
                    Some(path),
                    format!("commit {version} is damaged"),
                    Fault::Log,
                );
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, store: &Store, snapshot: &TableSnapshot) -> Result<()> {
        if let Ok(known) = store.snapshot(self.table)
            && known.version() == snapshot.version()
            && (known.len(), known.rows(), known.bytes())
                != (snapshot.len(), snapshot.rows(), snapshot.bytes())
        {
            self.problem(
                None,
                "the saved snapshot is not that of the log".to_owned(),
                Fault::Saved,
            );
        }
        let mut known = HashSet::new();
        for file in snapshot.iter() {
            let path = self.folder.join(file.path());
            self.report.files += 1;
            self.report.rows += file.rows();
            let result = self.file(&file, &path);
            if let Err(message) = result {
                let fault = match path.exists() {
                    true => Fault::Damaged,
                    false => Fault::Missing,
                };
                self.problem(Some(path.clone()), message, fault);
            }
            known.insert(path);
        }
        for entry in walkdir::WalkDir::new(self.folder)
            .sort_by_file_name()
            .into_iter()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy();
            let data = entry.file_type().is_file() && name.ends_with(".parquet");
            let in_log = entry.path().starts_with(log_folder(self.folder));
            if data && !in_log && !known.contains(entry.path()) {
                let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                self.report.unreferenced.push((entry.into_path(), bytes));
            }
        }
        Ok(())
    }

    fn file(&mut self, entry: &FileEntry<'_>, path: &Path) -> std::result::Result<(), String> {
        let size = path.metadata().map_err(|error| error.to_string())?.len();
        if i64::try_from(size) != Ok(entry.size()) {
            return Err(format!("it has {size} bytes, not {}", entry.size()));
        }
        let reader = match data_file::open(path, &self.reading) {
            // Nothing is known against it.
            Err(error @ Error::Locked { .. }) => {
                self.sealed += 1;
                self.lock.get_or_insert(error);
                return Ok(());
            }
            opened => opened.map_err(|error| chain(&error))?,
        };
        let rows = reader.metadata().file_metadata().num_rows();
        if rows != entry.rows() {
            return Err(format!("it has {rows} rows, not {}", entry.rows()));
        }
        if !data_file::is_of_table(self.table, reader.schema()) {
            return Err("it has other columns than the table".to_owned());
        }
        if self.deep {
            let reader = reader.build().map_err(|error| error.to_string())?;
            self.rows(
                entry,
                reader.map(|batch| batch.map_err(|error| error.to_string())),
            )?;
        }
        Ok(())
    }

    /// Reads all of a file.
    fn rows(
        &self,
        entry: &FileEntry<'_>,
        batches: impl Iterator<Item = std::result::Result<RecordBatch, String>>,
    ) -> std::result::Result<(), String> {
        let schema = self.table.schema();
        let time = schema
            .index_of(self.table.time_column())
            .map_err(|error| error.to_string())?;
        let keys = Keys::new(self.table).map_err(|error| chain(&error))?;
        let period = Period::parse(entry.period());
        let mut collector = Collector::new(self.table);
        let mut last: Option<arrow::row::OwnedRow> = None;
        let mut rows = 0;
        for batch in batches {
            let batch =
                data_file::completed(self.table, &batch?).map_err(|error| error.to_string())?;
            rows += batch.num_rows();
            let sorted = keys.rows(&batch).map_err(|error| chain(&error))?;
            for row in &sorted {
                if last.as_ref().is_some_and(|last| last.row() > row) {
                    return Err("its rows are not in order".to_owned());
                }
                last = Some(row.owned());
            }
            let times = batch
                .column(time)
                .as_primitive::<TimestampMicrosecondType>();
            let is_other = |time: &i64| {
                period.is_some_and(|period| *time < period.start || *time >= period.end)
            };
            if times.values().iter().any(is_other) {
                return Err("it has rows of another period".to_owned());
            }
            if let Some(caller) = entry.partition_caller() {
                only(batch.column_by_name("caller"), caller)?;
            }
            if let Some(model) = entry.partition_model() {
                only(batch.column_by_name("model"), model)?;
            }
            collector.update(&batch);
        }
        if i64::try_from(rows) != Ok(entry.rows()) {
            return Err(format!("{rows} rows can be read, not {}", entry.rows()));
        }
        for ((name, actual), known) in self
            .table
            .statistics_columns()
            .iter()
            .zip(collector.finish())
            .zip(entry.statistics())
        {
            if !covers(&known, &actual) {
                return Err(format!(
                    "the log's statistics of column `{name}` do not hold"
                ));
            }
        }
        Ok(())
    }
}

fn only(column: Option<&ArrayRef>, value: &str) -> std::result::Result<(), String> {
    let column = column.ok_or("a column is missing")?.as_string::<i32>();
    match column.iter().all(|cell| cell == Some(value)) {
        true => Ok(()),
        false => Err("it has rows of another partition".to_owned()),
    }
}

/// Whether what the log says includes what the file has.
fn covers(known: &ColumnStatistics, actual: &ColumnStatistics) -> bool {
    let below = |known: &Option<Bound>, actual: &Option<Bound>| match (known, actual) {
        (Some(known), Some(actual)) => known <= actual,
        (known, _) => known.is_none(),
    };
    below(&known.min, &actual.min)
        && match (&known.max, &actual.max) {
            (Some(known), Some(actual)) => known >= actual,
            (known, _) => known.is_none(),
        }
        && known.nulls.is_none_or(|nulls| Some(nulls) == actual.nulls)
}

/// An error with what caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

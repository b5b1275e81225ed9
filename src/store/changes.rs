//! What later commits brought to a table: the files that were added since a version, and the times of their rows.
//!
//! Commits are read one by one from the log, so the cost follows what is new. Files that only hold the same rows in
//! another form, and commits that take rows away, bring nothing.

use std::path::PathBuf;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use parquet::arrow::ProjectionMask;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::log::commit_path;
use crate::store::snapshot::log_statistics;
use crate::store::statistics::Bound;
use crate::store::{Store, data_file, layout};

/// A file that a commit added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedFile {
    /// Where it is.
    pub path: PathBuf,
    /// How many rows it has.
    pub rows: i64,
    /// First and last time of its rows in microseconds, rounded outwards to milliseconds; `None` when the log does not
    /// tell.
    pub time_range: Option<(i64, i64)>,
}

#[derive(Deserialize)]
struct Line {
    add: Option<Add>,
    remove: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Add {
    path: String,
    stats: Option<String>,
    data_change: Option<bool>,
}

impl Store {
    /// The files with new rows that came to a table after a version; `None` when the log no longer tells.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub fn added_since(&self, table: Table, version: u64) -> Result<Option<Vec<AddedFile>>> {
        let newest = self.snapshot(table)?.version().unwrap_or(version);
        let folder = self.table_folder(table);
        let mut files = Vec::new();
        for version in version + 1..=newest {
            let path = commit_path(&folder, version);
            let text = match std::fs::read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Error::io("read", &path)(error)),
            };
            let mut added = Vec::new();
            let mut is_rewrite = false;
            for line in text
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
            {
                let Ok(line) = serde_json::from_slice::<Line>(line) else {
                    return Ok(None);
                };
                is_rewrite |= line.remove.is_some();
                if let Some(add) = line.add.filter(|add| add.data_change != Some(false)) {
                    let Some(path) = layout::disk_path(&add.path) else {
                        return Ok(None);
                    };
                    let (rows, statistics) = log_statistics::from_json(table, add.stats.as_deref());
                    let of_time = table
                        .statistics_columns()
                        .iter()
                        .position(|name| *name == table.time_column())
                        .and_then(|position| statistics.get(position));
                    let time_range = of_time.and_then(|time| match (&time.min, &time.max) {
                        (Some(Bound::Time(min)), Some(Bound::Time(max))) => Some((*min, *max)),
                        _ => None,
                    });
                    added.push(AddedFile {
                        path: folder.join(path),
                        rows: rows.unwrap_or(0),
                        time_range,
                    });
                }
            }
            if !is_rewrite {
                files.append(&mut added);
            }
        }
        Ok(Some(files))
    }

    /// The times of a file's rows, in no order. A file that is gone, because its rows are in another by now, has none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn times_of(&self, table: Table, file: &AddedFile) -> Result<Option<Vec<i64>>> {
        let builder = match data_file::open(&file.path, &self.reading(table)?) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            opened => opened?,
        };
        let columns = ProjectionMask::columns(builder.parquet_schema(), [table.time_column()]);
        let mut times = Vec::with_capacity(usize::try_from(file.rows).unwrap_or(0));
        for batch in builder.with_projection(columns).build()? {
            let batch = batch?;
            let column = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            times.extend(
                (0..column.len())
                    .filter(|row| column.is_valid(*row))
                    .map(|row| column.value(row)),
            );
        }
        Ok(Some(times))
    }
}

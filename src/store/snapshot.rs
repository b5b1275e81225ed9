//! One version of a table: its files with their statistics, as columns, and the application transactions.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};

use crate::error::Result;
use crate::schema::Table;
use crate::store::data_file::DataFile;
use crate::store::layout::Partition;
use crate::store::statistics::{Bound, ColumnStatistics};

/// One version of a table.
#[derive(Debug)]
pub struct TableSnapshot {
    table: Table,
    version: Option<u64>,
    files: RecordBatch,
    transactions: Transactions,
    /// How much a cold process would have to read on top of what was saved last.
    unsaved: usize,
}

/// Versions by application. Queries need none, and there may be one for every file ever read: so those of the log are
/// kept as columns, and become a map only when somebody asks.
#[derive(Debug)]
struct Transactions {
    columns: RecordBatch,
    newer: HashMap<String, i64>,
    all: OnceLock<HashMap<String, i64>>,
}

impl Transactions {
    fn new(columns: RecordBatch, newer: HashMap<String, i64>) -> Transactions {
        Transactions {
            columns,
            newer,
            all: OnceLock::new(),
        }
    }

    fn all(&self) -> &HashMap<String, i64> {
        self.all.get_or_init(|| {
            let ids = self.columns.column(0).as_string::<i32>();
            let versions = self.columns.column(1).as_primitive::<Int64Type>();
            let older = ids
                .iter()
                .flatten()
                .map(str::to_owned)
                .zip(versions.values().iter().copied());
            let mut all: HashMap<String, i64> = older.collect();
            all.extend(
                self.newer
                    .iter()
                    .map(|(id, version)| (id.clone(), *version)),
            );
            all
        })
    }
}

/// The columns of a list of transactions.
pub(super) fn transactions_schema() -> SchemaRef {
    let fields = [
        ("application", DataType::Utf8),
        ("version", DataType::Int64),
    ];
    Schema::new(
        fields
            .map(|(name, data_type)| Field::new(name, data_type, false))
            .to_vec(),
    )
    .into()
}

/// Transactions as the columns of their list.
pub(super) fn transaction_columns(transactions: &HashMap<String, i64>) -> Result<RecordBatch> {
    let ids = StringArray::from_iter_values(transactions.keys());
    let versions = Int64Array::from_iter_values(transactions.values().copied());
    Ok(RecordBatch::try_new(
        transactions_schema(),
        vec![Arc::new(ids), Arc::new(versions)],
    )?)
}

const PATH: usize = 0;
const SIZE: usize = 1;
const ROWS: usize = 2;
const MODIFIED: usize = 3;
const PERIOD: usize = 4;
const MODEL: usize = 5;
const CALLER: usize = 6;
/// Where the statistics begin: smallest, largest, nulls, for one column after the other.
const STATISTICS: usize = 7;

/// The columns of a file list.
pub(super) fn files_schema(table: Table) -> SchemaRef {
    let mut fields = vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("size", DataType::Int64, false),
        Field::new("rows", DataType::Int64, false),
        Field::new("modified", DataType::Int64, false),
        Field::new("period", DataType::Utf8, false),
        Field::new("partition_model", DataType::Utf8, true),
        Field::new("partition_caller", DataType::Utf8, true),
    ];
    let schema = table.schema();
    for name in table.statistics_columns() {
        let data_type = schema
            .field_with_name(name)
            .expect("a column of the table")
            .data_type();
        fields.push(Field::new(format!("min.{name}"), data_type.clone(), true));
        fields.push(Field::new(format!("max.{name}"), data_type.clone(), true));
        fields.push(Field::new(format!("nulls.{name}"), DataType::Int64, true));
    }
    Schema::new(fields).into()
}

impl TableSnapshot {
    /// A table that does not exist yet.
    pub(super) fn absent(table: Table) -> TableSnapshot {
        TableSnapshot {
            table,
            version: None,
            files: RecordBatch::new_empty(files_schema(table)),
            transactions: Transactions::new(
                RecordBatch::new_empty(transactions_schema()),
                HashMap::new(),
            ),
            unsaved: 0,
        }
    }

    /// A version with its files and transactions, as [`encode`] and [`transaction_columns`] give them.
    pub(super) fn new(
        table: Table,
        version: u64,
        files: RecordBatch,
        transactions: RecordBatch,
    ) -> TableSnapshot {
        TableSnapshot {
            table,
            version: Some(version),
            files,
            transactions: Transactions::new(transactions, HashMap::new()),
            unsaved: 0,
        }
    }

    /// The table.
    pub fn table(&self) -> Table {
        self.table
    }

    /// The version in its log; `None` when the table does not exist yet.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// How many files it has.
    pub fn len(&self) -> usize {
        self.files.num_rows()
    }

    /// Whether it has no file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows of all files.
    pub fn rows(&self) -> i64 {
        arrow::compute::sum(self.integers(ROWS)).unwrap_or(0)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> i64 {
        arrow::compute::sum(self.integers(SIZE)).unwrap_or(0)
    }

    /// The newest version that each application has committed.
    pub fn transactions(&self) -> &HashMap<String, i64> {
        self.transactions.all()
    }

    /// The transactions as columns.
    pub(super) fn encode_transactions(&self) -> Result<RecordBatch> {
        if self.transactions.newer.is_empty() {
            return Ok(self.transactions.columns.clone());
        }
        transaction_columns(self.transactions.all())
    }

    /// How much a cold process would have to read on top of what was saved last: one for a file, some for a commit.
    pub(super) fn unsaved(&self) -> usize {
        self.unsaved
    }

    /// The same, now that it is saved.
    pub(super) fn saved(mut self) -> TableSnapshot {
        self.unsaved = 0;
        self
    }

    /// The file at a position below [`Self::len`].
    pub fn file(&self, index: usize) -> FileEntry<'_> {
        FileEntry {
            snapshot: self,
            index,
        }
    }

    /// Every file, in the order of the log.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = FileEntry<'_>> {
        (0..self.len()).map(|index| self.file(index))
    }

    /// The file list as columns: path, size, rows, modified, the partition columns, and the statistics.
    pub(super) fn files(&self) -> &RecordBatch {
        &self.files
    }

    /// The smallest and the largest value of a column in every file, and its nulls.
    pub(super) fn column(&self, name: &str) -> Option<[&ArrayRef; 3]> {
        let position = self
            .table
            .statistics_columns()
            .iter()
            .position(|known| *known == name)?;
        let first = STATISTICS + 3 * position;
        Some([first, first + 1, first + 2].map(|column| self.files.column(column)))
    }

    /// The next version: without the files that were removed, with those that were added.
    pub(super) fn apply(
        &self,
        version: u64,
        added: &[DataFile],
        removed: &[String],
        transactions: impl IntoIterator<Item = (String, i64)>,
    ) -> Result<TableSnapshot> {
        let mut files = self.files.clone();
        if !removed.is_empty() {
            let gone: std::collections::HashSet<&str> =
                removed.iter().map(String::as_str).collect();
            let kept = self
                .strings(PATH)
                .iter()
                .map(|path| path.map(|path| !gone.contains(path)))
                .collect();
            files = filter_record_batch(&files, &kept)?;
        }
        if !added.is_empty() {
            files = concat_batches(&files.schema(), [&files, &encode(self.table, added)?])?;
        }
        let mut newer = self.transactions.newer.clone();
        newer.extend(transactions);
        Ok(TableSnapshot {
            table: self.table,
            version: Some(version),
            files,
            transactions: Transactions::new(self.transactions.columns.clone(), newer),
            unsaved: self.unsaved + added.len() + removed.len() + 8,
        })
    }

    fn integers(&self, column: usize) -> &Int64Array {
        self.files.column(column).as_primitive::<Int64Type>()
    }

    fn strings(&self, column: usize) -> &StringArray {
        self.files.column(column).as_string::<i32>()
    }
}

/// One file of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct FileEntry<'a> {
    snapshot: &'a TableSnapshot,
    index: usize,
}

impl<'a> FileEntry<'a> {
    /// Path below the table's folder, as it is on disk.
    pub fn path(&self) -> &'a str {
        self.snapshot.strings(PATH).value(self.index)
    }

    /// Bytes.
    pub fn size(&self) -> i64 {
        self.snapshot.integers(SIZE).value(self.index)
    }

    /// Rows.
    pub fn rows(&self) -> i64 {
        self.snapshot.integers(ROWS).value(self.index)
    }

    /// When it was written, in milliseconds since the epoch.
    pub fn modified(&self) -> i64 {
        self.snapshot.integers(MODIFIED).value(self.index)
    }

    /// The hour or day.
    pub fn period(&self) -> &'a str {
        self.snapshot.strings(PERIOD).value(self.index)
    }

    /// The model, where the file's partition is that of one pair.
    pub fn partition_model(&self) -> Option<&'a str> {
        let column = self.snapshot.strings(MODEL);
        column
            .is_valid(self.index)
            .then(|| column.value(self.index))
    }

    /// The caller, where the file's partition is that of one pair.
    pub fn partition_caller(&self) -> Option<&'a str> {
        let column = self.snapshot.strings(CALLER);
        column
            .is_valid(self.index)
            .then(|| column.value(self.index))
    }

    /// The values of the partition columns.
    pub fn partition(&self) -> Partition {
        Partition {
            period: self.period().to_owned(),
            model: self.partition_model().map(str::to_owned),
            caller: self.partition_caller().map(str::to_owned),
        }
    }

    /// What the log says of each of [`Table::statistics_columns`].
    pub(super) fn statistics(&self) -> Vec<ColumnStatistics> {
        let columns = self.snapshot.table.statistics_columns().iter().map(|name| {
            let [min, max, nulls] = self
                .snapshot
                .column(name)
                .expect("every one of them is in the list");
            let nulls = nulls.as_primitive::<Int64Type>();
            ColumnStatistics {
                min: bound_at(min, self.index),
                max: bound_at(max, self.index),
                nulls: nulls.is_valid(self.index).then(|| nulls.value(self.index)),
            }
        });
        columns.collect()
    }

    /// Bounds of its rows' callers; `None` where the log has none, or a row has no caller.
    pub(super) fn callers(&self) -> Option<(&'a str, &'a str)> {
        let [min, max, nulls] = self.snapshot.column("caller")?;
        let nulls = nulls.as_primitive::<Int64Type>();
        if nulls.is_null(self.index) || nulls.value(self.index) > 0 {
            return None;
        }
        let value = |column: &'a ArrayRef| {
            let column = column.as_string::<i32>();
            column
                .is_valid(self.index)
                .then(|| column.value(self.index))
        };
        Some((value(min)?, value(max)?))
    }

    /// Whether one of its rows may be of a caller, by the partition and the bounds.
    pub(crate) fn callers_between(&self, caller: &str) -> bool {
        if let Some(of) = self.partition_caller() {
            return of == caller;
        }
        let Some([min, max, _]) = self.snapshot.column("caller") else {
            return true;
        };
        let (min, max) = (min.as_string::<i32>(), max.as_string::<i32>());
        let below = min.is_valid(self.index) && caller < min.value(self.index);
        let above = max.is_valid(self.index) && caller > max.value(self.index);
        !below && !above
    }

    /// Whether all of its rows are what the store tells of itself: these are of the time when it was done, however old
    /// the logs are.
    pub(crate) fn is_journal(&self) -> bool {
        let Some([min, max, _]) = self.snapshot.column("source_format") else {
            return false;
        };
        [min, max].iter().all(|bound| {
            let bound = bound.as_string::<i32>();
            bound.is_valid(self.index) && bound.value(self.index) == crate::store::JOURNAL
        })
    }

    /// First and last time of its rows in microseconds, rounded outwards to milliseconds.
    pub fn time_range(&self) -> Option<(i64, i64)> {
        let [min, max, _] = self.snapshot.column(self.snapshot.table.time_column())?;
        let value = |column: &ArrayRef| {
            let column = column.as_primitive::<TimestampMicrosecondType>();
            column
                .is_valid(self.index)
                .then(|| column.value(self.index))
        };
        Some((value(min)?, value(max)?))
    }
}

/// Files as the columns of a file list.
pub(super) fn encode(table: Table, files: &[DataFile]) -> Result<RecordBatch> {
    let schema = files_schema(table);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            files.iter().map(|file| &file.path),
        )),
        Arc::new(Int64Array::from_iter_values(
            files.iter().map(|file| file.size),
        )),
        Arc::new(Int64Array::from_iter_values(
            files.iter().map(|file| file.rows),
        )),
        Arc::new(Int64Array::from_iter_values(
            files.iter().map(|file| file.modified),
        )),
        Arc::new(StringArray::from_iter_values(
            files.iter().map(|file| &file.partition.period),
        )),
        Arc::new(StringArray::from_iter(
            files.iter().map(|file| file.partition.model.as_deref()),
        )),
        Arc::new(StringArray::from_iter(
            files.iter().map(|file| file.partition.caller.as_deref()),
        )),
    ];
    for (position, _) in table.statistics_columns().iter().enumerate() {
        let data_type = schema.field(STATISTICS + 3 * position).data_type();
        let known = || files.iter().map(|file| file.statistics.get(position));
        columns.push(bounds(
            data_type,
            known().map(|column| column.and_then(|column| column.min.as_ref())),
        ));
        columns.push(bounds(
            data_type,
            known().map(|column| column.and_then(|column| column.max.as_ref())),
        ));
        columns.push(Arc::new(Int64Array::from_iter(
            known().map(|column| column.and_then(|column| column.nulls)),
        )));
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// A bound from an array of bounds.
fn bound_at(column: &ArrayRef, index: usize) -> Option<Bound> {
    if column.is_null(index) {
        return None;
    }
    match column.data_type() {
        DataType::Utf8 => Some(Bound::Text(
            column.as_string::<i32>().value(index).to_owned(),
        )),
        DataType::Int64 => Some(Bound::Int(column.as_primitive::<Int64Type>().value(index))),
        DataType::Int32 => Some(Bound::Int(
            column.as_primitive::<Int32Type>().value(index).into(),
        )),
        DataType::Float64 => Some(Bound::Float(
            column.as_primitive::<Float64Type>().value(index),
        )),
        DataType::Timestamp(_, _) => Some(Bound::Time(
            column
                .as_primitive::<TimestampMicrosecondType>()
                .value(index),
        )),
        _ => None,
    }
}

/// Bounds as an array of a column's type; one of another kind than the column's is as good as none.
fn bounds<'a>(data_type: &DataType, values: impl Iterator<Item = Option<&'a Bound>>) -> ArrayRef {
    match data_type {
        DataType::Utf8 => Arc::new(StringArray::from_iter(values.map(|value| match value {
            Some(Bound::Text(text)) => Some(text),
            _ => None,
        }))),
        DataType::Int64 => Arc::new(Int64Array::from_iter(values.map(|value| match value {
            Some(Bound::Int(number)) => Some(*number),
            _ => None,
        }))),
        DataType::Int32 => Arc::new(Int32Array::from_iter(values.map(|value| match value {
            Some(Bound::Int(number)) => i32::try_from(*number).ok(),
            _ => None,
        }))),
        DataType::Float64 => Arc::new(Float64Array::from_iter(values.map(|value| match value {
            Some(Bound::Float(number)) => Some(*number),
            _ => None,
        }))),
        DataType::Timestamp(_, zone) => {
            let times = TimestampMicrosecondArray::from_iter(values.map(|value| match value {
                Some(Bound::Time(time)) => Some(*time),
                _ => None,
            }));
            Arc::new(times.with_timezone_opt(zone.clone()))
        }
        other => arrow::array::new_null_array(other, values.count()),
    }
}

/// Statistics as they stand in a file's `add` action, and back.
pub(super) mod log_statistics {
    use super::*;
    use chrono::{DateTime, SecondsFormat};
    use serde_json::{Map, Value};

    /// The JSON of a bound.
    pub(crate) fn to_json(bound: &Bound) -> Value {
        match bound {
            Bound::Int(number) => (*number).into(),
            Bound::Float(number) => (*number).into(),
            Bound::Text(text) => text.as_str().into(),
            Bound::Time(micros) => DateTime::from_timestamp_micros(*micros)
                .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
                .into(),
        }
    }

    /// Rows and statistics from an `add` action's JSON. A file without a row count is refused by the caller.
    pub(crate) fn from_json(
        table: Table,
        text: Option<&str>,
    ) -> (Option<i64>, Vec<ColumnStatistics>) {
        let parsed = text.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
        let Some(parsed) = parsed else {
            return (None, Vec::new());
        };
        let schema = table.schema();
        let columns = table.statistics_columns().iter().map(|name| {
            let data_type = schema
                .field_with_name(name)
                .expect("a column of the table")
                .data_type();
            let value = |group: &str| parsed.get(group)?.get(name);
            ColumnStatistics {
                min: value("minValues")
                    .and_then(|value| bound(data_type, value, f64::next_down, 0)),
                max: value("maxValues")
                    .and_then(|value| bound(data_type, value, f64::next_up, 999)),
                nulls: value("nullCount").and_then(Value::as_i64),
            }
        });
        (
            parsed.get("numRecords").and_then(Value::as_i64),
            columns.collect(),
        )
    }

    /// `widen` and `slack` make up for what other writers, and reading doubles from text, may have rounded.
    fn bound(
        data_type: &DataType,
        value: &Value,
        widen: fn(f64) -> f64,
        slack: i64,
    ) -> Option<Bound> {
        match data_type {
            DataType::Utf8 => Some(Bound::Text(value.as_str()?.to_owned())),
            DataType::Int64 | DataType::Int32 => Some(Bound::Int(value.as_i64()?)),
            DataType::Float64 => Some(Bound::Float(widen(value.as_f64()?))),
            DataType::Timestamp(_, _) => {
                let time = DateTime::parse_from_rfc3339(value.as_str()?)
                    .ok()?
                    .timestamp_micros();
                let whole = time % 1000 == 0;
                Some(Bound::Time(if whole && slack > 0 {
                    time.checked_add(slack)?
                } else {
                    time
                }))
            }
            _ => None,
        }
    }
}

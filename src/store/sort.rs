//! Sorts the rows of one table in bounded memory.
//!
//! Rows are collected as they come. When there are too many they are sorted and spilled as a run (see [`crate::spill`]).
//! In the end the rows of each period, an hour or a day, are handed out on their own and in order: from memory when
//! nothing was spilled, else merged from the runs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::spill::SpillFile;
use crate::store::layout::{self, Grain};

/// Most rows of a batch that is handed out.
const BATCH_ROWS: usize = 8 * 1024;
/// A batch that is handed out or spilled has about as many bytes at most.
const BATCH_BYTES: usize = 1 << 20;
/// As many runs of one size are merged into one of the next, so that a merge never reads from too many at once.
const FAN_IN: usize = 16;

/// Collects rows of one table.
pub(super) struct Sorter {
    table: Table,
    grain: Grain,
    spill_folder: PathBuf,
    batches: Vec<RecordBatch>,
    bytes: usize,
    /// Runs by how often their rows were merged.
    runs: Vec<Vec<Arc<Run>>>,
}

impl Sorter {
    /// Rows of a table, to be handed out in periods of a grain.
    pub(super) fn new(table: Table, grain: Grain, spill_folder: PathBuf) -> Sorter {
        Sorter {
            table,
            grain,
            spill_folder,
            batches: Vec::new(),
            bytes: 0,
            runs: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.bytes += batch.get_array_memory_size();
            self.batches.push(batch);
        }
    }

    /// Bytes that wait in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.runs.iter().all(Vec::is_empty)
    }

    /// Forgets every row.
    pub(super) fn clear(&mut self) {
        self.batches.clear();
        self.runs.clear();
        self.bytes = 0;
    }

    /// Moves what is in memory to the disk.
    pub(super) fn spill(&mut self) -> Result<()> {
        if self.batches.is_empty() {
            return Ok(());
        }
        let periods = self.take_memory()?;
        let run = self.write_run(
            periods
                .into_iter()
                .map(|(period, rows)| (period, PeriodRows::Memory(rows))),
        )?;
        self.add_run(0, run)
    }

    fn add_run(&mut self, level: usize, run: Run) -> Result<()> {
        if self.runs.len() <= level {
            self.runs.push(Vec::new());
        }
        self.runs[level].push(Arc::new(run));
        if self.runs[level].len() < FAN_IN {
            return Ok(());
        }
        let runs = std::mem::take(&mut self.runs[level]);
        let merged = self.write_run(merged_periods(self.table, &runs))?;
        self.add_run(level + 1, merged)
    }

    /// The rows, period by period.
    pub(super) fn finish(&mut self) -> Result<Vec<(i64, PeriodRows)>> {
        if self.runs.is_empty() {
            let periods = self.take_memory()?;
            return Ok(periods
                .into_iter()
                .map(|(period, rows)| (period, PeriodRows::Memory(rows)))
                .collect());
        }
        self.spill()?;
        let runs: Vec<Arc<Run>> = std::mem::take(&mut self.runs)
            .into_iter()
            .flatten()
            .collect();
        Ok(merged_periods(self.table, &runs).collect())
    }

    /// Splits what is in memory by period.
    fn take_memory(&mut self) -> Result<BTreeMap<i64, MemoryRows>> {
        let batches = std::mem::take(&mut self.batches);
        self.bytes = 0;
        let keys = Keys::new(self.table)?;
        let rows = batches
            .iter()
            .map(|batch| keys.rows(batch))
            .collect::<Result<Vec<_>>>()?;
        let shared = Arc::new(MemoryBatches {
            batches,
            keys: rows,
        });
        let time = self.table.schema().index_of(self.table.time_column())?;
        let mut periods: BTreeMap<i64, MemoryRows> = BTreeMap::new();
        for (index, batch) in shared.batches.iter().enumerate() {
            let times = batch
                .column(time)
                .as_primitive::<TimestampMicrosecondType>()
                .values();
            for (row, time) in times.iter().enumerate() {
                let rows = periods
                    .entry(self.grain.index(*time))
                    .or_insert_with(|| MemoryRows {
                        shared: Arc::clone(&shared),
                        positions: Vec::new(),
                    });
                rows.positions.push((index, row));
            }
        }
        Ok(periods)
    }

    fn write_run(&self, periods: impl Iterator<Item = (i64, PeriodRows)>) -> Result<Run> {
        let (file, writer) = SpillFile::create_in(&self.spill_folder)
            .map_err(Error::io("spill to", &self.spill_folder))?;
        let options =
            IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let mut writer = FileWriter::try_new_with_options(writer, &self.table.schema(), options)?;
        let mut segments = BTreeMap::new();
        let mut written = 0;
        for (period, rows) in periods {
            let first = written;
            for batch in rows.sorted()? {
                let batch = batch?;
                for piece in pieces(&batch) {
                    writer.write(&piece)?;
                    written += 1;
                }
            }
            segments.insert(period, first..written);
        }
        // Flushes as well.
        writer.finish()?;
        Ok(Run { file, segments })
    }
}

/// A batch in slices of which none has many bytes, unless one row alone does.
fn pieces(batch: &RecordBatch) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    let bytes = batch.get_array_memory_size();
    if rows <= 1 || bytes <= 2 * BATCH_BYTES {
        return vec![batch.clone()];
    }
    let mut pieces = Vec::new();
    let (mut first, mut size) = (0, 0);
    for (row, bytes) in row_bytes(batch).into_iter().enumerate() {
        if size + bytes > BATCH_BYTES && row > first {
            pieces.push(batch.slice(first, row - first));
            (first, size) = (row, 0);
        }
        size += bytes;
    }
    pieces.push(batch.slice(first, rows - first));
    pieces
}

/// Bytes of each row: exactly for text, roughly for the rest.
fn row_bytes(batch: &RecordBatch) -> Vec<usize> {
    use arrow::datatypes::DataType;
    let mut bytes = vec![8 * batch.num_columns(); batch.num_rows()];
    let mut add = |lengths: &mut dyn Iterator<Item = usize>| {
        for (total, length) in bytes.iter_mut().zip(lengths) {
            *total += length;
        }
    };
    for column in batch.columns() {
        match column.data_type() {
            DataType::Utf8 => add(&mut column.as_string::<i32>().offsets().lengths()),
            DataType::LargeUtf8 => add(&mut column.as_string::<i64>().offsets().lengths()),
            DataType::Binary => add(&mut column.as_binary::<i32>().offsets().lengths()),
            _ => {}
        }
    }
    bytes
}

/// The sort key of rows, as bytes that compare as the rows do.
pub(super) struct Keys {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Keys {
    pub(super) fn new(table: Table) -> Result<Keys> {
        let schema = table.schema();
        let columns = layout::sort_columns(table);
        let nulls_last = arrow::compute::SortOptions {
            descending: false,
            nulls_first: false,
        };
        let fields = columns.iter().map(|column| {
            SortField::new_with_options(schema.field(*column).data_type().clone(), nulls_last)
        });
        Ok(Keys {
            converter: RowConverter::new(fields.collect())?,
            columns,
        })
    }

    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<Rows> {
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|column| Arc::clone(batch.column(*column)))
            .collect();
        Ok(self.converter.convert_columns(&columns)?)
    }
}

/// The rows of one period, wherever they are.
pub(super) enum PeriodRows {
    Memory(MemoryRows),
    Spilled(SpilledRows),
}

/// A sorted stream of rows.
pub(super) type SortedBatches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

impl PeriodRows {
    /// Roughly how much there is to do.
    pub(super) fn weight(&self) -> usize {
        match self {
            PeriodRows::Memory(rows) => rows.positions.len(),
            PeriodRows::Spilled(rows) => {
                rows.segments
                    .iter()
                    .map(|(_, range)| range.len())
                    .sum::<usize>()
                    * BATCH_ROWS
            }
        }
    }

    /// Calls `see` with batches that hold the given columns of every row, in any order.
    pub(super) fn each_batch(
        &self,
        columns: &[usize],
        mut see: impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        match self {
            PeriodRows::Memory(rows) => rows.each_batch(columns, &mut see),
            PeriodRows::Spilled(rows) => {
                for (run, range) in &rows.segments {
                    for batch in run.read(range.clone(), Some(columns.to_vec()))? {
                        see(&batch?)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// The rows in order.
    pub(super) fn sorted(self) -> Result<SortedBatches> {
        match self {
            PeriodRows::Memory(rows) => Ok(Box::new(rows.sorted())),
            PeriodRows::Spilled(rows) => Ok(Box::new(Merge::new(rows.table, &rows.segments)?)),
        }
    }
}

struct MemoryBatches {
    batches: Vec<RecordBatch>,
    keys: Vec<Rows>,
}

/// Rows of one period among those in memory.
pub(super) struct MemoryRows {
    shared: Arc<MemoryBatches>,
    positions: Vec<(usize, usize)>,
}

impl MemoryRows {
    fn each_batch(
        &self,
        columns: &[usize],
        see: &mut impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let projected = self
            .shared
            .batches
            .iter()
            .map(|batch| batch.project(columns))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let references: Vec<&RecordBatch> = projected.iter().collect();
        for positions in self.positions.chunks(BATCH_ROWS) {
            see(&interleave_record_batch(&references, positions)?)?;
        }
        Ok(())
    }

    fn sorted(mut self) -> impl Iterator<Item = Result<RecordBatch>> + Send {
        let keys = &self.shared.keys;
        self.positions.sort_unstable_by(|left, right| {
            keys[left.0]
                .row(left.1)
                .cmp(&keys[right.0].row(right.1))
                .then_with(|| left.cmp(right))
        });
        let bytes: usize = self
            .shared
            .batches
            .iter()
            .map(RecordBatch::get_array_memory_size)
            .sum();
        let rows: usize = self.shared.batches.iter().map(RecordBatch::num_rows).sum();
        let step = (BATCH_BYTES * 4 * rows / bytes.max(1)).clamp(16, BATCH_ROWS);
        let mut next = 0;
        std::iter::from_fn(move || {
            let positions = &self.positions[next..self.positions.len().min(next + step)];
            if positions.is_empty() {
                return None;
            }
            next += positions.len();
            let references: Vec<&RecordBatch> = self.shared.batches.iter().collect();
            Some(interleave_record_batch(&references, positions).map_err(Into::into))
        })
    }
}

/// Sorted rows in a temporary file, period after period.
struct Run {
    file: Arc<SpillFile>,
    /// Which batches of the file hold a period.
    segments: BTreeMap<i64, Range<usize>>,
}

impl Run {
    fn read(
        &self,
        range: Range<usize>,
        columns: Option<Vec<usize>>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let mut reader = FileReader::try_new(self.file.reader(), columns)?;
        reader.set_index(range.start)?;
        Ok(reader
            .take(range.len())
            .map(|batch| batch.map_err(Into::into)))
    }
}

/// Rows of one period in spilled runs.
pub(super) struct SpilledRows {
    table: Table,
    segments: Vec<Segment>,
}

/// Some batches of a run.
type Segment = (Arc<Run>, Range<usize>);

/// Every period of some runs, with where its rows are.
fn merged_periods(
    table: Table,
    runs: &[Arc<Run>],
) -> impl Iterator<Item = (i64, PeriodRows)> + use<> {
    let mut periods: BTreeMap<i64, Vec<Segment>> = BTreeMap::new();
    for run in runs {
        for (period, range) in &run.segments {
            periods
                .entry(*period)
                .or_default()
                .push((Arc::clone(run), range.clone()));
        }
    }
    periods.into_iter().map(move |(period, segments)| {
        (period, PeriodRows::Spilled(SpilledRows { table, segments }))
    })
}

/// Merges sorted segments into one sorted stream.
struct Merge {
    keys: Keys,
    cursors: Vec<Cursor>,
}

struct Cursor {
    rest: SortedBatches,
    batch: RecordBatch,
    keys: Rows,
    row: usize,
}

impl Cursor {
    fn done(&self) -> bool {
        self.row >= self.batch.num_rows()
    }

    /// The next batch with rows; `false` at the end.
    fn advance(&mut self, keys: &Keys) -> Result<bool> {
        for batch in self.rest.by_ref() {
            let batch = batch?;
            if batch.num_rows() > 0 {
                self.keys = keys.rows(&batch)?;
                self.batch = batch;
                self.row = 0;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Merge {
    fn new(table: Table, segments: &[Segment]) -> Result<Merge> {
        let keys = Keys::new(table)?;
        let mut cursors = Vec::new();
        for (run, range) in segments {
            let empty = RecordBatch::new_empty(table.schema());
            let mut cursor = Cursor {
                rest: Box::new(run.read(range.clone(), None)?),
                keys: keys.rows(&empty)?,
                batch: empty,
                row: 0,
            };
            if cursor.advance(&keys)? {
                cursors.push(cursor);
            }
        }
        Ok(Merge { keys, cursors })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        // A batch that is used up stays until the rows taken from it are copied.
        let mut index = 0;
        while index < self.cursors.len() {
            if self.cursors[index].done() && !self.cursors[index].advance(&self.keys)? {
                self.cursors.remove(index);
            } else {
                index += 1;
            }
        }
        let mut positions = Vec::new();
        while positions.len() < BATCH_ROWS {
            // The first of equals: runs are in the order of their making, so that the sort is stable.
            let head = |index: usize| self.cursors[index].keys.row(self.cursors[index].row);
            let Some(first) =
                (0..self.cursors.len()).min_by(|left, right| head(*left).cmp(&head(*right)))
            else {
                return Ok(None);
            };
            positions.push((first, self.cursors[first].row));
            self.cursors[first].row += 1;
            if self.cursors[first].done() {
                break;
            }
        }
        let batches: Vec<&RecordBatch> = self.cursors.iter().map(|cursor| &cursor.batch).collect();
        Ok(Some(interleave_record_batch(&batches, &positions)?))
    }
}

impl Iterator for Merge {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

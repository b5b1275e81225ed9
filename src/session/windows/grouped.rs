//! Evaluates window functions group by group, over rows in the order they came in.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::{SortColumn, SortOptions, concat, lexsort_to_indices, take};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::WindowFrameUnits;
use datafusion::logical_expr::window_state::WindowFrameContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use datafusion::physical_plan::metrics::BaselineMetrics;
use futures::{Stream, TryStreamExt};

/// The batches of `input`, each with a column for every function. All functions have the partition and order keys of
/// the first.
///
/// # Errors
/// When the input fails, does not fit into memory, or a function fails.
pub(super) async fn evaluate(
    mut input: SendableRecordBatchStream,
    functions: Vec<Arc<StandardWindowExpr>>,
    schema: SchemaRef,
    memory: MemoryReservation,
    metrics: BaselineMetrics,
) -> Result<impl Stream<Item = Result<RecordBatch>>> {
    let compute = metrics.elapsed_compute().clone();
    let mut held = Held::new(&functions, &input.schema(), memory)?;
    while let Some(batch) = input.try_next().await? {
        let _timer = compute.timer();
        held.push(batch)?;
    }
    let timer = compute.timer();
    let new = held.columns(&functions)?;
    timer.done();
    let Held {
        batches, memory, ..
    } = held;
    let mut start = 0;
    let batches = batches.into_iter().map(move |batch| {
        // Given back when the last batch has left.
        let _held = &memory;
        let rows = batch.num_rows();
        metrics.record_output(rows);
        let new = new.iter().map(|column| column.slice(start, rows));
        let columns = batch.columns().iter().cloned().chain(new).collect();
        start += rows;
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
    });
    Ok(futures::stream::iter(batches))
}

/// An input, with the group of each row.
struct Held {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    groups: Box<dyn GroupValues>,
    group_of: Vec<u32>,
    batches: Vec<RecordBatch>,
    memory: MemoryReservation,
    /// Batches that were cut from one share its buffers: each is counted once.
    counted: RecordBatchMemoryCounter,
}

impl Held {
    fn new(
        functions: &[Arc<StandardWindowExpr>],
        input: &Schema,
        memory: MemoryReservation,
    ) -> Result<Self> {
        let keys = functions[0].partition_by().to_vec();
        let fields = keys.iter().map(|key| key.return_field(input));
        let fields = fields.collect::<Result<Vec<Arc<Field>>>>()?;
        Ok(Held {
            keys,
            groups: new_group_values(Arc::new(Schema::new(fields)), &GroupOrdering::None)?,
            group_of: Vec::new(),
            batches: Vec::new(),
            memory,
            counted: RecordBatchMemoryCounter::new(),
        })
    }

    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let new_bytes = self.counted.count_batch(&batch);
        // Beside the rows: a group and two positions for each.
        self.memory
            .try_grow(new_bytes + batch.num_rows() * 3 * size_of::<u32>())?;
        let keys = evaluate_all(&self.keys, &batch)?;
        let mut groups = Vec::new();
        self.groups.intern(&keys, &mut groups)?;
        self.group_of
            .extend(groups.iter().map(|group| *group as u32));
        // Rows are numbered by u32 from here on.
        if u32::try_from(self.group_of.len()).is_err() {
            return Err(DataFusionError::ResourcesExhausted(
                "a window function has more than 4,294,967,295 rows in one partition".into(),
            ));
        }
        self.batches.push(batch);
        Ok(())
    }

    /// The results of each function, row by row.
    fn columns(&mut self, functions: &[Arc<StandardWindowExpr>]) -> Result<Vec<ArrayRef>> {
        if self.group_of.is_empty() {
            return Ok(Vec::new());
        }
        let (mut rows, groups) = by_group(&self.group_of, self.groups.len());
        self.group_of = Vec::new();
        let keys = functions[0].order_by();
        let options: Vec<SortOptions> = keys.iter().map(|key| key.options).collect();
        let order: Vec<SortColumn> = keys
            .iter()
            .map(|key| {
                Ok(SortColumn {
                    values: self.concatenated(&key.expr)?,
                    options: Some(key.options),
                })
            })
            .collect::<Result<_>>()?;
        sort_groups(&order, &groups, &mut rows)?;
        let rows = UInt32Array::from(rows);
        // Frames of rows are counted off, whatever the keys are.
        let by_key = functions
            .iter()
            .any(|function| function.get_window_frame().units != WindowFrameUnits::Rows);
        let order: Vec<ArrayRef> = order
            .into_iter()
            .filter(|_| by_key)
            .map(|key| Ok(take(&key.values, &rows, None)?))
            .collect::<Result<_>>()?;

        let mut places = vec![0; rows.len()];
        for (place, row) in rows.values().iter().enumerate() {
            places[*row as usize] = place as u32;
        }
        let places = UInt32Array::from(places);
        functions
            .iter()
            .map(|function| {
                let arguments = function.expressions();
                let arguments = arguments
                    .iter()
                    .map(|argument| Ok(take(&self.concatenated(argument)?, &rows, None)?));
                let mut values: Vec<ArrayRef> = arguments.collect::<Result<_>>()?;
                let order_from = values.len();
                values.extend(order.iter().cloned());
                let results = groups
                    .iter()
                    .map(|group| one_group(function, &values, order_from, group, &options))
                    .collect::<Result<Vec<_>>>()?;
                drop(values);
                let together = concatenate(&results)?;
                drop(results);
                Ok(take(&together, &places, None)?)
            })
            .collect()
    }

    fn concatenated(&self, expression: &Arc<dyn PhysicalExpr>) -> Result<ArrayRef> {
        let arrays = self
            .batches
            .iter()
            .map(|batch| expression.evaluate(batch)?.into_array(batch.num_rows()));
        concatenate(&arrays.collect::<Result<Vec<_>>>()?)
    }
}

fn concatenate(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    Ok(concat(&arrays)?)
}

fn evaluate_all(
    expressions: &[Arc<dyn PhysicalExpr>],
    batch: &RecordBatch,
) -> Result<Vec<ArrayRef>> {
    expressions
        .iter()
        .map(|expression| expression.evaluate(batch)?.into_array(batch.num_rows()))
        .collect()
}

/// The rows, group after group, and where each group lies among them.
fn by_group(group_of: &[u32], groups: usize) -> (Vec<u32>, Vec<Range<usize>>) {
    let mut ends = vec![0; groups];
    for group in group_of {
        ends[*group as usize] += 1;
    }
    let mut end = 0;
    let ranges: Vec<Range<usize>> = ends
        .iter()
        .map(|length| {
            let start = end;
            end += length;
            start..end
        })
        .collect();
    let mut next: Vec<usize> = ranges.iter().map(|range| range.start).collect();
    let mut rows = vec![0; group_of.len()];
    for (row, group) in group_of.iter().enumerate() {
        let place = &mut next[*group as usize];
        rows[*place] = row as u32;
        *place += 1;
    }
    (rows, ranges)
}

/// Sorts the rows of each group by the order keys, where they are not sorted yet.
fn sort_groups(order: &[SortColumn], groups: &[Range<usize>], rows: &mut [u32]) -> Result<()> {
    let compare = order
        .iter()
        .map(|key| {
            Ok(make_comparator(
                &key.values,
                &key.values,
                key.options.unwrap_or_default(),
            )?)
        })
        .collect::<Result<Vec<_>>>()?;
    let in_order = |left: u32, right: u32| {
        let different = compare
            .iter()
            .map(|compare| compare(left as usize, right as usize))
            .find(|ordering| ordering.is_ne());
        different.is_none_or(|ordering| ordering.is_lt())
    };
    for group in groups {
        let rows = &mut rows[group.clone()];
        if rows.is_sorted_by(|left, right| in_order(*left, *right)) {
            continue;
        }
        let arrived = UInt32Array::from(rows.to_vec());
        let keys = order.iter().map(|key| {
            Ok(SortColumn {
                values: take(&key.values, &arrived, None)?,
                options: key.options,
            })
        });
        let sorted = lexsort_to_indices(&keys.collect::<Result<Vec<_>>>()?, None)?;
        for (row, place) in rows.iter_mut().zip(sorted.values()) {
            *row = arrived.value(*place as usize);
        }
    }
    Ok(())
}

/// The results of a function for the rows of a group. From `order_from` on, `values` are order keys, if frames need them.
fn one_group(
    function: &StandardWindowExpr,
    values: &[ArrayRef],
    order_from: usize,
    group: &Range<usize>,
    options: &[SortOptions],
) -> Result<ArrayRef> {
    let mut evaluator = function.get_standard_func_expr().create_evaluator()?;
    let values: Vec<ArrayRef> = values
        .iter()
        .map(|values| values.slice(group.start, group.len()))
        .collect();
    let mut frames =
        WindowFrameContext::new(Arc::clone(function.get_window_frame()), options.to_vec());
    let mut frame = 0..0;
    let mut failure = None;
    let results = (0..group.len()).map_while(|row| {
        let result = frames
            .calculate_range(&values[order_from..], &frame, group.len(), row)
            .and_then(|next| {
                frame = next;
                evaluator.evaluate(&values, &frame)
            });
        result.map_err(|error| failure = Some(error)).ok()
    });
    let results = ScalarValue::iter_to_array(results);
    match failure {
        Some(failure) => Err(failure),
        None => results,
    }
}

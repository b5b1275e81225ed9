//! A table held in memory in the order of time, from which a window is cut without copying.
//!
//! Evaluating a thousand overlapping windows from files would read each row once for every window that it lies in.
//! Here the rows are read once, and a window is two binary searches.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use arrow::compute::{SortOptions, concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as QueryResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, TableProviderFilterPushDown, TableType,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use crate::catalog::{Bounds, comparisons, micros};
use crate::error::Result;

/// Rows of one table, sorted by its time column.
#[derive(Debug, Clone)]
pub struct SortedTable {
    /// Every column of the table, loaded or not: views name them all.
    schema: SchemaRef,
    rows: RecordBatch,
    times: TimestampMicrosecondArray,
    column: &'static str,
}

impl SortedTable {
    /// Sorts batches by their time column. They may hold fewer columns than the table's schema: those that will be
    /// read.
    ///
    /// # Errors
    /// When the batches differ, or have no such column of microseconds.
    pub fn new(
        schema: SchemaRef,
        batches: &[RecordBatch],
        column: &'static str,
    ) -> Result<SortedTable> {
        let loaded = batches
            .first()
            .map_or_else(|| Arc::clone(&schema), RecordBatch::schema);
        let rows = concat_batches(&loaded, batches)?;
        let index = loaded.index_of(column)?;
        let order = sort_to_indices(
            rows.column(index),
            Some(SortOptions {
                descending: false,
                nulls_first: true,
            }),
            None,
        )?;
        let rows = take_record_batch(&rows, &order)?;
        let times = rows
            .column(index)
            .as_any()
            .downcast_ref::<TimestampMicrosecondArray>()
            .cloned()
            .ok_or_else(|| {
                datafusion::error::DataFusionError::Plan(format!(
                    "`{column}` is not a time in microseconds"
                ))
            })?;
        Ok(SortedTable {
            schema,
            rows,
            times,
            column,
        })
    }

    /// The rows in a half-open range of time.
    pub fn between(&self, from: Option<i64>, to: Option<i64>) -> RecordBatch {
        let times = self.times.values();
        let first = from.map_or(0, |from| times.partition_point(|time| *time < from));
        let last = to
            .map_or(times.len(), |to| times.partition_point(|time| *time < to))
            .max(first);
        self.rows.slice(first, last - first)
    }

    /// Time of the last row.
    pub fn last(&self) -> Option<i64> {
        self.times.values().last().copied()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.rows.get_array_memory_size()
    }
}

impl TableProvider for SortedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // Inexact: the bounds are cut here, and the filter above stays for what is not a bound.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> QueryResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn scan<'life0, 'life1, 'life2, 'life3, 'async_trait>(
        &'life0 self,
        state: &'life1 dyn Session,
        projection: Option<&'life2 Vec<usize>>,
        filters: &'life3 [Expr],
        _limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = QueryResult<Arc<dyn ExecutionPlan>>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        'life3: 'async_trait,
        Self: 'async_trait,
    {
        let slice = self.slice(state, projection, filters);
        Box::pin(async move {
            let slice = slice?;
            let schema = Arc::clone(&slice.schema);
            Ok(Arc::new(StreamingTableExec::try_new(
                schema,
                vec![Arc::new(slice)],
                None,
                [],
                false,
                None,
            )?) as Arc<dyn ExecutionPlan>)
        })
    }
}

/// The rows of a scan, cut when it runs and not when it is planned: a plan is made once and runs for many windows.
#[derive(Debug)]
struct Slice {
    /// Columns of the scan only.
    table: SortedTable,
    schema: SchemaRef,
    /// What the time column is compared with.
    bounds: Vec<(Operator, Arc<dyn PhysicalExpr>)>,
}

impl PartitionStream for Slice {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows();
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::iter([rows]),
        ))
    }
}

impl Slice {
    fn rows(&self) -> QueryResult<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one_row =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
        let mut bounds = Bounds::default();
        for (op, constant) in &self.bounds {
            let scalar = match constant.evaluate(&one_row)? {
                ColumnarValue::Scalar(scalar) => scalar,
                ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0)?,
            };
            match micros(&scalar) {
                Some(time) => bounds.narrow(*op, time),
                // A comparison with null is true for no row.
                None => return Ok(self.table.rows.slice(0, 0)),
            }
        }
        Ok(self.table.between(bounds.from, bounds.to))
    }
}

impl SortedTable {
    fn slice(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> QueryResult<Slice> {
        let rows = self.project(&self.rows, projection)?;
        let empty = DFSchema::empty();
        let bounds = comparisons(filters, self.column).into_iter();
        Ok(Slice {
            schema: rows.schema(),
            bounds: bounds
                .map(|(op, constant)| {
                    Ok((op, state.create_physical_expr(constant.clone(), &empty)?))
                })
                .collect::<QueryResult<_>>()?,
            table: SortedTable {
                rows,
                ..self.clone()
            },
        })
    }

    /// The columns at these positions of the table's schema.
    fn project(
        &self,
        rows: &RecordBatch,
        projection: Option<&Vec<usize>>,
    ) -> QueryResult<RecordBatch> {
        let Some(projection) = projection else {
            return Ok(rows.clone());
        };
        let loaded = self.rows.schema();
        let indices = projection
            .iter()
            .map(|index| loaded.index_of(self.schema.field(*index).name()));
        Ok(rows.project(&indices.collect::<Result<Vec<_>, _>>()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, cast::AsArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};

    fn table(times: &[i64]) -> SortedTable {
        let schema = Arc::new(Schema::new(vec![
            Field::new(
                "event_time",
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                false,
            ),
            Field::new("n", DataType::Int64, false),
        ]));
        let time = TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC");
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![Arc::new(time), Arc::new(Int64Array::from(times.to_vec()))],
        );
        SortedTable::new(schema, &[batch.expect("fits")], "event_time").expect("valid")
    }

    #[test]
    fn cuts_half_open_ranges() {
        let table = table(&[30, 10, 20, 20]);
        let numbers = |from, to| {
            table
                .between(from, to)
                .column(1)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        };
        assert_eq!(numbers(Some(10), Some(20)), [10]);
        assert_eq!(numbers(Some(11), None), [20, 20, 30]);
        assert_eq!(numbers(None, Some(31)), [10, 20, 20, 30]);
        assert_eq!(numbers(Some(25), Some(5)), [0; 0]);
        assert_eq!(table.last(), Some(30));
    }
}

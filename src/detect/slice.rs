//! A table held in memory in the order of time, from which a window is cut without copying.
//!
//! Evaluating a thousand overlapping windows from files would read each row once for every window that it lies in.
//! Here the rows are read once, and a window is two binary searches.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arrow::array::{
    Array, AsArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array,
    make_comparator,
};
use arrow::compute::{
    SortOptions, concat_batches, filter_record_batch, sort_to_indices, take_record_batch,
};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result as QueryResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, TableProviderFilterPushDown, TableType, Volatility,
};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
    ReplaceChildrenOptions,
};

use crate::catalog::{Bounds, comparisons, micros};
use crate::error::Result;

/// Rows of one table, sorted by its time column. Copies of it are the same table: when its rows are replaced, they are
/// for all of them, and for what was planned over them.
#[derive(Debug, Clone)]
pub struct SortedTable {
    /// Every column of the table, loaded or not: views name them all.
    schema: SchemaRef,
    /// The columns that are loaded.
    loaded: SchemaRef,
    column: &'static str,
    rows: Arc<RwLock<Arc<Sorted>>>,
}

/// Rows in the order of time.
#[derive(Debug)]
struct Sorted {
    rows: RecordBatch,
    times: TimestampMicrosecondArray,
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
        SortedTable::without_copies(schema, batches, column, &[])
    }

    /// The same with rows of one time in the order of some texts, and without those that have all of them in common
    /// with another: the same record, delivered twice. A row whose first text is empty is like no other.
    ///
    /// # Errors
    /// When the batches differ, or have no such columns.
    pub fn without_copies(
        schema: SchemaRef,
        batches: &[RecordBatch],
        column: &'static str,
        identity: &[&str],
    ) -> Result<SortedTable> {
        let loaded = batches
            .first()
            .map_or_else(|| Arc::clone(&schema), RecordBatch::schema);
        let rows = concat_batches(&loaded, batches)?;
        let index = loaded.index_of(column)?;
        let mut order = sort_to_indices(
            rows.column(index),
            Some(SortOptions {
                descending: false,
                nulls_first: true,
            }),
            None,
        )?;
        if !identity.is_empty() && rows.num_rows() > 0 {
            order = distinct(&rows, &times(&rows, index, column)?, &order, identity)?;
        }
        let sorted = Sorted::new(take_record_batch(&rows, &order)?, column)?;
        Ok(SortedTable {
            schema,
            loaded,
            column,
            rows: Arc::new(RwLock::new(Arc::new(sorted))),
        })
    }

    /// Puts the rows of another table in place of these. What was planned stays as it is, and reads the new ones.
    ///
    /// # Errors
    /// When the other has other columns.
    pub(super) fn replace(&self, with: &SortedTable) -> Result<()> {
        if with.loaded != self.loaded || with.column != self.column {
            let message = "rows of one table cannot take the place of another's";
            return Err(DataFusionError::Plan(message.into()).into());
        }
        let rows = with.rows();
        *self.rows.write().unwrap_or_else(PoisonError::into_inner) = rows;
        Ok(())
    }

    fn rows(&self) -> Arc<Sorted> {
        Arc::clone(&self.rows.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rows in a half-open range of time.
    pub fn between(&self, from: Option<i64>, to: Option<i64>) -> RecordBatch {
        let sorted = self.rows();
        let range = between(&sorted.times, from, to);
        sorted.rows.slice(range.start, range.len())
    }

    /// Time of the last row.
    pub fn last(&self) -> Option<i64> {
        self.rows().times.values().last().copied()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.rows().rows.get_array_memory_size()
    }
}

impl Sorted {
    fn new(rows: RecordBatch, column: &str) -> QueryResult<Sorted> {
        let times = times(&rows, rows.schema().index_of(column)?, column)?;
        Ok(Sorted { rows, times })
    }
}

#[async_trait]
impl TableProvider for SortedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // Bounds on time are cut when a scan runs; what does not depend on the window is filtered once for all of them.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> QueryResult<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.kind(filter) {
            FilterKind::Bound | FilterKind::Fixed => TableProviderFilterPushDown::Exact,
            FilterKind::Other => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.slice(state, projection, filters)?))
    }
}

/// What a filter of a scan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FilterKind {
    /// It compares the time column with what may depend on the window, and with nothing else.
    Bound,
    /// The row alone.
    Fixed,
    /// Anything else.
    Other,
}

impl SortedTable {
    /// The same for a filter whose parameters are open, and for one in which volatile functions have taken their place.
    fn kind(&self, filter: &Expr) -> FilterKind {
        if is_constant(filter, true) {
            return FilterKind::Fixed;
        }
        let is_bound = match filter {
            Expr::BinaryExpr(BinaryExpr { op, .. }) => matches!(
                op,
                Operator::GtEq | Operator::Gt | Operator::Lt | Operator::LtEq | Operator::Eq
            ),
            Expr::Between(between) => !between.negated,
            _ => false,
        };
        let wanted = if matches!(filter, Expr::Between(_)) {
            2
        } else {
            1
        };
        let found = comparisons([filter], self.column);
        match is_bound
            && found.len() == wanted
            && found.iter().all(|(_, end)| is_constant(end, false))
        {
            true => FilterKind::Bound,
            false => FilterKind::Other,
        }
    }

    fn slice(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> QueryResult<Slice> {
        let empty = DFSchema::empty();
        let (mut fixed, mut bounds) = (Vec::new(), Vec::new());
        for filter in filters {
            match self.kind(filter) {
                FilterKind::Fixed => fixed.push(filter.clone()),
                FilterKind::Bound => {
                    for (op, constant) in comparisons([filter], self.column) {
                        bounds.push((op, state.create_physical_expr(constant.clone(), &empty)?));
                    }
                }
                FilterKind::Other => {}
            }
        }
        let loaded = &self.loaded;
        let columns = match projection {
            Some(projection) => projection
                .iter()
                .map(|index| loaded.index_of(self.schema.field(*index).name()))
                .collect::<Result<Vec<_>, _>>()?,
            None => (0..loaded.fields().len()).collect(),
        };
        let schema = Arc::new(loaded.project(&columns)?);
        let filter = conjunction(fixed)
            .map(|filter| {
                state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(loaded))?)
            })
            .transpose()?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Slice {
            says: format!(
                "{:p} columns {columns:?} where {}",
                Arc::as_ptr(&self.rows),
                filters
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" AND ")
            ),
            table: self.clone(),
            filter,
            columns,
            schema,
            bounds,
            properties: Arc::new(properties),
            candidates: Mutex::default(),
        })
    }
}

/// Whether an expression has the same value in every window; of the row, or of nothing.
fn is_constant(expr: &Expr, of_a_row: bool) -> bool {
    let is_free = |expr: &Expr| match expr {
        Expr::Column(_) => of_a_row,
        Expr::Placeholder(_) => !of_a_row,
        Expr::ScalarFunction(call) => {
            call.func.signature().volatility != Volatility::Volatile || !of_a_row
        }
        Expr::ScalarSubquery(_)
        | Expr::InSubquery(_)
        | Expr::Exists(_)
        | Expr::SetComparison(_)
        | Expr::OuterReferenceColumn(..) => false,
        _ => true,
    };
    !expr.exists(|expr| Ok(!is_free(expr))).unwrap_or(true)
}

/// The rows of a scan, cut when it runs and not when it is planned: a plan is made once and runs for many windows.
#[derive(Debug)]
pub(super) struct Slice {
    table: SortedTable,
    /// What must hold of a row, whatever the window.
    filter: Option<Arc<dyn PhysicalExpr>>,
    /// Positions among the loaded columns of what is returned.
    columns: Vec<usize>,
    schema: SchemaRef,
    /// What the time column is compared with.
    bounds: Vec<(Operator, Arc<dyn PhysicalExpr>)>,
    /// All of this in words: two scans of one table that say the same are the same.
    says: String,
    properties: Arc<PlanProperties>,
    /// Made of the table's rows when they are first asked for, and again when they were replaced.
    candidates: Mutex<Option<Arc<Candidates>>>,
}

/// The rows of a table that some window may return.
#[derive(Debug)]
struct Candidates {
    of: Arc<Sorted>,
    /// Only these, and only the columns that are returned; `None` where the filter has to wait for the window.
    kept: Option<Sorted>,
}

impl Candidates {
    fn rows(&self) -> &Sorted {
        self.kept.as_ref().unwrap_or(&self.of)
    }
}

/// Candidates that lie in a window.
#[derive(Debug, Clone)]
pub(super) struct Section {
    candidates: Arc<Candidates>,
    range: Range<usize>,
}

/// The same places in the same rows.
impl PartialEq for Section {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.candidates, &other.candidates) && self.range == other.range
    }
}

impl Section {
    pub(super) fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl Slice {
    /// The rows of the window that is now.
    ///
    /// # Errors
    /// When a bound cannot be computed.
    pub(super) fn section(&self) -> QueryResult<Section> {
        let candidates = self.candidates()?;
        let range = self.range(&candidates.rows().times)?;
        Ok(Section { candidates, range })
    }

    fn range(&self, times: &TimestampMicrosecondArray) -> QueryResult<Range<usize>> {
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
                None => return Ok(0..0),
            }
        }
        Ok(between(times, bounds.from, bounds.to))
    }

    fn candidates(&self) -> QueryResult<Arc<Candidates>> {
        let rows = self.table.rows();
        let mut known = self
            .candidates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(candidates) = &*known
            && Arc::ptr_eq(&candidates.of, &rows)
        {
            return Ok(Arc::clone(candidates));
        }
        // A filter that fails on a row of another window must not fail this one: then it is left for later.
        let kept = match self.filtered(&rows.rows) {
            Ok(kept) => {
                let times = times(
                    &kept,
                    self.table.loaded.index_of(self.table.column)?,
                    self.table.column,
                )?;
                let rows = kept.project(&self.columns)?;
                Some(Sorted { rows, times })
            }
            Err(_) => None,
        };
        let candidates = Arc::new(Candidates { of: rows, kept });
        *known = Some(Arc::clone(&candidates));
        Ok(candidates)
    }

    /// What the filter keeps.
    fn filtered(&self, rows: &RecordBatch) -> QueryResult<RecordBatch> {
        let Some(filter) = &self.filter else {
            return Ok(rows.clone());
        };
        let mask = filter.evaluate(rows)?.into_array(rows.num_rows())?;
        Ok(filter_record_batch(rows, mask.as_boolean())?)
    }

    fn read(&self) -> QueryResult<RecordBatch> {
        let Section { candidates, range } = self.section()?;
        let rows = candidates.rows().rows.slice(range.start, range.len());
        match candidates.kept {
            Some(_) => Ok(rows),
            None => Ok(self.filtered(&rows)?.project(&self.columns)?),
        }
    }
}

impl DisplayAs for Slice {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice: {}", self.says)
    }
}

impl ExecutionPlan for Slice {
    fn name(&self) -> &'static str {
        "Slice"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    // The bounds are constants of a window, and nobody else's business.
    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> QueryResult<TreeNodeRecursion>,
    ) -> QueryResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    // Deprecated, and required all the same.
    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        _context: Arc<TaskContext>,
    ) -> QueryResult<SendableRecordBatchStream> {
        let rows = self.read();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::iter([rows]),
        )))
    }
}

/// An order by time, refined by texts, without the rows that are copies of others.
fn distinct(
    rows: &RecordBatch,
    times: &TimestampMicrosecondArray,
    order: &UInt32Array,
    identity: &[&str],
) -> Result<UInt32Array> {
    let columns = identity
        .iter()
        .map(|name| Ok(rows.column(rows.schema().index_of(name)?)))
        .collect::<Result<Vec<_>>>()?;
    let comparators = columns
        .iter()
        .map(|column| make_comparator(column, column, SortOptions::default()))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let compare = |a: u32, b: u32| {
        comparators
            .iter()
            .map(|comparator| comparator(a as usize, b as usize))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    };
    let lengths = arrow::compute::kernels::length::length(columns[0])?;
    let lengths = arrow::compute::cast(&lengths, &DataType::Int64)?;
    let lengths = lengths.as_primitive::<Int64Type>();
    let is_named = |row: u32| lengths.is_valid(row as usize) && lengths.value(row as usize) > 0;
    let mut kept: Vec<u32> = Vec::with_capacity(order.len());
    for same in order
        .values()
        .chunk_by(|a, b| times.value(*a as usize) == times.value(*b as usize))
    {
        let mut same = same.to_vec();
        same.sort_by(|a, b| compare(*a, *b));
        same.dedup_by(|a, b| is_named(*a) && compare(*a, *b).is_eq());
        kept.extend(same);
    }
    Ok(kept.into())
}

/// The time column of some rows.
fn times(rows: &RecordBatch, index: usize, name: &str) -> QueryResult<TimestampMicrosecondArray> {
    let times = rows
        .column(index)
        .as_any()
        .downcast_ref::<TimestampMicrosecondArray>();
    times
        .cloned()
        .ok_or_else(|| DataFusionError::Plan(format!("`{name}` is not a time in microseconds")))
}

fn between(times: &TimestampMicrosecondArray, from: Option<i64>, to: Option<i64>) -> Range<usize> {
    let times = times.values();
    let first = from.map_or(0, |from| times.partition_point(|time| *time < from));
    let last = to.map_or(times.len(), |to| times.partition_point(|time| *time < to));
    first..last.max(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, TimeUnit};

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
    fn a_record_delivered_twice_is_there_once() {
        let schema = Arc::new(Schema::new(vec![
            Field::new(
                "event_time",
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                false,
            ),
            Field::new("event_id", DataType::Utf8, false),
        ]));
        let rows = [
            (2, "b"),
            (1, "x"),
            (2, "a"),
            (2, "b"),
            (3, "b"),
            (1, ""),
            (1, ""),
        ];
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                Arc::new(
                    TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0))
                        .with_timezone("UTC"),
                ),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
            ],
        );
        let batches = [batch.expect("fits")];
        let table = SortedTable::without_copies(schema, &batches, "event_time", &["event_id"]);
        let table = table.expect("valid").between(None, None);
        let ids: Vec<_> = table
            .column(1)
            .as_string::<i32>()
            .iter()
            .flatten()
            .collect();
        // Without a name nothing says that two rows are one.
        assert_eq!(ids, ["", "", "x", "a", "b", "b"]);
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

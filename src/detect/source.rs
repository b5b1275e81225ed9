//! What rules read of the store, read once for many windows and many rules.
//!
//! Windows overlap, so evaluating each from files would read a row as often as windows hold it. The columns that rules
//! read are loaded for the whole range of their windows into [`SortedTable`]s; a window is then a slice. Views are
//! written out over that range as well, where the rows show that a window alone would not have seen anything else.
//! Ranges that do not fit the memory allowed are cut in two; where a single window does not fit, it is read from the
//! store, slowly and in bounded memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlanProperties, execute_stream_partitioned};
use datafusion::prelude::{DataFrame, SessionContext};
use futures::StreamExt;

use super::evaluate::{Prepared, Window};
use super::json;
use super::slice::SortedTable;
use crate::catalog::{BoundedView, View, register_views, views};
use crate::error::Result;
use crate::schema::Table;
use crate::session::{self, SessionOptions};
use crate::store::Store;

/// What rules read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Columns by table.
    pub tables: BTreeMap<Table, BTreeSet<String>>,
    /// Columns by view.
    pub views: BTreeMap<String, BTreeSet<String>>,
}

impl Needs {
    /// What a rule reads by name.
    ///
    /// # Errors
    /// When its plan cannot be optimised.
    pub fn of(context: &SessionContext, prepared: &Prepared<'_>) -> Result<Needs> {
        let mut needs = Needs::default();
        let window = prepared.window(0);
        needs.add(context, &prepared.bound(window)?)?;
        if let Some((table, columns)) = prepared.coverage_columns() {
            needs.tables.entry(table).or_default().extend(columns);
        }
        Ok(needs)
    }

    /// The same with the tables beneath the views.
    ///
    /// # Errors
    /// When a view cannot be optimised.
    pub async fn through_views(&self, context: &SessionContext) -> Result<Needs> {
        let mut needs = self.clone();
        let mut pending: Vec<(String, BTreeSet<String>)> = self.views.clone().into_iter().collect();
        while let Some((name, columns)) = pending.pop() {
            let provider = context.table_provider(name.as_str()).await?;
            let Some(view) = provider.downcast_ref::<BoundedView>() else {
                continue;
            };
            let plan = view.over(&positions(view, &columns)?, ALL_TIME)?;
            let mut inner = Needs::default();
            inner.add(context, &plan)?;
            pending.extend(inner.views.clone());
            needs.join(&inner);
        }
        Ok(needs)
    }

    /// How far beyond the ends of a window the views read.
    pub(super) fn margin(&self) -> i64 {
        let views = views();
        let used = views
            .iter()
            .filter(|view| self.views.contains_key(&view.name));
        used.map(|view| view.margin.0).max().unwrap_or(0)
    }

    /// Adds what another reads.
    pub fn join(&mut self, other: &Needs) {
        for (table, columns) in &other.tables {
            let known = self.tables.entry(*table).or_default();
            known.extend(columns.iter().cloned());
        }
        for (view, columns) in &other.views {
            let known = self.views.entry(view.clone()).or_default();
            known.extend(columns.iter().cloned());
        }
    }

    fn add(&mut self, context: &SessionContext, plan: &LogicalPlan) -> Result<()> {
        let optimised = context.state().optimize(plan)?;
        optimised.apply_with_subqueries(|node| {
            let LogicalPlan::TableScan(scan) = node else {
                return Ok(TreeNodeRecursion::Continue);
            };
            let provider = source_as_provider(&scan.source)?;
            let name = scan.table_name.table();
            let columns = if provider.downcast_ref::<BoundedView>().is_some() {
                self.views.entry(name.to_string()).or_default()
            } else if let Some(table) = Table::from_name(name) {
                let columns = self.tables.entry(table).or_default();
                columns.insert(table.time_column().to_string());
                columns
            } else {
                return Ok(TreeNodeRecursion::Continue);
            };
            let fields = scan.projected_schema.fields().iter();
            columns.extend(fields.map(|field| field.name().clone()));
            let filtered = scan.filters.iter().flat_map(|filter| filter.column_refs());
            columns.extend(filtered.map(|column| column.name.clone()));
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    /// Loads what lies in a range of time; `None` when it does not fit `limit` bytes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(
        &self,
        store: &SessionContext,
        range: Window,
        limit: u64,
    ) -> Result<Option<SessionContext>> {
        let known = views();
        let used = known
            .iter()
            .filter(|view| self.views.contains_key(&view.name));
        let margin = self.margin();
        let wide = Window {
            start: range.start - margin,
            end: range.end + margin,
        };
        let context = session::context(&SessionOptions {
            target_partitions: Some(1),
            ..SessionOptions::default()
        })?;
        let held = Arc::new(AtomicU64::new(0));
        let mut needs = self.with_spans(&known).through_views(store).await?;
        for (table, columns) in &mut needs.tables {
            columns.extend(identity(*table).iter().map(|name| (*name).to_string()));
        }
        for (table, columns) in &needs.tables {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            let sql = format!(
                "SELECT {} FROM {} WHERE {}",
                columns.join(", "),
                table.name(),
                within(*table, wide)
            );
            let Some(batches) = read(store.sql(&sql).await?, &held, limit).await? else {
                return Ok(None);
            };
            let schema = plain_schema(*table);
            let batches = batches
                .iter()
                .map(|batch| plain(batch, &schema))
                .collect::<Result<Vec<_>>>()?;
            let sorted = SortedTable::without_copies(
                schema,
                &batches,
                table.time_column(),
                identity(*table),
            )?;
            context.register_table(table.name(), Arc::new(sorted))?;
        }
        // The optimizer may have seen that a table is not needed, as under a list parameter that is empty; the rule
        // names it all the same.
        for table in Table::ALL {
            if !needs.tables.contains_key(&table) {
                let empty = SortedTable::new(plain_schema(table), &[], table.time_column())?;
                context.register_table(table.name(), Arc::new(empty))?;
            }
        }
        register_views(&context, &known).await?;
        for view in used {
            if let Some(rows) = self.written_out(&context, view, range).await? {
                held.fetch_add(rows.bytes() as u64, Ordering::Relaxed);
                context.deregister_table(view.name.as_str())?;
                context.register_table(view.name.as_str(), Arc::new(rows))?;
            }
        }
        Ok((held.load(Ordering::Relaxed) <= limit).then_some(context))
    }

    /// With the columns that tell whether a view may be written out.
    fn with_spans(&self, known: &[View]) -> Needs {
        let mut needs = self.clone();
        for view in known {
            if let Some(columns) = needs.views.get_mut(&view.name) {
                columns.insert(VIEW_TIME.to_string());
                columns.extend(view.span_ms.clone());
            }
        }
        needs
    }

    /// The rows of a view for a whole range of windows. `None` when a window alone might show others: when some row
    /// was made of records further apart than what a window reads beyond its ends.
    async fn written_out(
        &self,
        context: &SessionContext,
        view: &View,
        range: Window,
    ) -> Result<Option<SortedTable>> {
        let Some(span_ms) = &view.span_ms else {
            return Ok(None);
        };
        let provider = context.table_provider(view.name.as_str()).await?;
        let Some(bounded) = provider.downcast_ref::<BoundedView>() else {
            return Ok(None);
        };
        let needs = self.with_spans(std::slice::from_ref(view));
        let columns = positions(bounded, &needs.views[&view.name])?;
        let plan = bounded.over(&columns, (range.start, range.end))?;
        // Where there is no memory for all of it at once, there may be for a window.
        let Ok(batches) = context.execute_logical_plan(plan).await?.collect().await else {
            return Ok(None);
        };
        let most = view.margin.0 / 1_000;
        for batch in &batches {
            let spans = batch.column_by_name(span_ms).map(|column| {
                let spans = column.as_primitive::<Int64Type>();
                arrow::compute::max(spans).unwrap_or(0)
            });
            if spans.is_none_or(|longest| longest >= most) {
                return Ok(None);
            }
        }
        SortedTable::new(bounded.schema(), &batches, VIEW_TIME).map(Some)
    }
}

/// The columns by which two rows are known to be the same record.
pub(super) fn identity(table: Table) -> &'static [&'static str] {
    match table {
        Table::Calls | Table::Audit => &["event_id", "source_format"],
        Table::Content => &["event_id", "source_format", "direction", "seq"],
        _ => &[],
    }
}

/// The column that says when a row of a view happened.
const VIEW_TIME: &str = "event_time";

/// Years 1900 and 2200.
const ALL_TIME: (i64, i64) = (-2_208_988_800_000_000, 7_258_118_400_000_000);

fn positions(view: &BoundedView, columns: &BTreeSet<String>) -> Result<Vec<usize>> {
    let schema = view.schema();
    let positions = columns.iter().map(|name| schema.index_of(name));
    Ok(positions.collect::<Result<_, _>>()?)
}

/// The rows of a query, in the order of its partitions; `None` when more than `limit` bytes are held with them.
async fn read(
    query: DataFrame,
    held: &Arc<AtomicU64>,
    limit: u64,
) -> Result<Option<Vec<RecordBatch>>> {
    let task = Arc::new(query.task_ctx());
    let plan = query.create_physical_plan().await?;
    let mut parts = Vec::with_capacity(plan.output_partitioning().partition_count());
    for mut stream in execute_stream_partitioned(plan, task)? {
        let held = Arc::clone(held);
        parts.push(tokio::spawn(async move {
            let mut batches = Vec::new();
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                let bytes = batch.get_array_memory_size() as u64;
                if held.fetch_add(bytes, Ordering::Relaxed) + bytes > limit {
                    return Ok(None);
                }
                batches.push(batch);
            }
            Ok::<_, DataFusionError>(Some(batches))
        }));
    }
    let mut batches = Some(Vec::new());
    for part in parts {
        let part = part
            .await
            .map_err(|error| DataFusionError::External(error.into()))?;
        match (part?, &mut batches) {
            (Some(part), Some(batches)) => batches.extend(part),
            _ => batches = None,
        }
    }
    Ok(batches)
}

/// A table's schema in memory: strings as they are written, not the views that a scan hands out. A batch of views is
/// as large as all that it points into, and every operator that counts its memory counts that anew.
fn plain_schema(table: Table) -> SchemaRef {
    let schema = table.schema();
    // In files of before a column was there, it is null.
    let fields = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Rows with the types of that schema.
fn plain(batch: &RecordBatch, schema: &Schema) -> Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let field = schema.field_with_name(field.name())?;
        columns.push(arrow::compute::cast(column, field.data_type())?);
        fields.push(field.clone());
    }
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

fn within(table: Table, range: Window) -> String {
    let (from, to) = (json::time_text(range.start), json::time_text(range.end));
    let column = table.time_column();
    format!("{column} >= TIMESTAMP '{from}' AND {column} < TIMESTAMP '{to}'")
}

/// The tables whose last event says how late it is.
const CLOCKS: [Table; 2] = [Table::Calls, Table::Audit];

/// First and last event of tables.
#[derive(Debug, Clone, Default)]
pub(super) struct Extents(BTreeMap<Table, (i64, i64)>);

impl Extents {
    /// Looks at some tables, and at those that say how late it is. The log tells, to the millisecond; no file is read.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub(super) fn of(store: &Store, tables: impl IntoIterator<Item = Table>) -> Result<Extents> {
        let mut extents = BTreeMap::new();
        let tables: BTreeSet<Table> = tables.into_iter().chain(CLOCKS).collect();
        for table in tables {
            let snapshot = store.snapshot(table)?;
            let logs = snapshot.iter().filter(|file| !file.is_journal());
            let ranges = logs.filter_map(|file| file.time_range());
            let whole = ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            extents.extend(whole.map(|range| (table, range)));
        }
        Ok(Extents(extents))
    }

    /// First event of a table, and the last event of the store, which is how late it is there: a table with few rows
    /// does not hold its own windows open. `None` when the table has no event.
    pub(super) fn of_source(&self, table: Option<Table>) -> Option<(i64, i64)> {
        let (first, last) = *self.0.get(&table?)?;
        let others = CLOCKS.map(|table| self.0.get(&table));
        let last = others
            .into_iter()
            .flatten()
            .map(|(_, last)| *last)
            .fold(last, i64::max);
        Some((first, last))
    }

    /// The last event of the store.
    pub(super) fn last(&self) -> Option<i64> {
        self.0.values().map(|(_, last)| *last).max()
    }

    /// First event of some tables.
    pub(super) fn first<'a>(&self, tables: impl IntoIterator<Item = &'a Table>) -> Option<i64> {
        let firsts = tables.into_iter().filter_map(|table| self.0.get(table));
        firsts.map(|(first, _)| *first).min()
    }
}

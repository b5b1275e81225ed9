//! What a rule reads of the store, read once for many windows.
//!
//! Windows overlap, so evaluating each from files would read a row as often as windows hold it. The columns that a
//! rule reads are loaded for the whole range of its windows into a [`SortedTable`]; a window is then a slice. Ranges
//! that would not fit the memory allowed are cut in two; where a single window does not fit, it is read from the
//! store, slowly and in bounded memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use super::evaluate::{Prepared, Window};
use super::json;
use super::slice::SortedTable;
use crate::catalog::{BoundedView, RuleFile, register_views, views};
use crate::error::Result;
use crate::schema::Table;
use crate::session::{self, SessionOptions};

/// What a rule reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Columns by table.
    pub tables: BTreeMap<Table, BTreeSet<String>>,
    /// Whether it reads them through a view.
    pub has_views: bool,
}

/// A merged view reads this far beyond a window.
const MARGIN: i64 = 15 * 60_000_000;

impl Needs {
    /// What a rule reads, views looked through.
    ///
    /// # Errors
    /// When its plan cannot be optimised.
    pub fn of(context: &SessionContext, prepared: &Prepared<'_>) -> Result<Needs> {
        let mut needs = Needs::default();
        let window = prepared.window(0);
        needs.add(context, &prepared.bound(window)?)?;
        let rule = &prepared.file.rule;
        for (table, columns) in &mut needs.tables {
            columns.insert(table.time_column().to_string());
            let schema = table.schema();
            columns.extend(
                rule.requires
                    .iter()
                    .filter(|name| schema.field_with_name(name).is_ok())
                    .cloned(),
            );
        }
        Ok(needs)
    }

    fn add(&mut self, context: &SessionContext, plan: &LogicalPlan) -> Result<()> {
        let state = context.state();
        let optimised = state.optimize(plan)?;
        let mut inner = Vec::new();
        optimised.apply_with_subqueries(|node| {
            let LogicalPlan::TableScan(scan) = node else {
                return Ok(TreeNodeRecursion::Continue);
            };
            let provider = source_as_provider(&scan.source)?;
            if let Some(view) = provider.downcast_ref::<BoundedView>() {
                self.has_views = true;
                inner.push(view.narrowed(&state, scan.projection.as_ref(), &scan.filters)?);
            } else if let Some(table) = Table::from_name(scan.table_name.table()) {
                let columns = self.tables.entry(table).or_default();
                columns.extend(
                    scan.projected_schema
                        .fields()
                        .iter()
                        .map(|field| field.name().clone()),
                );
                for filter in &scan.filters {
                    columns.extend(
                        filter
                            .column_refs()
                            .into_iter()
                            .map(|column| column.name.clone()),
                    );
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        inner.iter().try_for_each(|plan| self.add(context, plan))
    }

    /// A guess at the bytes of a row: texts and lists are what weighs.
    fn row_width(&self, table: Table) -> u64 {
        let schema = table.schema();
        let width = |name: &String| match schema
            .field_with_name(name)
            .map(|field| field.data_type().is_primitive())
        {
            Ok(true) => 9,
            _ => 48,
        };
        self.tables
            .get(&table)
            .map_or(0, |columns| columns.iter().map(width).sum())
    }

    /// Loads what lies in a range of time; `None` when it may not fit `limit` bytes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(
        &self,
        store: &SessionContext,
        range: Window,
        limit: u64,
    ) -> Result<Option<SessionContext>> {
        let mut bytes = 0;
        for table in self.tables.keys() {
            bytes += self.row_width(*table) * count(store, *table, range).await?;
        }
        if bytes > limit {
            return Ok(None);
        }
        let context = session::context(&SessionOptions {
            target_partitions: Some(1),
            ..SessionOptions::default()
        })?;
        for (table, columns) in &self.tables {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            let sql = format!(
                "SELECT {} FROM {} WHERE {}",
                columns.join(", "),
                table.name(),
                within(*table, range)
            );
            let batches = store.sql(&sql).await?.collect_partitioned().await?.concat();
            let schema = store.table_provider(table.name()).await?.schema();
            let sorted = SortedTable::new(schema, &batches, table.time_column())?;
            context.register_table(table.name(), Arc::new(sorted))?;
        }
        // The optimizer may have seen that a table is not needed, as under a list parameter that is empty; the rule
        // names it all the same.
        for table in Table::ALL {
            if !self.tables.contains_key(&table) {
                let empty = SortedTable::new(table.schema(), &[], table.time_column())?;
                context.register_table(table.name(), Arc::new(empty))?;
            }
        }
        if self.has_views {
            register_views(&context, &views()).await?;
        }
        Ok(Some(context))
    }
}

fn within(table: Table, range: Window) -> String {
    let (from, to) = (
        json::time_text(range.start - MARGIN),
        json::time_text(range.end + MARGIN),
    );
    let column = table.time_column();
    format!("{column} >= TIMESTAMP '{from}' AND {column} < TIMESTAMP '{to}'")
}

async fn count(store: &SessionContext, table: Table, range: Window) -> Result<u64> {
    let sql = format!(
        "SELECT count(*) AS n FROM {} WHERE {}",
        table.name(),
        within(table, range)
    );
    let batches = store.sql(&sql).await?.collect().await?;
    let row = batches
        .iter()
        .find(|batch| batch.num_rows() > 0)
        .map(|batch| json::row(batch, 0))
        .transpose()?;
    Ok(row.and_then(|row| row["n"].as_u64()).unwrap_or(0))
}

/// First event of a rule's first source, and the last event of the store, which is how late it is there: a table with
/// few rows does not hold its own windows open. `None` when the source has no event.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn extent(store: &SessionContext, file: &RuleFile) -> Result<Option<(i64, i64)>> {
    let Some(table) = file
        .rule
        .source
        .first()
        .and_then(|name| Table::from_name(name.trim_end_matches("_merged")))
    else {
        return Ok(None);
    };
    let column = table.time_column();
    let sql = format!(
        "SELECT min({column}) AS first, greatest(max({column}), (SELECT max(event_time) FROM calls), \
         (SELECT max(event_time) FROM audit)) AS last FROM {}",
        table.name()
    );
    let batches = store.sql(&sql).await?.collect().await?;
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else {
        return Ok(None);
    };
    let row = json::row(batch, 0)?;
    let time = |name: &str| {
        let time = row[name]
            .as_str()
            .and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
        time.map(|time| time.timestamp_micros())
    };
    Ok(time("first").zip(time("last")))
}

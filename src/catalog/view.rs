//! Views that stay cheap: a `view` block and a `SELECT` that may use `$window_start` and `$window_end`.
//!
//! A plain view over a join cannot pass a time filter to both of its sides. These can: whatever a query says about
//! `event_time` is bound to the two parameters, and the query's filters and columns go into the view's plan before
//! it is optimised. A query that says nothing about time gets the whole history.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arrow::datatypes::{Field, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as QueryResult;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::{NamePreserver, unnormalize_cols};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, Operator, TableProviderFilterPushDown, TableType, lit,
};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;

use super::block::split;
use super::bounds::comparisons;
use super::header::{Header, Section};
use super::problem::Problem;
use super::span::Span;
use crate::error::Result;

/// A view file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its name in SQL.
    pub name: String,
    /// What it shows.
    pub description: String,
    /// How far beyond its two times it reads.
    pub margin: Span,
    /// The column that says how many milliseconds lie between the records that a row was made of. With it, rows for a
    /// long range are those for every window in it, as long as none is above the margin.
    pub span_ms: Option<String>,
    /// Its query.
    pub sql: String,
    /// Where it was read from.
    pub path: PathBuf,
}

impl View {
    /// Reads a view file; `None` when there is no `view` block in it.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn read(path: PathBuf, text: &str) -> Result<Option<View>, Vec<Problem>> {
        let at = |problems: Vec<Problem>| {
            problems
                .into_iter()
                .map(|problem| problem.at(&path))
                .collect::<Vec<_>>()
        };
        let file = split(text).map_err(at)?;
        let Some(block) = file.blocks.iter().find(|block| block.kind == "view") else {
            return Ok(None);
        };
        let header = Header::read(block, |section| {
            let name = section.required("name", Section::text);
            let description = section.required("description", Section::text);
            let margin = section.span("margin").unwrap_or_default();
            Some((name?, description?, margin, section.text("span_ms")))
        });
        let (name, description, margin, span_ms) = header.map_err(at)?;
        Ok(Some(View {
            name,
            description,
            margin,
            span_ms,
            sql: file.sql,
            path,
        }))
    }
}

/// The views that ship inside the binary.
///
/// # Panics
/// When an embedded view is wrong, which a test rules out.
pub fn views() -> Vec<View> {
    super::EMBEDDED
        .iter()
        .filter(|(name, _)| name.starts_with("queries/views/"))
        .filter_map(|(name, text)| {
            View::read(name.into(), text).expect("embedded views are tested")
        })
        .collect()
}

/// Registers views over the tables that the context has now, in place of what had their names.
///
/// # Errors
/// When a view does not plan.
pub async fn register_views(context: &SessionContext, views: &[View]) -> Result<()> {
    for view in views {
        let provider = Arc::new(BoundedView::new(context, &view.sql).await?);
        context.deregister_table(view.name.as_str())?;
        context.register_table(view.name.as_str(), provider)?;
    }
    Ok(())
}

/// The table provider of a [`View`].
pub struct BoundedView {
    /// With the two parameters open.
    plan: LogicalPlan,
    schema: SchemaRef,
    /// The plan cut down to some columns, still open. A view has a hundred columns and a rule reads five, window
    /// after window.
    narrow: Mutex<HashMap<Vec<usize>, LogicalPlan>>,
}

// The plan would fill a screen.
impl fmt::Debug for BoundedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedView").finish_non_exhaustive()
    }
}

/// Years 1900 and 2200: beyond every log, and far enough from the ends of the type for interval arithmetic.
const ALWAYS: (i64, i64) = (-2_208_988_800_000_000, 7_258_118_400_000_000);

/// A point in time as the tables hold it.
pub(crate) fn timestamp(micros: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
}

impl BoundedView {
    /// Plans the view over the tables that the context has now.
    ///
    /// # Errors
    /// When it does not plan.
    pub async fn new(context: &SessionContext, sql: &str) -> Result<BoundedView> {
        let plan = typed(context.state().create_logical_plan(sql).await?)?;
        let schema = Arc::clone(plan.schema().inner());
        Ok(BoundedView {
            plan,
            schema,
            narrow: Mutex::default(),
        })
    }

    /// The view's plan for a query with these filters and columns.
    ///
    /// # Errors
    /// When the filters do not fit the view.
    pub fn narrowed(
        &self,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> QueryResult<LogicalPlan> {
        let filters: Vec<Expr> = unnormalize_cols(filters.iter().cloned());
        let wanted: Vec<usize> = projection
            .cloned()
            .unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let mut read = wanted.clone();
        for column in filters.iter().flat_map(Expr::column_refs) {
            let index = self.schema.index_of(&column.name)?;
            if !read.contains(&index) {
                read.push(index);
            }
        }
        // Any one bound will do: the filters stay above, and a view reads beyond its window anyway.
        let (mut from, mut to) = (lit(timestamp(ALWAYS.0)), lit(timestamp(ALWAYS.1)));
        for (op, constant) in comparisons(&filters, "event_time") {
            match op {
                Operator::GtEq | Operator::Gt => from = constant.clone(),
                Operator::Lt | Operator::LtEq => to = constant.clone(),
                _ => {}
            }
        }
        let mut builder = LogicalPlanBuilder::from(bind(self.narrow(&read)?, &from, &to)?);
        for filter in filters {
            builder = builder.filter(filter)?;
        }
        builder.select(0..wanted.len())?.build()
    }

    /// The view's plan for some of its columns, bound to a range of time. Rows beside the range may come with it.
    ///
    /// # Errors
    /// When it does not plan.
    pub fn over(&self, columns: &[usize], (from, to): (i64, i64)) -> QueryResult<LogicalPlan> {
        let plan = self.narrow(columns)?;
        bind(plan, &lit(timestamp(from)), &lit(timestamp(to)))
    }

    fn narrow(&self, columns: &[usize]) -> QueryResult<LogicalPlan> {
        if let Some(plan) = self
            .narrow
            .lock()
            .expect("nothing in here panics")
            .get(columns)
        {
            return Ok(plan.clone());
        }
        let plan = LogicalPlanBuilder::from(self.plan.clone())
            .select(columns.iter().copied())?
            .build()?;
        // Without the columns that nobody reads, everything after takes a fraction of the time. All else is left for
        // when the query's filters are in it, and optimised with them.
        let pruning = Optimizer::with_rules(vec![Arc::new(OptimizeProjections::new())]);
        let plan = pruning.optimize(plan, &OptimizerContext::new(), |_, _| {})?;
        self.narrow
            .lock()
            .expect("nothing in here panics")
            .insert(columns.to_vec(), plan.clone());
        Ok(plan)
    }
}

/// The plan with its parameters in time known to be times: what the planner infers from `$window_start - INTERVAL ...`
/// is an interval.
pub(crate) fn typed(plan: LogicalPlan) -> QueryResult<LogicalPlan> {
    let time = Arc::new(Field::new("", timestamp(0).data_type(), true));
    replace_placeholders(plan, |placeholder| {
        Some(Expr::Placeholder(Placeholder {
            id: placeholder.id.clone(),
            field: Some(Arc::clone(&time)),
        }))
    })
}

fn bind(plan: LogicalPlan, from: &Expr, to: &Expr) -> QueryResult<LogicalPlan> {
    replace_placeholders(plan, |placeholder| match placeholder.id.as_str() {
        "$window_start" => Some(from.clone()),
        "$window_end" => Some(to.clone()),
        _ => None,
    })
}

/// Puts expressions in the place of placeholders; names of output columns stay.
pub(crate) fn replace_placeholders(
    plan: LogicalPlan,
    with: impl Fn(&Placeholder) -> Option<Expr>,
) -> QueryResult<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let replaced = expr.transform_up(|expr| {
                let new = match &expr {
                    Expr::Placeholder(placeholder) => with(placeholder),
                    _ => None,
                };
                Ok(new.map_or_else(|| Transformed::no(expr), Transformed::yes))
            })?;
            Ok(if replaced.transformed {
                replaced.update_data(|expr| name.restore(expr))
            } else {
                replaced
            })
        })?;
        if node.transformed {
            node.map_data(LogicalPlan::recompute_schema)
        } else {
            Ok(node)
        }
    })?;
    Ok(plan.data)
}

#[async_trait]
impl TableProvider for BoundedView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> QueryResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        let plan = self
            .narrowed(projection, filters)
            .and_then(|plan| match limit {
                Some(limit) => LogicalPlanBuilder::from(plan)
                    .limit(0, Some(limit))?
                    .build(),
                None => Ok(plan),
            });
        state.create_physical_plan(&plan?).await
    }
}

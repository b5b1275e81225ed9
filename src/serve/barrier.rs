//! A table of which a session sees some rows only.
//!
//! It is not enough to add the condition to each query: the optimizer would put a query's own conditions beside it, in
//! any order, and one that fails on a value (`CAST(caller AS BIGINT)`) would tell that value in its error. So the
//! condition is a part of the table, and nothing of a query goes below it but comparisons with constants, which cannot
//! fail. Above stands a node that hands nothing down and no count of what is below up. Plans, which name files, are not
//! shown to such a session.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::TableType;
use datafusion::error::Result as QueryResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::col;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

/// A table without the rows that do not meet a condition.
#[derive(Debug)]
pub(super) struct Barred {
    table: Arc<dyn TableProvider>,
    condition: Expr,
}

impl Barred {
    pub(super) fn new(table: Arc<dyn TableProvider>, condition: Expr) -> Barred {
        Barred { table, condition }
    }
}

/// Whether a condition has a value for every row: comparisons of a column with constants, and what joins them.
fn cannot_fail(filter: &Expr) -> bool {
    let is_column = |expr: &Expr| matches!(expr, Expr::Column(_));
    let is_constant = |expr: &Expr| matches!(expr, Expr::Literal(..));
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => cannot_fail(left) && cannot_fail(right),
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq => {
                (is_column(left) && is_constant(right)) || (is_constant(left) && is_column(right))
            }
            _ => false,
        },
        Expr::Not(inner) => cannot_fail(inner),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => is_column(inner),
        Expr::InList(InList { expr, list, .. }) => is_column(expr) && list.iter().all(is_constant),
        _ => false,
    }
}

#[async_trait]
impl TableProvider for Barred {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> QueryResult<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match cannot_fail(filter) {
                true => TableProviderFilterPushDown::Inexact,
                false => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    // A limit stays above: it is one of rows that are left.
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        let schema = self.table.schema();
        let wanted: Vec<usize> = match projection {
            Some(wanted) => wanted.clone(),
            None => (0..schema.fields().len()).collect(),
        };
        let mut read = wanted.clone();
        for column in self.condition.column_refs() {
            let index = schema.index_of(&column.name)?;
            if !read.contains(&index) {
                read.push(index);
            }
        }
        let below: Vec<Expr> = std::iter::once(&self.condition)
            .chain(filters.iter().filter(|filter| cannot_fail(filter)))
            .cloned()
            .collect();
        let rows = self.table.scan(state, Some(&read), &below, None).await?;
        let of_rows = DFSchema::try_from(rows.schema())?;
        let condition = state.create_physical_expr(self.condition.clone(), &of_rows)?;
        let mut rows: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(condition, rows)?);
        if read.len() > wanted.len() {
            let columns = wanted.iter().map(|index| {
                let name = schema.field(*index).name();
                Ok(ProjectionExpr::new(col(name, &rows.schema())?, name))
            });
            let columns = columns.collect::<QueryResult<Vec<_>>>()?;
            rows = Arc::new(ProjectionExec::try_new(columns, rows)?);
        }
        Ok(Arc::new(Barrier(rows)))
    }
}

/// Passes rows on, and nothing else in either direction: what it does not say of filters, limits, projections and
/// statistics is, by the trait's defaults, that they stay where they are.
#[derive(Debug)]
struct Barrier(Arc<dyn ExecutionPlan>);

impl DisplayAs for Barrier {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Barrier")
    }
}

impl ExecutionPlan for Barrier {
    fn name(&self) -> &'static str {
        "Barrier"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.0]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> QueryResult<TreeNodeRecursion>,
    ) -> QueryResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(child) if children.is_empty() => Ok(Arc::new(Barrier(child))),
            _ => datafusion::common::internal_err!("a barrier has one child"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> QueryResult<SendableRecordBatchStream> {
        self.0.execute(partition, context)
    }
}

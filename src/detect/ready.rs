//! A rule planned to the end once, and run for one window after the other.
//!
//! Planning costs more than evaluating a small window. So the parameters in time stay open while the plan is
//! optimised; then functions take their place that read the window from a cell. Tables in memory cut their rows when
//! they are run ([`super::slice`]), so nothing in the physical plan depends on the window. Views are written out
//! first, or they would be planned anew by every scan.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as QueryResult;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;

use super::budget::stoppable;
use super::emptiness::Shape;
use super::evaluate::Window;
use super::slice::Section;
use crate::catalog::{BoundedView, Rule, replace_placeholders, timestamp, typed};
use crate::error::Result;
use crate::session::share;

/// A physical plan and the cells that its window is read from.
#[derive(Debug)]
pub(super) struct ReadyPlan {
    plan: Arc<dyn ExecutionPlan>,
    cells: Vec<(&'static str, Arc<AtomicI64>)>,
    task: Arc<TaskContext>,
    shape: Shape,
    /// Counts the runs, for what is shared within one.
    run: Arc<AtomicU64>,
    /// Whether the window decides something beside the rows that are read.
    depends_on_window: bool,
    last: Mutex<Option<Answer>>,
}

/// What came of some rows. The next window often holds the same ones.
#[derive(Debug)]
struct Answer {
    sections: Vec<Section>,
    rows: Vec<RecordBatch>,
}

impl ReadyPlan {
    /// Plans a rule with its own parameters bound.
    ///
    /// # Errors
    /// When it does not plan.
    pub(super) async fn new(
        context: &SessionContext,
        plan: LogicalPlan,
        rule: &Rule,
        params: Vec<(&str, ScalarValue)>,
    ) -> Result<ReadyPlan> {
        let mut state = context.state();
        // Their state outlives a run.
        state
            .config_mut()
            .options_mut()
            .optimizer
            .enable_dynamic_filter_pushdown = false;
        let engine = rule.engine_values(0, 0);
        let own: Vec<_> = params
            .into_iter()
            .chain(
                engine
                    .clone()
                    .into_iter()
                    .filter(|(_, value)| !is_time(value)),
            )
            .collect();
        let plan = replace_placeholders(plan, |placeholder| {
            let name = placeholder.id.trim_start_matches('$');
            own.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| lit(value.clone()))
        })?;
        let written_out = without_views(state.optimize(&typed(plan)?)?)?;
        let plan = match written_out.transformed {
            true => state.optimize(&written_out.data)?,
            false => written_out.data,
        };
        let cells: Vec<_> = engine
            .into_iter()
            .filter(|(_, value)| is_time(value))
            .map(|(name, _)| (name, Arc::new(AtomicI64::new(0))))
            .collect();
        let depends_on_window = reads_window(&plan)?;
        let plan = replace_placeholders(plan, |placeholder| {
            let name = placeholder.id.trim_start_matches('$');
            cells
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(name, cell)| {
                    ScalarUDF::from(WindowTime {
                        name,
                        cell: Arc::clone(cell),
                        signature: Signature::nullary(Volatility::Volatile),
                    })
                    .call(vec![])
                })
        })?;
        let plan = state
            .query_planner()
            .create_physical_plan(&plan, &state)
            .await?;
        let run = Arc::default();
        Ok(ReadyPlan {
            shape: Shape::of(&plan),
            plan: stoppable(share(plan, &run)?)?,
            run,
            cells,
            task: state.task_ctx(),
            depends_on_window,
            last: Mutex::default(),
        })
    }

    /// The rows for a window. One run at a time.
    pub(super) async fn run(&self, rule: &Rule, window: Window) -> Result<Vec<RecordBatch>> {
        for (name, value) in rule.engine_values(window.start, window.end) {
            let cell = self.cells.iter().find(|(known, _)| *known == name);
            if let (Some((_, cell)), ScalarValue::TimestampMicrosecond(Some(time), _)) =
                (cell, value)
            {
                cell.store(time, Ordering::Relaxed);
            }
        }
        let sections = self.shape.sections()?;
        if self.shape.is_empty(&sections) {
            return Ok(Vec::new());
        }
        if let Some(last) = &*self.last()
            && last.sections == sections
        {
            return Ok(last.rows.clone());
        }
        self.run.fetch_add(1, Ordering::Relaxed);
        let plan = reset_plan_states(Arc::clone(&self.plan))?;
        let rows = collect(plan, Arc::clone(&self.task)).await?;
        if !self.depends_on_window {
            *self.last() = Some(Answer {
                sections,
                rows: rows.clone(),
            });
        }
        Ok(rows)
    }

    fn last(&self) -> MutexGuard<'_, Option<Answer>> {
        self.last.lock().expect("nothing in here panics")
    }
}

/// Whether a time of the window is used for anything but to bound the time of rows.
fn reads_window(plan: &LogicalPlan) -> QueryResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(_) = node {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(matches!(expr, Expr::Placeholder(_))))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

fn is_time(value: &ScalarValue) -> bool {
    matches!(value, ScalarValue::TimestampMicrosecond(..))
}

/// The plan with the views in it written out.
fn without_views(plan: LogicalPlan) -> QueryResult<Transformed<LogicalPlan>> {
    plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else {
            return Ok(Transformed::no(node));
        };
        let provider = source_as_provider(&scan.source)?;
        let Some(view) = provider.downcast_ref::<BoundedView>() else {
            return Ok(Transformed::no(node));
        };
        let inner = view.narrowed(scan.projection.as_ref(), &scan.filters)?;
        Ok(Transformed::yes(
            LogicalPlanBuilder::from(inner)
                .alias(scan.table_name.clone())?
                .build()?,
        ))
    })
}

/// `window_start()` and its kin: the time in a cell. Volatile, so that nobody takes its value for a constant.
#[derive(Debug)]
struct WindowTime {
    name: &'static str,
    cell: Arc<AtomicI64>,
    signature: Signature,
}

impl PartialEq for WindowTime {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell)
    }
}

impl Eq for WindowTime {}

impl Hash for WindowTime {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for WindowTime {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> QueryResult<DataType> {
        Ok(timestamp(0).data_type())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> QueryResult<ColumnarValue> {
        Ok(ColumnarValue::Scalar(timestamp(
            self.cell.load(Ordering::Relaxed),
        )))
    }
}

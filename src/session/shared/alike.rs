//! Keeps parts of a query alike that are written alike.
//!
//! Of a CTE, each place that names it reads only the columns it needs, so that the plans of two places differ and neither
//! can use the rows of the other. An aggregate or a window that a query has several times, filters and all, is fenced in
//! here: it keeps its columns, and what is planned for one place is the plan of all. Filters have been pushed into it by
//! then; where they differ, so do the parts.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, internal_err};
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

/// Fences in aggregates and windows that a query has several times. Has to come after filters are pushed down, and before
/// expressions are given names and columns are left out.
#[derive(Debug, Default)]
pub(in crate::session) struct KeepAlike {
    /// How many parts were fenced in so far.
    fenced: AtomicUsize,
}

impl OptimizerRule for KeepAlike {
    fn name(&self) -> &'static str {
        "keep_alike"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let mut places: HashMap<&LogicalPlan, usize> = HashMap::new();
        plan.apply(|part| {
            Ok(match part {
                LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) if !is_volatile(part)? => {
                    *places.entry(part).or_default() += 1;
                    TreeNodeRecursion::Continue
                }
                LogicalPlan::Extension(extension) if is_fence(extension.node.as_ref()) => {
                    TreeNodeRecursion::Jump
                }
                _ => TreeNodeRecursion::Continue,
            })
        })?;
        places.retain(|_, places| *places > 1);
        if places.is_empty() {
            return Ok(Transformed::no(plan));
        }
        let alike: Vec<LogicalPlan> = places.into_keys().cloned().collect();
        let fenced = self.fenced.fetch_add(alike.len(), Relaxed);
        plan.transform_down(|part| match part {
            LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) if alike.contains(&part) => {
                let place = alike.iter().position(|other| *other == part);
                let number = fenced + place.unwrap_or_default();
                let node = Arc::new(Fence {
                    number,
                    input: part,
                });
                let fenced = LogicalPlan::Extension(Extension { node });
                Ok(Transformed::new(fenced, true, TreeNodeRecursion::Jump))
            }
            LogicalPlan::Extension(ref extension) if is_fence(extension.node.as_ref()) => {
                Ok(Transformed::new(part, false, TreeNodeRecursion::Jump))
            }
            _ => Ok(Transformed::no(part)),
        })
    }
}

/// Whether the part returns other rows when it is run again.
fn is_volatile(part: &LogicalPlan) -> Result<bool> {
    part.exists(|part| Ok(part.expressions().iter().any(Expr::is_volatile)))
}

fn is_fence(node: &dyn UserDefinedLogicalNode) -> bool {
    node.as_any().is::<Fence>()
}

/// What is beneath keeps all its columns.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Fence {
    /// Which part it is; the same in all its places.
    number: usize,
    input: LogicalPlan,
}

impl PartialOrd for Fence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Fence {
    fn name(&self) -> &'static str {
        "Shared"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.into_iter().next() {
            Some(input) => Ok(Fence {
                number: self.number,
                input,
            }),
            None => internal_err!("a shared part without an input"),
        }
    }
}

/// Plans as DataFusion does. Of a fence, the plan of its first place is left.
#[derive(Debug)]
pub(in crate::session) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Fences::default())])
            .create_physical_plan(plan, session)
            .await
    }
}

/// The plans of one query's parts, by their numbers.
#[derive(Default)]
struct Fences(Mutex<HashMap<usize, Arc<dyn ExecutionPlan>>>);

#[async_trait]
impl ExtensionPlanner for Fences {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let fence = node.as_any().downcast_ref::<Fence>();
        Ok(fence.zip(physical_inputs.first()).map(|(fence, input)| {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(
                known
                    .entry(fence.number)
                    .or_insert_with(|| Arc::clone(input)),
            )
        }))
    }
}

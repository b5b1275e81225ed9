//! Keeps parts of a query alike that are written alike.
//!
//! Of a CTE, each place that names it reads only the columns it needs, so that the plans of two places differ and neither
//! can use the rows of the other. An aggregate that a query has several times, filters and all, is fenced in here: it keeps
//! its columns in every place. Filters have been pushed into it by then; where they differ, so do the parts.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

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

/// Fences in aggregates that a query has several times. Has to come after filters and before columns are pushed down.
#[derive(Debug)]
pub(in crate::session) struct KeepAlike;

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
                LogicalPlan::Aggregate(_) if !is_volatile(part)? => {
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
        plan.transform_down(|part| match part {
            LogicalPlan::Aggregate(_) if alike.contains(&part) => {
                let node = Arc::new(Fence { input: part });
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
            Some(input) => Ok(Fence { input }),
            None => internal_err!("a shared part without an input"),
        }
    }
}

/// Plans as DataFusion does; a fence leaves nothing behind.
#[derive(Debug)]
pub(in crate::session) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Fences)])
            .create_physical_plan(plan, session)
            .await
    }
}

struct Fences;

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
        let input = physical_inputs.first();
        Ok(input.filter(|_| is_fence(node)).map(Arc::clone))
    }
}

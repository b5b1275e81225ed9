//! Window functions without a sort of whole rows.
//!
//! DataFusion sorts all columns by the partition key and the order key before it calls a window function. Rows of logs
//! come nearly in order already, and a partition key has few values: telling rows apart by hash and sorting only what
//! is out of order within a group costs a fraction of that. [`GroupWindows`] plans functions so that read frames and cannot
//! stream, as those of this project; everything else keeps its plan.

mod grouped;

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::window::StandardWindowExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, PhysicalExpr, PlanProperties,
};
use futures::TryStreamExt;

/// Replaces window functions that need a sort by ones that do not. Has to run before sorts are planned.
#[derive(Debug)]
pub(super) struct GroupWindows;

impl PhysicalOptimizerRule for GroupWindows {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let Some(window) = plan.downcast_ref::<WindowAggExec>() else {
                return Ok(Transformed::no(plan));
            };
            let Some(functions) = functions(window)? else {
                return Ok(Transformed::no(plan));
            };
            let grouped = GroupedWindowExec::try_new(window.clone(), functions)?;
            Ok(Transformed::yes(Arc::new(grouped) as _))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "GroupWindows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The functions of a window that gains by grouping: all have the same groups and order, all read frames of a group,
/// and the input is out of order.
fn functions(window: &WindowAggExec) -> Result<Option<Vec<Arc<StandardWindowExpr>>>> {
    let first = &window.window_expr()[0];
    if first.partition_by().is_empty() || is_sorted(window)? {
        return Ok(None);
    }
    let mut functions = Vec::new();
    for function in window.window_expr() {
        let Some(standard) = function.as_any().downcast_ref::<StandardWindowExpr>() else {
            return Ok(None);
        };
        let evaluator = standard.get_standard_func_expr().create_evaluator()?;
        if !evaluator.uses_window_frame()
            || function.partition_by() != first.partition_by()
            || function.order_by() != first.order_by()
        {
            return Ok(None);
        }
        functions.push(Arc::new(StandardWindowExpr::new(
            Arc::clone(standard.get_standard_func_expr()),
            function.partition_by(),
            function.order_by(),
            Arc::clone(function.get_window_frame()),
        )));
    }
    Ok(Some(functions))
}

fn is_sorted(window: &WindowAggExec) -> Result<bool> {
    let required = window
        .required_input_ordering()
        .into_iter()
        .next()
        .flatten();
    required.map_or(Ok(true), |required| {
        let input = window.input().equivalence_properties();
        input.ordering_satisfy_requirement(required.into_single())
    })
}

/// Window functions over groups of rows, which leave in the order they came in. Holds its input in memory.
#[derive(Debug)]
struct GroupedWindowExec {
    /// What is to be computed, and on what.
    window: WindowAggExec,
    functions: Vec<Arc<StandardWindowExpr>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl GroupedWindowExec {
    fn try_new(window: WindowAggExec, functions: Vec<Arc<StandardWindowExpr>>) -> Result<Self> {
        let input = window.input();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(window.schema())
                .extend(input.equivalence_properties().clone())?,
            input.output_partitioning().clone(),
            EmissionType::Final,
            input.boundedness(),
        );
        Ok(GroupedWindowExec {
            window,
            functions,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

impl DisplayAs for GroupedWindowExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupedWindowExec: ")?;
        self.window.fmt_as(format, f)
    }
}

impl ExecutionPlan for GroupedWindowExec {
    fn name(&self) -> &'static str {
        "GroupedWindowExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.window.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.window.apply_expressions(f)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        self.input_distribution_requirements().into_per_child()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.window.input_distribution_requirements()
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let window = WindowAggExec::try_new(
            self.window.window_expr().to_vec(),
            children.swap_remove(0),
            !self.window.partition_keys().is_empty(),
        )?;
        Ok(Arc::new(Self::try_new(window, self.functions.clone())?))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let memory = MemoryConsumer::new(format!("GroupedWindowExec[{partition}]"))
            .register(context.memory_pool());
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let input = self.window.input().execute(partition, context)?;
        let rows = grouped::evaluate(
            input,
            self.functions.clone(),
            Arc::clone(&schema),
            memory,
            metrics,
        );
        let stream = futures::stream::once(rows).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

#[cfg(test)]
mod tests;

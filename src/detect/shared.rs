//! Parts that a plan has several times, run once a window.
//!
//! A CTE that is named three times is planned three times. Where the parts come out the same, node by node, the first
//! that is asked runs and keeps its rows for the others.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{Fields, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as QueryResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::{replace_children_if_necessary, reset_plan_states};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PhysicalExpr,
    PlanProperties, ReplaceChildrenOptions, collect,
};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Mutex;

/// The same plan, with parts that it has several times run once for every value of `run`.
pub(super) fn share(
    plan: Arc<dyn ExecutionPlan>,
    run: &Arc<AtomicU64>,
) -> QueryResult<Arc<dyn ExecutionPlan>> {
    let mut parts = Parts::default();
    parts.number(&plan);
    let mut known = HashMap::new();
    replace(plan, &parts, &mut known, run)
}

/// A node as its line in `EXPLAIN VERBOSE`.
struct Line<'p>(&'p dyn ExecutionPlan);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as(DisplayFormatType::Verbose, f)
    }
}

/// All that decides what a part returns: what its topmost node says of itself, its columns, and its inputs by number.
type Meaning = (String, Fields, Vec<usize>);

/// The parts of a plan, numbered so that parts of one meaning have one number.
#[derive(Default)]
struct Parts {
    numbers: HashMap<Meaning, usize>,
    /// By the node's address: the plan is held while this is.
    of_node: HashMap<*const (), usize>,
    parts: Vec<Numbered>,
}

struct Numbered {
    /// Whether there is more to do than to hand on rows.
    does_work: bool,
    /// In how many places it is, those counted once that are within a part that is itself in several.
    places: usize,
}

impl Parts {
    fn number(&mut self, plan: &Arc<dyn ExecutionPlan>) -> usize {
        let inputs = plan.children().into_iter();
        let inputs: Vec<usize> = inputs.map(|input| self.number(input)).collect();
        let does_work = inputs.iter().any(|input| self.parts[*input].does_work)
            || plan.downcast_ref::<AggregateExec>().is_some()
            || plan.downcast_ref::<WindowAggExec>().is_some()
            || plan.downcast_ref::<BoundedWindowAggExec>().is_some();
        let says = Line(plan.as_ref()).to_string();
        let columns = plan.schema().fields().clone();
        let number = match self.numbers.entry((says, columns, inputs)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                for input in &new.key().2 {
                    self.parts[*input].places += 1;
                }
                self.parts.push(Numbered {
                    does_work,
                    places: 0,
                });
                *new.insert(self.parts.len() - 1)
            }
        };
        self.of_node.insert(Arc::as_ptr(plan).cast(), number);
        number
    }

    /// The number of a part that is worth running once: it is in several places, has one stream, and work to do.
    fn shared(&self, plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
        let number = *self.of_node.get(&Arc::as_ptr(plan).cast())?;
        let part = &self.parts[number];
        let is_shared =
            part.places > 1 && part.does_work && plan.output_partitioning().partition_count() == 1;
        is_shared.then_some(number)
    }
}

fn replace(
    plan: Arc<dyn ExecutionPlan>,
    parts: &Parts,
    known: &mut HashMap<usize, Arc<Part>>,
    run: &Arc<AtomicU64>,
) -> QueryResult<Arc<dyn ExecutionPlan>> {
    let number = parts.shared(&plan);
    if let Some(part) = number.and_then(|number| known.get(&number)) {
        return Ok(Arc::new(Shared(Arc::clone(part))));
    }
    let inputs: Vec<_> = plan
        .children()
        .into_iter()
        .map(|input| replace(Arc::clone(input), parts, known, run))
        .collect::<QueryResult<_>>()?;
    let plan = replace_children_if_necessary(plan, inputs)?;
    let Some(number) = number else {
        return Ok(plan);
    };
    let part = Arc::new(Part {
        properties: Arc::clone(plan.properties()),
        plan,
        run: Arc::clone(run),
        rows: Mutex::default(),
    });
    known.insert(number, Arc::clone(&part));
    Ok(Arc::new(Shared(part)))
}

/// A part that is run once.
#[derive(Debug)]
struct Part {
    plan: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    /// Which run it is.
    run: Arc<AtomicU64>,
    /// What came of the last one.
    rows: Mutex<Option<(u64, Vec<RecordBatch>)>>,
}

impl Part {
    async fn rows(&self, context: Arc<TaskContext>) -> QueryResult<Vec<RecordBatch>> {
        let run = self.run.load(Ordering::Relaxed);
        let mut known = self.rows.lock().await;
        if let Some((of, rows)) = &*known
            && *of == run
        {
            return Ok(rows.clone());
        }
        let plan = reset_plan_states(Arc::clone(&self.plan))?;
        let rows = collect(plan, context).await?;
        *known = Some((run, rows.clone()));
        Ok(rows)
    }
}

/// A place of a [`Part`] in a plan.
#[derive(Debug)]
struct Shared(Arc<Part>);

impl DisplayAs for Shared {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared: {}", Line(self.0.plan.as_ref()))
    }
}

impl ExecutionPlan for Shared {
    fn name(&self) -> &'static str {
        "Shared"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.0.properties
    }

    // It looks after what is beneath itself.
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

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
        context: Arc<TaskContext>,
    ) -> QueryResult<SendableRecordBatchStream> {
        let part = Arc::clone(&self.0);
        let schema: SchemaRef = self.schema();
        let rows = futures::stream::once(async move { part.rows(context).await })
            .map_ok(|rows| futures::stream::iter(rows).map(Ok))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

//! Parts that a plan has several times, run once.
//!
//! A CTE that is named three times is planned three times. Where the parts come out the same, node by node, the first
//! that is asked runs and keeps its rows for the others. Rows that do not fit into memory are not kept: each place runs
//! for itself then, as if nothing were shared.

mod alike;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{Fields, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::error::{DataFusionError, Result as QueryResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::{replace_children_if_necessary, reset_plan_states};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PhysicalExpr,
    PlanProperties,
};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Mutex;

pub(super) use alike::{KeepAlike, Planner};

/// Plans queries so that parts which they have several times run once. A plan made with it can be run once.
///
/// Has to come before filters that are made while a query runs are pushed down: they differ from place to place, and look
/// the same.
#[derive(Debug)]
pub(super) struct ShareParts;

impl PhysicalOptimizerRule for ShareParts {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        // Its inner part is run again and again, with other rows each time.
        if plan.exists(|part| Ok(part.downcast_ref::<RecursiveQueryExec>().is_some()))? {
            return Ok(plan);
        }
        let mut parts = Parts::default();
        parts.number(&plan);
        replace(plan, &parts, &mut HashMap::new(), &Arc::default(), true)
    }

    fn name(&self) -> &'static str {
        "ShareParts"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The same plan, with parts that it has several times run once for every value of `run`.
pub(crate) fn share(
    plan: Arc<dyn ExecutionPlan>,
    run: &Arc<AtomicU64>,
) -> QueryResult<Arc<dyn ExecutionPlan>> {
    let mut parts = Parts::default();
    parts.number(&plan);
    replace(plan, &parts, &mut HashMap::new(), run, false)
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
    /// Whether it returns the same rows when it is run again.
    is_stable: bool,
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
        let is_stable = inputs.iter().all(|input| self.parts[*input].is_stable)
            && !calls_volatile_functions(plan.as_ref());
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
                    is_stable,
                    places: 0,
                });
                *new.insert(self.parts.len() - 1)
            }
        };
        self.of_node.insert(Arc::as_ptr(plan).cast(), number);
        number
    }

    /// The number of a part that is worth running once: it is in several places, and has work to do.
    fn shared(&self, plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
        let number = *self.of_node.get(&Arc::as_ptr(plan).cast())?;
        let part = &self.parts[number];
        (part.places > 1 && part.does_work && part.is_stable).then_some(number)
    }
}

fn replace(
    plan: Arc<dyn ExecutionPlan>,
    parts: &Parts,
    known: &mut HashMap<usize, Arc<Part>>,
    run: &Arc<AtomicU64>,
    shows_parts: bool,
) -> QueryResult<Arc<dyn ExecutionPlan>> {
    let number = parts.shared(&plan);
    if let Some(part) = number.and_then(|number| known.get(&number)) {
        return Ok(Arc::new(Shared::new(part, None)));
    }
    let inputs: Vec<_> = plan
        .children()
        .into_iter()
        .map(|input| replace(Arc::clone(input), parts, known, run, shows_parts))
        .collect::<QueryResult<_>>()?;
    let plan = replace_children_if_necessary(plan, inputs)?;
    let Some(number) = number else {
        return Ok(plan);
    };
    let part = Arc::new(Part {
        streams: plan.output_partitioning().partition_count(),
        properties: Arc::clone(plan.properties()),
        plan: RwLock::new(Arc::clone(&plan)),
        run: Arc::clone(run),
        kept: RwLock::default(),
    });
    known.insert(number, Arc::clone(&part));
    let shown = shows_parts.then_some(plan);
    Ok(Arc::new(Shared::new(&part, shown)))
}

fn calls_volatile_functions(plan: &dyn ExecutionPlan) -> bool {
    let mut found = false;
    let visited = plan.apply_expressions(&mut |expression| {
        found |= is_volatile(expression);
        Ok(TreeNodeRecursion::Continue)
    });
    found || visited.is_err()
}

/// A part that is run once.
#[derive(Debug)]
struct Part {
    plan: RwLock<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
    streams: usize,
    /// Which run it is.
    run: Arc<AtomicU64>,
    /// What came of the last one.
    kept: RwLock<Option<Arc<Kept>>>,
}

impl Part {
    fn plan(&self) -> Arc<dyn ExecutionPlan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is kept of this run.
    fn kept(&self) -> QueryResult<Arc<Kept>> {
        let run = self.run.load(Ordering::Relaxed);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.run == run) {
            return Ok(Arc::clone(kept));
        }
        let plan = match kept.as_ref() {
            // As it is, so that `EXPLAIN ANALYZE` shows what it did.
            None => self.plan(),
            Some(_) => reset_plan_states(self.plan())?,
        };
        let new = Kept {
            run,
            plan,
            streams: (0..self.streams).map(|_| Mutex::default()).collect(),
        };
        Ok(Arc::clone(kept.insert(Arc::new(new))))
    }
}

/// What came of a run.
#[derive(Debug)]
struct Kept {
    run: u64,
    /// What is being run: its streams belong together.
    plan: Arc<dyn ExecutionPlan>,
    /// The rows of each stream that was asked for.
    streams: Vec<Mutex<Option<Rows>>>,
}

#[derive(Debug, Clone)]
enum Rows {
    /// Rows, and the memory that they are accounted with.
    Kept(Vec<RecordBatch>, Arc<MemoryReservation>),
    TooMany,
}

impl Kept {
    async fn rows(&self, stream: usize, context: Arc<TaskContext>) -> QueryResult<Rows> {
        let mut known = self.streams[stream].lock().await;
        if let Some(rows) = known.as_ref() {
            return Ok(rows.clone());
        }
        let memory = MemoryConsumer::new("Shared").register(context.memory_pool());
        let mut batches = self.plan.execute(stream, context)?;
        let mut rows = Vec::new();
        // An aggregate cuts its rows out of one batch: each of them keeps all of its buffers, and so do all together.
        let mut counted = RecordBatchMemoryCounter::new();
        while let Some(batch) = batches.try_next().await? {
            if memory.try_grow(counted.count_batch(&batch)).is_err() {
                return Ok(known.insert(Rows::TooMany).clone());
            }
            rows.push(batch);
        }
        Ok(known.insert(Rows::Kept(rows, Arc::new(memory))).clone())
    }
}

/// A place of a [`Part`] in a plan.
#[derive(Debug)]
struct Shared {
    part: Arc<Part>,
    /// The part itself, in the one place that shows it: planning and `EXPLAIN` go on beneath.
    shown: Option<Arc<dyn ExecutionPlan>>,
    /// What this place runs for itself where the part's rows are too many to keep, and in which run.
    own: RwLock<Option<(u64, Arc<dyn ExecutionPlan>)>>,
}

impl Shared {
    fn new(part: &Arc<Part>, shown: Option<Arc<dyn ExecutionPlan>>) -> Self {
        Shared {
            part: Arc::clone(part),
            shown,
            own: RwLock::default(),
        }
    }

    fn own(&self, run: u64) -> QueryResult<Arc<dyn ExecutionPlan>> {
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        match own.as_ref().filter(|(of, _)| *of == run) {
            Some((_, plan)) => Ok(Arc::clone(plan)),
            None => {
                let plan = reset_plan_states(self.part.plan())?;
                Ok(Arc::clone(&own.insert((run, plan)).1))
            }
        }
    }
}

impl DisplayAs for Shared {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared")?;
        if self.shown.is_none() {
            write!(f, ": ")?;
            self.part.plan().fmt_as(format, f)?;
        }
        Ok(())
    }
}

impl ExecutionPlan for Shared {
    fn name(&self) -> &'static str {
        "Shared"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.part.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.shown.iter().collect()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> QueryResult<TreeNodeRecursion>,
    ) -> QueryResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true; self.children().len()]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        let Some(plan) = children.into_iter().next() else {
            return Ok(self);
        };
        *self
            .part
            .plan
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::clone(&plan);
        Ok(Arc::new(Shared::new(&self.part, Some(plan))))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> QueryResult<SendableRecordBatchStream> {
        let kept = self.part.kept()?;
        let own = self.own(kept.run)?;
        let schema: SchemaRef = self.schema();
        let rows = async move {
            let rows = kept.rows(partition, Arc::clone(&context)).await?;
            let stream = match rows {
                Rows::Kept(batches, memory) => futures::stream::iter(batches)
                    .map(move |batch| {
                        let _accounted = &memory;
                        Ok(batch)
                    })
                    .boxed(),
                Rows::TooMany => own.execute(partition, context)?.boxed(),
            };
            Ok::<_, DataFusionError>(stream)
        };
        let stream = futures::stream::once(rows).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }
}

#[cfg(test)]
mod tests;

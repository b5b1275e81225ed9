//! What can be said of a plan's answer without running it.
//!
//! Most windows of most rules hold no row that the rule looks at, and a plan costs more to start than such a window is
//! worth. So the shape of a plan is turned into a condition on its scans: when they are empty in such a way that
//! nothing can come out, the answer is known.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::partial_sort::PartialSortExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};

use super::slice::{Section, Slice};
use crate::error::Result;

/// When a plan is sure to return no row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Empty {
    /// When this scan is.
    Scan(usize),
    /// When all of these are.
    All(Vec<Empty>),
    /// When one of these is.
    Any(Vec<Empty>),
    /// Nobody knows.
    Unknown,
}

/// The scans of a plan, and what follows when they have no row.
#[derive(Debug)]
pub(super) struct Shape {
    scans: Vec<Arc<dyn ExecutionPlan>>,
    empty: Empty,
}

impl Shape {
    /// Looks at a plan.
    pub(super) fn of(plan: &Arc<dyn ExecutionPlan>) -> Shape {
        let mut scans = Vec::new();
        let empty = condition(plan, &mut scans);
        Shape { scans, empty }
    }

    /// The rows that each scan reads for the window that is now.
    ///
    /// # Errors
    /// When a bound on time cannot be computed.
    pub(super) fn sections(&self) -> Result<Vec<Section>> {
        let sections = self.scans.iter().map(|scan| {
            let slice = scan.downcast_ref::<Slice>().expect("collected as such");
            Ok(slice.section()?)
        });
        sections.collect()
    }

    /// Whether nothing can come out of these rows.
    pub(super) fn is_empty(&self, sections: &[Section]) -> bool {
        self.empty.holds(sections)
    }
}

impl Empty {
    fn holds(&self, sections: &[Section]) -> bool {
        match self {
            Empty::Scan(index) => sections[*index].is_empty(),
            Empty::All(parts) => parts.iter().all(|part| part.holds(sections)),
            Empty::Any(parts) => parts.iter().any(|part| part.holds(sections)),
            Empty::Unknown => false,
        }
    }
}

fn condition(plan: &Arc<dyn ExecutionPlan>, scans: &mut Vec<Arc<dyn ExecutionPlan>>) -> Empty {
    if plan.downcast_ref::<Slice>().is_some() {
        scans.push(Arc::clone(plan));
        return Empty::Scan(scans.len() - 1);
    }
    if plan.downcast_ref::<EmptyExec>().is_some() {
        return Empty::All(Vec::new());
    }
    // Every scan is collected, whether or not it decides anything.
    let mut inputs: Vec<Empty> = plan
        .children()
        .into_iter()
        .map(|child| condition(child, scans))
        .collect();
    if let Some(join) = join_type(plan) {
        let (right, left) = (inputs.pop(), inputs.pop());
        let (Some(left), Some(right)) = (left, right) else {
            return Empty::Unknown;
        };
        return match join {
            JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => {
                Empty::Any(vec![left, right])
            }
            JoinType::Left | JoinType::LeftAnti | JoinType::LeftMark => left,
            JoinType::Right | JoinType::RightAnti | JoinType::RightMark => right,
            JoinType::Full => Empty::All(vec![left, right]),
        };
    }
    if is_one_of_unions(plan) {
        return Empty::All(inputs);
    }
    // Without groups, an aggregate of nothing is a row.
    let groups = plan
        .downcast_ref::<AggregateExec>()
        .map(AggregateExec::group_expr);
    let has_groups = groups.is_some_and(|groups| groups.is_single() && !groups.is_empty());
    if has_groups || keeps_emptiness(plan) {
        return inputs.pop().unwrap_or(Empty::Unknown);
    }
    Empty::Unknown
}

fn join_type(plan: &Arc<dyn ExecutionPlan>) -> Option<JoinType> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return Some(*join.join_type());
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        return Some(*join.join_type());
    }
    if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
        return Some(join.join_type());
    }
    plan.downcast_ref::<CrossJoinExec>()
        .map(|_| JoinType::Inner)
}

fn is_one_of_unions(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<UnionExec>().is_some() || plan.downcast_ref::<InterleaveExec>().is_some()
}

/// Operators with one input that make no row of their own.
fn keeps_emptiness(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<FilterExec>().is_some()
        || plan.downcast_ref::<ProjectionExec>().is_some()
        || plan.downcast_ref::<SortExec>().is_some()
        || plan.downcast_ref::<PartialSortExec>().is_some()
        || plan.downcast_ref::<SortPreservingMergeExec>().is_some()
        || plan.downcast_ref::<CoalescePartitionsExec>().is_some()
        || plan.downcast_ref::<RepartitionExec>().is_some()
        || plan.downcast_ref::<WindowAggExec>().is_some()
        || plan.downcast_ref::<BoundedWindowAggExec>().is_some()
        || plan.downcast_ref::<UnnestExec>().is_some()
        || plan.downcast_ref::<GlobalLimitExec>().is_some()
        || plan.downcast_ref::<LocalLimitExec>().is_some()
}

//! What one rule may use, so that a dear one takes nothing from the others.
//!
//! A rule that needs more is stopped where it stands. Windows that it came through are kept; the one it was stopped in is
//! stored as an error with the reason, and evaluated again by the next run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as QueryResult;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::prelude::SessionContext;

use super::evaluate::{Evaluated, Prepared, failed};
use crate::catalog::{Rule, Span};
use crate::error::Result;

/// What one rule may use in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// For its windows, one after the other.
    pub time: Span,
    /// Bytes for its joins, sorts and aggregates.
    pub memory: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            time: Span::minutes(10),
            memory: 1 << 30,
        }
    }
}

/// How many of the largest users of memory an error names.
const NAMED_CONSUMERS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(3).expect("not zero");

impl Budget {
    /// That of a rule: its own, as far as its header says.
    pub(super) fn of(self, rule: &Rule) -> Budget {
        Budget {
            time: rule.budget.time.unwrap_or(self.time),
            memory: rule.budget.memory.unwrap_or(self.memory),
        }
    }

    /// The same tables with memory of its own. Nothing goes on from the disk: a rule that would fill it is as bad for the
    /// others as one that takes their memory.
    ///
    /// # Errors
    /// When the runtime cannot be made.
    pub(super) fn context(self, context: &SessionContext) -> Result<SessionContext> {
        let pool = GreedyMemoryPool::new(usize::try_from(self.memory).unwrap_or(usize::MAX));
        let pool = Arc::new(TrackConsumersPool::new(pool, NAMED_CONSUMERS));
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let runtime = RuntimeEnvBuilder::from_runtime_env(&context.runtime_env())
            .with_memory_pool(pool)
            .with_disk_manager_builder(disk)
            .build_arc()?;
        let state = SessionStateBuilder::new_from_existing(context.state())
            .with_runtime_env(runtime)
            .build();
        Ok(SessionContext::new_with_state(state))
    }
}

/// The plan with joins that let others have a turn after some batches. A join may make any number of rows of two batches
/// without asking anybody, and nobody could stop it.
///
/// # Errors
/// When the plan cannot be put together again.
pub(super) fn stoppable(plan: Arc<dyn ExecutionPlan>) -> QueryResult<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|node| {
        let makes_many = node.children().len() > 1 || node.name() == "UnnestExec";
        Ok(match makes_many {
            true => Transformed::yes(Arc::new(CooperativeExec::new(node)) as _),
            false => Transformed::no(node),
        })
    })?;
    Ok(wrapped.data)
}

/// The time that is left of a budget.
#[derive(Debug)]
pub(super) struct Meter {
    budget: Span,
    end: Instant,
}

impl Meter {
    /// Begins to count.
    pub(super) fn start(budget: Budget) -> Meter {
        let time = Duration::from_micros(u64::try_from(budget.time.0).unwrap_or(0));
        Meter {
            budget: budget.time,
            end: Instant::now() + time,
        }
    }

    /// Evaluates a window; an error when the time is up.
    pub(super) async fn evaluate(&self, prepared: &Prepared<'_>, end: i64) -> Evaluated {
        let left = self.end.saturating_duration_since(Instant::now());
        let evaluated = match left.is_zero() {
            true => None,
            false => tokio::time::timeout(left, prepared.evaluate(end))
                .await
                .ok(),
        };
        match evaluated {
            Some(evaluated) => evaluated,
            None => {
                let reason = format!(
                    "stopped: its windows took longer than {} (`budget.time`, `--rule-time`)",
                    self.budget
                );
                failed(&prepared.file.rule, end, &reason)
            }
        }
    }
}

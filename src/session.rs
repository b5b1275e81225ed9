//! Builds the [`SessionContext`] that every query, rule and test runs in: functions, limits, files.
//!
//! Tables of a store are registered by the store; what a statement may do is decided where it is run.

mod files;
mod memory;
mod shared;
mod spill;
mod windows;

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::error::Result;

pub(crate) use files::is_path;
pub(crate) use shared::share;

/// What a session may use.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Bytes of memory for sorts, joins and aggregates; beyond it they spill to disk.
    pub memory_limit: usize,
    /// Partitions to work on at a time; the number of processors when `None`.
    pub target_partitions: Option<usize>,
    /// Where spilled rows go, encrypted and in files without a name; the system's temporary folder when `None`.
    pub spill_parent: Option<PathBuf>,
    /// Whether `FROM 'file.parquet'` reads local files. A server's sessions must not.
    pub local_files: bool,
    /// Whether plans are run once, so that a part which a plan has twice may keep its rows.
    pub share_parts: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            memory_limit: 1 << 30,
            target_partitions: None,
            spill_parent: None,
            local_files: false,
            share_parts: false,
        }
    }
}

/// The stack of threads that plan and run queries. Both go down into a plan step by step, and two megabytes, as threads
/// have otherwise, end within a join of a hundred tables: with the process. Only what is used of it is memory.
pub(crate) const STACK: usize = 64 << 20;

/// How many of the largest memory consumers an out-of-memory error names.
const NAMED_CONSUMERS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(3).expect("not zero");

/// A context with every function registered and no table yet.
///
/// # Errors
/// When the runtime or its spill folder cannot be made.
pub fn context(options: &SessionOptions) -> Result<SessionContext> {
    let mut config = SessionConfig::new().with_information_schema(true);
    if let Some(partitions) = options.target_partitions {
        config = config.with_target_partitions(partitions);
    }
    config.options_mut().execution.time_zone = Some("UTC".into());
    // Errors point at their place in the text.
    config.options_mut().sql_parser.collect_spans = true;
    // A view whose plan depends on the query plans itself while the query is planned, so that its joins are looked at
    // twice. One that was given a filter for its other side the first time cannot change sides the second time, as the
    // optimizer wants to when it learns how many rows there are: the query failed on a store that was compacted.
    config
        .options_mut()
        .optimizer
        .enable_join_dynamic_filter_pushdown = false;

    // What each sort keeps back for merging its spilled runs. The default, ten megabytes a partition, would leave a
    // small limit nothing to sort in.
    let partitions = config.target_partitions();
    let reserved = &mut config.options_mut().execution.sort_spill_reservation_bytes;
    *reserved = (*reserved).min(options.memory_limit / (4 * partitions.max(1)));

    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(TrackConsumersPool::new(
            memory::SparePool::new(options.memory_limit),
            NAMED_CONSUMERS,
        )))
        .with_disk_manager_builder(spill::disk_manager(options.spill_parent.as_deref()))
        .build_arc()?;

    let mut optimizer = PhysicalOptimizer::new();
    optimizer.rules.insert(0, Arc::new(windows::GroupWindows));
    if options.share_parts {
        let rules = &optimizer.rules;
        let last_pushdown = rules
            .iter()
            .rposition(|rule| rule.name().starts_with("FilterPushdown"));
        let before = last_pushdown.unwrap_or(rules.len());
        optimizer.rules.insert(before, Arc::new(shared::ShareParts));
    }
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_physical_optimizer_rules(optimizer.rules);
    if options.share_parts {
        let mut rules = Optimizer::new().rules;
        let names_expressions = |rule: &Arc<dyn OptimizerRule + Send + Sync>| {
            rule.name() == "common_sub_expression_eliminate"
        };
        let before = rules
            .iter()
            .position(names_expressions)
            .unwrap_or(rules.len());
        rules.insert(before, Arc::new(shared::KeepAlike::default()));
        state = state
            .with_optimizer_rules(rules)
            .with_query_planner(Arc::new(shared::Planner));
    }
    let state = state.build();
    let mut context = SessionContext::new_with_state(state);
    datafusion_functions_json::register_all(&mut context)?;
    inferwatch_udfs::register_all(&mut context)?;
    if options.local_files {
        files::enable(&context)?;
    }
    Ok(context)
}

//! Builds the [`SessionContext`] that every query, rule and test runs in: functions, limits, tables.

use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::error::Result;

/// What a session may use.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Bytes of memory for sorts, joins and aggregates; beyond it they spill to disk.
    pub memory_limit: usize,
    /// Partitions to work on at a time; the number of processors when `None`.
    pub target_partitions: Option<usize>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            memory_limit: 1 << 30,
            target_partitions: None,
        }
    }
}

/// A context with every function registered and no table yet.
///
/// # Errors
/// When the runtime cannot be built.
pub fn context(options: &SessionOptions) -> Result<SessionContext> {
    let mut config = SessionConfig::new().with_information_schema(true);
    if let Some(partitions) = options.target_partitions {
        config = config.with_target_partitions(partitions);
    }
    config.options_mut().execution.time_zone = Some("UTC".into());
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(std::sync::Arc::new(FairSpillPool::new(
            options.memory_limit,
        )))
        .build_arc()?;
    let mut context = SessionContext::new_with_config_rt(config, runtime);
    datafusion_functions_json::register_all(&mut context)?;
    Ok(context)
}

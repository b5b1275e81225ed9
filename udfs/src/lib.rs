//! SQL functions for the security and reliability of AI services, for DataFusion.
#![warn(missing_docs)]

pub mod aggregate;
mod stats;

use datafusion_common::Result;
use datafusion_expr::registry::FunctionRegistry;

/// Registers every function of this crate.
///
/// # Errors
///
/// When `registry` takes no functions.
pub fn register_all(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in aggregate::udafs() {
        registry.register_udaf(function)?;
    }
    Ok(())
}

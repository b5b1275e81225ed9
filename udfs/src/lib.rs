//! SQL functions for the security and reliability of AI services, for DataFusion.
//!
//! [`register_all`] makes them known to a session; from then on they are used like any other SQL function.
//!
//! | module | functions of | for example |
//! | --- | --- | --- |
//! | [`scalar`] | one row | `chi_squared_p(observed, expected)`, `wilson_lower(successes, total)` |
//! | [`aggregate`] | many rows | `entropy_agg(model)`, `chi_squared_p_agg(outcome, release)`, `ks_p(latency, release)` |
//! | [`window`] | a row among others | `rolling_zscore(calls) OVER (...)`, `benjamini_hochberg(p) OVER ()` |
//!
//! What all of them keep to: nulls are left out and an empty input gives null; every layout of text, dictionaries and
//! numbers gives the same result; so does every way to split the input into batches and partitions. What they measure is
//! in each function's SQL documentation, which names the SciPy call that gives the same number.
//!
//! ```
//! # use datafusion::prelude::SessionContext;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> datafusion::error::Result<()> {
//! let mut session = SessionContext::new();
//! inferwatch_udfs::register_all(&mut session)?;
//! let answer = session.sql("SELECT shannon_bits([8, 4, 2, 2]) AS bits").await?.to_string().await?;
//! assert!(answer.contains("1.75"));
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

pub mod aggregate;

pub mod injection;
pub mod pii;
pub mod scalar;
mod stats;
pub mod text;
pub mod window;

use datafusion_common::Result;
use datafusion_expr::registry::FunctionRegistry;

/// Registers every function of this crate.
///
/// # Errors
///
/// When `registry` takes no functions.
pub fn register_all(registry: &mut dyn FunctionRegistry) -> Result<()> {
    let scalars = [
        scalar::statistics_udfs(),
        scalar::text_udfs(),
        injection::udfs(),
    ];
    for function in scalars.into_iter().flatten() {
        registry.register_udf(function)?;
    }
    for function in aggregate::udafs() {
        registry.register_udaf(function)?;
    }
    for function in window::udwfs() {
        registry.register_udwf(function)?;
    }
    Ok(())
}

//! Functions of one row.

mod chi_squared_p;
mod number_lists;
mod shannon_bits;
mod wilson;

use std::sync::Arc;

use datafusion_expr::ScalarUDF;

pub use chi_squared_p::ChiSquaredP;
pub use shannon_bits::ShannonBits;
pub use wilson::{WilsonLower, WilsonUpper};

/// The statistical scalar functions of this crate.
pub fn statistics_udfs() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ChiSquaredP::default().into()),
        Arc::new(ShannonBits::default().into()),
        Arc::new(WilsonLower::default().into()),
        Arc::new(WilsonUpper::default().into()),
    ]
}

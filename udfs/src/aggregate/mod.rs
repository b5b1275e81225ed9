//! Functions of many rows: `GROUP BY`, and window frames that slide.

mod chi_squared_p_agg;
mod counts;
mod cramers_v;
mod entropy_agg;
mod entropy_counts;
mod frequency;
mod interner;
mod ks_p;
mod psi;

use std::sync::Arc;

use datafusion_expr::AggregateUDF;

pub use chi_squared_p_agg::ChiSquaredPAgg;
pub use cramers_v::CramersV;
pub use entropy_agg::EntropyAgg;
pub use entropy_counts::EntropyCounts;
pub use ks_p::KsP;
pub use psi::Psi;

/// The aggregate functions of this crate.
pub fn udafs() -> Vec<Arc<AggregateUDF>> {
    vec![
        Arc::new(ChiSquaredPAgg::default().into()),
        Arc::new(CramersV::default().into()),
        Arc::new(EntropyAgg::default().into()),
        Arc::new(EntropyCounts::default().into()),
        Arc::new(KsP::default().into()),
        Arc::new(Psi::default().into()),
    ]
}

//! Functions of a row and its window.

mod benjamini_hochberg;
mod others;
mod rolling_robust_zscore;
mod rolling_zscore;
mod sorted_values;

use std::sync::Arc;

use datafusion_expr::WindowUDF;

pub use benjamini_hochberg::BenjaminiHochberg;
pub use rolling_robust_zscore::RollingRobustZscore;
pub use rolling_zscore::RollingZscore;

/// The window functions of this crate.
pub fn udwfs() -> Vec<Arc<WindowUDF>> {
    vec![
        Arc::new(BenjaminiHochberg::default().into()),
        Arc::new(RollingRobustZscore::default().into()),
        Arc::new(RollingZscore::default().into()),
    ]
}

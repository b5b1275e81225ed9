//! SQL functions for the security and reliability of AI services, for DataFusion.
#![warn(missing_docs)]

pub mod pii;
pub mod scalar;
pub mod text;

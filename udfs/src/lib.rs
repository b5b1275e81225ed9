//! SQL functions.

pub mod pii;
pub mod text;

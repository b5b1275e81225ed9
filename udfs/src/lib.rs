//! SQL functions.
pub mod injection;

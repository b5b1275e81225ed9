//! Measures of plain text: no Arrow, no SQL, `&str` in and numbers or text out.
//!
//! The SQL functions in [`crate::scalar`] and programs that enrich records before they are written call the same code,
//! so a value computed at ingest and one computed in a query are always equal.

pub mod encoded;
pub mod entropy;
pub mod hidden;
pub mod hosts;
pub mod ip;
pub mod luhn;
pub(crate) mod runs;
pub mod sketch;

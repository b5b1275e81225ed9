//! Runs rules over windows of event time.
//!
//! [`Prepared`] is a rule over the tables of one context, [`Evaluated`] what came of one window. [`CaseRunner`] does
//! that for the inline tests of a rule file.

mod case;
mod evaluate;
mod given;
mod json;
mod slice;

pub use case::{CaseResult, CaseRunner};
pub use evaluate::{Evaluated, Found, Prepared, Window};
pub use json::time_text;
pub use slice::SortedTable;

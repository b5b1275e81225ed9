//! Runs rules over windows of event time.
//!
//! [`Prepared`] is a rule over the tables of one context, [`Evaluated`] what came of one window. [`run_cases`] does
//! that for the inline tests of rule files, [`run_derived`] for those that follow from them. [`run`] evaluates many rules over many windows of a store, [`episodes`] makes
//! one finding of consecutive windows, and what came of it is kept in one commit.

mod budget;
mod case;
mod clock;
mod correlate;
mod derived;
mod emptiness;
mod episode;
mod evaluate;
mod exceptions;
mod findings;
mod given;
mod json;
mod labels;
mod late;
mod monotone;
#[cfg(test)]
mod null_data;
mod ready;
mod record;
mod run;
mod settle;
mod signals;
mod slice;
mod source;
mod status;
mod stored;
mod tune;
mod values;
mod watermark;
mod why;

pub use budget::Budget;
pub use case::{CaseResult, run_cases};
pub use clock::{Clock, Pending, Reads, seen, signal_name, signal_runs};
pub use derived::{DerivedResult, run_derived};
pub use episode::{Episode, episodes};
pub use evaluate::{Evaluated, Found, Prepared, Window};
pub use exceptions::{Excepted, check as check_exceptions};
pub use findings::{Change, Event, Finding};
pub(crate) use json::row;
pub use json::time_text;
pub use labels::{Label, Score, Share, read as read_labels, span as label_span};
pub use monotone::Early;
pub use record::{Gap, Record};
pub use run::{Range, RuleOutcome, RunOptions, context_of, instants, run, run_at};
pub use slice::SortedTable;
pub use source::Needs;
pub use status::{RuleStatus, history, status};
pub(crate) use stored::rows;
pub use tune::{Known, Proposal, Trial, Tuning, known, tunable};
pub use values::{between, number, value_of};
pub use watermark::{Source, Sources, heartbeat};
pub use why::{Answer, Question, Step, WhyNot, why_not};

//! inferwatch: an embedded SQL engine for the security and reliability of AI services.
//!
//! Modules in reading order: [`schema`] names every column once; [`ingest`] turns provider logs into rows; [`store`]
//! keeps them as Delta tables, with [`keys`] for those that not everybody may read; [`session`] builds the context that
//! queries run in; [`catalog`] reads versioned SQL files; [`detect`] evaluates rules over windows; [`sinks`] tells what
//! was found; [`retention`] lets rows go, [`erasure`] takes out those of one caller; [`schedule`] does all of that on
//! time; [`dashboard`] answers panels and keeps what became of findings; [`query`] runs SQL text and explains its
//! errors; [`suggest`] finds the name that was meant; [`serve`] answers over the network; [`output`], [`config`] and
//! [`cli`] are what a person sees.

pub mod catalog;
pub mod cli;
mod computed;
pub mod config;
pub mod dashboard;
pub mod detect;
pub mod erasure;
mod error;
pub mod generate;
pub mod ingest;
pub mod keys;
pub mod output;
mod parallel;
pub mod query;
pub mod retention;
pub mod schedule;
pub mod schema;
pub mod serve;
pub mod session;
pub mod sinks;
mod size;
mod spill;
pub mod store;
pub mod suggest;

pub use error::{Error, Result};

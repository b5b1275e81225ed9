//! Integration tests: one binary, a module per topic.

mod absence;
mod ask;
mod backtest;
mod budgets;
mod cli;
mod compaction;
mod correlation;
mod crashes;
mod docs;
mod erasure;
mod exceptions;
mod faults;
mod fmt;
mod ingest;
mod keys;
mod noise;
mod repl;
mod retention;
mod rules;
mod runners;
mod runs;
mod slt;
mod sources;
mod store;
mod tune;
mod why;

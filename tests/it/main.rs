//! Integration tests: one binary, a module per topic.

mod cli;
mod repl;
mod slt;
mod store;

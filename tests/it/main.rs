//! Integration tests: one binary, one module per topic.

mod cli;
mod repl;
mod slt;

//! The shell.

use std::path::Path;
use std::process::ExitCode;

use super::Global;
use super::sql::Display;
use crate::query::Engine;

/// Runs the shell.
pub(super) fn run(
    _engine: Engine,
    _display: Display,
    _output: Option<&Path>,
    _runtime: &tokio::runtime::Runtime,
    _global: &Global,
) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}

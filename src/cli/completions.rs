//! `inferwatch completions`: a script that teaches a shell to complete the command line.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory;
use clap_complete::Shell;

use super::{CLEAR, Cli, Global};
use crate::output::Stdout;

const EXAMPLES: &str = "\
Examples:
  inferwatch completions bash > ~/.local/share/bash-completion/completions/inferwatch
  inferwatch completions zsh  > \"${fpath[1]}/_inferwatch\"
  inferwatch completions fish > ~/.config/fish/completions/inferwatch.fish";

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// When standard output cannot be written.
pub(super) fn run(args: &Args, _global: &Global) -> anyhow::Result<ExitCode> {
    use std::io::Write as _;

    // The generator panics when it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "inferwatch", &mut script);
    Stdout
        .write_all(&script)
        .context("cannot write standard output")?;
    Ok(ExitCode::from(CLEAR))
}

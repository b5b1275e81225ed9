//! The command line: one file per subcommand, each with its arguments and its `run`.

pub mod check;
pub mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Ran, and there is nothing to tell.
pub const CLEAR: u8 = 0;
/// Ran, and found something.
pub const FOUND: u8 = 1;
/// Could not run.
pub const FAILED: u8 = 2;

/// An embedded SQL engine for the security and reliability of AI services.
#[derive(Debug, Parser)]
#[command(name = "inferwatch", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every subcommand takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Folder of the store.
    #[arg(
        long,
        global = true,
        env = "INFERWATCH_STORE",
        value_name = "DIR",
        default_value = "inferwatch-store"
    )]
    pub store: PathBuf,
    /// Print nothing but the answer.
    #[arg(long, short, global = true, env = "INFERWATCH_QUIET")]
    pub quiet: bool,
    /// Say more about what happens; twice for even more.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Test(test::Args),
}

/// Runs the program on its arguments.
///
/// # Errors
/// Whatever the subcommand could not do.
pub fn run() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    match &cli.command {
        Command::Check(args) => check::run(args, &cli.global),
        Command::Test(args) => test::run(args, &cli.global),
    }
}

/// Runs the program, prints the error if there is one, and gives the exit code.
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            crate::output::error(&error);
            ExitCode::from(FAILED)
        }
    }
}

//! The command line: one file per subcommand, each with its arguments and its `run`.
//!
//! A new subcommand is a module, a variant of `Command` and an arm in [`run`].

mod backtest;
mod check;
mod compact;
mod completions;
mod coverage;
mod dashboard;
mod demo;
mod erase;
mod explain;
mod fmt;
mod generate;
mod heartbeat;
mod hold;
mod ingest;
mod interrupt;
mod keys;
mod new;
mod noise;
mod pack;
mod repl;
mod retention;
mod run;
mod schedule;
mod serve;
mod signatures;
mod sinks;
mod sql;
mod status;
mod store;
mod test;
mod token;
mod tune;
mod why;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use clap::{
    ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};

use crate::config;
use crate::error::Result;
use crate::keys::KeySource;
use crate::output::{self, Stdout};
use crate::store::Store;

/// Ran, and there is nothing to tell.
pub const CLEAR: u8 = 0;
/// Ran, and found something.
pub const FOUND: u8 = 1;
/// Could not run.
pub const FAILED: u8 = 2;
/// Stopped by Ctrl-C, as shells report it.
pub const INTERRUPTED: u8 = 130;

const AFTER_HELP: &str = "\
Exit codes: 0 ran and found nothing, 1 ran and found something, 2 could not run, 130 interrupted.";

const AFTER_LONG_HELP: &str = "\
Examples:
  Ask the logs of a store one question:
    inferwatch sql \"SELECT caller, count(*) AS calls FROM calls GROUP BY caller ORDER BY calls DESC\"
  Ask more of them, with completion, history and a pager:
    inferwatch sql
  Ask files, without any store:
    inferwatch sql \"SELECT count(*) FROM 'logs/*.parquet'\"

Settings:
  A flag wins over its environment variable, that over `inferwatch.toml` (in the working folder,
  else in ~/.config/inferwatch), that over the default. The file takes every long flag by its name:
  global flags at the top, those of a subcommand in a table of its name, as in
    store = \"/var/lib/inferwatch\"
    [sql]
    max-rows = 200

Exit codes:
  0    ran and found nothing
  1    ran and found something
  2    could not run
  130  interrupted";

/// An embedded SQL engine for the security and reliability of AI services.
///
/// It reads the logs that AI platforms write, keeps them as Delta tables in a folder (the store), and
/// answers in SQL: questions of yours, and detection rules kept as versioned SQL files.
#[derive(Debug, Parser)]
#[command(
    name = "inferwatch",
    version,
    max_term_width = 100,
    after_help = AFTER_HELP,
    after_long_help = AFTER_LONG_HELP
)]
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
    /// Folder of the store
    #[arg(
        long,
        global = true,
        env = "INFERWATCH_STORE",
        value_name = "DIR",
        default_value = "inferwatch-store"
    )]
    pub store: PathBuf,
    /// Config file to read instead of `inferwatch.toml`
    #[arg(
        long,
        global = true,
        env = "INFERWATCH_CONFIG",
        value_name = "FILE",
        hide_short_help = true
    )]
    pub config: Option<PathBuf>,
    /// File with the key of encrypted tables
    ///
    /// Needed by what reads or writes an encrypted table (see `inferwatch keys`). Several keys stand one a
    /// line. The environment variable INFERWATCH_KEY may hold the key itself instead.
    #[arg(
        long,
        global = true,
        env = "INFERWATCH_KEY_FILE",
        value_name = "FILE",
        hide_short_help = true
    )]
    pub key_file: Option<PathBuf>,
    /// Command that prints the key of encrypted tables, as one that asks a key service
    #[arg(
        long,
        global = true,
        env = "INFERWATCH_KEY_COMMAND",
        value_name = "COMMAND",
        hide_short_help = true
    )]
    pub key_command: Option<String>,
    /// Read no config file
    #[arg(
        long,
        global = true,
        env = "INFERWATCH_NO_CONFIG",
        value_parser = FalseyValueParser::new(),
        conflicts_with = "config"
    )]
    pub no_config: bool,
    /// Colours: on a terminal, always or never (`NO_COLOR` is respected too)
    #[arg(
        long,
        global = true,
        env = "INFERWATCH_COLOR",
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub color: Color,
    /// Print nothing but the answer
    #[arg(
        long,
        short,
        global = true,
        env = "INFERWATCH_QUIET",
        value_parser = FalseyValueParser::new()
    )]
    pub quiet: bool,
    /// Say more about what happens; twice for even more
    #[arg(long, short, global = true, env = "INFERWATCH_VERBOSE", action = ArgAction::Count)]
    pub verbose: u8,
    /// The subcommand's name, for `audit`.
    #[arg(skip)]
    pub command: String,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// When a terminal reads
    Auto,
    /// Whoever reads
    Always,
    /// Never
    Never,
}

impl Global {
    /// Whether to colour what goes to standard output.
    pub fn colors_stdout(&self) -> bool {
        self.colors(std::io::stdout().is_terminal())
    }

    /// Whether to colour what goes to standard error.
    pub fn colors_stderr(&self) -> bool {
        self.colors(std::io::stderr().is_terminal())
    }

    fn colors(&self, is_terminal: bool) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }

    /// Opens the store, with the keys that were given.
    ///
    /// # Errors
    /// When there is none, or it is damaged; when keys are given twice.
    pub fn open_store(&self) -> Result<Store> {
        Ok(Store::open(&self.store)?.with_keys(self.key_source()?, &self.command))
    }

    /// As [`Self::open_store`]; makes an empty store where there is none.
    ///
    /// # Errors
    /// As [`Self::open_store`]; also when the store cannot be made.
    pub fn open_or_create_store(&self) -> Result<Store> {
        Ok(Store::open_or_create(&self.store)?.with_keys(self.key_source()?, &self.command))
    }

    fn key_source(&self) -> Result<KeySource> {
        KeySource::choose(
            self.key_file.as_deref(),
            self.key_command.as_deref(),
            "INFERWATCH_KEY",
        )
    }

    /// The config file that applies, if there is any.
    pub fn config_file(&self) -> Option<PathBuf> {
        match (self.no_config, &self.config) {
            (true, _) => None,
            (false, Some(file)) => Some(file.clone()),
            (false, None) => config::find(),
        }
    }

    /// Says something that is not data, unless silence was asked for.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            output::note(text);
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Ingest(ingest::Args),
    Generate(generate::Args),
    Sql(sql::Args),
    Store(store::Args),
    Keys(keys::Args),
    Compact(compact::Args),
    Retention(retention::Args),
    Hold(hold::Args),
    Erase(erase::Args),
    Check(check::Args),
    Test(test::Args),
    Fmt(fmt::Args),
    Run(run::Args),
    Serve(serve::Args),
    Token(token::Args),
    Status(status::Args),
    Heartbeat(heartbeat::Args),
    Sinks(sinks::Args),
    Explain(explain::Args),
    Backtest(backtest::Args),
    Coverage(coverage::Args),
    Dashboard(dashboard::Args),
    Tune(tune::Args),
    New(new::Args),
    Signatures(signatures::Args),
    Completions(completions::Args),
}

/// Runs the program on its arguments.
///
/// # Errors
/// Whatever the subcommand could not do.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<ExitCode> {
    let cli = match parse(arguments.into_iter().collect())? {
        Ok(cli) => cli,
        Err(told) => return Ok(told),
    };
    match &cli.command {
        Command::Demo(args) => demo::run(args, &cli.global),
        Command::Ingest(args) => ingest::run(args, &cli.global),
        Command::Generate(args) => generate::run(args, &cli.global),
        Command::Sql(args) => sql::run(args, &cli.global),
        Command::Store(args) => store::run(args, &cli.global),
        Command::Keys(args) => keys::run(args, &cli.global),
        Command::Compact(args) => compact::run(args, &cli.global),
        Command::Retention(args) => retention::run(args, &cli.global),
        Command::Hold(args) => hold::run(args, &cli.global),
        Command::Erase(args) => erase::run(args, &cli.global),
        Command::Check(args) => check::run(args, &cli.global),
        Command::Test(args) => test::run(args, &cli.global),
        Command::Fmt(args) => fmt::run(args, &cli.global),
        Command::Run(args) => run::run(args, &cli.global),
        Command::Serve(args) => serve::run(args, &cli.global),
        Command::Token(args) => token::run(args, &cli.global),
        Command::Status(args) => status::run(args, &cli.global),
        Command::Heartbeat(args) => heartbeat::run(args, &cli.global),
        Command::Sinks(args) => sinks::run(args, &cli.global),
        Command::Explain(args) => explain::run(args, &cli.global),
        Command::Backtest(args) => backtest::run(args, &cli.global),
        Command::Coverage(args) => coverage::run(args, &cli.global),
        Command::Dashboard(args) => dashboard::run(args, &cli.global),
        Command::Tune(args) => tune::run(args, &cli.global),
        Command::New(args) => new::run(args, &cli.global),
        Command::Signatures(args) => signatures::run(args, &cli.global),
        Command::Completions(args) => completions::run(args, &cli.global),
    }
}

/// Parses twice: first to learn which config file applies, then with what it says as defaults. Help, version and
/// wrong usage have been printed when there is only an exit code.
fn parse(arguments: Vec<OsString>) -> anyhow::Result<Result<Cli, ExitCode>> {
    let cli = match Cli::command()
        .try_get_matches_from(&arguments)
        .and_then(|matches| from_matches(&matches))
    {
        Ok(cli) => cli,
        Err(error) => return Ok(Err(told(&error))),
    };
    let Some(file) = cli.global.config_file() else {
        return Ok(Ok(cli));
    };
    let matches = config::apply(Cli::command(), &file)?.try_get_matches_from(arguments);
    Ok(matches
        .and_then(|matches| from_matches(&matches))
        .map_err(|error| told(&error)))
}

fn from_matches(matches: &ArgMatches) -> Result<Cli, clap::Error> {
    let mut cli = Cli::from_arg_matches(matches)?;
    matches
        .subcommand_name()
        .unwrap_or_default()
        .clone_into(&mut cli.global.command);
    Ok(cli)
}

/// Prints what the argument parser has to say, in the form of our own errors.
fn told(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::from(CLEAR);
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    output::note(&format!(
        "inferwatch: {}",
        text.replace("\n  tip: ", "\nhint: ")
            .replace("\n\n", "\n")
            .trim_end()
    ));
    ExitCode::from(FAILED)
}

/// Runs the program, prints the error if there is one, and gives the exit code.
pub fn main() -> ExitCode {
    let result = run(std::env::args_os());
    // `inferwatch … | head` has read what it wanted.
    if Stdout::is_closed() {
        return ExitCode::from(CLEAR);
    }
    match result {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::from(FAILED)
        }
    }
}

/// The runtime that queries run on.
///
/// # Errors
/// When its threads cannot be started.
fn runtime(threads: Option<usize>) -> anyhow::Result<tokio::runtime::Runtime> {
    use anyhow::Context as _;

    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder.thread_stack_size(crate::session::STACK);
    builder.enable_all().build().context("cannot start threads")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_names_its_environment_variable() {
        let command = Cli::command();
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
                let id = arg.get_id().as_str();
                // Those that ask for something else to be done, once, are no settings.
                assert!(
                    ["help", "version", "explain"].contains(&id) || arg.get_env().is_some(),
                    "{} --{id}",
                    command.get_name()
                );
            }
        }
    }
}

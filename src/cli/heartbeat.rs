//! `inferwatch heartbeat`: says of a source that it has sent everything up to a time.

use std::process::ExitCode;

use clap::builder::FalseyValueParser;

use super::run::parse_time_or_now;
use super::{CLEAR, Global};
use crate::detect::{context_of, heartbeat, time_text};

const LONG: &str = "\
A window closes when all sources of its tables have passed its end. A source that has nothing to send says so with a
heartbeat, so that nobody waits for it, and so that silence is known to be quiet and not a broken log. Heartbeats only go
forward. `inferwatch status --sources` shows how far each source has come.

Examples:
  inferwatch heartbeat aws.cloudtrail --at now
  inferwatch heartbeat azure.openai --at 2026-01-31T12:00:00Z
  inferwatch heartbeat gcp.audit --new --at now     a log that is yet to send its first record";

/// Say that a source has sent all there was up to a time
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    /// The source, as `source_format` names it
    source: String,
    /// The time; `now` is the time by the clock
    #[arg(long, env = "INFERWATCH_HEARTBEAT_AT", value_name = "TIME", value_parser = parse_time_or_now)]
    at: i64,
    /// Nothing has come from it yet
    #[arg(long, env = "INFERWATCH_HEARTBEAT_NEW", value_parser = FalseyValueParser::new())]
    new: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// When the source is not known, or the store cannot be written.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.open_store()?;
    let is_new = super::runtime(None)?.block_on(async {
        let context = context_of(&store).await?;
        heartbeat(&store, &context, &args.source, args.at, args.new).await
    })?;
    let time = time_text(args.at);
    global.note(&match is_new {
        true => format!("`{}` has sent everything up to {time}", args.source),
        false => format!("`{}` was known to be at {time} or beyond", args.source),
    });
    Ok(ExitCode::from(CLEAR))
}

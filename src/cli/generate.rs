//! `inferwatch generate`: realistic logs in the providers' own formats.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args as ClapArgs;
use clap::builder::FalseyValueParser;

use super::{CLEAR, Global};
use crate::error::Error;
use crate::generate::incidents::Incident;
use crate::generate::{Made, Plan, Platform, generate};
use crate::ingest::time;
use crate::output::bar;

/// Make logs to try things out on, in the providers' own formats.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The same arguments make the same bytes.

Example:
  inferwatch generate --callers 200 --models 6 --hours 48 --rows 1000000 logs/
  inferwatch ingest logs/")]
pub(super) struct Args {
    /// Folder to write to.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Principals that call.
    #[arg(
        long,
        env = "INFERWATCH_GENERATE_CALLERS",
        default_value_t = 60,
        value_name = "N"
    )]
    callers: usize,
    /// Models for each platform.
    #[arg(
        long,
        env = "INFERWATCH_GENERATE_MODELS",
        default_value_t = 4,
        value_name = "M"
    )]
    models: usize,
    /// Hours of traffic.
    #[arg(
        long,
        env = "INFERWATCH_GENERATE_HOURS",
        default_value_t = 24,
        value_name = "H"
    )]
    hours: usize,
    /// Calls in all, planted ones aside.
    #[arg(
        long,
        env = "INFERWATCH_GENERATE_ROWS",
        default_value_t = 50_000,
        value_name = "R"
    )]
    rows: u64,
    /// Chooses everything that is left to chance.
    #[arg(
        long,
        env = "INFERWATCH_GENERATE_SEED",
        default_value_t = 1,
        value_name = "S"
    )]
    seed: u64,
    /// First instant; cut to the hour.
    #[arg(
        long,
        env = "INFERWATCH_GENERATE_START",
        default_value = "2026-03-02T00:00:00Z",
        value_name = "TIME"
    )]
    start: String,
    /// Platforms to spread the callers over; all of them when not given.
    #[arg(
        long,
        env = "INFERWATCH_GENERATE_PLATFORM",
        value_enum,
        value_delimiter = ',',
        value_name = "PLATFORM"
    )]
    platform: Vec<Platform>,
    /// Plant seven incidents in the first day.
    #[arg(long, env = "INFERWATCH_GENERATE_INCIDENTS", value_parser = FalseyValueParser::new())]
    incidents: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// When an argument does not fit or the folder cannot be written.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    const HOUR: i64 = 3_600_000_000;
    let start = time::parse(&args.start).ok_or_else(|| Error::Usage {
        message: format!("`{}` is no time", args.start),
        hint: Some("write it as `2026-03-02T00:00:00Z`".into()),
    })?;
    let plan = Plan {
        callers: args.callers,
        models: args.models,
        hours: args.hours,
        rows: args.rows,
        seed: args.seed,
        start: start.micros.0.div_euclid(HOUR) * HOUR,
        platforms: if args.platform.is_empty() {
            Platform::ALL.to_vec()
        } else {
            args.platform.clone()
        },
        incidents: if args.incidents {
            Incident::ALL.to_vec()
        } else {
            Vec::new()
        },
    };
    let made = with_bar(&plan, &args.folder, global)?;
    global.note(&describe(made, &args.folder));
    Ok(ExitCode::from(CLEAR))
}

/// Generates with a progress bar.
///
/// # Errors
/// As [`generate`].
pub(super) fn with_bar(
    plan: &Plan,
    folder: &std::path::Path,
    global: &Global,
) -> crate::Result<Made> {
    let minutes = Arc::new(AtomicU64::new(0));
    let _bar = bar::steps(plan.hours as u64 * 60, &minutes, global.quiet);
    generate(plan, folder, |done| minutes.store(done, Ordering::Relaxed))
}

/// What was made, for a person.
pub(super) fn describe(made: Made, folder: &std::path::Path) -> String {
    format!(
        "{} calls and {} management events in {} files, {:.1} MB, below `{}`",
        made.calls,
        made.events,
        made.files,
        made.bytes as f64 / 1e6,
        folder.display()
    )
}

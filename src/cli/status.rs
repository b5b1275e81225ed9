//! `inferwatch status`: who evaluates rules, how far each has come, what it costs, and what it could not look at.

use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use clap::ValueEnum;
use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use super::pack::RuleFiles;
use super::run::selected;
use super::{CLEAR, FOUND, Global};
use crate::catalog::Span;
use crate::detect::{RuleStatus, Source, Sources, context_of, status, time_text};
use crate::output::escape::visible;
use crate::output::{self, table};
use crate::schedule::ROLE;
use crate::store::Store;

const LONG: &str = "\
Columns:
  closed up to   windows that end by then are evaluated and closed
  lag            how long before the last event of the store that is
  next window    the first that is still to close: once every source has come beyond its end by the lateness
  gaps           windows that were passed over and that nobody has evaluated since
  last run       when windows of it were last evaluated, by the clock, how many, and the milliseconds they took
  seconds        what all of its evaluations took

Exit codes:
  0    nothing is missing
  1    a rule has windows that nobody looked at
  2    could not run";

/// Show who runs, how far rules and sources have come, gaps, costs, what is next
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    /// Only this rule; can be given again
    #[arg(
        long,
        env = "INFERWATCH_STATUS_RULE",
        value_name = "ID",
        value_delimiter = ','
    )]
    rule: Vec<String>,
    #[command(flatten)]
    files: RuleFiles,
    /// Show how far the sources have come, instead of the rules
    #[arg(long, env = "INFERWATCH_STATUS_SOURCES", value_parser = FalseyValueParser::new())]
    sources: bool,
    /// How long after its time a row is still expected; only for `--sources`
    #[arg(
        long,
        env = "INFERWATCH_STATUS_LATENESS",
        value_name = "SPAN",
        default_value = "15m"
    )]
    lateness: Span,
    /// How long a silent source is waited for; only for `--sources`
    #[arg(
        long,
        env = "INFERWATCH_STATUS_IDLE_AFTER",
        value_name = "SPAN",
        default_value = "1h"
    )]
    idle_after: Span,
    /// How to print
    #[arg(
        long,
        value_enum,
        default_value = "table",
        env = "INFERWATCH_STATUS_FORMAT"
    )]
    format: StatusFormat,
}

/// How `status` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    /// A table for people
    Table,
    /// One JSON object a line
    Ndjson,
    /// One JSON document: schedulers, sources and rules
    Json,
}

/// Runs the subcommand. Exit code 0: nothing is missing; 1: a rule has windows that nobody looked at.
///
/// # Errors
/// When the rules or the store cannot be read.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let pack = args.files.read()?;
    let rules = selected(&pack, &args.rule)?;
    let store = global.open_store()?;
    if args.sources {
        return show_sources(args, &store);
    }
    let runtime = super::runtime(None)?;
    let statuses = runtime.block_on(status(&store, &rules))?;
    let schedulers = store.present(ROLE)?;
    match args.format {
        StatusFormat::Json => {
            let sources = sources(args, &runtime, &store)?;
            let rules: Vec<Value> = statuses.iter().map(RuleStatus::json).collect();
            let all = json!({"schedulers": schedulers, "sources": sources, "rules": rules});
            output::data(&serde_json::to_string_pretty(&all)?)?;
        }
        StatusFormat::Ndjson => statuses
            .iter()
            .try_for_each(|status| output::data(&status.json().to_string()))?,
        StatusFormat::Table => {
            output::data(&schedulers_text(&schedulers))?;
            let batch = batch(&statuses)?;
            let text = table::render(&batch.schema(), &[batch], table::Style::default())?;
            output::data(text.trim_end())?;
        }
    }
    let is_whole = statuses.iter().all(|status| status.open_gaps == 0);
    Ok(ExitCode::from(if is_whole { CLEAR } else { FOUND }))
}

/// One line for each scheduler that runs.
fn schedulers_text(schedulers: &[Value]) -> String {
    if schedulers.is_empty() {
        return "no scheduler is running".to_string();
    }
    let line = |note: &Value| {
        let text = |name: &str| note[name].as_str();
        let mut line = format!(
            "scheduler {} is running since {}",
            note["pid"],
            text("since").unwrap_or("?")
        );
        for (name, what) in [
            ("last_tick", "last tick"),
            ("last_evaluation", "last evaluation"),
            ("next_compaction", "next compaction"),
            ("next_retention", "next retention"),
        ] {
            if let Some(time) = text(name) {
                line.push_str(&format!("; {what} {time}"));
            }
        }
        if note["is_failing"] == true {
            line.push_str("; it fails, and tries again: its own messages say why");
        }
        visible(&line).into_owned()
    };
    schedulers.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The sources, each as an object.
fn sources(
    args: &Args,
    runtime: &tokio::runtime::Runtime,
    store: &Store,
) -> anyhow::Result<Vec<Value>> {
    let (sources, now) = all_sources(runtime, store)?;
    let json = |source: &Source| source.json(now, args.lateness, args.idle_after);
    Ok(sources.iter().map(json).collect())
}

/// The sources, and how far the first of them has come.
fn all_sources(
    runtime: &tokio::runtime::Runtime,
    store: &Store,
) -> anyhow::Result<(Vec<Source>, i64)> {
    let Sources(sources) = runtime.block_on(async {
        let context = context_of(store).await?;
        Sources::of(store, &context, None).await
    })?;
    let now = sources.iter().map(Source::reached).max().unwrap_or(0);
    Ok((sources, now))
}

fn show_sources(args: &Args, store: &Store) -> anyhow::Result<ExitCode> {
    let runtime = super::runtime(None)?;
    match args.format {
        StatusFormat::Table => {}
        StatusFormat::Ndjson => {
            for source in sources(args, &runtime, store)? {
                output::data(&source.to_string())?;
            }
            return Ok(ExitCode::from(CLEAR));
        }
        StatusFormat::Json => {
            let all = Value::Array(sources(args, &runtime, store)?);
            output::data(&serde_json::to_string_pretty(&all)?)?;
            return Ok(ExitCode::from(CLEAR));
        }
    }
    let (sources, now) = all_sources(&runtime, store)?;
    let texts = |of: &dyn Fn(&Source) -> Option<String>| -> ArrayRef {
        Arc::new(sources.iter().map(of).collect::<StringArray>())
    };
    let batch = RecordBatch::try_from_iter([
        ("source", texts(&|source| Some(source.name.clone()))),
        (
            "last event",
            texts(&|source| source.last_event.map(time_text)),
        ),
        (
            "heartbeat",
            texts(&|source| source.heartbeat.map(time_text)),
        ),
        (
            "watermark",
            texts(&|source| Some(time_text(source.reached() - args.lateness.0))),
        ),
        (
            "behind",
            texts(&|source| Some(span_text(now - source.reached()))),
        ),
        (
            "state",
            texts(&|source| {
                let is_idle = source.is_idle(now, args.idle_after);
                Some(if is_idle { "idle" } else { "waited for" }.to_string())
            }),
        ),
    ])?;
    let text = table::render(&batch.schema(), &[batch], table::Style::default())?;
    output::data(text.trim_end())?;
    Ok(ExitCode::from(CLEAR))
}

/// A span in its two largest units: `1h 5m`.
fn span_text(micros: i64) -> String {
    let seconds = (micros / 1_000_000).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn batch(statuses: &[RuleStatus]) -> anyhow::Result<RecordBatch> {
    let texts = |of: &dyn Fn(&RuleStatus) -> Option<String>| -> ArrayRef {
        Arc::new(statuses.iter().map(of).collect::<StringArray>())
    };
    let numbers = |of: &dyn Fn(&RuleStatus) -> i64| -> ArrayRef {
        Arc::new(
            statuses
                .iter()
                .map(|status| Some(of(status)))
                .collect::<Int64Array>(),
        )
    };
    let state = |status: &RuleStatus, name: &str| status.states.get(name).copied().unwrap_or(0);
    let seconds = statuses
        .iter()
        .map(|status| Some(status.elapsed_ms.round() / 1e3));
    Ok(RecordBatch::try_from_iter([
        ("rule", texts(&|status| Some(status.rule_id.clone()))),
        (
            "closed up to",
            texts(&|status| status.last_closed.map(time_text)),
        ),
        ("lag", texts(&|status| status.lag.map(span_text))),
        (
            "next window",
            texts(&|status| status.next_window.map(time_text)),
        ),
        ("fired", numbers(&|status| state(status, "fired"))),
        ("clear", numbers(&|status| state(status, "clear"))),
        ("learning", numbers(&|status| state(status, "learning"))),
        (
            "not covered",
            numbers(&|status| state(status, "not_covered")),
        ),
        ("failed", numbers(&|status| state(status, "error"))),
        ("gaps", numbers(&|status| status.open_gaps)),
        ("late dropped", numbers(&|status| status.late_dropped)),
        ("open", numbers(&|status| status.open_findings)),
        ("excepted", numbers(&|status| status.excepted)),
        (
            "last run",
            texts(&|status| {
                let (windows, took) = (status.last_windows, status.last_ms);
                let at = time_text(status.last_run?.div_euclid(1_000_000) * 1_000_000);
                Some(format!("{at}: {windows} in {took:.0} ms"))
            }),
        ),
        ("seconds", Arc::new(seconds.collect::<Float64Array>())),
    ])?)
}

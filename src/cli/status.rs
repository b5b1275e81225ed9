//! `inferwatch status`: how far each rule has come, and what it could not look at.

use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use clap::ValueEnum;
use clap::builder::FalseyValueParser;

use super::pack::RuleFiles;
use super::run::selected;
use super::{CLEAR, FOUND, Global};
use crate::catalog::Span;
use crate::detect::{RuleStatus, Source, Sources, context_of, status, time_text};
use crate::output::{self, table};
use crate::store::Store;

/// Show how far each rule, or each source, has come; gaps, and rows that came too late
#[derive(Debug, clap::Args)]
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
    let statuses = super::runtime(None)?.block_on(status(&store, &rules))?;
    match args.format {
        StatusFormat::Ndjson => statuses
            .iter()
            .try_for_each(|status| output::data(&status.json().to_string()))?,
        StatusFormat::Table => {
            let batch = batch(&statuses)?;
            let text = table::render(&batch.schema(), &[batch], table::Style::default())?;
            output::data(text.trim_end())?;
        }
    }
    let is_whole = statuses.iter().all(|status| status.open_gaps == 0);
    Ok(ExitCode::from(if is_whole { CLEAR } else { FOUND }))
}

fn show_sources(args: &Args, store: &Store) -> anyhow::Result<ExitCode> {
    let Sources(sources) = super::runtime(None)?.block_on(async {
        let context = context_of(store).await?;
        Sources::of(store, &context, None).await
    })?;
    let now = sources.iter().map(Source::reached).max().unwrap_or(0);
    if args.format == StatusFormat::Ndjson {
        for source in &sources {
            let line = source.json(now, args.lateness, args.idle_after);
            output::data(&line.to_string())?;
        }
        return Ok(ExitCode::from(CLEAR));
    }
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
    let seconds = statuses.iter().map(|status| Some(status.elapsed_ms / 1e3));
    Ok(RecordBatch::try_from_iter([
        ("rule", texts(&|status| Some(status.rule_id.clone()))),
        (
            "closed up to",
            texts(&|status| status.last_closed.map(time_text)),
        ),
        (
            "lag",
            texts(&|status| Some(format!("{}m", status.lag? / 60_000_000))),
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
        ("seconds", Arc::new(seconds.collect::<Float64Array>())),
    ])?)
}

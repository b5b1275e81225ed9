//! `inferwatch backtest`: what rules would have found in a range of time, in numbers; stores nothing.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use clap::ValueEnum;
use serde_json::Value;

use super::pack::{self, RuleFiles};
use super::run::{parse_time, selected};
use super::{CLEAR, FAILED, FOUND, Global, size};
use crate::detect::{Episode, Range, RuleOutcome, RunOptions, run as run_rules};
use crate::output::{self, table};
use crate::store::Store;

const LONG: &str = "\
Every window of the range is evaluated as a run would have done, with the same engine; nothing is stored. Per rule:
findings and findings a day, subjects, windows by how they ended, the median length of a finding, and the median time
from the first contributing event to the end of the first window that showed it.";

/// Evaluate rules over a range of time without storing anything; per rule, in numbers
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    /// Only this rule; can be given again
    #[arg(
        long,
        env = "INFERWATCH_BACKTEST_RULE",
        value_name = "ID",
        value_delimiter = ','
    )]
    rule: Vec<String>,
    #[command(flatten)]
    files: RuleFiles,
    /// Value of a rule's parameter; can be given again
    #[arg(
        long = "param",
        short,
        env = "INFERWATCH_BACKTEST_PARAM",
        value_name = "RULE.NAME=VALUE"
    )]
    params: Vec<String>,
    /// Windows that end after this time; the first event by default
    #[arg(long, env = "INFERWATCH_BACKTEST_FROM", value_name = "TIME", value_parser = parse_time)]
    from: Option<i64>,
    /// Windows that end by this time; the last event by default
    #[arg(long, env = "INFERWATCH_BACKTEST_TO", value_name = "TIME", value_parser = parse_time)]
    to: Option<i64>,
    /// How to print
    #[arg(
        long,
        value_enum,
        default_value = "table",
        env = "INFERWATCH_BACKTEST_FORMAT"
    )]
    format: BacktestFormat,
    /// Memory to hold rows in
    #[arg(long, env = "INFERWATCH_BACKTEST_MEMORY", value_name = "SIZE", value_parser = size::parse, default_value = "512MiB")]
    memory: usize,
}

/// How `backtest` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BacktestFormat {
    /// A table for people
    Table,
    /// One JSON object a line
    Ndjson,
}

/// One rule in numbers.
struct Tally {
    rule: String,
    windows: usize,
    findings: usize,
    per_day: f64,
    subjects: usize,
    fired: usize,
    not_covered: usize,
    errors: usize,
    length_minutes: Option<f64>,
    latency_minutes: Option<f64>,
    seconds: f64,
}

/// Runs the subcommand. Exit code 0: nothing found; 1: findings; 2: a rule failed.
///
/// # Errors
/// When the rules or the store cannot be read.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let pack = args.files.read()?;
    let rules = selected(&pack, &args.rule)?;
    let params = pack::params(&pack, &args.params)?;
    let store = Store::open(&global.store)?;
    let runtime = super::runtime(None)?;
    let options = RunOptions {
        range: Range::Between(args.from, args.to),
        params,
        memory: args.memory as u64,
        dry_run: true,
        exceptions: pack::exceptions(&runtime, &pack)?,
        is_complete: true,
        ..RunOptions::default()
    };
    let outcomes = run_rules(runtime.handle(), &store, &rules, &options)?;
    let tallies: Vec<Tally> = outcomes.iter().map(Tally::of).collect();
    match args.format {
        BacktestFormat::Ndjson => tallies
            .iter()
            .try_for_each(|tally| output::data(&tally.json().to_string()))?,
        BacktestFormat::Table => {
            let batch = batch(&tallies)?;
            let text = table::render(&batch.schema(), &[batch], table::Style::default())?;
            output::data(text.trim_end())?;
        }
    }
    Ok(ExitCode::from(
        if tallies.iter().any(|tally| tally.errors > 0) {
            FAILED
        } else if tallies.iter().any(|tally| tally.findings > 0) {
            FOUND
        } else {
            CLEAR
        },
    ))
}

const MINUTE: f64 = 60e6;

impl Tally {
    fn of(outcome: &RuleOutcome<'_>) -> Tally {
        let windows = outcome.windows();
        let days = windows as f64 * outcome.file.rule.every.0 as f64 / (24.0 * 60.0 * MINUTE);
        let findings = outcome.episodes.len();
        let state = |name: &str| outcome.states.get(name).copied().unwrap_or(0);
        let subjects: BTreeSet<String> = outcome
            .episodes
            .iter()
            .map(|episode| Value::Object(episode.entity.clone()).to_string())
            .collect();
        let length = |episode: &Episode| {
            Some((episode.last_window.end - episode.first_window.end) as f64 / MINUTE)
        };
        let latency = |episode: &Episode| {
            Some((episode.first_window.end - episode.first_seen?) as f64 / MINUTE)
        };
        let median = |of: &dyn Fn(&Episode) -> Option<f64>| {
            let mut values: Vec<f64> = outcome.episodes.iter().filter_map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Tally {
            rule: outcome.file.rule.id.clone(),
            windows,
            findings,
            per_day: if days > 0.0 {
                findings as f64 / days
            } else {
                0.0
            },
            subjects: subjects.len(),
            fired: state("fired"),
            not_covered: state("not_covered"),
            errors: state("error"),
            length_minutes: median(&length),
            latency_minutes: median(&latency),
            seconds: outcome.elapsed.as_secs_f64(),
        }
    }

    fn json(&self) -> Value {
        serde_json::json!({
            "rule": self.rule,
            "windows": self.windows,
            "findings": self.findings,
            "findings_per_day": self.per_day,
            "subjects": self.subjects,
            "fired": self.fired,
            "not_covered": self.not_covered,
            "errors": self.errors,
            "median_length_minutes": self.length_minutes,
            "median_latency_minutes": self.latency_minutes,
            "seconds": self.seconds,
        })
    }
}

fn batch(tallies: &[Tally]) -> anyhow::Result<RecordBatch> {
    let count = |of: &dyn Fn(&Tally) -> usize| -> ArrayRef {
        let values = tallies.iter().map(|tally| Some(of(tally) as i64));
        Arc::new(values.collect::<Int64Array>())
    };
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    let number = |of: &dyn Fn(&Tally) -> Option<f64>| -> ArrayRef {
        let values = tallies.iter().map(|tally| of(tally).map(rounded));
        Arc::new(values.collect::<Float64Array>())
    };
    let names: StringArray = tallies
        .iter()
        .map(|tally| Some(tally.rule.as_str()))
        .collect();
    Ok(RecordBatch::try_from_iter([
        ("rule", Arc::new(names) as ArrayRef),
        ("windows", count(&|tally| tally.windows)),
        ("findings", count(&|tally| tally.findings)),
        ("a day", number(&|tally| Some(tally.per_day))),
        ("subjects", count(&|tally| tally.subjects)),
        ("fired", count(&|tally| tally.fired)),
        ("not covered", count(&|tally| tally.not_covered)),
        ("minutes long", number(&|tally| tally.length_minutes)),
        ("minutes to see", number(&|tally| tally.latency_minutes)),
        ("seconds", number(&|tally| Some(tally.seconds))),
    ])?)
}

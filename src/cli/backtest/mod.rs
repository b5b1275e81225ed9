//! `inferwatch backtest`: what rules would have found in a range of time, in numbers; stores nothing.

mod diff;
mod labelled;
mod revision;
mod suggest;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use clap::ValueEnum;
use serde_json::Value;

use super::pack::{self, RuleFiles};
use super::run::{parse_time, selected};
use super::{CLEAR, FAILED, FOUND, Global};
use crate::catalog::{Pack, Param, RuleFile};
use crate::detect::{
    Episode, Label, Range, RuleOutcome, RunOptions, Score, read_labels, run as run_rules, value_of,
};
use crate::error::Error;
use crate::output::{self, bar, table};
use crate::size;
use crate::store::Store;
use suggest::Tried;

const LONG: &str = "\
Every window of the range is evaluated as a run would have done, with the same engine; nothing is
stored. Per rule: findings and findings a day, subjects, windows by how they ended, the median
length of a finding, and the median time from the first contributing event to the end of the first
window that showed it.

Labels:
  `--labels FILE` says what is known to have happened, as JSON objects, one a line, or as CSV with
  a header:
    {\"caller\": \"alice\", \"from\": \"2026-03-02T10:00:00Z\", \"to\": \"2026-03-02T11:00:00Z\"}
    {\"caller\": \"batch\", \"label\": false}
  Keys: columns of a rule's entity; `from`, `to` (all the time without); `label` (true unless
  given; false is harmless); `rule` (all rules with these columns without). A finding hits a label
  when it is of the same subject and overlaps it. Without any harmless label, the labels are all
  there is to find, and every other finding is false; with some, only findings that hit one of
  those are, and the others are unknown. Shares come with their 95 % interval (Wilson).

Another revision:
  `--diff REVISION` runs the same file as git has it there as well: + only now, - only then, ~ in
  both, but otherwise.

A parameter:
  `--suggest max_tokens` tries values around the default and where findings change most, and
  proposes one: with labels what finds most of them with the fewest false, else where the findings
  depend least on the value. Nothing is edited.

Exit codes:
  0    no findings (--diff: nothing differs; --suggest: always)
  1    findings (--diff: something differs)
  2    could not run, or a rule failed";

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
    /// What is known to have happened, or to be harmless: precision and recall
    #[arg(
        long,
        env = "INFERWATCH_BACKTEST_LABELS",
        value_name = "FILE",
        help_heading = "Compare"
    )]
    labels: Option<PathBuf>,
    /// Compare with the same rule files at this git revision
    #[arg(long, env = "INFERWATCH_BACKTEST_DIFF", value_name = "REVISION", conflicts_with_all = ["labels", "suggest"], help_heading = "Compare")]
    diff: Option<String>,
    /// Try values of this parameter of the one rule given, and propose one
    #[arg(
        long,
        env = "INFERWATCH_BACKTEST_SUGGEST",
        value_name = "PARAM",
        help_heading = "Compare"
    )]
    suggest: Option<String>,
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
    score: Option<Score>,
}

/// Runs the subcommand. Exit code 0: nothing found; 1: findings; 2: a rule failed.
///
/// # Errors
/// When the rules or the store cannot be read.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let pack = args.files.read()?;
    let rules = selected(&pack, &args.rule)?;
    let params = pack::params(&pack, &args.params)?;
    let store = global.open_store()?;
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
    let job = Backtest {
        runtime: &runtime,
        store: &store,
        options,
        as_json: args.format == BacktestFormat::Ndjson,
        quiet: global.quiet,
    };
    let headers: Vec<_> = rules.iter().map(|file| &file.rule).collect();
    let labels = match &args.labels {
        Some(path) => Some(read_labels(path, &headers)?),
        None => None,
    };
    if let Some(revision) = &args.diff {
        return job.diff(&rules, revision);
    }
    if let Some(name) = &args.suggest {
        let (file, param) = parameter(&pack, &rules, name)?;
        return job.suggest(file, param, labels.as_deref());
    }
    job.numbers(&rules, labels.as_deref())
}

/// The rule and its parameter that `--suggest` names.
fn parameter<'a>(
    pack: &'a Pack,
    rules: &[&'a RuleFile],
    name: &str,
) -> anyhow::Result<(&'a RuleFile, &'a Param)> {
    let usage = |message: String, hint: String| Error::Usage {
        message,
        hint: Some(hint),
    };
    let (file, name) = match (name.split_once('.'), rules) {
        (Some((id, name)), _) => (pack.rule(id)?, name),
        (None, [file]) => (*file, name),
        (None, _) => {
            let message = format!("`{name}` of which rule?");
            return Err(usage(
                message,
                format!("`--rule RULE`, or `--suggest RULE.{name}`"),
            )
            .into());
        }
    };
    let param = file.rule.param(name).ok_or_else(|| {
        let known: Vec<&str> = file.rule.params.iter().map(|it| it.name.as_str()).collect();
        usage(
            format!("rule `{}` has no parameter `{name}`", file.rule.id),
            format!("it has: {}", known.join(", ")),
        )
    })?;
    Ok((file, param))
}

/// What all ways to look back have in common.
struct Backtest<'b> {
    runtime: &'b tokio::runtime::Runtime,
    store: &'b Store,
    options: RunOptions,
    as_json: bool,
    quiet: bool,
}

impl Backtest<'_> {
    /// Rules in numbers.
    fn numbers(&self, rules: &[&RuleFile], labels: Option<&[Label]>) -> anyhow::Result<ExitCode> {
        let outcomes = run_rules(self.runtime.handle(), self.store, rules, &self.options)?;
        let tallies: Vec<Tally> = outcomes.iter().map(|it| Tally::of(it, labels)).collect();
        if self.as_json {
            tallies
                .iter()
                .try_for_each(|tally| output::data(&tally.json().to_string()))?;
        } else {
            let batch = batch(&tallies)?;
            let text = table::render(&batch.schema(), &[batch], table::Style::default())?;
            output::data(text.trim_end())?;
            for tally in &tallies {
                if let Some(score) = &tally.score {
                    labelled::print(&tally.rule, score)?;
                }
            }
        }
        let is_failed = tallies.iter().any(|tally| tally.errors > 0);
        let is_found = tallies.iter().any(|tally| tally.findings > 0);
        Ok(ExitCode::from(match (is_failed, is_found) {
            (true, _) => FAILED,
            (false, true) => FOUND,
            (false, false) => CLEAR,
        }))
    }

    /// Rules beside what they were at a revision.
    fn diff(&self, rules: &[&RuleFile], revision: &str) -> anyhow::Result<ExitCode> {
        let before = rules.iter().map(|file| revision::rule_at(file, revision));
        let before = before.collect::<Result<Vec<_>, _>>()?;
        let now = run_rules(self.runtime.handle(), self.store, rules, &self.options)?;
        // Values for parameters that were not there yet are for nobody.
        let mut options = self.options.clone();
        options.params.retain(|(id, name, _)| {
            before
                .iter()
                .any(|file| file.rule.id == *id && file.rule.param(name).is_some())
        });
        let old: Vec<&RuleFile> = before.iter().collect();
        let old = run_rules(self.runtime.handle(), self.store, &old, &options)?;
        let mut code = CLEAR;
        for (old, now) in old.iter().zip(&now) {
            if !diff::print(old, now, revision, self.as_json)? {
                code = code.max(FOUND);
            }
            for (outcome, which) in [(old, revision), (now, "now")] {
                if outcome.states.contains_key("error") {
                    let detail = outcome.detail.as_deref().unwrap_or_default();
                    let id = &outcome.file.rule.id;
                    output::note(&format!("inferwatch: `{id}` ({which}) failed: {detail}"));
                    code = FAILED;
                }
            }
        }
        Ok(ExitCode::from(code))
    }

    /// One parameter at many values.
    fn suggest(
        &self,
        file: &RuleFile,
        param: &Param,
        labels: Option<&[Label]>,
    ) -> anyhow::Result<ExitCode> {
        let rule = &file.rule;
        let given = self.options.params.iter().rev();
        let mut given = given.filter(|(id, name, _)| *id == rule.id && *name == param.name);
        let default = match given.next() {
            Some((_, _, value)) => suggest::number_of(param, value)?,
            None => suggest::number_of(param, &param.default)?,
        };
        let first = suggest::first_values(param, default);
        let done = Arc::new(AtomicU64::new(0));
        let bar = bar::steps((first.len() + suggest::REFINED) as u64, &done, self.quiet);
        let mut tried: Vec<Tried> = Vec::new();
        for value in first {
            tried.push(self.tried(file, param, value, labels)?);
            done.fetch_add(1, Ordering::Relaxed);
        }
        for _ in 0..suggest::REFINED {
            let Some(value) = suggest::next_value(param, &tried) else {
                break;
            };
            tried.push(self.tried(file, param, value, labels)?);
            tried.sort_by(|a, b| a.value.total_cmp(&b.value));
            done.fetch_add(1, Ordering::Relaxed);
        }
        drop(bar);
        let proposed = suggest::proposal(&tried, default);
        suggest::print(rule, param, &tried, default, proposed, self.as_json)?;
        Ok(ExitCode::from(CLEAR))
    }

    fn tried(
        &self,
        file: &RuleFile,
        param: &Param,
        value: f64,
        labels: Option<&[Label]>,
    ) -> anyhow::Result<Tried> {
        let mut options = self.options.clone();
        let of_param = value_of(param, value);
        let rule = file.rule.id.clone();
        options.params.push((rule, param.name.clone(), of_param));
        let outcomes = run_rules(self.runtime.handle(), self.store, &[file], &options)?;
        let tally = Tally::of(&outcomes[0], labels);
        if tally.errors > 0 {
            let detail = outcomes[0].detail.clone().unwrap_or_default();
            anyhow::bail!("`{}` failed: {detail}", file.rule.id);
        }
        Ok(Tried {
            value,
            findings: tally.findings,
            subjects: tally.subjects,
            per_day: tally.per_day,
            recall: tally.score.as_ref().and_then(Score::recall),
            precision: tally.score.as_ref().and_then(Score::precision),
        })
    }
}

const MINUTE: f64 = 60e6;

impl Tally {
    fn of(outcome: &RuleOutcome<'_>, labels: Option<&[Label]>) -> Tally {
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
            score: labels.map(|labels| Score::of(&outcome.file.rule, labels, &outcome.episodes)),
        }
    }

    fn json(&self) -> Value {
        let mut object = serde_json::json!({
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
        });
        if let Some(score) = &self.score {
            object["labels"] = labelled::json(score);
        }
        object
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
    let text = |of: &dyn Fn(&Score) -> String| -> ArrayRef {
        let scores = tallies.iter().map(|tally| tally.score.as_ref());
        Arc::new(scores.map(|score| score.map(of)).collect::<StringArray>())
    };
    let mut columns = vec![
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
    ];
    if tallies.iter().any(|tally| tally.score.is_some()) {
        let labels = |score: &Score| score.wanted.to_string();
        columns.push(("labels", text(&labels)));
        columns.push(("recall", text(&|score| labelled::text(score.recall()))));
        let precision = |score: &Score| labelled::text(score.precision());
        columns.push(("precision", text(&precision)));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}

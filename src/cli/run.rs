//! `inferwatch run`: evaluates rules over windows of a store, prints what they find and stores it.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use clap::ValueEnum;
use clap::builder::FalseyValueParser;

use super::pack::{self, RuleFiles};
use super::schedule::Going;
use super::{CLEAR, FOUND, Global};
use crate::catalog::{Pack, ParamValue, RuleFile, Severity, Span};
use crate::detect::{Budget, Episode, Range, RuleOutcome, RunOptions, run as run_rules, time_text};
use crate::error::Error;
use crate::output::words::plural;
use crate::output::{self, table};
use crate::parallel::processors;
use crate::sinks;
use crate::size;
use crate::store::Store;

/// A finding is at least as severe as `--fail-on` says.
const SEVERE: u8 = 3;

const LONG: &str = "\
Examples:
  Watch a store, and a folder that logs land in, until Ctrl-C or SIGTERM:
    inferwatch run --follow /var/log/ai --follow /var/log/otel=otlp
  Evaluate what has closed since the last time, and end; from cron, or to see what there is:
    inferwatch run --once
  The same windows as a few days ago, with another threshold, storing nothing:
    inferwatch run --rule token-burn --param token-burn.max_tokens=100000 --from 2026-03-02 --dry-run

Schedule:
  A rule is evaluated once windows of it have closed, and at most once in its `every` when rows came late for it.
  A store that has not changed costs a look at its log every `--tick`. Rules that are due at the same time share what
  they read; one that is slow comes after the others, one that fails is tried again after its `every`, then later and
  later. Any number of schedulers may run on one store, be killed and started again: no window is missed, and none is
  stored twice. `inferwatch status` says whether one is running, and how far rules and sources have come.

  What is found is told to the sinks of `inferwatch.toml` meanwhile (see `inferwatch sinks`), which holds up no rule.

Landing folders:
  Files are taken as `inferwatch ingest` takes them: each content once, whatever the file is called; one that has grown
  is read on from where it ended, and a last line waits for its end. A file that cannot be read is told of, and
  read again when it changes. Rules are evaluated between two passes over the folders, so that what lies there at the
  start is all in before the first window is looked at.

Maintenance:
  When no rule is due, small files become large ones (`--compact-every`), and replaced ones are removed after a day. By
  itself, retention only does what takes nothing away (`--retention safe`): it sums up, and says what the tiers would
  delete. `--retention apply` has it delete, redact and empty as the tiers say, and each time is a row of `audit`.

Windows:
  Windows end at multiples of a rule's `every` since 1970, so that any two machines agree on them. A window closes
  when every source of its tables has sent an event, or a heartbeat, that is later than its end by `--lateness`; one
  that is silent for `--idle-after` is not waited for. With `--complete` it closes when the last event is. Without
  `--at`, `--from` or `--to`, every window is evaluated that has closed since the last run. A rule to whose findings
  more rows can only add (see `inferwatch explain`) looks at open windows too. Rows that came late make the windows
  they lie in be evaluated again, back to `--late-horizon`; what lies further back is a gap. An explicit range is
  evaluated again and printed whole; what comes out otherwise than before is stored, and fills gaps.

Findings:
  Consecutive windows that fire for one entity are one finding. The table `findings` has a row for all that happens
  to one: opened, updated, revised, retracted, resolved; `findings_now` has each as it stands. `evaluations` keeps each
  window that was looked at and how it ended: fired, clear, learning, not_covered (the data says nothing either way).

Exit codes:
  0    stopped by Ctrl-C or SIGTERM, after what was being evaluated is stored; with `--once`, no findings
  1    with `--once`: findings
  2    could not run; with `--once`, also: a rule failed
  3    with `--once`: a finding is at least as severe as `--fail-on`
  130, 143  stopped at once by a second Ctrl-C or SIGTERM";

/// Evaluate rules when they are due; print and store what they find
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    /// Evaluate what there is, and end; a range of windows, `--dry-run` and `--explain` do so in any case
    #[arg(long, env = "INFERWATCH_RUN_ONCE", value_parser = FalseyValueParser::new())]
    once: bool,
    #[command(flatten)]
    evaluation: Evaluation,
    #[command(flatten)]
    going: Going,
    /// Only the window that ends at this time, or just before it
    #[arg(long, env = "INFERWATCH_RUN_AT", value_name = "TIME", value_parser = parse_time, conflicts_with_all = ["from", "to"], help_heading = "Range")]
    at: Option<i64>,
    /// Windows that end after this time
    #[arg(long, env = "INFERWATCH_RUN_FROM", value_name = "TIME", value_parser = parse_time, help_heading = "Range")]
    from: Option<i64>,
    /// Windows that end by this time
    #[arg(long, env = "INFERWATCH_RUN_TO", value_name = "TIME", value_parser = parse_time, help_heading = "Range")]
    to: Option<i64>,
    /// No log is missing: close windows with the last event
    #[arg(long, env = "INFERWATCH_RUN_COMPLETE", value_parser = FalseyValueParser::new(), help_heading = "Range")]
    complete: bool,
    /// No log from before this time is missing, even if nothing has come since: close windows up to it; `now` is the
    /// time by the clock
    #[arg(long, env = "INFERWATCH_RUN_CLOSED_UNTIL", value_name = "TIME", value_parser = parse_time_or_now, help_heading = "Range")]
    closed_until: Option<i64>,
    /// Print, but store nothing
    #[arg(long, env = "INFERWATCH_RUN_DRY", value_parser = FalseyValueParser::new(), help_heading = "Output")]
    dry_run: bool,
    /// Print each rule's plan, bounds and columns instead of running it
    #[arg(long, env = "INFERWATCH_RUN_EXPLAIN", value_parser = FalseyValueParser::new(), help_heading = "Output")]
    explain: bool,
    /// How findings are written: a table on a terminal, else one JSON object a line
    #[arg(
        long,
        env = "INFERWATCH_RUN_FORMAT",
        value_enum,
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    format: Option<FindingFormat>,
    /// End with exit code 3 when a finding is at least this severe; with `--once`
    #[arg(
        long,
        env = "INFERWATCH_FAIL_ON",
        value_enum,
        value_name = "SEVERITY",
        help_heading = "Output"
    )]
    fail_on: Option<Severity>,
}

/// Which rules are evaluated, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Evaluation {
    /// Only this rule; can be given again
    #[arg(
        long,
        env = "INFERWATCH_RUN_RULE",
        value_name = "ID",
        value_delimiter = ','
    )]
    rule: Vec<String>,
    #[command(flatten)]
    files: RuleFiles,
    /// Value of a rule's parameter; can be given again
    #[arg(long = "param", short, env = "INFERWATCH_RUN_PARAM", value_name = "RULE.NAME=VALUE", value_delimiter = None)]
    params: Vec<String>,
    /// How long after its time a row is still expected, where a rule does not say
    #[arg(
        long,
        env = "INFERWATCH_RUN_LATENESS",
        value_name = "SPAN",
        default_value = "15m",
        help_heading = "Range"
    )]
    lateness: Span,
    /// How long a silent source is waited for, in event time; then it is idle, and what it brings is late
    #[arg(
        long,
        env = "INFERWATCH_RUN_IDLE_AFTER",
        value_name = "SPAN",
        default_value = "1h",
        help_heading = "Range"
    )]
    idle_after: Span,
    /// How far back rows that come later change what was found, where a rule does not say
    #[arg(
        long,
        env = "INFERWATCH_RUN_LATE_HORIZON",
        value_name = "SPAN",
        default_value = "24h",
        help_heading = "Range"
    )]
    late_horizon: Span,
    /// How much of what was missed is made good; what is older becomes a gap
    #[arg(
        long,
        env = "INFERWATCH_RUN_MAX_CATCHUP",
        value_name = "SPAN",
        default_value = "30d",
        help_heading = "Range"
    )]
    max_catchup: Span,
    /// Memory that one rule may hold rows in
    #[arg(long, env = "INFERWATCH_RUN_MEMORY", value_name = "SIZE", value_parser = size::parse, default_value = "512MiB", help_heading = "Resources")]
    memory: usize,
    /// Rules to evaluate at a time; the number of processors by default
    #[arg(
        long,
        env = "INFERWATCH_RUN_THREADS",
        value_name = "N",
        help_heading = "Resources"
    )]
    threads: Option<usize>,
    /// How long the windows of one rule may take in one run, where it does not say; then it is stopped, and goes on with
    /// the next run
    #[arg(
        long,
        env = "INFERWATCH_RUN_RULE_TIME",
        value_name = "SPAN",
        default_value = "10m",
        help_heading = "Resources"
    )]
    rule_time: Span,
    /// Memory for the joins, sorts and aggregates of one rule, where it does not say
    #[arg(long, env = "INFERWATCH_RUN_RULE_MEMORY", value_name = "SIZE", value_parser = size::parse, default_value = "1GiB", help_heading = "Resources")]
    rule_memory: usize,
}

impl Evaluation {
    /// The rules, with what their environment adds; those that are not wanted are still there to be heard of.
    pub(super) fn pack(&self) -> anyhow::Result<Pack> {
        self.files.read()
    }

    /// Those of a pack that are to be evaluated.
    pub(super) fn rules<'p>(&self, pack: &'p Pack) -> anyhow::Result<Vec<&'p RuleFile>> {
        selected(pack, &self.rule)
    }

    /// Rules to evaluate at a time.
    pub(super) fn threads(&self) -> Option<usize> {
        self.threads
    }

    /// How they are evaluated, since the last time.
    pub(super) fn options(
        &self,
        runtime: &tokio::runtime::Runtime,
        pack: &Pack,
    ) -> anyhow::Result<RunOptions> {
        Ok(RunOptions {
            range: Range::SinceLast,
            params: pack::params(pack, &self.params)?,
            memory: self.memory as u64,
            threads: self.threads.unwrap_or_else(processors),
            evaluated_at: chrono::Utc::now().timestamp_micros(),
            dry_run: false,
            is_complete: false,
            closed_until: None,
            begin: None,
            idle_after: self.idle_after,
            budget: Budget {
                time: self.rule_time,
                memory: self.rule_memory as u64,
            },
            lateness: self.lateness,
            late_horizon: self.late_horizon,
            max_catchup: self.max_catchup,
            exceptions: pack::exceptions(runtime, pack)?,
        })
    }
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FindingFormat {
    /// A table for people
    Table,
    /// One JSON object a line
    Ndjson,
}

pub(super) fn parse_time_or_now(text: &str) -> Result<i64, String> {
    match text {
        "now" => Ok(chrono::Utc::now().timestamp_micros()),
        other => parse_time(other),
    }
}

pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    let day = format!("{text}T00:00:00Z");
    let time = [text, &day]
        .into_iter()
        .find_map(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    time.map(|time| time.timestamp_micros())
        .ok_or_else(|| "not a time such as 2026-01-31T12:00:00Z, or a date".to_string())
}

/// Runs the subcommand.
///
/// # Errors
/// When the rules or the store cannot be read, or what was found cannot be stored.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let pack = args.evaluation.pack()?;
    let rules = args.evaluation.rules(&pack)?;
    let runtime = super::runtime(args.evaluation.threads())?;
    let range = match (args.at, args.from, args.to) {
        (Some(at), ..) => Range::At(at),
        (None, None, None) => Range::SinceLast,
        (None, from, to) => Range::Between(from, to),
    };
    let options = RunOptions {
        range,
        dry_run: args.dry_run,
        is_complete: args.complete,
        closed_until: args.closed_until,
        ..args.evaluation.options(&runtime, &pack)?
    };
    let goes_on = !args.once && !args.dry_run && !args.explain && range == Range::SinceLast;
    if goes_on {
        let settings = args.going.settings(options)?;
        return super::schedule::run(&runtime, &rules, settings, args.format, global);
    }
    let store = global.open_store()?;
    if args.explain {
        return runtime
            .block_on(super::explain::rules(
                &store,
                &pack,
                &rules,
                args.at.or(args.to),
                false,
            ))
            .map(|()| ExitCode::from(CLEAR));
    }
    // Before the evaluation: what it finds is told by sinks that are new as well.
    let told = match range == Range::SinceLast && !args.dry_run {
        true => super::schedule::open_sinks(&runtime, &store, &rules, global)?,
        false => None,
    };
    let started = Instant::now();
    let outcomes = run_rules(runtime.handle(), &store, &rules, &options)?;
    let episodes = episodes(&outcomes);
    print(&outcomes, &episodes, args.format)?;
    summary(global, &outcomes, started.elapsed());
    if let Some(mut deliverer) = told {
        let now = chrono::Utc::now().timestamp_micros();
        for pass in runtime.block_on(sinks::deliver(&mut deliverer, now)) {
            super::schedule::tell_pass(pass.as_ref(), global);
        }
    }
    Ok(ExitCode::from(exit_code(
        &outcomes,
        &episodes,
        args.fail_on,
    )))
}

/// Evaluates rules over a store that no row is missing in, and stores what they find.
///
/// # Errors
/// When the store cannot be read or written.
pub(super) fn evaluate<'a>(
    store: &Store,
    rules: &[&'a RuleFile],
    range: Range,
) -> anyhow::Result<Vec<RuleOutcome<'a>>> {
    let runtime = super::runtime(None)?;
    let options = RunOptions {
        range,
        is_complete: true,
        evaluated_at: chrono::Utc::now().timestamp_micros(),
        ..RunOptions::default()
    };
    Ok(run_rules(runtime.handle(), store, rules, &options)?)
}

/// What was found, in the order of time.
pub(super) fn episodes<'o>(outcomes: &'o [RuleOutcome<'_>]) -> Vec<&'o Episode> {
    let mut episodes: Vec<&Episode> = outcomes
        .iter()
        .flat_map(|outcome| &outcome.episodes)
        .collect();
    episodes.sort_by_key(|episode| episode.first_window.end);
    episodes
}

fn exit_code(outcomes: &[RuleOutcome<'_>], episodes: &[&Episode], fail_on: Option<Severity>) -> u8 {
    if outcomes
        .iter()
        .any(|outcome| outcome.states.contains_key("error"))
    {
        super::FAILED
    } else if fail_on.is_some_and(|least| episodes.iter().any(|episode| episode.severity >= least))
    {
        SEVERE
    } else if episodes.is_empty() {
        CLEAR
    } else {
        FOUND
    }
}

pub(super) fn selected<'a>(pack: &'a Pack, ids: &[String]) -> anyhow::Result<Vec<&'a RuleFile>> {
    if ids.is_empty() {
        return Ok(pack.rules.iter().collect());
    }
    Ok(ids
        .iter()
        .map(|id| pack.rule(id))
        .collect::<Result<Vec<_>, _>>()?)
}

/// `rule.name=value`; the value has the type of the parameter's default.
pub(super) fn parse_param(pack: &Pack, text: &str) -> Result<(String, String, ParamValue), Error> {
    let usage = |message: String, hint: Option<String>| Error::Usage { message, hint };
    let parts = text
        .split_once('=')
        .and_then(|(name, value)| Some((name.split_once('.')?, value)));
    let Some(((rule, name), value)) = parts else {
        return Err(usage(format!("`{text}` is not `rule.name=value`"), None));
    };
    let file = pack.rule(rule)?;
    let Some(param) = file.rule.param(name) else {
        let known = file
            .rule
            .params
            .iter()
            .map(|param| param.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        return Err(usage(
            format!("rule `{rule}` has no parameter `{name}`"),
            Some(format!("it has: {known}")),
        ));
    };
    let value = param
        .parse(value)
        .map_err(|message| usage(message, Some(param.doc.clone())))?;
    Ok((rule.to_string(), name.to_string(), value))
}

/// Writes what was found to standard output.
pub(super) fn print(
    outcomes: &[RuleOutcome<'_>],
    episodes: &[&Episode],
    format: Option<FindingFormat>,
) -> anyhow::Result<()> {
    let is_terminal = std::io::stdout().is_terminal();
    let format = format.unwrap_or(if is_terminal {
        FindingFormat::Table
    } else {
        FindingFormat::Ndjson
    });
    if format == FindingFormat::Ndjson {
        let lines = outcomes.iter().flat_map(RuleOutcome::lines);
        return Ok(lines
            .into_iter()
            .try_for_each(|line| output::data(&line.to_string()))?);
    }
    if episodes.is_empty() {
        return Ok(());
    }
    let texts = |of: &dyn Fn(&Episode) -> String| {
        Arc::new(
            episodes
                .iter()
                .map(|episode| Some(of(episode)))
                .collect::<StringArray>(),
        ) as ArrayRef
    };
    let entity = |episode: &Episode| {
        let value = |value: &serde_json::Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_string)
        };
        episode
            .entity
            .values()
            .map(value)
            .collect::<Vec<_>>()
            .join(" · ")
    };
    let batch = RecordBatch::try_from_iter([
        (
            "severity",
            texts(&|episode| episode.severity.name().to_string()),
        ),
        ("rule", texts(&|episode| episode.rule_id.clone())),
        ("entity", texts(&entity)),
        (
            "first seen",
            texts(&|episode| time_text(episode.first_seen.unwrap_or(episode.first_window.start))),
        ),
        (
            "last seen",
            texts(&|episode| time_text(episode.last_seen.unwrap_or(episode.last_window.end))),
        ),
        (
            "events",
            Arc::new(
                episodes
                    .iter()
                    .map(|episode| episode.event_count)
                    .collect::<Int64Array>(),
            ),
        ),
        (
            "windows",
            Arc::new(
                episodes
                    .iter()
                    .map(|episode| Some(episode.windows as i64))
                    .collect::<Int64Array>(),
            ),
        ),
    ])?;
    let text = table::render(&batch.schema(), &[batch], table::Style::default())?;
    Ok(output::data(text.trim_end())?)
}

pub(super) fn summary(global: &Global, outcomes: &[RuleOutcome<'_>], elapsed: Duration) {
    for outcome in outcomes {
        let states: Vec<String> = outcome
            .states
            .iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let is_odd = outcome.states.contains_key("error")
            || (outcome.states.contains_key("not_covered") && outcome.states.len() == 1);
        if global.verbose > 0 || (is_odd && outcome.states.contains_key("error")) {
            let detail = outcome
                .detail
                .as_deref()
                .map(|detail| format!(" ({detail})"))
                .unwrap_or_default();
            global.note(&format!(
                "{}: {} in {:.1?}{detail}",
                outcome.file.rule.id,
                states.join(", "),
                outcome.elapsed
            ));
        }
    }
    for outcome in outcomes {
        let rule = &outcome.file.rule;
        for gap in &outcome.gaps {
            let (from, to) = (time_text(gap.ends.0 - rule.every.0), time_text(gap.ends.1));
            global.note(&format!(
                "{id}: windows that end after {from} up to {to} were not evaluated: {reason}\n\
                 hint: `inferwatch run --rule {id} --from {from} --to {to}` evaluates them",
                id = rule.id,
                reason = gap.reason,
            ));
        }
    }
    let again: usize = outcomes.iter().map(|outcome| outcome.again).sum();
    let again = match again {
        0 => String::new(),
        again => format!(", {again} of them again for rows that came late"),
    };
    let excepted = match outcomes.iter().map(RuleOutcome::excepted).sum() {
        0 => String::new(),
        excepted => format!("; {excepted} of which nobody is told, by exceptions"),
    };
    let windows: usize = outcomes.iter().map(RuleOutcome::windows).sum();
    let found: usize = outcomes.iter().map(|outcome| outcome.episodes.len()).sum();
    let blind = outcomes
        .iter()
        .filter(|o| o.windows() > 0 && o.states.keys().all(|state| *state == "not_covered"))
        .count();
    let blind = if blind > 0 {
        let blind = plural(blind, "rule");
        format!("; {blind} had no data to judge by (`-v` says which)")
    } else {
        String::new()
    };
    global.note(&format!(
        "{}, {}{again} in {:.1?}: {}{excepted}{blind}",
        plural(outcomes.len(), "rule"),
        plural(windows, "window"),
        elapsed,
        plural(found, "finding")
    ));
}

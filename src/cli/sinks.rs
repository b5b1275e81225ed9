//! `inferwatch sinks`: where findings are told, whether that works, and what could not be told.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{ArrayRef, Int64Array, StringArray};
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use super::pack::RuleFiles;
use super::run::parse_time;
use super::store::{Report, draw, json_text, rfc3339};
use super::{CLEAR, FOUND, Global};
use crate::error::Error;
use crate::output;
use crate::output::escape::visible;
use crate::output::words::plural;
use crate::sinks::{Deliverer, Item, Pass, Settings, State, deliver};

const LONG: &str = "\
Sinks are in inferwatch.toml, and docs/sinks.md says all about them:
    [sinks.chat]
    kind = \"slack\"                  # or webhook, pagerduty, alertmanager, file, syslog, email
    url_env = \"SLACK_WEBHOOK_URL\"   # secrets stand in the environment or in files

    [[routes]]
    sinks = [\"chat\"]
    severity = \"high\"               # and worse

Examples:
  Try a sink, and see what the other side answers:
    inferwatch sinks test chat
  Tell what is due, once; `inferwatch run` and `inferwatch serve` go on with that by themselves:
    inferwatch sinks deliver
  See what could not be told, and tell it again:
    inferwatch sinks status
    inferwatch sinks replay --dead --sink chat

Exit codes:
  0    all is told, or there is nothing to tell
  1    something could not be told
  2    could not run";

/// Show where findings are told, try it, and tell again what could not be
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// A table for people or JSON; by default a table on a terminal
    #[arg(long, env = "INFERWATCH_SINKS_FORMAT", value_name = "FORMAT")]
    format: Option<Report>,
    /// Act as if it were this time
    #[arg(long, env = "INFERWATCH_SINKS_AT", value_name = "TIME", value_parser = parse_time, hide_short_help = true)]
    at: Option<i64>,
}

impl Common {
    fn now(&self) -> i64 {
        self.at
            .unwrap_or_else(|| chrono::Utc::now().timestamp_micros())
    }
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the sinks, where they lead, and what is wrong with their settings
    List {
        #[command(flatten)]
        files: RuleFiles,
        #[command(flatten)]
        common: Common,
    },
    /// Send a made-up finding, marked as a test, and show what the other side answers
    Test {
        /// The sink
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Show what was told, what is still to be, and what was given up
    Status {
        #[command(flatten)]
        common: Common,
    },
    /// Put what was given up, or a finding, into the outbox again
    Replay {
        /// Everything that was given up
        #[arg(
            long,
            env = "INFERWATCH_SINKS_DEAD",
            value_parser = FalseyValueParser::new(),
            required_unless_present = "finding"
        )]
        dead: bool,
        /// Only for this sink
        #[arg(long, env = "INFERWATCH_SINKS_SINK", value_name = "NAME")]
        sink: Option<String>,
        /// Only this finding; without `--dead` its last revision, told or not
        #[arg(long, env = "INFERWATCH_SINKS_FINDING", value_name = "ID")]
        finding: Option<String>,
        #[command(flatten)]
        files: RuleFiles,
        #[command(flatten)]
        common: Common,
    },
    /// Tell what is due, once
    Deliver {
        #[command(flatten)]
        files: RuleFiles,
        #[command(flatten)]
        common: Common,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// When the settings or the store cannot be read.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let settings = settings(global)?;
    match &args.action {
        Action::List { files, common } => list(&settings, files, common, global),
        Action::Test { name, common } => test(&settings, name, common, global),
        Action::Status { common } => status(settings, common, global),
        Action::Replay {
            dead,
            sink,
            finding,
            files,
            common,
        } => {
            if let Some(name) = sink
                && settings.sink(name).is_none()
            {
                return Err(settings.unknown(name).into());
            }
            let runtime = super::runtime(None)?;
            let replayed = runtime.block_on(async {
                let mut deliverer = open(settings, Some(files), global).await?;
                let (sink, finding) = (sink.as_deref(), finding.as_deref());
                let now = common.now();
                anyhow::Ok(deliverer.replay(sink, *dead, finding, now).await?)
            })?;
            let text = match Report::or_default(common.format) {
                Report::Table => draw([
                    ("sink", texts(&replayed, |(sink, _)| Some(sink.clone()))),
                    ("replayed", numbers(&replayed, |(_, count)| *count as i64)),
                ])?,
                Report::Json => {
                    let sinks = replayed
                        .iter()
                        .map(|(sink, count)| json!({ "sink": sink, "replayed": count }));
                    json_text(&sinks.collect())?
                }
            };
            output::data(text.trim_end())?;
            if replayed.iter().any(|(_, count)| *count > 0) {
                global.note("they go out with the next delivery: `inferwatch sinks deliver`");
            }
            Ok(ExitCode::from(CLEAR))
        }
        Action::Deliver { files, common } => deliver_once(settings, files, common, global),
    }
}

/// The settings of the config file that applies.
fn settings(global: &Global) -> anyhow::Result<Settings> {
    let Some(path) = global.config_file() else {
        return Err(Error::Usage {
            message: "no inferwatch.toml applies, and sinks are nowhere else".into(),
            hint: Some(
                "write one with a table `[sinks.<name>]`, or name it with `--config`".into(),
            ),
        }
        .into());
    };
    Ok(Settings::read(&path)?)
}

async fn open(
    settings: Settings,
    files: Option<&RuleFiles>,
    global: &Global,
) -> anyhow::Result<Deliverer> {
    let rules = match files {
        Some(files) => files.read()?.rules,
        None => Vec::new(),
    };
    let store = global.open_store()?;
    let deliverer = Deliverer::open(&store, settings, rules, None).await;
    Ok(deliverer?)
}

fn list(
    settings: &Settings,
    files: &RuleFiles,
    common: &Common,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let rules = files.read()?.rules;
    let now = common.now();
    let sinks = &settings.sinks;
    let wrong: Vec<Option<String>> = sinks
        .iter()
        .map(|sink| sink.kind.check(now).err().map(|wrong| wrong.to_string()))
        .collect();
    let events = |sink: &crate::sinks::Sink| -> Vec<&str> {
        sink.events.iter().map(|event| event.name()).collect()
    };
    let routes = |name: &str| match settings.routes.len() {
        0 => "all findings".to_string(),
        _ => {
            let routes = settings.routes.iter();
            let leading = routes.filter(|route| route.sinks.iter().any(|sink| sink == name));
            let named = rules.iter();
            let named = named.filter(|file| file.rule.sinks.iter().any(|sink| sink == name));
            match (leading.count(), named.count()) {
                (routes, 0) => plural(routes, "route"),
                (routes, rules) => {
                    format!("{}, {}", plural(routes, "route"), plural(rules, "rule"))
                }
            }
        }
    };
    let text = match Report::or_default(common.format) {
        Report::Table if sinks.is_empty() => "no sink".to_string(),
        Report::Table => draw([
            ("sink", texts(sinks, |sink| Some(sink.name.clone()))),
            ("kind", texts(sinks, |sink| Some(sink.kind.name().into()))),
            ("to", texts(sinks, |sink| Some(sink.kind.place()))),
            (
                "told of",
                texts(sinks, |sink| Some(events(sink).join(", "))),
            ),
            ("by", texts(sinks, |sink| Some(routes(&sink.name)))),
            (
                "settings",
                texts(&wrong, |wrong| {
                    Some(wrong.clone().unwrap_or_else(|| "ok".into()))
                }),
            ),
        ])?,
        Report::Json => {
            let sinks = sinks.iter().zip(&wrong).map(|(sink, wrong)| {
                json!({
                    "sink": sink.name,
                    "kind": sink.kind.name(),
                    "to": sink.kind.place(),
                    "events": events(sink),
                    "by": routes(&sink.name),
                    "wrong": wrong,
                })
            });
            json_text(&sinks.collect())?
        }
    };
    output::data(text.trim_end())?;
    for remark in settings.remarks(&rules, now) {
        global.note(&remark);
    }
    let code = if wrong.iter().any(Option::is_some) {
        FOUND
    } else {
        CLEAR
    };
    Ok(ExitCode::from(code))
}

fn test(
    settings: &Settings,
    name: &str,
    common: &Common,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let sink = settings.sink(name).ok_or_else(|| settings.unknown(name))?;
    global.note(&format!(
        "sending a made-up finding to `{name}`: {}",
        sink.kind.place()
    ));
    let result = super::runtime(None)?.block_on(sink.test(common.now()));
    let (ok, said, answer) = match &result {
        Ok(answer) => (true, answer.status.clone(), answer.text.clone()),
        Err(failure) => (
            false,
            failure.to_string(),
            failure.answer.clone().unwrap_or_default(),
        ),
    };
    let text = match Report::or_default(common.format) {
        Report::Json => json_text(&json!({
            "sink": name,
            "delivered": ok,
            "said": said,
            "answer": answer,
        }))?,
        Report::Table => {
            let head = if ok { "delivered" } else { "not delivered" };
            let tail = match answer.is_empty() {
                true => String::new(),
                false => format!("\nanswer: {}", visible(&answer)),
            };
            format!("{head}: {}{tail}", visible(&said))
        }
    };
    output::data(text.trim_end())?;
    Ok(ExitCode::from(if ok { CLEAR } else { FOUND }))
}

fn status(settings: Settings, common: &Common, global: &Global) -> anyhow::Result<ExitCode> {
    let remarks = settings.remarks(&[], common.now());
    let mut deliverer = super::runtime(None)?.block_on(open(settings, None, global))?;
    let states = deliverer.states()?;
    let time = |time: Option<i64>| time.and_then(rfc3339);
    let dead: Vec<(&str, &Item)> = states
        .iter()
        .flat_map(|(sink, state)| state.dead().map(|item| (*sink, item)))
        .collect();
    let text = match Report::or_default(common.format) {
        Report::Json => {
            let sinks = states.iter().map(|(sink, state)| state_json(sink, state));
            json_text(&sinks.collect())?
        }
        Report::Table if states.is_empty() => "no sink".to_string(),
        Report::Table => {
            let count = |of: fn(&State) -> usize| numbers(&states, |(_, state)| of(state) as i64);
            let error = |state: &State| Some(state.last_error.as_ref()?.1.clone());
            let mut text = draw([
                (
                    "sink",
                    texts(&states, |(sink, _)| Some((*sink).to_string())),
                ),
                (
                    "told",
                    numbers(&states, |(_, state)| state.counts.sent as i64),
                ),
                ("to be told", count(|state| state.pending().count())),
                (
                    "held",
                    count(|state| state.pending().filter(|item| item.held.is_some()).count()),
                ),
                ("given up", count(|state| state.dead().count())),
                (
                    "failures",
                    numbers(&states, |(_, state)| state.counts.failed as i64),
                ),
                (
                    "last told",
                    texts(&states, |(_, state)| time(state.last_sent)),
                ),
                ("next", texts(&states, |(_, state)| time(state.next_due()))),
                ("last error", texts(&states, |(_, state)| error(state))),
            ])?;
            if !dead.is_empty() {
                text.push_str("\ngiven up:\n");
                text.push_str(&draw([
                    ("sink", texts(&dead, |(sink, _)| Some((*sink).to_string()))),
                    (
                        "finding",
                        texts(&dead, |(_, item)| Some(item.finding.clone())),
                    ),
                    ("revision", numbers(&dead, |(_, item)| item.revision)),
                    ("event", texts(&dead, |(_, item)| Some(item.event.clone()))),
                    ("rule", texts(&dead, |(_, item)| Some(item.rule.clone()))),
                    (
                        "attempts",
                        numbers(&dead, |(_, item)| i64::from(item.attempts)),
                    ),
                    ("error", texts(&dead, |(_, item)| item.error.clone())),
                ])?);
            }
            text
        }
    };
    output::data(text.trim_end())?;
    for remark in remarks {
        global.note(&remark);
    }
    let is_well = states
        .iter()
        .all(|(_, state)| state.last_error.is_none() && state.dead().next().is_none());
    Ok(ExitCode::from(if is_well { CLEAR } else { FOUND }))
}

fn state_json(sink: &str, state: &State) -> Value {
    let time = |time: Option<i64>| time.and_then(rfc3339);
    let items = |items: &mut dyn Iterator<Item = &Item>| -> Value {
        let items = items.map(|item| {
            json!({
                "finding": item.finding,
                "revision": item.revision,
                "event": item.event,
                "rule": item.rule,
                "attempts": item.attempts,
                "due": rfc3339(item.due),
                "held": item.held,
                "error": item.error,
            })
        });
        items.collect()
    };
    json!({
        "sink": sink,
        "began": state.seen.and_then(|_| rfc3339(state.began)),
        "told": state.counts.sent,
        "failures": state.counts.failed,
        "dropped": state.counts.dropped,
        "last_told": time(state.last_sent),
        "next": time(state.next_due()),
        "paused_until": time(state.paused),
        "last_error": state.last_error.as_ref().map(|(at, error)| json!({
            "at": rfc3339(*at),
            "error": error,
        })),
        "to_be_told": items(&mut state.pending()),
        "given_up": items(&mut state.dead()),
    })
}

fn deliver_once(
    settings: Settings,
    files: &RuleFiles,
    common: &Common,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let (remarks, results) = super::runtime(None)?.block_on(async {
        let mut deliverer = open(settings, Some(files), global).await?;
        let remarks = deliverer.remarks(common.now());
        anyhow::Ok((remarks, deliver(&mut deliverer, common.now()).await))
    })?;
    let mut passes: Vec<Pass> = Vec::with_capacity(results.len());
    let mut broken = None;
    for result in results {
        match result {
            Ok(pass) => passes.push(pass),
            Err(error) => broken = Some(error),
        }
    }
    let text = match Report::or_default(common.format) {
        Report::Json => json_text(&passes.iter().map(pass_json).collect())?,
        Report::Table if passes.is_empty() => "no sink".to_string(),
        Report::Table => draw([
            ("sink", texts(&passes, |pass| Some(pass.sink.clone()))),
            ("new", numbers(&passes, |pass| pass.taken as i64)),
            ("told", numbers(&passes, |pass| pass.sent as i64)),
            ("failed", numbers(&passes, |pass| pass.failed as i64)),
            ("given up", numbers(&passes, |pass| pass.dead as i64)),
            ("held", numbers(&passes, |pass| pass.held as i64)),
            ("dropped", numbers(&passes, |pass| pass.dropped as i64)),
            ("to be told", numbers(&passes, |pass| pass.pending as i64)),
        ])?,
    };
    output::data(text.trim_end())?;
    for remark in &remarks {
        global.note(remark);
    }
    for pass in &passes {
        for note in &pass.notes {
            global.note(note);
        }
        for failure in &pass.failures {
            let answer = match &failure.answer {
                Some(answer) if global.verbose > 0 => format!(": {answer}"),
                _ => String::new(),
            };
            global.note(&format!("sink `{}`: {failure}{answer}", pass.sink));
        }
        if pass.is_busy {
            global.note(&format!(
                "sink `{}`: another process is delivering",
                pass.sink
            ));
        }
    }
    if let Some(error) = broken {
        return Err(error).context("the outbox of a sink");
    }
    let is_well = passes.iter().all(|pass| pass.failed + pass.dead == 0);
    Ok(ExitCode::from(if is_well { CLEAR } else { FOUND }))
}

fn pass_json(pass: &Pass) -> Value {
    let failures = pass.failures.iter();
    json!({
        "sink": pass.sink,
        "new": pass.taken,
        "told": pass.sent,
        "failed": pass.failed,
        "given_up": pass.dead,
        "held": pass.held,
        "dropped": pass.dropped,
        "to_be_told": pass.pending,
        "next": pass.next.and_then(rfc3339),
        "busy": pass.is_busy,
        "failures": failures.map(ToString::to_string).collect::<Vec<_>>(),
        "notes": pass.notes,
    })
}

fn texts<T>(rows: &[T], of: impl Fn(&T) -> Option<String>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<StringArray>())
}

fn numbers<T>(rows: &[T], of: impl Fn(&T) -> i64) -> ArrayRef {
    Arc::new(rows.iter().map(|row| Some(of(row))).collect::<Int64Array>())
}

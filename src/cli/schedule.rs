//! How a scheduler is set up, and what a person sees of it; `inferwatch run` is one, and a server has one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use indicatif::HumanBytes;

use super::compact::swept_text;
use super::ingest::warn_of_clear_text;
use super::run::{FindingFormat, episodes, print, summary};
use super::{CLEAR, Global, interrupt};
use crate::catalog::{RuleFile, Span, Tier};
use crate::detect::RunOptions;
use crate::error::Error;
use crate::ingest::format::Format;
use crate::ingest::{self, ContentMode, Mapping, PriceList, Summary};
use crate::output::escape::visible;
use crate::output::words::plural;
use crate::output::{self, Stdout};
use crate::schedule::{
    self, Event, Folder, Follow, Maintenance, Retention, Settings, Step, Stop, Task,
};
use crate::schema::Micros;
use crate::sinks::{self, Deliverer, Pass, Running};
use crate::store::Store;
use crate::suggest::nearest;

/// What a scheduler does besides evaluating rules, and how often.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Schedule")]
pub(super) struct Going {
    /// How long to wait before the store and the folders are looked at again
    #[arg(
        long,
        env = "INFERWATCH_RUN_TICK",
        value_name = "SPAN",
        default_value = "5s"
    )]
    tick: Span,
    /// Close windows by the clock too: no log from longer ago than this is missing, even if nothing comes at all
    #[arg(long, env = "INFERWATCH_RUN_CLOSED_AFTER", value_name = "SPAN")]
    closed_after: Option<Span>,
    /// Ingest what lands in a folder, as files appear and grow; can be given again
    #[arg(
        long,
        env = "INFERWATCH_RUN_FOLLOW",
        value_name = "DIR[=FORMAT]",
        value_delimiter = ',',
        value_parser = parse_folder,
        value_hint = clap::ValueHint::DirPath,
        help_heading = "Landing folders"
    )]
    follow: Vec<Folder>,
    /// What becomes of prompt and response text
    #[arg(
        long,
        env = "INFERWATCH_RUN_CONTENT",
        value_enum,
        default_value_t,
        help_heading = "Landing folders"
    )]
    content: ContentMode,
    /// Prices that win over the list that ships, or replace it
    #[arg(long, env = "INFERWATCH_RUN_PRICES", value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Landing folders")]
    prices: Option<PathBuf>,
    /// Where columns are found in records of no known format
    #[arg(long, env = "INFERWATCH_RUN_MAPPING", value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Landing folders")]
    mapping: Option<PathBuf>,
    /// How long a file in CSV or Parquet must have rested: it is only whole as a whole
    #[arg(
        long,
        env = "INFERWATCH_RUN_SETTLE",
        value_name = "SPAN",
        default_value = "10s",
        help_heading = "Landing folders"
    )]
    settle: Span,
    /// How often small files become large ones, when no rule is due; `off` for never
    #[arg(
        long,
        env = "INFERWATCH_RUN_COMPACT_EVERY",
        value_name = "SPAN",
        default_value = "30m",
        help_heading = "Maintenance"
    )]
    compact_every: Every,
    /// What retention may do by itself, when no rule is due
    #[arg(
        long,
        env = "INFERWATCH_RUN_RETENTION",
        value_enum,
        default_value_t,
        help_heading = "Maintenance"
    )]
    retention: Retention,
    /// How often
    #[arg(
        long,
        env = "INFERWATCH_RUN_RETENTION_EVERY",
        value_name = "SPAN",
        default_value = "6h",
        help_heading = "Maintenance"
    )]
    retention_every: Span,
    /// Tier files or folders instead of those inside the program
    #[arg(
        long,
        env = "INFERWATCH_TIERS",
        value_name = "PATH",
        value_delimiter = ',',
        help_heading = "Maintenance"
    )]
    tiers: Vec<PathBuf>,
}

/// A cadence, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Every(Option<Span>);

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Every, String> {
        match text {
            "off" => Ok(Every(None)),
            text => match text.parse::<Span>() {
                Ok(Span(0)) => Err("`off` says never; any other span is longer than none".into()),
                span => span.map(|span| Every(Some(span))),
            },
        }
    }
}

/// `DIR`, or `DIR=FORMAT`.
fn parse_folder(text: &str) -> Result<Folder, String> {
    let folder = |path: &str, format| Folder {
        path: PathBuf::from(path),
        format,
    };
    let Some((path, name)) = text.rsplit_once('=') else {
        return Ok(folder(text, None));
    };
    if name == "auto" {
        return Ok(folder(path, None));
    }
    match Format::from_name(name) {
        Some(format) => Ok(folder(path, Some(format))),
        // Folders in the style of Hive have the sign in their names.
        None if PathBuf::from(text).exists() || name.contains('/') => Ok(folder(text, None)),
        None => {
            let names = || Format::ALL.map(Format::name);
            Err(match nearest(name, names()) {
                Some(near) => format!("`{name}` is no format, did you mean `{near}`?"),
                None => format!("`{name}` is no format; there are {}", names().join(", ")),
            })
        }
    }
}

impl Going {
    /// How records are read; the secret and the time are those of the store and the moment.
    pub(super) fn decoding(&self, threads: usize) -> anyhow::Result<ingest::Options> {
        Ok(ingest::Options {
            format: None,
            content: self.content,
            threads,
            secret: [0; 32],
            now: Micros(0),
            prices: Arc::new(match &self.prices {
                Some(path) => PriceList::with_file(path)?,
                None => PriceList::builtin(),
            }),
            mapping: Arc::new(match &self.mapping {
                Some(path) => Mapping::with_file(path)?,
                None => Mapping::builtin().clone(),
            }),
        })
    }

    /// All of it, for a scheduler that evaluates rules as `run` says.
    pub(super) fn settings(&self, run: RunOptions) -> anyhow::Result<Settings> {
        let follow = match self.follow.is_empty() {
            true => None,
            false => Some(Follow {
                folders: self.follow.clone(),
                options: self.decoding(run.threads)?,
                settle: self.settle,
            }),
        };
        Ok(Settings {
            run,
            tick: Duration::from_micros(u64::try_from(self.tick.0).unwrap_or(0)),
            closed_after: self.closed_after,
            follow,
            maintenance: Maintenance {
                compact_every: self.compact_every.0,
                retention: self.retention,
                retention_every: self.retention_every,
                tiers: match self.tiers.is_empty() {
                    true => Tier::embedded(),
                    false => Tier::read_all(&self.tiers)?,
                },
                ..Maintenance::default()
            },
        })
    }
}

/// Goes on until a signal ends it.
///
/// # Errors
/// When the store cannot be opened, or made for the folders that land in it.
pub(super) fn run(
    runtime: &tokio::runtime::Runtime,
    rules: &[&RuleFile],
    settings: Settings,
    format: Option<FindingFormat>,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let store = match &settings.follow {
        Some(follow) => {
            let store = global.open_or_create_store()?;
            warn_of_clear_text(&store, follow.options.content, global)?;
            store
        }
        None => global.open_store()?,
    };
    // Before the first evaluation: what it finds is told by sinks that are new as well.
    let delivery = deliver(runtime, &store, rules, global)?;
    let stop = Stop::default();
    interrupt::stop_on_signals(runtime, stop.clone())?;
    global.note(&format!(
        "{} over `{}`, every {:?}; Ctrl-C ends it",
        plural(rules.len(), "rule"),
        store.root().display(),
        settings.tick,
    ));
    let mut teller = Teller::new(global.clone());
    let mut broken = None;
    let ends = stop.clone();
    let mut tell = |event: &Event<'_>| {
        teller.tell(event);
        if let Event::Evaluated { outcomes, .. } = event
            && let Err(error) = print(outcomes, &episodes(outcomes), format)
        {
            // Findings are stored all the same; whoever reads them has gone.
            broken = Some(error);
        }
        if broken.is_some() || Stdout::is_closed() {
            ends.stop();
        }
    };
    schedule::run(runtime.handle(), &store, rules, settings, &stop, &mut tell)?;
    if let Some(delivery) = delivery {
        delivery.stop();
    }
    if let Some(error) = broken {
        return Err(error);
    }
    global.note("stopped");
    Ok(ExitCode::from(CLEAR))
}

/// Delivers findings to the sinks of the config file, on a thread of its own; `None` without any.
///
/// # Errors
/// As [`open_sinks`].
pub(super) fn deliver(
    runtime: &tokio::runtime::Runtime,
    store: &Store,
    rules: &[&RuleFile],
    global: &Global,
) -> anyhow::Result<Option<Running>> {
    let Some(deliverer) = open_sinks(runtime, store, rules, global)? else {
        return Ok(None);
    };
    let teller = global.clone();
    Ok(Some(sinks::start(deliverer, move |pass| {
        tell_pass(pass, &teller);
    })?))
}

/// The sinks of the config file, open from before the first evaluation on; `None` without any.
///
/// # Errors
/// When the settings, or what sinks are still to be told, cannot be read.
pub(super) fn open_sinks(
    runtime: &tokio::runtime::Runtime,
    store: &Store,
    rules: &[&RuleFile],
    global: &Global,
) -> anyhow::Result<Option<Deliverer>> {
    let Some(path) = global.config_file() else {
        return Ok(None);
    };
    let settings = sinks::Settings::read(&path)?;
    if settings.sinks.is_empty() {
        return Ok(None);
    }
    let rules: Vec<RuleFile> = rules.iter().map(|file| (*file).clone()).collect();
    Ok(Some(runtime.block_on(async {
        let mut deliverer = Deliverer::open(store, settings, rules, None).await?;
        let now = chrono::Utc::now().timestamp_micros();
        deliverer.begin(now).await?;
        Ok::<_, Error>(deliverer)
    })?))
}

/// Says what a pass over a sink came to.
pub(super) fn tell_pass(pass: Result<&Pass, &Error>, global: &Global) {
    let pass = match pass {
        Ok(pass) => pass,
        Err(error) => return output::note(&format!("warning: sinks: {}", chain(error))),
    };
    let sink = &pass.sink;
    for note in &pass.notes {
        global.note(&format!("sink `{sink}`: {note}"));
    }
    for failure in &pass.failures {
        global.note(&format!("sink `{sink}`: {failure}"));
    }
    let counts = [
        (pass.sent, "told"),
        (pass.failed, "failed"),
        (pass.dead, "given up"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !counts.is_empty() {
        global.note(&format!("sink `{sink}`: {}", counts.join(", ")));
    }
}

/// Tells a person what happens, on standard error.
pub(super) struct Teller {
    global: Global,
    /// What could not be done when last tried, so that it is not told with every step.
    failing: Vec<(Task, String)>,
}

impl Teller {
    pub(super) fn new(global: Global) -> Teller {
        Teller {
            global,
            failing: Vec::new(),
        }
    }

    /// Says what there is to say of an event. Findings themselves are data, and not told here.
    pub(super) fn tell(&mut self, event: &Event<'_>) {
        let global = &self.global;
        match event {
            Event::Followed(summary) => {
                self.failing.retain(|(task, _)| *task != Task::Follow);
                global.note(&followed_text(summary));
            }
            Event::Unreadable { folder, why } => global.note(&format!(
                "warning: `{}` cannot be followed: {}",
                visible(&folder.to_string_lossy()),
                visible(why)
            )),
            Event::Evaluated { outcomes, elapsed } => {
                self.failing.retain(|(task, _)| *task != Task::Evaluate);
                let has_news = outcomes.iter().any(|outcome| {
                    !outcome.episodes.is_empty()
                        || !outcome.gaps.is_empty()
                        || outcome.states.contains_key("error")
                });
                if has_news || global.verbose > 0 {
                    summary(global, outcomes, *elapsed);
                }
            }
            Event::Maintained(step) => {
                self.failing.retain(|(task, _)| *task != Task::Maintain);
                let text = step_text(step);
                if !text.is_empty() {
                    global.note(text.trim_end());
                }
            }
            Event::Failed { task, error } => {
                let text = format!("{error:#}");
                let known = self
                    .failing
                    .iter()
                    .any(|(of, told)| of == task && *told == text);
                if !known || global.verbose > 0 {
                    let what = match task {
                        Task::Follow => "ingest",
                        Task::Evaluate => "evaluation",
                        Task::Maintain => "maintenance",
                    };
                    let hint = error.hint().map(|hint| format!("\nhint: {hint}"));
                    let chain = chain(error);
                    let hint = hint.unwrap_or_default();
                    output::note(&format!(
                        "warning: {what} failed, and is tried again: {chain}{hint}"
                    ));
                }
                self.failing.retain(|(of, _)| of != task);
                self.failing.push((*task, text));
            }
            Event::Warning(text) => global.note(&format!("warning: {text}")),
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    visible(&text).into_owned()
}

fn followed_text(summary: &Summary) -> String {
    let mut text = format!(
        "{}, {}",
        plural(summary.files as usize, "file"),
        plural(summary.tally.total_records() as usize, "record")
    );
    let quarantined: u64 = summary.tally.quarantined.values().sum();
    if quarantined > 0 {
        text.push_str(&format!(", {quarantined} quarantined"));
    }
    for (file, reason) in &summary.failed {
        text.push_str(&format!(
            "\nwarning: `{}`: {}; it is read again when it changes",
            visible(file),
            visible(reason)
        ));
    }
    text
}

fn step_text(step: &Step) -> String {
    match step {
        Step::Compacted(report) => {
            let mut text = String::new();
            if report.periods > 0 {
                text = format!(
                    "compacted {}: {} of {} are {} of {} now\n",
                    plural(report.periods as usize, "period"),
                    plural(report.files_before as usize, "file"),
                    HumanBytes(report.bytes_before),
                    report.files_after,
                    HumanBytes(report.bytes_after),
                );
            }
            for (table, period, why) in &report.failed {
                text.push_str(&format!(
                    "warning: table `{}`, {period}: not compacted: {why}\n",
                    table.name()
                ));
            }
            text
        }
        Step::Swept(report) => swept_text(report),
        Step::Retained(applied, withheld) => {
            let applied = applied.iter().map(|it| {
                format!(
                    "retention, {}: {} {} of `{}`, {} rows\n",
                    it.tier,
                    it.action,
                    it.partitions,
                    it.table.name(),
                    it.rows
                )
            });
            let withheld = withheld.iter().map(|it| {
                format!(
                    "retention, {}: would {} {} of `{}`, {} rows; `--retention apply` does it\n",
                    it.tier,
                    it.action,
                    it.partitions,
                    it.table.name(),
                    it.rows
                )
            });
            applied.chain(withheld).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_may_name_its_format() {
        let folder = |path: &str, format: Option<&str>| {
            Ok(Folder {
                path: path.into(),
                format: format.map(|name| Format::from_name(name).expect("a format")),
            })
        };
        assert_eq!(parse_folder("logs"), folder("logs", None));
        assert_eq!(parse_folder("logs=auto"), folder("logs", None));
        assert_eq!(
            parse_folder("logs=litellm"),
            folder("logs", Some("litellm"))
        );
        assert_eq!(parse_folder("day=1/x"), folder("day=1/x", None));
        let error = parse_folder("logs=litelm").expect_err("no format");
        assert_eq!(error, "`litelm` is no format, did you mean `litellm`?");
    }

    #[test]
    fn a_cadence_may_be_off_but_not_nothing() {
        assert_eq!("off".parse(), Ok(Every(None)));
        assert_eq!("30m".parse(), Ok(Every(Some(Span::minutes(30)))));
        assert!("0s".parse::<Every>().is_err());
    }
}

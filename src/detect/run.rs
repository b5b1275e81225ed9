//! Runs rules over the windows of a store: which instants, over which rows, and what came of it.
//!
//! Nothing here knows the clock: how late it is follows from the events. A window is evaluated once it has closed, that
//! is when no row of its time is expected any more; before, where more rows can only add findings; and again, when
//! rows came late all the same.

mod job;
mod outcome;
mod sharing;
mod windows;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;

pub use windows::instants;

use super::budget::Budget;
use super::clock::Clock;
use super::episode::Episode;
use super::evaluate::{Evaluated, Prepared};
use super::exceptions::Excepted;
use super::findings::Change;
use super::late::Arrivals;
use super::record::{Gap, Record, commit};
use super::signals::{Fresh, Left};
use super::source::Needs;
use super::stored::Progress;
use crate::catalog::{ParamValue, Rule, RuleFile, Span, register_views, views};
use crate::error::Result;
use crate::parallel::in_parallel;
use crate::session::{self, SessionOptions};
use crate::store::Store;
use sharing::{groups, load_for};

/// Which windows, by the instant at which they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// After the last stored one, up to the last event, and those that late rows touch.
    SinceLast,
    /// The one that ends at the last instant not after this time.
    At(i64),
    /// Those that end after the first time, and not after the second; the first and last event where not given.
    Between(Option<i64>, Option<i64>),
}

/// How to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Which windows.
    pub range: Range,
    /// Parameters that differ from their defaults: rule, name, value.
    pub params: Vec<(String, String, ParamValue)>,
    /// Bytes of rows to hold in memory at a time.
    pub memory: u64,
    /// Rules to evaluate at a time.
    pub threads: usize,
    /// When the run began, in microseconds since the epoch; only written down.
    pub evaluated_at: i64,
    /// Store nothing.
    pub dry_run: bool,
    /// No row will come any more: windows close with the last event.
    pub is_complete: bool,
    /// No row from before this time will come any more, even if there is none after it: windows close up to it.
    pub closed_until: Option<i64>,
    /// Where a rule begins that never ran: windows that end by then are none of its own. With the first event unless
    /// given.
    pub begin: Option<i64>,
    /// How long after its time a row is still expected, where a rule does not say.
    pub lateness: Span,
    /// How long a silent source is waited for, in event time.
    pub idle_after: Span,
    /// How far back rows that come later still change what was found, where a rule does not say.
    pub late_horizon: Span,
    /// How much of what was missed is made good; the rest is a gap.
    pub max_catchup: Span,
    /// Subjects that nobody is told of.
    pub exceptions: Vec<Excepted>,
    /// What a rule may use, where it does not say.
    pub budget: Budget,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            range: Range::SinceLast,
            params: Vec::new(),
            memory: 512 << 20,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            evaluated_at: 0,
            dry_run: false,
            is_complete: false,
            closed_until: None,
            begin: None,
            lateness: Span::minutes(15),
            idle_after: Span::hours(1),
            late_horizon: Span::hours(24),
            max_catchup: Span::hours(30 * 24),
            exceptions: Vec::new(),
            budget: Budget::default(),
        }
    }
}

/// What came of one rule.
#[derive(Debug, Clone)]
pub struct RuleOutcome<'a> {
    /// The rule.
    pub file: &'a RuleFile,
    /// Windows by how they ended.
    pub states: BTreeMap<&'static str, usize>,
    /// First reason that was given for a state that is neither fired nor clear.
    pub detail: Option<String>,
    /// What was found, one entry an episode: in an explicit range all there is in it, else what is new or has changed.
    pub episodes: Vec<Episode>,
    /// What happened to findings.
    pub changes: Vec<Change>,
    /// Windows that were passed over.
    pub gaps: Vec<Gap>,
    /// Windows that were evaluated again because rows came late.
    pub again: usize,
    /// How long it took.
    pub elapsed: Duration,
    is_explicit: bool,
    record: Option<Record>,
    /// For correlations with what it found.
    left: Option<Left>,
}

impl RuleOutcome<'_> {
    /// Windows evaluated.
    pub fn windows(&self) -> usize {
        self.states.values().sum()
    }

    /// What there is to tell, one JSON object each: what happened to findings, or, in a range that was evaluated
    /// again, what is in it.
    pub fn lines(&self) -> Vec<serde_json::Value> {
        match self.is_explicit {
            true => self.episodes.iter().map(Episode::json).collect(),
            false => self.changes.iter().map(Change::json).collect(),
        }
    }

    /// Findings that changed, and of which nobody is told by an exception.
    pub fn excepted(&self) -> usize {
        let excepted = self.changes.iter().filter_map(|change| {
            let finding = &change.finding;
            finding.excepted.as_ref().map(|_| finding.id.as_str())
        });
        excepted.collect::<HashSet<&str>>().len()
    }

    /// Rows that came too late to be looked at.
    pub fn late_dropped(&self) -> i64 {
        self.gaps.iter().map(|gap| gap.late_dropped).sum()
    }
}

/// A session over a store, with the views that rules use.
///
/// # Errors
/// When a view does not plan.
pub async fn context_of(store: &Store) -> Result<SessionContext> {
    let context = session::context(&SessionOptions::default())?;
    store.register(&context)?;
    register_views(&context, &views()).await?;
    Ok(context)
}

/// Evaluates rules, several at a time, and stores what came of it in one commit. Outcomes come in the order of the
/// rules.
///
/// # Errors
/// When the store cannot be read or written. A rule that fails is an outcome in state `error`.
pub fn run<'a>(
    runtime: &tokio::runtime::Handle,
    store: &Store,
    rules: &[&'a RuleFile],
    options: &RunOptions,
) -> Result<Vec<RuleOutcome<'a>>> {
    let context = runtime.block_on(context_of(store))?;
    let clock = runtime.block_on(Clock::read(store, &context, rules, options))?;
    run_at(runtime, store, &context, &clock, rules, options)
}

/// As [`run`], where it is known how late it is: for who runs rules again and again.
///
/// # Errors
/// See [`run`].
pub fn run_at<'a>(
    runtime: &tokio::runtime::Handle,
    store: &Store,
    context: &SessionContext,
    clock: &Clock,
    rules: &[&'a RuleFile],
    options: &RunOptions,
) -> Result<Vec<RuleOutcome<'a>>> {
    let heard = rules.iter().flat_map(|file| &file.signals);
    let run = Run {
        clock,
        arrivals: Arrivals::default(),
        context: context.clone(),
        store,
        options,
        heard: heard.map(|signal| signal.rule.id.as_str()).collect(),
    };
    let mut fresh = Fresh::default();
    let mut placed: Vec<(usize, RuleOutcome<'a>)> = Vec::with_capacity(rules.len());
    // Correlations come after their signals.
    for level in levels(rules) {
        let files: Vec<&'a RuleFile> = level.iter().map(|place| rules[*place]).collect();
        for (place, mut outcome) in level.into_iter().zip(run.rules(runtime, files, &fresh)?) {
            if let Some(left) = outcome.left.take() {
                fresh.add(&outcome.file.rule, left);
            }
            placed.push((place, outcome));
        }
    }
    placed.sort_by_key(|(place, _)| *place);
    let mut outcomes: Vec<RuleOutcome<'a>> =
        placed.into_iter().map(|(_, outcome)| outcome).collect();
    let records: Vec<Record> = outcomes
        .iter_mut()
        .filter_map(|outcome| outcome.record.take())
        .collect();
    if !options.dry_run && !records.is_empty() {
        commit(store, records)?;
    }
    Ok(outcomes)
}

/// The places of rules, those first that are no correlations, then those that hear nothing but these, and so on.
fn levels(rules: &[&RuleFile]) -> Vec<Vec<usize>> {
    let mut heights: Vec<usize> = vec![0; rules.len()];
    // As often as correlations can stand on each other; circles were refused when the rules were read.
    for _ in 0..rules.len().min(8) {
        for (place, file) in rules.iter().enumerate() {
            let below = file.signals.iter().filter_map(|signal| {
                let place = rules.iter().position(|file| file.rule.id == signal.rule.id);
                place.map(|place| heights[place])
            });
            heights[place] = match file.rule.correlation {
                Some(_) => below.max().unwrap_or(0) + 1,
                None => 0,
            };
        }
    }
    let highest = heights.iter().copied().max().unwrap_or(0);
    (0..=highest)
        .map(|height| {
            (0..rules.len())
                .filter(|place| heights[*place] == height)
                .collect()
        })
        .collect()
}

/// What all rules of a run share.
struct Run<'r> {
    store: &'r Store,
    context: SessionContext,
    options: &'r RunOptions,
    clock: &'r Clock,
    arrivals: Arrivals,
    /// The rules that correlations of the run look for.
    heard: HashSet<&'r str>,
}

impl Run<'_> {
    /// Evaluates rules that do not hear each other.
    fn rules<'a>(
        &self,
        runtime: &tokio::runtime::Handle,
        rules: Vec<&'a RuleFile>,
        fresh: &Fresh,
    ) -> Result<Vec<RuleOutcome<'a>>> {
        let options = self.options;
        let mut jobs = in_parallel(rules, options.threads, |file| {
            runtime.block_on(async {
                match &file.rule.correlation {
                    Some(correlation) => Job::correlated(self, file, correlation, fresh).await,
                    None => Job::new(self, file).await,
                }
            })
        })
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
        // Rules with ranges of about the same length share what is loaded.
        for group in groups(&mut jobs, &self.clock.extents) {
            let shared = match group.len() {
                1 => None,
                _ => runtime.block_on(load_for(&self.context, &group, options.memory))?,
            };
            in_parallel(group, options.threads, |job| {
                let started = Instant::now();
                let result =
                    runtime.block_on(job.evaluate(&self.context, shared.as_ref(), options.memory));
                job.elapsed += started.elapsed();
                result
            })
            .into_iter()
            .collect::<Result<()>>()?;
        }
        in_parallel(jobs, options.threads, |job| {
            runtime.block_on(job.outcome(self))
        })
        .into_iter()
        .collect()
    }

    /// Values of a rule's parameters that differ from their defaults.
    fn overrides(&self, rule: &Rule) -> Vec<(String, ParamValue)> {
        let of_rule = self.options.params.iter().filter(|(id, ..)| *id == rule.id);
        of_rule
            .map(|(_, name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// One rule of a run.
struct Job<'a> {
    file: &'a RuleFile,
    /// Over the store; what went wrong when it does not plan.
    prepared: Result<Prepared<'a>, String>,
    needs: Needs,
    overrides: Vec<(String, ParamValue)>,
    last_event: Option<i64>,
    /// Ends of the windows to evaluate, in order.
    ends: Vec<i64>,
    /// How far earlier runs have come, and how far this one comes.
    progress: Progress,
    next: Progress,
    /// End of the last window that no row is expected for any more.
    closed: i64,
    /// How many of the windows are evaluated because rows came late.
    again: usize,
    budget: Budget,
    gaps: Vec<Gap>,
    evaluated: Vec<Evaluated>,
    elapsed: Duration,
}

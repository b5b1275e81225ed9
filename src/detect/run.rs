//! Runs rules over the windows of a store: which instants, over which rows, and what came of it.
//!
//! Nothing here knows the clock: how late it is follows from the events. A window is evaluated once it has closed, that
//! is when no row of its time is expected any more; before, where more rows can only add findings; and again, when
//! rows came late all the same.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;

use super::budget::{Budget, Meter};
use super::clock::{Clock, Reads};
use super::correlate::{self, Standing};
use super::episode::{Episode, episodes};
use super::evaluate::{Evaluated, Prepared, Window, failed, first_table, params_json};
use super::exceptions::Excepted;
use super::findings::Change;
use super::late::{Arrivals, Grid, Touched};
use super::record::{Circumstances, Gap, Record, commit};
use super::settle::settle;
use super::signals::{Fresh, Left};
use super::source::{Extents, Needs};
use super::stored::Progress;
use crate::catalog::{Correlation, ParamValue, Rule, RuleFile, Span, State, register_views, views};
use crate::error::Result;
use crate::parallel::in_parallel;
use crate::session::{self, SessionOptions};
use crate::store::Store;

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

impl<'a> Job<'a> {
    /// A job that reads nothing from the store and has no window to evaluate yet.
    fn begun(
        file: &'a RuleFile,
        overrides: Vec<(String, ParamValue)>,
        progress: Progress,
        next: Progress,
    ) -> Job<'a> {
        Job {
            file,
            prepared: Err(String::new()),
            needs: Needs::default(),
            overrides,
            last_event: None,
            ends: Vec::new(),
            progress,
            next,
            closed: i64::MIN,
            again: 0,
            budget: Budget::default(),
            gaps: Vec::new(),
            evaluated: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }

    async fn new(run: &Run<'_>, file: &'a RuleFile) -> Result<Job<'a>> {
        let started = Instant::now();
        let (rule, options) = (&file.rule, run.options);
        let transactions = run.store.snapshot(crate::schema::Table::Evaluations)?;
        let progress = Progress::read(transactions.transactions(), rule);
        let extent = run.clock.extent(rule, options);
        let last_event = extent.map(|(_, last)| last);
        let overrides = run.overrides(rule);
        let prepared = Prepared::new(&run.context, file, &overrides, last_event).await;
        let (mut needs, mut next) = (Needs::default(), progress.clone());
        let mut reads = Reads::default();
        let mut prepared = prepared.map_err(|error| format!("{error:#}"));
        if let Ok(prepared) = &prepared {
            needs = Needs::of(&run.context, prepared)?;
            reads = Reads::of(&run.context, prepared, &needs).await?;
        }
        // Without its key a rule waits, and keeps no other from being evaluated.
        for table in &reads.tables {
            if let Some(lock) = run.store.lock_on(*table)? {
                prepared = Err(lock.to_string());
                needs = Needs::default();
            }
        }
        if prepared.is_ok() {
            for table in &reads.tables {
                if let Some(version) = run.store.snapshot(*table)?.version() {
                    next.versions.insert(*table, version);
                }
            }
        }
        next.runs += 1;
        let mut job = Job {
            prepared,
            needs,
            last_event,
            budget: options.budget.of(rule),
            ..Job::begun(file, overrides, progress, next)
        };
        if let Some(closed) = run.clock.closed(rule, &reads, options) {
            job.closed = closed;
            // What has closed stays so when a source that was idle comes back.
            job.closed = job.closed.max(job.progress.last.unwrap_or(i64::MIN));
        }
        let horizon = rule.late_horizon.unwrap_or(options.late_horizon);
        let touched = match (options.range, extent, job.progress.last) {
            (Range::SinceLast, Some(_), Some(last)) if job.prepared.is_ok() => {
                job.touched(run, last, reads.margin, horizon)?
            }
            _ => Touched::default(),
        };
        job.choose(options, extent, reads.is_early, horizon, touched);
        job.elapsed = started.elapsed();
        Ok(job)
    }

    /// A correlation, evaluated: its rows are findings, few and in memory.
    async fn correlated(
        run: &Run<'_>,
        file: &'a RuleFile,
        correlation: &Correlation,
        fresh: &Fresh,
    ) -> Result<Job<'a>> {
        let started = Instant::now();
        let (rule, options) = (&file.rule, run.options);
        let snapshot = run.store.snapshot(crate::schema::Table::Evaluations)?;
        let progress = Progress::read(snapshot.transactions(), rule);
        let standing = Standing::of(&run.context, snapshot.transactions(), file, fresh).await?;
        let mut next = progress.clone();
        next.runs += 1;
        next.signals.extend(standing.runs.clone());
        let early = rule.early && correlation.waits().is_none();
        let mut job = Job::begun(file, run.overrides(rule), progress, next);
        if let Some(closed) = standing.closed {
            job.closed = job.floor(closed);
        }
        let touched = match options.range {
            Range::SinceLast => {
                correlate::touched(&run.context, file, fresh, &job.progress, &standing).await?
            }
            _ => Touched::default(),
        };
        let horizon = Span(correlate::horizon(file, options.late_horizon.0));
        job.choose(options, standing.extent, early, horizon, touched);
        let ends = std::mem::take(&mut job.ends);
        let evaluated = correlate::evaluate(
            &run.context,
            file,
            correlation,
            &job.overrides,
            fresh,
            &ends,
        )
        .await;
        job.evaluated = match evaluated {
            Ok(evaluated) => evaluated,
            Err(error) => ends
                .iter()
                .map(|end| failed(rule, *end, &format!("{error:#}")))
                .collect(),
        };
        job.elapsed = started.elapsed();
        Ok(job)
    }

    /// The last instant of its windows that is not after a time.
    fn floor(&self, time: i64) -> i64 {
        let every = self.file.rule.every.0;
        time.div_euclid(every) * every
    }

    /// Decides which windows are evaluated. `touched` are those to evaluate again.
    fn choose(
        &mut self,
        options: &RunOptions,
        extent: Option<(i64, i64)>,
        early: bool,
        horizon: Span,
        touched: Touched,
    ) {
        let rule = &self.file.rule;
        let every = rule.every.0;
        let floor = |time: i64| time.div_euclid(every) * every;
        if options.range != Range::SinceLast {
            self.ends = instants(rule, options.range, extent);
            // Windows beyond a hole are no progress: what is in the hole is still to come.
            let is_next = |first: i64, last: i64| first - every <= last;
            if let (Some(first), Some(last)) = (self.ends.first(), self.ends.last())
                && self
                    .progress
                    .last
                    .is_some_and(|known| is_next(*first, known))
            {
                self.next.last = self.progress.last.max(Some((*last).min(self.closed)));
            }
            // Nor has it seen what came late for others.
            self.next.versions = self.progress.versions.clone();
            self.next.signals = self.progress.signals.clone();
            return;
        }
        let Some((first_event, last_event)) = extent else {
            return;
        };
        let mut ends = touched.ends;
        let oldest_event = floor(first_event) + every;
        if let Some(last) = self.progress.last {
            // Views read beyond the ends of a window, so rows touch windows that end before any row.
            ends.retain(|end| *end >= oldest_event);
            let mut beyond = touched.beyond;
            // Rows older than all there were: between them and the others are windows that nobody has looked at.
            if let Some(first) = self.progress.first.filter(|first| oldest_event < *first) {
                let kept = floor(last - horizon.0);
                ends.extend(ends_between(
                    every,
                    (oldest_event - every).max(kept),
                    first - every,
                ));
                if oldest_event <= kept {
                    let hole = (oldest_event, kept.min(first - every));
                    beyond.retain(|(_, to)| *to > hole.1);
                    beyond.insert(0, hole);
                }
            }
            self.again = ends.len();
            let mut dropped = touched.dropped;
            self.gaps.extend(beyond.into_iter().map(|ends| Gap {
                ends,
                reason: format!("rows came later than {horizon} after their time"),
                late_dropped: std::mem::take(&mut dropped),
            }));
        }
        let begin = options
            .begin
            .map_or(first_event, |begin| begin.max(first_event));
        let mut after = self.progress.last.unwrap_or(begin);
        let oldest = floor(self.closed.saturating_sub(options.max_catchup.0));
        if self.progress.last.is_some_and(|last| last < oldest) {
            self.gaps.push(Gap {
                ends: (after + every, oldest),
                reason: format!("no run for more than {}", options.max_catchup),
                late_dropped: 0,
            });
            after = oldest;
        }
        let until = if early {
            floor(last_event)
        } else {
            self.closed
        };
        ends.extend(ends_between(every, after, until));
        let is_own = |end: &i64| options.begin.is_none_or(|begin| *end > begin);
        self.ends = ends.into_iter().filter(is_own).collect();
        let reached = self.closed.max(floor(begin));
        self.next.last = self.progress.last.max(Some(reached));
        self.next.first = Some(
            self.progress
                .first
                .map_or(oldest_event, |first| first.min(oldest_event)),
        );
    }

    /// What rows ask for that came since this rule last ran.
    fn touched(&self, run: &Run<'_>, last: i64, margin: i64, horizon: Span) -> Result<Touched> {
        let rule = &self.file.rule;
        let grid = Grid {
            every: rule.every.0,
            window: rule.window.0,
            reach: reach(rule),
            margin,
            last,
            horizon: horizon.0,
        };
        let mut times = Vec::new();
        for (table, version) in &self.next.versions {
            // A table that was not there is new from its first version on.
            let seen = self.progress.versions.get(table).copied().unwrap_or(0);
            if seen == *version {
                continue;
            }
            match run.arrivals.since(run.store, *table, seen, last + margin)? {
                Some(arrived) => times.extend_from_slice(&arrived),
                None => return Ok(grid.all()),
            }
        }
        Ok(grid.touched(&times))
    }

    /// All that its windows read; `None` without windows.
    fn range(&self) -> Option<Window> {
        let rule = &self.file.rule;
        Some(Window {
            start: self.ends.first()? - reach(rule),
            end: *self.ends.last()?,
        })
    }

    /// Evaluates all windows, over what was loaded for several rules if there is such a thing.
    async fn evaluate(
        &mut self,
        store: &SessionContext,
        shared: Option<&SessionContext>,
        memory: u64,
    ) -> Result<()> {
        let ends = self.ends.clone();
        if let Err(error) = &self.prepared {
            let failed = |end: &i64| failed(&self.file.rule, *end, error);
            self.evaluated.extend(ends.iter().map(failed));
            return Ok(());
        }
        let meter = Meter::start(self.budget);
        match shared {
            Some(context) => self.evaluate_in(context, &ends, &meter).await,
            None => self.evaluate_alone(store, &ends, memory, &meter).await,
        }
    }

    async fn evaluate_in(
        &mut self,
        context: &SessionContext,
        ends: &[i64],
        meter: &Meter,
    ) -> Result<()> {
        let context = self.budget.context(context)?;
        let prepared = Prepared::new(&context, self.file, &self.overrides, self.last_event).await?;
        self.go_through(&prepared, ends, meter).await;
        Ok(())
    }

    /// Evaluates windows up to the first that fails: those after it are for the next run.
    async fn go_through(&mut self, prepared: &Prepared<'_>, ends: &[i64], meter: &Meter) {
        for end in ends {
            if self.has_failed() {
                return;
            }
            self.evaluated.push(meter.evaluate(prepared, *end).await);
        }
    }

    fn has_failed(&self) -> bool {
        let last = self.evaluated.last();
        last.is_some_and(|last| last.state == State::Error)
    }

    /// Evaluates instants in order: from memory when their rows fit, else half by half, at last from the store.
    async fn evaluate_alone(
        &mut self,
        store: &SessionContext,
        ends: &[i64],
        memory: u64,
        meter: &Meter,
    ) -> Result<()> {
        if self.has_failed() {
            return Ok(());
        }
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
            return Ok(());
        };
        let reach = reach(&self.file.rule);
        let range = Window {
            start: first - reach,
            end: *last,
        };
        if let Some(context) = self.needs.load(store, range, memory).await? {
            return self.evaluate_in(&context, ends, meter).await;
        }
        // Halves read their reach twice: worth it only while that is the smaller part.
        if last - first > reach {
            let (early, late) = ends.split_at(ends.len() / 2);
            Box::pin(self.evaluate_alone(store, early, memory, meter)).await?;
            return Box::pin(self.evaluate_alone(store, late, memory, meter)).await;
        }
        // What does not fit the memory goes by way of the disk here, and only the time is bounded.
        let prepared = std::mem::replace(&mut self.prepared, Err(String::new()));
        if let Ok(prepared) = &prepared {
            self.go_through(prepared, ends, meter).await;
        }
        self.prepared = prepared;
        Ok(())
    }

    async fn outcome(mut self, run: &Run<'_>) -> Result<RuleOutcome<'a>> {
        let started = Instant::now();
        let rule = &self.file.rule;
        let mut states = BTreeMap::new();
        for evaluation in &self.evaluated {
            *states.entry(evaluation.state.name()).or_default() += 1;
        }
        let detail = self
            .evaluated
            .iter()
            .find(|e| !matches!(e.state, State::Fired | State::Clear))
            .and_then(|e| e.detail.clone());
        let shown = match run.options.range {
            Range::SinceLast => None,
            _ => Some(told(
                episodes(rule, &self.evaluated),
                &run.options.exceptions,
            )),
        };
        // A failed window must be tried again: it is stored as an error, and the next run begins with it.
        if let Some(failed) = self.evaluated.iter().position(|e| e.state == State::Error) {
            let first = self.evaluated[failed].window.end;
            let before = first - rule.every.0;
            match self.progress.last {
                // Late rows that could not be looked at are still to be looked at.
                Some(last) if first <= last => {
                    self.evaluated.clear();
                    self.gaps.clear();
                    self.next = self.progress.clone();
                }
                last => {
                    self.evaluated.truncate(failed + 1);
                    self.next.last = match failed == 0 && last.is_none() {
                        true => None,
                        false => last.max(self.next.last.map(|next| next.min(before))),
                    };
                    if self.next.last.is_none() {
                        self.next.first = None;
                    }
                }
            }
        }
        let settled = settle(
            &run.context,
            rule,
            &self.evaluated,
            &self.progress,
            self.closed,
            &run.options.exceptions,
        )
        .await?;
        let params = params_json(rule, &self.overrides);
        let store_version = first_table(rule)
            .and_then(|table| self.next.versions.get(&table))
            .and_then(|version| i64::try_from(*version).ok());
        let is_further = self.next.last > self.progress.last || self.again > 0;
        let has_news = !settled.entries.is_empty()
            || !settled.changes.is_empty()
            || !self.gaps.is_empty()
            || (is_further && !self.evaluated.is_empty());
        let record = has_news.then(|| {
            let circumstances = Circumstances {
                rule,
                params: &params,
                run: self.next.runs,
                store_version,
                evaluated_at: run.options.evaluated_at,
            };
            Record {
                findings: circumstances.findings(&settled.changes),
                evaluations: circumstances.evaluations(&settled.entries, &self.gaps),
                transactions: self.progress.transactions(&self.next, rule),
            }
        });
        let changes = settled.changes;
        let left = run.heard.contains(rule.id.as_str()).then(|| Left {
            progress: match record.is_some() {
                true => self.next,
                false => self.progress,
            },
            changes: changes.clone(),
            evaluated: self.evaluated,
            closed: self.closed,
        });
        Ok(RuleOutcome {
            file: self.file,
            states,
            detail,
            episodes: shown.unwrap_or_else(|| newest(&changes)),
            changes,
            gaps: self.gaps,
            again: self.again,
            is_explicit: run.options.range != Range::SinceLast,
            elapsed: self.elapsed + started.elapsed(),
            record,
            left,
        })
    }
}

/// Those of which somebody is told.
fn told(mut episodes: Vec<Episode>, exceptions: &[Excepted]) -> Vec<Episode> {
    episodes.retain(|episode| !exceptions.iter().any(|exception| exception.covers(episode)));
    episodes
}

/// The findings that changed and that somebody is told of, each as it is now.
fn newest(changes: &[Change]) -> Vec<Episode> {
    let mut findings: BTreeMap<&str, &Change> = BTreeMap::new();
    for change in changes {
        findings.insert(&change.finding.id, change);
    }
    let mut episodes: Vec<Episode> = findings
        .into_values()
        .filter(|change| !change.finding.is_retracted && change.finding.excepted.is_none())
        .map(|change| change.finding.episode.clone())
        .collect();
    episodes.sort_by_key(|episode| episode.first_window);
    episodes
}

/// How far before the end of a window a rule reads.
fn reach(rule: &Rule) -> i64 {
    rule.window.0 + rule.baseline.map_or(0, |baseline| baseline.0)
}

/// Rules whose ranges, as far as there are events, differ in length by a factor of two at most. Sharing would have
/// the others read what they do not need.
fn groups<'j, 'a>(jobs: &'j mut [Job<'a>], extents: &Extents) -> Vec<Vec<&'j mut Job<'a>>> {
    let mut ranged: Vec<(Window, &mut Job<'a>)> = jobs
        .iter_mut()
        .filter_map(|job| {
            let mut range = job.range()?;
            let tables = job.needs.tables.keys();
            if let Some(first) = extents.first(tables) {
                range.start = range.start.max(first).min(range.end);
            }
            Some((range, job))
        })
        .collect();
    ranged.sort_by_key(|(range, _)| range.end - range.start);
    let mut groups: Vec<(i64, Window, Vec<&mut Job<'a>>)> = Vec::new();
    for (range, job) in ranged {
        if let Some((shortest, joined, members)) = groups.last_mut() {
            let wider = Window {
                start: joined.start.min(range.start),
                end: joined.end.max(range.end),
            };
            if wider.end - wider.start <= 2 * *shortest {
                *joined = wider;
                members.push(job);
                continue;
            }
        }
        groups.push((range.end - range.start, range, vec![job]));
    }
    groups.into_iter().map(|(_, _, members)| members).collect()
}

/// Loads what several rules read; `None` when it does not fit.
async fn load_for(
    store: &SessionContext,
    jobs: &[&mut Job<'_>],
    memory: u64,
) -> Result<Option<SessionContext>> {
    let mut needs = Needs::default();
    let mut range: Option<Window> = None;
    for job in jobs {
        needs.join(&job.needs);
        range = match (range, job.range()) {
            (Some(a), Some(b)) => Some(Window {
                start: a.start.min(b.start),
                end: a.end.max(b.end),
            }),
            (a, b) => a.or(b),
        };
    }
    match range {
        Some(range) => needs.load(store, range, memory).await,
        None => Ok(None),
    }
}

/// The instants after one time and not after another: multiples of `every` since the epoch.
fn ends_between(every: i64, after: i64, until: i64) -> impl Iterator<Item = i64> {
    let (after, until) = (after.div_euclid(every), until.div_euclid(every));
    (after + 1..=until.max(after)).map(move |n| n * every)
}

/// The instants of an explicit range: multiples of `every` since the epoch, so that any two machines agree.
pub fn instants(rule: &Rule, range: Range, extent: Option<(i64, i64)>) -> Vec<i64> {
    let every = rule.every.0;
    let (after, until) = match (range, extent) {
        (Range::At(time), _) => return vec![time.div_euclid(every) * every],
        (Range::Between(Some(from), Some(to)), _) => (from, to),
        (_, None) => return Vec::new(),
        (Range::Between(from, to), Some((first, last))) => {
            (from.unwrap_or(first), to.unwrap_or(last))
        }
        (Range::SinceLast, Some((first, last))) => (first, last),
    };
    ends_between(every, after, until).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Pack;

    const MINUTE: i64 = 60_000_000;

    fn ends(range: Range, extent: Option<(i64, i64)>) -> Vec<i64> {
        let pack = Pack::embedded();
        let file = pack.rule("token-burn").expect("ships");
        instants(&file.rule, range, extent)
            .into_iter()
            .map(|end| end / MINUTE)
            .collect()
    }

    #[test]
    fn instants_are_multiples_of_every_whatever_the_range() {
        let extent = Some((61 * MINUTE, 83 * MINUTE));
        assert_eq!(ends(Range::SinceLast, extent), [65, 70, 75, 80]);
        assert_eq!(ends(Range::At(79 * MINUTE), extent), [75]);
        let between = Range::Between(Some(70 * MINUTE), Some(80 * MINUTE));
        assert_eq!(ends(between, extent), [75, 80]);
        assert_eq!(ends(Range::SinceLast, None), [0; 0]);
    }

    #[test]
    fn adjacent_ranges_share_no_instant_and_miss_none() {
        let whole = ends(Range::Between(Some(0), Some(600 * MINUTE)), None);
        let mut parts = ends(Range::Between(Some(0), Some(303 * MINUTE)), None);
        let rest = Range::Between(Some(303 * MINUTE), Some(600 * MINUTE));
        parts.extend(ends(rest, None));
        assert_eq!(parts, whole);
    }
}

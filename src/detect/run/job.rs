//! One rule of a run: prepared, and its windows evaluated, from memory where their rows fit.

use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;

use super::windows::reach;
use super::{Job, Range, Run};
use crate::catalog::{Correlation, ParamValue, RuleFile, Span, State};
use crate::detect::budget::{Budget, Meter};
use crate::detect::clock::Reads;
use crate::detect::correlate::{self, Standing};
use crate::detect::evaluate::{Prepared, Window, failed};
use crate::detect::late::Touched;
use crate::detect::signals::Fresh;
use crate::detect::source::Needs;
use crate::detect::stored::Progress;
use crate::error::Result;

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

    pub(super) async fn new(run: &Run<'_>, file: &'a RuleFile) -> Result<Job<'a>> {
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
    pub(super) async fn correlated(
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

    /// All that its windows read; `None` without windows.
    pub(super) fn range(&self) -> Option<Window> {
        let rule = &self.file.rule;
        Some(Window {
            start: self.ends.first()? - reach(rule),
            end: *self.ends.last()?,
        })
    }

    /// Evaluates all windows, over what was loaded for several rules if there is such a thing.
    pub(super) async fn evaluate(
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
}

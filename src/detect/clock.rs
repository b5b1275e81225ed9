//! How late it is in a store, and what that leaves a rule to do.
//!
//! [`Clock`] is what the tables and their sources say, [`Reads`] what of them concerns one rule. Both together say which
//! windows have closed, with nothing planned and no row read: so whoever watches a store all day asks here first.

use std::collections::{BTreeMap, HashMap};

use datafusion::prelude::SessionContext;

use super::evaluate::{Prepared, first_table};
use super::monotone::Early;
use super::run::RunOptions;
use super::source::{Extents, Needs};
use super::stored::Progress;
use super::watermark::{Source, Sources};
use crate::catalog::{LinkedSignal, ParamValue, Rule, RuleFile};
use crate::error::Result;
use crate::schema::Table;
use crate::store::Store;

/// How far the tables of a store, and their sources, have come in event time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    pub(super) extents: Extents,
    sources: Sources,
}

impl Clock {
    /// Looks at what some rules read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read(
        store: &Store,
        context: &SessionContext,
        rules: &[&RuleFile],
        options: &RunOptions,
    ) -> Result<Clock> {
        let tables = rules.iter().filter_map(|file| first_table(&file.rule));
        let extents = Extents::of(store, tables)?;
        let sources = match (options.is_complete, extents.last()) {
            // A source that is idle is waited for by nobody.
            (false, Some(last)) => {
                let since = last - 2 * options.idle_after.0;
                Sources::of(store, context, Some(since)).await?
            }
            _ => Sources::default(),
        };
        Ok(Clock { extents, sources })
    }

    /// The first event of a rule's table, and how late it is; `None` when there is no event.
    pub(super) fn extent(&self, rule: &Rule, options: &RunOptions) -> Option<(i64, i64)> {
        let (first, last) = self.extents.of_source(first_table(rule))?;
        // A time that somebody vouches for is as good as an event.
        let vouched = options.closed_until.max(self.sources.last_heartbeat());
        Some((first, last.max(vouched.unwrap_or(last))))
    }

    /// The last instant of a rule's windows that no row is expected before any more.
    pub(super) fn closed(&self, rule: &Rule, reads: &Reads, options: &RunOptions) -> Option<i64> {
        let (_, last) = self.extent(rule, options)?;
        let lateness = match options.is_complete {
            true => 0,
            false => rule.lateness.unwrap_or(options.lateness).0,
        };
        let slowest = self
            .sources
            .slowest(&reads.tables, last, options.idle_after);
        let reached = slowest.map_or(last, Source::reached) - lateness;
        let closed = reached.max(options.closed_until.unwrap_or(i64::MIN));
        Some(floor(rule, closed))
    }
}

/// What a rule reads: the same for as long as its file and its parameters are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// Its tables, and those beneath its views.
    pub tables: Vec<Table>,
    /// How far beyond the ends of a window its views read.
    pub(super) margin: i64,
    /// Whether it looks at windows that are still open.
    pub(super) is_early: bool,
}

impl Reads {
    /// Plans a rule over the tables of a store, and keeps what follows from that.
    ///
    /// # Errors
    /// When it does not plan.
    pub async fn plan(
        context: &SessionContext,
        file: &RuleFile,
        overrides: &[(String, ParamValue)],
    ) -> Result<Reads> {
        let prepared = Prepared::new(context, file, overrides, None).await?;
        let needs = Needs::of(context, &prepared)?;
        Reads::of(context, &prepared, &needs).await
    }

    /// How far beyond the ends of a window its views read.
    pub fn margin(&self) -> i64 {
        self.margin
    }

    pub(super) async fn of(
        context: &SessionContext,
        prepared: &Prepared<'_>,
        needs: &Needs,
    ) -> Result<Reads> {
        let below = needs.through_views(context).await?;
        Ok(Reads {
            tables: below.tables.into_keys().collect(),
            margin: needs.margin(),
            is_early: Early::of(context, prepared)? == Early::Yes,
        })
    }
}

/// What the clock leaves a rule to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// End of the last window that was closed and evaluated.
    pub last: Option<i64>,
    /// End of the last window that has closed.
    pub closed: i64,
    /// End of the last window that it looks at: later than `closed` where more rows can only add findings.
    pub until: i64,
    /// Rows from before this time are late for it.
    pub late_before: Option<i64>,
    first: i64,
    every: i64,
}

impl Pending {
    /// What there is for a rule to do that is no correlation; `None` while its table is empty.
    pub fn of(
        rule: &Rule,
        reads: &Reads,
        clock: &Clock,
        transactions: &HashMap<String, i64>,
        options: &RunOptions,
    ) -> Option<Pending> {
        let (first, last_event) = clock.extent(rule, options)?;
        let progress = Progress::read(transactions, rule);
        let closed = clock
            .closed(rule, reads, options)?
            .max(progress.last.unwrap_or(i64::MIN));
        let until = match reads.is_early {
            true => floor(rule, last_event).max(closed),
            false => closed,
        };
        Some(Pending {
            last: progress.last,
            closed,
            until,
            late_before: progress.last.map(|last| last + reads.margin),
            first,
            every: rule.every.0,
        })
    }

    /// Windows that nobody has looked at, and that end by a time.
    pub fn windows(&self, until: i64) -> i64 {
        let after = self.last.unwrap_or(self.first);
        until.div_euclid(self.every) - after.div_euclid(self.every)
    }
}

/// The versions of its tables, and the runs of its signals, that a rule had seen when it last stored something.
pub fn seen(
    rule: &Rule,
    transactions: &HashMap<String, i64>,
) -> (BTreeMap<Table, u64>, BTreeMap<String, i64>) {
    let progress = Progress::read(transactions, rule);
    (progress.versions, progress.signals)
}

/// How often each signal of a correlation has run, by [`signal_name`].
pub fn signal_runs(file: &RuleFile, transactions: &HashMap<String, i64>) -> BTreeMap<String, i64> {
    let runs = |signal: &LinkedSignal| {
        let runs = Progress::read(transactions, &signal.rule).runs;
        (signal_name(&signal.rule), runs)
    };
    file.signals.iter().map(runs).collect()
}

/// A signal's name in what is remembered of it.
pub fn signal_name(rule: &Rule) -> String {
    format!("{}@{}", rule.id, rule.version)
}

fn floor(rule: &Rule, time: i64) -> i64 {
    time.div_euclid(rule.every.0) * rule.every.0
}

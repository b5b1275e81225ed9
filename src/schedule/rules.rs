//! Which rules have something to do.
//!
//! A rule is due when windows of its have closed, when rows came that are late for it, and a correlation when its
//! signals have said something. All of that follows from the log; nothing is planned and no row is read for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use datafusion::prelude::SessionContext;

use crate::catalog::RuleFile;
use crate::detect::{Clock, Pending, Reads, RuleOutcome, RunOptions, signal_runs};
use crate::error::Result;
use crate::schema::Table;
use crate::store::Store;

/// A rule that takes longer does not hold up the others.
const SLOW: Duration = Duration::from_secs(2);
/// A rule that fails is tried again after its `every`, then after twice as long, up to this; microseconds.
const LONGEST_PAUSE: i64 = 3_600_000_000;

/// A rule, and what is remembered of it from tick to tick.
pub(super) struct Standing<'p> {
    pub(super) file: &'p RuleFile,
    reads: Reads,
    /// The versions of its tables that it has seen.
    seen: BTreeMap<Table, u64>,
    /// Of a correlation, how often its signals had run when it last did.
    heard: BTreeMap<String, i64>,
    /// What was closed, and what could be looked at, when it last ran.
    looked: Option<(i64, i64)>,
    /// By the clock.
    ran_at: Option<i64>,
    failures: u32,
    cost: Duration,
}

/// What the others need to know of a store to say what is due.
pub(super) struct View<'v> {
    pub(super) now: i64,
    pub(super) clock: &'v Clock,
    pub(super) transactions: &'v HashMap<String, i64>,
    pub(super) options: &'v RunOptions,
    pub(super) news: &'v News,
}

impl<'p> Standing<'p> {
    /// Plans a rule, once.
    pub(super) async fn new(
        context: &SessionContext,
        file: &'p RuleFile,
        transactions: &HashMap<String, i64>,
        options: &RunOptions,
    ) -> Standing<'p> {
        let of_rule = options.params.iter().filter(|it| it.0 == file.rule.id);
        let params: Vec<_> = of_rule.map(|it| (it.1.clone(), it.2.clone())).collect();
        let reads = match file.rule.correlation {
            Some(_) => Reads::default(),
            // What does not plan fails when it is evaluated, and is told of then.
            None => Reads::plan(context, file, &params)
                .await
                .unwrap_or_default(),
        };
        let (seen, heard) = crate::detect::seen(&file.rule, transactions);
        Standing {
            file,
            reads,
            seen,
            heard,
            looked: None,
            ran_at: None,
            failures: 0,
            cost: Duration::ZERO,
        }
    }

    pub(super) fn is_slow(&self) -> bool {
        self.cost > SLOW
    }

    /// When it was last evaluated, by the clock.
    pub(super) fn ran_at(&self) -> Option<i64> {
        self.ran_at
    }

    /// Whether it has something to do of itself.
    pub(super) fn is_due(&self, view: &View<'_>) -> bool {
        if self.failures > 0 && view.now < self.tried_again_at() {
            return false;
        }
        if self.file.rule.correlation.is_some() {
            let runs = signal_runs(self.file, view.transactions);
            return runs
                .iter()
                .any(|(signal, runs)| *runs > self.heard.get(signal).copied().unwrap_or(0));
        }
        let Some(pending) = self.pending(view) else {
            return false;
        };
        let is_new = |until: i64, looked: Option<i64>| {
            pending.windows(until) > 0 && looked.is_none_or(|looked| until > looked)
        };
        if is_new(pending.closed, self.looked.map(|it| it.0))
            || is_new(pending.until, self.looked.map(|it| it.1))
        {
            return true;
        }
        let evaluated = pending.late_before.map(|before| {
            let looked = self.looked.map(|(_, until)| until + self.reads.margin());
            before.max(looked.unwrap_or(before))
        });
        let oldest = view.news.oldest_since(&self.reads.tables, &self.seen);
        // Rows that come late again and again would have it run with every tick: once an `every` is as often as it
        // would have run anyway.
        let is_rested = self
            .ran_at
            .is_none_or(|ran_at| view.now - ran_at >= self.file.rule.every.0);
        is_rested
            && oldest
                .zip(evaluated)
                .is_some_and(|(oldest, before)| oldest < before)
    }

    /// What there is to do for a rule that is no correlation.
    pub(super) fn pending(&self, view: &View<'_>) -> Option<Pending> {
        Pending::of(
            &self.file.rule,
            &self.reads,
            view.clock,
            view.transactions,
            view.options,
        )
    }

    /// When a rule that has failed may run again.
    fn tried_again_at(&self) -> i64 {
        let doubled = 1_i64 << (self.failures.clamp(1, 20) - 1);
        let pause = self.file.rule.every.0.saturating_mul(doubled);
        self.ran_at.unwrap_or(0) + pause.min(LONGEST_PAUSE)
    }

    /// Notes what came of it. `before` is the store as it was looked at, `versions` those of its tables.
    pub(super) fn ran(
        &mut self,
        outcome: &RuleOutcome<'_>,
        before: &View<'_>,
        versions: &BTreeMap<Table, u64>,
        batch: &BTreeSet<&str>,
        after: &HashMap<String, i64>,
    ) {
        self.ran_at = Some(before.now);
        self.cost = outcome.elapsed;
        if outcome.states.contains_key("error") {
            self.failures += 1;
            return;
        }
        self.failures = 0;
        if self.file.rule.correlation.is_some() {
            let (was, is) = (
                signal_runs(self.file, before.transactions),
                signal_runs(self.file, after),
            );
            for signal in &self.file.signals {
                let name = crate::detect::signal_name(&signal.rule);
                // It has heard what ran along with it; what somebody else has stored meanwhile it may not have.
                let along = batch.contains(signal.rule.id.as_str());
                let was = was.get(&name).copied().unwrap_or(0);
                let is = is.get(&name).copied().unwrap_or(0);
                let heard = if along { is.min(was + 1) } else { was };
                self.heard.insert(name, heard);
            }
            return;
        }
        self.looked = self.pending(before).map(|it| (it.closed, it.until));
        for table in &self.reads.tables {
            if let Some(version) = versions.get(table) {
                self.seen.insert(*table, *version);
            }
        }
    }
}

/// Those that are due, and the correlations that hear any of them.
pub(super) fn due(rules: &[Standing<'_>], view: &View<'_>) -> BTreeSet<usize> {
    let mut due: BTreeSet<usize> = (0..rules.len())
        .filter(|place| rules[*place].is_due(view))
        .collect();
    // Correlations stand on each other a few times at most.
    loop {
        let ids: BTreeSet<&str> = due
            .iter()
            .map(|place| rules[*place].file.rule.id.as_str())
            .collect();
        let hears = |rule: &Standing<'_>| {
            let mut signals = rule.file.signals.iter();
            rule.failures == 0 && signals.any(|signal| ids.contains(signal.rule.id.as_str()))
        };
        let more: Vec<usize> = (0..rules.len())
            .filter(|place| !due.contains(place) && hears(&rules[*place]))
            .collect();
        if more.is_empty() {
            return due;
        }
        due.extend(more);
    }
}

/// The oldest row that each version of the tables brought, as far as some rule has not seen it.
#[derive(Debug, Default)]
pub(super) struct News(BTreeMap<Table, Vec<(u64, i64)>>);

impl News {
    /// Notes what came to a table since the rules were last evaluated, by whichever scheduler that was.
    pub(super) fn begin(
        &mut self,
        store: &Store,
        table: Table,
        version: u64,
        rules: &[Standing<'_>],
    ) -> Result<()> {
        let seen = rules.iter().filter_map(|rule| rule.seen.get(&table));
        match seen.min() {
            // A rule that has never run is due in any case.
            None => Ok(()),
            Some(seen) => self.add(store, table, *seen, version),
        }
    }

    /// Notes what came to a table since a version.
    pub(super) fn add(
        &mut self,
        store: &Store,
        table: Table,
        since: u64,
        version: u64,
    ) -> Result<()> {
        let oldest = match store.added_since(table, since)? {
            None => Some(i64::MIN),
            Some(files) => {
                let first = |range: Option<(i64, i64)>| range.map_or(i64::MIN, |(first, _)| first);
                files.iter().map(|file| first(file.time_range)).min()
            }
        };
        // Files that were only written anew bring nothing.
        if let Some(oldest) = oldest {
            self.0.entry(table).or_default().push((version, oldest));
        }
        Ok(())
    }

    /// The oldest row that came to some tables since the versions that were seen.
    fn oldest_since(&self, tables: &[Table], seen: &BTreeMap<Table, u64>) -> Option<i64> {
        let of_table = |table: &Table| {
            let seen = seen.get(table).copied().unwrap_or(0);
            let news = self.0.get(table)?;
            let unseen = news.iter().filter(|(version, _)| *version > seen);
            unseen.map(|(_, oldest)| *oldest).min()
        };
        tables.iter().filter_map(of_table).min()
    }

    /// Forgets what every rule has seen.
    pub(super) fn forget(&mut self, rules: &[Standing<'_>]) {
        for (table, news) in &mut self.0 {
            let readers = rules
                .iter()
                .filter(|rule| rule.reads.tables.contains(table));
            let seen = readers.map(|rule| rule.seen.get(table).copied().unwrap_or(0));
            let seen = seen.min().unwrap_or(u64::MAX);
            news.retain(|(version, _)| *version > seen);
        }
    }
}

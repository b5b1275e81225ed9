//! One step after the other: what came is ingested, what is due is evaluated, and where nothing is due the store is kept
//! in shape.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use datafusion::prelude::SessionContext;
use tokio::runtime::Handle;

use super::follow::Follower;
use super::maintain::Upkeep;
use super::rules::{News, Standing, View, due};
use super::{Event, Settings, Stop, Task};
use crate::catalog::RuleFile;
use crate::detect::{Clock, Range, RunOptions, context_of, run_at};
use crate::error::Result;
use crate::schema::Table;
use crate::store::Store;

/// What a step came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ticked {
    /// Rules that were evaluated.
    pub rules: usize,
    /// Files that were read.
    pub files: u64,
    /// Whether there is more to do at once.
    pub more: bool,
    /// Whether something could not be done that may be possible later.
    pub failed: bool,
}

/// Rules and what is to be done for their store.
///
/// It keeps what it has learned between steps, so that a step on a store that has not changed only looks whether it has.
/// Nothing of that is needed: what counts is in the store, where another scheduler finds it too.
pub struct Scheduler<'p> {
    runtime: Handle,
    store: Store,
    context: SessionContext,
    options: RunOptions,
    settings: Settings,
    rules: Vec<Standing<'p>>,
    /// The tables as they were when it was last looked.
    versions: BTreeMap<Table, u64>,
    clock: Clock,
    /// Whether something has come that the clock does not know of.
    is_late: bool,
    news: News,
    /// Whether the rules that ran last were quick ones.
    were_quick: bool,
    follower: Option<Follower>,
    upkeep: Upkeep,
}

impl<'p> Scheduler<'p> {
    /// Plans the rules, and looks at nothing yet.
    ///
    /// # Errors
    /// When the store cannot be read, or its views do not plan.
    pub fn new(
        runtime: &Handle,
        store: &Store,
        rules: &[&'p RuleFile],
        settings: Settings,
    ) -> Result<Scheduler<'p>> {
        let context = runtime.block_on(context_of(store))?;
        let options = RunOptions {
            range: Range::SinceLast,
            dry_run: false,
            ..settings.run.clone()
        };
        let evaluations = store.snapshot(Table::Evaluations)?;
        let standing = crate::parallel::in_parallel(rules.to_vec(), options.threads, |file| {
            let transactions = evaluations.transactions();
            runtime.block_on(Standing::new(&context, file, transactions, &options))
        });
        Ok(Scheduler {
            runtime: runtime.clone(),
            store: store.clone(),
            context,
            options,
            rules: standing,
            versions: BTreeMap::new(),
            clock: Clock::default(),
            is_late: false,
            news: News::default(),
            were_quick: false,
            follower: settings.follow.clone().map(Follower::new),
            upkeep: Upkeep::new(settings.maintenance.clone()),
            settings,
        })
    }

    /// One step, at a time by the clock in microseconds since the epoch. What cannot be done is told, and tried again
    /// with a later step.
    pub fn tick(&mut self, now: i64, stop: &Stop, tell: &mut dyn FnMut(&Event<'_>)) -> Ticked {
        let mut ticked = Ticked::default();
        let followed = self.follow(now, stop, tell, &mut ticked);
        self.told(Task::Follow, followed, tell, &mut ticked);
        if stop.is_stopped() {
            return ticked;
        }
        let relieved = self.relieve(now, tell);
        self.told(Task::Maintain, relieved, tell, &mut ticked);
        let evaluated = self.evaluate(now, tell, &mut ticked);
        self.told(Task::Evaluate, evaluated, tell, &mut ticked);
        let is_quiet = ticked.rules == 0 && !ticked.more && !ticked.failed;
        if is_quiet && !stop.is_stopped() {
            let maintained = self.maintain(now, tell, &mut ticked);
            self.told(Task::Maintain, maintained, tell, &mut ticked);
        }
        ticked
    }

    fn told(
        &self,
        task: Task,
        result: Result<()>,
        tell: &mut dyn FnMut(&Event<'_>),
        ticked: &mut Ticked,
    ) {
        for warning in self.store.take_warnings() {
            tell(&Event::Warning(&warning));
        }
        if let Err(error) = result {
            ticked.failed = true;
            tell(&Event::Failed {
                task,
                error: &error,
            });
        }
    }

    /// When compaction and retention are next, by the clock; `None` when never.
    pub fn next_maintenance(&self) -> [Option<i64>; 2] {
        self.upkeep.next()
    }

    fn follow(
        &mut self,
        now: i64,
        stop: &Stop,
        tell: &mut dyn FnMut(&Event<'_>),
        ticked: &mut Ticked,
    ) -> Result<()> {
        let Some(follower) = &mut self.follower else {
            return Ok(());
        };
        let pass = follower.pass(&self.store, now, &|| stop.is_stopped(), &mut |summary| {
            ticked.files += summary.files;
            tell(&Event::Followed(summary));
        })?;
        for (folder, why) in &pass {
            tell(&Event::Unreadable { folder, why });
        }
        Ok(())
    }

    fn evaluate(
        &mut self,
        now: i64,
        tell: &mut dyn FnMut(&Event<'_>),
        ticked: &mut Ticked,
    ) -> Result<()> {
        self.options.closed_until = match self.settings.closed_after {
            Some(span) => Some(now - span.0),
            None => self.settings.run.closed_until,
        };
        self.options.evaluated_at = now;
        self.look()?;
        let evaluations = self.store.snapshot(Table::Evaluations)?;
        let view = View {
            now,
            clock: &self.clock,
            transactions: evaluations.transactions(),
            options: &self.options,
            news: &self.news,
        };
        let due = due(&self.rules, &view);
        let (batch, waits) = batch(
            due,
            self.were_quick,
            |place| self.rules[place].is_slow(),
            |place| self.rules[place].ran_at(),
        );
        self.were_quick = batch.iter().any(|place| !self.rules[*place].is_slow());
        ticked.more = waits;
        if batch.is_empty() {
            return Ok(());
        }
        let files: Vec<&RuleFile> = batch.iter().map(|place| self.rules[*place].file).collect();
        let started = Instant::now();
        let outcomes = run_at(
            &self.runtime,
            &self.store,
            &self.context,
            &self.clock,
            &files,
            &self.options,
        )?;
        ticked.rules = outcomes.len();
        let after = self.store.snapshot(Table::Evaluations)?;
        let ids: BTreeSet<&str> = files.iter().map(|file| file.rule.id.as_str()).collect();
        for (place, outcome) in batch.iter().zip(&outcomes) {
            self.rules[*place].ran(outcome, &view, &self.versions, &ids, after.transactions());
        }
        self.news.forget(&self.rules);
        tell(&Event::Evaluated {
            outcomes: &outcomes,
            elapsed: started.elapsed(),
        });
        Ok(())
    }

    /// Notes what has come to the tables since it was last looked.
    fn look(&mut self) -> Result<()> {
        for table in Table::ALL {
            let Some(version) = self.store.snapshot(table)?.version() else {
                continue;
            };
            match self.versions.get(&table).copied() {
                Some(known) if known == version => continue,
                Some(known) => self.news.add(&self.store, table, known, version)?,
                None => self.news.begin(&self.store, table, version, &self.rules)?,
            }
            // What rules write down themselves says nothing of how late it is.
            self.is_late |= table != Table::Evaluations;
            self.versions.insert(table, version);
        }
        if self.is_late {
            let files: Vec<&RuleFile> = self.rules.iter().map(|rule| rule.file).collect();
            let clock = Clock::read(&self.store, &self.context, &files, &self.options);
            self.clock = self.runtime.block_on(clock)?;
            self.is_late = false;
        }
        Ok(())
    }

    /// What cannot wait for a quiet time: on a busy server there may be none.
    fn relieve(&mut self, now: i64, tell: &mut dyn FnMut(&Event<'_>)) -> Result<()> {
        if let Some(step) = self.upkeep.relieve(&self.store, now)? {
            tell(&Event::Maintained(&step));
        }
        Ok(())
    }

    fn maintain(
        &mut self,
        now: i64,
        tell: &mut dyn FnMut(&Event<'_>),
        ticked: &mut Ticked,
    ) -> Result<()> {
        if let Some(step) = self.upkeep.step(&self.runtime, &self.store, now)? {
            tell(&Event::Maintained(&step));
            // Rules may be due by now; after them comes the next step.
            ticked.more = true;
        }
        Ok(())
    }
}

/// The rules to evaluate together, and whether others wait. Those that are quick share what is loaded. One that is slow
/// comes after them, alone, since what the others find is stored by then; but it comes after once: on a busy store some
/// quick one is always due.
fn batch(
    due: BTreeSet<usize>,
    were_quick: bool,
    is_slow: impl Fn(usize) -> bool,
    ran_at: impl Fn(usize) -> Option<i64>,
) -> (Vec<usize>, bool) {
    let (slow, quick): (Vec<usize>, Vec<usize>) =
        due.into_iter().partition(|place| is_slow(*place));
    if !quick.is_empty() && (slow.is_empty() || !were_quick) {
        return (quick, !slow.is_empty());
    }
    let waits = slow.len() > 1 || !quick.is_empty();
    let longest_ago = slow.into_iter().min_by_key(|place| ran_at(*place));
    (longest_ago.into_iter().collect(), waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_rules_come_after_quick_ones_and_are_not_starved_by_them() {
        // The first two are slow, the second ran longer ago; all four are always due.
        let mut ran_at = [Some(5), Some(3), Some(9), Some(9)];
        let mut order = Vec::new();
        let mut were_quick = false;
        for now in 10..16 {
            let due = BTreeSet::from([0, 1, 2, 3]);
            let (chosen, waits) = batch(due, were_quick, |place| place < 2, |place| ran_at[place]);
            assert!(waits);
            were_quick = chosen.contains(&2);
            for place in &chosen {
                ran_at[*place] = Some(now);
            }
            order.push(chosen);
        }
        assert_eq!(
            order,
            [
                vec![2, 3],
                vec![1],
                vec![2, 3],
                vec![0],
                vec![2, 3],
                vec![1]
            ]
        );
        let alone = |due: &[usize]| {
            let due = due.iter().copied().collect();
            batch(due, true, |place| place < 2, |place| ran_at[place])
        };
        assert_eq!(alone(&[3]), (vec![3], false));
        assert_eq!(alone(&[0]), (vec![0], false));
        assert_eq!(alone(&[]), (vec![], false));
    }
}

//! What keeps a store in shape while nobody asks anything of it: compaction, removal of what was replaced, retention.

use std::collections::HashSet;

use tokio::runtime::Handle;

use crate::catalog::{Span, Tier, TierAction};
use crate::error::Result;
use crate::retention::{self, Applied};
use crate::schema::Table;
use crate::store::{
    CompactOptions, CompactReport, CompactTask, Store, SweepOptions, SweepReport, WriteOptions,
};

/// What retention may do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Retention {
    /// Nothing.
    Off,
    /// What takes nothing away: sum up, and tell what the other tiers would do.
    #[default]
    Safe,
    /// All that the tiers say, also what deletes, redacts or empties columns.
    Apply,
}

/// What is done in quiet times, and how often.
#[derive(Debug, Clone)]
pub struct Maintenance {
    /// How often files are compacted; never when `None`.
    pub compact_every: Option<Span>,
    /// As soon as a period has so many more tiny files than partitions they become few, quiet or not: each look of a rule
    /// opens them all.
    pub tiny_files: usize,
    /// How often replaced files are removed from the disk.
    pub sweep_every: Span,
    /// What retention does.
    pub retention: Retention,
    /// How often.
    pub retention_every: Span,
    /// The tiers.
    pub tiers: Vec<Tier>,
    /// How files are written.
    pub write: WriteOptions,
}

impl Default for Maintenance {
    fn default() -> Maintenance {
        let write = WriteOptions::default();
        Maintenance {
            compact_every: Some(Span::minutes(30)),
            tiny_files: 128,
            sweep_every: Span::hours(6),
            retention: Retention::default(),
            retention_every: Span::hours(6),
            tiers: Tier::embedded(),
            write: WriteOptions {
                // Those that ask and those that ingest come first.
                threads: write.threads.div_ceil(2),
                ..write
            },
        }
    }
}

/// What a tier would do that may not by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// The tier.
    pub tier: String,
    /// What it would do.
    pub action: &'static str,
    /// To which table.
    pub table: Table,
    /// How many partitions.
    pub partitions: u64,
    /// Their rows.
    pub rows: u64,
}

/// What one step has done.
#[derive(Debug)]
pub enum Step {
    /// Files were compacted.
    Compacted(CompactReport),
    /// Replaced files were removed.
    Swept(SweepReport),
    /// Tiers were applied, or would be.
    Retained(Vec<Applied>, Vec<Withheld>),
}

/// So many bytes are compacted in one step,
const STEP_BYTES: u64 = 256 << 20;
/// or so many files: rules do not wait for longer.
const STEP_FILES: usize = 1_000;

/// Tiny files that could not be compacted are left alone for so long.
const RELIEF_PAUSE: Span = Span::minutes(5);

/// When each was last done.
#[derive(Debug)]
pub(super) struct Upkeep {
    settings: Maintenance,
    /// Until then tiny files are left alone.
    relief_after: i64,
    compacted_at: Option<i64>,
    swept_at: Option<i64>,
    retained_at: Option<i64>,
    /// Periods that could not be compacted in this round: they are tried again in the next.
    left: HashSet<(Table, String)>,
}

impl Upkeep {
    pub(super) fn new(settings: Maintenance) -> Upkeep {
        Upkeep {
            settings,
            relief_after: i64::MIN,
            compacted_at: None,
            swept_at: None,
            retained_at: None,
            left: HashSet::new(),
        }
    }

    /// When compaction and retention are next, by the clock; `None` when never.
    pub(super) fn next(&self) -> [Option<i64>; 2] {
        let after = |at: Option<i64>, every: Option<Span>| {
            every.map(|every| at.map_or(0, |at| at.saturating_add(every.0)))
        };
        let retention = match self.settings.retention {
            Retention::Off => None,
            Retention::Safe | Retention::Apply => Some(self.settings.retention_every),
        };
        [
            after(self.compacted_at, self.settings.compact_every),
            after(self.retained_at, retention),
        ]
    }

    /// Does the next thing that is due, at most a little of it; `None` when nothing is.
    ///
    /// # Errors
    /// When it cannot be done; it is tried again when it is due next.
    pub(super) fn step(
        &mut self,
        runtime: &Handle,
        store: &Store,
        now: i64,
    ) -> Result<Option<Step>> {
        let is_due = |at: Option<i64>| at.is_some_and(|at| now >= at);
        let [compaction, retention] = self.next().map(is_due);
        let swept = self.swept_at.map(|at| at + self.settings.sweep_every.0);
        let sweep = self.settings.compact_every.is_some() && (swept.is_none() || is_due(swept));
        if !compaction && !retention && !sweep {
            return Ok(None);
        }
        // Of several schedulers one is enough; the others find it done when they look again.
        let Some(_alone) = store.try_alone("upkeep")? else {
            return Ok(None);
        };
        if compaction {
            let step = self.compact(store, now);
            if !matches!(step, Ok(Some(_))) {
                self.compacted_at = Some(now);
                self.left.clear();
            }
            if let Some(report) = step? {
                return Ok(Some(Step::Compacted(report)));
            }
        }
        if sweep {
            self.swept_at = Some(now);
            let swept = store.sweep(&SweepOptions {
                at: now,
                ..SweepOptions::default()
            })?;
            return Ok(Some(Step::Swept(swept)));
        }
        if retention {
            self.retained_at = Some(now);
            return self.retain(runtime, store, now).map(Some);
        }
        Ok(None)
    }

    /// Makes few files of many tiny ones, where compaction is on.
    ///
    /// # Errors
    /// When it cannot be done; it is tried again after a while.
    pub(super) fn relieve(&mut self, store: &Store, now: i64) -> Result<Option<Step>> {
        if self.settings.compact_every.is_none() || now < self.relief_after {
            return Ok(None);
        }
        let options = CompactOptions {
            tiny_files: Some(self.settings.tiny_files),
            ..self.options(now)
        };
        let mut tasks = store.plan_compaction(&options)?;
        tasks.retain(|task| matches!(store.lock_on(task.table), Ok(None)));
        let tasks = first_of(tasks);
        if tasks.is_empty() {
            return Ok(None);
        }
        let Some(_alone) = store.try_alone("upkeep")? else {
            return Ok(None);
        };
        let report = store.compact(tasks, &options);
        if !report.as_ref().is_ok_and(|report| report.failed.is_empty()) {
            self.relief_after = now + RELIEF_PAUSE.0;
        }
        report.map(|report| Some(Step::Compacted(report)))
    }

    fn options(&self, now: i64) -> CompactOptions {
        CompactOptions {
            at: now,
            write: self.settings.write.clone(),
            ..CompactOptions::default()
        }
    }

    fn compact(&mut self, store: &Store, now: i64) -> Result<Option<CompactReport>> {
        let options = self.options(now);
        let mut tasks = store.plan_compaction(&options)?;
        tasks.retain(|task| !self.left.contains(&(task.table, task.period.clone())));
        let tasks = first_of(tasks);
        if tasks.is_empty() {
            return Ok(None);
        }
        let report = store.compact(tasks, &options)?;
        let failed = report.failed.iter();
        self.left
            .extend(failed.map(|(table, period, _)| (*table, period.clone())));
        Ok(Some(report))
    }

    fn retain(&self, runtime: &Handle, store: &Store, now: i64) -> Result<Step> {
        let at = retention::believed(store, now)?;
        let Maintenance { tiers, write, .. } = &self.settings;
        let is_harmless = |tier: &Tier| {
            matches!(
                tier.action,
                TierAction::Rollup { .. } | TierAction::Compact(_)
            )
        };
        let may = |tier: &Tier| self.settings.retention == Retention::Apply || is_harmless(tier);
        let (own, others): (Vec<Tier>, Vec<Tier>) = tiers.iter().cloned().partition(may);
        runtime.block_on(async {
            let applied = retention::apply(store, &own, at, |_| Ok(()), write).await?;
            let plan = retention::plan(store, &others, at).await?;
            let withheld = plan.tiers.iter().filter(|tier| !tier.partitions.is_empty());
            let withheld = withheld.map(|it| Withheld {
                tier: it.tier.id.clone(),
                action: it.tier.action.name(),
                table: it.tier.table,
                partitions: it.partitions.len() as u64,
                rows: it.partitions.iter().map(|it| it.rows.unsigned_abs()).sum(),
            });
            Ok(Step::Retained(applied, withheld.collect()))
        })
    }
}

/// As many tasks as one step does.
fn first_of(tasks: Vec<CompactTask>) -> Vec<CompactTask> {
    let (mut files, mut bytes) = (0, 0);
    let mut chosen = Vec::new();
    for task in tasks {
        if !chosen.is_empty() && (files >= STEP_FILES || bytes >= STEP_BYTES) {
            break;
        }
        files += task.files.len();
        bytes += task.bytes;
        chosen.push(task);
    }
    chosen
}

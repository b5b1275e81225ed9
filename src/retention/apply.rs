//! Does what a plan says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::{
    Array, ArrayRef, AsArray, LargeStringBuilder, RecordBatch, StringBuilder, new_null_array,
};
use arrow::datatypes::DataType;
use inferwatch_udfs::pii;

use super::{Plan, Planned, TierPlan, fingerprint, plan, rollup};
use crate::catalog::{Tier, TierAction};
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::{
    CompactOptions, Entry, Operation, Period, Store, TableChange, TableSnapshot, WriteOptions,
    commit_if,
};

/// What was done for a tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The tier.
    pub tier: String,
    /// What it does.
    pub action: &'static str,
    /// The table.
    pub table: Table,
    /// Partitions, or days, that it was done to.
    pub partitions: u64,
    /// Their rows; of a rollup, the rows that it made.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Plans anew, and does what the plan says, provided that it says what was `expected`: nothing may have come between.
///
/// # Errors
/// [`Error::Moved`] when the plan is another by now, with nothing done, or when the store changes while it is carried
/// out; then the tiers before that one are done.
pub async fn apply(
    store: &Store,
    tiers: &[Tier],
    at: i64,
    expected: impl FnOnce(&Plan<'_>) -> Result<()>,
    options: &WriteOptions,
) -> Result<Vec<Applied>> {
    let _maintenance = store.lock_maintenance(options.lock_timeout)?;
    // Keeps those away who remove files that no commit names.
    let _writing = store.writer(options.clone())?;
    let plan = plan(store, tiers, at).await?;
    expected(&plan)?;
    let mut applied = Vec::new();
    for tier in &plan.tiers {
        let has_rollup = |table| {
            plan.tiers
                .iter()
                .any(|other| rollup_of(other.tier, table).is_some())
        };
        if tier.partitions.is_empty() {
            continue;
        }
        let mut done = Applied {
            tier: tier.tier.id.clone(),
            action: tier.tier.action.name(),
            table: tier.tier.table,
            partitions: tier.partitions.len() as u64,
            rows: tier
                .partitions
                .iter()
                .map(|it| it.rows.unsigned_abs())
                .sum(),
            bytes: tier
                .partitions
                .iter()
                .map(|it| it.bytes.unsigned_abs())
                .sum(),
        };
        match &tier.tier.action {
            TierAction::Rollup { query, .. } => {
                let days = tier.partitions.iter().map(|it| it.partition.period.clone());
                let days: Vec<String> = days.collect();
                done.rows = sum_up(store, tier.tier, query, &days).await?;
            }
            TierAction::Expire => {
                if has_rollup(tier.tier.table) {
                    sum_up_before(store, &plan, tier).await?;
                }
                expire(store, tier, at, has_rollup(tier.tier.table))?;
            }
            TierAction::Redact(columns) => edit(store, tier, at, options, &mut redacted(columns))?,
            TierAction::DropColumns(columns) => {
                edit(store, tier, at, options, &mut emptied(columns))?
            }
            TierAction::Compact(grain) => {
                let compact = CompactOptions {
                    at,
                    tables: vec![tier.tier.table],
                    day_after: 0,
                    month_after: if *grain == crate::store::Grain::Month {
                        0
                    } else {
                        i64::MAX
                    },
                    write: options.clone(),
                    ..CompactOptions::default()
                };
                let mut tasks = store.plan_compaction(&compact)?;
                tasks.retain(|task| {
                    let planned = |path| tier.partitions.iter().any(|it| it.files.contains(path));
                    task.files.iter().any(planned)
                });
                let report = store.compact_locked(tasks, &compact)?;
                if let Some((_, period, why)) = report.failed.first() {
                    return Err(Error::Moved {
                        message: format!("tier `{}`, {period}: {why}", tier.tier.id),
                    });
                }
            }
        }
        applied.push(done);
    }
    Ok(applied)
}

/// The query of a tier that sums a table up.
fn rollup_of(tier: &Tier, table: Table) -> Option<&str> {
    match &tier.action {
        TierAction::Rollup { query, .. } if tier.table == table => Some(query),
        _ => None,
    }
}

async fn sum_up(store: &Store, tier: &Tier, query: &str, days: &[String]) -> Result<u64> {
    let mut rows = 0;
    for days in days.chunks(31) {
        let sums = rollup::sum(store, tier, query, days).await?;
        rows += sums.rows;
        if let Some(change) = sums.change {
            commit_if(store, &[change], &sums.notes, || Ok(()))?;
        }
    }
    Ok(rows)
}

/// Before rows go, every tier that sums their table up has done so, from these very files.
async fn sum_up_before(store: &Store, plan: &Plan<'_>, tier: &TierPlan<'_>) -> Result<()> {
    for other in &plan.tiers {
        let Some(query) = rollup_of(other.tier, tier.tier.table) else {
            continue;
        };
        let days = missing(store, other.tier, tier)?;
        sum_up(store, other.tier, query, &days).await?;
    }
    Ok(())
}

/// The days of partitions that go, and are not summed up from the files that the store has.
fn missing(store: &Store, rollup: &Tier, tier: &TierPlan<'_>) -> Result<Vec<String>> {
    let snapshot = store.snapshot(tier.tier.table)?;
    let usage = store.snapshot(Table::Usage)?;
    let files = rollup::files_by_day(&snapshot);
    let mut days = days_of(tier);
    days.retain(|day| {
        let is_final = snapshot
            .transactions()
            .contains_key(&rollup::final_note(rollup.table, day));
        let state = files
            .get(day)
            .map(|files| rollup::state_of(&snapshot, files));
        !is_final && usage.transactions().get(&rollup::note(rollup, day)) != state.as_ref()
    });
    Ok(days.into_iter().collect())
}

fn days_of(tier: &TierPlan<'_>) -> BTreeSet<String> {
    let periods = tier
        .partitions
        .iter()
        .map(|it| it.partition.period.as_str());
    periods.flat_map(rollup::days_of).collect()
}

/// Removes files from the log, and touches none.
fn expire(store: &Store, tier: &TierPlan<'_>, at: i64, is_summed_up: bool) -> Result<()> {
    let table = tier.tier.table;
    let change = TableChange {
        table,
        added: Vec::new(),
        removed: tier
            .partitions
            .iter()
            .flat_map(|it| it.files.iter().cloned())
            .collect(),
        operation: Operation::Delete,
    };
    let days = days_of(tier);
    let notes: Vec<(String, i64)> = match is_summed_up {
        true => days
            .iter()
            .map(|day| (rollup::final_note(table, day), 1))
            .collect(),
        false => Vec::new(),
    };
    let before = store.snapshot(table)?;
    let state = states(&before, &days);
    let told = entry(tier, at).stage(store)?;
    commit_if(store, &[change, told], &notes, || {
        // What has come since for a day that was summed up is not in the sums.
        let now = store.snapshot(table)?;
        match !is_summed_up || states(&now, &days) == state {
            true => Ok(()),
            false => Err(Error::Moved {
                message: format!(
                    "tier `{}`: rows have come for a day that is to expire",
                    tier.tier.id
                ),
            }),
        }
    })?;
    Ok(())
}

fn states(snapshot: &TableSnapshot, days: &BTreeSet<String>) -> BTreeMap<String, i64> {
    let files = rollup::files_by_day(snapshot);
    let of_day = |day: &String| Some((day.clone(), rollup::state_of(snapshot, files.get(day)?)));
    days.iter().filter_map(of_day).collect()
}

fn entry(tier: &TierPlan<'_>, at: i64) -> Entry {
    let rows: i64 = tier.partitions.iter().map(|it| it.rows).sum();
    let bytes: i64 = tier.partitions.iter().map(|it| it.bytes).sum();
    let mut periods: Vec<&str> = tier
        .partitions
        .iter()
        .map(|it| it.partition.period.as_str())
        .collect();
    periods.dedup();
    Entry::new("retention", at)
        .resource(&tier.tier.id)
        .detail("action", tier.tier.action.name())
        .detail("version", tier.tier.version)
        .detail("table", tier.tier.table.name())
        .detail("periods", periods)
        .detail("rows", rows)
        .detail("bytes", bytes)
}

/// The note that a tier has done what it does to a period.
fn note(tier: &Tier, period: &str) -> String {
    format!("tier:{}:{}:{period}", tier.id, tier.version)
}

/// The partitions by period.
fn by_period(partitions: &[Planned]) -> BTreeMap<&str, Vec<&str>> {
    let mut periods: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for planned in partitions {
        let files = periods.entry(&planned.partition.period).or_default();
        files.extend(planned.files.iter().map(String::as_str));
    }
    periods
}

/// Leaves the periods whose files are others than those that the tier has written. One that has times beyond the
/// calendar is never written anew.
pub(super) fn retain_undone(tier: &Tier, snapshot: &TableSnapshot, partitions: &mut Vec<Planned>) {
    let done: BTreeSet<String> = by_period(partitions)
        .into_iter()
        .filter(|(period, files)| {
            snapshot.transactions().get(&note(tier, period))
                == Some(&fingerprint(files.iter().copied()))
        })
        .map(|(period, _)| period.to_owned())
        .collect();
    partitions.retain(|it| {
        let period = &it.partition.period;
        Period::parse(period).is_some() && !done.contains(period)
    });
}

type Editing<'a> = dyn FnMut(RecordBatch) -> Result<RecordBatch> + 'a;

/// Writes the files of each period anew, period by period.
fn edit(
    store: &Store,
    tier: &TierPlan<'_>,
    at: i64,
    options: &WriteOptions,
    editing: &mut Editing<'_>,
) -> Result<()> {
    let progress = AtomicU64::new(0);
    let periods = by_period(&tier.partitions);
    let last = periods.len().saturating_sub(1);
    for (index, (period, files)) in periods.into_iter().enumerate() {
        let files: Vec<String> = files.into_iter().map(str::to_owned).collect();
        let edited = store.edit(tier.tier.table, period, &files, options, &progress, editing)?;
        let added = edited.added.iter().map(|file| file.path.as_str());
        let notes = [(note(tier.tier, period), fingerprint(added))];
        let mut changes = vec![edited];
        if index == last {
            changes.push(entry(tier, at).stage(store)?);
        }
        commit_if(store, &changes, &notes, || Ok(()))?;
    }
    Ok(())
}

/// Empties columns.
fn emptied(columns: &[String]) -> impl FnMut(RecordBatch) -> Result<RecordBatch> {
    with_columns(columns, |column| {
        Ok(new_null_array(column.data_type(), column.len()))
    })
}

/// Redacts columns of text. What cannot be redacted is not kept.
fn redacted(columns: &[String]) -> impl FnMut(RecordBatch) -> Result<RecordBatch> {
    let (mut scratch, mut out) = (pii::Scratch::default(), String::new());
    with_columns(columns, move |column| {
        let mut redact = |text: &str| -> Option<String> {
            pii::redact_checked(text, &mut scratch, &mut out).ok()?;
            Some(out.clone())
        };
        Ok(match column.data_type() {
            DataType::LargeUtf8 => {
                let mut texts = LargeStringBuilder::new();
                for text in column.as_string::<i64>() {
                    texts.append_option(text.and_then(&mut redact));
                }
                Arc::new(texts.finish()) as ArrayRef
            }
            _ => {
                let mut texts = StringBuilder::new();
                for text in column.as_string::<i32>() {
                    texts.append_option(text.and_then(&mut redact));
                }
                Arc::new(texts.finish())
            }
        })
    })
}

fn with_columns(
    columns: &[String],
    mut change: impl FnMut(&ArrayRef) -> Result<ArrayRef>,
) -> impl FnMut(RecordBatch) -> Result<RecordBatch> {
    move |batch| {
        let mut all = batch.columns().to_vec();
        for name in columns {
            let index = batch.schema().index_of(name)?;
            all[index] = change(&all[index])?;
        }
        Ok(RecordBatch::try_new(batch.schema(), all)?)
    }
}

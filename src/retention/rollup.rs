//! Sums: what `usage` has of a day is put in place anew whenever the calls of that day are other files than before.
//!
//! A day of which calls have expired is final. What came for it later is not summed up, as that would put the rest in the
//! place of the whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};

use super::{DAY, Kept, Planned, TierPlan, fingerprint, run, wrong};
use crate::catalog::{Tier, timestamp};
use crate::error::Result;
use crate::schema::Table;
use crate::store::{Grain, Partition, Period, Store, TableChange, TableSnapshot, WriteOptions};

/// The note that a day was summed up from certain files.
pub(super) fn note(tier: &Tier, day: &str) -> String {
    format!("rollup:{}:{}:{day}", tier.id, tier.version)
}

/// The note that rows of a day have gone.
pub(super) fn final_note(table: Table, day: &str) -> String {
    format!("expired:{}:{day}", table.name())
}

/// The names of the days that a period has a part of.
pub(super) fn days_of(period: &str) -> Vec<String> {
    let Some(period) = Period::parse(period) else {
        return Vec::new();
    };
    let first = period.start.div_euclid(DAY);
    let last = (period.end - 1).div_euclid(DAY);
    (first..=last)
        .map(|day| Grain::Day.name_at(day * DAY))
        .collect()
}

/// The files of a table that may have rows of each day.
pub(super) fn files_by_day(snapshot: &TableSnapshot) -> BTreeMap<String, Vec<usize>> {
    let mut files: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut known: HashMap<&str, Vec<String>> = HashMap::new();
    for (index, file) in snapshot.iter().enumerate() {
        for day in known
            .entry(file.period())
            .or_insert_with(|| days_of(file.period()))
        {
            files.entry(day.clone()).or_default().push(index);
        }
    }
    files
}

/// What stands for the files of a day.
pub(super) fn state_of(snapshot: &TableSnapshot, files: &[usize]) -> i64 {
    fingerprint(files.iter().map(|index| snapshot.file(*index).path()))
}

/// Makes days of the partitions that were chosen, without those whose sums are of the same files, or final.
pub(super) fn days(
    tier: &Tier,
    snapshot: &TableSnapshot,
    usage: &TableSnapshot,
    plan: &mut TierPlan<'_>,
) {
    let by_day = files_by_day(snapshot);
    let mut reasons: BTreeMap<String, String> = BTreeMap::new();
    for planned in std::mem::take(&mut plan.partitions) {
        for day in days_of(&planned.partition.period) {
            reasons.entry(day).or_insert_with(|| planned.reason.clone());
        }
    }
    for (day, reason) in reasons {
        let Some(files) = by_day.get(&day) else {
            continue;
        };
        if usage.transactions().get(&note(tier, &day)) == Some(&state_of(snapshot, files)) {
            continue;
        }
        let partition = Partition {
            period: day.clone(),
            ..Partition::default()
        };
        let entries = || files.iter().map(|index| snapshot.file(*index));
        let rows = entries().map(|file| file.rows()).sum();
        if snapshot
            .transactions()
            .contains_key(&final_note(tier.table, &day))
        {
            plan.kept.push(Kept {
                partition,
                rows,
                why: "rows of that day have expired: its sums are final".into(),
            });
            continue;
        }
        plan.partitions.push(Planned {
            partition,
            rows,
            bytes: entries().map(|file| file.size()).sum(),
            times: entries()
                .filter_map(|file| file.time_range())
                .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1))),
            files: entries().map(|file| file.path().to_owned()).collect(),
            reason,
        });
    }
}

/// What a rollup of some days changes.
pub(super) struct Sums {
    /// The change to `usage`; `None` when nothing is to be done.
    pub(super) change: Option<TableChange>,
    /// The notes to commit with it.
    pub(super) notes: Vec<(String, i64)>,
    /// Rows that it adds.
    pub(super) rows: u64,
}

/// Sums days up. The files that the sums are of are those that the store has now.
pub(super) async fn sum(store: &Store, tier: &Tier, query: &str, days: &[String]) -> Result<Sums> {
    // The same version for the query and for the note: whoever commits in between makes the note wrong, not the sums.
    let before = store.snapshot(tier.table)?;
    let by_day = files_by_day(&before);
    let context = crate::session::context(&crate::session::SessionOptions::default())?;
    store.register(&context)?;
    let mut writer = store.writer(WriteOptions::default())?;
    let mut notes = Vec::new();
    let mut rows = 0;
    for day in days {
        let Some(period) = Period::parse(day) else {
            continue;
        };
        let values = [
            ("$period_start", timestamp(period.start)),
            ("$period_end", timestamp(period.end)),
        ];
        for batch in run(&context, query, &values).await? {
            rows += batch.num_rows() as u64;
            writer.write(Table::Usage, fitted(tier, &batch)?)?;
        }
        let files = by_day.get(day).map_or(&[][..], Vec::as_slice);
        notes.push((note(tier, day), state_of(&before, files)));
    }
    let usage = store.snapshot(Table::Usage)?;
    let removed: Vec<String> = usage
        .iter()
        .filter(|file| days.iter().any(|day| day == file.period()))
        .map(|file| file.path().to_owned())
        .collect();
    let mut change = writer.stage_one(Table::Usage)?;
    change.removed = removed;
    let is_empty = change.added.is_empty() && change.removed.is_empty() && notes.is_empty();
    Ok(Sums {
        change: (!is_empty).then_some(change),
        notes,
        rows,
    })
}

/// The rows of a rollup with the columns of `usage`, by name.
fn fitted(tier: &Tier, batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = Table::Usage.schema();
    let known = batch.schema();
    if let Some(field) = known
        .fields()
        .iter()
        .find(|field| schema.field_with_name(field.name()).is_err())
    {
        return Err(wrong(
            tier,
            &format!("`usage` has no column `{}`", field.name()),
        ));
    }
    let columns = schema.fields().iter().map(|field| -> Result<ArrayRef> {
        match batch.column_by_name(field.name()) {
            Some(column) => Ok(arrow::compute::cast(column, field.data_type())?),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|error| wrong(tier, &error))
}

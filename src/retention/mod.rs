//! Retention: what goes, is summed up or made less as it ages, and what must stay.
//!
//! [`plan`] asks each tier's query for partitions, and takes from what it says whatever is too young or under a legal
//! hold. [`apply`] does exactly what a plan says, or refuses.

mod apply;
mod held;
mod rollup;
mod test;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::SessionContext;

use crate::catalog::{Span, Tier, TierAction, replace_placeholders, timestamp, typed};
use crate::detect::time_text;
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::session::{self, SessionOptions};
use crate::store::{Partition, Period, Store, TableSnapshot};

pub use apply::{Applied, apply};
pub use test::{CaseResult, test};

const DAY: i64 = 86_400_000_000;

/// A partition that a tier does something to. Of a rollup, a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Which.
    pub partition: Partition,
    /// Its files.
    pub files: Vec<String>,
    /// Their rows.
    pub rows: i64,
    /// Their bytes.
    pub bytes: i64,
    /// First and last time of its rows, microseconds since the epoch.
    pub times: Option<(i64, i64)>,
    /// Why, as the query says or else the tier's title.
    pub reason: String,
}

/// A partition that a tier's query gave, and that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub partition: Partition,
    /// Its rows.
    pub rows: i64,
    /// Why.
    pub why: String,
}

/// What one tier does.
#[derive(Debug, Clone)]
pub struct TierPlan<'a> {
    /// The tier.
    pub tier: &'a Tier,
    /// What it is for.
    pub partitions: Vec<Planned>,
    /// What its query gave besides.
    pub kept: Vec<Kept>,
}

/// What all tiers do.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// The time it was made for.
    pub at: i64,
    /// Versions of the tables.
    pub versions: BTreeMap<Table, Option<u64>>,
    /// Tier by tier, in the order in which they are applied.
    pub tiers: Vec<TierPlan<'a>>,
}

/// Plans what tiers do at some time.
///
/// # Errors
/// When the store cannot be read, or a query does not run.
pub async fn plan<'a>(store: &Store, tiers: &'a [Tier], at: i64) -> Result<Plan<'a>> {
    let context = session::context(&SessionOptions::default())?;
    store.register(&context)?;
    let held = held::Held::read(store, &context).await?;
    let mut order: Vec<&Tier> = tiers.iter().collect();
    order.sort_by_key(|tier| (tier.action.order(), &tier.id));
    let mut snapshots = BTreeMap::new();
    for table in Table::ALL {
        snapshots.insert(table, store.snapshot(table)?);
    }
    let mut plans = Vec::new();
    // What goes is not made less first; what one tier removes, another has nothing to do with.
    let mut going: BTreeSet<(Table, Partition)> = BTreeSet::new();
    for tier in order {
        let snapshot = &snapshots[&tier.table];
        let chosen = choose(&context, tier, at).await?;
        let mut planned = planned(tier, snapshot, &chosen, &held, at);
        match &tier.action {
            TierAction::Rollup { .. } => {
                let usage = &snapshots[&Table::Usage];
                rollup::days(tier, snapshot, usage, &mut planned);
            }
            TierAction::Redact(_) | TierAction::DropColumns(_) => {
                planned
                    .partitions
                    .retain(|it| !going.contains(&(tier.table, it.partition.clone())));
                apply::retain_undone(tier, snapshot, &mut planned.partitions);
            }
            TierAction::Compact(grain) => planned.partitions.retain(|it| {
                !going.contains(&(tier.table, it.partition.clone()))
                    && Period::parse(&it.partition.period).is_some_and(|it| it.grain < *grain)
            }),
            TierAction::Expire => {
                planned
                    .partitions
                    .retain(|it| going.insert((tier.table, it.partition.clone())));
            }
        }
        plans.push(planned);
    }
    Ok(Plan {
        at,
        versions: snapshots
            .iter()
            .map(|(table, snapshot)| (*table, snapshot.version()))
            .collect(),
        tiers: plans,
    })
}

/// The time by the clock, unless the store was last written to so long before that the clock may have jumped.
///
/// # Errors
/// When it may; when the store cannot be read.
pub fn believed(store: &Store, now: i64) -> Result<i64> {
    const IDLE: i64 = 30 * DAY;
    let mut newest = None;
    for table in Table::ALL {
        let snapshot = store.snapshot(table)?;
        newest = newest.max(snapshot.iter().map(|file| file.modified()).max());
    }
    let newest = newest.map(|millis| millis.saturating_mul(1000));
    match newest {
        Some(newest) if now - newest > IDLE => Err(Error::Usage {
            message: format!(
                "the clock says {}, and nothing was written to the store since {}: is the clock right?",
                time_text(now),
                time_text(newest)
            ),
            hint: Some(format!("`--at {}` says that it is", time_text(now))),
        }),
        _ => Ok(now),
    }
}

/// A row of what a tier's query gives.
struct Chosen {
    period: String,
    /// Caller and model, where the query says them.
    pair: Option<(Option<String>, Option<String>)>,
    reason: Option<String>,
}

/// Runs a tier's query.
async fn choose(context: &SessionContext, tier: &Tier, at: i64) -> Result<Vec<Chosen>> {
    let values = [("$now", timestamp(at))];
    let batches = run(context, &tier.select, &values)
        .await
        .map_err(|error| wrong(tier, &error))?;
    let mut chosen = Vec::new();
    for batch in &batches {
        let text = |name: &str| texts(batch, name);
        let Some(periods) = text("period") else {
            return Err(wrong(tier, &"it gives no column `period`"));
        };
        let (callers, models, reasons) = (text("caller"), text("model"), text("reason"));
        let tables = text("table");
        for row in 0..batch.num_rows() {
            let Some(period) = periods[row].clone() else {
                return Err(wrong(tier, &"it gives a null for a period"));
            };
            if let Some(Some(table)) = tables.as_ref().map(|tables| &tables[row])
                && table != tier.table.name()
            {
                return Err(wrong(
                    tier,
                    &format!(
                        "it gives a partition of `{table}`, and is for `{}`",
                        tier.table.name()
                    ),
                ));
            }
            let value = |column: &Option<Vec<Option<String>>>| {
                column.as_ref().and_then(|column| column[row].clone())
            };
            chosen.push(Chosen {
                period,
                pair: (callers.is_some() && models.is_some())
                    .then(|| (value(&callers), value(&models))),
                reason: value(&reasons),
            });
        }
    }
    Ok(chosen)
}

fn wrong(tier: &Tier, what: &dyn std::fmt::Display) -> Error {
    Error::Catalog {
        path: tier.path.clone(),
        line: None,
        message: format!("the query of tier `{}`: {what}", tier.id),
        hint: None,
    }
}

/// Runs a query with values for its placeholders, which are all times.
async fn run(
    context: &SessionContext,
    sql: &str,
    values: &[(&str, ScalarValue)],
) -> Result<Vec<RecordBatch>> {
    let plan = typed(context.state().create_logical_plan(sql).await?)?;
    let bound = replace_placeholders(plan, |placeholder| -> Option<Expr> {
        let (_, value) = values.iter().find(|(name, _)| *name == placeholder.id)?;
        Some(lit(value.clone()))
    })?;
    Ok(context.execute_logical_plan(bound).await?.collect().await?)
}

/// A column of text.
fn texts(batch: &RecordBatch, name: &str) -> Option<Vec<Option<String>>> {
    let column = batch.column_by_name(name)?;
    let column = arrow::compute::cast(column, &DataType::Utf8).ok()?;
    let column = column.as_string::<i32>();
    Some(
        (0..column.len())
            .map(|row| column.is_valid(row).then(|| column.value(row).to_owned()))
            .collect(),
    )
}

/// The partitions of the table that the query gave, without those that are too young or held.
fn planned<'a>(
    tier: &'a Tier,
    snapshot: &TableSnapshot,
    chosen: &[Chosen],
    held: &held::Held,
    at: i64,
) -> TierPlan<'a> {
    let mut partitions: BTreeMap<Partition, Planned> = BTreeMap::new();
    for file in snapshot.iter() {
        let partition = file.partition();
        let planned = partitions
            .entry(partition.clone())
            .or_insert_with(|| Planned {
                partition,
                files: Vec::new(),
                rows: 0,
                bytes: 0,
                times: None,
                reason: String::new(),
            });
        planned.files.push(file.path().to_owned());
        planned.rows += file.rows();
        planned.bytes += file.size();
        planned.times = match (planned.times, file.time_range()) {
            (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
            (one, other) => one.or(other),
        };
    }
    let mut plan = TierPlan {
        tier,
        partitions: Vec::new(),
        kept: Vec::new(),
    };
    for (partition, mut planned) in partitions {
        let Some(row) = chosen.iter().find(|chosen| {
            chosen.period == partition.period
                && chosen
                    .pair
                    .as_ref()
                    .is_none_or(|pair| *pair == (partition.caller.clone(), partition.model.clone()))
        }) else {
            continue;
        };
        // Neither a rollup nor a longer period takes anything from a row.
        let harmless = matches!(
            tier.action,
            TierAction::Rollup { .. } | TierAction::Compact(_)
        );
        let why = match too_young(&planned, tier.minimum_age, at) {
            true => Some(format!(
                "it has rows that are younger than {}",
                tier.minimum_age
            )),
            false if harmless => None,
            false => held
                .by(tier.table, &planned)
                .map(|hold| format!("legal hold `{hold}`")),
        };
        if let Some(why) = why {
            plan.kept.push(Kept {
                partition,
                rows: planned.rows,
                why,
            });
            continue;
        }
        planned.reason = row.reason.clone().unwrap_or_else(|| tier.title.clone());
        plan.partitions.push(planned);
    }
    plan
}

/// Whether a partition may have a row of less than an age. Half-open: a row of exactly that age is old enough, and the
/// last instant of a period lies before its end.
fn too_young(planned: &Planned, age: Span, at: i64) -> bool {
    let end = end_of(planned);
    end.is_none_or(|end| at.saturating_sub(end) < age.0)
}

/// The first instant after every row.
fn end_of(planned: &Planned) -> Option<i64> {
    let period = Period::parse(&planned.partition.period);
    match (period, planned.times) {
        // Another program may have put rows where they do not belong. Bounds are rounded to milliseconds.
        (Some(period), Some((_, last))) if last >= period.end + 1_000 => Some(last + 1),
        (Some(period), _) => Some(period.end),
        (None, Some((_, last))) => Some(last.saturating_add(1)),
        (None, None) => None,
    }
}

/// What stands for a set of files: another as soon as one comes, goes or is written anew.
fn fingerprint<'p>(paths: impl IntoIterator<Item = &'p str>) -> i64 {
    let mut paths: Vec<&str> = paths.into_iter().collect();
    paths.sort_unstable();
    let mut hash = blake3::Hasher::new();
    for path in paths {
        hash.update(path.as_bytes());
        hash.update(&[0]);
    }
    let bytes = hash.finalize();
    let first: [u8; 8] = bytes.as_bytes()[..8].try_into().expect("eight of them");
    i64::from_le_bytes(first) & i64::MAX
}

//! Tests of tiers: partitions of given periods, and which of them something is done to.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::datasource::MemTable;

use super::{Planned, choose, too_young, wrong};
use crate::catalog::{Tier, TierCase};
use crate::error::Result;
use crate::session::{self, SessionOptions};
use crate::store::{Partition, Period, Store, partitions_schema};

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// The tier.
    pub tier: String,
    /// The test.
    pub name: String,
    /// The periods that came out where others were expected; `None` when all is well.
    pub found: Option<Vec<String>>,
    /// The periods that were expected.
    pub expected: Vec<String>,
}

/// Runs the tests of a tier.
///
/// # Errors
/// When its query does not run.
pub async fn test(tier: &Tier) -> Result<Vec<CaseResult>> {
    let mut results = Vec::new();
    for case in &tier.cases {
        let found = chosen(tier, case).await?;
        let mut expected = case.expect.clone();
        expected.sort();
        results.push(CaseResult {
            tier: tier.id.clone(),
            name: case.name.clone(),
            found: (found != expected).then_some(found),
            expected,
        });
    }
    Ok(results)
}

/// The periods that are old enough, of those that the query gives.
async fn chosen(tier: &Tier, case: &TierCase) -> Result<Vec<String>> {
    let folder = tempfile::tempdir().map_err(crate::Error::io("create", "a temporary folder"))?;
    let store = Store::open_or_create(&folder.path().join("store"))?;
    let context = session::context(&SessionOptions::default())?;
    store.register(&context)?;
    context.deregister_table("partitions")?;
    let table = MemTable::try_new(partitions_schema(), vec![vec![partitions(tier, case)?]])?;
    context.register_table("partitions", Arc::new(table))?;
    let mut found: Vec<String> = choose(&context, tier, case.now)
        .await?
        .into_iter()
        .map(|chosen| chosen.period)
        .filter(|period| {
            let planned = Planned {
                partition: Partition {
                    period: period.clone(),
                    ..Partition::default()
                },
                files: Vec::new(),
                rows: 0,
                bytes: 0,
                times: None,
                reason: String::new(),
            };
            !too_young(&planned, tier.minimum_age, case.now)
        })
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

fn partitions(tier: &Tier, case: &TierCase) -> Result<RecordBatch> {
    let mut periods = Vec::new();
    for name in &case.periods {
        match Period::parse(name) {
            Some(period) => periods.push(period),
            None => {
                return Err(wrong(
                    tier,
                    &format!("test `{}`: `{name}` is no period", case.name),
                ));
            }
        }
    }
    let count = periods.len();
    let number = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value; count])) };
    let text =
        |value: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![value; count])) };
    let time = |of: fn(&Period) -> i64| -> ArrayRef {
        let times = TimestampMicrosecondArray::from_iter_values(periods.iter().map(of));
        Arc::new(times.with_timezone("UTC"))
    };
    let columns = vec![
        text(Some(tier.table.name())),
        text(None),
        text(None),
        Arc::new(StringArray::from_iter_values(&case.periods)),
        number(1),
        number(1_000),
        number(case.megabytes.saturating_mul(1_000_000)),
        time(|period| period.start),
        time(|period| period.end - 1),
        time(|period| period.start),
        time(|period| period.end),
    ];
    Ok(RecordBatch::try_new(partitions_schema(), columns)?)
}

//! Which partitions have rows under a legal hold, as far as can be told without reading them: when in doubt, they have.

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::prelude::{SessionContext, col, lit};

use super::{Planned, end_of};
use crate::error::Result;
use crate::schema::Table;
use crate::store::{Hold, Period, Store};

/// The holds in force. Those on end users are holds on the callers through whom these have called.
pub(super) struct Held(Vec<Hold>);

impl Held {
    pub(super) async fn read(store: &Store, context: &SessionContext) -> Result<Held> {
        let mut all = Vec::new();
        for hold in store.holds()?.into_iter().filter(Hold::is_active) {
            let Some(end_user) = hold.end_user.clone() else {
                all.push(hold);
                continue;
            };
            let calls = context.table("calls").await?;
            let theirs = calls
                .filter(col("end_user_id").eq(lit(end_user)))?
                .aggregate(
                    vec![col("caller")],
                    vec![
                        datafusion::functions_aggregate::expr_fn::min(col("event_time")),
                        datafusion::functions_aggregate::expr_fn::max(col("event_time")),
                    ],
                )?
                .collect()
                .await?;
            for batch in theirs {
                let callers =
                    arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
                let callers = callers.as_string::<i32>();
                let first = batch.column(1).as_primitive::<TimestampMicrosecondType>();
                let last = batch.column(2).as_primitive::<TimestampMicrosecondType>();
                for row in 0..batch.num_rows() {
                    let (from, until) = (first.value(row), last.value(row) + 1);
                    all.push(Hold {
                        caller: callers.is_valid(row).then(|| callers.value(row).to_owned()),
                        end_user: None,
                        from: Some(hold.from.map_or(from, |limit| limit.max(from))),
                        until: Some(hold.until.map_or(until, |limit| limit.min(until))),
                        ..hold.clone()
                    });
                }
            }
        }
        Ok(Held(all))
    }

    /// The hold that a partition may have rows under.
    pub(super) fn by(&self, table: Table, planned: &Planned) -> Option<&str> {
        let start = match (Period::parse(&planned.partition.period), planned.times) {
            (Some(period), Some((first, _))) => period.start.min(first),
            (Some(period), None) => period.start,
            (None, times) => times.map_or(i64::MIN, |(first, _)| first),
        };
        let end = end_of(planned).unwrap_or(i64::MAX);
        let hold = self.0.iter().find(|hold| {
            hold.covers_table(table)
                && hold.covers_time(start, end)
                && hold.may_cover(&planned.partition)
        });
        hold.map(|hold| hold.id.as_str())
    }
}

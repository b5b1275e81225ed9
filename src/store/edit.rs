//! Rows changed or taken out of the files of a period, for retention and erasure.

use std::sync::atomic::AtomicU64;

use arrow::array::RecordBatch;

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::commit::TableChange;
use crate::store::layout::Period;
use crate::store::log::Operation;
use crate::store::period::pair_of;
use crate::store::rewrite::Rewrite;
use crate::store::{Store, WriteOptions};

impl Store {
    /// Writes the rows of some files of one period anew, as `edit` leaves them, and says what to commit. Every pair that
    /// has a partition keeps it.
    pub(crate) fn edit(
        &self,
        table: Table,
        period: &str,
        files: &[String],
        options: &WriteOptions,
        progress: &AtomicU64,
        edit: &mut dyn FnMut(RecordBatch) -> Result<RecordBatch>,
    ) -> Result<TableChange> {
        let Some(Period { grain, .. }) = Period::parse(period) else {
            return Err(Error::Store {
                message: format!(
                    "table `{}`: files of `{period}` have times beyond the calendar, and cannot be written anew",
                    table.name()
                ),
                hint: None,
            });
        };
        let snapshot = self.snapshot(table)?;
        let known = snapshot
            .iter()
            .filter(|file| file.period() == period)
            .filter_map(|file| pair_of(&file.partition()))
            .collect();
        let rewritten = Rewrite {
            store: self,
            table,
            grain,
            period,
            files,
            known: &known,
            unique: false,
            options,
            progress,
        }
        .run(edit)?;
        Ok(TableChange {
            table,
            added: rewritten.added,
            removed: files.to_vec(),
            operation: Operation::Update,
        })
    }
}

//! What rows are, in few bytes: sums that two sets of rows have in common only when they are the same, in whatever
//! order, and the rows that say the same as another.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, partition};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};

use crate::error::Result;
use crate::schema::Table;

/// How many rows, and the sum of their hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// Rows.
    pub(super) rows: u64,
    hash: u128,
}

impl Sum {
    /// Adds every row of a batch, with all its columns.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        let low = hashes(batch.columns(), 1)?;
        let high = hashes(batch.columns(), 2)?;
        for (low, high) in low.into_iter().zip(high) {
            let hash = u128::from(high) << 64 | u128::from(low);
            self.hash = self.hash.wrapping_add(hash);
        }
        Ok(())
    }

    /// What is left when rows that are part of these are taken away.
    pub(super) fn without(self, part: Sum) -> Sum {
        Sum {
            rows: self.rows.wrapping_sub(part.rows),
            hash: self.hash.wrapping_sub(part.hash),
        }
    }
}

/// One hash for each row, the same in every process. A null in one column is another thing than one in the next.
fn hashes(columns: &[ArrayRef], seed: u64) -> Result<Vec<u64>> {
    let rows = columns.first().map_or(0, |column| column.len());
    let state = QualityRandomState::with_seed(seed);
    let mut all = vec![seed; rows];
    let mut own = vec![0; rows];
    for column in columns {
        own.fill(0);
        // Most columns of a log are empty.
        if column.null_count() < rows {
            create_hashes([column], &state, &mut own)?;
        }
        for (all, own) in all.iter_mut().zip(&own) {
            *all = (all.rotate_left(23) ^ own).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }
    Ok(all)
}

/// As many rows of one caller, model and instant are compared with one another; beyond, all are kept.
const GROUP_ROWS: usize = 1 << 20;

/// Drops what was logged twice: rows that differ from an earlier one in nothing but the place they were read from.
///
/// Rows come sorted, so that those of one caller, model and instant are neighbours, and no more of them than these need
/// to be remembered. Rows that were read from one place, as the findings of one call, are never taken for one another.
pub(super) struct Duplicates {
    /// Caller, model and time.
    group: Vec<usize>,
    /// Where a row was read.
    place: Vec<usize>,
    /// What else it says.
    content: Vec<usize>,
    id: usize,
    keys: RowConverter,
    last: Option<OwnedRow>,
    /// The place of the first row of each content.
    seen: HashMap<(u64, u64), u64>,
    /// The rows that were dropped.
    pub(super) dropped: Sum,
}

impl Duplicates {
    /// `None` for a table whose rows are not events.
    pub(super) fn of(table: Table) -> Result<Option<Duplicates>> {
        let schema = table.schema();
        let Ok(id) = schema.index_of("event_id") else {
            return Ok(None);
        };
        let columns = |names: &[&str]| -> Vec<usize> {
            let known = names.iter().filter_map(|name| schema.index_of(name).ok());
            known.collect()
        };
        let group = columns(&["caller", "model", table.time_column()]);
        let place = columns(&["source_file", "source_offset"]);
        let fields = group
            .iter()
            .map(|column| SortField::new(schema.field(*column).data_type().clone()));
        Ok(Some(Duplicates {
            keys: RowConverter::new(fields.collect())?,
            content: (0..schema.fields().len())
                .filter(|column| !place.contains(column))
                .collect(),
            group,
            place,
            id,
            last: None,
            seen: HashMap::new(),
            dropped: Sum::default(),
        }))
    }

    /// The rows that are left of the next batch.
    pub(super) fn drop_from(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let columns = |of: &[usize]| -> Vec<ArrayRef> {
            of.iter()
                .map(|column| Arc::clone(batch.column(*column)))
                .collect()
        };
        let group = columns(&self.group);
        let contents = hashes(&columns(&self.content), 3)?;
        let ids = hashes(&columns(&[self.id]), 4)?;
        let places = hashes(&columns(&self.place), 5)?;
        let mut keep = vec![true; batch.num_rows()];
        for range in partition(&group)?.ranges() {
            let first: Vec<ArrayRef> = group
                .iter()
                .map(|column| column.slice(range.start, 1))
                .collect();
            let key = self.keys.convert_columns(&first)?.row(0).owned();
            if self.last.as_ref() != Some(&key) {
                self.seen.clear();
                self.last = Some(key);
            }
            for row in range {
                if self.seen.len() >= GROUP_ROWS {
                    break;
                }
                let place = *self
                    .seen
                    .entry((contents[row], ids[row]))
                    .or_insert(places[row]);
                keep[row] = place == places[row];
            }
        }
        if !keep.contains(&false) {
            return Ok(batch);
        }
        let keep = BooleanArray::from(keep);
        self.dropped
            .add(&filter_record_batch(&batch, &arrow::compute::not(&keep)?)?)?;
        Ok(filter_record_batch(&batch, &keep)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Call, CallBuilder, Micros};

    fn rows(of: &[(&str, &str, i64, i64)]) -> RecordBatch {
        let mut builder = CallBuilder::default();
        for (id, file, offset, tokens) in of {
            builder.append(&Call {
                event_time: Micros(7),
                event_id: id,
                caller: Some("a"),
                source_file: Some(file),
                source_offset: Some(*offset),
                input_tokens: Some(*tokens),
                ..Call::default()
            });
        }
        builder.finish()
    }

    fn sum(batch: &RecordBatch) -> Sum {
        let mut sum = Sum::default();
        sum.add(batch).expect("rows can be hashed");
        sum
    }

    #[test]
    fn a_sum_knows_rows_and_not_their_order() {
        let (one, two) = (("1", "f", 1, 1), ("2", "f", 2, 2));
        assert_eq!(sum(&rows(&[one, two])), sum(&rows(&[two, one])));
        assert_eq!(
            sum(&rows(&[one, two])).without(sum(&rows(&[two]))),
            sum(&rows(&[one]))
        );
        // As many rows, as many of each cell, and yet others.
        let swapped = [("1", "f", 1, 2), ("2", "f", 2, 1)];
        assert_ne!(sum(&rows(&[one, two])), sum(&rows(&swapped)));
        assert_ne!(sum(&rows(&[one, one])), sum(&rows(&[two, two])));
    }

    #[test]
    fn a_null_in_another_column_is_another_row() {
        let row = |uncached, cached| {
            let mut builder = CallBuilder::default();
            builder.append(&Call {
                input_tokens_uncached: uncached,
                cache_read_input_tokens: cached,
                ..Call::default()
            });
            sum(&builder.finish())
        };
        assert_ne!(row(Some(5), None), row(None, Some(5)));
    }

    #[test]
    fn only_what_was_read_elsewhere_and_says_the_same_is_dropped() {
        let mut duplicates = Duplicates::of(Table::Calls)
            .expect("it is made")
            .expect("events");
        let first = rows(&[
            ("1", "f", 1, 1),
            // The same event in another file; once more; with another count of tokens; and another event.
            ("1", "g", 9, 1),
            ("1", "g", 9, 1),
            ("1", "g", 10, 2),
            ("2", "g", 11, 1),
        ]);
        let kept = duplicates.drop_from(first).expect("kept");
        assert_eq!(kept.num_rows(), 3);
        // The group goes on in the next batch.
        let kept = duplicates
            .drop_from(rows(&[("1", "h", 1, 1), ("2", "g", 11, 1)]))
            .expect("kept");
        assert_eq!(kept, rows(&[("2", "g", 11, 1)]));
        assert_eq!(
            duplicates.dropped,
            sum(&rows(&[
                ("1", "g", 9, 1),
                ("1", "g", 9, 1),
                ("1", "h", 1, 1)
            ]))
        );
        assert!(
            Duplicates::of(Table::Findings)
                .expect("it is made")
                .is_none()
        );
    }
}

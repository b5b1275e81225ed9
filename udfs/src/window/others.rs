//! Compares each row with the *others* in its frame, in one pass over the partition.
//!
//! DataFusion hands a window function the frame of each row, but not the row. It asks in order, though, once a row, and
//! with the whole partition at hand unless the function claims to run in bounded memory. So these functions count the
//! calls, make no such claim, and hold one partition in memory.
//!
//! The others of row `i` in the frame `start..end` are `start..min(i, end)` before it and `max(i + 1, start)..end`
//! after it. As the row moves on, both ends of both ranges only move forward, so a structure that takes values in at one
//! end and gives them up at the other serves every frame: ROWS, RANGE and GROUPS, with or without the row itself.

use std::fmt::Debug;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion_common::types::{NativeType, logical_float64};
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::function::WindowUDFFieldArgs;
use datafusion_expr::{Coercion, PartitionEvaluator, Signature, TypeSignatureClass, Volatility};
use std::sync::Arc;

/// Values of two ranges of a partition, each of which only moves forward, and a score against them.
pub(super) trait Others: Debug + Default + Send + 'static {
    /// Moves to the values of `ranges` in `values`. Neither start nor end of either range is ever less than it was.
    fn advance(&mut self, values: &Float64Array, ranges: &[Range<usize>; 2]);

    /// The score of `value` against the values at hand.
    fn score(&mut self, value: f64) -> Option<f64>;
}

/// Scores each row of a partition against the others in its frame.
#[derive(Debug, Default)]
pub(super) struct OthersEvaluator<O> {
    others: O,
    values: Option<Float64Array>,
    row: usize,
    last: Range<usize>,
}

impl<O: Others> PartitionEvaluator for OthersEvaluator<O> {
    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        let values = self
            .values
            .get_or_insert_with(|| values[0].as_primitive::<Float64Type>().clone());
        let (row, Range { start, end }) = (self.row, range.clone());
        if row >= values.len() || end > values.len() {
            return internal_err!(
                "row {row} and frame {range:?} lie outside a partition of {} rows",
                values.len()
            );
        }
        // A frame may be empty anywhere (its bounds cross or lie outside the partition): it must not move back.
        let end = end.max(start);
        if start < self.last.start || end < self.last.end {
            self.others = O::default();
        }
        self.last = start..end;
        self.row += 1;
        let before = start..end.min(row).max(start);
        let after = start.max(row + 1).min(end)..end;
        self.others.advance(values, &[before, after]);
        let score = if values.is_null(row) {
            None
        } else {
            self.others.score(values.value(row))
        };
        Ok(ScalarValue::Float64(score))
    }

    fn uses_window_frame(&self) -> bool {
        true
    }
}

/// One number of any kind, as a double.
pub(super) fn signature() -> Signature {
    let number = Coercion::new_implicit(
        TypeSignatureClass::Native(logical_float64()),
        vec![TypeSignatureClass::Numeric],
        NativeType::Float64,
    );
    Signature::coercible(vec![number], Volatility::Immutable)
}

/// A double that may be null.
pub(super) fn field(args: &WindowUDFFieldArgs) -> FieldRef {
    Arc::new(Field::new(args.name(), DataType::Float64, true))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frames as any SQL clause may give them: bounds that never move back, empty ones included.
    pub(crate) fn partitions() -> impl Strategy<Value = (Vec<Option<f64>>, Vec<Range<usize>>)> {
        // Many equal values, magnitudes that swamp naive sums, and nulls.
        let value = prop::option::weighted(
            0.9,
            prop::sample::select(vec![0.0, 1.0, 2.5, 1e9, 1e9 + 1.0, -3e-5, 7.0]),
        );
        prop::collection::vec((value, 0_usize..4, 0_usize..4), 0..80).prop_map(|rows| {
            let (mut start, mut end) = (0, 0);
            let frames = rows.iter().map(|&(_, start_step, end_step)| {
                start = (start + start_step / 2).min(rows.len());
                end = (end + end_step).min(rows.len());
                start..end.max(start)
            });
            let frames = frames.collect();
            (rows.iter().map(|row| row.0).collect(), frames)
        })
    }

    pub(crate) fn scores<O: Others>(
        values: &[Option<f64>],
        frames: &[Range<usize>],
    ) -> Vec<Option<f64>> {
        let array: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let mut evaluator = OthersEvaluator::<O>::default();
        let score = |frame| match evaluator.evaluate(&[Arc::clone(&array)], frame).unwrap() {
            ScalarValue::Float64(score) => score,
            other => panic!("{other:?} is no double"),
        };
        frames.iter().map(score).collect()
    }

    /// The non-null values of a row's frame without the row.
    pub(crate) fn others(values: &[Option<f64>], frame: &Range<usize>, row: usize) -> Vec<f64> {
        frame
            .clone()
            .filter(|&index| index != row)
            .filter_map(|index| values[index])
            .collect()
    }

    pub(crate) fn assert_close(actual: Option<f64>, expected: Option<f64>, row: usize) {
        match (actual, expected) {
            (None, None) => {}
            (Some(actual), Some(expected)) => assert!(
                (actual - expected).abs() <= 1e-9 * expected.abs().max(1.0),
                "row {row}: {actual} is not {expected}"
            ),
            _ => panic!("row {row}: {actual:?} is not {expected:?}"),
        }
    }
}

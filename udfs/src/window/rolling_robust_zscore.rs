//! `rolling_robust_zscore(x)`: the z-score that outliers among the neighbours do not blunt.

use std::ops::Range;

use arrow::array::{Array, Float64Array};
use arrow::datatypes::FieldRef;
use datafusion_common::Result;
use datafusion_doc::Documentation;
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{PartitionEvaluator, ReversedUDWF, Signature, WindowUDFImpl};
use datafusion_macros::user_doc;

use super::others::{self, Others, OthersEvaluator};
use super::sorted_values::SortedValues;

/// What makes the median absolute deviation of a normal distribution its standard deviation: 1 / Φ⁻¹(3/4), to the four
/// digits that the literature and R's `mad` use.
const NORMAL: f64 = 1.4826;

/// `rolling_robust_zscore(x)`: the z-score of a row by median and MAD of the other rows of its frame.
#[user_doc(
    doc_section(label = "Analytical Functions"),
    description = "Robust z-score of the current row against the other rows of its frame: (x - median) / (1.4826 * \
MAD), where MAD is the median of the absolute differences from the median, all without the current row. Up to half of \
the others may be outliers without much effect. Works with every frame, whether it holds the current row or not; nulls \
among the others are left out. Null if x is null, if there are fewer than two others, or if the MAD is zero (at least \
half of the others are equal). NaN if a NaN is among the others. A partition is held in memory.",
    syntax_example = "rolling_robust_zscore(x) OVER (...)",
    sql_example = r#"```sql
> SELECT hour, round(rolling_robust_zscore(calls) OVER (ORDER BY hour ROWS UNBOUNDED PRECEDING), 4) AS z
  FROM (VALUES (1, 8), (2, 10), (3, 12), (4, 900), (5, 20)) AS usage(hour, calls);
+------+----------+
| hour | z        |
+------+----------+
| 1    |          |
| 2    |          |
| 3    | 2.0235   |
| 4    | 300.1484 |
| 5    | 3.0352   |
+------+----------+
```"#,
    argument(name = "x", description = "The value to score; any number."),
    related_udf(name = "rolling_zscore")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RollingRobustZscore {
    signature: Signature,
}

impl Default for RollingRobustZscore {
    fn default() -> Self {
        Self {
            signature: others::signature(),
        }
    }
}

impl WindowUDFImpl for RollingRobustZscore {
    fn name(&self) -> &str {
        "rolling_robust_zscore"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(OthersEvaluator::<OrderOfOthers>::default()))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(others::field(&args))
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::Identical
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }
}

#[derive(Debug, Default)]
struct OrderOfOthers {
    ranges: [Range<usize>; 2],
    sorted: SortedValues,
    /// NaNs have no place in an order and are only counted.
    nans: usize,
}

impl OrderOfOthers {
    fn take_in(&mut self, values: &Float64Array, range: Range<usize>) {
        for index in range.filter(|&index| values.is_valid(index)) {
            match values.value(index) {
                value if value.is_nan() => self.nans += 1,
                value => self.sorted.insert(value),
            }
        }
    }

    fn give_up(&mut self, values: &Float64Array, range: Range<usize>) {
        for index in range.filter(|&index| values.is_valid(index)) {
            match values.value(index) {
                value if value.is_nan() => self.nans -= 1,
                value => self.sorted.remove(value),
            }
        }
    }
}

impl Others for OrderOfOthers {
    fn advance(&mut self, values: &Float64Array, ranges: &[Range<usize>; 2]) {
        for (index, new) in ranges.iter().enumerate() {
            let old = std::mem::replace(&mut self.ranges[index], new.clone());
            self.give_up(values, old.start..new.start.min(old.end));
            self.take_in(values, new.start.max(old.end)..new.end);
        }
    }

    fn score(&mut self, value: f64) -> Option<f64> {
        if self.sorted.len() + self.nans < 2 {
            return None;
        }
        if self.nans > 0 {
            return Some(f64::NAN);
        }
        let median = self.sorted.median();
        let deviation = self.sorted.median_deviation(median);
        (deviation != 0.0).then(|| (value - median) / (NORMAL * deviation))
    }
}

#[cfg(test)]
mod tests {
    use super::super::others::tests::{assert_close, others, partitions, scores};
    use super::*;
    use proptest::prelude::*;

    fn median(values: &mut [f64]) -> f64 {
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        }
    }

    fn naive(value: f64, mut others: Vec<f64>) -> Option<f64> {
        if others.len() < 2 {
            return None;
        }
        let center = median(&mut others);
        let deviation = median(
            &mut others
                .iter()
                .map(|other| (other - center).abs())
                .collect::<Vec<_>>(),
        );
        (deviation != 0.0).then(|| (value - center) / (1.4826 * deviation))
    }

    proptest! {
        #[test]
        fn any_frame_agrees_with_the_definition((values, frames) in partitions()) {
            let actual = scores::<OrderOfOthers>(&values, &frames);
            for (row, frame) in frames.iter().enumerate() {
                let expected = values[row].and_then(|value| naive(value, others(&values, frame, row)));
                assert_close(actual[row], expected, row);
            }
        }
    }

    #[test]
    fn nan_is_noticed_and_forgotten() {
        let values = [1.0, f64::NAN, 2.0, 4.0, 8.0].map(Some);
        let frames: Vec<_> = (0..5_usize)
            .map(|row| row.saturating_sub(2)..row + 1)
            .collect();
        let actual = scores::<OrderOfOthers>(&values, &frames);
        assert_eq!(actual[0], None);
        assert!(actual[2].is_some_and(f64::is_nan));
        // others 2 and 4: median 3, deviation 1
        assert_close(actual[4], Some(5.0 / 1.4826), 4);
    }
}

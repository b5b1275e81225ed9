//! `rolling_zscore(x)`: how unusual is a value among its neighbours?

use std::ops::Range;

use arrow::array::{Array, Float64Array};
use arrow::datatypes::FieldRef;
use datafusion_common::Result;
use datafusion_doc::Documentation;
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{PartitionEvaluator, ReversedUDWF, Signature, WindowUDFImpl};
use datafusion_macros::user_doc;

use super::others::{self, Others, OthersEvaluator};

/// `rolling_zscore(x)`: the z-score of a row against the other rows of its frame.
#[user_doc(
    doc_section(label = "Analytical Functions"),
    description = "Z-score of the current row against the other rows of its frame: (x - mean) / sample standard \
deviation, both without the current row, so that an outlier cannot hide by raising the deviation it is measured \
with. Works with every frame, whether it holds the current row or not; nulls among the others are left out. Null if x \
is null, if there are fewer than two others, or if the others are all equal. Stable whatever the magnitude of the \
values: nothing is ever subtracted from a running sum. A partition is held in memory.",
    syntax_example = "rolling_zscore(x) OVER (...)",
    sql_example = r#"```sql
> SELECT hour, rolling_zscore(calls) OVER (ORDER BY hour ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) AS z
  FROM (VALUES (1, 8), (2, 10), (3, 12), (4, 18)) AS usage(hour, calls);
+------+--------------------+
| hour | z                  |
+------+--------------------+
| 1    |                    |
| 2    |                    |
| 3    | 2.1213203435596424 |
| 4    | 4.0                |
+------+--------------------+
```"#,
    argument(name = "x", description = "The value to score; any number."),
    related_udf(name = "rolling_robust_zscore")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RollingZscore {
    signature: Signature,
}

impl Default for RollingZscore {
    fn default() -> Self {
        Self {
            signature: others::signature(),
        }
    }
}

impl WindowUDFImpl for RollingZscore {
    fn name(&self) -> &str {
        "rolling_zscore"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(OthersEvaluator::<MomentsOfOthers>::default()))
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
struct MomentsOfOthers {
    before: SlidingMoments,
    after: SlidingMoments,
}

impl Others for MomentsOfOthers {
    fn advance(&mut self, values: &Float64Array, [before, after]: &[Range<usize>; 2]) {
        self.before.advance(values, before);
        self.after.advance(values, after);
    }

    fn score(&mut self, value: f64) -> Option<f64> {
        let others = self.before.moments().merged(&self.after.moments());
        // NaN among the others makes the deviation NaN and the score with it, as in any other aggregate.
        (others.count >= 2.0 && others.squares != 0.0)
            .then(|| others.difference(value) / (others.squares / (others.count - 1.0)).sqrt())
    }
}

/// Count, mean, and the sum of squared differences from the mean.
///
/// The mean is a sum of two doubles. With one, a mean of 1e9 is rounded by 1e-7, and values that differ by ones, as
/// counters and clocks do, would keep half of their digits.
#[derive(Debug, Default, Clone, Copy)]
struct Moments {
    count: f64,
    mean: f64,
    mean_rest: f64,
    squares: f64,
}

impl Moments {
    /// Adds one value. B. P. Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products" (1962).
    #[inline]
    fn push(&mut self, value: f64) {
        self.count += 1.0;
        let difference = self.difference(value);
        self.move_mean(difference / self.count);
        self.squares += difference * self.difference(value);
    }

    /// The moments of two samples together. T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating Formulae and a Pairwise
    /// Algorithm for Computing Sample Variances" (1979).
    #[inline]
    fn merged(&self, other: &Self) -> Self {
        if self.count == 0.0 {
            return *other;
        }
        if other.count == 0.0 {
            return *self;
        }
        let count = self.count + other.count;
        let difference = self.difference(other.mean) + other.mean_rest;
        let share = other.count / count;
        let squares = self.squares + other.squares + difference * difference * self.count * share;
        let mut merged = Self {
            count,
            squares,
            ..*self
        };
        merged.move_mean(difference * share);
        merged
    }

    /// `value` − mean.
    #[inline]
    fn difference(&self, value: f64) -> f64 {
        (value - self.mean) - self.mean_rest
    }

    /// Adds to the mean and keeps what rounding would drop: O. Møller, "Quasi Double-Precision in Floating Point
    /// Addition" (1965), known as TwoSum.
    #[inline]
    fn move_mean(&mut self, step: f64) {
        let step = step + self.mean_rest;
        let sum = self.mean + step;
        let taken = sum - self.mean;
        self.mean_rest = (self.mean - (sum - taken)) + (step - taken);
        self.mean = sum;
    }
}

/// The moments of a range that moves forward, without ever taking a value out of a sum.
///
/// The range is cut in two. To the right of the cut, values are added as they come; to the left, the moments of every
/// suffix up to the cut are kept, so giving up a value is a look-up. When the left part is used up, the cut moves to
/// the end of the range. A value is added twice in its life, whatever the length of the frame. (The "two stacks" of
/// K. Tangwongsan, M. Hirzel, S. Schneider, "Low-Latency Sliding-Window Aggregation in Worst-Case Constant Time", 2017.)
#[derive(Debug, Default)]
struct SlidingMoments {
    range: Range<usize>,
    cut: usize,
    /// Item k: the moments of the k + 1 values to the left of the cut.
    suffixes: Vec<Moments>,
    right: Moments,
}

impl SlidingMoments {
    fn advance(&mut self, values: &Float64Array, range: &Range<usize>) {
        if range.start >= self.range.end {
            self.range = range.start..range.start;
            self.cut = range.start;
            self.suffixes.clear();
            self.right = Moments::default();
        }
        for index in self.range.end..range.end {
            if values.is_valid(index) {
                self.right.push(values.value(index));
            }
        }
        if range.start > self.cut {
            self.cut = range.end;
            self.right = Moments::default();
            self.suffixes.clear();
            let mut suffix = Moments::default();
            for index in range.clone().rev() {
                if values.is_valid(index) {
                    suffix.push(values.value(index));
                }
                self.suffixes.push(suffix);
            }
        }
        self.range = range.clone();
    }

    fn moments(&self) -> Moments {
        match self.cut - self.range.start {
            0 => self.right,
            left => self.suffixes[left - 1].merged(&self.right),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::others::tests::{assert_close, others, partitions, scores};
    use super::*;
    use proptest::prelude::*;

    fn naive(value: f64, others: &[f64]) -> Option<f64> {
        let count = others.len() as f64;
        // Differences from one of the values first: their mean is exact where that of the values is not.
        let origin = *others.first()?;
        let mean = others.iter().map(|other| other - origin).sum::<f64>() / count;
        let squares: f64 = others
            .iter()
            .map(|other| (other - origin - mean).powi(2))
            .sum();
        let is_flat = others.iter().all(|&other| other == origin);
        (count >= 2.0 && !is_flat)
            .then(|| (value - origin - mean) / (squares / (count - 1.0)).sqrt())
    }

    proptest! {
        #[test]
        fn any_frame_agrees_with_the_definition((values, frames) in partitions()) {
            let actual = scores::<MomentsOfOthers>(&values, &frames);
            for (row, frame) in frames.iter().enumerate() {
                let expected = values[row].and_then(|value| naive(value, &others(&values, frame, row)));
                assert_close(actual[row], expected, row);
            }
        }
    }

    #[test]
    fn a_value_that_left_leaves_no_trace() {
        // A running sum would still carry the rounding of 1e200 squared.
        let values = [1e200, f64::NAN, f64::INFINITY, 1.0, 2.0, 3.0, 4.0].map(Some);
        let frames: Vec<_> = (0..7_usize)
            .map(|row| row.saturating_sub(3)..row + 1)
            .collect();
        // (4 - 2) / sqrt(((1-2)² + (2-2)² + (3-2)²) / 2)
        assert_eq!(scores::<MomentsOfOthers>(&values, &frames)[6], Some(2.0));
    }

    #[test]
    fn frames_that_move_back_are_followed() {
        let values = [1.0, 2.0, 3.0, 10.0].map(Some);
        let frames = [0..4, 1..4, 0..2, 0..3];
        let actual = scores::<MomentsOfOthers>(&values, &frames);
        assert_eq!(actual[3], Some(8.0));
        // (3 - 1.5) / sqrt(0.5)
        assert_close(actual[2], Some(1.5 / 0.5_f64.sqrt()), 2);
    }
}

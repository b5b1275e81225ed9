//! Smallest value, largest value and nulls of a file's columns: what stands in the log and prunes files.
//!
//! Only for [`Table::statistics_columns`]. Everything is a bound, not a promise that the value occurs: times are
//! rounded outwards to milliseconds, which is all that the log's JSON can say, and long strings are cut so that the
//! bound still holds. A bound that cannot be given is absent.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};

use crate::schema::Table;

/// Longest string in the log's statistics, in bytes.
const STRING_BYTES: usize = 64;

/// One end of a column's range.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Bound {
    /// A whole number.
    Int(i64),
    /// A double, never NaN.
    Float(f64),
    /// Text, perhaps cut.
    Text(String),
    /// Microseconds since the epoch, in whole milliseconds.
    Time(i64),
}

/// What is known of one column of one file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// No value is smaller.
    pub min: Option<Bound>,
    /// No value is larger.
    pub max: Option<Bound>,
    /// Rows without a value.
    pub nulls: Option<i64>,
}

/// Gathers the statistics of one file, batch by batch.
#[derive(Debug)]
pub(super) struct Collector {
    columns: Vec<(usize, Range)>,
}

/// The exact range so far; rounded only at the end.
#[derive(Debug, Default)]
struct Range {
    min: Option<Bound>,
    max: Option<Bound>,
    nulls: i64,
    /// A value has no place in the order (NaN), or the largest has no bound that fits.
    unbounded: bool,
}

impl Collector {
    pub(super) fn new(table: Table) -> Collector {
        let schema = table.schema();
        let columns = table.statistics_columns().iter();
        Collector {
            columns: columns
                .map(|name| {
                    (
                        schema.index_of(name).expect("a column of the table"),
                        Range::default(),
                    )
                })
                .collect(),
        }
    }

    pub(super) fn update(&mut self, batch: &RecordBatch) {
        for (column, range) in &mut self.columns {
            range.update(batch.column(*column));
        }
    }

    /// The statistics, in the order of [`Table::statistics_columns`].
    pub(super) fn finish(self) -> Vec<ColumnStatistics> {
        self.columns
            .into_iter()
            .map(|(_, range)| range.finish())
            .collect()
    }
}

impl Range {
    fn update(&mut self, column: &ArrayRef) {
        self.nulls += i64::try_from(column.null_count()).unwrap_or(i64::MAX);
        let (min, max) = match column.data_type() {
            DataType::Utf8 => {
                let column = column.as_string::<i32>();
                self.text(compute::min_string(column), compute::max_string(column));
                return;
            }
            DataType::Int64 => {
                let column = column.as_primitive::<Int64Type>();
                (
                    compute::min(column).map(Bound::Int),
                    compute::max(column).map(Bound::Int),
                )
            }
            DataType::Int32 => {
                let column = column.as_primitive::<Int32Type>();
                (
                    compute::min(column).map(|value| Bound::Int(value.into())),
                    compute::max(column).map(|value| Bound::Int(value.into())),
                )
            }
            DataType::Float64 => {
                let column = column.as_primitive::<Float64Type>();
                let (min, max) = (compute::min(column), compute::max(column));
                // In the total order a NaN is at one of the ends.
                self.unbounded |= [min, max].iter().flatten().any(|value| !value.is_finite());
                (min.map(Bound::Float), max.map(Bound::Float))
            }
            DataType::Timestamp(_, _) => {
                let column = column.as_primitive::<TimestampMicrosecondType>();
                (
                    compute::min(column).map(Bound::Time),
                    compute::max(column).map(Bound::Time),
                )
            }
            _ => {
                self.unbounded = true;
                return;
            }
        };
        if let Some(min) = min.filter(|min| self.min.as_ref().is_none_or(|known| min < known)) {
            self.min = Some(min);
        }
        if let Some(max) = max.filter(|max| self.max.as_ref().is_none_or(|known| max > known)) {
            self.max = Some(max);
        }
    }

    /// Strings are compared before they are copied: most batches of a sorted file bring no new bound.
    fn text(&mut self, min: Option<&str>, max: Option<&str>) {
        if let Some(min) = min
            && !matches!(&self.min, Some(Bound::Text(known)) if known.as_str() <= min)
        {
            self.min = Some(Bound::Text(min.to_owned()));
        }
        if let Some(max) = max
            && !matches!(&self.max, Some(Bound::Text(known)) if known.as_str() >= max)
        {
            self.max = Some(Bound::Text(max.to_owned()));
        }
    }

    fn finish(self) -> ColumnStatistics {
        if self.unbounded {
            return ColumnStatistics {
                min: None,
                max: None,
                nulls: Some(self.nulls),
            };
        }
        ColumnStatistics {
            min: self.min.map(Bound::round_down),
            max: self.max.and_then(Bound::round_up),
            nulls: Some(self.nulls),
        }
    }
}

impl Bound {
    fn round_down(self) -> Bound {
        match self {
            Bound::Time(micros) => Bound::Time(micros.div_euclid(1000).saturating_mul(1000)),
            Bound::Text(text) => {
                Bound::Text(text[..text.floor_char_boundary(STRING_BYTES)].to_owned())
            }
            other => other,
        }
    }

    /// `None` when nothing of a fitting length is as large.
    fn round_up(self) -> Option<Bound> {
        match self {
            Bound::Time(micros) => Some(Bound::Time(
                micros
                    .checked_add(999)?
                    .div_euclid(1000)
                    .checked_mul(1000)?,
            )),
            Bound::Text(text) if text.len() > STRING_BYTES => {
                let mut prefix = text[..text.floor_char_boundary(STRING_BYTES)].to_owned();
                while let Some(last) = prefix.pop() {
                    // Code points are in the order of their bytes in UTF-8; the surrogates are none.
                    let next = match last {
                        '\u{D7FF}' => Some('\u{E000}'),
                        other => char::from_u32(u32::from(other) + 1),
                    };
                    if let Some(next) = next {
                        prefix.push(next);
                        return Some(Bound::Text(prefix));
                    }
                }
                None
            }
            other => Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: &str) -> Bound {
        Bound::Text(value.to_owned())
    }

    #[test]
    fn times_round_outwards_to_milliseconds() {
        assert_eq!(Bound::Time(1_999).round_down(), Bound::Time(1_000));
        assert_eq!(Bound::Time(1_001).round_up(), Some(Bound::Time(2_000)));
        assert_eq!(Bound::Time(2_000).round_up(), Some(Bound::Time(2_000)));
        assert_eq!(Bound::Time(-1).round_down(), Bound::Time(-1_000));
        assert_eq!(Bound::Time(-1).round_up(), Some(Bound::Time(0)));
        assert_eq!(Bound::Time(i64::MAX).round_up(), None);
    }

    #[test]
    fn long_strings_are_cut_to_bounds() {
        let long = "a".repeat(70);
        assert_eq!(text(&long).round_down(), text(&"a".repeat(64)));
        assert_eq!(text(&long).round_up(), Some(text(&("a".repeat(63) + "b"))));
        let highest = "\u{10FFFF}".repeat(20);
        assert_eq!(text(&highest).round_up(), None);
        let before_surrogates = "\u{D7FF}".repeat(30);
        assert_eq!(
            text(&before_surrogates).round_up(),
            Some(text(&("\u{D7FF}".repeat(20) + "\u{E000}")))
        );
    }

    #[test]
    fn a_nan_leaves_no_bound() {
        let mut range = Range::default();
        let column: ArrayRef = std::sync::Arc::new(arrow::array::Float64Array::from(vec![
            Some(1.0),
            Some(f64::NAN),
            None,
        ]));
        range.update(&column);
        assert_eq!(
            range.finish(),
            ColumnStatistics {
                min: None,
                max: None,
                nulls: Some(1)
            }
        );
    }

    proptest! {
        #[test]
        fn bounds_hold_for_any_string(value in any::<String>().prop_map(|value| value.repeat(3))) {
            let Bound::Text(min) = text(&value).round_down() else { unreachable!() };
            prop_assert!(min.as_str() <= value.as_str());
            if let Some(Bound::Text(max)) = text(&value).round_up() {
                prop_assert!(max.as_str() >= value.as_str());
            }
        }
    }
}

//! Arguments that are lists of numbers, whatever the kind of list and of number, read as slices of doubles.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, GenericListArray, OffsetSizeTrait};
use arrow::datatypes::{DataType, Field, Float64Type};
use datafusion_common::{Result, internal_err, plan_err};
use datafusion_expr::ColumnarValue;

/// What `function`'s arguments are cast to: lists of doubles. Large lists stay large.
pub(super) fn coerce(function: &str, arg_types: &[DataType]) -> Result<Vec<DataType>> {
    let double = || Arc::new(Field::new_list_field(DataType::Float64, true));
    let numbers = |field: &Field| field.data_type().is_numeric() || field.data_type().is_null();
    arg_types
        .iter()
        .map(|arg_type| match arg_type {
            DataType::List(item) | DataType::FixedSizeList(item, _) | DataType::ListView(item)
                if numbers(item) =>
            {
                Ok(DataType::List(double()))
            }
            DataType::LargeList(item) | DataType::LargeListView(item) if numbers(item) => {
                Ok(DataType::LargeList(double()))
            }
            DataType::Null => Ok(DataType::List(double())),
            other => plan_err!("`{function}` takes lists of numbers, not {other}"),
        })
        .collect()
}

/// One argument: a list for each row, or one for all of them.
#[derive(Debug)]
pub(super) struct NumberLists {
    values: Float64Array,
    /// Where each list starts and ends in `values`; `None` for a null.
    ranges: Vec<Option<(usize, usize)>>,
    is_constant: bool,
}

impl NumberLists {
    /// Reads an argument of one of the types that [`coerce`] gives.
    pub(super) fn try_new(argument: &ColumnarValue) -> Result<Self> {
        let (array, is_constant) = match argument {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let (values, ranges) = match array.data_type() {
            DataType::List(_) => ranges(array.as_list::<i32>()),
            DataType::LargeList(_) => ranges(array.as_list::<i64>()),
            other => return internal_err!("{other} is no list of doubles"),
        };
        Ok(Self {
            values,
            ranges,
            is_constant,
        })
    }

    /// The numbers in `row`; `None` if the list or one of its items is null, since then the distribution is unknown.
    pub(super) fn row(&self, row: usize) -> Option<&[f64]> {
        let (start, end) = self.ranges[if self.is_constant { 0 } else { row }]?;
        let known =
            self.values.null_count() == 0 || (start..end).all(|index| self.values.is_valid(index));
        known.then(|| &self.values.values()[start..end])
    }
}

fn ranges<O: OffsetSizeTrait>(
    array: &GenericListArray<O>,
) -> (Float64Array, Vec<Option<(usize, usize)>>) {
    let ranges = array
        .value_offsets()
        .windows(2)
        .enumerate()
        .map(|(row, ends)| {
            array
                .is_valid(row)
                .then(|| (ends[0].as_usize(), ends[1].as_usize()))
        });
    (
        array.values().as_primitive::<Float64Type>().clone(),
        ranges.collect(),
    )
}

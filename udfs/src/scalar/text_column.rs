//! What all functions of one text share: the types they take, and the way over a column of any string layout.
//!
//! A function gives its kernel, `&[Option<&str>]`-like rows in, an array out; scalars, dictionaries and the three
//! layouts of strings are dealt with here, once.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Float64Builder, Int64Builder, StringArrayType,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field};
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, ScalarValue, internal_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs};

/// The rows of a string column of any layout.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a>(&'a dyn Array);

impl<'a> Texts<'a> {
    pub(super) fn len(self) -> usize {
        self.0.len()
    }

    /// Calls `row` with every row in order. The layout is chosen once, not for every row.
    ///
    /// # Errors
    ///
    /// When the column is not a string column: the planner's coercion was passed over.
    pub(super) fn for_each(self, row: impl FnMut(Option<&'a str>)) -> Result<()> {
        fn all<'a>(
            column: impl StringArrayType<'a>,
            row: impl FnMut(Option<&'a str>),
        ) -> Result<()> {
            column.iter().for_each(row);
            Ok(())
        }
        match self.0.data_type() {
            DataType::Utf8 => all(self.0.as_string::<i32>(), row),
            DataType::LargeUtf8 => all(self.0.as_string::<i64>(), row),
            DataType::Utf8View => all(self.0.as_string_view(), row),
            other => internal_err!("a text column has type {other}"),
        }
    }

    /// One floating-point number for every text.
    pub(super) fn to_float64(self, value: impl Fn(&str) -> f64) -> Result<ArrayRef> {
        let mut values = Float64Builder::with_capacity(self.len());
        self.for_each(|text| values.append_option(text.map(&value)))?;
        Ok(Arc::new(values.finish()))
    }

    /// True or false for every text.
    pub(super) fn to_boolean(self, value: impl Fn(&str) -> bool) -> Result<ArrayRef> {
        let mut values = BooleanBuilder::with_capacity(self.len());
        self.for_each(|text| values.append_option(text.map(&value)))?;
        Ok(Arc::new(values.finish()))
    }

    /// One count for every text.
    pub(super) fn to_int64(self, value: impl Fn(&str) -> usize) -> Result<ArrayRef> {
        let mut values = Int64Builder::with_capacity(self.len());
        // No text in memory is longer than the largest signed number.
        self.for_each(|text| values.append_option(text.map(|text| value(text) as i64)))?;
        Ok(Arc::new(values.finish()))
    }
}

/// A list of texts, as builders of lists make it.
pub(super) fn texts_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

/// The types that a function of one text asks for: the text's own when it is a string of any layout or a dictionary of
/// strings, which is then evaluated once for each of its values.
pub(super) fn coerce_text(function: &str, arguments: &[DataType]) -> Result<Vec<DataType>> {
    let [argument] = take_function_args(function, arguments)?;
    let is_string = |kind: &DataType| {
        matches!(
            kind,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        )
    };
    match argument {
        DataType::Null => Ok(vec![DataType::Utf8View]),
        DataType::Dictionary(_, values) if is_string(values) => Ok(arguments.to_vec()),
        string if is_string(string) => Ok(arguments.to_vec()),
        other => plan_err!("`{function}` takes text, found {other}"),
    }
}

/// Runs `kernel` over the only argument. Scalar in, scalar out.
pub(super) fn map_text(
    function: &str,
    args: &ScalarFunctionArgs,
    kernel: impl Fn(Texts<'_>) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let [argument] = take_function_args(function, &args.args)?;
    match argument {
        ColumnarValue::Scalar(scalar) => {
            let result = map_array(&scalar.to_array()?, kernel)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?))
        }
        ColumnarValue::Array(array) => map_array(array, kernel).map(ColumnarValue::Array),
    }
}

fn map_array(array: &ArrayRef, kernel: impl Fn(Texts<'_>) -> Result<ArrayRef>) -> Result<ArrayRef> {
    let Some(dictionary) = array.as_any_dictionary_opt() else {
        return kernel(Texts(array.as_ref()));
    };
    let values = dictionary.values();
    if values.len() > array.len() {
        // Few rows of a large dictionary: only their values are worth the work.
        return kernel(Texts(&cast(array, values.data_type())?));
    }
    Ok(take(
        &kernel(Texts(values.as_ref()))?,
        dictionary.keys(),
        None,
    )?)
}

/// Implements `Default` and `ScalarUDFImpl` for a function of one text: its type, SQL name, result type and kernel.
/// The type has a `signature` field and a `user_doc`.
macro_rules! text_function {
    ($function:ident, $name:literal, $result:expr, $kernel:expr) => {
        impl Default for $function {
            fn default() -> Self {
                Self {
                    signature: datafusion_expr::Signature::user_defined(
                        datafusion_expr::Volatility::Immutable,
                    ),
                }
            }
        }

        impl datafusion_expr::ScalarUDFImpl for $function {
            fn name(&self) -> &str {
                $name
            }

            fn signature(&self) -> &datafusion_expr::Signature {
                &self.signature
            }

            fn coerce_types(
                &self,
                arguments: &[arrow::datatypes::DataType],
            ) -> datafusion_common::Result<Vec<arrow::datatypes::DataType>> {
                crate::scalar::text_column::coerce_text($name, arguments)
            }

            fn return_type(
                &self,
                _arguments: &[arrow::datatypes::DataType],
            ) -> datafusion_common::Result<arrow::datatypes::DataType> {
                Ok($result)
            }

            fn is_strict(&self) -> bool {
                true
            }

            fn invoke_with_args(
                &self,
                args: datafusion_expr::ScalarFunctionArgs,
            ) -> datafusion_common::Result<datafusion_expr::ColumnarValue> {
                crate::scalar::text_column::map_text($name, &args, $kernel)
            }

            fn documentation(&self) -> Option<&datafusion_expr::Documentation> {
                self.doc()
            }
        }
    };
}

pub(super) use text_function;

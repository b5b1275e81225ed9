//! A cell of a result as JSON: for evidence, entities and the comparison in tests.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::common::ScalarValue;
use serde_json::{Map, Value};

use crate::error::Result;

/// Microseconds since the epoch as RFC 3339, with as many digits as it needs.
pub fn time_text(micros: i64) -> String {
    match chrono::DateTime::from_timestamp_micros(micros) {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        None => format!("{micros} µs"),
    }
}

/// A row as an object, in the order of its columns.
///
/// # Errors
/// When a column has a type that has no scalar form.
pub(crate) fn row(batch: &RecordBatch, index: usize) -> Result<Map<String, Value>> {
    let schema = batch.schema();
    let cells = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            let scalar = ScalarValue::try_from_array(column, index)?;
            Ok((field.name().clone(), value(&scalar)?))
        });
    cells.collect()
}

/// One value.
///
/// # Errors
/// When a nested value has a type that has no scalar form.
pub(super) fn value(scalar: &ScalarValue) -> Result<Value> {
    use ScalarValue as S;
    if scalar.is_null() {
        return Ok(Value::Null);
    }
    Ok(match scalar {
        S::Utf8(Some(text)) | S::Utf8View(Some(text)) | S::LargeUtf8(Some(text)) => {
            text.as_str().into()
        }
        S::Boolean(Some(flag)) => (*flag).into(),
        S::Int8(Some(number)) => (*number).into(),
        S::Int16(Some(number)) => (*number).into(),
        S::Int32(Some(number)) => (*number).into(),
        S::Int64(Some(number)) => (*number).into(),
        S::UInt8(Some(number)) => (*number).into(),
        S::UInt16(Some(number)) => (*number).into(),
        S::UInt32(Some(number)) => (*number).into(),
        S::UInt64(Some(number)) => (*number).into(),
        S::Float32(Some(number)) => f64::from(*number).into(),
        S::Float64(Some(number)) => (*number).into(),
        S::TimestampSecond(Some(time), _) => time_text(time.saturating_mul(1_000_000)).into(),
        S::TimestampMillisecond(Some(time), _) => time_text(time.saturating_mul(1_000)).into(),
        S::TimestampMicrosecond(Some(time), _) => time_text(*time).into(),
        S::TimestampNanosecond(Some(time), _) => time_text(time.div_euclid(1_000)).into(),
        S::Binary(Some(bytes)) | S::BinaryView(Some(bytes)) | S::LargeBinary(Some(bytes)) => bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into(),
        S::Dictionary(_, inner) => value(inner)?,
        S::List(list) => values(&list.value(0))?,
        S::LargeList(list) => values(&list.value(0))?,
        S::FixedSizeList(list) => values(&list.value(0))?,
        S::Struct(nested) => {
            let cells = nested
                .fields()
                .iter()
                .zip(nested.columns())
                .map(|(field, column)| {
                    let scalar = ScalarValue::try_from_array(column, 0)?;
                    Ok((field.name().clone(), value(&scalar)?))
                });
            Value::Object(cells.collect::<Result<_>>()?)
        }
        other => other.to_string().into(),
    })
}

fn values(array: &ArrayRef) -> Result<Value> {
    let items = (0..array.len()).map(|index| value(&ScalarValue::try_from_array(array, index)?));
    Ok(Value::Array(items.collect::<Result<_>>()?))
}

/// A value as a person would type it: a text without its quotes.
pub(super) fn plain(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// Whether columns have these values.
pub(super) fn has(columns: &Map<String, Value>, wanted: &[(String, String)]) -> bool {
    wanted.iter().all(|(name, wanted)| {
        let value = columns.get(name);
        value.is_some_and(|value| plain(value) == wanted.as_str())
    })
}

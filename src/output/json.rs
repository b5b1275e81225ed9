//! Arrow values as JSON, faithfully.
//!
//! - Integers and decimals are JSON numbers with every digit, however large; a reader that keeps numbers as doubles
//!   loses digits beyond 2^53, one that keeps them as text does not.
//! - Floats are the shortest number that reads back the same; NaN and infinities, which JSON lacks, are `null`.
//! - Timestamps, dates, times and intervals are strings (RFC 3339 with the zone where there is one).
//! - Binary is a string of lower-case hex digits.
//! - Lists are arrays; structs and maps are objects, with the keys of a map as strings; dictionaries are their values.
//! - Controls and hidden characters in strings are `\u` escapes, so that the text is safe to print and still the same.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, GenericListArray, GenericListViewArray,
    MapArray, OffsetSizeTrait, StructArray,
};
use arrow::datatypes::{DataType, Fields, Float16Type, Float32Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::io::Write as _;

use super::escape::is_hidden;

type Result<T> = std::result::Result<T, ArrowError>;

/// Writes the rows of one batch as objects.
pub(crate) struct RowWriter<'a>(Vec<(Vec<u8>, Value<'a>)>);

impl<'a> RowWriter<'a> {
    /// Prepares the columns of the batch.
    ///
    /// # Errors
    /// For a type that has no text form.
    pub(crate) fn new(batch: &'a RecordBatch) -> Result<RowWriter<'a>> {
        object(batch.schema_ref().fields(), batch.columns()).map(RowWriter)
    }

    /// Appends one row.
    ///
    /// # Errors
    /// When a value has no text form, such as a date beyond the calendar.
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        write_members(&self.0, row, out)
    }
}

/// Appends a value of an array as JSON.
pub(crate) struct ValueWriter<'a>(Value<'a>);

impl<'a> ValueWriter<'a> {
    pub(crate) fn new(array: &'a dyn Array) -> Result<ValueWriter<'a>> {
        Value::new(array).map(ValueWriter)
    }

    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        self.0.write(row, out)
    }
}

/// One column, with its type resolved once per batch.
enum Value<'a> {
    Null,
    Boolean(&'a BooleanArray),
    /// Integers and decimals: their text is their JSON.
    Number(ArrayFormatter<'a>, &'a dyn Array),
    Float32(Box<dyn Fn(usize) -> f32 + 'a>, &'a dyn Array),
    Float64(&'a Float64Array),
    String(Box<dyn Fn(usize) -> &'a str + 'a>, &'a dyn Array),
    Bytes(Box<dyn Fn(usize) -> &'a [u8] + 'a>, &'a dyn Array),
    /// Anything else that has a text.
    Text(ArrayFormatter<'a>, &'a dyn Array),
    List(
        Box<dyn Fn(usize) -> std::ops::Range<usize> + 'a>,
        Box<Value<'a>>,
        &'a dyn Array,
    ),
    Struct(Vec<(Vec<u8>, Value<'a>)>, &'a StructArray),
    Map(&'a MapArray, ArrayFormatter<'a>, Box<Value<'a>>),
    Dictionary(
        Box<dyn Fn(usize) -> usize + 'a>,
        Box<Value<'a>>,
        &'a dyn Array,
    ),
}

impl<'a> Value<'a> {
    fn new(array: &'a dyn Array) -> Result<Value<'a>> {
        let text = || ArrayFormatter::try_new(array, &FORMAT);
        Ok(match array.data_type() {
            DataType::Null => Value::Null,
            DataType::Boolean => Value::Boolean(array.as_boolean()),
            kind if kind.is_integer() => Value::Number(text()?, array),
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Value::Number(text()?, array),
            DataType::Float16 => {
                let values = array.as_primitive::<Float16Type>();
                Value::Float32(Box::new(|row| values.value(row).to_f32()), array)
            }
            DataType::Float32 => {
                let values = array.as_primitive::<Float32Type>();
                Value::Float32(Box::new(|row| values.value(row)), array)
            }
            DataType::Float64 => Value::Float64(array.as_primitive()),
            DataType::Utf8 => strings(array, array.as_string::<i32>(), |a, row| a.value(row)),
            DataType::LargeUtf8 => strings(array, array.as_string::<i64>(), |a, row| a.value(row)),
            DataType::Utf8View => strings(array, array.as_string_view(), |a, row| a.value(row)),
            DataType::Binary => bytes(array, array.as_binary::<i32>(), |a, row| a.value(row)),
            DataType::LargeBinary => bytes(array, array.as_binary::<i64>(), |a, row| a.value(row)),
            DataType::BinaryView => bytes(array, array.as_binary_view(), |a, row| a.value(row)),
            DataType::FixedSizeBinary(_) => {
                bytes(array, array.as_fixed_size_binary(), |a, row| a.value(row))
            }
            DataType::List(_) => list(array.as_list::<i32>())?,
            DataType::LargeList(_) => list(array.as_list::<i64>())?,
            DataType::ListView(_) => list_view(array.as_list_view::<i32>())?,
            DataType::LargeListView(_) => list_view(array.as_list_view::<i64>())?,
            DataType::FixedSizeList(_, size) => {
                let size = *size as usize;
                Value::List(
                    Box::new(move |row| row * size..(row + 1) * size),
                    Box::new(Value::new(array.as_fixed_size_list().values())?),
                    array,
                )
            }
            DataType::Struct(fields) => {
                let array = array.as_struct();
                Value::Struct(object(fields, array.columns())?, array)
            }
            DataType::Map(..) => {
                let map = array.as_map();
                Value::Map(
                    map,
                    ArrayFormatter::try_new(map.keys(), &FORMAT)?,
                    Box::new(Value::new(map.values())?),
                )
            }
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                if dictionary.values().is_empty() {
                    return Ok(Value::Null);
                }
                let keys = dictionary.normalized_keys();
                Value::Dictionary(
                    Box::new(move |row| keys[row]),
                    Box::new(Value::new(dictionary.values().as_ref())?),
                    array,
                )
            }
            _ => Value::Text(text()?, array),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Value::Null => true,
            Value::Boolean(array) => array.is_null(row),
            Value::Float64(array) => array.is_null(row),
            Value::Struct(_, array) => array.is_null(row),
            Value::Map(array, ..) => array.is_null(row),
            Value::Number(_, array)
            | Value::Float32(_, array)
            | Value::String(_, array)
            | Value::Bytes(_, array)
            | Value::Text(_, array)
            | Value::List(_, _, array)
            | Value::Dictionary(_, _, array) => array.is_null(row),
        }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match self {
            Value::Null => {}
            Value::Boolean(array) => {
                out.extend_from_slice(if array.value(row) { b"true" } else { b"false" });
            }
            Value::Number(text, _) => text.value(row).write(&mut Utf8(out))?,
            // The shortest digits are those of the width that the value has.
            Value::Float32(value, _) => write_float(&value(row), out)?,
            Value::Float64(array) => write_float(&array.value(row), out)?,
            Value::String(value, _) => write_string(value(row), out),
            Value::Bytes(value, _) => {
                out.push(b'"');
                for byte in value(row) {
                    write!(out, "{byte:02x}")?;
                }
                out.push(b'"');
            }
            Value::Text(text, _) => write_string(&text.value(row).try_to_string()?, out),
            Value::List(range, values, _) => {
                out.push(b'[');
                for (position, item) in range(row).enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    values.write(item, out)?;
                }
                out.push(b']');
            }
            Value::Struct(members, _) => write_members(members, row, out)?,
            Value::Map(array, keys, values) => {
                let offsets = array.value_offsets();
                out.push(b'{');
                for (position, item) in
                    (offsets[row] as usize..offsets[row + 1] as usize).enumerate()
                {
                    if position > 0 {
                        out.push(b',');
                    }
                    write_string(&keys.value(item).try_to_string()?, out);
                    out.push(b':');
                    values.write(item, out)?;
                }
                out.push(b'}');
            }
            Value::Dictionary(key, values, _) => values.write(key(row), out)?,
        }
        Ok(())
    }
}

/// Nulls are written before any formatter is asked.
const FORMAT: FormatOptions<'static> = FormatOptions::new().with_display_error(false);

fn strings<'a, A>(
    array: &'a dyn Array,
    typed: &'a A,
    value: fn(&'a A, usize) -> &'a str,
) -> Value<'a> {
    Value::String(Box::new(move |row| value(typed, row)), array)
}

fn bytes<'a, A>(
    array: &'a dyn Array,
    typed: &'a A,
    value: fn(&'a A, usize) -> &'a [u8],
) -> Value<'a> {
    Value::Bytes(Box::new(move |row| value(typed, row)), array)
}

fn list<O: OffsetSizeTrait>(array: &GenericListArray<O>) -> Result<Value<'_>> {
    let offsets = array.value_offsets();
    Ok(Value::List(
        Box::new(move |row| offsets[row].as_usize()..offsets[row + 1].as_usize()),
        Box::new(Value::new(array.values())?),
        array,
    ))
}

fn list_view<O: OffsetSizeTrait>(array: &GenericListViewArray<O>) -> Result<Value<'_>> {
    let (offsets, sizes) = (array.value_offsets(), array.value_sizes());
    Ok(Value::List(
        Box::new(move |row| {
            let start = offsets[row].as_usize();
            start..start + sizes[row].as_usize()
        }),
        Box::new(Value::new(array.values())?),
        array,
    ))
}

/// The columns as members, each with its name already written.
fn object<'a>(fields: &Fields, columns: &'a [ArrayRef]) -> Result<Vec<(Vec<u8>, Value<'a>)>> {
    fields
        .iter()
        .zip(columns)
        .map(|(field, column)| {
            let mut name = Vec::with_capacity(field.name().len() + 3);
            write_string(field.name(), &mut name);
            name.push(b':');
            Ok((name, Value::new(column)?))
        })
        .collect()
}

fn write_members(members: &[(Vec<u8>, Value<'_>)], row: usize, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'{');
    for (position, (name, value)) in members.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        value.write(row, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_float(value: &impl serde::Serialize, out: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(out, value).map_err(|error| ArrowError::JsonError(error.to_string()))
}

/// Appends the text as a JSON string.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    let is_escaped = |c: char| c == '"' || c == '\\' || is_hidden(c);
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.find(is_escaped) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let mut chars = rest[at..].chars();
        match chars.next() {
            Some('"') => out.extend_from_slice(b"\\\""),
            Some('\\') => out.extend_from_slice(b"\\\\"),
            Some('\n') => out.extend_from_slice(b"\\n"),
            Some('\r') => out.extend_from_slice(b"\\r"),
            Some('\t') => out.extend_from_slice(b"\\t"),
            Some(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// Lets formatters, which write text, append to bytes.
struct Utf8<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Utf8<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        DictionaryArray, Float32Array, Int64Array, ListArray, NullArray, StringArray,
        StringViewArray, UInt64Array,
    };
    use arrow::datatypes::Int32Type;
    use proptest::prelude::*;

    use super::*;

    fn values(array: impl Array) -> String {
        let writer = ValueWriter::new(&array).unwrap();
        let mut out = Vec::new();
        for row in 0..array.len() {
            writer.write(row, &mut out).unwrap();
            out.push(b' ');
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_keep_every_digit() {
        assert_eq!(
            values(Int64Array::from(vec![i64::MIN, i64::MAX, (1 << 53) + 1])),
            "-9223372036854775808 9223372036854775807 9007199254740993 "
        );
        assert_eq!(
            values(UInt64Array::from(vec![u64::MAX])),
            "18446744073709551615 "
        );
    }

    #[test]
    fn floats_have_the_digits_of_their_width_and_no_nan() {
        assert_eq!(values(Float32Array::from(vec![0.1, 1.0])), "0.1 1.0 ");
        assert_eq!(
            values(Float64Array::from(vec![
                0.1,
                f64::NAN,
                f64::INFINITY,
                -0.0,
                1e300
            ])),
            "0.1 null null -0.0 1e+300 "
        );
    }

    #[test]
    fn nulls_are_found_wherever_they_are() {
        assert_eq!(values(NullArray::new(1)), "null ");
        let empty: DictionaryArray<Int32Type> = vec![None::<&str>].into_iter().collect();
        assert_eq!(values(empty), "null ");
        let keys = arrow::array::Int32Array::from(vec![0, 1]);
        let words = StringArray::from(vec![None, Some("x")]);
        assert_eq!(
            values(DictionaryArray::new(keys, Arc::new(words))),
            "null \"x\" "
        );
    }

    #[test]
    fn slices_show_their_own_rows() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(1)]),
            None,
            Some(vec![Some(2), None]),
        ]);
        assert_eq!(values(lists.slice(1, 2)), "null [2,null] ");
        let words: DictionaryArray<Int32Type> = ["a", "b", "c"].into_iter().collect();
        assert_eq!(values(words.slice(2, 1)), "\"c\" ");
        assert_eq!(
            values(StringViewArray::from(vec!["a", "b"]).slice(1, 1)),
            "\"b\" "
        );
    }

    #[test]
    fn hidden_characters_are_escaped() {
        assert_eq!(
            values(StringArray::from(vec![
                "\u{1b}[31m\u{9b}\u{202e}\n",
                "\u{e0041}\u{7f}"
            ])),
            r#""\u001b[31m\u009b\u202e\n" "\udb40\udc41\u007f" "#
        );
    }

    proptest! {
        /// Another reader of JSON gets the same text back.
        #[test]
        fn text_reads_back_the_same(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn floats_read_back_the_same(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            let text = values(Float64Array::from(vec![value]));
            prop_assert_eq!(text.trim().parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }
}

//! Rows as comma-separated values (RFC 4180).
//!
//! A null is an empty field, an empty string is `""`. Lists, structs and maps are their JSON. Raw text stays raw, since
//! a file must hold what the log held; when a terminal reads, hidden characters are escaped.

use std::io::Write;

use arrow::array::Array;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::escape::visible;
use super::json::ValueWriter;

/// Appends the line of column names.
pub(super) fn write_header(schema: &SchemaRef, escaped: bool, out: &mut Vec<u8>) {
    for (position, field) in schema.fields().iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_field(field.name(), escaped, out);
    }
    out.push(b'\n');
}

/// Appends the rows of the batch.
///
/// # Errors
/// When a value has no text form.
pub(super) fn write_rows(
    batch: &RecordBatch,
    escaped: bool,
    out: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    let columns: Vec<Column<'_>> = batch
        .columns()
        .iter()
        .map(|column| Column::new(column.as_ref()))
        .collect::<Result<_, _>>()?;
    // Of a dictionary, a value may be null rather than the key.
    let nulls: Vec<Option<NullBuffer>> = batch
        .columns()
        .iter()
        .map(|column| column.logical_nulls())
        .collect();
    let mut nested = Vec::new();
    for row in 0..batch.num_rows() {
        for (position, column) in columns.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            match column {
                _ if nulls[position]
                    .as_ref()
                    .is_some_and(|nulls| nulls.is_null(row)) => {}
                Column::Plain(text) => write!(out, "{}", text.value(row))?,
                Column::Text(text) => write_field(&text.value(row).try_to_string()?, escaped, out),
                Column::Nested(json) => {
                    nested.clear();
                    json.write(row, &mut nested)?;
                    write_field(&String::from_utf8_lossy(&nested), escaped, out);
                }
            }
        }
        out.push(b'\n');
    }
    Ok(())
}

const FORMAT: FormatOptions<'static> = FormatOptions::new().with_display_error(false);

enum Column<'a> {
    /// Needs no quotes, ever.
    Plain(ArrayFormatter<'a>),
    Text(ArrayFormatter<'a>),
    Nested(ValueWriter<'a>),
}

impl<'a> Column<'a> {
    fn new(array: &'a dyn Array) -> Result<Column<'a>, ArrowError> {
        let kind = match array.data_type() {
            DataType::Dictionary(_, value) => value.as_ref(),
            kind => kind,
        };
        if kind.is_nested() {
            return ValueWriter::new(array).map(Column::Nested);
        }
        let text = ArrayFormatter::try_new(array, &FORMAT)?;
        Ok(if kind.is_numeric() || *kind == DataType::Boolean {
            Column::Plain(text)
        } else {
            Column::Text(text)
        })
    }
}

fn write_field(text: &str, escaped: bool, out: &mut Vec<u8>) {
    let text = if escaped { visible(text) } else { text.into() };
    let needs_quotes = text.is_empty()
        || text.contains([',', '"', '\n', '\r'])
        || text.starts_with(' ')
        || text.ends_with(' ');
    if !needs_quotes {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for part in text.split_inclusive('"') {
        out.extend_from_slice(part.as_bytes());
        if part.ends_with('"') {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn lines(escaped: bool) -> String {
        let text = StringArray::from(vec![
            Some("plain"),
            Some(""),
            None,
            Some("a,\"b\"\nc"),
            Some("\u{1b}[31m"),
        ]);
        let batch = RecordBatch::try_from_iter([
            (
                "n",
                Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])) as ArrayRef,
            ),
            ("the text", Arc::new(text) as ArrayRef),
        ])
        .unwrap();
        let mut out = Vec::new();
        write_header(&batch.schema(), escaped, &mut out);
        write_rows(&batch, escaped, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn null_and_empty_and_quotes_are_told_apart() {
        assert_eq!(
            lines(false),
            "n,the text\n1,plain\n2,\"\"\n3,\n4,\"a,\"\"b\"\"\nc\"\n5,\u{1b}[31m\n"
        );
    }

    #[test]
    fn a_terminal_sees_controls_escaped() {
        let text = lines(true);
        assert!(text.contains(r#"4,"a,""b""\nc""#), "{text}");
        assert!(text.contains(r"5,\u{1b}[31m"), "{text}");
    }
}

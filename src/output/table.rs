//! Rows as a table for people: columns aligned by display width, every hidden character visible, long values cut.

use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use comfy_table::{CellAlignment, ContentArrangement, Table};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::escape::{visible, visible_lines};

/// How a table is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns of the screen that one value may take; longer values end in `…`. Zero: no limit.
    pub max_width: usize,
    /// One line per value instead of one per row.
    pub expanded: bool,
    /// Whether line ends in values stay: for plans, whose shape is their meaning.
    pub multiline: bool,
}

impl Default for Style {
    fn default() -> Self {
        Style {
            max_width: 100,
            expanded: false,
            multiline: false,
        }
    }
}

/// Lines around and between cells, in the order that comfy-table wants: frame, header line, columns, corners.
const LINES: &str = "││──├─┼┤│    ┬┴┌┐└┘";

/// Binary is hex digits and a null says so, everywhere.
const FORMAT: FormatOptions<'static> = FormatOptions::new()
    .with_display_error(true)
    .with_null("NULL");

/// The batches as one table, with a line end after the last line. Empty when there are no columns.
///
/// # Errors
/// For a type that has no text form.
pub fn render(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    style: Style,
) -> Result<String, ArrowError> {
    if schema.fields().is_empty() {
        return Ok(String::new());
    }
    if style.expanded {
        return expanded(schema, batches);
    }
    let mut table = Table::new();
    table.load_preset(LINES);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(schema.fields().iter().map(|field| visible(field.name())));
    for (column, field) in table.column_iter_mut().zip(schema.fields()) {
        if is_number(field.data_type()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for batch in batches {
        let columns = formatters(batch)?;
        for row in 0..batch.num_rows() {
            table.add_row(
                columns
                    .iter()
                    .map(|column| cell(&column.value(row).to_string(), style)),
            );
        }
    }
    Ok(format!("{table}\n"))
}

/// A heading per row, then a line per column.
fn expanded(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String, ArrowError> {
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| visible(field.name()))
        .collect();
    let width = names.iter().map(|name| name.width()).max().unwrap_or(0);
    let mut text = String::new();
    let mut number = 0;
    for batch in batches {
        let columns = formatters(batch)?;
        for row in 0..batch.num_rows() {
            number += 1;
            let heading = format!("─[ row {number} ]");
            text.push_str(&heading);
            text.extend(std::iter::repeat_n(
                '─',
                40usize.saturating_sub(heading.width()),
            ));
            text.push('\n');
            for (name, column) in names.iter().zip(&columns) {
                text.push_str(name);
                text.extend(std::iter::repeat_n(' ', width - name.width()));
                text.push_str(" │ ");
                text.push_str(&visible(&column.value(row).to_string()));
                text.push('\n');
            }
        }
    }
    Ok(text)
}

fn formatters(batch: &RecordBatch) -> Result<Vec<ArrayFormatter<'_>>, ArrowError> {
    batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &FORMAT))
        .collect()
}

fn cell(text: &str, style: Style) -> String {
    if style.multiline {
        return visible_lines(text).into_owned();
    }
    cut(&visible(text), style.max_width)
}

/// The text, or its beginning and `…`, so that it takes no more than `width` columns.
fn cut(text: &str, width: usize) -> String {
    // A character takes at least one byte per column.
    if width == 0 || text.len() <= width || text.width() <= width {
        return text.to_string();
    }
    let mut taken = 0;
    let end = text
        .char_indices()
        .find(|(_, c)| {
            taken += c.width().unwrap_or(0);
            taken >= width
        })
        .map_or(text.len(), |(at, _)| at);
    format!("{}…", &text[..end])
}

fn is_number(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, value) => is_number(value),
        kind => kind.is_numeric(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn draw(columns: Vec<(&str, ArrayRef)>, style: Style) -> String {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        render(&batch.schema(), &[batch], style).unwrap()
    }

    #[test]
    fn columns_align_by_display_width() {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("火火"), Some("ab"), None]));
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![1, 22, 333]));
        assert_eq!(
            draw(vec![("name", names), ("n", counts)], Style::default()),
            "\
┌──────┬─────┐
│ name │   n │
├──────┼─────┤
│ 火火 │   1 │
│ ab   │  22 │
│ NULL │ 333 │
└──────┴─────┘
"
        );
    }

    #[test]
    fn no_command_reaches_the_terminal() {
        let planted = "\u{1b}[31mred\u{7} \u{9b}2J \u{202e}evil\r\n";
        let column = || -> ArrayRef { Arc::new(StringArray::from(vec![planted])) };
        for expanded in [false, true] {
            let style = Style {
                expanded,
                ..Style::default()
            };
            let text = draw(vec![("a\u{1b}[1m", column())], style);
            assert!(
                text.contains(r"\u{1b}[31mred\u{7} \u{9b}2J \u{202e}evil\r\n"),
                "{text}"
            );
            assert!(text.contains(r"a\u{1b}[1m"));
            assert!(
                text.chars()
                    .all(|c| c == '\n' || !super::super::escape::is_hidden(c))
            );
        }
    }

    #[test]
    fn long_values_are_cut_to_the_width() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("火火火", 4), "火…");
        assert_eq!(cut("火火", 4), "火火");
        assert_eq!(cut("abcdef", 0), "abcdef");
    }

    #[test]
    fn expanded_rows_have_a_line_per_column() {
        let names: ArrayRef = Arc::new(StringArray::from(vec!["ab"]));
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let style = Style {
            expanded: true,
            ..Style::default()
        };
        let text = draw(vec![("name", names), ("n", counts)], style);
        assert!(text.starts_with("─[ row 1 ]──"));
        assert!(text.ends_with("name │ ab\nn    │ 7\n"), "{text}");
    }
}

//! What `\d`, `\dt`, `\dv` and `\df` list, as rows like those of any query.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::Documentation;

use crate::query::{Engine, is_store_table};
use crate::schema::Table;

/// The columns of a table: name, type, whether a value may be missing, and what it means.
pub(super) async fn columns(engine: &Engine, table: &str) -> anyhow::Result<RecordBatch> {
    let provider = engine.context.table_provider(table).await?;
    let schema = provider.schema();
    let described = Table::from_name(table).map_or(&[][..], Table::descriptions);
    let text = |column: &str| {
        described
            .iter()
            .find(|(name, _)| *name == column)
            .map(|(_, text)| text.trim().to_string())
    };
    let rows = schema.fields().iter().map(|field| {
        [
            Some(field.name().clone()),
            Some(type_name(field.data_type())),
            Some(if field.is_nullable() { "" } else { "not null" }.to_string()),
            text(field.name()),
        ]
    });
    let header = ["column", "type", "null", "description"];
    // Only the tables of a store say what their columns mean.
    let batch = batch(header, rows)?;
    Ok(if described.is_empty() {
        batch.project(&[0, 1, 2])?
    } else {
        batch
    })
}

/// A type as a reader of SQL thinks of it: how strings and lists are laid out in memory is left out.
fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_string(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".to_string(),
        DataType::Timestamp(_, None) => "timestamp".to_string(),
        DataType::Timestamp(_, Some(zone)) => format!("timestamp {zone}"),
        DataType::Date32 | DataType::Date64 => "date".to_string(),
        DataType::Dictionary(_, value) => type_name(value),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("{}[]", type_name(item.data_type()))
        }
        DataType::Struct(fields) => {
            let members: Vec<String> = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), type_name(field.data_type())))
                .collect();
            format!("struct({})", members.join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}

/// Tables and views of the current schema.
pub(super) async fn tables(engine: &Engine) -> anyhow::Result<RecordBatch> {
    let mut rows = Vec::new();
    for name in engine.table_names() {
        let provider = engine.context.table_provider(name.as_str()).await?;
        let kind = match provider.table_type() {
            _ if is_store_table(&name) => "store",
            datafusion::logical_expr::TableType::View => "view",
            datafusion::logical_expr::TableType::Temporary => "temporary",
            datafusion::logical_expr::TableType::Base => "table",
        };
        let columns = provider.schema().fields().len().to_string();
        rows.push([Some(name), Some(kind.to_string()), Some(columns)]);
    }
    batch(["table", "kind", "columns"], rows)
}

/// The statement that lists views.
pub(super) const VIEWS: &str = "\
SELECT table_name AS view, definition FROM information_schema.views
WHERE table_schema <> 'information_schema' ORDER BY view";

/// Functions whose name fits the pattern: call, kind and description.
pub(super) fn functions(engine: &Engine, pattern: &str) -> anyhow::Result<RecordBatch> {
    let state = engine.context.state();
    let describe = |name: &String, kind: &str, documentation: Option<&Documentation>| {
        let (call, text) = match documentation {
            Some(documentation) => (
                documentation.syntax_example.clone(),
                documentation.description.trim().to_string(),
            ),
            None => (format!("{name}(…)"), String::new()),
        };
        (
            name.clone(),
            [
                Some(call),
                Some(kind.to_string()),
                Some(first_sentence(&text)),
            ],
        )
    };
    let mut rows: Vec<_> = std::iter::empty()
        .chain(
            state
                .scalar_functions()
                .iter()
                .map(|(name, function)| describe(name, "scalar", function.documentation())),
        )
        .chain(
            state
                .aggregate_functions()
                .iter()
                .map(|(name, function)| describe(name, "aggregate", function.documentation())),
        )
        .chain(
            state
                .window_functions()
                .iter()
                .map(|(name, function)| describe(name, "window", function.documentation())),
        )
        .chain(
            state
                .table_functions()
                .keys()
                .map(|name| describe(name, "table", None)),
        )
        .filter(|(name, _)| fits(name, pattern))
        .collect();
    rows.sort();
    // A function under two names is listed once.
    rows.dedup_by(|a, b| a.1 == b.1);
    batch(
        ["function", "kind", "description"],
        rows.into_iter().map(|(_, row)| row),
    )
}

fn first_sentence(text: &str) -> String {
    let line = text.split("\n\n").next().unwrap_or_default();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.find(". ") {
        Some(at) => line[..at].to_string(),
        None => line.trim_end_matches('.').to_string(),
    }
}

/// A part of the name, or with `*` for anything, the whole of it.
fn fits(name: &str, pattern: &str) -> bool {
    let (name, pattern) = (name.to_lowercase(), pattern.to_lowercase());
    let Some((first, rest)) = pattern.split_once('*') else {
        return name.contains(&pattern);
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    true
}

fn batch<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [Option<String>; N]>,
) -> anyhow::Result<RecordBatch> {
    let mut columns: [Vec<Option<String>>; N] = std::array::from_fn(|_| Vec::new());
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(Some(value.unwrap_or_default()));
        }
    }
    let columns = columns.map(|column| Arc::new(StringArray::from(column)) as ArrayRef);
    Ok(RecordBatch::try_from_iter(header.into_iter().zip(columns))?)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, TimeUnit};

    use super::*;

    #[test]
    fn patterns_are_parts_or_have_stars() {
        assert!(fits("rolling_zscore", "zscore") && fits("rolling_zscore", "ZSCORE"));
        assert!(fits("rolling_zscore", "roll*") && !fits("rolling_zscore", "zscore*"));
        assert!(fits("rolling_zscore", "*_z*e") && !fits("rolling_zscore", "*_z*x"));
        assert!(fits("abs", "") && fits("abs", "*"));
    }

    #[test]
    fn types_are_named_without_their_layout() {
        let text = Arc::new(Field::new("a", DataType::Utf8View, true));
        assert_eq!(type_name(&DataType::List(Arc::clone(&text))), "text[]");
        let members = DataType::Struct(vec![text].into());
        assert_eq!(type_name(&members), "struct(a text)");
        let dictionary = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
        assert_eq!(type_name(&dictionary), "text");
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(type_name(&time), "timestamp UTC");
        assert_eq!(type_name(&DataType::Decimal128(10, 2)), "decimal128(10, 2)");
    }

    #[test]
    fn descriptions_are_cut_to_a_sentence() {
        assert_eq!(
            first_sentence("Returns the thing. More of it.\n\nEven more."),
            "Returns the thing"
        );
        assert_eq!(first_sentence("Returns\n  the thing."), "Returns the thing");
    }
}

//! The rows of an inline test as tables: sparse rows filled up, relative times resolved, values typed by the schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::execution::FunctionRegistry;
use datafusion::prelude::{SessionContext, col};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::catalog::{Case, Given, Problem, RuleFile, SIGNALS, Span, timestamp};
use crate::error::Result;
use crate::schema::Table;
use crate::suggest::nearest;

/// One batch for every table, empty for those that the test does not give.
///
/// # Errors
/// A table or column that is not in the schema, or a value that does not fit it, with its line.
pub(super) async fn tables(
    context: &SessionContext,
    case: &Case,
) -> Result<BTreeMap<Table, RecordBatch>, Box<Problem>> {
    for given in case.given.iter().filter(|given| given.table != SIGNALS) {
        if Table::from_name(&given.table).is_none() {
            let hint = nearest(&given.table, Table::ALL.map(Table::name))
                .map(|near| format!("did you mean `{near}`?"));
            return Err(fault(given, format!("no table `{}`", given.table), hint));
        }
    }
    let mut batches = BTreeMap::new();
    for table in Table::ALL {
        let rows: Vec<&Given> = case
            .given
            .iter()
            .filter(|given| given.table == table.name())
            .collect();
        let target = Target {
            name: table.name(),
            schema: table.schema(),
            time: table.time_column(),
        };
        batches.insert(table, batch(context, &target, &rows, case.at).await?);
    }
    Ok(batches)
}

/// The signals that a test of a correlation gives; `None` for other rules.
///
/// # Errors
/// A rule that the correlation does not look for, or what is wrong with a row of any table.
pub(super) async fn signals(
    context: &SessionContext,
    file: &RuleFile,
    case: &Case,
) -> Result<Option<RecordBatch>, Box<Problem>> {
    let given = case.given.iter().filter(|given| given.table == SIGNALS);
    let Some(correlation) = &file.rule.correlation else {
        return match given.into_iter().next() {
            Some(given) => Err(fault(
                given,
                format!("no table `{SIGNALS}`: only a correlation reads it"),
                None,
            )),
            None => Ok(None),
        };
    };
    let mut rows = Vec::new();
    for given in given {
        let text = |name: &str| given.columns.get(name).and_then(Value::as_str);
        let mut named = file.signals.iter().filter(|signal| {
            text("rule_id").is_none_or(|rule| rule == signal.rule.id)
                && text("signal").is_none_or(|alias| alias == signal.alias)
        });
        let Some(signal) = named.next() else {
            let rules = file.signals.iter().map(|signal| signal.rule.id.as_str());
            let hint = nearest(text("rule_id").unwrap_or_default(), rules)
                .map(|near| format!("did you mean `{near}`?"));
            let message = "no signal of the correlation is of that `rule_id` and `signal`";
            return Err(fault(given, message.into(), hint));
        };
        let mut given = given.clone();
        let rule = signal.rule.id.as_str();
        for (name, value) in [
            ("rule_id", rule.to_string()),
            ("signal", signal.alias.clone()),
            ("severity", signal.rule.severity.name().to_string()),
            ("finding_id", format!("{rule}-{}-{{i}}", given.line)),
        ] {
            let missing = !given.columns.contains_key(name);
            if missing {
                given.columns.insert(name.to_string(), value.into());
            }
        }
        if let Some(technique) = signal.rule.atlas.first() {
            let technique = technique.as_str().into();
            given.columns.entry("technique").or_insert(technique);
        }
        rows.push(given);
    }
    let target = Target {
        name: SIGNALS,
        schema: correlation.schema(),
        time: "event_time",
    };
    let rows: Vec<&Given> = rows.iter().collect();
    batch(context, &target, &rows, case.at).await.map(Some)
}

/// What rows are made for.
struct Target<'t> {
    name: &'t str,
    schema: SchemaRef,
    /// The column of their time.
    time: &'t str,
}

fn fault(given: &Given, message: String, hint: Option<String>) -> Box<Problem> {
    Box::new(Problem::error("L-TEST", Some(given.line), message).hint(hint))
}

async fn batch(
    context: &SessionContext,
    table: &Target<'_>,
    rows: &[&Given],
    at: i64,
) -> Result<RecordBatch, Box<Problem>> {
    let schema = Arc::clone(&table.schema);
    for given in rows {
        for name in given.columns.keys() {
            if schema.field_with_name(name).is_err() {
                let hint = nearest(
                    name,
                    schema.fields().iter().map(|field| field.name().as_str()),
                )
                .map(|near| format!("did you mean `{near}`?"));
                return Err(fault(
                    given,
                    format!("`{}` has no column `{name}`", table.name),
                    hint,
                ));
            }
        }
        if !given.columns.contains_key(table.time) {
            return Err(fault(
                given,
                format!("a row of `{}` needs its `{}`", table.name, table.time),
                None,
            ));
        }
    }
    let total: usize = rows.iter().map(|given| given.repeat as usize).sum();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let is_given = rows
            .iter()
            .any(|given| given.columns.contains_key(field.name()));
        if total == 0 || (!is_given && field.is_nullable()) {
            columns.push(new_null_array(field.data_type(), total));
            continue;
        }
        let mut cells = Vec::with_capacity(total);
        for given in rows {
            for repetition in 0..given.repeat {
                let cell = cell(table, field, given, repetition, cells.len(), at);
                cells.push(cell.map_err(|message| {
                    fault(given, format!("`{}`: {message}", field.name()), None)
                })?);
            }
        }
        let array = ScalarValue::iter_to_array(cells).map_err(|error| {
            let line = rows.first().map(|given| given.line);
            Box::new(Problem::error(
                "L-TEST",
                line,
                format!("`{}`: {}", field.name(), error.strip_backtrace()),
            ))
        })?;
        let array = match field.data_type() {
            DataType::Binary => binary(context, field.name(), &array)
                .await
                .map_err(|error| {
                    let line = rows.first().map(|given| given.line);
                    Box::new(Problem::error(
                        "L-TEST",
                        line,
                        format!("`{}`: {error:#}", field.name()),
                    ))
                })?,
            _ => array,
        };
        columns.push(array);
    }
    RecordBatch::try_new(schema, columns)
        .map_err(|error| Box::new(Problem::error("L-TEST", None, error.to_string())))
}

/// The time of a repetition of a row.
fn time(table: &Target<'_>, given: &Given, repetition: i64, at: i64) -> Result<i64, String> {
    let first = instant(&given.columns[table.time], at)?;
    Ok(first + repetition * given.every.0)
}

/// A relative time such as `-50m` or `+5s`, or an absolute one.
fn instant(value: &Value, at: i64) -> Result<i64, String> {
    let text = value
        .as_str()
        .ok_or("a time is a text such as \"-5m\", or a date and time")?;
    let relative = |text: &str| text.parse::<Span>().map(|span| span.0);
    match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(before), _) => Ok(at - relative(before)?),
        (_, Some(after)) => Ok(at + relative(after)?),
        _ => chrono::DateTime::parse_from_rfc3339(text)
            .map(|time| time.timestamp_micros())
            .map_err(|_| {
                format!("`{text}` is neither a time nor relative to `at`, such as \"-5m\"")
            }),
    }
}

fn cell(
    table: &Target<'_>,
    field: &Field,
    given: &Given,
    repetition: i64,
    row: usize,
    at: i64,
) -> Result<ScalarValue, String> {
    if field.name() == table.time {
        return Ok(timestamp(time(table, given, repetition, at)?));
    }
    if let Some(value) = given.columns.get(field.name()) {
        return typed(value, field.data_type(), repetition, at);
    }
    if field.is_nullable() {
        return ScalarValue::try_from(field.data_type()).map_err(|error| error.strip_backtrace());
    }
    // Required, and not given: what most rows would have.
    let text = match field.name().as_str() {
        "event_id" => format!("{}-{row}", table.name),
        "hour" => super::json::time_text(time(table, given, repetition, at)?)
            .chars()
            .take(13)
            .collect(),
        "outcome" => "success".into(),
        "record_role" => "primary".into(),
        "source_format" => "test".into(),
        "action_class" => "other".into(),
        _ => String::new(),
    };
    Ok(match field.data_type() {
        DataType::Utf8 => text.into(),
        DataType::Int64 => 0_i64.into(),
        DataType::Int32 => 0_i32.into(),
        DataType::Boolean => false.into(),
        DataType::Timestamp(..) => timestamp(time(table, given, repetition, at)?),
        other => return Err(format!("has no default of type {other}")),
    })
}

/// A value as the schema wants it. In texts, `{i}` is the number of the repetition.
fn typed(
    value: &Value,
    data_type: &DataType,
    repetition: i64,
    at: i64,
) -> Result<ScalarValue, String> {
    let wrong = || format!("{value} does not fit {data_type}");
    let text = || {
        value
            .as_str()
            .map(|text| text.replace("{i}", &repetition.to_string()))
            .ok_or_else(wrong)
    };
    Ok(match data_type {
        // Binary columns are given as the text that they are made from; see `binary`.
        DataType::Utf8 | DataType::Binary => ScalarValue::Utf8(Some(text()?)),
        DataType::LargeUtf8 => ScalarValue::LargeUtf8(Some(text()?)),
        DataType::Int64 => value.as_i64().ok_or_else(wrong)?.into(),
        DataType::Int32 => value
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
            .ok_or_else(wrong)?
            .into(),
        DataType::Float64 => value.as_f64().ok_or_else(wrong)?.into(),
        DataType::Boolean => value.as_bool().ok_or_else(wrong)?.into(),
        DataType::Timestamp(..) => timestamp(instant(value, at)?),
        DataType::List(element) => {
            let items = value.as_array().ok_or_else(wrong)?;
            let items = items
                .iter()
                .map(|item| typed(item, element.data_type(), repetition, at))
                .collect::<Result<Vec<_>, _>>()?;
            let values = match items.is_empty() {
                true => new_null_array(element.data_type(), 0),
                false => {
                    ScalarValue::iter_to_array(items).map_err(|error| error.strip_backtrace())?
                }
            };
            let offsets = arrow::buffer::OffsetBuffer::from_lengths([values.len()]);
            let list = arrow::array::ListArray::try_new(Arc::clone(element), offsets, values, None);
            ScalarValue::List(Arc::new(list.map_err(|error| error.to_string())?))
        }
        DataType::Struct(fields) => {
            let object = value.as_object().ok_or_else(wrong)?;
            if let Some(name) = object.keys().find(|name| fields.find(name).is_none()) {
                let near = nearest(name, fields.iter().map(|field| field.name().as_str()));
                return Err(format!(
                    "no field `{name}`{}",
                    near.map(|near| format!(", did you mean `{near}`?"))
                        .unwrap_or_default()
                ));
            }
            let columns = fields.iter().map(|field| {
                let scalar = match object.get(field.name()) {
                    Some(value) => typed(value, field.data_type(), repetition, at)?,
                    None => ScalarValue::try_from(field.data_type())
                        .map_err(|error| error.strip_backtrace())?,
                };
                scalar.to_array().map_err(|error| error.strip_backtrace())
            });
            let columns = columns.collect::<Result<Vec<_>, String>>()?;
            let nested = arrow::array::StructArray::try_new(fields.clone(), columns, None);
            ScalarValue::Struct(Arc::new(nested.map_err(|error| error.to_string())?))
        }
        other => return Err(format!("a column of type {other} cannot be given")),
    })
}

/// Texts as what an ingest would make of them: a sketch for near-duplicate search, else a SHA-256 (without a key, as a
/// test has none).
async fn binary(context: &SessionContext, name: &str, texts: &ArrayRef) -> Result<ArrayRef> {
    if name.ends_with("_sketch") {
        let field = Field::new("text", DataType::Utf8, true);
        let schema = Arc::new(arrow::datatypes::Schema::new(vec![field]));
        let batch = RecordBatch::try_new(schema, vec![Arc::clone(texts)])?;
        let sketch = context.udf("text_sketch")?.call(vec![col("text")]);
        let batches = context
            .read_batch(batch)?
            .select(vec![sketch])?
            .collect()
            .await?;
        let parts: Vec<&dyn Array> = batches
            .iter()
            .map(|batch| batch.column(0).as_ref())
            .collect();
        let sketches = arrow::compute::concat(&parts)?;
        return Ok(arrow::compute::cast(&sketches, &DataType::Binary)?);
    }
    let texts: &StringArray = texts.as_string();
    let hashes: BinaryArray = texts
        .iter()
        .map(|text| text.map(|text| Sha256::digest(text).to_vec()))
        .collect();
    Ok(Arc::new(hashes))
}

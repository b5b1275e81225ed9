//! OpenTelemetry's OTLP/JSON: one export object with many spans or log records, as the collector's file exporter
//! writes it line by line.
//!
//! The conventions for generative AI have been renamed three times, and a fleet runs all generations at once: `columns`
//! maps their attributes, `messages` and `indexed` their texts, wherever they stand. A span that calls a model is a call
//! of its own (`primary`); spans of agents, tools and workflows, and events that bring the texts of a span, are
//! `supplement` and find it by trace and span id.
//!
//! Protobuf is rewritten as JSON first (`protobuf`). A flat record with the same names as keys is another format's, which
//! reads them with [`flat`].
//!
//! Left out: metrics, and spans that are not about generative AI; both are counted as skipped.

pub(super) mod columns;
mod event;
mod indexed;
mod messages;
mod plain;
pub(super) mod protobuf;
mod span;
#[cfg(test)]
mod tests;
mod texts;

pub(crate) use messages::messages;
pub(super) use span::blocked;

use super::json::Value;
use super::record::{CallRow, Reject, Rows};
use columns::Work;

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    ["resourceSpans", "resourceLogs", "resourceMetrics"]
        .iter()
        .any(|key| record.get(key).is_some())
}

/// Whether a record has names of the conventions for keys, as a logger writes that was given a span's attributes.
pub(super) fn is_flat(record: Value<'_>) -> bool {
    let mut entries = record.entries();
    entries.any(|(key, value)| key.starts_with("gen_ai.") && !value.is_null())
}

/// Reads such a record as the attributes it is, texts and all, and gives its role. Time and outcome are the caller's.
pub(super) fn flat<'a>(record: Value<'a>, row: &mut CallRow<'a>) -> &'static str {
    let name = record.get("name").and_then(Value::as_str);
    let work = columns::fill(record, None, name, row);
    texts::attributes(record, row);
    span::name(record, row);
    match (work, row.call.operation) {
        (Work::Around, Some(operation)) if operation != "other" => "supplement",
        _ => "primary",
    }
}

/// Decodes one export object.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    if !record.is_object() {
        return Err(Reject::Shape);
    }
    let mut spans = Vec::new();
    each(
        record,
        "resourceSpans",
        &["scopeSpans", "instrumentationLibrarySpans"],
        "spans",
        &mut |place| spans.push(place),
    );
    span::decode(&spans, rows);
    let mut events = Vec::new();
    each(
        record,
        "resourceLogs",
        &["scopeLogs", "instrumentationLibraryLogs"],
        "logRecords",
        &mut |place| events.push(place),
    );
    event::decode(&events, rows);
    if record.get("resourceMetrics").is_some() {
        rows.skipped.push("OpenTelemetry metrics");
    }
    // Every row has its own `attributes`: what is left of one span says nothing about the next.
    for (_, value) in record.entries() {
        value.mark("attributes");
    }
    Ok(())
}

/// A span or log record with what it stands under.
#[derive(Clone, Copy)]
struct Place<'a> {
    item: Value<'a>,
    resource: Option<Value<'a>>,
    scope: Option<Value<'a>>,
}

impl<'a> Place<'a> {
    fn plain(self) -> Option<Value<'a>> {
        plain::plain(self.item, self.resource, self.scope)
    }
}

fn each<'a>(
    record: Value<'a>,
    resources: &str,
    scopes: &[&str],
    items: &str,
    found: &mut dyn FnMut(Place<'a>),
) {
    let list = |value: Value<'a>, key: &str| value.get(key).map(Value::structure);
    for group in list(record, resources)
        .into_iter()
        .flat_map(Value::items_or_self)
    {
        let resource = group.get("resource");
        for scoped in scopes
            .iter()
            .filter_map(|key| list(group, key))
            .flat_map(Value::items_or_self)
        {
            let scope = scoped
                .get("scope")
                .or_else(|| scoped.get("instrumentationLibrary"));
            for item in list(scoped, items)
                .into_iter()
                .flat_map(Value::items_or_self)
            {
                found(Place {
                    item,
                    resource,
                    scope,
                });
            }
        }
    }
}

/// A trace or span id in lower-case hex. The protobuf library's own JSON mapping would write it in base64, and some do.
fn id<'a>(record: Value<'a>, key: &str, column: &'static str) -> Option<&'a str> {
    use base64::Engine as _;
    let text = record.text(key, column)?;
    if text.bytes().all(|byte| byte == b'0') {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            record.keep(&text.to_ascii_lowercase())
        } else {
            text
        });
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    if !matches!(bytes.len(), 8 | 16) {
        return None;
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(record.keep(&hex))
}

//! Spans: one call of a model each, or the work around it.

use std::collections::HashMap;

use super::super::body::parts::{Turn, code_at};
use super::super::json::Value;
use super::super::record::{CallRow, Direction, PartType, Reject, Rows};
use super::super::{guardrail, residue};
use super::columns::{self, Work};
use super::{Place, id, texts};

/// A chain of parents longer than this is a loop.
const DEEPEST_TRACE: usize = 64;

/// A span of the export: its parent, and the row it gave.
struct Node<'a> {
    parent: Option<&'a str>,
    row: Option<(usize, Work)>,
}

pub(super) fn decode<'a>(spans: &[Place<'a>], rows: &mut Rows<'a>) {
    let mut nodes: HashMap<&'a str, Node<'a>> = HashMap::with_capacity(spans.len());
    for place in spans {
        let parent = id(place.item, "parentSpanId", "attributes");
        let span = id(place.item, "spanId", "span_id");
        let mut made = None;
        if !place.item.get("attributes").is_some_and(speaks_of_genai) {
            rows.skipped.push("span without GenAI attributes");
        } else {
            let decoded = place.plain().ok_or(Reject::Shape).and_then(read);
            match decoded {
                Ok((row, work)) => {
                    made = Some((rows.calls.len(), work));
                    rows.calls.push(row);
                }
                Err(reject) => rows.rejected.push((reject, place.item)),
            }
        }
        if let Some(span) = span {
            nodes.insert(span, Node { parent, row: made });
        }
    }
    settle_roles(&nodes, rows);
}

/// The same question as [`columns::is_genai`], of a list that is not plain yet.
fn speaks_of_genai(attributes: Value<'_>) -> bool {
    if attributes.is_object() {
        return columns::is_genai(attributes);
    }
    let mut keys = attributes
        .items()
        .filter_map(|entry| entry.get("key")?.as_str());
    keys.any(columns::is_genai_key)
}

/// A gateway's span above a client's tells of the same call: only the innermost counts. What runs inside a tool or an
/// agent is a call of its own.
fn settle_roles(nodes: &HashMap<&str, Node<'_>>, rows: &mut Rows<'_>) {
    for node in nodes.values() {
        if !matches!(node.row, Some((_, Work::Model))) {
            continue;
        }
        let mut parent = node.parent;
        for _ in 0..DEEPEST_TRACE {
            let Some(above) = parent.and_then(|id| nodes.get(id)) else {
                break;
            };
            match above.row {
                Some((_, Work::Around)) => break,
                Some((row, Work::Model)) => rows.calls[row].call.record_role = "supplement",
                None => {}
            }
            parent = above.parent;
        }
    }
}

fn read<'a>(span: Value<'a>) -> Result<(CallRow<'a>, Work), Reject> {
    let mut row = CallRow::default();
    let call = &mut row.call;
    call.event_time = span
        .time("startTimeUnixNano", "event_time")
        .ok_or(Reject::Time)?;
    call.source_format = "otel.span";
    call.trace_id = id(span, "traceId", "trace_id");
    call.span_id = id(span, "spanId", "span_id");
    if let (Some(trace), Some(span_id)) = (call.trace_id, call.span_id) {
        call.event_id = span.format(format_args!("{trace}-{span_id}"));
    }
    call.duration_ms = duration(span);
    drop_if_empty(span, "parentSpanId");
    let attributes = span
        .get("attributes")
        .ok_or(Reject::Missing("attributes"))?;
    let name = span.get("name").and_then(Value::as_str);
    let work = columns::fill(attributes, span.get("resource"), name, &mut row);
    match work {
        Work::Model => {
            row.call.record_role = "primary";
            columns::caller_or_service(&mut row.call);
        }
        Work::Around => row.call.record_role = "supplement",
    }
    row.call.request_id = row.call.request_id.or(row.call.span_id);
    texts::attributes(attributes, &mut row);
    events(span, &mut row);
    outcome(span, attributes, &mut row);
    self::name(span, &row);
    finish(span, &mut row);
    Ok((row, work))
}

/// Exporters write an empty id for none.
pub(super) fn drop_if_empty(item: Value<'_>, key: &str) {
    if item.get(key).is_some_and(|id| id.as_text().is_none()) {
        item.drop_field(key);
    }
}

/// Milliseconds from start to end, if the end is not before it.
fn duration(span: Value<'_>) -> Option<f64> {
    let nanos = |key| span.get(key).and_then(Value::as_int);
    let (start, end) = (nanos("startTimeUnixNano")?, nanos("endTimeUnixNano")?);
    let length = end.checked_sub(start).filter(|length| *length >= 0)?;
    span.drop_field("endTimeUnixNano");
    Some(length as f64 / 1e6)
}

/// Older generations put texts into events of the span; exceptions are events of all.
fn events<'a>(span: Value<'a>, row: &mut CallRow<'a>) {
    let mut numbers = [0, 0];
    let mut inputs = 0;
    for event in span.get("events").into_iter().flat_map(Value::items) {
        let name = event
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(attributes) = event.get("attributes") else {
            continue;
        };
        if name == "exception" {
            texts::exception(attributes, row);
        } else if let Some(kind) = texts::message_of(name) {
            let number = &mut numbers[usize::from(kind.1 == Direction::Output)];
            texts::message(attributes, kind, *number, row);
            *number += 1;
            inputs += usize::from(kind.1 == Direction::Input);
        } else {
            texts::attributes(attributes, row);
        }
    }
    if inputs > 0 {
        super::messages::request_was_read(inputs, row);
    }
}

fn outcome<'a>(span: Value<'a>, attributes: Value<'a>, row: &mut CallRow<'a>) {
    let error = code_at(attributes, "error.type", "error_type");
    row.call.error_type = error.or(row.call.error_type);
    let mut failed = error.is_some();
    if let Some(status) = span.get("status") {
        if let Some(message) = status.take("message", "content") {
            Turn::ERROR.leaves(row, PartType::Text, message);
        }
        let word = status
            .get("code")
            .and_then(Value::as_text)
            .unwrap_or_default();
        failed |= word == "2"
            || word.eq_ignore_ascii_case("STATUS_CODE_ERROR")
            || word.eq_ignore_ascii_case("error");
        status.drop_field("code");
    }
    row.call.outcome = if failed { "failure" } else { "success" };
    blocked(row);
}

/// A filter that stopped the model is not a failure of the call.
pub(in crate::ingest) fn blocked(row: &mut CallRow<'_>) {
    const REASONS: [&str; 8] = [
        "content_filter",
        "content_filtered",
        "guardrail_intervened",
        "refusal",
        "safety",
        "blocklist",
        "prohibited_content",
        "spii",
    ];
    let is_filter = |reason: &str| {
        REASONS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(reason))
    };
    let call = &mut row.call;
    if call.finish_reasons.iter().any(|reason| is_filter(reason)) && call.outcome != "failure"
        || call.error_type.is_some_and(is_filter)
    {
        call.outcome = "blocked";
    }
}

/// Most names are made of operation and model, and say nothing more.
pub(super) fn name(span: Value<'_>, row: &CallRow<'_>) {
    let Some(name) = span.get("name").and_then(Value::as_str) else {
        return;
    };
    let mut words = name.split(' ');
    let (first, second) = (words.next(), words.next());
    let says_nothing_new = first == row.call.operation_raw
        && (second.is_none() || second == row.call.model_id_raw)
        && words.next().is_none();
    if says_nothing_new {
        span.drop_field("name");
    }
}

/// The last steps of every row of this format.
pub(super) fn finish<'a>(item: Value<'a>, row: &mut CallRow<'a>) {
    if let Some(resource) = item.get("resource") {
        // A command line may hold anything, secrets above all.
        for key in [
            "process.command_line",
            "process.command_args",
            "process.command",
        ] {
            resource.drop_field(key);
        }
    }
    for (key, value) in item.entries() {
        // `chat gpt-4o` has a space and is no prose.
        let is_name = key == "name" && value.as_str().is_some_and(columns::is_span_name);
        if !is_name {
            residue::sieve_entry(key, value, row);
        }
    }
    guardrail::settle(&mut row.call);
    row.complete();
    row.call.attributes = item.leftover();
}

//! Log records: events that bring the texts of a span, and now and then all that is known of a call.

use std::collections::HashMap;

use super::super::body::parts::code_at;
use super::super::json::Value;
use super::super::record::{CallRow, Direction, Reject, Rows};
use super::columns::{self, Work};
use super::{Place, id, messages, span, texts};

/// Message events of one span, which make one row.
#[derive(Default)]
struct Group<'a> {
    row: usize,
    inputs: usize,
    outputs: usize,
    /// What is left of each event.
    rest: Vec<&'a str>,
}

pub(super) fn decode<'a>(events: &[Place<'a>], rows: &mut Rows<'a>) {
    let mut groups: HashMap<(&'a str, &'a str), Group<'a>> = HashMap::new();
    for place in events {
        let Some(event) = place.plain() else {
            rows.rejected.push((Reject::Shape, place.item));
            continue;
        };
        let name = name(event);
        let is_genai = name.is_some_and(columns::is_genai_key)
            || event.get("attributes").is_some_and(columns::is_genai);
        if !is_genai {
            rows.skipped.push("log record without GenAI attributes");
            continue;
        }
        if let Err(reject) = read(event, name, &mut groups, rows) {
            rows.rejected.push((reject, place.item));
        }
    }
    for group in groups.values() {
        let call = &mut rows.calls[group.row].call;
        if let (Some(place), [_, _, ..]) = (events.first(), group.rest.as_slice()) {
            let list = group.rest.join(",");
            call.attributes = Some(place.item.format(format_args!("{{\"events\":[{list}]}}")));
        }
    }
}

/// The event's name: a field of its own now, an attribute before.
fn name(event: Value<'_>) -> Option<&str> {
    let attribute = || event.get("attributes")?.get("event.name");
    event.get("eventName").or_else(attribute)?.as_str()
}

fn read<'a>(
    event: Value<'a>,
    name: Option<&'a str>,
    groups: &mut HashMap<(&'a str, &'a str), Group<'a>>,
    rows: &mut Rows<'a>,
) -> Result<(), Reject> {
    let observed = event.time("observedTimeUnixNano", "log_time");
    let time = event
        .time("timeUnixNano", "event_time")
        .or(observed)
        .ok_or(Reject::Time)?;
    let (trace, span_id) = (
        id(event, "traceId", "trace_id"),
        id(event, "spanId", "span_id"),
    );
    let kind = name.and_then(texts::message_of);
    let place = kind.and(trace).zip(span_id);

    let known = place.and_then(|place| groups.get(&place));
    let is_first = known.is_none();
    let mut row = match known {
        Some(group) => std::mem::take(&mut rows.calls[group.row]),
        None => start(event, name, (trace, span_id)),
    };
    let call = &mut row.call;
    call.event_time = if is_first {
        time
    } else {
        call.event_time.min(time)
    };
    call.log_time = call.log_time.max(observed);
    let attributes = event.get("attributes");
    let mut work = Work::Around;
    if let Some(attributes) = attributes {
        // What an event repeats of the first has its column already.
        let mut repeated = CallRow::default();
        let target = if is_first { &mut row } else { &mut repeated };
        work = columns::fill(attributes, event.get("resource"), None, target);
        attributes.drop_field("event.name");
        texts::exception(attributes, &mut row);
        texts::attributes(attributes, &mut row);
    }
    if row.call.operation_raw.is_none() {
        row.call.operation = None;
    }
    let mut alone = Group::default();
    let group = match place {
        Some(place) => groups.entry(place).or_insert(Group {
            row: rows.calls.len(),
            ..Group::default()
        }),
        None => &mut alone,
    };
    if let Some(kind) = kind {
        let number = match kind.1 {
            Direction::Output => &mut group.outputs,
            _ => &mut group.inputs,
        };
        if let Some(body) = event.get("body").or(attributes) {
            texts::message(body, kind, *number, &mut row);
        }
        *number += 1;
        if kind.1 == Direction::Input {
            row.call.message_count = None;
            messages::request_was_read(group.inputs, &mut row);
        }
    }
    outcome(attributes, &mut row);
    // Without a span there is nothing to supplement: the event is the call.
    row.call.record_role = match (work, row.call.span_id) {
        (Work::Model, None) => {
            columns::caller_or_service(&mut row.call);
            "primary"
        }
        _ => "supplement",
    };
    row.call.request_id = row.call.request_id.or(row.call.span_id);
    event.drop_field("eventName");
    span::drop_if_empty(event, "traceId");
    span::drop_if_empty(event, "spanId");
    if !is_first {
        event.drop_field("resource");
        event.drop_field("scope");
    }
    span::finish(event, &mut row);
    group.rest.extend(row.call.attributes);
    if is_first {
        rows.calls.push(row);
    } else {
        rows.calls[group.row] = row;
    }
    Ok(())
}

/// A row for the first event of its kind. Several events of a span are told apart by time and name.
fn start<'a>(
    event: Value<'a>,
    name: Option<&'a str>,
    (trace, span): (Option<&'a str>, Option<&'a str>),
) -> CallRow<'a> {
    let mut row = CallRow::default();
    let call = &mut row.call;
    call.source_format = "otel.event";
    call.trace_id = trace;
    call.span_id = span;
    let at = ["timeUnixNano", "observedTimeUnixNano"]
        .iter()
        .find_map(|key| event.get(key)?.as_text().filter(|text| *text != "0"));
    if let (Some(trace), Some(span), Some(at)) = (trace, span, at) {
        let name = name.unwrap_or("event");
        call.event_id = event.format(format_args!("{trace}-{span}-{at}-{name}"));
    }
    row
}

fn outcome<'a>(attributes: Option<Value<'a>>, row: &mut CallRow<'a>) {
    let error = attributes.and_then(|attributes| code_at(attributes, "error.type", "error_type"));
    let call = &mut row.call;
    call.error_type = error.or(call.error_type);
    if call.error_type.is_some() {
        call.outcome = "failure";
    } else if !call.finish_reasons.is_empty()
        || row
            .parts
            .iter()
            .any(|part| part.direction == Direction::Output)
    {
        call.outcome = "success";
    } else if call.outcome.is_empty() {
        call.outcome = "unknown";
    }
    span::blocked(row);
}

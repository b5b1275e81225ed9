//! OTLP in Protobuf, rewritten as OTLP/JSON.
//!
//! The collector's file exporter writes `format: proto` as frames of the same messages that it writes as JSON. Their
//! layout is fixed, small and may only grow, so it stands here as a table, and a frame goes the way of every other
//! record once it is written as JSON. Fields that the table does not know are left out, as the specification asks of
//! readers; metrics are named and not read.

use std::fmt::Write as _;

use base64::Engine as _;

use crate::ingest::json::write_string;

/// Why a frame cannot be read.
pub(in crate::ingest) const DAMAGED: &str = "neither JSON nor OTLP in Protobuf";

/// Values nest in values.
const DEEPEST: u8 = 64;

#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// Ids of traces and spans, in hex.
    Id,
    Base64,
    Bool,
    /// 64 bits, which JSON has as text.
    Integer,
    Fixed,
    Enumeration,
    Double,
    One(&'static [Field]),
    Many(&'static [Field]),
}

struct Field {
    number: u64,
    name: &'static str,
    kind: Kind,
}

const fn field(number: u64, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind }
}

static ANY_VALUE: [Field; 7] = [
    field(1, "stringValue", Kind::Text),
    field(2, "boolValue", Kind::Bool),
    field(3, "intValue", Kind::Integer),
    field(4, "doubleValue", Kind::Double),
    field(5, "arrayValue", Kind::One(&ARRAY)),
    field(6, "kvlistValue", Kind::One(&KEY_VALUES)),
    field(7, "bytesValue", Kind::Base64),
];
static ARRAY: [Field; 1] = [field(1, "values", Kind::Many(&ANY_VALUE))];
static KEY_VALUES: [Field; 1] = [field(1, "values", Kind::Many(&KEY_VALUE))];
static KEY_VALUE: [Field; 2] = [
    field(1, "key", Kind::Text),
    field(2, "value", Kind::One(&ANY_VALUE)),
];
static RESOURCE: [Field; 1] = [field(1, "attributes", Kind::Many(&KEY_VALUE))];
static SCOPE: [Field; 3] = [
    field(1, "name", Kind::Text),
    field(2, "version", Kind::Text),
    field(3, "attributes", Kind::Many(&KEY_VALUE)),
];
static SPANS: [Field; 1] = [field(1, "resourceSpans", Kind::Many(&RESOURCE_SPANS))];
static RESOURCE_SPANS: [Field; 3] = [
    field(1, "resource", Kind::One(&RESOURCE)),
    field(2, "scopeSpans", Kind::Many(&SCOPE_SPANS)),
    field(3, "schemaUrl", Kind::Text),
];
static SCOPE_SPANS: [Field; 3] = [
    field(1, "scope", Kind::One(&SCOPE)),
    field(2, "spans", Kind::Many(&SPAN)),
    field(3, "schemaUrl", Kind::Text),
];
static SPAN: [Field; 12] = [
    field(1, "traceId", Kind::Id),
    field(2, "spanId", Kind::Id),
    field(3, "traceState", Kind::Text),
    field(4, "parentSpanId", Kind::Id),
    field(5, "name", Kind::Text),
    field(6, "kind", Kind::Enumeration),
    field(7, "startTimeUnixNano", Kind::Fixed),
    field(8, "endTimeUnixNano", Kind::Fixed),
    field(9, "attributes", Kind::Many(&KEY_VALUE)),
    field(11, "events", Kind::Many(&EVENT)),
    field(13, "links", Kind::Many(&LINK)),
    field(15, "status", Kind::One(&STATUS)),
];
static EVENT: [Field; 3] = [
    field(1, "timeUnixNano", Kind::Fixed),
    field(2, "name", Kind::Text),
    field(3, "attributes", Kind::Many(&KEY_VALUE)),
];
static LINK: [Field; 3] = [
    field(1, "traceId", Kind::Id),
    field(2, "spanId", Kind::Id),
    field(4, "attributes", Kind::Many(&KEY_VALUE)),
];
static STATUS: [Field; 2] = [
    field(2, "message", Kind::Text),
    field(3, "code", Kind::Enumeration),
];
static LOGS: [Field; 1] = [field(1, "resourceLogs", Kind::Many(&RESOURCE_LOGS))];
static RESOURCE_LOGS: [Field; 3] = [
    field(1, "resource", Kind::One(&RESOURCE)),
    field(2, "scopeLogs", Kind::Many(&SCOPE_LOGS)),
    field(3, "schemaUrl", Kind::Text),
];
static SCOPE_LOGS: [Field; 3] = [
    field(1, "scope", Kind::One(&SCOPE)),
    field(2, "logRecords", Kind::Many(&LOG_RECORD)),
    field(3, "schemaUrl", Kind::Text),
];
static LOG_RECORD: [Field; 9] = [
    field(1, "timeUnixNano", Kind::Fixed),
    field(2, "severityNumber", Kind::Enumeration),
    field(3, "severityText", Kind::Text),
    field(5, "body", Kind::One(&ANY_VALUE)),
    field(6, "attributes", Kind::Many(&KEY_VALUE)),
    field(9, "traceId", Kind::Id),
    field(10, "spanId", Kind::Id),
    field(11, "observedTimeUnixNano", Kind::Fixed),
    field(12, "eventName", Kind::Text),
];
static METRICS: [Field; 1] = [field(1, "resourceMetrics", Kind::Many(&[]))];

/// Rewrites a message. `None` when it is none of OTLP's.
pub(in crate::ingest) fn to_json(message: &[u8]) -> Option<String> {
    let message = Message::parse(message)?;
    // All three signals have their data in the same place; what is in it tells them apart.
    let layout: &[Field] = match message.fields().find_map(|(_, value)| signal(value)) {
        Some(Signal::Spans) => &SPANS,
        Some(Signal::Logs) => &LOGS,
        Some(Signal::Metrics) => &METRICS,
        // Data of nothing is data as well, but of what nobody can say.
        None => return None,
    };
    let mut json = String::with_capacity(2 * message.0.len());
    write_message(message, layout, DEEPEST, &mut json)?;
    Some(json)
}

enum Signal {
    Spans,
    Logs,
    Metrics,
}

/// Which signal the data of a resource belong to.
fn signal(resource: Wire<'_>) -> Option<Signal> {
    let record = nested(resource, 2)?.find_map(|scope| nested(scope, 2)?.next())?;
    let Wire::Bytes(record) = record else {
        return None;
    };
    let record = Message::parse(record).filter(|record| !record.0.is_empty())?;
    let has = |numbers: &[u64]| {
        record
            .fields()
            .any(|(number, value)| numbers.contains(&number) && matches!(value, Wire::Fixed64(_)))
    };
    Some(if has(&[7, 8]) {
        Signal::Spans
    } else if has(&[1, 11]) {
        Signal::Logs
    } else {
        Signal::Metrics
    })
}

/// The values of a field of a message.
fn nested(message: Wire<'_>, number: u64) -> Option<impl Iterator<Item = Wire<'_>>> {
    let Wire::Bytes(bytes) = message else {
        return None;
    };
    Some(Message::parse(bytes)?.values(number))
}

#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// A message that was looked through once, so that its fields can be read as often as they are asked for: a list of them
/// would take sixteen times the message.
#[derive(Debug, Clone, Copy)]
struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Message<'a>> {
        let mut rest = bytes;
        while !rest.is_empty() {
            next(&mut rest)?;
        }
        Some(Message(bytes))
    }

    /// Numbers and values, in order.
    fn fields(self) -> impl Iterator<Item = (u64, Wire<'a>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || next(&mut rest))
    }

    fn values(self, number: u64) -> impl Iterator<Item = Wire<'a>> {
        let fields = self.fields().filter(move |(known, _)| *known == number);
        fields.map(|(_, value)| value)
    }
}

/// Takes a field; `None` at the end, and where there is none.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let tag = varint(bytes)?;
    let value = match tag & 7 {
        0 => Wire::Varint(varint(bytes)?),
        1 => Wire::Fixed64(u64::from_le_bytes(*take(bytes, 8)?.first_chunk()?)),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Wire::Bytes(take(bytes, length)?)
        }
        5 => {
            take(bytes, 4)?;
            Wire::Fixed32
        }
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn write_message(
    message: Message<'_>,
    layout: &[Field],
    depth: u8,
    out: &mut String,
) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    out.push('{');
    let mut any = false;
    for Field { number, name, kind } in layout {
        let mut values = message.values(*number);
        let is_list = matches!(kind, Kind::Many(_));
        // Of several where one is due the last counts.
        let first = if is_list {
            values.next()
        } else {
            values.by_ref().last()
        };
        let Some(first) = first else { continue };
        if std::mem::replace(&mut any, true) {
            out.push(',');
        }
        write_string(out, name);
        out.push(':');
        if !is_list {
            write_value(first, *kind, depth, out)?;
            continue;
        }
        out.push('[');
        write_value(first, *kind, depth, out)?;
        for value in values {
            out.push(',');
            write_value(value, *kind, depth, out)?;
        }
        out.push(']');
    }
    out.push('}');
    Some(())
}

fn write_value(value: Wire<'_>, kind: Kind, depth: u8, out: &mut String) -> Option<()> {
    // Writing to memory cannot fail.
    let _ = match (kind, value) {
        (Kind::Text, Wire::Bytes(bytes)) => {
            write_string(out, std::str::from_utf8(bytes).ok()?);
            Ok(())
        }
        (Kind::Id, Wire::Bytes(bytes)) => {
            out.push('"');
            let hex = bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"));
            out.push('"');
            hex
        }
        (Kind::Base64, Wire::Bytes(bytes)) => {
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            write!(out, "\"{text}\"")
        }
        (Kind::Bool, Wire::Varint(number)) => write!(out, "{}", number != 0),
        (Kind::Integer, Wire::Varint(number)) => write!(out, "\"{}\"", number.cast_signed()),
        (Kind::Enumeration, Wire::Varint(number)) => write!(out, "{}", number.cast_signed()),
        (Kind::Fixed, Wire::Fixed64(number)) => write!(out, "\"{number}\""),
        (Kind::Double, Wire::Fixed64(bits)) => {
            let number = f64::from_bits(bits);
            match serde_json::Number::from_f64(number) {
                Some(number) => write!(out, "{number}"),
                None => write!(out, "\"{number}\""),
            }
        }
        (Kind::One(layout) | Kind::Many(layout), Wire::Bytes(bytes)) => {
            return write_message(Message::parse(bytes)?, layout, depth, out);
        }
        _ => return None,
    };
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of length-delimited bytes.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        // All here are short, or need two bytes at most.
        if content.len() < 128 {
            out.push(content.len() as u8);
        } else {
            out.extend([content.len() as u8 | 0x80, (content.len() >> 7) as u8]);
        }
        [&out, content].concat()
    }

    fn fixed(number: u8, value: u64) -> Vec<u8> {
        [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
    }

    fn attribute(key: &str, value: &[u8]) -> Vec<u8> {
        [bytes(1, key.as_bytes()), bytes(2, value)].concat()
    }

    fn data(record: &[u8]) -> Vec<u8> {
        let resource = bytes(1, &bytes(1, &attribute("service.name", &bytes(1, b"bot"))));
        let scope = [bytes(1, &bytes(1, b"genai")), bytes(2, record)].concat();
        bytes(1, &[resource, bytes(2, &scope)].concat())
    }

    #[test]
    fn a_span_is_the_same_in_both_encodings() {
        let list = bytes(5, &bytes(1, &bytes(1, b"stop")));
        let span = [
            bytes(1, &[0x0a; 16]),
            bytes(2, &[0xb7; 8]),
            bytes(5, b"chat gpt-4o"),
            vec![6 << 3, 3],
            fixed(7, 1_772_445_600_000_000_000),
            fixed(8, 1_772_445_601_250_000_000),
            bytes(
                9,
                &attribute("gen_ai.usage.input_tokens", &[3 << 3, 0xac, 0x02]),
            ),
            bytes(
                9,
                &attribute(
                    "minus",
                    &[
                        3 << 3,
                        0xff,
                        0xff,
                        0xff,
                        0xff,
                        0xff,
                        0xff,
                        0xff,
                        0xff,
                        0xff,
                        0x01,
                    ],
                ),
            ),
            bytes(9, &attribute("half", &fixed(4, 0.5_f64.to_bits()))),
            bytes(9, &attribute("stream", &[2 << 3, 1])),
            bytes(9, &attribute("finish", &list)),
            bytes(15, &[3 << 3, 1]),
            // A field that came later.
            [&[0x85_u8, 0x01][..], &[0; 4]].concat(),
        ]
        .concat();
        let expected = concat!(
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"bot"}}]},"#,
            r#""scopeSpans":[{"scope":{"name":"genai"},"spans":[{"traceId":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","#,
            r#""spanId":"b7b7b7b7b7b7b7b7","name":"chat gpt-4o","kind":3,"startTimeUnixNano":"1772445600000000000","#,
            r#""endTimeUnixNano":"1772445601250000000","attributes":[{"key":"gen_ai.usage.input_tokens","#,
            r#""value":{"intValue":"300"}},{"key":"minus","value":{"intValue":"-1"}},{"key":"half","#,
            r#""value":{"doubleValue":0.5}},{"key":"stream","value":{"boolValue":true}},{"key":"finish","#,
            r#""value":{"arrayValue":{"values":[{"stringValue":"stop"}]}}}],"status":{"code":1}}]}]}]}"#,
        );
        assert_eq!(to_json(&data(&span)).as_deref(), Some(expected));
    }

    #[test]
    fn logs_and_metrics_are_told_apart() {
        let log = [
            fixed(11, 5),
            bytes(5, &bytes(1, b"hello")),
            bytes(12, b"gen_ai.choice"),
        ]
        .concat();
        let json = to_json(&data(&log)).unwrap();
        assert!(
            json.contains(r#""logRecords":[{"body":{"stringValue":"hello"},"observedTimeUnixNano":"5","eventName":"gen_ai.choice"}]"#),
            "{json}"
        );
        let metric = [bytes(1, b"gen_ai.client.token.usage"), bytes(9, b"")].concat();
        assert_eq!(
            to_json(&data(&metric)).as_deref(),
            Some(r#"{"resourceMetrics":[{}]}"#)
        );
    }

    #[test]
    fn anything_else_is_none() {
        let mut deep = bytes(1, b"x");
        for _ in 0..40 {
            deep = bytes(5, &bytes(1, &deep));
        }
        let too_deep = [fixed(11, 5), bytes(5, &deep)].concat();
        for message in [
            &b""[..],
            b"hello",
            b"\x0a\xff\xff",
            &[0x0a; 40],
            &data(&too_deep),
            &data(b""),
        ] {
            assert_eq!(to_json(message), None, "{message:?}");
        }
        let text = [fixed(11, 5), bytes(5, &bytes(1, b"\xff"))].concat();
        assert_eq!(to_json(&data(&text)), None, "a text that is no UTF-8");
    }
}

//! OTLP's typed attribute lists, written out as plain JSON.
//!
//! `[{"key": "a", "value": {"intValue": "7"}}]` becomes `{"a": 7}`, so that every accessor of [`Value`] works on a span
//! as on any other record, and what no column takes reads well in `attributes`. Messages that came as nested lists and
//! messages that came as JSON in a string are the same afterwards.

use super::super::json::{Value, write_string};

/// A span or log record as a plain object: its own fields, `attributes` as an object, and the `resource` and `scope` it
/// stands under. `None` when it nests deeper than a record may.
pub(super) fn plain<'a>(
    item: Value<'a>,
    resource: Option<Value<'a>>,
    scope: Option<Value<'a>>,
) -> Option<Value<'a>> {
    let mut out = String::with_capacity(1024);
    out.push('{');
    for (key, value) in item.entries() {
        field(key, value, &mut out);
    }
    if let Some(attributes) = resource.and_then(|resource| resource.get("attributes")) {
        begin("resource", &mut out);
        object(attributes, &mut out);
    }
    if let Some(scope) = scope {
        begin("scope", &mut out);
        nested(scope, &mut out);
    }
    out.push('}');
    item.parse_within(&out)
}

fn begin(key: &str, out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
    write_string(out, key);
    out.push(':');
}

fn field(key: &str, value: Value<'_>, out: &mut String) {
    begin(key, out);
    match key {
        "attributes" => object(value, out),
        "body" => any(value, out),
        // Span events and links have attributes of their own.
        "events" | "links" => list(value, nested, out),
        _ => out.push_str(value.to_json()),
    }
}

fn nested(value: Value<'_>, out: &mut String) {
    if !value.is_object() {
        return out.push_str(value.to_json());
    }
    out.push('{');
    for (key, value) in value.entries() {
        field(key, value, out);
    }
    out.push('}');
}

fn list(values: Value<'_>, write: fn(Value<'_>, &mut String), out: &mut String) {
    out.push('[');
    for value in values.items() {
        if !out.ends_with('[') {
            out.push(',');
        }
        write(value, out);
    }
    out.push(']');
}

/// A list of keys and values as an object. One that is an object already, as some exporters write, stays.
fn object(attributes: Value<'_>, out: &mut String) {
    if !attributes.is_array() {
        return out.push_str(attributes.to_json());
    }
    out.push('{');
    for entry in attributes.items() {
        if let Some(key) = entry.get("key").and_then(Value::as_str) {
            begin(key, out);
            match entry.get("value") {
                Some(value) => any(value, out),
                None => out.push_str("null"),
            }
        }
    }
    out.push('}');
}

/// A typed value. An empty one is null; what has no type that is known stays as it is.
fn any(value: Value<'_>, out: &mut String) {
    if !value.is_object() {
        return out.push_str(value.to_json());
    }
    let Some((kind, inner)) = value.entries().find(|(_, inner)| !inner.is_null()) else {
        return out.push_str("null");
    };
    match kind {
        "intValue" => match inner.as_int() {
            Some(number) => out.push_str(&number.to_string()),
            None => out.push_str(inner.to_json()),
        },
        "arrayValue" => match inner.get("values") {
            Some(values) => list(values, any, out),
            None => out.push_str("[]"),
        },
        "kvlistValue" => match inner.get("values") {
            Some(values) => object(values, out),
            None => out.push_str("{}"),
        },
        "stringValue" | "boolValue" | "doubleValue" | "bytesValue" => {
            out.push_str(inner.to_json());
        }
        _ => out.push_str(value.to_json()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::json::Arena;

    #[test]
    fn every_kind_of_value_becomes_plain() {
        let arena = Arena::new();
        let span = arena
            .parse(
                br#"{"name":"n","attributes":[
                    {"key":"s","value":{"stringValue":"a\"b"}},
                    {"key":"i","value":{"intValue":"9223372036854775807"}},
                    {"key":"n","value":{"intValue":7}},
                    {"key":"d","value":{"doubleValue":0.5}},
                    {"key":"b","value":{"boolValue":true}},
                    {"key":"e","value":{}},
                    {"key":"none"},
                    {"key":"y","value":{"bytesValue":"aGk="}},
                    {"key":"l","value":{"arrayValue":{"values":[{"stringValue":"x"},{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"1"}}]}}]}}},
                    {"key":"le","value":{"arrayValue":{}}},
                    {"key":"ke","value":{"kvlistValue":{}}},
                    {"key":"odd","value":{"futureValue":{"q":1}}},
                    {"value":{"stringValue":"no key"}}
                ],"events":[{"name":"e","attributes":[{"key":"k","value":{"stringValue":"v"}}]}],"attributesCount":3}"#,
            )
            .unwrap();
        let plain = plain(span, None, None).unwrap();
        assert_eq!(
            plain.to_json(),
            r#"{"name":"n","attributes":{"s":"a\"b","i":9223372036854775807,"n":7,"d":0.5,"b":true,"e":null,"none":null,"y":"aGk=","l":["x",{"k":1}],"le":[],"ke":{},"odd":{"futureValue":{"q":1}}},"events":[{"name":"e","attributes":{"k":"v"}}],"attributesCount":3}"#
        );
    }

    #[test]
    fn attributes_that_are_plain_already_stay() {
        let arena = Arena::new();
        let span = arena
            .parse(br#"{"attributes":{"gen_ai.system":"openai"}}"#)
            .unwrap();
        let resource = arena
            .parse(br#"{"attributes":[{"key":"service.name","value":{"stringValue":"bot"}}]}"#)
            .unwrap();
        let scope = arena.parse(br#"{"name":"lib","version":"1"}"#).unwrap();
        let plain = plain(span, Some(resource), Some(scope)).unwrap();
        assert_eq!(
            plain.to_json(),
            r#"{"attributes":{"gen_ai.system":"openai"},"resource":{"service.name":"bot"},"scope":{"name":"lib","version":"1"}}"#
        );
    }
}

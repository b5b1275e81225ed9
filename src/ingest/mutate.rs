//! For the tests of decoders: what else could stand where a producer, a re-export or an attacker changed a record.

use proptest::prelude::*;
use serde_json::Value;

/// One change at one place; places are counted through the record and wrap around.
#[derive(Debug, Clone)]
pub(super) enum Mutation {
    /// The value is gone.
    Delete,
    /// Its key stands twice, first with this value.
    Duplicate(Value),
    /// Something else stands there.
    Replace(Value),
    /// It is wrapped in an array, an object, or a string that holds it.
    Wrap(u8),
    /// A string ends early.
    Cut(usize),
}

/// Any few changes, each with its place.
pub(super) fn mutations() -> impl Strategy<Value = Vec<(usize, Mutation)>> {
    let odd = prop_oneof![
        Just(Value::Null),
        Just(Value::Bool(true)),
        Just(Value::from(-1)),
        Just(Value::from(i64::MAX)),
        Just(Value::from(u64::MAX)),
        Just(Value::from(0.5)),
        Just(Value::from("")),
        Just(Value::from("{\"text\":1}")),
        Just(Value::from("[[[]]]")),
        Just(serde_json::json!([])),
        Just(serde_json::json!({})),
        Just(serde_json::json!([null, {"type": null}, [1]])),
    ];
    let mutation = prop_oneof![
        Just(Mutation::Delete),
        odd.clone().prop_map(Mutation::Duplicate),
        odd.prop_map(Mutation::Replace),
        (0_u8..3).prop_map(Mutation::Wrap),
        (0_usize..6).prop_map(Mutation::Cut),
    ];
    proptest::collection::vec((0_usize..400, mutation), 1..6)
}

/// The record with these changes, as JSON text.
pub(super) fn apply(record: &Value, mutations: &[(usize, Mutation)]) -> String {
    let places = count(record);
    let mut text = String::new();
    let mut at = 0;
    let changes: Vec<_> = mutations
        .iter()
        .map(|(place, mutation)| (1 + place % places.max(1), mutation))
        .collect();
    write(record, &mut at, &changes, &mut text);
    text
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(|item| 1 + count(item)).sum(),
        Value::Object(entries) => entries.values().map(|value| 1 + count(value)).sum(),
        _ => 0,
    }
}

fn write(value: &Value, at: &mut usize, changes: &[(usize, &Mutation)], out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            let start = out.len();
            for item in items {
                child(None, item, at, changes, start, out);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            out.push('{');
            let start = out.len();
            for (key, value) in entries {
                child(Some(key), value, at, changes, start, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn child(
    key: Option<&str>,
    value: &Value,
    at: &mut usize,
    changes: &[(usize, &Mutation)],
    start: usize,
    out: &mut String,
) {
    *at += 1;
    let mine: Vec<_> = changes.iter().filter(|(place, _)| place == at).collect();
    let mut inner = String::new();
    write(value, at, changes, &mut inner);
    let mut entry = |text: &str| {
        if out.len() > start {
            out.push(',');
        }
        if let Some(key) = key {
            out.push_str(&Value::from(key).to_string());
            out.push(':');
        }
        out.push_str(text);
    };
    for (_, mutation) in mine {
        match mutation {
            Mutation::Delete => return,
            Mutation::Duplicate(first) => entry(&first.to_string()),
            Mutation::Replace(other) => inner = other.to_string(),
            Mutation::Wrap(0) => inner = format!("[{inner}]"),
            Mutation::Wrap(1) => inner = format!("{{\"inner\":{inner}}}"),
            Mutation::Wrap(_) => inner = Value::from(inner).to_string(),
            Mutation::Cut(keep) => {
                if let Value::String(text) = value {
                    let cut: String = text.chars().take(*keep).collect();
                    inner = Value::from(cut).to_string();
                }
            }
        }
    }
    entry(&inner);
}

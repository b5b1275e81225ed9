//! OpenAI's responses API: a list of items in, a list of items out, and a stream of typed events. Embedding requests
//! share its `input`.

use std::collections::BTreeMap;

use super::filters;
use super::openai::{arguments, content_parts, error, flat, plain_role};
use super::parts::{Turn, code, code_at, join};
use super::usage;
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType};

/// Reads `instructions` and `input`. Returns whether there are any.
pub(super) fn request<'a>(root: Value<'a>, row: &mut CallRow<'a>) -> bool {
    let instructions = root.get("instructions");
    let input = root.get("input");
    if let Some(instructions) = instructions {
        Turn::new(Direction::Input, Some("system"), 0).leaves(row, PartType::Text, instructions);
    }
    let mut has_system = instructions.is_some();
    let mut messages = 0;
    for (number, item) in input.into_iter().flat_map(Value::items_or_self).enumerate() {
        let role = item.get("role").and_then(Value::as_str).map(plain_role);
        has_system |= role == Some("system");
        messages += i32::from(item.is_object() || item.as_str().is_some());
        self::item(
            item,
            Turn::new(Direction::Input, role.or(Some("user")), number),
            row,
        );
    }
    let is_known = instructions.is_some() || input.is_some();
    if is_known {
        let call = &mut row.call;
        call.message_count = call.message_count.or(Some(messages));
        call.system_prompt_present = call.system_prompt_present.or(Some(has_system));
        call.media_count.get_or_insert(0);
    }
    is_known
}

/// One item of an input or output list. Items without text, as searches, are no part.
fn item<'a>(item: Value<'a>, turn: Turn<'a>, row: &mut CallRow<'a>) {
    if let Some(text) = item.as_str() {
        return turn.text(row, PartType::Text, text);
    }
    let text = |key: &str| item.get(key).and_then(Value::as_text);
    let id = text("call_id").or_else(|| text("id"));
    match text("type").unwrap_or("message") {
        "message" => {
            if let Some(content) = item.get("content") {
                content_parts(content, turn, row);
            }
        }
        "reasoning" => {
            let thinking = Turn {
                role: Some("assistant"),
                ..turn
            };
            for key in ["summary", "content"] {
                for thought in item.get(key).into_iter().flat_map(Value::items_or_self) {
                    if let Some(text) = thought.as_str().or_else(|| thought.get("text")?.as_str()) {
                        thinking.text(row, PartType::Reasoning, text);
                    }
                }
            }
        }
        kind if kind.ends_with("_output") => {
            let answer = Turn {
                role: Some("tool"),
                ..turn
            };
            let output = item.get("output").map(flat);
            answer.tool_result(row, text("name"), id, output);
        }
        kind if kind.ends_with("_call") => {
            let asking = Turn {
                role: Some("assistant"),
                ..turn
            };
            let given = arguments(item).or_else(|| {
                ["action", "queries", "code"]
                    .iter()
                    .find_map(|key| item.get(key))
                    .map(Value::to_json)
            });
            // Built-in tools have no name but their kind.
            let name = text("name").or_else(|| kind.strip_suffix("_call"));
            asking.tool_call(row, name, id, given);
            if let Some(output) = item.get("output") {
                let answer = Turn {
                    role: Some("tool"),
                    ..turn
                };
                answer.tool_result(row, name, id, Some(flat(output)));
            }
        }
        // A part that stands where an item should.
        _ => content_parts(item, turn, row),
    }
}

/// Reads a response object or the events of a stream. Returns whether it is one.
pub(super) fn response<'a>(values: &[Value<'a>], row: &mut CallRow<'a>) -> bool {
    let is_response = |value: &Value<'a>| {
        value
            .get("output")
            .is_some_and(|output| output.structure().is_array())
            || value.get("object").and_then(Value::as_str) == Some("response")
    };
    let is_event = |value: &Value<'a>| {
        value
            .get("type")
            .and_then(Value::as_str)
            .is_some_and(|kind| kind.starts_with("response."))
    };
    if let Some(whole) = values.iter().find(|value| is_response(value)) {
        object(*whole, row);
        return true;
    }
    if !values.iter().any(is_event) {
        return false;
    }
    // The last event carries the whole response; the first one the same without what came after.
    let last = values.iter().rev().find_map(|value| value.get("response"));
    if let Some(last) = last {
        error(last, row);
        object(last, row);
    }
    let is_whole = last.is_some_and(|last| {
        last.get("output")
            .is_some_and(|output| output.structure().items().next().is_some())
    });
    if !is_whole {
        deltas(values, row);
    }
    true
}

fn object<'a>(response: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    call.response_id = call
        .response_id
        .or_else(|| code_at(response, "id", "response_id"));
    call.response_model = call
        .response_model
        .or_else(|| code_at(response, "model", "response_model"));
    if let Some(usage) = response.get("usage") {
        usage::openai(usage, call);
    }
    call.tool_call_count.get_or_insert(0);
    let reason = response
        .find("incomplete_details/reason")
        .or_else(|| response.get("status"))
        .and_then(Value::as_text)
        .and_then(code);
    call.finish_reasons.extend(reason);
    if reason == Some("content_filter") {
        filters::blocked(row);
    }
    if reason == Some("failed") && row.call.outcome.is_empty() {
        row.call.outcome = "failure";
    }
    for filter in response
        .get("content_filters")
        .into_iter()
        .flat_map(Value::items_or_self)
    {
        let of_prompt = filter.get("source_type").and_then(Value::as_str) == Some("prompt");
        if let Some(results) = filter.get("content_filter_results") {
            filters::azure(results, if of_prompt { "input" } else { "output" }, row);
        }
        if filter.get("blocked").and_then(Value::as_bool) == Some(true) {
            filters::blocked(row);
        }
    }
    let output = response.get("output").map(Value::structure);
    for (number, item) in output.into_iter().flat_map(Value::items).enumerate() {
        let role = item.get("role").and_then(Value::as_str);
        let turn = Turn::new(Direction::Output, role.or(Some("assistant")), number);
        self::item(item, turn, row);
    }
}

/// A stream that was cut before its last event: texts from their pieces, calls from their items.
fn deltas<'a>(values: &[Value<'a>], row: &mut CallRow<'a>) {
    let mut texts: BTreeMap<(i64, bool), Vec<&'a str>> = BTreeMap::new();
    for value in values {
        let kind = value
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let index = value
            .get("output_index")
            .and_then(Value::as_int)
            .unwrap_or(0);
        let delta = value.get("delta").and_then(Value::as_str);
        match (kind, delta) {
            ("response.output_text.delta" | "response.refusal.delta", Some(delta)) => {
                texts.entry((index, false)).or_default().push(delta);
            }
            (kind, Some(delta)) if kind.starts_with("response.reasoning") => {
                texts.entry((index, true)).or_default().push(delta);
            }
            ("response.output_item.done", _) => {
                let done = value.get("item").filter(|item| {
                    let kind = item.get("type").and_then(Value::as_str);
                    kind.is_some_and(|kind| kind.ends_with("_call"))
                });
                if let Some(done) = done {
                    let turn =
                        Turn::new(Direction::Output, Some("assistant"), index.max(0) as usize);
                    item(done, turn, row);
                }
            }
            _ => {}
        }
    }
    for ((index, is_reasoning), pieces) in texts {
        let turn = Turn::new(Direction::Output, Some("assistant"), index.max(0) as usize);
        let kind = if is_reasoning {
            PartType::Reasoning
        } else {
            PartType::Text
        };
        if let Some(text) = values.first().and_then(|keeper| join(*keeper, &pieces)) {
            turn.text(row, kind, text);
        }
    }
}

//! OpenAI's responses API: a list of items in, a list of items out, and a stream of typed events. Embedding requests
//! share its `input`.

use std::collections::BTreeMap;

use super::error::error;
use super::filters;
use super::openai::{content_parts, flat, given, identity, place};
use super::parts::{Turn, arguments, code, finish, join, message_count};
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType};

/// Reads `instructions` and `input`. Returns whether there are any.
pub(super) fn request<'a>(root: Value<'a>, row: &mut CallRow<'a>) -> bool {
    let instructions = root.get("instructions");
    let input = root.get("input");
    if let Some(instructions) = instructions {
        Turn::new(Direction::Input, Some("system"), 0).text_or_leaves(row, instructions);
    }
    let mut has_system = instructions.is_some();
    let mut count = 0;
    for item in input.into_iter().flat_map(Value::items_or_self) {
        let mut place = place(item, Direction::Input, count);
        has_system |= place.role == Some("system");
        place.role = place.role.or(Some("user"));
        read_item(item, place, row);
        // Token numbers are no message.
        count += usize::from(item.is_object() || item.as_str().is_some());
    }
    let known = instructions.is_some() || input.is_some();
    if known {
        message_count(row, count);
        row.call.system_prompt_present = row.call.system_prompt_present.or(Some(has_system));
        row.call.media_count.get_or_insert(0);
    }
    known
}

/// One item of an input or output list.
fn read_item<'a>(item: Value<'a>, place: Turn<'a>, row: &mut CallRow<'a>) {
    if let Some(text) = item.as_str() {
        return place.text(row, PartType::Text, text);
    }
    let text = |key: &str| item.get(key).and_then(Value::as_text);
    let id = text("call_id").or_else(|| text("id"));
    match text("type").unwrap_or("message") {
        "message" => {
            if let Some(content) = item.get("content") {
                content_parts(content, place, row);
            }
        }
        "reasoning" => {
            let thoughts = ["summary", "content"]
                .iter()
                .filter_map(|key| item.get(key));
            for thought in thoughts.flat_map(Value::items_or_self) {
                if let Some(text) = thought.as_str().or_else(|| thought.get("text")?.as_str()) {
                    let thinking = place.with_role("assistant");
                    thinking.text(row, PartType::Reasoning, text);
                }
            }
        }
        kind if kind.ends_with("_output") => {
            let output = item.get("output").map(flat).unwrap_or_default();
            place
                .with_role("tool")
                .tool_result(row, text("name"), id, Some(output));
        }
        kind if kind.ends_with("_call") => {
            let asked = given(item).or_else(|| {
                let keys = ["action", "queries", "code"];
                keys.iter().find_map(|key| item.get(key)).map(arguments)
            });
            // Built-in tools have no name but their kind.
            let name = text("name").or_else(|| kind.strip_suffix("_call"));
            place.with_role("assistant").tool_call(row, name, id, asked);
            // Tools that ran on the server answer in the same item.
            if let Some(output) = item.get("output") {
                place
                    .with_role("tool")
                    .tool_result(row, name, id, Some(flat(output)));
            }
        }
        // A part that stands where an item should.
        _ => content_parts(item, place, row),
    }
}

/// Reads a response object or the events of a stream. Returns whether it is one.
pub(super) fn response<'a>(values: &[Value<'a>], row: &mut CallRow<'a>) -> bool {
    let kind = |value: &Value<'a>, key: &str| value.get(key).and_then(Value::as_str);
    let output = |value: Value<'a>| value.get("output").map(Value::structure);
    let is_response = |value: &&Value<'a>| {
        kind(value, "object") == Some("response") || output(**value).is_some_and(Value::is_array)
    };
    if let Some(whole) = values.iter().find(is_response) {
        object(*whole, row);
        return true;
    }
    let is_event =
        |value: &Value<'a>| kind(value, "type").is_some_and(|kind| kind.starts_with("response."));
    if !values.iter().any(is_event) {
        return false;
    }
    // The last event has the whole response; the first has it before anything came of it.
    let last = values.iter().rev().find_map(|value| value.get("response"));
    if let Some(last) = last {
        error(last, row);
        object(last, row);
    }
    if last
        .and_then(output)
        .is_none_or(|output| output.items().next().is_none())
    {
        deltas(values, row);
    }
    true
}

fn object<'a>(response: Value<'a>, row: &mut CallRow<'a>) {
    identity(response, &mut row.call);
    row.call.tool_call_count.get_or_insert(0);
    let reason = response
        .find("incomplete_details/reason")
        .or_else(|| response.get("status"))
        .and_then(Value::as_text)
        .filter(|reason| code(reason).is_some());
    finish(row, reason);
    if reason == Some("content_filter") {
        filters::blocked(row);
    }
    if reason == Some("failed") && row.call.outcome.is_empty() {
        row.call.outcome = "failure";
    }
    let filters = response.get("content_filters").into_iter();
    for filter in filters.flat_map(Value::items_or_self) {
        let source = filter.get("source_type").and_then(Value::as_str);
        let direction = if source == Some("prompt") {
            "input"
        } else {
            "output"
        };
        if let Some(results) = filter.get("content_filter_results") {
            filters::azure(results, direction, row);
        }
        if filter.get("blocked").and_then(Value::as_bool) == Some(true) {
            filters::blocked(row);
        }
    }
    let output = response.get("output").map(Value::structure);
    for (number, item) in output.into_iter().flat_map(Value::items).enumerate() {
        read_item(item, Turn::answer(number), row);
    }
}

/// A stream that was cut before its last event: texts from their pieces, calls from their items.
fn deltas<'a>(values: &[Value<'a>], row: &mut CallRow<'a>) {
    let mut texts: BTreeMap<(usize, bool), Vec<&'a str>> = BTreeMap::new();
    for value in values {
        let text = |path: &str| value.find(path).and_then(Value::as_str);
        let index = value.get("output_index").and_then(Value::as_int);
        let index = usize::try_from(index.unwrap_or(0)).unwrap_or(0);
        match (text("type").unwrap_or_default(), text("delta")) {
            ("response.output_text.delta" | "response.refusal.delta", Some(delta)) => {
                texts.entry((index, false)).or_default().push(delta);
            }
            (kind, Some(delta)) if kind.starts_with("response.reasoning") => {
                texts.entry((index, true)).or_default().push(delta);
            }
            ("response.output_item.done", _) => {
                if let Some(item) = value.get("item")
                    && text("item/type").is_some_and(|kind| kind.ends_with("_call"))
                {
                    read_item(item, Turn::answer(index), row);
                }
            }
            _ => {}
        }
    }
    for ((index, is_reasoning), pieces) in texts {
        let kind = if is_reasoning {
            PartType::Reasoning
        } else {
            PartType::Text
        };
        if let Some(text) = values.first().and_then(|keeper| join(*keeper, &pieces)) {
            Turn::answer(index).text(row, kind, text);
        }
    }
}

//! The choices of a chat or completion response: whole messages, or put together from the chunks of a stream.

use std::collections::BTreeMap;

use super::filters;
use super::openai::{called, flat, given};
use super::parts::{Turn, code, finish, join};
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, PartType};

/// The choices read so far, by index.
#[derive(Default)]
pub(super) struct Choices<'a>(BTreeMap<i64, Choice<'a>>);

#[derive(Default)]
struct Choice<'a> {
    text: Vec<&'a str>,
    reasoning: Vec<&'a str>,
    calls: BTreeMap<i64, ToolCall<'a>>,
}

#[derive(Default)]
struct ToolCall<'a> {
    id: Option<&'a str>,
    name: Option<&'a str>,
    arguments: Vec<&'a str>,
}

impl<'a> Choices<'a> {
    /// Reads a response or a chunk of one. Returns whether it has choices.
    pub(super) fn read(&mut self, value: Value<'a>, row: &mut CallRow<'a>) -> bool {
        let Some(list) = value.get("choices") else {
            return false;
        };
        for (position, item) in list.structure().items_or_self().enumerate() {
            let reason = item
                .get("finish_reason")
                .and_then(Value::as_text)
                .filter(|reason| code(reason).is_some());
            finish(row, reason);
            if let Some(results) = item.get("content_filter_results") {
                filters::azure(results, "output", row);
            }
            if reason == Some("content_filter") {
                filters::blocked(row);
            }
            let choice = self.0.entry(index(item, position)).or_default();
            choice.text.extend(item.get("text").and_then(Value::as_str));
            if let Some(message) = item.get("message").or_else(|| item.get("delta")) {
                choice.add(message);
            }
        }
        true
    }

    /// Hands what was read on as parts; `keeper` is any value of the record.
    pub(super) fn finish(self, keeper: Value<'a>, row: &mut CallRow<'a>) {
        if !self.0.is_empty() {
            row.call.tool_call_count.get_or_insert(0);
        }
        for (number, choice) in self.0.into_values().enumerate() {
            let place = Turn::answer(number);
            if let Some(thought) = join(keeper, &choice.reasoning) {
                place.text(row, PartType::Reasoning, thought);
            }
            if let Some(text) = join(keeper, &choice.text) {
                place.text(row, PartType::Text, text);
            }
            for call in choice.calls.into_values() {
                place.tool_call(row, call.name, call.id, join(keeper, &call.arguments));
            }
        }
    }
}

fn index(item: Value<'_>, position: usize) -> i64 {
    let index = item.get("index").and_then(Value::as_int);
    index.unwrap_or(position as i64)
}

impl<'a> Choice<'a> {
    /// Adds a message, or the piece of one that a chunk has.
    fn add(&mut self, message: Value<'a>) {
        let text = |path: &str| message.find(path).and_then(Value::as_str);
        match message.get("content") {
            Some(content) if content.is_array() => self.text.push(flat(content)),
            Some(content) => self.text.extend(content.as_str()),
            None => {}
        }
        self.text.extend(text("refusal"));
        self.text.extend(text("audio/transcript"));
        self.reasoning
            .extend(text("reasoning_content").or_else(|| text("reasoning")));
        let calls = message.get("tool_calls").into_iter();
        for (position, item) in calls.flat_map(Value::items_or_self).enumerate() {
            let id = item.get("id").and_then(Value::as_str);
            self.call(index(item, position), id, called(item));
        }
        if let Some(inner) = message.get("function_call") {
            self.call(-1, None, inner);
        }
    }

    fn call(&mut self, index: i64, id: Option<&'a str>, inner: Value<'a>) {
        let call = self.calls.entry(index).or_default();
        call.id = call.id.or(id);
        call.name = call.name.or_else(|| inner.get("name")?.as_text());
        call.arguments.extend(given(inner));
    }
}

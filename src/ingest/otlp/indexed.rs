//! Messages spread over attributes with a number in the name: `gen_ai.prompt.0.content`,
//! `gen_ai.completion.0.tool_calls.0.name`, `llm.input_messages.1.message.content`.

use std::collections::BTreeMap;

use super::super::body::parts::{self, Turn, code, finish, tool_definition};
use super::super::json::Value;
use super::super::record::{CallRow, Direction, PartType};
use super::messages::{request_was_read, typed_parts};

const MESSAGES: [(&str, Direction); 6] = [
    ("gen_ai.prompt.", Direction::Input),
    ("llm.prompts.", Direction::Input),
    ("llm.input_messages.", Direction::Input),
    ("gen_ai.completion.", Direction::Output),
    ("llm.completions.", Direction::Output),
    ("llm.output_messages.", Direction::Output),
];

const TOOLS: [&str; 3] = [
    "llm.request.functions.",
    "gen_ai.request.functions.",
    "llm.tools.",
];

#[derive(Default)]
struct Message<'a> {
    role: Option<&'static str>,
    name: Option<&'a str>,
    answers: Option<&'a str>,
    texts: Vec<&'a str>,
    calls: BTreeMap<usize, Call<'a>>,
}

#[derive(Default)]
struct Call<'a> {
    id: Option<&'a str>,
    name: Option<&'a str>,
    arguments: Option<&'a str>,
}

/// Reads what there is of them, and marks it.
pub(super) fn read<'a>(attributes: Value<'a>, row: &mut CallRow<'a>) {
    for direction in [Direction::Input, Direction::Output] {
        let mut messages: BTreeMap<usize, Message<'a>> = BTreeMap::new();
        for (key, value) in attributes.entries() {
            let rest = MESSAGES
                .iter()
                .filter(|(_, way)| *way == direction)
                .find_map(|(prefix, _)| key.strip_prefix(prefix));
            let Some((number, field)) = rest.and_then(numbered) else {
                continue;
            };
            value.mark("content");
            let field = field.strip_prefix("message.").unwrap_or(field);
            messages.entry(number).or_default().add(field, value, row);
        }
        let count = messages.len();
        for (number, message) in messages {
            message.finish(direction, number, row);
        }
        match (direction, count) {
            (_, 0) => {}
            (Direction::Input, count) => request_was_read(count, row),
            _ => parts::response_was_read(&mut row.call),
        }
    }
}

/// `0.content` in two; also `0` alone.
fn numbered(rest: &str) -> Option<(usize, &str)> {
    let (number, field) = rest.split_once('.').unwrap_or((rest, ""));
    Some((number.parse().ok()?, field))
}

impl<'a> Message<'a> {
    fn add(&mut self, field: &'a str, value: Value<'a>, row: &mut CallRow<'a>) {
        if let Some((number, field)) = field.strip_prefix("tool_calls.").and_then(numbered) {
            let call = self.calls.entry(number).or_default();
            match field.rsplit('.').next() {
                Some("id") => call.id = value.as_text(),
                Some("name") => call.name = value.as_text(),
                Some("arguments") => call.arguments = Some(parts::arguments(value)),
                _ => {}
            }
            return;
        }
        match field {
            "role" => self.role = value.as_str().and_then(parts::role),
            "finish_reason" => finish(row, value.as_text().and_then(code)),
            "tool_call_id" => self.answers = value.as_text(),
            "name" => self.name = value.as_text().and_then(code),
            _ => texts(value, &mut self.texts),
        }
    }

    fn finish(self, direction: Direction, number: usize, row: &mut CallRow<'a>) {
        let usual = match direction {
            Direction::Input => "user",
            _ => "assistant",
        };
        let turn = Turn::new(direction, Some(self.role.unwrap_or(usual)), number);
        for text in self.texts {
            if self.role == Some("tool") {
                turn.tool_result(row, self.name, self.answers, Some(text));
            } else {
                turn.text(row, PartType::Text, text);
            }
        }
        for call in self.calls.into_values() {
            turn.tool_call(row, call.name, call.id, call.arguments);
        }
    }
}

/// The texts of a content, which may be a list of parts as JSON.
fn texts<'a>(value: Value<'a>, found: &mut Vec<&'a str>) {
    let list = typed_parts(value).unwrap_or(value);
    for item in list.items_or_self() {
        match item.get("text").or_else(|| item.get("content")) {
            Some(text) if list.is_array() => found.extend(text.as_text()),
            _ => found.push(item.as_str().unwrap_or_else(|| item.to_json())),
        }
    }
}

/// Reads the tools that were offered, and marks them.
pub(super) fn tools<'a>(attributes: Value<'a>, row: &mut CallRow<'a>) {
    let mut tools: BTreeMap<usize, (Option<&'a str>, Option<&'a str>)> = BTreeMap::new();
    for (key, value) in attributes.entries() {
        let rest = TOOLS.iter().find_map(|prefix| key.strip_prefix(prefix));
        let Some((number, field)) = rest.and_then(numbered) else {
            continue;
        };
        value.mark("content");
        let tool = tools.entry(number).or_default();
        match field {
            "name" => tool.0 = value.as_text(),
            "description" => tool.1 = value.as_str(),
            _ => {}
        }
    }
    for (name, description) in tools.into_values() {
        tool_definition(row, name, description);
    }
}

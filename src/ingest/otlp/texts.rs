//! The texts of a span or event, wherever its generation of the conventions puts them.

use super::super::body::parts::{Turn, arguments, code_at, finish};
use super::super::json::Value;
use super::super::record::{CallRow, Direction, Part, PartType};
use super::indexed;
use super::messages::{instructions, message as read_message, messages, tools};

/// Reads the texts among attributes.
pub(super) fn attributes<'a>(attributes: Value<'a>, row: &mut CallRow<'a>) {
    for key in ["gen_ai.agent.description", "gen_ai.tool.description"] {
        if let Some(text) = attributes.take(key, "content") {
            Turn::new(Direction::Input, Some("system"), 0).text_or_leaves(row, text);
        }
    }
    indexed::tools(attributes, row);
    for key in ["gen_ai.tool.definitions", "llm.request.tools"] {
        if let Some(value) = attributes.get(key) {
            tools(value, row);
        }
    }
    if let Some(value) = attributes.get("gen_ai.system_instructions") {
        instructions(value, row);
    }
    for (key, direction) in [
        ("gen_ai.input.messages", Direction::Input),
        ("gen_ai.prompt", Direction::Input),
        ("gen_ai.output.messages", Direction::Output),
        ("gen_ai.completion", Direction::Output),
    ] {
        if let Some(value) = attributes.get(key) {
            messages(value, direction, row);
        }
    }
    indexed::read(attributes, row);
    // What a library passed in and out as a whole: of interest where nothing better was recorded.
    for (key, direction) in [
        ("input.value", Direction::Input),
        ("traceloop.entity.input", Direction::Input),
        ("output.value", Direction::Output),
        ("traceloop.entity.output", Direction::Output),
    ] {
        let Some(value) = attributes.take(key, "content") else {
            continue;
        };
        let is_known = |part: &Part<'_>| part.direction == direction && part.tool_name.is_none();
        if !row.parts.iter().any(is_known) {
            messages(value, direction, row);
        }
    }
    tool(attributes, row);
}

/// The run of a tool: what the model asked for, and what the tool answered.
fn tool<'a>(attributes: Value<'a>, row: &mut CallRow<'a>) {
    let name = code_at(attributes, "gen_ai.tool.name", "tool_names")
        .or_else(|| code_at(attributes, "tool.name", "tool_names"));
    let id = code_at(attributes, "gen_ai.tool.call.id", "content");
    let given = attributes.take("gen_ai.tool.call.arguments", "content");
    let result = attributes.take("gen_ai.tool.call.result", "content");
    if name.is_some() || given.is_some() {
        Turn::answer(0).tool_call(row, name, id, given.map(arguments));
    }
    if let Some(result) = result {
        Turn::new(Direction::Input, Some("tool"), 0).tool_result(
            row,
            name,
            id,
            Some(arguments(result)),
        );
    }
}

/// Which message an event of that name holds: its usual role and its way.
pub(super) fn message_of(event: &str) -> Option<(&'static str, Direction)> {
    Some(match event {
        "gen_ai.system.message" => ("system", Direction::Input),
        "gen_ai.user.message" => ("user", Direction::Input),
        "gen_ai.assistant.message" => ("assistant", Direction::Input),
        "gen_ai.tool.message" => ("tool", Direction::Input),
        "gen_ai.choice" => ("assistant", Direction::Output),
        _ => return None,
    })
}

/// Reads an event that holds one message, in its body or, as a span's event, among its attributes.
pub(super) fn message<'a>(
    body: Value<'a>,
    (role, direction): (&'static str, Direction),
    number: usize,
    row: &mut CallRow<'a>,
) {
    let body = body.structure();
    // Some write the body into one attribute.
    let inner = body
        .get("gen_ai.event.content")
        .or_else(|| body.get("event_body"))
        .map_or(body, Value::structure);
    let choice = inner.get("message").map_or(inner, Value::structure);
    read_message(choice, role, direction, number, row);
    finish(row, code_at(inner, "finish_reason", "finish_reasons"));
    for (key, value) in body.entries() {
        let known = [
            "content",
            "event_body",
            "finish_reason",
            "gen_ai.event.content",
            "id",
            "index",
            "message",
            "name",
            "parts",
            "role",
            "tool_calls",
        ];
        if known.contains(&key) {
            value.mark("content");
        }
    }
    if !body.is_object() {
        body.mark("content");
    }
}

/// Reads an exception: its type is a code, the rest may quote the prompt.
pub(super) fn exception<'a>(attributes: Value<'a>, row: &mut CallRow<'a>) {
    let kind = code_at(attributes, "exception.type", "error_type");
    row.call.error_type = row.call.error_type.or(kind);
    for key in ["exception.message", "exception.stacktrace"] {
        if let Some(text) = attributes.take(key, "content") {
            Turn::ERROR.leaves(row, PartType::Text, text);
        }
    }
}

//! Messages as OpenTelemetry records them: in parts with types, in the older shape with `content` and `tool_calls`, as
//! plain text, or any of these as JSON in a string.

use super::super::body::parts::{self, Turn, arguments, code, finish, tool_definition, warn};
use super::super::json::Value;
use super::super::record::{CallRow, Direction, Part, PartType};

/// Reads the messages of a request or response: a list, a lone message, or one text.
pub(crate) fn messages<'a>(list: Value<'a>, direction: Direction, row: &mut CallRow<'a>) {
    list.mark("content");
    let list = list.structure();
    let list = list.get("messages").map_or(list, Value::structure);
    for (number, item) in list.items_or_self().enumerate() {
        message(item, usual_role(direction), direction, number, row);
    }
    if direction == Direction::Input {
        request_was_read(list.items_or_self().count(), row);
    } else {
        parts::response_was_read(&mut row.call);
    }
}

/// What follows from the parts of a request once all of them are there.
pub(super) fn request_was_read(messages: usize, row: &mut CallRow<'_>) {
    parts::message_count(row, messages);
    // The tools on offer are recorded apart, or not at all.
    row.call.media_count.get_or_insert(0);
    let is_system = |part: &Part<'_>| part.role == Some("system") && part.tool_name.is_none();
    let present = row.parts.iter().any(is_system);
    let known = row.call.system_prompt_present.unwrap_or(false);
    row.call.system_prompt_present = Some(known || present);
}

/// Whose turn it is, where a message does not say.
fn usual_role(direction: Direction) -> &'static str {
    match direction {
        Direction::Input => "user",
        _ => "assistant",
    }
}

/// Reads one message; `usual` is its role where it names none.
pub(super) fn message<'a>(
    message: Value<'a>,
    usual: &'static str,
    direction: Direction,
    number: usize,
    row: &mut CallRow<'a>,
) {
    let message = message.structure();
    let role = message.get("role").and_then(Value::as_str);
    let role = role.and_then(parts::role).unwrap_or(usual);
    let turn = Turn::new(direction, Some(role), number);
    if !message.is_object() {
        return turn.text_or_leaves(row, message);
    }
    let reason = message.get("finish_reason").and_then(Value::as_str);
    finish(row, reason.and_then(code));
    let known = ["parts", "content", "tool_calls", "function_call"];
    if !known.iter().any(|key| message.get(key).is_some()) {
        // Nothing was said, or it was said in a shape that nobody knows.
        let before = row.parts.len();
        for (key, inner) in message.entries() {
            if !["role", "finish_reason", "id", "name", "type", "index"].contains(&key) {
                turn.leaves(row, PartType::Raw, inner);
            }
        }
        if row.parts.len() > before {
            warn(&mut row.call, "unknown_body");
        }
        return;
    }
    if role == "tool"
        && let Some(content) = message.get("content")
    {
        let id = ["tool_call_id", "id"]
            .iter()
            .find_map(|key| message.get(key));
        let name = message.get("name").and_then(Value::as_str).and_then(code);
        turn.tool_result(row, name, id.and_then(Value::as_text), flat(content));
    } else if let Some(content) = message.get("content") {
        content_parts(content, turn, row);
    }
    if let Some(list) = message.get("parts") {
        content_parts(list, turn, row);
    }
    for key in ["tool_calls", "function_call"] {
        for call in message.get(key).into_iter().flat_map(Value::items_or_self) {
            let inner = call.get("function").unwrap_or(call);
            let text = |value: Value<'a>, key| value.get(key).and_then(Value::as_text);
            let given = inner.get("arguments").map(arguments);
            turn.tool_call(row, text(inner, "name"), text(call, "id"), given);
        }
    }
}

/// Reads content: a text, or parts of several types.
pub(super) fn content_parts<'a>(content: Value<'a>, turn: Turn<'a>, row: &mut CallRow<'a>) {
    for item in typed_parts(content).unwrap_or(content).items_or_self() {
        part(item, turn, row);
    }
}

/// The list of parts that a string holds. A text that happens to be some other JSON is still a text.
pub(super) fn typed_parts(content: Value<'_>) -> Option<Value<'_>> {
    content.as_str()?;
    let list = content.structure();
    let is_part = |item: Value<'_>| item.get("type").is_some() || item.get("text").is_some();
    (list.items().next().is_some() && list.items().all(is_part)).then_some(list)
}

fn part<'a>(part: Value<'a>, turn: Turn<'a>, row: &mut CallRow<'a>) {
    if let Some(text) = part.as_str() {
        return turn.text(row, PartType::Text, text);
    }
    let first = |keys: &[&str]| keys.iter().find_map(|key| part.find(key));
    let text = |keys: &[&str]| first(keys).and_then(Value::as_text);
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    let id = text(&["id", "tool_call_id", "tool_use_id", "toolUseId"]);
    match kind {
        "text" | "input_text" | "output_text" | "refusal" => {
            if let Some(content) = first(&["content", "text", "refusal"]) {
                turn.text_or_leaves(row, content);
            }
        }
        "reasoning" | "thinking" => {
            if let Some(thought) = first(&["content", "thinking", "text", "summary"]) {
                turn.leaves(row, PartType::Reasoning, thought);
            }
        }
        "tool_call" | "tool_use" | "function" | "function_call" | "server_tool_call" => {
            let given = first(&[
                "arguments",
                "input",
                "server_tool_call",
                "function/arguments",
            ]);
            let name = text(&["name", "function/name"]);
            turn.tool_call(row, name, id, given.map(arguments));
        }
        // The schema says `response`, an example of the specification says `result`.
        "tool_call_response" | "tool_result" | "server_tool_call_response" => {
            let answer = first(&["response", "result", "content", "server_tool_call_response"]);
            let name = text(&["name"]).and_then(code);
            turn.with_role("tool")
                .tool_result(row, name, id, answer.and_then(flat));
        }
        "blob" | "file" | "uri" | "image" | "image_url" | "audio" | "input_audio" | "document" => {
            let uri = text(&["uri", "file_id", "image_url/url", "image_url", "source/url"]);
            let mime = text(&["mime_type", "source/media_type"]).and_then(code);
            turn.media(row, mime, uri);
        }
        _ => match first(&["content", "text"]) {
            Some(content) => turn.text_or_leaves(row, content),
            None => {
                turn.leaves(row, PartType::Raw, part);
                warn(&mut row.call, "unknown_body");
            }
        },
    }
}

/// A tool's answer as one text.
fn flat(answer: Value<'_>) -> Option<&str> {
    if let Some(text) = answer.as_str() {
        return Some(text).filter(|text| !text.is_empty());
    }
    let texts: Option<Vec<_>> = answer
        .items()
        .map(|item| item.as_str().or_else(|| item.get("text")?.as_str()))
        .collect();
    match texts {
        Some(texts) if !texts.is_empty() => Some(answer.keep(&texts.join("\n"))),
        _ => Some(answer.to_json()),
    }
}

/// Reads the system prompt, where it stands apart from the messages.
pub(super) fn instructions<'a>(value: Value<'a>, row: &mut CallRow<'a>) {
    value.mark("content");
    let before = row.parts.len();
    content_parts(value, Turn::new(Direction::Input, Some("system"), 0), row);
    row.call.system_prompt_present = Some(row.parts.len() > before);
}

/// Reads the tools that were offered.
pub(super) fn tools<'a>(list: Value<'a>, row: &mut CallRow<'a>) {
    list.mark("content");
    row.call.tool_definition_count.get_or_insert(0);
    for tool in list.structure().items_or_self().map(Value::structure) {
        let inner = tool.get("function").unwrap_or(tool);
        let text = |key| inner.get(key).and_then(Value::as_str);
        tool_definition(row, text("name"), text("description"));
    }
}

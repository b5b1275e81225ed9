//! Anthropic messages: request, response, and the chunks of a streamed response.
//!
//! The request reader also takes chat requests of other vendors whose messages have a role and a string or typed parts,
//! as far as they agree.

use super::parts::{
    Turn, arguments, blocked, code_at, error, finish, message_count, request_was_read,
    response_was_read, role, seal, tool_definition, warn,
};
use super::stream::Blocks;
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType};
use crate::ingest::tokens;

/// Parameters and figures that may reach `attributes` when no column took them.
const KEEP: [&str; 19] = [
    "anthropic_version",
    "anthropic_beta",
    "frequency_penalty",
    "id",
    "max_completion_tokens",
    "max_tokens",
    "model",
    "n",
    "presence_penalty",
    "reasoning_effort",
    "seed",
    "service_tier",
    "stop_reason",
    "stream",
    "temperature",
    "thinking",
    "top_k",
    "top_p",
    "usage",
];

/// Whether a response, or a chunk of one, is of this shape.
pub(crate) fn is_response(body: Value<'_>) -> bool {
    let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
    matches!(kind, "message" | "ping" | "error")
        || kind.starts_with("message_")
        || kind.starts_with("content_block_")
        || (body.get("content").is_some() && body.get("stop_reason").is_some())
}

/// Reads a request.
pub(crate) fn request<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let body = body.structure();
    let system = Turn::new(Direction::Input, Some("system"), 0);
    let before = row.parts.len();
    if let Some(prompt) = body.get("system") {
        content(prompt, system, row);
    }
    let mut has_system = row.parts.len() > before;

    if let Some(list) = body.get("messages") {
        let list = list.structure();
        for (number, message) in list.items_or_self().enumerate() {
            let who = message
                .get("role")
                .and_then(Value::as_str)
                .and_then(role)
                .unwrap_or("user");
            has_system |= who == "system";
            let turn = Turn::new(Direction::Input, Some(who), number);
            match message.get("content") {
                Some(parts) => content(parts, turn, row),
                None if message.is_object() => {}
                None => turn.leaves(row, PartType::Raw, message),
            }
        }
        message_count(row, list.items_or_self().count());
    }
    row.call.system_prompt_present = Some(has_system);

    for tool in body
        .get("tools")
        .into_iter()
        .flat_map(|tools| tools.structure().items_or_self())
    {
        let tool = tool.get("function").unwrap_or(tool);
        let text = |key| tool.get(key).and_then(Value::as_str);
        tool_definition(row, text("name").or(text("type")), text("description"));
    }
    parameters(body, row);
    request_was_read(&mut row.call);
    seal(body, &KEEP);
}

fn parameters<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    call.temperature = call
        .temperature
        .or_else(|| body.float("temperature", "temperature"));
    call.top_p = call.top_p.or_else(|| body.float("top_p", "top_p"));
    tokens::fill(
        &mut call.max_tokens,
        body,
        &["max_tokens", "max_completion_tokens"],
        "max_tokens",
    );
    call.request_stream = call
        .request_stream
        .or_else(|| body.flag("stream", "request_stream"));
    call.end_user_id = call
        .end_user_id
        .or_else(|| code_at(body, "metadata/user_id", "end_user_id"));
}

/// Reads a response, or the chunks of one.
pub(crate) fn response<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let body = body.structure();
    response_was_read(&mut row.call);
    if body.is_array() {
        stream(body, row);
        return seal(body, &[]);
    }
    message_head(body, row);
    if let Some(parts) = body.get("content") {
        content(parts, Turn::answer(0), row);
    }
    error(body, row);
    seal(body, &KEEP);
}

/// Id, model, stop reason and tokens, as a message and its stream events carry them.
fn message_head<'a>(message: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    call.response_id = call
        .response_id
        .or_else(|| code_at(message, "id", "response_id"));
    call.response_model = call
        .response_model
        .or_else(|| code_at(message, "model", "response_model"));
    let reason = code_at(message, "stop_reason", "finish_reasons");
    finish(row, reason);
    // The model's own safety system stopped the answer.
    if reason == Some("refusal") {
        blocked(&mut row.call);
    }
    if let Some(usage) = message.get("usage") {
        usage_tokens(usage, row);
    }
}

/// Token counts as Anthropic names them; the input leaves the caches out.
pub(crate) fn usage_tokens(usage: Value<'_>, row: &mut CallRow<'_>) {
    let call = &mut row.call;
    for (slot, path, column) in [
        (
            &mut call.input_tokens_uncached,
            "input_tokens",
            "input_tokens_uncached",
        ),
        (&mut call.output_tokens, "output_tokens", "output_tokens"),
        (
            &mut call.cache_read_input_tokens,
            "cache_read_input_tokens",
            "cache_read_input_tokens",
        ),
        (
            &mut call.cache_write_input_tokens,
            "cache_creation_input_tokens",
            "cache_write_input_tokens",
        ),
    ] {
        tokens::fill(slot, usage, &[path], column);
    }
    if call.cache_write_input_tokens.is_none()
        && let Some(writes) = usage.get("cache_creation")
    {
        let lifetime = |path| tokens::count(writes, path, "cache_write_input_tokens");
        call.cache_write_input_tokens = tokens::sum(&[
            lifetime("ephemeral_5m_input_tokens"),
            lifetime("ephemeral_1h_input_tokens"),
        ]);
    }
}

fn content<'a>(parts: Value<'a>, turn: Turn<'a>, row: &mut CallRow<'a>) {
    match parts.as_str() {
        // A text that happens to be JSON is still a text, unless it is a list of parts.
        Some(text) if !parts.structure().is_array() => turn.text(row, PartType::Text, text),
        _ => {
            for part in parts.structure().items_or_self() {
                read_part(part, turn, row);
            }
        }
    }
}

fn read_part<'a>(part: Value<'a>, turn: Turn<'a>, row: &mut CallRow<'a>) {
    let string = |path: &str| part.find(path).and_then(Value::as_str);
    let kind = match string("type") {
        Some(kind) => kind,
        None if part.get("text").is_some() => "text",
        None => {
            turn.leaves(row, PartType::Raw, part);
            if part.is_object() {
                warn(&mut row.call, "unknown_body");
            }
            return;
        }
    };
    match kind {
        "text" | "input_text" | "output_text" => {
            if let Some(text) = part.get("text") {
                turn.text_or_leaves(row, text);
            }
        }
        "thinking" => {
            if let Some(text) = string("thinking") {
                turn.text(row, PartType::Reasoning, text);
            }
        }
        // The vendor's cipher text: nothing to read.
        "redacted_thinking" => {}
        "tool_use" | "server_tool_use" | "mcp_tool_use" => turn.tool_call(
            row,
            string("name"),
            string("id"),
            part.get("input").map(arguments),
        ),
        _ if kind == "tool_result" || kind.ends_with("_tool_result") => {
            tool_result(part, turn, row);
        }
        "image" | "image_url" | "document" | "file" | "input_image" | "input_audio" => {
            let uri = string("source/url")
                .or(string("source/file_id"))
                .or(string("image_url/url"))
                .or(string("image_url"))
                .or(string("file/file_id"));
            let name = string("title").or(string("file/filename"));
            turn.media(row, string("source/media_type"), uri);
            // A document's name is the caller's words, and the model reads it.
            turn.text(row, PartType::Text, name.unwrap_or_default());
            match string("source/type") {
                Some("text") => {
                    if let Some(text) = string("source/data") {
                        turn.text(row, PartType::Text, text);
                    }
                }
                Some("content") => {
                    if let Some(inner) = part.find("source/content") {
                        content(inner, turn, row);
                    }
                }
                _ => {}
            }
            if let Some(text) = string("context") {
                turn.text(row, PartType::Text, text);
            }
        }
        // Words from outside, like a tool's.
        "search_result" => turn.with_role("tool").leaves(row, PartType::Raw, part),
        _ => {
            turn.leaves(row, PartType::Raw, part);
            warn(&mut row.call, "unknown_body");
        }
    }
}

fn tool_result<'a>(part: Value<'a>, turn: Turn<'a>, row: &mut CallRow<'a>) {
    let turn = turn.with_role("tool");
    let id = part.get("tool_use_id").and_then(Value::as_str);
    let Some(results) = part.get("content") else {
        return turn.tool_result(row, None, id, None);
    };
    if let Some(text) = results.as_str()
        && !results.structure().is_array()
    {
        return turn.tool_result(row, None, id, Some(text));
    }
    for result in results.structure().items_or_self() {
        match (result.as_str(), result.get("text").and_then(Value::as_str)) {
            (Some(text), _) | (None, Some(text)) => turn.tool_result(row, None, id, Some(text)),
            // An image; or a web search's hits, a file's name, an error.
            _ if result.get("source").is_some() => read_part(result, turn, row),
            _ => turn.tool_result(row, None, id, Some(result.to_json())),
        }
    }
}

fn stream<'a>(chunks: Value<'a>, row: &mut CallRow<'a>) {
    let mut blocks = Blocks::default();
    for chunk in chunks.items().map(Value::structure) {
        let index = chunk.get("index").and_then(Value::as_int).unwrap_or(0);
        if let Some(message) = chunk.get("message") {
            provisional_output(message, row);
            if let Some(parts) = message.get("content") {
                content(parts, Turn::answer(0), row);
            }
        }
        if let Some(block) = chunk.get("content_block") {
            let string = |key| block.get(key).and_then(Value::as_str);
            match string("type") {
                Some("tool_use" | "server_tool_use" | "mcp_tool_use") => {
                    blocks.open(index, PartType::ToolCall, string("name"), string("id"));
                }
                // Blocks open empty and grow; some producers put the first words here.
                Some("text") => blocks.append(index, PartType::Text, string("text").unwrap_or("")),
                Some("thinking") => {
                    let text = string("thinking").unwrap_or("");
                    blocks.append(index, PartType::Reasoning, text);
                }
                _ => read_part(block, Turn::answer(0), row),
            }
        }
        if let Some(delta) = chunk.get("delta") {
            for (key, part_type) in [
                ("text", PartType::Text),
                ("partial_json", PartType::ToolCall),
                ("thinking", PartType::Reasoning),
            ] {
                if let Some(text) = delta.get(key).and_then(Value::as_str) {
                    blocks.append(index, part_type, text);
                }
            }
            message_head(delta, row);
        }
        if let Some(usage) = chunk.get("usage") {
            usage_tokens(usage, row);
        }
        error(chunk, row);
    }
    blocks.finish(Turn::answer(0), chunks, row);
}

/// The head of a stream. Its output count is provisional: the last `message_delta` has the final one.
fn provisional_output<'a>(message: Value<'a>, row: &mut CallRow<'a>) {
    let known = row.call.output_tokens;
    message_head(message, row);
    row.call.output_tokens = known;
}

//! Bedrock Converse: one shape for every model. ConverseStream is logged already put together; Nova's own
//! InvokeModel bodies and stream chunks have the same parts.

use super::parts::{
    Turn, arguments, blocked, code_at, finish, keep_numbers, message_count, request_was_read,
    response_was_read, role, seal, tool_definition, warn,
};
use super::stream::Blocks;
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType};
use crate::ingest::{guardrail, names, tokens};

/// Parameters and figures that may reach `attributes` when no column took them.
const KEEP: [&str; 11] = [
    "inferenceConfig",
    "additionalModelRequestFields",
    "additionalModelResponseFieldPaths",
    "guardrailConfig",
    "performanceConfig",
    "schemaVersion",
    "serviceTier",
    "metrics",
    "usage",
    "trace",
    "stopReason",
];

/// Whether a request is of this shape rather than another with `messages`.
pub(crate) fn is_request(body: Value<'_>) -> bool {
    let body = body.structure();
    let untyped = |part: Value<'_>| part.is_object() && part.get("type").is_none();
    ["inferenceConfig", "toolConfig", "guardrailConfig"]
        .iter()
        .any(|key| body.get(key).is_some())
        || body.get("messages").is_some_and(|messages| {
            messages
                .structure()
                .items_or_self()
                .filter_map(|message| message.get("content"))
                .any(|content| content.structure().items().any(untyped))
        })
}

/// Whether a response, or a chunk of one, is of this shape.
pub(crate) fn is_response(body: Value<'_>) -> bool {
    body.find("output/message").is_some()
        || body.get("stopReason").is_some()
        || [
            "messageStart",
            "contentBlockStart",
            "contentBlockDelta",
            "contentBlockStop",
            "messageStop",
        ]
        .iter()
        .any(|key| body.get(key).is_some())
}

/// Reads a request.
pub(crate) fn request<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let body = body.structure();
    let system = Turn::new(Direction::Input, Some("system"), 0);
    let before = row.parts.len();
    if let Some(prompt) = body.get("system") {
        content(prompt, system, row);
    }
    row.call.system_prompt_present = Some(row.parts.len() > before);

    if let Some(list) = body.get("messages") {
        let list = list.structure();
        for (number, message) in list.items_or_self().enumerate() {
            read_message(message, Direction::Input, "user", number, row);
        }
        message_count(row, list.items_or_self().count());
    }

    let call = &mut row.call;
    for settings in [body.get("inferenceConfig"), Some(body)]
        .into_iter()
        .flatten()
    {
        call.temperature = call
            .temperature
            .or_else(|| settings.float("temperature", "temperature"));
        for path in ["topP", "top_p"] {
            call.top_p = call.top_p.or_else(|| settings.float(path, "top_p"));
        }
        tokens::fill(
            &mut call.max_tokens,
            settings,
            &["maxTokens", "max_new_tokens", "max_tokens"],
            "max_tokens",
        );
    }
    if let Some(id) = code_at(body, "guardrailConfig/guardrailIdentifier", "guardrail_ids") {
        guardrail::ran(row, id);
    }
    if let Some(tools) = body.find("toolConfig/tools") {
        for tool in tools.structure().items_or_self() {
            if let Some(tool) = tool.get("toolSpec").or_else(|| tool.get("systemTool")) {
                let text = |key| tool.get(key).and_then(Value::as_str);
                tool_definition(row, text("name"), text("description"));
            }
        }
    }
    // Stop sequences are the caller's words, and some models take their system prompt among the additional fields.
    for key in ["inferenceConfig", "additionalModelRequestFields"] {
        if let Some(settings) = body.get(key) {
            keep_numbers(settings);
        }
    }
    request_was_read(&mut row.call);
    seal(body, &KEEP);
}

/// Reads a response, or the chunks of one.
pub(crate) fn response<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let body = body.structure();
    response_was_read(&mut row.call);
    if body.is_array() {
        stream(body, row);
        return seal(body, &[]);
    }
    if let Some(message) = body.find("output/message") {
        read_message(message, Direction::Output, "assistant", 0, row);
    } else if let Some(output) = body.get("output") {
        Turn::answer(0).leaves(row, PartType::Raw, output);
    }
    figures(body, row);
    seal(body, &KEEP);
}

/// Stop reason, latency, tokens and guardrail of a response or of a stream's closing chunks.
fn figures<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let reason = code_at(body, "stopReason", "finish_reasons");
    finish(row, reason);
    match reason {
        Some("guardrail_intervened") => guardrail::action("INTERVENED", row),
        Some("content_filtered") => blocked(&mut row.call),
        _ => {}
    }
    let call = &mut row.call;
    call.duration_ms = call
        .duration_ms
        .or_else(|| body.positive("metrics/latencyMs", "duration_ms"));
    if let Some(usage) = body.get("usage") {
        usage_tokens(usage, row);
    }
    if let Some(model) = body.text("trace/promptRouter/invokedModelId", "response_model") {
        row.call.response_model = Some(names::clean_model(model).0);
    }
    if let Some(trace) = body.find("trace/guardrail") {
        guardrail::trace(trace, row);
    }
}

/// Token counts as Converse names them; the input leaves the caches out.
fn usage_tokens(usage: Value<'_>, row: &mut CallRow<'_>) {
    let call = &mut row.call;
    for (slot, paths, column) in [
        (
            &mut call.input_tokens_uncached,
            &["inputTokens", "inputTokenCount"],
            "input_tokens_uncached",
        ),
        (
            &mut call.output_tokens,
            &["outputTokens", "outputTokenCount"],
            "output_tokens",
        ),
        (
            &mut call.cache_read_input_tokens,
            &["cacheReadInputTokens", "cacheReadInputTokenCount"],
            "cache_read_input_tokens",
        ),
        (
            &mut call.cache_write_input_tokens,
            &["cacheWriteInputTokens", "cacheWriteInputTokenCount"],
            "cache_write_input_tokens",
        ),
        (
            &mut call.total_tokens,
            &["totalTokens", "totalTokenCount"],
            "total_tokens",
        ),
    ] {
        tokens::fill(slot, usage, paths, column);
    }
}

fn read_message<'a>(
    message: Value<'a>,
    direction: Direction,
    default_role: &'static str,
    number: usize,
    row: &mut CallRow<'a>,
) {
    let message = message.structure();
    let who = message
        .get("role")
        .and_then(Value::as_str)
        .and_then(role)
        .unwrap_or(default_role);
    let turn = Turn::new(direction, Some(who), number);
    match message.get("content") {
        Some(parts) => content(parts, turn, row),
        None if message.is_object() => {}
        None => turn.leaves(row, PartType::Raw, message),
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
    if let Some(text) = part.as_str() {
        return turn.text(row, PartType::Text, text);
    }
    for (key, value) in part.entries() {
        let string = |path: &str| value.find(path).and_then(Value::as_str);
        match key {
            "text" => turn.text_or_leaves(row, value),
            "toolUse" => turn.tool_call(
                row,
                string("name"),
                string("toolUseId"),
                value.get("input").map(arguments),
            ),
            "toolResult" => tool_result(value, turn, row),
            "image" | "video" | "audio" | "document" => attachment(key, value, turn, row),
            "guardContent" => match value.find("text/text") {
                Some(text) => turn.text_or_leaves(row, text),
                None => attachment("image", value, turn, row),
            },
            "reasoningContent" => match value.find("reasoningText/text") {
                Some(text) => match text.as_str() {
                    Some(text) => turn.text(row, PartType::Reasoning, text),
                    None => turn.leaves(row, PartType::Raw, text),
                },
                // Redacted reasoning is the vendor's cipher text: nothing to read.
                None if value.get("redactedContent").is_some() => {}
                None => turn.leaves(row, PartType::Raw, value),
            },
            "citationsContent" => {
                for quoted in value.get("content").into_iter().flat_map(Value::items) {
                    read_part(quoted, turn, row);
                }
            }
            // The model's search results: words from outside, like a tool's.
            "searchResult" => turn.with_role("tool").leaves(row, PartType::Raw, value),
            "cachePoint" | "type" => {}
            _ => {
                turn.leaves(row, PartType::Raw, value);
                warn(&mut row.call, "unknown_body");
            }
        }
    }
}

fn tool_result<'a>(value: Value<'a>, turn: Turn<'a>, row: &mut CallRow<'a>) {
    let turn = turn.with_role("tool");
    let id = value.get("toolUseId").and_then(Value::as_str);
    let Some(results) = value.get("content") else {
        return turn.tool_result(row, None, id, None);
    };
    let results = results.structure();
    for result in results.items_or_self() {
        if let Some(text) = result.as_str() {
            turn.tool_result(row, None, id, Some(text));
        }
        for (key, inner) in result.entries() {
            match key {
                "text" => turn.tool_result(row, None, id, Some(arguments(inner))),
                "image" | "video" | "document" => {
                    attachment(key, inner, turn, row);
                }
                "status" => {}
                _ => turn.tool_result(row, None, id, Some(inner.to_json())),
            }
        }
    }
}

fn attachment<'a>(kind: &str, value: Value<'a>, turn: Turn<'a>, row: &mut CallRow<'a>) {
    let string = |path: &str| value.find(path).and_then(Value::as_str);
    let mime_type = string("format").map(|format| match (kind, format) {
        ("document", "txt") => "text/plain",
        ("document", "md") => "text/markdown",
        ("document", "csv" | "html") => value.format(format_args!("text/{format}")),
        ("document", _) => value.format(format_args!("application/{format}")),
        (_, "jpg") => "image/jpeg",
        _ => value.format(format_args!("{kind}/{format}")),
    });
    let uri = string("source/s3Uri")
        .or_else(|| string("source/s3Location/uri"))
        .or_else(|| string("s3Uri"));
    turn.media(row, mime_type, uri);
    // A document's name is the caller's words, and the model reads it. Documents may come as text as well.
    turn.text(row, PartType::Text, string("name").unwrap_or_default());
    if let Some(text) = string("source/text") {
        turn.text(row, PartType::Text, text);
    }
    for chunk in value
        .find("source/content")
        .into_iter()
        .flat_map(Value::items)
    {
        read_part(chunk, turn, row);
    }
    if let Some(text) = string("context") {
        turn.text(row, PartType::Text, text);
    }
}

fn stream<'a>(chunks: Value<'a>, row: &mut CallRow<'a>) {
    let mut blocks = Blocks::default();
    for chunk in chunks.items().map(Value::structure) {
        if let Some(start) = chunk.get("contentBlockStart") {
            let index = index_of(start);
            if let Some(tool) = start.find("start/toolUse") {
                let string = |key| tool.get(key).and_then(Value::as_str);
                blocks.open(
                    index,
                    PartType::ToolCall,
                    string("name"),
                    string("toolUseId"),
                );
            }
        }
        if let Some(delta) = chunk.get("contentBlockDelta") {
            let index = index_of(delta);
            for (path, part_type) in [
                ("delta/text", PartType::Text),
                ("delta/toolUse/input", PartType::ToolCall),
                ("delta/reasoningContent/text", PartType::Reasoning),
            ] {
                if let Some(text) = delta.find(path) {
                    blocks.append(index, part_type, arguments(text));
                }
            }
        }
        if let Some(stop) = chunk.get("messageStop") {
            figures(stop, row);
        }
        figures(chunk.get("metadata").unwrap_or(chunk), row);
    }
    blocks.finish(Turn::answer(0), chunks, row);
}

fn index_of(event: Value<'_>) -> i64 {
    event
        .get("contentBlockIndex")
        .and_then(Value::as_int)
        .unwrap_or(0)
}

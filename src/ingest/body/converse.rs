//! Bedrock Converse: one shape for every model. ConverseStream is logged already put together; Nova's own
//! InvokeModel bodies and stream chunks have the same parts.

use super::super::guardrail;
use super::super::json::Value;
use super::super::record::{CallRow, Direction, PartType};
use super::super::tokens;
use super::{Blocks, Place, arguments, code, role, warn};

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
    let system = Place::new(Direction::Input, "system", 0);
    let before = row.parts.len();
    if let Some(prompt) = body.get("system") {
        content(prompt, system, row);
    }
    super::system_prompt(row, row.parts.len() > before);

    if let Some(list) = body.get("messages") {
        let list = list.structure();
        for (number, message) in list.items_or_self().enumerate() {
            read_message(message, Direction::Input, "user", number, row);
        }
        super::messages(row, list.items_or_self().count());
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
    if let Some(id) = code(body, "guardrailConfig/guardrailIdentifier", "guardrail_ids") {
        guardrail::ran(row, id);
    }
    if let Some(tools) = body.find("toolConfig/tools") {
        for tool in tools.structure().items_or_self() {
            if let Some(tool) = tool.get("toolSpec").or_else(|| tool.get("systemTool")) {
                let text = |key| tool.get(key).and_then(Value::as_str);
                super::tool_definition(row, text("name"), text("description"));
            }
        }
    }
    // Whatever the caller likes to send: some models take their system prompt here.
    if let Some(extra) = body.get("additionalModelRequestFields") {
        super::keep_numbers(extra);
    }
    super::seal(body, &KEEP);
}

/// Reads a response, or the chunks of one.
pub(crate) fn response<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let body = body.structure();
    if body.is_array() {
        stream(body, row);
        return super::seal(body, &KEEP);
    }
    if let Some(message) = body.find("output/message") {
        read_message(message, Direction::Output, "assistant", 0, row);
    } else if let Some(output) = body.get("output") {
        super::raw_text(output, Place::answer(0), row);
    }
    figures(body, row);
    super::seal(body, &KEEP);
}

/// Stop reason, latency, tokens and guardrail of a response or of a stream's closing chunks.
fn figures<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let reason = code(body, "stopReason", "finish_reasons");
    super::finish(row, reason);
    match reason {
        Some("guardrail_intervened") => guardrail::action("INTERVENED", row),
        Some("content_filtered") => super::blocked(row),
        _ => {}
    }
    let call = &mut row.call;
    call.duration_ms = call
        .duration_ms
        .or_else(|| body.positive("metrics/latencyMs", "duration_ms"));
    if let Some(usage) = body.get("usage") {
        usage_tokens(usage, row);
    }
    if let Some(model) = code(body, "trace/promptRouter/invokedModelId", "response_model") {
        row.call.response_model = Some(super::super::names::clean_model(model).0);
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
    let place = Place::new(direction, who, number);
    match message.get("content") {
        Some(parts) => content(parts, place, row),
        None if message.is_object() => {}
        None => super::raw_text(message, place, row),
    }
}

fn content<'a>(parts: Value<'a>, place: Place, row: &mut CallRow<'a>) {
    match parts.as_str() {
        // A text that happens to be JSON is still a text, unless it is a list of parts.
        Some(text) if !parts.structure().is_array() => place.text(row, text),
        _ => {
            for part in parts.structure().items_or_self() {
                read_part(part, place, row);
            }
        }
    }
}

fn read_part<'a>(part: Value<'a>, place: Place, row: &mut CallRow<'a>) {
    if let Some(text) = part.as_str() {
        return place.text(row, text);
    }
    for (key, value) in part.entries() {
        let string = |path: &str| value.find(path).and_then(Value::as_str);
        match key {
            "text" => place.text_or_raw(row, value),
            "toolUse" => place.tool_call(
                row,
                string("name"),
                string("toolUseId"),
                value.get("input").map(arguments),
            ),
            "toolResult" => tool_result(value, place, row),
            "image" | "video" | "audio" | "document" => attachment(key, value, place, row),
            "guardContent" => match value.find("text/text") {
                Some(text) => place.text_or_raw(row, text),
                None => attachment("image", value, place, row),
            },
            "reasoningContent" => match value.find("reasoningText/text") {
                Some(text) => match text.as_str() {
                    Some(text) => place.push(row, PartType::Reasoning, text),
                    None => super::raw_text(text, place, row),
                },
                // Redacted reasoning is the vendor's cipher text: nothing to read.
                None if value.get("redactedContent").is_some() => {}
                None => super::raw_text(value, place, row),
            },
            "citationsContent" => {
                for quoted in value.get("content").into_iter().flat_map(Value::items) {
                    read_part(quoted, place, row);
                }
            }
            // The model's search results: words from outside, like a tool's.
            "searchResult" => super::raw_text(value, place.with_role("tool"), row),
            "cachePoint" | "type" => {}
            _ => {
                super::raw_text(value, place, row);
                warn(row, "unknown_body");
            }
        }
    }
}

fn tool_result<'a>(value: Value<'a>, place: Place, row: &mut CallRow<'a>) {
    let id = value.get("toolUseId").and_then(Value::as_str);
    let Some(results) = value.get("content") else {
        return place.tool_result(row, id, "");
    };
    let results = results.structure();
    for result in results.items_or_self() {
        if let Some(text) = result.as_str() {
            place.tool_result(row, id, text);
        }
        for (key, inner) in result.entries() {
            match key {
                "text" => place.tool_result(row, id, arguments(inner)),
                "image" | "video" | "document" => {
                    attachment(key, inner, place.with_role("tool"), row);
                }
                "status" => {}
                _ => place.tool_result(row, id, inner.to_json()),
            }
        }
    }
}

fn attachment<'a>(kind: &str, value: Value<'a>, place: Place, row: &mut CallRow<'a>) {
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
    place.media(row, mime_type, uri, string("name"));
    // Documents may come as text, and carry words about themselves.
    if let Some(text) = string("source/text") {
        place.text(row, text);
    }
    for chunk in value
        .find("source/content")
        .into_iter()
        .flat_map(Value::items)
    {
        read_part(chunk, place, row);
    }
    if let Some(text) = string("context") {
        place.text(row, text);
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
    blocks.finish(Place::answer(0), chunks, row);
}

fn index_of(event: Value<'_>) -> i64 {
    event
        .get("contentBlockIndex")
        .and_then(Value::as_int)
        .unwrap_or(0)
}

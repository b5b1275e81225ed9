//! Bodies of OpenAI's API and of all that imitate it: chat and legacy completions (`choices`), the responses API
//! (`responses`), embeddings, images; whole or streamed, with Azure's content filter results (`filters`).
//!
//! A block is an outcome of its own and is set here; whether a call without one succeeded is for the log around the body
//! to say.
//!
//! Left out: audio and image bytes, embedding vectors, log probabilities. They are marked as content and not kept.

use super::choices::Choices;
use super::error::error;
use super::open::open;
use super::parts::{
    Turn, arguments, code, code_at, cut, message_count, role, seal, tags, tool_definition, unknown,
    warn,
};
use super::{filters, responses};
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType};
use crate::ingest::tokens;
use crate::schema::Call;

/// Settings without a column that cannot hold a prompt.
const REQUEST_SETTINGS: [&str; 21] = [
    "background",
    "best_of",
    "dimensions",
    "echo",
    "encoding_format",
    "frequency_penalty",
    "include",
    "logprobs",
    "modalities",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "reasoning",
    "reasoning_effort",
    "seed",
    "service_tier",
    "store",
    "stream_options",
    "top_logprobs",
    "truncation",
    "verbosity",
];

const RESPONSE_SETTINGS: [&str; 6] = [
    "created",
    "created_at",
    "object",
    "service_tier",
    "system_fingerprint",
    "usage",
];

/// Reads a request.
pub(crate) fn request<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let opened = open(body);
    let first_part = row.parts.len();
    let Some(&root) = opened.values.first() else {
        return unknown(body, Direction::Input, row);
    };
    settings(root, row);
    let known = if let Some(list) = root.get("messages") {
        messages(list, Direction::Input, row);
        true
    } else if let Some(prompt) = root.get("prompt") {
        for texts in [Some(prompt), root.get("suffix")].into_iter().flatten() {
            prompts(texts, row);
        }
        true
    } else {
        responses::request(root, row)
    };
    if !known {
        Turn::new(Direction::Input, Some("user"), 0).leaves(row, PartType::Raw, root);
        warn(&mut row.call, "unknown_body");
    }
    tools(root, row);
    for value in opened.loose {
        Turn::new(Direction::Input, Some("user"), 0).leaves(row, PartType::Raw, value);
    }
    for value in opened.values {
        seal(value, &REQUEST_SETTINGS);
    }
    cut(row, first_part, opened.truncated);
}

/// Columns of a request, whatever its shape.
fn settings<'a>(root: Value<'a>, row: &mut CallRow<'a>) {
    let first = |paths: &[&str], column| paths.iter().find_map(|path| code_at(root, path, column));
    let call = &mut row.call;
    call.model = call.model.or_else(|| first(&["model"], "model"));
    call.request_stream = call
        .request_stream
        .or_else(|| root.flag("stream", "request_stream"));
    call.temperature = call
        .temperature
        .or_else(|| root.float("temperature", "temperature"));
    call.top_p = call.top_p.or_else(|| root.float("top_p", "top_p"));
    let limits = ["max_completion_tokens", "max_output_tokens", "max_tokens"];
    tokens::fill(&mut call.max_tokens, root, &limits, "max_tokens");
    call.end_user_id = call
        .end_user_id
        .or_else(|| first(&["safety_identifier", "user"], "end_user_id"));
    let conversation = ["conversation/id", "conversation", "previous_response_id"];
    call.conversation_id = call
        .conversation_id
        .or_else(|| first(&conversation, "conversation_id"));
    tags(root.get("metadata"), call);
}

/// The tools that are offered, and what the model is told about them.
fn tools<'a>(root: Value<'a>, row: &mut CallRow<'a>) {
    let offered = ["tools", "functions"].iter().find_map(|key| root.get(key));
    for tool in offered
        .into_iter()
        .flat_map(|tools| tools.structure().items())
    {
        let inner = tool.get("function").unwrap_or(tool);
        let text = |key: &str| inner.get(key).and_then(Value::as_str);
        // Built-in tools have no name but their type.
        tool_definition(
            row,
            text("name").or_else(|| text("type")),
            text("description"),
        );
    }
    row.call.tool_definition_count.get_or_insert(0);
}

/// The messages of a request, or of a log that has messages alone.
pub(crate) fn messages<'a>(list: Value<'a>, direction: Direction, row: &mut CallRow<'a>) {
    let mut count = 0;
    let mut has_system = false;
    for message in list.structure().items_or_self() {
        let place = place(message, direction, count);
        has_system |= place.role == Some("system");
        message_parts(message, place, row);
        count += 1;
    }
    if direction == Direction::Input {
        message_count(row, count);
        row.call.system_prompt_present = row.call.system_prompt_present.or(Some(has_system));
        row.call.media_count.get_or_insert(0);
    }
}

/// Where a message stands that says its own role.
pub(super) fn place<'a>(message: Value<'a>, direction: Direction, number: usize) -> Turn<'a> {
    let said = message.get("role").and_then(Value::as_str);
    Turn {
        direction,
        role: said.and_then(role),
        message: u32::try_from(number).unwrap_or(u32::MAX),
    }
}

fn message_parts<'a>(message: Value<'a>, place: Turn<'a>, row: &mut CallRow<'a>) {
    let text = |key: &str| message.get(key).and_then(Value::as_text);
    if place.role == Some("tool") {
        let content = message.get("content").map(flat).unwrap_or_default();
        return place.tool_result(row, text("name"), text("tool_call_id"), Some(content));
    }
    for key in ["reasoning_content", "reasoning"] {
        if let Some(thought) = message.get(key) {
            place.text(row, PartType::Reasoning, flat(thought));
        }
    }
    if let Some(content) = message.get("content") {
        content_parts(content, place, row);
    }
    if let Some(refusal) = text("refusal") {
        place.text(row, PartType::Text, refusal);
    }
    let calls = message.get("tool_calls").into_iter();
    for call in calls.flat_map(Value::items_or_self) {
        let inner = called(call);
        let name = inner.get("name").and_then(Value::as_text);
        let id = call.get("id").and_then(Value::as_text);
        place.tool_call(row, name, id, given(inner));
    }
    if let Some(call) = message.get("function_call") {
        let name = call.get("name").and_then(Value::as_text);
        place.tool_call(row, name, None, given(call));
    }
}

/// What a tool call calls: its name and arguments stand one level down.
pub(super) fn called(call: Value<'_>) -> Value<'_> {
    ["function", "custom"]
        .iter()
        .find_map(|key| call.get(key))
        .unwrap_or(call)
}

/// The arguments of a tool call; a custom tool has an input instead.
pub(super) fn given(call: Value<'_>) -> Option<&str> {
    ["arguments", "input"]
        .iter()
        .find_map(|key| call.get(key))
        .map(arguments)
}

/// Text, or parts that are texts, as one text; anything else as JSON.
pub(super) fn flat(content: Value<'_>) -> &str {
    if let Some(text) = content.as_str() {
        return text;
    }
    let texts: Option<Vec<_>> = content
        .items()
        .map(|item| item.as_str().or_else(|| item.get("text")?.as_str()))
        .collect();
    match texts {
        Some(texts) if !texts.is_empty() => content.keep(&texts.join("\n")),
        _ => content.to_json(),
    }
}

/// Content as one text, or as parts of several kinds. Serves chat and the responses API.
pub(super) fn content_parts<'a>(content: Value<'a>, place: Turn<'a>, row: &mut CallRow<'a>) {
    for part in content.items_or_self() {
        match part.as_str() {
            Some(text) => place.text(row, PartType::Text, text),
            None => content_part(part, place, row),
        }
    }
}

fn content_part<'a>(part: Value<'a>, place: Turn<'a>, row: &mut CallRow<'a>) {
    let first = |paths: &[&str]| {
        paths
            .iter()
            .find_map(|path| part.find(path).and_then(Value::as_str))
    };
    match first(&["type"]).unwrap_or_default() {
        "image_url" | "input_image" | "image_file" => {
            let uri = first(&[
                "image_url/url",
                "image_url",
                "file_id",
                "image_file/file_id",
            ]);
            place.media(row, None, uri);
        }
        "input_audio" | "audio" => {
            let format =
                first(&["input_audio/format", "format"]).filter(|format| code(format).is_some());
            let kind = format.map(|format| part.format(format_args!("audio/{format}")));
            place.media(row, kind, None);
        }
        "file" | "input_file" => {
            let data = first(&["file/file_data", "file_data"]);
            let uri = first(&["file/file_id", "file_id", "file_url"]);
            let name = first(&["file/filename", "filename"]);
            place.media(row, None, uri.or(data));
            // A name is the caller's words, and the model reads it.
            if let Some(part) = row.parts.last_mut() {
                part.text = name.filter(|name| !name.is_empty());
            }
        }
        "reasoning" | "thinking" | "reasoning_text" | "summary_text" => {
            let thought = first(&["text", "thinking"]).unwrap_or_else(|| part.to_json());
            place.text(row, PartType::Reasoning, thought);
        }
        _ => match first(&["text", "refusal", "output_text", "text/value"]) {
            Some(text) => place.text(row, PartType::Text, text),
            None => place.leaves(row, PartType::Raw, part),
        },
    }
}

/// Prompts of the legacy API: a text, several, or token numbers, which are no text.
fn prompts<'a>(prompt: Value<'a>, row: &mut CallRow<'a>) {
    for (number, text) in prompt.items_or_self().filter_map(Value::as_str).enumerate() {
        Turn::new(Direction::Input, Some("user"), number).text(row, PartType::Text, text);
    }
}

/// Whether a response, or a chunk of one, is of this shape: chat, completions or the responses API.
pub(crate) fn is_response(body: Value<'_>) -> bool {
    let text = |key| body.get(key).and_then(Value::as_str).unwrap_or_default();
    body.get("choices").is_some()
        || text("object").starts_with("response")
        || text("type").starts_with("response.")
}

/// Reads a response, whole or as the chunks of a stream.
pub(crate) fn response<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let opened = open(body);
    let first_part = row.parts.len();
    let Some(&first) = opened.values.first() else {
        return unknown(body, Direction::Output, row);
    };
    let mut choices = Choices::default();
    let mut known = false;
    for &value in &opened.values {
        known |= envelope(value, row);
        known |= choices.read(value, row);
    }
    choices.finish(first, row);
    known |= responses::response(&opened.values, row);
    if !known {
        for &value in &opened.values {
            Turn::answer(0).leaves(row, PartType::Raw, value);
        }
        warn(&mut row.call, "unknown_body");
    }
    for value in opened.loose {
        Turn::answer(0).leaves(row, PartType::Raw, value);
    }
    // What the response is, every chunk says again; what it used, only the last.
    for (number, value) in opened.values.into_iter().enumerate() {
        let keep: &[&str] = if number == 0 {
            &RESPONSE_SETTINGS
        } else {
            &["usage"]
        };
        seal(value, keep);
    }
    cut(row, first_part, opened.truncated);
}

/// What every response has around its choices. Returns whether that alone makes it one: an error, a list of vectors, a
/// chunk of numbers only.
fn envelope<'a>(value: Value<'a>, row: &mut CallRow<'a>) -> bool {
    identity(value, &mut row.call);
    for key in ["prompt_filter_results", "prompt_annotations"] {
        for prompt in value.get(key).into_iter().flat_map(Value::items_or_self) {
            for key in ["content_filter_results", "content_filter_result"] {
                if let Some(results) = prompt.get(key) {
                    filters::azure(results, "input", row);
                }
            }
        }
    }
    let has_vectors = value.get("data").is_some_and(|data| {
        let first = data.structure().items().next();
        first.is_some_and(|item| item.get("embedding").is_some())
    });
    error(value, row) || has_vectors || value.get("usage").is_some()
}

/// Id, model and token counts of a response.
pub(super) fn identity<'a>(value: Value<'a>, call: &mut Call<'a>) {
    call.response_id = call
        .response_id
        .or_else(|| code_at(value, "id", "response_id"));
    call.response_model = call
        .response_model
        .or_else(|| code_at(value, "model", "response_model"));
    if let Some(counts) = value.get("usage") {
        usage(counts, call);
    }
}

/// OpenAI's `usage`: input includes what the cache served, output includes reasoning. The responses API has other names
/// for the same.
pub(crate) fn usage<'a>(usage: Value<'a>, call: &mut Call<'a>) {
    let fill = |slot: &mut Option<i64>, paths: [&str; 2], column| {
        tokens::fill(slot, usage, &paths, column);
    };
    fill(
        &mut call.input_tokens,
        ["prompt_tokens", "input_tokens"],
        "input_tokens",
    );
    fill(
        &mut call.cache_read_input_tokens,
        [
            "prompt_tokens_details/cached_tokens",
            "input_tokens_details/cached_tokens",
        ],
        "cache_read_input_tokens",
    );
    fill(
        &mut call.output_tokens,
        ["completion_tokens", "output_tokens"],
        "output_tokens",
    );
    fill(
        &mut call.reasoning_output_tokens,
        [
            "completion_tokens_details/reasoning_tokens",
            "output_tokens_details/reasoning_tokens",
        ],
        "reasoning_output_tokens",
    );
    tokens::fill(
        &mut call.total_tokens,
        usage,
        &["total_tokens"],
        "total_tokens",
    );
}

//! Bodies of OpenAI's API and of all that imitate it: chat, legacy completions, embeddings, images, the responses API
//! (see `responses`), whole or streamed, with Azure's content filter results.
//!
//! Left out: audio and image bytes, embedding vectors, log probabilities. They are marked as content and not kept.

use std::collections::BTreeMap;

use super::filters;
use super::open::open;
use super::parts::{Turn, code, code_at, count_of, cut, join, seal, unknown, warn};
use super::responses;
use super::usage;
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType};

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
    let known = if let Some(messages) = root.get("messages") {
        self::messages(messages, Direction::Input, row);
        true
    } else if let Some(prompt) = root.get("prompt") {
        prompts(prompt, row);
        root.get("suffix")
            .into_iter()
            .for_each(|suffix| prompts(suffix, row));
        true
    } else {
        responses::request(root, row)
    };
    if !known {
        Turn::default().leaves(row, PartType::Raw, root);
        warn(&mut row.call, "unknown_body");
    }
    for value in opened.values {
        seal(value, &REQUEST_SETTINGS);
    }
    cut(row, first_part, opened.truncated);
}

/// Columns of a request, whatever its shape.
fn settings<'a>(root: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    if call.model.is_none() {
        call.model = code_at(root, "model", "model");
    }
    call.request_stream = call
        .request_stream
        .or_else(|| root.flag("stream", "request_stream"));
    call.temperature = call
        .temperature
        .or_else(|| root.float("temperature", "temperature"));
    call.top_p = call.top_p.or_else(|| root.float("top_p", "top_p"));
    call.max_tokens = call.max_tokens.or_else(|| {
        let names = ["max_completion_tokens", "max_output_tokens", "max_tokens"];
        count_of(root, &names, "max_tokens")
    });
    call.end_user_id = call.end_user_id.or_else(|| {
        ["safety_identifier", "user"]
            .iter()
            .find_map(|key| code_at(root, key, "end_user_id"))
    });
    call.conversation_id = call.conversation_id.or_else(|| {
        ["conversation/id", "conversation", "previous_response_id"]
            .iter()
            .find_map(|key| code_at(root, key, "conversation_id"))
    });
    let offered = ["tools", "functions"]
        .iter()
        .find_map(|key| root.get(key))
        .map_or(0, |tools| tools.structure().items().count());
    call.tool_definition_count = call
        .tool_definition_count
        .or_else(|| i32::try_from(offered).ok());
    if call.tags.is_empty()
        && let Some(metadata) = root.get("metadata").and_then(Value::object)
    {
        metadata.mark("tags");
        call.tags = metadata
            .entries()
            .filter_map(|(key, value)| Some((key, value.as_text()?)))
            .collect();
    }
}

/// The messages of a request, or of a log that has messages alone.
pub(crate) fn messages<'a>(list: Value<'a>, direction: Direction, row: &mut CallRow<'a>) {
    let messages: Vec<_> = list.structure().items_or_self().collect();
    let mut has_system = false;
    for (number, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str);
        let role = role.map(plain_role);
        has_system |= role == Some("system");
        message_parts(*message, Turn::new(direction, role, number), row);
    }
    if direction == Direction::Input {
        let call = &mut row.call;
        call.message_count = call
            .message_count
            .or_else(|| i32::try_from(messages.len()).ok());
        call.system_prompt_present = call.system_prompt_present.or(Some(has_system));
        call.media_count.get_or_insert(0);
    }
}

/// OpenAI calls its newer system prompt a developer's, and its older tool answers a function's.
pub(super) fn plain_role(role: &str) -> &str {
    match role {
        "developer" => "system",
        "function" => "tool",
        role => role,
    }
}

/// A message of a request.
fn message_parts<'a>(message: Value<'a>, turn: Turn<'a>, row: &mut CallRow<'a>) {
    let text = |key: &str| message.get(key).and_then(Value::as_text);
    if turn.role == Some("tool") {
        let content = message.get("content").map(|content| flat(content));
        turn.tool_result(row, text("name"), text("tool_call_id"), content);
        return;
    }
    for key in ["reasoning_content", "reasoning"] {
        if let Some(thought) = message.get(key) {
            turn.leaves(row, PartType::Reasoning, thought);
        }
    }
    if let Some(content) = message.get("content") {
        content_parts(content, turn, row);
    }
    if let Some(refusal) = text("refusal") {
        turn.text(row, PartType::Text, refusal);
    }
    let calls = message
        .get("tool_calls")
        .into_iter()
        .flat_map(Value::items_or_self);
    for call in calls {
        let inner = call
            .get("function")
            .or_else(|| call.get("custom"))
            .unwrap_or(call);
        turn.tool_call(
            row,
            inner.get("name").and_then(Value::as_text),
            call.get("id").and_then(Value::as_text),
            arguments(inner),
        );
    }
    if let Some(call) = message.get("function_call") {
        let name = call.get("name").and_then(Value::as_text);
        turn.tool_call(row, name, None, arguments(call));
    }
}

/// Arguments of a tool call: JSON in a string, or JSON itself.
pub(super) fn arguments(call: Value<'_>) -> Option<&str> {
    let arguments = call.get("arguments").or_else(|| call.get("input"))?;
    arguments.as_str().or_else(|| Some(arguments.to_json()))
}

/// A tool's answer as one text.
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
pub(super) fn content_parts<'a>(content: Value<'a>, turn: Turn<'a>, row: &mut CallRow<'a>) {
    for part in content.items_or_self() {
        if let Some(text) = part.as_str() {
            turn.text(row, PartType::Text, text);
            continue;
        }
        let at = |path: &str| part.find(path).and_then(Value::as_str);
        match at("type").unwrap_or_default() {
            "image_url" | "input_image" | "image_file" => {
                let uri = at("image_url/url")
                    .or_else(|| at("image_url"))
                    .or_else(|| at("file_id"))
                    .or_else(|| at("image_file/file_id"));
                turn.media(row, None, uri);
            }
            "input_audio" | "audio" => {
                let format = at("input_audio/format")
                    .or_else(|| at("format"))
                    .and_then(code);
                let kind = format.map(|format| part.format(format_args!("audio/{format}")));
                turn.media(row, kind, None);
            }
            "file" | "input_file" => {
                let uri = [
                    "file/file_id",
                    "file_id",
                    "file_url",
                    "file/file_data",
                    "file_data",
                ]
                .iter()
                .find_map(|path| at(path));
                turn.media(row, None, uri);
            }
            "reasoning" | "thinking" | "reasoning_text" | "summary_text" => {
                turn.leaves(row, PartType::Reasoning, part.get("text").unwrap_or(part));
            }
            _ => {
                let text = ["text", "refusal", "output_text"]
                    .iter()
                    .find_map(|key| at(key));
                match text.or_else(|| at("text/value")) {
                    Some(text) => turn.text(row, PartType::Text, text),
                    None => turn.leaves(row, PartType::Raw, part),
                }
            }
        }
    }
}

/// Prompts of the legacy API: a text, several, or token numbers, which are no text.
fn prompts<'a>(prompt: Value<'a>, row: &mut CallRow<'a>) {
    for (number, text) in prompt.items_or_self().filter_map(Value::as_str).enumerate() {
        Turn::new(Direction::Input, Some("user"), number).text(row, PartType::Text, text);
    }
}

/// What has come of one choice so far.
#[derive(Default)]
struct Choice<'a> {
    role: Option<&'a str>,
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

/// Reads a response, whole or as the chunks of a stream.
pub(crate) fn response<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let opened = open(body);
    let first_part = row.parts.len();
    let Some(&first) = opened.values.first() else {
        return unknown(body, Direction::Output, row);
    };
    let mut choices = BTreeMap::new();
    let mut known = false;
    for &value in &opened.values {
        known |= envelope(value, row);
        known |= add_choices(value, &mut choices, row);
    }
    finish(first, choices, row);
    known |= responses::response(&opened.values, row);
    if !known {
        for &value in &opened.values {
            Turn::new(Direction::Output, None, 0).leaves(row, PartType::Raw, value);
        }
        warn(&mut row.call, "unknown_body");
    }
    for value in opened.values {
        seal(value, &RESPONSE_SETTINGS);
    }
    cut(row, first_part, opened.truncated);
}

/// What every response has around its choices. Returns whether this is one without any: an error, a list of vectors,
/// a chunk of numbers only.
fn envelope<'a>(value: Value<'a>, row: &mut CallRow<'a>) -> bool {
    let call = &mut row.call;
    call.response_id = call
        .response_id
        .or_else(|| code_at(value, "id", "response_id"));
    call.response_model = call
        .response_model
        .or_else(|| code_at(value, "model", "response_model").filter(|model| !model.is_empty()));
    if let Some(usage) = value.get("usage") {
        usage::openai(usage, &mut row.call);
    }
    for key in ["prompt_filter_results", "prompt_annotations"] {
        for prompt in value.get(key).into_iter().flat_map(Value::items_or_self) {
            let results = prompt
                .get("content_filter_results")
                .or_else(|| prompt.get("content_filter_result"));
            if let Some(results) = results {
                filters::azure(results, "input", row);
            }
        }
    }
    let vectors = value.get("data").map(Value::structure).filter(|data| {
        data.items()
            .next()
            .is_some_and(|item| item.get("embedding").is_some())
    });
    error(value, row) || vectors.is_some() || value.get("usage").is_some()
}

/// The error object of OpenAI and Azure. Returns whether there is one.
pub(super) fn error<'a>(value: Value<'a>, row: &mut CallRow<'a>) -> bool {
    let Some(error) = value.get("error") else {
        return false;
    };
    let at = |path: &str| error.find(path).and_then(Value::as_text).and_then(code);
    let kind = ["code", "type", "status"].iter().find_map(|key| at(key));
    row.call.error_type = row.call.error_type.or(kind);
    if row.call.outcome.is_empty() {
        row.call.outcome = "failure";
    }
    for key in ["innererror", "inner_error"] {
        for results in ["content_filter_result", "content_filter_results"] {
            if let Some(results) = error.get(key).and_then(|inner| inner.get(results)) {
                filters::azure(results, "input", row);
            }
        }
    }
    let inner = at("innererror/code").or_else(|| at("inner_error/code"));
    if at("code").is_some_and(|code| code.eq_ignore_ascii_case("content_filter"))
        || inner == Some("ResponsibleAIPolicyViolation")
    {
        row.call.error_type = Some("content_filter");
        filters::blocked(row);
    }
    let turn = Turn::new(Direction::Error, None, 0);
    match error
        .get("message")
        .or_else(|| error.as_str().map(|_| error))
    {
        Some(message) => turn.leaves(row, PartType::Text, message),
        None => turn.leaves(row, PartType::Raw, error),
    }
    true
}

fn add_choices<'a>(
    value: Value<'a>,
    choices: &mut BTreeMap<i64, Choice<'a>>,
    row: &mut CallRow<'a>,
) -> bool {
    let Some(list) = value.get("choices") else {
        return false;
    };
    for (position, item) in list.structure().items_or_self().enumerate() {
        let index = item.get("index").and_then(Value::as_int);
        let choice: &mut Choice<'a> = choices.entry(index.unwrap_or(position as i64)).or_default();
        if let Some(reason) = item
            .get("finish_reason")
            .and_then(Value::as_text)
            .and_then(code)
        {
            row.call.finish_reasons.push(reason);
            if reason == "content_filter" {
                filters::blocked(row);
            }
        }
        if let Some(results) = item.get("content_filter_results") {
            filters::azure(results, "output", row);
        }
        choice.text.extend(item.get("text").and_then(Value::as_str));
        if let Some(message) = item.get("message").or_else(|| item.get("delta")) {
            choice.add(message);
        }
    }
    true
}

impl<'a> Choice<'a> {
    fn add(&mut self, message: Value<'a>) {
        let text = |value: Value<'a>, key: &str| value.get(key).and_then(Value::as_str);
        self.role = self.role.or_else(|| text(message, "role"));
        match message.get("content") {
            Some(content) if content.is_array() => self.text.push(flat(content)),
            Some(content) => self.text.extend(content.as_str()),
            None => {}
        }
        self.text.extend(text(message, "refusal"));
        self.text
            .extend(message.find("audio/transcript").and_then(Value::as_str));
        let thought = text(message, "reasoning_content").or_else(|| text(message, "reasoning"));
        self.reasoning.extend(thought);
        let calls = message
            .get("tool_calls")
            .into_iter()
            .flat_map(Value::items_or_self);
        for (position, item) in calls.enumerate() {
            let index = item.get("index").and_then(Value::as_int);
            let inner = item
                .get("function")
                .or_else(|| item.get("custom"))
                .unwrap_or(item);
            self.call(index.unwrap_or(position as i64), text(item, "id"), inner);
        }
        if let Some(inner) = message.get("function_call") {
            self.call(-1, None, inner);
        }
    }

    fn call(&mut self, index: i64, id: Option<&'a str>, inner: Value<'a>) {
        let call = self.calls.entry(index).or_default();
        call.id = call.id.or(id);
        call.name = call.name.or_else(|| inner.get("name")?.as_text());
        call.arguments.extend(arguments(inner));
    }
}

fn finish<'a>(keeper: Value<'a>, choices: BTreeMap<i64, Choice<'a>>, row: &mut CallRow<'a>) {
    if !choices.is_empty() {
        row.call.tool_call_count.get_or_insert(0);
    }
    for (number, choice) in choices.into_values().enumerate() {
        let role = choice.role.or(Some("assistant"));
        let turn = Turn::new(Direction::Output, role, number);
        if let Some(thought) = join(keeper, &choice.reasoning) {
            turn.text(row, PartType::Reasoning, thought);
        }
        if let Some(text) = join(keeper, &choice.text) {
            turn.text(row, PartType::Text, text);
        }
        for call in choice.calls.into_values() {
            turn.tool_call(row, call.name, call.id, join(keeper, &call.arguments));
        }
    }
}

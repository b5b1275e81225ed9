//! Bodies of Google's Gemini API, in camel and in snake case, whole or as the chunks of a stream.
//!
//! Left out: inline bytes of attachments, of which only the kind is kept, and log probabilities.

use std::collections::BTreeMap;

use super::error::error;
use super::open::open;
use super::parts::{
    Turn, arguments, code, code_at, cut, finish, join, message_count, seal, tags, tool_definition,
    unknown, warn,
};
use super::{filters, openai};
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType};
use crate::ingest::tokens;
use crate::schema::Call;

/// Settings without a column that cannot hold a prompt.
const REQUEST_SETTINGS: [&str; 6] = [
    "generationConfig",
    "generation_config",
    "safetySettings",
    "safety_settings",
    "serviceTier",
    "service_tier",
];

const RESPONSE_SETTINGS: [&str; 4] = [
    "usageMetadata",
    "usage_metadata",
    "createTime",
    "create_time",
];

/// Reasons to stop that mean a filter withheld the answer.
const BLOCKS: [&str; 10] = [
    "SAFETY",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "RECITATION",
    "MODEL_ARMOR",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "JAILBREAK",
];

/// The value under one of the two spellings of a key.
fn either<'a>(value: Value<'a>, camel: &str, snake: &str) -> Option<Value<'a>> {
    value.get(camel).or_else(|| value.get(snake))
}

/// Reads a request.
pub(crate) fn request<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let opened = open(body);
    let first_part = row.parts.len();
    let Some(&root) = opened.values.first() else {
        return unknown(body, Direction::Input, row);
    };
    settings(root, row);
    let instruction = either(root, "systemInstruction", "system_instruction");
    if let Some(instruction) = instruction {
        contents(
            instruction,
            Turn::new(Direction::Input, Some("system"), 0),
            row,
        );
    }
    match root.get("contents").or_else(|| root.get("content")) {
        Some(list) => {
            let mut count = 0;
            for content in list.structure().items_or_self() {
                let place = openai::place(content, Direction::Input, count);
                let place = Turn {
                    role: place.role.or(Some("user")),
                    ..place
                };
                contents(content, place, row);
                count += 1;
            }
            message_count(row, count);
            row.call.system_prompt_present = row
                .call
                .system_prompt_present
                .or(Some(instruction.is_some()));
            row.call.media_count.get_or_insert(0);
        }
        // Prediction requests of other models.
        None => {
            Turn::new(Direction::Input, Some("user"), 0).leaves(row, PartType::Raw, root);
            warn(&mut row.call, "unknown_body");
        }
    }
    tools(root, row);
    for value in opened.loose {
        Turn::new(Direction::Input, Some("user"), 0).leaves(row, PartType::Raw, value);
    }
    for value in opened.values {
        // Schemas and stop sequences stand among the numbers.
        for settings in REQUEST_SETTINGS.iter().filter_map(|key| value.get(key)) {
            seal_settings(settings);
        }
        seal(value, &REQUEST_SETTINGS);
    }
    cut(row, first_part, opened.truncated);
}

/// Marks what may hold prose among settings, so that the rest can stay.
fn seal_settings(settings: Value<'_>) {
    for key in [
        "responseSchema",
        "response_schema",
        "responseJsonSchema",
        "response_json_schema",
        "stopSequences",
        "stop_sequences",
        "labels",
    ] {
        settings.take(key, "content");
    }
}

fn settings<'a>(root: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    if let Some(config) = either(root, "generationConfig", "generation_config") {
        call.temperature = call
            .temperature
            .or_else(|| config.float("temperature", "temperature"));
        call.top_p = call
            .top_p
            .or_else(|| config.float("topP", "top_p"))
            .or_else(|| config.float("top_p", "top_p"));
        let limits = ["maxOutputTokens", "max_output_tokens"];
        tokens::fill(&mut call.max_tokens, config, &limits, "max_tokens");
    }
    tags(root.get("labels"), call);
}

/// The tools that are offered, and what the model is told about them.
fn tools<'a>(root: Value<'a>, row: &mut CallRow<'a>) {
    for tool in root.get("tools").into_iter().flat_map(Value::items_or_self) {
        match either(tool, "functionDeclarations", "function_declarations") {
            Some(functions) => {
                for function in functions.items_or_self() {
                    let text = |key: &str| function.get(key).and_then(Value::as_str);
                    tool_definition(row, text("name"), text("description"));
                }
            }
            // A built-in tool, as search, is named by its key.
            None => tool_definition(row, tool.entries().next().map(|(key, _)| key), None),
        }
    }
    row.call.tool_definition_count.get_or_insert(0);
}

/// The parts of one content.
fn contents<'a>(content: Value<'a>, place: Turn<'a>, row: &mut CallRow<'a>) {
    if let Some(text) = content.as_str() {
        return place.text(row, PartType::Text, text);
    }
    for part in content
        .get("parts")
        .into_iter()
        .flat_map(Value::items_or_self)
    {
        self::part(part, place, row);
    }
}

fn is_thought(part: Value<'_>) -> bool {
    part.get("thought").and_then(Value::as_bool) == Some(true)
}

fn part<'a>(part: Value<'a>, place: Turn<'a>, row: &mut CallRow<'a>) {
    let text = |value: Value<'a>, key: &str| value.get(key).and_then(Value::as_str);
    let mime = |value: Value<'a>| either(value, "mimeType", "mime_type").and_then(Value::as_str);
    if let Some(words) = part.as_str().or_else(|| text(part, "text")) {
        let kind = if is_thought(part) {
            PartType::Reasoning
        } else {
            PartType::Text
        };
        place.text(row, kind, words);
    } else if let Some(call) = either(part, "functionCall", "function_call") {
        let given = call.get("args").map(arguments);
        place.tool_call(row, text(call, "name"), text(call, "id"), given);
    } else if let Some(answer) = either(part, "functionResponse", "function_response") {
        let response = answer.get("response").map(openai::flat).unwrap_or_default();
        place.with_role("tool").tool_result(
            row,
            text(answer, "name"),
            text(answer, "id"),
            Some(response),
        );
    } else if let Some(data) = either(part, "inlineData", "inline_data") {
        place.media(row, mime(data), None);
    } else if let Some(file) = either(part, "fileData", "file_data") {
        let uri = either(file, "fileUri", "file_uri").and_then(Value::as_str);
        place.media(row, mime(file), uri);
    } else if let Some(code) = either(part, "executableCode", "executable_code") {
        place.tool_call(row, Some("code_execution"), None, Some(code.to_json()));
    } else if let Some(result) = either(part, "codeExecutionResult", "code_execution_result") {
        let output = result.get("output").map(openai::flat).unwrap_or_default();
        place
            .with_role("tool")
            .tool_result(row, Some("code_execution"), None, Some(output));
    } else {
        place.leaves(row, PartType::Raw, part);
    }
}

/// What has come of one candidate so far.
#[derive(Default)]
struct Candidate<'a> {
    text: Vec<&'a str>,
    reasoning: Vec<&'a str>,
    others: Vec<Value<'a>>,
    reason: Option<&'a str>,
    ratings: Option<Value<'a>>,
}

/// Reads a response, whole or as the chunks of a stream.
pub(crate) fn response<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let opened = open(body);
    let first_part = row.parts.len();
    let Some(&first) = opened.values.first() else {
        return unknown(body, Direction::Output, row);
    };
    let mut known = false;
    let mut candidates: BTreeMap<i64, Candidate<'a>> = BTreeMap::new();
    for &value in &opened.values {
        known |= error(value, row);
        known |= prompt_feedback(value, row);
        let Some(list) = value.get("candidates") else {
            continue;
        };
        known = true;
        for (position, item) in list.structure().items_or_self().enumerate() {
            let index = item.get("index").and_then(Value::as_int);
            candidates
                .entry(index.unwrap_or(position as i64))
                .or_default()
                .add(item);
        }
    }
    // Every chunk may count; only the last one counts all.
    let mut counted = false;
    for &value in opened.values.iter().rev() {
        let call = &mut row.call;
        let first =
            |keys: [&str; 2], column| keys.iter().find_map(|key| code_at(value, key, column));
        call.response_id = call
            .response_id
            .or_else(|| first(["responseId", "response_id"], "response_id"));
        call.response_model = call
            .response_model
            .or_else(|| first(["modelVersion", "model_version"], "response_model"));
        if let Some(counts) = either(value, "usageMetadata", "usage_metadata") {
            known = true;
            if !counted {
                usage(counts, call);
                counted = call.total_tokens.is_some() || call.input_tokens.is_some();
            }
        }
    }
    push_all(first, candidates, row);
    if !known {
        for &value in &opened.values {
            Turn::answer(0).leaves(row, PartType::Raw, value);
        }
        warn(&mut row.call, "unknown_body");
    }
    for value in opened.loose {
        Turn::answer(0).leaves(row, PartType::Raw, value);
    }
    for value in opened.values {
        seal(value, &RESPONSE_SETTINGS);
    }
    cut(row, first_part, opened.truncated);
}

/// Gemini's `usageMetadata`: input includes what the cache served; what tools returned to the model, and what it thought,
/// stand apart.
pub(crate) fn usage<'a>(usage: Value<'a>, call: &mut Call<'a>) {
    let count = |camel: &str, snake: &str, column| {
        tokens::count(usage, camel, column).or_else(|| tokens::count(usage, snake, column))
    };
    let prompt = count("promptTokenCount", "prompt_token_count", "input_tokens");
    let tools = count(
        "toolUsePromptTokenCount",
        "tool_use_prompt_token_count",
        "input_tokens",
    );
    let candidates = count(
        "candidatesTokenCount",
        "candidates_token_count",
        "output_tokens",
    );
    let thoughts = count(
        "thoughtsTokenCount",
        "thoughts_token_count",
        "reasoning_output_tokens",
    );
    let cached = count(
        "cachedContentTokenCount",
        "cached_content_token_count",
        "cache_read_input_tokens",
    );
    let total = count("totalTokenCount", "total_token_count", "total_tokens");
    call.input_tokens = call.input_tokens.or(tokens::sum(&[prompt, tools]));
    call.cache_read_input_tokens = call.cache_read_input_tokens.or(cached);
    call.output_tokens = call.output_tokens.or(tokens::sum(&[candidates, thoughts]));
    call.reasoning_output_tokens = call.reasoning_output_tokens.or(thoughts);
    call.total_tokens = call.total_tokens.or(total);
}

/// What the filters said of the prompt. Returns whether they said anything.
fn prompt_feedback<'a>(value: Value<'a>, row: &mut CallRow<'a>) -> bool {
    let Some(feedback) = either(value, "promptFeedback", "prompt_feedback") else {
        return false;
    };
    if let Some(ratings) = either(feedback, "safetyRatings", "safety_ratings") {
        filters::gemini(ratings, "input", row);
    }
    let reason = either(feedback, "blockReason", "block_reason")
        .and_then(Value::as_text)
        .filter(|reason| code(reason).is_some() && *reason != "BLOCK_REASON_UNSPECIFIED");
    if let Some(reason) = reason {
        finish(row, Some(reason));
        filters::stopped(row, reason, "input");
    }
    let message = either(feedback, "blockReasonMessage", "block_reason_message");
    if let Some(message) = message.and_then(Value::as_str) {
        Turn::ERROR.text(row, PartType::Text, message);
    }
    true
}

impl<'a> Candidate<'a> {
    fn add(&mut self, item: Value<'a>) {
        let reason = either(item, "finishReason", "finish_reason");
        self.reason = reason
            .and_then(Value::as_text)
            .filter(|reason| code(reason).is_some())
            .or(self.reason);
        self.ratings = either(item, "safetyRatings", "safety_ratings").or(self.ratings);
        let parts = item
            .find("content/parts")
            .into_iter()
            .flat_map(Value::items_or_self);
        for part in parts {
            match part.get("text").and_then(Value::as_str) {
                Some(text) if is_thought(part) => self.reasoning.push(text),
                Some(text) => self.text.push(text),
                None => self.others.push(part),
            }
        }
        let message = either(item, "finishMessage", "finish_message");
        self.others.extend(message);
    }
}

fn push_all<'a>(
    keeper: Value<'a>,
    candidates: BTreeMap<i64, Candidate<'a>>,
    row: &mut CallRow<'a>,
) {
    if !candidates.is_empty() {
        row.call.tool_call_count.get_or_insert(0);
    }
    for (number, candidate) in candidates.into_values().enumerate() {
        let place = Turn::answer(number);
        if let Some(thought) = join(keeper, &candidate.reasoning) {
            place.text(row, PartType::Reasoning, thought);
        }
        if let Some(text) = join(keeper, &candidate.text) {
            place.text(row, PartType::Text, text);
        }
        for other in candidate.others {
            part(other, place, row);
        }
        if let Some(ratings) = candidate.ratings {
            filters::gemini(ratings, "output", row);
        }
        if let Some(reason) = candidate.reason {
            finish(row, Some(reason));
            if BLOCKS.contains(&reason) {
                filters::stopped(row, reason, "output");
            }
        }
    }
}

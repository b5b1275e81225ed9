//! Bodies of Google's Gemini API, in camel and in snake case, whole or as the chunks of a stream.
//!
//! Left out: inline bytes of attachments, of which only the kind is kept, and log probabilities.

use std::collections::BTreeMap;

use super::filters;
use super::open::open;
use super::openai;
use super::parts::{Turn, code, code_at, count_of, cut, join, seal, unknown, warn};
use super::usage;
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType};

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
            let mut messages = 0_usize;
            for content in list.structure().items_or_self() {
                let turn = Turn::new(Direction::Input, Some(role(content)), messages);
                contents(content, turn, row);
                messages += 1;
            }
            let call = &mut row.call;
            call.message_count = call.message_count.or_else(|| i32::try_from(messages).ok());
            call.system_prompt_present = call.system_prompt_present.or(Some(instruction.is_some()));
            call.media_count.get_or_insert(0);
        }
        // Prediction requests of other models.
        None => {
            Turn::default().leaves(row, PartType::Raw, root);
            warn(&mut row.call, "unknown_body");
        }
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

fn role(content: Value<'_>) -> &str {
    match content.get("role").and_then(Value::as_str) {
        Some("model") => "assistant",
        Some("function") => "tool",
        Some(role) => role,
        None => "user",
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
        call.max_tokens = call.max_tokens.or_else(|| {
            count_of(
                config,
                &["maxOutputTokens", "max_output_tokens"],
                "max_tokens",
            )
        });
    }
    let declared: usize = root
        .get("tools")
        .into_iter()
        .flat_map(Value::items_or_self)
        .map(|tool| {
            either(tool, "functionDeclarations", "function_declarations")
                // A built-in tool, as search, is one.
                .map_or(1, |list| list.items().count())
        })
        .sum();
    call.tool_definition_count = call
        .tool_definition_count
        .or_else(|| i32::try_from(declared).ok());
    if call.tags.is_empty()
        && let Some(labels) = root.get("labels").and_then(Value::object)
    {
        labels.mark("tags");
        call.tags = labels
            .entries()
            .filter_map(|(key, value)| Some((key, value.as_text()?)))
            .collect();
    }
}

/// The parts of one content.
fn contents<'a>(content: Value<'a>, turn: Turn<'a>, row: &mut CallRow<'a>) {
    if let Some(text) = content.as_str() {
        return turn.text(row, PartType::Text, text);
    }
    for part in content
        .get("parts")
        .into_iter()
        .flat_map(Value::items_or_self)
    {
        self::part(part, turn, row);
    }
}

fn is_thought(part: Value<'_>) -> bool {
    part.get("thought").and_then(Value::as_bool) == Some(true)
}

fn part<'a>(part: Value<'a>, turn: Turn<'a>, row: &mut CallRow<'a>) {
    let text = |value: Value<'a>, key: &str| value.get(key).and_then(Value::as_str);
    let mime = |value: Value<'a>| {
        either(value, "mimeType", "mime_type")
            .and_then(Value::as_str)
            .and_then(code)
    };
    if let Some(words) = part.as_str().or_else(|| text(part, "text")) {
        let kind = if is_thought(part) {
            PartType::Reasoning
        } else {
            PartType::Text
        };
        turn.text(row, kind, words);
    } else if let Some(call) = either(part, "functionCall", "function_call") {
        let arguments = call.get("args").map(Value::to_json);
        turn.tool_call(row, text(call, "name"), text(call, "id"), arguments);
    } else if let Some(answer) = either(part, "functionResponse", "function_response") {
        let answered = Turn {
            role: Some("tool"),
            ..turn
        };
        let response = answer.get("response").map(openai::flat);
        answered.tool_result(row, text(answer, "name"), text(answer, "id"), response);
    } else if let Some(data) = either(part, "inlineData", "inline_data") {
        turn.media(row, mime(data), None);
    } else if let Some(file) = either(part, "fileData", "file_data") {
        let uri = either(file, "fileUri", "file_uri").and_then(Value::as_str);
        turn.media(row, mime(file), uri);
    } else if let Some(code) = either(part, "executableCode", "executable_code") {
        turn.tool_call(row, Some("code_execution"), None, Some(code.to_json()));
    } else if let Some(result) = either(part, "codeExecutionResult", "code_execution_result") {
        let answered = Turn {
            role: Some("tool"),
            ..turn
        };
        let output = result.get("output").map(openai::flat);
        answered.tool_result(row, Some("code_execution"), None, output);
    } else {
        turn.leaves(row, PartType::Raw, part);
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
        known |= openai::error(value, row);
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
    for &value in opened.values.iter().rev() {
        let call = &mut row.call;
        call.response_id = call.response_id.or_else(|| {
            let names = ["responseId", "response_id"];
            names
                .iter()
                .find_map(|key| code_at(value, key, "response_id"))
        });
        call.response_model = call.response_model.or_else(|| {
            let names = ["modelVersion", "model_version"];
            names
                .iter()
                .find_map(|key| code_at(value, key, "response_model"))
        });
        if let Some(counts) = either(value, "usageMetadata", "usage_metadata") {
            usage::gemini(counts, call);
            known = true;
        }
    }
    finish(first, candidates, row);
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
        .and_then(code)
        .filter(|reason| *reason != "BLOCK_REASON_UNSPECIFIED");
    if let Some(reason) = reason {
        row.call.finish_reasons.push(reason);
        filters::stopped(row, reason, "input");
    }
    let message = either(feedback, "blockReasonMessage", "block_reason_message");
    if let Some(message) = message.and_then(Value::as_str) {
        Turn::new(Direction::Error, None, 0).text(row, PartType::Text, message);
    }
    true
}

impl<'a> Candidate<'a> {
    fn add(&mut self, item: Value<'a>) {
        let reason = either(item, "finishReason", "finish_reason");
        self.reason = reason
            .and_then(Value::as_text)
            .and_then(code)
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

fn finish<'a>(keeper: Value<'a>, candidates: BTreeMap<i64, Candidate<'a>>, row: &mut CallRow<'a>) {
    if !candidates.is_empty() {
        row.call.tool_call_count.get_or_insert(0);
    }
    for (number, candidate) in candidates.into_values().enumerate() {
        let turn = Turn::new(Direction::Output, Some("assistant"), number);
        if let Some(thought) = join(keeper, &candidate.reasoning) {
            turn.text(row, PartType::Reasoning, thought);
        }
        if let Some(text) = join(keeper, &candidate.text) {
            turn.text(row, PartType::Text, text);
        }
        for other in candidate.others {
            part(other, turn, row);
        }
        if let Some(ratings) = candidate.ratings {
            filters::gemini(ratings, "output", row);
        }
        if let Some(reason) = candidate.reason {
            row.call.finish_reasons.push(reason);
            if BLOCKS.contains(&reason) {
                filters::stopped(row, reason, "output");
            }
        }
    }
}

//! The bodies that models other than Anthropic's take and give through Bedrock's InvokeModel: Llama, Mistral, Titan,
//! Cohere, AI21, Stability, Nova Canvas, embeddings and rerankers.
//!
//! These shapes have no name in the record and are small, so they are told by their keys, and one reader serves a body
//! and the chunks of a stream alike: texts of the same index are put together.

use super::parts::{
    Turn, arguments, blocked, code_at, error, finish, keep_numbers, message_count,
    request_was_read, response_was_read, role, seal, tool_definition,
};
use super::stream::Blocks;
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType};
use crate::ingest::tokens;

/// Parameters and figures that may reach `attributes` when no column took them.
const KEEP: [&str; 15] = [
    "embeddingTypes",
    "embedding_types",
    "generation_id",
    "imageGenerationConfig",
    "input_type",
    "meta",
    "normalize",
    "num_generations",
    "response_type",
    "seed",
    "taskType",
    "textGenerationConfig",
    "top_k",
    "top_n",
    "truncate",
];

/// Reads a request; `false` when none of its keys is known.
pub(crate) fn request<'a>(body: Value<'a>, row: &mut CallRow<'a>) -> bool {
    let body = body.structure();
    let before = row.parts.len();
    let mut operation = None;

    if let Some(history) = body.get("message").and(body.get("chat_history")) {
        cohere_history(history, row);
    }
    let turns = row.call.message_count.unwrap_or(0);
    let user = Turn {
        message: turns.unsigned_abs(),
        ..Turn::new(Direction::Input, Some("user"), 0)
    };
    if let Some(preamble) = body.get("preamble").and_then(Value::as_str) {
        Turn::new(Direction::Input, Some("system"), 0).text(row, PartType::Text, preamble);
        row.call.system_prompt_present = Some(true);
    }
    for (key, kind) in [
        ("prompt", "text_completion"),
        ("inputText", "text_completion"),
        ("message", "chat"),
        ("texts", "embeddings"),
        ("inputs", "embeddings"),
        ("text_prompts", "generate_content"),
        ("query", "other"),
    ] {
        if let Some(text) = body.get(key) {
            for text in text.items_or_self() {
                user.text_or_leaves(row, text.get("text").unwrap_or(text));
            }
            operation = operation.or(Some(kind));
        }
    }
    if operation == Some("chat") {
        row.call.message_count = Some(turns.saturating_add(1));
    }
    // What a reranker or a retrieval prompt is given to read comes from outside.
    for document in body.get("documents").into_iter().flat_map(Value::items) {
        user.with_role("tool").text_or_leaves(row, document);
    }
    if body.get("taskType").is_some() {
        operation = Some("generate_content");
        for (key, value) in body.entries() {
            if key.ends_with("Params") {
                user.leaves(row, PartType::Raw, value);
            }
        }
    }
    for key in ["images", "inputImage", "init_image", "image"] {
        for _ in body.get(key).into_iter().flat_map(Value::items_or_self) {
            user.media(row, Some("image/*"), None);
        }
    }
    for tool in body.get("tools").into_iter().flat_map(Value::items) {
        let text = |key| tool.get(key).and_then(Value::as_str);
        tool_definition(row, text("name"), text("description"));
    }
    if operation.is_none() && row.parts.len() == before {
        return false;
    }
    row.call.operation = row.call.operation.or(operation);
    parameters(body, row);
    // Stop sequences are the caller's words.
    if let Some(settings) = body.get("textGenerationConfig") {
        keep_numbers(settings);
    }
    request_was_read(&mut row.call);
    seal(body, &KEEP);
    true
}

/// `chat_history[].{role, message}` of Cohere.
fn cohere_history<'a>(history: Value<'a>, row: &mut CallRow<'a>) {
    let history = history.structure();
    for (number, said) in history.items_or_self().enumerate() {
        let who = said.get("role").and_then(Value::as_str).and_then(role);
        Turn::new(Direction::Input, who.or(Some("user")), number)
            .text_or_leaves(row, said.get("message").unwrap_or(said));
    }
    message_count(row, history.items_or_self().count());
}

fn parameters<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    let config = body.get("textGenerationConfig");
    for settings in [Some(body), config].into_iter().flatten() {
        call.temperature = call
            .temperature
            .or_else(|| settings.float("temperature", "temperature"));
        for path in ["top_p", "topP", "p"] {
            call.top_p = call.top_p.or_else(|| settings.float(path, "top_p"));
        }
        tokens::fill(
            &mut call.max_tokens,
            settings,
            &[
                "max_gen_len",
                "max_tokens",
                "max_tokens_to_sample",
                "maxTokenCount",
                "maxTokens",
            ],
            "max_tokens",
        );
    }
}

/// Counts as the chunks of a stream repeat them: cumulative, so the highest is the last.
#[derive(Default)]
struct Counts {
    input: Option<i64>,
    output: Option<i64>,
}

/// Reads a response or an array of chunks; `false` when none of its keys is known.
pub(crate) fn response<'a>(body: Value<'a>, row: &mut CallRow<'a>) -> bool {
    let body = body.structure();
    let mut blocks = Blocks::default();
    let mut counts = Counts::default();
    let mut known = false;
    for chunk in body.items_or_self().map(Value::structure) {
        known |= read_chunk(chunk, &mut blocks, &mut counts, row);
    }
    if !known {
        return false;
    }
    blocks.finish(Turn::answer(0), body, row);
    let call = &mut row.call;
    call.input_tokens_uncached = call.input_tokens_uncached.or(counts.input);
    call.output_tokens = call.output_tokens.or(counts.output);
    response_was_read(call);
    seal(body, &KEEP);
    true
}

fn read_chunk<'a>(
    chunk: Value<'a>,
    blocks: &mut Blocks<'a>,
    counts: &mut Counts,
    row: &mut CallRow<'a>,
) -> bool {
    let mut known = false;
    for key in ["generation", "outputText", "completion", "text"] {
        if let Some(text) = chunk.get(key).and_then(Value::as_str) {
            blocks.append(0, PartType::Text, text);
            known = true;
        }
    }
    for (list, path) in [
        ("results", "outputText"),
        ("outputs", "text"),
        ("generations", "text"),
        ("completions", "data/text"),
        ("choices", "text"),
    ] {
        for (index, item) in chunk
            .get(list)
            .into_iter()
            .flat_map(Value::items)
            .enumerate()
        {
            if let Some(text) = item.find(path).and_then(Value::as_str) {
                blocks.append(index as i64, PartType::Text, text);
                known = true;
            }
            // A reranker's score beside the turn of the document: nothing was said.
            known |= item.get("relevance_score").is_some();
            stop_reason(item, row);
        }
    }
    for call in chunk.get("tool_calls").into_iter().flat_map(Value::items) {
        let name = call.get("name").and_then(Value::as_str);
        let parameters = call.get("parameters").map(arguments);
        Turn::answer(0).tool_call(row, name, None, parameters);
        known = true;
    }
    for key in ["embedding", "embeddings", "embeddingsByType"] {
        if chunk.get(key).is_some() {
            row.call.operation = Some("embeddings");
            known = true;
        }
    }
    for key in ["images", "artifacts"] {
        for image in chunk.get(key).into_iter().flat_map(Value::items) {
            row.call.operation = Some("generate_content");
            Turn::answer(0).media(row, Some("image/*"), None);
            stop_reason(image, row);
            known = true;
        }
    }
    // `[null]` when all went well, `["Filter reason: prompt"]` when not.
    if chunk
        .get("finish_reasons")
        .is_some_and(|reasons| reasons.items().any(|reason| reason.as_str().is_some()))
    {
        blocked(&mut row.call);
    }
    stop_reason(chunk, row);
    call_ids(chunk, row);
    known | count(chunk, counts)
}

fn call_ids<'a>(chunk: Value<'a>, row: &mut CallRow<'a>) {
    for path in ["response_id", "id"] {
        let call = &mut row.call;
        call.response_id = call
            .response_id
            .or_else(|| code_at(chunk, path, "response_id"));
    }
    error(chunk, row);
}

fn stop_reason<'a>(value: Value<'a>, row: &mut CallRow<'a>) {
    for path in [
        "stop_reason",
        "completionReason",
        "finish_reason",
        "finishReason",
    ] {
        if let Some(reason) = code_at(value, path, "finish_reasons") {
            finish(row, Some(reason));
            if matches!(
                reason,
                "CONTENT_FILTERED" | "ERROR_TOXIC" | "content_filtered"
            ) {
                blocked(&mut row.call);
            }
        }
    }
}

/// Reads the counts of a chunk; whether it had any.
fn count(chunk: Value<'_>, counts: &mut Counts) -> bool {
    let mut any = false;
    for path in [
        "prompt_token_count",
        "inputTextTokenCount",
        "meta/billed_units/input_tokens",
    ] {
        let found = tokens::count(chunk, path, "input_tokens_uncached");
        counts.input = counts.input.max(found);
        any |= found.is_some();
    }
    let results = chunk.get("results").into_iter().flat_map(Value::items);
    let each: Vec<_> = results
        .map(|result| tokens::count(result, "tokenCount", "output_tokens"))
        .collect();
    for found in [
        tokens::count(chunk, "generation_token_count", "output_tokens"),
        tokens::count(chunk, "totalOutputTextTokenCount", "output_tokens"),
        tokens::count(chunk, "meta/billed_units/output_tokens", "output_tokens"),
        tokens::sum(&each),
    ] {
        counts.output = counts.output.max(found);
        any |= found.is_some();
    }
    any
}

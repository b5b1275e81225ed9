//! The bodies that models other than Anthropic's take and give through Bedrock's InvokeModel: Llama, Mistral, Titan,
//! Cohere, AI21, Stability, Nova Canvas, embeddings and rerankers.
//!
//! These shapes have no name in the record and are small, so they are told by their keys, and one reader serves a body
//! and the chunks of a stream alike: texts of the same index are put together.

use super::super::json::Value;
use super::super::record::{CallRow, Direction, PartType};
use super::super::tokens;
use super::{Blocks, Place, arguments, code, role};

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
    let user = Place::new(Direction::Input, "user", 0);
    let before = row.parts.len();
    let mut operation = None;

    if let Some(history) = body.get("message").and(body.get("chat_history")) {
        cohere_history(history, row);
    }
    if let Some(preamble) = body.get("preamble").and_then(Value::as_str) {
        user.with_role("system").text(row, preamble);
        super::system_prompt(row, true);
    }
    let turn = row.call.message_count.unwrap_or(0);
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
            let place = Place {
                message: turn.unsigned_abs(),
                ..user
            };
            for text in text.items_or_self() {
                place.text_or_raw(row, text.get("text").unwrap_or(text));
            }
            operation = operation.or(Some(kind));
        }
    }
    if operation == Some("chat") {
        row.call.message_count = Some(turn.saturating_add(1));
    }
    // What a reranker or a retrieval prompt is given to read comes from outside.
    for document in body.get("documents").into_iter().flat_map(Value::items) {
        user.with_role("tool").text_or_raw(row, document);
    }
    if body.get("taskType").is_some() {
        operation = Some("generate_content");
        for (key, value) in body.entries() {
            if key.ends_with("Params") {
                super::raw_text(value, user, row);
            }
        }
    }
    for key in ["images", "inputImage", "init_image", "image"] {
        for _ in body.get(key).into_iter().flat_map(Value::items_or_self) {
            user.media(row, Some("image/*"), None, None);
        }
    }
    for tool in body.get("tools").into_iter().flat_map(Value::items) {
        let text = |key| tool.get(key).and_then(Value::as_str);
        super::tool_definition(row, text("name"), text("description"));
    }
    if operation.is_none() && row.parts.len() == before {
        return false;
    }
    row.call.operation = row.call.operation.or(operation);
    parameters(body, row);
    super::seal(body, &KEEP);
    true
}

/// `chat_history[].{role, message}` of Cohere.
fn cohere_history<'a>(history: Value<'a>, row: &mut CallRow<'a>) {
    let mut count = 0;
    for turn in history.structure().items_or_self() {
        let who = turn
            .get("role")
            .and_then(Value::as_str)
            .and_then(role)
            .unwrap_or("user");
        let place = Place::new(Direction::Input, who, count);
        place.text_or_raw(row, turn.get("message").unwrap_or(turn));
        count += 1;
    }
    super::messages(row, count);
}

fn parameters<'a>(body: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    for settings in [Some(body), body.get("textGenerationConfig")]
        .into_iter()
        .flatten()
    {
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
    blocks.finish(Place::answer(0), body, row);
    let call = &mut row.call;
    call.input_tokens_uncached = call.input_tokens_uncached.or(counts.input);
    call.output_tokens = call.output_tokens.or(counts.output);
    super::seal(body, &KEEP);
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
            // A reranker's score beside the place of the document: nothing was said.
            known |= item.get("relevance_score").is_some();
            stop_reason(item, row);
        }
    }
    for call in chunk.get("tool_calls").into_iter().flat_map(Value::items) {
        let name = call.get("name").and_then(Value::as_str);
        let parameters = call.get("parameters").map(arguments);
        Place::answer(0).tool_call(row, name, None, parameters);
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
            Place::answer(0).media(row, Some("image/*"), None, None);
            stop_reason(image, row);
            known = true;
        }
    }
    // `[null]` when all went well, `["Filter reason: prompt"]` when not.
    if chunk
        .get("finish_reasons")
        .is_some_and(|reasons| reasons.items().any(|reason| reason.as_str().is_some()))
    {
        super::blocked(row);
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
            .or_else(|| code(chunk, path, "response_id"));
    }
    super::error(chunk, row);
}

fn stop_reason<'a>(value: Value<'a>, row: &mut CallRow<'a>) {
    for path in [
        "stop_reason",
        "completionReason",
        "finish_reason",
        "finishReason",
    ] {
        if let Some(reason) = code(value, path, "finish_reasons") {
            super::finish(row, Some(reason));
            if matches!(
                reason,
                "CONTENT_FILTERED" | "ERROR_TOXIC" | "content_filtered"
            ) {
                super::blocked(row);
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

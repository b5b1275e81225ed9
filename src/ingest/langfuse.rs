//! Langfuse's blob export of observations, new and legacy.
//!
//! A generation or embedding is a call of a model; spans, agents, tools and the like are `supplement`. Token counts are
//! buckets that do not overlap. Durations are taken from the times: the unit of `latency` has changed once.

use super::body::parts::{Turn, code, code_at};
use super::conversation;
use super::json::Value;
use super::record::{CallRow, Direction, PartType, Reject, Rows};
use super::residue::sieve;
use super::{names, tokens};

const TYPES: [&str; 10] = [
    "GENERATION",
    "SPAN",
    "EVENT",
    "AGENT",
    "TOOL",
    "CHAIN",
    "RETRIEVER",
    "EVALUATOR",
    "EMBEDDING",
    "GUARDRAIL",
];

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    let has = |names: &[&str]| record.entries().any(|(key, _)| names.contains(&key));
    let kind = record
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    TYPES.contains(&kind)
        && has(&["trace_id", "traceId"])
        && has(&[
            "provided_model_name",
            "providedModelName",
            "usage_details",
            "usageDetails",
        ])
}

/// Decodes one record.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let mut row = CallRow::default();
    let call = &mut row.call;
    let time = |names: &[&str], column| names.iter().find_map(|name| record.time(name, column));
    let start = time(&["start_time", "startTime"], "event_time").ok_or(Reject::Time)?;
    call.event_time = start;
    call.source_format = "langfuse.observation";
    call.event_id = record.text("id", "event_id").unwrap_or_default();
    call.span_id = Some(call.event_id).filter(|id| !id.is_empty());
    call.request_id = call.span_id;
    call.trace_id = record.text_of(&["trace_id", "traceId"], "trace_id");
    call.conversation_id = record.text_of(&["session_id", "sessionId"], "conversation_id");
    call.caller = record.text_of(&["user_id", "userId"], "caller");
    call.user_type = call.caller.map(|_| "user");
    call.cost_usd = [
        "total_cost",
        "totalCost",
        "calculated_total_cost",
        "calculatedTotalCost",
    ]
    .iter()
    .find_map(|path| record.positive(path, "cost_usd"));
    let since = |names: &[&str]| {
        let value = names.iter().find_map(|name| record.get(name))?;
        let micros = value
            .as_time()?
            .micros
            .0
            .checked_sub(start.0)
            .filter(|micros| *micros >= 0)?;
        value.mark("duration_ms");
        Some(micros as f64 / 1e3)
    };
    call.duration_ms = since(&["end_time", "endTime"]);
    call.time_to_first_chunk_ms = since(&["completion_start_time", "completionStartTime"]);
    if call.duration_ms.is_some() {
        record.drop_field("latency");
    }
    kind(record, &mut row);
    usage(record, &mut row);
    let parameters = ["model_parameters", "modelParameters"]
        .iter()
        .find_map(|key| record.get(key)?.object());
    if let Some(parameters) = parameters {
        let call = &mut row.call;
        call.temperature = parameters.float("temperature", "temperature");
        call.top_p = parameters.float("top_p", "top_p");
        tokens::fill(
            &mut call.max_tokens,
            parameters,
            &["max_tokens", "maxTokens"],
            "max_tokens",
        );
    }
    for (key, direction) in [("input", Direction::Input), ("output", Direction::Output)] {
        if let Some(value) = record.get(key) {
            conversation::read(value, direction, &mut row);
        }
    }
    for key in ["tool_call_names", "toolCallNames"] {
        let names = record.texts(key, "tool_names");
        if row.call.tool_names.is_empty() {
            row.call
                .tool_names
                .extend(names.into_iter().filter_map(code));
        }
    }
    if let names @ 1.. = row.call.tool_names.len() {
        let known = row.call.tool_call_count.unwrap_or(0);
        row.call.tool_call_count = i32::try_from(names).ok().map(|names| names.max(known));
    }
    for tag in record.texts("tags", "tags") {
        row.call.tags.push((tag, ""));
    }
    outcome(record, &mut row);
    sieve(record, &mut row);
    row.complete();
    rows.calls.push(row);
    Ok(())
}

fn kind<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    call.operation_raw = code_at(record, "type", "operation_raw");
    let (operation, role) = match call.operation_raw.unwrap_or_default() {
        "GENERATION" => ("chat", "primary"),
        "EMBEDDING" => ("embeddings", "primary"),
        "TOOL" => ("execute_tool", "supplement"),
        "AGENT" => ("invoke_agent", "supplement"),
        _ => ("other", "supplement"),
    };
    call.operation = Some(operation);
    call.record_role = role;
    call.model_id_raw = ["provided_model_name", "providedModelName", "model"]
        .iter()
        .find_map(|path| code_at(record, path, "model_id_raw"));
    if let Some(raw) = call.model_id_raw {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model).filter(|model| !model.is_empty());
        call.model_family = Some(family).filter(|family| !family.is_empty());
    }
}

fn usage<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    let Some(usage) = ["usage_details", "usageDetails"]
        .iter()
        .find_map(|key| record.get(key)?.object())
    else {
        return;
    };
    let count = |paths: &[&str], column| {
        paths
            .iter()
            .find_map(|path| tokens::count(usage, path, column))
    };
    let call = &mut row.call;
    let input = count(&["input", "input_tokens", "prompt_tokens"], "input_tokens");
    let output = count(
        &["output", "output_tokens", "completion_tokens"],
        "output_tokens",
    );
    let reads = [
        "input_cached_tokens",
        "input_cache_read",
        "cache_read_input_tokens",
    ];
    let writes = [
        "input_cache_creation",
        "input_cache_write",
        "cache_creation_input_tokens",
    ];
    let thoughts = [
        "output_reasoning_tokens",
        "output_reasoning",
        "reasoning_tokens",
    ];
    call.cache_read_input_tokens = count(&reads, "cache_read_input_tokens");
    call.cache_write_input_tokens = count(&writes, "cache_write_input_tokens");
    call.reasoning_output_tokens = count(&thoughts, "reasoning_output_tokens");
    call.total_tokens = count(&["total", "total_tokens"], "total_tokens");
    // The total tells which of two ways an integration counts: in buckets that do not overlap, as is documented, or
    // with caches and reasoning inside the two sums.
    let overlaps =
        call.total_tokens.is_some() && tokens::sum(&[input, output]) == call.total_tokens;
    if overlaps {
        call.input_tokens = input;
        call.output_tokens = output;
    } else {
        call.input_tokens_uncached = input;
        call.output_tokens = tokens::sum(&[output, call.reasoning_output_tokens]);
    }
}

fn outcome<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    let level = record.text("level", "outcome").unwrap_or_default();
    for key in ["status_message", "statusMessage"] {
        if let Some(text) = record.take(key, "content") {
            Turn::ERROR.leaves(row, PartType::Text, text);
        }
    }
    let call = &mut row.call;
    if level.eq_ignore_ascii_case("ERROR") {
        call.outcome = "failure";
    } else if call.outcome.is_empty() {
        call.outcome = "success";
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::decode_lines;

    #[test]
    fn observations() {
        insta::assert_snapshot!(decode_lines(include_str!(
            "../../testdata/formats/langfuse/observations.jsonl"
        )));
    }
}

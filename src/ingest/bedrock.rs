//! Bedrock model invocation logs, from S3 or CloudWatch.
//!
//! Everything a record says about itself stands on its top level; request and response are bodies of any of a dozen
//! families (see `body`), inline, offloaded to S3, or not delivered at all. Guardrails report inside the response.
//!
//! Latency is known only where the response carries it. The address and the credential of the caller are not in this
//! log: CloudTrail has them, under the same request id.

use super::body;
use super::body::parts::{Turn, code_at, scrub_into, unknown, warn};
use super::json::Value;
use super::record::{CallRow, Direction, PartType, Reject, Rows};
use super::{arn, guardrail, names, tokens};

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    record.get("schemaType").and_then(Value::as_str) == Some("ModelInvocationLog")
        || (record.get("modelId").is_some()
            && record.get("operation").is_some()
            && (record.find("input/inputTokenCount").is_some()
                || record.find("input/inputContentType").is_some()
                || record.get("inputContentType").is_some()
                || record.get("errorCode").is_some()))
}

/// Decodes one record.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let mut row = CallRow::default();
    let call = &mut row.call;
    call.event_time = record.time("timestamp", "event_time").ok_or(Reject::Time)?;
    record.drop_field("schemaType");
    call.source_format = "aws.bedrock.invocation";
    call.record_role = "primary";
    call.provider = Some("aws.bedrock");
    call.cloud_provider = Some("aws");
    call.cloud_account_id = record.text("accountId", "cloud_account_id");
    call.cloud_region = record.text("region", "cloud_region");
    call.inference_region = record.text("inferenceRegion", "inference_region");
    call.request_id = record.text("requestId", "request_id");
    call.operation_raw = code_at(record, "operation", "operation_raw");
    call.request_stream = call
        .operation_raw
        .map(|operation| operation.contains("Stream"));
    model(record, &mut row);
    identity(record, &mut row);
    tags(record, &mut row);
    failure(record, &mut row);
    bodies(record, &mut row);

    guardrail::settle(&mut row.call);
    let call = &mut row.call;
    let by_name = call
        .operation_raw
        .map(|raw| names::bedrock_operation(raw, call.model));
    // The bodies of embeddings look like those of completions, and their vectors need not be logged.
    call.operation = match by_name {
        Some("embeddings") => by_name,
        _ => call.operation.or(by_name),
    };
    if call.outcome.is_empty() {
        let is_embedded =
            call.operation == Some("embeddings") && call.input_tokens_uncached > Some(0);
        call.outcome = match record.get("output") {
            Some(_) => "success",
            None if is_embedded => "success",
            None => "unknown",
        };
    }
    tokens::complete(call);
    rows.calls.push(row);
    Ok(())
}

fn model<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    call.model_id_raw = record.text("modelId", "model_id_raw");
    if let Some(raw) = call.model_id_raw {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model).filter(|model| !model.is_empty());
        call.model_family = Some(family).filter(|family| !family.is_empty());
        call.cloud_resource_id = Some(raw).filter(|raw| raw.starts_with("arn:"));
    }
}

fn identity<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    call.caller = record.text_of(&["identity/arn", "identity", "identity_arn"], "caller");
    if let Some(caller) = call.caller {
        let principal = arn::principal(caller);
        call.user_type = Some(principal.user_type);
        call.user_name = principal.user_name;
        call.user_session = principal.user_session;
        call.user_email = principal.user_email;
    }
}

/// `requestMetadata`: the one thing on the top level that the caller writes.
fn tags<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    if let Some(metadata) = record.get("requestMetadata") {
        row.tag(metadata.structure());
    }
}

/// A call that failed has an `errorCode` and, as a rule, no bodies.
fn failure<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    if record
        .get("errorCode")
        .is_some_and(|code| code.as_text().is_some())
    {
        row.call.outcome = "failure";
        row.call.error_type = code_at(record, "errorCode", "error_type");
    }
    for (key, value) in record.entries() {
        let message = ["errorMessage", "error"]
            .iter()
            .any(|name| name.eq_ignore_ascii_case(key))
            || (key.eq_ignore_ascii_case("errorCode") && row.call.error_type.is_none());
        if message {
            Turn::ERROR.text_or_leaves(row, value);
            value.mark("content");
        }
    }
}

/// Request and response, wherever they are.
fn bodies<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    let (mut inline, mut external) = (false, false);
    if let Some(input) = last(record, "input") {
        counts(input, row);
        input.drop_field("inputContentType");
        row.call.input_uri = input.text("inputBodyS3Path", "input_uri");
        external |= row.call.input_uri.is_some();
        if let Some(body) = last(input, "inputBodyJson").filter(|body| !is_empty(*body)) {
            body::request(body, row);
            inline = true;
        }
        remainder(input, Direction::Input, row);
    }
    if let Some(output) = last(record, "output") {
        counts(output, row);
        output.drop_field("outputContentType");
        row.call.output_uri = output.text("outputBodyS3Path", "output_uri");
        external |= row.call.output_uri.is_some();
        if let Some(body) = last(output, "outputBodyJson").filter(|body| !is_empty(*body)) {
            for chunk in body.structure().items_or_self() {
                envelope(chunk, row);
            }
            body::response(body, row);
            inline = true;
        }
        remainder(output, Direction::Output, row);
    }
    // Some producers put the conversation on the top level.
    for key in ["messages", "system", "prompt", "completion", "response"] {
        if let Some(words) = last(record, key) {
            if !inline {
                Turn::new(Direction::Input, None, 0).leaves(row, PartType::Raw, words.structure());
            }
            words.mark("content");
        }
    }
    // Some code reads the cache counts there.
    counts(record, row);
    let state = match (external, inline) {
        (true, _) => "external",
        (false, true) => "inline",
        (false, false) => "absent",
    };
    // A body that was cut in the middle has said so.
    row.call.content_state.get_or_insert(state);
}

/// `{}`, `""`: text delivery is off.
fn is_empty(body: Value<'_>) -> bool {
    body.as_str() == Some("") || (body.is_object() && body.entries().next().is_none())
}

/// The last of the entries of that name that is not `null`; what stands in the others is content that nobody reads.
fn last<'a>(value: Value<'a>, key: &str) -> Option<Value<'a>> {
    let mut found: Option<Value<'a>> = None;
    for (name, value) in value.structure().entries() {
        if name.eq_ignore_ascii_case(key) && !value.is_null() {
            found.replace(value).map(|earlier| earlier.mark("content"));
        }
    }
    found
}

/// What else stands beside a body: a body or its text under another name, figures, codes.
fn remainder<'a>(side: Value<'a>, direction: Direction, row: &mut CallRow<'a>) {
    const READ: [&str; 4] = [
        "inputBodyJson",
        "outputBodyJson",
        "inputBodyS3Path",
        "outputBodyS3Path",
    ];
    let side = side.structure();
    if !side.is_object() {
        return unknown(side, direction, row);
    }
    for (key, value) in side.entries() {
        if READ.iter().any(|known| known.eq_ignore_ascii_case(key)) {
            continue;
        }
        let turn = Turn::new(direction, None, 0);
        let name = key.to_ascii_lowercase();
        if name.contains("body") || name.contains("text") {
            turn.leaves(row, PartType::Raw, value.structure());
            value.mark("content");
            warn(&mut row.call, "unknown_body");
        } else {
            scrub_into(value, turn, PartType::Raw, row);
        }
    }
}

/// Token counts on the record's own level. The input leaves the caches out.
fn counts(side: Value<'_>, row: &mut CallRow<'_>) {
    let call = &mut row.call;
    for (slot, path, column) in [
        (
            &mut call.input_tokens_uncached,
            "inputTokenCount",
            "input_tokens_uncached",
        ),
        (&mut call.output_tokens, "outputTokenCount", "output_tokens"),
        (
            &mut call.cache_read_input_tokens,
            "cacheReadInputTokenCount",
            "cache_read_input_tokens",
        ),
        (
            &mut call.cache_write_input_tokens,
            "cacheWriteInputTokenCount",
            "cache_write_input_tokens",
        ),
    ] {
        tokens::fill(slot, side, &[path], column);
    }
}

/// What Bedrock adds to the body of InvokeModel, or to any chunk of its stream.
fn envelope<'a>(chunk: Value<'a>, row: &mut CallRow<'a>) {
    if let Some(verdict) = code_at(chunk, "amazon-bedrock-guardrailAction", "guardrail_action") {
        guardrail::action(verdict, row);
    }
    for path in [
        "amazon-bedrock-trace/guardrail",
        "amazon-bedrock-trace/guardrails",
    ] {
        if let Some(trace) = chunk.find(path) {
            guardrail::trace(trace, row);
        }
    }
    if let Some(metrics) = chunk.get("amazon-bedrock-invocationMetrics") {
        counts(metrics, row);
        let call = &mut row.call;
        call.duration_ms = call
            .duration_ms
            .or_else(|| metrics.positive("invocationLatency", "duration_ms"));
        call.time_to_first_chunk_ms = call
            .time_to_first_chunk_ms
            .or_else(|| metrics.positive("firstByteLatency", "time_to_first_chunk_ms"));
    }
}

#[cfg(test)]
mod tests;

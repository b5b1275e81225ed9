//! Bedrock model invocation logs, from S3 or CloudWatch.
//!
//! Everything a record says about itself stands on its top level; request and response are bodies of any of a dozen
//! families (see `body`), inline, offloaded to S3, or not delivered at all. Guardrails report inside the response.
//!
//! Latency is known only where the response carries it. The address and the credential of the caller are not in this
//! log: CloudTrail has them, under the same request id.

use super::body::{self, Place, code};
use super::json::Value;
use super::record::{CallRow, Direction, Reject, Rows};
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
    call.operation_raw = code(record, "operation", "operation_raw");
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
    call.operation = call.operation.or_else(|| {
        let raw = call.operation_raw?;
        Some(names::bedrock_operation(raw, call.model))
    });
    if call.outcome.is_empty() {
        call.outcome = match record.get("output") {
            Some(_) => "success",
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
    call.caller = record.text_of(&["identity/arn", "identity"], "caller");
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
    let metadata = record.get("requestMetadata").map(Value::structure);
    for (key, value) in metadata.into_iter().flat_map(Value::entries) {
        if let Some(text) = value.as_text() {
            value.mark("tags");
            row.call.tags.push((key, text));
        }
    }
}

/// A call that failed has an `errorCode` and, as a rule, no bodies.
fn failure<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    if record
        .get("errorCode")
        .is_some_and(|code| code.as_text().is_some())
    {
        row.call.outcome = "failure";
        row.call.error_type = code(record, "errorCode", "error_type");
    }
    for (key, value) in record.entries() {
        let message = ["errorMessage", "error"]
            .iter()
            .any(|name| name.eq_ignore_ascii_case(key))
            || (key.eq_ignore_ascii_case("errorCode") && row.call.error_type.is_none());
        if message {
            Place::ERROR.text_or_raw(row, value);
            value.mark("content");
        }
    }
}

/// Request and response, wherever they are.
fn bodies<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    let (mut inline, mut external) = (false, false);
    // Every one of duplicate keys is sealed, also those that a lookup would not find.
    for (key, side) in record.entries() {
        let direction = if key.eq_ignore_ascii_case("input") {
            Direction::Input
        } else if key.eq_ignore_ascii_case("output") {
            Direction::Output
        } else {
            continue;
        };
        let side = side.structure();
        counts(side, row);
        for path in ["inputBodyS3Path", "outputBodyS3Path"] {
            let column = match direction {
                Direction::Input => "input_uri",
                _ => "output_uri",
            };
            if let Some(uri) = code(side, path, column) {
                external = true;
                match direction {
                    Direction::Input => row.call.input_uri = Some(uri),
                    _ => row.call.output_uri = Some(uri),
                }
            }
        }
        side.drop_field("inputContentType");
        side.drop_field("outputContentType");
        inline |= read_side(side, direction, row);
    }
    // Some producers put the conversation on the top level.
    for (key, value) in record.entries() {
        if ["messages", "system", "prompt", "completion", "response"]
            .iter()
            .any(|name| name.eq_ignore_ascii_case(key))
        {
            if !inline {
                Place::new(Direction::Input, "user", 0).text_or_raw(row, value);
            }
            value.mark("content");
        }
    }
    // Some code reads the cache counts there; duplicates of the ones above are taken too.
    counts(record, row);
    row.call.content_state = Some(match (external, inline) {
        (true, _) => "external",
        (false, true) => "inline",
        (false, false) => "absent",
    });
}

/// The body of one side; whether there was one.
fn read_side<'a>(side: Value<'a>, direction: Direction, row: &mut CallRow<'a>) -> bool {
    if !side.is_object() {
        body::unknown(side, direction, row);
        return true;
    }
    let mut inline = false;
    for (key, value) in side.entries() {
        let name = key.to_ascii_lowercase();
        if matches!(name.as_str(), "inputbodyjson" | "outputbodyjson") {
            if value.is_null() {
                continue;
            }
            inline = true;
            match direction {
                Direction::Input => body::request(value, row),
                _ => {
                    for chunk in value.structure().items_or_self() {
                        envelope(chunk, row);
                    }
                    body::response(value, row);
                }
            }
        } else if name.contains("body") && !name.contains("s3path") {
            body::unknown(value, direction, row);
        } else {
            body::keep_codes(value);
        }
    }
    inline
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
    if let Some(verdict) = code(chunk, "amazon-bedrock-guardrailAction", "guardrail_action") {
        guardrail::action(verdict, row);
    }
    if let Some(trace) = chunk.find("amazon-bedrock-trace/guardrail") {
        guardrail::trace(trace, row);
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

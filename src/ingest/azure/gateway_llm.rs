//! `GatewayLlmLogs` of API Management: tokens that the gateway counted, and messages in numbered pieces where it was
//! told to log them. It has no caller; the gateway's own record of the call has.

use super::common::Frame;
use super::gateway::unreadable;
use crate::ingest::body::openai;
use crate::ingest::body::parts::Turn;
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType, Rows};
use crate::ingest::{names, tokens};

pub(super) fn decode<'a>(frame: &Frame<'a>, rows: &mut Rows<'a>) {
    let repaired = frame.repaired();
    let frame = repaired.as_ref().map_or(frame, |(frame, _)| frame);
    let mut row = CallRow {
        call: frame.call("azure.apim.gateway_llm", "supplement"),
        ..CallRow::default()
    };
    let call = &mut row.call;
    call.outcome = "unknown";
    // These stand in `properties` in some deliveries.
    call.correlation_id = call
        .correlation_id
        .or_else(|| frame.text(&["correlationId"], "correlation_id"));
    call.request_id = frame
        .text(&["requestId"], "request_id")
        .or(call.correlation_id);
    call.model_deployment = frame.text(&["deploymentName"], "model_deployment");
    call.model_id_raw = frame
        .text(&["modelName"], "model_id_raw")
        .or(call.model_deployment);
    if let Some(raw) = call.model_id_raw {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model);
        call.model_family = Some(family);
    }
    call.request_stream = frame
        .property("isStreamCompletion")
        .filter(|value| value.as_bool().is_some())
        .map(|value| value.mark("request_stream"))
        .and_then(Value::as_bool);
    // For Claude the gateway counts what caches served apart; for OpenAI's models it is a part of the prompt.
    let prompt = frame.count(&["promptTokens"], "input_tokens");
    let is_claude = call
        .model_family
        .is_some_and(|family| family.to_ascii_lowercase().contains("claude"));
    if is_claude {
        call.input_tokens_uncached = prompt;
    } else {
        call.input_tokens = prompt;
    }
    call.cache_read_input_tokens = frame.count(&["promptCachedTokens"], "cache_read_input_tokens");
    call.output_tokens = frame.count(&["completionTokens"], "output_tokens");
    let total = frame.count(&["totalTokens"], "total_tokens");
    // Its total leaves the caches out as well.
    call.total_tokens = total.filter(|_| !is_claude);
    tokens::complete(call);
    let mut any = false;
    any |= messages(frame, "requestMessages", Direction::Input, &mut row);
    any |= messages(frame, "responseMessages", Direction::Output, &mut row);
    row.call.content_state = Some(if any { "inline" } else { "absent" });
    if let Some((_, rest)) = &repaired {
        unreadable(rest, &mut row);
    }
    let read = [
        "requestMessages",
        "responseMessages",
        "modelName",
        "deploymentName",
    ];
    frame.scrub(&read, &mut row);
    rows.calls.push(row);
}

/// Messages as a list, or as a piece of one that was cut into numbered records.
fn messages<'a>(
    frame: &Frame<'a>,
    name: &str,
    direction: Direction,
    row: &mut CallRow<'a>,
) -> bool {
    let Some(logged) = frame.property(name) else {
        return false;
    };
    let list = logged.structure();
    if list.is_array() || list.is_object() {
        openai::messages(list, direction, row);
    } else {
        let place = Turn {
            direction,
            role: None,
            message: 0,
        };
        place.leaves(row, PartType::Raw, list);
        if let Some(part) = row.parts.last_mut() {
            part.truncated = true;
        }
    }
    logged.mark("content");
    true
}

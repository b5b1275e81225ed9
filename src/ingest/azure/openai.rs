//! Resource logs of Azure OpenAI: requests, token usage, audit, trace. None of them has prompts or responses.

use super::common::{Frame, LONGEST_MS, outcome};
use crate::ingest::body::parts::{Turn, scrub_into};
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType, Rows};
use crate::ingest::{names, time, tokens};
use crate::schema::{Audit, Call};

/// `RequestResponse`: one call, with caller and duration.
pub(super) fn request_response<'a>(frame: &Frame<'a>, rows: &mut Rows<'a>) {
    let mut call = frame.call("azure.openai.request_response", "primary");
    call.log_time = Some(frame.time);
    call.operation = frame.operation.map(names::operation);
    timing(frame, &mut call);
    call.request_bytes = frame.count(&["requestLength"], "request_bytes");
    call.response_bytes = frame.count(&["responseLength"], "response_bytes");
    call.caller = frame.text(&["callerObjectId", "objectId"], "caller");
    call.user_type = call.caller.map(|_| "unknown");
    call.request_stream = stream(frame);
    model(frame, &mut call);
    call.http_status_code = frame.status(&["resultSignature", "resultType"]);
    call.outcome = outcome(call.http_status_code);
    call.request_id = call.correlation_id;
    call.content_state = Some("absent");
    let zero = |count: Option<i64>| count.unwrap_or(0) == 0;
    call.input_tokens = frame.count(&["promptTokens"], "input_tokens");
    call.output_tokens = frame.count(&["completionTokens", "generatedTokens"], "output_tokens");
    call.cache_read_input_tokens = frame.count(&["cachedTokens"], "cache_read_input_tokens");
    let counts_nothing = zero(call.input_tokens) && zero(call.output_tokens);
    let has_counts = call.input_tokens.is_some() || call.output_tokens.is_some();
    let has_model = call.model.is_some() || call.model_deployment.is_some();
    let is_inference = call.operation.is_some_and(|operation| operation != "other");
    // Azure may write a call twice: once with caller and tokens, once nearly empty. Older records have neither, and a
    // model instead; other operations have none of the three.
    if call.caller.is_none() && counts_nothing && (has_counts || (is_inference && !has_model)) {
        call.record_role = "supplement";
    }
    // Speech, vision and language services log in the same shape.
    let api = frame.property("apiName").and_then(Value::as_str);
    let is_openai = api.is_none_or(|api| api.to_ascii_lowercase().contains("openai"));
    if !is_openai && !has_model && !is_inference {
        call.provider = None;
    }
    tokens::complete(&mut call);
    rows.calls.push(CallRow {
        call,
        ..CallRow::default()
    });
}

/// When it began and how long it took: by the ticks of request and response where both are there.
fn timing<'a>(frame: &Frame<'a>, call: &mut Call<'a>) {
    let ticks = |name: &str| {
        let value = frame.property(name)?;
        let ticks = value.as_int()?;
        time::from_int(ticks).map(|read| (value, ticks, read))
    };
    let (begin, end) = (ticks("requestTime"), ticks("responseTime"));
    if let Some((value, _, read)) = begin {
        call.event_time = read.micros;
        if read.exact {
            value.mark("event_time");
        }
    }
    if let (Some((_, begin, _)), Some((value, end, _))) = (begin, end) {
        let ms = (end - begin) as f64 / 10_000.0;
        if (0.0..=LONGEST_MS).contains(&ms) {
            call.duration_ms = Some(ms);
            value.mark("duration_ms");
            return;
        }
    }
    call.duration_ms = frame.duration(&["durationMs"]);
}

fn stream(frame: &Frame<'_>) -> Option<bool> {
    let kind = frame.property("streamType")?;
    let text = kind.as_str()?;
    let is_stream = match text.to_ascii_lowercase().as_str() {
        "streaming" => true,
        "non-streaming" | "nonstreaming" => false,
        _ => return None,
    };
    kind.mark("request_stream");
    Some(is_stream)
}

fn model<'a>(frame: &Frame<'a>, call: &mut Call<'a>) {
    call.model_deployment = frame.text(
        &["modelDeploymentName", "deploymentName"],
        "model_deployment",
    );
    call.model_id_raw = frame.text(&["modelName"], "model_id_raw");
    // A deployment is what the caller named; where the log has no model it is all that is known of it.
    if let Some(raw) = call.model_id_raw.or(call.model_deployment) {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model);
        call.model_family = call.model_id_raw.map(|_| family);
    }
}

/// `AzureOpenAIRequestUsage`: the tokens of a call that another record tells of.
pub(super) fn request_usage<'a>(frame: &Frame<'a>, rows: &mut Rows<'a>) {
    let mut call = frame.call("azure.openai.request_usage", "supplement");
    call.log_time = Some(frame.time);
    call.operation = frame.operation.map(names::operation);
    call.request_id = call.correlation_id;
    call.outcome = "unknown";
    call.content_state = Some("absent");
    model(frame, &mut call);
    // Arrays of one, which read as their element.
    call.input_tokens = frame.count(&["promptTokens"], "input_tokens");
    call.cache_read_input_tokens = frame.count(&["cachedTokens"], "cache_read_input_tokens");
    call.output_tokens = frame.count(&["generatedTokens", "completionTokens"], "output_tokens");
    tokens::complete(&mut call);
    rows.calls.push(CallRow {
        call,
        ..CallRow::default()
    });
}

/// `Trace`: undocumented. What it says is kept as text, since nobody knows whether it quotes a prompt.
pub(super) fn trace<'a>(frame: &Frame<'a>, rows: &mut Rows<'a>) {
    let mut row = CallRow {
        call: frame.call("azure.openai.trace", "supplement"),
        ..CallRow::default()
    };
    row.call.log_time = Some(frame.time);
    row.call.operation = frame.operation.map(names::operation);
    row.call.request_id = row.call.correlation_id;
    row.call.http_status_code = frame.status(&["resultSignature"]);
    row.call.outcome = outcome(row.call.http_status_code);
    row.call.duration_ms = frame.duration(&["durationMs"]);
    let place = Turn {
        direction: Direction::Input,
        role: None,
        message: 0,
    };
    for key in ["properties", "properties_s"] {
        if let Some(properties) = frame.record.get(key) {
            scrub_into(properties.structure(), place, PartType::Raw, &mut row);
        }
    }
    tokens::complete(&mut row.call);
    rows.calls.push(row);
}

/// `Audit`: somebody listed or regenerated keys, and its kin.
pub(super) fn audit<'a>(frame: &Frame<'a>, rows: &mut Rows<'a>) {
    let action = frame.operation;
    let status = frame.status(&["resultSignature"]);
    let address = frame.address();
    let caller = frame.text(&["callerObjectId", "objectId"], "caller");
    rows.audits.push(Audit {
        event_time: frame.time,
        source_format: "azure.openai.audit",
        provider: Some("azure.ai.openai"),
        cloud_provider: Some("azure"),
        cloud_account_id: frame.subscription,
        cloud_region: frame.region(),
        service: Some("microsoft.cognitiveservices"),
        action,
        action_class: super::activity::class(action.unwrap_or_default()),
        resource_id: frame.resource_id,
        outcome: match status {
            // The category has no status of its own: what is logged was done.
            None => "success",
            status => outcome(status),
        },
        http_status_code: status,
        event_category: Some(frame.category),
        caller,
        user_type: caller.map(|_| "unknown"),
        source_ip: address.map(|address| address.text),
        source_ip_valid: address.map(|address| address.valid),
        source_ip_prefix: address.and_then(|address| address.prefix),
        correlation_id: frame.correlation_id,
        request_id: frame.correlation_id,
        ..Audit::default()
    });
}

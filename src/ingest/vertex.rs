//! Vertex AI's request-response log, as it is exported from its BigQuery table: bodies and tokens, and neither a caller
//! nor an address.
//!
//! The table has the body twice: whole in `full_request` and `full_response`, and as texts of a list in
//! `request_payload` and `response_payload`, whose elements are the chunks of a stream. Whichever is there is read.

use super::body;
use super::body::parts::warn;
use super::gcp_audit::after;
use super::json::Value;
use super::record::{CallRow, Reject, Rows};
use super::{guardrail, names, tokens};
use crate::schema::{Call, Micros};

#[cfg(test)]
mod tests;

/// A day is no latency of a call.
const LONGEST_MS: f64 = 86_400_000.0;

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    record.get("logging_time").is_some()
        && [
            "full_request",
            "request_payload",
            "full_response",
            "response_payload",
            "api_method",
        ]
        .iter()
        .any(|key| record.get(key).is_some())
}

/// Decodes one record.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let logged = record
        .time("logging_time", "log_time")
        .ok_or(Reject::Time)?;
    let latency = latency(record);
    let mut row = CallRow {
        call: Call {
            event_time: begin(logged, latency),
            log_time: Some(logged),
            source_format: "gcp.vertex.request_response",
            record_role: "primary",
            provider: Some("gcp.vertex_ai"),
            cloud_provider: Some("gcp"),
            request_id: request_id(record),
            duration_ms: latency,
            operation_raw: record.text("api_method", "operation_raw"),
            ..Call::default()
        },
        ..CallRow::default()
    };
    model(record, &mut row.call);
    bodies(record, &mut row);
    let call = &mut row.call;
    let by_method = call.operation_raw.map(names::operation);
    call.operation = by_method.or(Some("other"));
    let method = call.operation_raw.unwrap_or_default().to_ascii_lowercase();
    let verb = method.rsplit(['.', '/', ':']).next().unwrap_or_default();
    if verb.starts_with("stream") {
        call.request_stream = Some(true);
    } else if !verb.is_empty() {
        call.request_stream.get_or_insert(false);
    }
    otel(record, &mut row);
    let call = &mut row.call;
    tokens::complete(call);
    guardrail::settle(call);
    if call.outcome.is_empty() {
        let answered = RESPONSES
            .iter()
            .any(|key| record.get(key).is_some_and(says_something));
        call.outcome = if answered { "success" } else { "unknown" };
    }
    rows.calls.push(row);
    Ok(())
}

/// How long it took, in milliseconds.
fn latency(record: Value<'_>) -> Option<f64> {
    ["metadata/request_latency", "metadata/requestLatency"]
        .iter()
        .find_map(|path| {
            let found = record.find(path)?;
            let latency = found
                .as_float()
                .filter(|ms| (0.0..=LONGEST_MS).contains(ms))?;
            found.mark("duration_ms");
            Some(latency)
        })
}

/// The row is written when the answer is; the call began its latency before that.
fn begin(logged: Micros, latency: Option<f64>) -> Micros {
    let micros = latency.map_or(0.0, |ms| (ms * 1_000.0).round());
    Micros(logged.0.saturating_sub(micros as i64))
}

/// A `NUMERIC` has more digits than a double; zero means that there is none.
fn request_id(record: Value<'_>) -> Option<&str> {
    record
        .text("request_id", "request_id")
        .filter(|id| *id != "0")
}

/// The model and where it ran, from `model`, else from the path of the endpoint.
fn model<'a>(record: Value<'a>, call: &mut Call<'a>) {
    let endpoint = record.text("endpoint", "cloud_resource_id");
    let model = record.text("model", "model_id_raw");
    // Columns of a table are empty where they say nothing.
    for key in ["endpoint", "model", "deployed_model_id"] {
        if record.get(key).and_then(Value::as_str) == Some("") {
            record.drop_field(key);
        }
    }
    call.cloud_resource_id = endpoint;
    call.model_deployment = record
        .text("deployed_model_id", "model_deployment")
        .or_else(|| endpoint.and_then(|path| after(path, "endpoints")));
    call.model_id_raw = model.or_else(|| endpoint.filter(|path| after(path, "models").is_some()));
    if let Some(raw) = call.model_id_raw {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model);
        call.model_family = Some(family);
    }
    // Requests name the model by its whole path.
    let requested = record.find("full_request/model").and_then(Value::as_str);
    for path in [endpoint, model, requested].into_iter().flatten() {
        call.cloud_account_id = call.cloud_account_id.or_else(|| after(path, "projects"));
        call.cloud_region = call.cloud_region.or_else(|| after(path, "locations"));
    }
}

/// Reads a request or a response.
type Read = for<'a> fn(Value<'a>, &mut CallRow<'a>);

/// Where the bodies are; the first that has one is read.
const REQUESTS: [&str; 2] = ["full_request", "request_payload"];
const RESPONSES: [&str; 2] = ["full_response", "response_payload"];

/// The first body that says something. The other is the same once more, and no part of `attributes`.
fn filled<'a>(record: Value<'a>, keys: [&str; 2]) -> Option<Value<'a>> {
    let mut found = None;
    for value in keys.iter().filter_map(|key| record.get(key)) {
        if found.is_none() && says_something(value) {
            found = Some(value);
        } else {
            value.mark("content");
        }
    }
    found
}

fn says_something(body: Value<'_>) -> bool {
    body.as_str() != Some("") && body.structure().items_or_self().next().is_some()
}

fn bodies<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    let request = filled(record, REQUESTS);
    let response = filled(record, RESPONSES);
    let (read_request, read_response) = readers(record, request, response);
    // A list of texts is a body each; the chunks of a streamed answer belong together.
    if let Some(list) = request.filter(|value| value.structure().is_array()) {
        list.structure()
            .items()
            .for_each(|item| read_request(item, row));
    } else if let Some(body) = request {
        read_request(body, row);
    }
    if let Some(body) = response {
        read_response(body, row);
    }
    if row.call.content_state.is_none() {
        let any = request.is_some() || response.is_some();
        row.call.content_state = Some(if any { "inline" } else { "absent" });
    }
    if response.is_none() && request.is_some() {
        warn(&mut row.call, "no_response");
    }
}

/// Gemini's bodies are the most; other publishers' come in their own shape.
fn readers<'a>(
    record: Value<'a>,
    request: Option<Value<'a>>,
    response: Option<Value<'a>>,
) -> (Read, Read) {
    let first = |body: Option<Value<'a>>| {
        let body = body?.structure();
        if body.is_array() {
            body.items().next().map(Value::structure)
        } else {
            Some(body)
        }
    };
    let has = |body: Option<Value<'a>>, keys: &[&str]| {
        first(body).is_some_and(|body| keys.iter().any(|key| body.get(key).is_some()))
    };
    let publisher = record
        .get("model")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if has(request, &["contents"])
        || has(
            response,
            &[
                "candidates",
                "promptFeedback",
                "prompt_feedback",
                "usageMetadata",
                "usage_metadata",
            ],
        )
        || publisher.contains("publishers/google/")
    {
        (body::gemini::request, body::gemini::response)
    } else {
        (body::request, body::response)
    }
}

/// The same call as an OpenTelemetry event: what it adds are the names of the conversation and the agent.
fn otel<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    let Some(event) = record.get("otel_log") else {
        return;
    };
    let event = event.structure();
    let call = &mut row.call;
    let attributes = event.get("attributes").unwrap_or(event);
    call.conversation_id = call
        .conversation_id
        .or_else(|| attribute(attributes, "gen_ai.conversation.id"));
    call.trace_id = event.text_of(&["trace_id", "traceId"], "trace_id");
    call.span_id = event.text_of(&["span_id", "spanId"], "span_id");
    // Its messages are those of the bodies once more; what else it says may quote them.
    if row.parts.is_empty() {
        body::parts::Turn::default().leaves(row, super::record::PartType::Raw, event);
    }
    if let Some(event) = record.get("otel_log") {
        event.mark("content");
    }
}

/// An attribute as a plain key, or in OTLP's list of keys and values.
fn attribute<'a>(attributes: Value<'a>, name: &str) -> Option<&'a str> {
    let plain = attributes.get(name).and_then(Value::as_text);
    plain
        .or_else(|| {
            let pair = attributes
                .items()
                .find(|pair| pair.get("key").and_then(Value::as_str) == Some(name))?;
            pair.find("value/stringValue")?.as_text()
        })
        .and_then(body::parts::code)
}

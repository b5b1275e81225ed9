//! `GatewayLogs` of API Management: the calls that went through a gateway, with their bodies as far as it logged them.
//!
//! A gateway fronts any API. Only calls of models are kept, by address or by body.

use super::common::{Frame, outcome, segment_after};
use crate::ingest::body;
use crate::ingest::body::parts::{Turn, code, code_at, scrub_into, warn};
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, Direction, PartType, Rows};
use crate::ingest::{guardrail, names, tokens};
use crate::schema::Call;

/// What the addresses of model APIs have in them.
const MODEL_PATHS: [&str; 13] = [
    "/openai",
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/responses",
    "/messages",
    "/images/generations",
    "/audio/",
    "/models/",
    "/threads",
    "/assistants",
    "/anthropic",
    ":generatecontent",
];

/// Properties that are read one by one, whatever is in them.
const READ: [&str; 17] = [
    "requestBody",
    "responseBody",
    "backendRequestBody",
    "backendResponseBody",
    "requestHeaders",
    "responseHeaders",
    "backendRequestHeaders",
    "backendResponseHeaders",
    "url",
    "backendUrl",
    "lastError",
    "errors",
    "lastErrorMessage",
    "traceRecords",
    "userId",
    "apimSubscriptionId",
    "operationId",
];

pub(super) fn decode<'a>(frame: &Frame<'a>, rows: &mut Rows<'a>) {
    let repaired = frame.repaired();
    let frame = repaired.as_ref().map_or(frame, |(frame, _)| frame);
    let url = frame.property("url").and_then(Value::as_str);
    let path = url.map(path_of).unwrap_or_default().to_ascii_lowercase();
    let backend = frame
        .property("backendUrl")
        .and_then(Value::as_str)
        .map(|url| path_of(url).to_ascii_lowercase())
        .unwrap_or_default();
    let first_of = |names: [&str; 2]| names.into_iter().find_map(|name| frame.property(name));
    let request = first_of(["requestBody", "backendRequestBody"]);
    let response = first_of(["responseBody", "backendResponseBody"]);
    let is_model_path = |path: &str| MODEL_PATHS.iter().any(|part| path.contains(part));
    if !is_model_path(&path) && !is_model_path(&backend) && !request.is_some_and(is_model_request) {
        return rows.skipped.push("API Management call of another API");
    }
    let mut row = CallRow {
        call: frame.call("azure.apim.gateway", "primary"),
        ..CallRow::default()
    };
    bodies(frame, &path, request, response, &mut row);
    if let Some((_, rest)) = &repaired {
        unreadable(rest, &mut row);
    }
    headers(frame, &mut row.call);
    address(frame, url, &mut row);
    last_error(frame, &mut row);
    frame.scrub(&READ, &mut row);
    let call = &mut row.call;
    caller(frame, call);
    let status = frame.status(&["responseCode"]);
    call.http_status_code = status.or_else(|| frame.status(&["backendResponseCode"]));
    let succeeded = frame.property("isRequestSuccess").and_then(Value::as_bool);
    if call.outcome.is_empty() {
        call.outcome = match (call.http_status_code, succeeded) {
            (None, Some(true)) => "success",
            (None, Some(false)) => "failure",
            (status, _) => outcome(status),
        };
    }
    call.duration_ms = frame.duration(&["durationMs", "TotalTime"]);
    call.request_bytes = frame.count(&["requestSize"], "request_bytes");
    call.response_bytes = frame.count(&["responseSize"], "response_bytes");
    call.cache_hit = cache(frame);
    let by_path = if path.is_empty() { &backend } else { &path };
    // The record's own operation says no more than that it is a log of a gateway.
    call.operation_raw = frame.text(&["operationId"], "operation_raw");
    call.operation = Some(match names::operation(by_path) {
        "other" => names::operation(call.operation_raw.unwrap_or_default()),
        known => known,
    });
    model(call);
    tokens::complete(call);
    guardrail::settle(call);
    rows.calls.push(row);
}

/// Notes that the properties were cut, and keeps the texts that stood beside them.
pub(super) fn unreadable<'a>(rest: &[Value<'a>], row: &mut CallRow<'a>) {
    warn(&mut row.call, "unreadable_properties");
    row.call.content_state = Some("truncated");
    for value in rest {
        Turn::new(Direction::Input, None, 0).leaves(row, PartType::Raw, *value);
    }
    if let Some(part) = row.parts.last_mut() {
        part.truncated = true;
    }
}

/// Whether a body asks a model, where the address does not tell.
fn is_model_request(body: Value<'_>) -> bool {
    body.get("messages").is_some() || body.get("contents").is_some() || body.get("prompt").is_some()
}

fn bodies<'a>(
    frame: &Frame<'a>,
    path: &str,
    request: Option<Value<'a>>,
    response: Option<Value<'a>>,
    row: &mut CallRow<'a>,
) {
    type Read = for<'a> fn(Value<'a>, &mut CallRow<'a>);
    let (read_request, read_response): (Read, Read) = if path.contains("generatecontent") {
        (body::gemini::request, body::gemini::response)
    } else if path.contains("/anthropic") || path.ends_with("/messages") {
        (body::anthropic::request, body::anthropic::response)
    } else {
        (body::openai::request, body::openai::response)
    };
    if let Some(body) = request {
        // Not every vendor's body names its model; here they all do.
        row.call.model = code_at(body, "model", "model");
        read_request(body, row);
    }
    if let Some(body) = response {
        read_response(body, row);
    }
    // The gateway logs what it received and what it sent on: mostly the same once more.
    for name in [
        "requestBody",
        "backendRequestBody",
        "responseBody",
        "backendResponseBody",
    ] {
        if let Some(body) = frame.property(name) {
            body.mark("content");
        }
    }
    let cut_by_gateway = frame.property("truncated").is_some_and(|truncated| {
        truncated.as_bool() == Some(true) || truncated.as_int().is_some_and(|bytes| bytes > 0)
    });
    let state = if cut_by_gateway {
        "truncated"
    } else if request.is_some() || response.is_some() {
        row.call.content_state.unwrap_or("inline")
    } else {
        "absent"
    };
    row.call.content_state = Some(state);
}

/// Headers hold secrets; only what names the client and the request is read.
fn headers<'a>(frame: &Frame<'a>, call: &mut Call<'a>) {
    let header = |group: &str, name: &str| frame.property(group)?.get(name)?.as_text();
    call.user_agent = header("requestHeaders", "User-Agent");
    call.request_id = header("responseHeaders", "apim-request-id")
        .filter(|id| code(id).is_some())
        .or(call.correlation_id);
    for group in [
        "requestHeaders",
        "responseHeaders",
        "backendRequestHeaders",
        "backendResponseHeaders",
    ] {
        if let Some(headers) = frame.property(group) {
            headers.mark("-");
        }
    }
}

/// The host and the deployment. A query may hold a key: an address with more in it than the API's version is not kept.
fn address<'a>(frame: &Frame<'a>, url: Option<&'a str>, row: &mut CallRow<'a>) {
    for name in ["url", "backendUrl"] {
        let Some(value) = frame.property(name) else {
            continue;
        };
        let text = value.as_str().unwrap_or_default();
        let is_plain = text.split_once('?').is_none_or(|(_, query)| {
            query
                .strip_prefix("api-version=")
                .is_some_and(|version| code(version).is_some() && !version.contains('='))
        });
        if !is_plain || text.contains('@') || text.contains(' ') {
            value.mark("-");
            warn(&mut row.call, "address_dropped");
        }
        let call = &mut row.call;
        call.model_deployment = call.model_deployment.or_else(|| {
            ["deployments", "models", "engines"]
                .iter()
                .find_map(|part| segment_after(path_of(text), part))
                .map(|name| name.split(':').next().unwrap_or(name))
                .filter(|name| code(name).is_some())
        });
    }
    row.call.server_address = url.and_then(host_of).filter(|host| code(host).is_some());
}

fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    Some(name).filter(|name| !name.is_empty())
}

/// An address without scheme, host and query.
fn path_of(url: &str) -> &str {
    let rest = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => url,
    };
    rest.split(['?', '#']).next().unwrap_or(rest)
}

/// The gateway knows its own users and subscriptions: keys that it gave out under a name.
fn caller<'a>(frame: &Frame<'a>, call: &mut Call<'a>) {
    let user = frame.text(&["userId"], "caller");
    call.credential_id = frame.text(&["apimSubscriptionId", "subscriptionId"], "credential_id");
    call.caller = user.or(call.credential_id);
    call.user_type = match (user, call.credential_id) {
        (Some(_), _) => Some("user"),
        (None, Some(_)) => Some("api_key"),
        (None, None) => None,
    };
}

fn cache(frame: &Frame<'_>) -> Option<bool> {
    let cache = frame.property("cache")?;
    let is_hit = match cache.as_str()?.to_ascii_lowercase().as_str() {
        "hit" => true,
        "miss" | "none" => false,
        _ => return None,
    };
    cache.mark("cache_hit");
    Some(is_hit)
}

/// What the gateway itself says went wrong. Its message may quote the request.
fn last_error<'a>(frame: &Frame<'a>, row: &mut CallRow<'a>) {
    let reasons = [
        frame
            .property("lastError")
            .and_then(|error| error.get("reason")),
        frame.property("lastErrorReason"),
    ];
    let reason = reasons.into_iter().flatten().find_map(Value::as_text);
    row.call.error_type = row
        .call
        .error_type
        .or(reason.filter(|reason| code(reason).is_some()));
    for name in ["lastError", "errors", "lastErrorMessage", "traceRecords"] {
        if let Some(value) = frame.property(name) {
            scrub_into(value.structure(), Turn::ERROR, PartType::Raw, row);
        }
    }
}

/// The body names the model, or the answer does, or else only the deployment is known.
fn model(call: &mut Call<'_>) {
    let named = call.model.or(call.response_model);
    call.model_id_raw = named.or(call.model_deployment);
    if let Some(raw) = call.model_id_raw {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model);
        call.model_family = named.map(|_| family);
    }
}

//! Access logs of Envoy's AI gateway: flat records with the names of OpenTelemetry's attributes as keys, beside Envoy's.
//!
//! The keys of an access log are what its operator configured; those documented are read, and the rest stays in
//! `attributes`. Flat records with OpenTelemetry's names and none of Envoy's are of no vendor (`generic`). `gen_ai.provider.name` is the name of a backend there, and a provider only where it is a known one.

use super::body::parts::{code, code_at};
use super::json::Value;
use super::otlp::{self, columns};
use super::record::{CallRow, Direction, Reject, Rows};
use super::residue::sieve;
use super::{address, conversation, guardrail, names, tokens};

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    let has = |key: &str| record.entries().any(|(name, _)| name == key);
    // What is written and null in every record was configured, and so is an access log's.
    record.entries().any(|(key, _)| key.starts_with("gen_ai."))
        && (record.entries().any(|(key, _)| is_envoys(key))
            || (has("start_time") && has("response_code"))
            || !otlp::is_flat(record))
}

/// Keys that are Envoy's alone: its headers, its names for both ends of a connection, and its verdicts.
fn is_envoys(key: &str) -> bool {
    key.starts_with("x-envoy-")
        || key.starts_with("downstream_")
        || matches!(
            key,
            ":authority"
                | ":path"
                | ":method"
                | "response_flags"
                | "response_code_details"
                | "upstream_host"
                | "upstream_cluster"
                | "upstream_transport_failure_reason"
        )
}

/// Decodes one record.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let speaks = |(key, value): (&str, Value<'a>)| {
        (key.starts_with("gen_ai.") || key.starts_with("mcp.")) && !value.is_null()
    };
    if !record.entries().any(speaks) {
        rows.skipped.push("gateway request that called no model");
        return Ok(());
    }
    let mut row = CallRow::default();
    let times = [
        "start_time",
        "timestamp",
        "@timestamp",
        "time",
        "startTimeUnixNano",
    ];
    let time = times
        .iter()
        .find_map(|path| record.time(path, "event_time"))
        .ok_or(Reject::Time)?;
    columns::fill(record, None, None, &mut row);
    let call = &mut row.call;
    call.event_time = time;
    call.source_format = "envoy";
    call.record_role = "primary";
    // A backend's name is no provider's.
    if let Some(backend) = call
        .provider
        .filter(|provider| !names::is_provider(provider))
    {
        call.provider = None;
        call.model_deployment = Some(backend);
    }
    call.request_id = record
        .text_of(&["x-request-id", "request_id", "request-id"], "request_id")
        .or(call.request_id);
    call.trace_id = record.text_of(&["trace_id", "traceId"], "trace_id");
    call.span_id = record.text_of(&["span_id", "spanId"], "span_id");
    call.http_status_code = call
        .http_status_code
        .or_else(|| record.int32("response_code", "http_status_code"));
    call.duration_ms = ["duration", "duration_ms"]
        .iter()
        .find_map(|path| record.positive(path, "duration_ms"));
    call.request_bytes = tokens::count(record, "bytes_received", "request_bytes");
    call.response_bytes = tokens::count(record, "bytes_sent", "response_bytes");
    call.user_agent = record
        .text_of(&["user-agent", "user_agent"], "user_agent")
        .or(call.user_agent);
    call.server_address = record
        .text_of(&[":authority", "authority"], "server_address")
        .or(call.server_address);
    source(record, &mut row);
    operation(record, &mut row);
    for (key, direction) in [
        ("gen_ai.input.messages", Direction::Input),
        ("gen_ai.prompt", Direction::Input),
        ("gen_ai.output.messages", Direction::Output),
        ("gen_ai.completion", Direction::Output),
    ] {
        if let Some(value) = record.get(key) {
            conversation::read(value, direction, &mut row);
        }
    }
    let call = &mut row.call;
    let error = code_at(record, "error.type", "error_type");
    call.outcome = match call.http_status_code {
        _ if call.outcome == "blocked" => "blocked",
        Some(100..400) => "success",
        Some(_) => "failure",
        None if error.is_some() => "failure",
        None => "unknown",
    };
    if call.outcome == "failure" {
        call.error_type = error.or_else(|| code_at(record, "response_code_details", "error_type"));
    }
    sieve(record, &mut row);
    guardrail::settle(&mut row.call);
    row.complete();
    rows.calls.push(row);
    Ok(())
}

/// The first of the forwarded addresses is the client; the connection's own comes with a port.
fn source<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    let forwarded = record.text_of(&["x-forwarded-for", "x_forwarded_for"], "source_ip");
    let text = match forwarded {
        Some(list) => list.split(',').next().map(str::trim),
        None => record.text("downstream_remote_address", "source_ip"),
    };
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        let address = address::judge(record, text);
        let call = &mut row.call;
        call.source_ip = Some(address.text);
        call.source_ip_valid = Some(address.valid);
        call.source_ip_prefix = address.prefix;
    }
}

fn operation<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    let path = ["x-envoy-origin-path", "path", ":path"]
        .iter()
        .find_map(|key| record.get(key)?.as_str());
    let path = path
        .map(|path| path.split('?').next().unwrap_or(path))
        .and_then(code);
    for key in ["x-envoy-origin-path", "path", ":path"] {
        record.drop_field(key);
    }
    let call = &mut row.call;
    if let Some(tool) = code_at(record, "mcp.tool.name", "tool_names") {
        call.tool_names.push(tool);
        call.operation = Some("execute_tool");
        call.operation_raw =
            code_at(record, "mcp.method.name", "operation_raw").or(call.operation_raw);
        return;
    }
    call.operation_raw = call.operation_raw.or(path);
    if matches!(call.operation, None | Some("other")) {
        call.operation = call.operation_raw.map(names::operation).or(Some("other"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::decode_lines;

    #[test]
    fn access() {
        insta::assert_snapshot!(decode_lines(include_str!(
            "../../testdata/formats/envoy/access.jsonl"
        )));
    }
}

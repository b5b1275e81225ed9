//! Kong's AI gateway, through any of its log plugins.
//!
//! Under `ai` stands one entry for each plugin that took part: `proxy` (or the name of an instance) with `meta`, `usage`
//! and perhaps `payload`, and guardrails under their own names. An answer of the model that the caller did not get, 200
//! above and 4xx below, was stopped by the gateway.

use super::body::parts::{Turn, code, code_at};
use super::json::Value;
use super::record::{CallRow, Direction, PartType, Reject, Rows};
use super::residue::{sieve, sieve_entry};
use super::{address, conversation, guardrail, names, tokens};

/// Headers that carry credentials; the gateway masks some of them, and not in every version.
const SECRET_HEADERS: [&str; 7] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "apikey",
    "api-key",
    "x-api-key",
];

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    let Some(ai) = record.get("ai").filter(|ai| ai.is_object()) else {
        return false;
    };
    let is_gateway = ["started_at", "latencies", "client_ip", "upstream_status"]
        .iter()
        .any(|key| record.get(key).is_some());
    let is_plugin = |plugin: Value<'_>| {
        plugin.find("meta/provider_name").is_some()
            || plugin.find("meta/request_model").is_some()
            || plugin.get("rpc").is_some()
            || plugin.find("usage/prompt_tokens").is_some()
    };
    ai.entries()
        .any(|(key, plugin)| is_plugin(plugin) || (key == "proxy" && is_gateway))
}

/// Decodes one record: a row for each plugin that called a model, one for the request if none did.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let mut row = CallRow::default();
    row.call.event_time = record
        .time("started_at", "event_time")
        .ok_or(Reject::Time)?;
    row.call.source_format = "kong";
    row.call.record_role = "primary";
    request(record, &mut row);
    let ai = record.get("ai");
    let mut calls = 0;
    for (name, plugin) in ai.into_iter().flat_map(Value::entries) {
        let is_model = ["meta", "usage", "payload"]
            .iter()
            .any(|key| plugin.get(key).is_some());
        let is_guard = ["guard", "moderat", "safety", "shield", "sanitiz"]
            .iter()
            .any(|word| name.to_ascii_lowercase().contains(word));
        if is_guard && code(name).is_some() {
            row.call.guardrail_ids.push(name);
            row.call.guardrail_action.get_or_insert("none");
        } else if is_model {
            calls += 1;
            // A gateway that asks a second model, to judge or to rewrite, logs it beside the first.
            if calls == 1 || name == "proxy" {
                self::plugin(plugin, &mut row);
            }
        }
    }
    if let Some(mcp) = ai.and_then(|ai| ai.get("mcp")) {
        row.call.operation.get_or_insert("execute_tool");
        for rpc in mcp.get("rpc").into_iter().flat_map(Value::items_or_self) {
            let names = ["tool_name", "tool", "params/name"];
            let name = names
                .iter()
                .find_map(|path| code_at(rpc, path, "tool_names"));
            row.call.tool_names.extend(name);
        }
    }
    outcome(&mut row, record);
    for (key, value) in record.entries() {
        // These two are about the HTTP exchange, and their names say nothing of what is in them.
        if matches!(key, "request" | "response") && value.is_object() {
            sieve(value, &mut row);
        } else {
            sieve_entry(key, value, &mut row);
        }
    }
    guardrail::settle(&mut row.call);
    row.complete();
    rows.calls.push(row);
    Ok(())
}

/// What the gateway knows of the HTTP request.
fn request<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    for headers in ["request/headers", "response/headers"]
        .iter()
        .filter_map(|path| record.find(path))
    {
        for (name, value) in headers.entries() {
            if SECRET_HEADERS
                .iter()
                .any(|secret| secret.eq_ignore_ascii_case(name))
            {
                value.mark("-");
            }
        }
    }
    let call = &mut row.call;
    call.request_id = record.text_of(
        &[
            "request/id",
            "request/headers/x-kong-request-id",
            "request/headers/x-request-id",
        ],
        "request_id",
    );
    call.user_agent = record.text("request/headers/user-agent", "user_agent");
    if let Some(address) = address::read(record, &["client_ip"]) {
        call.source_ip = Some(address.text);
        call.source_ip_valid = Some(address.valid);
        call.source_ip_prefix = address.prefix;
    }
    call.caller = record.text_of(
        &[
            "consumer/username",
            "consumer/custom_id",
            "consumer/id",
            "authenticated_entity/id",
        ],
        "caller",
    );
    call.credential_id = record.text_of(&["authenticated_entity/id"], "credential_id");
    call.service_name = record.text("service/name", "service_name");
    call.http_status_code = record.int32("response/status", "http_status_code");
    call.request_bytes = tokens::count(record, "request/size", "request_bytes");
    call.response_bytes = tokens::count(record, "response/size", "response_bytes");
    call.duration_ms = record.positive("latencies/request", "duration_ms");
    // The query of an address may hold a prompt or a key.
    let uri = record.find("request/uri").and_then(Value::as_str);
    let path = uri
        .map(|uri| uri.split('?').next().unwrap_or(uri))
        .and_then(code);
    if uri.is_some() {
        record.drop_field("request/uri");
    }
    record.drop_field("request/url");
    record.drop_field("upstream_uri");
    record.drop_field("request/querystring");
    call.operation_raw = path;
    call.operation = path
        .map(names::operation)
        .filter(|operation| *operation != "other");
}

fn plugin<'a>(plugin: Value<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    if let Some(meta) = plugin.get("meta") {
        call.provider = code_at(meta, "provider_name", "provider").map(names::provider);
        call.model_id_raw = code_at(meta, "request_model", "model_id_raw");
        call.response_model = code_at(meta, "response_model", "response_model");
        call.request_stream = meta
            .text("request_mode", "request_stream")
            .map(|mode| mode.eq_ignore_ascii_case("stream"));
        if let Some(latency) = meta.positive("llm_latency", "duration_ms") {
            call.duration_ms.get_or_insert(latency);
        }
    }
    if let Some(raw) = call.model_id_raw.or(call.response_model) {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model).filter(|model| !model.is_empty());
        call.model_family = Some(family).filter(|family| !family.is_empty());
    }
    if let Some(usage) = plugin.get("usage") {
        tokens::fill_totals(call, usage);
        call.cost_usd = usage.positive("cost", "cost_usd");
        call.time_to_first_chunk_ms =
            usage.positive("time_to_first_token", "time_to_first_chunk_ms");
    }
    for (key, direction) in [
        ("request", Direction::Input),
        ("response", Direction::Output),
    ] {
        if let Some(body) = plugin.get("payload").and_then(|payload| payload.get(key)) {
            conversation::read(body, direction, row);
        }
    }
    row.call.operation.get_or_insert("chat");
}

fn outcome<'a>(row: &mut CallRow<'a>, record: Value<'a>) {
    let upstream = record.find("upstream_status").and_then(Value::as_text);
    // Of several attempts the last counts.
    let upstream =
        upstream.and_then(|status| status.rsplit(',').next()?.trim().parse::<i32>().ok());
    if let Some(error) = record.take("response/body", "content") {
        Turn::ERROR.leaves(row, PartType::Text, error.structure());
    }
    let call = &mut row.call;
    let guarded = !call.guardrail_ids.is_empty();
    call.outcome = match (upstream, call.http_status_code) {
        (Some(200..300), Some(400..500)) => "blocked",
        (None, Some(400 | 403)) if guarded => "blocked",
        (_, Some(100..400)) if call.outcome == "blocked" => "blocked",
        (_, Some(100..400)) => "success",
        (_, Some(_)) => "failure",
        (_, None) => "unknown",
    };
    if call.outcome == "blocked" && guarded {
        call.guardrail_action = Some("blocked");
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::decode_lines;

    #[test]
    fn requests() {
        insta::assert_snapshot!(decode_lines(include_str!(
            "../../testdata/formats/kong/requests.jsonl"
        )));
    }
}

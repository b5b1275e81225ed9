//! One call through the proxy.

use super::super::body::parts::{Turn, code, code_at};
use super::super::json::Value;
use super::super::record::{CallRow, PartType, Reject, Rows};
use super::super::residue::sieve;
use super::super::{address, guardrail, names, time, tokens};
use super::{content, guardrails};
use crate::schema::Call;

pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let mut row = CallRow::default();
    times(record, &mut row)?;
    let is_spend = record.get("response_cost").is_none() && record.get("spend").is_some();
    let call = &mut row.call;
    call.source_format = if is_spend {
        "litellm.spend"
    } else {
        "litellm.payload"
    };
    call.record_role = "primary";
    if is_spend {
        call.request_id = record.text("request_id", "request_id");
    } else {
        call.response_id = record.text("id", "response_id");
        call.request_id = record
            .text("litellm_call_id", "request_id")
            .or(call.response_id);
    }
    call.trace_id = record.text("trace_id", "trace_id");
    call.conversation_id = record.text("session_id", "conversation_id");
    call.operation_raw = code_at(record, "call_type", "operation_raw");
    call.operation = call.operation_raw.map(names::operation);
    call.request_stream = record.flag("stream", "request_stream");
    call.cache_hit = record.flag("cache_hit", "cache_hit");
    if record.get("cache_hit").and_then(Value::as_str) == Some("None") {
        record.drop_field("cache_hit");
    }
    let metadata = record.get("metadata").and_then(Value::object);
    cost(record, metadata, &mut row.call);
    model(record, &mut row);
    usage(record, metadata, &mut row);
    identity(record, metadata, &mut row);
    tags(record, metadata, &mut row);
    failure(record, metadata, &mut row);
    guardrails::read(record, metadata, &mut row);
    content::read(record, metadata, &mut row);
    guardrail::settle(&mut row.call);
    outcome(record, metadata, &mut row);
    for place in [Some(record), metadata].into_iter().flatten() {
        for key in ["hidden_params", "model_map_information"] {
            place.drop_field(key);
        }
    }
    // `Cache OFF` is no key.
    if record
        .get("cache_key")
        .and_then(Value::as_text)
        .is_some_and(|key| code(key).is_none())
    {
        record.drop_field("cache_key");
    }
    sieve(record, &mut row);
    row.complete();
    rows.calls.push(row);
    Ok(())
}

/// Why no price was found, where the proxy says so.
fn unpriced<'a>(record: Value<'a>, metadata: Option<Value<'a>>) -> impl Iterator<Item = Value<'a>> {
    let places = [Some(record), metadata].into_iter().flatten();
    places.filter_map(|place| place.get("response_cost_failure_debug_info")?.object())
}

/// What the proxy worked out. Nothing is also what it writes for a model that it has no price of.
fn cost<'a>(record: Value<'a>, metadata: Option<Value<'a>>, call: &mut Call<'a>) {
    let is_unpriced = unpriced(record, metadata).next().is_some();
    call.cost_usd = ["response_cost", "spend"].iter().find_map(|path| {
        let cost = record.positive(path, "cost_usd")?;
        (cost > 0.0 || !is_unpriced).then_some(cost)
    });
}

/// Seconds as a number, or a time without a zone, which is UTC.
fn times<'a>(record: Value<'a>, row: &mut CallRow<'a>) -> Result<(), Reject> {
    let call = &mut row.call;
    let read = |key| record.get(key).and_then(Value::as_time);
    let start = record.time("startTime", "event_time");
    call.event_time = start
        .or_else(|| record.time("endTime", "event_time"))
        .ok_or(Reject::Time)?;
    let Some(start) = start else {
        return Ok(());
    };
    let since = |read: time::Read| {
        let micros = read
            .micros
            .0
            .checked_sub(start.0)
            .filter(|micros| *micros >= 0)?;
        Some(micros as f64 / 1e3)
    };
    call.duration_ms = read("endTime").and_then(since);
    if call.duration_ms.is_some() {
        record.drop_field("endTime");
    }
    // Without a stream the first chunk is the whole answer.
    let first = read("completionStartTime").and_then(since);
    if first.is_some()
        && (first < call.duration_ms || record.get("stream").and_then(Value::as_bool) == Some(true))
    {
        call.time_to_first_chunk_ms = first;
    }
    if first.is_some() {
        record.drop_field("completionStartTime");
    }
    Ok(())
}

fn model<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    // A tool's call has `MCP: <tool>` for a model.
    if record
        .get("model")
        .and_then(Value::as_str)
        .is_some_and(|model| model.starts_with("MCP: "))
    {
        record.drop_field("model");
    }
    let call = &mut row.call;
    call.provider = code_at(record, "custom_llm_provider", "provider").map(names::provider);
    call.model_id_raw = code_at(record, "model", "model_id_raw")
        .or_else(|| code_at(record, "model_group", "model_id_raw"));
    if let Some(raw) = call.model_id_raw {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model).filter(|model| !model.is_empty());
        call.model_family = Some(family).filter(|family| !family.is_empty());
    }
    call.model_deployment = code_at(record, "model_id", "model_deployment");
    // The address of some providers carries a key in its query, so all but the host goes.
    if let Some(base) = record.text("api_base", "server_address") {
        let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
        let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let host = host.rsplit('@').next().unwrap_or(host);
        call.server_address = code(host);
    }
}

/// LiteLLM counts as OpenAI does: the input includes what caches served.
fn usage<'a>(record: Value<'a>, metadata: Option<Value<'a>>, row: &mut CallRow<'a>) {
    let details = [
        Some(record),
        metadata.and_then(|metadata| metadata.get("usage_object")),
        metadata.and_then(|metadata| metadata.get("additional_usage_values")),
        record
            .get("response")
            .and_then(|response| response.get("usage")),
    ];
    for usage in details.into_iter().flatten() {
        let call = &mut row.call;
        tokens::fill_totals(call, usage);
        tokens::fill(
            &mut call.cache_read_input_tokens,
            usage,
            &[
                "cache_read_input_tokens",
                "prompt_tokens_details/cached_tokens",
            ],
            "cache_read_input_tokens",
        );
        tokens::fill(
            &mut call.cache_write_input_tokens,
            usage,
            &[
                "cache_creation_input_tokens",
                "prompt_tokens_details/cache_creation_tokens",
            ],
            "cache_write_input_tokens",
        );
        tokens::fill(
            &mut call.reasoning_output_tokens,
            usage,
            &["completion_tokens_details/reasoning_tokens"],
            "reasoning_output_tokens",
        );
    }
}

/// The virtual key, its user and team; the address and client of the request.
fn identity<'a>(record: Value<'a>, metadata: Option<Value<'a>>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    let both = |outer: &[&str], inner: &[&str], column| {
        let found = record.text_of(outer, column);
        let same = metadata.and_then(|metadata| metadata.text_of(inner, column));
        found.or(same)
    };
    call.credential_id = both(
        &["api_key"],
        &["user_api_key_hash", "user_api_key"],
        "credential_id",
    );
    call.caller = both(&["user"], &["user_api_key_user_id"], "caller");
    call.user_email = both(&[], &["user_api_key_user_email"], "user_email");
    call.user_type = call.caller.map(|_| "user");
    if call.caller.is_none() {
        // A key of a service has no user.
        call.caller = both(&[], &["user_api_key_alias"], "caller").or(call.credential_id);
        call.user_type = call.caller.map(|_| "api_key");
    }
    call.team = both(&[], &["user_api_key_team_alias"], "team")
        .or_else(|| both(&["team_id"], &["user_api_key_team_id"], "team"));
    call.end_user_id = both(&["end_user"], &["user_api_key_end_user_id"], "end_user_id");
    call.user_agent = both(&["user_agent"], &["user_agent"], "user_agent");
    let address = address::read(record, &["requester_ip_address"]);
    let inner = metadata.and_then(|metadata| address::read(metadata, &["requester_ip_address"]));
    if let Some(address) = address.or(inner) {
        call.source_ip = Some(address.text);
        call.source_ip_valid = Some(address.valid);
        call.source_ip_prefix = address.prefix;
    }
}

/// What the caller attached: tags as `key:value` or bare, and metadata of three kinds.
fn tags<'a>(record: Value<'a>, metadata: Option<Value<'a>>, row: &mut CallRow<'a>) {
    if let Some(list) = record.get("request_tags") {
        list.mark("tags");
        for tag in list.structure().items_or_self().filter_map(Value::as_text) {
            let (key, value) = tag.split_once(':').unwrap_or((tag, ""));
            row.call.tags.push((key.trim(), value.trim()));
        }
    }
    for key in [
        "requester_metadata",
        "spend_logs_metadata",
        "requester_custom_headers",
    ] {
        if let Some(found) = metadata.and_then(|metadata| metadata.get(key)) {
            row.tag(found);
        }
    }
}

/// The error of a call that failed. On success the fields are there and empty.
fn failure<'a>(record: Value<'a>, metadata: Option<Value<'a>>, row: &mut CallRow<'a>) {
    let mut messages: Vec<&str> = Vec::new();
    let errors = [
        record.get("error_information"),
        metadata.and_then(|metadata| metadata.get("error_information")),
    ];
    for error in errors.into_iter().flatten() {
        let call = &mut row.call;
        call.error_type = call
            .error_type
            .or_else(|| code_at(error, "error_class", "error_type"));
        let status = error
            .get("error_code")
            .filter(|code| matches!(code.as_int(), Some(100..600)));
        if let Some(status) = status {
            status.mark("http_status_code");
            call.http_status_code = status
                .as_int()
                .and_then(|status| i32::try_from(status).ok());
        } else {
            call.error_type = call
                .error_type
                .or_else(|| code_at(error, "error_code", "error_type"));
        }
        for key in ["error_message", "traceback"] {
            messages.extend(error.take(key, "content").and_then(Value::as_str));
        }
    }
    messages.extend(record.take("error_str", "content").and_then(Value::as_str));
    // An exception of the proxy's own, not the request's; it may quote the answer all the same.
    for info in unpriced(record, metadata) {
        for key in ["error_str", "traceback_str"] {
            messages.extend(info.take(key, "content").and_then(Value::as_str));
        }
    }
    let mut said: Vec<&str> = Vec::new();
    for message in messages {
        if !said.contains(&message) {
            said.push(message);
            Turn::ERROR.text(row, PartType::Text, message);
        }
    }
}

fn outcome<'a>(record: Value<'a>, metadata: Option<Value<'a>>, row: &mut CallRow<'a>) {
    let status = record
        .text("status", "outcome")
        .or_else(|| metadata?.text("status", "outcome"))
        .or_else(|| record.find("status_fields/llm_api_status")?.as_text());
    record.drop_field("status_fields");
    let call = &mut row.call;
    let failed = match status {
        Some(word) => word.eq_ignore_ascii_case("failure"),
        None => call.error_type.is_some(),
    };
    // The proxy reports a block by a guardrail as a failure.
    call.outcome = match (failed, call.guardrail_action, call.outcome) {
        (_, _, "blocked") | (true, Some("blocked"), _) => "blocked",
        (true, _, _) => "failure",
        (false, _, _) if status.is_some() || call.total_tokens.is_some_and(|total| total > 0) => {
            "success"
        }
        _ => "unknown",
    };
}

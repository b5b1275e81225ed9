//! Helicone's export of requests.

use super::body::parts::{code, code_at};
use super::conversation;
use super::json::Value;
use super::record::{CallRow, Direction, Reject, Rows};
use super::residue::sieve;
use super::{names, tokens};

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    let has = |name: &str| record.entries().any(|(key, _)| key == name);
    has("request_id")
        && has("request_created_at")
        && [
            "request_model",
            "response_model",
            "response_status",
            "request_body",
            "prompt_tokens",
        ]
        .into_iter()
        .any(has)
}

/// Decodes one record.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let mut row = CallRow::default();
    let call = &mut row.call;
    call.event_time = record
        .time("request_created_at", "event_time")
        .ok_or(Reject::Time)?;
    call.log_time = record.time("response_created_at", "log_time");
    call.source_format = "helicone";
    call.record_role = "primary";
    call.request_id = record.text("request_id", "request_id");
    call.response_id = record.text("response_id", "response_id");
    call.provider = code_at(record, "provider", "provider").map(names::provider);
    call.response_model = code_at(record, "response_model", "response_model");
    call.model_id_raw = ["request_model", "model", "model_override"]
        .iter()
        .find_map(|path| code_at(record, path, "model_id_raw"))
        .or(call.response_model);
    if let Some(raw) = call.model_id_raw {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model).filter(|model| !model.is_empty());
        call.model_family = Some(family).filter(|family| !family.is_empty());
    }
    // An address: what follows the host is the operation.
    let path = record.text("request_path", "operation_raw").map(|path| {
        let rest = path.split_once("://").map_or(path, |(_, rest)| rest);
        let path = rest.find('/').map_or(rest, |at| &rest[at..]);
        path.split('?').next().unwrap_or(path)
    });
    call.operation_raw = path.and_then(code);
    call.operation = call.operation_raw.map(names::operation);
    call.caller = record.text_of(&["request_user_id", "user_id"], "caller");
    call.user_type = call.caller.map(|_| "user");
    call.http_status_code = record.int32("response_status", "http_status_code");
    call.duration_ms = ["delay_ms", "latency"]
        .iter()
        .find_map(|path| record.positive(path, "duration_ms"));
    call.time_to_first_chunk_ms = record.positive("time_to_first_token", "time_to_first_chunk_ms");
    call.cost_usd = ["cost", "cost_usd", "costUSD"]
        .iter()
        .find_map(|path| record.positive(path, "cost_usd"));
    tokens::fill(
        &mut call.input_tokens,
        record,
        &["prompt_tokens"],
        "input_tokens",
    );
    tokens::fill(
        &mut call.output_tokens,
        record,
        &["completion_tokens"],
        "output_tokens",
    );
    tokens::fill(
        &mut call.total_tokens,
        record,
        &["total_tokens"],
        "total_tokens",
    );
    let reads = ["prompt_cache_read_tokens", "cache_read_tokens"];
    let writes = ["prompt_cache_write_tokens", "cache_write_tokens"];
    tokens::fill(
        &mut call.cache_read_input_tokens,
        record,
        &reads,
        "cache_read_input_tokens",
    );
    tokens::fill(
        &mut call.cache_write_input_tokens,
        record,
        &writes,
        "cache_write_input_tokens",
    );
    if let Some(properties) = record.get("request_properties").and_then(Value::object) {
        row.tag(properties);
    }
    for (key, direction) in [
        ("request_body", Direction::Input),
        ("response_body", Direction::Output),
    ] {
        if let Some(body) = record.get(key) {
            conversation::read(body, direction, &mut row);
        }
    }
    let call = &mut row.call;
    if call.outcome.is_empty() {
        call.outcome = match call.http_status_code {
            Some(200..400) => "success",
            Some(_) => "failure",
            None => "unknown",
        };
    }
    sieve(record, &mut row);
    row.complete();
    rows.calls.push(row);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::decode_lines;

    #[test]
    fn requests() {
        insta::assert_snapshot!(decode_lines(include_str!(
            "../../testdata/formats/helicone/requests.jsonl"
        )));
    }
}

//! Requests that went through Cloudflare's AI Gateway, as its API lists them and Logpush writes them.
//!
//! Bodies come encrypted or not at all; where one is there in clear it is read.

use super::body::parts::{code, code_at};
use super::json::Value;
use super::record::{CallRow, Direction, Reject, Rows};
use super::residue::sieve;
use super::{conversation, names, tokens};
use crate::schema::Call;

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    let has = |name: &str| record.get(name).is_some();
    let listed = has("created_at")
        && (has("tokens_in") || has("tokens_out"))
        && (has("cached") || has("success") || has("status_code"));
    // Logpush names its fields in its own style.
    listed || (has("Gateway") && has("Provider") && has("Model") && has("StatusCode"))
}

/// Decodes one record.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let time = ["created_at", "CreatedAt", "Timestamp", "Datetime"];
    let event_time = time
        .iter()
        .find_map(|key| record.time(key, "event_time"))
        .ok_or(Reject::Time)?;
    let id = record.text_of(&["id", "Id", "LogId"], "request_id");
    let mut row = CallRow {
        call: Call {
            event_time,
            event_id: id.unwrap_or_default(),
            source_format: "cloudflare",
            record_role: "primary",
            request_id: id,
            provider: code_at(record, "provider", "provider").map(names::provider),
            server_address: code_at(record, "gateway", "server_address"),
            http_status_code: ["status_code", "StatusCode"]
                .iter()
                .find_map(|key| record.int32(key, "http_status_code")),
            cache_hit: record.flag("cached", "cache_hit"),
            duration_ms: record.positive("duration", "duration_ms"),
            cost_usd: record.positive("cost", "cost_usd"),
            ..Call::default()
        },
        ..CallRow::default()
    };
    model(record, &mut row.call);
    counts(record, &mut row.call);
    tags(record, &mut row);
    for (keys, direction) in [
        (["request_body", "RequestBody", "request"], Direction::Input),
        (
            ["response_body", "ResponseBody", "response"],
            Direction::Output,
        ),
    ] {
        // What Logpush encrypts is an object of a key, an initial value and data.
        for body in keys.iter().filter_map(|key| record.get(key)) {
            if body.find("data").is_some() && body.find("iv").is_some() {
                body.mark("-");
                row.call.content_state = Some("external");
            } else {
                conversation::read(body, direction, &mut row);
            }
        }
    }
    outcome(record, &mut row.call);
    sieve(record, &mut row);
    row.complete();
    rows.calls.push(row);
    Ok(())
}

fn model<'a>(record: Value<'a>, call: &mut Call<'a>) {
    call.model_id_raw = code_at(record, "model", "model_id_raw");
    if let Some(raw) = call.model_id_raw {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model).filter(|model| !model.is_empty());
        call.model_family = Some(family).filter(|family| !family.is_empty());
    }
    let path = ["path", "endpoint"].iter().find_map(|key| {
        let value = record.get(key)?;
        let path = value.as_str()?.split('?').next().and_then(code);
        value.mark("operation_raw");
        path
    });
    call.operation_raw = path;
    call.operation = Some(path.map_or("other", names::operation));
}

fn counts<'a>(record: Value<'a>, call: &mut Call<'a>) {
    let pairs: [(&mut Option<i64>, &[&str], &'static str); 3] = [
        (
            &mut call.input_tokens,
            &["tokens_in", "TokensIn"],
            "input_tokens",
        ),
        (
            &mut call.output_tokens,
            &["tokens_out", "TokensOut"],
            "output_tokens",
        ),
        (&mut call.request_bytes, &["request_size"], "request_bytes"),
    ];
    for (slot, keys, column) in pairs {
        tokens::fill(slot, record, keys, column);
    }
    tokens::fill(
        &mut call.response_bytes,
        record,
        &["response_size"],
        "response_bytes",
    );
}

/// Metadata that the caller gave with the request: an object, mostly in a string.
fn tags<'a>(record: Value<'a>, row: &mut CallRow<'a>) {
    if let Some(metadata) = record.get("metadata").and_then(Value::object) {
        row.tag(metadata);
    }
}

fn outcome<'a>(record: Value<'a>, call: &mut Call<'a>) {
    let succeeded = record.flag("success", "outcome");
    let limited = record.flag("RateLimited", "error_type") == Some(true);
    if limited {
        call.error_type = Some("rate_limited");
    }
    if call.outcome.is_empty() {
        call.outcome = match (succeeded, call.http_status_code) {
            _ if limited => "failure",
            (Some(true), _) => "success",
            (Some(false), _) => "failure",
            (None, Some(100..400)) => "success",
            (None, Some(_)) => "failure",
            (None, None) => "unknown",
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::decode_lines;

    #[test]
    fn requests() {
        insta::assert_snapshot!(decode_lines(include_str!(
            "../../testdata/formats/cloudflare/requests.jsonl"
        )));
    }
}

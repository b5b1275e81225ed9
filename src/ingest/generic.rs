//! Any record with a time and something about a model: classifiers, home-made gateways, application logs.
//!
//! Keys are compared without case and separators and along nested objects, so that `input_stats.text_length`,
//! `{"inputStats": {"textLength": …}}` and `input-stats-text-length` are one path. For each column the first path that
//! can be read wins. Texts are parts; what is left is sieved like every other log's.
//!
//! Left out: guessing. A duration without a unit in its name or value is no duration.

mod fields;

use super::body::parts::{Turn, code, warn};
use super::json::Value;
use super::record::{CallRow, Direction, PartType, Reject, Rows};
use super::residue::sieve;
use super::{address, conversation, names, tokens};
use fields::{Fields, Unit};

const TIMES: [&str; 11] = [
    "timestamp",
    "@timestamp",
    "time",
    "ts",
    "event_time",
    "created_at",
    "datetime",
    "date",
    "start_time",
    "startTime",
    "logged_at",
];
const REQUEST_IDS: [&str; 3] = ["request_id", "req_id", "x_request_id"];
const OTHER_IDS: [&str; 5] = ["id", "inference_id", "trace_id", "correlation_id", "uuid"];
const MODELS: [&str; 7] = [
    "model_name",
    "model",
    "model_id",
    "model.name",
    "model.id",
    "deployment",
    "endpoint",
];
const CLASSES: [&str; 10] = [
    "prediction.class",
    "prediction.label",
    "predictions.class",
    "predictions.label",
    "predicted_class",
    "predicted_label",
    "prediction_class",
    "prediction",
    "predictions",
    "label",
];
const INPUT_TOKENS: [&str; 5] = [
    "prompt_tokens",
    "input_tokens",
    "usage.prompt_tokens",
    "usage.input_tokens",
    "tokens_in",
];
const OUTPUT_TOKENS: [&str; 5] = [
    "completion_tokens",
    "output_tokens",
    "usage.completion_tokens",
    "usage.output_tokens",
    "tokens_out",
];

/// Texts by the names that say which way they went.
const TEXTS: [(&str, Direction); 18] = [
    ("system_prompt", Direction::Input),
    ("messages", Direction::Input),
    ("prompt", Direction::Input),
    ("input_text", Direction::Input),
    ("input", Direction::Input),
    ("inputs", Direction::Input),
    ("query", Direction::Input),
    ("question", Direction::Input),
    ("text", Direction::Input),
    ("request_body", Direction::Input),
    ("message", Direction::Input),
    ("completion", Direction::Output),
    ("output_text", Direction::Output),
    ("output", Direction::Output),
    ("answer", Direction::Output),
    ("generated_text", Direction::Output),
    ("response_body", Direction::Output),
    ("response", Direction::Output),
];

/// Whether a record is of this format: it has a time, and a model, a request's id, a prediction or token counts.
pub(super) fn recognises(record: Value<'_>) -> bool {
    if !record.is_object() {
        return false;
    }
    let fields = Fields::of(record);
    let has = |paths: &[&str]| {
        fields
            .find(paths, |value| value.as_text().map(drop))
            .is_some()
    };
    let has_time = fields.find(&TIMES, Value::as_time).is_some();
    // Any log has an id; only one that is named a request's says what the record is.
    has_time
        && [
            &MODELS[..],
            &REQUEST_IDS,
            &CLASSES,
            &INPUT_TOKENS,
            &OUTPUT_TOKENS,
        ]
        .into_iter()
        .any(has)
}

/// Decodes one record.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    if !record.is_object() {
        return Err(Reject::Shape);
    }
    let fields = Fields::of(record);
    let mut row = CallRow::default();
    let (at, time) = fields.find(&TIMES, Value::as_time).ok_or(Reject::Time)?;
    if time.exact {
        at.mark("event_time");
    }
    let call = &mut row.call;
    call.event_time = time.micros;
    call.source_format = "generic";
    call.record_role = "primary";
    let text = |paths: &[&str], column| fields.take(paths, column, Value::as_text);
    let name =
        |paths: &[&str], column| fields.take(paths, column, |value| value.as_text().and_then(code));
    call.request_id = text(&REQUEST_IDS, "request_id").or_else(|| text(&OTHER_IDS, "request_id"));
    call.trace_id = text(&["trace_id"], "trace_id");
    call.correlation_id = text(&["correlation_id"], "correlation_id");
    call.conversation_id = text(
        &["conversation_id", "session_id", "thread_id"],
        "conversation_id",
    );
    call.caller = text(
        &[
            "user_id",
            "user",
            "username",
            "principal",
            "account",
            "api_key_id",
            "client_id",
        ],
        "caller",
    );
    call.team = text(&["team", "team_id"], "team");
    call.service_name = text(&["service", "service_name", "application"], "service_name");
    call.user_agent = text(&["user_agent"], "user_agent");
    call.provider = name(&["provider", "vendor"], "provider").map(names::provider);
    call.model_id_raw = name(&MODELS, "model_id_raw");
    if let Some(raw) = call.model_id_raw {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model).filter(|model| !model.is_empty());
        call.model_family = Some(family).filter(|family| !family.is_empty());
    }
    // Where another key names the model, these name what served it: a canary beside the stable release.
    call.model_deployment = name(
        &["model_deployment", "deployment", "endpoint"],
        "model_deployment",
    );
    call.operation_raw = name(&["operation", "method", "path"], "operation_raw");
    call.operation = call.operation_raw.map(names::operation);
    source(&fields, record, &mut row);
    numbers(&fields, &mut row);
    prediction(&fields, &mut row);
    texts(&fields, &mut row);
    outcome(&fields, &mut row);
    sieve(record, &mut row);
    tokens::complete(&mut row.call);
    if row.parts.is_empty() {
        row.call.content_state = Some("absent");
    }
    rows.calls.push(row);
    Ok(())
}

fn source<'a>(fields: &Fields<'a>, record: Value<'a>, row: &mut CallRow<'a>) {
    let paths = [
        "source_ip",
        "src_ip",
        "client_ip",
        "remote_addr",
        "ip",
        "ip_address",
        "x_forwarded_for",
    ];
    let first = |value: Value<'a>| {
        value
            .as_text()?
            .split(',')
            .next()
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    if let Some(text) = fields.take(&paths, "source_ip", first) {
        let address = address::judge(record, text);
        row.call.source_ip = Some(address.text);
        row.call.source_ip_valid = Some(address.valid);
        row.call.source_ip_prefix = address.prefix;
    }
}

fn numbers<'a>(fields: &Fields<'a>, row: &mut CallRow<'a>) {
    let count = |paths: &[&str], column| {
        fields.take(paths, column, |value| {
            value.as_int().filter(|count| *count >= 0)
        })
    };
    let call = &mut row.call;
    call.input_tokens = count(&INPUT_TOKENS, "input_tokens");
    call.output_tokens = count(&OUTPUT_TOKENS, "output_tokens");
    call.total_tokens = count(&["total_tokens", "usage.total_tokens"], "total_tokens");
    call.input_text_length = count(
        &[
            "input_stats.text_length",
            "input_length",
            "prompt_length",
            "text_length",
            "n_chars",
        ],
        "input_text_length",
    );
    call.request_bytes = count(&["request_bytes", "request_size"], "request_bytes");
    call.response_bytes = count(&["response_bytes", "response_size"], "response_bytes");
    call.input_oov_rate = fields.take(
        &["input_stats.oov_rate", "oov_rate"],
        "input_oov_rate",
        Value::as_float,
    );
    call.temperature = fields.take(&["temperature"], "temperature", Value::as_float);
    call.top_p = fields.take(&["top_p"], "top_p", Value::as_float);
    call.max_tokens = count(&["max_tokens"], "max_tokens");
    call.request_stream = fields.take(&["stream", "streaming"], "request_stream", Value::as_bool);
    call.cache_hit = fields.take(&["cache_hit", "cached"], "cache_hit", Value::as_bool);
    let not_negative = |value: Value<'a>| value.as_float().filter(|number| *number >= 0.0);
    call.cost_usd = fields.take(&["cost_usd", "cost"], "cost_usd", not_negative);
    // A name ends in its unit, or the value does.
    call.duration_ms = [
        (
            &[
                "latency_ms",
                "duration_ms",
                "elapsed_ms",
                "response_time_ms",
                "inference_time_ms",
            ][..],
            Some(Unit::Milliseconds),
        ),
        (
            &[
                "latency_seconds",
                "latency_s",
                "duration_seconds",
                "duration_s",
                "elapsed_seconds",
            ],
            Some(Unit::Seconds),
        ),
        (
            &["latency_us", "duration_us", "elapsed_us"],
            Some(Unit::Microseconds),
        ),
        (
            &["latency_ns", "duration_ns", "elapsed_ns"],
            Some(Unit::Nanoseconds),
        ),
        (&["latency", "duration", "elapsed", "response_time"], None),
    ]
    .into_iter()
    .find_map(|(paths, unit)| {
        fields.take(paths, "duration_ms", |value| {
            fields::milliseconds(value, unit)
        })
    });
}

fn prediction<'a>(fields: &Fields<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    call.prediction_class = fields.take(&CLASSES, "prediction_class", |value| {
        value.as_text().and_then(code)
    });
    let confidence = [
        "prediction.confidence",
        "prediction.score",
        "prediction.probability",
        "predictions.confidence",
        "predictions.score",
        "predictions.probability",
        "prediction_confidence",
        "confidence",
        "probability",
    ];
    let scale = |value: Value<'a>| {
        value
            .as_float()
            .filter(|number| (0.0..=100.0).contains(number))
    };
    call.prediction_confidence = fields.take(&confidence, "prediction_confidence", scale);
    if let Some(percent) = call.prediction_confidence.filter(|number| *number > 1.0) {
        call.prediction_confidence = Some(percent / 100.0);
        warn(call, "confidence_in_percent");
    }
    let entropy = [
        "prediction.entropy",
        "predictions.entropy",
        "prediction_entropy",
    ];
    call.prediction_entropy = fields.take(&entropy, "prediction_entropy", Value::as_float);
}

fn texts<'a>(fields: &Fields<'a>, row: &mut CallRow<'a>) {
    for (path, direction) in TEXTS {
        let Some((value, ())) = fields.find(&[path], |value| {
            value.structure().as_text().map(drop).or(Some(()))
        }) else {
            continue;
        };
        // Numbers are features, not text.
        let inner = value.structure();
        let is_text = inner.as_str().is_some()
            || inner.is_object()
            || inner.items().any(|item| item.as_float().is_none());
        if value.is_taken() || !is_text {
            continue;
        }
        conversation::read(value, direction, row);
    }
}

fn outcome<'a>(fields: &Fields<'a>, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    let is_status = |value: Value<'a>| value.as_int().filter(|status| (100..600).contains(status));
    call.http_status_code = fields
        .take(
            &["status_code", "http_status", "response_code", "status"],
            "http_status_code",
            is_status,
        )
        .and_then(|status| i32::try_from(status).ok());
    let word = fields.take(&["status", "outcome", "result"], "outcome", |value| {
        value.as_str().and_then(code)
    });
    call.error_type = fields.take(
        &[
            "error_code",
            "error_type",
            "error.type",
            "error.code",
            "error",
        ],
        "error_type",
        |value| {
            value
                .as_str()
                .and_then(code)
                .filter(|word| !matches!(*word, "null" | "none" | "None" | "false"))
        },
    );
    let has_error = fields
        .find(&["error", "error_message"], |value| {
            value.as_text().map(drop)
        })
        .is_some_and(|(value, ())| value.as_bool() != Some(false));
    for path in [
        "error",
        "error_message",
        "error.message",
        "exception",
        "traceback",
    ] {
        let prose = fields.take(&[path], "content", |value| {
            value.as_str().filter(|text| code(text).is_none())
        });
        if let Some(text) = prose {
            Turn::ERROR.text(row, PartType::Text, text);
        }
    }
    let call = &mut row.call;
    let word = word.unwrap_or_default().to_ascii_lowercase();
    let said = match word.as_str() {
        "ok" | "success" | "succeeded" | "completed" | "complete" => Some("success"),
        "blocked" | "filtered" | "denied" | "rejected" => Some("blocked"),
        "error" | "failed" | "failure" | "timeout" => Some("failure"),
        _ => None,
    };
    if call.outcome.is_empty() || said.is_some() {
        call.outcome = match (said, call.http_status_code) {
            (Some(said), _) => said,
            (None, Some(400..)) => "failure",
            _ if call.error_type.is_some() || has_error => "failure",
            (None, Some(_)) => "success",
            // A prediction that was made is an answer.
            _ if call.prediction_class.is_some() || call.output_tokens.is_some() => "success",
            _ => "unknown",
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::Arena;
    use super::super::testing::decode_lines;
    use super::*;

    #[test]
    fn records_of_every_style() {
        insta::assert_snapshot!(decode_lines(include_str!(
            "../../testdata/formats/generic/records.jsonl"
        )));
    }

    #[test]
    fn a_time_and_an_id_alone_are_any_log() {
        let arena = Arena::new();
        for (text, expected) in [
            (r#"{"time":"2026-03-02T10:00:00Z","id":"1"}"#, false),
            (
                r#"{"time":"2026-03-02T10:00:00Z","level":"info","msg":"started"}"#,
                false,
            ),
            (r#"{"model":"m","prediction":"x"}"#, false),
            (r#"{"ts":1772445600,"request-ID":"1"}"#, true),
            (r#"{"ts":1772445600,"model":"m"}"#, true),
            (r#"{"ts":1772445600,"Prediction":{"Label":"spam"}}"#, true),
            (r#"[1]"#, false),
        ] {
            assert_eq!(
                recognises(arena.parse(text.as_bytes()).unwrap()),
                expected,
                "{text}"
            );
        }
    }
}

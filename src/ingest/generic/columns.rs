//! The columns that a record of no known format can fill, what each takes, and where it is looked for by default.

use crate::schema::Call;

type TextSlot = for<'c, 'a> fn(&'c mut Call<'a>) -> &'c mut Option<&'a str>;
type CountSlot = for<'c, 'a> fn(&'c mut Call<'a>) -> &'c mut Option<i64>;
type FloatSlot = for<'c, 'a> fn(&'c mut Call<'a>) -> &'c mut Option<f64>;
type FlagSlot = for<'c, 'a> fn(&'c mut Call<'a>) -> &'c mut Option<bool>;

/// What a column takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Any text: ids and people.
    Text(TextSlot),
    /// A text without spaces: names that a program gave.
    Name(TextSlot),
    /// A whole number that is not negative.
    Count(CountSlot),
    /// A number.
    Float(FloatSlot),
    /// A number that is not negative.
    Amount(FloatSlot),
    /// A duration, in the unit that its name or its value says.
    Duration(FloatSlot),
    /// True or false.
    Flag(FlagSlot),
    /// Read by code of its own.
    Own,
}

/// A column and its default paths; its own name is one more, the last. Keys are compared without case and separators.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) paths: &'static [&'static str],
}

macro_rules! columns {
    ($( $name:ident: $kind:ident $paths:expr; )+) => {
        &[$( Column {
            name: stringify!($name),
            kind: columns!(@kind $name $kind),
            paths: &$paths,
        }, )+]
    };
    (@kind $name:ident Own) => { Kind::Own };
    (@kind $name:ident Text) => { Kind::Text(columns!(@slot $name Option<&'a str>)) };
    (@kind $name:ident Name) => { Kind::Name(columns!(@slot $name Option<&'a str>)) };
    (@kind $name:ident Count) => { Kind::Count(columns!(@slot $name Option<i64>)) };
    (@kind $name:ident Flag) => { Kind::Flag(columns!(@slot $name Option<bool>)) };
    (@kind $name:ident $kind:ident) => { Kind::$kind(columns!(@slot $name Option<f64>)) };
    (@slot $name:ident Option<&'a str>) => {{
        fn slot<'c, 'a>(call: &'c mut Call<'a>) -> &'c mut Option<&'a str> {
            &mut call.$name
        }
        slot
    }};
    (@slot $name:ident $cell:ty) => {{
        fn slot<'c>(call: &'c mut Call<'_>) -> &'c mut $cell {
            &mut call.$name
        }
        slot
    }};
}

/// So many of the paths of `request_id` are names of a request's id.
pub(super) const NAMED_REQUEST_IDS: usize = 3;

/// Every column that can be mapped, in the order in which they are read.
pub(super) const COLUMNS: &[Column] = columns! {
    event_time: Own ["timestamp", "@timestamp", "time", "ts", "event_time", "created_at", "datetime", "date",
        "start_time", "startTime", "logged_at", "start_time_unix_nano", "time_unix_nano"];
    log_time: Own [];
    event_id: Own [];
    // Ids that are named a request's; any record may have one of the others.
    request_id: Text ["request_id", "req_id", "x_request_id", "id", "inference_id", "trace_id", "correlation_id", "uuid"];
    trace_id: Text ["trace_id"];
    span_id: Text [];
    correlation_id: Text ["correlation_id"];
    response_id: Text [];
    conversation_id: Text ["conversation_id", "session_id", "thread_id"];
    // `username` is also what `user_name`, a column of its own, reads like.
    caller: Text ["user_id", "user", "caller", "username", "principal", "account", "api_key_id", "client_id"];
    user_type: Name [];
    user_name: Text [];
    user_email: Text [];
    user_session: Text [];
    credential_id: Text [];
    end_user_id: Text [];
    team: Text ["team", "team_id"];
    service_name: Text ["service", "service_name", "application"];
    user_agent: Text ["user_agent"];
    server_address: Name [];
    cloud_provider: Name [];
    cloud_account_id: Text [];
    cloud_region: Name [];
    inference_region: Name [];
    cloud_resource_id: Text [];
    provider: Own ["provider", "vendor"];
    model: Own ["model_name", "model", "model_id", "model.name", "model.id", "deployment", "endpoint"];
    response_model: Name [];
    // Where another key names the model, these name what served it: a canary beside the stable release.
    model_deployment: Name ["model_deployment", "deployment", "endpoint"];
    operation_raw: Own ["operation", "method", "path"];
    source_ip: Own ["source_ip", "src_ip", "client_ip", "remote_addr", "ip", "ip_address", "x_forwarded_for"];
    input_tokens: Count ["prompt_tokens", "input_tokens", "usage.prompt_tokens", "usage.input_tokens", "tokens_in"];
    input_tokens_uncached: Count [];
    cache_read_input_tokens: Count [];
    cache_write_input_tokens: Count [];
    output_tokens: Count ["completion_tokens", "output_tokens", "usage.completion_tokens", "usage.output_tokens",
        "tokens_out"];
    reasoning_output_tokens: Count [];
    total_tokens: Count ["total_tokens", "usage.total_tokens"];
    input_text_length: Count ["input_stats.text_length", "input_length", "prompt_length", "text_length", "n_chars"];
    output_text_length: Count ["output_length", "completion_length"];
    request_bytes: Count ["request_bytes", "request_size"];
    response_bytes: Count ["response_bytes", "response_size"];
    input_oov_rate: Float ["input_stats.oov_rate", "oov_rate"];
    temperature: Float ["temperature"];
    top_p: Float ["top_p"];
    max_tokens: Count ["max_tokens"];
    request_stream: Flag ["stream", "streaming"];
    cache_hit: Flag ["cache_hit", "cached"];
    cost_usd: Amount ["cost_usd", "cost"];
    duration_ms: Duration ["latency_ms", "duration_ms", "elapsed_ms", "response_time_ms", "inference_time_ms",
        "latency_seconds", "latency_s", "duration_seconds", "duration_s", "elapsed_seconds",
        "latency_us", "duration_us", "elapsed_us", "latency_ns", "duration_ns", "elapsed_ns",
        "latency", "duration", "elapsed", "response_time"];
    time_to_first_chunk_ms: Duration [];
    finish_reasons: Own [];
    tool_names: Own [];
    prediction_class: Own ["prediction.class", "prediction.label", "predictions.class", "predictions.label",
        "predicted_class", "predicted_label", "prediction_class", "prediction", "predictions", "label"];
    prediction_confidence: Own ["prediction.confidence", "prediction.score", "prediction.probability",
        "predictions.confidence", "predictions.score", "predictions.probability", "prediction_confidence",
        "confidence", "probability"];
    prediction_entropy: Float ["prediction.entropy", "predictions.entropy", "prediction_entropy"];
    http_status_code: Own ["status_code", "http_status", "response_code", "status"];
    outcome: Own ["status", "outcome", "result"];
    error_type: Own ["error_code", "error_type", "error.type", "error.code", "error"];
};

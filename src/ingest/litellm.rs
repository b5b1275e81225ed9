//! LiteLLM: the standard logging payload, as callbacks write it to S3, GCS, queues and files; rows of the spend log
//! table; and audit records of the proxy's administration.
//!
//! The payload and the spend log are the same call under mostly the same names (`call`). The identity is the virtual key
//! and its user. What guardrails did stands in lists of their own (`guardrails`).
//!
//! Left out: `hidden_params` and `model_map_information`, which repeat headers and the price list on every call, and the
//! application's own log lines.

mod audit;
mod call;
mod content;
mod guardrails;
#[cfg(test)]
mod tests;

use super::json::Value;
use super::record::{Reject, Rows};

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    let has = |key| record.entries().any(|(name, _)| name == key);
    let is_call = has("call_type")
        && [
            "response_cost",
            "spend",
            "litellm_call_id",
            "custom_llm_provider",
        ]
        .into_iter()
        .any(has);
    is_call || is_audit(record)
}

fn is_audit(record: Value<'_>) -> bool {
    let has = |key| record.entries().any(|(name, _)| name == key);
    has("table_name") && (has("before_value") || has("updated_values"))
}

/// Decodes one record.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    if !record.is_object() {
        return Err(Reject::Shape);
    }
    if is_audit(record) {
        audit::decode(record, rows)
    } else {
        call::decode(record, rows)
    }
}

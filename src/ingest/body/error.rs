//! The error object of OpenAI, Azure and Google: a code, a message that may quote the prompt, and what filters found.

use super::filters;
use super::parts::{Turn, code};
use crate::ingest::json::Value;
use crate::ingest::record::CallRow;

/// Reads the error object of a response. Returns whether there is one.
pub(super) fn error<'a>(value: Value<'a>, row: &mut CallRow<'a>) -> bool {
    let Some(error) = value.get("error") else {
        return false;
    };
    let at = |path: &str| {
        let text = error.find(path)?.as_text()?;
        code(text).is_some().then_some(text)
    };
    let is_number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let kinds = ["code", "type", "status"].map(at);
    // Google's code is a number, which its status names.
    let mut named = kinds.iter().flatten().copied();
    let kind = named.find(|kind| !is_number(kind)).or(kinds[0]);
    if row.call.http_status_code.is_none() {
        let status = error.get("code").and_then(Value::as_int);
        let status = status.filter(|status| (400..600).contains(status));
        row.call.http_status_code = status.and_then(|status| i32::try_from(status).ok());
    }
    let mut filtered = at("code").is_some_and(|code| code.eq_ignore_ascii_case("content_filter"));
    for inner in ["innererror", "inner_error"]
        .iter()
        .filter_map(|key| error.get(key))
    {
        filtered |=
            inner.get("code").and_then(Value::as_str) == Some("ResponsibleAIPolicyViolation");
        for key in ["content_filter_result", "content_filter_results"] {
            if let Some(results) = inner.get(key) {
                filters::azure(results, "input", row);
            }
        }
    }
    if filtered {
        row.call.error_type = Some("content_filter");
        filters::blocked(row);
    } else {
        row.call.error_type = row.call.error_type.or(kind);
        if row.call.outcome.is_empty() {
            row.call.outcome = "failure";
        }
    }
    Turn::ERROR.text_or_leaves(row, error.get("message").unwrap_or(error));
    true
}

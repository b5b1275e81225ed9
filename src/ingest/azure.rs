//! Azure: resource logs of Azure OpenAI and API Management, the activity log, and all of them as Log Analytics exports
//! them.
//!
//! Resource logs share a frame (`common`) and differ in `category`: requests without their text (`openai`), what a
//! gateway in front of them saw, text included (`gateway`), tokens a gateway counted (`gateway_llm`), management
//! (`activity`). Records of other services are counted and skipped.
//!
//! Left out: metrics, sign-in logs, and the categories of API Management that are not about calls.

use super::json::Value;
use super::record::{Reject, Rows};

mod activity;
mod common;
mod gateway;
mod gateway_llm;
mod openai;
#[cfg(test)]
mod tests;

use common::Frame;

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    let has = |key: &str| record.get(key).is_some();
    (has("category") && has("resourceId") && has("time"))
        || (has("TimeGenerated")
            && [
                "Category",
                "OperationNameValue",
                "_ResourceId",
                "ResourceId",
                "Type",
            ]
            .iter()
            .any(|key| has(key)))
        || (has("eventTimestamp") && has("operationName") && has("resourceId"))
}

/// Decodes one record.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let frame = Frame::read(record)?;
    match frame.category.to_ascii_lowercase().as_str() {
        "requestresponse" => openai::request_response(&frame, rows),
        "azureopenairequestusage" => openai::request_usage(&frame, rows),
        "trace" => openai::trace(&frame, rows),
        "audit" | "managednetworkevent" => openai::audit(&frame, rows),
        "gatewaylogs" | "apimanagementgatewaylogs" => gateway::decode(&frame, rows),
        "gatewayllmlogs" | "apimanagementgatewayllmlog" => gateway_llm::decode(&frame, rows),
        _ if frame.is_activity() => activity::decode(&frame, rows),
        _ => rows.skipped.push("Azure log of another category"),
    }
    Ok(())
}

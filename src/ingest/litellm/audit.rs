//! Changes to keys, teams, users, models and guardrails of the proxy.

use super::super::json::Value;
use super::super::record::{Reject, Rows};
use crate::schema::Audit;

pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let action = record.text("action", "action");
    let table = record.text("table_name", "resource_type");
    let mut audit = Audit {
        event_time: record
            .time("updated_at", "event_time")
            .ok_or(Reject::Time)?,
        source_format: "litellm.audit",
        service: Some("litellm"),
        action,
        action_class: action_class(action.unwrap_or_default(), table.unwrap_or_default()),
        resource_type: table,
        resource_id: record.text("object_id", "resource_id"),
        outcome: "success",
        read_only: Some(false),
        caller: record.text("changed_by", "caller"),
        credential_id: record.text("changed_by_api_key", "credential_id"),
        request_params: record
            .take("updated_values", "request_params")
            .map(|value| value.as_str().unwrap_or_else(|| value.to_json())),
        ..Audit::default()
    };
    audit.event_id = record.text("id", "event_id").unwrap_or_default();
    audit.user_type = audit.caller.map(|_| "user");
    rows.audits.push(audit);
    Ok(())
}

/// The action and the table it was done to, together.
fn action_class(action: &str, table: &str) -> &'static str {
    let is = |word: &str| table.to_ascii_lowercase().contains(word);
    let by_action = |created, updated, deleted| match action {
        "created" => created,
        "deleted" => deleted,
        _ => updated,
    };
    if is("verificationtoken") || is("credential") {
        match action {
            "rotated" => "key.rotate",
            // Budgets, models and blocks of a key are what it may do.
            _ => by_action("key.create", "policy.change", "key.delete"),
        }
    } else if is("guardrail") {
        by_action("guardrail.create", "guardrail.update", "guardrail.delete")
    } else if is("model") {
        by_action("model.deploy", "endpoint.change", "model.delete")
    } else if is("mcp") || is("agent") {
        "agent.change"
    } else if is("user") || is("membership") {
        "role.change"
    } else if is("team") || is("organization") || is("config") || is("budget") {
        "org.setting_change"
    } else {
        "other"
    }
}

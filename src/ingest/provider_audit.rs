//! Audit records of a model provider's organisation: OpenAI's audit log and Anthropic's compliance activity.
//!
//! Both name an actor and a type; the details stand under a key that differs for each type, or are missing.

use super::address;
use super::json::Value;
use super::record::{Reject, Rows};
use crate::schema::Audit;

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    is_openai(record)
        || ["organization_id", "actor", "created_at", "type"]
            .iter()
            .all(|key| record.get(key).is_some())
}

fn is_openai(record: Value<'_>) -> bool {
    record.get("object").and_then(Value::as_str) == Some("organization.audit_log")
}

/// Decodes one record.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let openai = is_openai(record);
    let action = record
        .text("type", "action")
        .ok_or(Reject::Missing("type"))?;
    let mut audit = Audit {
        event_time: ["effective_at", "created_at"]
            .iter()
            .find_map(|path| record.time(path, "event_time"))
            .ok_or(Reject::Time)?,
        event_id: record.text("id", "event_id").unwrap_or_default(),
        source_format: if openai {
            "openai.audit"
        } else {
            "anthropic.activity"
        },
        provider: Some(if openai { "openai" } else { "anthropic" }),
        service: Some(if openai { "openai" } else { "anthropic" }),
        action: Some(action),
        action_class: action_class(action),
        resource_type: action.rsplit_once(['.', ':']).map(|(kind, _)| kind),
        outcome: if action.contains("fail") || action.contains("denied") {
            "failure"
        } else {
            "success"
        },
        cloud_account_id: record.text("organization_id", "cloud_account_id"),
        ..Audit::default()
    };
    record.drop_field("object");
    // `role.assignment.created` has its details under `role_assignment_created`; some write the dots.
    let key = action.replace('.', "_");
    let details = [action, key.as_str()].iter().find_map(|key| {
        record
            .entries()
            .find(|(name, _)| name == key)
            .map(|(_, details)| details)
    });
    if let Some(details) = details.filter(|details| details.is_object()) {
        audit.resource_id = details.text("id", "resource_id");
        audit.request_params = Some(details.mark("request_params").to_json());
    }
    audit.resource_id = audit
        .resource_id
        .or_else(|| record.text_of(&["resource_id", "target/id", "api_key_id"], "resource_id"));
    if let Some(actor) = record.get("actor") {
        self::actor(actor, &mut audit);
    }
    rows.audits.push(audit);
    Ok(())
}

fn actor<'a>(actor: Value<'a>, audit: &mut Audit<'a>) {
    let of = |paths: &[&str], column| actor.text_of(paths, column);
    let kind = of(&["type"], "user_type").unwrap_or_default();
    audit.user_email = of(
        &[
            "session/user/email",
            "api_key/user/email",
            "email_address",
            "email",
        ],
        "user_email",
    );
    let user = of(
        &[
            "session/user/id",
            "api_key/user/id",
            "api_key/service_account/id",
            "user_id",
            "id",
        ],
        "caller",
    );
    audit.credential_id = of(&["api_key/id", "api_key_id"], "credential_id");
    audit.caller = user.or(audit.user_email).or(audit.credential_id);
    audit.user_name = of(&["name", "session/user/name"], "user_name");
    audit.api_key_call = Some(kind.contains("api_key"));
    audit.user_type = Some(
        if actor.find("api_key/service_account").is_some() || kind.contains("service") {
            "service_account"
        } else if user.is_some() || audit.user_email.is_some() {
            "user"
        } else if kind.contains("api_key") {
            "api_key"
        } else {
            "unknown"
        },
    );
    audit.user_agent = of(&["session/user_agent", "user_agent"], "user_agent");
    let places = ["session/ip_address", "ip_address", "api_key/ip_address"];
    if let Some(address) = address::read(actor, &places) {
        audit.source_ip = Some(address.text);
        audit.source_ip_valid = Some(address.valid);
        audit.source_ip_prefix = address.prefix;
    }
}

/// The class of an action by the thing it is done to, and what is done.
fn action_class(action: &str) -> &'static str {
    let action = action.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| action.contains(word));
    let (created, deleted) = (
        has(&["created", "create"]),
        has(&["deleted", "delete", "revoked", "removed"]),
    );
    if has(&["login", "logout", "sign_in", "signed_in", "sso_"]) {
        "login"
    } else if has(&["api_key", "apikey"]) {
        match (created, deleted) {
            (true, _) => "key.create",
            (_, true) => "key.delete",
            _ if has(&["rotat"]) => "key.rotate",
            _ if has(&["viewed", "read", "accessed"]) => "key.read",
            _ => "policy.change",
        }
    } else if has(&["ip_allowlist", "certificate", "mtls"]) {
        "network.change"
    } else if has(&[
        "role",
        "user",
        "invite",
        "group",
        "member",
        "service_account",
        "permission",
    ]) {
        "role.change"
    } else if has(&["rate_limit", "spend", "budget"]) {
        "capacity.change"
    } else if has(&["logging", "audit_log", "retention"]) {
        "logging.change"
    } else if has(&["model"]) && deleted {
        "model.delete"
    } else if has(&["assistant", "agent", "mcp", "connector"]) {
        "agent.change"
    } else if has(&["organization", "project", "workspace", "setting", "scim"]) {
        "org.setting_change"
    } else {
        "other"
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::decode_lines;
    use super::*;

    #[test]
    fn both_organisations() {
        insta::assert_snapshot!(decode_lines(include_str!(
            "../../testdata/formats/provider_audit/activity.jsonl"
        )));
    }

    #[test]
    fn actions_have_one_class() {
        for (action, class) in [
            ("api_key.created", "key.create"),
            ("api_key.deleted", "key.delete"),
            ("api_key.updated", "policy.change"),
            ("login.failed", "login"),
            ("role.assignment.created", "role.change"),
            ("rate_limit.updated", "capacity.change"),
            ("ip_allowlist.activated", "network.change"),
            ("project.archived", "org.setting_change"),
            ("something.new", "other"),
        ] {
            assert_eq!(action_class(action), class, "{action}");
        }
    }
}

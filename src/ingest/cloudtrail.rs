//! CloudTrail events about Bedrock.
//!
//! Changes to Bedrock, its agents and knowledge bases become `audit` rows with a class; calls of models and agents become
//! `calls` rows. Those are always supplements: they have the caller's address and credential, and the invocation log,
//! which has the tokens, may be read before, after or never. A view that merges both decides; here nobody can know.
//!
//! Events of other services are skipped. IAM's are kept where they are about an API key of Bedrock: such a key is an IAM
//! user of its own (`BedrockAPIKey-…`) with a service-specific credential.
//!
//! Left out: the policy inside a guardrail, which CloudTrail hides. It says that one changed, never what.

use super::action_class::{self, Source};
use super::body::parts::{Turn, code_at, scrub_into};
use super::json::Value;
use super::record::{CallRow, Direction, PartType, Reject, Rows};
use super::{address, arn, names, tokens};
use crate::schema::{Audit, Call};

/// Operations of the runtime that are no call of a model, and no management either.
const RUNTIME: [&str; 4] = ["ApplyGuardrail", "Rerank", "Retrieve", "SearchMemory"];

/// What an operation was done to: the parameter that names it, and its kind. The most specific first.
const RESOURCES: [(&str, &str); 31] = [
    ("userName", "user"),
    ("guardrailIdentifier", "guardrail"),
    ("guardrailId", "guardrail"),
    ("guardrailArn", "guardrail"),
    ("dataSourceId", "data_source"),
    ("knowledgeBaseId", "knowledge_base"),
    ("actionGroupId", "agent_action_group"),
    ("agentAliasId", "agent_alias"),
    ("agentId", "agent"),
    ("agentArn", "agent"),
    ("agentRuntimeId", "agent_runtime"),
    ("agentRuntimeArn", "agent_runtime"),
    ("gatewayIdentifier", "gateway"),
    ("flowIdentifier", "flow"),
    ("promptIdentifier", "prompt"),
    ("modelId", "model"),
    ("modelIdentifier", "model"),
    ("customModelName", "model"),
    ("importedModelName", "model"),
    ("importedModelIdentifier", "model"),
    ("modelArn", "model"),
    ("provisionedModelId", "provisioned_model"),
    ("provisionedModelArn", "provisioned_model"),
    ("provisionedModelName", "provisioned_model"),
    ("inferenceProfileIdentifier", "inference_profile"),
    ("inferenceProfileArn", "inference_profile"),
    ("endpointArn", "endpoint"),
    ("jobIdentifier", "job"),
    ("jobArn", "job"),
    ("resourceArn", "resource"),
    ("policyArn", "policy"),
];

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    let has = |key| record.get(key).is_some();
    has("eventSource") && has("eventName") && (has("eventVersion") || has("userIdentity"))
}

/// Decodes one record.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let service = record.find("eventSource").and_then(Value::as_text);
    let service = service.ok_or(Reject::Missing("eventSource"))?;
    if !is_about_ai(service, record) {
        rows.skipped
            .push("CloudTrail event of a service that is not AI");
        return Ok(());
    }
    let mut event = event(record)?;
    let name = event.action.unwrap_or_default();
    let operation = names::bedrock_operation(name, None);
    if operation != "other" || RUNTIME.contains(&name) {
        rows.calls.push(call(event, record));
        return Ok(());
    }
    management(&mut event, record);
    rows.audits.push(event);
    Ok(())
}

/// Bedrock's own services (`bedrock`, `bedrock-agentcore`, `bedrock-mantle`, …), and IAM about Bedrock's API keys.
fn is_about_ai(service: &str, record: Value<'_>) -> bool {
    let starts = |text: &str, start: &str| {
        text.get(..start.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(start))
    };
    if starts(service, "bedrock") {
        return true;
    }
    let text = |path: &str| record.find(path).and_then(Value::as_str);
    starts(service, "iam.")
        && (text("requestParameters/serviceName").is_some_and(|name| starts(name, "bedrock"))
            || ["requestParameters/userName", "userIdentity/userName"]
                .into_iter()
                .filter_map(text)
                .any(arn::is_api_key_user))
}

/// What management events and calls have in common, in the row that has room for it.
fn event(record: Value<'_>) -> Result<Audit<'_>, Reject> {
    let address = address::read(record, &["sourceIPAddress"]);
    let mut event = Audit {
        event_time: record.time("eventTime", "event_time").ok_or(Reject::Time)?,
        event_id: record.text("eventID", "event_id").unwrap_or_default(),
        source_format: "aws.cloudtrail",
        provider: Some("aws.bedrock"),
        cloud_provider: Some("aws"),
        cloud_account_id: record.text_of(
            &["recipientAccountId", "userIdentity/accountId"],
            "cloud_account_id",
        ),
        cloud_region: record.text("awsRegion", "cloud_region"),
        action: code_at(record, "eventName", "action"),
        outcome: "success",
        source_ip: address.map(|address| address.text),
        source_ip_valid: address.map(|address| address.valid),
        source_ip_prefix: address.and_then(|address| address.prefix),
        user_agent: record.text("userAgent", "user_agent"),
        request_id: record.text("requestID", "request_id"),
        correlation_id: record.text("sharedEventID", "correlation_id"),
        ..Audit::default()
    };
    if record
        .get("errorCode")
        .is_some_and(|code| code.as_text().is_some())
    {
        event.outcome = "failure";
        event.error_type = code_at(record, "errorCode", "error_type");
    }
    if let Some(identity) = record.get("userIdentity") {
        who(identity, &mut event);
    }
    Ok(event)
}

fn who<'a>(identity: Value<'a>, event: &mut Audit<'a>) {
    event.caller = identity.text_of(&["arn", "principalId", "invokedBy", "accountId"], "caller");
    let principal = arn::principal(event.caller.unwrap_or_default());
    let name = principal.user_name.or_else(|| {
        identity.text_of(
            &["userName", "sessionContext/sessionIssuer/userName"],
            "user_name",
        )
    });
    let declared = identity.text("type", "user_type").unwrap_or_default();
    event.user_type = Some(match (principal.user_type, declared) {
        ("unknown", "IAMUser") if name.is_some_and(arn::is_api_key_user) => "api_key",
        ("unknown", "IAMUser") => "iam_user",
        ("unknown", "AssumedRole" | "Role") => "assumed_role",
        ("unknown", "Root") => "root",
        ("unknown", "FederatedUser" | "SAMLUser" | "WebIdentityUser") => "federated",
        ("unknown", "IdentityCenterUser" | "Directory") => "user",
        ("unknown", "AWSService") => "service_account",
        (known, _) => known,
    });
    event.user_name = name;
    event.user_session = principal.user_session;
    event.user_email = principal.user_email;
    event.credential_id = identity.text("accessKeyId", "credential_id");
}

/// What only management events have a column for.
fn management<'a>(event: &mut Audit<'a>, record: Value<'a>) {
    event.service = record.text("eventSource", "service");
    event.read_only = record.flag("readOnly", "read_only");
    event.event_category = record.text("eventCategory", "event_category");
    event.api_key_call = record
        .flag("additionalEventData/callWithBearerToken", "api_key_call")
        .or((event.user_type == Some("api_key")).then_some(true));
    let session = "userIdentity/sessionContext/attributes/mfaAuthenticated";
    event.mfa = record.flag(session, "mfa").or_else(|| {
        let used = record.text("additionalEventData/MFAUsed", "mfa")?;
        Some(used.eq_ignore_ascii_case("yes"))
    });
    let name = event.action.unwrap_or_default();
    event.action_class = action_class::classify(Source::Aws, name);
    if event.action_class == "logging.change" && switches_off(record) {
        event.action_class = action_class::switched_off(event.action_class);
    }
    let asked = record.get("requestParameters");
    let answered = record.get("responseElements");
    let resource = [asked, answered]
        .into_iter()
        .flatten()
        .find_map(|parameters| {
            RESOURCES
                .iter()
                .find_map(|(key, kind)| Some((parameters.get(key)?.as_text()?, *kind)))
        });
    (event.resource_id, event.resource_type) = resource.unzip();
    event.resource_id = event.resource_id.or_else(|| {
        let first = record.get("resources")?.items().next()?;
        first.get("ARN")?.as_text()
    });
    event.request_params = asked.map(|value| value.mark("request_params").to_json());
    event.response = answered.map(|value| value.mark("response").to_json());
}

/// Whether a logging configuration that is put leaves no log of the prompts: their delivery is off, or goes nowhere.
fn switches_off(record: Value<'_>) -> bool {
    let Some(config) = record.find("requestParameters/loggingConfig") else {
        return false;
    };
    let text = config.get("textDataDeliveryEnabled");
    text.and_then(Value::as_bool) == Some(false)
        || (config.get("s3Config").is_none() && config.get("cloudWatchConfig").is_none())
}

/// A call of a model, a guardrail or an agent.
fn call<'a>(event: Audit<'a>, record: Value<'a>) -> CallRow<'a> {
    let model_id_raw = record.text_of(
        &[
            "requestParameters/modelId",
            "requestParameters/modelArn",
            "responseElements/modelId",
        ],
        "model_id_raw",
    );
    let (model, family) = model_id_raw.map(names::clean_model).unzip();
    let operation = event.action.unwrap_or_default();
    let mut row = CallRow {
        call: Call {
            event_time: event.event_time,
            event_id: event.event_id,
            source_format: event.source_format,
            record_role: "supplement",
            provider: event.provider,
            operation: Some(names::bedrock_operation(operation, model)),
            operation_raw: event.action,
            model,
            model_family: family,
            model_id_raw,
            request_id: event.request_id,
            correlation_id: event.correlation_id,
            conversation_id: code_at(record, "requestParameters/sessionId", "conversation_id"),
            cloud_provider: event.cloud_provider,
            cloud_account_id: event.cloud_account_id,
            cloud_region: event.cloud_region,
            inference_region: record
                .text("additionalEventData/inferenceRegion", "inference_region"),
            cloud_resource_id: model_id_raw.filter(|raw| raw.starts_with("arn:")),
            caller: event.caller,
            user_type: event.user_type,
            user_name: event.user_name,
            user_email: event.user_email,
            user_session: event.user_session,
            credential_id: event.credential_id,
            source_ip: event.source_ip,
            source_ip_valid: event.source_ip_valid,
            source_ip_prefix: event.source_ip_prefix,
            user_agent: event.user_agent,
            server_address: record.text("tlsDetails/clientProvidedHostHeader", "server_address"),
            outcome: event.outcome,
            error_type: event.error_type,
            request_stream: Some(operation.contains("Stream")),
            content_state: Some("absent"),
            ..Call::default()
        },
        parts: Vec::new(),
    };
    tokens::complete(&mut row.call);
    // CloudTrail hides what was said, as a rule; an agent's parameters or an error may still quote it.
    if let Some(text) = record.take("requestParameters/inputText", "content") {
        Turn::new(Direction::Input, Some("user"), 0).text_or_leaves(&mut row, text);
    }
    for (key, value) in record.entries() {
        match key.to_ascii_lowercase().as_str() {
            "requestparameters" => {
                let turn = Turn::new(Direction::Input, None, 0);
                scrub_into(value.structure(), turn, PartType::Raw, &mut row);
            }
            "responseelements" => {
                let turn = Turn::new(Direction::Output, None, 0);
                scrub_into(value.structure(), turn, PartType::Raw, &mut row);
            }
            "errormessage" => {
                Turn::ERROR.text_or_leaves(&mut row, value);
                value.mark("content");
            }
            _ => {}
        }
    }
    row
}

#[cfg(test)]
mod tests;

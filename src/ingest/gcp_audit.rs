//! Google Cloud audit log entries, as sinks write them to storage and Pub/Sub and as BigQuery re-exports them.
//!
//! Calls of models become `calls`, which here have a caller and an address but neither text nor tokens; everything else
//! that the AI services, their guardrails and the logging of both record becomes `audit`. Other services are counted.
//!
//! Left out: entries that are no audit log (`jsonPayload`, `textPayload`).

use super::action_class::{self, Source};
use super::body::parts::{Turn, code};
use super::json::Value;
use super::record::{CallRow, PartType, Reject, Rows};
use super::{address, guardrail, names, tokens};
use crate::schema::{Audit, Call, Micros};

mod model_armor;
#[cfg(test)]
mod tests;

/// Where the audit log stands in an entry: as Google writes it, and as BigQuery names it.
const PAYLOADS: [&str; 3] = ["protoPayload", "protopayload_auditlog", "proto_payload"];

/// Services whose every entry counts.
const AI_SERVICES: [&str; 9] = [
    "aiplatform.googleapis.com",
    "modelarmor.googleapis.com",
    "generativelanguage.googleapis.com",
    "discoveryengine.googleapis.com",
    "dialogflow.googleapis.com",
    "cloudaicompanion.googleapis.com",
    "notebooks.googleapis.com",
    "ml.googleapis.com",
    "vertexai.googleapis.com",
];

/// Methods that count for any service, by their last part in lower case: who may do what, and what is logged.
const GUARDS: [&str; 14] = [
    "setiampolicy",
    "createserviceaccountkey",
    "deleteserviceaccountkey",
    "uploadserviceaccountkey",
    "createsink",
    "updatesink",
    "deletesink",
    "createexclusion",
    "updateexclusion",
    "deleteexclusion",
    "updatebucket",
    "deletebucket",
    "deletelog",
    "createkey",
];

/// Whether a record is of this format.
pub(super) fn recognises(record: Value<'_>) -> bool {
    let has = |key: &str| record.get(key).is_some();
    record.find("protoPayload/methodName").is_some()
        || ((has("logName") || has("log_name"))
            && (PAYLOADS.iter().any(|key| has(key))
                || ["jsonPayload", "textPayload", "json_payload", "text_payload"]
                    .iter()
                    .any(|key| has(key))))
}

/// Decodes one record.
pub(super) fn decode<'a>(record: Value<'a>, rows: &mut Rows<'a>) -> Result<(), Reject> {
    let Some(payload) = PAYLOADS.iter().find_map(|key| record.get(key)?.object()) else {
        rows.skipped.push("Google Cloud log that is no audit log");
        return Ok(());
    };
    let entry = Entry::read(record, payload)?;
    let is_ai = AI_SERVICES.iter().any(|service| {
        entry
            .service
            .is_some_and(|found| found.eq_ignore_ascii_case(service))
    });
    if !is_ai && !GUARDS.contains(&entry.verb.as_str()) {
        rows.skipped
            .push("Google Cloud audit log of another service");
        return Ok(());
    }
    if entry.is_call() {
        entry.call(rows);
    } else {
        entry.audit(rows);
    }
    Ok(())
}

/// An entry with the fields read that calls and management events share.
struct Entry<'a> {
    record: Value<'a>,
    payload: Value<'a>,
    time: Micros,
    received: Option<Micros>,
    log: Option<&'a str>,
    service: Option<&'a str>,
    method: Option<&'a str>,
    /// The last part of the method, in lower case: `generatecontent`.
    verb: String,
    resource: Option<&'a str>,
    project: Option<&'a str>,
    region: Option<&'a str>,
    status: Status<'a>,
    who: Principal<'a>,
    client: Option<address::Address<'a>>,
    user_agent: Option<&'a str>,
    insert_id: Option<&'a str>,
    operation: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn read(record: Value<'a>, payload: Value<'a>) -> Result<Entry<'a>, Reject> {
        let time = record
            .time("timestamp", "event_time")
            .or_else(|| payload.time("requestMetadata/requestAttributes/time", "event_time"))
            .ok_or(Reject::Time)?;
        let method = payload.text_of(&["methodName", "method_name"], "operation_raw");
        let resource = payload.text_of(&["resourceName", "resource_name"], "cloud_resource_id");
        let log = record.text_of(&["logName", "log_name"], "source_format");
        let project = resource
            .and_then(|name| after(name, "projects"))
            .or_else(|| record.find("resource/labels/project_id")?.as_text())
            .or_else(|| log.and_then(|name| after(name, "projects")));
        let region = resource
            .and_then(|name| after(name, "locations"))
            .or_else(|| record.find("resource/labels/location")?.as_text());
        let client = payload
            .find("requestMetadata")
            .or_else(|| payload.get("request_metadata"));
        let found = client.and_then(|client| address::read(client, &["callerIp", "caller_ip"]));
        Ok(Entry {
            record,
            payload,
            time,
            received: record
                .time("receiveTimestamp", "log_time")
                .or_else(|| record.time("receive_timestamp", "log_time")),
            log,
            service: payload.text_of(&["serviceName", "service_name"], "service"),
            method,
            verb: method
                .and_then(|method| method.rsplit(['.', '/', ':']).next())
                .unwrap_or_default()
                .to_ascii_lowercase(),
            resource,
            project,
            region,
            status: Status::read(payload),
            who: Principal::read(payload),
            client: found,
            user_agent: client.and_then(|client| {
                let names = ["callerSuppliedUserAgent", "caller_supplied_user_agent"];
                client.text_of(&names, "user_agent")
            }),
            insert_id: record.text_of(&["insertId", "insert_id"], "event_id"),
            operation: record.text("operation/id", "correlation_id"),
        })
    }

    /// Whether a model was asked. Management has methods of the same services.
    fn is_call(&self) -> bool {
        const VERBS: [&str; 21] = [
            "predict",
            "rawpredict",
            "streamrawpredict",
            "directpredict",
            "directrawpredict",
            "streamdirectpredict",
            "serverstreamingpredict",
            "streamingpredict",
            "predictlongrunning",
            "explain",
            "counttokens",
            "computetokens",
            "chatcompletions",
            "embedcontent",
            "batchembedcontents",
            "bidigeneratecontent",
            "queryreasoningengine",
            "streamqueryreasoningengine",
            "generatechatcontent",
            "sanitizeuserprompt",
            "sanitizemodelresponse",
        ];
        VERBS.contains(&self.verb.as_str()) || self.verb.ends_with("generatecontent")
    }

    /// Sinks repeat entries. The id is unique within a log at one time.
    fn event_id(&self) -> &'a str {
        self.insert_id.unwrap_or_default()
    }

    /// A stream or a long operation writes an entry when it begins and one when it ends; the first is the call.
    fn role(&self) -> &'static str {
        let flag = |path: &str| self.record.flag(path, "record_role").unwrap_or(false);
        let (first, last) = (flag("operation/first"), flag("operation/last"));
        if self.operation.is_some() && !first && last {
            "supplement"
        } else {
            "primary"
        }
    }

    fn call(&self, rows: &mut Rows<'a>) {
        let mut row = CallRow::default();
        row.call = Call {
            event_time: self.time,
            log_time: self.received,
            event_id: self.event_id(),
            source_format: "gcp.vertex.audit",
            record_role: self.role(),
            provider: Some(match self.service {
                Some("generativelanguage.googleapis.com") => "gcp.gemini",
                _ => "gcp.vertex_ai",
            }),
            operation: self.method.map(|method| match self.verb.as_str() {
                "serverstreamingpredict" | "streamingpredict" => "other",
                _ => names::operation(method),
            }),
            operation_raw: self.method,
            request_id: self.insert_id,
            correlation_id: self.operation,
            cloud_provider: Some("gcp"),
            cloud_account_id: self.project,
            cloud_region: self.region,
            cloud_resource_id: self.resource,
            caller: self.who.caller,
            user_type: self.who.user_type,
            user_name: self.who.name,
            user_email: self.who.email,
            credential_id: self.who.key,
            source_ip: self.client.map(|client| client.text),
            source_ip_valid: self.client.map(|client| client.valid),
            source_ip_prefix: self.client.and_then(|client| client.prefix),
            user_agent: self.user_agent,
            outcome: self.status.outcome,
            error_type: self.status.error,
            request_stream: Some(
                self.verb.starts_with("stream") || self.verb.contains("streaming"),
            ),
            content_state: Some("absent"),
            ..Call::default()
        };
        self.model(&mut row.call);
        self.status.keep(&mut row);
        model_armor::read(self.payload, &self.verb, &mut row);
        tokens::complete(&mut row.call);
        guardrail::settle(&mut row.call);
        rows.calls.push(row);
    }

    fn model(&self, call: &mut Call<'a>) {
        let Some(resource) = self.resource else {
            return;
        };
        if let Some(endpoint) = after(resource, "endpoints") {
            call.model_deployment = Some(endpoint);
        }
        if let Some(engine) = after(resource, "reasoningEngines") {
            call.model_deployment = Some(engine);
        }
        if after(resource, "models").is_some() {
            let (model, family) = names::clean_model(resource);
            call.model_id_raw = Some(resource);
            call.model = Some(model);
            call.model_family = Some(family);
        }
    }

    fn audit(&self, rows: &mut Rows<'a>) {
        let body = |names: [&str; 3], column: &'static str| {
            let found = names
                .iter()
                .find_map(|name| self.payload.take(name, column))?;
            found.as_str().or_else(|| Some(found.to_json()))
        };
        let read_only = match self.verb.as_str() {
            verb if ["get", "list", "search", "query", "lookup"]
                .iter()
                .any(|read| verb.starts_with(read)) =>
            {
                true
            }
            _ => false,
        };
        rows.audits.push(Audit {
            event_time: self.time,
            log_time: self.received,
            event_id: self.event_id(),
            source_format: "gcp.audit",
            provider: Some("gcp.vertex_ai"),
            cloud_provider: Some("gcp"),
            cloud_account_id: self.project,
            cloud_region: self.region,
            service: self.service,
            action: self.method,
            action_class: action_class::classify(Source::Gcp, self.method.unwrap_or_default()),
            resource_type: self.resource.and_then(kind),
            resource_id: self.resource,
            outcome: self.status.outcome,
            error_type: self.status.error,
            read_only: Some(read_only),
            event_category: self.log.map(category),
            caller: self.who.caller,
            user_type: self.who.user_type,
            user_name: self.who.name,
            user_email: self.who.email,
            credential_id: self.who.key,
            source_ip: self.client.map(|client| client.text),
            source_ip_valid: self.client.map(|client| client.valid),
            source_ip_prefix: self.client.and_then(|client| client.prefix),
            user_agent: self.user_agent,
            request_id: self.insert_id,
            correlation_id: self.operation,
            request_params: body(["request", "requestJson", "request_json"], "request_params"),
            response: body(["response", "responseJson", "response_json"], "response"),
            ..Audit::default()
        });
    }
}

/// The part of a resource name after the one of that name.
fn after<'a>(name: &'a str, collection: &str) -> Option<&'a str> {
    let mut parts = name.split('/');
    parts.find(|part| part.eq_ignore_ascii_case(collection))?;
    parts.next().filter(|part| !part.is_empty())
}

/// The collection that a resource is in: `endpoints`.
fn kind(name: &str) -> Option<&str> {
    name.rsplit('/').nth(1).filter(|kind| !kind.is_empty())
}

/// `projects/p/logs/cloudaudit.googleapis.com%2Fdata_access` is `data_access`.
fn category(log: &str) -> &str {
    log.rsplit('/')
        .next()
        .and_then(|last| last.rsplit("%2F").next())
        .unwrap_or(log)
}

/// How it ended.
struct Status<'a> {
    outcome: &'static str,
    error: Option<&'a str>,
    message: Option<&'a str>,
}

impl<'a> Status<'a> {
    fn read(payload: Value<'a>) -> Status<'a> {
        let code = payload.find("status/code").and_then(Value::as_int);
        // A message may quote what was asked.
        let message = payload
            .take("status/message", "content")
            .and_then(Value::as_text);
        let details = payload.take("status/details", "content");
        let _ = details;
        let denied = payload
            .get("authorizationInfo")
            .or_else(|| payload.get("authorization_info"))
            .into_iter()
            .flat_map(Value::items_or_self)
            .any(|check| check.get("granted").and_then(Value::as_bool) == Some(false));
        match code {
            Some(code) if code != 0 => {
                payload.take("status/code", "error_type");
                Status {
                    outcome: "failure",
                    error: Some(
                        grpc_name(code).unwrap_or_else(|| payload.format(format_args!("{code}"))),
                    ),
                    message,
                }
            }
            _ if denied => Status {
                outcome: "failure",
                error: Some("PERMISSION_DENIED"),
                message,
            },
            _ => Status {
                outcome: "success",
                error: None,
                message: None,
            },
        }
    }

    /// The message is a text of the call.
    fn keep(&self, row: &mut CallRow<'a>) {
        if let Some(message) = self.message {
            Turn::ERROR.text(row, PartType::Text, message);
        }
    }
}

/// Names of gRPC's status codes, from `google/rpc/code.proto`.
fn grpc_name(code: i64) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    usize::try_from(code)
        .ok()
        .and_then(|code| NAMES.get(code).copied())
}

/// Who it was. A key is a downloaded one, which outlives whoever took it; a chain of delegation stays in `attributes`.
struct Principal<'a> {
    caller: Option<&'a str>,
    user_type: Option<&'static str>,
    name: Option<&'a str>,
    email: Option<&'a str>,
    key: Option<&'a str>,
}

impl<'a> Principal<'a> {
    fn read(payload: Value<'a>) -> Principal<'a> {
        let Some(who) = payload
            .get("authenticationInfo")
            .or_else(|| payload.get("authentication_info"))
        else {
            return Principal {
                caller: None,
                user_type: None,
                name: None,
                email: None,
                key: None,
            };
        };
        let email = who.text_of(&["principalEmail", "principal_email"], "user_email");
        let subject = who.text_of(&["principalSubject", "principal_subject"], "caller");
        let caller = subject.or(email);
        let is_account = |text: &str| {
            text.starts_with("serviceAccount:") || text.ends_with(".gserviceaccount.com")
        };
        let user_type = caller.map(|caller| {
            if is_account(caller) || email.is_some_and(is_account) {
                "service_account"
            } else if caller.starts_with("principal") {
                // `principal://iam.googleapis.com/locations/global/workforcePools/…`
                "federated"
            } else if caller.starts_with("user:") || caller.contains('@') {
                "user"
            } else {
                "unknown"
            }
        });
        Principal {
            caller,
            user_type,
            name: email
                .and_then(|email| email.split_once('@'))
                .map(|(name, _)| name),
            email: email.filter(|email| email.contains('@')),
            key: who.text_of(
                &["serviceAccountKeyName", "service_account_key_name"],
                "credential_id",
            ),
        }
    }
}

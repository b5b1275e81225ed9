//! Google Cloud audit log entries, as sinks write them to storage and Pub/Sub and as BigQuery re-exports them.
//!
//! Calls of models become `calls`, which here have a caller and an address but neither text nor tokens; everything else
//! that the AI services, their guardrails and the logging of both record becomes `audit`. Other services are counted.
//!
//! Left out: entries that are no audit log (`jsonPayload`, `textPayload`), but for what Model Armor found.

use super::action_class::{self, Source};
use super::body::parts::{Turn, arguments, keep_codes, scrub_into};
use super::json::Value;
use super::record::{CallRow, Direction, PartType, Reject, Rows};
use super::{address, guardrail, names, tokens};
use crate::schema::{Audit, Call, Micros};
use principal::Principal;
use status::Status;

mod model_armor;
mod principal;
mod status;
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

/// What was asked and answered: JSON in the log, JSON in a string in BigQuery.
const REQUESTS: [&str; 3] = ["request", "requestJson", "request_json"];
const RESPONSES: [&str; 3] = ["response", "responseJson", "response_json"];

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
        if let Some(operation) = model_armor::operation(record) {
            return model_armor::decode(record, operation, rows);
        }
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
        // Labels that say the same once more.
        for (path, known) in [
            ("resource/labels/method", method),
            ("resource/labels/project_id", project),
            ("resource/labels/location", region),
        ] {
            if known.is_some() && record.find(path).and_then(Value::as_str) == known {
                record.drop_field(path);
            }
        }
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

    /// Whose models the service serves; logging and IAM serve none.
    fn provider(&self) -> Option<&'static str> {
        match self.service? {
            "generativelanguage.googleapis.com" => Some("gcp.gemini"),
            "iam.googleapis.com"
            | "logging.googleapis.com"
            | "cloudresourcemanager.googleapis.com"
            | "apikeys.googleapis.com" => None,
            _ => Some("gcp.vertex_ai"),
        }
    }

    /// Sinks repeat entries. The id is unique within a log at one time.
    fn event_id(&self) -> &'a str {
        self.insert_id.unwrap_or_default()
    }

    /// Whether this entry is the beginning of an operation, and whether it is its end. A stream or a long operation
    /// writes one of each.
    fn ends(&self) -> (bool, bool) {
        let flag = |path: &str| self.record.flag(path, "record_role").unwrap_or(false);
        (flag("operation/first"), flag("operation/last"))
    }

    fn call(&self, rows: &mut Rows<'a>) {
        let (first, last) = self.ends();
        // Model Armor checks a call that another entry tells of.
        let guards = self.service == Some("modelarmor.googleapis.com");
        let call = Call {
            event_time: self.time,
            log_time: self.received,
            event_id: self.event_id(),
            source_format: "gcp.vertex.audit",
            record_role: match guards || (last && !first) {
                true => "supplement",
                false => "primary",
            },
            provider: self.provider(),
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
            // Without an error, only its end says how an operation went.
            outcome: match self.status.outcome {
                "success" if first && !last => "unknown",
                outcome => outcome,
            },
            error_type: self.status.error,
            request_stream: Some(
                self.verb.starts_with("stream")
                    || self.verb.contains("streaming")
                    || self.verb.starts_with("bidi"),
            ),
            content_state: Some("absent"),
            ..Call::default()
        };
        let mut row = CallRow {
            call,
            ..CallRow::default()
        };
        self.model(&mut row.call);
        // A message may quote what was asked.
        if let Some(status) = self.payload.get("status") {
            scrub_into(status.structure(), Turn::ERROR, PartType::Text, &mut row);
        }
        model_armor::read(self.payload, &self.verb, &mut row);
        if row
            .parts
            .iter()
            .any(|part| part.direction != Direction::Error)
        {
            row.call.content_state = Some("inline");
        }
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
        // What changes something is logged with its parameters. What only reads data may be a call that nobody knows as
        // one yet: of that no prose is kept.
        let category = self.log.map(category);
        let is_management = matches!(category, Some("activity" | "policy" | "system_event"));
        if !is_management {
            for key in
                REQUESTS
                    .iter()
                    .chain(&RESPONSES)
                    .chain(&["status", "metadata", "metadataJson"])
            {
                if let Some(value) = self.payload.get(key) {
                    keep_codes(value);
                }
            }
        }
        let body = |names: [&str; 3], column: &'static str| {
            let mut found = names.iter().filter(|_| is_management);
            let found = found.find_map(|name| self.payload.take(name, column))?;
            Some(arguments(found))
        };
        let reads = ["get", "list", "search", "query", "lookup"];
        let read_only = reads.iter().any(|verb| self.verb.starts_with(verb));
        rows.audits.push(Audit {
            event_time: self.time,
            log_time: self.received,
            event_id: self.event_id(),
            source_format: "gcp.audit",
            provider: self.provider(),
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
            event_category: category,
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
            request_params: body(REQUESTS, "request_params"),
            response: body(RESPONSES, "response"),
            ..Audit::default()
        });
    }
}

/// The part of a resource name after the one of that name.
pub(super) fn after<'a>(name: &'a str, collection: &str) -> Option<&'a str> {
    let mut parts = name.split('/');
    parts.find(|part| part.eq_ignore_ascii_case(collection))?;
    // `-` stands for any.
    parts.next().filter(|part| !part.is_empty() && *part != "-")
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

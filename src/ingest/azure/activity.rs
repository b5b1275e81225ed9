//! The activity log: who changed what. One operation gives several records, from `Start` to its end.
//!
//! Kept are events of AI services and of what guards them: logging, roles, policies, locks. All else is counted.

use super::common::{Frame, lower, outcome};
use crate::ingest::action_class::{self, Source};
use crate::ingest::body::parts::code;
use crate::ingest::json::Value;
use crate::ingest::record::Rows;
use crate::schema::Audit;

/// Providers whose every event counts.
const AI_PROVIDERS: [&str; 5] = [
    "microsoft.cognitiveservices",
    "microsoft.machinelearningservices",
    "microsoft.apimanagement",
    "microsoft.search",
    "microsoft.botservice",
];

/// Operations that count on any resource, by how they begin.
const GUARDS: [&str; 4] = [
    "microsoft.insights/diagnosticsettings/",
    "microsoft.authorization/",
    "microsoft.operationalinsights/workspaces/",
    "microsoft.security/pricings/",
];

/// Names of the claims that say who it was. They hold `/` and are looked up as they stand.
const UPN: &str = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn";
const OBJECT_ID: &str = "http://schemas.microsoft.com/identity/claims/objectidentifier";
const METHODS: &str = "http://schemas.microsoft.com/claims/authnmethodsreferences";

pub(super) fn decode<'a>(frame: &Frame<'a>, rows: &mut Rows<'a>) {
    let action = frame.operation.unwrap_or_default();
    let folded = action.to_ascii_lowercase();
    let is_relevant = AI_PROVIDERS
        .iter()
        .any(|provider| folded.starts_with(provider) || frame.is_of(provider))
        || GUARDS.iter().any(|guard| folded.starts_with(guard));
    if !is_relevant {
        return rows.skipped.push("Azure activity of another service");
    }
    let record = frame.record;
    let who = Principal::read(frame);
    let address = frame.address();
    let result = record.text_of(
        &["ActivityStatusValue", "resultType", "status/value"],
        "outcome",
    );
    let code = frame
        .property("statusCode")
        .filter(|value| http_status(*value).is_some());
    let signature = record.text("resultSignature", "http_status_code");
    let status = code
        .map(|value| value.mark("http_status_code"))
        .and_then(http_status)
        .or_else(|| status_named(signature?.rsplit_once('.')?.1));
    let outcome = match result.map(str::to_ascii_lowercase).as_deref() {
        Some("success" | "succeeded") => "success",
        Some("failure" | "failed") => "failure",
        // It has begun; another record says how it ended.
        Some("start" | "started" | "accept" | "accepted") => "unknown",
        _ => outcome(status),
    };
    let error_type = (outcome == "failure")
        .then(|| error_type(frame, signature))
        .flatten();
    let body = |name: &str, column: &'static str| {
        let found = frame.property(name)?.mark(column);
        found.as_str().or_else(|| Some(found.to_json()))
    };
    let resource = frame.resource_id.unwrap_or_default();
    rows.audits.push(Audit {
        event_time: frame.time,
        event_id: match frame.correlation_id {
            // Deliveries repeat, and the parts of one deployment share a correlation id: the resource tells them apart.
            Some(correlation) => {
                let result = result.unwrap_or_default();
                let id = record.format(format_args!("{correlation}:{action}:{result}:{resource}"));
                lower(record, id)
            }
            None => "",
        },
        source_format: "azure.activity",
        provider: frame
            .is_of("microsoft.cognitiveservices")
            .then_some("azure.ai.openai"),
        cloud_provider: Some("azure"),
        cloud_account_id: frame.subscription,
        cloud_region: frame.region(),
        service: action.split('/').next().map(|name| lower(record, name)),
        action: frame.operation,
        action_class: class(action),
        resource_type: resource_type(record, action),
        resource_id: frame.resource_id,
        outcome,
        error_type,
        http_status_code: status,
        read_only: read_only(&folded),
        event_category: frame
            .text(&["eventCategory"], "event_category")
            .or(Some(frame.category).filter(|category| !category.is_empty())),
        caller: who.caller,
        user_type: who.user_type,
        user_name: who.name,
        user_email: who.email,
        mfa: who.mfa,
        source_ip: address.map(|address| address.text),
        source_ip_valid: address.map(|address| address.valid),
        source_ip_prefix: address.and_then(|address| address.prefix),
        correlation_id: frame.correlation_id,
        request_id: record.text_of(&["eventDataId", "operationId"], "request_id"),
        request_params: body("requestBody", "request_params"),
        response: body("responseBody", "response"),
        ..Audit::default()
    });
}

/// The class of an operation.
pub(super) fn class(operation: &str) -> &'static str {
    action_class::classify(Source::Azure, operation)
}

/// `Microsoft.CognitiveServices/accounts/raiPolicies/write` changes a `microsoft.cognitiveservices/accounts/raipolicies`.
fn resource_type<'a>(keeper: Value<'a>, action: &'a str) -> Option<&'a str> {
    let verbs = ["/action", "/write", "/delete", "/read"];
    let folded = lower(keeper, action);
    let verb = verbs.iter().find(|verb| folded.ends_with(*verb))?;
    let subject = &folded[..folded.len() - verb.len()];
    if *verb == "/action" {
        // What is before the verb names the deed.
        return subject.rsplit_once('/').map(|(kind, _)| kind);
    }
    Some(subject)
}

fn read_only(folded: &str) -> Option<bool> {
    if folded.ends_with("/read") {
        return Some(true);
    }
    if folded.ends_with("/write") || folded.ends_with("/delete") {
        return Some(false);
    }
    // `listKeys`, `listSecrets`: they show, and change nothing.
    let deed = folded.strip_suffix("/action")?.rsplit('/').next()?;
    Some(deed.starts_with("list") || deed.starts_with("get") || deed.starts_with("check"))
}

/// A status as number or as the name that .NET gives it.
fn http_status(value: Value<'_>) -> Option<i32> {
    match value.as_int() {
        Some(status) => i32::try_from(status)
            .ok()
            .filter(|status| (100..600).contains(status)),
        None => status_named(value.as_str()?),
    }
}

fn status_named(name: &str) -> Option<i32> {
    Some(match name.to_ascii_lowercase().as_str() {
        "ok" => 200,
        "created" => 201,
        "accepted" => 202,
        "nocontent" => 204,
        "badrequest" => 400,
        "unauthorized" => 401,
        "paymentrequired" => 402,
        "forbidden" => 403,
        "notfound" => 404,
        "methodnotallowed" => 405,
        "requesttimeout" => 408,
        "conflict" => 409,
        "gone" => 410,
        "preconditionfailed" => 412,
        "toomanyrequests" => 429,
        "internalservererror" => 500,
        "badgateway" => 502,
        "serviceunavailable" => 503,
        "gatewaytimeout" => 504,
        _ => return None,
    })
}

/// The service's code for what went wrong, else the name of the status.
fn error_type<'a>(frame: &Frame<'a>, signature: Option<&'a str>) -> Option<&'a str> {
    let message = frame.property("statusMessage");
    ["error/code", "code"]
        .iter()
        .find_map(|path| message?.find(path)?.as_text().and_then(code))
        .or_else(|| {
            signature?
                .rsplit_once('.')
                .map(|(_, name)| name)
                .and_then(code)
        })
        .or_else(|| frame.property("statusCode")?.as_text().and_then(code))
}

#[derive(Default)]
struct Principal<'a> {
    caller: Option<&'a str>,
    user_type: Option<&'static str>,
    name: Option<&'a str>,
    email: Option<&'a str>,
    mfa: Option<bool>,
}

impl<'a> Principal<'a> {
    fn read(frame: &Frame<'a>) -> Principal<'a> {
        let record = frame.record;
        let identity = record.get("identity");
        let claims = ["claims", "Claims", "Claims_d"]
            .iter()
            .find_map(|key| {
                identity
                    .and_then(|identity| identity.get(key))
                    .or_else(|| record.get(key))
            })
            .and_then(Value::object);
        let claim = |names: &[&str], column: &'static str| {
            names.iter().find_map(|name| {
                let found = claims?.get(name)?;
                let text = found.as_text()?;
                found.mark(column);
                Some(text)
            })
        };
        let upn = claim(&[UPN, "upn"], "user_email").filter(|upn| !upn.is_empty());
        let object_id = claim(&[OBJECT_ID, "oid"], "caller");
        let app_id = claims
            .and_then(|claims| claims.get("appid"))
            .filter(|_| upn.is_none() && object_id.is_none())
            .and_then(|app| app.mark("caller").as_text());
        // What Log Analytics says is one of these; sign-in logs have a name instead of the object.
        let logged = record.text_of(&["Caller"], "caller");
        let lone = identity
            .filter(|identity| identity.object().is_none())
            .and_then(Value::as_text);
        if lone.is_some() {
            record.take("identity", "caller");
        }
        let evidence = [identity, record.get("Authorization")]
            .into_iter()
            .flatten()
            .find_map(|value| {
                value
                    .find("authorization/evidence")
                    .or_else(|| value.get("evidence"))
            });
        let kind = evidence
            .and_then(|evidence| evidence.get("principalType"))
            .and_then(Value::as_str);
        let managed = claims.is_some_and(|claims| claims.get("xms_mirid").is_some());
        let is_app = claims
            .and_then(|claims| claims.get("idtyp"))
            .and_then(Value::as_str)
            == Some("app");
        let caller = upn.or(logged).or(object_id).or(app_id).or(lone);
        let has_mail = |text: &&str| text.contains('@');
        let user_type = if managed {
            "managed_identity"
        } else if is_app
            || app_id.is_some()
            || kind.is_some_and(|kind| kind.eq_ignore_ascii_case("ServicePrincipal"))
        {
            "service_account"
        } else if upn.is_some()
            || kind.is_some_and(|kind| kind.eq_ignore_ascii_case("User"))
            || caller.as_ref().is_some_and(has_mail)
        {
            "user"
        } else {
            "unknown"
        };
        Principal {
            caller,
            user_type: caller.map(|_| user_type),
            name: claim(&["name"], "user_name"),
            email: caller.filter(has_mail),
            mfa: claim(&[METHODS, "amr"], "mfa")
                .map(|methods| methods.split(',').any(|method| method.trim() == "mfa")),
        }
    }
}

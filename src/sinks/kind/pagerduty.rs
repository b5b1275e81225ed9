//! PagerDuty's Events API v2: `trigger` while a finding goes on, `resolve` when it has ended or was taken back. The
//! finding is the `dedup_key`, so that all its revisions are one incident.

use std::path::Path;

use serde_json::{Value, json};

use super::http::Http;
use super::{Message, cut, headline};
use crate::catalog::{Section, Severity};
use crate::detect::time_text;
use crate::sinks::failure::{Answer, Failure};
use crate::sinks::secret::SecretRef;
use crate::sinks::settings;

/// Where events go in the United States; `url` names another, as that in Europe.
const ADDRESS: &str = "https://events.pagerduty.com/v2/enqueue";

/// See the module's documentation.
#[derive(Debug)]
pub struct PagerDuty {
    pub(super) http: Http,
    pub(super) key: SecretRef,
}

impl PagerDuty {
    pub(super) fn read(section: &Section<'_, '_>, folder: &Path) -> Option<PagerDuty> {
        let key = settings::secret(
            section,
            ["routing_key", "routing_key_env", "routing_key_file"],
            folder,
        );
        if key.is_none() {
            section.fault_at("kind", "`routing_key_env` or `routing_key_file` is missing");
        }
        let http = Http::read(section, folder, ADDRESS)?;
        if http.is_in_clear() {
            section.fault_at(
                "url",
                "the key would go over the network in clear: use https",
            );
        }
        Some(PagerDuty { http, key: key? })
    }

    pub(super) async fn send(&self, message: &Message<'_>) -> Result<Answer, Failure> {
        let body = payload(message, self.key.read()?.reveal());
        let body = body.to_string().into_bytes();
        self.http
            .post(message, "", "application/json", body, &[])
            .await
    }
}

/// What is sent: of one finding.
fn payload(message: &Message<'_>, key: &str) -> Value {
    let told = message.first();
    // One that never goes on, as a window or a row, is told once and closed by people.
    let is_end = told.is_end();
    let mut event = json!({
        "routing_key": key,
        "event_action": if is_end { "resolve" } else { "trigger" },
        "dedup_key": told.finding,
        "client": "inferwatch",
    });
    if let Some(link) = &told.link {
        event["client_url"] = link.as_str().into();
        event["links"] = json!([{ "href": link, "text": "the finding" }]);
    }
    if !is_end {
        let subject = told.subject();
        event["payload"] = json!({
            "summary": cut(&headline(message), 1024),
            "source": if subject.is_empty() { "inferwatch".to_string() } else { cut(&subject, 255) },
            "severity": severity(told.severity),
            "timestamp": time_text(told.first_seen.unwrap_or(told.window_start)),
            "component": told.rule,
            "group": told.tags.first(),
            "class": told.owasp.first().or(told.atlas.first()),
            "custom_details": told.json(),
        });
    }
    event
}

/// In PagerDuty's four words.
fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "info",
    }
}

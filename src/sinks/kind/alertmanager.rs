//! Alertmanager's API v2. An alert is known by its labels: rule, finding, severity and the subject. While a finding goes
//! on its alert ends in the future, and it ends for good with the finding.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::http::Http;
use super::{Message, cut};
use crate::catalog::{Section, Severity, Span};
use crate::detect::time_text;
use crate::sinks::failure::{Answer, Failure};
use crate::sinks::finding::{Told, plain};

/// See the module's documentation.
#[derive(Debug)]
pub struct Alertmanager {
    pub(super) http: Http,
    /// How long an alert stands of which nothing more is heard.
    lasts: Span,
    labels: std::collections::BTreeMap<String, String>,
}

impl Alertmanager {
    pub(super) fn read(section: &Section<'_, '_>, folder: &Path) -> Option<Alertmanager> {
        let lasts = section.span("lasts").unwrap_or(Span::hours(7 * 24));
        let labels = crate::sinks::settings::texts(section, "labels");
        Some(Alertmanager {
            http: Http::read(section, folder, "")?,
            lasts,
            labels,
        })
    }

    pub(super) async fn send(&self, message: &Message<'_>) -> Result<Answer, Failure> {
        let body = self.payload(message).to_string().into_bytes();
        self.http
            .post(message, "/api/v2/alerts", "application/json", body, &[])
            .await
    }

    /// What is sent.
    fn payload(&self, message: &Message<'_>) -> Value {
        let mut alerts = Vec::new();
        for told in &message.findings {
            // With another severity it is another alert: the one before ends.
            if let Some(before) = told.severity_before {
                alerts.push(self.alert(told, before, message.now, true));
            }
            let is_over = told.is_end();
            alerts.push(self.alert(told, told.severity, message.now, is_over));
        }
        Value::Array(alerts)
    }

    fn alert(&self, told: &Told, severity: Severity, now: i64, is_over: bool) -> Value {
        let mut labels = Map::new();
        for (name, value) in &told.entity {
            labels.insert(label(name), cut(&plain(value), 500).into());
        }
        for (name, value) in &self.labels {
            labels.insert(label(name), value.as_str().into());
        }
        for (name, value) in [
            ("alertname", told.rule.as_str()),
            ("severity", severity.name()),
            ("finding", &told.finding),
        ] {
            labels.insert(name.into(), value.into());
        }
        let starts = told.first_seen.unwrap_or(told.window_start).min(now);
        let ends = match is_over {
            true => now,
            false => now + self.lasts.0,
        };
        let mut alert = json!({
            "labels": labels,
            "annotations": {
                "summary": told.title,
                "description": description(told),
                "event": told.event.name(),
                "revision": told.revision.to_string(),
                "evidence": Value::Object(told.evidence.clone()).to_string(),
                "runbook": told.runbook.clone().unwrap_or_default(),
            },
            "startsAt": time_text(starts),
            "endsAt": time_text(ends),
        });
        if let Some(link) = &told.link {
            alert["generatorURL"] = link.as_str().into();
        }
        alert
    }
}

fn description(told: &Told) -> String {
    let events = told
        .event_count
        .map(|count| format!("{count} events, "))
        .unwrap_or_default();
    format!(
        "{events}windows from {} to {}",
        time_text(told.window_start),
        time_text(told.window_end)
    )
}

/// A name that Prometheus takes for a label.
fn label(name: &str) -> String {
    let mut label: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if label.is_empty() || label.starts_with(|c: char| c.is_ascii_digit()) {
        label.insert(0, '_');
    }
    label
}

//! A finding as an event of the Open Cybersecurity Schema Framework: Detection Finding, class 2004.

use serde_json::{Value, json};

use crate::catalog::Severity;
use crate::detect::Event;
use crate::sinks::finding::{Told, plain};

/// The version of the framework that is written.
const VERSION: &str = "1.4.0";
/// Detection Finding, in the category Findings.
const CLASS: i64 = 2004;

/// The event for one revision of a finding.
pub(super) fn detection_finding(told: &Told, now: i64) -> Value {
    let (activity, activity_name) = match told.event {
        Event::Opened => (1, "Create"),
        Event::Updated | Event::Revised => (2, "Update"),
        Event::Resolved | Event::Retracted => (3, "Close"),
    };
    let (status, status_name) = match told.status.as_str() {
        "resolved" => (4, "Resolved"),
        // What was found in error.
        "retracted" => (6, "Deleted"),
        _ => (1, "New"),
    };
    let mut event = json!({
        "metadata": {
            "version": VERSION,
            "uid": told.key(),
            "product": {
                "name": "inferwatch",
                "vendor_name": "inferwatch",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "logged_time": milliseconds(now),
            "labels": told.tags,
        },
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": CLASS * 100 + activity,
        "type_name": format!("Detection Finding: {activity_name}"),
        "time": milliseconds(told.evaluated_at),
        "start_time": milliseconds(told.first_seen.unwrap_or(told.window_start)),
        "end_time": milliseconds(told.last_seen.unwrap_or(told.window_end)),
        "severity_id": severity(told.severity),
        "severity": name_of(told.severity),
        "status_id": status,
        "status": status_name,
        "is_alert": activity != 3,
        "message": told.title,
        "finding_info": {
            "uid": told.finding,
            "title": told.title,
            "created_time": milliseconds(told.window_start),
            "modified_time": milliseconds(told.evaluated_at),
            "first_seen_time": told.first_seen.map(milliseconds),
            "last_seen_time": told.last_seen.map(milliseconds),
            "types": told.owasp,
            "src_url": told.link,
            "attacks": told.atlas.iter().map(|id| technique(id)).collect::<Vec<_>>(),
            "analytic": {
                "uid": told.rule,
                "name": told.rule,
                "type_id": 1,
                "type": "Rule",
                "version": told.rule_version.to_string(),
            },
        },
        "evidences": [{ "name": told.rule, "data": told.evidence }],
        "resources": told
            .entity
            .iter()
            .map(|(name, value)| json!({ "type": name, "uid": plain(value) }))
            .collect::<Vec<_>>(),
        "count": told.event_count,
        "unmapped": { "inferwatch": told.json() },
    });
    if let Some(confidence) = &told.confidence {
        let id = match confidence.as_str() {
            "low" => 1,
            "medium" => 2,
            "high" => 3,
            _ => 99,
        };
        event["confidence_id"] = id.into();
        let mut letters = confidence.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        event["confidence"] = first.into_iter().chain(letters).collect::<String>().into();
    }
    event
}

/// ATLAS numbers a part of a technique as `AML.T0034.000`.
fn technique(id: &str) -> Value {
    match id.rsplit_once('.') {
        Some((technique, part))
            if technique != "AML" && part.chars().all(|c| c.is_ascii_digit()) =>
        {
            json!({ "technique": { "uid": technique }, "sub_technique": { "uid": id } })
        }
        _ => json!({ "technique": { "uid": id } }),
    }
}

fn milliseconds(micros: i64) -> i64 {
    micros.div_euclid(1000)
}

fn severity(severity: Severity) -> i64 {
    1 + severity as i64
}

fn name_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "Informational",
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
        Severity::Critical => "Critical",
    }
}

//! A finding as sinks tell it: a row of the table `findings`, with what the header of its rule adds.

use serde_json::{Map, Value, json};

use crate::catalog::{Rule, Severity};
use crate::detect::{Event, time_text};

/// One revision of a finding, on its way to people.
///
/// Every text in it was written by strangers: names of callers, titles, what rules returned. Each kind of sink escapes
/// it for where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The finding.
    pub finding: String,
    /// Which of its revisions.
    pub revision: i64,
    /// What happened.
    pub event: Event,
    /// How it stands after that: `open`, `resolved`, `retracted`.
    pub status: String,
    /// The rule.
    pub rule: String,
    /// Its version.
    pub rule_version: i64,
    /// What was found, in a line.
    pub title: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it was when this sink was last told, if that was something else.
    pub severity_before: Option<Severity>,
    /// `low`, `medium`, `high`.
    pub confidence: Option<String>,
    /// The subject.
    pub entity: Map<String, Value>,
    /// What the window with the most events returned.
    pub evidence: Map<String, Value>,
    /// Columns whose text may come from prompts or responses, and was left out.
    pub withheld: Vec<String>,
    /// Most contributing events of any window.
    pub event_count: Option<i64>,
    /// First contributing event, microseconds since the epoch.
    pub first_seen: Option<i64>,
    /// The last one.
    pub last_seen: Option<i64>,
    /// First instant of its first window.
    pub window_start: i64,
    /// Instant after its last window that fired.
    pub window_end: i64,
    /// Windows that fired.
    pub windows: i64,
    /// Highest number to sort by.
    pub score: Option<f64>,
    /// Findings of the same subject that nobody was told of since.
    pub folded: i64,
    /// Whether nobody is to be told.
    pub is_suppressed: bool,
    /// The exception by which nobody is told.
    pub excepted: Option<String>,
    /// Points for the account of the subject.
    pub risk: Option<f64>,
    /// ATLAS techniques.
    pub atlas: Vec<String>,
    /// OWASP entries.
    pub owasp: Vec<String>,
    /// When the evaluation ran.
    pub evaluated_at: i64,
    /// The rule's words for routes.
    pub tags: Vec<String>,
    /// Sinks that the rule names itself.
    pub sinks: Vec<String>,
    /// What to do about it.
    pub runbook: Option<String>,
    /// Where people see it.
    pub link: Option<String>,
    /// Whether it was made up to try a sink.
    pub is_test: bool,
}

impl Told {
    /// Reads a row of `findings`; `None` when it is not one.
    pub(super) fn from_row(row: &Map<String, Value>) -> Option<Told> {
        let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_string);
        let integer = |name: &str| row.get(name).and_then(Value::as_i64);
        let number = |name: &str| row.get(name).and_then(Value::as_f64);
        let time = |name: &str| {
            let time = chrono::DateTime::parse_from_rfc3339(row.get(name)?.as_str()?);
            time.ok().map(|time| time.timestamp_micros())
        };
        let object = |name: &str| -> Map<String, Value> {
            let text = row.get(name).and_then(Value::as_str);
            text.and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default()
        };
        let texts = |name: &str| -> Vec<String> {
            let items = row.get(name).and_then(Value::as_array);
            let items = items.into_iter().flatten().filter_map(Value::as_str);
            items.map(str::to_string).collect()
        };
        Some(Told {
            finding: text("finding_id")?,
            revision: integer("revision")?,
            event: Event::from_name(row.get("event")?.as_str()?)?,
            status: text("status")?,
            rule: text("rule_id")?,
            rule_version: integer("rule_version")?,
            title: text("title")?,
            severity: Severity::from_name(row.get("severity")?.as_str()?)?,
            severity_before: None,
            confidence: text("confidence"),
            entity: object("entity"),
            evidence: object("evidence"),
            withheld: Vec::new(),
            event_count: integer("event_count"),
            first_seen: time("first_seen"),
            last_seen: time("last_seen"),
            window_start: time("window_start")?,
            window_end: time("window_end")?,
            windows: integer("windows")?,
            score: number("score"),
            folded: integer("folded").unwrap_or(0),
            is_suppressed: row.get("suppressed").and_then(Value::as_bool)?,
            excepted: text("excepted"),
            risk: number("risk"),
            atlas: texts("atlas"),
            owasp: texts("owasp"),
            evaluated_at: time("evaluated_at")?,
            tags: Vec::new(),
            sinks: Vec::new(),
            runbook: None,
            link: None,
            is_test: false,
        })
    }

    /// Adds what the rule's header says.
    pub(super) fn add_rule(&mut self, rule: &Rule) {
        self.tags.clone_from(&rule.tags);
        self.sinks.clone_from(&rule.sinks);
        self.runbook.clone_from(&rule.runbook);
    }

    /// A finding that never was, to try a sink with.
    pub fn made_up(now: i64) -> Told {
        let minute = 60_000_000;
        let end = now - now.rem_euclid(minute);
        Told {
            finding: format!("test-{}", now.div_euclid(1_000_000)),
            revision: 1,
            event: Event::Opened,
            status: "open".into(),
            rule: "inferwatch-test".into(),
            rule_version: 1,
            title: "TEST of a sink by inferwatch: nothing has happened".into(),
            severity: Severity::Info,
            severity_before: None,
            confidence: Some("high".into()),
            entity: json_object(json!({ "caller": "inferwatch-test" })),
            evidence: json_object(json!({ "caller": "inferwatch-test", "event_count": 1 })),
            withheld: Vec::new(),
            event_count: Some(1),
            first_seen: Some(end - minute),
            last_seen: Some(end - minute),
            window_start: end - 5 * minute,
            window_end: end,
            windows: 1,
            score: None,
            folded: 0,
            is_suppressed: false,
            excepted: None,
            risk: None,
            atlas: Vec::new(),
            owasp: Vec::new(),
            evaluated_at: now,
            tags: vec!["test".into()],
            sinks: Vec::new(),
            runbook: None,
            link: None,
            is_test: true,
        }
    }

    /// What delivery is known by: the same key is the same telling of the same finding.
    pub fn key(&self) -> String {
        format!("{}.{}", self.finding, self.revision)
    }

    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.status == "open"
    }

    /// Whether it ends what was told before.
    pub fn is_end(&self) -> bool {
        matches!(self.event, Event::Resolved | Event::Retracted)
    }

    /// The subject's values, one after the other.
    pub fn subject(&self) -> String {
        let values: Vec<_> = self.entity.values().map(plain).collect();
        values.join(" · ")
    }

    /// As one JSON object: what a webhook sends and a file keeps.
    pub fn json(&self) -> Value {
        json!({
            "key": self.key(),
            "finding": self.finding,
            "revision": self.revision,
            "event": self.event.name(),
            "status": self.status,
            "test": self.is_test,
            "rule": self.rule,
            "rule_version": self.rule_version,
            "title": self.title,
            "severity": self.severity.name(),
            "confidence": self.confidence,
            "entity": self.entity,
            "event_count": self.event_count,
            "first_seen": self.first_seen.map(time_text),
            "last_seen": self.last_seen.map(time_text),
            "window_start": time_text(self.window_start),
            "window_end": time_text(self.window_end),
            "windows": self.windows,
            "score": self.score,
            "evidence": self.evidence,
            "withheld": self.withheld,
            "folded": self.folded,
            "risk": self.risk,
            "atlas": self.atlas,
            "owasp": self.owasp,
            "tags": self.tags,
            "runbook": self.runbook,
            "link": self.link,
            "evaluated_at": time_text(self.evaluated_at),
        })
    }
}

/// A value as a person would write it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn json_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

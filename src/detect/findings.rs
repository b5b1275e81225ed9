//! What happens to findings: stored ones beside the episodes as they are now.
//!
//! A finding keeps its name for as long as any of its windows is left. What changed is told as events, each with the
//! next revision: `opened`, `updated` when it went on, `revised` when rows that came late changed what was told,
//! `retracted` when they left nothing of it, `resolved` when it ended.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::episode::Episode;
use super::exceptions::Excepted;
use crate::catalog::{Dedup, Rule, RuleKind, Severity};

/// What happened to a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// It is new.
    Opened,
    /// It went on.
    Updated,
    /// What was told of it was not so.
    Revised,
    /// There is nothing left of it.
    Retracted,
    /// It ended.
    Resolved,
}

impl Event {
    /// All of them.
    pub const ALL: [Event; 5] = [
        Event::Opened,
        Event::Updated,
        Event::Revised,
        Event::Retracted,
        Event::Resolved,
    ];

    /// The word in tables.
    pub fn name(self) -> &'static str {
        match self {
            Event::Opened => "opened",
            Event::Updated => "updated",
            Event::Revised => "revised",
            Event::Retracted => "retracted",
            Event::Resolved => "resolved",
        }
    }

    /// The event of that name.
    pub fn from_name(name: &str) -> Option<Event> {
        Event::ALL.into_iter().find(|event| event.name() == name)
    }
}

/// A finding as it stands after its last event.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Stays the same while it is told of.
    pub id: String,
    /// Counts its events, from 1.
    pub revision: i64,
    /// Whether it was taken back.
    pub is_retracted: bool,
    /// Whether nobody is told.
    pub is_suppressed: bool,
    /// Findings of the same subject that nobody was told of since the last one that was.
    pub folded: i64,
    /// The exception by which nobody is told.
    pub excepted: Option<String>,
    /// What it is.
    pub episode: Episode,
}

impl Finding {
    /// `open`, `resolved` or `retracted`.
    pub fn status(&self) -> &'static str {
        match (self.is_retracted, self.episode.is_open) {
            (true, _) => "retracted",
            (false, true) => "open",
            (false, false) => "resolved",
        }
    }
}

/// An event and the finding after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What happened.
    pub event: Event,
    /// The finding now.
    pub finding: Finding,
}

impl Change {
    /// As one JSON object: a line of the machine-readable output.
    pub fn json(&self) -> Value {
        let mut object = match self.finding.episode.json() {
            Value::Object(object) => object,
            _ => Map::new(),
        };
        for (name, value) in [
            ("finding", Value::from(self.finding.id.as_str())),
            ("revision", self.finding.revision.into()),
            ("event", self.event.name().into()),
            ("status", self.finding.status().into()),
            ("suppressed", self.finding.is_suppressed.into()),
            ("excepted", self.finding.excepted.clone().into()),
        ] {
            object.insert(name.to_string(), value);
        }
        Value::Object(object)
    }
}

/// What the windows since `from` make of findings. `stored` are those that may have changed, and those before them
/// that suppression looks back on; `episodes` what there is now; `revised` are the ends of windows that had
/// closed and came to something else, in order.
pub(super) fn changes(
    rule: &Rule,
    stored: Vec<Finding>,
    episodes: Vec<Episode>,
    from: i64,
    revised: &[i64],
    exceptions: &[Excepted],
) -> Vec<Change> {
    let mut left: Vec<Option<Finding>> = stored.into_iter().map(Some).collect();
    let mut muting = Muting::default();
    let mut matched: Vec<(Episode, Option<Finding>)> = Vec::new();
    for episode in episodes {
        let found = left
            .iter()
            .position(|known| {
                known.as_ref().is_some_and(|known| {
                    !known.is_retracted && is_same(rule, &known.episode, &episode)
                })
            })
            .or_else(|| {
                let id = finding_id(rule, &episode);
                left.iter()
                    .position(|known| known.as_ref().is_some_and(|known| known.id == id))
            });
        let known = found.and_then(|index| left[index].take());
        // None of its windows was looked at, so it cannot be new: it was before what was read.
        if known.is_some() || episode.last_window.end >= from {
            matched.push((episode, known));
        }
    }
    let mut changes = Vec::new();
    for known in left.into_iter().flatten() {
        if known.is_retracted || known.episode.last_window.end < from {
            if known.excepted.is_none() {
                muting.saw(rule, &known);
            }
            continue;
        }
        changes.push(Change {
            event: Event::Retracted,
            finding: Finding {
                revision: known.revision + 1,
                is_retracted: true,
                ..known
            },
        });
    }
    matched.sort_by_key(|(episode, _)| episode.first_window.end);
    for (episode, known) in matched {
        let opened = known.as_ref().is_none_or(|known| known.is_retracted);
        let is_different = known
            .as_ref()
            .is_none_or(|known| known.is_retracted || !alike(&known.episode, &episode));
        let excepted = exceptions
            .iter()
            .find(|exception| exception.covers(&episode))
            .map(|exception| exception.exception.id.clone());
        let is_different = is_different
            || known
                .as_ref()
                .is_some_and(|known| known.excepted != excepted);
        let was_open = known.as_ref().is_none_or(|known| known.episode.is_open);
        let was = known.as_ref().map(|known| known.episode.last_window.end);
        let began = known.as_ref().map(|known| known.episode.first_window.end);
        let quiet = rule.quiet.0;
        // What was told hangs on its own windows, and on those around that may join others to it.
        let first = episode.first_window.end.min(began.unwrap_or(i64::MAX));
        let is_past = was.is_some_and(|was| {
            let until = if was_open { was } else { was + quiet };
            let around = first.saturating_sub(quiet)..=until;
            revised.iter().any(|end| around.contains(end))
        });
        let mut finding = Finding {
            id: known
                .as_ref()
                .map_or_else(|| finding_id(rule, &episode), |known| known.id.clone()),
            revision: known.as_ref().map_or(0, |known| known.revision),
            is_retracted: false,
            is_suppressed: rule.kind == RuleKind::Signal || excepted.is_some(),
            folded: 0,
            excepted,
            episode,
        };
        // One that an exception keeps silent says nothing of whether others are to be told.
        if finding.excepted.is_none() {
            if rule.kind != RuleKind::Signal {
                muting.decide(rule, &mut finding);
            }
            muting.saw(rule, &finding);
        }
        let is_open = finding.episode.is_open;
        let mut tell = |event: Event, is_open: bool| {
            finding.revision += 1;
            finding.episode.is_open = is_open;
            changes.push(Change {
                event,
                finding: finding.clone(),
            });
        };
        let can_end = rule.dedup == Dedup::Episode;
        if opened {
            tell(Event::Opened, can_end);
        } else if is_different || (!was_open && is_open) {
            let event = if is_past {
                Event::Revised
            } else {
                Event::Updated
            };
            tell(event, is_open || was_open && can_end);
        }
        if !is_open && can_end && (was_open || opened) {
            tell(Event::Resolved, false);
        }
    }
    changes
}

/// Whether an episode is what became of a finding.
fn is_same(rule: &Rule, known: &Episode, now: &Episode) -> bool {
    known.entity == now.entity
        && match rule.dedup {
            Dedup::Episode => {
                known.first_window.end <= now.last_window.end
                    && now.first_window.end <= known.last_window.end
            }
            Dedup::Window => known.first_window == now.first_window,
            Dedup::Row => known.first_window == now.first_window && alike(known, now),
        }
}

/// Equality but for whether it goes on, and for the last digits of fractions: these depend on the order in which rows
/// were added up.
pub(super) fn alike(a: &Episode, b: &Episode) -> bool {
    let numbers = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => near(a, b),
        (a, b) => a == b,
    };
    (
        a.first_window,
        a.last_window,
        a.windows,
        a.severity,
        a.event_count,
    ) == (
        b.first_window,
        b.last_window,
        b.windows,
        b.severity,
        b.event_count,
    ) && (a.first_seen, a.last_seen, &a.title) == (b.first_seen, b.last_seen, &b.title)
        && numbers(a.score, b.score)
        && same_rows(&a.evidence, &b.evidence)
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// Equality of rows but for the last digits of fractions.
pub(super) fn same_rows(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    a.len() == b.len()
        && a.iter()
            .all(|(name, a)| b.get(name).is_some_and(|b| same_value(a, b)))
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) if x.is_f64() || y.is_f64() => {
            let (x, y) = (x.as_f64(), y.as_f64());
            x.zip(y).is_some_and(|(x, y)| near(x, y))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Object(a), Value::Object(b)) => same_rows(a, b),
        (a, b) => a == b,
    }
}

/// The name of a finding: the same for the same rule, version, entity and first window.
fn finding_id(rule: &Rule, episode: &Episode) -> String {
    let mut hash = Sha256::new();
    let entity = Value::Object(episode.entity.clone()).to_string();
    for part in [
        rule.id.as_bytes(),
        &rule.version.to_le_bytes(),
        &episode.first_window.end.to_le_bytes(),
        entity.as_bytes(),
    ] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    // Rows of one entity in one window are told apart by what they are, not by the order in which they came.
    if rule.dedup == Dedup::Row {
        hash.update(Value::Object(episode.evidence.clone()).to_string());
    }
    hash.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Findings that were seen so far, for suppression.
#[derive(Debug, Default)]
struct Muting {
    seen: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    key: Vec<Value>,
    marks: Vec<Value>,
    at: i64,
    severity: Severity,
    is_suppressed: bool,
}

impl Muting {
    fn saw(&mut self, rule: &Rule, finding: &Finding) {
        if let Some(suppress) = &rule.suppress {
            self.seen.push(Seen {
                key: values(&suppress.by, &finding.episode),
                marks: values(&suppress.break_on, &finding.episode),
                at: finding.episode.first_window.end,
                severity: finding.episode.severity,
                is_suppressed: finding.is_suppressed,
            });
        }
    }

    /// Whether a finding is told, and of how many before it nobody was.
    fn decide(&self, rule: &Rule, finding: &mut Finding) {
        let Some(suppress) = &rule.suppress else {
            return;
        };
        let episode = &finding.episode;
        let (key, at) = (values(&suppress.by, episode), episode.first_window.end);
        let before = |seen: &&Seen| seen.key == key && seen.at < at;
        let told = self
            .seen
            .iter()
            .filter(before)
            .filter(|seen| !seen.is_suppressed)
            .max_by_key(|seen| seen.at);
        let since = told.map_or(i64::MIN, |told| told.at);
        finding.is_suppressed = told.is_some_and(|told| {
            at - told.at < suppress.span.0
                && episode.severity <= told.severity
                && told.marks == values(&suppress.break_on, episode)
        });
        let folded = self
            .seen
            .iter()
            .filter(before)
            .filter(|seen| seen.is_suppressed && seen.at > since);
        finding.folded = folded.count() as i64 + i64::from(finding.is_suppressed);
    }
}

fn values(columns: &[String], episode: &Episode) -> Vec<Value> {
    let value = |column: &String| {
        let value = episode.entity.get(column).or(episode.evidence.get(column));
        value.cloned().unwrap_or_default()
    };
    columns.iter().map(value).collect()
}

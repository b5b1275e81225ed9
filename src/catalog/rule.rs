//! The header of a rule as a checked value: every key of the `rule` block, its meaning and what it may hold.

mod choice;
mod param;
mod read;

use datafusion::common::ScalarValue;
use toml::de::DeValue;

pub use choice::{Dedup, Mode, RuleKind, Severity, Status};
pub use param::{ENGINE_PARAMS, Param, ParamValue};

use super::correlation::Correlation;
use super::derived::{Exemption, Property};
use super::header::{Place, Section, integer, number};
use super::noise::Noise;
use super::span::Span;
use super::view::timestamp;

/// When the same subject is not told again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppress {
    /// How long after a finding that was told.
    pub span: Span,
    /// The columns that make two findings the same; those of the entity unless given.
    pub by: Vec<String>,
    /// Columns whose change breaks the silence. A rise in severity always does.
    pub break_on: Vec<String>,
}

/// What an episode that lasts becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escalate {
    /// How long it must have lasted.
    pub after: Span,
    /// What it then is, at least.
    pub to: Severity,
}

/// What a finding adds to the account of its subject, told or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Risk {
    /// Points.
    pub score: f64,
    /// The column that names whose they are; the first of the entity unless given.
    pub object: String,
}

/// What a rule may use in one run, where it says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RuleBudget {
    /// For its windows, one after the other.
    pub time: Option<Span>,
    /// Bytes for its joins, sorts and aggregates.
    pub memory: Option<u64>,
}

impl RuleBudget {
    fn read(section: &Section<'_, '_>) -> Option<RuleBudget> {
        let memory = section.text("memory").and_then(|text| {
            let bytes = crate::size::parse(&text);
            let bytes = bytes.map_err(|message| section.fault_at("memory", message));
            bytes.ok().map(|bytes| bytes as u64)
        });
        Some(RuleBudget {
            time: section.span("time"),
            memory,
        })
    }
}

/// The column by which a row of an `slo` rule says that there is too little data to go by.
pub const FROZEN: &str = "is_frozen";

/// A rule's header.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Name for ever.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Raised when the meaning changes.
    pub version: i64,
    /// Whether it alerts.
    pub kind: RuleKind,
    /// How mature it is.
    pub status: Status,
    /// The rule that took over from a deprecated one.
    pub replaced_by: Option<String>,
    /// How much a finding matters, unless a row says otherwise.
    pub severity: Severity,
    /// How sure a finding is.
    pub confidence: Severity,
    /// Tables and views it reads.
    pub source: Vec<String>,
    /// Columns of the first source without which nothing can be said.
    pub requires: Vec<String>,
    /// Length of a window.
    pub window: Span,
    /// Step between windows.
    pub every: Span,
    /// How windows lie.
    pub mode: Mode,
    /// History before the window that the query reads.
    pub baseline: Option<Span>,
    /// Smallest `history_count` of a row that is a finding; below it the entity is still being learnt.
    pub min_history: i64,
    /// Output columns that name the subject.
    pub entity: Vec<String>,
    /// What one finding is.
    pub dedup: Dedup,
    /// How long an episode may be clear before it ends; twice the window unless given, and at least `keep`.
    pub quiet: Span,
    /// How long it must fire without a pause before it is a finding.
    pub hold: Span,
    /// Whether windows may be evaluated before they close, where that can only add findings.
    pub early: bool,
    /// How long after its time a row is still expected; a window closes as much later.
    pub lateness: Option<Span>,
    /// How far back rows that come later still change what was found.
    pub late_horizon: Option<Span>,
    /// When the same subject is not told again.
    pub suppress: Option<Suppress>,
    /// What an episode that lasts becomes.
    pub escalate: Option<Escalate>,
    /// What a finding adds to the account of its subject.
    pub risk: Option<Risk>,
    /// Where findings are sent, by name.
    pub sinks: Vec<String>,
    /// What it may use.
    pub budget: RuleBudget,
    /// Numbers that an environment may set.
    pub params: Vec<Param>,
    /// ATLAS techniques.
    pub atlas: Vec<String>,
    /// OWASP entries with their year.
    pub owasp: Vec<String>,
    /// ATT&CK techniques.
    pub attack: Vec<String>,
    /// What it does and why it matters.
    pub description: String,
    /// What it looks for in the findings of other rules.
    pub correlation: Option<Correlation>,
    /// Harmless things that look the same.
    pub false_positives: Vec<String>,
    /// How an attacker goes unseen.
    pub evasion: Vec<String>,
    /// Further reading.
    pub references: Vec<String>,
    /// What to do about a finding.
    pub runbook: Option<String>,
    /// Free words.
    pub tags: Vec<String>,
    /// How many findings it may have where nothing happens.
    pub noise: Option<Noise>,
    /// What it need not hold to of the tests that follow from its own.
    pub exempt: Vec<Exemption>,
    /// Line of the opening fence.
    pub line: usize,
}

impl Rule {
    /// The keys that decide what a rule finds, one a line, for the hash of its meaning.
    pub(crate) fn meaning(&self) -> String {
        use std::fmt::Write;
        let mut text = format!(
            "{:?} {} {} {:?} {:?} {} {} {} {:?} {:?} {:?}",
            self.kind,
            self.window,
            self.every,
            self.mode,
            self.baseline,
            self.min_history,
            self.dedup.name(),
            self.severity.name(),
            self.source,
            self.requires,
            self.entity,
        );
        for param in &self.params {
            let _ = write!(text, "\n{} {}", param.name, param.default.json());
        }
        // Keys that came later count where they are used, so that the others keep their hash.
        if self.hold.0 > 0 {
            let _ = write!(text, "\nfor {}", self.hold);
        }
        if let Some(Escalate { after, to }) = self.escalate {
            let _ = write!(text, "\nescalate {after} {}", to.name());
        }
        if let Some(correlation) = &self.correlation {
            let _ = write!(text, "\n{}", correlation.meaning());
        }
        text
    }

    /// The values of [`ENGINE_PARAMS`] for a window.
    pub(crate) fn engine_values(&self, start: i64, end: i64) -> [(&'static str, ScalarValue); 4] {
        let [window_start, window_end, baseline_start, min_history] = ENGINE_PARAMS;
        [
            (window_start, timestamp(start)),
            (window_end, timestamp(end)),
            (
                baseline_start,
                timestamp(start - self.baseline.map_or(0, |baseline| baseline.0)),
            ),
            (min_history, self.min_history.into()),
        ]
    }

    /// Why a property is not asked of it.
    pub fn exemption(&self, property: Property) -> Option<&str> {
        let mut exempt = self.exempt.iter();
        let found = exempt.find(|exemption| exemption.property == property);
        found.map(|exemption| exemption.reason.as_str())
    }

    /// The parameter of that name.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|param| param.name == name)
    }
}

/// Reads a TOML value as JSON; times become RFC 3339 texts.
pub(crate) fn json(value: Place<'_>) -> serde_json::Value {
    match value.get_ref() {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(json).collect(),
        DeValue::Table(table) => table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), json(value)))
            .collect(),
        other => match integer(other) {
            Some(number) => number.into(),
            None => number(other).into(),
        },
    }
}

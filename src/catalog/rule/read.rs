//! How a header is read, and what one key alone cannot tell.

use super::choice::{Dedup, Mode, RuleKind, Severity, Status};
use super::param::Param;
use super::{Escalate, Risk, Rule, RuleBudget, Suppress};
use crate::catalog::block::Block;
use crate::catalog::correlation::{Correlation, SIGNALS};
use crate::catalog::derived::exemptions;
use crate::catalog::header::{Header, Section};
use crate::catalog::problem::Problem;
use crate::catalog::span::Span;

/// What a rule reads, and in which windows.
struct Reading {
    source: Vec<String>,
    requires: Vec<String>,
    window: Span,
    every: Span,
    mode: Mode,
    is_tumbling_justified: bool,
    baseline: Option<Span>,
    min_history: i64,
    entity: Vec<String>,
    early: bool,
    lateness: Option<Span>,
    late_horizon: Option<Span>,
    correlation: Option<Correlation>,
}

impl Reading {
    /// Every key is asked for before the first `?`, so that one missing key hides no other problem.
    fn of_tables(section: &Section<'_, '_>) -> Option<Reading> {
        let source = section.required("source", |section, key| Some(section.texts(key)));
        let requires = section.required("requires", |section, key| Some(section.texts(key)));
        let window = section.required("window", Section::span);
        let every = section.required("every", Section::span);
        let mode = section
            .choice("mode", &[("hop", Mode::Hop), ("tumbling", Mode::Tumbling)])
            .unwrap_or(Mode::Hop);
        let tumbling_reason = section.text("tumbling_reason");
        let baseline = section.span("baseline");
        let min_history = section.integer("min_history").unwrap_or(0);
        let entity = section.required("entity", |section, key| Some(section.texts(key)));
        let early = section.choice("early", &[("auto", true), ("never", false)]);
        let (lateness, late_horizon) = (section.span("lateness"), section.span("late_horizon"));
        Some(Reading {
            source: source?,
            requires: requires?,
            window: window?,
            every: every?,
            mode,
            is_tumbling_justified: tumbling_reason.is_some(),
            baseline,
            min_history,
            entity: entity?,
            early: early.unwrap_or(true),
            lateness,
            late_horizon,
            correlation: None,
        })
    }

    /// A window holds what may come together with the signals of its last step. It closes, and is looked at again, when
    /// the windows of the signals are.
    fn of_signals(section: &Section<'_, '_>) -> Option<Reading> {
        let every = section.span("every").unwrap_or(Span::minutes(1));
        let early = section.choice("early", &[("auto", true), ("never", false)]);
        let correlation = Correlation::read(section)?;
        if every.0 == 0 || every > correlation.within {
            section.fault_at(
                "every",
                "`every` is longer than nothing and not longer than `within`",
            );
            return None;
        }
        let steps = (correlation.within.0 + every.0).div_euclid(every.0);
        let rest = i64::from((correlation.within.0 + every.0) % every.0 != 0);
        Some(Reading {
            source: vec![SIGNALS.to_string()],
            requires: Vec::new(),
            window: Span((steps + rest) * every.0),
            every,
            mode: Mode::Hop,
            is_tumbling_justified: false,
            baseline: None,
            min_history: 0,
            entity: correlation.by.clone(),
            early: early.unwrap_or(true),
            lateness: None,
            late_horizon: None,
            correlation: Some(correlation),
        })
    }
}

const CONFIDENCES: &[(&str, Severity)] = &[
    ("low", Severity::Low),
    ("medium", Severity::Medium),
    ("high", Severity::High),
];

impl Rule {
    /// Reads a `rule` block.
    ///
    /// # Errors
    /// Every problem of the header.
    pub fn read(block: &Block) -> Result<Rule, Vec<Problem>> {
        Header::read(block, |section| Rule::from_section(section, block.line))
    }

    fn from_section(section: &Section<'_, '_>, line: usize) -> Option<Rule> {
        // Every key is asked for before the first `?`, so that one missing key hides no other problem.
        let id = section.required("id", Section::text);
        let title = section.required("title", Section::text);
        let description = section.required("description", Section::text);
        let version = section.required("version", Section::integer);
        let kind = section.choice(
            "kind",
            &[
                ("query", RuleKind::Query),
                ("signal", RuleKind::Signal),
                ("correlation", RuleKind::Correlation),
                ("absence", RuleKind::Absence),
                ("slo", RuleKind::Slo),
            ],
        );
        let kind = kind.unwrap_or(RuleKind::Query);
        let status = section.required("status", |section, key| {
            section.choice(key, Status::CHOICES)
        });
        let severity = section.required("severity", |section, key| {
            section.choice(key, Severity::CHOICES)
        });
        let confidence = section.required("confidence", |section, key| {
            section.choice(key, CONFIDENCES)
        });
        let reading = match kind {
            RuleKind::Correlation => Reading::of_signals(section),
            _ => Reading::of_tables(section),
        };
        let (window, entity) = (
            reading.as_ref().map(|reading| reading.window),
            reading.as_ref().map(|reading| reading.entity.clone()),
        );
        let dedup = section
            .choice("dedup", Dedup::CHOICES)
            .unwrap_or(Dedup::Episode);
        let quiet = section
            .span("quiet")
            .or(window.map(|window| Span(window.0 * 2)));
        let quiet = quiet.max(section.span("keep"));
        let hold = section.span("for").unwrap_or_default();
        let suppress = section.section("suppress", |section| {
            let span = section.required("for", Section::span);
            let (by, break_on) = (section.texts("by"), section.texts("break_on"));
            let by = if by.is_empty() {
                entity.clone().unwrap_or_default()
            } else {
                by
            };
            Some(Suppress {
                span: span?,
                by,
                break_on,
            })
        });
        let escalate = section.section("escalate", |section| {
            let after = section.required("after", Section::span);
            let to = section.required("to", |section, key| section.choice(key, Severity::CHOICES));
            Some(Escalate {
                after: after?,
                to: to?,
            })
        });
        let risk = section.section("risk", |section| {
            let score = section.required("score", Section::number);
            let first = || entity.as_ref().and_then(|entity| entity.first().cloned());
            let object = section.text("object").or_else(first);
            Some(Risk {
                score: score?,
                object: object?,
            })
        });
        let params = section.entries("params", Param::read);
        let budget = section.section("budget", RuleBudget::read);
        let exempt = section.section("exempt", exemptions).unwrap_or_default();
        let replaced_by = section.text("replaced_by");
        for text in ["owner", "author"] {
            section.text(text);
        }
        let noise = section.text("noise").and_then(|text| match text.parse() {
            Ok(noise) => Some(noise),
            Err(message) => {
                section.fault_at("noise", message);
                None
            }
        });
        let Reading {
            source,
            requires,
            window,
            every,
            mode,
            is_tumbling_justified,
            baseline,
            min_history,
            entity,
            early,
            lateness,
            late_horizon,
            correlation,
        } = reading?;
        let rule = Rule {
            atlas: section.texts("atlas"),
            owasp: section.texts("owasp"),
            attack: section.texts("attack"),
            false_positives: section.texts("false_positives"),
            evasion: section.text_or_texts("evasion"),
            references: section.texts("references"),
            runbook: section.text("runbook"),
            tags: section.texts("tags"),
            noise,
            id: id?,
            title: title?,
            version: version?,
            kind,
            status: status?,
            replaced_by,
            severity: severity?,
            confidence: confidence?,
            source,
            requires,
            window,
            every,
            mode,
            baseline,
            min_history,
            entity,
            dedup,
            quiet: quiet?,
            hold,
            early,
            lateness,
            late_horizon,
            suppress,
            escalate,
            risk,
            sinks: section.texts("sinks"),
            budget: budget.unwrap_or_default(),
            params,
            exempt,
            correlation,
            description: description?,
            line,
        };
        rule.check(section, is_tumbling_justified);
        if let Some(correlation) = &rule.correlation {
            correlation.check(section);
        }
        Some(rule)
    }

    /// What one key alone cannot tell.
    fn check(&self, section: &Section<'_, '_>, tumbling_is_justified: bool) {
        let fault = |key: &str, message: String| section.fault_at(key, message);
        if self.id.is_empty()
            || !self
                .id
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        {
            fault(
                "id",
                format!(
                    "`{}` is not an id: lower-case letters, digits and `-`",
                    self.id
                ),
            );
        }
        if self.title.chars().count() > 80 {
            fault("title", "the title is longer than 80 characters".into());
        }
        if self.version < 1 {
            fault("version", "versions count from 1".into());
        }
        for (key, list) in [("source", &self.source), ("entity", &self.entity)] {
            if list.is_empty() {
                fault(key, format!("`{key}` must name at least one"));
            }
        }
        if self.every.0 == 0 || self.window.0 == 0 || self.window.0 % self.every.0 != 0 {
            fault(
                "window",
                format!(
                    "`window` {} must be a multiple of `every` {}",
                    self.window, self.every
                ),
            );
        }
        match self.mode {
            Mode::Hop if self.every.0 * 2 > self.window.0 => fault(
                "every",
                format!(
                    "`every` {} is more than half of `window` {}: a burst over an edge would be cut",
                    self.every, self.window
                ),
            ),
            Mode::Tumbling if self.every != self.window => {
                fault(
                    "every",
                    "with `mode = \"tumbling\"`, `every` equals `window`".into(),
                );
            }
            Mode::Tumbling if !tumbling_is_justified => {
                fault(
                    "mode",
                    "`mode = \"tumbling\"` needs a `tumbling_reason`".into(),
                );
            }
            _ => {}
        }
        if self.status == Status::Deprecated && self.replaced_by.is_none() {
            fault(
                "status",
                "a deprecated rule names the one that replaces it in `replaced_by`".into(),
            );
        }
        let known = |column: &String| self.entity.contains(column);
        if let Some(suppress) = &self.suppress
            && let Some(column) = suppress.by.iter().find(|column| !known(column))
        {
            fault(
                "suppress",
                format!("`suppress.by` names `{column}`, which is no column of `entity`"),
            );
        }
        if let Some(risk) = &self.risk
            && !known(&risk.object)
        {
            let object = &risk.object;
            fault(
                "risk",
                format!("`risk.object` is `{object}`, which is no column of `entity`"),
            );
        }
        if self.kind == RuleKind::Absence && self.baseline.is_none() {
            fault(
                "baseline",
                "a rule of `kind = \"absence\"` needs a `baseline`: what was there before".into(),
            );
        }
        if self.min_history < 0 || (self.min_history > 0 && self.baseline.is_none()) {
            fault(
                "min_history",
                "`min_history` counts buckets of a `baseline`".into(),
            );
        }
    }
}

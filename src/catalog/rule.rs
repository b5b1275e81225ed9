//! The header of a rule as a checked value: every key of the `rule` block, its meaning and what it may hold.

use toml::de::DeValue;

use super::block::Block;
use super::correlation::{Correlation, SIGNALS};
use super::derived::{Exemption, Property, exemptions};
use super::header::{Header, Place, Section, integer, number};
use super::noise::Noise;
use super::problem::Problem;
use super::span::Span;
use super::view::timestamp;
use datafusion::common::ScalarValue;

/// How much a finding matters. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Severity {
    /// For the record.
    Info,
    /// Look when there is time.
    Low,
    /// Look today.
    Medium,
    /// Look now.
    High,
    /// Wake somebody.
    Critical,
}

impl Severity {
    pub(crate) const CHOICES: &'static [(&'static str, Severity)] = &[
        ("info", Severity::Info),
        ("low", Severity::Low),
        ("medium", Severity::Medium),
        ("high", Severity::High),
        ("critical", Severity::Critical),
    ];

    /// The word in files and tables.
    pub fn name(self) -> &'static str {
        Self::CHOICES[self as usize].0
    }

    /// The severity of that name.
    pub fn from_name(name: &str) -> Option<Severity> {
        Self::CHOICES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, severity)| *severity)
    }
}

/// What a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleKind {
    /// Rows of its query are findings.
    Query,
    /// The same, but never an alert of its own.
    Signal,
    /// What other rules find, together.
    Correlation,
    /// What was there before the window and is not in it.
    Absence,
    /// A promise, and how fast it is broken. Its rows say for whom the data is too thin to say anything.
    Slo,
}

/// How mature a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// An idea.
    Experimental,
    /// Being tried.
    Test,
    /// Relied upon: must have its blind spots, false positives, runbook and tests.
    Stable,
    /// Replaced.
    Deprecated,
}

impl Status {
    const CHOICES: &'static [(&'static str, Status)] = &[
        ("experimental", Status::Experimental),
        ("test", Status::Test),
        ("stable", Status::Stable),
        ("deprecated", Status::Deprecated),
    ];

    /// The word in files.
    pub fn name(self) -> &'static str {
        Self::CHOICES[self as usize].0
    }
}

/// How windows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Overlapping: a window of `window` ends at every multiple of `every`.
    Hop,
    /// Side by side: what straddles an edge is seen in halves.
    Tumbling,
}

/// What one finding is, out of the rows of many windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedup {
    /// Consecutive firing windows of one entity.
    Episode,
    /// Each firing window of an entity.
    Window,
    /// Each row.
    Row,
}

impl Dedup {
    const CHOICES: &'static [(&'static str, Dedup)] = &[
        ("episode", Dedup::Episode),
        ("window", Dedup::Window),
        ("row", Dedup::Row),
    ];

    fn name(self) -> &'static str {
        Self::CHOICES[self as usize].0
    }
}

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

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Flag(bool),
    /// A length of time: an interval in the query.
    Span(Span),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
}

impl ParamValue {
    fn read(value: &DeValue<'_>) -> Option<ParamValue> {
        Some(match value {
            DeValue::Integer(_) => ParamValue::Integer(integer(value)?),
            DeValue::Float(_) => ParamValue::Float(number(value)?),
            DeValue::Boolean(flag) => ParamValue::Flag(*flag),
            DeValue::String(text) => match text.parse() {
                Ok(span) => ParamValue::Span(span),
                Err(_) => ParamValue::Text(text.to_string()),
            },
            DeValue::Array(items) => ParamValue::Texts(
                items
                    .iter()
                    .map(|item| item.get_ref().as_str().map(str::to_string))
                    .collect::<Option<_>>()?,
            ),
            _ => return None,
        })
    }

    /// What the query gets.
    pub fn scalar(&self) -> ScalarValue {
        match self {
            ParamValue::Integer(number) => (*number).into(),
            ParamValue::Float(number) => (*number).into(),
            ParamValue::Flag(flag) => (*flag).into(),
            ParamValue::Span(span) => span.interval(),
            ParamValue::Text(text) => text.as_str().into(),
            ParamValue::Texts(texts) => {
                let texts: Vec<ScalarValue> =
                    texts.iter().map(|text| text.as_str().into()).collect();
                ScalarValue::List(ScalarValue::new_list_nullable(
                    &texts,
                    &arrow::datatypes::DataType::Utf8,
                ))
            }
        }
    }

    /// As JSON, for the record of what an evaluation ran with.
    pub fn json(&self) -> serde_json::Value {
        match self {
            ParamValue::Integer(number) => (*number).into(),
            ParamValue::Float(number) => (*number).into(),
            ParamValue::Flag(flag) => (*flag).into(),
            ParamValue::Span(span) => span.to_string().into(),
            ParamValue::Text(text) => text.as_str().into(),
            ParamValue::Texts(texts) => texts.clone().into(),
        }
    }

    /// As a number, for ranges; a duration in microseconds.
    fn number(&self) -> Option<f64> {
        match self {
            ParamValue::Integer(number) => Some(*number as f64),
            ParamValue::Float(number) => Some(*number),
            ParamValue::Span(span) => Some(span.0 as f64),
            _ => None,
        }
    }

    /// The same value as another kind has it: a bound of a fraction may be written as a whole number.
    pub(crate) fn of_the_kind_of(&self, other: &ParamValue) -> ParamValue {
        match (self, other) {
            (ParamValue::Integer(number), ParamValue::Float(_)) => {
                ParamValue::Float(*number as f64)
            }
            (value, _) => value.clone(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            ParamValue::Integer(_) => "a whole number",
            ParamValue::Float(_) => "a number",
            ParamValue::Flag(_) => "true or false",
            ParamValue::Span(_) => "a duration",
            ParamValue::Text(_) => "a text",
            ParamValue::Texts(_) => "a comma-separated list",
        }
    }
}

/// A number that an environment may set: `$name` in the query.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Without the dollar sign.
    pub name: String,
    /// When nobody sets it.
    pub default: ParamValue,
    /// Smallest value that makes sense.
    pub min: Option<ParamValue>,
    /// Largest value that makes sense.
    pub max: Option<ParamValue>,
    /// Meaning and unit.
    pub doc: String,
    /// Where it is declared.
    pub line: usize,
}

impl Param {
    /// One with these bounds, for tests of what is done with bounds.
    #[cfg(test)]
    pub(crate) fn bounded(
        default: ParamValue,
        min: Option<ParamValue>,
        max: Option<ParamValue>,
    ) -> Param {
        Param {
            name: "p".into(),
            default,
            min,
            max,
            doc: String::new(),
            line: 1,
        }
    }

    fn read(name: &str, section: &Section<'_, '_>) -> Option<Param> {
        let value = |key: &'static str| {
            let place = section.get(key)?;
            let value = ParamValue::read(place.get_ref());
            if value.is_none() {
                section.fault(place, format!("`params.{name}.{key}` must be a number, a text, a duration, a flag or a list of texts"));
            }
            value
        };
        let is_word = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_word || ENGINE_PARAMS.contains(&name) {
            section.fault_at(
                "default",
                format!("`{name}` cannot be the name of a parameter"),
            );
        }
        let param = Param {
            name: name.to_string(),
            min: value("min"),
            max: value("max"),
            doc: section.required("doc", Section::text)?,
            line: section.line(),
            default: section.required("default", |_, key| value(key))?,
        };
        if let Err(message) = param.within(&param.default) {
            section.fault_at("default", message);
        }
        Some(param)
    }

    fn within(&self, value: &ParamValue) -> Result<(), String> {
        let outside = |bound: &Option<ParamValue>, is_outside: fn(f64, f64) -> bool| match (
            bound,
            value.number(),
        ) {
            (Some(bound), Some(number)) => {
                bound.number().is_none_or(|bound| is_outside(number, bound))
            }
            (Some(_), None) => true,
            (None, _) => false,
        };
        if outside(&self.min, |number, bound| number < bound)
            || outside(&self.max, |number, bound| number > bound)
        {
            let shown = |bound: &Option<ParamValue>| {
                bound
                    .as_ref()
                    .map_or("any".to_string(), |bound| bound.json().to_string())
            };
            return Err(format!(
                "`{}` must lie between {} and {}",
                self.name,
                shown(&self.min),
                shown(&self.max)
            ));
        }
        Ok(())
    }

    /// Reads a value as typed on a command line; the default decides the type.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(&self, text: &str) -> Result<ParamValue, String> {
        let value = match &self.default {
            ParamValue::Integer(_) => text.replace('_', "").parse().ok().map(ParamValue::Integer),
            ParamValue::Float(_) => text.parse().ok().map(ParamValue::Float),
            ParamValue::Flag(_) => text.parse().ok().map(ParamValue::Flag),
            ParamValue::Span(_) => text.parse().ok().map(ParamValue::Span),
            ParamValue::Text(_) => Some(ParamValue::Text(text.to_string())),
            ParamValue::Texts(_) => Some(ParamValue::Texts(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(str::to_string)
                    .collect(),
            )),
        };
        let value = value
            .ok_or_else(|| format!("`{}` is {}, not `{text}`", self.name, self.default.kind()))?;
        self.within(&value)?;
        Ok(value)
    }
}

/// The parameters that every query gets from the engine.
pub const ENGINE_PARAMS: [&str; 4] = [
    "window_start",
    "window_end",
    "baseline_start",
    "min_history",
];

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

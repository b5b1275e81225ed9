//! What keys of the header choose between.

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
    pub(super) const CHOICES: &'static [(&'static str, Status)] = &[
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
    pub(super) const CHOICES: &'static [(&'static str, Dedup)] = &[
        ("episode", Dedup::Episode),
        ("window", Dedup::Window),
        ("row", Dedup::Row),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::CHOICES[self as usize].0
    }
}

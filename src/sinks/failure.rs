//! Why a delivery failed, by what is to be done about it.

use std::fmt;

/// A delivery that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What is to be done.
    pub reason: Reason,
    /// What went wrong, without any secret.
    pub why: String,
    /// What the other side said, without any secret; not kept.
    pub answer: Option<String>,
    /// How long the other side wants to be left alone, in microseconds.
    pub after: Option<i64>,
}

/// What a failure says of the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nobody answers: the sink is left alone for a while.
    Unreachable,
    /// It answered that something is wrong with it: this delivery is tried again later, others now.
    Broken,
    /// It refuses what it was sent, and always will.
    Refused,
    /// The settings or a secret are wrong: the sink is left alone for a while.
    Settings,
}

impl Failure {
    fn new(reason: Reason, why: impl Into<String>) -> Failure {
        Failure {
            reason,
            why: why.into(),
            answer: None,
            after: None,
        }
    }

    /// Nobody answers.
    pub(super) fn unreachable(why: impl Into<String>) -> Failure {
        Failure::new(Reason::Unreachable, why)
    }

    /// It answered that something is wrong with it.
    pub(super) fn broken(why: impl Into<String>) -> Failure {
        Failure::new(Reason::Broken, why)
    }

    /// It refuses what it was sent.
    pub(super) fn refused(why: impl Into<String>) -> Failure {
        Failure::new(Reason::Refused, why)
    }

    /// The settings are wrong.
    pub(super) fn settings(why: impl Into<String>) -> Failure {
        Failure::new(Reason::Settings, why)
    }

    /// Whether the sink as a whole is left alone.
    pub(super) fn concerns_the_sink(&self) -> bool {
        matches!(self.reason, Reason::Unreachable | Reason::Settings) || self.after.is_some()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// What the other side answered to a delivery that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// In a word or two, as `202 Accepted`.
    pub status: String,
    /// The beginning of what it said besides.
    pub text: String,
}

impl Answer {
    /// An answer without more words.
    pub(super) fn plain(status: impl Into<String>) -> Answer {
        Answer {
            status: status.into(),
            text: String::new(),
        }
    }
}

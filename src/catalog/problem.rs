//! What is wrong with a versioned SQL file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// How much a [`Problem`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The file must not ship.
    Error,
    /// Worth a look.
    Warning,
}

impl Level {
    /// The word that people and machines read.
    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
        }
    }
}

/// One finding of the parser or of a lint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The lint's code, as `L-TIME`.
    pub code: &'static str,
    /// How much it matters.
    pub level: Level,
    /// The file.
    pub path: PathBuf,
    /// The line in it, counted from one.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to try.
    pub hint: Option<String>,
}

impl Problem {
    /// An error; the file's path is filled in by [`Problem::at`].
    pub fn error(code: &'static str, line: Option<usize>, message: impl Into<String>) -> Problem {
        Problem {
            code,
            level: Level::Error,
            path: PathBuf::new(),
            line,
            message: message.into(),
            hint: None,
        }
    }

    /// A warning.
    pub fn warning(code: &'static str, line: Option<usize>, message: impl Into<String>) -> Problem {
        Problem {
            level: Level::Warning,
            ..Problem::error(code, line, message)
        }
    }

    /// The same with what to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Problem {
        self.hint = hint.into();
        self
    }

    /// The same in a file.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Problem {
        self.path = path.to_path_buf();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {} {}: {}", self.level.name(), self.code, self.message)
    }
}

impl From<Problem> for crate::Error {
    fn from(problem: Problem) -> Self {
        crate::Error::Catalog {
            path: problem.path,
            line: problem.line,
            message: format!("{}: {}", problem.code, problem.message),
            hint: problem.hint,
        }
    }
}

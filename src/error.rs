//! One error type for the library. Variants say what the caller can do about it; fields, not prose, carry the facts.

use std::path::{Path, PathBuf};

/// Shorthand for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The folder is not a store, or is damaged.
    #[error("{message}")]
    Store {
        /// What is wrong.
        message: String,
        /// What to try.
        hint: Option<String>,
    },
    /// Somebody else has changed the store since it was decided what to do; nothing was done.
    #[error("{message}")]
    Moved {
        /// What is no longer as it was.
        message: String,
    },
    /// A table is encrypted, and cannot be opened with the keys that were given.
    #[error("{message}")]
    Locked {
        /// What stays shut, and why.
        message: String,
        /// What opens it.
        hint: String,
    },
    /// The Delta log could not be read or written.
    #[error("transaction log of table `{table}`")]
    Log {
        /// The table.
        table: String,
        /// What the log library said.
        #[source]
        source: Box<delta_kernel::Error>,
    },
    /// A query could not be planned or run.
    #[error(transparent)]
    Query(#[from] datafusion::error::DataFusionError),
    /// A rule or other versioned SQL file is wrong.
    #[error("{}{}: {message}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Catalog {
        /// The file.
        path: PathBuf,
        /// The line in it, counted from one.
        line: Option<usize>,
        /// What is wrong.
        message: String,
        /// What to try.
        hint: Option<String>,
    },
    /// An argument or setting does not fit.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to try.
        hint: Option<String>,
    },
}

impl Error {
    /// For `map_err`: names the file and what was tried.
    pub fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io {
            action,
            path,
            source,
        }
    }

    /// What to try next, where the error knows.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::Store { hint, .. } | Error::Catalog { hint, .. } | Error::Usage { hint, .. } => {
                hint.as_deref()
            }
            Error::Locked { hint, .. } => Some(hint),
            Error::Moved { .. } => Some("run it again: it is decided anew from what is there now"),
            Error::Log { .. } => Some(
                "the log is damaged, or another program has written to it: `inferwatch store verify` says more",
            ),
            Error::Io { .. } | Error::Query(_) => system_hint(self),
        }
    }
}

/// What to try where the system is the reason: it is found however deep it lies.
fn system_hint(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    use std::io::ErrorKind;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(system) = error.downcast_ref::<std::io::Error>() {
            let hint = match system.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                    "the disk, a quota or a limit is full: nothing of this was committed, and what the store had is as it was; \
                     make room, then run again"
                }
                ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
                    "the folder cannot be written to by this user; queries need no more than to read it"
                }
                _ => return None,
            };
            return Some(hint);
        }
        cause = error.source();
    }
    None
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Error::Query(error.into())
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Error::Query(error.into())
    }
}

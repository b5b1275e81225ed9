//! What reaches the terminal: data on stdout, all else on stderr, and no hidden character on either.
//!
//! Values and names that come from logs pass [`escape::visible`] before a person sees them.

pub mod bar;
mod csv;
pub mod escape;
mod json;
pub mod junit;
mod rows;
pub mod sarif;
pub mod table;
pub mod words;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use json::{RowWriter, ValueWriter};
pub use rows::{Format, RowSink, Target, Written};

/// Set once the reader of standard output has gone.
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Standard output, which remembers that its reader went away: `inferwatch … | head` is not an error.
#[derive(Debug, Clone, Copy)]
pub struct Stdout;

impl Stdout {
    /// Whether the reader has gone, so that whatever failed since is no news.
    pub fn is_closed() -> bool {
        STDOUT_CLOSED.load(Ordering::Relaxed)
    }

    fn note<T>(result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            STDOUT_CLOSED.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::note(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::note(io::stdout().flush())
    }
}

/// Prints an error chain once, with the hint on a line of its own.
pub fn error(error: &anyhow::Error) {
    note(&format!("inferwatch: {error:#}"));
    let hint = error.chain().find_map(|cause| {
        let engine = cause.downcast_ref::<crate::Error>();
        engine
            .and_then(crate::Error::hint)
            .or_else(|| cause.downcast_ref::<crate::query::Failure>()?.hint())
    });
    if let Some(hint) = hint {
        note(&format!("hint: {hint}"));
    }
}

/// Tells the person something that is not data. If nobody can hear it, so be it.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", escape::visible_lines(text));
}

/// Prints data and a line end.
///
/// # Errors
/// When standard output cannot be written.
pub fn data(text: &str) -> crate::Result<()> {
    Stdout
        .write_all(text.as_bytes())
        .and_then(|()| Stdout.write_all(b"\n"))
        .map_err(crate::Error::io("write", "standard output"))
}

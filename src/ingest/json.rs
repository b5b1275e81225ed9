//! JSON as the decoders see it: parsed in place, borrowed, never trusted.
//!
//! [`Arena::parse`] reads one JSON text into a flat list of nodes that lives as long as the arena; a [`Value`] is a
//! place in that list and is copied freely. Log producers differ in ways that no schema admits, so the accessors are
//! lenient and the structure is not: numbers may be strings, objects may be JSON inside a string, one-element arrays
//! may stand for their element, keys may differ in case. No integer ever passes through a double.
//!
//! Decoders name a path and the column it fills ([`Value::text`], [`Value::int`], …). The value is then marked as
//! taken, so that [`Value::leftover`] can write everything else into `attributes` and no field is lost, and with a
//! [`Trail`] the same marks explain the mapping to a person.
//!
//! Left out: writing JSON in general (`serde_json` does that) and streams of values (see `split`).

mod parse;
mod read;
mod relax;
mod take;
mod write;

use std::cell::{Cell, RefCell};
use std::fmt;

use bumpalo::Bump;
use bumpalo::collections::Vec as BumpVec;
use simd_json::{Buffers, Node, Tape};

pub use parse::JsonError;
pub(super) use relax::string_end;
pub(crate) use write::write_string;

use parse::parse;

/// Which source path filled which column, collected for a person.
pub type Trail = RefCell<Vec<Mapping>>;

/// One line of a [`Trail`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapping {
    /// Where the value stood, as `input/inputTokenCount`.
    pub path: String,
    /// The column it went to.
    pub column: &'static str,
}

/// Memory for the records of one batch: parsed nodes, unescaped strings, formatted texts.
#[derive(Default)]
pub struct Arena {
    bump: Bump,
    scratch: RefCell<Scratch>,
    trail: Option<Trail>,
}

#[derive(Default)]
struct Scratch {
    buffers: Buffers,
    tape: Option<Tape<'static>>,
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("bytes", &self.bump.allocated_bytes())
            .finish_non_exhaustive()
    }
}

impl Arena {
    /// An empty arena.
    pub fn new() -> Self {
        Self::default()
    }

    /// An arena that keeps the mapping of every record for [`Self::take_trail`].
    pub fn explaining() -> Self {
        Arena {
            trail: Some(Trail::default()),
            ..Self::default()
        }
    }

    /// The mappings since the last call.
    pub fn take_trail(&self) -> Vec<Mapping> {
        self.trail
            .as_ref()
            .map(|trail| std::mem::take(&mut *trail.borrow_mut()))
            .unwrap_or_default()
    }

    /// Forgets everything; the largest block of memory is kept for the next records.
    pub fn reset(&mut self) {
        self.bump.reset();
    }

    /// Keeps a copy of a text.
    pub fn keep(&self, text: &str) -> &str {
        self.bump.alloc_str(text)
    }

    /// Formats into the arena.
    pub fn format(&self, arguments: fmt::Arguments<'_>) -> &str {
        format_in(&self.bump, arguments)
    }

    /// Parses one JSON text. `NaN`, `Infinity` and integers beyond 128 bits, which some producers write, are read as
    /// strings, and half of a surrogate pair as U+FFFD.
    ///
    /// # Errors
    /// When the bytes are not one JSON value, or nest too deep.
    pub fn parse(&self, text: &[u8]) -> Result<Value<'_>, JsonError> {
        parse(&self.bump, &self.scratch, self.trail.as_ref(), text)
    }
}

fn format_in<'a>(bump: &'a Bump, arguments: fmt::Arguments<'_>) -> &'a str {
    use fmt::Write as _;
    let mut text = bumpalo::collections::String::new_in(bump);
    // Writing to memory cannot fail.
    let _ = text.write_fmt(arguments);
    text.into_bump_str()
}

/// What all values of one parsed text share.
struct Doc<'a> {
    nodes: &'a [Node<'a>],
    /// One mark a node: its subtree has a column of its own.
    taken: &'a [Cell<bool>],
    /// Strings that turned out to hold JSON, in the order of their nodes.
    embedded: RefCell<BumpVec<'a, (u32, Option<Value<'a>>)>>,
    /// Where this text was embedded, for paths and leftovers.
    outer: Option<Value<'a>>,
    bump: &'a Bump,
    scratch: &'a RefCell<Scratch>,
    trail: Option<&'a Trail>,
}

impl<'a> Doc<'a> {
    /// What a string turned out to hold, if somebody has looked.
    fn embedded_at(&self, at: u32) -> Option<Option<Value<'a>>> {
        let embedded = self.embedded.borrow();
        let place = embedded.binary_search_by_key(&at, |(at, _)| *at).ok()?;
        Some(embedded[place].1)
    }
}

/// A place in a parsed JSON text.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    doc: &'a Doc<'a>,
    at: u32,
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text, false);
        f.write_str(&text)
    }
}

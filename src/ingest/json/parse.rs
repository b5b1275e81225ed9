//! Text into a flat list of nodes: what is no JSON, too deep or too much is refused, with the reason.

use std::cell::{Cell, RefCell};

use bumpalo::Bump;
use bumpalo::collections::Vec as BumpVec;
use simd_json::{Node, Tape};

use super::relax::{relax, replace_lone_surrogates};
use super::{Doc, Scratch, Trail, Value};

/// Deeper nesting than this is no log record, and would be a way to exhaust the stack.
const MAX_DEPTH: usize = 192;

/// Texts with more values than this are no log records either: each takes some sixty bytes of memory once it is parsed.
const MAX_VALUES: usize = 4 << 20;

/// Why a text is not JSON for us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is not UTF-8.
    #[error("not valid UTF-8")]
    Utf8,
    /// It ends in the middle.
    #[error("ends in the middle of a value")]
    Truncated,
    /// It breaks the grammar.
    #[error("not valid JSON at byte {at}: {what}")]
    Syntax {
        /// Byte offset within the text.
        at: usize,
        /// What the parser said.
        what: String,
    },
    /// It nests too deep.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    Depth,
    /// It has too many values.
    #[error("more than {MAX_VALUES} values")]
    Values,
}

pub(super) fn parse<'a>(
    bump: &'a Bump,
    scratch: &'a RefCell<Scratch>,
    trail: Option<&'a Trail>,
    text: &[u8],
) -> Result<Value<'a>, JsonError> {
    match parse_in(bump, scratch, trail, text, None) {
        Err(JsonError::Syntax { at, what }) => match relax(text) {
            Some(relaxed) => parse_in(bump, scratch, trail, &relaxed, None),
            None => Err(JsonError::Syntax { at, what }),
        },
        result => result,
    }
}

pub(super) fn parse_in<'a>(
    bump: &'a Bump,
    scratch: &'a RefCell<Scratch>,
    trail: Option<&'a Trail>,
    text: &[u8],
    outer: Option<Value<'a>>,
) -> Result<Value<'a>, JsonError> {
    if holds_too_many_values(text) {
        return Err(JsonError::Values);
    }
    let bytes: &'a mut [u8] = bump.alloc_slice_copy(text);
    replace_lone_surrogates(bytes);
    let nodes = {
        let mut scratch = scratch.borrow_mut();
        let mut tape: Tape<'a> = scratch.tape.take().unwrap_or_else(Tape::null).reset();
        let result = simd_json::fill_tape(bytes, &mut scratch.buffers, &mut tape);
        let nodes: &'a [Node<'a>] = match result {
            Ok(()) => bump.alloc_slice_copy(&tape.0),
            Err(_) => &[],
        };
        scratch.tape = Some(tape.reset());
        result.map_err(|error| explain_error(&error, text))?;
        nodes
    };
    check_depth(nodes)?;
    let doc = bump.alloc(Doc {
        nodes,
        taken: bump.alloc_slice_fill_with(nodes.len(), |_| Cell::new(false)),
        embedded: RefCell::new(BumpVec::new_in(bump)),
        outer,
        bump,
        scratch,
        trail,
    });
    Ok(Value { doc, at: 0 })
}

fn explain_error(error: &simd_json::Error, text: &[u8]) -> JsonError {
    use simd_json::ErrorType;
    match error.error() {
        _ if std::str::from_utf8(text).is_err() => JsonError::Utf8,
        ErrorType::Eof | ErrorType::UnterminatedString => JsonError::Truncated,
        _ if !closes(text) => JsonError::Truncated,
        what => JsonError::Syntax {
            at: error.index(),
            what: format!("{what:?}"),
        },
    }
}

/// Whether the last bracket fits the first.
fn closes(text: &[u8]) -> bool {
    match (
        text.trim_ascii_start().first(),
        text.trim_ascii_end().last(),
    ) {
        (Some(b'{'), last) => last == Some(&b'}'),
        (Some(b'['), last) => last == Some(&b']'),
        _ => true,
    }
}

/// By what stands before values, also where it stands in strings: prose has no such share of it.
fn holds_too_many_values(text: &[u8]) -> bool {
    text.len() > MAX_VALUES
        && memchr::memchr3_iter(b',', b':', b'[', text)
            .nth(MAX_VALUES)
            .is_some()
}

fn check_depth(nodes: &[Node<'_>]) -> Result<(), JsonError> {
    let mut ends = [0_usize; MAX_DEPTH];
    let mut depth = 0;
    for (at, node) in nodes.iter().enumerate() {
        while depth > 0 && ends[depth - 1] <= at {
            depth -= 1;
        }
        if let Node::Object { count, .. } | Node::Array { count, .. } = node {
            if depth == MAX_DEPTH {
                return Err(JsonError::Depth);
            }
            ends[depth] = at + 1 + count;
            depth += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::json::Arena;

    #[test]
    fn bad_text_is_told_apart() {
        let arena = Arena::new();
        assert_eq!(
            arena.parse(b"{\"a\":\"\xff\"}").unwrap_err(),
            JsonError::Utf8
        );
        assert_eq!(
            arena.parse(br#"{"a":"x"#).unwrap_err(),
            JsonError::Truncated
        );
        assert_eq!(
            arena.parse(br#"{"a":[1,2"#).unwrap_err(),
            JsonError::Truncated
        );
        assert!(matches!(
            arena.parse(br#"{"a":nope}"#).unwrap_err(),
            JsonError::Syntax { .. }
        ));
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert_eq!(arena.parse(deep.as_bytes()).unwrap_err(), JsonError::Depth);
    }

    #[test]
    fn too_many_values_are_not_held_in_memory() {
        let arena = Arena::new();
        let zeros = |count: usize| format!("[0{}]", ",0".repeat(count - 1));
        assert!(arena.parse(zeros(MAX_VALUES).as_bytes()).is_ok());
        let error = arena.parse(zeros(MAX_VALUES + 1).as_bytes()).unwrap_err();
        assert_eq!(error, JsonError::Values);
    }
}

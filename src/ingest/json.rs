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

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::LazyLock;

use bumpalo::Bump;
use bumpalo::collections::Vec as BumpVec;
use memchr::memmem::Finder;
use simd_json::{Buffers, Node, StaticNode, Tape};

use super::time;
use crate::schema::Micros;

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

fn parse<'a>(
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

fn parse_in<'a>(
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

/// Writes the replacement character over every escape of half a surrogate pair, which Python's `json.dumps` writes for a
/// text that was cut in the middle of a character, and which stands for no character.
fn replace_lone_surrogates(text: &mut [u8]) {
    static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br"\u"));
    const LENGTH: usize = r"\u0000".len();
    let unit = |text: &[u8], at: usize| {
        let escape = text.get(at..at + LENGTH)?.strip_prefix(br"\u")?;
        let digits = std::str::from_utf8(escape).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut at = 0;
    while let Some(ahead) = ESCAPE.find(&text[at..]) {
        let start = at + ahead;
        let before = text[..start].iter().rev();
        let is_escaped = before.take_while(|byte| **byte == b'\\').count() % 2 == 1;
        let behind = start + LENGTH;
        at = start + 2;
        match unit(text, start).filter(|_| !is_escaped) {
            Some(0xd800..=0xdbff) if matches!(unit(text, behind), Some(0xdc00..=0xdfff)) => {
                at = behind + LENGTH;
            }
            Some(0xd800..=0xdfff) => text[start..behind].copy_from_slice(br"\ufffd"),
            _ => {}
        }
    }
}

/// Rewrites what is no JSON but is written all the same: `NaN`, `Infinity` and endless integers become strings.
/// `None` when there is nothing to rewrite.
fn relax(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut changed = false;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => {
                let end = string_end(text, at)?;
                out.extend_from_slice(&text[at..end]);
                at = end;
            }
            b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                let end = text[at..]
                    .iter()
                    .position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z'))
                    .map_or(text.len(), |length| at + length);
                let word = &text[at..end];
                let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
                let odd = matches!(
                    word,
                    b"NaN" | b"nan" | b"Infinity" | b"-Infinity" | b"inf" | b"-inf"
                ) || (digits > 19
                    && word
                        .iter()
                        .all(|byte| byte.is_ascii_digit() || *byte == b'-'));
                if odd {
                    changed = true;
                    out.push(b'"');
                    out.extend_from_slice(word);
                    out.push(b'"');
                } else {
                    out.extend_from_slice(word);
                }
                at = end;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    changed.then_some(out)
}

/// The byte after the string that opens at `start`.
pub(super) fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
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

/// Reading. Nothing here marks a value as taken.
impl<'a> Value<'a> {
    fn node(self) -> Node<'a> {
        self.doc.nodes[self.at as usize]
    }

    fn place(self, at: u32) -> Value<'a> {
        Value { doc: self.doc, at }
    }

    /// The node after this value.
    fn end(self) -> u32 {
        match self.node() {
            Node::Object { count, .. } | Node::Array { count, .. } => self.at + 1 + count as u32,
            _ => self.at + 1,
        }
    }

    /// Whether this is an object.
    pub fn is_object(self) -> bool {
        matches!(self.node(), Node::Object { .. })
    }

    /// Whether this is an array.
    pub fn is_array(self) -> bool {
        matches!(self.node(), Node::Array { .. })
    }

    /// Whether this is `null`.
    pub fn is_null(self) -> bool {
        matches!(self.node(), Node::Static(StaticNode::Null))
    }

    /// The string, if this is one, as it stands.
    pub fn as_str(self) -> Option<&'a str> {
        match self.node() {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a non-empty string, a number or a boolean; of an array of one, its element's.
    pub fn as_text(self) -> Option<&'a str> {
        match self.node() {
            Node::String("") => None,
            Node::String(text) => Some(text),
            Node::Static(StaticNode::Null) | Node::Object { .. } => None,
            Node::Static(StaticNode::Bool(flag)) => Some(if flag { "true" } else { "false" }),
            Node::Static(_) => {
                let mut text = String::new();
                self.write(&mut text, false);
                Some(self.doc.bump.alloc_str(&text))
            }
            Node::Array { .. } => self.only_item()?.as_text(),
        }
    }

    /// A whole number, also from a decimal string, a double without a fraction, or an array of one.
    pub fn as_int(self) -> Option<i64> {
        match self.node() {
            Node::Static(StaticNode::I64(number)) => Some(number),
            Node::Static(StaticNode::U64(number)) => i64::try_from(number).ok(),
            Node::Static(StaticNode::F64(number)) => {
                // Beyond 2^53 a double no longer names one integer.
                (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0)
                    .then_some(number as i64)
            }
            Node::String(text) => {
                let text = text.trim();
                text.parse().ok().or_else(|| {
                    let (whole, fraction) = text.split_once('.')?;
                    if fraction.bytes().all(|digit| digit == b'0') {
                        whole.parse().ok()
                    } else {
                        None
                    }
                })
            }
            Node::Array { .. } => self.only_item()?.as_int(),
            _ => None,
        }
    }

    /// A finite number, also from a decimal string or an array of one.
    pub fn as_float(self) -> Option<f64> {
        let number = match self.node() {
            Node::Static(StaticNode::F64(number)) => number,
            Node::Static(StaticNode::I64(number)) => number as f64,
            Node::Static(StaticNode::U64(number)) => number as f64,
            Node::Static(StaticNode::I128(number)) => number as f64,
            Node::Static(StaticNode::U128(number)) => number as f64,
            Node::String(text) => text.trim().parse().ok()?,
            Node::Array { .. } => self.only_item()?.as_float()?,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }

    /// A boolean, also from `"true"`, `"False"`, `0`, `1`.
    pub fn as_bool(self) -> Option<bool> {
        match self.node() {
            Node::Static(StaticNode::Bool(flag)) => Some(flag),
            Node::Static(StaticNode::I64(0) | StaticNode::U64(0)) => Some(false),
            Node::Static(StaticNode::I64(1) | StaticNode::U64(1)) => Some(true),
            Node::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Node::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A point in time in any of the spellings that logs use.
    pub fn as_time(self) -> Option<time::Read> {
        match self.node() {
            Node::String(text) => time::parse(text),
            Node::Static(StaticNode::F64(number)) => time::from_float(number),
            Node::Array { .. } => self.only_item()?.as_time(),
            _ => time::from_int(self.as_int()?),
        }
    }

    fn only_item(self) -> Option<Value<'a>> {
        match self.node() {
            Node::Array { len: 1, .. } => Some(self.place(self.at + 1)),
            _ => None,
        }
    }

    /// The elements of an array; nothing for any other value.
    pub fn items(self) -> impl Iterator<Item = Value<'a>> {
        let (mut next, end) = if self.is_array() {
            (self.at + 1, self.end())
        } else {
            (0, 0)
        };
        std::iter::from_fn(move || {
            let item = (next < end).then(|| self.place(next))?;
            next = item.end();
            Some(item)
        })
    }

    /// The elements of an array, or the value itself where a lone one stands for a list. `null` is no element.
    pub fn items_or_self(self) -> impl Iterator<Item = Value<'a>> {
        let lone = (!self.is_array() && !self.is_null()).then_some(self);
        self.items().chain(lone)
    }

    /// Keys and values of an object; nothing for any other value.
    pub fn entries(self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        let (mut next, end) = if self.is_object() {
            (self.at + 1, self.end())
        } else {
            (0, 0)
        };
        std::iter::from_fn(move || {
            let Node::String(key) = *self.doc.nodes.get(next as usize).filter(|_| next < end)?
            else {
                return None;
            };
            let value = self.place(next + 1);
            next = value.end();
            Some((key, value))
        })
    }

    /// The value of a key: spelled exactly so, else in another case; of duplicate keys the last. A string that holds
    /// a JSON object is looked into. `null` counts as absent.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        let mut exact = None;
        let mut folded = None;
        for (name, value) in self.object()?.entries() {
            if name.len() == key.len() && name.eq_ignore_ascii_case(key) {
                if name == key {
                    exact = Some(value);
                } else {
                    folded = Some(value);
                }
            }
        }
        exact.or(folded).filter(|value| !value.is_null())
    }

    /// The value at a path of keys joined by `/`, as `input/inputTokenCount`.
    pub fn find(self, path: &str) -> Option<Value<'a>> {
        path.split('/').try_fold(self, |value, key| value.get(key))
    }

    /// This value if it is an object, or the object that its string holds.
    pub fn object(self) -> Option<Value<'a>> {
        if self.is_object() {
            Some(self)
        } else {
            self.unembed().filter(|value| value.is_object())
        }
    }

    /// This value, or the JSON object or array that its string holds.
    pub fn structure(self) -> Value<'a> {
        self.unembed().unwrap_or(self)
    }

    /// The JSON object or array inside a string, parsed once.
    fn unembed(self) -> Option<Value<'a>> {
        let text = self.as_str()?.trim();
        let looks_like_json = (text.starts_with('{') && text.ends_with('}'))
            || (text.starts_with('[') && text.ends_with(']'));
        if !looks_like_json || self.nesting() >= 4 {
            return None;
        }
        let doc = self.doc;
        if let Some(known) = doc.embedded_at(self.at) {
            return known;
        }
        let value = parse_in(
            doc.bump,
            doc.scratch,
            doc.trail,
            text.as_bytes(),
            Some(self),
        )
        .ok();
        let mut embedded = doc.embedded.borrow_mut();
        let place = embedded.partition_point(|(at, _)| *at < self.at);
        embedded.insert(place, (self.at, value));
        value
    }

    /// Parses a text made from this value's: one event of a stream, the whole part of a cut body. The result lives as
    /// long as the record, and is no part of [`Self::leftover`]: mark this value. `None` when it is no JSON.
    pub(crate) fn parse_within(self, text: &str) -> Option<Value<'a>> {
        if self.nesting() >= 4 {
            return None;
        }
        let doc = self.doc;
        parse_in(
            doc.bump,
            doc.scratch,
            doc.trail,
            text.as_bytes(),
            Some(self),
        )
        .ok()
    }

    /// How many texts this one is embedded in.
    fn nesting(self) -> usize {
        std::iter::successors(self.doc.outer, |outer| outer.doc.outer).count()
    }
}

/// Mapping: every one of these marks the value as taken if it could be read, and leaves it in `attributes` if not.
impl<'a> Value<'a> {
    /// Whether this value as a whole has a column already.
    pub(crate) fn is_taken(self) -> bool {
        self.doc.taken[self.at as usize].get()
    }

    /// Marks this value, with all that is inside it, as having a column of its own.
    pub fn mark(self, column: &'static str) -> Value<'a> {
        self.doc.taken[self.at as usize].set(true);
        if let Some(trail) = self.doc.trail {
            trail.borrow_mut().push(Mapping {
                path: self.path(),
                column,
            });
        }
        self
    }

    /// The value at `path`, marked.
    pub fn take(self, path: &str, column: &'static str) -> Option<Value<'a>> {
        self.find(path).map(|value| value.mark(column))
    }

    /// Marks the value at `path` as known and deliberately not kept.
    pub fn drop_field(self, path: &str) {
        if let Some(value) = self.find(path) {
            value.mark("-");
        }
    }

    /// Text at `path`; an empty string counts as absent.
    pub fn text(self, path: &str, column: &'static str) -> Option<&'a str> {
        self.read(path, column, Value::as_text)
    }

    /// Text at the first of `paths` that has one.
    pub fn text_of(self, paths: &[&str], column: &'static str) -> Option<&'a str> {
        paths.iter().find_map(|path| self.text(path, column))
    }

    /// Whole number at `path`.
    pub fn int(self, path: &str, column: &'static str) -> Option<i64> {
        self.read(path, column, Value::as_int)
    }

    /// Whole number at the first of `paths` that has one.
    pub fn int_of(self, paths: &[&str], column: &'static str) -> Option<i64> {
        paths.iter().find_map(|path| self.int(path, column))
    }

    /// Whole number of 32 bits at `path`.
    pub fn int32(self, path: &str, column: &'static str) -> Option<i32> {
        self.read(path, column, |value| i32::try_from(value.as_int()?).ok())
    }

    /// Number at `path`.
    pub fn float(self, path: &str, column: &'static str) -> Option<f64> {
        self.read(path, column, Value::as_float)
    }

    /// Number at `path` that cannot be negative, as a duration.
    pub fn positive(self, path: &str, column: &'static str) -> Option<f64> {
        self.read(path, column, |value| {
            value.as_float().filter(|number| *number >= 0.0)
        })
    }

    /// Boolean at `path`.
    pub fn flag(self, path: &str, column: &'static str) -> Option<bool> {
        self.read(path, column, Value::as_bool)
    }

    /// Time at `path`. Where microseconds in UTC cannot hold all that was written, the original stays in
    /// `attributes` as well.
    pub fn time(self, path: &str, column: &'static str) -> Option<Micros> {
        let value = self.find(path)?;
        let read = value.as_time()?;
        if read.exact {
            value.mark(column);
        } else if let Some(trail) = self.doc.trail {
            trail.borrow_mut().push(Mapping {
                path: value.path(),
                column,
            });
        }
        Some(read.micros)
    }

    /// Texts of an array, or of a lone value, at `path`.
    pub fn texts(self, path: &str, column: &'static str) -> Vec<&'a str> {
        match self.take(path, column) {
            Some(value) => value.items_or_self().filter_map(Value::as_text).collect(),
            None => Vec::new(),
        }
    }

    fn read<T>(
        self,
        path: &str,
        column: &'static str,
        read: impl Fn(Value<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.find(path)?;
        let found = read(value)?;
        value.mark(column);
        Some(found)
    }

    /// Where this value stands: keys and positions from the record's root, joined by `/`.
    pub fn path(self) -> String {
        let mut steps = match self.doc.outer {
            Some(outer) => outer.path(),
            None => String::new(),
        };
        let mut place = self.place(0);
        'down: while place.at != self.at {
            for (index, child) in place.items().enumerate() {
                if (child.at..child.end()).contains(&self.at) {
                    push_step(&mut steps, &index.to_string());
                    place = child;
                    continue 'down;
                }
            }
            for (key, child) in place.entries() {
                if (child.at..child.end()).contains(&self.at) {
                    push_step(&mut steps, key);
                    place = child;
                    continue 'down;
                }
            }
            break;
        }
        steps
    }

    /// Keeps a text as long as the record.
    pub fn keep(self, text: &str) -> &'a str {
        self.doc.bump.alloc_str(text)
    }

    /// Formats a text that lives as long as the record.
    pub fn format(self, arguments: fmt::Arguments<'_>) -> &'a str {
        format_in(self.doc.bump, arguments)
    }
}

fn push_step(path: &mut String, step: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(step);
}

/// Writing back.
impl<'a> Value<'a> {
    /// This value as compact JSON.
    pub fn to_json(self) -> &'a str {
        let mut text = String::new();
        self.write(&mut text, false);
        self.doc.bump.alloc_str(&text)
    }

    /// Everything in this value that has no column of its own, as compact JSON; `None` when nothing is left.
    pub fn leftover(self) -> Option<&'a str> {
        let mut text = String::new();
        self.write(&mut text, true)
            .then(|| &*self.doc.bump.alloc_str(&text))
    }

    /// Keys that stand more than once on the top level of this object.
    pub fn has_duplicate_keys(self) -> bool {
        let mut keys: Vec<&str> = self.entries().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Appends this value; with `untaken` only what no column took, `null` and empty containers left out too. Returns
    /// whether anything was written.
    fn write(self, out: &mut String, untaken: bool) -> bool {
        use fmt::Write as _;
        if untaken && (self.doc.taken[self.at as usize].get() || self.is_null()) {
            return false;
        }
        if untaken && let Some(Some(inner)) = self.doc.embedded_at(self.at) {
            return inner.write(out, true);
        }
        match self.node() {
            Node::String(text) => write_string(out, text),
            Node::Static(StaticNode::F64(number)) => {
                // The shortest decimal that reads back as the same double.
                match serde_json::Number::from_f64(number) {
                    Some(number) => drop(write!(out, "{number}")),
                    None => out.push_str("null"),
                }
            }
            Node::Static(number) => {
                let _ = write!(out, "{number}");
            }
            Node::Array { .. } => {
                let start = out.len();
                out.push('[');
                let mut any = false;
                for item in self.items() {
                    let before = out.len();
                    if any {
                        out.push(',');
                    }
                    if item.write(out, untaken) {
                        any = true;
                    } else {
                        out.truncate(before);
                    }
                }
                if untaken && !any {
                    out.truncate(start);
                    return false;
                }
                out.push(']');
            }
            Node::Object { .. } => {
                let start = out.len();
                out.push('{');
                let mut any = false;
                for (key, value) in self.entries() {
                    let before = out.len();
                    if any {
                        out.push(',');
                    }
                    write_string(out, key);
                    out.push(':');
                    if value.write(out, untaken) {
                        any = true;
                    } else {
                        out.truncate(before);
                    }
                }
                if untaken && !any {
                    out.truncate(start);
                    return false;
                }
                out.push('}');
            }
        }
        true
    }
}

/// Appends a JSON string literal.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest
        .bytes()
        .position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte => {
                use fmt::Write as _;
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_every_digit() {
        let arena = Arena::new();
        let value = arena
            .parse(br#"{"ticks":638515262815394150,"id":5374205265901353984,"text":"42","one":[7],"f":3.0,"nan":NaN,"huge":123456789012345678901234567890123456789012345}"#)
            .unwrap();
        assert_eq!(value.int("ticks", "t"), Some(638_515_262_815_394_150));
        assert_eq!(value.text("id", "t"), Some("5374205265901353984"));
        assert_eq!(value.int("text", "t"), Some(42));
        assert_eq!(value.int("one", "t"), Some(7));
        assert_eq!(value.int("f", "t"), Some(3));
        assert_eq!(value.float("nan", "t"), None);
        assert_eq!(
            value.text("huge", "t"),
            Some("123456789012345678901234567890123456789012345")
        );
    }

    #[test]
    fn half_a_surrogate_pair_is_the_replacement_character() {
        let arena = Arena::new();
        for (text, expected) in [
            (r#"["\ud83d\ude00"]"#, "\u{1f600}"),
            (r#"["a\ud800"]"#, "a\u{fffd}"),
            (r#"["\uDFFFb"]"#, "\u{fffd}b"),
            (r#"["\ud800 \udfff"]"#, "\u{fffd} \u{fffd}"),
            (r#"["\udfff\ud800"]"#, "\u{fffd}\u{fffd}"),
            (r#"["\ud800\ud83d\ude00"]"#, "\u{fffd}\u{1f600}"),
            (r#"["\ud800\u0041"]"#, "\u{fffd}A"),
            (r#"["\ud800\n"]"#, "\u{fffd}\n"),
            // A backslash that is escaped begins no escape.
            (r#"["\\ud800"]"#, r"\ud800"),
            (r#"["\\\ud800"]"#, "\\\u{fffd}"),
            (r#"["\u0000\ud7ff\ue000"]"#, "\0\u{d7ff}\u{e000}"),
        ] {
            let value = arena.parse(text.as_bytes()).unwrap();
            assert_eq!(value.as_text(), Some(expected), "{text}");
        }
        let embedded = arena.parse(br#"{"p":"{\"q\":\"\\ud800\"}"}"#).unwrap();
        assert_eq!(embedded.text("p/q", "c"), Some("\u{fffd}"));
        for text in [r#"["\ud8"]"#, r#"["\ud80g"]"#, r#"["\u+800"]"#] {
            assert!(arena.parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_no_column_took_is_left_over() {
        let arena = Arena::explaining();
        let value = arena
            .parse(br#"{"a":1,"b":{"c":"x","d":null,"e":[]},"p":"{\"q\":\"\\\"r\\\"\",\"s\":2}","F":true}"#)
            .unwrap();
        assert_eq!(value.int("a", "first"), Some(1));
        assert_eq!(value.text("p/q", "second"), Some("\"r\""));
        assert_eq!(value.flag("f", "third"), Some(true));
        assert_eq!(value.leftover(), Some(r#"{"b":{"c":"x"},"p":{"s":2}}"#));
        let trail: Vec<_> = arena
            .take_trail()
            .into_iter()
            .map(|m| (m.path, m.column))
            .collect();
        assert_eq!(
            trail,
            [
                ("a".into(), "first"),
                ("p/q".into(), "second"),
                ("F".into(), "third")
            ]
        );
    }

    #[test]
    fn the_last_of_duplicate_keys_wins() {
        let arena = Arena::new();
        let value = arena.parse(br#"{"a":1,"a":2}"#).unwrap();
        assert!(value.has_duplicate_keys());
        assert_eq!(value.int("a", "t"), Some(2));
    }

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

    /// To look through all of them for each would take minutes.
    #[test]
    fn a_hundred_thousand_texts_of_json_are_each_found_at_once() {
        let arena = Arena::new();
        let texts = vec![r#""{\"a\":1}""#; 100_000].join(",");
        let value = arena.parse(format!("[{texts}]").as_bytes()).unwrap();
        let sum: i64 = value.items().filter_map(|item| item.int("a", "c")).sum();
        assert_eq!((sum, value.leftover()), (100_000, None));
    }

    #[test]
    fn an_inexact_time_stays_left_over() {
        let arena = Arena::new();
        let value = arena
            .parse(br#"{"t":"2026-03-02T10:00:00.123456789Z"}"#)
            .unwrap();
        assert_eq!(
            value.time("t", "event_time"),
            Some(Micros(1_772_445_600_123_456))
        );
        assert_eq!(
            value.leftover(),
            Some(r#"{"t":"2026-03-02T10:00:00.123456789Z"}"#)
        );
    }
}

//! Cuts a stream of bytes into JSON values without reading ahead more than one value.
//!
//! Producers write one object a line, objects one after another with nothing between them, pretty-printed objects,
//! arrays of objects, and envelopes around an array of objects that may be gigabytes long. The scanner knows just
//! enough grammar to find where a value ends, and where a damaged one must end: a raw line break inside a string, or
//! an object that opens where the grammar has no place for one, closes the damaged value and the next begins.

/// Larger values are no log records; they are set aside, never held in memory.
pub(super) const MAX_VALUE: usize = 32 << 20;

/// Keys of envelopes whose array is streamed element by element.
const ENVELOPES: [&[u8]; 5] = [b"Records", b"records", b"entries", b"events", b"logEvents"];

/// An envelope that has not ended after so many bytes is opened; smaller ones are values like any other.
const ENVELOPE_FROM: usize = 4 << 20;

/// What was found in the stream, as offsets into the bytes given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// A value, or text that no grammar fits: parsing tells.
    Value {
        /// First byte.
        start: usize,
        /// Byte after the last.
        end: usize,
    },
    /// A value larger than [`MAX_VALUE`] begins here; it is skipped.
    Oversized {
        /// First byte.
        start: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between values of the stream.
    Top,
    /// Between elements of an array; an enveloping object is still open around it or not.
    Array { enveloped: bool },
    /// Behind the array of an envelope, before its closing bracket.
    Tail,
    /// Inside an oversized value.
    Skipping,
}

/// Finds values in a stream that arrives in blocks.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    /// The state to return to when a skipped value ends.
    outer: State,
    /// Open brackets of a value that is skipped over rather than kept.
    open: Vec<u8>,
    in_string: bool,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Scanner {
            state: State::Top,
            outer: State::Top,
            open: Vec::new(),
            in_string: false,
        }
    }

    /// Reports every value that ends within `bytes` and returns how many bytes are done with; the caller gives the
    /// rest again with more behind it.
    pub(super) fn scan(&mut self, bytes: &[u8], mut found: impl FnMut(Piece)) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Tail | State::Skipping => {
                    at = self.skip(bytes, at);
                }
                State::Top | State::Array { .. } => {
                    let byte = bytes[at];
                    let in_array = matches!(self.state, State::Array { .. });
                    match byte {
                        b' ' | b'\t' | b'\r' | b'\n' | 0x1e => at += 1,
                        b',' if in_array => at += 1,
                        b']' if in_array => {
                            at += 1;
                            if self.state == (State::Array { enveloped: true }) {
                                self.open = vec![b'{'];
                                self.outer = State::Top;
                                self.state = State::Tail;
                            } else {
                                self.state = State::Top;
                            }
                        }
                        b'[' if !in_array => {
                            at += 1;
                            self.state = State::Array { enveloped: false };
                        }
                        b'{' | b'[' => match value_end(&bytes[at..]) {
                            End::At(length) => {
                                found(Piece::Value {
                                    start: at,
                                    end: at + length,
                                });
                                at += length;
                            }
                            End::Beyond if !in_array && bytes.len() - at > ENVELOPE_FROM => {
                                match envelope(&bytes[at..]) {
                                    Some(length) => {
                                        at += length;
                                        self.state = State::Array { enveloped: true };
                                    }
                                    None if bytes.len() - at > MAX_VALUE => {
                                        found(Piece::Oversized { start: at });
                                        self.skip_value();
                                    }
                                    None => return at,
                                }
                            }
                            End::Beyond if bytes.len() - at > MAX_VALUE => {
                                found(Piece::Oversized { start: at });
                                self.skip_value();
                            }
                            End::Beyond => return at,
                        },
                        _ => match garbage_end(&bytes[at..], in_array) {
                            Some(length) => {
                                found(Piece::Value {
                                    start: at,
                                    end: at + length,
                                });
                                at += length;
                            }
                            None if bytes.len() - at > MAX_VALUE => {
                                found(Piece::Oversized { start: at });
                                return bytes.len();
                            }
                            None => return at,
                        },
                    }
                }
            }
        }
        at
    }

    fn skip_value(&mut self) {
        self.outer = self.state;
        self.state = State::Skipping;
        self.open.clear();
        self.in_string = false;
    }

    /// Passes over the rest of an open value without keeping it.
    fn skip(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while at < bytes.len() {
            if self.in_string {
                match memchr::memchr2(b'"', b'\\', &bytes[at..]) {
                    None => return bytes.len(),
                    Some(ahead) if bytes[at + ahead] == b'\\' => {
                        // A pair that the block's end cuts in two is looked at again as if it stood alone: at worst
                        // a quote is misread, and the damage ends with this value.
                        at += ahead + 2;
                    }
                    Some(ahead) => {
                        at += ahead + 1;
                        self.in_string = false;
                    }
                }
                continue;
            }
            match bytes[at] {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.open.push(bytes[at]),
                b'}' | b']' => {
                    self.open.pop();
                    if self.open.is_empty() {
                        self.state = self.outer;
                        return at + 1;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        bytes.len()
    }
}

enum End {
    At(usize),
    Beyond,
}

/// The length of the value that opens at the first byte.
fn value_end(bytes: &[u8]) -> End {
    let mut open: Vec<u8> = Vec::with_capacity(32);
    let mut previous = b':';
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'"' => {
                at = match line_string_end(bytes, at) {
                    Ok(end) => end,
                    Err(end) => return end,
                };
                previous = b'"';
                continue;
            }
            b'{' | b'[' => {
                let fits = match open.last() {
                    Some(b'{') => previous == b':',
                    Some(_) => matches!(previous, b'[' | b','),
                    None => true,
                };
                if !fits {
                    return End::At(at);
                }
                open.push(byte);
            }
            b'}' | b']' => {
                open.pop();
                if open.is_empty() {
                    return End::At(at + 1);
                }
            }
            _ => {}
        }
        previous = byte;
        at += 1;
    }
    End::Beyond
}

/// The byte after the string that opens at `start`, or where the value ends with it: no string holds a raw line break, so
/// one that meets it was cut off. Nothing behind that line is looked at, or many such lines would each look at all the rest.
fn line_string_end(bytes: &[u8], start: usize) -> Result<usize, End> {
    let mut at = start + 1;
    while let Some(ahead) = bytes
        .get(at..)
        .and_then(|rest| memchr::memchr3(b'"', b'\\', b'\n', rest))
    {
        at += ahead;
        match bytes[at] {
            b'"' => return Ok(at + 1),
            b'\n' => return Err(End::At(at)),
            _ if bytes.get(at + 1) == Some(&b'\n') => return Err(End::At(at + 1)),
            _ => at += 2,
        }
    }
    Err(End::Beyond)
}

/// The length of text that opens no value: up to the line's end, or to what closes or separates elements.
fn garbage_end(bytes: &[u8], in_array: bool) -> Option<usize> {
    bytes
        .iter()
        .position(|byte| *byte == b'\n' || (in_array && matches!(byte, b',' | b']')))
}

/// The length of `{"Records":[`, if that is how the text begins.
fn envelope(bytes: &[u8]) -> Option<usize> {
    let blank = |at: usize| {
        at + bytes[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count()
    };
    let mut at = blank(1);
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let rest = &bytes[at + 1..];
    let key = ENVELOPES
        .iter()
        .find(|key| rest.starts_with(key) && rest.get(key.len()) == Some(&b'"'))?;
    at = blank(at + key.len() + 2);
    if bytes.get(at) != Some(&b':') {
        return None;
    }
    at = blank(at + 1);
    (bytes.get(at) == Some(&b'[')).then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a text, whatever the size of the blocks it arrives in.
    fn values(text: &str, block: usize) -> Vec<String> {
        let mut scanner = Scanner::new();
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        for bytes in text.as_bytes().chunks(block) {
            buffer.extend_from_slice(bytes);
            let done = scanner.scan(&buffer, |piece| {
                let Piece::Value { start, end } = piece else {
                    panic!("nothing here is oversized")
                };
                found.push((start, end));
            });
            for (start, end) in found.drain(..) {
                out(&mut buffer, start, end);
            }
            buffer.drain(..done);
        }
        fn out(buffer: &mut [u8], start: usize, end: usize) {
            RESULT.with_borrow_mut(|r| {
                r.push(String::from_utf8_lossy(&buffer[start..end]).into_owned())
            });
        }
        if !buffer.trim_ascii().is_empty() {
            RESULT.with_borrow_mut(|r| {
                r.push(format!("…{}", String::from_utf8_lossy(buffer.trim_ascii())))
            });
        }
        RESULT.take()
    }

    thread_local! {
        static RESULT: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
    }

    fn same_at_every_block_size(text: &str, expected: &[&str]) {
        for block in [1, 2, 3, 7, 16, 64, 4096] {
            assert_eq!(values(text, block), expected, "blocks of {block}");
        }
    }

    #[test]
    fn lines_concatenation_and_pretty_print_are_the_same() {
        let expected = [r#"{"a":1}"#, r#"{"b":{"c":"}{"}}"#];
        same_at_every_block_size("{\"a\":1}\n{\"b\":{\"c\":\"}{\"}}\n", &expected);
        same_at_every_block_size("{\"a\":1}{\"b\":{\"c\":\"}{\"}}", &expected);
        same_at_every_block_size(
            "{\n \"a\": 1\n}\n{\n \"b\": [\n1\n]}",
            &["{\n \"a\": 1\n}", "{\n \"b\": [\n1\n]}"],
        );
    }

    #[test]
    fn arrays_and_envelopes_give_their_elements() {
        same_at_every_block_size(r#"[{"a":1}, {"b":2}]"#, &[r#"{"a":1}"#, r#"{"b":2}"#]);
    }

    #[test]
    fn a_large_envelope_gives_its_elements_and_a_small_one_itself() {
        let small = r#"{"Records":[{"a":1}],"x":2}"#;
        same_at_every_block_size(small, &[small]);
        let element = format!("{{\"a\":\"{}\"}}", "x".repeat(1000));
        let elements = vec![element.as_str(); 8000];
        let large = format!(
            "{{ \"Records\" : [{}],\"x\":{{\"y\":\"]}}\"}}}} {{\"c\":3}}",
            elements.join(",")
        );
        let found = values(&large, 1 << 20);
        assert_eq!(found.len(), 8001);
        assert!(found[..8000].iter().all(|value| *value == element));
        assert_eq!(found[8000], r#"{"c":3}"#);
    }

    #[test]
    fn a_damaged_value_ends_where_the_next_begins() {
        same_at_every_block_size("{\"a\":\"cut\n{\"b\":2}\n", &["{\"a\":\"cut", r#"{"b":2}"#]);
        same_at_every_block_size("{\"a\":1,\n{\"b\":2}\n", &["{\"a\":1,\n", r#"{"b":2}"#]);
        same_at_every_block_size("nonsense\n{\"b\":2}\n", &["nonsense", r#"{"b":2}"#]);
    }

    /// Half a million lines that each open a string: to look for its end in all that follows would take an hour.
    #[test]
    fn strings_that_never_end_are_looked_at_once() {
        let lines = 1 << 19;
        let text = "{\\\"\n".repeat(lines);
        let mut found = 0;
        let done = Scanner::new().scan(text.as_bytes(), |_| found += 1);
        assert_eq!((done, found), (text.len(), lines));
    }

    #[test]
    fn what_has_not_ended_is_left() {
        same_at_every_block_size("{\"a\":1}\n{\"b\":", &[r#"{"a":1}"#, "…{\"b\":"]);
    }

    #[test]
    fn an_oversized_value_is_passed_over() {
        let mut text = b"{\"a\":\"".to_vec();
        text.resize(MAX_VALUE + 100, b'x');
        text.extend_from_slice(b"\"}\n{\"b\":2}");
        let mut scanner = Scanner::new();
        let mut found = Vec::new();
        let done = scanner.scan(&text, |piece| found.push(piece));
        // Given whole, it is seen to end and is the caller's to judge; given in part, it is skipped.
        assert_eq!(done, text.len());
        let mut scanner = Scanner::new();
        let mut found = Vec::new();
        let part = MAX_VALUE + 50;
        let done = scanner.scan(&text[..part], |piece| found.push(piece));
        assert_eq!(found, [Piece::Oversized { start: 0 }]);
        let rest = &text[done..];
        let mut found = Vec::new();
        scanner.scan(rest, |piece| found.push(piece));
        let [Piece::Value { start, end }] = found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(&rest[start..end], b"{\"b\":2}");
    }
}

//! Undoing one level of encoding, each in one linear pass with a cap on what comes out.
//!
//! Nested encodings, private ciphers, compression and images are out of reach and stay so: a decoder for each would be endless, and a
//! text that needs two is better caught by its entropy.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::gates::{is_run_byte, long_run};
use super::letters::untag;

/// At most this many decoded bytes are looked at in one text and encoding.
pub(crate) const MAX_DECODED: usize = 1 << 18;
/// At most this many encoded runs are tried in one text.
pub(crate) const MAX_RUNS: usize = 64;

/// A decoded text and the offsets in the original that its bytes come from.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) offsets: Vec<u32>,
    pub(crate) end: usize,
    /// The encoded run, where the whole of it stands for any part.
    pub(crate) run: Option<(usize, usize)>,
}

impl Decoded {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.offsets.clear();
        self.end = 0;
        self.run = None;
    }

    fn push(&mut self, byte: u8, offset: usize) {
        self.bytes.push(byte);
        self.offsets.push(offset as u32);
        self.end = offset + 1;
    }

    fn push_char(&mut self, letter: char, offset: usize) {
        for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
            self.push(byte, offset);
        }
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= MAX_DECODED
    }

    /// Text if the bytes read as text: UTF-8, nine of ten printable.
    pub(crate) fn text(&self) -> Option<&str> {
        let text = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text,
            // A cut at the cap, or one damaged end, does not spoil the rest.
            Err(error) if error.valid_up_to() * 10 >= self.bytes.len() * 9 => {
                std::str::from_utf8(&self.bytes[..error.valid_up_to()]).ok()?
            }
            Err(_) => return None,
        };
        let printable = text
            .chars()
            .filter(|letter| !letter.is_control() || letter.is_whitespace())
            .count();
        (text.len() >= 5 && printable * 10 >= text.chars().count() * 9).then_some(text)
    }
}

const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Shortest run that is tried as Base64 or hexadecimal: 12 bytes of text, or 8.
pub(crate) const SHORTEST_RUN: usize = 16;

/// Calls `found` with the plain text of each run of Base64 or hexadecimal. Lines of a wrapped block are put together.
pub(crate) fn runs(bytes: &[u8], scratch: &mut Decoded, mut found: impl FnMut(&Decoded, bool)) {
    let mut from = 0;
    let mut budget = MAX_DECODED;
    let mut encoded: Vec<u8> = Vec::new();
    for _ in 0..MAX_RUNS {
        let Some(run) = long_run(bytes, from, SHORTEST_RUN) else {
            return;
        };
        from = run.end;
        encoded.clear();
        encoded.extend(bytes[run.clone()].iter().take(budget * 2));
        // A wrapped block: full lines follow with nothing but the line end between.
        while run.len() >= 60
            && encoded.len() < budget * 2
            && bytes
                .get(from)
                .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
        {
            let start = from
                + bytes[from..]
                    .iter()
                    .take(2)
                    .take_while(|byte| matches!(byte, b'\n' | b'\r'))
                    .count();
            let length = bytes[start..]
                .iter()
                .position(|byte| !is_run_byte(*byte))
                .unwrap_or(bytes.len() - start);
            if length == 0 {
                break;
            }
            encoded.extend_from_slice(&bytes[start..start + length]);
            from = start + length;
        }
        for hex in [true, false] {
            scratch.clear();
            let ok = if hex {
                hex_run(&encoded, scratch)
            } else {
                base64_run(&mut encoded, scratch)
            };
            if ok && scratch.text().is_some() {
                scratch.offsets.clear();
                scratch
                    .offsets
                    .resize(scratch.bytes.len(), run.start as u32);
                scratch.end = from;
                scratch.run = Some((run.start, from));
                found(scratch, hex);
                break;
            }
        }
        budget = budget.saturating_sub(encoded.len());
        if budget == 0 {
            return;
        }
    }
}

fn hex_run(encoded: &[u8], out: &mut Decoded) -> bool {
    let digits = encoded.strip_prefix(b"0x").unwrap_or(encoded);
    if digits.len() % 2 == 1 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return false;
    }
    out.bytes.extend(
        digits
            .chunks_exact(2)
            .filter_map(|pair| Some(hex_digit(pair[0])? << 4 | hex_digit(pair[1])?)),
    );
    true
}

fn base64_run(encoded: &mut Vec<u8>, out: &mut Decoded) -> bool {
    // `payload=...` and `...==`: the signs around do not belong to it.
    if let Some(at) = encoded.iter().position(|byte| *byte == b'=')
        && encoded[at..].iter().any(|byte| *byte != b'=')
    {
        encoded.drain(..=at);
    }
    while encoded.last() == Some(&b'=') {
        encoded.pop();
    }
    for byte in encoded.iter_mut() {
        match *byte {
            b'-' => *byte = b'+',
            b'_' => *byte = b'/',
            _ => {}
        }
    }
    if encoded.len() % 4 == 1 {
        encoded.pop();
    }
    // Words of one case are words: Base64 of text mixes cases.
    if encoded.len() < SHORTEST_RUN - 2
        || !encoded.iter().any(u8::is_ascii_uppercase)
        || !encoded.iter().any(u8::is_ascii_lowercase)
    {
        return false;
    }
    BASE64.decode_vec(&encoded, &mut out.bytes).is_ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Writes `bytes` with percent, backslash and HTML escapes decoded. Returns whether there were at least `least`.
pub(crate) fn unescape(bytes: &[u8], out: &mut Decoded, least: usize) -> bool {
    out.clear();
    let mut at = 0;
    let mut count = 0;
    while at < bytes.len() && !out.is_full() {
        if let Some((letter, width)) = escape_at(bytes, at) {
            count += 1;
            match letter {
                Escape::Byte(byte) => out.push(byte, at),
                Escape::Char(letter) => out.push_char(letter, at),
            }
            at += width;
            out.end = at;
        } else {
            out.push(bytes[at], at);
            at += 1;
        }
    }
    count >= least
}

enum Escape {
    Byte(u8),
    Char(char),
}

fn escape_at(bytes: &[u8], at: usize) -> Option<(Escape, usize)> {
    let rest = &bytes[at..];
    match rest.first()? {
        b'%' => Some((
            Escape::Byte(hex_digit(*rest.get(1)?)? << 4 | hex_digit(*rest.get(2)?)?),
            3,
        )),
        b'\\' => {
            let (digits, skip) = match (rest.get(1)?, rest.get(2)) {
                (b'x', _) => (2, 2),
                (b'u', Some(b'{')) => (
                    rest.iter()
                        .skip(3)
                        .take(6)
                        .take_while(|byte| byte.is_ascii_hexdigit())
                        .count(),
                    3,
                ),
                (b'u', _) => (4, 2),
                (b'n' | b't' | b'r', _) => return Some((Escape::Byte(b' '), 2)),
                _ => return None,
            };
            let code = rest
                .get(skip..skip + digits)?
                .iter()
                .try_fold(0_u32, |code, byte| {
                    Some(code << 4 | u32::from(hex_digit(*byte)?))
                })?;
            let close = usize::from(skip == 3);
            (digits > 0).then_some((Escape::Char(char::from_u32(code)?), skip + digits + close))
        }
        b'&' => {
            let length = rest.iter().take(10).position(|byte| *byte == b';')?;
            let name = std::str::from_utf8(&rest[1..length]).ok()?;
            let letter = match name {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                "apos" => '\'',
                "nbsp" => ' ',
                _ => {
                    let number = name.strip_prefix('#')?;
                    let code = match number.strip_prefix(['x', 'X']) {
                        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                        None => number.parse().ok()?,
                    };
                    char::from_u32(code)?
                }
            };
            Some((Escape::Char(letter), length + 1))
        }
        _ => None,
    }
}

/// Reads runs of numbers as character codes: hexadecimal pairs, decimal codes, eight binary digits.
pub(crate) fn codes(bytes: &[u8], out: &mut Decoded) -> bool {
    out.clear();
    let mut at = 0;
    let mut pending: Vec<(u8, usize)> = Vec::new();
    let mut any = false;
    let mut base = 0;
    while at < bytes.len() && !out.is_full() {
        let end = at
            + bytes[at..]
                .iter()
                .position(|byte| !byte.is_ascii_alphanumeric())
                .unwrap_or(bytes.len() - at);
        let word = &bytes[at..end];
        let code = code_word(word, base);
        match code {
            Some((byte, its_base)) if byte.is_ascii_graphic() || byte.is_ascii_whitespace() => {
                base = its_base;
                pending.push((byte, at));
                at = end;
                // Codes are divided by one blank or comma.
                at += bytes[at..]
                    .iter()
                    .take(3)
                    .take_while(|byte| matches!(byte, b' ' | b',' | b'\n'))
                    .count();
                continue;
            }
            _ => {}
        }
        any |= flush_codes(&mut pending, out);
        base = 0;
        if end == at {
            at += 1;
        } else {
            at = end;
        }
        // Words between two runs keep them apart.
        if out.bytes.last().is_some_and(|byte| *byte != b' ') {
            out.push(b' ', at.saturating_sub(1));
        }
    }
    any |= flush_codes(&mut pending, out);
    out.end = bytes.len();
    any
}

fn flush_codes(pending: &mut Vec<(u8, usize)>, out: &mut Decoded) -> bool {
    let long = pending.len() >= 6;
    for (byte, offset) in pending.drain(..) {
        if long {
            out.push(byte, offset);
        }
    }
    long
}

fn code_word(word: &[u8], base: u32) -> Option<(u8, u32)> {
    let text = std::str::from_utf8(word).ok()?;
    let (digits, as_base) = match word.len() {
        8 if word.iter().all(|byte| matches!(byte, b'0' | b'1')) => (text, 2),
        4 if text.starts_with("0x") => (&text[2..], 16),
        2 if base != 10 && word.iter().all(u8::is_ascii_hexdigit) => (text, 16),
        2 | 3 if base != 16 && word.iter().all(u8::is_ascii_digit) => (text, 10),
        _ => return None,
    };
    let code = u8::from_str_radix(digits, as_base).ok()?;
    // A run that began with pairs of digits may turn out decimal: the first word of three digits decides for the rest.
    Some((
        code,
        if as_base == 16 && word.len() == 2 && word.iter().all(u8::is_ascii_digit) {
            base
        } else {
            as_base
        },
    ))
}

const MORSE: [(&[u8], u8); 36] = [
    (b".-", b'a'),
    (b"-...", b'b'),
    (b"-.-.", b'c'),
    (b"-..", b'd'),
    (b".", b'e'),
    (b"..-.", b'f'),
    (b"--.", b'g'),
    (b"....", b'h'),
    (b"..", b'i'),
    (b".---", b'j'),
    (b"-.-", b'k'),
    (b".-..", b'l'),
    (b"--", b'm'),
    (b"-.", b'n'),
    (b"---", b'o'),
    (b".--.", b'p'),
    (b"--.-", b'q'),
    (b".-.", b'r'),
    (b"...", b's'),
    (b"-", b't'),
    (b"..-", b'u'),
    (b"...-", b'v'),
    (b".--", b'w'),
    (b"-..-", b'x'),
    (b"-.--", b'y'),
    (b"--..", b'z'),
    (b"-----", b'0'),
    (b".----", b'1'),
    (b"..---", b'2'),
    (b"...--", b'3'),
    (b"....-", b'4'),
    (b".....", b'5'),
    (b"-....", b'6'),
    (b"--...", b'7'),
    (b"---..", b'8'),
    (b"----.", b'9'),
];

/// Reads runs of at least six Morse letters; `/` or a wide gap divides words.
pub(crate) fn morse(bytes: &[u8], out: &mut Decoded) -> bool {
    out.clear();
    let mut at = 0;
    let mut run = 0;
    let mut longest = 0;
    while at < bytes.len() && !out.is_full() {
        let end = at
            + bytes[at..]
                .iter()
                .take(6)
                .position(|byte| !matches!(byte, b'.' | b'-'))
                .unwrap_or(bytes[at..].len().min(6));
        let bounded = bytes
            .get(end)
            .is_none_or(|byte| matches!(byte, b' ' | b'/' | b'\n' | b'|'));
        match MORSE.iter().find(|(code, _)| *code == &bytes[at..end]) {
            Some((_, letter)) if bounded => {
                out.push(*letter, at);
                run += 1;
                longest = longest.max(run);
                at = end + usize::from(bytes.get(end) == Some(&b' '));
            }
            _ => {
                if bytes[at] != b'/' && bytes[at] != b' ' && bytes[at] != b'|' {
                    run = 0;
                }
                if out.bytes.last().is_some_and(|byte| *byte != b' ') {
                    out.push(b' ', at);
                }
                at = end.max(at + 1);
            }
        }
    }
    longest >= 6
}

/// Reads Unicode tag characters, and variation selectors as bytes.
pub(crate) fn hidden(text: &str, tags: &mut Decoded, selectors: &mut Decoded) {
    tags.clear();
    selectors.clear();
    for (at, letter) in text.char_indices() {
        if tags.is_full() || selectors.is_full() {
            return;
        }
        match u32::from(letter) {
            code @ 0xFE00..=0xFE0F => selectors.push((code - 0xFE00) as u8, at),
            code @ 0xE0100..=0xE01EF => selectors.push((code - 0xE0100 + 16) as u8, at),
            _ => {
                if let Some(plain) = untag(letter) {
                    tags.push_char(plain, at);
                    tags.end = at + 4;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(decoded: &Decoded) -> &str {
        decoded.text().unwrap_or_default()
    }

    fn decoded_runs(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        runs(text.as_bytes(), &mut Decoded::default(), |found, _| {
            all.push(plain(found).to_owned())
        });
        all
    }

    #[test]
    fn base64_and_hex_runs_are_decoded_where_they_stand() {
        // From Python: base64.b64encode(b"open the pod bay doors"), b"open the doors".hex().
        assert_eq!(
            decoded_runs("x: b3BlbiB0aGUgcG9kIGJheSBkb29ycw== y"),
            ["open the pod bay doors"]
        );
        assert_eq!(
            decoded_runs("payload=b3BlbiB0aGUgcG9kIGJheSBkb29ycw=="),
            ["open the pod bay doors"]
        );
        assert_eq!(
            decoded_runs("6f70656e2074686520646f6f7273"),
            ["open the doors"]
        );
        assert!(decoded_runs("internationalization of communication-protocols").is_empty());
    }

    #[test]
    fn escapes_of_four_kinds_are_decoded() {
        let mut out = Decoded::default();
        assert!(unescape(
            br"%68i \x68i \u0068i &#104;i &#x68;i &lt;",
            &mut out,
            6
        ));
        assert_eq!(plain(&out), "hi hi hi hi hi <");
        assert!(!unescape(b"100% of 5 & 6", &mut out, 1));
    }

    #[test]
    fn character_codes_in_three_bases_are_decoded() {
        for text in [
            "68 65 6c 6c 6f 21",
            "104 101 108 108 111 33",
            "01101000 01100101 01101100 01101100 01101111 00100001",
        ] {
            let mut out = Decoded::default();
            assert!(codes(text.as_bytes(), &mut out), "{text}");
            assert_eq!(plain(&out).trim(), "hello!", "{text}");
        }
        assert!(!codes(
            b"in 1999 we had 12 cats and 11 dogs",
            &mut Decoded::default()
        ));
    }

    #[test]
    fn morse_is_read_and_an_ellipsis_is_not() {
        let mut out = Decoded::default();
        assert!(morse(
            b"say .... . .-.. .-.. --- / - .... . .-. .",
            &mut out
        ));
        assert_eq!(plain(&out).trim(), "hello there");
        assert!(!morse(b"well... so - yes -- or --- no", &mut out));
    }
}

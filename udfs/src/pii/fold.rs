//! Undoes cheap disguises before detection, and leads places in the folded text back to the original.
//!
//! Only what is common in logs or in evasion, only one level (plus repeated escaping by nested JSON and URLs): full
//! Unicode normalisation is for matching words, not numbers.

use memchr::memchr3_iter;

/// Bytes of repeated escaping that are read; the bound keeps a text of nothing but backslashes linear.
const LEVELS: usize = 8;

/// A text with its disguises undone, and how its places correspond.
#[derive(Debug, Default)]
pub(super) struct Folded {
    bytes: Vec<u8>,
    /// (place in the folded text, place in the original): from each on, both run in step until the next.
    marks: Vec<(usize, usize)>,
}

/// What stands for a piece of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Itself.
    Same,
    /// Nothing: it is invisible.
    Nothing,
    /// One ASCII character.
    Ascii(u8),
}

impl Folded {
    /// Folds `text`; false when that changes nothing, and then the folded text is not to be used.
    pub(super) fn fold(&mut self, text: &str) -> bool {
        self.bytes.clear();
        self.marks.clear();
        let bytes = text.as_bytes();
        let mut copied = 0;
        if text.is_ascii() {
            for place in memchr3_iter(b'\\', b'%', b'&', bytes) {
                if place >= copied
                    && let Some((length, meaning)) = escape(bytes, place)
                {
                    self.replace(bytes, &mut copied, place, length, meaning);
                }
            }
        } else {
            let mut place = 0;
            while place < bytes.len() {
                let byte = bytes[place];
                let (length, meaning) = match byte {
                    b'\\' | b'%' | b'&' => escape(bytes, place).unwrap_or((1, Meaning::Same)),
                    0..0x80 => (1, Meaning::Same),
                    // Two- and three-byte characters whose lead byte has no disguise among them.
                    0xc3..=0xcc | 0xce..=0xd7 => (2, Meaning::Same),
                    0xe4..=0xee => (3, Meaning::Same),
                    // Of this block only the ideographic space.
                    0xe3 if bytes[place + 1] != 0x80 => (3, Meaning::Same),
                    _ => {
                        let c = text[place..].chars().next().unwrap_or_default();
                        (c.len_utf8(), meaning(c))
                    }
                };
                if meaning != Meaning::Same {
                    self.replace(bytes, &mut copied, place, length, meaning);
                }
                place += length;
            }
        }
        if self.marks.is_empty() {
            return false;
        }
        self.bytes.extend_from_slice(&bytes[copied..]);
        true
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn replace(
        &mut self,
        bytes: &[u8],
        copied: &mut usize,
        place: usize,
        length: usize,
        meaning: Meaning,
    ) {
        self.bytes.extend_from_slice(&bytes[*copied..place]);
        if let Meaning::Ascii(byte) = meaning {
            self.marks.push((self.bytes.len(), place));
            self.bytes.push(byte);
        }
        *copied = place + length;
        self.marks.push((self.bytes.len(), *copied));
    }

    /// The bytes of the original that `start..end` of the folded text stands for.
    pub(super) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        // The last mark at or before the start; the first at the end, so that a whole escape is covered.
        let before = self.marks.partition_point(|mark| mark.0 <= start);
        let original_start = match before.checked_sub(1) {
            Some(mark) => self.marks[mark].1 + (start - self.marks[mark].0),
            None => start,
        };
        let first = self.marks.partition_point(|mark| mark.0 < end);
        let original_end = match (self.marks.get(first), first.checked_sub(1)) {
            (Some(&(folded, original)), _) if folded == end => original,
            (_, Some(mark)) => self.marks[mark].1 + (end - self.marks[mark].0),
            (_, None) => end,
        };
        (original_start, original_end)
    }
}

/// Length and meaning of the escape at `place`, a backslash, per cent sign or ampersand.
fn escape(bytes: &[u8], place: usize) -> Option<(usize, Meaning)> {
    let rest = &bytes[place..];
    match rest[0] {
        b'%' => {
            // `%2540` is `%40` escaped again.
            let mut digits = 1;
            while digits < LEVELS
                && rest[digits..].starts_with(b"25")
                && hex(rest.get(digits + 2..digits + 4)?).is_some()
            {
                digits += 2;
            }
            let code = hex(rest.get(digits..digits + 2)?)?;
            Some((digits + 2, visible(code)?))
        }
        b'\\' => {
            // JSON inside JSON doubles its backslashes at every level.
            let slashes = rest
                .iter()
                .take(LEVELS)
                .take_while(|&&byte| byte == b'\\')
                .count();
            let length = slashes + 1;
            match rest.get(slashes)? {
                b'n' | b'r' => Some((length, Meaning::Ascii(b'\n'))),
                b't' => Some((length, Meaning::Ascii(b'\t'))),
                quoted @ (b'"' | b'\'' | b'/') => Some((length, Meaning::Ascii(*quoted))),
                b'x' => Some((length + 2, visible(hex(rest.get(length..length + 2)?)?)?)),
                b'u' => Some((length + 4, visible(hex(rest.get(length..length + 4)?)?)?)),
                _ => None,
            }
        }
        b'&' => {
            let end = rest.iter().take(10).position(|&byte| byte == b';')?;
            let meaning = match &rest[1..end] {
                [b'#', b'x' | b'X', digits @ ..] => visible(hex(digits)?)?,
                [b'#', digits @ ..] => visible(std::str::from_utf8(digits).ok()?.parse().ok()?)?,
                b"nbsp" => Meaning::Ascii(b' '),
                b"commat" => Meaning::Ascii(b'@'),
                _ => return None,
            };
            Some((end + 1, meaning))
        }
        _ => None,
    }
}

/// The number that up to six hexadecimal digits are.
fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 6 {
        return None;
    }
    digits.iter().try_fold(0, |value, &digit| {
        Some(value * 16 + char::from(digit).to_digit(16)?)
    })
}

/// What an escaped code point stands for, if anything that detection looks at.
fn visible(code: u32) -> Option<Meaning> {
    match code {
        0x20..=0x7e => Some(Meaning::Ascii(code as u8)),
        0x09 | 0x0a | 0x0d => Some(Meaning::Ascii(b'\n')),
        _ => Some(meaning(char::from_u32(code)?)).filter(|&meaning| meaning != Meaning::Same),
    }
}

/// What a character stands for.
fn meaning(c: char) -> Meaning {
    let code = u32::from(c);
    let digit = |zero: u32| Meaning::Ascii(b'0' + ((code - zero) % 10) as u8);
    match c {
        '\0'..='\x7f' => Meaning::Same,
        // Soft hyphen, joiners, marks of direction, zero-width spaces, variation selectors, enclosing keycap.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{20e3}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{e0100}'..='\u{e01ef}' => Meaning::Nothing,
        // Tags are ASCII that no font shows.
        '\u{e0020}'..='\u{e007e}' => Meaning::Ascii((code - 0xe0000) as u8),
        '\u{e0000}'..='\u{e007f}' => Meaning::Nothing,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            Meaning::Ascii(b' ')
        }
        '\u{2028}' | '\u{2029}' => Meaning::Ascii(b'\n'),
        '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => {
            Meaning::Ascii(b'-')
        }
        '\u{fe52}' | '\u{ff61}' => Meaning::Ascii(b'.'),
        '\u{fe6b}' => Meaning::Ascii(b'@'),
        '\u{ff01}'..='\u{ff5e}' => Meaning::Ascii((code - 0xfee0) as u8),
        // Decimal digits of other scripts, and the mathematical ones.
        '\u{660}'..='\u{669}' => digit(0x660),
        '\u{6f0}'..='\u{6f9}' => digit(0x6f0),
        '\u{966}'..='\u{96f}' => digit(0x966),
        '\u{9e6}'..='\u{9ef}' => digit(0x9e6),
        '\u{e50}'..='\u{e59}' => digit(0xe50),
        '\u{1d7ce}'..='\u{1d7ff}' => digit(0x1d7ce),
        _ => Meaning::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut folded = Folded::default();
        if folded.fold(text) {
            String::from_utf8(folded.bytes).expect("folding keeps UTF-8")
        } else {
            text.to_owned()
        }
    }

    #[test]
    fn disguises_are_undone() {
        for (text, expected) in [
            ("a%40b", "a@b"),
            ("a%2540b", "a@b"),
            (r"a\u0040b", "a@b"),
            (r"a\\u0040b", "a@b"),
            ("a&#64;b&#x40;c", "a@b@c"),
            ("a\u{200b}b\u{ad}c", "abc"),
            (r"a\u200bb", "ab"),
            ("\u{ff14}\u{ff11}", "41"),
            ("4\u{2011}1\u{2212}2\u{a0}3", "4-1-2 3"),
            ("\u{664}\u{6f1}\u{967}\u{1d7d8}", "4110"),
            ("\u{3000}x\u{202f}y", " x y"),
            (r"one\ntwo", "one\ntwo"),
            ("4\u{fe0f}\u{20e3}1\u{fe0f}\u{20e3}", "41"),
        ] {
            assert_eq!(folded(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_disguise_stays() {
        for text in [
            "50% off, AT&T",
            "100%",
            "%zz",
            r"\d+\w",
            "naïve façade",
            "東京タワー",
            "&amp;",
            "a\\",
            "%4",
            r"\u00",
            "&#;",
        ] {
            let mut folder = Folded::default();
            assert!(!folder.fold(text), "{text:?}");
        }
    }

    #[test]
    fn every_reserved_lead_byte_is_looked_at() {
        // The short cuts by lead byte must not pass over any character that has a meaning.
        for code in 0x80..=0x10_ffff {
            let Some(c) = char::from_u32(code) else {
                continue;
            };
            if meaning(c) != Meaning::Same {
                assert!(Folded::default().fold(&c.to_string()), "{code:x}");
            }
        }
    }

    #[test]
    fn places_lead_back_to_the_whole_escape() {
        let text = "x a%40b\u{200b}c y";
        let mut folder = Folded::default();
        assert!(folder.fold(text));
        let start = folder
            .bytes()
            .iter()
            .position(|&byte| byte == b'a')
            .expect("kept");
        let (from, to) = folder.original(start, start + 4);
        assert_eq!(&text[from..to], "a%40b\u{200b}c");
        let (from, to) = folder.original(start + 1, start + 2);
        assert_eq!(&text[from..to], "%40");
    }
}

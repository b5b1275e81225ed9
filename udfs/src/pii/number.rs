//! Numbers written in groups: what payment cards, telephone numbers and social security numbers have in common.
//!
//! Groups of digits that are joined by a few spaces, hyphens, dots, slashes or brackets are read as one sequence; the
//! sequence is then tried, from each of its groups on, as each kind. A gate that counts digits keeps all of this away
//! from text with no more than a year or two in it.

use super::{Finding, Kind, at, before, card, iban, phone};

/// A run of digits and what joins it to the next run of its sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
    /// What stands between this group and the next; meaningless for the last.
    pub(super) joint: Joint,
}

impl Group {
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }
}

/// What stands between two groups of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    Spaces,
    Hyphen,
    Dot,
    Slash,
    Bracket,
}

/// Groups of one sequence, with the text they stand in.
#[derive(Clone, Copy)]
pub(super) struct Sequence<'a> {
    pub(super) text: &'a [u8],
    pub(super) groups: &'a [Group],
}

/// Digits within two neighbouring blocks that open the gate: fewer than any kind has.
const GATE: u8 = 7;
const BLOCK: usize = 32;

pub(super) fn find(text: &[u8], groups: &mut Vec<Group>, out: &mut Vec<Finding>) {
    let mut place = 0;
    let mut last_block = 0;
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let mut block_end = 0;
    for block in blocks.iter().map(<[u8; BLOCK]>::as_slice).chain([rest]) {
        block_end += block.len();
        // A loop without branches over a fixed length, which the compiler turns into vector instructions.
        let digits = match <&[u8; BLOCK]>::try_from(block) {
            Ok(block) => count_digits(block),
            Err(_) => count_digits(block),
        };
        if digits + last_block >= GATE {
            // The number may have started in the block before, or with its first digits just before that.
            let read = place;
            place = place.max((block_end - block.len()).saturating_sub(BLOCK));
            while place > read && before(text, place).is_ascii_digit() {
                place -= 1;
            }
            place = find_between(text, place, block_end, groups, out);
        }
        last_block = digits;
    }
}

#[inline(always)]
fn count_digits(block: &[u8]) -> u8 {
    block
        .iter()
        .map(|byte| u8::from(byte.is_ascii_digit()))
        .sum()
}

/// Reads the sequences that start in `from..to`; returns where reading stopped.
fn find_between(
    text: &[u8],
    from: usize,
    to: usize,
    groups: &mut Vec<Group>,
    out: &mut Vec<Finding>,
) -> usize {
    let mut place = from;
    while place < to {
        if !text[place].is_ascii_digit() {
            place += 1;
            continue;
        }
        if let Some(end) = iban::at_digits(text, place) {
            out.push(Finding {
                kind: Kind::Iban,
                start: place - 2,
                end,
            });
            place = end;
            continue;
        }
        if let Some(end) = uuid_around(text, place) {
            place = end;
            continue;
        }
        place = read_sequence(text, place, groups);
        classify(Sequence { text, groups }, out);
    }
    place
}

/// Fills `groups` with the sequence that starts at `start`, a digit; returns its end.
fn read_sequence(text: &[u8], start: usize, groups: &mut Vec<Group>) -> usize {
    groups.clear();
    let mut place = start;
    loop {
        let end = place + super::run(text, place, |byte| byte.is_ascii_digit());
        let joined = super::run(&text[..text.len().min(end + 3)], end, |byte| {
            b" \t-.()/".contains(&byte)
        });
        let joint = joint(&text[end..end + joined]);
        groups.push(Group {
            start: place,
            end,
            joint,
        });
        if joined == 0 || !at(text, end + joined).is_ascii_digit() {
            return end;
        }
        place = end + joined;
    }
}

fn joint(between: &[u8]) -> Joint {
    let has = |byte| between.contains(&byte);
    if has(b'(') || has(b')') {
        Joint::Bracket
    } else if has(b'/') {
        Joint::Slash
    } else if has(b'-') {
        Joint::Hyphen
    } else if has(b'.') {
        Joint::Dot
    } else {
        Joint::Spaces
    }
}

fn classify(sequence: Sequence<'_>, out: &mut Vec<Finding>) {
    let mut first = 0;
    while first < sequence.groups.len() {
        let found = card::matches(sequence, first)
            .map(|count| (Kind::PaymentCard, count))
            .or_else(|| ssn(sequence, first).map(|count| (Kind::Ssn, count)))
            .or_else(|| phone::matches(sequence, first).map(|count| (Kind::Phone, count)));
        let Some((kind, count)) = found else {
            first += 1;
            continue;
        };
        let (mut start, end) = (
            sequence.groups[first].start,
            sequence.groups[first + count - 1].end,
        );
        if kind == Kind::Phone {
            start = phone::lead(sequence.text, start, end);
        }
        out.push(Finding { kind, start, end });
        first += count;
    }
}

impl Sequence<'_> {
    /// The groups from `first` on, no more than a number can have.
    pub(super) fn from(&self, first: usize) -> &[Group] {
        let end = self.groups.len().min(first + 20);
        &self.groups[first..end]
    }

    /// True when group `first` does not continue a word or another number.
    pub(super) fn is_open_before(&self, first: usize) -> bool {
        let start = self.groups[first].start;
        let byte = before(self.text, start);
        if first > 0 {
            return self.groups[first - 1].joint == Joint::Spaces || byte == b'(';
        }
        let joined = matches!(byte, b'-' | b'.' | b'/')
            && before(self.text, start - 1).is_ascii_alphanumeric();
        !(byte.is_ascii_alphanumeric() || joined)
    }

    /// True when what follows group `last` is neither its word nor its number continued.
    pub(super) fn is_open_after(&self, last: usize) -> bool {
        if last + 1 < self.groups.len() {
            return matches!(self.groups[last].joint, Joint::Spaces | Joint::Bracket);
        }
        let end = self.groups[last].end;
        let byte = at(self.text, end);
        let joined =
            matches!(byte, b'-' | b'/' | b':') && at(self.text, end + 1).is_ascii_alphanumeric();
        !(byte.is_ascii_alphanumeric() || joined)
    }

    /// Digits of `count` groups from `first` on, up to 19.
    pub(super) fn digits(&self, first: usize, count: usize) -> ([u8; 19], usize) {
        let mut digits = [0; 19];
        let mut length = 0;
        for group in &self.groups[first..first + count] {
            for &byte in &self.text[group.start..group.end] {
                if length == digits.len() {
                    return (digits, length);
                }
                digits[length] = byte - b'0';
                length += 1;
            }
        }
        (digits, length)
    }

    /// True when one of `words` (lower case) stands shortly before group `first`, in the same line.
    pub(super) fn has_context(&self, first: usize, words: &[&str]) -> bool {
        let end = self.groups[first].start;
        let window = &self.text[end.saturating_sub(32)..end];
        let window = window
            .rsplit(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default();
        words.iter().any(|word| {
            let word = word.as_bytes();
            window
                .windows(word.len())
                .enumerate()
                .any(|(place, found)| {
                    found.eq_ignore_ascii_case(word)
                        && !(place > 0
                            && window[place - 1].is_ascii_alphabetic()
                            && word[0].is_ascii())
                })
        })
    }
}

/// How many groups from `first` on are a social security number, `ddd-dd-dddd`, or an individual taxpayer number of the
/// same form; nine bare digits when a word before them says so.
///
/// Ranges: Social Security Administration, *Social Security Number Randomization* (area not 000, 666 or 900 to 999,
/// group not 00, serial not 0000); taxpayer numbers: Internal Revenue Service, Publication 1915.
fn ssn(sequence: Sequence<'_>, first: usize) -> Option<usize> {
    const NAMES: [&str; 5] = [
        "ssn",
        "social security",
        "social-security",
        "tax id",
        "itin",
    ];
    let groups = sequence.from(first);
    let count = match groups {
        [a, b, c, ..] if (a.len(), b.len(), c.len()) == (3, 2, 4) && a.joint == b.joint => {
            match a.joint {
                Joint::Hyphen => 3,
                // Three columns of a table look the same, so nothing may stand beside them.
                Joint::Spaces if first == 0 && sequence.groups.len() == 3 => 3,
                _ if sequence.has_context(first, &NAMES) => 3,
                _ => return None,
            }
        }
        [a, ..] if a.len() == 9 && sequence.has_context(first, &NAMES) => 1,
        _ => return None,
    };
    if !sequence.is_open_before(first) || !sequence.is_open_after(first + count - 1) {
        return None;
    }
    let (digits, _) = sequence.digits(first, count);
    let number = |range: std::ops::Range<usize>| {
        digits[range]
            .iter()
            .fold(0_u32, |value, &digit| value * 10 + u32::from(digit))
    };
    let (area, group, serial) = (number(0..3), number(3..5), number(5..9));
    let assigned = match area {
        0 | 666 => false,
        900.. => matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99),
        _ => group != 0,
    };
    (assigned && serial != 0).then_some(count)
}

/// The end of the UUID that `place` stands in, if it does: groups of 8, 4, 4, 4 and 12 hexadecimal digits.
fn uuid_around(text: &[u8], place: usize) -> Option<usize> {
    const LENGTH: usize = 36;
    (place.saturating_sub(LENGTH - 1)..=place)
        .map(|start| (start, start + LENGTH))
        .find_map(|(start, end)| {
            let shaped = text
                .get(start..end)?
                .iter()
                .enumerate()
                .all(|(at, byte)| match at {
                    8 | 13 | 18 | 23 => *byte == b'-',
                    _ => byte.is_ascii_hexdigit(),
                });
            let alone =
                !before(text, start).is_ascii_hexdigit() && !at(text, end).is_ascii_hexdigit();
            (shaped && alone).then_some(end)
        })
}

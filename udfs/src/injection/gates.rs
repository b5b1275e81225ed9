//! Traces that disguises leave in the bytes of a text, so that undoing is tried only where there is something to undo.
//!
//! [`Dress`] counts them from the masks of [`marks`](super::marks): most blocks of ordinary text have no bit that asks for a byte to be
//! read. The counts are thresholds for trying, nothing is decided by them alone.

use super::decode::SHORTEST_RUN;
use super::marks::{BLOCK, Marks};
use super::rearrange::SPACED;

/// What was counted in the original bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dress {
    /// Digits and signs of leetspeak before a letter.
    pub(crate) leet: u32,
    /// Begin of an escape: `%4`, `\x`, `\u`, `&#`, `&l`.
    pub(crate) escapes: u32,
    /// Most words of one letter or digit in a row.
    pub(crate) singles: u32,
    /// Most digits followed by a blank in two blocks next to each other: codes stand close together.
    pub(crate) numbers: u32,
    /// Most dots and dashes next to each other, likewise.
    pub(crate) morse: u32,
    /// An asterisk or the end of a comment before a letter.
    pub(crate) emphasis: u32,
    /// A plus sign before a quotation mark or blank.
    pub(crate) joins: u32,
    /// Whether there is a run that may be encoded.
    pub(crate) run: bool,
}

impl Dress {
    /// Counts the traces in `bytes`, whose masks are `marks`.
    pub(crate) fn of(bytes: &[u8], marks: &[Marks]) -> Self {
        let mut dress = Self::default();
        let mut before = 0;
        let (mut run, mut row) = (0, 0);
        // What the block before had.
        let (mut numbers_before, mut morse_before) = (0, 0);
        for (at, here) in marks.iter().enumerate() {
            let next = marks.get(at + 1).copied().unwrap_or_default();
            let letters = (here.alnum & !here.digit) >> 1 | (next.alnum & !next.digit) << 63;
            let words = here.word();
            let starts = words & !(words << 1 | before);
            before = words >> 63;
            row = dress.note_singles(starts, starts & !(words >> 1 | next.word() << 63), row);
            count(&mut dress.leet, here.digit & letters);
            let numbers = here.digit & (here.blank >> 1 | next.blank << 63);
            let numbers = numbers.count_ones();
            dress.numbers = dress.numbers.max(numbers_before + numbers);
            numbers_before = numbers;
            let begin = at * BLOCK;
            let mut morse =
                here.dash & ((here.dash | here.blank) >> 1 | (next.dash | next.blank) << 63);
            let mut code = 0;
            while morse != 0 {
                let third = bytes.get(begin + morse.trailing_zeros() as usize + 2);
                code += u32::from(third.is_some_and(|byte| *byte < b'0'));
                morse &= morse - 1;
            }
            dress.morse = dress.morse.max(morse_before + code);
            morse_before = code;
            let mut rare = here.rare;
            while rare != 0 {
                dress.note(bytes, begin + rare.trailing_zeros() as usize);
                rare &= rare - 1;
            }
            run = dress.note_runs(here.alnum | here.base, run);
        }
        dress
    }

    /// Whether there is nothing to undo.
    pub(crate) fn is_plain(&self) -> bool {
        self.leet < 2
            && self.escapes < 2
            && self.numbers < 4
            && self.morse < 9
            && self.emphasis == 0
            && self.joins == 0
            && !self.run
            && !self.is_spaced()
    }

    /// Takes over what only shows once styled letters are plain.
    pub(crate) fn add_folded(&mut self, folded: Self) {
        self.singles = folded.singles;
        self.leet = self.leet.max(folded.leet);
        self.emphasis = self.emphasis.max(folded.emphasis);
        self.run |= folded.run;
    }

    /// Whether there may be letters that stand apart.
    pub(crate) fn is_spaced(&self) -> bool {
        self.singles >= SPACED
    }

    /// Counts what the sign at `at` begins.
    fn note(&mut self, bytes: &[u8], at: usize) {
        let Some(next) = bytes.get(at + 1) else {
            return;
        };
        let letter = next.is_ascii_alphabetic();
        match bytes[at] {
            b'\\' => self.escapes += u32::from(matches!(next, b'x' | b'u')),
            b'%' => self.escapes += u32::from(matches!(next, b'2'..=b'7')),
            b'&' => self.escapes += u32::from(matches!(next, b'#' | b'l')),
            b'*' | b'>' => self.emphasis += u32::from(letter),
            b'+' => self.joins += u32::from(matches!(next, b' ' | b'"' | b'\'')),
            _ => self.leet += u32::from(letter),
        }
    }

    /// Counts words of one letter in a row, of which `row` end the block before. Gives how many end this one.
    fn note_singles(&mut self, starts: u64, single: u64, mut row: u32) -> u32 {
        if single == 0 {
            return if starts == 0 { row } else { 0 };
        }
        let mut starts = starts;
        while starts != 0 {
            row = if single >> starts.trailing_zeros() & 1 == 1 {
                row + 1
            } else {
                0
            };
            self.singles = self.singles.max(row);
            starts &= starts - 1;
        }
        row
    }

    /// Looks for a run of [`SHORTEST_RUN`] set bits, of which `carried` end the block before. Gives how many end this one.
    fn note_runs(&mut self, mask: u64, carried: u32) -> u32 {
        if self.run {
            return 0;
        }
        let first = mask.trailing_ones();
        let mut inside = mask;
        let mut width = 1;
        while width < SHORTEST_RUN {
            inside &= inside >> width;
            width *= 2;
        }
        self.run = inside != 0 || carried + first >= SHORTEST_RUN as u32;
        if first == u64::BITS {
            carried + first
        } else {
            mask.leading_ones()
        }
    }
}

fn count(total: &mut u32, mask: u64) {
    if mask != 0 {
        *total += mask.count_ones();
    }
}

/// Whether `byte` may stand in Base64 text, hexadecimal or a word.
pub(crate) fn is_run_byte(byte: u8) -> bool {
    RUN[usize::from(byte)]
}

static RUN: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        table[at] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-');
        at += 1;
    }
    table
};

/// Finds the first run of at least `least` bytes of letters, digits and Base64 signs, from `from` on.
///
/// Looks at the end of each window first and skips to behind the last byte that breaks it: most bytes of ordinary text are never read.
pub(crate) fn long_run(bytes: &[u8], from: usize, least: usize) -> Option<std::ops::Range<usize>> {
    let mut start = from;
    while start + least <= bytes.len() {
        match bytes[start..start + least]
            .iter()
            .rposition(|byte| !is_run_byte(*byte))
        {
            Some(broken) => start += broken + 1,
            None => {
                let more = bytes[start + least..]
                    .iter()
                    .position(|byte| !is_run_byte(*byte));
                return Some(start..more.map_or(bytes.len(), |more| start + least + more));
            }
        }
    }
    None
}

/// From this length on a word may be several written together.
pub(crate) const LONG_WORD: usize = 20;

#[cfg(test)]
mod tests {
    use super::super::marks::classify;
    use super::*;

    fn dress(bytes: &[u8]) -> Dress {
        let mut marks = Vec::new();
        classify(bytes, &mut marks);
        Dress::of(bytes, &marks)
    }

    #[test]
    fn dress_counts_each_kind_of_mark() {
        assert_eq!(dress(b"plain words, nothing else"), Dress::default());
        assert_eq!(dress(b"1gn0r3 4ll $ome @nd w3").leet, 5);
        assert_eq!(dress(br"\x41\x42 %41 &#65;").escapes, 4);
        assert_eq!(dress(b"i g n o r e").singles, 6);
        assert_eq!(dress(b"105 103 110 x").numbers, 3);
        assert_eq!(dress(b"**ig**nore <!-- -->x").emphasis, 3);
        assert_eq!(dress(b"'a' + 'b' +\"c\" 1+1").joins, 2);
        assert_eq!(dress(b".- -... so. Then").morse, 5);
        assert_eq!(dress(b""), Dress::default());
    }

    #[test]
    fn counts_do_not_depend_on_block_borders() {
        for pad in 0..200 {
            let text = [&vec![b','; pad], br"\x41  3 x a1b .- ".as_slice()].concat();
            let expected = Dress {
                escapes: 1,
                numbers: 2,
                singles: 2,
                leet: 1,
                morse: 1,
                ..Dress::default()
            };
            assert_eq!(dress(&text), expected, "{pad}");
        }
    }

    #[test]
    fn long_runs_are_seen_wherever_they_begin() {
        for pad in 0..150 {
            let text = |length| [".".repeat(pad), "x".repeat(length), " y".into()].concat();
            assert!(dress(text(SHORTEST_RUN).as_bytes()).run, "{pad}");
            assert!(!dress(text(SHORTEST_RUN - 1).as_bytes()).run, "{pad}");
        }
    }

    #[test]
    fn long_runs_are_found_wherever_they_begin() {
        for pad in 0..30 {
            let text = format!("{}{} end", "a ".repeat(pad), "x".repeat(24));
            assert_eq!(
                long_run(text.as_bytes(), 0, 24),
                Some(pad * 2..pad * 2 + 24)
            );
            assert_eq!(long_run(text.as_bytes(), 0, 25), None);
        }
    }
}

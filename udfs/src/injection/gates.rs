//! Stage one: which texts deserve a closer look, decided from the raw bytes.
//!
//! [`Stems`] finds fragments of the vocabulary with SIMD; a text goes on only if fragments of every item of some pattern are there.
//! [`Dress`] counts pairs of bytes that encodings leave behind, in one loop that compilers vectorise, so that decoding is tried where
//! there is something to decode.

use aho_corasick::packed;
use aho_corasick::{AhoCorasick, MatchKind};

/// A set of stems, one bit each; stems beyond the last bit share it.
pub(crate) type Mask = u128;

/// Multi-literal searchers over folded text.
#[derive(Debug)]
pub(crate) struct Stems {
    groups: Vec<Group>,
    /// Stems that hold bytes beyond ASCII: only looked for in texts that do.
    foreign: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    searcher: Searcher,
    masks: Vec<Mask>,
}

#[derive(Debug)]
enum Searcher {
    Packed(packed::Searcher),
    /// Without SIMD, or for more stems than it takes.
    Automaton(AhoCorasick),
}

/// More stems than this in one packed searcher cost more than a second pass.
const GROUP: usize = 32;

impl Stems {
    /// Builds searchers for `stems`, each with its mask.
    ///
    /// # Errors
    /// If the automaton for many stems cannot be built.
    pub(crate) fn new(stems: &[(String, Mask)]) -> Result<Self, aho_corasick::BuildError> {
        let (near, foreign): (Vec<_>, Vec<_>) = stems.iter().partition(|(stem, _)| stem.is_ascii());
        let group = |stems: &[&(String, Mask)]| -> Result<Group, aho_corasick::BuildError> {
            let masks = stems.iter().map(|(_, mask)| *mask).collect();
            let packed = packed::Config::new()
                .match_kind(packed::MatchKind::LeftmostFirst)
                .builder()
                .extend(stems.iter().map(|(stem, _)| stem))
                .build()
                .filter(|_| stems.len() <= GROUP);
            let searcher = match packed {
                Some(searcher) => Searcher::Packed(searcher),
                None => Searcher::Automaton(
                    AhoCorasick::builder()
                        .match_kind(MatchKind::Standard)
                        .build(stems.iter().map(|(stem, _)| stem))?,
                ),
            };
            Ok(Group { searcher, masks })
        };
        let foreign = if foreign.is_empty() {
            Vec::new()
        } else {
            vec![group(&foreign)?]
        };
        Ok(Self {
            groups: near.chunks(GROUP).map(group).collect::<Result<_, _>>()?,
            foreign,
        })
    }

    /// The stems that occur in `text`.
    pub(crate) fn mask(&self, text: &[u8], ascii: bool) -> Mask {
        let mut mask = 0;
        let foreign: &[Group] = if ascii { &[] } else { &self.foreign };
        for group in self.groups.iter().chain(foreign) {
            match &group.searcher {
                Searcher::Packed(searcher) => {
                    for found in searcher.find_iter(text) {
                        mask |= group.masks[found.pattern().as_usize()];
                    }
                }
                Searcher::Automaton(searcher) => {
                    for found in searcher.find_overlapping_iter(text) {
                        mask |= group.masks[found.pattern().as_usize()];
                    }
                }
            }
        }
        mask
    }
}

/// For each pattern, the stems its items need: one of each mask.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    all: Vec<Vec<Mask>>,
}

impl Needs {
    /// Keeps the weakest needs only: where `{a}` alone leads on, `{a}` and `{b}` need not be asked.
    pub(crate) fn new(mut needs: Vec<Vec<Mask>>) -> Self {
        for masks in &mut needs {
            masks.sort_unstable();
            masks.dedup();
        }
        needs.sort();
        needs.dedup();
        let implied = |weak: &Vec<Mask>, strong: &Vec<Mask>| {
            weak.iter()
                .all(|mask| strong.iter().any(|other| other & !mask == 0))
        };
        let all = needs
            .iter()
            .enumerate()
            .filter(|(at, strong)| {
                !needs.iter().enumerate().any(|(other, weak)| {
                    other != *at && implied(weak, strong) && (!implied(strong, weak) || other < *at)
                })
            })
            .map(|(_, masks)| masks.clone())
            .collect();
        Self { all }
    }

    /// Whether some pattern could match a text with these stems.
    pub(crate) fn met(&self, mask: Mask) -> bool {
        self.all
            .iter()
            .any(|masks| masks.iter().all(|need| need & mask != 0))
    }
}

/// Marks that encodings and disguises leave, counted in the original bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dress {
    /// Digits and signs of leetspeak next to letters.
    pub(crate) leet: u32,
    /// Begin of an escape: `%4`, `\x`, `\u`, `&#`, `&l`.
    pub(crate) escapes: u32,
    /// A single character between two equal separators.
    pub(crate) spaced: u32,
    /// Numbers followed by a blank.
    pub(crate) numbers: u32,
    /// Dots and dashes next to each other.
    pub(crate) morse: u32,
    /// An asterisk or comment before a letter.
    pub(crate) emphasis: u32,
    /// A plus sign or comma next to a quotation mark or blank.
    pub(crate) joins: u32,
}

impl Dress {
    /// Counts the marks of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut total = Self::default();
        let mut rest = bytes;
        // Blocks overlap by two bytes, since a mark is up to three bytes long.
        while rest.len() > 2 {
            let block = &rest[..rest.len().min(BLOCK + 2)];
            total.count(block);
            rest = &rest[block.len() - 2..];
        }
        total
    }

    fn count(&mut self, block: &[u8]) {
        let length = block.len() - 2;
        let (a, b, c) = (&block[..length], &block[1..=length], &block[2..]);
        let (mut leet, mut escapes, mut spaced, mut numbers) = (0_u8, 0_u8, 0_u8, 0_u8);
        let (mut morse, mut emphasis, mut joins) = (0_u8, 0_u8, 0_u8);
        for ((&a, &b), &c) in a.iter().zip(b).zip(c) {
            let letter = |byte: u8| (byte | 0x20).wrapping_sub(b'a') < 26;
            let digit = a.wrapping_sub(b'0') < 10;
            let next_letter = letter(b);
            leet += u8::from((digit | (a == b'@') | (a == b'$') | (a == b'!')) & next_letter);
            escapes += u8::from(
                ((a == b'\\') & ((b == b'x') | (b == b'u')))
                    | ((a == b'%') & (b.wrapping_sub(b'2') < 6))
                    | ((a == b'&') & ((b == b'#') | (b == b'l'))),
            );
            spaced += u8::from((a == c) & (a < b'0') & (b > b'/'));
            numbers += u8::from(digit & (b == b' '));
            morse += u8::from(
                ((a == b'.') | (a == b'-'))
                    & ((b == b'.') | (b == b'-') | (b == b' '))
                    & (c < b'0'),
            );
            emphasis += u8::from(((a == b'*') | (a == b'>')) & next_letter);
            joins += u8::from((a == b'+') & ((b == b' ') | (b == b'"') | (b == b'\'')));
        }
        self.leet += u32::from(leet);
        self.escapes += u32::from(escapes);
        self.spaced += u32::from(spaced);
        self.numbers += u32::from(numbers);
        self.morse += u32::from(morse);
        self.emphasis += u32::from(emphasis);
        self.joins += u32::from(joins);
    }
}

/// Fewer than 256 positions, so that a byte counts them.
const BLOCK: usize = 254;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dress_counts_each_kind_of_mark() {
        assert_eq!(Dress::of(b"plain words, nothing else").spaced, 0);
        assert!(Dress::of(b"1gn0r3 4ll").leet >= 3);
        assert_eq!(Dress::of(br"\x41\x42 %41 &#65;").escapes, 4);
        assert!(Dress::of(b"i g n o r e").spaced >= 4);
        assert_eq!(Dress::of(b"105 103 110 x").numbers, 3);
        assert_eq!(Dress::of(b""), Dress::default());
    }

    #[test]
    fn counts_do_not_depend_on_block_borders() {
        for pad in 0..300 {
            let mut text = vec![b' '; pad];
            text.extend_from_slice(br"\x41  ");
            assert_eq!(Dress::of(&text).escapes, 1, "{pad}");
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

    #[test]
    fn weaker_needs_replace_stronger_ones() {
        let needs = Needs::new(vec![
            vec![0b1],
            vec![0b1, 0b10],
            vec![0b110, 0b1000],
            vec![0b100, 0b1000],
        ]);
        assert_eq!(needs.all.len(), 2);
        assert!(needs.met(0b1) && needs.met(0b1010) && !needs.met(0b100));
    }

    #[test]
    fn stems_are_found_in_text_that_holds_them() {
        let stems = Stems::new(&[
            ("ignor".into(), 1),
            ("prompt".into(), 2),
            ("игнор".into(), 4),
        ])
        .expect("builds");
        assert_eq!(stems.mask(b"to ignore the prompt", true), 3);
        assert_eq!(stems.mask("игнорируй".as_bytes(), false), 4);
    }
}

impl Stems {
    pub(crate) fn count(&self) -> usize {
        self.groups
            .iter()
            .chain(&self.foreign)
            .map(|g| g.masks.len())
            .sum()
    }
}
impl Needs {
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }
}

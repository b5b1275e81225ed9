//! Stage one: which texts deserve a closer look, decided from the raw bytes.
//!
//! [`Prefixes`] looks at the first five bytes of each word: no text goes on unless words of every item of some pattern begin so. The
//! vocabulary may grow without slowing it, which a multi-literal SIMD search does not offer beyond some tens of words. [`Dress`] counts
//! pairs of bytes that encodings leave behind, in one loop that compilers vectorise, so that decoding is tried where there is something
//! to decode.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, BuildError};

/// Index of an item.
pub(crate) type ItemId = u16;

/// The items seen in a text, and roughly where.
#[derive(Debug, Default, Clone)]
pub(crate) struct Items {
    words: Vec<u64>,
    /// For each item the places where it was seen: one bit for [`STEP`] words, over again after 64.
    places: Vec<u64>,
}

/// Words that share one bit of a place.
const STEP: u32 = 2;

impl Items {
    fn reset(&mut self, items: usize) {
        if self.places.len() != items {
            self.words = vec![0; items.div_ceil(64)];
            self.places = vec![0; items];
            return;
        }
        for at in 0..self.words.len() {
            while self.words[at] != 0 {
                self.places[at * 64 + self.words[at].trailing_zeros() as usize] = 0;
                self.words[at] &= self.words[at] - 1;
            }
        }
    }

    fn insert(&mut self, item: ItemId, place: u64) {
        self.words[usize::from(item) / 64] |= 1 << (item % 64);
        self.places[usize::from(item)] |= place;
    }

    /// Whether `item` was seen.
    pub(crate) fn has(&self, item: ItemId) -> bool {
        self.words
            .get(usize::from(item) / 64)
            .is_some_and(|word| word >> (item % 64) & 1 == 1)
    }

    fn iter(&self) -> impl Iterator<Item = ItemId> {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros();
                word &= word.checked_sub(1)?;
                Some((at * 64) as ItemId + bit as ItemId)
            })
        })
    }

    /// Whether the items of `need` were seen in their order and near enough to each other.
    fn in_order(&self, need: &[(ItemId, u32)]) -> bool {
        let mut reach = u64::MAX;
        for (item, distance) in need {
            let mut here = self.places[usize::from(*item)] & reach;
            if here == 0 {
                return false;
            }
            // Places up to `distance` words further on, rounded up.
            let mut steps = distance / STEP + 1;
            if steps >= 63 {
                reach = u64::MAX;
                continue;
            }
            let mut width = 1;
            while steps > 0 {
                let shift = width.min(steps);
                here |= here.rotate_left(shift);
                steps -= shift;
                width += shift;
            }
            reach = here;
        }
        true
    }
}

/// Bytes of a word that count.
pub(crate) const PREFIX: usize = 5;

/// Finds words by their first bytes, and terms of unspaced scripts anywhere.
#[derive(Debug)]
pub(crate) struct Prefixes {
    /// One bit for each hash of a key: answers nearly all words.
    filter: Vec<u64>,
    /// For each key a range of `ids`.
    keys: HashMap<u64, (u32, u32), foldhash::fast::FixedState>,
    ids: Vec<ItemId>,
    /// Terms of scripts without blanks.
    unspaced: Option<(AhoCorasick, Vec<Vec<ItemId>>)>,
    items: usize,
}

/// The key of a word: its first five bytes, letters in lower case, unused bytes zero.
pub(crate) fn key(word: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = word.len().min(PREFIX);
    bytes[..length].copy_from_slice(&word[..length]);
    (u64::from_le_bytes(bytes) | LOWER) & LENGTHS[length]
}

/// The key for any word whose first four bytes are those of `key`.
pub(crate) fn stem_key(key: u64) -> u64 {
    key & LENGTHS[PREFIX - 1] | 0xFF << 40
}

const LOWER: u64 = 0x2020_2020_2020_2020;
const LENGTHS: [u64; PREFIX + 1] = [0, 0xFF, 0xFFFF, 0xFF_FFFF, 0xFFFF_FFFF, 0xFF_FFFF_FFFF];

fn filter_slot(key: u64) -> usize {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as usize
}

const HIGH: u64 = 0x8080_8080_8080_8080;
const EACH: u64 = 0x0101_0101_0101_0101;

/// For each of eight bytes the high bit, set if it belongs to a word: letters, digits, all beyond ASCII.
fn word_bits(eight: u64) -> u64 {
    let low = eight & !HIGH;
    // Adding carries into the high bit from the given value on.
    let from = |byte: u8| low + EACH * u64::from(0x80 - byte);
    let lower = (eight | LOWER) & !HIGH;
    let lower_from = |byte: u8| lower + EACH * u64::from(0x80 - byte);
    let digit = from(b'0') & !from(b'9' + 1);
    let letter = lower_from(b'a') & !lower_from(b'z' + 1);
    (digit | letter | eight) & HIGH
}

/// For each of eight bytes the high bit, set if a marker may begin with it: `<` or `[`.
fn sign_bits(eight: u64) -> u64 {
    let equals = |byte: u8| {
        let different = eight ^ (EACH * u64::from(byte));
        !(((different & !HIGH) + !HIGH) | different) & HIGH
    };
    equals(b'<') | equals(b'[')
}

/// The high bits of eight bytes as one byte.
fn gather(high: u64) -> u64 {
    high.wrapping_shr(7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

impl Prefixes {
    /// Builds the table from the items of each key, and of each term to find anywhere; `items` is how many there are.
    ///
    /// # Errors
    /// If the automaton for unspaced terms cannot be built.
    pub(crate) fn new(
        by_key: &HashMap<u64, Vec<ItemId>>,
        unspaced: Vec<(&str, Vec<ItemId>)>,
        items: usize,
    ) -> Result<Self, BuildError> {
        let mut filter = vec![0; 1 << 10];
        let mut keys: HashMap<u64, (u32, u32), _> = HashMap::default();
        let mut ids = Vec::new();
        for (key, of_key) in by_key {
            let slot = filter_slot(*key);
            filter[slot / 64] |= 1 << (slot % 64);
            let start = ids.len() as u32;
            ids.extend_from_slice(of_key);
            keys.insert(*key, (start, ids.len() as u32));
        }
        let unspaced = if unspaced.is_empty() {
            None
        } else {
            let searcher = AhoCorasick::new(unspaced.iter().map(|(term, _)| term))?;
            Some((
                searcher,
                unspaced.into_iter().map(|(_, items)| items).collect(),
            ))
        };
        Ok(Self {
            filter,
            keys,
            ids,
            unspaced,
            items,
        })
    }

    /// Writes to `seen` the items whose words occur in `text`, in any case of ASCII letters.
    pub(crate) fn look(&self, text: &[u8], ascii: bool, seen: &mut Items) {
        seen.reset(self.items);
        let mut at = 0;
        let mut before = 0;
        let mut count = 0;
        // A block of 64 positions reads up to 8 bytes beyond; the end is copied to where there is room.
        while at + 72 <= text.len() {
            before = self.block(&text[at..at + 72], before, &mut count, seen);
            at += 64;
        }
        while at < text.len() {
            let mut end = [0; 72];
            let length = (text.len() - at).min(64);
            let more = (text.len() - at).min(72);
            end[..more].copy_from_slice(&text[at..at + more]);
            before = self.block(&end, before, &mut count, seen);
            at += length;
        }
        if !ascii && let Some((searcher, items)) = &self.unspaced {
            for found in searcher.find_overlapping_iter(text) {
                for item in &items[found.pattern().as_usize()] {
                    seen.insert(*item, u64::MAX);
                }
            }
        }
    }

    fn found(&self, key: u64, place: u64, seen: &mut Items) {
        let slot = filter_slot(key);
        if self.filter[slot / 64] >> (slot % 64) & 1 == 1
            && let Some((start, end)) = self.keys.get(&key)
        {
            for item in &self.ids[*start as usize..*end as usize] {
                seen.insert(*item, place);
            }
        }
    }

    /// Looks at the words that begin in the first 64 of 72 bytes. `before` is 1 if the byte before belongs to a word, `count`
    /// the words before.
    fn block(&self, bytes: &[u8], before: u64, count: &mut u32, seen: &mut Items) -> u64 {
        let load = |at: usize| {
            bytes.get(at..at + 8).map_or(0, |eight| {
                u64::from_le_bytes(eight.try_into().unwrap_or_default())
            })
        };
        let mut words = 0;
        for part in 0..8 {
            words |= gather(word_bits(load(part * 8))) << (part * 8);
        }
        let mut signs = 0;
        for part in 0..8 {
            signs |= gather(sign_bits(load(part * 8))) << (part * 8);
        }
        let more = gather(word_bits(load(64)));
        let mut starts = words & !(words << 1 | before);
        while signs != 0 {
            let at = signs.trailing_zeros();
            signs &= signs - 1;
            let words_before = (starts & ((1 << at) - 1)).count_ones();
            let place = 1_u64.rotate_left(count.wrapping_add(words_before) / STEP);
            self.found(stem_key(load(at as usize) | LOWER), place, seen);
        }
        while starts != 0 {
            let at = starts.trailing_zeros() as usize;
            starts &= starts - 1;
            // Length of the word as far as it counts, from the bits behind its start.
            let rest = words >> at | if at == 0 { 0 } else { more << (64 - at) };
            let length = (!rest).trailing_zeros().min(PREFIX as u32) as usize;
            let key = (load(at) | LOWER) & LENGTHS[length];
            let place = 1_u64.rotate_left(*count / STEP);
            *count = count.wrapping_add(1);
            self.found(key, place, seen);
            if length + 1 >= PREFIX {
                self.found(stem_key(key), place, seen);
            }
        }
        words >> 63
    }
}

/// What a pattern asks for: items in order, each with the greatest distance in words to the next.
pub(crate) type Need = Vec<(ItemId, u32)>;

/// For each pattern, the items that must be there before it can match, kept with the rarest of them.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// For each item the patterns it is the rarest item of.
    by_item: Vec<Vec<(Need, u32)>>,
    /// Patterns that ask for nothing.
    open: Vec<u32>,
}

impl Needs {
    /// Builds from the needs of all patterns, each with the rarest of its items.
    pub(crate) fn new(needs: Vec<(Option<ItemId>, Need)>, items: usize) -> Self {
        let mut open = Vec::new();
        let mut by_item = vec![Vec::new(); items];
        for (pattern, (rarest, need)) in needs.into_iter().enumerate() {
            match rarest {
                Some(rarest) => by_item[usize::from(rarest)].push((need, pattern as u32)),
                None => open.push(pattern as u32),
            }
        }
        Self { by_item, open }
    }

    /// Writes to `live` the patterns that could match a text with these items; returns whether there are any.
    pub(crate) fn met(&self, seen: &Items, live: &mut Vec<u32>) -> bool {
        live.clear();
        live.extend_from_slice(&self.open);
        for item in seen.iter() {
            live.extend(
                self.by_item[usize::from(item)]
                    .iter()
                    .filter(|(need, _)| seen.in_order(need))
                    .map(|(_, pattern)| *pattern),
            );
        }
        !live.is_empty()
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
    fn items_must_be_seen_in_order_and_near() {
        let needs = Needs::new(vec![(Some(0), vec![(0, 4), (1, 0)])], 2);
        let seen = |places: &[(ItemId, u32)]| {
            let mut seen = Items::default();
            seen.reset(2);
            places
                .iter()
                .for_each(|(item, word)| seen.insert(*item, 1_u64.rotate_left(word / STEP)));
            seen
        };
        let met = |places: &[(ItemId, u32)]| needs.met(&seen(places), &mut Vec::new());
        assert!(met(&[(0, 10), (1, 14)]));
        assert!(met(&[(0, 127), (1, 129)]));
        assert!(!met(&[(0, 10), (1, 30)]));
        assert!(!met(&[(1, 10), (0, 16)]));
        assert!(!met(&[(0, 10)]));
        let mut live = Vec::new();
        assert!(Needs::new(vec![(None, vec![])], 2).met(&seen(&[]), &mut live));
        assert_eq!(live, [0]);
    }

    #[test]
    fn words_are_found_by_their_beginning_at_every_place() {
        let keys = HashMap::from([(key(b"ignore"), vec![0]), (key(b"ai"), vec![1])]);
        let prefixes =
            Prefixes::new(&keys, vec![("\u{5ffd}\u{7565}", vec![2])], 3).expect("builds");
        let look = |text: &str| {
            let mut seen = Items::default();
            prefixes.look(text.as_bytes(), text.is_ascii(), &mut seen);
            seen.iter().collect::<Vec<_>>()
        };
        for pad in 0..150 {
            assert_eq!(look(&format!("{}IGNORING", ". ".repeat(pad))), [0], "{pad}");
            assert_eq!(
                look(&format!("{}(ai) {}", "x ".repeat(pad), "y".repeat(pad))),
                [1],
                "{pad}"
            );
        }
        assert!(look("aid signore maid").is_empty());
        assert_eq!(look("\u{8bf7}\u{5ffd}\u{7565}"), [2]);
    }

    #[test]
    fn word_bytes_are_letters_digits_and_all_beyond_ascii() {
        for byte in 0..=255_u8 {
            let expected = u64::from(byte.is_ascii_alphanumeric() || byte >= 0x80);
            assert_eq!(
                gather(word_bits(u64::from_le_bytes([
                    byte, b' ', byte, b'a', byte, 0, byte, b'Z'
                ]))),
                (expected * 0b0101_0101) | 0b1000_1000,
                "{byte}"
            );
        }
    }
}

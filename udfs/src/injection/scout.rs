//! Stage one: which words of a text patterns ask for.
//!
//! A pattern asks for items in order; an item is there where one of its words is, or a word behind another. A word is looked up by its
//! first eight bytes: one bit for each hash answers most of them. A word that is known says which items it may belong to. Whether the
//! items of a pattern follow one another is for the [`survey`](super::survey) to see.
//!
//! Here are the tables and how they are built; [`walk`](super::walk) walks a text.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;

use foldhash::fast::FixedState;

/// How a word shows itself: some of its first eight bytes, letters of ASCII in lower case, and the beginning of the word before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Probe {
    value: u64,
    /// The bytes that count; all of them where the word must be no longer than it is.
    mask: u64,
    /// The first four bytes of the word before, if they matter.
    before: Option<NonZeroU32>,
}

impl Probe {
    /// A whole word. Of one longer than eight bytes the beginning.
    pub(crate) fn word(word: &[u8]) -> Self {
        Self {
            value: key(word),
            mask: u64::MAX,
            before: None,
        }
    }

    /// Any word that begins so; none if that is too little to look for.
    pub(crate) fn beginning(stem: &[u8]) -> Option<Self> {
        (stem.len() >= SHORTEST_STEM).then(|| Self {
            value: key(stem),
            mask: LENGTHS[stem.len().min(8)],
            before: None,
        })
    }

    /// The same behind a word that begins as `word` does in its first four bytes.
    pub(crate) fn behind(self, word: &[u8]) -> Self {
        let before = NonZeroU32::new(key(word) as u32);
        Self { before, ..self }
    }

    /// Whether the word is found, whatever stands before it.
    pub(crate) fn finds(&self, word: &[u8]) -> bool {
        self.before.is_none() && key(word) & self.mask == self.value
    }

    fn is_exact(&self) -> bool {
        self.mask == u64::MAX
    }
}

/// Fewer bytes are not looked up by themselves.
const SHORTEST_STEM: usize = 3;

/// The key of a word: its first eight bytes, letters in lower case, unused bytes zero.
pub(super) fn key(word: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = word.len().min(8);
    bytes[..length].copy_from_slice(&word[..length]);
    (u64::from_le_bytes(bytes) | LOWER) & LENGTHS[length]
}

/// Turns letters of ASCII to lower case, and other bytes to something that is the same in texts and in terms.
pub(super) const LOWER: u64 = 0x2020_2020_2020_2020;

/// For each length the bytes of a key that count.
pub(super) static LENGTHS: [u64; 9] = {
    let mut masks = [0; 9];
    let mut length = 1;
    while length < 9 {
        masks[length] = u64::MAX >> (64 - 8 * length);
        length += 1;
    }
    masks
};

/// Words and what they may belong to.
#[derive(Debug)]
pub(crate) struct Scout {
    /// One bit for each hash of a key that is known, and of a stem.
    words: Box<[u64; 1 << (WORD_BITS - 6)]>,
    stems: Box<[u64; 1 << (STEM_BITS - 6)]>,
    /// Known keys, by hash; a key of zero is a free place.
    exact: Vec<Exact>,
    /// Stems, those with the same first three bytes together, longer ones first.
    all_stems: Vec<Stem>,
    by_three: HashMap<u32, (u32, u32), FixedState>,
    /// The items of all meanings.
    lanes: Vec<Lane>,
    /// Lanes below this one are taken by themselves.
    first: u32,
    /// The items of a meaning behind a word; one bit for each hash of those that are known.
    pairs: HashMap<Pair, Range<u32>, FixedState>,
    pair_bits: Box<[u64; 1 << (PAIR_BITS - 6)]>,
}

/// The items that a word belongs to: where their lanes begin, how many it belongs to alone and how many behind others. The default is
/// that of an unknown word.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning {
    start: u32,
    /// Lanes below [`Scout::first`] come first.
    first: u8,
    alone: u8,
    behind: u16,
}

/// A word before another, by where the lanes of that begin.
type Pair = (Option<NonZeroU32>, u32);

/// Some of 64 items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) number: u32,
    /// The first four bytes of the word before, if they matter.
    before: Option<NonZeroU32>,
    pub(crate) bits: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Exact {
    key: u64,
    meaning: Meaning,
}

#[derive(Debug, Clone, Copy)]
struct Stem {
    value: u64,
    mask: u64,
    meaning: Meaning,
}

fn exact_slot(key: u64) -> usize {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - WORD_BITS)) as usize
}

fn stem_slot(short: u32) -> usize {
    (short.wrapping_mul(0x9E37_79B1) >> (32 - STEM_BITS)) as usize
}

fn pair_slot((before, meaning): Pair) -> usize {
    let before = before.map_or(0, NonZeroU32::get);
    let both = u64::from(before) << 32 | u64::from(meaning);
    (both.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - PAIR_BITS)) as usize
}

const PAIR_BITS: u32 = 15;
const WORD_BITS: u32 = 16;
const STEM_BITS: u32 = 14;

impl Scout {
    /// Compiles `probes`, each with the item it belongs to. The lanes below `first` can be asked for by themselves.
    pub(crate) fn new(probes: impl Iterator<Item = (Probe, u16)>, first: u32) -> Self {
        let mut scout = Self {
            first,
            words: Box::new([0; 1 << (WORD_BITS - 6)]),
            stems: Box::new([0; 1 << (STEM_BITS - 6)]),
            exact: Vec::new(),
            all_stems: Vec::new(),
            by_three: HashMap::default(),
            lanes: Vec::new(),
            pairs: HashMap::default(),
            pair_bits: Box::new([0; 1 << (PAIR_BITS - 6)]),
        };
        // Whole words last, longer stems behind shorter ones.
        let mut all: Vec<(Probe, u16)> = probes.collect();
        all.sort_unstable_by_key(|(probe, item)| (probe.mask, probe.value, probe.before, *item));
        let groups: Vec<&[(Probe, u16)]> = all
            .chunk_by(|a, b| (a.0.mask, a.0.value) == (b.0.mask, b.0.value))
            .collect();
        let words = groups.partition_point(|group| !group[0].0.is_exact());
        scout.add_stems(&groups[..words]);
        scout.add_words(&groups[words..]);
        scout
    }

    /// Adds stems, shorter ones first: what a stem says, longer ones that begin with it say as well.
    fn add_stems(&mut self, groups: &[&[(Probe, u16)]]) {
        // No two stems have the same value: the bytes that do not count are zero, those that do are not.
        let mut known: HashMap<u64, Meaning, FixedState> = HashMap::default();
        for group in groups {
            let Probe { value, mask, .. } = group[0].0;
            let inherited = LENGTHS[SHORTEST_STEM..8]
                .iter()
                .rev()
                .filter(|shorter| **shorter < mask)
                .find_map(|shorter| known.get(&(value & shorter)));
            let meaning = self.append(group, inherited.copied());
            known.insert(value, meaning);
            self.note_stem(value, mask);
            self.all_stems.push(Stem {
                value,
                mask,
                meaning,
            });
        }
        self.all_stems
            .sort_unstable_by_key(|stem| (three_of(stem.value), Reverse(stem.mask)));
        let mut at = 0;
        for group in self
            .all_stems
            .chunk_by(|a, b| three_of(a.value) == three_of(b.value))
        {
            let end = at + group.len() as u32;
            self.by_three.insert(three_of(group[0].value), (at, end));
            at = end;
        }
    }

    fn add_words(&mut self, groups: &[&[(Probe, u16)]]) {
        self.exact = vec![Exact::default(); (groups.len() * 4 / 3).next_power_of_two().max(64)];
        for group in groups {
            let key = group[0].0.value;
            let inherited = self.stem_of(key);
            let meaning = self.append(group, inherited);
            let slot = exact_slot(key);
            self.words[slot / 64] |= 1 << (slot % 64);
            let last = self.exact.len() - 1;
            let mut at = slot & last;
            while self.exact[at].key != 0 {
                at = (at + 1) & last;
            }
            self.exact[at] = Exact { key, meaning };
        }
    }

    /// Appends a meaning: the items of `group` and what is inherited.
    fn append(&mut self, group: &[(Probe, u16)], inherited: Option<Meaning>) -> Meaning {
        let mut lanes: Vec<Lane> = group
            .iter()
            .map(|(probe, item)| Lane {
                number: u32::from(item / 64),
                before: probe.before,
                bits: 1 << (item % 64),
            })
            .collect();
        if let Some(inherited) = inherited {
            let start = inherited.start as usize;
            let count = usize::from(inherited.alone) + usize::from(inherited.behind);
            lanes.extend_from_slice(&self.lanes[start..start + count]);
        }
        lanes.sort_unstable_by_key(|lane| (lane.before, lane.number));
        let start = self.lanes.len();
        for lane in lanes {
            match self.lanes[start..].last_mut() {
                Some(last) if (last.before, last.number) == (lane.before, lane.number) => {
                    last.bits |= lane.bits;
                }
                _ => self.lanes.push(lane),
            }
        }
        let alone = self.lanes[start..].partition_point(|lane| lane.before.is_none());
        let mut from = start + alone;
        for group in self.lanes[from..].chunk_by(|a, b| a.before == b.before) {
            let pair = (group[0].before, start as u32);
            let slot = pair_slot(pair);
            self.pair_bits[slot / 64] |= 1 << (slot % 64);
            let end = from + group.len();
            self.pairs.insert(pair, from as u32..end as u32);
            from = end;
        }
        let lanes = &self.lanes[start..start + alone];
        Meaning {
            start: start as u32,
            first: lanes.partition_point(|lane| lane.number < self.first) as u8,
            alone: alone as u8,
            behind: (self.lanes.len() - start - alone) as u16,
        }
    }

    fn note_stem(&mut self, value: u64, mask: u64) {
        let short = value as u32;
        if mask >= LENGTHS[4] {
            let slot = stem_slot(short);
            self.stems[slot / 64] |= 1 << (slot % 64);
            return;
        }
        // Whatever the fourth byte is, or none.
        for fourth in (0..=255).map(|byte: u8| byte | 0x20).chain([0]) {
            let slot = stem_slot(short | u32::from(fourth) << 24);
            self.stems[slot / 64] |= 1 << (slot % 64);
        }
    }

    /// Whether a word may be known.
    #[inline]
    pub(super) fn is_likely(&self, key: u64) -> bool {
        let (word, stem) = (exact_slot(key), stem_slot(key as u32));
        (self.words[word / 64] >> (word % 64) | self.stems[stem / 64] >> (stem % 64)) & 1 == 1
    }

    /// Whether a word belongs to any item.
    pub(super) fn knows(&self, word: &[u8]) -> bool {
        self.meaning_of(key(word)) != Meaning::default()
    }

    /// The meaning of a word.
    #[inline]
    pub(super) fn meaning_of(&self, key: u64) -> Meaning {
        let last = self.exact.len() - 1;
        let mut at = exact_slot(key) & last;
        loop {
            let place = &self.exact[at];
            if place.key == key {
                return place.meaning;
            }
            if place.key == 0 {
                return self.stem_of(key).unwrap_or_default();
            }
            at = (at + 1) & last;
        }
    }

    fn stem_of(&self, key: u64) -> Option<Meaning> {
        let (start, end) = *self.by_three.get(&three_of(key))?;
        self.all_stems[start as usize..end as usize]
            .iter()
            .find(|stem| key & stem.mask == stem.value)
            .map(|stem| stem.meaning)
    }

    /// Calls `take` with the items in the first lanes that a word of this meaning belongs to behind a word that begins with `before`; a
    /// lane may come twice.
    #[inline]
    pub(super) fn first_items(&self, meaning: Meaning, before: u32, mut take: impl FnMut(&Lane)) {
        for lane in &self.alone(meaning)[..usize::from(meaning.first)] {
            take(lane);
        }
        for lane in self.behind(meaning, before) {
            if lane.number < self.first {
                take(lane);
            }
        }
    }

    /// Whether a word of this meaning belongs to an item behind a word that begins with `before`.
    #[inline]
    pub(super) fn is_item(&self, meaning: Meaning, before: u32, item: u16) -> bool {
        let number = u32::from(item / 64);
        let is_there = |lane: &Lane| lane.number == number && lane.bits >> (item % 64) & 1 == 1;
        self.alone(meaning).iter().any(is_there)
            || self.behind(meaning, before).iter().any(is_there)
    }

    #[inline]
    fn alone(&self, meaning: Meaning) -> &[Lane] {
        let start = meaning.start as usize;
        &self.lanes[start..start + usize::from(meaning.alone)]
    }

    #[inline]
    fn behind(&self, meaning: Meaning, before: u32) -> &[Lane] {
        let pair = (NonZeroU32::new(before), meaning.start);
        let slot = pair_slot(pair);
        if meaning.behind == 0 || self.pair_bits[slot / 64] >> (slot % 64) & 1 == 0 {
            return &[];
        }
        let range = self.pairs.get(&pair).cloned().unwrap_or_default();
        &self.lanes[range.start as usize..range.end as usize]
    }
}

fn three_of(key: u64) -> u32 {
    key as u32 & 0xFF_FFFF
}

//! The tables of stage one: which words may begin something, and which words patterns ask for.
//!
//! [`Gate`] answers for nearly every word of a text that nobody asks for it, from one bit found by five bytes of it and another found
//! by these and the word before. [`Known`] says what a word that passed stands for. [`Near`] is asked which words around it may matter,
//! and [`Filter`] whether a word is of an item. All but [`Known`] may say yes to what was never put in, and never say no to what was:
//! stage two decides.

use super::probe::{LENGTHS, Probe, SHORTEST_STEM, WHOLE};

const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// Bytes of a word that the gate looks at.
pub(super) const SEEN: usize = 5;

const BLOCK_BITS: u32 = 11;
const PAIR_BITS: u32 = 15;

/// Which words may begin something.
#[derive(Debug)]
pub(super) struct Gate {
    /// By a hash of the first three bytes, a bit for each hash of the next two.
    words: Box<[u64; 1 << BLOCK_BITS]>,
    /// A bit for each hash of five bytes and four of the word before.
    pairs: Box<[u64; 1 << (PAIR_BITS - 6)]>,
}

/// Where the bit of a word is.
#[inline(always)]
fn place(key: u64) -> (usize, u32) {
    let three = (key & LENGTHS[3]).wrapping_mul(MIX) >> (64 - BLOCK_BITS);
    let two = ((key >> 24) & LENGTHS[2]).wrapping_mul(MIX) >> (64 - 6);
    (three as usize, two as u32)
}

#[inline(always)]
fn pair_place(before: u32, key: u64) -> (usize, u32) {
    let both = (u64::from(before) << 32 ^ (key & LENGTHS[SEEN])).wrapping_mul(MIX);
    let at = (both ^ both >> 29).wrapping_mul(MIX) >> (64 - PAIR_BITS);
    ((at >> 6) as usize, at as u32 & 63)
}

impl Gate {
    pub(super) fn new<'a>(probes: impl Iterator<Item = &'a Probe>) -> Self {
        let mut gate = Self {
            words: Box::new([0; 1 << BLOCK_BITS]),
            pairs: Box::new([0; 1 << (PAIR_BITS - 6)]),
        };
        for probe in probes {
            gate.add(probe);
        }
        gate
    }

    /// Opens the gate to what `probe` finds.
    pub(super) fn add(&mut self, probe: &Probe) {
        let length = probe.length();
        if let Some(before) = probe.before
            && length >= SEEN as u32
        {
            let (at, bit) = pair_place(before.get(), probe.value);
            self.pairs[at] |= 1 << bit;
            return;
        }
        let (at, bit) = place(probe.value);
        match length {
            // Whatever follows.
            3 => self.words[at] = u64::MAX,
            4 => {
                for fifth in (0..=255).map(|byte: u8| byte | 0x20).chain([0]) {
                    let (at, bit) = place(probe.value | u64::from(fifth) << 32);
                    self.words[at] |= 1 << bit;
                }
            }
            _ => self.words[at] |= 1 << bit,
        }
    }

    /// Whether a word may begin something; more than [`SEEN`] bytes of the key do not matter.
    #[inline(always)]
    pub(super) fn is_open(&self, before: u32, key: u64) -> bool {
        let (at, bit) = place(key);
        let (pair_at, pair_bit) = pair_place(before, key);
        (self.words[at] >> bit | self.pairs[pair_at] >> pair_bit) & 1 == 1
    }
}

/// Words and what each stands for: numbers.
#[derive(Debug)]
pub(super) struct Known {
    /// Words of which [`SEEN`] bytes count or more, beginnings of four bytes and of three.
    words: Buckets,
    fours: Buckets,
    threes: Buckets,
    /// A bit for each hash of three bytes that begin what is shorter.
    short: [u64; 1 << (SHORT_BITS - 6)],
    numbers: Vec<u32>,
}

/// Words by a hash of their first bytes.
#[derive(Debug)]
struct Buckets {
    bytes: u64,
    shift: u32,
    starts: Vec<u16>,
    entries: Vec<Entry>,
}

/// A probe, and where its numbers begin.
#[derive(Debug, Clone, Copy)]
struct Entry {
    value: u64,
    /// Zero if it does not matter.
    before: u32,
    numbers: u16,
    count: u8,
    length: u8,
}

const BUCKET_BITS: u32 = 13;
const SHORT_BITS: u32 = 10;

impl Known {
    pub(super) fn new(mut all: Vec<(Probe, u32)>) -> Self {
        all.sort_unstable();
        let [mut words, mut fours, mut threes] = [const { Vec::new() }; 3];
        let mut short = [0; 1 << (SHORT_BITS - 6)];
        let mut at = 0;
        // A count is a byte: what has more numbers has several entries.
        for same in all
            .chunk_by(|a, b| a.0 == b.0)
            .flat_map(|same| same.chunks(255))
        {
            let probe = same[0].0;
            let entry = Entry {
                value: probe.value,
                before: probe.before.map_or(0, |before| before.get()),
                numbers: at,
                count: same.len() as u8,
                length: probe.length() as u8,
            };
            at += same.len() as u16;
            if usize::from(entry.length) >= SEEN {
                words.push(entry);
                continue;
            }
            let bit = short_bit(entry.value);
            short[bit >> 6] |= 1 << (bit & 63);
            if usize::from(entry.length) == SHORTEST_STEM {
                threes.push(entry);
            } else {
                fours.push(entry);
            }
        }
        Self {
            words: Buckets::new(LENGTHS[SEEN], BUCKET_BITS, words),
            fours: Buckets::new(LENGTHS[SHORTEST_STEM + 1], 6, fours),
            threes: Buckets::new(LENGTHS[SHORTEST_STEM], 6, threes),
            short,
            numbers: all.into_iter().map(|(_, number)| number).collect(),
        }
    }

    /// Calls `take` with the numbers of a word behind one that begins with `before`.
    #[inline]
    pub(super) fn of(&self, key: u64, before: u32, mut take: impl FnMut(u32)) {
        self.words.of(key, before, &self.numbers, &mut take);
        let bit = short_bit(key);
        if self.short[bit >> 6] >> (bit & 63) & 1 == 1 {
            self.fours.of(key, before, &self.numbers, &mut take);
            self.threes.of(key, before, &self.numbers, &mut take);
        }
    }
}

#[inline]
fn short_bit(key: u64) -> usize {
    ((key & LENGTHS[SHORTEST_STEM]).wrapping_mul(MIX) >> (64 - SHORT_BITS)) as usize
}

impl Buckets {
    fn new(bytes: u64, bits: u32, mut entries: Vec<Entry>) -> Self {
        let shift = 64 - bits;
        let bucket = |entry: &Entry| ((entry.value & bytes).wrapping_mul(MIX) >> shift) as usize;
        entries.sort_by_key(bucket);
        let mut starts = vec![0; (1 << bits) + 1];
        for entry in &entries {
            starts[bucket(entry) + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self {
            bytes,
            shift,
            starts,
            entries,
        }
    }

    #[inline]
    fn of(&self, key: u64, before: u32, numbers: &[u32], take: &mut impl FnMut(u32)) {
        let at = ((key & self.bytes).wrapping_mul(MIX) >> self.shift) as usize;
        let bucket = usize::from(self.starts[at])..usize::from(self.starts[at + 1]);
        for entry in &self.entries[bucket] {
            if key & LENGTHS[usize::from(entry.length & 15)] == entry.value
                && (entry.before == 0 || entry.before == before)
            {
                let start = usize::from(entry.numbers);
                let numbers = &numbers[start..start + usize::from(entry.count)];
                numbers.iter().for_each(|number| take(*number));
            }
        }
    }
}

/// Anchors, or groups of them, and the words that they ask for nearby: the first bytes of these.
#[derive(Debug)]
pub(super) struct Near<const BLOCKS: usize> {
    blocks: Box<[u64; BLOCKS]>,
}

impl<const BLOCKS: usize> Near<BLOCKS> {
    pub(super) fn new() -> Self {
        Self {
            blocks: Box::new([0; BLOCKS]),
        }
    }

    /// Where the bits of a word are: two of one block.
    #[inline(always)]
    fn place(salt: u64, beginning: u64) -> (usize, u64) {
        let hash = (beginning ^ salt).wrapping_mul(MIX);
        let bits = 1 << (hash >> 32 & 63) | 1 << (hash >> 38 & 63);
        ((hash >> 44) as usize % BLOCKS, bits)
    }

    fn salt(owner: u32) -> u64 {
        u64::from(owner + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }

    /// Puts in that `owner` asks for what `probe` finds.
    pub(super) fn add(&mut self, owner: u32, probe: &Probe) {
        let (at, bits) = Self::place(Self::salt(owner), probe.value & LENGTHS[SEEN]);
        self.blocks[at] |= bits;
    }

    /// For which of some words, 64 at most, `owner` asks, as bits, given the lengths of beginnings in which it asks.
    #[inline]
    pub(super) fn of(&self, owner: u32, mut lengths: u32, keys: &[u64]) -> u64 {
        let salt = Self::salt(owner);
        let mut found = 0;
        while lengths != 0 {
            let mask = LENGTHS[lengths.trailing_zeros() as usize & 7];
            lengths &= lengths - 1;
            for (number, key) in keys.iter().enumerate() {
                let (at, bits) = Self::place(salt, key & mask);
                found |= u64::from(self.blocks[at] & bits == bits) << (number & 63);
            }
        }
        found
    }
}

/// In which length of beginning `probe` is asked for by [`Near`], as a bit.
pub(super) fn near_length(probe: &Probe) -> u32 {
    1 << probe.length().min(SEEN as u32)
}

/// A set of items, the owners, and the words that they ask for.
#[derive(Debug)]
pub(super) struct Filter {
    blocks: Vec<u64>,
    shift: u32,
}

/// In which ways an owner asks for words: a bit for each length of a probe, and the same shifted by [`BEHIND`] for words behind others.
pub(super) type Ways = u32;

const BEHIND: u32 = 16;

/// The way in which `probe` asks.
pub(super) fn way(probe: &Probe) -> Ways {
    1 << (probe.length() + if probe.before.is_some() { BEHIND } else { 0 })
}

impl Filter {
    /// An empty set with room for `count` pairs.
    pub(super) fn new(count: usize) -> Self {
        let bits = (count * 20).next_power_of_two().trailing_zeros().max(12);
        Self {
            blocks: vec![0; 1 << (bits - 6)],
            shift: 64 + 6 - bits,
        }
    }

    /// Where the bits of a pair are: three of one block.
    #[inline]
    fn place(&self, owner: u32, way: u32, value: u64, before: u32) -> (usize, u64) {
        let salt = u64::from(owner << 5 | way).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let hash = (value ^ salt ^ u64::from(before) << 17).wrapping_mul(MIX);
        let hash = (hash ^ hash >> 32).wrapping_mul(MIX);
        let bits = 1 << (hash >> 8 & 63) | 1 << (hash >> 14 & 63) | 1 << (hash >> 20 & 63);
        ((hash >> self.shift) as usize, bits)
    }

    /// Puts in that `owner` asks for what `probe` finds.
    pub(super) fn add(&mut self, owner: u32, probe: &Probe) {
        let before = probe.before.map_or(0, |before| before.get());
        let way = way(probe).trailing_zeros();
        let (at, bits) = self.place(owner, way, probe.value, before);
        self.blocks[at] |= bits;
    }

    /// Whether `owner`, which asks in `ways`, asks for a word behind one that begins with `before`.
    #[inline]
    pub(super) fn has(&self, owner: u32, mut ways: Ways, key: u64, before: u32) -> bool {
        while ways != 0 {
            let way = ways.trailing_zeros();
            ways &= ways - 1;
            let (length, before) = if way < BEHIND {
                (way, 0)
            } else {
                (way - BEHIND, before)
            };
            let value = if length == WHOLE {
                key
            } else {
                key & LENGTHS[length as usize]
            };
            let (at, bits) = self.place(owner, way, value, before);
            if self.blocks[at] & bits == bits {
                return true;
            }
        }
        false
    }
}

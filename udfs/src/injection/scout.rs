//! The tables of stage one: which words may begin something, and which words patterns ask for.
//!
//! [`Gate`] answers for nearly every word of a text that nobody asks for it, from one bit found by five bytes of it and another found
//! by these and the word before. [`Known`] says what a word that passed stands for, and [`Lanes`] which words around it may matter. All but
//! [`Known`] may say yes to what was never put in, and never say no to what was.
//!
//! Tables are small, and found by words alone: the words of ordinary text are few, so that what is asked again and again is at hand.

use super::probe::{LENGTHS, Probe, SHORTEST_STEM};

const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// Bytes of a word that the gate looks at.
pub(super) const SEEN: usize = 5;

const BLOCK_BITS: u32 = 12;
const PAIR_BITS: u32 = 16;

/// Which words may begin something.
#[derive(Debug)]
pub(super) struct Gate {
    /// By a hash of the first three bytes: a bit for each hash of the next two, and behind these one for each fourth byte whatever
    /// follows.
    words: Box<[u64; 1 << BLOCK_BITS]>,
    /// A bit for each hash of five bytes and four of the word before.
    pairs: Box<[u64; 1 << (PAIR_BITS - 6)]>,
}

/// Bits of a block for the fourth and fifth byte, and as many for the fourth alone.
const HALF: u32 = 32;

/// Where the bit of a word is.
#[inline(always)]
fn place(key: u64) -> (usize, u32) {
    let three = (key & LENGTHS[3]).wrapping_mul(MIX) >> (64 - BLOCK_BITS);
    let two = ((key >> 24) & LENGTHS[2]).wrapping_mul(MIX) >> (64 - 5);
    (three as usize, two as u32)
}

/// The bit in a block of a word of which only four bytes matter.
#[inline(always)]
fn fourth(key: u64) -> u32 {
    HALF + (key >> 24) as u32 % HALF
}

#[inline(always)]
fn pair_hash(before: u32, key: u64) -> u64 {
    (u64::from(before) << 32 ^ (key & LENGTHS[SEEN])).wrapping_mul(MIX)
}

#[inline(always)]
fn pair_place(before: u32, key: u64) -> (usize, u32) {
    let at = pair_hash(before, key) >> (64 - PAIR_BITS);
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
        self.words[at] |= match length {
            3 => u64::MAX,
            4 => 1 << fourth(probe.value),
            _ => 1 << bit,
        };
    }

    /// Whether a word may begin something; more than [`SEEN`] bytes of the key do not matter.
    #[inline(always)]
    pub(super) fn is_open(&self, before: u32, key: u64) -> bool {
        let (at, bit) = place(key);
        let (pair_at, pair_bit) = pair_place(before, key);
        let block = self.words[at];
        (block >> bit | block >> fourth(key) | self.pairs[pair_at] >> pair_bit) & 1 == 1
    }
}

/// Words and what each stands for.
#[derive(Debug)]
pub(super) struct Known<T> {
    /// Words of which [`SEEN`] bytes count or more, beginnings of four bytes and of three.
    words: Buckets<T>,
    fours: Buckets<T>,
    threes: Buckets<T>,
    /// A bit for each hash of three bytes that begin what is shorter.
    short: [u64; 1 << (SHORT_BITS - 6)],
}

/// Words by a hash of their first bytes.
#[derive(Debug)]
struct Buckets<T> {
    bytes: u64,
    shift: u32,
    starts: Vec<u16>,
    entries: Vec<Entry<T>>,
}

/// A probe, and what it finds.
#[derive(Debug, Clone, Copy)]
struct Entry<T> {
    value: u64,
    /// Zero if it does not matter.
    before: u32,
    length: u8,
    what: T,
}

const SHORT_BITS: u32 = 10;

impl<T: Copy> Known<T> {
    pub(super) fn new(all: impl Iterator<Item = (Probe, T)>) -> Self {
        let [mut words, mut fours, mut threes] = [const { Vec::new() }; 3];
        let mut short = [0; 1 << (SHORT_BITS - 6)];
        for (probe, what) in all {
            let entry = Entry {
                value: probe.value,
                before: probe.before.map_or(0, |before| before.get()),
                length: probe.length() as u8,
                what,
            };
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
            words: Buckets::new(LENGTHS[SEEN], words),
            fours: Buckets::new(LENGTHS[SHORTEST_STEM + 1], fours),
            threes: Buckets::new(LENGTHS[SHORTEST_STEM], threes),
            short,
        }
    }

    /// Calls `take` with what a word behind one that begins with `before` stands for.
    #[inline]
    pub(super) fn of(&self, key: u64, before: u32, mut take: impl FnMut(T)) {
        self.each(key, |entry| {
            if entry.before == 0 || entry.before == before {
                take(entry.what);
            }
        });
    }

    /// Whether a word stands for something, wherever it stands.
    pub(super) fn has(&self, key: u64) -> bool {
        let mut has = false;
        self.each(key, |_| has = true);
        has
    }

    #[inline]
    fn each(&self, key: u64, mut take: impl FnMut(&Entry<T>)) {
        self.words.each(key, &mut take);
        let bit = short_bit(key);
        if self.short[bit >> 6] >> (bit & 63) & 1 == 1 {
            self.fours.each(key, &mut take);
            self.threes.each(key, &mut take);
        }
    }
}

#[inline]
fn short_bit(key: u64) -> usize {
    top((key & LENGTHS[SHORTEST_STEM]).wrapping_mul(MIX), SHORT_BITS)
}

impl<T: Copy> Buckets<T> {
    fn new(bytes: u64, entries: Vec<Entry<T>>) -> Self {
        let bits = (entries.len() * 2)
            .next_power_of_two()
            .trailing_zeros()
            .max(1);
        let shift = 64 - bits;
        let bucket = |entry: &Entry<T>| ((entry.value & bytes).wrapping_mul(MIX) >> shift) as usize;
        let mut starts = vec![0; (1 << bits) + 1];
        for entry in &entries {
            starts[bucket(entry) + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut sorted = entries.clone();
        let mut next = starts.clone();
        for entry in entries {
            let place = &mut next[bucket(&entry)];
            sorted[usize::from(*place)] = entry;
            *place += 1;
        }
        Self {
            bytes,
            shift,
            starts,
            entries: sorted,
        }
    }

    #[inline]
    fn each(&self, key: u64, take: &mut impl FnMut(&Entry<T>)) {
        let at = ((key & self.bytes).wrapping_mul(MIX) >> self.shift) as usize;
        let bucket = usize::from(self.starts[at])..usize::from(self.starts[at + 1]);
        for entry in &self.entries[bucket] {
            if key & LENGTHS[usize::from(entry.length & 15)] == entry.value {
                take(entry);
            }
        }
    }
}

/// A number of bits of a hash.
#[inline(always)]
fn top(hash: u64, bits: u32) -> usize {
    (hash >> (64 - bits)) as usize
}

/// A set of lanes, as bits.
pub(super) type LaneSet = u128;

/// For each word the lanes in which it is asked for beside an anchor. What few ask for shares a lane.
#[derive(Debug)]
pub(super) struct Lanes {
    /// By a hash of five bytes, of these and four of the word before, and of three.
    words: Box<[LaneSet; 1 << LANE_BITS]>,
    pairs: Box<[LaneSet; 1 << PAIR_LANE_BITS]>,
    short: Box<[LaneSet; 1 << SHORT_LANE_BITS]>,
}

const LANE_BITS: u32 = 12;
const PAIR_LANE_BITS: u32 = 10;
const SHORT_LANE_BITS: u32 = 8;

impl Lanes {
    pub(super) fn new() -> Self {
        Self {
            words: Box::new([0; 1 << LANE_BITS]),
            pairs: Box::new([0; 1 << PAIR_LANE_BITS]),
            short: Box::new([0; 1 << SHORT_LANE_BITS]),
        }
    }

    /// Puts in that what `probe` finds is asked for in `lane`.
    pub(super) fn add(&mut self, lane: u8, probe: &Probe) {
        let (value, length) = (probe.value, probe.length());
        let lanes = match probe.before {
            _ if length < SEEN as u32 => {
                let three = (value & LENGTHS[SHORTEST_STEM]).wrapping_mul(MIX);
                &mut self.short[top(three, SHORT_LANE_BITS)]
            }
            Some(before) => &mut self.pairs[top(pair_hash(before.get(), value), PAIR_LANE_BITS)],
            None => &mut self.words[top((value & LENGTHS[SEEN]).wrapping_mul(MIX), LANE_BITS)],
        };
        *lanes |= 1 << lane;
    }

    /// The lanes of a word behind one that begins with `before`.
    #[inline]
    pub(super) fn of(&self, key: u64, before: u32) -> LaneSet {
        let three = (key & LENGTHS[SHORTEST_STEM]).wrapping_mul(MIX);
        self.words[top((key & LENGTHS[SEEN]).wrapping_mul(MIX), LANE_BITS)]
            | self.pairs[top(pair_hash(before, key), PAIR_LANE_BITS)]
            | self.short[top(three, SHORT_LANE_BITS)]
    }
}

//! Where the words of a text begin and end, and which of them may begin something.
//!
//! Words are runs of set bits, and what is set down are the places where runs begin and end. Each word is then looked up by a few bytes,
//! without a branch. Nothing else is known of a word until somebody asks. Emphasis and comments inside words are not undone here.

use std::ops::Range;

use super::marks::{BLOCK, Marks};
use super::probe::{LENGTHS, LOWER, key};
use super::scout::Gate;
use super::tokens::{Sort, joint, sort_at};

/// What a walk leaves behind; kept from text to text for its memory.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// By turns where a word begins and where it ends. A character of an unspaced script ends with the one behind it, so that it is
    /// looked up with that.
    edges: Vec<u32>,
    keys: Vec<u64>,
    /// Numbers of the words that may begin something.
    pub(super) likely: Vec<u32>,
    /// Where signs stand that may begin a marker.
    pub(super) signs: Vec<u32>,
}

/// Set in the end of a word that has an apostrophe inside, which does not count.
const JOINED: u32 = 1 << 31;

impl Trail {
    /// Walks the words of `text`, whose masks are `marks`.
    pub(super) fn walk(&mut self, text: &[u8], marks: &[Marks], gate: &Gate) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi2")
        {
            // SAFETY: the processor has AVX2 and BMI2, and with them the older extensions.
            return unsafe { self.walk_fast(text, marks, gate) };
        }
        self.walk_anywhere(text, marks, gate);
    }

    /// The same with single instructions for counting and shifting bits.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn walk_fast(&mut self, text: &[u8], marks: &[Marks], gate: &Gate) {
        self.walk_anywhere(text, marks, gate);
    }

    #[inline(always)]
    fn walk_anywhere(&mut self, text: &[u8], marks: &[Marks], gate: &Gate) {
        let mut cutter = Cutter {
            text,
            trail: self,
            count: 0,
            inside: false,
            joined: false,
            done: 0,
        };
        cutter.trail.signs.clear();
        for (at, here) in marks.iter().enumerate() {
            let before = at.checked_sub(1).map_or(0, |at| marks[at].alnum >> 63);
            cutter.block(at * BLOCK, here, before);
        }
        if cutter.inside {
            cutter.close(text.len());
        }
        let count = cutter.count;
        self.edges.truncate(count);
        self.sift(text, gate);
    }

    /// Looks up each word: a store and an addition rather than a branch, since nobody can guess which words are known.
    #[inline(always)]
    fn sift(&mut self, text: &[u8], gate: &Gate) {
        let Self {
            edges,
            keys,
            likely,
            ..
        } = self;
        let (words, _) = edges.as_chunks::<2>();
        keys.resize(words.len(), 0);
        likely.resize(words.len(), 0);
        let (mut count, mut before) = (0, 0);
        for ((number, [start, end]), slot) in words.iter().enumerate().zip(keys) {
            let (start, length) = (*start as usize, (end - start) as usize);
            let key = match text[start..].first_chunk::<8>() {
                Some(eight) if length < JOINED as usize => {
                    (u64::from_le_bytes(*eight) | LOWER) & LENGTHS[length.min(8)]
                }
                _ => key_of(text, [start as u32, *end]),
            };
            *slot = key;
            likely[count] = number as u32;
            count += usize::from(gate.is_open(before, key));
            before = key as u32;
        }
        likely.truncate(count);
    }

    /// How many words there are.
    pub(super) fn len(&self) -> u32 {
        self.edges.len() as u32 / 2
    }

    #[inline]
    fn word(&self, number: u32) -> Option<[u32; 2]> {
        self.edges.as_chunks::<2>().0.get(number as usize).copied()
    }

    /// The keys of all words.
    #[inline]
    pub(super) fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// The key of a word.
    #[inline]
    pub(super) fn key(&self, number: u32) -> u64 {
        self.keys[number as usize]
    }

    /// The first four bytes of the word before.
    #[inline]
    pub(super) fn before(&self, number: u32) -> u32 {
        let before = number.checked_sub(1);
        before.map_or(0, |before| self.keys[before as usize] as u32)
    }

    /// The bytes between a word and the one before.
    pub(super) fn gap(&self, text: &[u8], number: u32) -> Range<usize> {
        let start = number
            .checked_sub(1)
            .and_then(|before| self.word(before))
            .map_or(0, |[_, end]| (end & !JOINED) as usize);
        let end = self
            .word(number)
            .map_or(text.len(), |[start, _]| start as usize);
        start.min(end)..end
    }

    /// The bytes of a text from word `first` to before word `last`.
    pub(super) fn bytes(&self, text: &[u8], first: u32, last: u32) -> Range<usize> {
        let at = |number| {
            self.word(number)
                .map_or(text.len(), |[start, _]| start as usize)
        };
        at(first)..at(last)
    }

    /// Number of the first word that begins at byte `at` or later.
    pub(super) fn word_at(&self, at: usize) -> u32 {
        let (words, _) = self.edges.as_chunks::<2>();
        words.partition_point(|[start, _]| (*start as usize) < at) as u32
    }
}

#[inline]
fn key_of(text: &[u8], [start, end]: [u32; 2]) -> u64 {
    let at = start as usize;
    if end & JOINED != 0 {
        return joined_key(&text[at..(end & !JOINED) as usize]);
    }
    let length = (end - start) as usize;
    match text[at..].first_chunk::<8>() {
        Some(eight) => (u64::from_le_bytes(*eight) | LOWER) & LENGTHS[length.min(8)],
        None => key(&text[at..end as usize]),
    }
}

/// The key of a word without its apostrophes.
#[cold]
fn joined_key(word: &[u8]) -> u64 {
    let mut letters = [0; 8];
    let kept = word.iter().filter(|byte| !matches!(byte, b'\'' | b'`'));
    let count = letters
        .iter_mut()
        .zip(kept)
        .map(|(to, from)| *to = *from)
        .count();
    key(&letters[..count])
}

/// Cuts a text into words, block by block.
struct Cutter<'a> {
    text: &'a [u8],
    trail: &'a mut Trail,
    /// How many edges are written.
    count: usize,
    /// Whether the block before ends in a word, and whether that has an apostrophe inside.
    inside: bool,
    joined: bool,
    /// Words up to here are set down.
    done: usize,
}

impl Cutter<'_> {
    /// `before` is 1 if a letter or digit of ASCII stands before the block.
    #[inline(always)]
    fn block(&mut self, begin: usize, here: &Marks, before: u64) {
        let mut signs = here.sign;
        while signs != 0 {
            self.trail.signs.push(begin as u32 + signs.trailing_zeros());
            signs &= signs - 1;
        }
        // Whether a letter follows the last byte is for the next block to say.
        let joints = here.quote & (here.alnum << 1 | before) & (here.alnum >> 1 | 1 << 63);
        if here.wide | joints >> 63 != 0 || self.done > begin {
            return self.wide_block(begin);
        }
        let words = here.alnum | joints;
        if joints != 0 || self.joined {
            return self.joined_block(begin, words, joints);
        }
        let mut turns = words ^ (words << 1 | u64::from(self.inside));
        self.inside = words >> 63 == 1;
        let room = self.room();
        let count = turns.count_ones() as usize;
        let mut at = 0;
        while at < count {
            for slot in &mut room[at..at + 8] {
                *slot = begin as u32 + turns.trailing_zeros();
                turns &= turns.wrapping_sub(1);
            }
            at += 8;
        }
        self.count += count;
    }

    /// Room for the edges of a block.
    #[inline(always)]
    fn room(&mut self) -> &mut [u32; BLOCK + 8] {
        let least = self.count + BLOCK + 8;
        if self.trail.edges.len() < least {
            self.trail.edges.resize(least * 2, 0);
        }
        let room = self.trail.edges[self.count..].first_chunk_mut();
        room.expect("the edges were made long enough")
    }

    fn push(&mut self, edge: u32) {
        self.room()[0] = edge;
        self.count += 1;
    }

    /// Ends the word that the block before began.
    fn close(&mut self, end: usize) {
        self.push(end as u32 | if self.joined { JOINED } else { 0 });
        (self.inside, self.joined) = (false, false);
    }

    /// A block with apostrophes inside words.
    #[inline(never)]
    fn joined_block(&mut self, begin: usize, words: u64, joints: u64) {
        let mut turns = words ^ (words << 1 | u64::from(self.inside));
        let mut from = 0;
        while turns != 0 {
            let at = turns.trailing_zeros();
            turns &= turns - 1;
            if self.inside {
                self.joined |= joints >> from << from << (63 - at) != 0;
                self.close(begin + at as usize);
            } else {
                self.push(begin as u32 + at);
                self.inside = true;
                from = at;
            }
        }
        if self.inside {
            self.joined |= joints >> from != 0;
        }
    }

    /// A block with characters beyond ASCII, or what is left of one that such characters reach into.
    #[inline(never)]
    fn wide_block(&mut self, begin: usize) {
        let mut at = self.done.max(begin);
        if self.inside {
            // The word goes on here, so it is read from its beginning.
            self.count -= 1;
            at = self.trail.edges[self.count] as usize;
            (self.inside, self.joined) = (false, false);
        }
        let end = self.text.len().min(begin + BLOCK);
        while at < end {
            let (sort, width) = sort_at(self.text, at);
            match sort {
                Sort::Letter => at = self.wide_word(at),
                Sort::Sign => {
                    let next = at + width;
                    let pair = match self.text.get(next).map(|_| sort_at(self.text, next)) {
                        Some((Sort::Sign, width)) => next + width,
                        _ => next,
                    };
                    self.push(at as u32);
                    self.push(pair as u32);
                    at = next;
                }
                Sort::Other => at += width,
            }
        }
        self.done = at;
    }

    fn wide_word(&mut self, mut at: usize) -> usize {
        self.push(at as u32);
        loop {
            while at < self.text.len() {
                let (sort, width) = sort_at(self.text, at);
                if sort != Sort::Letter {
                    break;
                }
                at += width;
            }
            if !matches!(self.text.get(at), Some(b'\'' | b'`')) || joint(self.text, at).is_none() {
                self.close(at);
                return at;
            }
            self.joined = true;
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::marks::classify;
    use super::super::probe::Probe;
    use super::super::scout::Known;
    use super::*;

    fn trail(probes: &[Probe], text: &str) -> Trail {
        let (mut marks, mut trail) = (Vec::new(), Trail::default());
        classify(text.as_bytes(), &mut marks);
        trail.walk(text.as_bytes(), &marks, &Gate::new(probes.iter()));
        trail
    }

    /// The numbers of the words that `probes` find, by gate and table.
    fn look(probes: &[Probe], text: &str) -> Vec<(u32, u32)> {
        let trail = trail(probes, text);
        let known = Known::new(probes.iter().copied().zip(0..).collect());
        let mut seen = Vec::new();
        for at in &trail.likely {
            known.of(trail.key(*at), trail.before(*at), |number| {
                seen.push((number, *at))
            });
        }
        seen.sort_unstable();
        seen
    }

    fn words(probes: &[&str], text: &str) -> Vec<u32> {
        let probes: Vec<Probe> = probes
            .iter()
            .map(|word| match word.strip_suffix('*') {
                Some(stem) => Probe::beginning(stem.as_bytes()).expect("long enough"),
                None => Probe::word(word.as_bytes()),
            })
            .collect();
        let mut words: Vec<u32> = look(&probes, text).iter().map(|seen| seen.1).collect();
        words.sort_unstable();
        words
    }

    #[test]
    fn words_are_found_by_their_beginning_at_every_place() {
        for pad in 0..150 {
            let text = format!("{}IGNORING x", ". ".repeat(pad));
            assert_eq!(words(&["ignor*"], &text), [0], "{pad}");
            let text = format!("{}(ai) {}", "x ".repeat(pad), "y".repeat(pad));
            assert_eq!(words(&["ai"], &text), [pad as u32], "{pad}");
            for apostrophe in ["DON'T go", "d'o'n't", "don`t \u{e9}"] {
                let text = format!("{}{apostrophe}", "x ".repeat(pad));
                assert_eq!(words(&["dont"], &text), [pad as u32], "{pad} {apostrophe}");
                let text = format!("{}{apostrophe}", ",".repeat(pad));
                assert_eq!(words(&["dont"], &text), [0], "{pad} {apostrophe}");
            }
        }
        assert_eq!(
            words(&["ai", "ignor*"], "aid signore maid ignoble"),
            [0_u32; 0]
        );
        assert_eq!(
            words(&["gpt*"], "chatgpt gpt-4 gpts (gpt) GPT"),
            [1, 3, 4, 5]
        );
    }

    #[test]
    fn characters_of_unspaced_scripts_are_words_in_pairs() {
        let text = "\u{8bf7}\u{5ffd}\u{7565}ok \u{5ffd}\u{8bf7}";
        assert_eq!(words(&["\u{5ffd}\u{7565}"], text), [1]);
        assert_eq!(words(&["ok"], text), [3]);
        assert_eq!(words(&["\u{8bf7}*"], text), [0, 5]);
        assert_eq!(
            words(
                &["\u{438}\u{433}\u{43d}*"],
                "x \u{438}\u{433}\u{43d}\u{43e}\u{440}"
            ),
            [1]
        );
    }

    #[test]
    fn a_word_may_be_asked_for_behind_another() {
        let stem = |stem: &str| Probe::beginning(stem.as_bytes()).expect("long enough");
        let probes = [
            stem("prompt").behind(b"system"),
            Probe::word(b"far").behind(b"so"),
        ];
        let text = "prompt system. Prompts so what, so FAR farther so (far)";
        assert_eq!(look(&probes, text), [(0, 2), (1, 6), (1, 9)]);
    }

    #[test]
    fn a_word_is_all_that_its_beginnings_are() {
        let stem = |stem: &str| Probe::beginning(stem.as_bytes()).expect("long enough");
        let probes = [
            stem("ins"),
            stem("instr"),
            Probe::word(b"instruct"),
            stem("inst"),
        ];
        assert_eq!(
            look(&probes, "instruct insist instrument instance"),
            [
                (0, 0),
                (0, 1),
                (0, 2),
                (0, 3),
                (1, 0),
                (1, 2),
                (2, 0),
                (3, 0),
                (3, 2),
                (3, 3)
            ]
        );
    }

    #[test]
    fn words_have_their_bytes_whatever_stands_around() {
        for pad in 0..130 {
            let text = format!("{} caf\u{e9}s, don't!", "ab ".repeat(pad));
            let trail = trail(&[], &text);
            let count = pad as u32;
            assert_eq!(trail.len(), count + 2, "{pad}");
            let bytes = trail.bytes(text.as_bytes(), count, count + 1);
            assert_eq!(&text[bytes], "caf\u{e9}s, ");
            assert_eq!(trail.word_at(text.len() - 3), count + 2);
            assert_eq!(&text[trail.gap(text.as_bytes(), count + 1)], ", ");
            assert_eq!(trail.key(count + 1), key(b"dont"));
        }
    }
}

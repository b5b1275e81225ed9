//! Where the words of a text begin, and which of them may begin something.
//!
//! Words are runs of set bits. Of each its first eight bytes are set down, and then it is looked up by a few of them, without a branch.
//! Nothing else is known of a word until somebody asks. Emphasis and comments inside words are not undone here.

use std::ops::Range;

use super::marks::{BLOCK, Marks};
use super::probe::{LENGTHS, LOWER, key};
use super::scout::Gate;
use super::tokens::{Sort, joint, sort_at};

/// What a walk leaves behind; kept from text to text for its memory.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// Where words begin, and their keys; behind `count` lies what an earlier text left. The key of a character of an unspaced script
    /// is that of it and the one behind.
    starts: Vec<u32>,
    keys: Vec<u64>,
    count: usize,
    /// Numbers of the words that may begin something.
    pub(super) likely: Vec<u32>,
    /// Where signs stand that may begin a marker.
    pub(super) signs: Vec<u32>,
}

/// Most words that begin in a block.
const MOST: usize = BLOCK / 2;

/// The bytes of a block, and those in which its last word may go on.
const WINDOW: usize = BLOCK + 8;

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
        self.count = 0;
        self.signs.clear();
        // Words up to here are set down, and whether the block before ends in a word.
        let (mut done, mut inside) = (0, false);
        for (number, here) in marks.iter().enumerate() {
            let begin = number * BLOCK;
            let mut signs = here.sign;
            while signs != 0 {
                self.signs.push(begin as u32 + signs.trailing_zeros());
                signs &= signs - 1;
            }
            if here.wide != 0 || done > begin {
                let from = match self.starts[..self.count].last() {
                    // The word goes on here, so it is read from its beginning.
                    Some(start) if inside && done <= begin => {
                        self.count -= 1;
                        *start as usize
                    }
                    _ => done.max(begin),
                };
                done = self.wide_block(text, from, text.len().min(begin + BLOCK));
                inside = false;
                continue;
            }
            let before = number.checked_sub(1).map_or(0, |at| marks[at].alnum >> 63);
            let behind = marks.get(number + 1).map_or(0, |next| next.alnum);
            let joints = here.quote & (here.alnum << 1 | before) & (here.alnum >> 1 | behind << 63);
            let words = here.alnum | joints;
            self.block(text, begin, words, words << 1 | u64::from(inside), behind);
            inside = words >> 63 == 1;
            if joints != 0 {
                self.join(text, begin, joints);
            }
        }
        self.sift(gate);
    }

    /// Sets down the words of a block in which all are of ASCII, given its bits, these moved on by one, and those of the next block.
    #[inline(always)]
    fn block(&mut self, text: &[u8], begin: usize, words: u64, led: u64, behind: u64) {
        let mut rest = [0; WINDOW];
        let window: &[u8; WINDOW] = match text[begin..].first_chunk() {
            Some(window) => window,
            None => {
                rest[..text.len() - begin].copy_from_slice(&text[begin..]);
                &rest
            }
        };
        self.make_room();
        let room = self.starts[self.count..].iter_mut();
        let room = room.zip(&mut self.keys[self.count..]);
        let mut starts = words & !led;
        self.count += starts.count_ones() as usize;
        for (start, key) in room {
            if starts == 0 {
                break;
            }
            let at = starts.trailing_zeros();
            starts &= starts - 1;
            let run = words >> at | behind << 1 << (63 - at);
            let length = run.trailing_ones().min(8) as usize;
            let at = at as usize % BLOCK;
            let mut eight = [0; 8];
            eight.copy_from_slice(&window[at..at + 8]);
            *start = (begin + at) as u32;
            *key = (u64::from_le_bytes(eight) | LOWER) & LENGTHS[length];
        }
    }

    fn make_room(&mut self) {
        if self.starts.len() < self.count + MOST {
            let room = self.count * 2 + 16 * MOST;
            self.starts.resize(room, 0);
            self.keys.resize(room, 0);
        }
    }

    fn push(&mut self, start: usize, key: u64) {
        self.make_room();
        self.starts[self.count] = start as u32;
        self.keys[self.count] = key;
        self.count += 1;
    }

    /// Looks again at the words of a block that have apostrophes inside, which do not count.
    #[inline(never)]
    fn join(&mut self, text: &[u8], begin: usize, mut joints: u64) {
        while joints != 0 {
            let at = begin as u32 + joints.trailing_zeros();
            joints &= joints - 1;
            let starts = &self.starts[..self.count];
            if let Some(word) = starts.iter().rposition(|start| *start < at) {
                self.keys[word] = word_at(text, starts[word] as usize).1;
            }
        }
    }

    /// Sets down the words that begin from `at` to `end`, where there are characters beyond ASCII; gives where the last one ends.
    #[inline(never)]
    fn wide_block(&mut self, text: &[u8], mut at: usize, end: usize) -> usize {
        while at < end {
            let (sort, width) = sort_at(text, at);
            match sort {
                Sort::Letter => {
                    let (next, key) = word_at(text, at);
                    self.push(at, key);
                    at = next;
                }
                Sort::Sign => {
                    let next = at + width;
                    let pair = match text.get(next).map(|_| sort_at(text, next)) {
                        Some((Sort::Sign, width)) => next + width,
                        _ => next,
                    };
                    self.push(at, key(&text[at..pair]));
                    at = next;
                }
                Sort::Other => at += width,
            }
        }
        at
    }

    /// Looks up each word: a store and an addition rather than a branch, since nobody can guess which words are known.
    #[inline(always)]
    fn sift(&mut self, gate: &Gate) {
        let keys = &self.keys[..self.count];
        self.likely.resize(keys.len(), 0);
        let (mut count, mut before) = (0, 0);
        for (number, key) in (0..).zip(keys) {
            self.likely[count] = number;
            count += usize::from(gate.is_open(before, *key));
            before = *key as u32;
        }
        self.likely.truncate(count);
    }

    /// How many words there are.
    pub(super) fn len(&self) -> u32 {
        self.count as u32
    }

    fn starts(&self) -> &[u32] {
        &self.starts[..self.count]
    }

    /// The keys of all words.
    #[inline]
    pub(super) fn keys(&self) -> &[u64] {
        &self.keys[..self.count]
    }

    /// The key of a word.
    #[inline]
    pub(super) fn key(&self, number: u32) -> u64 {
        self.keys()[number as usize]
    }

    /// The first four bytes of the word before.
    #[inline]
    pub(super) fn before(&self, number: u32) -> u32 {
        let before = number.checked_sub(1);
        before.map_or(0, |before| self.keys()[before as usize] as u32)
    }

    /// The bytes of a text from word `first` to before word `last`; the text ends behind the last one.
    pub(super) fn bytes(&self, text: &[u8], first: u32, last: u32) -> Range<usize> {
        let starts = self.starts();
        let at = |number: u32| {
            let start = starts.get(number as usize);
            start.map_or(text.len(), |start| *start as usize)
        };
        at(first)..at(last)
    }

    /// The bytes from the word before, or the begin of the text, to a word.
    pub(super) fn led(&self, text: &[u8], number: u32) -> Range<usize> {
        match number.checked_sub(1) {
            Some(before) => self.bytes(text, before, number),
            None => 0..self.bytes(text, 0, 0).end,
        }
    }

    /// Number of the first word that begins at byte `at` or later.
    pub(super) fn word_at(&self, at: usize) -> u32 {
        self.starts()
            .partition_point(|start| (*start as usize) < at) as u32
    }
}

/// Where the word that begins at `at` ends, and its key, in which apostrophes do not count.
fn word_at(text: &[u8], mut at: usize) -> (usize, u64) {
    let mut letters = [0; 8];
    let mut count = 0;
    while at < text.len() {
        let (sort, width) = sort_at(text, at);
        if sort == Sort::Letter {
            for byte in &text[at..text.len().min(at + width)] {
                if let Some(letter) = letters.get_mut(count) {
                    *letter = *byte;
                    count += 1;
                }
            }
            at += width;
        } else if matches!(text[at], b'\'' | b'`') && joint(text, at).is_some() {
            at += 1;
        } else {
            break;
        }
    }
    (at, key(&letters[..count]))
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
            assert_eq!(&text[trail.led(text.as_bytes(), count + 1)], "caf\u{e9}s, ");
            assert_eq!(trail.key(count + 1), key(b"dont"));
        }
    }
}

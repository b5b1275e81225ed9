//! A walk over the words of a text, on which a [`Scout`] sees items.
//!
//! Words are found as runs of set bits and looked up without a branch, those that may be known set down; then it is noted what those
//! few are. Words that apostrophes join are looked up joined; emphasis and comments inside words are not undone here.

use super::marks::{BLOCK, Marks};
use super::scout::{LENGTHS, LOWER, Scout, key};
use super::tokens::{Sort, joint, sort_at};

/// A word, or a sign that may begin a marker.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) key: u64,
    /// Its number in the text; that of the next word for a sign.
    pub(crate) number: u32,
    /// The same with sentence ends counted in.
    pub(crate) position: u32,
}

/// What a walk leaves behind; kept from text to text for its memory.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    pub(crate) words: Vec<Word>,
    /// Indices of the words that may be known.
    pub(crate) likely: Vec<u32>,
    /// For each block the number of words that begin before it.
    words_before: Vec<u32>,
}

impl Trail {
    /// The bytes of a text that hold the words from `first` to `last`, in whole blocks.
    pub(crate) fn bytes(&self, first: u32, last: u32) -> std::ops::Range<usize> {
        let from = self
            .words_before
            .partition_point(|words| *words <= first)
            .saturating_sub(1);
        let to = self.words_before.partition_point(|words| *words <= last);
        from * BLOCK..to * BLOCK
    }

    /// Number of the first word that begins in the block of byte `at` or later.
    pub(crate) fn word_at(&self, at: usize) -> u32 {
        self.words_before
            .get(at / BLOCK)
            .copied()
            .unwrap_or_default()
    }

    /// The first four bytes of the word before.
    #[inline]
    pub(crate) fn before(&self, at: usize) -> u32 {
        self.words[..at].last().map_or(0, |word| word.key as u32)
    }
}

impl Scout {
    /// Walks the words of `text`, whose masks are `marks`, and leaves in `trail` which of them may be known.
    pub(crate) fn look(&self, text: &[u8], marks: &[Marks], trail: &mut Trail) {
        let Trail {
            words,
            likely,
            words_before,
        } = trail;
        words_before.clear();
        let mut walk = Walk {
            scout: self,
            text,
            words,
            likely,
            words_before,
            count: 0,
            likely_count: 0,
            number: 0,
            position: 0,
            carried: 0,
        };
        let shape_of = |at: usize, carried: u64| {
            marks.get(at).map_or(Shape::default(), |here| {
                Shape::new(here, marks.get(at + 1), carried)
            })
        };
        let mut next = shape_of(0, 0);
        for (at, here) in marks.iter().enumerate() {
            let shape = next;
            next = shape_of(at + 1, here.word() >> 63);
            if walk.words_before.len() == at {
                walk.words_before.push(walk.number);
            }
            walk.block(at * BLOCK, &shape, &next);
        }
        let (count, likely_count) = (walk.count, walk.likely_count);
        words.truncate(count);
        likely.truncate(likely_count);
    }
}

/// The words of a block.
#[derive(Debug, Default, Clone, Copy)]
struct Shape {
    words: u64,
    /// Apostrophes inside words, and bytes beyond ASCII: such words are read byte by byte.
    special: u64,
    signs: u64,
}

impl Shape {
    fn new(here: &Marks, next: Option<&Marks>, carried: u64) -> Self {
        let after = here.alnum >> 1 | next.map_or(0, |next| next.alnum << 63);
        let joints = here.quote & (here.word() << 1 | carried) & after;
        Self {
            words: here.word() | joints,
            special: here.wide | joints,
            signs: here.sign,
        }
    }
}

/// A walk over one text.
struct Walk<'a> {
    scout: &'a Scout,
    text: &'a [u8],
    words: &'a mut Vec<Word>,
    likely: &'a mut Vec<u32>,
    words_before: &'a mut Vec<u32>,
    /// How many of `words` and `likely` are written.
    count: usize,
    likely_count: usize,
    /// Words so far, and the same with sentence ends counted in.
    number: u32,
    position: u32,
    /// 1 if the byte before the block belongs to a word.
    carried: u64,
}

impl Walk<'_> {
    fn block(&mut self, begin: usize, shape: &Shape, next: &Shape) {
        self.room();
        let mut starts = shape.words & !(shape.words << 1 | self.carried);
        self.carried = shape.words >> 63;
        let runs_on = if self.carried == 1 { next.special } else { 0 };
        if shape.special | shape.signs | runs_on != 0 {
            return self.careful_block(begin, starts, shape, next);
        }
        while starts != 0 {
            let at = starts.trailing_zeros();
            starts &= starts - 1;
            let rest = shape.words >> at | (next.words << 1) << (63 - at);
            let length = rest.trailing_ones().min(8);
            let key = self.load(begin + at as usize) & LENGTHS[length as usize];
            self.sight_word(key);
        }
    }

    /// A block with signs that may begin a marker, or with words that are not all letters of ASCII.
    fn careful_block(&mut self, begin: usize, starts: u64, shape: &Shape, next: &Shape) {
        let mut places = starts | shape.signs;
        while places != 0 {
            let at = places.trailing_zeros();
            places &= places - 1;
            if shape.signs >> at & 1 == 1 {
                let key = self.load(begin + at as usize);
                self.sight(key);
                continue;
            }
            let rest = shape.words >> at | (next.words << 1) << (63 - at);
            let special = shape.special >> at | (next.special << 1) << (63 - at);
            let length = rest.trailing_ones();
            if length == u64::BITS || special & ((1 << length) - 1) != 0 {
                self.run(begin + at as usize);
            } else {
                let key = self.load(begin + at as usize) & LENGTHS[length.min(8) as usize];
                self.sight_word(key);
            }
        }
    }

    /// Reads what the masks take for one word: several words, if there are characters of unspaced scripts.
    fn run(&mut self, mut at: usize) {
        while at < self.text.len() {
            // A run may fill many blocks: each says how many words begin before it.
            while self.words_before.len() <= at / BLOCK {
                self.words_before.push(self.number);
            }
            let (sort, width) = sort_at(self.text, at);
            match sort {
                Sort::Letter => {
                    let key;
                    (key, at) = self.word(at);
                    self.sight_word(key);
                }
                Sort::Sign => {
                    let end = at + width;
                    let pair = match self.text.get(end).map(|_| sort_at(self.text, end)) {
                        Some((Sort::Sign, width)) => end + width,
                        _ => end,
                    };
                    self.sight(key(&self.text[at..pair]));
                    self.number += 1;
                    self.position += 1;
                    at = end;
                }
                Sort::Other => {
                    let ends = self.text[at].is_ascii()
                        && !(matches!(self.text[at], b'\'' | b'`')
                            && joint(self.text, at).is_some());
                    if ends {
                        return;
                    }
                    at += width;
                }
            }
            self.room();
        }
    }

    /// The key of the word at `at`, apostrophes left out, and its end.
    fn word(&self, mut at: usize) -> (u64, usize) {
        let mut letters = [0; 8];
        let mut count = 0;
        loop {
            while at < self.text.len() {
                let (sort, width) = sort_at(self.text, at);
                if sort != Sort::Letter {
                    break;
                }
                for byte in &self.text[at..at + width] {
                    if let Some(place) = letters.get_mut(count) {
                        *place = *byte;
                        count += 1;
                    }
                }
                at += width;
            }
            match self.text.get(at) {
                Some(b'\'' | b'`') if joint(self.text, at).is_some() => at += 1,
                _ => return (key(&letters[..count]), at),
            }
        }
    }

    /// Eight bytes from `at` on, letters in lower case; zeros beyond the end.
    fn load(&self, at: usize) -> u64 {
        match self.text.get(at..at + 8) {
            Some(eight) => u64::from_le_bytes(eight.try_into().unwrap_or_default()) | LOWER,
            None => key(&self.text[at..]),
        }
    }

    /// Sights the next word.
    fn sight_word(&mut self, key: u64) {
        self.sight(key);
        self.number += 1;
        self.position += 1;
    }

    /// Sets down a word, and that it may be known: a store and an addition rather than a branch, since nobody can guess which words are.
    fn sight(&mut self, key: u64) {
        self.words[self.count] = Word {
            key,
            number: self.number,
            position: self.position,
        };
        self.likely[self.likely_count] = self.count as u32;
        self.count += 1;
        self.likely_count += usize::from(self.scout.is_likely(key));
    }

    /// Makes room for the words of a block.
    fn room(&mut self) {
        let least = self.count + BLOCK + 2;
        if self.words.len() < least {
            self.words.resize(least * 2, Word::default());
        }
        if self.likely.len() < least {
            self.likely.resize(least * 2, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::marks::classify;
    use super::super::scout::Probe;
    use super::*;

    fn look(probes: &[Probe], text: &str) -> Vec<(u16, u32)> {
        let items = (0..).zip(probes).map(|(item, probe)| (*probe, item));
        let (mut marks, mut trail) = (Vec::new(), Trail::default());
        classify(text.as_bytes(), &mut marks);
        let scout = Scout::new(items, 0);
        scout.look(text.as_bytes(), &marks, &mut trail);
        let mut seen = Vec::new();
        for at in &trail.likely {
            let word = &trail.words[*at as usize];
            let meaning = scout.meaning_of(word.key);
            let before = trail.before(*at as usize);
            let items = 0..probes.len() as u16;
            let is_item = |item: &u16| scout.is_item(meaning, before, *item);
            seen.extend(items.filter(is_item).map(|item| (item, word.number)));
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
            let text = format!("{}DON'T go", "x ".repeat(pad));
            assert_eq!(words(&["dont"], &text), [pad as u32], "{pad}");
            let text = format!("{}<|IM_START|>", "x,".repeat(pad));
            assert_eq!(words(&["<|im*"], &text), [pad as u32], "{pad}");
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
}

//! The vocabulary: terms of one or more words, each in one or more classes, sorted, so that all terms that a text begins with are found
//! by one search: the last term that is not greater, and what that begins with itself.
//!
//! A term is stored as the bytes of its words with single spaces between, the form [`tokens`](super::tokens) writes. A term that ends
//! in `*` matches any word that begins so. Common English terms of seven letters and more also match with one typing error or with
//! scrambled inner letters.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::FixedState;

use super::probe::{LENGTHS, key};

/// Index of a vocabulary class.
pub(crate) type Class = u16;

/// Terms, in flat arrays.
#[derive(Debug)]
pub(crate) struct Lexicon {
    /// Sorted by their bytes.
    terms: Vec<Term>,
    bytes: Vec<u8>,
    /// Classes of all terms.
    classes: Vec<Class>,
    /// Which terms have a first word that begins with three bytes, or is shorter.
    begins: HashMap<u32, (u32, u32), FixedState>,
    /// Bytes that terms begin with.
    firsts: [bool; 256],
    /// Whether a term which anything may follow is shorter than that.
    has_short: bool,
    fuzzy: Vec<Fuzzy>,
    slips: Slips,
}

#[derive(Debug, Clone, Copy)]
struct Term {
    bytes: (u32, u32),
    /// Classes of the term where it ends with a word, and behind them those of the term whatever follows.
    whole: u32,
    prefix: u32,
    end: u32,
    /// The longest other term that this one begins with, or [`NONE`].
    shorter: u32,
    /// Whether it is one word.
    single: bool,
}

/// Which of the words that may be misspelt a word could be: one bit for each of the first 64.
#[derive(Debug)]
struct Slips {
    /// By length: those with at most one letter more or less.
    length: [u64; LONGEST_SLIP + 1],
    first: [u64; 256],
    last: [u64; 256],
}

/// Words shorter or longer than this are not taken for misspelt ones.
const SHORTEST_SLIP: usize = 5;
const LONGEST_SLIP: usize = 16;

#[derive(Debug)]
struct Fuzzy {
    word: Box<[u8]>,
    classes: Vec<Class>,
}

/// No such term.
const NONE: u32 = u32::MAX;

/// What terms whose first word begins so stand under.
fn beginning(word: &[u8]) -> u32 {
    (key(word) & LENGTHS[3]) as u32
}

impl Default for Lexicon {
    fn default() -> Self {
        Self::new(Vec::new(), &[])
    }
}

impl Lexicon {
    /// Builds the lexicon from `(term, class)`; a term that ends in `*` is a prefix. `fuzzy` lists the words that may be misspelt.
    pub(crate) fn new(terms: Vec<(&[u8], Class)>, fuzzy: &[String]) -> Self {
        // Most terms differ in their first bytes, which are compared as one number.
        let mut terms: Vec<(u64, &[u8], bool, Class)> = terms
            .into_iter()
            .map(|(term, class)| {
                let stem = term.strip_suffix(b"*");
                let bytes = stem.unwrap_or(term);
                let mut first = [0; 8];
                let length = bytes.len().min(8);
                first[..length].copy_from_slice(&bytes[..length]);
                (u64::from_be_bytes(first), bytes, stem.is_some(), class)
            })
            .collect();
        terms.sort_unstable();
        terms.dedup();
        let mut lexicon = Self {
            terms: Vec::with_capacity(terms.len()),
            bytes: Vec::with_capacity(terms.len() * 8),
            classes: terms.iter().map(|(.., class)| *class).collect(),
            begins: HashMap::default(),
            firsts: [false; 256],
            has_short: false,
            fuzzy: Vec::new(),
            slips: Slips {
                length: [0; LONGEST_SLIP + 1],
                first: [0; 256],
                last: [0; 256],
            },
        };
        let mut at = 0;
        for same in terms.chunk_by(|a, b| a.1 == b.1) {
            let wholes = same.partition_point(|(_, _, is_stem, _)| !is_stem);
            lexicon.push(same[0].1, at, at + wholes as u32, at + same.len() as u32);
            at += same.len() as u32;
        }
        for word in fuzzy {
            let mut classes = Vec::new();
            lexicon.walk(word.as_bytes(), 0, |class, end| {
                if end == word.len() {
                    classes.push(class);
                }
            });
            if !classes.is_empty() {
                lexicon.note_slips(word.as_bytes(), classes);
            }
        }
        lexicon
    }

    /// Appends a term, which follows all others in order.
    fn push(&mut self, term: &[u8], whole: u32, prefix: u32, end: u32) {
        let number = self.terms.len() as u32;
        let mut shorter = number.checked_sub(1).unwrap_or(NONE);
        while shorter != NONE && !term.starts_with(self.bytes_of(shorter)) {
            shorter = self.terms[shorter as usize].shorter;
        }
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(term);
        let is_marker = term.first().is_some_and(u8::is_ascii_punctuation);
        let word = match term.iter().position(|byte| *byte == b' ') {
            Some(end) if !is_marker => &term[..end],
            _ => term,
        };
        self.has_short |= word.len() < 3 && (is_marker || prefix < end);
        self.terms.push(Term {
            bytes: (start, self.bytes.len() as u32),
            whole,
            prefix,
            end,
            shorter,
            single: word.len() == term.len(),
        });
        let range = self.begins.entry(beginning(word)).or_insert((number, 0));
        range.1 = number + 1;
        if let Some(first) = term.first() {
            self.firsts[usize::from(*first)] = true;
        }
    }

    fn bytes_of(&self, number: u32) -> &[u8] {
        let (start, end) = self.terms[number as usize].bytes;
        &self.bytes[start as usize..end as usize]
    }

    /// The longest term that `text`, whose first word is `word`, begins with.
    fn last(&self, word: &[u8], text: &[u8]) -> Option<u32> {
        let (start, end) = match self.begins.get(&beginning(word)) {
            Some(range) => *range,
            None if self.has_short => (0, self.terms.len() as u32),
            None => return None,
        };
        let terms = &self.terms[start as usize..end as usize];
        let not_greater = terms.partition_point(|term| {
            let bytes = &self.bytes[term.bytes.0 as usize..term.bytes.1 as usize];
            bytes <= text
        });
        let mut number = (start + not_greater as u32).checked_sub(1)?;
        while number != NONE && !text.starts_with(self.bytes_of(number)) {
            number = self.terms[number as usize].shorter;
        }
        (number != NONE).then_some(number)
    }

    fn note_slips(&mut self, word: &[u8], classes: Vec<Class>) {
        let (Some(first), Some(last)) = (word.first(), word.last()) else {
            return;
        };
        let bit = 1_u64.checked_shl(self.fuzzy.len() as u32).unwrap_or(0);
        let slips = &mut self.slips;
        let lengths = SHORTEST_SLIP.max(word.len() - 1)..=LONGEST_SLIP.min(word.len() + 1);
        for length in lengths {
            slips.length[length] |= bit;
        }
        slips.first[usize::from(*first)] |= bit;
        slips.last[usize::from(*last)] |= bit;
        self.fuzzy.push(Fuzzy {
            word: word.into(),
            classes,
        });
    }

    /// Calls `found(class, end)` for each term that begins at `start`, with the end of its last whole word.
    ///
    /// Returns whether a term ended exactly with the first word, so that it needs no guessing.
    pub(crate) fn walk(
        &self,
        words: &[u8],
        start: usize,
        mut found: impl FnMut(Class, usize),
    ) -> bool {
        let text = &words[start.min(words.len())..];
        let word = text.split(|byte| *byte == b' ').next().unwrap_or(text);
        let Some(longest) = self.last(word, text) else {
            return false;
        };
        self.each(longest, &mut |term| {
            let length = (term.bytes.1 - term.bytes.0) as usize;
            let rest = text[length..].iter().position(|byte| *byte == b' ');
            let rest = rest.unwrap_or(text.len() - length);
            let last = if rest == 0 { term.whole } else { term.prefix };
            for class in &self.classes[last as usize..term.end as usize] {
                found(*class, start + length + rest);
            }
            term.single && last < term.end
        })
    }

    /// Calls `take` with a term and all that it begins with, the shortest first; gives whether it says yes to any.
    fn each(&self, number: u32, take: &mut impl FnMut(&Term) -> bool) -> bool {
        let term = &self.terms[number as usize];
        let shorter = term.shorter != NONE && self.each(term.shorter, take);
        take(term) | shorter
    }

    /// End of the longest one-word term of at least `least` bytes that begins at `start`, wherever words end: for words written
    /// together, and for markers, which have no words.
    pub(crate) fn longest(
        &self,
        text: &[u8],
        start: usize,
        least: usize,
    ) -> Option<(usize, &[Class])> {
        let text = &text[start..];
        if !self.firsts[usize::from(*text.first()?)] {
            return None;
        }
        let number = self.last(text, text)?;
        let term = &self.terms[number as usize];
        let length = (term.bytes.1 - term.bytes.0) as usize;
        let classes = &self.classes[term.whole as usize..term.end as usize];
        (length >= least).then_some((start + length, classes))
    }

    /// Cuts words written together into those that are known; nothing if they are fewer than three.
    pub(crate) fn divide(&self, word: &[u8]) -> Vec<Range<usize>> {
        let mut cuts = Vec::new();
        let (mut at, mut open) = (0, 0);
        while at < word.len() {
            match self.longest(word, at, 3) {
                Some((end, _)) => {
                    if open < at {
                        cuts.push(open..at);
                    }
                    cuts.push(at..end);
                    (at, open) = (end, end);
                }
                None => at += 1,
            }
        }
        if cuts.len() < 3 {
            return Vec::new();
        }
        if open < word.len() {
            cuts.push(open..word.len());
        }
        cuts
    }

    /// Classes of the word that `word` is a misspelling of: one letter wrong, missing, doubled or swapped, or inner letters scrambled.
    pub(crate) fn guess(&self, word: &[u8]) -> &[Class] {
        let (Some(first), Some(last)) = (word.first(), word.last()) else {
            return &[];
        };
        let slips = &self.slips;
        // One end of the word must be right: this rules out nearly all words.
        let ends = slips.first[usize::from(*first)] | slips.last[usize::from(*last)];
        let mut likely = slips.length.get(word.len()).copied().unwrap_or(0) & ends;
        while likely != 0 {
            let fuzzy = &self.fuzzy[likely.trailing_zeros() as usize];
            if is_misspelling(word, &fuzzy.word) {
                return &fuzzy.classes;
            }
            likely &= likely - 1;
        }
        &[]
    }
}

/// Whether `word` is `term` with one edit, a swap of neighbours, or its inner letters in another order.
fn is_misspelling(word: &[u8], term: &[u8]) -> bool {
    let (Some(first), Some(last)) = (term.first(), term.last()) else {
        return false;
    };
    let first_right = word.first() == Some(first);
    if !first_right && word.last() != Some(last) {
        return false;
    }
    let head = word.iter().zip(term).take_while(|(a, b)| a == b).count();
    let tail = word
        .iter()
        .rev()
        .zip(term.iter().rev())
        .take_while(|(a, b)| a == b)
        .count()
        .min(word.len().min(term.len()) - head);
    let (wrong, right) = (
        &word[head..word.len() - tail],
        &term[head..term.len() - tail],
    );
    match (wrong.len(), right.len()) {
        // A letter too many or missing.
        (1, 0) => true,
        (0, 1) => first_right,
        // A wrong letter: digits and the ends of long words change meanings, so inside only.
        (1, 1) => head > 0 && tail > 0 && wrong[0].is_ascii_lowercase(),
        (2, 2) => wrong[0] == right[1] && wrong[1] == right[0],
        (a, b) if a == b && first_right && word.last() == Some(last) => {
            let mut counts = [0_i8; 26];
            for (a, b) in wrong.iter().zip(right) {
                if !a.is_ascii_lowercase() || !b.is_ascii_lowercase() {
                    return false;
                }
                counts[usize::from(a - b'a')] += 1;
                counts[usize::from(b - b'a')] -= 1;
            }
            counts.iter().all(|count| *count == 0)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon() -> Lexicon {
        let terms: [(&[u8], Class); 4] = [
            (b"ignor*", 0),
            (b"system prompt", 1),
            (b"system", 2),
            (b"instructions", 3),
        ];
        Lexicon::new(terms.to_vec(), &["instructions".to_owned()])
    }

    fn found(text: &str) -> Vec<(Class, usize)> {
        let mut all = Vec::new();
        lexicon().walk(text.as_bytes(), 0, |class, end| all.push((class, end)));
        all
    }

    #[test]
    fn prefixes_reach_the_end_of_the_word_and_terms_may_span_words() {
        assert_eq!(found("ignoring this"), [(0, 8)]);
        assert_eq!(found("system prompt now"), [(2, 6), (1, 13)]);
        assert_eq!(found("systems"), []);
    }

    #[test]
    fn words_written_together_are_found_inside() {
        assert_eq!(
            lexicon().longest(b"systemprompt", 0, 4),
            Some((6, [2].as_slice()))
        );
        assert_eq!(
            lexicon().longest(b"ignoreall", 0, 4),
            Some((5, [0].as_slice()))
        );
        assert_eq!(lexicon().longest(b"systemprompt", 1, 4), None);
    }

    #[test]
    fn one_typing_error_or_scrambled_letters_are_forgiven() {
        for word in [
            "instrucions",
            "instruktions",
            "isntructions",
            "inssstructions",
            "instrcutoins",
        ] {
            assert_eq!(
                lexicon().guess(word.as_bytes()).is_empty(),
                word == "inssstructions",
                "{word}"
            );
        }
        assert!(lexicon().guess(b"construction").is_empty());
    }
}

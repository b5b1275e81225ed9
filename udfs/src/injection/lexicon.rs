//! The vocabulary: terms of one or more words, each in one or more classes, in a trie that is walked once per word.
//!
//! A term is stored as the bytes of its words with single spaces between, the form [`tokens`](super::tokens) writes. A term that ends
//! in `*` matches any word that begins so. Common English terms of seven letters and more also match with one typing error or with
//! scrambled inner letters.

use std::ops::Range;

use super::probe::{Probe, key};
use super::scout::Gate;

/// Index of a vocabulary class.
pub(crate) type Class = u16;

/// A trie over terms, in three flat arrays.
#[derive(Debug)]
pub(crate) struct Lexicon {
    nodes: Vec<Node>,
    /// Edges of all nodes, sorted by byte within a node.
    edges: Vec<(u8, u32)>,
    /// Classes of all nodes.
    classes: Vec<Class>,
    roots: Vec<u32>,
    /// The words that terms begin with.
    gate: Gate,
    /// First bytes of terms that are too short for the gate.
    short: Vec<bool>,
    fuzzy: Vec<Fuzzy>,
    slips: Slips,
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

#[derive(Debug, Default, Clone, Copy)]
struct Node {
    edges: (u32, u32),
    /// Classes of terms that end here with the word.
    whole: (u32, u32),
    /// Classes of terms that end here, whatever follows.
    prefix: (u32, u32),
}

#[derive(Debug)]
struct Fuzzy {
    word: Box<[u8]>,
    classes: Vec<Class>,
}

/// No such node.
const NONE: u32 = u32::MAX;

impl Default for Lexicon {
    fn default() -> Self {
        Self::new(Vec::new(), &[])
    }
}

impl Lexicon {
    /// Builds the trie from `(term, class)`; a term that ends in `*` is a prefix. `fuzzy` lists the words that may be misspelt.
    pub(crate) fn new(mut terms: Vec<(&[u8], Class)>, fuzzy: &[String]) -> Self {
        terms.sort_unstable();
        terms.dedup();
        let mut lexicon = Self {
            nodes: vec![Node::default()],
            edges: Vec::new(),
            classes: Vec::new(),
            roots: vec![NONE; 256],
            gate: Gate::new(std::iter::empty()),
            short: vec![false; 256],
            fuzzy: Vec::new(),
            slips: Slips {
                length: [0; LONGEST_SLIP + 1],
                first: [0; 256],
                last: [0; 256],
            },
        };
        lexicon.grow(0, 0, &terms);
        for (term, _) in &terms {
            let word = term.split(|byte| *byte == b' ').next().unwrap_or(term);
            let probe = match word.strip_suffix(b"*") {
                Some(stem) => Probe::beginning(stem),
                None => Some(Probe::word(word)),
            };
            match (probe, word.first()) {
                (Some(probe), _) => lexicon.gate.add(&probe),
                (None, Some(first)) => lexicon.short[usize::from(*first)] = true,
                (None, None) => {}
            }
        }
        let (start, end) = lexicon.nodes[0].edges;
        for (byte, next) in &lexicon.edges[start as usize..end as usize] {
            lexicon.roots[usize::from(*byte)] = *next;
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

    /// Grows the trie below `node` for `terms`, which are sorted and share their first `depth` bytes.
    fn grow(&mut self, node: usize, depth: usize, terms: &[(&[u8], Class)]) {
        let stem = |term: &[u8]| term.len() == depth + 1 && term[depth] == b'*';
        let ends = |term: &[u8]| term.len() == depth;
        let whole = self.classes.len() as u32;
        self.classes.extend(of(terms, ends));
        let prefix = self.classes.len() as u32;
        self.classes.extend(of(terms, stem));
        // What lies below, by the next byte; stems that end in it stand first.
        let below = || {
            terms
                .chunk_by(|a, b| a.0.get(depth) == b.0.get(depth))
                .filter(|group| !ends(group[0].0))
                .map(|group| &group[group.partition_point(|(term, _)| stem(term))..])
                .filter(|group| !group.is_empty())
        };
        let edges = self.edges.len() as u32;
        let first = self.nodes.len() as u32;
        self.edges.extend(
            (first..)
                .zip(below())
                .map(|(next, group)| (group[0].0[depth], next)),
        );
        let last = self.edges.len() as u32;
        self.nodes[node] = Node {
            edges: (edges, last),
            whole: (whole, prefix),
            prefix: (prefix, self.classes.len() as u32),
        };
        let count = (last - edges) as usize;
        self.nodes.resize(self.nodes.len() + count, Node::default());
        for (next, group) in (first..).zip(below()) {
            self.grow(next as usize, depth + 1, group);
        }
    }

    fn step(&self, node: u32, byte: u8) -> u32 {
        let (start, end) = self.nodes[node as usize].edges;
        let edges = &self.edges[start as usize..end as usize];
        if edges.len() > 8 {
            return edges
                .binary_search_by_key(&byte, |(edge, _)| *edge)
                .map_or(NONE, |at| edges[at].1);
        }
        for (edge, next) in edges {
            if *edge >= byte {
                return if *edge == byte { *next } else { NONE };
            }
        }
        NONE
    }

    /// Whether a term may begin with a word.
    #[inline]
    pub(crate) fn begins(&self, word: &[u8]) -> bool {
        self.gate.is_open(0, key(word))
            || word
                .first()
                .is_some_and(|first| self.short[usize::from(*first)])
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
        let Some(first) = words.get(start) else {
            return false;
        };
        let mut node = self.roots[usize::from(*first)];
        let mut at = start + 1;
        let mut exact = false;
        let mut in_first = true;
        while node != NONE {
            let here = &self.nodes[node as usize];
            let next = words.get(at).copied();
            let word_ends = next.is_none_or(|byte| byte == b' ');
            if here.prefix.0 != here.prefix.1 {
                let end = if word_ends {
                    at
                } else {
                    at + words[at..]
                        .iter()
                        .position(|byte| *byte == b' ')
                        .unwrap_or(words.len() - at)
                };
                for class in &self.classes[here.prefix.0 as usize..here.prefix.1 as usize] {
                    found(*class, end);
                }
                exact |= in_first;
            }
            if word_ends && here.whole.0 != here.whole.1 {
                for class in &self.classes[here.whole.0 as usize..here.whole.1 as usize] {
                    found(*class, at);
                }
                exact |= in_first;
            }
            let Some(next) = next else { break };
            in_first &= next != b' ';
            node = self.step(node, next);
            at += 1;
        }
        exact
    }

    /// End of the longest one-word term of at least `least` bytes that begins at `start`, wherever words end: for words written
    /// together, and for markers, which have no words.
    pub(crate) fn longest(
        &self,
        text: &[u8],
        start: usize,
        least: usize,
    ) -> Option<(usize, &[Class])> {
        let mut node = self.roots[usize::from(*text.get(start)?)];
        let mut at = start + 1;
        let mut best = None;
        while node != NONE {
            let here = &self.nodes[node as usize];
            if at - start >= least && here.whole.0 != here.prefix.1 {
                best = Some((
                    at,
                    &self.classes[here.whole.0 as usize..here.prefix.1 as usize],
                ));
            }
            let Some(next) = text.get(at) else { break };
            node = self.step(node, *next);
            at += 1;
        }
        best
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

/// Classes of the terms that `take` takes.
fn of(terms: &[(&[u8], Class)], take: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = Class> {
    terms
        .iter()
        .filter(move |(term, _)| take(term))
        .map(|(_, class)| *class)
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

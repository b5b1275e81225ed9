//! What stage one looks for: for each pattern its items, as words that must be there.
//!
//! An item is usable if every term in it has a word that can be looked up. The rarest usable item of a pattern is its anchor: rare
//! together with the anchors of all patterns, so that few words of ordinary text begin anything. How often words occur in ordinary text
//! comes with the vocabulary. This is a matter of speed alone: a wrong estimate never loses a match.

use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::FixedState;

use super::lexicon::Class;
use super::probe::{Probe, key};
use super::scout::SEEN;
use super::survey::SPAN;
use super::tokens::{Sort, sort_at};

/// Collects what is looked for.
#[derive(Default)]
pub(crate) struct Coverage {
    frequency: HashMap<Box<[u8]>, u32, FixedState>,
    misspelt: Vec<String>,
    pub(super) probes: Vec<Probe>,
    /// For each probe which part of all words in ordinary text it finds.
    pub(super) rates: Vec<f32>,
    numbers: HashMap<Probe, u32, FixedState>,
    classes: Vec<Terms>,
    /// Words to look for, of items seen before; nothing for those that cannot be looked for.
    pub(super) items: Vec<Watched>,
    by_classes: HashMap<Vec<Class>, Option<usize>, FixedState>,
    pub(super) plans: Vec<Plan>,
    /// How misspelt words may begin, and the keys of the right ones.
    pub(super) slips: Vec<(Probe, u64)>,
}

/// The classes of an item of a pattern, its gap, and whether it may be missing.
pub(super) type ItemClasses = (Vec<Class>, u32, bool);

/// The usable items of a pattern, in order, and what to do where they are found.
pub(super) struct Plan {
    pub(super) target: u32,
    pub(super) steps: Vec<Step>,
    /// Most words of a match.
    pub(super) length: u32,
}

/// A usable item of a pattern.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) item: usize,
    /// Most words of the pattern up to the end of this item, and of the item.
    pub(super) end: u32,
    pub(super) length: u32,
}

/// The terms of a class.
#[derive(Default)]
struct Terms {
    terms: Vec<Term>,
    words: Vec<Word>,
    /// Words of the longest term.
    longest: u32,
}

struct Term {
    words: std::ops::Range<usize>,
    length: u32,
    is_marker: bool,
}

/// A word of a term that can be looked up.
struct Word {
    probe: u32,
    /// Words of the term before it.
    before: u32,
}

/// One word of each term of an item.
pub(super) struct Watched {
    pub(super) probes: Vec<u32>,
    /// Most words of a term before and behind the word chosen.
    before: u32,
    behind: u32,
    pub(super) has_marker: bool,
}

/// Occurrences in a hundred thousand words of a word that the vocabulary has no estimate for.
const RARE: u32 = 1;
const WORDS: f32 = 100_000.0;

/// How much more often two words of a term follow one another than by chance.
const TOGETHER: f32 = 30.0;

/// Bytes of a word that stand for it where endings do not matter.
const BEGINNING: usize = 5;

impl Coverage {
    pub(crate) fn new(frequency: BTreeMap<String, u32>, misspelt: Vec<String>) -> Self {
        let bytes = |word: String| word.into_bytes().into_boxed_slice();
        Self {
            frequency: frequency
                .into_iter()
                .map(|(word, rate)| (bytes(word), rate))
                .collect(),
            misspelt,
            ..Self::default()
        }
    }

    /// Notes the next class: its `terms` as [`Canonical`](super::tokens::Canonical) writes them, markers as they are.
    pub(crate) fn class<'a>(&mut self, terms: impl Iterator<Item = (&'a [u8], bool)>) {
        let mut class = Terms::default();
        for (term, is_marker) in terms {
            let first = class.words.len();
            let length = if is_marker {
                self.marker(term, &mut class.words)
            } else {
                self.words(term, &mut class.words)
            };
            class.longest = class.longest.max(length);
            class.terms.push(Term {
                words: first..class.words.len(),
                length,
                is_marker,
            });
        }
        self.classes.push(class);
    }

    /// Looks up the words of a term, alone and behind the word before them; gives how many there are. The words of a term are often
    /// common, and seldom next to each other.
    fn words(&mut self, term: &[u8], words: &mut Vec<Word>) -> u32 {
        let mut previous: Option<(&[u8], f32)> = None;
        let mut before = 0;
        let mut rest = term.split(|byte| *byte == b' ').peekable();
        while let Some(word) = rest.next() {
            let alone = self.word(word, rest.peek().copied());
            let mut found = RARE as f32 / WORDS;
            if let Some(number) = alone {
                found = self.rates[number as usize];
                words.push(Word {
                    probe: number,
                    before,
                });
                let probe = self.probes[number as usize];
                if let Some((previous, rate)) = previous
                    && !is_sign(previous)
                    && !is_sign(word)
                    && probe.length() >= SEEN as u32
                {
                    let chance = (found * rate * TOGETHER).min(found).min(rate);
                    let probe = self.number(probe.behind(previous), chance);
                    words.push(Word { probe, before });
                }
            }
            previous = Some((word, found));
            before += 1;
        }
        before
    }

    /// Looks up a word of a term, which `next` follows.
    fn word(&mut self, word: &[u8], next: Option<&[u8]>) -> Option<u32> {
        let probe = match word.strip_suffix(b"*") {
            _ if is_sign(word) => match next {
                // A character of an unspaced script is looked up with the one behind it.
                Some(next) if is_sign(next) => {
                    let next = next.strip_suffix(b"*").unwrap_or(next);
                    Some(Probe::word(&[word, next].concat()))
                }
                _ => Probe::beginning(word.strip_suffix(b"*").unwrap_or(word)),
            },
            Some(stem) => Probe::beginning(stem),
            None => Some(Probe::word(word)),
        };
        probe.map(|probe| self.number_of(probe, word))
    }

    /// Looks up what a marker begins with, or the words behind its signs.
    fn marker(&mut self, term: &[u8], words: &mut Vec<Word>) -> u32 {
        if matches!(term.first(), Some(b'<' | b'[')) {
            let sign = &term[..term.len().min(4)];
            if let Some(probe) = Probe::beginning(sign) {
                let probe = self.number_of(probe, sign);
                words.push(Word { probe, before: 0 });
            }
            return 1;
        }
        let mut count = 1;
        for word in term
            .split(|byte| !byte.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
        {
            // Nothing ends a marker, so its last word may go on.
            if let Some(probe) = Probe::beginning(word) {
                let probe = self.number_of(probe, word);
                words.push(Word {
                    probe,
                    before: count,
                });
            }
            count += 1;
        }
        count
    }

    fn number_of(&mut self, probe: Probe, word: &[u8]) -> u32 {
        let known = self.frequency.get(word);
        self.number(probe, *known.unwrap_or(&RARE) as f32 / WORDS)
    }

    fn number(&mut self, probe: Probe, rate: f32) -> u32 {
        let next = self.probes.len() as u32;
        let number = *self.numbers.entry(probe).or_insert(next);
        if number == next {
            self.probes.push(probe);
            self.rates.push(rate);
        }
        number
    }

    /// Looks for a pattern, whose items are any of the classes given with them, at a gap, and may be missing, to do `target`. Says
    /// whether it can be looked for.
    pub(super) fn pattern(&mut self, items: &[ItemClasses], target: u32) -> bool {
        let mut steps = Vec::with_capacity(items.len());
        let mut end = 0;
        for (classes, gap, optional) in items {
            let terms = classes
                .iter()
                .map(|class| self.classes[usize::from(*class)].longest);
            let length = terms.max().unwrap_or(1);
            end += gap + length;
            if *optional {
                continue;
            }
            let known = match self.by_classes.get(classes) {
                Some(known) => *known,
                None => {
                    let watched = self.watched(classes).map(|watched| {
                        self.items.push(watched);
                        self.items.len() - 1
                    });
                    self.by_classes.insert(classes.clone(), watched);
                    watched
                }
            };
            steps.extend(known.map(|item| Step { item, end, length }));
        }
        if end > SPAN
            && let Some(rarest) = steps
                .iter()
                .min_by(|a, b| self.rate(a.item).total_cmp(&self.rate(b.item)))
        {
            // Distances are counted up to so many words: one item must do.
            steps = vec![*rarest];
        }
        let is_usable = !steps.is_empty();
        if is_usable {
            self.plans.push(Plan {
                target,
                steps,
                length: end,
            });
        }
        is_usable
    }

    /// Which part of all words in ordinary text is of an item.
    pub(super) fn rate(&self, item: usize) -> f32 {
        let probes = self.items[item].probes.iter();
        probes.map(|probe| self.rates[*probe as usize]).sum()
    }

    /// Words from the one that stands for an item to that of a later one at most: all that may stand between, and one word that
    /// emphasis cuts in two.
    pub(super) fn reach(&self, first: &Step, last: &Step) -> u32 {
        self.items[first.item].behind
            + (last.end - first.end - last.length)
            + self.items[last.item].before
            + 2
    }

    /// A word of each term of some classes, chosen so that together they are rare; nothing if some term has no word to look up.
    fn watched(&self, classes: &[Class]) -> Option<Watched> {
        let mut watched = Watched {
            probes: Vec::new(),
            before: 0,
            behind: 0,
            has_marker: false,
        };
        let mut chosen: HashSet<u32, FixedState> = HashSet::default();
        let rate = |word: &&Word| self.rates[word.probe as usize];
        // Terms of one word first: what they are found by may serve longer ones as well.
        for single in [true, false] {
            for class in classes {
                let class = &self.classes[usize::from(*class)];
                for term in &class.terms {
                    let words = &class.words[term.words.clone()];
                    if (words.len() == 1) != single {
                        continue;
                    }
                    watched.has_marker |= term.is_marker;
                    let word = words
                        .iter()
                        .filter(|word| chosen.contains(&word.probe))
                        .min_by(|a, b| rate(a).total_cmp(&rate(b)))
                        .or_else(|| words.iter().min_by(|a, b| rate(a).total_cmp(&rate(b))))?;
                    if chosen.insert(word.probe) {
                        watched.probes.push(word.probe);
                    }
                    watched.before = watched.before.max(word.before);
                    watched.behind = watched
                        .behind
                        .max(term.length.saturating_sub(word.before + 1));
                }
            }
        }
        Some(watched)
    }

    /// Looks for any of `words`, by their beginnings, to do `target`.
    pub(crate) fn alone<'a>(&mut self, words: impl Iterator<Item = &'a str>, target: u32) {
        let mut probes = Vec::new();
        for word in words {
            let bytes = word.as_bytes();
            let probe = if bytes.len() < BEGINNING {
                Some(Probe::word(bytes))
            } else {
                Probe::beginning(&bytes[..BEGINNING])
            };
            probes.extend(probe.map(|probe| self.number_of(probe, bytes)));
        }
        let item = self.items.len();
        self.items.push(Watched {
            probes,
            before: 0,
            behind: 0,
            has_marker: false,
        });
        self.plans.push(Plan {
            target,
            steps: vec![Step {
                item,
                end: 1,
                length: 1,
            }],
            length: 1,
        });
    }

    /// Whether the tables of stage one would overflow.
    pub(super) fn is_too_large(&self) -> bool {
        const MOST: usize = 60_000;
        self.probes.len() > MOST || self.items.len() > MOST
    }

    /// The words that are recognised with a typing error: how such a word may begin, and the key of the right one. What asks for the
    /// right word asks for all that begin as it does.
    pub(crate) fn forgive_slips(&mut self) {
        for words in std::mem::take(&mut self.misspelt).chunks(64) {
            // For each probe the words that it finds, and the number of the beginning of each word.
            let mut finds = vec![0_u64; self.probes.len()];
            let mut numbers = Vec::with_capacity(words.len());
            for (bit, word) in words.iter().enumerate() {
                let Some(beginning) = beginning(word) else {
                    numbers.push(None);
                    continue;
                };
                let right = key(word.as_bytes());
                for (probe, finds) in self.probes.iter().zip(&mut finds) {
                    *finds |= u64::from(probe.before.is_none() && probe.finds(right, 0)) << bit;
                }
                let slips = misspellings(word);
                let slips = slips.iter().filter_map(|slip| self::beginning(slip));
                let slips = slips.filter(|slip| *slip != beginning);
                self.slips.extend(slips.map(|slip| (slip, right)));
                numbers.push(Some(self.number_of(beginning, b"")));
            }
            for item in &mut self.items {
                let probes = item.probes.iter();
                let found = probes.filter_map(|probe| finds.get(*probe as usize));
                let mut found = found.fold(0, |all, finds| all | finds);
                while found != 0 {
                    let number = numbers[found.trailing_zeros() as usize];
                    found &= found - 1;
                    if let Some(number) = number
                        && !item.probes.contains(&number)
                    {
                        item.probes.push(number);
                    }
                }
            }
        }
        self.slips.sort_unstable();
        self.slips.dedup();
    }
}

/// The beginning of a word that may be misspelt.
fn beginning(word: &str) -> Option<Probe> {
    let bytes = word.as_bytes();
    Probe::beginning(&bytes[..bytes.len().min(BEGINNING)])
}

/// Whether `word` is a character of a script without blanks.
fn is_sign(word: &[u8]) -> bool {
    !word.is_empty() && sort_at(word, 0).0 == Sort::Sign
}

/// `word` with one of its first letters missing, doubled, or swapped with the next.
fn misspellings(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut all = Vec::new();
    for at in 0..letters.len().min(BEGINNING) {
        let mut missing = letters.clone();
        missing.remove(at);
        let mut doubled = letters.clone();
        doubled.insert(at, letters[at]);
        let mut swapped = letters.clone();
        if at + 1 < swapped.len() {
            swapped.swap(at, at + 1);
        }
        all.extend(
            [missing, doubled, swapped].map(|letters| letters.into_iter().collect::<String>()),
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage(frequency: &[(&str, u32)], classes: &[&[&str]]) -> Coverage {
        let frequency = frequency
            .iter()
            .map(|(word, rate)| ((*word).to_owned(), *rate))
            .collect();
        let mut coverage = Coverage::new(frequency, Vec::new());
        for terms in classes {
            coverage.class(terms.iter().map(|term| (term.as_bytes(), false)));
        }
        coverage
    }

    fn chosen(frequency: &[(&str, u32)], terms: &[&str]) -> Option<Vec<Probe>> {
        let coverage = coverage(frequency, &[terms]);
        let watched = coverage.watched(&[0])?;
        Some(
            watched
                .probes
                .iter()
                .map(|probe| coverage.probes[*probe as usize])
                .collect(),
        )
    }

    #[test]
    fn the_rarest_words_stand_for_a_term() {
        let word = |text: &str| Probe::word(text.as_bytes());
        let common = [("in", 2000), ("full", 50), ("of", 3000), ("the", 6000)];
        assert_eq!(chosen(&common, &["full"]), Some(vec![word("full")]));
        // In full: 0.0005 * 0.02 * 30 is less than 0.0005; the full: 0.0005 * 0.06 * 30 is not.
        assert_eq!(
            chosen(&common, &["in full"]),
            Some(vec![word("full").behind(b"in")])
        );
        assert_eq!(chosen(&common, &["the full"]), Some(vec![word("full")]));
        // Full of: 0.0005 * 0.03 * 30 is.
        assert_eq!(
            chosen(&common, &["full of the"]),
            Some(vec![word("of").behind(b"full")])
        );
        // A word that is looked for anyway costs nothing.
        assert_eq!(
            chosen(&common, &["full", "in full the"]),
            Some(vec![word("full")])
        );
        assert_eq!(
            chosen(&[], &["evil*"]),
            Some(vec![Probe::beginning(b"evil").expect("long enough")])
        );
        assert_eq!(chosen(&[], &["rules", "a*"]), None);
        assert_eq!(
            chosen(&[], &["\u{5ffd} \u{7565}"]),
            Some(vec![word("\u{5ffd}\u{7565}")])
        );
    }

    #[test]
    fn distances_hold_all_items_with_their_gaps() {
        let mut coverage = coverage(&[], &[&["show me", "print"], &["own"], &["system prompt"]]);
        let items = [(vec![0], 0, false), (vec![1], 4, true), (vec![2], 3, false)];
        assert!(coverage.pattern(&items, 7));
        // The item that may be missing is not asked for, and its place is counted.
        let Plan {
            target,
            steps,
            length,
        } = &coverage.plans[0];
        assert_eq!((*target, steps.len(), *length), (7, 2, 2 + 4 + 1 + 3 + 2));
        // From `print`, or the end of `show me`, to the end of `system prompt`, and one word that emphasis cuts in two.
        assert_eq!(coverage.reach(&steps[0], &steps[1]), 1 + 4 + 1 + 3 + 2);
    }

    #[test]
    fn misspellings_are_one_slip_away() {
        let all = misspellings("previous");
        for slip in ["pevious", "prrevious", "pervious", "rpevious"] {
            assert!(all.iter().any(|variant| variant == slip), "{slip}");
        }
    }
}

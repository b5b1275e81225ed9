//! What stage one must have seen before a pattern can match: for each pattern its most telling items, as sets of word beginnings.
//!
//! An item is usable if every term in it has a word whose beginning is certain: a word that apostrophes may cut (`don't`), or a prefix
//! shorter than the key, is not. Of the usable items the rarest three are asked for, in their order and within the pattern's distance; how often words begin so in ordinary text comes with
//! the vocabulary. This is a matter of speed alone: a wrong estimate never loses a match.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::gates::{ItemId, Need, Needs, PREFIX, Prefixes, key, stem_key};
use super::lexicon::Class;
use super::signature::SignatureError;

/// Collects what patterns need.
pub(crate) struct Coverage {
    frequency: BTreeMap<String, u32>,
    misspelt: Vec<String>,
    items: HashMap<BTreeSet<Beginning>, ItemId>,
    /// Items of classes seen before, with how common they are; nothing for those that cannot be asked for.
    known: HashMap<Vec<Class>, Option<(u32, ItemId)>>,
    /// Items any of which leads to a closer look.
    alone: Vec<ItemId>,
    /// What each pattern asks for, and the rarest item of it.
    needs: Vec<(Option<ItemId>, Need)>,
}

/// How a term shows itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Beginning {
    /// A word that begins so.
    Word(String),
    /// A word that an apostrophe may cut: `don't`.
    Cut(String),
    /// Any word with these four letters in front.
    Stem(String),
    /// Characters of an unspaced script, anywhere.
    Anywhere(String),
}

/// Words that are also written with an apostrophe, and what stands before it.
const CUT: [(&str, &str); 22] = [
    ("dont", "don"),
    ("cant", "can"),
    ("wont", "won"),
    ("isnt", "isn"),
    ("arent", "aren"),
    ("youre", "you"),
    ("theyre", "they"),
    ("im", "i"),
    ("ive", "i"),
    ("id", "i"),
    ("ill", "i"),
    ("lets", "let"),
    ("whats", "what"),
    ("doesnt", "doesn"),
    ("didnt", "didn"),
    ("hasnt", "hasn"),
    ("wasnt", "wasn"),
    ("mustnt", "mustn"),
    ("neednt", "needn"),
    ("weve", "we"),
    ("well", "we"),
    ("its", "it"),
];

/// Words more than a pattern counts: an apostrophe makes two of one.
const SLACK: u32 = 3;

fn words_in(term: &[u8]) -> u32 {
    term.iter().filter(|byte| **byte == b' ').count() as u32 + 1
}

/// Items asked for of each pattern.
const ASKED: usize = 3;

/// Rows in a thousand in which a word begins in a way that the vocabulary has no estimate for.
const RARE: u32 = 1;

impl Coverage {
    pub(crate) fn new(frequency: BTreeMap<String, u32>, misspelt: Vec<String>) -> Self {
        Self {
            frequency,
            misspelt,
            items: HashMap::new(),
            known: HashMap::new(),
            alone: Vec::new(),
            needs: Vec::new(),
        }
    }

    /// Notes a pattern: `items` are the classes of each of its items, `terms` the folded terms of a class. If none of them can be asked for, every text goes
    /// on to stage two.
    pub(crate) fn pattern(&mut self, items: &[(Vec<Class>, u32)], terms: &[Vec<Vec<u8>>]) {
        let mut usable: Vec<(u32, usize, ItemId)> = Vec::new();
        for (at, (classes, _)) in items.iter().enumerate() {
            let known = match self.known.get(classes) {
                Some(known) => *known,
                None => {
                    let terms: Vec<&[u8]> = classes
                        .iter()
                        .flat_map(|class| &terms[usize::from(*class)])
                        .map(Vec::as_slice)
                        .collect();
                    let item = self
                        .beginnings(&terms)
                        .map(|(frequency, beginnings)| (frequency, self.item(beginnings)));
                    self.known.insert(classes.clone(), item);
                    item
                }
            };
            usable.extend(known.map(|(frequency, item)| (frequency, at, item)));
        }
        usable.sort_unstable();
        usable.truncate(ASKED);
        let rarest = usable.first().map(|(_, _, item)| *item);
        usable.sort_unstable_by_key(|(_, at, _)| *at);
        let longest = |classes: &[Class]| {
            classes
                .iter()
                .flat_map(|class| &terms[usize::from(*class)])
                .map(|term| words_in(term))
                .max()
                .unwrap_or(1)
        };
        let mut need: Need = usable.iter().map(|(_, _, item)| (*item, 0)).collect();
        for (at, pair) in usable.windows(2).enumerate() {
            // Everything that may stand between: gaps, terms of items not asked for, apostrophes that cut words.
            let between = &items[pair[0].1..=pair[1].1];
            let words: u32 = between.iter().map(|(classes, _)| longest(classes)).sum();
            let gaps: u32 = between[1..].iter().map(|(_, gap)| *gap).sum();
            need[at].1 = words + gaps + SLACK;
        }
        self.needs.push((rarest, need));
    }

    /// An item of its own for `words`.
    pub(crate) fn words<'a>(&mut self, words: impl Iterator<Item = &'a str>) -> ItemId {
        self.item(
            words
                .map(|word| Beginning::Word(word.chars().take(PREFIX).collect()))
                .collect(),
        )
    }

    /// Words any of which leads to a closer look.
    pub(crate) fn alone<'a>(&mut self, words: impl Iterator<Item = &'a str>) -> ItemId {
        let item = self.words(words);
        self.alone.push(item);
        item
    }

    fn item(&mut self, beginnings: BTreeSet<Beginning>) -> ItemId {
        let next = self.items.len() as ItemId;
        *self.items.entry(beginnings).or_insert(next)
    }

    fn frequency_of(&self, beginning: &Beginning) -> u32 {
        match beginning {
            Beginning::Word(word) | Beginning::Stem(word) => {
                self.frequency.get(word).copied().unwrap_or(RARE)
            }
            Beginning::Cut(word) => cut(word)
                .map(|part| self.frequency.get(part).copied().unwrap_or(RARE))
                .sum(),
            Beginning::Anywhere(_) => RARE,
        }
    }

    /// A word of each term, chosen so that together they are rare, and how rare; nothing if some term has no certain word.
    fn beginnings(&self, terms: &[&[u8]]) -> Option<(u32, BTreeSet<Beginning>)> {
        let mut covers: HashMap<Beginning, Vec<usize>> = HashMap::new();
        for (at, term) in terms.iter().enumerate() {
            let words = certain(term);
            if words.is_empty() {
                return None;
            }
            for word in words {
                covers.entry(word).or_default().push(at);
            }
        }
        // Each time the word that is cheapest for the terms it stands for.
        let mut order: Vec<(u32, &Beginning, &Vec<usize>)> = covers
            .iter()
            .map(|(word, of)| (self.frequency_of(word) * 1000 / of.len() as u32, word, of))
            .collect();
        order.sort_unstable();
        let mut open = vec![true; terms.len()];
        let (mut chosen, mut sum) = (BTreeSet::new(), 0);
        for (_, word, of) in order {
            if of.iter().any(|at| open[*at]) {
                of.iter().for_each(|at| open[*at] = false);
                sum += self.frequency_of(word);
                chosen.insert(word.clone());
            }
        }
        Some((sum, chosen))
    }

    /// The searchers, and the needs of all patterns.
    ///
    /// # Errors
    /// If a searcher cannot be built.
    pub(crate) fn build(self) -> Result<(Prefixes, Needs), SignatureError> {
        if self.items.len() >= usize::from(ItemId::MAX) {
            return Err(SignatureError::of("vocabulary", "more than 65,000 items"));
        }
        let mut keys: HashMap<u64, Vec<ItemId>> = HashMap::new();
        let mut unspaced: BTreeMap<&str, Vec<ItemId>> = BTreeMap::new();
        for (beginnings, item) in &self.items {
            for beginning in beginnings {
                match beginning {
                    Beginning::Word(word) => {
                        keys.entry(key(word.as_bytes())).or_default().push(*item);
                        for known in self
                            .misspelt
                            .iter()
                            .filter(|known| known.starts_with(word.as_str()))
                        {
                            for variant in misspellings(known) {
                                keys.entry(key(variant.as_bytes())).or_default().push(*item);
                            }
                        }
                    }
                    Beginning::Cut(word) => cut(word)
                        .for_each(|part| keys.entry(key(part.as_bytes())).or_default().push(*item)),
                    Beginning::Stem(stem) => keys
                        .entry(stem_key(key(stem.as_bytes())))
                        .or_default()
                        .push(*item),
                    Beginning::Anywhere(text) => unspaced.entry(text).or_default().push(*item),
                }
            }
        }
        for items in keys.values_mut() {
            items.sort_unstable();
            items.dedup();
        }
        let count = self.items.len();
        let prefixes = Prefixes::new(&keys, unspaced.into_iter().collect(), count)
            .map_err(|error| SignatureError::of("vocabulary", error.to_string()))?;
        Ok((prefixes, Needs::new(self.needs, count)))
    }
}

/// The words of a term whose beginning is certain.
fn certain(term: &[u8]) -> Vec<Beginning> {
    let Ok(text) = std::str::from_utf8(term) else {
        return Vec::new();
    };
    if term.len() >= 4 && matches!(term[0], b'<' | b'[') && text.is_ascii() {
        return vec![Beginning::Stem(text[..4].to_owned())];
    }
    if let Some(unspaced) = text
        .split([' ', '*'])
        .filter(|part| part.chars().any(is_unspaced))
        .max_by_key(|part| part.len())
    {
        return vec![Beginning::Anywhere(unspaced.to_owned())];
    }
    let words = text.split(|letter: char| {
        letter.is_ascii() && !letter.is_ascii_alphanumeric() && letter != '*' && letter != '\''
    });
    words
        .filter(|word| !word.is_empty() && !word.contains('\''))
        .filter_map(|word| match word.strip_suffix('*') {
            Some(stem) if stem.len() + 1 < PREFIX => None,
            Some(stem) if stem.len() < PREFIX => Some(Beginning::Stem(stem.to_owned())),
            Some(stem) => Some(Beginning::Word(beginning(stem))),
            None if CUT.iter().any(|(whole, _)| *whole == word)
                && !text.starts_with(|first: char| first.is_ascii_punctuation()) =>
            {
                Some(Beginning::Cut(word.to_owned()))
            }
            None => Some(Beginning::Word(beginning(word))),
        })
        .collect()
}

/// `word`, and what an apostrophe leaves of it.
fn cut(word: &str) -> impl Iterator<Item = &str> {
    CUT.iter()
        .filter(move |(whole, _)| *whole == word)
        .map(|(_, part)| *part)
        .chain([word])
}

/// As much of a word as a key holds. A key may cut a character, a `String` may not: other scripts are kept whole here.
fn beginning(word: &str) -> String {
    if word.len() > PREFIX && word.is_ascii() {
        word[..PREFIX].to_owned()
    } else {
        word.to_owned()
    }
}

fn is_unspaced(letter: char) -> bool {
    matches!(u32::from(letter), 0xE00..=0xEFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x323AF)
}

/// `word` with one of its first letters missing, doubled, or swapped with the next.
fn misspellings(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut all = Vec::new();
    for at in 0..letters.len().min(PREFIX) {
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

    #[test]
    fn the_words_that_are_rarest_together_stand_for_the_terms() {
        let coverage = Coverage::new(
            [
                ("full".to_owned(), 50),
                ("whole".to_owned(), 60),
                ("promp".to_owned(), 90),
            ]
            .into(),
            Vec::new(),
        );
        let word = |text: &str| Beginning::Word(text.to_owned());
        let of = |terms: &[&str]| {
            coverage.beginnings(&terms.iter().map(|term| term.as_bytes()).collect::<Vec<_>>())
        };
        assert_eq!(of(&["full prompt"]), Some((50, [word("full")].into())));
        // One common word for two terms is cheaper than two words.
        assert_eq!(
            of(&["full prompt", "whole prompt", "prompt"]),
            Some((90, [word("promp")].into()))
        );
        assert_eq!(of(&["instruction*"]), Some((1, [word("instr")].into())));
        assert_eq!(
            of(&["evil*"]),
            Some((1, [Beginning::Stem("evil".to_owned())].into()))
        );
        assert_eq!(of(&["rules", "gpt*"]), None);
        assert_eq!(
            of(&["dont"]),
            Some((2, [Beginning::Cut("dont".to_owned())].into()))
        );
        assert_eq!(
            of(&["\u{5ffd}\u{7565}"]),
            Some((
                1,
                [Beginning::Anywhere("\u{5ffd}\u{7565}".to_owned())].into()
            ))
        );
    }

    #[test]
    fn misspellings_are_one_slip_away() {
        let all = misspellings("previous");
        for slip in ["pevious", "prrevious", "pervious", "rpevious"] {
            assert!(all.iter().any(|variant| variant == slip), "{slip}");
        }
    }
}

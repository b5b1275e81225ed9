//! What stage one looks for: for each pattern its telling items, as words that must be there.
//!
//! An item is usable if every term in it has a word that can be looked up. The rarest usable item of a pattern is its anchor, and those
//! that are not too common are its chain; how often words occur in ordinary text comes with the vocabulary. This is a matter of speed
//! alone: a wrong estimate never loses a match.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use super::lexicon::Class;
use super::scout::{Probe, Scout};
use super::survey::{
    Asks, BITS, Chain, FAR, FAR_LANES, FIRST_ITEM, FIRST_LANE, Link, NEAR, NEAR_LANES, SET_LANES,
    SPAN, Stage,
};
use super::tokens::{Sort, sort_at};

/// Collects what is looked for.
#[derive(Default)]
pub(crate) struct Coverage {
    frequency: BTreeMap<String, u32>,
    misspelt: Vec<String>,
    probes: Vec<Probe>,
    rates: Vec<Rate>,
    numbers: HashMap<Probe, u32, FixedState>,
    classes: Vec<Terms>,
    /// Words to look for, of items seen before; nothing for those that cannot be looked for.
    items: Vec<Watched>,
    by_classes: HashMap<Vec<Class>, Option<usize>, FixedState>,
    plans: Vec<Plan>,
    links: Vec<Link>,
}

/// A chain, its links numbered as here.
struct Plan {
    chain: Chain,
    /// The item that must be seen before the pivot, and whether it may be far.
    first: Option<(u16, bool)>,
}

/// Which part of all words in ordinary text a probe finds, and which part has to be looked at for it: more if the word before matters.
#[derive(Debug, Clone, Copy)]
struct Rate {
    found: f32,
    looked_at: f32,
}

impl Rate {
    fn cost(&self) -> f32 {
        self.found + LOOK * self.looked_at
    }
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
struct Watched {
    probes: Vec<u32>,
    rate: f32,
    /// Most words of a term before and behind the word chosen.
    before: u32,
    behind: u32,
    has_marker: bool,
}

/// Occurrences in a hundred thousand words of a word that the vocabulary has no estimate for.
const RARE: u32 = 1;
const WORDS: f32 = 100_000.0;

/// How much more often two words of a term follow one another than by chance.
const TOGETHER: f32 = 30.0;

/// What it costs to look up a word in vain, as part of what it costs to find one.
const LOOK: f32 = 0.2;

/// What it costs to set a bit or to ask for one, as part of what it costs to compare words.
const BIT: f32 = 0.002;

/// Bytes of a word that stand for it where endings do not matter.
const BEGINNING: usize = 5;

impl Coverage {
    pub(crate) fn new(frequency: BTreeMap<String, u32>, misspelt: Vec<String>) -> Self {
        Self {
            frequency,
            misspelt,
            ..Self::default()
        }
    }

    /// Notes the next class: its `terms` as [`canonical`](super::tokens::canonical) writes them, markers as they are.
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
            if let Some(probe) = alone {
                found = self.rates[probe as usize].found;
                words.push(Word { probe, before });
                if let Some((previous, rate)) = previous
                    && !is_sign(previous)
                    && !is_sign(word)
                {
                    let pair = self.probes[probe as usize].behind(previous);
                    let chance = (found * rate * TOGETHER).min(found).min(rate);
                    let probe = self.number(
                        pair,
                        Rate {
                            found: chance,
                            looked_at: found,
                        },
                    );
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
        let known = std::str::from_utf8(word)
            .ok()
            .and_then(|word| self.frequency.get(word));
        let found = *known.unwrap_or(&RARE) as f32 / WORDS;
        let looked_at = found;
        self.number(probe, Rate { found, looked_at })
    }

    fn number(&mut self, probe: Probe, rate: Rate) -> u32 {
        let next = self.probes.len() as u32;
        let number = *self.numbers.entry(probe).or_insert(next);
        if number == next {
            self.probes.push(probe);
            self.rates.push(rate);
        }
        number
    }

    /// Looks for a pattern, whose items are any of the classes given with them, to do `target`. Says whether it can be looked for.
    pub(crate) fn pattern(&mut self, items: &[(Vec<Class>, u32)], target: u32) -> bool {
        let mut usable: Vec<(usize, usize)> = Vec::with_capacity(items.len());
        for (at, (classes, _)) in items.iter().enumerate() {
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
            usable.extend(known.map(|item| (at, item)));
        }
        let lengths = Lengths::new(items, &self.classes);
        let rate = |(_, item): &(usize, usize)| self.items[*item].rate;
        let Some(rarest) = usable.iter().min_by(|a, b| rate(a).total_cmp(&rate(b))) else {
            return false;
        };
        let mut pivot = *rarest;
        let mut first = None;
        // How often the second of a pair is seen behind the first, and what it takes to look for both.
        let mut least = rate(rarest);
        for (at, from) in usable.iter().enumerate() {
            for to in &usable[at + 1..] {
                let reach = lengths.reach(*from, *to, &self.items);
                let memory = if reach > NEAR { FAR } else { NEAR };
                let cost = (rate(from) * memory as f32 * 1.5).min(1.0) * rate(to)
                    + BIT * (rate(from) + rate(to));
                if reach <= FAR && cost < least {
                    least = cost;
                    pivot = *to;
                    first = Some((from.1 as u16, reach > NEAR));
                }
            }
        }
        let (before, behind) = (
            lengths.terms(0..pivot.0 + 1) + lengths.gaps(0..pivot.0 + 1),
            lengths.terms(pivot.0..items.len()) + lengths.gaps(pivot.0 + 1..items.len()),
        );
        if before.max(behind) > SPAN {
            usable = vec![pivot];
            first = None;
        }
        let start = self.links.len() as u32;
        for (at, item) in usable.iter().enumerate() {
            let next = usable.get(at + 1);
            let most = next.map_or(0, |next| lengths.reach(*item, *next, &self.items));
            self.links.push(Link {
                item: item.1 as u16,
                // A marker is counted as the word behind it.
                least: u8::from(most > 0 && !self.items[item.1].has_marker),
                most: most.min(SPAN) as u8,
            });
        }
        let links = (start, self.links.len() as u32);
        let pivot = usable.iter().position(|item| *item == pivot).unwrap_or(0) as u32;
        self.plans.push(Plan {
            chain: Chain {
                target,
                links,
                pivot,
                before,
                behind,
            },
            first,
        });
        true
    }

    /// A word of each term of some classes, chosen so that together they are rare; nothing if some term has no word to look up.
    fn watched(&self, classes: &[Class]) -> Option<Watched> {
        let mut watched = Watched {
            probes: Vec::new(),
            rate: 0.0,
            before: 0,
            behind: 0,
            has_marker: false,
        };
        let cost = |word: &&Word| self.rates[word.probe as usize].cost();
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
                        .filter(|word| watched.probes.contains(&word.probe))
                        .min_by(|a, b| cost(a).total_cmp(&cost(b)))
                        .or_else(|| words.iter().min_by(|a, b| cost(a).total_cmp(&cost(b))))?;
                    if !watched.probes.contains(&word.probe) {
                        watched.probes.push(word.probe);
                        watched.rate += self.rates[word.probe as usize].found;
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
        let item = self.items.len() as u16;
        self.items.push(Watched {
            probes,
            rate: 0.0,
            before: 0,
            behind: 0,
            has_marker: false,
        });
        let start = self.links.len() as u32;
        self.links.push(Link {
            item,
            least: 0,
            most: 0,
        });
        self.plans.push(Plan {
            chain: Chain {
                target,
                links: (start, start + 1),
                pivot: 0,
                before: 0,
                behind: 0,
            },
            first: None,
        });
    }

    /// Stage one for the chains whose targets `take` takes.
    pub(crate) fn build(&self, take: impl Fn(u32) -> bool) -> Stage {
        let plans: Vec<&Plan> = self
            .plans
            .iter()
            .filter(|plan| take(plan.chain.target))
            .collect();
        let bits = self.bits(&plans);
        let mut order: Vec<usize> = (0..plans.len()).collect();
        order.sort_by_key(|plan| bits[*plan]);
        let mut asks = Asks {
            by_bit: vec![(0, 0); usize::from(BITS)],
            ..Asks::default()
        };
        // What sets the bits, and what asks for them.
        let mut ends = Vec::new();
        let mut used = vec![false; self.items.len()];
        for number in order {
            let Plan { chain, first } = plans[number];
            let bit = bits[number];
            let links = &self.links[chain.links.0 as usize..chain.links.1 as usize];
            ends.extend(first.map(|(first, _)| (first, BITS + bit)));
            ends.push((links[chain.pivot as usize].item, bit));
            for link in links {
                used[usize::from(link.item)] = true;
            }
            let (start, at) = (asks.links.len() as u32, asks.chains.len() as u32);
            asks.links.extend_from_slice(links);
            asks.chains.push(Chain {
                links: (start, asks.links.len() as u32),
                ..*chain
            });
            let range = &mut asks.by_bit[usize::from(bit)];
            *range = (if range.1 == 0 { at } else { range.0 }, at + 1);
        }
        ends.sort_unstable();
        ends.dedup();
        // Items of the same words get numbers next to each other: a word that is of one is of others as well.
        let mut items: Vec<(&[u32], usize)> = self
            .items
            .iter()
            .enumerate()
            .filter(|(item, _)| used[*item])
            .map(|(item, of)| (of.probes.as_slice(), item))
            .collect();
        items.sort_unstable();
        let mut numbers = vec![0; self.items.len()];
        for (number, (_, item)) in (FIRST_ITEM..).zip(&items) {
            numbers[*item] = number;
        }
        for link in &mut asks.links {
            link.item = numbers[usize::from(link.item)];
        }
        ends.extend(items.iter().map(|(_, item)| (*item as u16, numbers[*item])));
        let probes = ends.iter().flat_map(|(item, number)| {
            let probes = self.items[usize::from(*item)].probes.iter();
            probes.map(|probe| (self.probes[*probe as usize], *number))
        });
        Stage {
            scout: Scout::new(probes, FIRST_LANE),
            asks,
        }
    }

    /// The bit of each plan. Those with the same first item share one; there are more first items than bits, so that items of the same
    /// words do as well.
    fn bits(&self, plans: &[&Plan]) -> Vec<u16> {
        let mut bits = vec![0; plans.len()];
        let parts = [
            (Some(false), NEAR_LANES),
            (Some(true), FAR_LANES),
            (None, SET_LANES),
        ];
        let mut begin = 0;
        for (is_far, lanes) in parts {
            let count = lanes * 64;
            let key = |plan: &Plan| match plan.first {
                Some((item, _)) => (self.items[usize::from(item)].probes.as_slice(), item),
                None => {
                    let pivot = plan.chain.links.0 + plan.chain.pivot;
                    (&[][..], self.links[pivot as usize].item)
                }
            };
            let mut of_part: Vec<usize> = (0..plans.len())
                .filter(|plan| plans[*plan].first.map(|first| first.1) == is_far)
                .collect();
            of_part.sort_by_key(|plan| key(plans[*plan]));
            let groups: Vec<&[usize]> = of_part
                .chunk_by(|a, b| key(plans[*a]) == key(plans[*b]))
                .collect();
            let in_bit = groups.len().div_ceil(count).max(1);
            for (bit, groups) in (begin..).zip(groups.chunks(in_bit)) {
                for plan in groups.iter().copied().flatten() {
                    bits[*plan] = bit;
                }
            }
            begin += count as u16;
        }
        bits
    }

    /// Where a word that is recognised with a typing error is watched for, the ways in which it may begin are as well.
    pub(crate) fn forgive_slips(&mut self) {
        let misspelt = std::mem::take(&mut self.misspelt);
        let mut slips: HashMap<u32, Vec<u32>, FixedState> = HashMap::default();
        for word in &misspelt {
            let known: Vec<u32> = (0..self.probes.len() as u32)
                .filter(|number| self.probes[*number as usize].finds(word.as_bytes()))
                .collect();
            let variants: Vec<u32> = misspellings(word)
                .iter()
                .chain([word])
                .filter_map(|variant| {
                    let variant = variant.as_bytes();
                    Probe::beginning(&variant[..variant.len().min(BEGINNING)])
                })
                .map(|probe| self.number_of(probe, b""))
                .collect();
            for number in known {
                slips.entry(number).or_default().extend(&variants);
            }
        }
        for item in &mut self.items {
            for at in 0..item.probes.len() {
                if let Some(variants) = slips.get(&item.probes[at]) {
                    item.probes.extend(variants);
                }
            }
            item.probes.sort_unstable();
            item.probes.dedup();
        }
    }
}

/// How long the terms of a pattern's items may be, and the gaps between them.
struct Lengths {
    terms: Vec<u32>,
    gaps: Vec<u32>,
}

impl Lengths {
    fn new(items: &[(Vec<Class>, u32)], classes: &[Terms]) -> Self {
        let longest = |of: &Vec<Class>| {
            let lengths = of.iter().map(|class| classes[usize::from(*class)].longest);
            lengths.max().unwrap_or(1)
        };
        Self {
            terms: items.iter().map(|(of, _)| longest(of)).collect(),
            gaps: items.iter().map(|(_, gap)| *gap).collect(),
        }
    }

    fn terms(&self, range: std::ops::Range<usize>) -> u32 {
        self.terms[range].iter().sum()
    }

    fn gaps(&self, range: std::ops::Range<usize>) -> u32 {
        self.gaps[range].iter().sum()
    }

    /// Words from the one that stands for an item to that of a later one at most: all that may stand between, and one word that
    /// emphasis cuts in two.
    fn reach(&self, first: (usize, usize), last: (usize, usize), items: &[Watched]) -> u32 {
        items[first.1].behind
            + self.terms(first.0 + 1..last.0)
            + self.gaps(first.0 + 1..last.0 + 1)
            + items[last.1].before
            + 2
    }
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
        assert_eq!(chosen(&common, &["full of the"]), Some(vec![word("full")]));
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
    fn a_pair_is_chosen_if_one_word_alone_is_common() {
        let classes: &[&[&str]] = &[&["the"], &["prompt"], &["verbatim"]];
        let pair = |frequency: &[(&str, u32)]| {
            let mut coverage = coverage(frequency, classes);
            coverage.pattern(&[(vec![0], 0), (vec![1], 2), (vec![2], 3)], 0);
            let Plan { chain, first } = &coverage.plans[0];
            (first.map(|first| first.0), chain.pivot)
        };
        // Of the next fifteen words one in seven is a prompt: most words that are verbatim need no look.
        assert_eq!(
            pair(&[("the", 6000), ("prompt", 1000), ("verbatim", 10)]),
            (Some(1), 2)
        );
        // If every other word is, nothing is gained.
        assert_eq!(
            pair(&[("the", 60_000), ("prompt", 50_000), ("verbatim", 10)]),
            (None, 2)
        );
    }

    #[test]
    fn the_extent_holds_all_items_with_their_gaps() {
        let mut coverage = coverage(&[], &[&["show me", "print"], &["own"], &["system prompt"]]);
        assert!(coverage.pattern(&[(vec![0], 0), (vec![1], 4), (vec![2], 3)], 7));
        // Before the last item the words of all terms and both gaps, behind it no more than its own words.
        let Plan { chain, .. } = &coverage.plans[0];
        assert_eq!((chain.target, chain.pivot), (7, 2));
        assert_eq!((chain.before, chain.behind), (2 + 4 + 1 + 3 + 2, 2));
        // From `print`, or the end of `show me`, to `own` and from there to the end of `system prompt`.
        let most: Vec<u8> = coverage.links.iter().map(|link| link.most).collect();
        assert_eq!(most, [4 + 2, 3 + 1 + 2, 0]);
    }

    #[test]
    fn misspellings_are_one_slip_away() {
        let all = misspellings("previous");
        for slip in ["pevious", "prrevious", "pervious", "rpevious"] {
            assert!(all.iter().any(|variant| variant == slip), "{slip}");
        }
    }
}

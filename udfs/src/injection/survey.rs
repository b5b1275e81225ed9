//! Between the stages: whether all that a pattern asks for is there, in order and near enough.
//!
//! Of the items of a pattern the one that is rarest in ordinary text is its anchor. Where a word is an anchor, the words around are
//! asked whether one of them may be the companion of that anchor in some pattern, the item that is rarest beside it. Only then the
//! items of those patterns are looked for around, one by one. What remains is searched for.

use std::ops::Range;

use super::probe::key;
use super::scout::{Filter, Gate, Known, Near, Ways};
use super::walk::Trail;

/// Stage one for some signatures.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) gate: Gate,
    /// The group of anchors that a word is, or a word that it is a misspelling of.
    pub(super) known: Known,
    pub(super) groups: Vec<Group>,
    /// The anchors of groups.
    pub(super) of_groups: Vec<u16>,
    pub(super) anchors: Vec<Anchor>,
    /// The companions of groups and of anchors.
    pub(super) near_groups: Near<{ 1 << 14 }>,
    pub(super) near_anchors: Near<{ 1 << 12 }>,
    /// Grouped by their anchors.
    pub(super) chains: Vec<Chain>,
    pub(super) links: Vec<Link>,
    /// The words of items.
    pub(super) items: Filter,
    /// In which ways an item asks for words.
    pub(super) ways: Vec<Ways>,
    /// The words of all items.
    pub(super) vocabulary: Known,
    /// The keys of words that are recognised with a typing error.
    pub(super) slips: Vec<u64>,
    /// Whether an item may be a marker.
    pub(super) markers: Vec<bool>,
}

/// The anchors that a word is, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) anchors: (u32, u32),
    pub(super) wanted: Wanted,
}

/// Where companions may stand, and how they are asked for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// A bit for each place, the anchor's own being [`HERE`].
    pub(super) places: u64,
    /// The lengths of beginnings in which companions are asked for, as bits.
    pub(super) lengths: u32,
    /// Whether some chain has no companion.
    pub(super) nobody: bool,
}

/// The chains that an item is the anchor of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) chains: (u32, u32),
    pub(super) wanted: Wanted,
}

/// The items of a pattern, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    /// What to do where the items are found.
    pub(super) target: u32,
    pub(super) links: (u32, u32),
    /// The link that is the anchor.
    pub(super) anchor: u32,
    /// The item that is the companion, and the places in which it may stand.
    pub(super) companion: Option<(u16, u64)>,
    /// Places before and behind the anchor which a match may reach to.
    pub(super) before: u32,
    pub(super) behind: u32,
}

/// An item, and the least and greatest distance to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) item: u16,
    pub(super) least: u8,
    pub(super) most: u8,
}

/// Where a chain is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alarm {
    pub(super) chain: u32,
    /// Number of the word that is its anchor.
    pub(super) word: u32,
}

/// What a survey finds; kept from text to text for its memory.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Groups of anchors, and the numbers of the words that are.
    met: Vec<(u32, u32)>,
    /// Numbers of words that are misspelt, and the keys of the right ones.
    slips: Vec<(u32, u64)>,
    pub(super) alarms: Vec<Alarm>,
}

/// Marks what is no group but a word that is misspelt.
pub(super) const SLIP: u32 = 1 << 31;

/// The bit of the anchor's own place, and how far from it a companion may stand.
pub(super) const HERE: u32 = 32;
pub(super) const NEAR: u32 = 31;

/// Most places between the items of a chain.
pub(super) const SPAN: u32 = 120;

impl Stage {
    /// Writes to `alarms` where the chains are whole in `text`, whose words are in `trail`.
    pub(super) fn survey(&self, text: &[u8], trail: &Trail, survey: &mut Survey) {
        let Survey { met, slips, alarms } = survey;
        alarms.clear();
        met.clear();
        slips.clear();
        for number in &trail.likely {
            let (key, before) = (trail.key(*number), trail.before(*number));
            self.known.of(key, before, |group| {
                if group & SLIP == 0 {
                    met.push((group, *number));
                } else {
                    slips.push((*number, self.slips[(group ^ SLIP) as usize]));
                }
            });
        }
        for (number, right) in &*slips {
            self.known.of(*right, trail.before(*number), |group| {
                if group & SLIP == 0 {
                    met.push((group, *number));
                }
            });
        }
        for sign in &trail.signs {
            let key = key_at(text, *sign as usize);
            if self.gate.is_open(0, key) {
                let number = trail.word_at(*sign as usize);
                self.known.of(key, 0, |group| {
                    // A row of signs is one marker.
                    if met.last() != Some(&(group, number)) {
                        met.push((group, number));
                    }
                });
            }
        }
        let mut look = Look {
            stage: self,
            text,
            trail,
            slips,
            alarms,
        };
        for (group, number) in met {
            look.group(*group, *number);
        }
        alarms.sort_unstable_by_key(|alarm| alarm.word);
    }

    /// Whether a word may belong to any item.
    pub(super) fn knows(&self, word: &[u8]) -> bool {
        let mut knows = false;
        self.vocabulary.of(key(word), 0, |_| knows = true);
        knows
    }
}

/// The key of what begins at a byte.
fn key_at(text: &[u8], at: usize) -> u64 {
    key(&text[at..text.len().min(at + 8)])
}

/// A look at one text.
struct Look<'a> {
    stage: &'a Stage,
    text: &'a [u8],
    trail: &'a Trail,
    slips: &'a [(u32, u64)],
    alarms: &'a mut Vec<Alarm>,
}

impl Look<'_> {
    /// Looks for the chains of a group of anchors around a word.
    fn group(&mut self, number: u32, word: u32) {
        let stage = self.stage;
        let Group { anchors, wanted } = &stage.groups[number as usize];
        let before = HERE.saturating_sub(wanted.places.trailing_zeros());
        let behind = (64 - HERE).saturating_sub(wanted.places.leading_zeros());
        let first = word.saturating_sub(before);
        let last = (word + behind).min(self.trail.len()).max(first);
        let words = &self.trail.keys()[first as usize..last as usize];
        let near = stage.near_groups.of(number, wanted.lengths, words);
        let mut near = near << (first + HERE - word) & wanted.places;
        for (at, right) in self.slips(first..last) {
            let is_near = stage.near_groups.of(number, wanted.lengths, &[*right]);
            near |= is_near << (at + HERE - word);
        }
        if near == 0 && !wanted.nobody {
            return;
        }
        for anchor in &stage.of_groups[anchors.0 as usize..anchors.1 as usize] {
            self.anchor(*anchor, word, near);
        }
    }

    /// Looks for the chains of an anchor around a word, given where companions may be.
    fn anchor(&mut self, number: u16, word: u32, near: u64) {
        let stage = self.stage;
        let Anchor { chains, wanted } = &stage.anchors[usize::from(number)];
        let mut rest = near & wanted.places;
        let mut near = 0;
        while rest != 0 {
            let place = rest.trailing_zeros();
            rest &= rest - 1;
            let at = word + place - HERE;
            let asks = |key| {
                let asked = &stage.near_anchors;
                asked.of(u32::from(number), wanted.lengths, &[key]) != 0
            };
            let rights = self.slips(at..at + 1);
            if asks(self.trail.key(at)) || rights.iter().any(|(_, right)| asks(*right)) {
                near |= 1 << place;
            }
        }
        if near == 0 && !wanted.nobody {
            return;
        }
        for chain in chains.0..chains.1 {
            if self.is_whole(&stage.chains[chain as usize], word, near) {
                self.alarms.push(Alarm { chain, word });
            }
        }
    }

    /// The misspelt ones of some words, in their order.
    fn slips(&self, words: Range<u32>) -> &[(u32, u64)] {
        if self.slips.is_empty() {
            return &[];
        }
        let start = self.slips.partition_point(|(at, _)| *at < words.start);
        let end = self.slips.partition_point(|(at, _)| *at < words.end);
        &self.slips[start..end]
    }

    /// Whether all items of a chain are around a word, given where companions may be.
    fn is_whole(&self, chain: &Chain, word: u32, near: u64) -> bool {
        if let Some((item, places)) = chain.companion {
            let mut places = places & near;
            while places != 0 && !self.is_item(word + places.trailing_zeros() - HERE, item) {
                places &= places - 1;
            }
            if places == 0 {
                return false;
            }
        }
        let links = &self.stage.links[chain.links.0 as usize..chain.links.1 as usize];
        let (led, following) = links.split_at(chain.anchor as usize);
        self.is_led_to(word, led) && self.is_followed(word, following)
    }

    /// Whether `links` are there before a word, in order.
    fn is_led_to(&self, word: u32, links: &[Link]) -> bool {
        let mut reached: u128 = 1;
        for link in links.iter().rev() {
            let allowed = spread(reached, link);
            reached = each(allowed, |distance| {
                distance <= word && self.is_item(word - distance, link.item)
            });
            if reached == 0 {
                return false;
            }
        }
        true
    }

    /// Whether `links`, of which the first is at a word, follow one another.
    fn is_followed(&self, word: u32, links: &[Link]) -> bool {
        let mut reached: u128 = 1;
        for pair in links.windows(2) {
            let allowed = spread(reached, &pair[0]);
            // A marker may stand behind the last word.
            let most = self.trail.len().saturating_sub(word);
            reached = each(allowed, |distance| {
                distance <= most && self.is_item(word + distance, pair[1].item)
            });
            if reached == 0 {
                return false;
            }
        }
        true
    }

    /// Whether a word, or a sign before it, is of `item`.
    fn is_item(&self, word: u32, item: u16) -> bool {
        let (owner, ways) = (u32::from(item), self.stage.ways[usize::from(item)]);
        let items = &self.stage.items;
        if word < self.trail.len() {
            let key = self.trail.key(word);
            let before = self.trail.before(word);
            let rights = self.slips(word..word + 1);
            if items.has(owner, ways, key, before)
                || rights
                    .iter()
                    .any(|(_, right)| items.has(owner, ways, *right, before))
            {
                return true;
            }
        }
        self.stage.markers[usize::from(item)]
            && self.trail.led(self.text, word).any(|at| {
                matches!(self.text[at], b'<' | b'[')
                    && items.has(owner, ways, key_at(self.text, at), 0)
            })
    }
}

/// Those of some distances that `is_there` accepts.
fn each(mut distances: u128, is_there: impl Fn(u32) -> bool) -> u128 {
    let mut accepted = 0;
    while distances != 0 {
        let distance = distances.trailing_zeros();
        if distance > SPAN {
            break;
        }
        distances &= distances - 1;
        accepted |= u128::from(is_there(distance)) << distance;
    }
    accepted
}

/// The distances of the next item, given those of one.
fn spread(reached: u128, link: &Link) -> u128 {
    let mut allowed = reached << link.least;
    let mut steps = u32::from(link.most - link.least);
    let mut width = 1;
    while steps > 0 {
        let shift = width.min(steps);
        allowed |= allowed << shift;
        steps -= shift;
        width += shift;
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::super::compile::matcher_of;
    use super::super::marks::classify;
    use super::*;

    /// The words at which a chain for `pattern` is whole in `text`.
    fn alarms(pattern: &str, text: &str) -> Vec<u32> {
        let matcher = matcher_of(pattern);
        let stage = &matcher.stages[0];
        let (mut marks, mut trail) = (Vec::new(), Trail::default());
        let mut survey = Survey::default();
        classify(text.as_bytes(), &mut marks);
        trail.walk(text.as_bytes(), &marks, &stage.gate);
        stage.survey(text.as_bytes(), &trail, &mut survey);
        survey.alarms.iter().map(|alarm| alarm.word).collect()
    }

    #[test]
    fn items_must_follow_one_another_in_order_and_near() {
        for pad in 0..70 {
            let before = "x ".repeat(pad);
            let text = |rest: &str| format!("{before}{rest} {}", "y ".repeat(pad % 7));
            let whole = |rest: &str| alarms("one ..1 two ..3 three", &text(rest)).len();
            assert_eq!(whole("one a two b c d three"), 1, "{pad}");
            assert_eq!(whole("ONE, two; three"), 1, "{pad}");
            assert_eq!(whole("two one three"), 0, "{pad}");
            assert_eq!(whole("one two"), 0, "{pad}");
            assert_eq!(whole("three two one"), 0, "{pad}");
            // Distances are counted generously: stage two decides.
            assert_eq!(whole("one two a b c d e f g three"), 0, "{pad}");
        }
    }

    #[test]
    fn every_place_is_told() {
        assert_eq!(alarms("zebra", "zebra, a Zebra and zebras"), [0, 2]);
        assert_eq!(alarms("zebra*", "zebra, a Zebra and zebras"), [0, 2, 4]);
    }

    #[test]
    fn a_marker_stands_at_the_place_of_the_next_word() {
        assert_eq!(alarms("{=[inst]} ..1 zebra", "a [inst] zebra"), [1]);
        assert_eq!(alarms("see {=[inst]}", "see [inst]").len(), 1);
        assert_eq!(alarms("see {=[/inst]}", "we see\n[/INST").len(), 1);
        assert_eq!(alarms("{=[inst]} ..1 zebra", "a [list] zebra"), [0; 0]);
    }

    #[test]
    fn optional_items_widen_the_distance() {
        assert_eq!(alarms("one {=two}? three", "one two three").len(), 1);
        assert_eq!(alarms("one {=two}? three", "one three").len(), 1);
    }
}

//! Between the stages: whether all that a pattern asks for is there, in order and near enough.
//!
//! Of the items of a pattern the one that is rarest in ordinary text is its anchor. Where a word is an anchor, the words around are
//! asked whether one of them may be the companion of that anchor in some pattern, the item that is rarest beside it: each word has a
//! few of 128 lanes in which it is asked for. Only then the items of those patterns are looked for around, one by one. What remains is
//! searched for.

use std::ops::Range;

use super::probe::key;
use super::scout::{Gate, Known, LaneSet, Lanes};
use super::walk::Trail;

/// Stage one for some signatures.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) gate: Gate,
    pub(super) known: Known<Word>,
    /// The keys of words that a word is a misspelling of.
    pub(super) slips: Known<u64>,
    /// The items of words, each list sorted.
    pub(super) items: Vec<u16>,
    pub(super) groups: Vec<Group>,
    /// The calls of groups.
    pub(super) calls: Vec<Call>,
    /// The companions.
    pub(super) lanes: Lanes,
    /// Grouped by their anchors.
    pub(super) chains: Vec<Chain>,
    pub(super) links: Vec<Link>,
    /// Whether an item may be a marker.
    pub(super) markers: Vec<bool>,
}

/// What a word stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// Where its items begin among those of all words, and how many they are.
    pub(super) items: u32,
    pub(super) count: u16,
    /// The group of anchors that it is, or [`NO_ANCHOR`].
    pub(super) group: u16,
}

/// The group of a word that is no anchor.
pub(super) const NO_ANCHOR: u16 = u16::MAX;

/// The anchors that a word is, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) calls: (u32, u32),
    /// Where companions may stand: a bit for each place, the anchor's own being [`HERE`].
    pub(super) places: u64,
    /// The lanes of the companions.
    pub(super) lanes: LaneSet,
    /// Whether some chain has no companion.
    pub(super) nobody: bool,
}

/// What an anchor asks for first to find a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    /// Where the companion may stand; nowhere if there is none.
    pub(super) places: u64,
    pub(super) chain: u32,
    /// The item that is the companion, and its lane.
    pub(super) item: u16,
    pub(super) lane: u8,
}

/// The items of a pattern, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    /// What to do where the items are found.
    pub(super) target: u32,
    pub(super) links: (u32, u32),
    /// The link that is the anchor.
    pub(super) anchor: u32,
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
    met: Vec<(u16, u32)>,
    /// Numbers of words that are misspelt, and the keys of the right ones.
    slips: Vec<(u32, u64)>,
    /// The lanes of all words, once some word is an anchor.
    lanes: Vec<LaneSet>,
    pub(super) alarms: Vec<Alarm>,
}

/// The bit of the anchor's own place, and how far from it a companion may stand.
pub(super) const HERE: u32 = 32;
pub(super) const NEAR: u32 = 31;

/// Most places between the items of a chain.
pub(super) const SPAN: u32 = 120;

impl Stage {
    /// Writes to `alarms` where the chains are whole in `text`, whose words are in `trail`.
    pub(super) fn survey(&self, text: &[u8], trail: &Trail, survey: &mut Survey) {
        let Survey {
            met,
            slips,
            lanes,
            alarms,
        } = survey;
        alarms.clear();
        met.clear();
        slips.clear();
        let mut meet = |key, number| {
            self.known.of(key, trail.before(number), |word| {
                // A row of signs is one marker.
                if word.group != NO_ANCHOR && met.last() != Some(&(word.group, number)) {
                    met.push((word.group, number));
                }
            });
        };
        for number in &trail.likely {
            let key = trail.key(*number);
            meet(key, *number);
            self.slips.of(key, 0, |right| slips.push((*number, right)));
        }
        for (number, right) in &*slips {
            meet(*right, *number);
        }
        for sign in &trail.signs {
            let key = key_at(text, *sign as usize);
            if self.gate.is_open(0, key) {
                meet(key, trail.word_at(*sign as usize));
            }
        }
        if met.is_empty() {
            return;
        }
        lanes.clear();
        lanes.extend(
            (0..)
                .zip(trail.keys())
                .map(|(number, key)| self.lanes.of(*key, trail.before(number))),
        );
        for (number, right) in &*slips {
            lanes[*number as usize] |= self.lanes.of(*right, trail.before(*number));
        }
        let mut look = Look {
            stage: self,
            text,
            trail,
            slips,
            lanes,
            alarms,
        };
        for (group, number) in met {
            look.group(*group, *number);
        }
        alarms.sort_unstable_by_key(|alarm| alarm.word);
    }

    /// Whether a word may belong to any item.
    pub(super) fn knows(&self, word: &[u8]) -> bool {
        self.known.has(key(word))
    }

    /// Whether a word behind one that begins with `before` is of an item.
    fn is_item(&self, key: u64, before: u32, item: u16) -> bool {
        let mut is_item = false;
        self.known.of(key, before, |word| {
            let start = word.items as usize;
            let items = &self.items[start..start + usize::from(word.count)];
            is_item |= items.binary_search(&item).is_ok();
        });
        is_item
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
    lanes: &'a [LaneSet],
    alarms: &'a mut Vec<Alarm>,
}

impl Look<'_> {
    /// Looks for the chains of a group of anchors around a word.
    fn group(&mut self, number: u16, word: u32) {
        let stage = self.stage;
        let group = &stage.groups[usize::from(number)];
        let near = self.near(group, word);
        if near == 0 && !group.nobody {
            return;
        }
        for call in &stage.calls[group.calls.0 as usize..group.calls.1 as usize] {
            let mut places = near & call.places;
            while places != 0 {
                let at = word + places.trailing_zeros() - HERE;
                if self.lanes[at as usize] >> call.lane & 1 == 1 && self.is_item(at, call.item) {
                    break;
                }
                places &= places - 1;
            }
            if (places != 0 || call.places == 0)
                && self.is_whole(&stage.chains[call.chain as usize], word)
            {
                self.alarms.push(Alarm {
                    chain: call.chain,
                    word,
                });
            }
        }
    }

    /// The places around a word in which there may be companions of a group.
    fn near(&self, group: &Group, word: u32) -> u64 {
        let before = HERE.saturating_sub(group.places.trailing_zeros());
        let behind = (64 - HERE).saturating_sub(group.places.leading_zeros());
        let first = word.saturating_sub(before);
        let last = (word + behind).min(self.trail.len()).max(first);
        let mut near = 0;
        for lanes in self.lanes[first as usize..last as usize].iter().rev() {
            near = near << 1 | u64::from(lanes & group.lanes != 0);
        }
        near << (first + HERE - word) & group.places
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

    /// Whether all items of a chain are around a word.
    fn is_whole(&self, chain: &Chain, word: u32) -> bool {
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
        let stage = self.stage;
        if word < self.trail.len() {
            let before = self.trail.before(word);
            let rights = self.slips(word..word + 1);
            if stage.is_item(self.trail.key(word), before, item)
                || rights
                    .iter()
                    .any(|(_, right)| stage.is_item(*right, before, item))
            {
                return true;
            }
        }
        stage.markers[usize::from(item)]
            && self.trail.led(self.text, word).any(|at| {
                matches!(self.text[at], b'<' | b'[')
                    && stage.is_item(key_at(self.text, at), 0, item)
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

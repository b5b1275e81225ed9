//! Between the stages: whether all that a pattern asks for is there, in order and near enough.
//!
//! Of the items of a pattern two are looked for first, such that one seldom follows the other. Each word that is of a first item sets the
//! bit of its pair, to be forgotten after some words; each word that is of a second item asks for the bits of its pairs. Where a bit is
//! set, the words around are compared with all items of the patterns behind it. What remains is searched for.

use super::scout::{Meaning, Scout};
use super::walk::Trail;

/// Stage one for some signatures.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The words of all items, and before them those of pairs: what asks for a bit is an item below [`BITS`], what sets it one below
    /// [`FIRST_ITEM`].
    pub(crate) scout: Scout,
    pub(crate) asks: Asks,
}

/// What patterns ask for.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    /// Grouped by the bits of their pairs.
    pub(crate) chains: Vec<Chain>,
    /// For each bit the range of its chains.
    pub(crate) by_bit: Vec<(u32, u32)>,
    pub(crate) links: Vec<Link>,
}

/// The items of a pattern, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    /// What to do where the items are found.
    pub(crate) target: u32,
    pub(crate) links: (u32, u32),
    /// The link that is the second of the pair.
    pub(crate) pivot: u32,
    /// Places before and behind that link which a match may reach to.
    pub(crate) before: u32,
    pub(crate) behind: u32,
}

/// An item, and the least and greatest distance to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) item: u16,
    pub(crate) least: u8,
    pub(crate) most: u8,
}

/// Where a chain is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) chain: u32,
    /// Number of the word that is its pivot.
    pub(crate) word: u32,
}

/// Lanes of 64 bits: for pairs whose words are near, for those that may be far, and for chains without a pair, whose bits are always set.
pub(crate) const NEAR_LANES: usize = 12;
pub(crate) const FAR_LANES: usize = 4;
pub(crate) const SET_LANES: usize = 8;
const LANES: usize = NEAR_LANES + FAR_LANES + SET_LANES;
pub(crate) const BITS: u16 = 64 * LANES as u16;

/// The first item of chains, and the lane it is in.
pub(crate) const FIRST_ITEM: u16 = 2 * BITS;
pub(crate) const FIRST_LANE: u32 = 2 * LANES as u32;

/// For how many places bits are remembered at least; at most twice as long.
pub(crate) const NEAR: u32 = 10;
pub(crate) const FAR: u32 = 64;

/// Most places between the items of a chain.
pub(crate) const SPAN: u32 = 120;

/// Kept from text to text for its memory.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// What the words mean.
    meanings: Vec<Meaning>,
}

/// The bits set lately.
#[derive(Debug)]
struct Memory {
    now: [u64; LANES],
    before: [u64; LANES],
    times: [u32; 2],
}

impl Memory {
    fn new() -> Self {
        let mut now = [0; LANES];
        now[NEAR_LANES + FAR_LANES..].fill(u64::MAX);
        Self {
            now,
            before: [0; LANES],
            times: [0; 2],
        }
    }

    /// Forgets what was set too long before `position`.
    fn forget(&mut self, position: u32) {
        let kinds = [
            (NEAR, 0..NEAR_LANES),
            (FAR, NEAR_LANES..NEAR_LANES + FAR_LANES),
        ];
        for (time, (memory, lanes)) in self.times.iter_mut().zip(kinds) {
            let passed = position / memory - *time;
            if passed == 0 {
                continue;
            }
            *time += passed;
            if passed == 1 {
                self.before[lanes.clone()].copy_from_slice(&self.now[lanes.clone()]);
            } else {
                self.before[lanes.clone()].fill(0);
            }
            self.now[lanes].fill(0);
        }
    }
}

impl Survey {
    /// Writes to `alarms` where the chains are whole in a text whose words are in `trail`.
    pub(crate) fn look(&mut self, stage: &Stage, trail: &Trail, alarms: &mut Vec<Alarm>) {
        // All words first: the table is large, and looking up one word need not wait for the one before.
        self.meanings.clear();
        self.meanings.resize(trail.words.len(), Meaning::default());
        for at in &trail.likely {
            let key = trail.words[*at as usize].key;
            self.meanings[*at as usize] = stage.scout.meaning_of(key);
        }
        let mut memory = Memory::new();
        for at in &trail.likely {
            let at = *at as usize;
            memory.forget(trail.words[at].position);
            stage
                .scout
                .first_items(self.meanings[at], trail.before(at), |lane| {
                    let number = lane.number as usize;
                    if let Some(now) = number
                        .checked_sub(LANES)
                        .and_then(|lane| memory.now.get_mut(lane))
                    {
                        *now |= lane.bits;
                    } else {
                        let asked = lane.bits & (memory.now[number] | memory.before[number]);
                        bits(asked, |bit| {
                            self.pair(stage, trail, at, number * 64 + bit, alarms);
                        });
                    }
                });
        }
    }

    /// Compares the words around `at` with the chains behind a bit.
    fn pair(&self, stage: &Stage, trail: &Trail, at: usize, bit: usize, alarms: &mut Vec<Alarm>) {
        let (start, end) = stage.asks.by_bit[bit];
        for number in start..end {
            let chain = &stage.asks.chains[number as usize];
            let links = &stage.asks.links[chain.links.0 as usize..chain.links.1 as usize];
            let pivot = chain.pivot as usize;
            if self.is_item(stage, trail, at, links[pivot].item)
                && self.is_led_to(stage, trail, at, &links[..pivot])
                && self.is_followed(stage, trail, at, &links[pivot..])
            {
                alarms.push(Alarm {
                    chain: number,
                    word: trail.words[at].number,
                });
            }
        }
    }

    /// Whether `links` are there before word `at`, in order.
    fn is_led_to(&self, stage: &Stage, trail: &Trail, at: usize, links: &[Link]) -> bool {
        let from = trail.words[at].position;
        let mut reached: u128 = 1;
        for link in links.iter().rev() {
            let allowed = spread(reached, link);
            reached = 0;
            for index in (0..=at).rev() {
                let distance = from - trail.words[index].position;
                if distance > SPAN || allowed >> distance == 0 {
                    break;
                }
                if allowed >> distance & 1 == 1 && self.is_item(stage, trail, index, link.item) {
                    reached |= 1 << distance;
                }
            }
            if reached == 0 {
                return false;
            }
        }
        true
    }

    /// Whether `links`, of which the first is at word `at`, follow one another.
    fn is_followed(&self, stage: &Stage, trail: &Trail, at: usize, links: &[Link]) -> bool {
        let from = trail.words[at].position;
        let mut reached: u128 = 1;
        for pair in links.windows(2) {
            let allowed = spread(reached, &pair[0]);
            reached = 0;
            for index in at..trail.words.len() {
                let distance = trail.words[index].position - from;
                if distance > SPAN || allowed >> distance == 0 {
                    break;
                }
                if allowed >> distance & 1 == 1 && self.is_item(stage, trail, index, pair[1].item) {
                    reached |= 1 << distance;
                }
            }
            if reached == 0 {
                return false;
            }
        }
        true
    }

    fn is_item(&self, stage: &Stage, trail: &Trail, at: usize, item: u16) -> bool {
        stage
            .scout
            .is_item(self.meanings[at], trail.before(at), item)
    }
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

fn bits(mut mask: u64, mut take: impl FnMut(usize)) {
    while mask != 0 {
        take(mask.trailing_zeros() as usize);
        mask &= mask - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::scout::{Probe, key};
    use super::super::walk::Word;
    use super::*;

    const WORDS: [&str; 3] = ["one", "two", "three"];

    /// The places at which a chain of three items is whole, two and four places apart at most, the second behind the first a pair.
    fn alarms(places: &[(usize, u32)], marker: bool) -> Vec<u32> {
        let link = |item, least, most| Link {
            item: FIRST_ITEM + item,
            least,
            most,
        };
        let mut by_bit = vec![(0, 0); usize::from(BITS)];
        by_bit[5] = (0, 1);
        let word = |item: usize| Probe::word(WORDS[item].as_bytes());
        let stage = Stage {
            scout: Scout::new(
                (0..3)
                    .map(|item| (word(item), FIRST_ITEM + item as u16))
                    .chain([(word(0), BITS + 5), (word(1), 5)]),
                FIRST_LANE,
            ),
            asks: Asks {
                chains: vec![Chain {
                    target: 0,
                    links: (0, 3),
                    pivot: 1,
                    before: 0,
                    behind: 0,
                }],
                by_bit,
                links: vec![link(0, 1, 2), link(1, u8::from(!marker), 4), link(2, 0, 0)],
            },
        };
        let mut trail = Trail::default();
        trail.likely.extend(0..places.len() as u32);
        trail.words.extend(places.iter().map(|(item, place)| Word {
            key: key(WORDS[*item].as_bytes()),
            number: *place,
            position: *place,
        }));
        let (mut survey, mut alarms) = (Survey::default(), Vec::new());
        survey.look(&stage, &trail, &mut alarms);
        alarms.iter().map(|alarm| alarm.word).collect()
    }

    #[test]
    fn items_must_follow_one_another_in_order_and_near() {
        for begin in 0..300 {
            assert_eq!(
                alarms(&[(0, begin), (1, begin + 2), (2, begin + 6)], false),
                [begin + 2]
            );
            for apart in [
                [(0, 0), (1, 3), (2, 6)],
                [(0, 0), (1, 2), (2, 7)],
                [(2, 0), (1, 2), (0, 6)],
            ] {
                let places = apart.map(|(item, place)| (item, begin + place));
                assert_eq!(alarms(&places, false), [0; 0], "{places:?}");
            }
        }
    }

    #[test]
    fn a_marker_stands_at_the_place_of_the_next_word() {
        assert_eq!(alarms(&[(0, 7), (1, 8), (2, 8)], true), [8]);
        assert_eq!(alarms(&[(0, 7), (1, 8), (2, 8)], false), [0; 0]);
    }

    #[test]
    fn each_second_of_a_pair_is_told() {
        let places = [(0, 9), (1, 10), (1, 11), (2, 12), (1, 300), (2, 301)];
        assert_eq!(alarms(&places, false), [10, 11]);
    }
}

//! Plans to tables: which item of each pattern is its anchor, which its companion, and the sets of words that follow from that.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::coverage::{Coverage, Plan};
use super::probe::{LENGTHS, Probe};
use super::scout::{Filter, Gate, Known, SEEN, way};
use super::survey::{ANY, BEFORE, Chain, Group, HERE, Link, NEAR, SLIP, SPAN, Stage};

/// How often the anchors are chosen again, each in view of all others.
const ROUNDS: usize = 3;

/// What it costs to ask a word whether it is a companion, as part of what it costs to look around it.
const NEARBY: f32 = 0.01;

/// A tie between anchors is for the one with fewer words.
const WORD: f32 = 1e-7;

impl Coverage {
    /// Stage one for the patterns whose targets `take` takes.
    pub(super) fn build(&self, take: impl Fn(u32) -> bool) -> Stage {
        let mut plans: Vec<(&Plan, usize)> = self
            .plans
            .iter()
            .filter(|plan| take(plan.target))
            .map(|plan| (plan, 0))
            .collect();
        self.choose_anchors(&mut plans);
        // Chains with the same anchor stand together.
        plans.sort_by_key(|(plan, anchor)| plan.steps[*anchor].item);
        let mut numbers: HashMap<usize, u16, FixedState> = HashMap::default();
        let mut stage = Stage {
            gate: Gate::new(std::iter::empty()),
            anchors: Known::new(Vec::new()),
            groups: Vec::new(),
            of_groups: Vec::new(),
            near: Filter::new(0),
            companions: Known::new(Vec::new()),
            chains: Vec::with_capacity(plans.len()),
            links: Vec::new(),
            items: Filter::new(0),
            ways: Vec::new(),
            known: 0,
            markers: Vec::new(),
            slips: Vec::new(),
        };
        for (plan, anchor) in &plans {
            self.add_chain(plan, *anchor, &mut numbers, &mut stage);
        }
        let mut items = vec![0; numbers.len()];
        for (item, number) in numbers {
            items[usize::from(number)] = item;
        }
        self.add_items(&items, &mut stage);
        self.add_groups(&plans, &items, &mut stage);
        stage
    }

    /// Chooses the anchor of each plan such that together they have few words.
    fn choose_anchors(&self, plans: &mut [(&Plan, usize)]) {
        let mut uses = vec![0_u32; self.probes.len()];
        for round in 0..ROUNDS {
            for (plan, anchor) in &mut *plans {
                let probes = |step: usize| self.items[plan.steps[step].item].probes.iter();
                if round > 0 {
                    probes(*anchor).for_each(|probe| uses[*probe as usize] -= 1);
                }
                let mut least = f32::MAX;
                for step in 0..plan.steps.len() {
                    let cost: f32 = probes(step)
                        .map(|probe| {
                            let rate = self.rates[*probe as usize];
                            match uses[*probe as usize] {
                                0 => rate + WORD,
                                // A word that begins more has more to be looked for around it.
                                _ => rate / 16.0,
                            }
                        })
                        .sum();
                    if cost < least {
                        (least, *anchor) = (cost, step);
                    }
                }
                probes(*anchor).for_each(|probe| uses[*probe as usize] += 1);
            }
        }
    }

    /// Appends the chain of `plan`. Items get their numbers as they come.
    fn add_chain(
        &self,
        plan: &Plan,
        anchor: usize,
        numbers: &mut HashMap<usize, u16, FixedState>,
        stage: &mut Stage,
    ) {
        let start = stage.links.len() as u32;
        for (at, step) in plan.steps.iter().enumerate() {
            let next = numbers.len() as u16;
            let most = plan
                .steps
                .get(at + 1)
                .map_or(0, |next| self.reach(step, next));
            stage.links.push(Link {
                item: *numbers.entry(step.item).or_insert(next),
                // A marker is counted as the word behind it.
                least: u8::from(most > 0 && !self.items[step.item].has_marker),
                most: most.min(SPAN) as u8,
            });
        }
        let here = &plan.steps[anchor];
        stage.chains.push(Chain {
            target: plan.target,
            links: (start, stage.links.len() as u32),
            anchor: anchor as u32,
            companion: self
                .companion(plan, anchor)
                .map(|(step, places)| (numbers[&plan.steps[step].item], places)),
            before: here.end,
            behind: plan.length - here.end + here.length,
        });
    }

    /// The item that is rarest near the anchor, and where it may stand.
    fn companion(&self, plan: &Plan, anchor: usize) -> Option<(usize, u64)> {
        let here = &plan.steps[anchor];
        let mut best = None;
        let mut least = f32::MAX;
        for (at, step) in plan.steps.iter().enumerate() {
            let (first, last) = (at.min(anchor), at.max(anchor));
            if first == last || self.items[step.item].has_marker {
                continue;
            }
            let most = self.reach(&plan.steps[first], &plan.steps[last]);
            let cost = (self.rate(step.item) + NEARBY) * most as f32;
            if most <= NEAR && cost < least {
                let places: u64 = if at < anchor {
                    ((1 << most) - 1) << (HERE - most)
                } else {
                    ((1 << most) - 1) << (HERE + 1)
                };
                // A marker is counted as the word behind it.
                let places = places | u64::from(self.items[here.item].has_marker) << HERE;
                (least, best) = (cost, Some((at, places)));
            }
        }
        best
    }

    /// Fills in which words are of which item.
    fn add_items(&self, items: &[usize], stage: &mut Stage) {
        let items = || items.iter().map(|item| &self.items[*item]);
        stage.items = Filter::new(items().map(|item| item.probes.len()).sum());
        let mut known = vec![false; self.probes.len()];
        for (number, item) in items().enumerate() {
            let mut ways = 0;
            for probe_number in &item.probes {
                let probe = &self.probes[*probe_number as usize];
                ways |= way(probe);
                stage.items.add(number as u32, probe);
                known[*probe_number as usize] = true;
            }
            stage.ways.push(ways);
            stage.markers.push(item.has_marker);
        }
        for (probe, _) in self.probes.iter().zip(known).filter(|(_, known)| *known) {
            let probe = Probe {
                before: None,
                ..*probe
            };
            stage.known |= way(&probe);
            stage.items.add(u32::from(ANY), &probe);
        }
    }

    /// Fills in which words are anchors, and what they ask for.
    fn add_groups(&self, plans: &[(&Plan, usize)], items: &[usize], stage: &mut Stage) {
        // For each probe the anchors it belongs to, as ranges of chains.
        let mut anchors: Vec<(u32, (u32, u32))> = Vec::new();
        let mut at = 0;
        for chains in plans.chunk_by(|(a, i), (b, j)| a.steps[*i].item == b.steps[*j].item) {
            let range = (at, at + chains.len() as u32);
            let (plan, anchor) = chains[0];
            let probes = self.items[plan.steps[anchor].item].probes.iter();
            anchors.extend(probes.map(|probe| (*probe, range)));
            at = range.1;
        }
        anchors.sort_unstable();
        let mut numbers: HashMap<Vec<(u32, u32)>, u32, FixedState> = HashMap::default();
        let mut companions: Vec<(u32, u32, u16)> = Vec::new();
        let mut entries = Vec::new();
        for of_probe in anchors.chunk_by(|a, b| a.0 == b.0) {
            let ranges: Vec<(u32, u32)> = of_probe.iter().map(|(_, range)| *range).collect();
            let next = numbers.len() as u32;
            let number = *numbers.entry(ranges).or_insert(next);
            if number == next {
                let ranges = of_probe.iter().map(|(_, range)| *range);
                add_group(stage, ranges, &mut companions);
            }
            entries.push((self.probes[of_probe[0].0 as usize], number));
        }
        for (probe, right) in &self.slips {
            entries.push((*probe, SLIP | stage.slips.len() as u32));
            stage.slips.push(*right);
        }
        stage.gate = Gate::new(entries.iter().map(|(probe, _)| probe));
        stage.anchors = Known::new(entries);
        companions.sort_unstable();
        companions.dedup();
        self.add_near(&companions, items, stage);
        self.add_companions(items, stage);
    }

    /// Fills in for each word the chains that it may be a companion in.
    fn add_companions(&self, items: &[usize], stage: &mut Stage) {
        let mut all = Vec::new();
        for (number, chain) in stage.chains.iter().enumerate() {
            let Some((item, _)) = chain.companion else {
                continue;
            };
            let probes = self.items[items[usize::from(item)]].probes.iter();
            let probes = probes.map(|probe| seen(&self.probes[*probe as usize]));
            all.extend(probes.map(|probe| (probe, number as u32)));
        }
        stage.companions = Known::new(all);
    }

    /// Fills in the words that groups ask for nearby: the first bytes of them.
    fn add_near(&self, companions: &[(u32, u32, u16)], items: &[usize], stage: &mut Stage) {
        let probes = |item: u16| &self.items[items[usize::from(item)]].probes;
        let count = companions.iter().map(|(_, _, item)| probes(*item).len()).sum();
        stage.near = Filter::new(count);
        for (owner, group, item) in companions {
            for probe in probes(*item) {
                let probe = seen(&self.probes[*probe as usize]);
                stage.groups[*group as usize].ways |= way(&probe);
                stage.near.add(*owner, &probe);
            }
        }
    }
}

/// As much of a probe as is looked at first.
fn seen(probe: &Probe) -> Probe {
    Probe {
        value: probe.value & LENGTHS[SEEN],
        mask: probe.mask & LENGTHS[SEEN],
        before: probe.before,
    }
}

/// Appends the group of the chains in `ranges`, and notes its companions.
fn add_group(
    stage: &mut Stage,
    ranges: impl Iterator<Item = (u32, u32)>,
    companions: &mut Vec<(u32, u32, u16)>,
) {
    let number = stage.groups.len() as u32;
    let start = stage.of_groups.len() as u32;
    stage.of_groups.extend(ranges);
    let mut places = 0;
    let mut is_enough = false;
    for range in &stage.of_groups[start as usize..] {
        for chain in &stage.chains[range.0 as usize..range.1 as usize] {
            match chain.companion {
                Some((item, its_places)) => {
                    places |= its_places;
                    for (side, places) in [(0, BEFORE), (1, !BEFORE)] {
                        if its_places & places != 0 {
                            companions.push((number * 2 + side, number, item));
                        }
                    }
                }
                None => is_enough = true,
            }
        }
    }
    stage.groups.push(Group {
        ranges: (start, stage.of_groups.len() as u32),
        places,
        ways: 0,
        is_enough,
    });
}

//! Plans to tables: which item of each pattern is its anchor, which its companion, and the sets of words that follow from that.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::coverage::{Coverage, Plan};
use super::probe::Probe;
use super::scout::{Filter, Gate, Known, Near, near_length, way};
use super::survey::{Anchor, Chain, Group, HERE, Link, NEAR, SLIP, SPAN, Stage, Wanted};

/// How often the anchors are chosen again, each in view of all others.
const ROUNDS: usize = 3;

/// What it costs to ask a word whether it is a companion, as part of what it costs to look around it.
const NEARBY: f32 = 0.005;

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
            known: Known::new(Vec::new()),
            anchors: Vec::new(),
            groups: Vec::new(),
            of_groups: Vec::new(),
            near_groups: Near::new(),
            near_anchors: Near::new(),
            chains: Vec::with_capacity(plans.len()),
            links: Vec::new(),
            items: Filter::new(0),
            ways: Vec::new(),
            vocabulary: Known::new(Vec::new()),
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
        self.add_anchors(&plans, &items, &mut stage);
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
                                _ => rate / 2.0,
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
        // A word behind another is known wherever it stands.
        let known = self.probes.iter().zip(known).filter(|(_, known)| *known);
        let alone = known.map(|(probe, _)| Probe {
            before: None,
            ..*probe
        });
        let mut vocabulary: Vec<(Probe, u32)> = alone.map(|probe| (probe, 0)).collect();
        vocabulary.sort_unstable();
        vocabulary.dedup();
        stage.vocabulary = Known::new(vocabulary);
    }

    /// Fills in which words are anchors, and what these ask for. Anchors are numbered as their chains stand.
    fn add_anchors(&self, plans: &[(&Plan, usize)], items: &[usize], stage: &mut Stage) {
        // Which probes are which anchors.
        let mut of_probes: Vec<(u32, u16)> = Vec::new();
        let mut companions: Vec<Vec<u16>> = Vec::new();
        let mut start = 0;
        for chains in plans.chunk_by(|(a, i), (b, j)| a.steps[*i].item == b.steps[*j].item) {
            let (plan, step) = chains[0];
            let number = stage.anchors.len() as u16;
            let probes = self.items[plan.steps[step].item].probes.iter();
            of_probes.extend(probes.map(|probe| (*probe, number)));
            let chains = (start, start + chains.len() as u32);
            start = chains.1;
            let mut wanted = Wanted::default();
            let mut of_anchor = Vec::new();
            for chain in &stage.chains[chains.0 as usize..chains.1 as usize] {
                match chain.companion {
                    Some((item, places)) => {
                        wanted.places |= places;
                        of_anchor.push(item);
                    }
                    None => wanted.nobody = true,
                }
            }
            of_anchor.sort_unstable();
            of_anchor.dedup();
            companions.push(of_anchor);
            stage.anchors.push(Anchor { chains, wanted });
        }
        let probes = |item: u16| {
            let probes = self.items[items[usize::from(item)]].probes.iter();
            probes.map(|probe| &self.probes[*probe as usize])
        };
        for ((number, items), anchor) in (0..).zip(&companions).zip(&mut stage.anchors) {
            for probe in items.iter().flat_map(|item| probes(*item)) {
                anchor.wanted.lengths |= near_length(probe);
                stage.near_anchors.add(number, probe);
            }
        }
        let mut entries = self.add_groups(of_probes, stage);
        let near = |group: &Group| -> Vec<u16> {
            let anchors = &stage.of_groups[group.anchors.0 as usize..group.anchors.1 as usize];
            let items = anchors.iter().flat_map(|at| &companions[usize::from(*at)]);
            let mut items: Vec<u16> = items.copied().collect();
            items.sort_unstable();
            items.dedup();
            items
        };
        let near: Vec<Vec<u16>> = stage.groups.iter().map(near).collect();
        for (number, items) in (0..).zip(&near) {
            for probe in items.iter().flat_map(|item| probes(*item)) {
                stage.near_groups.add(number, probe);
            }
        }
        for (slip, right) in &self.slips {
            entries.push((*slip, SLIP | stage.slips.len() as u32));
            stage.slips.push(*right);
        }
        stage.gate = Gate::new(entries.iter().map(|(probe, _)| probe));
        stage.known = Known::new(entries);
    }

    /// Groups the anchors that have words in common; gives the group of each word.
    fn add_groups(&self, mut of_probes: Vec<(u32, u16)>, stage: &mut Stage) -> Vec<(Probe, u32)> {
        of_probes.sort_unstable();
        let mut numbers: HashMap<Vec<u16>, u32, FixedState> = HashMap::default();
        let mut entries = Vec::new();
        for of_probe in of_probes.chunk_by(|a, b| a.0 == b.0) {
            let anchors: Vec<u16> = of_probe.iter().map(|(_, anchor)| *anchor).collect();
            let next = numbers.len() as u32;
            let number = *numbers.entry(anchors).or_insert(next);
            if number == next {
                let start = stage.of_groups.len() as u32;
                let mut wanted = Wanted::default();
                for (_, anchor) in of_probe {
                    let of_anchor = &stage.anchors[usize::from(*anchor)].wanted;
                    wanted.places |= of_anchor.places;
                    wanted.lengths |= of_anchor.lengths;
                    wanted.nobody |= of_anchor.nobody;
                    stage.of_groups.push(*anchor);
                }
                stage.groups.push(Group {
                    anchors: (start, stage.of_groups.len() as u32),
                    wanted,
                });
            }
            entries.push((self.probes[of_probe[0].0 as usize], number));
        }
        entries
    }
}

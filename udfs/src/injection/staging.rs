//! Plans to tables: which item of each pattern is its anchor, which its companion, and the sets of words that follow from that.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::coverage::{Coverage, Plan};
use super::scout::{Gate, Known, LaneSet, Lanes};
use super::survey::{Call, Chain, Group, HERE, Link, NEAR, NO_ANCHOR, SPAN, Stage, Word};

/// How often the anchors are chosen again, each in view of all others.
const ROUNDS: usize = 3;

/// What it costs to ask a word whether it is a companion, as part of what it costs to look around it.
const NEARBY: f32 = 0.001;

/// A tie between anchors is for the one with fewer words.
const WORD: f32 = 1e-7;

/// How many of the lanes are for companions led by one frequent word.
const OWN_LANES: usize = 88;

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
            known: Known::new(std::iter::empty()),
            slips: Known::new(self.slips.iter().copied()),
            items: Vec::new(),
            groups: Vec::new(),
            calls: Vec::new(),
            lanes: Lanes::new(),
            chains: Vec::with_capacity(plans.len()),
            links: Vec::new(),
            markers: Vec::new(),
        };
        for (plan, anchor) in &plans {
            self.add_chain(plan, *anchor, &mut numbers, &mut stage);
        }
        let mut items = vec![0; numbers.len()];
        for (item, number) in &numbers {
            items[usize::from(*number)] = *item;
        }
        let groups = self.add_anchors(&plans, &numbers, &mut stage);
        self.add_words(&items, &groups, &mut stage);
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

    /// Fills in what words stand for, given the groups of those that are anchors.
    fn add_words(&self, items: &[usize], groups: &[u16], stage: &mut Stage) {
        let mut of_probes: Vec<(u32, u16)> = Vec::new();
        for (number, item) in (0..).zip(items) {
            let item = &self.items[*item];
            of_probes.extend(item.probes.iter().map(|probe| (*probe, number)));
            stage.markers.push(item.has_marker);
        }
        of_probes.sort_unstable();
        stage.items = of_probes.iter().map(|(_, item)| *item).collect();
        let mut start = 0;
        let words = of_probes.chunk_by(|a, b| a.0 == b.0).map(|of_probe| {
            let probe = of_probe[0].0 as usize;
            let word = Word {
                items: start,
                count: of_probe.len() as u16,
                group: groups[probe],
            };
            start += of_probe.len() as u32;
            (self.probes[probe], word)
        });
        stage.known = Known::new(words);
        let anchors = self.probes.iter().zip(groups);
        let anchors = anchors.filter(|(_, group)| **group != NO_ANCHOR);
        let slips = self.slips.iter().map(|(slip, _)| slip);
        stage.gate = Gate::new(anchors.map(|(probe, _)| probe).chain(slips));
    }

    /// Fills in what anchors ask for; gives the group of each probe. Anchors are numbered as their chains stand.
    fn add_anchors(
        &self,
        plans: &[(&Plan, usize)],
        numbers: &HashMap<usize, u16, FixedState>,
        stage: &mut Stage,
    ) -> Vec<u16> {
        let companions: Vec<Option<(usize, u64)>> = plans
            .iter()
            .map(|(plan, anchor)| {
                let (step, places) = self.companion(plan, *anchor)?;
                Some((plan.steps[step].item, places))
            })
            .collect();
        let lanes = self.add_lanes(companions.iter().flatten().map(|(item, _)| *item), stage);
        // Which probes are which anchors, and what the anchors ask for.
        let mut of_probes: Vec<(u32, u32)> = Vec::new();
        let mut calls: Vec<Vec<Call>> = Vec::new();
        let mut chain = 0;
        for chains in plans.chunk_by(|(a, i), (b, j)| a.steps[*i].item == b.steps[*j].item) {
            let (plan, step) = chains[0];
            let probes = self.items[plan.steps[step].item].probes.iter();
            of_probes.extend(probes.map(|probe| (*probe, calls.len() as u32)));
            let of_anchor = (chain..chain + chains.len()).map(|chain| {
                let (item, places) = companions[chain].unzip();
                Call {
                    places: places.unwrap_or(0),
                    chain: chain as u32,
                    item: item.map_or(0, |item| numbers[&item]),
                    lane: item.map_or(0, |item| lanes[&item]),
                }
            });
            calls.push(of_anchor.collect());
            chain += chains.len();
        }
        self.add_groups(of_probes, &calls, stage)
    }

    /// Gives the companions their lanes: those that are led by the same word share one, the most frequent words have one of their own.
    fn add_lanes(
        &self,
        companions: impl Iterator<Item = usize>,
        stage: &mut Stage,
    ) -> HashMap<usize, u8, FixedState> {
        let rate = |probe: u32| self.rates[probe as usize];
        let mut led: Vec<(u32, usize)> = companions
            .filter_map(|item| {
                let probes = self.items[item].probes.iter().copied();
                Some((probes.max_by(|a, b| rate(*a).total_cmp(&rate(*b)))?, item))
            })
            .collect();
        led.sort_unstable_by(|a, b| rate(b.0).total_cmp(&rate(a.0)).then(a.cmp(b)));
        led.dedup();
        let mut lanes = HashMap::default();
        for (rank, group) in led.chunk_by(|a, b| a.0 == b.0).enumerate() {
            let lane = if rank < OWN_LANES {
                rank
            } else {
                OWN_LANES + rank % (LaneSet::BITS as usize - OWN_LANES)
            };
            for (_, item) in group {
                lanes.insert(*item, lane as u8);
                for probe in &self.items[*item].probes {
                    stage.lanes.add(lane as u8, &self.probes[*probe as usize]);
                }
            }
        }
        lanes
    }

    /// Groups the anchors that have words in common; gives the group of each probe.
    fn add_groups(
        &self,
        mut of_probes: Vec<(u32, u32)>,
        calls: &[Vec<Call>],
        stage: &mut Stage,
    ) -> Vec<u16> {
        of_probes.sort_unstable();
        let mut numbers: HashMap<Vec<u32>, u16, FixedState> = HashMap::default();
        let mut groups = vec![NO_ANCHOR; self.probes.len()];
        for of_probe in of_probes.chunk_by(|a, b| a.0 == b.0) {
            let anchors: Vec<u32> = of_probe.iter().map(|(_, anchor)| *anchor).collect();
            let next = numbers.len() as u16;
            let number = *numbers.entry(anchors).or_insert(next);
            if number == next {
                let start = stage.calls.len();
                let calls = of_probe.iter().map(|(_, at)| &calls[*at as usize]);
                stage.calls.extend(calls.flatten());
                let calls = &stage.calls[start..];
                let asking = || calls.iter().filter(|call| call.places != 0);
                stage.groups.push(Group {
                    calls: (start as u32, stage.calls.len() as u32),
                    places: asking().fold(0, |all, call| all | call.places),
                    lanes: asking().fold(0, |all, call| all | 1 << call.lane),
                    nobody: asking().count() < calls.len(),
                });
            }
            groups[of_probe[0].0 as usize] = number;
        }
        groups
    }
}

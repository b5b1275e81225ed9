//! Which windows of a rule are evaluated, and which are passed over.

use super::{Job, Range, Run, RunOptions};
use crate::catalog::{Rule, Span};
use crate::detect::late::{Grid, Touched};
use crate::detect::record::Gap;
use crate::error::Result;

impl Job<'_> {
    /// The last instant of its windows that is not after a time.
    pub(super) fn floor(&self, time: i64) -> i64 {
        let every = self.file.rule.every.0;
        time.div_euclid(every) * every
    }

    /// Decides which windows are evaluated. `touched` are those to evaluate again.
    pub(super) fn choose(
        &mut self,
        options: &RunOptions,
        extent: Option<(i64, i64)>,
        early: bool,
        horizon: Span,
        touched: Touched,
    ) {
        let rule = &self.file.rule;
        let every = rule.every.0;
        let floor = |time: i64| time.div_euclid(every) * every;
        if options.range != Range::SinceLast {
            self.ends = instants(rule, options.range, extent);
            // Windows beyond a hole are no progress: what is in the hole is still to come.
            let is_next = |first: i64, last: i64| first - every <= last;
            if let (Some(first), Some(last)) = (self.ends.first(), self.ends.last())
                && self
                    .progress
                    .last
                    .is_some_and(|known| is_next(*first, known))
            {
                self.next.last = self.progress.last.max(Some((*last).min(self.closed)));
            }
            // Nor has it seen what came late for others.
            self.next.versions = self.progress.versions.clone();
            self.next.signals = self.progress.signals.clone();
            return;
        }
        let Some((first_event, last_event)) = extent else {
            return;
        };
        let mut ends = touched.ends;
        let oldest_event = floor(first_event) + every;
        if let Some(last) = self.progress.last {
            // Views read beyond the ends of a window, so rows touch windows that end before any row.
            ends.retain(|end| *end >= oldest_event);
            let mut beyond = touched.beyond;
            // Rows older than all there were: between them and the others are windows that nobody has looked at.
            if let Some(first) = self.progress.first.filter(|first| oldest_event < *first) {
                let kept = floor(last - horizon.0);
                ends.extend(ends_between(
                    every,
                    (oldest_event - every).max(kept),
                    first - every,
                ));
                if oldest_event <= kept {
                    let hole = (oldest_event, kept.min(first - every));
                    beyond.retain(|(_, to)| *to > hole.1);
                    beyond.insert(0, hole);
                }
            }
            self.again = ends.len();
            let mut dropped = touched.dropped;
            self.gaps.extend(beyond.into_iter().map(|ends| Gap {
                ends,
                reason: format!("rows came later than {horizon} after their time"),
                late_dropped: std::mem::take(&mut dropped),
            }));
        }
        let begin = options
            .begin
            .map_or(first_event, |begin| begin.max(first_event));
        let mut after = self.progress.last.unwrap_or(begin);
        let oldest = floor(self.closed.saturating_sub(options.max_catchup.0));
        if self.progress.last.is_some_and(|last| last < oldest) {
            self.gaps.push(Gap {
                ends: (after + every, oldest),
                reason: format!("no run for more than {}", options.max_catchup),
                late_dropped: 0,
            });
            after = oldest;
        }
        let until = if early {
            floor(last_event)
        } else {
            self.closed
        };
        ends.extend(ends_between(every, after, until));
        let is_own = |end: &i64| options.begin.is_none_or(|begin| *end > begin);
        self.ends = ends.into_iter().filter(is_own).collect();
        let reached = self.closed.max(floor(begin));
        self.next.last = self.progress.last.max(Some(reached));
        self.next.first = Some(
            self.progress
                .first
                .map_or(oldest_event, |first| first.min(oldest_event)),
        );
    }

    /// What rows ask for that came since this rule last ran.
    pub(super) fn touched(
        &self,
        run: &Run<'_>,
        last: i64,
        margin: i64,
        horizon: Span,
    ) -> Result<Touched> {
        let rule = &self.file.rule;
        let grid = Grid {
            every: rule.every.0,
            window: rule.window.0,
            reach: reach(rule),
            margin,
            last,
            horizon: horizon.0,
        };
        let mut times = Vec::new();
        for (table, version) in &self.next.versions {
            // A table that was not there is new from its first version on.
            let seen = self.progress.versions.get(table).copied().unwrap_or(0);
            if seen == *version {
                continue;
            }
            match run.arrivals.since(run.store, *table, seen, last + margin)? {
                Some(arrived) => times.extend_from_slice(&arrived),
                None => return Ok(grid.all()),
            }
        }
        Ok(grid.touched(&times))
    }
}

/// How far before the end of a window a rule reads.
pub(super) fn reach(rule: &Rule) -> i64 {
    rule.window.0 + rule.baseline.map_or(0, |baseline| baseline.0)
}

/// The instants after one time and not after another: multiples of `every` since the epoch.
fn ends_between(every: i64, after: i64, until: i64) -> impl Iterator<Item = i64> {
    let (after, until) = (after.div_euclid(every), until.div_euclid(every));
    (after + 1..=until.max(after)).map(move |n| n * every)
}

/// The instants of an explicit range: multiples of `every` since the epoch, so that any two machines agree.
pub fn instants(rule: &Rule, range: Range, extent: Option<(i64, i64)>) -> Vec<i64> {
    let every = rule.every.0;
    let (after, until) = match (range, extent) {
        (Range::At(time), _) => return vec![time.div_euclid(every) * every],
        (Range::Between(Some(from), Some(to)), _) => (from, to),
        (_, None) => return Vec::new(),
        (Range::Between(from, to), Some((first, last))) => {
            (from.unwrap_or(first), to.unwrap_or(last))
        }
        (Range::SinceLast, Some((first, last))) => (first, last),
    };
    ends_between(every, after, until).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Pack;

    const MINUTE: i64 = 60_000_000;

    fn ends(range: Range, extent: Option<(i64, i64)>) -> Vec<i64> {
        let pack = Pack::embedded();
        let file = pack.rule("token-burn").expect("ships");
        instants(&file.rule, range, extent)
            .into_iter()
            .map(|end| end / MINUTE)
            .collect()
    }

    #[test]
    fn instants_are_multiples_of_every_whatever_the_range() {
        let extent = Some((61 * MINUTE, 83 * MINUTE));
        assert_eq!(ends(Range::SinceLast, extent), [65, 70, 75, 80]);
        assert_eq!(ends(Range::At(79 * MINUTE), extent), [75]);
        let between = Range::Between(Some(70 * MINUTE), Some(80 * MINUTE));
        assert_eq!(ends(between, extent), [75, 80]);
        assert_eq!(ends(Range::SinceLast, None), [0; 0]);
    }

    #[test]
    fn adjacent_ranges_share_no_instant_and_miss_none() {
        let whole = ends(Range::Between(Some(0), Some(600 * MINUTE)), None);
        let mut parts = ends(Range::Between(Some(0), Some(303 * MINUTE)), None);
        let rest = Range::Between(Some(303 * MINUTE), Some(600 * MINUTE));
        parts.extend(ends(rest, None));
        assert_eq!(parts, whole);
    }
}

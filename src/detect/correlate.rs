//! Which windows of a correlation are evaluated, and over what.
//!
//! A correlation follows its signals: its windows close when theirs have, and are evaluated again when one of theirs
//! comes to something else. What has changed is seen by comparing what the correlation saw (it remembers how many runs
//! of each signal) with what there is now, window by window; so a signal that comes late, is revised, or is taken back
//! is never missed, however old it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::prelude::SessionContext;

use super::clock::signal_name;
use super::evaluate::{Evaluated, Prepared, Window};
use super::late::Touched;
use super::settle::same_answer;
use super::signals::{self, Fresh, Heard, Left};
use super::stored::{self, Progress, StoredWindow};
use crate::catalog::{Correlation, LinkedSignal, ParamValue, Required, RuleFile, SIGNALS, State};
use crate::error::Result;
use crate::session::{self, SessionOptions};

/// How far the signals of a correlation have come.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// First and last instant that they can tell of.
    pub(super) extent: Option<(i64, i64)>,
    /// End of the last window that is closed for each of them.
    pub(super) closed: Option<i64>,
    /// How many runs of each there were.
    pub(super) runs: BTreeMap<String, i64>,
}

impl Standing {
    /// Looks at the signals, in this run and before.
    pub(super) async fn of(
        context: &SessionContext,
        transactions: &HashMap<String, i64>,
        file: &RuleFile,
        fresh: &Fresh,
    ) -> Result<Standing> {
        let mut standing = Standing::default();
        for signal in &file.signals {
            let rule = &signal.rule;
            let left = fresh.of(rule);
            let progress = match left {
                Some(left) => left.progress.clone(),
                None => Progress::read(transactions, rule),
            };
            let evaluated = left.map_or(&[][..], |left| &left.evaluated);
            if progress.runs == 0 && evaluated.is_empty() {
                continue;
            }
            standing.runs.insert(signal_name(rule), progress.runs);
            // Windows that are still open may have been evaluated as well, and those of a range that is no progress.
            let latest = match evaluated.last() {
                Some(evaluated) => Some(evaluated.window.end),
                None => stored::latest(context, rule).await?,
            };
            let latest = latest.max(progress.last);
            let earliest = evaluated.first().map(|evaluated| evaluated.window.end);
            let first = [progress.first, earliest.or(latest)].into_iter().flatten();
            let first = first.min().map(|end| end - rule.window.0);
            let closed = left.and_then(|left| {
                let closed = evaluated.iter().rev().map(|it| it.window.end);
                closed.into_iter().find(|end| *end <= left.closed)
            });
            if let (Some(first), Some(latest)) = (first, latest) {
                let known = standing.extent.unwrap_or((first, latest));
                standing.extent = Some((known.0.min(first), known.1.max(latest)));
            }
            if let Some(last) = progress.last.max(closed) {
                standing.closed = Some(standing.closed.map_or(last, |closed| closed.min(last)));
            }
        }
        Ok(standing)
    }
}

/// How far back a signal that is late by what rules allow can change a correlation.
pub(super) fn horizon(file: &RuleFile, default: i64) -> i64 {
    let of = |signal: &LinkedSignal| {
        let horizon = signal.rule.late_horizon.map_or(default, |span| span.0);
        horizon + signal.rule.window.0
    };
    file.signals.iter().map(of).max().unwrap_or(default)
}

/// The windows up to the last one that was closed whose signals have changed since.
pub(super) async fn touched(
    context: &SessionContext,
    file: &RuleFile,
    fresh: &Fresh,
    progress: &Progress,
    standing: &Standing,
) -> Result<Touched> {
    let Some(last) = progress.last else {
        return Ok(Touched::default());
    };
    let mut grid = Ends {
        every: file.rule.every.0,
        window: file.rule.window.0,
        last,
        ends: BTreeSet::new(),
    };
    for signal in &file.signals {
        let name = signal_name(&signal.rule);
        // A new version was never heard: all that it says is news.
        let seen = progress.signals.get(&name).copied().unwrap_or(0);
        if standing.runs.get(&name).is_some_and(|runs| *runs > seen) {
            let left = fresh.of(&signal.rule);
            changed(context, signal, left, seen, &mut grid).await?;
        }
    }
    Ok(Touched {
        ends: grid.ends,
        ..Touched::default()
    })
}

/// Windows of a correlation that something touches.
struct Ends {
    every: i64,
    window: i64,
    last: i64,
    ends: BTreeSet<i64>,
}

impl Ends {
    /// Those that hold an instant of a range, both ends included.
    fn touch(&mut self, from: i64, to: i64) {
        self.end_between(
            from.div_euclid(self.every) * self.every + self.every,
            to + self.window,
        );
    }

    /// Those that end in a range, both ends included.
    fn end_between(&mut self, from: i64, to: i64) {
        let mut end = (from + self.every - 1).div_euclid(self.every) * self.every;
        while end <= to.min(self.last) {
            self.ends.insert(end);
            end += self.every;
        }
    }
}

/// Touches what hangs on windows of a signal that came to something else since a correlation saw them.
async fn changed(
    context: &SessionContext,
    signal: &LinkedSignal,
    left: Option<&Left>,
    seen: i64,
    grid: &mut Ends,
) -> Result<()> {
    let rule = &signal.rule;
    let fresh = left.map_or(&[][..], |left| &left.evaluated);
    let range = fresh.first().zip(fresh.last());
    let range = range.map(|(first, last)| (first.window.end, last.window.end));
    let mut before: BTreeMap<i64, StoredWindow> = BTreeMap::new();
    let mut now: BTreeMap<i64, StoredWindow> = BTreeMap::new();
    for row in stored::revisions(context, rule, seen, range).await? {
        if row.run <= seen {
            before.insert(row.window.end, row.clone());
        }
        now.insert(row.window.end, row);
    }
    for evaluated in fresh {
        now.insert(evaluated.window.end, StoredWindow::of(evaluated));
    }
    let mut late = Vec::new();
    for (end, now) in &now {
        let before = before.get(end);
        let (state, found) = before.map_or((None, &[][..]), |it| (Some(it.state), &it.found));
        if state == Some(now.state) && same_answer(found, &now.found) {
            continue;
        }
        let was_covered = state.is_some_and(signals::is_covered);
        if was_covered != signals::is_covered(now.state) {
            grid.end_between(*end, end + rule.every.0 - 1);
        }
        for found in found.iter().chain(&now.found) {
            for time in signals::times(now.window, found) {
                // What had not held for long enough before is a finding with it.
                grid.touch(time - rule.hold.0, time);
            }
        }
        // Later windows belong to no finding that the correlation has named yet, but by its first windows, which stay.
        if *end <= grid.last {
            late.push(*end);
        }
    }
    // Findings that were joined or cut have other names in all of their windows.
    if let Some(first) = late.first() {
        let quiet = rule.quiet.0;
        for finding in signals::findings(context, rule, left, first - quiet).await? {
            let (begin, end) = (
                finding.episode.first_window.end - quiet,
                finding.episode.last_window.end + quiet,
            );
            if late.iter().any(|at| (begin..=end).contains(at)) {
                grid.touch(
                    finding.episode.first_window.start,
                    finding.episode.last_window.end,
                );
            }
        }
    }
    Ok(())
}

/// Evaluates a correlation at some instants, in order.
///
/// # Errors
/// When what its signals found cannot be read, or its query does not plan.
pub(super) async fn evaluate(
    store: &SessionContext,
    file: &RuleFile,
    correlation: &Correlation,
    overrides: &[(String, ParamValue)],
    fresh: &Fresh,
    ends: &[i64],
) -> Result<Vec<Evaluated>> {
    let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
        return Ok(Vec::new());
    };
    let range = Window {
        start: first - file.rule.window.0,
        end: *last,
    };
    let (context, heard) = heard_in(store, file, correlation, fresh, range).await?;
    let prepared = Prepared::new(&context, file, overrides, None).await?;
    let mut evaluated = Vec::with_capacity(ends.len());
    for end in ends {
        let mut window = prepared.evaluate(*end).await;
        if let Some(blind) = blind(correlation, &heard, *end, window.state) {
            window.state = State::NotCovered;
            window.found.clear();
            window.detail = Some(blind);
        }
        evaluated.push(window);
    }
    Ok(evaluated)
}

/// What the signals of a correlation found in a range of time, as a table, and the signals.
async fn heard_in<'f>(
    store: &SessionContext,
    file: &'f RuleFile,
    correlation: &Correlation,
    fresh: &Fresh,
    range: Window,
) -> Result<(SessionContext, Vec<Heard<'f>>)> {
    let mut heard = Vec::with_capacity(file.signals.len());
    for signal in &file.signals {
        heard.push(Heard::load(store, signal, fresh.of(&signal.rule), range).await?);
    }
    let context = session::context(&SessionOptions {
        target_partitions: Some(1),
        ..SessionOptions::default()
    })?;
    let table = signals::table(correlation, &heard, range)?;
    context.register_table(SIGNALS, Arc::new(table))?;
    Ok((context, heard))
}

/// The same of what is stored alone.
pub(super) async fn stored_context(
    store: &SessionContext,
    file: &RuleFile,
    correlation: &Correlation,
    range: Window,
) -> Result<SessionContext> {
    let heard = heard_in(store, file, correlation, &Fresh::default(), range).await?;
    Ok(heard.0)
}

/// Why a window says nothing: too few of its signals had data, or one that must be absent had none.
fn blind(correlation: &Correlation, heard: &[Heard<'_>], end: i64, state: State) -> Option<String> {
    if state == State::Error {
        return None;
    }
    let of = |alias: &str| {
        let mut rules = heard.iter().filter(|heard| heard.signal().alias == alias);
        let all = rules.clone().count();
        let covered = rules.by_ref().filter(|heard| heard.is_covered_at(end));
        (covered.count(), all)
    };
    let unseen = |alias: &String| {
        let (covered, all) = of(alias);
        covered < all
    };
    if let Some(alias) = correlation.absent.iter().find(|alias| unseen(alias)) {
        return Some(format!("nothing says that `{alias}` is absent"));
    }
    if state != State::Clear {
        return None;
    }
    let short = |what: String| Some(format!("too few signals are covered: {what}"));
    if correlation.has_query {
        let any = heard.iter().any(|heard| heard.is_covered_at(end));
        return if any { None } else { short("none is".into()) };
    }
    if let Some(alias) = correlation.order.iter().find(|alias| of(alias).0 == 0) {
        return short(format!("`{alias}` is not"));
    }
    match &correlation.required {
        Required::Signals(wanted) => {
            let absent = &correlation.absent;
            let aliases = correlation.aliases();
            let wanted_ones = aliases
                .iter()
                .filter(|alias| !absent.iter().any(|absent| absent == *alias));
            let covered = wanted_ones.filter(|alias| of(alias).0 > 0).count() as i64;
            (covered < *wanted)
                .then(|| short(format!("{covered} of {wanted}")))
                .flatten()
        }
        Required::Rules(counts) => counts.iter().find_map(|(alias, wanted)| {
            let covered = of(alias).0 as i64;
            (covered < *wanted)
                .then(|| short(format!("{covered} of {wanted} of `{alias}`")))
                .flatten()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_windows_that_read_an_instant_are_touched() {
        let touched = |from: i64, to: i64| -> Vec<i64> {
            let mut grid = Ends {
                every: 5,
                window: 20,
                last: 100,
                ends: BTreeSet::new(),
            };
            grid.touch(from, to);
            grid.ends.into_iter().collect()
        };
        // The definition, window by window: half-open, so one that ends at an instant does not hold it.
        let by_hand = |from: i64, to: i64| -> Vec<i64> {
            let ends = (0..=20).map(|n| n * 5);
            ends.filter(|end| from < *end && to >= end - 20).collect()
        };
        for (from, to) in [
            (40, 40),
            (39, 39),
            (41, 58),
            (60, 60),
            (99, 120),
            (100, 100),
        ] {
            assert_eq!(touched(from, to), by_hand(from, to), "{from} to {to}");
        }
    }
}

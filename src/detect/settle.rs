//! From what windows gave to what is stored: which answers are new, and what they do to findings.

use datafusion::prelude::SessionContext;

use super::episode::{Episode, Fold, Seen};
use super::evaluate::{Evaluated, Found};
use super::exceptions::Excepted;
use super::findings::{Change, Finding, changes, same_rows};
use super::record::Entry;
use super::stored::{self, Progress, StoredGap, StoredWindow};
use crate::catalog::{Dedup, Rule};
use crate::error::Result;

/// What windows come to, beside what was stored before.
#[derive(Debug, Default)]
pub(super) struct Settled<'e> {
    /// Windows whose answer is new.
    pub(super) entries: Vec<Entry<'e>>,
    /// What happened to findings.
    pub(super) changes: Vec<Change>,
}

/// How far back of a window findings may have been whose later events lie before it: rows that come late may shorten
/// them.
const SHORTENED: i64 = 24 * 3_600_000_000;

/// Settles what was evaluated, in the order of time. `closed` is the last window that no row is expected for any more.
pub(super) async fn settle<'e>(
    context: &SessionContext,
    rule: &Rule,
    evaluated: &'e [Evaluated],
    progress: &Progress,
    closed: i64,
    exceptions: &[Excepted],
) -> Result<Settled<'e>> {
    let (Some(first), Some(last)) = (evaluated.first(), evaluated.last()) else {
        return Ok(Settled::default());
    };
    let (first, last) = (first.window.end, last.window.end);
    let entry = |evaluated: &'e Evaluated, known: Option<&StoredWindow>| Entry {
        evaluated,
        revision: known.map_or(0, |known| known.revision) + 1,
        is_early: evaluated.window.end > closed,
    };
    if progress.runs == 0 {
        let entries = evaluated.iter().map(|window| entry(window, None)).collect();
        let mut fold = Fold::new(rule, Vec::new());
        for window in evaluated {
            let is_closed = window.window.end <= closed;
            fold.push(&Seen::of(window), is_closed);
        }
        let episodes = fold.finish();
        return Ok(Settled {
            entries,
            changes: changes(rule, Vec::new(), episodes, first, &[], exceptions),
        });
    }
    let known = stored::windows(context, rule, (first, last)).await?;
    let gaps = stored::gaps(context, rule, (first, last)).await?;
    let entries: Vec<Entry<'_>> = evaluated
        .iter()
        .map(|window| (window, known.get(&window.window.end)))
        .filter(|(window, known)| {
            let is_early = window.window.end > closed;
            // What fills a gap is stored even when it changes nothing, as the gap would seem open.
            let fills = |gap: &StoredGap| gap.is_open_at(window.window.end, *known);
            known.is_none_or(|known| known.is_early != is_early || !is_same(known, window))
                || gaps.iter().any(fills)
        })
        .map(|(window, known)| entry(window, known))
        .collect();
    let changed = |entry: &&Entry<'_>| Some(entry.evaluated.window.end) <= progress.last;
    let revised: Vec<i64> = entries
        .iter()
        .filter(changed)
        .map(|entry| entry.evaluated.window.end)
        .collect();
    let back = rule.quiet.0 + SHORTENED + rule.suppress.as_ref().map_or(0, |it| it.span.0);
    let findings = stored::findings(context, rule, first - back).await?;
    let is_at_tip = revised.is_empty()
        && findings
            .iter()
            .all(|finding| finding.episode.last_window.end < first);
    let seeds: Vec<Episode> = match is_at_tip && rule.dedup == Dedup::Episode {
        true => going(&findings),
        false => Vec::new(),
    };
    // What goes on is known by what was stored of it; what may have changed is made anew from its windows.
    let begin = match is_at_tip {
        true => seeds
            .iter()
            .map(|seed| seed.last_window.end + 1)
            .fold(first - rule.hold.0, i64::min),
        false => findings
            .iter()
            .map(|finding| finding.episode.first_window.end)
            .fold(first - rule.hold.0, i64::min),
    };
    let mut windows = stored::windows(context, rule, (begin, FOREVER)).await?;
    let mut fold = Fold::new(rule, seeds);
    let mut now = evaluated.iter().peekable();
    loop {
        // The windows stored and those evaluated, merged in the order of time; the latter hold.
        let stored = windows.first_key_value().map(|(end, _)| *end);
        match (stored, now.peek()) {
            (Some(end), Some(window)) if end < window.window.end => {
                push_stored(&mut fold, windows.remove(&end));
            }
            (_, Some(window)) => {
                windows.remove(&window.window.end);
                let is_closed = window.window.end <= closed;
                fold.push(&Seen::of(window), is_closed);
                now.next();
            }
            (Some(end), None) => push_stored(&mut fold, windows.remove(&end)),
            (None, None) => break,
        }
    }
    Ok(Settled {
        entries,
        changes: changes(rule, findings, fold.finish(), first, &revised, exceptions),
    })
}

/// A time after every window.
const FOREVER: i64 = 7_258_118_400_000_000;

fn push_stored(fold: &mut Fold<'_>, window: Option<StoredWindow>) {
    if let Some(window) = window {
        fold.push(&window.seen(), !window.is_early);
    }
}

fn going(findings: &[Finding]) -> Vec<Episode> {
    let open = findings
        .iter()
        .filter(|finding| !finding.is_retracted && finding.episode.is_open);
    open.map(|finding| finding.episode.clone()).collect()
}

/// Whether a window gave what it gave before.
fn is_same(known: &StoredWindow, now: &Evaluated) -> bool {
    known.state == now.state
        && same_answer(&known.found, &now.found)
        && same_answer(&known.frozen, &now.frozen)
}

/// Whether two windows gave the same rows, in whatever order.
pub(super) fn same_answer(known: &[Found], now: &[Found]) -> bool {
    let mut left: Vec<_> = known.iter().collect();
    known.len() == now.len()
        && now.iter().all(|found| {
            let position = left
                .iter()
                .position(|known| same_rows(&known.columns, &found.columns));
            position.map(|position| left.remove(position)).is_some()
        })
}

//! `backtest --diff`: what a rule finds now beside what it found at another revision.

use serde_json::Value;

use crate::detect::{Episode, RuleOutcome, label_span, time_text};
use crate::output;
use crate::output::escape::visible;

/// Findings of two versions of a rule.
#[derive(Debug, Default)]
pub(super) struct Diff<'o> {
    /// Only in the version that is there now.
    pub(super) added: Vec<&'o Episode>,
    /// Only in the other.
    pub(super) lost: Vec<&'o Episode>,
    /// In both, otherwise: as it was, as it is.
    pub(super) changed: Vec<(&'o Episode, &'o Episode)>,
    /// In both, the same.
    pub(super) same: usize,
}

impl<'o> Diff<'o> {
    /// Two findings are the same one when they are of one subject and their windows overlap.
    pub(super) fn of(before: &'o [Episode], now: &'o [Episode]) -> Diff<'o> {
        let mut diff = Diff::default();
        let mut left: Vec<&Episode> = before.iter().collect();
        for episode in now {
            let place = left.iter().position(|old| {
                old.entity == episode.entity
                    && old.first_window.start < episode.last_window.end
                    && episode.first_window.start < old.last_window.end
            });
            match place.map(|place| left.remove(place)) {
                None => diff.added.push(episode),
                Some(old) if told(old) == told(episode) => diff.same += 1,
                Some(old) => diff.changed.push((old, episode)),
            }
        }
        diff.lost = left;
        diff
    }

    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.lost.is_empty() && self.changed.is_empty()
    }
}

/// What a person is told of a finding. A version that returns another column has not found anything else.
fn told(episode: &Episode) -> (i64, i64, usize, Option<i64>, &str) {
    (
        episode.first_window.end,
        episode.last_window.end,
        episode.windows,
        episode.event_count,
        episode.severity.name(),
    )
}

/// Prints what differs.
pub(super) fn print(
    before: &RuleOutcome<'_>,
    now: &RuleOutcome<'_>,
    revision: &str,
    as_json: bool,
) -> crate::Result<bool> {
    let diff = Diff::of(&before.episodes, &now.episodes);
    let (old, new) = (&before.file.rule, &now.file.rule);
    if as_json {
        let list = |of: &[&Episode]| -> Vec<Value> { of.iter().map(|it| it.json()).collect() };
        let changed: Vec<Value> = diff
            .changed
            .iter()
            .map(|(old, new)| serde_json::json!({ "before": old.json(), "now": new.json() }))
            .collect();
        let object = serde_json::json!({
            "rule": new.id,
            "revision": revision,
            "version_before": old.version,
            "version": new.version,
            "states_before": before.states,
            "states": now.states,
            "same": diff.same,
            "added": list(&diff.added),
            "lost": list(&diff.lost),
            "changed": changed,
        });
        output::data(&object.to_string())?;
        return Ok(diff.is_empty());
    }
    let fired = |outcome: &RuleOutcome<'_>| outcome.states.get("fired").copied().unwrap_or(0);
    output::data(&visible(&format!(
        "{} version {} at {revision}, version {} now: {} and {} findings, {} and {} windows that fired",
        new.id,
        old.version,
        new.version,
        before.episodes.len(),
        now.episodes.len(),
        fired(before),
        fired(now),
    )))?;
    for episode in &diff.added {
        output::data(&visible(&format!("  + {}", line(episode))))?;
    }
    for episode in &diff.lost {
        output::data(&visible(&format!("  - {}", line(episode))))?;
    }
    for (old, new) in &diff.changed {
        output::data(&visible(&format!("  ~ {}", line(new))))?;
        output::data(&visible(&format!("    was {}", line(old))))?;
    }
    output::data(&format!(
        "  {} only now, {} only at {}, {} changed, {} the same",
        diff.added.len(),
        diff.lost.len(),
        visible(revision),
        diff.changed.len(),
        diff.same
    ))?;
    Ok(diff.is_empty())
}

/// A finding in a line.
pub(super) fn line(episode: &Episode) -> String {
    let (first, last) = label_span(episode);
    let events = episode
        .event_count
        .map_or(String::new(), |count| format!(", events {count}"));
    format!(
        "{} {}  {} to {}, windows {}{events}",
        episode.severity.name(),
        subject(episode),
        time_text(first),
        time_text(last),
        episode.windows
    )
}

pub(super) fn subject(episode: &Episode) -> String {
    let values = episode.entity.iter().map(|(name, value)| {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_string);
        format!("{name}={text}")
    });
    values.collect::<Vec<_>>().join(" ")
}

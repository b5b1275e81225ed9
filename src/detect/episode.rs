//! Episodes: consecutive firing windows of one rule and entity are one finding.
//!
//! A hop window sees every fact as many times as it hops over it. What a person wants is one line with a beginning
//! and an end. An episode ends when its entity has been clear for the rule's `quiet` time.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::evaluate::{Evaluated, Found, Window};
use crate::catalog::{Dedup, Rule, Severity};

/// One finding as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// The rule.
    pub rule_id: String,
    /// Its version.
    pub rule_version: i64,
    /// Title of its worst window.
    pub title: String,
    /// The worst of its windows.
    pub severity: Severity,
    /// The subject.
    pub entity: Map<String, Value>,
    /// First instant of the first window that fired.
    pub first_window: Window,
    /// The last window that fired.
    pub last_window: Window,
    /// Windows that fired.
    pub windows: usize,
    /// Most events of any window.
    pub event_count: Option<i64>,
    /// First contributing event of any window.
    pub first_seen: Option<i64>,
    /// Last contributing event of any window.
    pub last_seen: Option<i64>,
    /// Highest score of any window.
    pub score: Option<f64>,
    /// What the window with the most events returned.
    pub evidence: Map<String, Value>,
}

/// Joins what a rule found in windows, given in the order of time, into episodes, in the order of their beginning.
pub fn episodes(rule: &Rule, evaluated: &[Evaluated]) -> Vec<Episode> {
    let mut closed = Vec::new();
    let mut open: BTreeMap<String, Episode> = BTreeMap::new();
    for evaluation in evaluated {
        for (row, found) in evaluation.found.iter().enumerate() {
            let key = match rule.dedup {
                Dedup::Episode => Value::Object(found.entity.clone()).to_string(),
                Dedup::Window => format!(
                    "{} {}",
                    Value::Object(found.entity.clone()),
                    evaluation.window.end
                ),
                Dedup::Row => format!("{} {row}", evaluation.window.end),
            };
            match open.get_mut(&key) {
                Some(episode)
                    if evaluation.window.end - episode.last_window.end <= rule.quiet.0 =>
                {
                    episode.extend(evaluation.window, found)
                }
                _ => {
                    closed.extend(open.insert(key, Episode::begin(rule, evaluation.window, found)))
                }
            }
        }
    }
    closed.extend(open.into_values());
    closed.sort_by(|a, b| {
        (
            a.first_window,
            a.entity.values().map(Value::to_string).collect::<Vec<_>>(),
        )
            .cmp(&(
                b.first_window,
                b.entity.values().map(Value::to_string).collect(),
            ))
    });
    closed
}

impl Episode {
    fn begin(rule: &Rule, window: Window, found: &Found) -> Episode {
        Episode {
            rule_id: rule.id.clone(),
            rule_version: rule.version,
            title: found.title.clone(),
            severity: found.severity,
            entity: found.entity.clone(),
            first_window: window,
            last_window: window,
            windows: 1,
            event_count: found.event_count,
            first_seen: found.first_seen,
            last_seen: found.last_seen,
            score: found.score,
            evidence: found.columns.clone(),
        }
    }

    fn extend(&mut self, window: Window, found: &Found) {
        // Two rows of one entity in one window are still one window.
        self.windows += usize::from(self.last_window != window);
        self.last_window = window;
        if found.severity > self.severity {
            self.severity = found.severity;
            self.title.clone_from(&found.title);
        }
        if found.event_count > self.event_count {
            self.evidence.clone_from(&found.columns);
            self.event_count = found.event_count;
        }
        self.first_seen = [self.first_seen, found.first_seen]
            .into_iter()
            .flatten()
            .min();
        self.last_seen = self.last_seen.max(found.last_seen);
        self.score = match (self.score, found.score) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
    }

    /// As one JSON object: a line of the machine-readable output.
    pub fn json(&self) -> Value {
        let time = |micros: i64| Value::from(super::time_text(micros));
        serde_json::json!({
            "rule": self.rule_id,
            "version": self.rule_version,
            "severity": self.severity.name(),
            "title": self.title,
            "entity": self.entity,
            "first_window_start": time(self.first_window.start),
            "last_window_end": time(self.last_window.end),
            "windows": self.windows,
            "event_count": self.event_count,
            "first_seen": self.first_seen.map(time),
            "last_seen": self.last_seen.map(time),
            "score": self.score,
            "evidence": self.evidence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Pack, State};
    use std::time::Duration;

    fn rule() -> Rule {
        Pack::embedded()
            .rule("token-burn")
            .expect("ships")
            .rule
            .clone()
    }

    /// One window for each number of minutes, firing for `caller` with `count` events.
    fn fired(minutes: i64, caller: &str, count: i64) -> Evaluated {
        let end = minutes * 60_000_000;
        let entity: Map<String, Value> = [("caller".to_string(), Value::from(caller))]
            .into_iter()
            .collect();
        Evaluated {
            window: Window {
                start: end - 3_600_000_000,
                end,
            },
            state: State::Fired,
            found: vec![Found {
                columns: entity.clone(),
                entity,
                title: "t".into(),
                severity: Severity::High,
                event_count: Some(count),
                first_seen: Some(end - count),
                last_seen: Some(end - 1),
                score: Some(count as f64),
            }],
            detail: None,
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn twelve_overlapping_windows_are_one_episode() {
        let windows: Vec<_> = (0..12)
            .map(|n| fired(60 + 5 * n, "a", 10 + (n % 3)))
            .collect();
        let episodes = episodes(&rule(), &windows);
        assert_eq!(episodes.len(), 1);
        let episode = &episodes[0];
        assert_eq!(
            (episode.windows, episode.event_count, episode.score),
            (12, Some(12), Some(12.0))
        );
        assert_eq!(
            (episode.first_window, episode.last_window),
            (windows[0].window, windows[11].window)
        );
        assert_eq!(episode.first_seen, Some(60 * 60_000_000 - 10));
        assert_eq!(episode.last_seen, Some(115 * 60_000_000 - 1));
    }

    #[test]
    fn an_entity_that_was_quiet_long_enough_begins_a_new_episode() {
        // `quiet` is twice the window of one hour: 120 minutes apart is still the same, 125 is not.
        let same = [fired(60, "a", 1), fired(180, "a", 1)];
        assert_eq!(episodes(&rule(), &same).len(), 1);
        let new = [fired(60, "a", 1), fired(185, "a", 1)];
        assert_eq!(episodes(&rule(), &new).len(), 2);
    }

    #[test]
    fn entities_do_not_mix() {
        assert_eq!(
            episodes(&rule(), &[fired(60, "a", 1), fired(65, "b", 1)]).len(),
            2
        );
    }
}

//! Episodes: consecutive firing windows of one rule and entity are one finding.
//!
//! A hop window sees every fact as many times as it hops over it. What a person wants is one line with a beginning
//! and an end. An episode ends when its entity has been clear for the rule's `quiet` time, on windows that could have
//! shown it: a window without data ends nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::evaluate::{Evaluated, Found, Window};
use crate::catalog::{Dedup, Rule, Severity, State};

/// One finding as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// The rule.
    pub rule_id: String,
    /// Its version.
    pub rule_version: i64,
    /// Title of its worst window.
    pub title: String,
    /// The worst of its windows, or what it has become by lasting.
    pub severity: Severity,
    /// The subject.
    pub entity: Map<String, Value>,
    /// First window that fired.
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
    /// Whether it may still go on.
    pub is_open: bool,
}

/// Joins what a rule found in windows, given in the order of time, into episodes, in the order of their beginning.
pub fn episodes(rule: &Rule, evaluated: &[Evaluated]) -> Vec<Episode> {
    let mut fold = Fold::new(rule, Vec::new());
    for evaluation in evaluated {
        fold.push(&Seen::of(evaluation), true);
    }
    fold.finish()
}

/// What a window came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'w> {
    pub(super) window: Window,
    pub(super) state: State,
    pub(super) found: &'w [Found],
    /// Of whom it says nothing.
    pub(super) frozen: &'w [Found],
}

impl Seen<'_> {
    /// A window that was evaluated.
    pub(super) fn of(evaluated: &Evaluated) -> Seen<'_> {
        Seen {
            window: evaluated.window,
            state: evaluated.state,
            found: &evaluated.found,
            frozen: &evaluated.frozen,
        }
    }
}

/// Windows in, one after the other; episodes out.
pub(super) struct Fold<'r> {
    rule: &'r Rule,
    going: BTreeMap<String, Going>,
    done: Vec<Episode>,
}

/// An episode that has not ended.
struct Going {
    episode: Episode,
    /// Windows since it last fired that would have shown it.
    clear: i64,
    /// Whether it has fired for as long as the rule's `for`; until then it is no finding.
    is_held: bool,
}

impl<'r> Fold<'r> {
    /// Begins with episodes that went on when what follows begins.
    pub(super) fn new(rule: &'r Rule, seeds: Vec<Episode>) -> Fold<'r> {
        let going = seeds.into_iter().map(|episode| {
            let key = Value::Object(episode.entity.clone()).to_string();
            let going = Going {
                episode,
                clear: 0,
                is_held: true,
            };
            (key, going)
        });
        Fold {
            rule,
            going: going.collect(),
            done: Vec::new(),
        }
    }

    /// Takes the next window. One that has not closed may yet show what it does not show now.
    pub(super) fn push(&mut self, seen: &Seen<'_>, is_closed: bool) {
        let Seen {
            window,
            state,
            found,
            frozen,
        } = *seen;
        let rule = self.rule;
        for (row, found) in found.iter().enumerate() {
            let key = match rule.dedup {
                Dedup::Episode => Value::Object(found.entity.clone()).to_string(),
                Dedup::Window => format!("{} {}", Value::Object(found.entity.clone()), window.end),
                Dedup::Row => format!("{} {row}", window.end),
            };
            match self.going.get_mut(&key) {
                // A window that is part of it already.
                Some(going) if window.end < going.episode.last_window.end => continue,
                Some(going) => {
                    going.episode.extend(window, found);
                    going.clear = 0;
                }
                None => {
                    let going = Going {
                        episode: Episode::begin(rule, window, found),
                        clear: 0,
                        is_held: false,
                    };
                    self.going.insert(key.clone(), going);
                }
            }
            let going = self.going.get_mut(&key).expect("put there above");
            let episode = &mut going.episode;
            let lasted = episode.last_window.end - episode.first_window.end;
            going.is_held |= lasted >= rule.hold.0;
            if let Some(escalate) = rule.escalate
                && lasted >= escalate.after.0
                && !found.has_severity
            {
                episode.severity = episode.severity.max(escalate.to);
            }
        }
        let tells_of_others = state == State::Frozen && !frozen.is_empty();
        if !is_closed || !(matches!(state, State::Fired | State::Clear) || tells_of_others) {
            return;
        }
        // One that was not seen here, on data that would have shown it, is a step nearer to its end.
        let mut ended = Vec::new();
        for (key, going) in &mut self.going {
            if window.end <= going.episode.last_window.end && rule.dedup == Dedup::Episode {
                continue;
            }
            // Too little of its data is there: that is not to be clear.
            let is_frozen = frozen.iter().any(|row| row.entity == going.episode.entity);
            if is_frozen && rule.dedup == Dedup::Episode {
                continue;
            }
            going.clear += 1;
            if !going.is_held
                || going.clear * rule.every.0 >= rule.quiet.0
                || rule.dedup != Dedup::Episode
            {
                ended.push(key.clone());
            }
        }
        for key in ended {
            if let Some(mut going) = self.going.remove(&key)
                && going.is_held
            {
                going.episode.is_open = false;
                self.done.push(going.episode);
            }
        }
    }

    /// What there is, in the order of its beginning.
    pub(super) fn finish(self) -> Vec<Episode> {
        let mut episodes = self.done;
        let may_go_on = self.rule.dedup == Dedup::Episode;
        let going = self.going.into_values().filter(|going| going.is_held);
        episodes.extend(going.map(|mut going| {
            going.episode.is_open = may_go_on;
            going.episode
        }));
        episodes.sort_by_cached_key(|episode| {
            let entity: Vec<String> = episode.entity.values().map(Value::to_string).collect();
            (episode.first_window, entity)
        });
        episodes
    }
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
            is_open: true,
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
    use crate::catalog::{Escalate, Pack, Span};
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
                has_severity: false,
            }],
            frozen: Vec::new(),
            detail: None,
            elapsed: Duration::ZERO,
        }
    }

    /// A window without findings.
    fn nothing(minutes: i64, state: State) -> Evaluated {
        Evaluated {
            state,
            found: Vec::new(),
            ..fired(minutes, "", 0)
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
        let apart = |minutes: i64, state: State| {
            let mut windows = vec![fired(60, "a", 1)];
            windows.extend((1..minutes / 5).map(|n| nothing(60 + 5 * n, state)));
            windows.push(fired(60 + minutes, "a", 1));
            episodes(&rule(), &windows).len()
        };
        assert_eq!(apart(120, State::Clear), 1);
        assert_eq!(apart(125, State::Clear), 2);
        // Where nothing could be seen, nothing was clear.
        assert_eq!(apart(600, State::NotCovered), 1);
        assert_eq!(apart(600, State::Learning), 1);
    }

    #[test]
    fn who_is_frozen_is_not_clear_whatever_others_are() {
        // `quiet` is 120 minutes; `a` and `b` fire once, then `c` fires for 125 minutes.
        let windows = |frozen: bool| {
            let mut windows = vec![fired(60, "a", 1)];
            windows[0].found.extend(fired(60, "b", 1).found);
            windows.extend((1..=25).map(|n| {
                let mut window = fired(60 + 5 * n, "c", 1);
                if frozen {
                    window.frozen = fired(60, "a", 1).found;
                }
                window
            }));
            windows
        };
        let open = |windows: &[Evaluated]| -> Vec<String> {
            let episodes = episodes(&rule(), windows);
            let open = episodes.iter().filter(|episode| episode.is_open);
            open.map(|episode| episode.entity["caller"].to_string())
                .collect()
        };
        assert_eq!(open(&windows(false)), ["\"c\""]);
        assert_eq!(open(&windows(true)), ["\"a\"", "\"c\""]);
        // Nobody fires, and `a` is frozen: `b` is clear all the same.
        let mut quiet = windows(true);
        for window in &mut quiet[1..] {
            window.found.clear();
            window.state = State::Frozen;
        }
        assert_eq!(open(&quiet), ["\"a\""]);
    }

    #[test]
    fn an_episode_is_a_finding_once_it_has_held() {
        let held = |windows: &[Evaluated]| {
            let rule = Rule {
                hold: Span::minutes(10),
                ..rule()
            };
            episodes(&rule, windows).len()
        };
        assert_eq!(held(&[fired(60, "a", 1), fired(65, "a", 1)]), 0);
        assert_eq!(
            held(&[fired(60, "a", 1), fired(65, "a", 1), fired(70, "a", 1)]),
            1
        );
        let broken = [
            fired(60, "a", 1),
            nothing(65, State::Clear),
            fired(70, "a", 1),
            fired(75, "a", 1),
        ];
        assert_eq!(held(&broken), 0);
    }

    #[test]
    fn what_lasts_becomes_worse() {
        let rule = Rule {
            severity: Severity::Low,
            escalate: Some(Escalate {
                after: Span::minutes(30),
                to: Severity::Critical,
            }),
            ..rule()
        };
        let lasting = |minutes: i64| {
            let windows: Vec<_> = (0..=minutes / 5)
                .map(|n| {
                    let mut window = fired(60 + 5 * n, "a", 1);
                    window.found[0].severity = Severity::Low;
                    window
                })
                .collect();
            episodes(&rule, &windows)[0].severity
        };
        assert_eq!(lasting(25), Severity::Low);
        assert_eq!(lasting(30), Severity::Critical);
    }

    /// Windows in two halves, the second on top of what the first left.
    #[test]
    fn an_episode_goes_on_over_a_break_of_the_run() {
        let windows: Vec<_> = (0..20)
            .map(|n| match n % 3 {
                0 => fired(60 + 5 * n, "a", 1 + n),
                _ => nothing(60 + 5 * n, State::Clear),
            })
            .collect();
        let whole = episodes(&rule(), &windows);
        for at in 1..20 {
            let mut seeds = episodes(&rule(), &windows[..at]);
            seeds.retain(|seed| seed.is_open);
            let rule = rule();
            let since = seeds.iter().map(|seed| seed.last_window.end).min();
            let mut fold = Fold::new(&rule, seeds);
            for window in &windows {
                if Some(window.window.end) > since {
                    fold.push(&Seen::of(window), true);
                }
            }
            assert_eq!(fold.finish(), whole, "{at}");
        }
    }

    #[test]
    fn entities_do_not_mix() {
        assert_eq!(
            episodes(&rule(), &[fired(60, "a", 1), fired(65, "b", 1)]).len(),
            2
        );
    }
}

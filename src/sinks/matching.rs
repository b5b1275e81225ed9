//! Which findings a route, a silence or a maintenance window is about, and when.

use std::collections::BTreeMap;

use super::finding::{Told, plain};
use crate::catalog::{Severity, Span};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A text in which `*` stands for any characters and `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// From its text.
    pub fn new(text: impl Into<String>) -> Pattern {
        Pattern(text.into())
    }

    /// Whether a text is as it says, as a whole.
    pub fn matches(&self, text: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let text: Vec<char> = text.chars().collect();
        let (mut p, mut t) = (0, 0);
        // Where the last star was, and how far it had reached: it takes one more when what follows fails.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => match star {
                    Some((at, reached)) => {
                        star = Some((at, reached + 1));
                        p = at + 1;
                        t = reached + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

/// What must hold of a finding; what is not said holds of all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matcher {
    /// At least as severe.
    pub severity: Option<Severity>,
    /// At most as severe.
    pub up_to: Option<Severity>,
    /// One of these rules.
    pub rules: Vec<Pattern>,
    /// One of these tags.
    pub tags: Vec<String>,
    /// These columns of the entity.
    pub entity: BTreeMap<String, Pattern>,
}

impl Matcher {
    /// Whether it holds.
    pub fn matches(&self, told: &Told) -> bool {
        self.severity.is_none_or(|least| told.severity >= least)
            && self.up_to.is_none_or(|most| told.severity <= most)
            && (self.rules.is_empty() || self.rules.iter().any(|rule| rule.matches(&told.rule)))
            && (self.tags.is_empty() || self.tags.iter().any(|tag| told.tags.contains(tag)))
            && self.entity.iter().all(|(column, pattern)| {
                let value = told.entity.get(column);
                value.is_some_and(|value| pattern.matches(&plain(value)))
            })
    }
}

/// What nobody is told of until an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Silence {
    /// What.
    pub matcher: Matcher,
    /// By which sinks; by all, when none is named.
    pub sinks: Vec<String>,
    /// Until when.
    pub until: i64,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Its line in the file.
    pub line: usize,
}

/// Planned work, whose findings are held back while it lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Maintenance {
    /// Of what.
    pub matcher: Matcher,
    /// By which sinks; by all, when none is named.
    pub sinks: Vec<String>,
    /// When.
    pub days: Days,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
}

/// When a maintenance window is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Days {
    /// From an instant until another.
    Once(i64, i64),
    /// On days of the week, from a time of day in UTC, for some time.
    Weekly {
        /// The days, Monday is 0.
        days: Vec<i64>,
        /// Microseconds after midnight.
        start: i64,
        /// How long.
        lasts: i64,
    },
}

const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Days {
    /// From what the settings say.
    pub(super) fn weekly(days: &[String], start: &str, lasts: Span) -> Result<Days, String> {
        let days = days.iter().map(|day| {
            let place = WEEK.iter().position(|known| known == day);
            place
                .map(|place| place as i64)
                .ok_or_else(|| format!("`{day}` is no day: one of {}", WEEK.join(", ")))
        });
        let time = chrono::NaiveTime::parse_from_str(start, "%H:%M")
            .map_err(|_| format!("`{start}` is no time of day in UTC, such as \"02:30\""))?;
        if lasts.0 == 0 || lasts.0 > 7 * DAY {
            return Err("`lasts` is longer than nothing and at most seven days".into());
        }
        let start = time.signed_duration_since(chrono::NaiveTime::MIN);
        Ok(Days::Weekly {
            days: days.collect::<Result<_, _>>()?,
            start: start.num_seconds() * SECOND,
            lasts: lasts.0,
        })
    }

    /// When the window ends in which an instant lies.
    pub fn end(&self, now: i64) -> Option<i64> {
        match self {
            Days::Once(from, until) => (*from <= now && now < *until).then_some(*until),
            Days::Weekly { days, start, lasts } => {
                let today = now.div_euclid(DAY);
                (0..=7)
                    .filter_map(|back| {
                        let day = today - back;
                        // 1970 began on a Thursday.
                        let is_on = days.contains(&(day + 3).rem_euclid(7));
                        let begin = day * DAY + start;
                        (is_on && begin <= now && now < begin + lasts).then_some(begin + lasts)
                    })
                    .max()
            }
        }
    }
}

/// Until when a sink does not tell a finding, and why.
pub(super) fn held(
    silences: &[Silence],
    maintenance: &[Maintenance],
    sink: &str,
    told: &Told,
    now: i64,
) -> Option<(i64, String)> {
    let concerns = |sinks: &[String]| sinks.is_empty() || sinks.iter().any(|name| name == sink);
    let silences = silences
        .iter()
        .filter(|silence| silence.until > now && concerns(&silence.sinks))
        .filter(|silence| silence.matcher.matches(told))
        .map(|silence| (silence.until, format!("silence: {}", silence.reason)));
    let windows = maintenance
        .iter()
        .filter(|window| concerns(&window.sinks) && window.matcher.matches(told))
        .filter_map(|window| {
            let end = window.days.end(now)?;
            Some((end, format!("maintenance: {}", window.reason)))
        });
    silences.chain(windows).max_by_key(|(until, _)| *until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_whole() {
        for (pattern, text, expected) in [
            ("prompt-*", "prompt-injection-hourly", true),
            ("prompt-*", "my-prompt-x", false),
            ("*-burn", "token-burn", true),
            ("*-burn", "token-burn-rate", false),
            ("t?ken-*", "token-", true),
            ("*a*b*", "xxaxxaxbx", true),
            ("*a*b", "ab-ba", false),
            ("token-burn", "token-burn", true),
            ("", "", true),
            ("", "x", false),
            ("*", "", true),
            ("ä?", "äö", true),
        ] {
            let matches = Pattern::new(pattern).matches(text);
            assert_eq!(matches, expected, "{pattern} {text}");
        }
    }

    fn at(text: &str) -> i64 {
        let time = chrono::DateTime::parse_from_rfc3339(text).expect("a time");
        time.timestamp_micros()
    }

    #[test]
    fn a_weekly_window_ends_on_its_day_or_the_next() {
        // 2026-11-21 is a Saturday.
        let days = Days::weekly(&["sat".into()], "22:00", Span::hours(4)).expect("right");
        assert_eq!(days.end(at("2026-11-21T21:59:59Z")), None);
        let end = Some(at("2026-11-22T02:00:00Z"));
        assert_eq!(days.end(at("2026-11-21T22:00:00Z")), end);
        assert_eq!(days.end(at("2026-11-22T01:59:59Z")), end);
        assert_eq!(days.end(at("2026-11-22T02:00:00Z")), None);
        assert_eq!(days.end(at("2026-11-20T23:00:00Z")), None);
    }

    #[test]
    fn wrong_days_say_so() {
        let weekly = |day: &str, start: &str, hours| {
            Days::weekly(&[day.into()], start, Span::hours(hours)).expect_err("wrong")
        };
        assert!(weekly("someday", "22:00", 1).starts_with("`someday` is no day"));
        assert!(weekly("mon", "25:00", 1).starts_with("`25:00` is no time of day"));
        assert!(weekly("mon", "22:00", 0).starts_with("`lasts`"));
    }
}

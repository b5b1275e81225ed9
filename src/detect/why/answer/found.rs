//! The rule finds the subject now: what was told of it then, and why nothing was.

use serde_json::Value;

use super::Answer;
use crate::catalog::{FROZEN, RuleKind};
use crate::detect::evaluate::Prepared;
use crate::detect::findings::Finding;
use crate::detect::json::time_text;
use crate::detect::why::Case;
use crate::detect::why::words::{self, grouped};
use crate::error::Result;

impl Case<'_> {
    /// A finding that is there: it fired, whether or not somebody was told.
    pub(super) fn told(&self, finding: &Finding) -> Option<Answer> {
        let id = &finding.id;
        if let Some(exception) = &finding.excepted {
            let until = self.question.exceptions.iter();
            let until = until.map(|it| &it.exception).find(|it| it.id == *exception);
            let until = until.map_or(String::new(), |it| {
                format!(
                    " until {} ({}: {})",
                    time_text(it.expires),
                    it.owner,
                    it.reason
                )
            });
            let sentence = format!(
                "it fired, and the exception `{exception}` keeps it silent{until}: finding {id}"
            );
            return Some(Answer::new("excepted", sentence));
        }
        if self.file.rule.kind == RuleKind::Signal {
            let sentence = format!(
                "it fired, but a rule of kind `signal` never alerts of itself: finding {id}"
            );
            return Some(Answer::new("signal", sentence));
        }
        if finding.is_suppressed {
            let span = self
                .file
                .rule
                .suppress
                .as_ref()
                .map_or_else(String::new, |it| {
                    format!(
                        " within {} of one that was told ([suppress] in the rule)",
                        it.span
                    )
                });
            let sentence =
                format!("it fired, and was not told again: the same subject{span}; finding {id}");
            return Some(Answer::new("suppressed", sentence));
        }
        // Rows or parameters may be others now; it was told all the same.
        let answer = Answer::new("fired", format!("it did fire: finding {id}"));
        Some(answer.hint(format!(
            "`inferwatch explain {id}` shows what happened to it"
        )))
    }

    /// The query returns the subject now.
    pub(super) async fn found(&self, prepared: &Prepared<'_>, is_closed: bool) -> Result<Answer> {
        let rule = &self.file.rule;
        let whole = |row: &serde_json::Map<String, Value>, name: &str| {
            row.get(name).and_then(Value::as_i64).unwrap_or(0)
        };
        let history = self.returned.iter().map(|row| whole(row, "history_count"));
        if let Some(history) = history.max().filter(|history| *history < rule.min_history) {
            let sentence = format!(
                "it is still being learnt: history_count = {}, needs {}: {} short",
                grouped(history),
                grouped(rule.min_history),
                grouped(rule.min_history - history)
            );
            return Ok(Answer::new("learning", sentence));
        }
        let is_frozen =
            |row: &serde_json::Map<String, Value>| row.get(FROZEN) == Some(&Value::Bool(true));
        if rule.kind == RuleKind::Slo && self.returned.iter().all(is_frozen) {
            let sentence = "too little of its usual data is there to say anything (`frozen`)";
            return Ok(Answer::new("frozen", sentence));
        }
        if rule.hold.0 > 0 {
            let lasted = self.lasted(prepared).await;
            if lasted < rule.hold.0 {
                let sentence = format!(
                    "it fired without a pause for {}, and `for` asks for {}: {} short",
                    words::length(lasted),
                    rule.hold,
                    words::length(rule.hold.0 - lasted)
                );
                return Ok(Answer::new("below_for", sentence));
            }
        }
        let excepted = self.question.exceptions.iter().find(|exception| {
            exception.exception.is_from(&rule.id)
                && self.window.end <= exception.exception.expires
                && exception.keys.iter().any(|key| {
                    let row = self.returned.first();
                    !key.is_empty()
                        && key
                            .iter()
                            .all(|(name, value)| row.and_then(|row| row.get(name)) == Some(value))
                })
        });
        if let Some(excepted) = excepted {
            let it = &excepted.exception;
            let sentence = format!(
                "the exception `{}` keeps it silent until {} ({}: {})",
                it.id,
                time_text(it.expires),
                it.owner,
                it.reason
            );
            return Ok(Answer::new("excepted", sentence));
        }
        Ok(self.not_told(is_closed))
    }

    /// The query returns the subject now, nothing keeps it silent, and there is no finding.
    fn not_told(&self, is_closed: bool) -> Answer {
        let rule = &self.file.rule;
        let range = format!(
            "`inferwatch run --rule {} --from {} --to {}` evaluates it",
            rule.id,
            time_text(self.window.end - rule.every.0),
            time_text(self.window.end)
        );
        if let Some((why, dropped)) = &self.standing.gap {
            let reason = if *dropped > 0 || why.contains("later than") {
                "late_dropped"
            } else {
                "gap"
            };
            let sentence =
                format!("the window was not evaluated with the rows that are there now: {why}");
            return Answer::new(reason, sentence).hint(range);
        }
        match &self.standing.stored {
            None if !is_closed => {
                let closes = time_text(self.window.end + self.standing.lateness);
                let sentence = format!(
                    "the window has not closed: it closes with an event of {closes} or later, and {}",
                    self.last_words()
                );
                let hint = "`inferwatch run --complete` closes windows with the last event, where no log is missing";
                Answer::new("not_closed", sentence).hint(hint)
            }
            None => {
                let (sentence, hint) = match self.standing.progress.last {
                    Some(last) => (
                        format!(
                            "nobody has evaluated the window: it is closed, and runs came as far as {}",
                            time_text(last)
                        ),
                        range,
                    ),
                    None => (
                        "nobody has evaluated the window: the rule never ran on this store"
                            .to_string(),
                        "`inferwatch run --once` evaluates every window that has closed"
                            .to_string(),
                    ),
                };
                Answer::new("not_evaluated", sentence).hint(hint)
            }
            Some((stored, params)) => {
                let now = crate::detect::evaluate::params_json(rule, self.question.overrides);
                if params.as_ref().is_some_and(|params| *params != now) {
                    let params = params.clone().unwrap_or_default();
                    let sentence =
                        format!("it was evaluated with other parameters: {params}, now {now}");
                    return Answer::new("other_params", sentence).hint(range);
                }
                let was_found = stored
                    .found
                    .iter()
                    .any(|found| self.is_subject(&found.entity));
                let sentence = match (was_found, self.standing.has_news) {
                    (true, _) => {
                        "the window fired for it, and what came of it was taken back".to_string()
                    }
                    (false, true) => format!(
                        "its rows came after run {} had evaluated the window; the next run does so again",
                        stored.run
                    ),
                    (false, false) => format!(
                        "run {} evaluated the window on other rows than there are now",
                        stored.run
                    ),
                };
                let reason = if was_found { "taken_back" } else { "late" };
                Answer::new(reason, sentence).hint(match reason {
                    "late" if self.standing.has_news => {
                        "`inferwatch run` looks at what came late".to_string()
                    }
                    _ => range,
                })
            }
        }
    }

    /// For how long the rule fires for the subject without a pause, around the window.
    async fn lasted(&self, prepared: &Prepared<'_>) -> i64 {
        let rule = &self.file.rule;
        let every = rule.every.0;
        let mut lasted = 0;
        for step in [-every, every] {
            let mut end = self.window.end + step;
            while (end - self.window.end).abs() <= rule.hold.0 {
                let evaluated = prepared.evaluate(end).await;
                if !evaluated
                    .found
                    .iter()
                    .any(|found| self.is_subject(&found.entity))
                {
                    break;
                }
                lasted += every;
                end += step;
            }
        }
        lasted
    }
}

//! One sentence out of all that was counted and looked up.

mod found;
mod lost;

use super::Case;
use super::words::grouped;
use crate::catalog::State;
use crate::detect::evaluate::Prepared;
use crate::detect::json::time_text;
use crate::error::Result;

/// Why a rule did not fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// One word for programs.
    pub reason: &'static str,
    /// One sentence for people.
    pub sentence: String,
    /// What to try.
    pub hint: Option<String>,
}

impl Answer {
    fn new(reason: &'static str, sentence: impl Into<String>) -> Answer {
        Answer {
            reason,
            sentence: sentence.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Answer {
        self.hint = Some(hint.into());
        self
    }
}

impl Case<'_> {
    /// The answer; facts that it rests on are noted beside.
    pub(super) async fn answer(&mut self, prepared: &Prepared<'_>) -> Result<Answer> {
        let is_closed = self.closing();
        self.noted();
        if let Some(finding) = self.standing.finding(self.window)
            && let Some(answer) = self.told(finding)
        {
            return Ok(answer);
        }
        if self.evaluated.state == State::Error {
            let detail = self.evaluated.detail.clone().unwrap_or_default();
            return Ok(Answer::new(
                "error",
                format!("the rule failed on this window: {detail}"),
            ));
        }
        if !self.returned.is_empty() {
            return self.found(prepared, is_closed).await;
        }
        let mut answer = self.lost(prepared).await?;
        if !is_closed && answer.reason != "not_closed" {
            answer
                .sentence
                .push_str("; the window is still open, so more rows may come");
        }
        Ok(answer)
    }

    /// Whether the window has closed, noted as a fact.
    fn closing(&mut self) -> bool {
        let closes = self.window.end + self.standing.lateness;
        let every = self.file.rule.every.0;
        // A run has closed it; or the next one will. Those of a correlation close when the windows of its signals have.
        let is_due = self.reached().is_some_and(|reached| {
            (reached - self.standing.lateness).div_euclid(every) * every >= self.window.end
        });
        let is_closed = self.standing.progress.last >= Some(self.window.end)
            || (is_due && self.file.rule.correlation.is_none());
        let text = match is_closed {
            true => format!("yes; {}", self.last_words()),
            false => format!(
                "no: it closes with an event of {} or later, and {}",
                time_text(closes),
                self.last_words()
            ),
        };
        self.facts.push(("closed", text));
        is_closed
    }

    /// Up to where all sources have come that the window waits for.
    fn reached(&self) -> Option<i64> {
        let slowest = self.slowest.as_ref().map(|(_, reached)| *reached);
        slowest.or(self.last_event)
    }

    /// The last event, of the store or of the source that is waited for.
    fn last_words(&self) -> String {
        match (&self.slowest, self.last_event) {
            (Some((source, reached)), Some(last)) if last - *reached > 1_000_000 => {
                let reached = time_text(*reached);
                format!("the last of the source `{source}` is of {reached}")
            }
            (_, Some(last)) => format!("the last event of the store is of {}", time_text(last)),
            (_, None) => "the store has no event".to_string(),
        }
    }

    /// Notes what is stored.
    fn noted(&mut self) {
        let stored = match &self.standing.stored {
            Some((stored, _)) => {
                let early = if stored.is_early {
                    ", before it closed"
                } else {
                    ""
                };
                let of_subject = stored
                    .found
                    .iter()
                    .any(|found| self.is_subject(&found.entity));
                let subject = if of_subject {
                    ", with the subject"
                } else {
                    ", without the subject"
                };
                let subject = if stored.found.is_empty() { "" } else { subject };
                format!(
                    "{}, by run {} (revision {}{early}){subject}",
                    stored.state.name(),
                    stored.run,
                    stored.revision
                )
            }
            None => match self.standing.progress.last {
                Some(last) => format!("not evaluated; runs came as far as {}", time_text(last)),
                None => "not evaluated; the rule never ran on this store".to_string(),
            },
        };
        self.facts.push(("stored", stored));
        if let Some((why, dropped)) = &self.standing.gap {
            let rows = match dropped {
                0 => String::new(),
                dropped => format!(" ({} rows not looked at)", grouped(*dropped)),
            };
            self.facts.push(("gap", format!("{why}{rows}")));
        }
        let here = self.window.end;
        let elsewhere = self
            .standing
            .findings
            .iter()
            .filter(|finding| !finding.is_retracted);
        let nearest = elsewhere.min_by_key(|finding| {
            let episode = &finding.episode;
            (episode.first_window.end - here)
                .abs()
                .min((episode.last_window.end - here).abs())
        });
        if let Some(finding) = nearest {
            let episode = &finding.episode;
            let text = format!(
                "the nearest of the subject is {}, in windows that end from {} to {}",
                finding.id,
                time_text(episode.first_window.end),
                time_text(episode.last_window.end)
            );
            self.facts.push(("finding", text));
        }
    }
}

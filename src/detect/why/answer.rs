//! One sentence out of all that was counted and looked up.

use serde_json::Value;

use super::funnel::WINDOW;
use super::near::{Around, Near};
use super::words::{self, grouped};
use super::{Case, Stop, Subject};
use crate::catalog::{FROZEN, RuleKind, SIGNALS, State};
use crate::detect::evaluate::{Prepared, first_table};
use crate::detect::findings::Finding;
use crate::detect::json::{self, time_text};
use crate::error::Result;
use crate::schema::Table;

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

    /// A finding that is there: it fired, whether or not somebody was told.
    fn told(&self, finding: &Finding) -> Option<Answer> {
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
    async fn found(&self, prepared: &Prepared<'_>, is_closed: bool) -> Result<Answer> {
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

    /// The query loses the subject on its way.
    async fn lost(&mut self, prepared: &Prepared<'_>) -> Result<Answer> {
        let stop = self.stop.take();
        Ok(match stop {
            Some(Stop::NoRows { table, range }) if range != WINDOW => {
                let sentence = format!(
                    "`{table}` has no row {range}, of anybody, and the rule needs one there"
                );
                Answer::new("no_rows", sentence)
            }
            Some(Stop::NoRows { table, .. }) => self.no_rows(&table).await?,
            Some(Stop::NoSubject {
                table, range, any, ..
            }) if range != WINDOW => {
                let any = grouped(any as i64);
                let sentence = format!(
                    "none of the {any} rows of `{table}` {range} is of it, and the rule needs one there"
                );
                Answer::new("no_subject", sentence)
            }
            Some(Stop::NoSubject {
                table,
                any,
                subject,
                ..
            }) => self.no_subject(prepared, &table, any, &subject).await?,
            Some(Stop::Filtered {
                condition,
                before,
                alone,
                note,
                empty,
            }) => {
                if let Some(column) = empty {
                    let sentence = format!(
                        "the column is not populated: `{column}` is null in all {} rows of it that come to `{condition}`",
                        grouped(before as i64)
                    );
                    return Ok(Answer::new("column_empty", sentence));
                }
                let note = note.map_or(String::new(), |note| format!(": {note}"));
                let alone = match alone {
                    0 => String::new(),
                    alone => format!(
                        " ({} of its rows meet it, but not the conditions before)",
                        grouped(alone as i64)
                    ),
                };
                let sentence = format!(
                    "`{condition}` takes away the last {} of its rows{note}{alone}",
                    grouped(before as i64)
                );
                Answer::new("filtered", sentence)
            }
            Some(Stop::Below { note, .. }) => {
                let answer = Answer::new(
                    "threshold",
                    format!("the threshold was not reached: {note}"),
                );
                match self.parameters() {
                    Some(hint) => answer.hint(hint),
                    None => answer,
                }
            }
            Some(Stop::Unmatched { what }) => Answer::new("unmatched", what),
            None => {
                let detail = self.evaluated.detail.clone();
                let detail = detail.map_or(String::new(), |detail| format!(": {detail}"));
                Answer::new(
                    "not_returned",
                    format!("the query returns no row for it{detail}"),
                )
            }
        })
    }

    /// How to try another threshold.
    fn parameters(&self) -> Option<String> {
        let rule = &self.file.rule;
        let param = rule.params.first()?;
        Some(format!(
            "`inferwatch backtest --rule {id} --suggest {}` shows what other values would find",
            param.name,
            id = rule.id
        ))
    }

    /// A table has no row in the window, of anybody.
    async fn no_rows(&mut self, table: &str) -> Result<Answer> {
        if table == SIGNALS {
            return Ok(self.no_signals());
        }
        let around = match self.near(table) {
            Some(near) => near.around(None).await?,
            None => None,
        };
        let Some(around) = around else {
            return Ok(Answer::new(
                "no_rows",
                format!("`{table}` has no row in the window"),
            ));
        };
        self.facts.push((
            "nearest",
            format!("rows of anybody: {}", around.words(self.window)),
        ));
        if around.all == 0 {
            return Ok(Answer::new(
                "no_rows",
                format!("`{table}` has no row at all"),
            ));
        }
        if around.after.is_none() && self.last_event < Some(self.window.end) {
            let sentence = format!(
                "the window has not closed and has no row yet: the last of `{table}` is of {}",
                time_text(around.before.unwrap_or_default())
            );
            return Ok(Answer::new("not_closed", sentence));
        }
        let sentence = format!(
            "`{table}` has no row in the window, of anybody: {}",
            around.words(self.window)
        );
        Ok(Answer::new("no_rows", sentence))
    }

    fn no_signals(&self) -> Answer {
        let rules: Vec<String> = self
            .file
            .signals
            .iter()
            .map(|signal| signal.rule.id.clone())
            .collect();
        let sentence = format!(
            "none of its signals has a finding of it here: {}",
            rules.join(", ")
        );
        let answer = Answer::new("no_signals", sentence);
        match rules.first() {
            Some(rule) => answer.hint(format!(
                "ask the same of a signal, as `inferwatch explain {rule} --why-not …`"
            )),
            None => answer,
        }
    }

    /// A table has rows in the window, but none of the subject.
    async fn no_subject(
        &mut self,
        prepared: &Prepared<'_>,
        table: &str,
        any: u64,
        subject: &Subject,
    ) -> Result<Answer> {
        if table == SIGNALS {
            return Ok(self.no_signals());
        }
        let plain = || {
            let sentence = format!(
                "none of the {} rows of `{table}` in the window is of it",
                grouped(any as i64)
            );
            Answer::new("no_subject", sentence)
        };
        let Some(near) = self.near(table) else {
            return Ok(plain());
        };
        let empty = near.filled(subject).await?;
        if let Some((column, _)) = empty.iter().find(|(_, filled)| *filled == 0) {
            let sentence = format!(
                "the column is not populated: `{column}` is null in all {} rows of `{table}` in the window",
                grouped(any as i64)
            );
            return Ok(Answer::new("column_empty", sentence));
        }
        let Some(around) = near.around(Some(subject)).await? else {
            return Ok(plain());
        };
        if around.all == 0 {
            return self.unknown(&near, table, subject).await;
        }
        let window = self.window;
        let mut over_store = None;
        if self.file.rule.correlation.is_none() {
            let overrides = self.question.overrides;
            let made = Prepared::new(self.over_store, self.file, overrides, self.last_event).await;
            over_store = made.ok();
        }
        let over_store = over_store.as_ref().unwrap_or(prepared);
        let asked = self.question.entity;
        let hours = near
            .hours_off(over_store, subject, |entity| json::has(entity, asked))
            .await?;
        self.facts
            .push(("nearest", format!("rows of it: {}", around.words(window))));
        Ok(self.elsewhere(&around, hours))
    }

    /// The subject has rows, but not in the window.
    fn elsewhere(&self, around: &Around, hours: Option<i64>) -> Answer {
        /// Less than this from the window is another window, and no other zone.
        const HALF_AN_HOUR: i64 = 1_800_000_000;
        let rows = grouped(around.all as i64);
        let far = around.distance(self.window).unwrap_or_default();
        match hours {
            Some(hours) if far >= HALF_AN_HOUR => {
                let (way, zone) = match hours > 0 {
                    true => ("later", format!("UTC-{hours}")),
                    false => ("earlier", format!("UTC+{}", -hours)),
                };
                let at = time_text(self.window.end + hours * 3_600_000_000);
                let sentence = format!(
                    "its rows are {} hours {way}, where the rule does fire for it (window that ends at {at}): \
                     a time of the zone {zone} was taken for UTC, in the question or in a log",
                    hours.abs()
                );
                Answer::new("time_shift", sentence).hint(format!("`--at {at}` shows that window"))
            }
            _ => {
                let sentence = format!(
                    "none of its {rows} rows is in the window: {}",
                    around.words(self.window)
                );
                Answer::new("no_subject", sentence)
            }
        }
    }

    /// The subject has no row in the whole table.
    async fn unknown(&self, near: &Near<'_>, table: &str, subject: &Subject) -> Result<Answer> {
        let names = near.names(subject).await?;
        let words = subject.words();
        if names.is_empty() {
            let sentence = format!("no row of `{table}` has {words}, in the window or out of it");
            return Ok(Answer::new("no_subject", sentence));
        }
        let first = &names[0].0;
        let asked = self.question.entity.iter().map(|(_, value)| value);
        let how = match asked
            .into_iter()
            .any(|value| value.to_lowercase() == first.to_lowercase())
        {
            true => ", which differs in case alone",
            false => "",
        };
        let listed: Vec<String> = names
            .iter()
            .map(|(name, rows)| {
                format!(
                    "`{}` ({} rows)",
                    words::shortened(name),
                    grouped(*rows as i64)
                )
            })
            .collect();
        let sentence = format!(
            "no row of `{table}` has {words}; it may be spelled otherwise there: {}{how}",
            listed.join(", ")
        );
        Ok(Answer::new("spelled_otherwise", sentence))
    }

    fn near(&self, table: &str) -> Option<Near<'_>> {
        let beneath = Table::from_name(table.trim_end_matches("_merged"));
        Some(Near {
            store: self.over_store,
            table: beneath.or_else(|| first_table(&self.file.rule))?,
            window: self.window,
        })
    }
}

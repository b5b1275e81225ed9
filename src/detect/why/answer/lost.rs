//! The rule does not find the subject: where its rows ended, and where there are others.

use super::Answer;
use crate::catalog::SIGNALS;
use crate::detect::evaluate::{Prepared, first_table};
use crate::detect::json::{self, time_text};
use crate::detect::why::funnel::WINDOW;
use crate::detect::why::near::{Around, Near};
use crate::detect::why::words::{self, grouped};
use crate::detect::why::{Case, Stop, Subject};
use crate::error::Result;
use crate::schema::Table;

impl Case<'_> {
    /// The query loses the subject on its way.
    pub(super) async fn lost(&mut self, prepared: &Prepared<'_>) -> Result<Answer> {
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

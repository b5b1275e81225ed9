//! What a sink takes into its outbox: the findings that have changed and that are for it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{DAY, Worker};
use crate::catalog::Severity;
use crate::detect::{Event, row, rows, time_text};
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::sinks::Pass;
use crate::sinks::finding::{Told, plain};
use crate::sinks::outbox::{Item, Seen};
use crate::sinks::settings::{Route, Sink};

impl Worker {
    /// Looks at the findings that came since, and writes down those to be told.
    pub(super) async fn take(&mut self, now: i64, pass: &mut Pass) -> Result<()> {
        let newest = self.shared.store.snapshot(Table::Findings)?.version();
        let state = self.outbox.state();
        let news = match (state.seen, newest) {
            (None, _) => match self.sink().from {
                Some(from) => self.since(from).await?,
                None => {
                    pass.notes.push(format!(
                        "sink `{}` is new: it is told of findings from {} on; `from` in its settings says otherwise",
                        pass.sink,
                        time_text(now)
                    ));
                    Vec::new()
                }
            },
            (Some(Seen::Version(seen)), Some(newest)) if newest == seen => return Ok(()),
            (Some(_), None) => return Ok(()),
            (Some(Seen::Version(seen)), _) => match self.added(seen)? {
                Some(news) => news,
                // The log no longer tells. What was taken in is known, so that a day more is no harm.
                None => self.since(state.looked - DAY).await?,
            },
            (Some(Seen::Before(instant)), _) => self.since(instant).await?,
        };
        // There was no finding at all.
        let seen = newest.map_or(Seen::Before(i64::MIN), Seen::Version);
        let items = self.chosen(news, now);
        pass.taken = items.len();
        self.outbox.took(seen, now, items)
    }

    /// The findings of the files that were added since a version; `None` when they are not there as they were.
    fn added(&self, seen: u64) -> Result<Option<Vec<Told>>> {
        let store = &self.shared.store;
        let Some(files) = store.added_since(Table::Findings, seen)? else {
            return Ok(None);
        };
        let mut news = Vec::new();
        for file in files {
            let batches = match store.read_file(Table::Findings, &file.path) {
                Ok(batches) => batches,
                // Its rows are in another by now.
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            for batch in batches {
                let batch = batch?;
                for index in 0..batch.num_rows() {
                    news.extend(Told::from_row(&row(&batch, index)?));
                }
            }
        }
        Ok(Some(news))
    }

    /// The findings of evaluations since an instant.
    async fn since(&self, instant: i64) -> Result<Vec<Told>> {
        let condition = match instant {
            i64::MIN => "true".to_string(),
            instant => format!("evaluated_at >= TIMESTAMP '{}'", time_text(instant)),
        };
        self.query(&condition).await
    }

    pub(super) async fn query(&self, condition: &str) -> Result<Vec<Told>> {
        let sql = format!("SELECT * FROM findings WHERE {condition}");
        let rows: Vec<Map<String, Value>> = rows(&self.shared.context, &sql).await?;
        Ok(rows.iter().filter_map(Told::from_row).collect())
    }

    /// Those that this sink is to tell.
    fn chosen(&self, mut news: Vec<Told>, now: i64) -> Vec<Item> {
        let state = self.outbox.state();
        news.sort_by(|a, b| {
            (a.evaluated_at, &a.finding, a.revision).cmp(&(b.evaluated_at, &b.finding, b.revision))
        });
        // Findings that are to be told, each as severe as it will be then.
        let mut waiting: BTreeMap<String, Severity> = state
            .pending()
            .filter_map(|item| Some((item.finding.clone(), Severity::from_name(&item.severity)?)))
            .collect();
        let mut items: Vec<Item> = Vec::new();
        for mut told in news {
            let known = state.known.get(&told.finding);
            if known.is_some_and(|known| known.taken >= told.revision) {
                continue;
            }
            self.shared.add_rule(&mut told);
            let is_heard = state.was_told(&told.finding) || waiting.contains_key(&told.finding);
            let Some(route) = self.shared.route(self.sink(), &told, is_heard) else {
                continue;
            };
            let last = || Severity::from_name(known?.told.as_deref()?);
            let before = waiting.get(&told.finding).copied().or_else(last);
            if !is_wanted(&told, &route, self.sink(), is_heard, before) {
                continue;
            }
            waiting.insert(told.finding.clone(), told.severity);
            items.push(Item {
                due: match told.is_end() {
                    true => now,
                    false => now + route.group_wait.0,
                },
                event: told.event.name().to_string(),
                severity: told.severity.name().to_string(),
                rule: told.rule,
                window_end: told.window_end,
                taken: now,
                attempts: 0,
                held: None,
                error: None,
                is_dead: false,
                is_replay: false,
                finding: told.finding,
                revision: told.revision,
            });
        }
        items
    }
}

/// Whether what happened is told.
fn is_wanted(
    told: &Told,
    route: &Route,
    sink: &Sink,
    is_heard: bool,
    before: Option<Severity>,
) -> bool {
    let events = route.events.as_ref().unwrap_or(&sink.events);
    if told.is_end() {
        return is_heard && events.contains(&told.event);
    }
    if told.is_suppressed {
        return false;
    }
    // To whom it is new, it opens: it may have become worse, or nobody was to be told before.
    let event = match is_heard {
        true => told.event,
        false => Event::Opened,
    };
    events.contains(&event) || before.is_some_and(|before| told.severity > before)
}

/// What findings may have in common.
pub(super) fn value_of(told: &Told, name: &str) -> String {
    match name {
        "rule" => told.rule.clone(),
        "severity" => told.severity.name().to_string(),
        column => told.entity.get(column).map(plain).unwrap_or_default(),
    }
}

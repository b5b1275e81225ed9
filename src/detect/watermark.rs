//! How far the sources of a store have come in event time.
//!
//! A source is a kind of log, as `source_format` names it. Its watermark is its last event, or a heartbeat that somebody
//! sent for it, less the lateness. A window closes when all sources of the tables that its rule reads have passed its
//! end. One that has been silent for longer than others wait is idle and holds nobody up; what it brings later is late.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::prelude::SessionContext;
use serde_json::Value;

use super::json::time_text;
use super::stored::{rows, time};
use crate::catalog::Span;
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::{JOURNAL, Outcome, Store, WriteOptions};
use crate::suggest::nearest;

/// How far one source has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As `source_format` has it.
    pub name: String,
    /// The tables that its rows are in.
    pub tables: BTreeSet<Table>,
    /// Its last event, as far as was looked.
    pub last_event: Option<i64>,
    /// Until when somebody says that it has sent everything.
    pub heartbeat: Option<i64>,
}

impl Source {
    /// Up to where it has come.
    pub fn reached(&self) -> i64 {
        self.last_event.max(self.heartbeat).unwrap_or(i64::MIN)
    }

    /// Whether it is too long silent to be waited for.
    pub fn is_idle(&self, now: i64, idle_after: Span) -> bool {
        now - self.reached() > idle_after.0
    }

    /// As one JSON object.
    pub fn json(&self, now: i64, lateness: Span, idle_after: Span) -> Value {
        let tables = self.tables.iter().map(|table| table.name());
        serde_json::json!({
            "source": self.name,
            "tables": tables.collect::<Vec<_>>(),
            "last_event": self.last_event.map(time_text),
            "heartbeat": self.heartbeat.map(time_text),
            "watermark": time_text(self.reached() - lateness.0),
            "behind_seconds": (now - self.reached()) / 1_000_000,
            "idle": self.is_idle(now, idle_after),
        })
    }
}

/// The sources of a store.
#[derive(Debug, Clone, Default)]
pub struct Sources(pub Vec<Source>);

/// The tables whose rows say where they come from, and those that are filled beside them.
const TABLES: [(Table, &[Table]); 2] = [
    (
        Table::Calls,
        &[Table::Calls, Table::Content, Table::Filters],
    ),
    (Table::Audit, &[Table::Audit]),
];

const HEARTBEAT: &str = "heartbeat/";

impl Sources {
    /// Those with events since a time, or ever, and those with heartbeats.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of(
        store: &Store,
        context: &SessionContext,
        since: Option<i64>,
    ) -> Result<Sources> {
        let mut sources: BTreeMap<String, Source> = BTreeMap::new();
        let of = |sources: &mut BTreeMap<String, Source>, name: &str, tables: &[Table]| {
            let source = sources.entry(name.to_string()).or_insert_with(|| Source {
                name: name.to_string(),
                tables: BTreeSet::new(),
                last_event: None,
                heartbeat: None,
            });
            source.tables.extend(tables);
            source.last_event
        };
        for (table, filled) in TABLES {
            // What the store tells of itself is told when it is done, however old the logs are.
            let journal = format!(" WHERE source_format <> '{JOURNAL}'");
            let since = since.map_or(journal.clone(), |since| {
                format!(
                    "{journal} AND event_time >= TIMESTAMP '{}'",
                    time_text(since)
                )
            });
            let sql = format!(
                "SELECT source_format, max(event_time) AS last FROM {}{since} GROUP BY source_format",
                table.name()
            );
            for row in rows(context, &sql).await? {
                let Some(name) = row["source_format"].as_str() else {
                    continue;
                };
                let known = of(&mut sources, name, filled);
                if let Some(source) = sources.get_mut(name) {
                    source.last_event = known.max(time(&row["last"]));
                }
            }
        }
        for (id, at) in store.snapshot(Table::Calls)?.transactions() {
            let Some(name) = id.strip_prefix(HEARTBEAT) else {
                continue;
            };
            // What it fills is known where it has sent something; else it may be anything.
            let tables: &[Table] = match sources.contains_key(name) {
                true => &[],
                false => &[Table::Calls, Table::Content, Table::Filters, Table::Audit],
            };
            of(&mut sources, name, tables);
            if let Some(source) = sources.get_mut(name) {
                source.heartbeat = Some(*at);
            }
        }
        Ok(Sources(sources.into_values().collect()))
    }

    /// The last heartbeat of all.
    pub fn last_heartbeat(&self) -> Option<i64> {
        self.0.iter().filter_map(|source| source.heartbeat).max()
    }

    /// The source that is furthest behind of those that some tables wait for.
    pub fn slowest<'s, 't>(
        &'s self,
        tables: impl IntoIterator<Item = &'t Table>,
        now: i64,
        idle_after: Span,
    ) -> Option<&'s Source> {
        let tables: BTreeSet<Table> = tables.into_iter().copied().collect();
        let waited_for = self.0.iter().filter(|source| {
            !source.is_idle(now, idle_after) && !source.tables.is_disjoint(&tables)
        });
        waited_for.min_by_key(|source| source.reached())
    }
}

/// Notes that a source has sent everything that happened before a time; `false` when that was known.
///
/// # Errors
/// When the store has no row of that source, unless `is_new`; when it cannot be written.
pub async fn heartbeat(
    store: &Store,
    context: &SessionContext,
    name: &str,
    at: i64,
    is_new: bool,
) -> Result<bool> {
    let known = Sources::of(store, context, None).await?;
    if !is_new && !known.0.iter().any(|source| source.name == name) {
        let names = || known.0.iter().map(|source| source.name.as_str());
        let hint = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.0.is_empty() => {
                "the store is empty; `--new` announces a source".to_string()
            }
            None => format!(
                "it has: {}; `--new` announces another",
                names().collect::<Vec<_>>().join(", ")
            ),
        };
        return Err(Error::Usage {
            message: format!("nothing has come from a source `{name}`"),
            hint: Some(hint),
        });
    }
    let mut writer = store.writer(WriteOptions::default())?;
    let marks = [(format!("{HEARTBEAT}{name}"), at)];
    let commits = writer.commit_to(Table::Calls, &marks)?;
    let is_noted = |outcome: &Outcome| *outcome == Outcome::Committed;
    Ok(commits.iter().all(|commit| is_noted(&commit.outcome)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, table: Table, last_event: i64, heartbeat: Option<i64>) -> Source {
        Source {
            name: name.into(),
            tables: BTreeSet::from([table]),
            last_event: Some(last_event),
            heartbeat,
        }
    }

    #[test]
    fn the_furthest_behind_is_waited_for_unless_it_is_idle_or_elsewhere() {
        let sources = Sources(vec![
            source("quick", Table::Calls, 100, None),
            source("slow", Table::Calls, 70, None),
            source("asleep", Table::Calls, 20, None),
            source("quiet", Table::Calls, 10, Some(90)),
            source("other", Table::Audit, 60, None),
        ]);
        let slowest = |tables: &[Table], idle_after: i64| {
            let source = sources.slowest(tables, 100, Span(idle_after));
            source.map(|source| (source.name.as_str(), source.reached()))
        };
        assert_eq!(slowest(&[Table::Calls], 30), Some(("slow", 70)));
        assert_eq!(slowest(&[Table::Calls], 29), Some(("quiet", 90)));
        assert_eq!(slowest(&[Table::Calls], 80), Some(("asleep", 20)));
        assert_eq!(
            slowest(&[Table::Calls, Table::Audit], 40),
            Some(("other", 60))
        );
        assert_eq!(slowest(&[Table::Findings], 40), None);
    }
}

//! What was done to the store, told in its own `audit` table.

use serde_json::{Map, Value};

use crate::error::Result;
use crate::schema::{Audit, AuditBuilder, Micros, Table};
use crate::store::commit::{self, TableChange};
use crate::store::layout::Grain;
use crate::store::{Store, WriteOptions, disk};

/// Which log the rows are from.
pub(crate) const FORMAT: &str = "inferwatch";

/// One thing that was done.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    action: &'static str,
    at: i64,
    resource: Option<String>,
    who: Option<String>,
    details: Map<String, Value>,
}

impl Entry {
    /// An action, as `erase`, and when.
    pub(crate) fn new(action: &'static str, at: i64) -> Entry {
        Entry {
            action,
            at,
            resource: None,
            who: None,
            details: Map::new(),
        }
    }

    /// What it was done to.
    pub(crate) fn resource(mut self, id: &str) -> Entry {
        self.resource = Some(id.to_owned());
        self
    }

    /// Who did it, where that is not whoever runs the program.
    pub(crate) fn by(mut self, who: &str) -> Entry {
        self.who = Some(who.to_owned());
        self
    }

    /// Something to know about it.
    pub(crate) fn detail(mut self, name: &str, value: impl Into<Value>) -> Entry {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The row, to be committed together with what it tells of.
    pub(crate) fn stage(&self, store: &Store) -> Result<TableChange> {
        let id = disk::random_name()?;
        let class = format!("store.{}", self.action);
        let details = Value::Object(self.details.clone()).to_string();
        let who = self.who.clone().or_else(|| {
            ["INFERWATCH_ACTOR", "USER", "USERNAME"]
                .into_iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        });
        let hour = Grain::Hour.name_at(self.at);
        let mut rows = AuditBuilder::default();
        rows.append(&Audit {
            event_time: Micros(self.at),
            event_id: &id,
            source_format: FORMAT,
            service: Some("inferwatch"),
            action: Some(self.action),
            action_class: &class,
            resource_type: Some("store"),
            resource_id: self.resource.as_deref(),
            outcome: "success",
            caller: who.as_deref(),
            user_type: Some("user"),
            request_params: Some(&details),
            hour: &hour,
            ..Audit::default()
        });
        let mut writer = store.writer(WriteOptions::default())?;
        writer.write(Table::Audit, rows.finish())?;
        writer.stage_one(Table::Audit)
    }

    /// Writes the row on its own.
    pub(crate) fn write(&self, store: &Store) -> Result<()> {
        let change = self.stage(store)?;
        commit::commit(store, Table::Audit, vec![change], &[]).map(drop)
    }
}

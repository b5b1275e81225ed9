//! The session of a token: the tables that it opens exist there, and no others; of those, the rows that it opens.
//!
//! Tokens with the same rights share a session, unless it opens text of prompts: who reads that is told by name. All share
//! the memory for queries and the cache of file footers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arrow::datatypes::DataType;
use datafusion::catalog::{MemoryCatalogProviderList, TableProvider};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{Expr, Volatility, col, lit};
use datafusion::prelude::SessionContext;

use super::barrier::Barred;
use super::reads::{Told, Witnessed};
use crate::catalog::{register_views, rules_table, views};
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::session::{self, SessionOptions};
use crate::store::{Rights, Store};

/// System tables that say of other tables whose rows they have: these rows are for who may read that table.
const OF_TABLES: [&str; 3] = ["partitions", "files", "ingests"];
/// Other system tables.
const OTHERS: [&str; 2] = ["legal_holds", "rules"];

/// Every name that a token can be made for.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let tables = Table::ALL.into_iter().map(Table::name);
    tables.chain(OF_TABLES).chain(OTHERS)
}

/// Whether a table holds text of prompts, and needs its own word in a token.
pub(crate) fn is_restricted(name: &str) -> bool {
    Table::from_name(name).is_some_and(Table::is_restricted)
}

impl Rights {
    /// Whether a table exists for whoever has these rights.
    pub(crate) fn opens(&self, name: &str) -> bool {
        match is_restricted(name) {
            true => self.content,
            false => self.all || self.tables.iter().any(|table| table == name),
        }
    }

    /// Whether anything can be asked.
    pub(crate) fn reads(&self) -> bool {
        names().any(|name| self.opens(name))
    }
}

/// Makes sessions, and keeps them.
pub(super) struct Sessions {
    store: Store,
    /// With functions and limits, and no table.
    base: SessionContext,
    known: Mutex<HashMap<Key, SessionContext>>,
    told: Told,
}

/// What a session has: the rights, the token if it opens text, and whether there is the catalog of Postgres.
type Key = (Rights, Option<String>, bool);

impl Sessions {
    pub(super) fn new(store: Store, options: &SessionOptions) -> Result<Sessions> {
        Ok(Sessions {
            store,
            base: session::context(options)?,
            known: Mutex::default(),
            told: Told::default(),
        })
    }

    /// The session of a token with some rights.
    pub(super) async fn of(
        &self,
        rights: &Rights,
        token: &str,
        is_postgres: bool,
    ) -> Result<SessionContext> {
        let rights = Rights {
            // They change nothing in it.
            ingest: false,
            triage: false,
            metrics: false,
            ..rights.clone()
        };
        let known = || self.known.lock().expect("nothing in here panics");
        let reader = rights.content.then(|| token.to_owned());
        let key: Key = (rights, reader, is_postgres);
        if let Some(context) = known().get(&key) {
            return Ok(context.clone());
        }
        let (context, _) = tables(&self.base, &self.store, &key.0, |name, table| {
            match (Table::from_name(name), &key.1) {
                (Some(name), Some(reader)) if name.is_restricted() => Arc::new(Witnessed {
                    table,
                    name,
                    reader: reader.clone(),
                    store: self.store.clone(),
                    told: Arc::clone(&self.told),
                }),
                _ => table,
            }
        })
        .await?;
        if is_postgres {
            super::pg::add_catalog(&context).await?;
        }
        known().insert(key, context.clone());
        Ok(context)
    }
}

/// What rights open in a store: the tables that a token will have, or why it cannot be made. With `all`, tables that
/// lack a column of the filter are not among them; a table that was named must have them.
///
/// # Errors
/// When the filter is none.
pub(crate) async fn opened(store: &Store, rights: &Rights) -> Result<Vec<String>> {
    let base = session::context(&SessionOptions::default())?;
    let (context, left_out) = tables(&base, store, rights, |_, table| table).await?;
    if let Some((name, why)) = left_out
        .into_iter()
        .find(|(name, _)| rights.tables.iter().any(|table| table == name))
    {
        return Err(Error::Usage {
            message: format!("`{name}` cannot have this filter: {why}"),
            hint: Some("name the tables that have its columns".into()),
        });
    }
    Ok(crate::query::table_names(&context))
}

type LeftOut = Vec<(&'static str, String)>;

async fn tables(
    base: &SessionContext,
    store: &Store,
    rights: &Rights,
    dress: impl Fn(&'static str, Arc<dyn TableProvider>) -> Arc<dyn TableProvider>,
) -> Result<(SessionContext, LeftOut)> {
    let state = SessionStateBuilder::new_from_existing(base.state())
        // A catalog of its own, empty.
        .with_config(
            base.copied_config()
                .with_create_default_catalog_and_schema(true),
        )
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .build();
    let context = SessionContext::new_with_state(state);
    let mut left_out = LeftOut::new();
    for name in names().filter(|name| rights.opens(name)) {
        let Some(table) = store.table_by_name(name) else {
            // It tells of no row.
            context.register_table(name, rules_table())?;
            continue;
        };
        let table = dress(name, table);
        let table = match &rights.filter {
            Some(filter) => {
                let condition = match Table::from_name(name) {
                    Some(_) => condition(&context, &table, filter),
                    None => Err("it tells of everybody's rows".to_owned()),
                };
                match condition {
                    Ok(condition) => Arc::new(Barred::new(table, condition)),
                    Err(why) => {
                        left_out.push((name, why));
                        continue;
                    }
                }
            }
            None if OF_TABLES.contains(&name) => {
                let opened = Table::ALL.map(Table::name);
                let opened = opened.into_iter().filter(|table| rights.opens(table));
                let condition = col("table").in_list(opened.map(lit).collect(), false);
                Arc::new(Barred::new(table, condition))
            }
            None => table,
        };
        context.register_table(name, table)?;
    }
    for view in views() {
        // One over a table that is not there does not plan, and so is not there either.
        let _ = register_views(&context, std::slice::from_ref(&view)).await;
    }
    Ok((context, left_out))
}

/// The filter as a condition on a table's rows, or why it is none.
fn condition(
    context: &SessionContext,
    table: &Arc<dyn TableProvider>,
    filter: &str,
) -> std::result::Result<Expr, String> {
    let schema = DFSchema::try_from(table.schema()).map_err(|error| error.strip_backtrace())?;
    let state = context.state();
    let expr = state
        .create_logical_expr(filter, &schema)
        .map_err(|error| error.strip_backtrace())?;
    let refused = expr.exists(|part| {
        Ok(matches!(
            part,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
                | Expr::Placeholder(_)
        ) || matches!(part, Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Volatile))
    });
    if refused.unwrap_or(true) {
        return Err("it may hold columns, constants and plain functions only".into());
    }
    // As the scan will have it.
    let mut types = Ok(());
    let physical = state.create_physical_expr(expr.clone(), &schema);
    if let Err(error) = physical
        .and_then(|physical| physical.data_type(schema.as_arrow()))
        .map(|data_type| {
            if data_type != DataType::Boolean {
                types = Err("it is not true or false".to_owned());
            }
        })
    {
        return Err(error.strip_backtrace());
    }
    types?;
    let mut columns = 0;
    let _ = expr.apply(|part| {
        columns += usize::from(matches!(part, Expr::Column(_)));
        Ok(TreeNodeRecursion::Continue)
    });
    match columns {
        0 => Err("it names no column".into()),
        _ => Ok(expr),
    }
}

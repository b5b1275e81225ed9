//! Exceptions, resolved: which subjects of which rules nobody is told of, and until when.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use serde_json::{Map, Value};

use super::episode::Episode;
use super::json;
use crate::catalog::check::one_select;
use crate::catalog::{Exception, Problem};
use crate::error::Result;
use crate::session::{self, SessionOptions};

/// An exception and the keys that its query lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Excepted {
    /// The exception.
    pub exception: Exception,
    /// Columns and values, one object a subject.
    pub keys: Vec<Map<String, Value>>,
}

impl Excepted {
    /// Runs the queries of exceptions. They read no table, so their keys are what the files say.
    ///
    /// # Errors
    /// The first that does not plan, or reads a table.
    pub async fn resolve(exceptions: &[Exception]) -> Result<Vec<Excepted>> {
        let context = session::context(&SessionOptions::default())?;
        let mut resolved = Vec::with_capacity(exceptions.len());
        for exception in exceptions {
            let keys = keys(&context, exception)
                .await
                .map_err(|problem| crate::Error::from(problem.at(&exception.path)))?;
            resolved.push(Excepted {
                exception: exception.clone(),
                keys,
            });
        }
        Ok(resolved)
    }

    /// Whether nobody is told of an episode: it is of one of its subjects, and all of it lies before it expires.
    pub(super) fn covers(&self, episode: &Episode) -> bool {
        let is_of = |key: &Map<String, Value>| {
            !key.is_empty()
                && key
                    .iter()
                    .all(|(column, value)| episode.entity.get(column) == Some(value))
        };
        self.exception.is_from(&episode.rule_id)
            && episode.last_window.end <= self.exception.expires
            && self.keys.iter().any(is_of)
    }
}

async fn keys(
    context: &SessionContext,
    exception: &Exception,
) -> std::result::Result<Vec<Map<String, Value>>, Box<Problem>> {
    let line = Some(exception.line);
    let fault = |message: String| Box::new(Problem::error("L-EXCEPTION", line, message));
    let statement = one_select(&exception.sql)?;
    let plan = context.state().statement_to_plan(statement).await;
    let plan = plan.map_err(|error| fault(error.strip_backtrace()))?;
    let mut reads = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            reads = Some(scan.table_name.to_string());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .expect("nothing in here fails");
    if let Some(table) = reads {
        return Err(fault(format!(
            "an exception lists its keys and reads no table, not `{table}`"
        )));
    }
    let rows = context.execute_logical_plan(plan).await;
    let batches = match rows {
        Ok(rows) => rows.collect().await,
        Err(error) => Err(error),
    };
    let batches = batches.map_err(|error| fault(error.strip_backtrace()))?;
    let mut keys = Vec::new();
    for batch in &batches {
        for index in 0..batch.num_rows() {
            keys.push(json::row(batch, index).map_err(|error| fault(error.to_string()))?);
        }
    }
    match keys.iter().any(|key| key.values().any(Value::is_null)) {
        true => Err(fault("a key is null: nothing is named by it".into())),
        false => Ok(keys),
    }
}

/// What is wrong with an exception, beside its header: its keys, its rules, its date. `now` is the time by the clock.
pub async fn check(
    exceptions: &[Exception],
    entity: impl Fn(&str) -> Option<Vec<String>>,
    now: i64,
) -> Result<Vec<Problem>> {
    let context = session::context(&SessionOptions::default())?;
    let mut problems = Vec::new();
    for exception in exceptions {
        let line = Some(exception.line);
        let mut found = Vec::new();
        if exception.expires <= now {
            let message = format!("expired on {}", json::time_text(exception.expires));
            found.push(
                Problem::error("L-EXPIRED", line, message)
                    .hint(Some("delete the file, or decide anew".to_string())),
            );
        }
        match keys(&context, exception).await {
            Err(problem) => found.push(*problem),
            Ok(keys) => {
                for rule in &exception.rules {
                    let Some(entity) = entity(rule) else {
                        found.push(Problem::error("L-REF", line, format!("no rule `{rule}`")));
                        continue;
                    };
                    let columns = keys.first().into_iter().flat_map(Map::keys);
                    for column in columns.filter(|column| !entity.contains(column)) {
                        let message =
                            format!("`{column}` is not a column of the entity of `{rule}`");
                        found.push(Problem::error("L-REF", line, message));
                    }
                }
            }
        }
        problems.extend(found.into_iter().map(|problem| problem.at(&exception.path)));
    }
    Ok(problems)
}

//! One rule over one window.
//!
//! A rule is [`Prepared`] once for the tables it will read: parsed, resolved, its parameters bound. Each window then
//! binds two or three times and runs.

use std::time::{Duration, Instant};

use arrow::array::{Array, RecordBatch};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use serde_json::{Map, Value};

use super::json;
use super::ready::ReadyPlan;
use super::slice::SortedTable;
use crate::catalog::{
    FROZEN, Param, ParamValue, Rule, RuleFile, RuleKind, SIGNALS, Severity, State, timestamp,
};
use crate::error::Result;
use crate::schema::Table;

/// A half-open window of event time, in microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// First instant.
    pub start: i64,
    /// Instant after the last.
    pub end: i64,
}

/// One row that a rule returned for a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The entity's columns.
    pub entity: Map<String, Value>,
    /// The row's title, else the rule's.
    pub title: String,
    /// The row's severity, else the rule's.
    pub severity: Severity,
    /// Whether it is the row's.
    pub has_severity: bool,
    /// Contributing events.
    pub event_count: Option<i64>,
    /// First of them, microseconds.
    pub first_seen: Option<i64>,
    /// Last of them, microseconds.
    pub last_seen: Option<i64>,
    /// A number to sort by.
    pub score: Option<f64>,
    /// Every column returned.
    pub columns: Map<String, Value>,
}

/// How the evaluation of one window ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// The window.
    pub window: Window,
    /// How it ended.
    pub state: State,
    /// What was found.
    pub found: Vec<Found>,
    /// Rows of an `slo` rule about subjects of which nothing can be said, as it returned them.
    pub frozen: Vec<Found>,
    /// What went wrong, or why nothing can be said.
    pub detail: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// A rule that is ready to run over the tables of one context.
pub struct Prepared<'a> {
    /// The rule.
    pub file: &'a RuleFile,
    /// The parameters it runs with.
    pub params: Vec<(&'a Param, ParamValue)>,
    context: SessionContext,
    plan: LogicalPlan,
    /// Planned to the end, when the tables are in memory.
    ready: Option<ReadyPlan>,
    coverage: Option<Coverage>,
}

/// A window that could not be evaluated.
pub(super) fn failed(rule: &Rule, end: i64, error: &str) -> Evaluated {
    Evaluated {
        window: Window {
            start: end - rule.window.0,
            end,
        },
        state: State::Error,
        found: Vec::new(),
        frozen: Vec::new(),
        detail: Some(error.to_string()),
        elapsed: Duration::ZERO,
    }
}

/// What tells `clear` from `not_covered`.
#[derive(Debug)]
struct Coverage {
    table: Table,
    /// The rows in memory, or a query that counts them.
    rows: Rows,
    /// Time of the table's last row, as the caller knows it.
    last: Option<i64>,
}

#[derive(Debug)]
enum Rows {
    Sorted(Box<SortedTable>),
    Query(Box<LogicalPlan>),
}

impl<'a> Prepared<'a> {
    /// Plans a rule over the tables that the context has now. `last` is the time of the last row of its first source,
    /// where the caller knows it; a table in memory knows it itself.
    ///
    /// # Errors
    /// When the query does not plan.
    pub async fn new(
        context: &SessionContext,
        file: &'a RuleFile,
        overrides: &[(String, ParamValue)],
        last: Option<i64>,
    ) -> Result<Prepared<'a>> {
        let params = params(&file.rule, overrides);
        let plan = context.state().create_logical_plan(&file.sql).await?;
        let coverage = Coverage::new(context, file, last).await?;
        let is_in_memory = match (&coverage, &file.rule.correlation) {
            (Some(coverage), _) => matches!(coverage.rows, Rows::Sorted(_)),
            (None, Some(_)) => {
                let signals = context.table_provider(SIGNALS).await?;
                signals.downcast_ref::<SortedTable>().is_some()
            }
            (None, None) => false,
        };
        let ready = match is_in_memory {
            true => {
                let values = params
                    .iter()
                    .map(|(param, value)| (param.name.as_str(), value.scalar()));
                Some(ReadyPlan::new(context, plan.clone(), &file.rule, values.collect()).await?)
            }
            false => None,
        };
        Ok(Prepared {
            file,
            params,
            context: context.clone(),
            plan,
            ready,
            coverage,
        })
    }

    /// The window that ends at an instant.
    pub fn window(&self, end: i64) -> Window {
        Window {
            start: end - self.file.rule.window.0,
            end,
        }
    }

    /// The columns that tell whether a window is covered.
    pub(super) fn coverage_columns(&self) -> Option<(Table, Vec<String>)> {
        let table = self.coverage.as_ref()?.table;
        let schema = table.schema();
        let required = self.file.rule.requires.iter();
        let mut columns: Vec<String> = required
            .filter(|name| schema.field_with_name(name).is_ok())
            .cloned()
            .collect();
        columns.push(table.time_column().to_string());
        Some((table, columns))
    }

    /// The plan for a window, optimised.
    ///
    /// # Errors
    /// When it does not plan.
    pub fn bound(&self, window: Window) -> Result<LogicalPlan> {
        let mut values: Vec<(&str, ScalarValue)> = self
            .params
            .iter()
            .map(|(param, value)| (param.name.as_str(), value.scalar()))
            .collect();
        values.extend(self.file.rule.engine_values(window.start, window.end));
        Ok(self.plan.clone().with_param_values(values)?)
    }

    /// Evaluates the window that ends at an instant. An evaluation that fails is an evaluation too.
    pub async fn evaluate(&self, end: i64) -> Evaluated {
        let started = Instant::now();
        let window = self.window(end);
        let (state, rows, detail) = match self.judge(window).await {
            Ok(judged) => judged,
            Err(error) => (State::Error, Rated::default(), Some(format!("{error:#}"))),
        };
        Evaluated {
            window,
            state,
            found: rows.found,
            frozen: rows.frozen,
            detail,
            elapsed: started.elapsed(),
        }
    }

    async fn judge(&self, window: Window) -> Result<(State, Rated, Option<String>)> {
        let batches = match &self.ready {
            Some(ready) => ready.run(&self.file.rule, window).await?,
            None => {
                let state = self.context.state();
                let physical = state.create_physical_plan(&self.bound(window)?).await?;
                datafusion::physical_plan::collect(physical, state.task_ctx()).await?
            }
        };
        let mut rows = Rated::default();
        let mut learning = 0;
        for batch in &batches {
            for index in 0..batch.num_rows() {
                match self.found(batch, index)? {
                    Row::Found(row) => rows.found.push(*row),
                    Row::Learning => learning += 1,
                    Row::Frozen(row) => rows.frozen.push(*row),
                }
            }
        }
        if !rows.found.is_empty() {
            return Ok((State::Fired, rows, None));
        }
        if !rows.frozen.is_empty() {
            let detail = format!("{} with too little data to go by", rows.frozen.len());
            return Ok((State::Frozen, rows, Some(detail)));
        }
        if learning > 0 {
            let detail = format!(
                "{learning} with less than {} buckets of history",
                self.file.rule.min_history
            );
            return Ok((State::Learning, rows, Some(detail)));
        }
        let gap = match &self.coverage {
            Some(coverage) => {
                coverage
                    .gap(&self.context, &self.file.rule.requires, window)
                    .await?
            }
            None => None,
        };
        let state = if gap.is_some() {
            State::NotCovered
        } else {
            State::Clear
        };
        Ok((state, rows, gap))
    }

    /// A row as a finding, unless nothing can be said of its entity.
    fn found(&self, batch: &RecordBatch, index: usize) -> Result<Row> {
        let rule = &self.file.rule;
        let columns = json::row(batch, index)?;
        let history = columns.get("history_count").and_then(Value::as_i64);
        if rule.min_history > 0 && history.unwrap_or(0) < rule.min_history {
            return Ok(Row::Learning);
        }
        let is_frozen = is_frozen(rule, &columns);
        let row = Box::new(Found::new(rule, columns));
        Ok(match is_frozen {
            true => Row::Frozen(row),
            false => Row::Found(row),
        })
    }
}

/// What a returned row is.
enum Row {
    Found(Box<Found>),
    /// Its entity has too little history.
    Learning,
    /// Its entity has too little data now.
    Frozen(Box<Found>),
}

/// What a window returned: what is found, and of whom nothing can be said.
#[derive(Debug, Default)]
struct Rated {
    found: Vec<Found>,
    frozen: Vec<Found>,
}

/// Whether a row says that there is too little data to go by.
pub(super) fn is_frozen(rule: &Rule, columns: &Map<String, Value>) -> bool {
    rule.kind == RuleKind::Slo && columns.get(FROZEN) == Some(&Value::Bool(true))
}

impl Found {
    /// What a returned row means.
    pub(super) fn new(rule: &Rule, columns: Map<String, Value>) -> Found {
        let integer = |name: &str| columns.get(name).and_then(Value::as_i64);
        let text = |name: &str| columns.get(name).and_then(Value::as_str);
        let time = |name: &str| {
            let time = text(name).and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
            time.map(|time| time.timestamp_micros())
        };
        let entity = rule
            .entity
            .iter()
            .map(|name| (name.clone(), columns.get(name).cloned().unwrap_or_default()));
        let severity = text("severity").and_then(Severity::from_name);
        Found {
            entity: entity.collect(),
            title: text("title").unwrap_or(&rule.title).to_string(),
            severity: severity.unwrap_or(rule.severity),
            has_severity: severity.is_some(),
            event_count: integer("event_count"),
            first_seen: time("first_seen"),
            last_seen: time("last_seen"),
            score: columns.get("score").and_then(Value::as_f64),
            columns,
        }
    }
}

/// The parameters that a rule runs with: its defaults, and what was given in their place.
fn params<'a>(rule: &'a Rule, overrides: &[(String, ParamValue)]) -> Vec<(&'a Param, ParamValue)> {
    let value = |param: &Param| {
        let given = overrides.iter().rev().find(|(name, _)| *name == param.name);
        given.map_or_else(|| param.default.clone(), |(_, value)| value.clone())
    };
    rule.params
        .iter()
        .map(|param| (param, value(param)))
        .collect()
}

/// The same as JSON.
pub(super) fn params_json(rule: &Rule, overrides: &[(String, ParamValue)]) -> Value {
    let params = params(rule, overrides).into_iter();
    params
        .map(|(param, value)| (param.name.clone(), value.json()))
        .collect()
}

/// The table of a rule's first source, or the one beneath it.
pub(super) fn first_table(rule: &Rule) -> Option<Table> {
    let name = rule.source.first()?;
    Table::from_name(name.trim_end_matches("_merged"))
}

impl Coverage {
    async fn new(
        context: &SessionContext,
        file: &RuleFile,
        last: Option<i64>,
    ) -> Result<Option<Coverage>> {
        // Columns of the merged view are those of the table beneath it, and cheaper to ask there.
        let Some(table) = first_table(&file.rule) else {
            return Ok(None);
        };
        let provider = context.table_provider(table.name()).await?;
        if let Some(sorted) = provider.downcast_ref::<SortedTable>() {
            let rows = Rows::Sorted(Box::new(sorted.clone()));
            return Ok(Some(Coverage { table, rows, last }));
        }
        let counts: String = file
            .rule
            .requires
            .iter()
            .map(|column| format!(", count({column})"))
            .collect();
        let (name, time) = (table.name(), table.time_column());
        let sql = format!(
            "SELECT count(*){counts} FROM {name} WHERE {time} >= $window_start AND {time} < $window_end"
        );
        let rows = Rows::Query(Box::new(context.state().create_logical_plan(&sql).await?));
        Ok(Some(Coverage { table, rows, last }))
    }

    /// Time of the table's last row.
    fn last(&self) -> Option<i64> {
        match &self.rows {
            Rows::Sorted(sorted) => sorted.last().max(self.last),
            Rows::Query(_) => self.last,
        }
    }

    /// Why the window's rows say nothing; `None` when they do.
    async fn gap(
        &self,
        context: &SessionContext,
        requires: &[String],
        window: Window,
    ) -> Result<Option<String>> {
        let counts: Vec<usize> = match &self.rows {
            Rows::Sorted(sorted) => {
                let rows = sorted.between(Some(window.start), Some(window.end));
                let filled = requires.iter().map(|name| {
                    rows.column_by_name(name)
                        .map_or(0, |column| column.len() - column.null_count())
                });
                std::iter::once(rows.num_rows()).chain(filled).collect()
            }
            Rows::Query(plan) => {
                let values = vec![
                    ("window_start", timestamp(window.start)),
                    ("window_end", timestamp(window.end)),
                ];
                let plan = plan.as_ref().clone().with_param_values(values)?;
                let batches = context.execute_logical_plan(plan).await?.collect().await?;
                let row = batches.iter().find(|batch| batch.num_rows() > 0);
                let numbers = row
                    .map(|batch| json::row(batch, 0))
                    .transpose()?
                    .unwrap_or_default();
                numbers
                    .values()
                    .map(|number| number.as_u64().unwrap_or(0) as usize)
                    .collect()
            }
        };
        let name = self.table.name();
        if counts.first().is_none_or(|rows| *rows == 0) {
            // Nothing in the window, but something after it: a quiet hour, not a missing log.
            let is_past = self.last().is_some_and(|last| last >= window.end);
            return Ok((!is_past).then(|| format!("`{name}` has no row in the window or after it")));
        }
        let empty = requires
            .iter()
            .zip(&counts[1..])
            .find(|(_, filled)| **filled == 0);
        Ok(empty.map(|(column, _)| format!("no row of `{name}` in the window has `{column}`")))
    }
}

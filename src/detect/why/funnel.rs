//! Where a rule's query loses the rows of one subject: its plan, from the tables up, counted after every condition.
//!
//! The plan is taken apart before the optimizer makes something else of it: subqueries become joins and conditions move
//! down to the tables they are about, and nothing more. The subject is followed the other way, from the columns that the
//! query returns to the expressions over a table that they come from; what cannot be followed is counted for everybody.

mod subject;
mod table;
mod values;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::prelude::SessionContext;
use serde_json::{Map, Value};

pub(super) use subject::Subject;

use super::words;
use crate::detect::evaluate::Window;
use crate::detect::json;
use crate::error::Result;
use subject::{column_at, of_a_row, sides};

/// The range of time that most tables are read in.
pub(super) const WINDOW: &str = "in the window";

/// One step of the way from the rows of a table to the rows that a rule returns.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The part of the query that it belongs to, where it has a name.
    pub part: Option<String>,
    /// What is counted.
    pub what: String,
    /// How many are left.
    pub left: u64,
    /// Values, and how far they are from what is asked for.
    pub note: Option<String>,
}

/// Where the subject was lost.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stop {
    /// A table has no row at all in the range that is read.
    NoRows { table: String, range: String },
    /// It has, but none of the subject.
    NoSubject {
        table: String,
        range: String,
        any: u64,
        /// The subject in columns of the table.
        subject: Subject,
    },
    /// A condition on rows took the last ones.
    Filtered {
        condition: String,
        before: u64,
        alone: u64,
        /// What the column holds instead.
        note: Option<String>,
        /// A column of the condition that is null in all of them.
        empty: Option<String>,
    },
    /// A condition on what was added up was not met.
    Below { condition: String, note: String },
    /// Nothing on the other side of a join matched, or something did that must not.
    Unmatched { what: String },
}

/// Counts along a plan.
pub(super) struct Funnel<'c> {
    context: &'c SessionContext,
    window: Window,
    /// The steps so far.
    pub(super) steps: Vec<Step>,
    /// Where the rows ended.
    pub(super) stop: Option<Stop>,
    /// Parts that were counted: a query that names one twice has it in its plan twice.
    seen: HashMap<String, bool>,
}

type Walk<'w> = Pin<Box<dyn Future<Output = Result<bool>> + Send + 'w>>;

impl<'c> Funnel<'c> {
    pub(super) fn new(context: &'c SessionContext, window: Window) -> Funnel<'c> {
        Funnel {
            context,
            window,
            steps: Vec::new(),
            stop: None,
            seen: HashMap::new(),
        }
    }

    /// The plan in the form that is counted along.
    pub(super) fn taken_apart(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let state = self.context.state();
        let options = state.config_options();
        let analyzed = state
            .analyzer()
            .execute_and_check(plan, options, |_, _| {})?;
        let optimizer = Optimizer::with_rules(vec![
            Arc::new(DecorrelatePredicateSubquery::new()),
            Arc::new(ScalarSubqueryToJoin::new()),
            Arc::new(ExtractEquijoinPredicate::new()),
            Arc::new(EliminateCrossJoin::new()),
            Arc::new(PushDownFilter::new()),
        ]);
        Ok(optimizer.optimize(analyzed, &OptimizerContext::new(), |_, _| {})?)
    }

    /// Counts along a part of a plan. Whether anything is left at its top.
    pub(super) fn walk<'w>(
        &'w mut self,
        plan: &'w LogicalPlan,
        subject: Subject,
        part: Option<String>,
    ) -> Walk<'w> {
        Box::pin(async move {
            let key = format!("{}\n{:?}", plan.display_indent(), subject.0);
            if let Some(known) = self.seen.get(&key) {
                return Ok(*known);
            }
            let is_left = self.part(plan, subject, part).await?;
            self.seen.insert(key, is_left);
            Ok(is_left)
        })
    }

    async fn part(
        &mut self,
        plan: &LogicalPlan,
        subject: Subject,
        part: Option<String>,
    ) -> Result<bool> {
        match plan {
            LogicalPlan::TableScan(scan) => self.table(scan, &[], &subject, part).await,
            LogicalPlan::Filter(filter) => {
                let conditions = split_conjunction(&filter.predicate);
                if let LogicalPlan::TableScan(scan) = &*filter.input {
                    return self.table(scan, &conditions, &subject, part).await;
                }
                let below = subject.beneath(plan.schema(), filter.input.schema());
                Ok(self
                    .walk(&filter.input, below.clone(), part.clone())
                    .await?
                    && self
                        .conditions(&filter.input, &conditions, &below, part)
                        .await?)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let below = subject.beneath(plan.schema(), alias.input.schema());
                let name = alias.alias.table();
                let part = match name.starts_with("__") {
                    true => part,
                    false => Some(name.to_string()),
                };
                self.walk(&alias.input, below, part).await
            }
            LogicalPlan::Projection(projection) => {
                let below = subject.over(|column| {
                    let place = plan.schema().maybe_index_of_column(column)?;
                    Some(projection.expr.get(place)?.clone().unalias())
                });
                self.walk(&projection.input, below, part).await
            }
            LogicalPlan::Aggregate(aggregate) => {
                let groups = &aggregate.group_expr;
                let below = subject.over(|column| {
                    let place = plan.schema().maybe_index_of_column(column)?;
                    match groups.get(place) {
                        Some(Expr::GroupingSet(_)) => None,
                        Some(group) => Some(group.clone().unalias()),
                        None => of_a_row(aggregate.aggr_expr.get(place - groups.len())?),
                    }
                });
                if !self.walk(&aggregate.input, below, part.clone()).await? {
                    return Ok(false);
                }
                if groups.is_empty() {
                    return Ok(true);
                }
                let left = self.count(plan.clone(), &subject).await?;
                let by: Vec<String> = groups.iter().map(words::of).collect();
                let what = format!("groups by {}", words::shortened(&by.join(", ")));
                if left == 0 {
                    let what = format!("none of the {what} is of it");
                    self.stop = Some(Stop::Unmatched { what });
                }
                self.step(part, what, left, None);
                Ok(left > 0)
            }
            LogicalPlan::Join(join) => self.join(plan, join, &subject, part).await,
            LogicalPlan::Union(union) => {
                // One of them is enough.
                let (mut is_left, mut stop) = (false, None);
                for input in &union.inputs {
                    let below = subject.beneath(plan.schema(), input.schema());
                    is_left |= self.walk(input, below, part.clone()).await?;
                    stop = stop.or(self.stop.take());
                }
                if !is_left {
                    self.stop = stop;
                }
                Ok(is_left)
            }
            LogicalPlan::Unnest(unnest) => {
                let below = subject.over(|column| {
                    let place = plan.schema().maybe_index_of_column(column)?;
                    let from = *unnest.dependency_indices.get(place)?;
                    let is_taken_apart = unnest.list_type_columns.iter().any(|(it, _)| *it == from)
                        || unnest.struct_type_columns.contains(&from);
                    match is_taken_apart {
                        true => None,
                        false => column_at(unnest.input.schema(), from),
                    }
                });
                if !self.walk(&unnest.input, below, part.clone()).await? {
                    return Ok(false);
                }
                let left = self.count(plan.clone(), &subject).await?;
                self.step(part, "items of lists".to_string(), left, None);
                if left == 0 {
                    let what = "the lists that the rule takes apart are empty".to_string();
                    self.stop = Some(Stop::Unmatched { what });
                }
                Ok(left > 0)
            }
            // The same rows, in another order or with more columns.
            other => match other.inputs()[..] {
                [input] => {
                    let below = subject.beneath(plan.schema(), input.schema());
                    self.walk(input, below, part).await
                }
                _ => Ok(true),
            },
        }
    }

    async fn join(
        &mut self,
        plan: &LogicalPlan,
        join: &Join,
        subject: &Subject,
        part: Option<String>,
    ) -> Result<bool> {
        let (left, right) = sides(plan, join, subject);
        // A side without which there is no row.
        let needs_left = !matches!(
            join.join_type,
            JoinType::Right | JoinType::RightAnti | JoinType::Full
        );
        let needs_right = matches!(
            join.join_type,
            JoinType::Inner
                | JoinType::Right
                | JoinType::LeftSemi
                | JoinType::RightSemi
                | JoinType::RightAnti
        );
        if needs_left && !self.walk(&join.left, left, part.clone()).await? {
            return Ok(false);
        }
        if needs_right && !self.walk(&join.right, right, part.clone()).await? {
            return Ok(false);
        }
        let rows = self.count(plan.clone(), subject).await?;
        let on: Vec<String> = join.on.iter().map(|(left, _)| words::of(left)).collect();
        let on = match on.is_empty() {
            true => String::new(),
            false => format!(" on {}", words::shortened(&on.join(", "))),
        };
        let (what, why) = match join.join_type {
            JoinType::LeftAnti | JoinType::RightAnti => (
                format!("without a match{on}"),
                format!("all of them have a match{on}, and the rule leaves out those that do"),
            ),
            _ => (
                format!("joined{on}"),
                format!("none of them has its match{on}"),
            ),
        };
        self.step(part, what, rows, None);
        if rows == 0 {
            self.stop = Some(Stop::Unmatched { what: why });
        }
        Ok(rows > 0)
    }

    /// Rows of a part that are of the subject.
    async fn count(&self, plan: LogicalPlan, subject: &Subject) -> Result<u64> {
        let mut rows = LogicalPlanBuilder::from(plan);
        if let Some(predicate) = subject.predicate() {
            rows = rows.filter(predicate)?;
        }
        let none: Vec<Expr> = Vec::new();
        let plan = rows
            .aggregate(none, vec![count(lit(1)).alias("n")])?
            .build()?;
        let row = self.rows(plan).await?.pop().unwrap_or_default();
        Ok(row.get("n").and_then(Value::as_u64).unwrap_or(0))
    }

    /// The rows of a plan.
    pub(super) async fn rows(&self, plan: LogicalPlan) -> Result<Vec<Map<String, Value>>> {
        let batches = self
            .context
            .execute_logical_plan(plan)
            .await?
            .collect()
            .await?;
        let mut rows = Vec::new();
        for batch in &batches {
            for index in 0..batch.num_rows() {
                rows.push(json::row(batch, index)?);
            }
        }
        Ok(rows)
    }

    fn step(&mut self, part: Option<String>, what: String, left: u64, note: Option<String>) {
        self.steps.push(Step {
            part,
            what,
            left,
            note,
        });
    }
}

//! Where a rule's query loses the rows of one subject: its plan, from the tables up, counted after every condition.
//!
//! The plan is taken apart before the optimizer makes something else of it: subqueries become joins and conditions move
//! down to the tables they are about, and nothing more. The subject is followed the other way, from the columns that the
//! query returns to the expressions over a table that they come from; what cannot be followed is counted for everybody.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder, Operator, TableScan,
    lit,
};
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::prelude::SessionContext;
use serde_json::{Map, Value};

use super::words;
use crate::catalog::{SIGNALS, time_bounds};
use crate::detect::evaluate::Window;
use crate::detect::json::{self, time_text};
use crate::error::Result;
use crate::schema::Table;

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

/// A subject as expressions over the rows of some part of a plan, each with its value.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Subject(pub(super) Vec<(Expr, ScalarValue)>);

impl Subject {
    /// Whether a row is of it; `None` when nothing tells.
    pub(super) fn predicate(&self) -> Option<Expr> {
        let parts = self.0.iter();
        conjunction(parts.map(|(expr, value)| expr.clone().eq(lit(value.clone()))))
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        let parts = self.0.iter();
        let parts: Vec<String> = parts
            .map(|(expr, value)| words::of(&expr.clone().eq(lit(value.clone()))))
            .collect();
        parts.join(" AND ")
    }

    /// The same with other expressions in place of columns; what has no other is left out.
    fn over(&self, with: impl Fn(&Column) -> Option<Expr>) -> Subject {
        let moved = self.0.iter().filter_map(|(expr, value)| {
            let mut is_known = true;
            let moved = expr.clone().transform_up(|expr| match &expr {
                Expr::Column(column) => Ok(match with(column) {
                    Some(other) => Transformed::yes(other),
                    None => {
                        is_known = false;
                        Transformed::no(expr)
                    }
                }),
                _ => Ok(Transformed::no(expr)),
            });
            let moved = moved.ok()?.data;
            is_known.then(|| (moved, value.clone()))
        });
        Subject(moved.collect())
    }

    /// The same over a part of a plan whose columns stand at the same places.
    fn beneath(&self, above: &DFSchema, below: &DFSchema) -> Subject {
        self.over(|column| column_at(below, above.maybe_index_of_column(column)?))
    }
}

fn column_at(schema: &DFSchema, place: usize) -> Option<Expr> {
    (place < schema.fields().len())
        .then(|| Expr::Column(Column::from(schema.qualified_field(place))))
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

    /// The rows of a table in the range, of the subject, and after each condition.
    async fn table(
        &mut self,
        scan: &TableScan,
        conditions: &[&Expr],
        subject: &Subject,
        part: Option<String>,
    ) -> Result<bool> {
        let table = scan.table_name.table().to_string();
        let mut all: Vec<Expr> = Vec::new();
        for condition in scan.filters.iter().flat_map(split_conjunction) {
            if !all.contains(condition) {
                all.push(condition.clone());
            }
        }
        for condition in conditions {
            if !all.contains(*condition) {
                all.push((*condition).clone());
            }
        }
        let time = time_column(&table);
        let (times, conditions): (Vec<Expr>, Vec<Expr>) = all.into_iter().partition(|condition| {
            let columns = condition.column_refs();
            !columns.is_empty() && columns.iter().all(|column| column.name == time)
        });
        let plain = LogicalPlan::TableScan(TableScan {
            filters: Vec::new(),
            ..scan.clone()
        });
        let range = self.range(&times, time);
        let mut rows = LogicalPlanBuilder::from(plain);
        if let Some(bounds) = conjunction(times) {
            rows = rows.filter(bounds)?;
        }
        let rows = rows.build()?;
        let (any, of_subject, kept) = self.counts(&rows, subject, &conditions).await?;
        let what = match table == SIGNALS {
            true => format!("signals {range}"),
            false => format!("rows of `{table}` {range}"),
        };
        self.step(part.clone(), what, any, None);
        if any == 0 {
            self.stop = Some(Stop::NoRows { table, range });
            return Ok(false);
        }
        if !subject.0.is_empty() {
            self.step(
                part.clone(),
                format!("of {}", subject.words()),
                of_subject,
                None,
            );
            if of_subject == 0 {
                self.stop = Some(Stop::NoSubject {
                    table,
                    range,
                    any,
                    subject: subject.clone(),
                });
                return Ok(false);
            }
        }
        let mut before = of_subject;
        for (place, (condition, (left, alone))) in conditions.iter().zip(kept).enumerate() {
            let note = (left == 0).then(|| {
                format!(
                    "alone {} of {}",
                    words::grouped(alone as i64),
                    words::grouped(of_subject as i64)
                )
            });
            self.step(part.clone(), words::of(condition), left, note);
            if left == 0 {
                let kept = conditions[..place].iter().cloned();
                let of = kept.chain(subject.predicate());
                let mut stopped = LogicalPlanBuilder::from(rows);
                if let Some(predicate) = conjunction(of) {
                    stopped = stopped.filter(predicate)?;
                }
                let (note, empty) = self.instead(stopped.build()?, condition, before).await?;
                if let (Some(step), Some(note)) = (self.steps.last_mut(), &note) {
                    let alone = step.note.take().unwrap_or_default();
                    step.note = Some(format!("{alone}; {note}"));
                }
                self.stop = Some(Stop::Filtered {
                    condition: words::of(condition),
                    before,
                    alone,
                    note,
                    empty,
                });
                return Ok(false);
            }
            before = left;
        }
        Ok(true)
    }

    /// The range of time that conditions leave, in words.
    fn range(&self, times: &[Expr], column: &str) -> String {
        let bounds = time_bounds(times, column, |_| true);
        match (bounds.from, bounds.to) {
            (Some(from), Some(to)) if (from, to) != (self.window.start, self.window.end) => {
                format!("from {} to {}", time_text(from), time_text(to))
            }
            (Some(_), Some(_)) => WINDOW.to_string(),
            // Bounds that are worked out from the window.
            _ => "in its range".to_string(),
        }
    }

    /// How many rows there are, how many of the subject, and of those how many after each condition, and by it alone.
    async fn counts(
        &self,
        rows: &LogicalPlan,
        subject: &Subject,
        conditions: &[Expr],
    ) -> Result<(u64, u64, Vec<(u64, u64)>)> {
        let is_subject = subject.predicate();
        let counted = |name: String, predicate: Option<Expr>| -> Result<Expr> {
            let count = count(lit(1));
            Ok(match predicate {
                Some(predicate) => count.filter(predicate).build()?,
                None => count,
            }
            .alias(name))
        };
        let mut counts = vec![
            counted("any".to_string(), None)?,
            counted("subject".to_string(), is_subject.clone())?,
        ];
        for (place, condition) in conditions.iter().enumerate() {
            let so_far = conditions[..=place].iter().cloned();
            let left = conjunction(is_subject.iter().cloned().chain(so_far));
            let alone = conjunction(is_subject.iter().cloned().chain([condition.clone()]));
            counts.push(counted(format!("left{place}"), left)?);
            counts.push(counted(format!("alone{place}"), alone)?);
        }
        let none: Vec<Expr> = Vec::new();
        let plan = LogicalPlanBuilder::from(rows.clone())
            .aggregate(none, counts)?
            .build()?;
        // All in one pass, unless the planner trips over what the conditions have in common.
        let Ok(mut found) = self.rows(plan).await else {
            return self.counts_apart(rows, subject, conditions).await;
        };
        let row = found.pop().unwrap_or_default();
        let number = |name: &str| row.get(name).and_then(Value::as_u64).unwrap_or(0);
        let kept = (0..conditions.len()).map(|place| {
            (
                number(&format!("left{place}")),
                number(&format!("alone{place}")),
            )
        });
        Ok((number("any"), number("subject"), kept.collect()))
    }

    /// The same with a pass for every number.
    async fn counts_apart(
        &self,
        rows: &LogicalPlan,
        subject: &Subject,
        conditions: &[Expr],
    ) -> Result<(u64, u64, Vec<(u64, u64)>)> {
        let counted = async |conditions: &[Expr]| {
            let mut kept = LogicalPlanBuilder::from(rows.clone());
            if let Some(predicate) = conjunction(conditions.iter().cloned()) {
                kept = kept.filter(predicate)?;
            }
            self.count(kept.build()?, subject).await
        };
        let any = self.count(rows.clone(), &Subject::default()).await?;
        let of_subject = counted(&[]).await?;
        let mut kept = Vec::with_capacity(conditions.len());
        for (place, condition) in conditions.iter().enumerate() {
            let left = counted(&conditions[..=place]).await?;
            let alone = counted(std::slice::from_ref(condition)).await?;
            kept.push((left, alone));
        }
        Ok((any, of_subject, kept))
    }

    /// What rows hold that a condition lets none of pass: how near the best comes, or the values that are there. With it
    /// the column that is null in all of them.
    async fn instead(
        &self,
        rows: LogicalPlan,
        condition: &Expr,
        before: u64,
    ) -> Result<(Option<String>, Option<String>)> {
        let mut columns: Vec<&Column> = condition.column_refs().into_iter().collect();
        columns.sort();
        let filled = columns
            .iter()
            .map(|column| count(Expr::Column((*column).clone())));
        let filled = filled
            .enumerate()
            .map(|(place, it)| it.alias(format!("c{place}")));
        let none: Vec<Expr> = Vec::new();
        let plan = LogicalPlanBuilder::from(rows.clone())
            .aggregate(none, filled.collect::<Vec<_>>())?
            .build()?;
        let row = self.rows(plan).await?.pop().unwrap_or_default();
        let empty = row
            .values()
            .position(|filled| filled.as_u64() == Some(0))
            .and_then(|place| columns.get(place));
        let asks_for_nothing = matches!(condition, Expr::IsNull(_));
        if let Some(column) = empty.filter(|_| !asks_for_nothing) {
            let note = format!("`{}` is null in all of them", column.name);
            return Ok((Some(note), Some(column.name.clone())));
        }
        let (expr, op, right) = match condition {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => (&**left, *op, Some(&**right)),
            Expr::InList(list) => (&*list.expr, Operator::Eq, None),
            _ => return Ok((None, None)),
        };
        // Texts of prompts are for those who may read them.
        if expr
            .column_refs()
            .iter()
            .any(|column| is_prose(&column.name))
        {
            return Ok((None, None));
        }
        if let Some(right) = right
            && let Some((left, right)) = self.nearest(&rows, expr, op, right).await?
        {
            let note = words::distance(&left, op, &right);
            return Ok((
                note.map(|note| format!("the nearest has {}: {note}", words::value(&left))),
                None,
            ));
        }
        let plan = LogicalPlanBuilder::from(rows)
            .aggregate(
                vec![expr.clone().alias("value")],
                vec![count(lit(1)).alias("n")],
            )?
            .sort(vec![datafusion::prelude::col("n").sort(false, false)])?
            .limit(0, Some(3))?
            .build()?;
        let values = self.rows(plan).await?.into_iter().map(|row| {
            let n = row.get("n").and_then(Value::as_i64).unwrap_or(0);
            format!("{} in {}", words::value(&row["value"]), words::grouped(n))
        });
        let values: Vec<String> = values.collect();
        let note = format!("`{}` is {}", words::of(expr), values.join(", "));
        Ok(((before > 0 && !values.is_empty()).then_some(note), None))
    }

    /// The row whose left side comes nearest to what a comparison asks for; `None` for what has no order.
    async fn nearest(
        &self,
        rows: &LogicalPlan,
        left: &Expr,
        op: Operator,
        right: &Expr,
    ) -> Result<Option<(Value, Value)>> {
        let is_upwards = match op {
            Operator::Gt | Operator::GtEq => true,
            Operator::Lt | Operator::LtEq => false,
            _ => return Ok(None),
        };
        let plan = LogicalPlanBuilder::from(rows.clone())
            .filter(left.clone().is_not_null())?
            .project(vec![left.clone().alias("l"), right.clone().alias("r")])?
            .sort(vec![datafusion::prelude::col("l").sort(!is_upwards, false)])?
            .limit(0, Some(1))?
            .build()?;
        let row = self.rows(plan).await?.pop();
        Ok(row.map(|mut row| {
            let mut take = |name: &str| row.get_mut(name).map(Value::take).unwrap_or_default();
            (take("l"), take("r"))
        }))
    }

    /// Conditions on rows that are no longer those of a table: values beside what is asked for.
    async fn conditions(
        &mut self,
        input: &LogicalPlan,
        conditions: &[&Expr],
        subject: &Subject,
        part: Option<String>,
    ) -> Result<bool> {
        /// Rows that are looked at; beyond it a subject has so many that no single one tells.
        const MOST: usize = 10_000;
        let mut columns = Vec::new();
        for (place, condition) in conditions.iter().enumerate() {
            columns.push((*condition).clone().alias(format!("holds{place}")));
            if let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition
                && (op.supports_propagation() || *op == Operator::NotEq)
            {
                columns.push((**left).clone().alias(format!("l{place}")));
                columns.push((**right).clone().alias(format!("r{place}")));
            }
        }
        let mut builder = LogicalPlanBuilder::from(input.clone());
        if let Some(predicate) = subject.predicate() {
            builder = builder.filter(predicate)?;
        }
        let plan = builder.project(columns)?.limit(0, Some(MOST))?.build()?;
        let mut rows = self.rows(plan).await?;
        for (place, condition) in conditions.iter().enumerate() {
            let holds = format!("holds{place}");
            let passes = |row: &Map<String, Value>| row.get(&holds) == Some(&Value::Bool(true));
            let left: Vec<Map<String, Value>> =
                rows.iter().filter(|row| passes(row)).cloned().collect();
            let note = self.compared(condition, place, &rows, left.is_empty());
            self.step(
                part.clone(),
                words::of(condition),
                left.len() as u64,
                note.clone(),
            );
            if left.is_empty() {
                let condition = words::of(condition);
                let note = note.unwrap_or_else(|| format!("`{condition}` does not hold"));
                self.stop = Some(Stop::Below { condition, note });
                return Ok(false);
            }
            rows = left;
        }
        Ok(!rows.is_empty())
    }

    /// The values of the row that comes nearest to a condition.
    fn compared(
        &self,
        condition: &Expr,
        place: usize,
        rows: &[Map<String, Value>],
        is_lost: bool,
    ) -> Option<String> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else {
            return None;
        };
        let has_distance = matches!(
            op,
            Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq
        );
        if !has_distance && !is_lost {
            return None;
        }
        let (l, r) = (format!("l{place}"), format!("r{place}"));
        let number = |value: &Value| {
            value
                .as_f64()
                .or_else(|| crate::detect::stored::time(value).map(|time| time as f64))
        };
        let missing = |row: &&Map<String, Value>| {
            let (left, right) = (number(row.get(&l)?)?, number(row.get(&r)?)?);
            Some(match op {
                Operator::Lt | Operator::LtEq => left - right,
                _ => right - left,
            })
        };
        let nearest = rows.iter().min_by(|a, b| {
            let (a, b) = (
                missing(a).unwrap_or(f64::MAX),
                missing(b).unwrap_or(f64::MAX),
            );
            a.total_cmp(&b)
        })?;
        let (value, wanted) = (nearest.get(&l)?, nearest.get(&r)?);
        let is_constant = right.column_refs().is_empty();
        let needs = match is_constant {
            true => words::value(wanted),
            false => format!("{} ({})", words::value(wanted), words::of(right)),
        };
        let mut text = format!(
            "{} = {}, needs {op} {needs}",
            words::of(left),
            words::value(value)
        );
        if let Some(distance) = words::distance(value, *op, wanted) {
            text.push_str(&format!(": {distance}"));
        }
        Some(text)
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

/// What an aggregate picks out of the rows of its group, if it is one that does: who is named by it is in one of them.
fn of_a_row(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Alias(alias) => of_a_row(&alias.expr),
        Expr::AggregateFunction(call) => {
            let picks = ["min", "max", "first_value", "last_value", "any_value"];
            let is_one = picks.contains(&call.func.name());
            is_one.then(|| call.params.args.first().cloned()).flatten()
        }
        _ => None,
    }
}

/// The subject on each side of a join. Columns that the sides are joined on are the same on both.
fn sides(plan: &LogicalPlan, join: &Join, subject: &Subject) -> (Subject, Subject) {
    let (left, right) = (join.left.schema(), join.right.schema());
    let place = |column: &Column| plan.schema().maybe_index_of_column(column);
    let only_right = matches!(
        join.join_type,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark
    );
    let first_right = if only_right { 0 } else { left.fields().len() };
    let mut of_left = match only_right {
        true => Subject::default(),
        false => subject.over(|column| column_at(left, place(column)?)),
    };
    let mut of_right =
        subject.over(|column| column_at(right, place(column)?.checked_sub(first_right)?));
    let (known_left, known_right) = (of_left.0.clone(), of_right.0.clone());
    for (left, right) in &join.on {
        let moved = known_left.iter().filter(|(expr, _)| expr == left);
        of_right
            .0
            .extend(moved.map(|(_, value)| (right.clone(), value.clone())));
        let moved = known_right.iter().filter(|(expr, _)| expr == right);
        of_left
            .0
            .extend(moved.map(|(_, value)| (left.clone(), value.clone())));
    }
    (of_left, of_right)
}

/// The column of a table or view that says when a row happened.
pub(super) fn time_column(table: &str) -> &'static str {
    Table::from_name(table).map_or("event_time", Table::time_column)
}

/// Whether a column holds what people or models wrote.
fn is_prose(column: &str) -> bool {
    matches!(column, "text" | "attributes" | "arguments" | "result") || column.ends_with("_text")
}

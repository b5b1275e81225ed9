//! Whether more rows can only add to what a rule finds.
//!
//! Then a window may be looked at before it closes: what is found early stays found. It is derived from the plan, by
//! following how each column moves when rows are added. What is not understood waits.

use std::borrow::Cow;
use std::collections::HashMap;

use datafusion::common::JoinType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Case, Expr, Join, LogicalPlan, Operator, Projection,
};
use datafusion::prelude::SessionContext;

use super::evaluate::Prepared;
use crate::catalog::Rule;
use crate::error::Result;
use crate::schema::Table;

/// Whether a window may be evaluated before it closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Early {
    /// More rows only add findings.
    Yes,
    /// Why not.
    No(String),
}

impl Early {
    /// Derives it from a rule's plan over the tables that it was prepared for.
    ///
    /// # Errors
    /// When the plan cannot be optimised.
    pub fn of(context: &SessionContext, prepared: &Prepared<'_>) -> Result<Early> {
        Early::derive(&prepared.file.rule, || {
            let plan = prepared.bound(prepared.window(0))?;
            Ok(Cow::Owned(context.state().optimize(&plan)?))
        })
    }

    /// The same from the plan for some window, optimised.
    ///
    /// # Errors
    /// None, as the plan is there.
    pub fn of_plan(rule: &Rule, plan: &LogicalPlan) -> Result<Early> {
        Early::derive(rule, || Ok(Cow::Borrowed(plan)))
    }

    fn derive<'p>(
        rule: &Rule,
        plan: impl FnOnce() -> Result<Cow<'p, LogicalPlan>>,
    ) -> Result<Early> {
        if !rule.early {
            return Ok(Early::No("`early = \"never\"`".into()));
        }
        if let Some(correlation) = &rule.correlation {
            return Ok(correlation
                .waits()
                .map_or(Early::Yes, |why| Early::No(why.into())));
        }
        if rule.baseline.is_some() {
            return Ok(Early::No("it compares with a baseline".into()));
        }
        let plan = plan()?;
        let trends = match follow(&plan) {
            Ok(trends) => trends,
            Err(why) => return Ok(Early::No(why)),
        };
        // A subject that changes when rows are added is another subject.
        for column in &rule.entity {
            let position = plan
                .schema()
                .fields()
                .iter()
                .position(|field| field.name() == column);
            if position.is_some_and(|position| trends[position] != Trend::Fixed) {
                return Ok(Early::No(format!("`{column}` changes with more rows")));
            }
        }
        Ok(Early::Yes)
    }
}

/// How a column of a row moves when rows are added beneath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trend {
    /// Not at all.
    Fixed,
    /// It does not fall, and is not below zero.
    Rising,
    /// Nobody knows.
    Any,
}

type Trends = Vec<Trend>;

/// The trend of each column, if no row of the output ever goes.
fn follow(plan: &LogicalPlan) -> std::result::Result<Trends, String> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            if Table::from_name(scan.table_name.table()).is_none() {
                return Err(format!(
                    "rows of `{}` change when more logs of a call arrive",
                    scan.table_name.table()
                ));
            }
            Ok(vec![Trend::Fixed; scan.projected_schema.fields().len()])
        }
        LogicalPlan::SubqueryAlias(alias) => follow(&alias.input),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => follow(&sort.input),
        LogicalPlan::Repartition(repartition) => follow(&repartition.input),
        LogicalPlan::Filter(filter) => {
            let input = follow(&filter.input)?;
            let columns = Columns::new(&filter.input, &input);
            match columns.stays_true(&filter.predicate) {
                true => Ok(input),
                false => Err(format!("more rows may undo `{}`", filter.predicate)),
            }
        }
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            let trends = follow(input)?;
            let columns = Columns::new(input, &trends);
            Ok(expr.iter().map(|expr| columns.trend(expr)).collect())
        }
        LogicalPlan::Aggregate(aggregate) => aggregated(aggregate),
        LogicalPlan::Distinct(distinct) => {
            let trends = follow(distinct.input())?;
            match trends.iter().all(|trend| *trend == Trend::Fixed) {
                true => Ok(trends),
                false => Err("it keeps different rows that change".into()),
            }
        }
        LogicalPlan::Union(union) => {
            let mut joined: Option<Trends> = None;
            for input in &union.inputs {
                let trends = follow(input)?;
                joined = Some(match joined {
                    None => trends,
                    Some(known) => known
                        .into_iter()
                        .zip(trends)
                        .map(|(a, b)| if a == b { a } else { Trend::Any })
                        .collect(),
                });
            }
            joined.ok_or_else(|| "an empty union".into())
        }
        LogicalPlan::Unnest(unnest) => {
            let trends = follow(&unnest.input)?;
            match trends.iter().all(|trend| *trend == Trend::Fixed) {
                true => Ok(vec![Trend::Fixed; unnest.schema.fields().len()]),
                false => Err("it unnests what changes".into()),
            }
        }
        LogicalPlan::Window(window) => {
            let mut trends = follow(&window.input)?;
            trends.resize(window.schema.fields().len(), Trend::Any);
            Ok(trends)
        }
        LogicalPlan::Join(join) => joined(join),
        LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row => {
            Ok(vec![Trend::Fixed; empty.schema.fields().len()])
        }
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => Err("it keeps the first rows only".into()),
        other => Err(format!("`{}` is not understood", other.display())),
    }
}

fn aggregated(aggregate: &Aggregate) -> std::result::Result<Trends, String> {
    let input = follow(&aggregate.input)?;
    let columns = Columns::new(&aggregate.input, &input);
    if aggregate.group_expr.is_empty() {
        return Err("it returns a row for everybody, whatever there is".into());
    }
    for group in &aggregate.group_expr {
        if matches!(group, Expr::GroupingSet(_)) || columns.trend(group) != Trend::Fixed {
            return Err(format!("it groups by `{group}`, which changes"));
        }
    }
    let mut trends = vec![Trend::Fixed; aggregate.group_expr.len()];
    trends.extend(
        aggregate
            .aggr_expr
            .iter()
            .map(|expr| columns.aggregate(expr)),
    );
    Ok(trends)
}

fn joined(join: &Join) -> std::result::Result<Trends, String> {
    let (mut left, mut right) = (follow(&join.left)?, follow(&join.right)?);
    let keys_are_fixed = {
        let (of_left, of_right) = (
            Columns::new(&join.left, &left),
            Columns::new(&join.right, &right),
        );
        let fixed = |(a, b): &(Expr, Expr)| {
            of_left.trend(a) == Trend::Fixed && of_right.trend(b) == Trend::Fixed
        };
        join.on.iter().all(fixed)
    };
    if !keys_are_fixed {
        return Err("it joins on what changes".into());
    }
    if let Some(filter) = &join.filter {
        let mut both: HashMap<String, Trend> = HashMap::new();
        for (plan, trends) in [(&join.left, &left), (&join.right, &right)] {
            both.extend(Columns::new(plan, trends).0);
        }
        if !Columns(both).stays_true(filter) {
            return Err(format!("more rows may undo `{filter}`"));
        }
    }
    match join.join_type {
        JoinType::Inner => {
            left.append(&mut right);
            Ok(left)
        }
        JoinType::LeftSemi => Ok(left),
        JoinType::RightSemi => Ok(right),
        // A row that finds its match is another row, of the same subject.
        JoinType::Left => {
            left.extend(vec![Trend::Any; right.len()]);
            Ok(left)
        }
        JoinType::Right => {
            let mut trends = vec![Trend::Any; left.len()];
            trends.append(&mut right);
            Ok(trends)
        }
        other => Err(format!("a {other} join drops rows when others arrive")),
    }
}

/// Names of columns and how they move.
struct Columns(HashMap<String, Trend>);

impl Columns {
    fn new(plan: &LogicalPlan, trends: &[Trend]) -> Columns {
        let names = plan.schema().columns().into_iter();
        Columns(
            names
                .map(|column| column.flat_name())
                .zip(trends.iter().copied())
                .collect(),
        )
    }

    /// How an expression moves.
    fn trend(&self, expr: &Expr) -> Trend {
        match expr {
            Expr::Alias(alias) => self.trend(&alias.expr),
            Expr::Column(column) => self
                .0
                .get(&column.flat_name())
                .copied()
                .unwrap_or(Trend::Any),
            Expr::Cast(cast) if self.trend(&cast.expr) == Trend::Rising => Trend::Rising,
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::Plus | Operator::Multiply,
                right,
            }) if self.is_rising(left) && self.is_rising(right) && !self.is_fixed(expr) => {
                Trend::Rising
            }
            _ if self.is_fixed(expr) => Trend::Fixed,
            _ => Trend::Any,
        }
    }

    /// Whether nothing beneath an expression changes.
    fn is_fixed(&self, expr: &Expr) -> bool {
        let mut fixed = true;
        let walked = expr.apply(|expr| {
            fixed &= match expr {
                Expr::Column(column) => self.0.get(&column.flat_name()) == Some(&Trend::Fixed),
                Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_) => false,
                _ => true,
            };
            Ok(TreeNodeRecursion::Continue)
        });
        fixed && walked.is_ok()
    }

    /// Whether an expression rises, or is a number that is not below zero.
    fn is_rising(&self, expr: &Expr) -> bool {
        self.trend(expr) == Trend::Rising || (self.is_fixed(expr) && is_non_negative(expr))
    }

    /// Whether a predicate that is true of a row stays true.
    fn stays_true(&self, predicate: &Expr) -> bool {
        if self.is_fixed(predicate) {
            return true;
        }
        match predicate {
            Expr::Alias(alias) => self.stays_true(&alias.expr),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And | Operator::Or => self.stays_true(left) && self.stays_true(right),
                Operator::Gt | Operator::GtEq => {
                    self.trend(left) == Trend::Rising && self.is_fixed(right)
                }
                Operator::Lt | Operator::LtEq => {
                    self.is_fixed(left) && self.trend(right) == Trend::Rising
                }
                _ => false,
            },
            // Rising numbers of flags: once true, for ever true.
            Expr::Column(_) => self.trend(predicate) == Trend::Rising,
            Expr::IsNotNull(inner) => self.trend(inner) == Trend::Rising,
            _ => false,
        }
    }

    fn aggregate(&self, expr: &Expr) -> Trend {
        match expr {
            Expr::Alias(alias) => self.aggregate(&alias.expr),
            Expr::AggregateFunction(AggregateFunction {
                func,
                params: AggregateFunctionParams { args, filter, .. },
            }) => {
                // What is counted must go on being counted.
                if filter
                    .as_ref()
                    .is_some_and(|filter| !self.stays_true(filter))
                {
                    return Trend::Any;
                }
                let all_rise = args.iter().all(|arg| self.is_rising(arg));
                let all_fixed = args.iter().all(|arg| self.is_fixed(arg));
                match func.name() {
                    "count" if all_fixed => Trend::Rising,
                    "approx_distinct" | "bool_or" if all_fixed => Trend::Rising,
                    "sum" | "max" if all_rise => Trend::Rising,
                    _ => Trend::Any,
                }
            }
            _ => Trend::Any,
        }
    }
}

/// Whether an expression over columns of a table is a number that is not below zero, by what the columns mean.
fn is_non_negative(expr: &Expr) -> bool {
    const ENDS: [&str; 7] = [
        "_tokens", "_count", "_ms", "_bytes", "_length", "_score", "_usd",
    ];
    match expr {
        Expr::Alias(alias) => is_non_negative(&alias.expr),
        Expr::Cast(cast) => is_non_negative(&cast.expr),
        Expr::Column(column) => {
            column.name.contains("_tokens_") || ENDS.iter().any(|end| column.name.ends_with(end))
        }
        Expr::Literal(value, _) => value
            .cast_to(&arrow::datatypes::DataType::Float64)
            .is_ok_and(|value| {
                matches!(value, datafusion::common::ScalarValue::Float64(Some(number)) if number >= 0.0)
            }),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Plus | Operator::Multiply,
            right,
        }) => is_non_negative(left) && is_non_negative(right),
        Expr::ScalarFunction(call) if call.func.name() == "coalesce" => {
            call.args.iter().all(is_non_negative)
        }
        Expr::Case(Case {
            expr: _,
            when_then_expr,
            else_expr,
        }) => {
            when_then_expr.iter().all(|(_, then)| is_non_negative(then))
                && else_expr.as_ref().is_none_or(|otherwise| is_non_negative(otherwise))
        }
        _ => false,
    }
}

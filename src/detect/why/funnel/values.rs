//! What rows hold beside what a condition asks for.

use datafusion::common::Column;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, lit};
use serde_json::{Map, Value};

use super::subject::Subject;
use super::{Funnel, Stop};
use crate::detect::why::words;
use crate::error::Result;

impl Funnel<'_> {
    /// What rows hold that a condition lets none of pass: how near the best comes, or the values that are there. With it
    /// the column that is null in all of them.
    pub(super) async fn instead(
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
    pub(super) async fn conditions(
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
}

/// Whether a column holds what people or models wrote.
fn is_prose(column: &str) -> bool {
    matches!(column, "text" | "attributes" | "arguments" | "result") || column.ends_with("_text")
}

//! Counting the rows of a table: in the range, of the subject, and after each condition.

use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, TableScan, lit,
};
use serde_json::Value;

use super::subject::Subject;
use super::{Funnel, Stop, WINDOW};
use crate::catalog::{SIGNALS, time_bounds};
use crate::detect::json::time_text;
use crate::detect::why::words;
use crate::error::Result;
use crate::schema::Table;

impl Funnel<'_> {
    /// The rows of a table in the range, of the subject, and after each condition.
    pub(super) async fn table(
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
}

/// The column of a table or view that says when a row happened.
fn time_column(table: &str) -> &'static str {
    Table::from_name(table).map_or("event_time", Table::time_column)
}

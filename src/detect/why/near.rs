//! Where the rows of a subject are, when a window has none: before or after it, some hours off, or under another name.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue};
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::{Expr, ExprFunctionExt, lit};
use datafusion::prelude::{SessionContext, ident};
use serde_json::{Map, Value};

use super::funnel::Subject;
use super::words;
use crate::catalog::timestamp;
use crate::detect::evaluate::{Prepared, Window};
use crate::detect::json::{self, time_text};
use crate::detect::stored::time;
use crate::error::Result;
use crate::schema::Table;
use crate::suggest::nearest;

/// Rows of a table that are not in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Around {
    /// How many there are in all.
    pub(super) all: u64,
    /// The last one before the window.
    pub(super) before: Option<i64>,
    /// The first one after it.
    pub(super) after: Option<i64>,
}

impl Around {
    /// How far the nearest is from the window.
    pub(super) fn distance(&self, window: Window) -> Option<i64> {
        let before = self.before.map(|time| window.start - time);
        let after = self.after.map(|time| time - window.end);
        [before, after].into_iter().flatten().min()
    }

    /// In words, `nothing before it` where there is none.
    pub(super) fn words(&self, window: Window) -> String {
        let before = self.before.map_or("none before it".to_string(), |time| {
            let far = words::length(window.start - time);
            format!(
                "the last before it at {}, {far} before it begins",
                time_text(time)
            )
        });
        let after = self.after.map_or("none after it".to_string(), |time| {
            let far = words::length(time - window.end);
            format!(
                "the first after it at {}, {far} after it ends",
                time_text(time)
            )
        });
        format!("{before}; {after}")
    }
}

/// The tables of a store, asked about a subject.
pub(super) struct Near<'s> {
    pub(super) store: &'s SessionContext,
    pub(super) table: Table,
    pub(super) window: Window,
}

impl Near<'_> {
    /// Rows outside of the window: of a subject, or of anybody. `None` when the table does not have its columns.
    pub(super) async fn around(&self, subject: Option<&Subject>) -> Result<Option<Around>> {
        let predicate = match subject {
            None => None,
            Some(subject) => match self.over_table(subject).and_then(|it| it.predicate()) {
                Some(predicate) => Some(predicate),
                None => return Ok(None),
            },
        };
        let column = ident(self.table.time_column());
        let (start, end) = (
            lit(timestamp(self.window.start)),
            lit(timestamp(self.window.end)),
        );
        let row = self
            .aggregate(
                predicate,
                vec![
                    count(lit(1)).alias("n"),
                    max(column.clone())
                        .filter(column.clone().lt(start))
                        .build()?
                        .alias("before"),
                    min(column.clone())
                        .filter(column.gt_eq(end))
                        .build()?
                        .alias("after"),
                ],
            )
            .await?;
        let instant = |name: &str| row.get(name).and_then(time);
        Ok(Some(Around {
            all: row.get("n").and_then(Value::as_u64).unwrap_or(0),
            before: instant("before"),
            after: instant("after"),
        }))
    }

    /// How many rows of the window have each column that the subject is told by.
    pub(super) async fn filled(&self, subject: &Subject) -> Result<Vec<(String, u64)>> {
        let Some(subject) = self.over_table(subject) else {
            return Ok(Vec::new());
        };
        let column = ident(self.table.time_column());
        let within = column
            .clone()
            .gt_eq(lit(timestamp(self.window.start)))
            .and(column.lt(lit(timestamp(self.window.end))));
        let counts = subject.0.iter().enumerate();
        let counts =
            counts.map(|(place, (expr, _))| count(expr.clone()).alias(format!("c{place}")));
        let row = self.aggregate(Some(within), counts.collect()).await?;
        let filled = row.values().map(|n| n.as_u64().unwrap_or(0));
        let names = subject.0.iter().map(|(expr, _)| words::of(expr));
        Ok(names.zip(filled).collect())
    }

    /// Whole hours by which the window would have to be elsewhere for the rule to find the subject, the nearest first.
    pub(super) async fn hours_off(
        &self,
        prepared: &Prepared<'_>,
        subject: &Subject,
        is_it: impl Fn(&Map<String, Value>) -> bool,
    ) -> Result<Option<i64>> {
        const HOUR: i64 = 3_600_000_000;
        /// Clocks on earth are between twelve hours behind and fourteen ahead.
        const MOST: i64 = 14;
        let Some(predicate) = self.over_table(subject).and_then(|it| it.predicate()) else {
            return Ok(None);
        };
        let mut shifts: Vec<i64> = (-MOST..=MOST).filter(|hours| *hours != 0).collect();
        shifts.sort_by_key(|hours| hours.abs());
        let column = ident(self.table.time_column());
        let counts = shifts.iter().map(|hours| {
            let (start, end) = (
                self.window.start + hours * HOUR,
                self.window.end + hours * HOUR,
            );
            let within = column
                .clone()
                .gt_eq(lit(timestamp(start)))
                .and(column.clone().lt(lit(timestamp(end))));
            Ok(count(lit(1))
                .filter(within)
                .build()?
                .alias(format!("h{hours}")))
        });
        let row = self
            .aggregate(Some(predicate), counts.collect::<Result<_>>()?)
            .await?;
        let every = prepared.file.rule.every.0;
        for hours in shifts {
            let end = self.window.end + hours * HOUR;
            let has_rows = row.get(&format!("h{hours}")).and_then(Value::as_u64) > Some(0);
            if has_rows && end % every == 0 {
                let evaluated = prepared.evaluate(end).await;
                if evaluated.found.iter().any(|found| is_it(&found.entity)) {
                    return Ok(Some(hours));
                }
            }
        }
        Ok(None)
    }

    /// The names nearest to a subject's that there are, with their rows. Of a subject of several columns, those of the
    /// first column whose value there is not.
    pub(super) async fn names(&self, subject: &Subject) -> Result<Vec<(String, u64)>> {
        /// Names that are looked at: those with the most rows.
        const MOST: usize = 100_000;
        let Some(subject) = self.over_table(subject) else {
            return Ok(Vec::new());
        };
        for (expr, value) in &subject.0 {
            let frame = self.store.table(self.table.name()).await?;
            let name = expr.clone().alias("name");
            let frame = frame
                .aggregate(vec![name], vec![count(lit(1)).alias("n")])?
                .filter(ident("name").is_not_null())?
                .sort(vec![ident("n").sort(false, false)])?
                .limit(0, Some(MOST))?;
            let mut known = Vec::new();
            for batch in &frame.collect().await? {
                for index in 0..batch.num_rows() {
                    let row = json::row(batch, index)?;
                    let rows = row.get("n").and_then(Value::as_u64).unwrap_or(0);
                    known.extend(
                        row.get("name")
                            .and_then(Value::as_str)
                            .map(|name| (name.to_string(), rows)),
                    );
                }
            }
            let asked = plain(value);
            if !known.iter().any(|(name, _)| *name == asked) {
                return Ok(alike(&asked, known));
            }
        }
        Ok(Vec::new())
    }

    /// The subject in columns of the table beneath a view.
    fn over_table(&self, subject: &Subject) -> Option<Subject> {
        let schema = self.table.schema();
        let mut moved = Vec::with_capacity(subject.0.len());
        for (expr, value) in &subject.0 {
            let mut is_known = true;
            let plain = expr.clone().transform_up(|expr| match expr {
                Expr::Column(column) => {
                    is_known &= schema.field_with_name(&column.name).is_ok();
                    Ok(Transformed::yes(Expr::Column(Column::new_unqualified(
                        column.name,
                    ))))
                }
                other => Ok(Transformed::no(other)),
            });
            let plain = plain.ok()?.data;
            if !is_known || plain.column_refs().is_empty() {
                return None;
            }
            moved.push((plain, value.clone()));
        }
        (!moved.is_empty()).then_some(Subject(moved))
    }

    async fn aggregate(
        &self,
        predicate: Option<Expr>,
        of: Vec<Expr>,
    ) -> Result<Map<String, Value>> {
        let mut frame = self.store.table(self.table.name()).await?;
        if let Some(predicate) = predicate {
            frame = frame.filter(predicate)?;
        }
        let batches = frame.aggregate(Vec::new(), of)?.collect().await?;
        let batch = batches.iter().find(|batch| batch.num_rows() > 0);
        Ok(batch
            .map(|batch| json::row(batch, 0))
            .transpose()?
            .unwrap_or_default())
    }
}

fn plain(value: &ScalarValue) -> String {
    let text = value.try_as_str().flatten();
    text.map_or_else(|| value.to_string(), str::to_string)
}

/// Names that may have been meant: but for case and spaces the same, a part of the other, or a few letters off.
fn alike(asked: &str, known: Vec<(String, u64)>) -> Vec<(String, u64)> {
    /// Names that are told.
    const MOST: usize = 3;
    let folded = |text: &str| text.trim().to_lowercase();
    let wanted = folded(asked);
    let near = nearest(asked, known.iter().map(|(name, _)| name.as_str())).map(str::to_string);
    let rank = |name: &str| {
        let name_folded = folded(name);
        if name_folded == wanted {
            Some(0)
        } else if near.as_deref() == Some(name) {
            Some(1)
        } else if wanted.chars().count() >= 3
            && (name_folded.contains(&wanted)
                || (name_folded.chars().count() >= 3 && wanted.contains(&name_folded)))
        {
            Some(2)
        } else {
            None
        }
    };
    let mut found: Vec<(u8, (String, u64))> = known
        .into_iter()
        .filter_map(|(name, rows)| Some((rank(&name)?, (name, rows))))
        .collect();
    found.sort_by_key(|(rank, (_, rows))| (*rank, u64::MAX - rows));
    found.into_iter().take(MOST).map(|(_, it)| it).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_a_little_are_found() {
        let known = || {
            ["arn:aws:iam::1:user/alice", "Alice", "alicia", "bob"]
                .into_iter()
                .map(|name| (name.to_string(), 1))
                .collect::<Vec<_>>()
        };
        let of = |asked: &str| -> Vec<String> {
            alike(asked, known())
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        assert_eq!(of("alice"), ["Alice", "arn:aws:iam::1:user/alice"]);
        assert_eq!(of(" BOB "), ["bob"]);
        assert_eq!(
            of("arn:aws:iam::1:user/alice "),
            ["arn:aws:iam::1:user/alice", "Alice"]
        );
        assert_eq!(of("carol"), [""; 0]);
    }
}

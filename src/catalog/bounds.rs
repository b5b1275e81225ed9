//! What a set of predicates says about the time of a row.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

/// Half-open bounds on a time column, in microseconds since the epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// First instant that may match.
    pub from: Option<i64>,
    /// Instant after the last that may match.
    pub to: Option<i64>,
}

impl Bounds {
    fn at_least(&mut self, from: i64) {
        self.from = Some(self.from.map_or(from, |known| known.max(from)));
    }

    fn below(&mut self, to: i64) {
        self.to = Some(self.to.map_or(to, |known| known.min(to)));
    }
}

/// The comparisons of `column` with something that does not depend on the row, among conjuncts: `column <op> constant`.
/// Predicates of any other form say nothing about the column.
pub(crate) fn comparisons<'a>(
    predicates: impl IntoIterator<Item = &'a Expr>,
    column: &str,
) -> Vec<(Operator, &'a Expr)> {
    let mut found = Vec::new();
    let mut pending: Vec<&Expr> = predicates.into_iter().collect();
    while let Some(predicate) = pending.pop() {
        match predicate {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::And,
                right,
            }) => pending.extend([&**left, &**right]),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                if is_column(left, column) {
                    found.push((*op, &**right));
                } else if is_column(right, column) {
                    found.extend(op.swap().map(|op| (op, &**left)));
                }
            }
            Expr::Between(Between {
                expr,
                negated: false,
                low,
                high,
            }) if is_column(expr, column) => {
                found.extend([(Operator::GtEq, &**low), (Operator::LtEq, &**high)]);
            }
            _ => {}
        }
    }
    found.retain(|(_, constant)| constant.column_refs().is_empty());
    found
}

impl Bounds {
    /// Narrows the bounds by `column <op> time`.
    pub(crate) fn narrow(&mut self, op: Operator, time: i64) {
        match op {
            Operator::GtEq => self.at_least(time),
            Operator::Gt => self.at_least(time.saturating_add(1)),
            Operator::Lt => self.below(time),
            Operator::LtEq => self.below(time.saturating_add(1)),
            Operator::Eq => {
                self.at_least(time);
                self.below(time.saturating_add(1));
            }
            _ => {}
        }
    }
}

/// The bounds that conjuncts put on `column` by comparing it with literals. `accept` decides which literals count.
pub fn time_bounds<'a>(
    predicates: impl IntoIterator<Item = &'a Expr>,
    column: &str,
    accept: impl Fn(i64) -> bool,
) -> Bounds {
    let mut bounds = Bounds::default();
    for (op, constant) in comparisons(predicates, column) {
        if let Expr::Literal(scalar, _) = constant
            && let Some(time) = micros(scalar).filter(|time| accept(*time))
        {
            bounds.narrow(op, time);
        }
    }
    bounds
}

fn is_column(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Column(column) if column.name == name)
}

/// A time in microseconds, whatever its unit.
pub(crate) fn micros(scalar: &ScalarValue) -> Option<i64> {
    match scalar {
        ScalarValue::TimestampMicrosecond(time, _) => *time,
        ScalarValue::TimestampNanosecond(time, _) => time.map(|time| time.div_euclid(1_000)),
        ScalarValue::TimestampMillisecond(time, _) => time.and_then(|time| time.checked_mul(1_000)),
        ScalarValue::TimestampSecond(time, _) => time.and_then(|time| time.checked_mul(1_000_000)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};

    fn time(micros: i64) -> Expr {
        lit(ScalarValue::TimestampMicrosecond(
            Some(micros),
            Some("UTC".into()),
        ))
    }

    #[test]
    fn only_comparisons_of_the_column_with_constants_bound() {
        let predicates = [
            col("event_time")
                .gt_eq(time(10))
                .and(time(20).gt(col("event_time"))),
            col("event_time").gt(time(12)),
            col("log_time").lt(time(1)),
            col("event_time")
                .gt_eq(time(15))
                .or(col("caller").eq(lit("a"))),
        ];
        assert_eq!(
            time_bounds(&predicates, "event_time", |_| true),
            Bounds {
                from: Some(13),
                to: Some(20)
            }
        );
        assert_eq!(
            time_bounds(&predicates, "event_time", |time| time < 12),
            Bounds {
                from: Some(10),
                to: None
            }
        );
        assert_eq!(
            time_bounds(
                &[col("event_time").between(time(1), time(2))],
                "event_time",
                |_| true
            ),
            Bounds {
                from: Some(1),
                to: Some(3)
            }
        );
        assert_eq!(
            time_bounds(
                &[col("event_time").not_between(time(1), time(2))],
                "event_time",
                |_| true
            ),
            Bounds::default()
        );
    }
}

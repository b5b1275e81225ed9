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

/// The bounds that conjuncts put on `column` by comparing it with constants. Predicates of any other form say nothing.
/// `accept` decides which constants count.
pub fn time_bounds<'a>(
    predicates: impl IntoIterator<Item = &'a Expr>,
    column: &str,
    accept: impl Fn(i64) -> bool,
) -> Bounds {
    let mut bounds = Bounds::default();
    let mut pending: Vec<&Expr> = predicates.into_iter().collect();
    while let Some(predicate) = pending.pop() {
        match predicate {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::And,
                right,
            }) => pending.extend([&**left, &**right]),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let (op, constant) = if is_column(left, column) {
                    (Some(*op), right)
                } else if is_column(right, column) {
                    (op.swap(), left)
                } else {
                    continue;
                };
                let (Some(op), Some(time)) = (op, micros(constant).filter(|time| accept(*time)))
                else {
                    continue;
                };
                match op {
                    Operator::GtEq => bounds.at_least(time),
                    Operator::Gt => bounds.at_least(time.saturating_add(1)),
                    Operator::Lt => bounds.below(time),
                    Operator::LtEq => bounds.below(time.saturating_add(1)),
                    Operator::Eq => {
                        bounds.at_least(time);
                        bounds.below(time.saturating_add(1));
                    }
                    _ => {}
                }
            }
            Expr::Between(Between {
                expr,
                negated: false,
                low,
                high,
            }) if is_column(expr, column) => {
                if let Some(low) = micros(low).filter(|time| accept(*time)) {
                    bounds.at_least(low);
                }
                if let Some(high) = micros(high).filter(|time| accept(*time)) {
                    bounds.below(high.saturating_add(1));
                }
            }
            _ => {}
        }
    }
    bounds
}

fn is_column(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Column(column) if column.name == name)
}

fn micros(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::TimestampMicrosecond(time, _), _) => *time,
        Expr::Literal(ScalarValue::TimestampNanosecond(time, _), _) => {
            time.map(|time| time.div_euclid(1_000))
        }
        Expr::Literal(ScalarValue::TimestampMillisecond(time, _), _) => {
            time.and_then(|time| time.checked_mul(1_000))
        }
        Expr::Literal(ScalarValue::TimestampSecond(time, _), _) => {
            time.and_then(|time| time.checked_mul(1_000_000))
        }
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

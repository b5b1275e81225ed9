//! A subject as each part of a plan knows it.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, lit};

use crate::detect::why::words;

/// A subject as expressions over the rows of some part of a plan, each with its value.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::detect::why) struct Subject(pub(in crate::detect::why) Vec<(Expr, ScalarValue)>);

impl Subject {
    /// Whether a row is of it; `None` when nothing tells.
    pub(in crate::detect::why) fn predicate(&self) -> Option<Expr> {
        let parts = self.0.iter();
        conjunction(parts.map(|(expr, value)| expr.clone().eq(lit(value.clone()))))
    }

    /// In words.
    pub(in crate::detect::why) fn words(&self) -> String {
        let parts = self.0.iter();
        let parts: Vec<String> = parts
            .map(|(expr, value)| words::of(&expr.clone().eq(lit(value.clone()))))
            .collect();
        parts.join(" AND ")
    }

    /// The same with other expressions in place of columns; what has no other is left out.
    pub(super) fn over(&self, with: impl Fn(&Column) -> Option<Expr>) -> Subject {
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
    pub(super) fn beneath(&self, above: &DFSchema, below: &DFSchema) -> Subject {
        self.over(|column| column_at(below, above.maybe_index_of_column(column)?))
    }
}

pub(super) fn column_at(schema: &DFSchema, place: usize) -> Option<Expr> {
    (place < schema.fields().len())
        .then(|| Expr::Column(Column::from(schema.qualified_field(place))))
}

/// What an aggregate picks out of the rows of its group, if it is one that does: who is named by it is in one of them.
pub(super) fn of_a_row(expr: &Expr) -> Option<Expr> {
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
pub(super) fn sides(plan: &LogicalPlan, join: &Join, subject: &Subject) -> (Subject, Subject) {
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

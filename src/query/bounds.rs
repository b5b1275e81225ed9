//! How much a statement may be that comes over a network. Planning has no pause in which it could be stopped, and its
//! time and its stack grow with the statement, some of it with the square: what is beyond these bounds is refused before.
//!
//! The person at this machine may ask for anything.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Query, Select, TableFactor, Visit, Visitor};

use super::{Failure, lexer};

/// Words, numbers and signs. A list of thousands of values is no rare question.
const TOKENS: usize = 20_000;
/// Tables, selections and subqueries, a name of `WITH` with all that is behind it: one that is used twice, in a part that
/// is used twice, doubles. Each join has the columns of all before it.
const PARTS: usize = 200;
/// How deep an expression goes. A chain of operators is as deep as it is long, and each of them is named by all before it.
const DEPTH: usize = 500;
/// Steps of its plan, with views written out.
const STEPS: usize = 5_000;

/// Refuses text that is too long to be parsed.
///
/// # Errors
/// When it is.
pub fn check_text(text: &str) -> Result<(), Failure> {
    let tokens = lexer::tokens(text);
    let tokens = tokens.iter().filter(|token| token.is_significant()).count();
    match tokens > TOKENS {
        true => Err(too_much(format!(
            "the statement has {tokens} words and signs, and may have {TOKENS}"
        ))),
        false => Ok(()),
    }
}

/// Refuses a statement that would take too long to plan.
pub(super) fn check_statement(statement: &Statement) -> Result<(), Failure> {
    match Parts::default().of(statement) {
        ControlFlow::Break(message) => Err(too_much(message)),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// What is said of a plan with more than [`STEPS`].
pub(super) fn too_many_steps() -> Failure {
    too_much(format!("the plan has more than {STEPS} steps"))
}

fn too_much(message: String) -> Failure {
    Failure::new(message).with_hint("ask for it in parts")
}

#[derive(Default)]
struct Parts {
    count: usize,
    /// Of what is named by `WITH`.
    named: HashMap<String, usize>,
    depth: usize,
}

impl Parts {
    fn of(&mut self, statement: &Statement) -> ControlFlow<String> {
        match statement {
            Statement::Statement(statement) => statement.visit(self),
            Statement::Explain(explain) => self.of(&explain.statement),
            // Refused for what they do.
            _ => ControlFlow::Continue(()),
        }
    }

    fn more(&mut self, count: usize) -> ControlFlow<String> {
        self.count += count;
        match self.count > PARTS {
            true => ControlFlow::Break(format!(
                "the statement has more than {PARTS} tables and subqueries, with names written out"
            )),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Parts {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        for part in query.with.iter().flat_map(|with| &with.cte_tables) {
            let mut inner = Parts {
                named: self.named.clone(),
                ..Parts::default()
            };
            part.query.visit(&mut inner)?;
            let name = part.alias.name.value.to_lowercase();
            self.named.insert(name, inner.count);
        }
        self.more(1)
    }

    fn pre_visit_select(&mut self, _: &Select) -> ControlFlow<String> {
        self.more(1)
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<String> {
        let behind = match table {
            TableFactor::Table { name, .. } => name
                .0
                .last()
                .and_then(|part| part.as_ident())
                .and_then(|name| self.named.get(&name.value.to_lowercase())),
            _ => None,
        };
        self.more(1 + behind.copied().unwrap_or(0))
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<String> {
        self.depth += 1;
        match self.depth > DEPTH {
            true => ControlFlow::Break(format!("an expression is more than {DEPTH} deep")),
            false => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<String> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// Whether a plan has more steps than it may; stops counting there, since a plan can be far larger than memory.
pub(super) fn has_too_many_steps(plan: &LogicalPlan) -> bool {
    let mut steps = 0;
    // The closure itself cannot fail.
    let _ = plan.apply_with_subqueries(|_| {
        steps += 1;
        Ok(match steps > STEPS {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    steps > STEPS
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::SessionContext;

    fn parts(sql: &str) -> Result<(), Failure> {
        let state = SessionContext::new().state();
        let dialect = state.config().options().sql_parser.dialect;
        check_statement(&state.sql_to_statement(sql, &dialect).expect("it parses"))
    }

    #[test]
    fn what_people_write_is_within_the_bounds_and_what_floods_is_not() {
        for (what, one, joined) in [
            ("unions", "SELECT 1", " UNION ALL "),
            ("lists of values", "(SELECT 1)", " EXCEPT "),
        ] {
            assert!(parts(&vec![one; 20].join(joined)).is_ok(), "{what}");
            assert!(parts(&vec![one; 300].join(joined)).is_err(), "{what}");
        }
        let tables = |count| format!("SELECT 1 FROM {}", vec!["t"; count].join(", "));
        assert!(parts(&tables(100)).is_ok());
        assert!(parts(&tables(300)).is_err());
        assert!(parts(&format!("EXPLAIN {}", tables(300))).is_err());
        assert!(check_text(&"1,".repeat(TOKENS / 2)).is_ok());
        assert!(check_text(&"1,".repeat(TOKENS / 2 + 1)).is_err());
        // What is not looked at is not counted.
        assert!(check_text(&format!("SELECT 1 -- {}", "1,".repeat(TOKENS))).is_ok());
    }

    /// A name that is twice a name that is twice a name, and so on.
    fn doubled(times: usize) -> String {
        let more = (1..=times).map(|n| {
            let before = n - 1;
            format!(", a{n} AS (SELECT l.x FROM a{before} AS l CROSS JOIN \"a{before}\" AS r)")
        });
        let more: String = more.collect();
        format!("WITH a0 AS (SELECT 1 AS x){more} SELECT x FROM a{times}")
    }

    #[test]
    fn names_of_names_of_names_are_counted_without_being_written_out() {
        assert!(parts(&doubled(3)).is_ok());
        assert!(parts(&doubled(40)).is_err());
    }

    #[test]
    fn chains_of_operators_are_as_deep_as_they_are_long() {
        let chain = |times| format!("SELECT 1{}", "+1".repeat(times));
        assert!(parts(&chain(400)).is_ok());
        assert!(parts(&chain(600)).is_err());
        // One beside the other is not deep.
        let list = vec!["a = 1"; 3000].join(", ");
        assert!(parts(&format!("SELECT {list}")).is_ok());
    }

    #[tokio::test]
    async fn steps_of_a_plan_are_counted() {
        let state = SessionContext::new().state();
        for (times, is_too_much) in [(3, false), (12, true)] {
            let plan = state.create_logical_plan(&doubled(times)).await;
            assert_eq!(has_too_many_steps(&plan.expect("a plan")), is_too_much);
        }
    }
}

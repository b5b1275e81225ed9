//! How much a statement may be that comes over a network. Planning has no pause in which it could be stopped, and its
//! time and its stack grow with the statement, some of it with the square: what is beyond these bounds is refused before.
//!
//! The person at this machine may ask for anything.

use std::ops::ControlFlow;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Query, Select, TableFactor, Visit, Visitor};

use super::{Failure, lexer};

/// Words, numbers and signs. A list of thousands of values is no rare question; a chain of as many operators is as deep
/// as it is long.
const TOKENS: usize = 20_000;
/// Tables, selections and subqueries that a statement names. Each join has the columns of all before it.
const PARTS: usize = 200;
/// Steps of its plan, with views written out: a name that is used twice, of a part that uses a name twice, doubles.
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
    let mut counted = Parts(0);
    match counted.of(statement) {
        ControlFlow::Break(()) => Err(too_much(format!(
            "the statement has more than {PARTS} tables and subqueries"
        ))),
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

struct Parts(usize);

impl Parts {
    fn of(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::Statement(statement) => statement.visit(self),
            Statement::Explain(explain) => self.of(&explain.statement),
            // Refused for what they do.
            _ => ControlFlow::Continue(()),
        }
    }

    fn one_more(&mut self) -> ControlFlow<()> {
        self.0 += 1;
        match self.0 > PARTS {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Parts {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.one_more()
    }

    fn pre_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.one_more()
    }

    fn pre_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<()> {
        self.one_more()
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

    #[tokio::test]
    async fn names_of_names_of_names_are_counted_without_being_written_out() {
        let doubled = |times: usize| {
            let first = "WITH a0 AS (SELECT 1 AS x)".to_owned();
            let more = (1..=times).map(|n| {
                let before = n - 1;
                format!(", a{n} AS (SELECT l.x FROM a{before} AS l CROSS JOIN a{before} AS r)")
            });
            format!("{first}{} SELECT x FROM a{times}", more.collect::<String>())
        };
        let context = SessionContext::new();
        for (times, is_too_much) in [(3, false), (40, true)] {
            let state = context.state();
            let plan = state.create_logical_plan(&doubled(times)).await;
            assert_eq!(
                has_too_many_steps(&plan.expect("a plan")),
                is_too_much,
                "{times}"
            );
        }
    }
}

//! Runs SQL text: cuts it into statements, plans each, refuses what would harm a store, fills in parameters, streams
//! the rows, and turns errors into something that points at its place.
//!
//! It neither prints nor reads keys; `sql` and the shell do.

mod bounds;
mod failure;
pub mod lexer;
mod names;
mod parameters;
mod policy;

use std::ops::Range;
use std::path::PathBuf;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;

pub use bounds::check_text;
pub use failure::{Failure, Place};
pub use names::{function_names, table_names};
pub use parameters::Parameters;
pub use policy::{SYSTEM_TABLES, is_store_table};

/// SQL text and where it is from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The file's name, if it is from one.
    pub name: Option<&'a str>,
    /// All of the text, so that places count from its beginning.
    pub text: &'a str,
}

/// Where queries run.
pub struct Engine {
    /// Tables, functions, settings.
    pub context: SessionContext,
    /// The folder of the store, whether or not there is one.
    pub store: PathBuf,
    /// Values of `$name`.
    pub parameters: Parameters,
    /// Who asks.
    pub audience: Audience,
}

/// Who asks: it decides what a statement may do, and what an error may tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// The person at this machine, whose files these are.
    #[default]
    Local,
    /// Somebody over a network: may ask, and is told of nothing but what the session has.
    Remote {
        /// Whether plans may be shown. They name files, and thereby rows that a filter leaves out.
        plans: bool,
    },
}

/// A statement that was planned and allowed.
#[derive(Debug)]
pub struct Planned {
    plan: LogicalPlan,
    range: Range<usize>,
}

impl Planned {
    /// A plan that [`Engine::prepare`] gave, with its parameters in their places.
    pub(crate) fn of(plan: LogicalPlan) -> Planned {
        Planned { plan, range: 0..0 }
    }

    /// Whether it is a query, of which a beginning may be asked for.
    pub fn is_query(&self) -> bool {
        matches!(
            self.plan,
            LogicalPlan::Aggregate(_)
                | LogicalPlan::Distinct(_)
                | LogicalPlan::EmptyRelation(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::Join(_)
                | LogicalPlan::Limit(_)
                | LogicalPlan::Projection(_)
                | LogicalPlan::RecursiveQuery(_)
                | LogicalPlan::Sort(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::TableScan(_)
                | LogicalPlan::Union(_)
                | LogicalPlan::Unnest(_)
                | LogicalPlan::Values(_)
                | LogicalPlan::Window(_)
        )
    }

    /// Whether its rows are a plan, drawn over several lines.
    pub fn is_explain(&self) -> bool {
        matches!(self.plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_))
    }
}

impl Engine {
    /// Plans one statement of the text.
    ///
    /// # Errors
    /// When it does not parse, names what does not exist, lacks a parameter, or would change a table of the store.
    pub async fn plan(&self, source: Source<'_>, range: Range<usize>) -> Result<Planned, Failure> {
        let plan = self.prepare(source, &range).await?;
        let plan = self
            .parameters
            .fill(plan, source, &range)
            .map_err(|error| match error {
                parameters::Error::Value(failure) => match self.audience {
                    Audience::Local => failure,
                    Audience::Remote { .. } => {
                        failure.with_hint("values come beside the statement")
                    }
                },
                parameters::Error::Plan(error) => self.explain(error, source, &range),
            })?;
        Ok(Planned { plan, range })
    }

    /// As [`Self::plan`], with the parameters open.
    pub(crate) async fn prepare(
        &self,
        source: Source<'_>,
        range: &Range<usize>,
    ) -> Result<LogicalPlan, Failure> {
        let explain = |error| self.explain(error, source, range);
        let is_remote = matches!(self.audience, Audience::Remote { .. });
        if is_remote {
            check_text(&source.text[range.clone()])?;
        }
        let state = self.context.state();
        let dialect = state.config().options().sql_parser.dialect;
        let statement = state
            .sql_to_statement(&source.text[range.clone()], &dialect)
            .map_err(explain)?;
        if is_remote {
            bounds::check_statement(&statement)?;
        }
        let plan = state.statement_to_plan(statement).await.map_err(explain)?;
        if is_remote && bounds::has_too_many_steps(&plan) {
            return Err(bounds::too_many_steps());
        }
        match self.audience {
            Audience::Local => policy::check(&plan, &self.store)?,
            Audience::Remote { plans } => policy::check_is_question(&plan, plans)?,
        }
        Ok(plan)
    }

    /// Starts it. Of a query no more than `limit` rows are asked for, which spares sorting the rest.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(
        &self,
        planned: Planned,
        source: Source<'_>,
        limit: Option<usize>,
    ) -> Result<SendableRecordBatchStream, Failure> {
        let limit = limit.filter(|_| planned.is_query());
        let start = async {
            let mut plan = planned.plan;
            if limit.is_some() {
                plan = LogicalPlanBuilder::from(plan).limit(0, limit)?.build()?;
            }
            let frame = self.context.execute_logical_plan(plan).await?;
            frame.execute_stream().await
        };
        start
            .await
            .map_err(|error| self.explain(error, source, &planned.range))
    }

    /// Says what went wrong, where, and what to try.
    pub fn explain(
        &self,
        error: datafusion::error::DataFusionError,
        source: Source<'_>,
        range: &Range<usize>,
    ) -> Failure {
        failure::explain(&error, source, range, self)
    }
}

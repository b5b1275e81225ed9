//! Plans and lints rules without data: every table of the schema is there, and empty.
//!
//! A rule is planned once. The window's parameters are bound to an instant far in the future and the plan is
//! optimised, so that what the lints read is what will run: a bound on time is proved by the literals that ended in
//! the scan, not by how the text looks.

mod lints;
mod panels;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as QueryResult};
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast;
use tokio::runtime::Handle;

use super::{
    BoundedView, ENGINE_PARAMS, Lock, Locked, Pack, Problem, Rule, RuleFile, SIGNALS, meaning,
    views,
};
use crate::error::Result;
use crate::parallel::in_parallel_with;
use crate::schema::Table;
use crate::session::{self, SessionOptions};
use crate::suggest::nearest;

/// A context in which every table exists and is empty.
pub struct Checker {
    context: SessionContext,
    schemas: BTreeMap<String, SchemaRef>,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Sorted by file and line.
    pub problems: Vec<Problem>,
    /// The lock file that would fit the rules as they are.
    pub lock: Lock,
    /// For each rule of the pack its plan for a window, optimised, if it plans.
    pub plans: Vec<Option<LogicalPlan>>,
}

/// What came of one rule.
#[derive(Default)]
struct Checked {
    problems: Vec<Problem>,
    /// The query's canonical text, when it parses.
    canonical: Option<String>,
    /// Optimised, when it plans.
    plan: Option<LogicalPlan>,
}

/// Plans and lints every rule of a pack, several at a time.
///
/// # Errors
/// When an embedded view does not plan.
pub fn check(runtime: &Handle, pack: &Pack, threads: usize) -> Result<Report> {
    let checked = in_parallel_with(
        pack.rules.iter().collect(),
        threads,
        || runtime.block_on(Checker::new()),
        |checker, file| runtime.block_on(checker.check_rule(file)),
    )?;
    Ok(Report::of(pack, checked))
}

impl Report {
    fn of(pack: &Pack, checked: Vec<Checked>) -> Report {
        let mut report = Report {
            problems: pack.problems.clone(),
            ..Report::default()
        };
        for (file, mut checked) in pack.rules.iter().zip(checked) {
            if let Some(canonical) = checked.canonical {
                let meaning = meaning(&file.rule, &canonical);
                if let Some((_, lock)) = &pack.lock {
                    checked
                        .problems
                        .extend(lints::version(file, &meaning, lock));
                }
                let locked = Locked {
                    version: file.rule.version,
                    meaning,
                };
                report.lock.rules.insert(file.rule.id.clone(), locked);
            }
            let problems = checked.problems.into_iter();
            report
                .problems
                .extend(problems.map(|problem| problem.at(&file.path)));
            report.plans.push(checked.plan);
        }
        let planned = pack.rules.iter().zip(&report.plans);
        let returned: HashMap<&str, Vec<String>> = planned
            .filter_map(|(file, plan)| {
                let fields = plan.as_ref()?.schema().fields().iter();
                let columns = fields.map(|field| field.name().clone()).collect();
                Some((file.rule.id.as_str(), columns))
            })
            .collect();
        for file in &pack.rules {
            let problems = lints::signals(file, &returned);
            report
                .problems
                .extend(problems.map(|problem| problem.at(&file.path)));
        }
        report
            .problems
            .sort_by(|a, b| (&a.path, a.line, a.level).cmp(&(&b.path, b.line, b.level)));
        report
    }
}

/// What planning one rule gives the lints.
struct Planned<'a> {
    file: &'a RuleFile,
    query: &'a ast::Query,
    /// As planned, parameters still open.
    open: LogicalPlan,
    /// With sample values, optimised.
    optimised: LogicalPlan,
    schemas: &'a BTreeMap<String, SchemaRef>,
    window: SampleWindow,
}

/// The instants that stand for a rule's window while it is checked. Noon of a day in 2100, a prime number of
/// microseconds late: no literal in a rule falls in there by chance.
#[derive(Debug, Clone, Copy)]
struct SampleWindow {
    baseline_start: i64,
    start: i64,
    end: i64,
}

const SAMPLE_END: i64 = 4_118_040_000_000_000 + 7_919;

impl Checker {
    /// Builds the context.
    ///
    /// # Errors
    /// When an embedded view does not plan.
    pub async fn new() -> Result<Checker> {
        let context = session::context(&SessionOptions {
            target_partitions: Some(1),
            ..SessionOptions::default()
        })?;
        let mut schemas = BTreeMap::new();
        for table in Table::ALL {
            schemas.insert(table.name().to_string(), table.schema());
            context.register_table(table.name(), Arc::new(EmptySource(table.schema())))?;
        }
        for view in views() {
            let schema = BoundedView::new(&context, &view.sql).await?.schema();
            schemas.insert(view.name.clone(), Arc::clone(&schema));
            context.register_table(view.name, Arc::new(EmptySource(schema)))?;
        }
        Ok(Checker { context, schemas })
    }

    /// Plans and lints every rule of a pack.
    pub async fn check(&self, pack: &Pack) -> Report {
        let mut checked = Vec::with_capacity(pack.rules.len());
        for file in &pack.rules {
            checked.push(self.check_rule(file).await);
        }
        Report::of(pack, checked)
    }

    async fn check_rule(&self, file: &RuleFile) -> Checked {
        let mut checked = Checked::default();
        lints::header(file, &mut checked.problems);
        self.register_signals(&file.rule);
        let statement = match one_select(&file.sql) {
            Ok(statement) => statement,
            Err(problem) => {
                checked.problems.push(*problem);
                return checked;
            }
        };
        let Statement::Statement(boxed) = &statement else {
            return checked;
        };
        let ast::Statement::Query(query) = boxed.as_ref() else {
            return checked;
        };
        // A query that the header means is not what the file says.
        let is_written = file
            .rule
            .correlation
            .as_ref()
            .is_none_or(|correlation| correlation.has_query);
        checked.canonical = Some(match is_written {
            true => query.to_string(),
            false => String::new(),
        });
        match self.plan(file, statement.clone(), query).await {
            Ok(planned) => {
                lints::plan(&planned, &mut checked.problems);
                checked.plan = Some(planned.optimised);
            }
            Err(problem) => checked.problems.push(*problem),
        }
        checked
    }

    /// Puts the table in place that a correlation reads: its columns are those that it is by.
    pub fn register_signals(&self, rule: &Rule) {
        if let Some(correlation) = &rule.correlation {
            let table = Arc::new(EmptySource(correlation.schema()));
            let replaced = self
                .context
                .deregister_table(SIGNALS)
                .and_then(|_| self.context.register_table(SIGNALS, table));
            debug_assert!(replaced.is_ok(), "a plain name in the default schema");
        }
    }

    /// A rule's query as it is planned, parameters still open; `None` when it does not plan.
    pub(crate) async fn open_plan(&self, file: &RuleFile) -> Option<LogicalPlan> {
        self.register_signals(&file.rule);
        let statement = one_select(&file.sql).ok()?;
        let state = self.context.state();
        state.statement_to_plan(statement).await.ok()
    }

    async fn plan<'a>(
        &'a self,
        file: &'a RuleFile,
        statement: Statement,
        query: &'a ast::Query,
    ) -> Result<Planned<'a>, Box<Problem>> {
        let state = self.context.state();
        let first_line = file
            .sql
            .lines()
            .position(|line| !line.trim().is_empty())
            .map_or(1, |index| index + 1);
        let fault = |error: DataFusionError| Box::new(schema_problem(&error, first_line));
        let open = state.statement_to_plan(statement).await.map_err(fault)?;
        let names = open.get_parameter_names().map_err(fault)?;
        for name in &names {
            let name = name.trim_start_matches('$');
            if !ENGINE_PARAMS.contains(&name) && file.rule.param(name).is_none() {
                let known = file
                    .rule
                    .params
                    .iter()
                    .map(|param| param.name.as_str())
                    .chain(ENGINE_PARAMS);
                let hint = nearest(name, known).map(|near| format!("did you mean `${near}`?"));
                let line = line_of(&file.sql, &format!("${name}"));
                return Err(Box::new(
                    Problem::error(
                        "L-SCHEMA",
                        line,
                        format!("`${name}` is not a parameter of the rule"),
                    )
                    .hint(hint),
                ));
            }
        }
        let rule = &file.rule;
        let start = SAMPLE_END - rule.window.0;
        let window = SampleWindow {
            baseline_start: start - rule.baseline.map_or(0, |baseline| baseline.0),
            start,
            end: SAMPLE_END,
        };
        let mut values: HashMap<String, ScalarValue> = rule
            .params
            .iter()
            .map(|param| (param.name.clone(), param.default.scalar()))
            .collect();
        values.extend(
            rule.engine_values(window.start, window.end)
                .map(|(name, value)| (name.to_string(), value)),
        );
        let bound = open.clone().with_param_values(values).map_err(fault)?;
        let optimised = state.optimize(&bound).map_err(fault)?;
        Ok(Planned {
            file,
            query,
            open,
            optimised,
            schemas: &self.schemas,
            window,
        })
    }
}

/// The line of the first occurrence of a text.
fn line_of(sql: &str, text: &str) -> Option<usize> {
    sql.lines()
        .position(|line| line.contains(text))
        .map(|index| index + 1)
}

/// Parses a file's SQL, which must be one `SELECT` that writes nothing.
///
/// # Errors
/// What it is instead.
pub fn one_select(sql: &str) -> Result<Statement, Box<Problem>> {
    let first_line = sql
        .lines()
        .position(|line| !line.trim().is_empty())
        .map(|index| index + 1);
    let Some(first_line) = first_line else {
        return Err(Box::new(Problem::error(
            "L-WRITE",
            None,
            "the file has no `SELECT`",
        )));
    };
    let mut statements = DFParser::parse_sql(sql).map_err(|error| {
        let text = error.strip_backtrace();
        let line = text
            .split("Line: ")
            .nth(1)
            .and_then(|rest| rest.split(',').next()?.trim().parse().ok());
        Box::new(Problem::error(
            "L-SCHEMA",
            line.or(Some(first_line)),
            tidy(&text),
        ))
    })?;
    let problem = |message: &str| {
        Err(Box::new(Problem::error(
            "L-WRITE",
            Some(first_line),
            message,
        )))
    };
    if statements.len() != 1 {
        return problem("a rule is exactly one `SELECT`");
    }
    let statement = statements.remove(0).expect("there is one");
    let Statement::Statement(boxed) = &statement else {
        return problem("a rule may only `SELECT`");
    };
    let ast::Statement::Query(query) = boxed.as_ref() else {
        return problem("a rule may only `SELECT`");
    };
    if !query.locks.is_empty() || !is_select(&query.body) {
        return problem("a rule may only `SELECT`");
    }
    Ok(statement)
}

fn is_select(body: &ast::SetExpr) -> bool {
    match body {
        ast::SetExpr::Select(select) => select.into.is_none(),
        ast::SetExpr::Query(query) => is_select(&query.body),
        ast::SetExpr::SetOperation { left, right, .. } => is_select(left) && is_select(right),
        _ => false,
    }
}

/// What the planner said, with its line where it knows one.
fn schema_problem(error: &DataFusionError, first_line: usize) -> Problem {
    let diagnostic = error.diagnostic();
    let line = diagnostic
        .and_then(|diagnostic| diagnostic.span)
        .map(|span| span.start.line as usize);
    let hint = diagnostic.and_then(|diagnostic| {
        diagnostic
            .helps
            .first()
            .or(None)
            .map(|help| help.message.clone())
    });
    Problem::error(
        "L-SCHEMA",
        line.or(Some(first_line)),
        tidy(&error.strip_backtrace()),
    )
    .hint(hint)
}

/// The planner's sentence on one line, without the words that say that the planner said it.
fn tidy(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for prefix in [
        "Error during planning: ",
        "Schema error: ",
        "SQL error: ",
        "Optimizer rule 'simplify_expressions' failed caused by ",
        "type_coercion caused by ",
    ] {
        if let Some(rest) = text.strip_prefix(prefix) {
            text = rest.to_string();
        }
    }
    text
}

/// A table without rows that takes every filter, so that predicates end in the scan.
#[derive(Debug)]
struct EmptySource(SchemaRef);

#[async_trait]
impl TableProvider for EmptySource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> QueryResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(projection) => self.0.project(projection).map(Arc::new),
            None => Ok(Arc::clone(&self.0)),
        };
        Ok(Arc::new(EmptyExec::new(schema?)))
    }
}

/// Where the lock file of a checked folder belongs.
pub fn lock_path(folder: &Path) -> std::path::PathBuf {
    folder.join("rules.lock")
}

//! Plans and lints panels and boards, over tables that are there and empty.

use arrow::datatypes::DataType;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;

use super::lints::{time_column, visit_scans};
use super::{Checker, SAMPLE_END, line_of, one_select, schema_problem};
use crate::catalog::{
    Chart, Dashboards, DrillDown, PANEL_PARAMS, Pack, Panel, Problem, Span, Values, time_bounds,
};
use crate::query::lexer::{Kind, tokens};
use crate::schema::Table;
use crate::suggest::nearest;

/// The pages that a link may lead to.
const PAGES: [&str; 4] = ["boards", "findings", "rules", "sql"];

impl Checker {
    /// Every problem of boards and panels, sorted by file and line.
    pub async fn check_dashboards(&self, dashboards: &Dashboards) -> Vec<Problem> {
        let rules = Pack::embedded();
        let mut problems = dashboards.problems.clone();
        for panel in &dashboards.panels {
            let mut found = Vec::new();
            board(dashboards, panel, &mut found);
            self.panel(panel, &mut found).await;
            self.drill_down(panel, dashboards, &rules, &mut found).await;
            problems.extend(found.into_iter().map(|problem| problem.at(&panel.path)));
        }
        for board in &dashboards.boards {
            if dashboards.panels_of(&board.id).next().is_none() {
                let message = format!("board `{}` has no panel", board.id);
                let problem = Problem::warning("L-REF", Some(board.line), message);
                problems.push(problem.at(&board.path));
            }
        }
        problems.sort_by(|a, b| (&a.path, a.line, a.level).cmp(&(&b.path, b.line, b.level)));
        problems
    }

    async fn panel(&self, panel: &Panel, problems: &mut Vec<Problem>) {
        if let Some(problem) = unknown_parameter(&panel.sql, &[], None) {
            problems.push(problem);
            return;
        }
        let plan = match self.planned(&panel.sql, panel).await {
            Ok(plan) => plan,
            Err(problem) => return problems.push(*problem),
        };
        let uses = |name: &str| {
            let is_it = |text: &str| text.strip_prefix('$') == Some(name);
            tokens(&panel.sql)
                .iter()
                .any(|token| token.kind == Kind::Placeholder && is_it(token.text(&panel.sql)))
        };
        if panel.chart.is_over_time() && !uses("bucket") {
            let hint = "`date_bin($bucket, event_time) AS time`";
            problems.push(
                Problem::error(
                    "L-CHART",
                    Some(panel.line),
                    "the steps are not those asked for",
                )
                .hint(Some(format!("{hint} makes steps that fit the range"))),
            );
        }
        columns(panel, &plan, problems);
        bounded(panel, &plan, problems);
    }

    /// What is behind a click.
    async fn drill_down(
        &self,
        panel: &Panel,
        dashboards: &Dashboards,
        rules: &Pack,
        problems: &mut Vec<Problem>,
    ) {
        let line = Some(panel.line);
        match &panel.drill_down {
            None => {}
            Some(DrillDown::Sql(sql)) => {
                if let Some(problem) = unknown_parameter(sql, &["series"], line) {
                    return problems.push(problem);
                }
                if let Err(mut problem) = self.planned(sql, panel).await {
                    problem.message = format!("`drill_down`: {}", problem.message);
                    problem.line = line;
                    problems.push(*problem);
                }
            }
            Some(DrillDown::Link(link)) => {
                let path = link.split(['?', '#']).next().unwrap_or_default();
                let mut parts = path.trim_start_matches('/').splitn(2, '/');
                let page = parts.next().unwrap_or_default();
                let name = parts.next();
                let known: Vec<&str> = match page {
                    "rules" => rules
                        .rules
                        .iter()
                        .map(|file| file.rule.id.as_str())
                        .collect(),
                    "boards" => dashboards
                        .boards
                        .iter()
                        .map(|board| board.id.as_str())
                        .collect(),
                    _ => Vec::new(),
                };
                let (wrong, known) = match name {
                    _ if !PAGES.contains(&page) => (page, PAGES.to_vec()),
                    // Rules of the user's own are not known here.
                    Some(name) if !known.contains(&name) => (name, known),
                    _ => return,
                };
                let near = nearest(wrong, known.iter().copied());
                problems.push(
                    Problem::warning("L-REF", line, format!("`{link}` leads to no known page"))
                        .hint(near.map(|near| format!("did you mean `{near}`?"))),
                );
            }
        }
    }

    async fn planned(&self, sql: &str, panel: &Panel) -> Result<LogicalPlan, Box<Problem>> {
        let bucket = panel.bucket.unwrap_or(Span::minutes(5));
        let sample = Values {
            from: SAMPLE_END - Span::hours(24).0,
            to: SAMPLE_END,
            bucket,
            caller: Some("somebody".into()),
            model: Some("something".into()),
            series: Some("one of them".into()),
        };
        let filled = sample.fill(sql);
        let statement: Statement = one_select(&filled).map_err(|mut problem| {
            problem.message = problem.message.replace("a rule", "a panel");
            problem
        })?;
        let first_line = filled.lines().position(|line| !line.trim().is_empty());
        let fault = |error| {
            Box::new(schema_problem(
                &error,
                first_line.map_or(1, |index| index + 1),
            ))
        };
        let state = self.context.state();
        let plan = state.statement_to_plan(statement).await.map_err(fault)?;
        state.optimize(&plan).map_err(fault)
    }
}

/// L-REF: the board that a panel is on.
fn board(dashboards: &Dashboards, panel: &Panel, problems: &mut Vec<Problem>) {
    let ids = || dashboards.boards.iter().map(|board| board.id.as_str());
    if ids().any(|id| id == panel.board) {
        return;
    }
    let hint = match nearest(&panel.board, ids()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "a board is an `.sql` file with a block `-- /// board`".to_string(),
    };
    let message = format!("there is no board `{}`", panel.board);
    problems.push(Problem::error("L-REF", Some(panel.line), message).hint(hint));
}

/// A `$name` that has no value.
fn unknown_parameter(sql: &str, more: &[&'static str], line: Option<usize>) -> Option<Problem> {
    let known = || PANEL_PARAMS.into_iter().chain(more.iter().copied());
    let unknown = tokens(sql).into_iter().find(|token| {
        token.kind == Kind::Placeholder && !known().any(|name| name == &token.text(sql)[1..])
    })?;
    let name = unknown.text(sql);
    let hint = match nearest(&name[1..], known()) {
        Some(near) => format!("did you mean `${near}`?"),
        None => {
            let names: Vec<String> = known().map(|name| format!("${name}")).collect();
            format!("there are {}", names.join(", "))
        }
    };
    let message = format!("`{name}` is not a parameter of a panel");
    let line = line.or_else(|| line_of(sql, name));
    Some(Problem::error("L-SCHEMA", line, message).hint(hint))
}

/// L-CHART: the columns are those that the chart draws.
fn columns(panel: &Panel, plan: &LogicalPlan, problems: &mut Vec<Problem>) {
    let fields = plan.schema().fields();
    let kind = |name: &str| {
        let field = fields.iter().find(|field| field.name() == name);
        field.map(|field| field.data_type())
    };
    let is_number = |kind: &DataType| kind.is_numeric();
    let is_time = |kind: &DataType| matches!(kind, DataType::Timestamp(..));
    let is_text = |kind: &DataType| {
        matches!(
            kind,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        )
    };
    let mut fault = |message: String| {
        let line = panel.sql.lines().position(|line| !line.trim().is_empty());
        let hint = match panel.chart {
            Chart::Stat => "a `stat` gives `value`, and `previous` if it can",
            Chart::Heat => "a `heat` gives `time`, `series` (text), `value`, and `order` if it can",
            _ => "give `time`, `series` (text) and `value`, or `time` and a column for each series",
        };
        problems.push(
            Problem::error("L-CHART", line.map(|index| index + 1), message)
                .hint(Some(hint.to_string())),
        );
    };
    match panel.chart {
        Chart::Table => {}
        Chart::Stat => match kind("value") {
            None => fault("there is no column `value`".into()),
            Some(kind) if !is_number(kind) => fault(format!("`value` is no number but {kind}")),
            Some(_) => {
                for field in fields {
                    let is_known = ["value", "previous"].contains(&field.name().as_str());
                    if !is_known || !is_number(field.data_type()) {
                        fault(format!("`{}` is not shown", field.name()));
                    }
                }
            }
        },
        Chart::Line | Chart::Bar | Chart::Stacked | Chart::Heat => {
            match kind("time") {
                None => return fault("there is no column `time`".into()),
                Some(kind) if !is_time(kind) => {
                    return fault(format!("`time` is no time but {kind}"));
                }
                Some(_) => {}
            }
            if let Some(series) = kind("series") {
                if !is_text(series) {
                    fault(format!("`series` is no text but {series}"));
                }
                if !kind("value").is_some_and(is_number) {
                    fault("beside `series` there must be a number `value`".into());
                }
                let known = ["time", "series", "value", "order"];
                for field in fields {
                    let name = field.name().as_str();
                    if !known.contains(&name) || (name == "order" && panel.chart != Chart::Heat) {
                        fault(format!("`{name}` is not shown"));
                    }
                }
                return;
            }
            if panel.chart == Chart::Heat {
                return fault("a `heat` needs a column `series`".into());
            }
            let mut others = fields
                .iter()
                .filter(|field| field.name() != "time")
                .peekable();
            if others.peek().is_none() {
                fault("there is no series beside `time`".into());
            }
            for field in others.filter(|field| !is_number(field.data_type())) {
                fault(format!("the series `{}` is no number", field.name()));
            }
        }
    }
}

/// L-TIME: nothing is read beyond what is asked for, as far as the plan shows. A table without rows of a time is read
/// whole.
fn bounded(panel: &Panel, plan: &LogicalPlan, problems: &mut Vec<Problem>) {
    visit_scans(plan, |scan| {
        let table = scan.table_name.table();
        let column = time_column(table);
        if Table::from_name(table).is_none()
            && scan.source.schema().field_with_name(column).is_err()
        {
            return;
        }
        let bounds = time_bounds(&scan.filters, column, |_| true);
        for (is_missing, side, example) in [
            (bounds.from.is_none(), "lower", format!("{column} >= $from")),
            (bounds.to.is_none(), "upper", format!("{column} < $to")),
        ] {
            if is_missing {
                let message = format!("no {side} bound on `{column}` of `{table}` can be proved");
                let line = line_of(&panel.sql, column).or_else(|| line_of(&panel.sql, table));
                problems.push(Problem::error("L-TIME", line, message).hint(Some(format!(
                    "add `{example}` to the `WHERE` that reads `{table}`"
                ))));
            }
        }
    });
}

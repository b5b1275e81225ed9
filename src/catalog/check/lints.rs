//! The lints, each a function from a planned rule to problems.

use std::collections::{BTreeSet, HashMap};

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, Volatility};
use datafusion::sql::sqlparser::ast;

use super::{Planned, line_of};
use crate::catalog::pinned::{ATLAS, OWASP, Pinned};
use crate::catalog::{FROZEN, Lock, Mode, Problem, RuleFile, RuleKind, Status, time_bounds};
use crate::schema::Table;
use crate::suggest::nearest;

/// What the header alone shows.
pub(super) fn header(file: &RuleFile, problems: &mut Vec<Problem>) {
    let rule = &file.rule;
    let line = Some(rule.line);
    if rule.mode == Mode::Tumbling {
        let message = format!(
            "windows of {} side by side: a burst over an edge is seen in halves",
            rule.window
        );
        problems.push(Problem::warning("L-STRADDLE", line, message));
    }
    if rule.status == Status::Stable {
        for (key, is_missing) in [
            ("false_positives", rule.false_positives.is_empty()),
            ("evasion", rule.evasion.is_empty()),
            ("runbook", rule.runbook.is_none()),
        ] {
            if is_missing {
                problems.push(Problem::warning(
                    "L-DOC",
                    line,
                    format!("a stable rule says its `{key}`"),
                ));
            }
        }
        let negatives = file
            .cases
            .iter()
            .filter(|case| case.expect.as_ref().is_some_and(Vec::is_empty))
            .count();
        if file.cases.len() - negatives < 1 || negatives < 2 {
            let message =
                "a stable rule has a test that fires, one just under the line and one look-alike";
            problems.push(Problem::warning("L-DOC", line, message));
        }
    }
    map(&rule.atlas, "ATLAS", &ATLAS, line, problems);
    map(&rule.owasp, "OWASP", &OWASP, line, problems);
}

fn map(
    ids: &[String],
    what: &str,
    pinned: &Pinned,
    line: Option<usize>,
    problems: &mut Vec<Problem>,
) {
    for id in ids.iter().filter(|id| !pinned.ids.contains(id.as_str())) {
        let hint =
            nearest(id, pinned.ids.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        problems.push(
            Problem::warning(
                "L-MAP",
                line,
                format!("`{id}` is not in the pinned list: {}", pinned.version),
            )
            .hint(hint),
        );
    }
    if what == "OWASP" && ids.iter().any(|id| !id.contains(':')) {
        problems.push(Problem::warning(
            "L-MAP",
            line,
            "an OWASP entry is written with its year, as `LLM01:2025`",
        ));
    }
}

/// L-REF: the columns that a correlation says its signals have.
pub(super) fn signals<'a>(
    file: &'a RuleFile,
    returned: &'a HashMap<&str, Vec<String>>,
) -> impl Iterator<Item = Problem> + 'a {
    file.signals.iter().flat_map(move |signal| {
        let columns = returned.get(signal.rule.id.as_str());
        let is_missing =
            move |column: &&String| columns.is_some_and(|columns| !columns.contains(column));
        signal.columns.iter().filter(is_missing).map(move |column| {
            let hint = nearest(column, columns.into_iter().flatten().map(String::as_str))
                .map(|near| format!("did you mean `{near}`?"));
            let message = format!("`{}` does not return `{column}`", signal.rule.id);
            Problem::error("L-REF", Some(file.rule.line), message).hint(hint)
        })
    })
}

/// The rule against the versions that shipped.
pub(super) fn version(file: &RuleFile, meaning: &str, lock: &Lock) -> Option<Problem> {
    let rule = &file.rule;
    let problem = |message: String, hint: &str| {
        Some(Problem::error("L-VERSION", Some(rule.line), message).hint(Some(hint.to_string())))
    };
    match lock.rules.get(&rule.id) {
        None => problem(
            format!("`{}` is not in the lock file", rule.id),
            "run `inferwatch check --lock`",
        ),
        Some(locked) if locked.version == rule.version && locked.meaning == meaning => None,
        Some(locked) if rule.version > locked.version => problem(
            format!("version {} is not in the lock file yet", rule.version),
            "run `inferwatch check --lock`",
        ),
        Some(locked) if rule.version < locked.version => problem(
            format!(
                "version {} is older than {}, which shipped",
                rule.version, locked.version
            ),
            "versions only go up",
        ),
        Some(_) => problem(
            format!(
                "the meaning changed, but the version is still {}",
                rule.version
            ),
            "raise `version`, then run `inferwatch check --lock`",
        ),
    }
}

/// What the plan shows.
pub(super) fn plan(planned: &Planned<'_>, problems: &mut Vec<Problem>) {
    volatile(planned, problems);
    sources(planned, problems);
    output(planned, problems);
    cartesian(planned, problems);
    having(planned, problems);
    unused_params(planned, problems);
    visit_scans(&planned.optimised, |scan| time(planned, scan, problems));
}

fn line(planned: &Planned<'_>) -> Option<usize> {
    planned
        .file
        .sql
        .lines()
        .position(|line| !line.trim().is_empty())
        .map(|index| index + 1)
}

pub(super) fn visit_scans(plan: &LogicalPlan, mut visit: impl FnMut(&TableScan)) {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            visit(scan);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .expect("nothing in here fails");
}

/// The column that says when a row of a table or view happened.
pub(super) fn time_column(table: &str) -> &'static str {
    Table::from_name(table).map_or("event_time", Table::time_column)
}

/// L-TIME and L-BASE: what every scan may read.
fn time(planned: &Planned<'_>, scan: &TableScan, problems: &mut Vec<Problem>) {
    let table = scan.table_name.table();
    let column = time_column(table);
    let window = planned.window;
    let bounds = time_bounds(&scan.filters, column, |time| {
        (window.baseline_start..=window.end).contains(&time)
    });
    let line = line_of(&planned.file.sql, column).or_else(|| line(planned));
    for (bound, side, example) in [
        (bounds.from, "lower", format!("{column} >= $window_start")),
        (bounds.to, "upper", format!("{column} < $window_end")),
    ] {
        if bound.is_none() {
            let message = format!("no {side} bound on `{column}` of `{table}` can be proved");
            problems.push(Problem::error("L-TIME", line, message).hint(Some(format!(
                "add `{example}` to the `WHERE` that reads `{table}`"
            ))));
        }
    }
    if bounds.from.is_some_and(|from| from < window.start)
        && bounds.to.is_some_and(|to| to > window.start)
    {
        let message = format!(
            "one scan of `{table}` reads the baseline and the window: the value under test is in its own sample"
        );
        problems.push(Problem::error("L-BASE", line, message).hint(Some(format!(
            "end the baseline with `{column} < $window_start` and read the window on its own"
        ))));
    }
}

/// L-VOLATILE: what would differ between two runs.
fn volatile(planned: &Planned<'_>, problems: &mut Vec<Problem>) {
    const CLOCKS: [&str; 5] = [
        "now",
        "current_timestamp",
        "current_date",
        "current_time",
        "today",
    ];
    let mut found = BTreeSet::new();
    planned
        .open
        .apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    if let Expr::ScalarFunction(call) = expr
                        && (call.func.signature().volatility == Volatility::Volatile
                            || CLOCKS.contains(&call.func.name()))
                    {
                        found.insert(call.func.name().to_string());
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })
        .expect("nothing in here fails");
    for name in found {
        let line = line_of(&planned.file.sql.to_lowercase(), &name).or_else(|| line(planned));
        problems.push(
            Problem::error(
                "L-VOLATILE",
                line,
                format!("`{name}` gives another answer on another run"),
            )
            .hint(Some(
                "time comes from `$window_start` and `$window_end`".to_string(),
            )),
        );
    }
}

/// The tables that the header declares are those that the query reads, and have the required columns.
fn sources(planned: &Planned<'_>, problems: &mut Vec<Problem>) {
    let rule = &planned.file.rule;
    let header = Some(rule.line);
    let mut read = BTreeSet::new();
    visit_scans(&planned.open, |scan| {
        read.insert(scan.table_name.table().to_string());
    });
    for table in &read {
        if !rule.source.contains(table) {
            problems.push(Problem::error(
                "L-SCHEMA",
                header,
                format!("the query reads `{table}`, which `source` does not name"),
            ));
        }
    }
    for table in &rule.source {
        if !read.contains(table) {
            let hint = nearest(table, read.iter().map(String::as_str))
                .map(|near| format!("did you mean `{near}`?"));
            problems.push(
                Problem::error(
                    "L-SCHEMA",
                    header,
                    format!("`source` names `{table}`, which the query does not read"),
                )
                .hint(hint),
            );
        }
    }
    let Some(schema) = rule
        .source
        .first()
        .and_then(|table| planned.schemas.get(table))
    else {
        return;
    };
    for column in rule
        .requires
        .iter()
        .filter(|column| schema.field_with_name(column).is_err())
    {
        let hint = nearest(
            column,
            schema.fields().iter().map(|field| field.name().as_str()),
        )
        .map(|near| format!("did you mean `{near}`?"));
        problems.push(
            Problem::error(
                "L-SCHEMA",
                header,
                format!("`{}` has no column `{column}` to require", rule.source[0]),
            )
            .hint(hint),
        );
    }
}

/// The output contract.
fn output(planned: &Planned<'_>, problems: &mut Vec<Problem>) {
    let rule = &planned.file.rule;
    let schema = planned.optimised.schema();
    let columns: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    for column in rule
        .entity
        .iter()
        .filter(|column| !columns.contains(&column.as_str()))
    {
        let hint =
            nearest(column, columns.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        problems.push(
            Problem::error(
                "L-SCHEMA",
                line(planned),
                format!("the entity column `{column}` is not returned"),
            )
            .hint(hint),
        );
    }
    let unique: BTreeSet<_> = columns.iter().collect();
    if unique.len() != columns.len() {
        problems.push(Problem::error(
            "L-SCHEMA",
            line(planned),
            "two returned columns have the same name",
        ));
    }
    for field in schema.fields() {
        let is_text = matches!(
            field.data_type(),
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8
        );
        let (fits, wanted) = match field.name().as_str() {
            "severity" | "title" => (is_text, "a text"),
            "score" => (field.data_type().is_numeric(), "a number"),
            FROZEN => (*field.data_type() == DataType::Boolean, "true or false"),
            "event_count" | "history_count" => (field.data_type().is_integer(), "a whole number"),
            "first_seen" | "last_seen" => (
                matches!(field.data_type(), DataType::Timestamp(..)),
                "a time",
            ),
            _ => continue,
        };
        if !fits {
            let message = format!(
                "`{}` must be {wanted}, not {}",
                field.name(),
                field.data_type()
            );
            problems.push(Problem::error("L-SCHEMA", line(planned), message));
        }
    }
    if rule.kind == RuleKind::Slo && !columns.contains(&FROZEN) {
        let message = format!(
            "a rule of `kind = \"slo\"` returns `{FROZEN}`: too little data to say anything of the row"
        );
        problems.push(Problem::error("L-SCHEMA", line(planned), message));
    }
    if rule.min_history > 0 && !columns.contains(&"history_count") {
        let message = "`min_history` needs the rule to return `history_count`: buckets of history behind the row";
        problems.push(Problem::error("L-SCHEMA", line(planned), message));
    }
}

/// L-CARTESIAN: rows multiplied before they are counted.
fn cartesian(planned: &Planned<'_>, problems: &mut Vec<Problem>) {
    let mut is_crossed = false;
    planned
        .optimised
        .apply_with_subqueries(|node| {
            if let LogicalPlan::Aggregate(aggregate) = node {
                is_crossed |= multiplies(&aggregate.input, false);
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .expect("nothing in here fails");
    if is_crossed {
        problems.push(
            Problem::error(
                "L-CARTESIAN",
                line(planned),
                "rows are multiplied by each other before an aggregate counts them",
            )
            .hint(Some(
                "join on a key; unnest parallel lists in one `unnest`, or the list of structs"
                    .to_string(),
            )),
        );
    }
}

/// Whether two unnests are stacked or a join has no condition, down to the next aggregate.
fn multiplies(plan: &LogicalPlan, below_unnest: bool) -> bool {
    match plan {
        LogicalPlan::Aggregate(_) => false,
        LogicalPlan::Unnest(unnest) => below_unnest || multiplies(&unnest.input, true),
        LogicalPlan::Join(join) => {
            let is_single = |side: &LogicalPlan| side.max_rows().is_some_and(|rows| rows <= 1);
            let is_cross = join.on.is_empty()
                && join.filter.is_none()
                && !is_single(&join.left)
                && !is_single(&join.right);
            is_cross
                || multiplies(&join.left, below_unnest)
                || multiplies(&join.right, below_unnest)
        }
        other => other
            .inputs()
            .into_iter()
            .any(|input| multiplies(input, below_unnest)),
    }
}

/// L-LITERAL and L-NOENTITY, from the text of the outermost `SELECT`s.
fn having(planned: &Planned<'_>, problems: &mut Vec<Problem>) {
    let mut literals = BTreeSet::new();
    for select in selects(planned.query) {
        if let Some(having) = &select.having {
            let _ = ast::visit_expressions(having, |expr| {
                if let ast::Expr::Value(value) = expr
                    && let ast::Value::Number(number, _) = &value.value
                    && number != "0"
                    && number != "1"
                {
                    literals.insert((value.span.start.line as usize, number.clone()));
                }
                std::ops::ControlFlow::<()>::Continue(())
            });
        }
    }
    for (line, number) in literals {
        problems.push(
            Problem::warning(
                "L-LITERAL",
                Some(line),
                format!("the threshold {number} is not a parameter"),
            )
            .hint(Some(
                "declare it under `[params]` with its meaning".to_string(),
            )),
        );
    }
    let mut outermost = &planned.optimised;
    while !matches!(outermost, LogicalPlan::Aggregate(_)) {
        match outermost.inputs()[..] {
            [input] => outermost = input,
            _ => return,
        }
    }
    if let LogicalPlan::Aggregate(aggregate) = outermost
        && aggregate.group_expr.is_empty()
    {
        problems.push(Problem::warning(
            "L-NOENTITY",
            line(planned),
            "an aggregate over everybody: nothing in `GROUP BY` says whose it is",
        ));
    }
}

/// Every `SELECT` of a query, in its CTEs and set operations as well.
fn selects(query: &ast::Query) -> Vec<&ast::Select> {
    fn body<'a>(set: &'a ast::SetExpr, found: &mut Vec<&'a ast::Select>) {
        match set {
            ast::SetExpr::Select(select) => found.push(select),
            ast::SetExpr::Query(query) => found.extend(selects(query)),
            ast::SetExpr::SetOperation { left, right, .. } => {
                body(left, found);
                body(right, found);
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Some(with) = &query.with {
        for table in &with.cte_tables {
            found.extend(selects(&table.query));
        }
    }
    body(&query.body, &mut found);
    found
}

fn unused_params(planned: &Planned<'_>, problems: &mut Vec<Problem>) {
    let used = planned.open.get_parameter_names().unwrap_or_default();
    for param in &planned.file.rule.params {
        if !used.contains(&format!("${}", param.name)) {
            problems.push(Problem::warning(
                "L-DEADCOL",
                Some(param.line),
                format!("the parameter `{}` is not used", param.name),
            ));
        }
    }
}

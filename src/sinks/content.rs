//! Which columns of a finding may carry words of prompts or responses, and what is told without them.
//!
//! It follows from the plan of the rule: a column of text is withheld when a column that holds such text has gone into
//! it on any way. Numbers, times and flags say nothing of the words they were counted from. What is not understood is
//! withheld, and so is all text of a rule that is not known.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};
use serde_json::Value;

use super::finding::Told;
use crate::catalog::check::Checker;
use crate::catalog::{RuleFile, SIGNALS};
use crate::error::Result;
use crate::schema::Table;

/// What stands where words were.
const WITHHELD: &str = "(withheld)";
/// Functions of text whose results are words of ours.
const CLOSED: [&str; 3] = ["pii_kinds", "injection_signatures", "injection_categories"];

/// What is withheld of the findings of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Withheld {
    /// Every text.
    All,
    /// The text of these columns.
    Columns(BTreeSet<String>),
}

impl Withheld {
    /// Leaves out of a finding what may be words of somebody. `title` is what the rule calls itself.
    pub(super) fn apply(&self, told: &mut Told, title: Option<&str>) {
        let is_withheld = |name: &str, value: &Value| match self {
            Withheld::All => has_text(value),
            Withheld::Columns(columns) => columns.contains(name) && has_text(value),
        };
        let mut withheld = BTreeSet::new();
        for (name, value) in &mut told.entity {
            if is_withheld(name, value) {
                *value = WITHHELD.into();
                withheld.insert(name.clone());
            }
        }
        told.evidence.retain(|name, value| {
            let is_withheld = is_withheld(name, value);
            if is_withheld {
                withheld.insert(name.clone());
            }
            !is_withheld
        });
        if is_withheld("title", &Value::String(told.title.clone())) {
            let own = title.map_or_else(|| format!("a finding of `{}`", told.rule), str::to_string);
            if own != told.title {
                told.title = own;
                withheld.insert("title".into());
            }
        }
        told.withheld = withheld.into_iter().collect();
    }
}

fn has_text(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            // Times are written as texts.
            chrono::DateTime::parse_from_rfc3339(text).is_err()
        }
        Value::Array(items) => items.iter().any(has_text),
        Value::Object(fields) => fields.values().any(has_text),
        _ => false,
    }
}

/// What is withheld of the findings of rules, planned when it is first asked.
#[derive(Default)]
pub(super) struct Contents {
    checker: Option<Checker>,
    known: BTreeMap<String, Withheld>,
}

impl Contents {
    /// Of a rule of some.
    pub(super) async fn of(&mut self, rules: &[RuleFile], file: &RuleFile) -> Result<&Withheld> {
        if self.checker.is_none() {
            self.checker = Some(Checker::new().await?);
        }
        if let Some(checker) = &self.checker {
            of_rule(checker, rules, file, &mut self.known).await;
        }
        Ok(self.known.get(&file.rule.id).unwrap_or(&Withheld::All))
    }
}

/// Signals first: what they withhold, a correlation withholds. They are no deeper than correlations may stand on each
/// other.
fn of_rule<'f>(
    checker: &'f Checker,
    rules: &'f [RuleFile],
    file: &'f RuleFile,
    known: &'f mut BTreeMap<String, Withheld>,
) -> Pin<Box<dyn Future<Output = ()> + Send + 'f>> {
    Box::pin(async move {
        if known.contains_key(&file.rule.id) {
            return;
        }
        // Against circles, which no valid pack has.
        known.insert(file.rule.id.clone(), Withheld::All);
        let mut of_signals = BTreeSet::new();
        let by = file.rule.correlation.iter().flat_map(|it| &it.by);
        let by: Vec<&String> = by.collect();
        for signal in &file.signals {
            let Some(other) = rules.iter().find(|other| other.rule.id == signal.rule.id) else {
                return;
            };
            of_rule(checker, rules, other, known).await;
            for (column, name) in signal.columns.iter().zip(&by) {
                let is_withheld = match &known[&signal.rule.id] {
                    Withheld::All => true,
                    Withheld::Columns(columns) => columns.contains(column),
                };
                if is_withheld {
                    of_signals.insert((*name).clone());
                }
            }
        }
        let Some(plan) = checker.open_plan(file).await else {
            return;
        };
        let words = Words {
            of_signals: &of_signals,
        };
        let fields = plan.schema().fields().iter();
        let columns = fields
            .zip(words.of_plan(&plan))
            .filter(|(_, has_words)| *has_words)
            .map(|(field, _)| field.name().clone());
        known.insert(file.rule.id.clone(), Withheld::Columns(columns.collect()));
    })
}

/// Follows words through a plan.
struct Words<'s> {
    /// Columns of the table of signals.
    of_signals: &'s BTreeSet<String>,
}

impl Words<'_> {
    /// Whether each output column may have words in it.
    fn of_plan(&self, plan: &LogicalPlan) -> Vec<bool> {
        let schema = plan.schema();
        let mut columns = self.of_node(plan);
        if columns.len() != schema.fields().len() {
            columns = vec![true; schema.fields().len()];
        }
        let fields = schema.fields().iter();
        for (has_words, field) in columns.iter_mut().zip(fields) {
            *has_words &= holds_text(field.data_type());
        }
        columns
    }

    fn of_node(&self, plan: &LogicalPlan) -> Vec<bool> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let table = scan.table_name.table();
                let fields = scan.projected_schema.fields().iter();
                fields
                    .map(|field| self.is_words(table, field.name()))
                    .collect()
            }
            LogicalPlan::SubqueryAlias(it) => self.of_plan(&it.input),
            LogicalPlan::Filter(it) => self.of_plan(&it.input),
            LogicalPlan::Sort(it) => self.of_plan(&it.input),
            LogicalPlan::Limit(it) => self.of_plan(&it.input),
            LogicalPlan::Repartition(it) => self.of_plan(&it.input),
            LogicalPlan::Distinct(Distinct::All(input)) => self.of_plan(input),
            LogicalPlan::Distinct(Distinct::On(on)) => self.of_all(&on.input, &on.select_expr),
            LogicalPlan::Projection(it) => self.of_all(&it.input, &it.expr),
            LogicalPlan::Aggregate(it) => {
                let mut columns = self.of_all(&it.input, &it.group_expr);
                columns.extend(self.of_all(&it.input, &it.aggr_expr));
                columns
            }
            LogicalPlan::Window(it) => {
                let mut columns = self.of_plan(&it.input);
                columns.extend(self.of_all(&it.input, &it.window_expr));
                columns
            }
            LogicalPlan::Join(it) => {
                let (left, right) = (self.of_plan(&it.left), self.of_plan(&it.right));
                match it.join_type {
                    JoinType::LeftSemi | JoinType::LeftAnti => left,
                    JoinType::RightSemi | JoinType::RightAnti => right,
                    JoinType::LeftMark => left.into_iter().chain([false]).collect(),
                    JoinType::RightMark => right.into_iter().chain([false]).collect(),
                    _ => left.into_iter().chain(right).collect(),
                }
            }
            LogicalPlan::Union(it) => {
                let mut columns = vec![false; plan.schema().fields().len()];
                for input in &it.inputs {
                    let input = self.of_plan(input);
                    if input.len() != columns.len() {
                        return Vec::new();
                    }
                    for (has_words, of_input) in columns.iter_mut().zip(input) {
                        *has_words |= of_input;
                    }
                }
                columns
            }
            LogicalPlan::Unnest(it) => {
                let input = self.of_plan(&it.input);
                let of = it.dependency_indices.iter();
                of.map(|index| input.get(*index).copied().unwrap_or(true))
                    .collect()
            }
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
                vec![false; plan.schema().fields().len()]
            }
            // Of whatever else there is nothing is known.
            _ => Vec::new(),
        }
    }

    fn of_all(&self, input: &LogicalPlan, exprs: &[Expr]) -> Vec<bool> {
        let columns = self.of_plan(input);
        let schema = input.schema();
        exprs
            .iter()
            .map(|expr| self.of_expr(expr, schema, &columns))
            .collect()
    }

    fn of_expr(&self, expr: &Expr, schema: &DFSchema, columns: &[bool]) -> bool {
        match expr {
            Expr::Column(column) => match schema.index_of_column(column) {
                Ok(index) => columns.get(index).copied().unwrap_or(true),
                Err(_) => true,
            },
            Expr::OuterReferenceColumn(..) => true,
            Expr::ScalarSubquery(subquery) => self.of_plan(&subquery.subquery).contains(&true),
            // Yes or no.
            Expr::Exists(_) | Expr::InSubquery(_) => false,
            Expr::ScalarFunction(function) if CLOSED.contains(&function.name()) => false,
            // What is compared is not what comes out.
            Expr::Case(case) => {
                let results = case.when_then_expr.iter().map(|(_, then)| then);
                results
                    .chain(&case.else_expr)
                    .any(|expr| self.of_expr(expr, schema, columns))
            }
            _ => {
                let mut found = false;
                let walked = expr.apply_children(|child| {
                    found |= self.of_expr(child, schema, columns);
                    Ok(match found {
                        true => TreeNodeRecursion::Stop,
                        false => TreeNodeRecursion::Continue,
                    })
                });
                found || walked.is_err()
            }
        }
    }

    /// Whether a column of a table holds words of people or models.
    fn is_words(&self, table: &str, column: &str) -> bool {
        if table == SIGNALS {
            return self.of_signals.contains(column);
        }
        // What rules found is theirs, and may hold what they read.
        let found = ["title", "entity", "evidence", "risk_object"];
        match Table::from_name(table) {
            Some(Table::Content) => ["text", "tool_arguments", "uri"].contains(&column),
            Some(Table::Quarantine) => column == "line",
            Some(Table::Findings) => found.contains(&column),
            Some(Table::Evaluations) => ["returned", "detail"].contains(&column),
            Some(_) => false,
            None => match table {
                "calls_merged" | "exceptions" => false,
                "findings_now" => found.contains(&column),
                _ => true,
            },
        }
    }
}

/// Whether a value of the type can hold words.
fn holds_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _) => holds_text(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_text(field.data_type())),
        DataType::Dictionary(_, value) => holds_text(value),
        DataType::Union(..) | DataType::RunEndEncoded(..) => true,
        _ => false,
    }
}

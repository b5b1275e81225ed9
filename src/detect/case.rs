//! Runs a rule's inline tests and says what differs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use serde_json::{Map, Value};
use tokio::runtime::Handle;

use super::evaluate::{Evaluated, Prepared};
use super::slice::SortedTable;
use super::source::identity;
use super::{given, json};
use crate::catalog::{Case, ParamValue, Problem, RuleFile, SIGNALS, Span, register_views, views};
use crate::error::{Error, Result};
use crate::parallel::in_parallel_with;
use crate::schema::Table;
use crate::session::{self, SessionOptions};

/// How one test ended.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// What differs, for a person; `None` when the test passed.
    pub failure: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Runs the tests of rules, several rules at a time. Results are in the order of the rules, and for each in that of its
/// tests.
///
/// # Errors
/// When the views do not plan.
pub fn run_cases(
    runtime: &Handle,
    files: Vec<&RuleFile>,
    threads: usize,
) -> Result<Vec<Vec<CaseResult>>> {
    in_parallel_with(
        files,
        threads,
        || runtime.block_on(CaseRunner::new()),
        |runner, file| runtime.block_on(runner.run(file)),
    )
}

/// Runs tests one after the other. The tables are the same for all of them, only their rows change, so that what was
/// planned for one test is there for the next.
pub(super) struct CaseRunner {
    context: SessionContext,
    tables: BTreeMap<Table, SortedTable>,
}

impl CaseRunner {
    pub(super) async fn new() -> Result<CaseRunner> {
        let context = session::context(&SessionOptions {
            target_partitions: Some(1),
            ..SessionOptions::default()
        })?;
        let mut tables = BTreeMap::new();
        for table in Table::ALL {
            let empty = SortedTable::new(table.schema(), &[], table.time_column())?;
            context.register_table(table.name(), Arc::new(empty.clone()))?;
            tables.insert(table, empty);
        }
        register_views(&context, &views()).await?;
        Ok(CaseRunner { context, tables })
    }

    /// Runs the tests of a rule. It is planned once for those that have the same parameters.
    async fn run(&self, file: &RuleFile) -> Vec<CaseResult> {
        let mut plans: Vec<(&[(String, String)], Prepared<'_>)> = Vec::new();
        let mut results = Vec::with_capacity(file.cases.len());
        let signals = self.signals_of(file);
        for case in &file.cases {
            let started = Instant::now();
            let known = plans.iter().position(|(params, _)| *params == case.params);
            let result = match known {
                Some(index) => self.evaluate(&plans[index].1, case, signals.as_ref()).await,
                None => match self.prepare(file, case).await {
                    Ok(prepared) => {
                        plans.push((&case.params, prepared));
                        let (_, prepared) = &plans[plans.len() - 1];
                        self.evaluate(prepared, case, signals.as_ref()).await
                    }
                    Err(error) => Err(error),
                },
            };
            let failure = match result {
                Ok(evaluated) => difference(case, &evaluated),
                Err(error) => {
                    let hint = error
                        .hint()
                        .map(|hint| format!("\nhint: {hint}"))
                        .unwrap_or_default();
                    Some(format!("{error}{hint}"))
                }
            };
            results.push(CaseResult {
                failure,
                elapsed: started.elapsed(),
            });
        }
        results
    }

    /// Plans a rule with the parameters of a test.
    pub(super) async fn prepare<'f>(
        &self,
        file: &'f RuleFile,
        case: &Case,
    ) -> Result<Prepared<'f>> {
        let mut overrides = Vec::new();
        for (name, text) in &case.params {
            let param = file
                .rule
                .param(name)
                .expect("checked when the file was read");
            let value = param.parse(text).map_err(|message| Error::Usage {
                message,
                hint: None,
            })?;
            overrides.push((name.clone(), value));
        }
        self.prepare_with(file, &overrides).await
    }

    /// Plans a rule with parameters.
    pub(super) async fn prepare_with<'f>(
        &self,
        file: &'f RuleFile,
        overrides: &[(String, ParamValue)],
    ) -> Result<Prepared<'f>> {
        Prepared::new(&self.context, file, overrides, None).await
    }

    /// The rows that a test gives: of tables, and of signals.
    pub(super) async fn given(
        &self,
        file: &RuleFile,
        case: &Case,
    ) -> Result<(BTreeMap<Table, RecordBatch>, Option<RecordBatch>)> {
        let fault = |problem: Box<Problem>| Error::from(problem.at(&file.path));
        let tables = given::tables(&self.context, case).await.map_err(fault)?;
        let signals = given::signals(&self.context, file, case).await;
        Ok((tables, signals.map_err(fault)?))
    }

    /// Puts rows into the tables, as a run loads them: in the order of time, each once.
    pub(super) fn place(&self, rows: &BTreeMap<Table, RecordBatch>) -> Result<()> {
        for (table, batch) in rows {
            let batches = std::slice::from_ref(batch);
            let rows = SortedTable::without_copies(
                batch.schema(),
                batches,
                table.time_column(),
                identity(*table),
            )?;
            self.tables[table].replace(&rows)?;
        }
        Ok(())
    }

    /// The table that a correlation reads, empty and in its place.
    pub(super) fn signals_of(&self, file: &RuleFile) -> Option<SortedTable> {
        let schema = file.rule.correlation.as_ref()?.schema();
        let table = SortedTable::new(schema, &[], "event_time").ok()?;
        self.context.deregister_table(SIGNALS).ok()?;
        self.context
            .register_table(SIGNALS, Arc::new(table.clone()))
            .ok()?;
        Some(table)
    }

    /// Evaluates a rule over the rows that a test gives.
    async fn evaluate(
        &self,
        prepared: &Prepared<'_>,
        case: &Case,
        signals: Option<&SortedTable>,
    ) -> Result<Evaluated> {
        let (tables, given) = self.given(prepared.file, case).await?;
        for (table, batch) in tables {
            let rows = SortedTable::new(batch.schema(), &[batch], table.time_column())?;
            self.tables[&table].replace(&rows)?;
        }
        if let (Some(table), Some(batch)) = (signals, given) {
            table.replace(&SortedTable::new(batch.schema(), &[batch], "event_time")?)?;
        }
        Ok(prepared.evaluate(case.at).await)
    }
}

/// What differs between what a test expects and what came out.
fn difference(case: &Case, evaluated: &Evaluated) -> Option<String> {
    let mut text = String::new();
    if let Some(expected) = case.expect_state
        && expected != evaluated.state
    {
        let _ = write!(
            text,
            "expected the state `{}`, got `{}`",
            expected.name(),
            evaluated.state.name()
        );
    }
    let actual: Vec<&Map<String, Value>> =
        evaluated.found.iter().map(|found| &found.columns).collect();
    if let Some(expected) = &case.expect {
        let (missing, extra) = unmatched(expected, &actual, case);
        if !missing.is_empty() || !extra.is_empty() {
            let _ = write!(
                text,
                "expected {} findings, got {}",
                expected.len(),
                actual.len()
            );
            for row in missing {
                let _ = write!(text, "\n  - {}", Value::Object(row.clone()));
            }
            for row in extra {
                let _ = write!(text, "\n  + {}", Value::Object(row.clone()));
            }
        }
    }
    if text.is_empty() {
        return None;
    }
    if let Some(detail) = &evaluated.detail {
        let _ = write!(text, "\n  state `{}`: {detail}", evaluated.state.name());
    }
    Some(text)
}

type Rows<'a> = Vec<&'a Map<String, Value>>;

/// The expected rows that nothing matches, and the actual rows that match nothing. Each matches at most one, so that
/// a row too many is seen; the most specific expectations choose first.
fn unmatched<'a>(
    expected: &'a [Map<String, Value>],
    actual: &[&'a Map<String, Value>],
    case: &Case,
) -> (Rows<'a>, Rows<'a>) {
    let mut left: Rows<'a> = actual.to_vec();
    let mut missing = Rows::new();
    let mut order: Rows<'a> = expected.iter().collect();
    order.sort_by_key(|row| std::cmp::Reverse(row.len()));
    for row in order {
        match left.iter().position(|actual| matches(row, actual, case)) {
            Some(index) => {
                left.remove(index);
            }
            None => missing.push(row),
        }
    }
    (missing, left)
}

fn matches(expected: &Map<String, Value>, actual: &Map<String, Value>, case: &Case) -> bool {
    let are_equal = |(name, value): (&String, &Value)| {
        actual
            .get(name)
            .is_some_and(|actual| same(value, actual, case.at))
    };
    expected.iter().all(are_equal)
        && (!case.exact || actual.keys().all(|name| expected.contains_key(name)))
}

/// Equality with a tolerance of one in a million for fractions, and relative times.
fn same(expected: &Value, actual: &Value, at: i64) -> bool {
    match (expected, actual) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a == b,
            _ => {
                let (a, b) = (
                    a.as_f64().unwrap_or(f64::NAN),
                    b.as_f64().unwrap_or(f64::NAN),
                );
                (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
            }
        },
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, at))
        }
        (Value::String(a), Value::String(b)) if a != b => {
            let relative = a
                .strip_prefix('-')
                .and_then(|span| span.parse::<Span>().ok());
            let absolute = |text: &str| {
                chrono::DateTime::parse_from_rfc3339(text)
                    .ok()
                    .map(|time| time.timestamp_micros())
            };
            match relative {
                Some(span) => json::time_text(at - span.0) == *b,
                None => absolute(a).is_some() && absolute(a) == absolute(b),
            }
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn case(exact: bool) -> Case {
        Case {
            name: String::new(),
            at: 3_600_000_000,
            given: Vec::new(),
            expect: None,
            expect_state: None,
            exact,
            params: Vec::new(),
            line: 1,
        }
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn a_row_too_many_or_too_few_is_a_difference() {
        let (a, b) = (
            object(json!({"caller": "a", "n": 1})),
            object(json!({"caller": "b", "n": 1})),
        );
        let any = object(json!({"n": 1}));
        let count = |expected: &[Map<String, Value>], actual: &[&Map<String, Value>]| {
            let (missing, extra) = unmatched(expected, actual, &case(false));
            (missing.len(), extra.len())
        };
        assert_eq!(count(&[any.clone(), a.clone()], &[&a, &b]), (0, 0));
        assert_eq!(count(std::slice::from_ref(&any), &[&a, &b]), (0, 1));
        assert_eq!(count(&[any.clone(), any.clone()], &[&a]), (1, 0));
        assert!(!matches(&any, &a, &case(true)));
    }

    #[test]
    fn values_compare_as_people_write_them() {
        let at = case(false).at;
        assert!(same(&json!(0.1), &json!(0.100_000_001), at));
        assert!(!same(&json!(0.1), &json!(0.1001), at));
        assert!(!same(&json!(3.2139e-16), &json!(3.2152e-16), at));
        assert!(same(&json!("-30m"), &json!("1970-01-01T00:30:00Z"), at));
        assert!(same(
            &json!("1970-01-01T00:30:00.000Z"),
            &json!("1970-01-01T00:30:00Z"),
            at
        ));
        assert!(!same(&json!(1), &json!(2), at));
        assert!(!same(&json!(null), &json!(0), at));
    }
}

//! Everything through SQL: the cases of `slt/*.slt`, and the examples in the functions' documentation.
//!
//! Each file runs under several settings, since an aggregate has a different way to its result under each: batches of a
//! single row, several partitions whose states are merged, and rows turned into states one by one.

use std::collections::BTreeSet;
use std::path::Path;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::Documentation;
use datafusion::logical_expr::registry::MemoryFunctionRegistry;
use datafusion::prelude::{SessionConfig, SessionContext};
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};
use tokio::runtime::Runtime;

struct Database {
    runtime: Runtime,
    session: SessionContext,
}

impl Database {
    fn new(config: SessionConfig) -> Result<Self> {
        let mut session = SessionContext::new_with_config(config);
        inferwatch_udfs::register_all(&mut session)?;
        Ok(Self {
            runtime: Runtime::new()?,
            session,
        })
    }

    fn query(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.runtime
            .block_on(async { self.session.sql(sql).await?.collect().await })
    }
}

impl DB for Database {
    type Error = DataFusionError;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>> {
        let batches = self.query(sql)?;
        let Some(first) = batches.first().filter(|batch| batch.num_columns() > 0) else {
            return Ok(DBOutput::StatementComplete(0));
        };
        let types = vec![DefaultColumnType::Any; first.num_columns()];
        let mut rows = vec![];
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let cells = batch.columns().iter().map(|column| cell(column, row));
                rows.push(cells.collect::<Result<_>>()?);
            }
        }
        Ok(DBOutput::Rows { types, rows })
    }
}

/// One value as cases write it: doubles to twelve digits, which is what every function here promises.
fn cell(column: &dyn Array, row: usize) -> Result<String> {
    if column.is_null(row) {
        return Ok("NULL".to_owned());
    }
    if *column.data_type() == DataType::Float64 {
        let rounded = format!("{:.11e}", column.as_primitive::<Float64Type>().value(row));
        return Ok(rounded
            .parse::<f64>()
            .map_or(rounded, |value| format!("{value:?}")));
    }
    let formatter = ArrayFormatter::try_new(column, &FormatOptions::default())?;
    let text = formatter.value(row).to_string();
    Ok(if text.is_empty() {
        "(empty)".to_owned()
    } else {
        text
    })
}

fn settings() -> [(&'static str, SessionConfig); 4] {
    let config = || SessionConfig::new().with_target_partitions(1);
    let partitioned = || {
        SessionConfig::new()
            .with_target_partitions(4)
            .with_batch_size(7)
    };
    let skipping = partitioned()
        .set_usize(
            "datafusion.execution.skip_partial_aggregation_probe_rows_threshold",
            0,
        )
        .set(
            "datafusion.execution.skip_partial_aggregation_probe_ratio_threshold",
            &0.0.into(),
        );
    [
        ("defaults", config()),
        ("batches of one row", config().with_batch_size(1)),
        ("four partitions", partitioned()),
        ("partial aggregation skipped", skipping),
    ]
}

#[test]
fn every_case_holds_under_all_settings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let entries = std::fs::read_dir(folder).expect("the folder of cases is part of the crate");
    let files: BTreeSet<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    assert!(!files.is_empty());
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|name| name == "slt"))
    {
        for (name, config) in settings() {
            let mut runner = Runner::new(|| std::future::ready(Database::new(config.clone())));
            if let Err(error) = runner.run_file(file) {
                panic!("with {name}: {error}");
            }
        }
    }
}

#[test]
fn every_function_is_documented_with_an_example_that_runs() -> Result<()> {
    let mut registry = MemoryFunctionRegistry::new();
    inferwatch_udfs::register_all(&mut registry)?;
    let database = Database::new(SessionConfig::new())?;
    let check = |name: &str, documentation: Option<&Documentation>| {
        let example = documentation
            .unwrap_or_else(|| panic!("`{name}` is not documented"))
            .sql_example
            .as_deref()
            .unwrap_or_else(|| panic!("`{name}` has no example"));
        let checked = check_example(&database, name, example);
        assert!(
            checked > 0,
            "the example of `{name}` shows no query with its result:\n{example}"
        );
    };
    for name in registry.udfs() {
        check(&name, registry.udf(&name)?.documentation());
    }
    for name in registry.udafs() {
        check(&name, registry.udaf(&name)?.documentation());
    }
    for name in registry.udwfs() {
        check(&name, registry.udwf(&name)?.documentation());
    }
    Ok(())
}

/// Runs the queries of an example, each from `> ` to `;`, and compares the tables below them; returns how many.
fn check_example(database: &Database, name: &str, example: &str) -> usize {
    let mut queries = 0;
    let mut lines = example
        .lines()
        .filter(|line| !line.starts_with("```"))
        .peekable();
    while let Some(line) = lines.next() {
        let Some(start) = line.strip_prefix("> ") else {
            continue;
        };
        let mut sql = start.to_owned();
        while !sql.trim_end().ends_with(';') {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("`{name}`: no `;` ends {sql}"));
            sql.push('\n');
            sql.push_str(line);
        }
        let mut expected = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(['+', '|'])) {
            expected.push_str(line);
            expected.push('\n');
        }
        let batches = database
            .query(&sql)
            .unwrap_or_else(|error| panic!("`{name}`: {error}\n{sql}"));
        let actual = pretty_format_batches(&batches)
            .expect("results can be shown")
            .to_string();
        assert_eq!(
            table(&actual),
            table(&expected),
            "`{name}`, the result of\n{sql}\nis\n{actual}"
        );
        queries += 1;
    }
    queries
}

/// The cells of a drawn table; widths do not matter.
fn table(drawn: &str) -> Vec<Vec<&str>> {
    let rows = drawn.lines().filter(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

//! `inferwatch store`: what is in a store, and whether it is sound.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use clap::{Subcommand, ValueEnum};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::{CLEAR, FOUND, Global};
use crate::output::{self, Format, table};
use crate::store::{Store, StoreInfo, VerifyReport};

const EXAMPLES: &str = "\
Examples:
  What is in the store:
    inferwatch store info
  Whether every file is there and holds what the log says; exit code 1 if not:
    inferwatch store verify --deep";

/// Show what is in the store, or check that it is sound
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tables with their rows, files and times; calls by source; callers
    Info {
        /// Table or JSON; by default a table on a terminal
        #[arg(long, env = "INFERWATCH_STORE_FORMAT", value_name = "FORMAT")]
        format: Option<Report>,
    },
    /// Compare the files with the log
    ///
    /// Ends with 1 when something is wrong. Files that no log names are listed too, but are not wrong: a
    /// crash left them, or a writer is still at work.
    Verify {
        /// Also decode every file, and check its order, period and statistics
        #[arg(
            long,
            env = "INFERWATCH_STORE_VERIFY_DEEP",
            value_parser = clap::builder::FalseyValueParser::new()
        )]
        deep: bool,
        /// Table or JSON; by default a table on a terminal
        #[arg(long, env = "INFERWATCH_STORE_FORMAT", value_name = "FORMAT")]
        format: Option<Report>,
    },
}

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Report {
    /// For people
    Table,
    /// One JSON object
    Json,
}

impl Report {
    fn or_default(format: Option<Report>) -> Report {
        format.unwrap_or(match Format::for_stdout() {
            Format::Table => Report::Table,
            _ => Report::Json,
        })
    }
}

/// Shows or checks the store.
///
/// # Errors
/// When there is no store, or it cannot be read at all.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = Store::open(&global.store)?;
    let (text, code) = match &args.action {
        Action::Info { format } => {
            let info = super::runtime(None)?.block_on(store.info())?;
            let text = match Report::or_default(*format) {
                Report::Table => info_table(&info)?,
                Report::Json => json_text(&info_json(&store, &info))?,
            };
            (text, CLEAR)
        }
        Action::Verify { deep, format } => {
            let report = store.verify(*deep)?;
            let text = match Report::or_default(*format) {
                Report::Table => verify_table(&report)?,
                Report::Json => json_text(&verify_json(&report))?,
            };
            (
                text,
                if report.problems.is_empty() {
                    CLEAR
                } else {
                    FOUND
                },
            )
        }
    };
    for warning in store.take_warnings() {
        global.note(&format!("warning: {warning}"));
    }
    output::data(text.trim_end())?;
    Ok(ExitCode::from(code))
}

fn json_text(value: &Value) -> anyhow::Result<String> {
    serde_json::to_string_pretty(value).context("cannot write JSON")
}

fn info_table(info: &StoreInfo) -> anyhow::Result<String> {
    let tables = &info.tables;
    let times = |pick: fn((i64, i64)) -> i64| -> ArrayRef {
        let times = tables.iter().map(|table| table.time_range.map(pick));
        Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("UTC"))
    };
    let names = tables.iter().map(|table| table.table.name());
    let rows = tables.iter().map(|table| table.rows);
    let files = tables.iter().map(|table| table.files as i64);
    let bytes = tables
        .iter()
        .map(|table| HumanBytes(table.bytes.unsigned_abs()).to_string());
    let mut text = draw([
        (
            "table",
            Arc::new(StringArray::from_iter_values(names)) as ArrayRef,
        ),
        ("rows", Arc::new(Int64Array::from_iter_values(rows))),
        ("files", Arc::new(Int64Array::from_iter_values(files))),
        ("size", Arc::new(StringArray::from_iter_values(bytes))),
        ("first", times(|(first, _)| first)),
        ("last", times(|(_, last)| last)),
    ])?;
    if !info.formats.is_empty() {
        let names = info.formats.iter().map(|(name, _)| name);
        let calls = info.formats.iter().map(|(_, calls)| *calls);
        text.push_str(&draw([
            (
                "source of calls",
                Arc::new(StringArray::from_iter_values(names)) as ArrayRef,
            ),
            ("calls", Arc::new(Int64Array::from_iter_values(calls))),
        ])?);
    }
    text.push_str(&format!("{} callers\n", info.callers));
    Ok(text)
}

fn info_json(store: &Store, info: &StoreInfo) -> Value {
    let tables: Vec<Value> = info
        .tables
        .iter()
        .map(|table| {
            json!({
                "table": table.table.name(),
                "version": table.version,
                "rows": table.rows,
                "files": table.files,
                "bytes": table.bytes,
                "first": table.time_range.and_then(|(first, _)| rfc3339(first)),
                "last": table.time_range.and_then(|(_, last)| rfc3339(last)),
            })
        })
        .collect();
    let formats: serde_json::Map<String, Value> = info
        .formats
        .iter()
        .map(|(name, calls)| (name.clone(), json!(calls)))
        .collect();
    json!({
        "store": store.root().display().to_string(),
        "tables": tables,
        "calls_by_source": formats,
        "callers": info.callers,
    })
}

fn rfc3339(micros: i64) -> Option<String> {
    let time = chrono::DateTime::from_timestamp_micros(micros)?;
    Some(time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

fn verify_table(report: &VerifyReport) -> anyhow::Result<String> {
    let mut text = String::new();
    if !report.problems.is_empty() {
        let names = report.problems.iter().map(|problem| problem.table.name());
        let paths = report
            .problems
            .iter()
            .map(|problem| problem.path.as_ref().map(|path| path.display().to_string()));
        let messages = report.problems.iter().map(|problem| &problem.message);
        text.push_str(&draw([
            (
                "table",
                Arc::new(StringArray::from_iter_values(names)) as ArrayRef,
            ),
            ("problem", Arc::new(StringArray::from_iter_values(messages))),
            ("file", Arc::new(StringArray::from_iter(paths))),
        ])?);
    }
    if !report.unreferenced.is_empty() {
        let bytes: u64 = report.unreferenced.iter().map(|(_, bytes)| bytes).sum();
        text.push_str(&format!(
            "{} files that no log names take {}\n",
            report.unreferenced.len(),
            HumanBytes(bytes)
        ));
    }
    let verdict = match report.problems.len() {
        0 => "sound".to_string(),
        1 => "1 problem".to_string(),
        problems => format!("{problems} problems"),
    };
    text.push_str(&format!(
        "{verdict}: {} files, {} rows\n",
        report.files, report.rows
    ));
    Ok(text)
}

fn verify_json(report: &VerifyReport) -> Value {
    let problems: Vec<Value> = report
        .problems
        .iter()
        .map(|problem| {
            json!({
                "table": problem.table.name(),
                "file": problem.path.as_ref().map(|path| path.display().to_string()),
                "problem": problem.message,
            })
        })
        .collect();
    let unreferenced: Vec<Value> = report
        .unreferenced
        .iter()
        .map(|(path, bytes)| json!({ "file": path.display().to_string(), "bytes": bytes }))
        .collect();
    json!({
        "files": report.files,
        "rows": report.rows,
        "problems": problems,
        "unreferenced": unreferenced,
    })
}

fn draw<const N: usize>(columns: [(&str, ArrayRef); N]) -> anyhow::Result<String> {
    let batch = RecordBatch::try_from_iter(columns)?;
    let style = table::Style {
        max_width: 0,
        ..table::Style::default()
    };
    Ok(table::render(&batch.schema(), &[batch], style)?)
}

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
use crate::store::{Repair, Store, StoreInfo, VerifyReport};

const EXAMPLES: &str = "\
Examples:
  What is in the store:
    inferwatch store info
  Whether every file is there and holds what the log says; exit code 1 if not:
    inferwatch store verify --deep
  What could be done about it, and what that would cost; then do it:
    inferwatch store repair --deep
    inferwatch store repair --deep --apply";

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
    /// Make a damaged store usable again: say what would be done and lost, or do it
    ///
    /// Files that are gone or cannot be read are taken out of the log, so that queries run again; what
    /// was in them is lost unless their logs are ingested anew from the sources. A file that is there is
    /// moved to the store's folder `damaged`, not deleted. A damaged log is not repaired: restore
    /// `_delta_log` from a backup.
    Repair {
        /// Do it
        #[arg(
            long,
            env = "INFERWATCH_STORE_REPAIR_APPLY",
            value_parser = clap::builder::FalseyValueParser::new()
        )]
        apply: bool,
        /// Also decode every file
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
pub(super) enum Report {
    /// For people
    Table,
    /// One JSON object
    Json,
}

impl Report {
    pub(super) fn or_default(format: Option<Report>) -> Report {
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
    let store = global.open_store()?;
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
        Action::Repair {
            apply,
            deep,
            format,
        } => repair(&store, *apply, *deep, Report::or_default(*format))?,
    };
    for warning in store.take_warnings() {
        global.note(&format!("warning: {warning}"));
    }
    output::data(text.trim_end())?;
    Ok(ExitCode::from(code))
}

/// Exit code 0: nothing is wrong, or no longer; 1: something is.
fn repair(store: &Store, apply: bool, deep: bool, format: Report) -> anyhow::Result<(String, u8)> {
    let report = store.verify(deep)?;
    let plan = store.plan_repair(&report.problems)?;
    let is_hopeless = plan.iter().any(|repair| repair.action.is_none());
    let is_done = apply && !is_hopeless && !plan.is_empty();
    if is_done {
        store.repair(&plan, chrono::Utc::now().timestamp_micros())?;
    }
    let text = match format {
        Report::Table => repair_table(&plan, is_done, is_hopeless)?,
        Report::Json => {
            let repairs: Vec<Value> = plan
                .iter()
                .map(|repair| {
                    json!({
                        "table": repair.table.name(),
                        "file": repair.path.as_ref().map(|path| path.display().to_string()),
                        "problem": repair.problem,
                        "action": repair.action,
                        "rows_lost": repair.rows_lost,
                    })
                })
                .collect();
            json_text(&json!({ "done": is_done, "repairs": repairs }))?
        }
    };
    let is_sound = plan.is_empty() || is_done;
    Ok((text, if is_sound { CLEAR } else { FOUND }))
}

fn repair_table(plan: &[Repair], is_done: bool, is_hopeless: bool) -> anyhow::Result<String> {
    if plan.is_empty() {
        return Ok("sound: nothing to repair\n".to_owned());
    }
    let column = |of: &dyn Fn(&Repair) -> Option<String>| -> ArrayRef {
        Arc::new(plan.iter().map(of).collect::<StringArray>())
    };
    let lost = plan
        .iter()
        .map(|repair| Some(repair.rows_lost))
        .collect::<Int64Array>();
    let mut text = draw([
        (
            "table",
            column(&|repair| Some(repair.table.name().to_owned())),
        ),
        ("problem", column(&|repair| Some(repair.problem.clone()))),
        (
            "action",
            column(&|repair| {
                Some(
                    repair
                        .action
                        .unwrap_or("none: restore `_delta_log` from a backup")
                        .to_owned(),
                )
            }),
        ),
        ("rows lost", Arc::new(lost) as ArrayRef),
        (
            "file",
            column(&|repair| repair.path.as_ref().map(|path| path.display().to_string())),
        ),
    ])?;
    let rows: i64 = plan.iter().map(|repair| repair.rows_lost).sum();
    text.push_str(&match (is_done, is_hopeless) {
        (true, _) => format!(
            "done; {rows} rows are lost unless their sources are ingested into a new store\n"
        ),
        (_, true) => {
            "nothing was done: a log is damaged, which only a backup can mend\n".to_owned()
        }
        _ => format!("nothing was done; `--apply` does this, and loses {rows} rows\n"),
    });
    Ok(text)
}

/// A value as text.
pub(super) fn json_text(value: &Value) -> anyhow::Result<String> {
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

/// A time as people and programs read it.
pub(super) fn rfc3339(micros: i64) -> Option<String> {
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
    for (table, files, why) in &report.sealed {
        text.push_str(&format!(
            "{files} files of `{}` were not opened: {why}\n",
            table.name()
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
    let sealed: Vec<Value> = report
        .sealed
        .iter()
        .map(|(table, files, why)| json!({ "table": table.name(), "files": files, "reason": why }))
        .collect();
    json!({
        "files": report.files,
        "rows": report.rows,
        "problems": problems,
        "sealed": sealed,
        "unreferenced": unreferenced,
    })
}

/// A table of these columns.
pub(super) fn draw<const N: usize>(columns: [(&str, ArrayRef); N]) -> anyhow::Result<String> {
    let batch = RecordBatch::try_from_iter(columns)?;
    let style = table::Style {
        max_width: 0,
        ..table::Style::default()
    };
    Ok(table::render(&batch.schema(), &[batch], style)?)
}

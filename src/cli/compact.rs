//! `inferwatch compact`: few large files in place of many small ones.

use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use clap::builder::FalseyValueParser;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::run::parse_time;
use super::store::{Report, draw, json_text, rfc3339};
use super::{CLEAR, FOUND, Global};
use crate::catalog::Span;
use crate::output::{self, bar};
use crate::schema::Table;
use crate::size;
use crate::store::{
    CompactOptions, CompactReport, CompactTask, SweepOptions, SweepReport, WriteOptions,
};

const LONG: &str = "\
Examples:
  See what would be done:
    inferwatch compact --plan
  Do it, while logs come in and queries run:
    inferwatch compact
  As a nightly job, with days made a week after their end:
    inferwatch compact --day-after 7d --format json

What it does:
  Files of one hour become one a partition; the hours of a day become a day, and the days of a month a
  month, as they age. Events that were logged twice (the same in everything but the file they were read
  from) are kept once. Which callers and models have partitions of their own is decided again. What was
  written is read back and compared, by row count and checksum, before one commit puts it in place.

  Files that were replaced stay on the disk for `--grace`, for queries that have begun before; then the
  next run removes them. So do files that a crash has left. Commits of the log older than
  `--log-retention` go once a checkpoint stands in for them.

Exit codes:
  0    done, or nothing to do
  1    some files could not be compacted: what is wrong is said, and nothing of them was changed
  2    could not run";

/// Make few large files of many small ones, and remove what was replaced
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    /// Show what would be done, and do nothing
    #[arg(long, env = "INFERWATCH_COMPACT_PLAN", value_parser = FalseyValueParser::new())]
    plan: bool,
    /// Only this table; can be given again
    #[arg(long = "table", env = "INFERWATCH_COMPACT_TABLE", value_name = "TABLE", value_delimiter = ',', value_parser = parse_table)]
    tables: Vec<Table>,
    /// Act as if it were this time
    #[arg(long, env = "INFERWATCH_COMPACT_AT", value_name = "TIME", value_parser = parse_time)]
    at: Option<i64>,
    /// How long after its end a day's hours become one file a partition
    #[arg(
        long,
        env = "INFERWATCH_COMPACT_DAY_AFTER",
        value_name = "SPAN",
        default_value = "1d"
    )]
    day_after: Span,
    /// How long after its end a month's days become one
    #[arg(
        long,
        env = "INFERWATCH_COMPACT_MONTH_AFTER",
        value_name = "SPAN",
        default_value = "31d"
    )]
    month_after: Span,
    /// How long replaced files stay, for queries that read them
    #[arg(
        long,
        env = "INFERWATCH_COMPACT_GRACE",
        value_name = "SPAN",
        default_value = "24h"
    )]
    grace: Span,
    /// How long commits of the log stay
    #[arg(
        long,
        env = "INFERWATCH_COMPACT_LOG_RETENTION",
        value_name = "SPAN",
        default_value = "7d"
    )]
    log_retention: Span,
    /// A table for people or JSON; by default a table on a terminal
    #[arg(long, env = "INFERWATCH_COMPACT_FORMAT", value_name = "FORMAT")]
    format: Option<Report>,
    /// Memory to hold rows in
    #[arg(long, env = "INFERWATCH_COMPACT_MEMORY", value_name = "SIZE", value_parser = size::parse, default_value = "256MiB", help_heading = "Resources")]
    memory: usize,
    /// Periods to work on at a time; the number of processors by default
    #[arg(
        long,
        env = "INFERWATCH_COMPACT_THREADS",
        value_name = "N",
        help_heading = "Resources"
    )]
    threads: Option<usize>,
}

/// The table of a name.
pub(super) fn parse_table(name: &str) -> Result<Table, String> {
    Table::from_name(name).ok_or_else(|| {
        let names = Table::ALL.map(Table::name);
        format!("no such table; one of {}", names.join(", "))
    })
}

/// Runs the subcommand.
///
/// # Errors
/// When the store cannot be read or written, or another program compacts it.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.open_store()?;
    let at = args
        .at
        .unwrap_or_else(|| chrono::Utc::now().timestamp_micros());
    let mut write = WriteOptions {
        memory_budget: args.memory,
        ..WriteOptions::default()
    };
    if let Some(threads) = args.threads {
        write.threads = threads.max(1);
    }
    let options = CompactOptions {
        at,
        tables: args.tables.clone(),
        day_after: args.day_after.0,
        month_after: args.month_after.0,
        write,
        ..CompactOptions::default()
    };
    let format = Report::or_default(args.format);
    let tasks = store.plan_compaction(&options)?;
    if args.plan {
        let text = match format {
            Report::Table => plan_table(&tasks)?,
            Report::Json => json_text(&plan_json(&tasks))?,
        };
        output::data(text.trim_end())?;
        return Ok(ExitCode::from(CLEAR));
    }
    let files = tasks.iter().map(|task| task.files.len() as u64).sum();
    let progress = bar::steps(files, &options.progress, global.quiet);
    let report = store.compact(tasks, &options);
    drop(progress);
    let report = report?;
    let swept = store.sweep(&SweepOptions {
        at,
        grace: args.grace.0,
        log_retention: args.log_retention.0,
        ..SweepOptions::default()
    })?;
    for warning in store.take_warnings() {
        global.note(&format!("warning: {warning}"));
    }
    for (table, period, why) in &report.failed {
        global.note(&format!(
            "table `{}`, {period}: not compacted: {why}",
            table.name()
        ));
    }
    let text = match format {
        Report::Table => report_text(&report, &swept),
        Report::Json => json_text(&json!({
            "compacted": report_json(&report),
            "removed": swept_json(&swept),
        }))?,
    };
    output::data(text.trim_end())?;
    let code = if report.failed.is_empty() {
        CLEAR
    } else {
        FOUND
    };
    Ok(ExitCode::from(code))
}

fn plan_table(tasks: &[CompactTask]) -> anyhow::Result<String> {
    if tasks.is_empty() {
        return Ok("nothing to compact".to_owned());
    }
    let texts = |of: &dyn Fn(&CompactTask) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(tasks.iter().map(of)))
    };
    let numbers = |of: &dyn Fn(&CompactTask) -> u64| -> ArrayRef {
        Arc::new(
            tasks
                .iter()
                .map(|task| Some(of(task) as i64))
                .collect::<Int64Array>(),
        )
    };
    let mut text = draw([
        ("table", texts(&|task| task.table.name().to_owned())),
        ("period", texts(&|task| task.period.clone())),
        ("files", numbers(&|task| task.files.len() as u64)),
        ("rows", numbers(&|task| task.rows)),
        ("size", texts(&|task| HumanBytes(task.bytes).to_string())),
        ("why", texts(&|task| task.reason.to_owned())),
    ])?;
    let files: usize = tasks.iter().map(|task| task.files.len()).sum();
    let bytes = tasks.iter().map(|task| task.bytes).sum();
    text.push_str(&format!(
        "{files} files of {} in {} periods\n",
        HumanBytes(bytes),
        tasks.len()
    ));
    Ok(text)
}

fn plan_json(tasks: &[CompactTask]) -> Value {
    let tasks = tasks.iter().map(|task| {
        json!({
            "table": task.table.name(),
            "period": task.period,
            "files": task.files.len(),
            "rows": task.rows,
            "bytes": task.bytes,
            "reason": task.reason,
        })
    });
    Value::Array(tasks.collect())
}

fn report_text(report: &CompactReport, swept: &SweepReport) -> String {
    let mut text = match report.periods {
        0 => "nothing compacted\n".to_owned(),
        periods => format!(
            "{periods} periods: {} files of {} are {} of {} now, {} rows\n",
            report.files_before,
            HumanBytes(report.bytes_before),
            report.files_after,
            HumanBytes(report.bytes_after),
            report.rows - report.duplicates,
        ),
    };
    if report.duplicates > 0 {
        text.push_str(&format!("{} rows were logged twice\n", report.duplicates));
    }
    text.push_str(&swept_text(swept));
    text
}

/// What was removed from the disk, in words.
pub(super) fn swept_text(swept: &SweepReport) -> String {
    let mut text = String::new();
    if swept.files > 0 {
        text.push_str(&format!(
            "{} replaced files of {} removed from the disk\n",
            swept.files,
            HumanBytes(swept.bytes)
        ));
    }
    if swept.orphans > 0 {
        text.push_str(&format!(
            "{} files of {} that a crash had left removed\n",
            swept.orphans,
            HumanBytes(swept.orphan_bytes)
        ));
    }
    if swept.log_files > 0 {
        text.push_str(&format!(
            "{} files of old history removed\n",
            swept.log_files
        ));
    }
    if let Some(until) = swept.waiting_until.and_then(rfc3339) {
        text.push_str(&format!(
            "{} replaced files of {} stay for queries that read them, until {until} at the latest\n",
            swept.waiting,
            HumanBytes(swept.waiting_bytes)
        ));
    }
    text
}

fn report_json(report: &CompactReport) -> Value {
    let failed: Vec<Value> = report
        .failed
        .iter()
        .map(|(table, period, why)| json!({"table": table.name(), "period": period, "why": why}))
        .collect();
    json!({
        "periods": report.periods,
        "files_before": report.files_before,
        "files_after": report.files_after,
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
        "rows": report.rows,
        "duplicates": report.duplicates,
        "failed": failed,
    })
}

/// The same as JSON.
pub(super) fn swept_json(swept: &SweepReport) -> Value {
    json!({
        "files": swept.files,
        "bytes": swept.bytes,
        "orphans": swept.orphans,
        "orphan_bytes": swept.orphan_bytes,
        "log_files": swept.log_files,
        "waiting": swept.waiting,
        "waiting_bytes": swept.waiting_bytes,
        "waiting_until": swept.waiting_until.and_then(rfc3339),
    })
}

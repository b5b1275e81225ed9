//! `inferwatch status`: how far each rule has come, and what it could not look at.

use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use clap::ValueEnum;

use super::pack::RuleFiles;
use super::run::selected;
use super::{CLEAR, FOUND, Global};
use crate::detect::{RuleStatus, status, time_text};
use crate::output::{self, table};
use crate::store::Store;

/// Show how far each rule has come, its gaps, and the rows that came too late
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this rule; can be given again
    #[arg(
        long,
        env = "INFERWATCH_STATUS_RULE",
        value_name = "ID",
        value_delimiter = ','
    )]
    rule: Vec<String>,
    #[command(flatten)]
    files: RuleFiles,
    /// How to print
    #[arg(
        long,
        value_enum,
        default_value = "table",
        env = "INFERWATCH_STATUS_FORMAT"
    )]
    format: StatusFormat,
}

/// How `status` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    /// A table for people
    Table,
    /// One JSON object a line
    Ndjson,
}

/// Runs the subcommand. Exit code 0: nothing is missing; 1: a rule has windows that nobody looked at.
///
/// # Errors
/// When the rules or the store cannot be read.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let pack = args.files.read()?;
    let rules = selected(&pack, &args.rule)?;
    let store = Store::open(&global.store)?;
    let statuses = super::runtime(None)?.block_on(status(&store, &rules))?;
    match args.format {
        StatusFormat::Ndjson => statuses
            .iter()
            .try_for_each(|status| output::data(&status.json().to_string()))?,
        StatusFormat::Table => {
            let batch = batch(&statuses)?;
            let text = table::render(&batch.schema(), &[batch], table::Style::default())?;
            output::data(text.trim_end())?;
        }
    }
    let is_whole = statuses.iter().all(|status| status.open_gaps == 0);
    Ok(ExitCode::from(if is_whole { CLEAR } else { FOUND }))
}

fn batch(statuses: &[RuleStatus]) -> anyhow::Result<RecordBatch> {
    let texts = |of: &dyn Fn(&RuleStatus) -> Option<String>| -> ArrayRef {
        Arc::new(statuses.iter().map(of).collect::<StringArray>())
    };
    let numbers = |of: &dyn Fn(&RuleStatus) -> i64| -> ArrayRef {
        Arc::new(
            statuses
                .iter()
                .map(|status| Some(of(status)))
                .collect::<Int64Array>(),
        )
    };
    let state = |status: &RuleStatus, name: &str| status.states.get(name).copied().unwrap_or(0);
    let seconds = statuses.iter().map(|status| Some(status.elapsed_ms / 1e3));
    Ok(RecordBatch::try_from_iter([
        ("rule", texts(&|status| Some(status.rule_id.clone()))),
        (
            "closed up to",
            texts(&|status| status.last_closed.map(time_text)),
        ),
        (
            "lag",
            texts(&|status| Some(format!("{}m", status.lag? / 60_000_000))),
        ),
        ("fired", numbers(&|status| state(status, "fired"))),
        ("clear", numbers(&|status| state(status, "clear"))),
        ("learning", numbers(&|status| state(status, "learning"))),
        (
            "not covered",
            numbers(&|status| state(status, "not_covered")),
        ),
        ("gaps", numbers(&|status| status.open_gaps)),
        ("late dropped", numbers(&|status| status.late_dropped)),
        ("open", numbers(&|status| status.open_findings)),
        ("excepted", numbers(&|status| status.excepted)),
        ("seconds", Arc::new(seconds.collect::<Float64Array>())),
    ])?)
}

//! `inferwatch signatures`: the injection signatures, and how well they do on labelled text.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args as ClapArgs, Subcommand};
use inferwatch_udfs::injection::Matcher;
use inferwatch_udfs::injection::evaluate::{LabelledRow, THRESHOLD, evaluate};

use super::{CLEAR, Global};
use crate::output;

/// List the injection signatures, or score them on labelled text
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print every signature: id, category, language, weight, ATLAS technique
    List {
        /// Print one JSON object a line.
        #[arg(long, env = "INFERWATCH_SIGNATURES_JSON", value_parser = clap::builder::FalseyValueParser::new())]
        json: bool,
    },
    /// Score the signatures on labelled JSON lines, by kind and tier, with 95 % intervals
    #[command(after_help = "\
A line is an object with `text` and `label` (1 attack, 0 benign), and optionally `kind`, `tier` and `source`.

Example:
  inferwatch signatures score labelled.jsonl")]
    Score {
        /// File of labelled lines.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print the report as JSON.
        #[arg(long, env = "INFERWATCH_SIGNATURES_JSON", value_parser = clap::builder::FalseyValueParser::new())]
        json: bool,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// When the file cannot be read, or a line is not labelled text.
pub(super) fn run(args: &Args, _global: &Global) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List { json } => list(*json)?,
        Action::Score { file, json } => score(file, *json)?,
    }
    Ok(ExitCode::from(CLEAR))
}

fn list(json: bool) -> anyhow::Result<()> {
    for signature in Matcher::builtin().signatures() {
        let text = if json {
            serde_json::json!({
                "id": signature.id, "category": signature.category, "language": signature.lang,
                "weight": signature.weight, "atlas": signature.atlas,
            })
            .to_string()
        } else {
            format!(
                "{:<40} {:<22} {:<4} {:>5.2}  {}",
                signature.id, signature.category, signature.lang, signature.weight, signature.atlas
            )
        };
        output::data(&text)?;
    }
    Ok(())
}

fn score(file: &PathBuf, json: bool) -> anyhow::Result<()> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let rows = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            serde_json::from_str::<LabelledRow>(line)
                .with_context(|| format!("`{}` line {}", file.display(), index + 1))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let report = evaluate(Matcher::builtin(), rows, THRESHOLD);
    let text = if json {
        serde_json::to_string_pretty(&report)?
    } else {
        report.to_string()
    };
    output::data(text.trim_end())?;
    Ok(())
}

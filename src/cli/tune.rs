//! `inferwatch tune`: an exception, or another value of a parameter, that was proved on the findings it is about.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use clap::ValueEnum;
use serde_json::{Map, Value};

use super::pack::{self, RuleFiles};
use super::run::parse_time;
use super::{CLEAR, FOUND, Global};
use crate::catalog::{Exception, RuleFile};
use crate::detect::{Known, Proposal, RunOptions, Tuning, known, time_text, tunable};
use crate::error::Error;
use crate::output::escape::visible_lines;
use crate::output::words::plural;
use crate::output::{self, bar};
use crate::size;

const LONG: &str = "\
Of findings that were false (`--fp`) and those that were right (`--tp`), all of one rule, it looks
for the narrowest exception (the subjects of the false ones) and for the smallest change of one
parameter, and tries each on the rows that the findings are made of: every false one must be
silent, and every right one must still fire. What does not pass is not proposed. The exception
comes first, as it changes nothing for others; a parameter is for all subjects.

The file is printed; `--write` writes it, never over another one, and no rule is ever edited.

Example:
  inferwatch tune --fp 25ffb771a2a14f05d303d4efded84b9e --tp 0c9a… \\
    --owner ai-platform --reason \"nightly evaluation\" --write batch.sql

Exit codes:
  0    something is proposed
  1    nothing that was tried passes
  2    could not run";

/// Propose an exception or another parameter for findings that were false, and prove that the right ones still fire
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    /// Findings that were false
    #[arg(
        long,
        env = "INFERWATCH_TUNE_FP",
        value_name = "ID",
        value_delimiter = ',',
        required = true
    )]
    fp: Vec<String>,
    /// Findings that were right, and must stay
    #[arg(
        long,
        env = "INFERWATCH_TUNE_TP",
        value_name = "ID",
        value_delimiter = ','
    )]
    tp: Vec<String>,
    #[command(flatten)]
    files: RuleFiles,
    /// Only an exception, or only a parameter
    #[arg(long, value_enum, env = "INFERWATCH_TUNE_BY", value_name = "HOW")]
    by: Option<By>,
    /// Only this parameter
    #[arg(long, env = "INFERWATCH_TUNE_PARAM", value_name = "NAME")]
    param: Option<String>,
    /// Who answers for the exception
    #[arg(
        long,
        env = "INFERWATCH_TUNE_OWNER",
        value_name = "NAME",
        help_heading = "Exception"
    )]
    owner: Option<String>,
    /// Why there is one; the false findings by default
    #[arg(
        long,
        env = "INFERWATCH_TUNE_REASON",
        value_name = "TEXT",
        help_heading = "Exception"
    )]
    reason: Option<String>,
    /// When it ends; in 90 days by default
    #[arg(long, env = "INFERWATCH_TUNE_EXPIRES", value_name = "TIME", value_parser = parse_time, help_heading = "Exception")]
    expires: Option<i64>,
    /// Write the first proposal to this file, which must not be there
    #[arg(long, env = "INFERWATCH_TUNE_WRITE", value_name = "FILE")]
    write: Option<PathBuf>,
    /// Memory to hold rows in
    #[arg(long, env = "INFERWATCH_TUNE_MEMORY", value_name = "SIZE", value_parser = size::parse, default_value = "512MiB")]
    memory: usize,
}

/// What may be proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Nobody is told of these subjects
    Exception,
    /// A limit lies elsewhere, for everybody
    Parameter,
}

/// Runs the subcommand.
///
/// # Errors
/// When a finding is not there, or the store cannot be read.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let pack = args.files.read()?;
    let store = global.open_store()?;
    let runtime = super::runtime(None)?;
    let (wrong, right) = runtime.block_on(async {
        let wrong = known(&store, &pack, &args.fp).await?;
        Ok::<_, Error>((wrong, known(&store, &pack, &args.tp).await?))
    })?;
    let file = one_rule(&pack, &wrong, &right)?;
    let tuning = Tuning {
        runtime: runtime.handle(),
        store: &store,
        file,
        wrong: &wrong,
        right: &right,
        options: RunOptions {
            params: pack::params(&pack, &[])?,
            exceptions: pack::exceptions(&runtime, &pack)?,
            memory: args.memory as u64,
            ..RunOptions::default()
        },
    };
    let params = tunable(file, args.param.as_deref())?;
    tuning.check()?;
    let mut proposals = Vec::new();
    let form = exception(args, file);
    if args.by != Some(By::Parameter) && args.param.is_none() {
        proposals.extend(tuning.exception(&form)?);
    }
    if args.by != Some(By::Exception) {
        let done = Arc::new(AtomicU64::new(0));
        // Most come to an end sooner.
        let _bar = bar::steps(params.len() as u64 * 20, &done, global.quiet);
        for param in params {
            let tick = || {
                done.fetch_add(1, Ordering::Relaxed);
            };
            proposals.extend(tuning.parameter(param, &tick)?);
        }
    }
    let Some(first) = proposals.first() else {
        output::note(&format!(
            "inferwatch: nothing that was tried silences {} and keeps {}\n\
             hint: what tells them apart is no parameter of `{}` yet: its query needs another condition",
            plural(wrong.len(), "false finding"),
            plural(right.len(), "right one"),
            file.rule.id
        ));
        return Ok(ExitCode::from(FOUND));
    };
    let texts: Vec<String> = proposals.iter().map(|it| text(it, &form, file)).collect();
    for (proposal, text) in proposals.iter().zip(&texts) {
        global.note(&format!(
            "{}: tried, {} silent with it{}",
            title(proposal, file),
            plural(wrong.len(), "false finding"),
            match right.len() {
                0 => String::new(),
                1 => ", 1 right one still fires".to_string(),
                count => format!(", {count} right ones still fire"),
            }
        ));
        output::data(&visible_lines(text))?;
    }
    if args.owner.is_none() && matches!(first, Proposal::Exception(_)) {
        if args.write.is_some() {
            return Err(Error::Usage {
                message: "an exception needs somebody who answers for it".to_string(),
                hint: Some("`--owner NAME`".to_string()),
            }
            .into());
        }
        global.note("hint: `--owner NAME` says who answers for the exception, `--reason TEXT` why there is one");
    }
    if let Some(path) = &args.write {
        write(path, first, &texts[0], &form)?;
        global.note(&format!("wrote `{}`", path.display()));
    }
    Ok(ExitCode::from(CLEAR))
}

/// The rule that all findings are of.
fn one_rule<'p>(
    pack: &'p crate::catalog::Pack,
    wrong: &[Known],
    right: &[Known],
) -> anyhow::Result<&'p RuleFile> {
    let usage = |message: String, hint: &str| Error::Usage {
        message,
        hint: Some(hint.to_string()),
    };
    let id = &wrong[0].episode.rule_id;
    if let Some(other) = wrong
        .iter()
        .chain(right)
        .find(|it| it.episode.rule_id != *id)
    {
        let message = format!(
            "finding `{}` is of `{}`, and `{}` of `{id}`",
            other.id, other.episode.rule_id, wrong[0].id
        );
        return Err(usage(message, "one rule at a time").into());
    }
    if let Some(both) = right
        .iter()
        .find(|it| wrong.iter().any(|wrong| wrong.id == it.id))
    {
        return Err(usage(
            format!("finding `{}` is both false and right", both.id),
            "`--fp` or `--tp`",
        )
        .into());
    }
    Ok(pack.rule(id)?)
}

fn exception(args: &Args, file: &RuleFile) -> Exception {
    const NINETY_DAYS: i64 = 90 * 86_400_000_000;
    let now = || chrono::Utc::now().timestamp_micros();
    let day = 86_400_000_000;
    let expires = args
        .expires
        .unwrap_or_else(|| (now() + NINETY_DAYS).div_euclid(day) * day);
    let id = match &args.write {
        // The file is named after it.
        Some(path) => path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        None => format!("{}-exception", file.rule.id),
    };
    let reason = args.reason.clone();
    Exception {
        id,
        rules: vec![file.rule.id.clone()],
        reason: reason.unwrap_or_else(|| format!("false: findings {}", args.fp.join(", "))),
        owner: args
            .owner
            .clone()
            .unwrap_or_else(|| "nobody yet".to_string()),
        expires,
        sql: String::new(),
        path: PathBuf::new(),
        line: 1,
    }
}

fn title(proposal: &Proposal, file: &RuleFile) -> String {
    match proposal {
        Proposal::Exception(keys) => format!("an exception of {}", plural(keys.len(), "subject")),
        Proposal::Parameter(name, was, is) => {
            format!(
                "`{}.{name}` from {} to {}",
                file.rule.id,
                was.json(),
                is.json()
            )
        }
    }
}

/// The file that is proposed.
fn text(proposal: &Proposal, form: &Exception, file: &RuleFile) -> String {
    match proposal {
        Proposal::Parameter(name, _, is) => format!("[{}]\n{name} = {}", file.rule.id, is.json()),
        Proposal::Exception(keys) => {
            let toml =
                |text: &str| toml::Value::String(text.replace(['\n', '\r'], " ")).to_string();
            format!(
                "-- /// exception\n-- id      = {}\n-- rules   = [{}]\n-- reason  = {}\n-- owner   = {}\n\
                 -- expires = {}\n-- ///\n{}",
                toml(&form.id),
                toml(&form.rules[0]),
                toml(&form.reason),
                toml(&form.owner),
                time_text(form.expires),
                select(keys)
            )
        }
    }
}

/// A `SELECT` that lists subjects.
fn select(keys: &[Map<String, Value>]) -> String {
    let literal = |value: &Value| match value {
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    };
    let selects = keys.iter().map(|key| {
        let columns = key
            .iter()
            .map(|(name, value)| format!("{} AS {name}", literal(value)));
        format!("SELECT {}", columns.collect::<Vec<_>>().join(", "))
    });
    selects.collect::<Vec<_>>().join("\nUNION ALL\n")
}

fn write(
    path: &std::path::Path,
    proposal: &Proposal,
    text: &str,
    form: &Exception,
) -> anyhow::Result<()> {
    let is_exception = matches!(proposal, Proposal::Exception(_));
    let ends = if is_exception { "sql" } else { "toml" };
    if path.extension().is_none_or(|extension| extension != ends) {
        return Err(Error::Usage {
            message: format!("`{}` does not end in `.{ends}`", path.display()),
            hint: Some(match is_exception {
                true => format!("an exception is a file of SQL, as `{}.sql`", form.rules[0]),
                false => "parameters are a file of TOML, for `--params`".to_string(),
            }),
        }
        .into());
    }
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path);
    let mut file = match file {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::Usage {
                message: format!("`{}` is there", path.display()),
                hint: Some("nothing is written over: add the lines by hand".to_string()),
            }
            .into());
        }
        other => other.with_context(|| format!("writing `{}`", path.display()))?,
    };
    writeln!(file, "{text}").with_context(|| format!("writing `{}`", path.display()))
}

//! `inferwatch check`: parses, plans and lints rule files; reads no data.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use clap::builder::FalseyValueParser;

use super::pack::Environment;
use super::{CLEAR, FOUND, Global};
use crate::catalog::check::{self, Report, lock_path};
use crate::catalog::{Level, Pack};
use crate::detect::{Early, check_exceptions};
use crate::output;
use crate::output::escape::visible_lines;
use crate::output::sarif;
use crate::output::words::plural;
use crate::parallel::processors;

/// Check rule files: header, plan, lints; offline, reads no data
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Rule files or folders; the rules inside the program when none is given
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    environment: Environment,
    /// How to print what was found
    #[arg(
        long,
        value_enum,
        default_value = "human",
        env = "INFERWATCH_CHECK_FORMAT"
    )]
    format: CheckFormat,
    /// Let warnings count as findings in the exit code
    #[arg(long, env = "INFERWATCH_CHECK_STRICT", value_parser = FalseyValueParser::new())]
    strict: bool,
    /// Write the lock file `rules.lock` for the rules as they are, into the one folder given
    #[arg(long, env = "INFERWATCH_CHECK_LOCK", value_parser = FalseyValueParser::new())]
    lock: bool,
}

/// How `check` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    /// Lines for people
    Human,
    /// One JSON object
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// Runs the subcommand. Exit code 0: nothing found; 1: something found; 2: could not read.
///
/// # Errors
/// When a path cannot be read or written.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let runtime = super::runtime(None)?;
    let pack = args.environment.read(&args.paths)?;
    let mut report = check::check(runtime.handle(), &pack, processors())?;
    let now = chrono::Utc::now().timestamp_micros();
    let entity = |id: &str| pack.rule(id).ok().map(|file| file.rule.entity.clone());
    report
        .problems
        .extend(runtime.block_on(check_exceptions(&pack.exceptions, entity, now))?);
    // What does not plan is a problem already.
    let planned = pack.rules.iter().zip(&report.plans);
    let early = planned
        .filter_map(|(file, plan)| {
            let early = Early::of_plan(&file.rule, plan.as_ref()?).ok()?;
            Some((file.rule.id.as_str(), early))
        })
        .collect::<Vec<_>>();
    let rules = pack.rules.len();
    if args.lock {
        return write_lock(args, &report);
    }
    let errors = report
        .problems
        .iter()
        .filter(|problem| problem.level == Level::Error)
        .count();
    let warnings = report.problems.len() - errors;
    match args.format {
        CheckFormat::Human => {
            for problem in &report.problems {
                output::data(&visible_lines(&problem.to_string()))?;
                if let Some(hint) = &problem.hint {
                    output::data(&format!("  hint: {hint}"))?;
                }
            }
            if global.verbose > 0 {
                for (id, early) in &early {
                    output::data(&format!("{id}: {}", early_text(early)))?;
                }
            }
            if global.verbose > 0 {
                for it in &pack.settings {
                    let (value, path) = (it.value.json(), it.path.display());
                    let (rule, param, line) = (&it.rule, &it.param, it.line);
                    output::data(&format!("{rule}.{param} = {value}, from {path}:{line}"))?;
                }
            }
            if !global.quiet {
                output::data(&format!(
                    "{}: {}, {}",
                    plural(rules, "rule"),
                    plural(errors, "error"),
                    plural(warnings, "warning")
                ))?;
            }
        }
        CheckFormat::Json => output::data(&json(&report, rules, &early).to_string())?,
        CheckFormat::Sarif => output::data(&sarif::report(&report.problems).to_string())?,
    }
    let is_found = errors > 0 || (args.strict && warnings > 0);
    Ok(ExitCode::from(if is_found { FOUND } else { CLEAR }))
}

/// The rules at these paths, or those inside the program.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Pack> {
    if paths.is_empty() {
        return Ok(Pack::embedded());
    }
    Pack::read(paths).context("reading rules")
}

fn write_lock(args: &Args, report: &Report) -> anyhow::Result<ExitCode> {
    let [folder] = &args.paths[..] else {
        anyhow::bail!(
            "`--lock` writes into exactly one folder: `inferwatch check --lock queries/rules`"
        );
    };
    let path = lock_path(folder);
    let unsafe_to_lock = report
        .problems
        .iter()
        .find(|problem| problem.level == Level::Error && problem.code != "L-VERSION");
    if let Some(problem) = unsafe_to_lock {
        anyhow::bail!("cannot lock rules with errors: {problem}");
    }
    // A version that shipped keeps its meaning: only a raised version may replace it.
    let is_changed_in_place = |problem: &&crate::catalog::Problem| {
        problem.code == "L-VERSION" && !problem.message.contains("lock file")
    };
    if let Some(problem) = report.problems.iter().find(is_changed_in_place) {
        anyhow::bail!("{problem}");
    }
    std::fs::write(&path, report.lock.render())
        .with_context(|| format!("writing `{}`", path.display()))?;
    Ok(ExitCode::from(CLEAR))
}

/// When windows are evaluated, in a few words.
pub(super) fn early_text(early: &Early) -> String {
    match early {
        Early::Yes => "open windows are evaluated: more rows only add findings".into(),
        Early::No(why) => format!("windows are evaluated when they close: {why}"),
    }
}

fn json(report: &Report, rules: usize, early: &[(&str, Early)]) -> serde_json::Value {
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(|problem| {
            serde_json::json!({
                "code": problem.code,
                "level": problem.level.name(),
                "path": problem.path.display().to_string(),
                "line": problem.line,
                "message": problem.message,
                "hint": problem.hint,
            })
        })
        .collect();
    let early: serde_json::Map<_, _> = early
        .iter()
        .map(|(id, early)| {
            let waits_for = match early {
                Early::Yes => serde_json::Value::Null,
                Early::No(why) => why.as_str().into(),
            };
            ((*id).to_string(), waits_for)
        })
        .collect();
    serde_json::json!({ "rules": rules, "problems": problems, "waits_to_close": early })
}

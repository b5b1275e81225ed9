//! `inferwatch test`: runs the inline tests of rule files over rows in memory.

use std::path::PathBuf;
use std::process::ExitCode;

use super::check::{ReportFormat, read};
use super::{CLEAR, FAILED, FOUND, Global};
use crate::catalog::{Level, RuleFile};
use crate::detect::run_cases;
use crate::output;
use crate::output::escape::visible_lines;
use crate::parallel::processors;

/// Run the tests inside rule files
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Rule files or folders; the rules inside the program when none is given
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only tests of this rule; can be given again
    #[arg(
        long,
        env = "INFERWATCH_TEST_RULE",
        value_name = "ID",
        value_delimiter = ','
    )]
    rule: Vec<String>,
    /// How to print the results
    #[arg(
        long,
        value_enum,
        default_value = "human",
        env = "INFERWATCH_TEST_FORMAT"
    )]
    format: ReportFormat,
}

/// Runs the subcommand. Exit code 0: all passed; 1: some failed; 2: a file is not a rule.
///
/// # Errors
/// When a path cannot be read.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let runtime = super::runtime(None)?;
    let pack = read(&args.paths)?;
    for id in &args.rule {
        pack.rule(id)?;
    }
    let broken: Vec<_> = pack
        .problems
        .iter()
        .filter(|problem| problem.level == Level::Error)
        .collect();
    let wanted = |file: &&RuleFile| args.rule.is_empty() || args.rule.contains(&file.rule.id);
    let files: Vec<&RuleFile> = pack.rules.iter().filter(wanted).collect();
    let all = run_cases(runtime.handle(), files.clone(), processors())?;
    let mut results = Vec::new();
    let (mut total, mut failed) = (0, 0);
    for (file, ended) in files.iter().zip(all) {
        for (case, result) in file.cases.iter().zip(ended) {
            total += 1;
            failed += usize::from(result.failure.is_some());
            match args.format {
                ReportFormat::Human => {
                    if let Some(failure) = &result.failure {
                        output::data(&format!(
                            "{}:{}: {} / {}",
                            file.path.display(),
                            case.line,
                            file.rule.id,
                            case.name
                        ))?;
                        output::data(&visible_lines(&format!(
                            "  {}",
                            failure.replace('\n', "\n  ")
                        )))?;
                    } else if global.verbose > 0 {
                        output::data(&format!(
                            "ok {} / {} ({:.0?})",
                            file.rule.id, case.name, result.elapsed
                        ))?;
                    }
                }
                ReportFormat::Json => results.push(serde_json::json!({
                    "rule": file.rule.id,
                    "test": case.name,
                    "path": file.path.display().to_string(),
                    "line": case.line,
                    "passed": result.failure.is_none(),
                    "failure": result.failure,
                    "elapsed_ms": result.elapsed.as_secs_f64() * 1e3,
                })),
            }
        }
    }
    match args.format {
        ReportFormat::Human => {
            for problem in &broken {
                output::data(&visible_lines(&problem.to_string()))?;
            }
            if !global.quiet {
                output::data(&format!(
                    "{total} tests of {} rules: {failed} failed",
                    pack.rules.len()
                ))?;
            }
        }
        ReportFormat::Json => {
            let problems: Vec<String> = broken.iter().map(ToString::to_string).collect();
            let summary = serde_json::json!({ "tests": total, "failed": failed, "results": results, "problems": problems });
            output::data(&summary.to_string())?;
        }
    }
    let code = if !broken.is_empty() {
        FAILED
    } else if failed > 0 {
        FOUND
    } else {
        CLEAR
    };
    Ok(ExitCode::from(code))
}

//! `inferwatch test`: runs the inline tests of rule files over rows in memory.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::check::read;
use super::{CLEAR, FAILED, FOUND, Global};
use crate::catalog::{Level, RuleFile};
use crate::detect::run_cases;
use crate::output;
use crate::output::escape::visible_lines;
use crate::output::junit::{self, Suite};
use crate::output::words::plural;
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
    format: TestFormat,
}

/// How `test` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TestFormat {
    /// Lines for people
    Human,
    /// One JSON object
    Json,
    /// JUnit XML, for build servers
    Junit,
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
    let (mut results, mut suites) = (Vec::new(), Vec::new());
    let (mut total, mut failed) = (0, 0);
    for (file, ended) in files.iter().zip(all) {
        let mut suite = Suite {
            name: file.rule.id.clone(),
            path: file.path.display().to_string(),
            cases: Vec::new(),
        };
        for (case, result) in file.cases.iter().zip(ended) {
            total += 1;
            failed += usize::from(result.failure.is_some());
            match args.format {
                TestFormat::Human => {
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
                TestFormat::Junit => suite.cases.push(junit::Case {
                    name: case.name.clone(),
                    line: case.line,
                    failure: result.failure,
                    elapsed: result.elapsed,
                }),
                TestFormat::Json => results.push(serde_json::json!({
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
        suites.push(suite);
    }
    // A file that cannot be read is a test that fails.
    suites.extend(broken.iter().map(|problem| {
        let path = problem.path.display().to_string();
        Suite {
            name: path.clone(),
            path,
            cases: vec![junit::Case {
                name: "is a rule".to_string(),
                line: problem.line.unwrap_or(1),
                failure: Some(problem.to_string()),
                elapsed: std::time::Duration::ZERO,
            }],
        }
    }));
    match args.format {
        TestFormat::Human => {
            for problem in &broken {
                output::data(&visible_lines(&problem.to_string()))?;
            }
            if !global.quiet {
                output::data(&format!(
                    "{} of {}: {failed} failed",
                    plural(total, "test"),
                    plural(files.len(), "rule")
                ))?;
            }
        }
        TestFormat::Junit => output::data(&junit::report(&suites))?,
        TestFormat::Json => {
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

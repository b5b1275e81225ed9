//! `inferwatch test`: runs the inline tests of rule files over rows in memory.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use clap::builder::FalseyValueParser;

use super::check::read;
use super::{CLEAR, FAILED, FOUND, Global, noise};
use crate::catalog::{Level, RuleFile};
use crate::detect::run_cases;
use crate::output;
use crate::output::escape::visible_lines;
use crate::output::junit::{self, Suite};
use crate::output::words::plural;
use crate::parallel::processors;

const LONG: &str = "\
With `--noise` the rules also run over a day on which nothing happens: ordinary calls of many callers on all platforms,
made from a fixed seed. A rule that finds more there than it allows (`noise = \"<= 1 per 10k calls\"` in its header, which
is also what holds without) fails. What is printed with it is the most that is to be expected with 95 % confidence: three
in so many calls where none were found. It takes some seconds a rule, so it is asked for.

Example:
  inferwatch test --noise my-rules/";

/// Run the tests inside rule files
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
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
    /// Run the rules over a day without incidents too, and fail those that find more than they allow
    #[arg(long, env = "INFERWATCH_TEST_NOISE", value_parser = FalseyValueParser::new())]
    noise: bool,
    /// Calls of that day
    #[arg(
        long,
        env = "INFERWATCH_TEST_NOISE_CALLS",
        value_name = "N",
        default_value_t = 20_000
    )]
    noise_calls: u64,
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
    let quiet = match args.noise {
        true => noise::quiet_day(&runtime, &files, args.noise_calls, global)?,
        false => Vec::new(),
    };
    let of_tests = failed;
    failed += quiet.iter().filter(|it| it.failure().is_some()).count();
    for it in &quiet {
        let suite = suites.iter_mut().find(|suite| suite.name == it.rule);
        if let Some(suite) = suite {
            suite.cases.push(junit::Case {
                name: "noise".to_string(),
                line: 1,
                failure: it.failure(),
                elapsed: std::time::Duration::ZERO,
            });
        }
    }
    match args.format {
        TestFormat::Human => {
            if args.noise {
                noise::print(&quiet, global.verbose > 0, global)?;
            }
            for problem in &broken {
                output::data(&visible_lines(&problem.to_string()))?;
            }
            if !global.quiet {
                output::data(&format!(
                    "{} of {}: {of_tests} failed",
                    plural(total, "test"),
                    plural(files.len(), "rule")
                ))?;
            }
        }
        TestFormat::Junit => output::data(&junit::report(&suites))?,
        TestFormat::Json => {
            let problems: Vec<String> = broken.iter().map(ToString::to_string).collect();
            let mut summary = serde_json::json!({ "tests": total, "failed": failed, "results": results, "problems": problems });
            if args.noise {
                summary["noise"] = quiet.iter().map(noise::Quiet::json).collect();
            }
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

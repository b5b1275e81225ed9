//! `inferwatch test`: runs the tests inside rule files, and those that follow from them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::FalseyValueParser;
use tokio::runtime::Runtime;

use super::check::read;
use super::{CLEAR, FAILED, FOUND, Global, noise};
use crate::catalog::{Level, RuleFile};
use crate::detect::{CaseResult, run_cases, run_derived};
use crate::error::Result;
use crate::output::escape::visible_lines;
use crate::output::junit::{self, Suite};
use crate::output::words::plural;
use crate::output::{self, bar};
use crate::parallel::processors;

const LONG: &str = "\
From each test that fires follow others, which no file has to write down: the same rows in another order, each twice, half
an `every` later, over the edge of a window, under another name, amid a day of ordinary traffic, without a required
column, with the last row late, run after run instead of at once, and with parameters at their bounds. What must hold is
in docs/rules.md. A rule for which one cannot hold says why in `[exempt]`. They take most of the time; `--quick` leaves
them out.

With `--noise` the rules also run over a day on which nothing happens: ordinary calls of many
callers on all platforms, made from a fixed seed. A rule that finds more there than it allows
(`noise = \"<= 1 per 10k calls\"` in its header, which is also what holds without) fails. What is
printed with it is the most that is to be expected with 95 % confidence: three in so many calls
where none were found. It takes longer than all tests, so it is asked for.

Examples:
  inferwatch test                                   the rules inside the program
  inferwatch test --quick my-rules/                 rules of yours, only what is written in their files
  inferwatch test --rule token-burn --format junit  one rule, for a build server
  inferwatch test --noise my-rules/                 on a quiet day as well

Exit codes:
  0    all passed
  1    some failed
  2    a file is no rule";

/// Run the tests inside rule files, and those that follow from them
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
    /// Only the tests that are written in the files
    #[arg(long, visible_alias = "inline-only", env = "INFERWATCH_TEST_QUICK", value_parser = FalseyValueParser::new())]
    quick: bool,
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
    let all = ended(&runtime, &files, args.quick, global)?;
    let (mut results, mut suites) = (Vec::new(), Vec::new());
    let (mut total, mut failed, mut exempt) = (0, 0, 0);
    for (file, ended) in files.iter().zip(all) {
        let mut suite = Suite {
            name: file.rule.id.clone(),
            path: file.path.display().to_string(),
            cases: Vec::new(),
        };
        for ended in ended {
            if let Some(reason) = ended.exempt {
                exempt += 1;
                if args.format == TestFormat::Human && global.verbose > 0 {
                    let (rule, name) = (&file.rule.id, &ended.name);
                    output::data(&visible_lines(&format!("exempt {rule} / {name}: {reason}")))?;
                }
                continue;
            }
            total += 1;
            failed += usize::from(ended.failure.is_some());
            match args.format {
                TestFormat::Human => {
                    if let Some(failure) = &ended.failure {
                        output::data(&format!(
                            "{}:{}: {} / {}",
                            file.path.display(),
                            ended.line,
                            file.rule.id,
                            ended.name
                        ))?;
                        output::data(&visible_lines(&format!(
                            "  {}",
                            failure.replace('\n', "\n  ")
                        )))?;
                    } else if global.verbose > 0 {
                        output::data(&format!(
                            "ok {} / {} ({:.0?})",
                            file.rule.id, ended.name, ended.elapsed
                        ))?;
                    }
                }
                TestFormat::Junit => suite.cases.push(junit::Case {
                    name: ended.name,
                    line: ended.line,
                    failure: ended.failure,
                    elapsed: ended.elapsed,
                }),
                TestFormat::Json => results.push(serde_json::json!({
                    "rule": file.rule.id,
                    "test": ended.name,
                    "path": file.path.display().to_string(),
                    "line": ended.line,
                    "passed": ended.failure.is_none(),
                    "failure": ended.failure,
                    "elapsed_ms": ended.elapsed.as_secs_f64() * 1e3,
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
                elapsed: Duration::ZERO,
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
                elapsed: Duration::ZERO,
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
                let exempt = match exempt {
                    0 => String::new(),
                    exempt => format!(", {exempt} not asked for by `[exempt]`"),
                };
                output::data(&format!(
                    "{} of {}: {of_tests} failed{exempt}",
                    plural(total, "test"),
                    plural(files.len(), "rule")
                ))?;
            }
        }
        TestFormat::Junit => output::data(&junit::report(&suites))?,
        TestFormat::Json => {
            let problems: Vec<String> = broken.iter().map(ToString::to_string).collect();
            let mut summary = serde_json::json!({ "tests": total, "failed": failed, "exempt": exempt, "results": results, "problems": problems });
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

/// How a test ended.
struct Ended {
    name: String,
    line: usize,
    failure: Option<String>,
    /// Why it was not run.
    exempt: Option<String>,
    elapsed: Duration,
}

/// Runs the tests of rules: of each those that are written down, and those that follow from them.
fn ended(
    runtime: &Runtime,
    files: &[&RuleFile],
    is_quick: bool,
    global: &Global,
) -> Result<Vec<Vec<Ended>>> {
    let cases = run_cases(runtime.handle(), files.to_vec(), processors())?;
    let derived = match is_quick {
        true => Vec::new(),
        false => {
            let done = Arc::new(AtomicU64::new(0));
            let _bar = bar::steps(files.len() as u64, &done, global.quiet);
            run_derived(runtime.handle(), files.to_vec(), processors(), || {
                done.fetch_add(1, Ordering::Relaxed);
            })?
        }
    };
    let mut derived = derived.into_iter();
    let of_file = |(file, cases): (&&RuleFile, Vec<CaseResult>)| -> Vec<Ended> {
        let inline = file.cases.iter().zip(cases).map(|(case, result)| Ended {
            name: case.name.clone(),
            line: case.line,
            failure: result.failure,
            exempt: None,
            elapsed: result.elapsed,
        });
        let derived = derived.next().unwrap_or_default().into_iter();
        let derived = derived.map(|result| Ended {
            name: result.name(file),
            line: file.cases[result.case].line,
            failure: result.failure,
            exempt: result.exempt,
            elapsed: result.elapsed,
        });
        inline.chain(derived).collect()
    };
    Ok(files.iter().zip(cases).map(of_file).collect())
}

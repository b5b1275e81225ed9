//! `inferwatch dashboard`: checks the files of boards and panels, and writes a board as a file.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::interrupt::cancellable;
use super::{CLEAR, FOUND, Global, INTERRUPTED};
use crate::catalog::check::Checker;
use crate::catalog::{Dashboards, Level, Problem};
use crate::dashboard::{self, Asked, extent, moment};
use crate::detect::context_of;
use crate::error::Error;
use crate::output::escape::visible_lines;
use crate::output::words::plural;
use crate::output::{self, Target, bar};

const LONG: &str = "\
Boards are folders of SQL files: a file is a panel, its header says how it is drawn, its query what.
The three boards inside the program are `security`, `model` and `reliability`; `inferwatch serve`
shows them in a browser. How to write a panel is in docs/dashboards.md.

Examples:
  Check panels of your own together with those inside the program:
    inferwatch dashboard check dashboards/
  The last day of a store as a page that needs no server, to send or to keep:
    inferwatch dashboard render security --output security.html
  The numbers of a week for another program:
    inferwatch dashboard render reliability --from 7d --format json | jq '.answers[\"budget-table\"].rows'";

/// Check dashboards, or write them as a page, as JSON, or for Grafana
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

/// Where boards and panels are read from.
#[derive(Debug, clap::Args)]
pub(super) struct DashboardFiles {
    /// Files or folders with panels, in the place of those inside the program that have their names
    #[arg(
        long,
        env = "INFERWATCH_DASHBOARDS",
        value_name = "PATH",
        value_delimiter = ','
    )]
    dashboards: Vec<PathBuf>,
}

impl DashboardFiles {
    /// Reads them; the first error ends it.
    pub(super) fn read(&self) -> anyhow::Result<Dashboards> {
        let dashboards = read(&self.dashboards)?;
        dashboards.into_valid().context("reading dashboards")
    }
}

fn read(paths: &[PathBuf]) -> anyhow::Result<Dashboards> {
    let embedded = Dashboards::embedded();
    if paths.is_empty() {
        return Ok(embedded);
    }
    let own = Dashboards::read(paths).context("reading dashboards")?;
    Ok(embedded.with(own))
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check panels: header, plan, columns that fit the chart; offline, reads no data
    #[command(after_help = "\
Exit code 0: nothing found; 1: a panel is wrong; 2: a file cannot be read.

Example:
  inferwatch dashboard check dashboards/ --format json | jq '.problems[].message'")]
    Check {
        /// Files or folders with panels, beside those inside the program
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// How to print what was found
        #[arg(
            long,
            value_enum,
            default_value = "human",
            env = "INFERWATCH_DASHBOARD_CHECK_FORMAT"
        )]
        format: CheckFormat,
        /// Let warnings count as findings in the exit code
        #[arg(long, env = "INFERWATCH_DASHBOARD_CHECK_STRICT", value_parser = FalseyValueParser::new())]
        strict: bool,
    },
    /// Write a board as a page that needs no server, or its rows as JSON
    #[command(after_help = "\
A time is a date, as `2026-03-02T00:00:00Z`, or a length of time before the end, as `24h`. Without any
the end is the last event of the store, and the range is the board's own.
Exit code 0: written; 1: a panel failed, which its place says; 2: nothing could be written.

Example:
  inferwatch dashboard render security --from 2026-03-02 --to 2026-03-03 -o security.html")]
    Render {
        /// The board, as `security`
        #[arg(value_name = "BOARD")]
        board: String,
        #[command(flatten)]
        files: DashboardFiles,
        /// First instant, or how long before the end
        #[arg(long, env = "INFERWATCH_DASHBOARD_FROM", value_name = "TIME")]
        from: Option<String>,
        /// Instant after the last
        #[arg(long, env = "INFERWATCH_DASHBOARD_TO", value_name = "TIME")]
        to: Option<String>,
        /// Only calls of this caller
        #[arg(long, env = "INFERWATCH_DASHBOARD_CALLER", value_name = "CALLER")]
        caller: Option<String>,
        /// Only calls of this model
        #[arg(long, env = "INFERWATCH_DASHBOARD_MODEL", value_name = "MODEL")]
        model: Option<String>,
        /// A page, or the rows of all panels; by default what the output file's name says, else a page
        #[arg(long, value_enum, env = "INFERWATCH_DASHBOARD_FORMAT")]
        format: Option<RenderFormat>,
        /// Write to a file, which is put in its place when whole
        #[arg(long, short, env = "INFERWATCH_DASHBOARD_OUTPUT", value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Write all boards as one dashboard of Grafana, which asks over the Postgres port
    #[command(after_help = "\
In Grafana: a data source of PostgreSQL first (host and port of `--pg-listen`, database `datafusion`, any
user, a token as the password), then Dashboards, New, Import.

Example:
  inferwatch dashboard grafana --dashboards my-dashboards/ -o grafana.json")]
    Grafana {
        #[command(flatten)]
        files: DashboardFiles,
        /// Write to a file, which is put in its place when whole
        #[arg(long, short, env = "INFERWATCH_DASHBOARD_OUTPUT", value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// How `check` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    /// Lines for people
    Human,
    /// One JSON object
    Json,
}

/// What `render` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RenderFormat {
    /// A page with everything in it
    Html,
    /// One JSON object
    Json,
}

/// Runs the subcommand.
///
/// # Errors
/// When a file or the store cannot be read, or nothing can be written.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Check {
            paths,
            format,
            strict,
        } => check(paths, *format, *strict, global),
        Action::Render { .. } => render(&args.action, global),
        Action::Grafana { files, output } => {
            let written = dashboard::grafana(&files.read()?);
            write(output.as_ref(), &format!("{written:#}\n"))?;
            Ok(ExitCode::from(CLEAR))
        }
    }
}

fn write(output: Option<&PathBuf>, text: &str) -> anyhow::Result<()> {
    let mut target = match output {
        Some(path) => Target::create(path)?,
        None => Target::Stdout,
    };
    std::io::Write::write_all(&mut target, text.as_bytes()).context("writing the board")?;
    target.finish()?;
    Ok(())
}

fn check(
    paths: &[PathBuf],
    format: CheckFormat,
    strict: bool,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let dashboards = read(paths)?;
    let runtime = super::runtime(None)?;
    let problems = runtime.block_on(async {
        let checker = Checker::new().await?;
        anyhow::Ok(checker.check_dashboards(&dashboards).await)
    })?;
    let errors = problems
        .iter()
        .filter(|problem| problem.level == Level::Error)
        .count();
    let warnings = problems.len() - errors;
    match format {
        CheckFormat::Human => {
            for problem in &problems {
                output::data(&visible_lines(&problem.to_string()))?;
                if let Some(hint) = &problem.hint {
                    output::data(&format!("  hint: {hint}"))?;
                }
            }
            if !global.quiet {
                output::data(&format!(
                    "{}, {}: {}, {}",
                    plural(dashboards.boards.len(), "board"),
                    plural(dashboards.panels.len(), "panel"),
                    plural(errors, "error"),
                    plural(warnings, "warning")
                ))?;
            }
        }
        CheckFormat::Json => {
            let json = serde_json::json!({
                "boards": dashboards.boards.len(),
                "panels": dashboards.panels.len(),
                "problems": problems.iter().map(problem_json).collect::<Vec<_>>(),
            });
            output::data(&json.to_string())?;
        }
    }
    let is_found = errors > 0 || (strict && warnings > 0);
    Ok(ExitCode::from(if is_found { FOUND } else { CLEAR }))
}

fn problem_json(problem: &Problem) -> Value {
    serde_json::json!({
        "code": problem.code,
        "level": problem.level.name(),
        "path": problem.path.display().to_string(),
        "line": problem.line,
        "message": problem.message,
        "hint": problem.hint,
    })
}

fn render(action: &Action, global: &Global) -> anyhow::Result<ExitCode> {
    let Action::Render {
        board,
        files,
        from,
        to,
        caller,
        model,
        format,
        output,
    } = action
    else {
        unreachable!("other actions are told apart before");
    };
    let dashboards = files.read()?;
    let board = dashboards.board(board)?;
    let store = global.open_store()?;
    let by_name = |path: &PathBuf| match path.extension()?.to_str()? {
        "json" => Some(RenderFormat::Json),
        "html" | "htm" => Some(RenderFormat::Html),
        _ => None,
    };
    let format = format
        .or_else(|| output.as_ref().and_then(by_name))
        .unwrap_or(RenderFormat::Html);
    let runtime = super::runtime(None)?;
    let total = dashboards.panels_of(&board.id).count() as u64;
    let done = Arc::new(AtomicU64::new(0));
    let work = async {
        let context = context_of(&store).await?;
        let usage = |message| Error::Usage {
            message,
            hint: None,
        };
        let end = match to {
            Some(text) => {
                let now = chrono::Utc::now().timestamp_micros();
                moment(text, now).map_err(usage)?
            }
            None => {
                let known = extent(&context).await?;
                let (_, last) = known.ok_or_else(|| Error::Usage {
                    message: "the store has no event yet".into(),
                    hint: Some("`inferwatch ingest` reads logs into it".into()),
                })?;
                last + 1
            }
        };
        let start = match from {
            Some(text) => moment(text, end).map_err(usage)?,
            None => end - board.range.0,
        };
        let asked = Asked {
            caller: caller.clone(),
            model: model.clone(),
            ..Asked::new(start, end)?
        };
        let engine = dashboard::engine(&context, store.root());
        let _bar = bar::steps(total, &done, global.quiet);
        let mut slowest: Vec<(String, String)> = Vec::new();
        let (data, is_whole) =
            dashboard::json(&engine, &dashboards, board, &asked, |id, result| {
                done.fetch_add(1, Ordering::Relaxed);
                let told = match result {
                    Ok(answer) => format!(
                        "{:>7.1} ms, {}",
                        answer.elapsed.as_secs_f64() * 1e3,
                        plural(answer.rows.len(), "row")
                    ),
                    Err(failure) => failure.to_string(),
                };
                slowest.push((id.to_string(), told));
            })
            .await;
        anyhow::Ok((data, is_whole, slowest))
    };
    let Some(result) = runtime.block_on(cancellable(work)) else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let (data, is_whole, told) = result?;
    if global.verbose > 0 || !is_whole {
        let mut text = String::new();
        for (id, told) in told {
            let _ = writeln!(text, "  {id:<24} {told}");
        }
        global.note(text.trim_end());
    }
    let text = match format {
        RenderFormat::Json => format!("{data}\n"),
        RenderFormat::Html => dashboard::html(&data),
    };
    write(output.as_ref(), &text)?;
    if let Some(path) = output {
        global.note(&format!(
            "{}: {} in `{}`",
            board.title,
            plural(usize::try_from(total)?, "panel"),
            path.display()
        ));
    }
    Ok(ExitCode::from(if is_whole { CLEAR } else { FOUND }))
}

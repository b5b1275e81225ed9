//! `inferwatch sql`: runs statements from the command line, a file or a pipe; on a terminal without any, the shell.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use futures::StreamExt;

use super::interrupt::cancellable;
use super::{CLEAR, Global, INTERRUPTED, repl};
use crate::catalog::{View, register_views, rules_table, views};
use crate::output::{Format, RowSink, Target, Written, table};
use crate::query::{Audience, Engine, Failure, Parameters, Source, lexer};
use crate::session::{self, SessionOptions};
use crate::size;
use crate::store::Store;

const EXAMPLES: &str = "\
Examples:
  One question, and the answer as JSON lines for another program:
    inferwatch sql \"SELECT model, sum(cost_usd) FROM calls GROUP BY model\" --format ndjson | jq .
  A query from a file, with a parameter; `$since` takes the type of what it is compared with:
    inferwatch sql -f slow_calls.sql --param since=2026-01-31T00:00:00Z
  A large result into a file; rows are written as they come:
    inferwatch sql \"SELECT * FROM calls\" --output calls.parquet
  Files instead of a store; wildcards and folders work too:
    inferwatch sql \"SELECT count(*) FROM 'logs/*.ndjson'\"
  Statements from a pipe:
    echo \"SHOW TABLES; DESCRIBE calls\" | inferwatch sql

Output:
  Without `--format` a terminal gets a table, anything else one JSON object per line.
  In a table, control and hidden characters of the data show as `\\u{1b}`, so that a log line cannot
  command the terminal, and a missing value is `NULL`. In CSV a missing value is empty and an empty
  text is `\"\"`. In JSON, numbers keep every digit, NaN and infinity are `null`, binary is hex.
  Results of several statements follow one another.

Without a query, and on a terminal, the shell starts: `\\?` shows its commands.";

/// Run SQL over the store or over files; on a terminal without a query, a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// Statements, separated by `;`
    #[arg(value_name = "SQL")]
    query: Option<String>,
    /// Read the statements from a file; `-` is standard input
    #[arg(
        long,
        short,
        env = "INFERWATCH_SQL_FILE",
        value_name = "FILE",
        conflicts_with = "query"
    )]
    file: Option<PathBuf>,
    /// Value of a `$name` in the statements; can be given again
    #[arg(
        long = "param",
        short,
        env = "INFERWATCH_SQL_PARAM",
        value_name = "NAME=VALUE",
        value_parser = parse_parameter,
        value_delimiter = None
    )]
    params: Vec<(String, String)>,

    /// How rows are written
    ///
    /// By default what the output file's name says, else a table on a terminal, else one JSON object
    /// per line.
    #[arg(
        long,
        env = "INFERWATCH_SQL_FORMAT",
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    format: Option<Format>,
    /// Write rows to a file, which is put in its place when whole
    #[arg(
        long,
        short,
        env = "INFERWATCH_SQL_OUTPUT",
        value_name = "FILE",
        help_heading = "Output"
    )]
    output: Option<PathBuf>,
    /// Most rows that a table shows; 0 for all, which are then held in memory
    #[arg(
        long,
        env = "INFERWATCH_SQL_MAX_ROWS",
        value_name = "N",
        default_value_t = 1000,
        help_heading = "Output"
    )]
    max_rows: usize,
    /// Most screen columns that one value takes in a table; 0 for any
    #[arg(
        long,
        env = "INFERWATCH_SQL_MAX_WIDTH",
        value_name = "N",
        default_value_t = 100,
        help_heading = "Output"
    )]
    max_width: usize,

    /// Memory for sorts, joins and aggregates; beyond it they spill to disk
    #[arg(
        long,
        env = "INFERWATCH_SQL_MEMORY_LIMIT",
        value_name = "SIZE",
        default_value = "1GiB",
        value_parser = size::parse,
        help_heading = "Resources"
    )]
    memory_limit: usize,
    /// Threads to work on; one per processor by default
    #[arg(
        long,
        env = "INFERWATCH_SQL_THREADS",
        value_name = "N",
        value_parser = parse_threads,
        help_heading = "Resources"
    )]
    threads: Option<usize>,
}

fn parse_parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let name = name.trim_start_matches('$');
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err("a name is made of letters, digits and `_`".to_string());
    }
    Ok((name.to_string(), value.to_string()))
}

pub(super) fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("expected a number from 1 to 1024".to_string()),
    }
}

/// Runs the statements, or the shell.
///
/// # Errors
/// When the text cannot be read, or a statement cannot be planned or run.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let is_shell = args.query.is_none() && args.file.is_none() && std::io::stdin().is_terminal();
    let runtime = super::runtime(args.threads)?;
    let engine = engine(args, global)?;
    let text = match is_shell {
        true => None,
        false => Some(statements(args)?),
    };
    // A view over a hundred columns takes a while to plan: for one statement only when it is asked for.
    let asked = |view: &View| {
        text.as_ref()
            .is_none_or(|(_, text)| text.to_lowercase().contains(&view.name))
    };
    if Store::is_at(&global.store) {
        let asked: Vec<_> = views().into_iter().filter(asked).collect();
        runtime.block_on(register_views(&engine.context, &asked))?;
    }
    let display = Display {
        format: args
            .format
            .or_else(|| Format::of_path(args.output.as_deref()?)),
        style: table::Style {
            max_width: args.max_width,
            ..table::Style::default()
        },
        max_rows: args.max_rows,
    };
    let Some((name, text)) = text else {
        return repl::run(engine, display, args.output.as_deref(), &runtime, global);
    };
    let source = Source {
        name: name.as_deref(),
        text: &text,
    };
    engine.parameters.check_used(&text)?;
    let mut target = match &args.output {
        Some(path) => Target::create(path)?,
        None => Target::Stdout,
    };
    let work = run_all(&engine, source, &display, &mut target, global);
    let finished = runtime.block_on(cancellable(work));
    // Threads that are still computing for a query that nobody waits for must not hold up the exit.
    runtime.shutdown_background();
    match finished {
        None => Ok(ExitCode::from(INTERRUPTED)),
        Some(result) => {
            result?;
            target.finish()?;
            Ok(ExitCode::from(CLEAR))
        }
    }
}

/// The session that the arguments ask for.
fn engine(args: &Args, global: &Global) -> anyhow::Result<Engine> {
    let context = session::context(&SessionOptions {
        memory_limit: args.memory_limit,
        target_partitions: args.threads,
        spill_parent: Some(global.store.join("spill")),
        local_files: true,
        share_parts: true,
    })?;
    context.register_table("rules", rules_table())?;
    // Without a store there are files to ask, and functions.
    if Store::is_at(&global.store) {
        let store = global.open_store()?;
        store.register(&context)?;
        for warning in store.take_warnings() {
            global.note(&format!("warning: {warning}"));
        }
    }
    let mut parameters = Parameters::default();
    for (name, value) in &args.params {
        parameters.set(name, value);
    }
    Ok(Engine {
        context,
        store: global.store.clone(),
        parameters,
        audience: Audience::Local,
    })
}

/// The SQL text, and the name of the file it is from.
fn statements(args: &Args) -> anyhow::Result<(Option<String>, String)> {
    if let Some(query) = &args.query {
        return Ok((None, query.clone()));
    }
    match &args.file {
        Some(path) if path.as_os_str() != "-" => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read `{}`", path.display()))?;
            Ok((Some(path.display().to_string()), text))
        }
        _ => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read standard input")?;
            Ok((None, text))
        }
    }
}

/// How results are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Display {
    /// The format that was asked for.
    pub(super) format: Option<Format>,
    pub(super) style: table::Style,
    pub(super) max_rows: usize,
}

async fn run_all(
    engine: &Engine,
    source: Source<'_>,
    display: &Display,
    target: &mut Target,
    global: &Global,
) -> anyhow::Result<()> {
    let mut results = 0;
    for range in lexer::statements(source.text).0 {
        let Some(written) = run_one(engine, source, range, display, target, results).await? else {
            continue;
        };
        results += 1;
        if written.is_cut {
            global.note(&format!(
                "first {} rows; there are more: `--max-rows 0` shows all, `--format csv` streams them",
                written.rows
            ));
        }
    }
    Ok(())
}

/// Runs one statement of the text. `None`: it has no result, as `SET` and `CREATE`.
///
/// # Errors
/// When it cannot be planned, run or written.
pub(super) async fn run_one(
    engine: &Engine,
    source: Source<'_>,
    range: std::ops::Range<usize>,
    display: &Display,
    target: &mut Target,
    results_before: usize,
) -> anyhow::Result<Option<Written>> {
    let format = display.format.unwrap_or_else(Format::for_stdout);
    let planned = engine.plan(source, range.clone()).await?;
    let mut style = display.style;
    style.multiline = planned.is_explain();
    // One more than is shown tells whether there are more.
    let limit = (format == Format::Table && display.max_rows > 0).then_some(display.max_rows + 1);
    let mut stream = engine.start(planned, source, limit).await?;
    let schema = stream.schema();
    if schema.fields().is_empty() {
        return Ok(None);
    }
    if format == Format::Parquet {
        if results_before > 0 {
            return Err(Failure::new("a Parquet file holds one result")
                .with_hint("leave one query, or choose another `--format`")
                .into());
        }
        if matches!(target, Target::Stdout) && std::io::stdout().is_terminal() {
            return Err(Failure::new("Parquet is not for a terminal")
                .with_hint("write it to a file: `--output FILE`")
                .into());
        }
    }
    let mut sink = RowSink::new(format, schema, style, display.max_rows, target)?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| engine.explain(error, source, &range))?;
        if !sink.write(batch)? {
            break;
        }
    }
    Ok(Some(sink.finish()?))
}

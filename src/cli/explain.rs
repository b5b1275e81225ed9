//! `inferwatch explain`: what a rule reads, when it may fire and how it is planned; what happened to a finding.

use std::process::ExitCode;

use clap::builder::FalseyValueParser;

use super::check::early_text;
use super::pack::RuleFiles;
use super::run::{parse_time, selected};
use super::{CLEAR, Global, why};
use crate::catalog::{Pack, RuleFile, SIGNALS, Setting};
use crate::detect::{Early, Needs, Prepared, Window, context_of, history, time_text};
use crate::error::Error;
use crate::output;
use crate::output::escape::visible;
use crate::store::Store;

const LONG: &str = "\
Why a rule did not fire:
  inferwatch explain token-burn --why-not caller=alice --at 2026-01-31T12:00:00Z
  counts the rows of the window after each step of the query: those of anybody, those of the
  subject, after each condition of WHERE, the groups, and the values of HAVING beside what is
  asked for. Then come the facts about the window (closed, evaluated, a gap, a finding) and one
  sentence that says why. Names that are nearly the subject's, rows that are some hours off,
  columns without values, exceptions, suppression and `for` are looked for.

  The reasons of `--format json` are: no_rows, no_subject, spelled_otherwise, time_shift,
  column_empty, filtered, threshold, unmatched, learning, frozen, below_for, excepted, suppressed,
  signal, no_signals, not_closed, not_evaluated, late, late_dropped, gap, other_params,
  taken_back, not_returned, error, fired.";

/// Explain a rule, why it did not fire, or what happened to a finding
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    /// Ids of rules or findings
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    files: RuleFiles,
    /// The window that ends at this time, or just before it
    #[arg(long, env = "INFERWATCH_EXPLAIN_AT", value_name = "TIME", value_parser = parse_time)]
    at: Option<i64>,
    /// The query in place of its plan; of a correlation, the one that its header means
    #[arg(long, env = "INFERWATCH_EXPLAIN_SQL", value_parser = FalseyValueParser::new())]
    sql: bool,
    /// Why the rule did not fire for this subject at `--at`: columns of its entity and their values
    #[arg(
        long,
        env = "INFERWATCH_EXPLAIN_WHY_NOT",
        value_name = "ENTITY=VALUE",
        value_delimiter = ',',
        value_parser = why::parse_entity,
        requires = "at",
        conflicts_with = "sql",
        help_heading = "Why not"
    )]
    why_not: Vec<(String, String)>,
    /// How to print why it did not fire
    #[arg(
        long,
        value_enum,
        default_value = "human",
        env = "INFERWATCH_EXPLAIN_FORMAT",
        help_heading = "Why not"
    )]
    format: why::Format,
    /// Memory to hold the rows of the window in
    #[arg(long, env = "INFERWATCH_EXPLAIN_MEMORY", value_name = "SIZE", value_parser = crate::size::parse, default_value = "512MiB", help_heading = "Why not")]
    memory: usize,
}

/// Runs the subcommand.
///
/// # Errors
/// When the rules or the store cannot be read, or nothing has that name.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let pack = args.files.read()?;
    let store = global.open_store()?;
    let runtime = super::runtime(None)?;
    if let (false, Some(at)) = (args.why_not.is_empty(), args.at) {
        let rules = selected(&pack, &args.ids)?;
        let asked = why::Asked {
            entity: &args.why_not,
            at,
            memory: args.memory as u64,
            format: args.format,
        };
        why::explain(&runtime, &store, &pack, &rules, &asked)?;
        return Ok(ExitCode::from(CLEAR));
    }
    for id in &args.ids {
        let is_finding = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_finding {
            runtime.block_on(finding(&store, id))?;
        } else {
            let rule = selected(&pack, std::slice::from_ref(id))?;
            runtime.block_on(rules(&store, &pack, &rule, args.at, args.sql))?;
        }
    }
    Ok(ExitCode::from(CLEAR))
}

/// Prints how rules are evaluated.
pub(super) async fn rules(
    store: &Store,
    pack: &Pack,
    rules: &[&RuleFile],
    at: Option<i64>,
    with_sql: bool,
) -> anyhow::Result<()> {
    let context = &context_of(store).await?;
    for file in rules {
        let rule = &file.rule;
        if let Some(correlation) = &rule.correlation {
            context.deregister_table(SIGNALS)?;
            let empty = datafusion::datasource::empty::EmptyTable::new(correlation.schema());
            context.register_table(SIGNALS, std::sync::Arc::new(empty))?;
        }
        let settings = pack.settings.iter();
        let settings: Vec<_> = settings.filter(|it| it.rule == rule.id).collect();
        let overrides: Vec<_> = settings
            .iter()
            .map(|it| (it.param.clone(), it.value.clone()))
            .collect();
        let prepared = Prepared::new(context, file, &overrides, None).await?;
        let every = rule.every.0;
        let end = at.unwrap_or(0).div_euclid(every) * every;
        let window = prepared.window(end);
        let mut text = format!(
            "{} version {}: {} every {}",
            rule.id, rule.version, rule.window, rule.every
        );
        let mut line = |name: &str, value: String| {
            text.push_str(&format!("\n{name:<9} {value}"));
        };
        let range = |window: Window| {
            let (start, end) = (time_text(window.start), time_text(window.end));
            format!("{start} to {end}")
        };
        line("window", range(window));
        if let Some(baseline) = rule.baseline {
            line(
                "baseline",
                range(Window {
                    start: window.start - baseline.0,
                    end: window.start,
                }),
            );
        }
        line("early", early_text(&Early::of(context, &prepared)?));
        for signal in &file.signals {
            let columns = signal.columns.join(", ");
            let (alias, id) = (&signal.alias, &signal.rule.id);
            line("signal", format!("{alias}: {id}, by its {columns}"));
        }
        line(
            "quiet",
            format!("a finding ends after {} without it", rule.quiet),
        );
        for (param, value) in &prepared.params {
            line(
                "parameter",
                format!(
                    "{} = {}, {}: {}",
                    param.name,
                    value.json(),
                    origin(&settings, &param.name),
                    param.doc
                ),
            );
        }
        for exception in pack.exceptions.iter().filter(|it| it.is_from(&rule.id)) {
            line(
                "exception",
                format!(
                    "{}, until {}, {}: {}",
                    exception.id,
                    time_text(exception.expires),
                    exception.owner,
                    exception.reason
                ),
            );
        }
        let needs = Needs::of(context, &prepared)?
            .through_views(context)
            .await?;
        for (table, columns) in &needs.tables {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            line("reads", format!("{}: {}", table.name(), columns.join(", ")));
        }
        if with_sql {
            text.push_str(&format!("\nsql\n{}", file.sql.trim()));
            output::data(&text)?;
            continue;
        }
        let plan = context.state().optimize(&prepared.bound(window)?)?;
        text.push_str(&format!("\nplan\n{}\n", plan.display_indent()));
        output::data(&text)?;
    }
    Ok(())
}

/// Where the value of a parameter comes from: the last setting holds.
fn origin(settings: &[&Setting], param: &str) -> String {
    match settings.iter().rev().find(|it| it.param == param) {
        Some(it) => format!("from {}:{}", it.path.display(), it.line),
        None => "its default".to_string(),
    }
}

/// Prints what happened to a finding.
async fn finding(store: &Store, id: &str) -> anyhow::Result<()> {
    let events = history(store, id).await?;
    let Some(first) = events.first() else {
        return Err(Error::Usage {
            message: format!("no finding `{id}`"),
            hint: Some("`SELECT finding_id, rule_id, title FROM findings_now` lists them".into()),
        }
        .into());
    };
    let text = |row: &serde_json::Map<String, serde_json::Value>, name: &str| {
        let value = row.get(name).cloned().unwrap_or_default();
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_string);
        visible(&text).into_owned()
    };
    output::data(&format!(
        "{} version {}: {}\nentity    {}",
        text(first, "rule_id"),
        text(first, "rule_version"),
        text(first, "title"),
        text(first, "entity"),
    ))?;
    for row in &events {
        output::data(&format!(
            "{:>3} {:<9} {:<8} windows {} from {} to {}, events {}",
            text(row, "revision"),
            text(row, "event"),
            text(row, "severity"),
            text(row, "windows"),
            text(row, "first_window_end"),
            text(row, "window_end"),
            text(row, "event_count"),
        ))?;
        output::data(&format!("    {}", text(row, "evidence")))?;
    }
    Ok(())
}

//! `inferwatch explain`: what a rule reads, when it may fire and how it is planned; what happened to a finding.

use std::process::ExitCode;

use clap::builder::FalseyValueParser;

use super::check::early_text;
use super::pack::RuleFiles;
use super::run::{parse_time, selected};
use super::{CLEAR, Global};
use crate::catalog::{Pack, RuleFile, SIGNALS, Setting};
use crate::detect::{Early, Needs, Prepared, Window, context_of, history, time_text};
use crate::error::Error;
use crate::output;
use crate::output::escape::visible;
use crate::store::Store;

/// Explain a rule: bounds, columns, early firing, plan; or a finding: what happened to it
#[derive(Debug, clap::Args)]
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
}

/// Runs the subcommand.
///
/// # Errors
/// When the rules or the store cannot be read, or nothing has that name.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let pack = args.files.read()?;
    let store = Store::open(&global.store)?;
    let runtime = super::runtime(None)?;
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

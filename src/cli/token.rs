//! `inferwatch token`: who may ask the server for what.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::StringArray;
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use super::store::{Report, draw, json_text, rfc3339};
use super::{CLEAR, Global};
use crate::catalog::Span;
use crate::error::Error;
use crate::output;
use crate::serve::{is_restricted, names, opened};
use crate::store::{Rights, Store, Token};

const LONG: &str = "\
Examples:
  For a dashboard: every table but those with text of prompts:
    inferwatch token new grafana --all
  For one team: its rows of two tables, for three months:
    inferwatch token new team-search --tables calls,filters --where \"team = 'search'\" --expires 90d
  For an agent that sends records and reads none:
    inferwatch token new collector --ingest
  For Prometheus:
    inferwatch token new prometheus --metrics
  See all, and end one, which counts from the next request on:
    inferwatch token list
    inferwatch token revoke grafana

What holds:
  A table that a token does not open does not exist in its queries, in any way of asking; of those that it
  opens, the rows that do not meet `--where` do not. The token is shown once, when it is made: the store
  keeps its SHA-256, in a file for its owner alone. Making and ending one are events in `audit`.";

/// Make, list and revoke the tokens of the server
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make one; it is printed, once
    New(New),
    /// Show all, without what opens them
    List {
        /// A table for people or JSON; by default a table on a terminal
        #[arg(long, env = "INFERWATCH_TOKEN_FORMAT", value_name = "FORMAT")]
        format: Option<Report>,
    },
    /// End one
    Revoke {
        /// Its name or id
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct New {
    /// Whom or what it is for
    #[arg(value_name = "NAME")]
    name: String,
    /// Tables and system tables that it opens
    #[arg(
        long,
        env = "INFERWATCH_TOKEN_TABLES",
        value_name = "TABLE",
        value_delimiter = ',',
        value_parser = parse_name,
        conflicts_with = "all"
    )]
    tables: Vec<String>,
    /// Open every table but those that hold text: `content`, `quarantine`
    #[arg(long, env = "INFERWATCH_TOKEN_ALL", value_parser = FalseyValueParser::new())]
    all: bool,
    /// Open those that hold text as well
    #[arg(long, env = "INFERWATCH_TOKEN_CONTENT", value_parser = FalseyValueParser::new())]
    content: bool,
    /// Condition on its rows that every table must be able to have; with `--all`, others are left out
    #[arg(long = "where", env = "INFERWATCH_TOKEN_WHERE", value_name = "SQL")]
    filter: Option<String>,
    /// Let it send records
    #[arg(long, env = "INFERWATCH_TOKEN_INGEST", value_parser = FalseyValueParser::new())]
    ingest: bool,
    /// Let it say what became of a finding
    #[arg(long, env = "INFERWATCH_TOKEN_TRIAGE", value_parser = FalseyValueParser::new())]
    triage: bool,
    /// Let it read the server's own numbers
    #[arg(long, env = "INFERWATCH_TOKEN_METRICS", value_parser = FalseyValueParser::new())]
    metrics: bool,
    /// How long it holds; for ever when not given
    #[arg(long, env = "INFERWATCH_TOKEN_EXPIRES", value_name = "SPAN")]
    expires: Option<Span>,
    /// Print it with all that is known of it, as JSON
    #[arg(long, env = "INFERWATCH_TOKEN_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
}

fn parse_name(text: &str) -> Result<String, String> {
    if is_restricted(text) {
        return Err("it holds text: `--content` opens it".into());
    }
    let known: Vec<&str> = names().filter(|name| !is_restricted(name)).collect();
    match known.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected one of {}", known.join(", "))),
    }
}

/// Runs the subcommand.
///
/// # Errors
/// When the tokens cannot be read or written, or the rights fit no table.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let now = chrono::Utc::now().timestamp_micros();
    match &args.action {
        Action::New(new) => {
            // The first thing that somebody sets up may be the server.
            make(&global.open_or_create_store()?, new, now, global)?;
        }
        Action::Revoke { name } => {
            let revoked = global.open_store()?.revoke_token(name, now)?;
            let tokens = if revoked == 1 {
                "token is"
            } else {
                "tokens are"
            };
            global.note(&format!("{revoked} {tokens} revoked"));
        }
        Action::List { format } => {
            let tokens = global.open_store()?.tokens()?;
            let text = match Report::or_default(*format) {
                Report::Table if tokens.is_empty() => "no token\n".to_owned(),
                Report::Table => table_of(&tokens, now)?,
                Report::Json => {
                    let tokens = tokens.iter().map(|token| to_json(token, now));
                    json_text(&Value::Array(tokens.collect()))?
                }
            };
            output::data(text.trim_end())?;
        }
    }
    Ok(ExitCode::from(CLEAR))
}

fn make(store: &Store, new: &New, now: i64, global: &Global) -> anyhow::Result<()> {
    let rights = Rights {
        all: new.all,
        tables: new.tables.clone(),
        content: new.content,
        filter: new.filter.clone(),
        ingest: new.ingest,
        triage: new.triage,
        // Its numbers count all rows, which are open to it anyway.
        metrics: new.metrics || (new.all && new.filter.is_none()),
    };
    let tables = super::runtime(None)?.block_on(opened(store, &rights))?;
    if tables.is_empty()
        && (rights.filter.is_some() || !(rights.ingest || rights.metrics || rights.triage))
    {
        return Err(Error::Usage {
            message: "this token would open nothing".into(),
            hint: Some("give `--tables`, `--all`, `--ingest` or `--metrics`".into()),
        }
        .into());
    }
    let expires = new.expires.map(|span| now + span.0);
    let (token, secret) = Token::issue(&new.name, rights, now, expires)?;
    store.add_token(token.clone())?;
    if new.json {
        let mut value = to_json(&token, now);
        value["token"] = secret.into();
        value["opens"] = tables.into();
        output::data(&json_text(&value)?)?;
    } else {
        global.note(&match tables.is_empty() {
            true => format!("token `{}` opens no table", token.name),
            false => format!("token `{}` opens: {}", token.name, tables.join(", ")),
        });
        global.note("it is shown this once:");
        output::data(&secret)?;
    }
    Ok(())
}

fn state(token: &Token, now: i64) -> &'static str {
    match token {
        _ if token.is_valid_at(now) => "valid",
        Token {
            revoked: Some(_), ..
        } => "revoked",
        _ => "expired",
    }
}

fn may(rights: &Rights) -> String {
    let all = if rights.all { "all" } else { "" };
    let words = [
        (rights.content, "content"),
        (rights.ingest, "ingest"),
        (rights.triage, "triage"),
        (rights.metrics, "metrics"),
    ];
    std::iter::once(all)
        .chain(rights.tables.iter().map(String::as_str))
        .chain(
            words
                .into_iter()
                .filter(|(is, _)| *is)
                .map(|(_, word)| word),
        )
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

fn table_of(tokens: &[Token], now: i64) -> anyhow::Result<String> {
    let column = |of: &dyn Fn(&Token) -> Option<String>| -> arrow::array::ArrayRef {
        Arc::new(tokens.iter().map(of).collect::<StringArray>())
    };
    draw([
        ("name", column(&|token| Some(token.name.clone()))),
        ("id", column(&|token| Some(token.id.clone()))),
        ("state", column(&|token| Some(state(token, now).to_owned()))),
        ("opens", column(&|token| Some(may(&token.rights)))),
        ("where", column(&|token| token.rights.filter.clone())),
        ("issued", column(&|token| rfc3339(token.issued))),
        ("expires", column(&|token| token.expires.and_then(rfc3339))),
        ("revoked", column(&|token| token.revoked.and_then(rfc3339))),
    ])
    .context("cannot draw the tokens")
}

fn to_json(token: &Token, now: i64) -> Value {
    json!({
        "name": token.name,
        "id": token.id,
        "state": state(token, now),
        "all": token.rights.all,
        "tables": token.rights.tables,
        "content": token.rights.content,
        "where": token.rights.filter,
        "ingest": token.rights.ingest,
        "triage": token.rights.triage,
        "metrics": token.rights.metrics,
        "issued": rfc3339(token.issued),
        "expires": token.expires.and_then(rfc3339),
        "revoked": token.revoked.and_then(rfc3339),
    })
}

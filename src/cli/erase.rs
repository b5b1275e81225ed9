//! `inferwatch erase`: the rows of somebody, taken out of every table, with a receipt.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{ArrayRef, Int64Array, StringArray};
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::compact::parse_table;
use super::run::parse_time;
use super::store::{Report, draw, json_text, rfc3339};
use super::{CLEAR, FOUND, Global};
use crate::catalog::Span;
use crate::erasure::{EraseOptions, Erased, Proof, Receipt, Target, erase, verify};
use crate::error::Error;
use crate::output;
use crate::schema::Table;
use crate::store::{Store, WriteOptions};

const LONG: &str = "\
Examples:
  See what would go, then take it out and keep the receipt:
    inferwatch erase --caller arn:aws:iam::1:user/ada --dry-run
    inferwatch erase --caller arn:aws:iam::1:user/ada --receipt ada.json
  A day later, remove the last copies, and prove that nothing is left:
    inferwatch compact
    inferwatch erase verify ada.json
  Whatever a predicate names, with the text and the filter findings of those calls:
    inferwatch erase --where \"conversation_id = 'c-17'\" --receipt c-17.json

What it does:
  The files that have such rows are written anew without them, in one commit of all tables. Queries no
  longer see them from then on. Findings and quarantined lines that name the caller or end user go; of
  evaluated windows, what they say of them. The files as they were stay for `--grace`, for queries that
  have begun before, and with them the commits and checkpoints of the log whose paths and statistics
  name the caller; the first `inferwatch compact` after that removes all of it. The receipt says when.
  It names the subject, so keep it outside of the store.

  Rows of others that mention the subject, as a colleague's prompt, are not touched; `erase verify`
  lists the files that have such mentions, and `--where` takes the rows out. Rows under a legal hold are
  never erased: then nothing is.

Exit codes:
  0    erased, or there was nothing to erase; with `verify`, nothing is left
  1    `verify`: something is left
  2    could not be done, as under a legal hold";

/// Erase the rows of a caller, an end user, or that a predicate names, with a receipt
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG, args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    request: Request,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Look for what a receipt says was erased: in rows, files, log and every byte of the store
    Verify {
        /// The receipt
        #[arg(value_name = "RECEIPT")]
        receipt: PathBuf,
        /// Text for people or JSON; by default text on a terminal
        #[arg(long, env = "INFERWATCH_ERASE_FORMAT", value_name = "FORMAT")]
        format: Option<Report>,
    },
}

#[derive(Debug, clap::Args)]
struct Request {
    /// Rows of this caller
    #[arg(long, env = "INFERWATCH_ERASE_CALLER", value_name = "CALLER")]
    caller: Option<String>,
    /// Rows of this end user, and the text of their calls
    #[arg(
        long,
        env = "INFERWATCH_ERASE_END_USER",
        value_name = "ID",
        conflicts_with = "caller"
    )]
    end_user: Option<String>,
    /// Rows for which this holds, an SQL predicate over the columns of the tables
    #[arg(long = "where", env = "INFERWATCH_ERASE_WHERE", value_name = "SQL", conflicts_with_all = ["caller", "end_user"])]
    predicate: Option<String>,
    /// Only this table; can be given again
    #[arg(long = "table", env = "INFERWATCH_ERASE_TABLE", value_name = "TABLE", value_delimiter = ',', value_parser = parse_table)]
    tables: Vec<Table>,
    /// Show what would be erased, and erase nothing
    #[arg(long, env = "INFERWATCH_ERASE_DRY_RUN", value_parser = FalseyValueParser::new())]
    dry_run: bool,
    /// How long the files as they were stay, for queries that read them
    #[arg(
        long,
        env = "INFERWATCH_ERASE_GRACE",
        value_name = "SPAN",
        default_value = "24h"
    )]
    grace: Span,
    /// Write the receipt to this file, which must not exist
    #[arg(long, env = "INFERWATCH_ERASE_RECEIPT", value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Act as if it were this time
    #[arg(long, env = "INFERWATCH_ERASE_AT", value_name = "TIME", value_parser = parse_time)]
    at: Option<i64>,
    /// Text for people or JSON; by default text on a terminal
    #[arg(long, env = "INFERWATCH_ERASE_FORMAT", value_name = "FORMAT")]
    format: Option<Report>,
}

/// Runs the subcommand.
///
/// # Errors
/// When nothing says whose rows, a hold covers one, or the store cannot be read or written.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    if let Some(Action::Verify { receipt, format }) = &args.action {
        return prove(receipt, *format, global);
    }
    let request = &args.request;
    let target = match (&request.caller, &request.end_user, &request.predicate) {
        (Some(caller), ..) => Target::Caller(caller.clone()),
        (_, Some(user), _) => Target::EndUser(user.clone()),
        (.., Some(sql)) => Target::Where(sql.clone()),
        _ => {
            return Err(Error::Usage {
                message: "whose rows?".into(),
                hint: Some("`--caller`, `--end-user` or `--where` says it".into()),
            }
            .into());
        }
    };
    if let Target::Caller(name) | Target::EndUser(name) = &target
        && name.is_empty()
    {
        return Err(Error::Usage {
            message: "the name is empty".into(),
            hint: Some("rows without a caller: `--where \"caller IS NULL\"`".into()),
        }
        .into());
    }
    let store = global.open_store()?;
    // Before anything is erased that could then not be told of.
    let mut file = request
        .receipt
        .as_deref()
        .map(|path| create(path, &store))
        .transpose()?;
    let options = EraseOptions {
        at: request
            .at
            .unwrap_or_else(|| chrono::Utc::now().timestamp_micros()),
        grace: request.grace.0,
        tables: request.tables.clone(),
        dry_run: request.dry_run,
        write: WriteOptions::default(),
    };
    let receipt = match erase(&store, &target, &options) {
        Ok(receipt) => receipt,
        Err(error) => {
            if let Some(path) = &request.receipt {
                let _ = std::fs::remove_file(path);
            }
            return Err(error.into());
        }
    };
    for warning in store.take_warnings() {
        global.note(&format!("warning: {warning}"));
    }
    let json = serde_json::to_value(&receipt).context("the receipt")?;
    if let (Some(file), Some(path)) = (&mut file, &request.receipt) {
        use std::io::Write as _;
        writeln!(file, "{}", json_text(&json)?)
            .and_then(|()| file.sync_all())
            .map_err(Error::io("write", path))?;
    }
    let text = match Report::or_default(request.format) {
        Report::Json => json_text(&json)?,
        Report::Table => text_of(&receipt, request.dry_run)?,
    };
    output::data(text.trim_end())?;
    Ok(ExitCode::from(CLEAR))
}

/// The file for a receipt. Not in the store: it names who was erased.
fn create(path: &Path, store: &Store) -> anyhow::Result<std::fs::File> {
    let absolute = std::path::absolute(path).map_err(Error::io("create", path))?;
    if absolute.starts_with(store.root()) {
        return Err(Error::Usage {
            message: "the receipt names who was erased, and cannot be kept in the store".into(),
            hint: Some("name a file in another folder".into()),
        }
        .into());
    }
    Ok(std::fs::File::create_new(path).map_err(Error::io("create", path))?)
}

fn prove(path: &Path, format: Option<Report>, global: &Global) -> anyhow::Result<ExitCode> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let receipt: Receipt =
        serde_json::from_slice(&bytes).with_context(|| format!("receipt `{}`", path.display()))?;
    let store = global.open_store()?;
    let proof = verify(&store, &receipt)?;
    let text = match Report::or_default(format) {
        Report::Json => json_text(&proof_json(&proof))?,
        Report::Table => proof_text(&receipt, &proof),
    };
    output::data(text.trim_end())?;
    Ok(ExitCode::from(if proof.holds() { CLEAR } else { FOUND }))
}

fn time(micros: i64) -> String {
    rfc3339(micros).unwrap_or_else(|| micros.to_string())
}

fn text_of(receipt: &Receipt, dry_run: bool) -> anyhow::Result<String> {
    if receipt.tables.is_empty() {
        return Ok("nothing to erase\n".to_owned());
    }
    let tables = &receipt.tables;
    let numbers = |of: &dyn Fn(&Erased) -> u64| -> ArrayRef {
        Arc::new(
            tables
                .iter()
                .map(|table| Some(of(table) as i64))
                .collect::<Int64Array>(),
        )
    };
    let sizes = tables
        .iter()
        .map(|table| HumanBytes(table.bytes).to_string());
    let mut text = draw([
        (
            "table",
            Arc::new(StringArray::from_iter_values(
                tables.iter().map(|table| &table.table),
            )) as ArrayRef,
        ),
        ("rows", numbers(&|table| table.rows)),
        ("cleaned", numbers(&|table| table.cleaned)),
        ("files rewritten", numbers(&|table| table.files_rewritten)),
        ("files removed", numbers(&|table| table.files_removed)),
        ("size", Arc::new(StringArray::from_iter_values(sizes))),
    ])?;
    if dry_run {
        text.push_str("nothing was erased: this is what would be\n");
        return Ok(text);
    }
    text.push_str(&format!(
        "erased at {}. Copies for queries that read them stay until {}; the first `inferwatch compact`\n\
         after that removes them, and `inferwatch erase verify` proves it\n",
        time(receipt.at),
        time(receipt.last_copy_until)
    ));
    Ok(text)
}

fn proof_text(receipt: &Receipt, proof: &Proof) -> String {
    let mut text = String::new();
    for (table, rows) in &proof.rows {
        text.push_str(&format!("{rows} rows in `{}`\n", table.name()));
    }
    for path in proof.files.iter().take(20) {
        text.push_str(&format!("named in {}\n", path.display()));
    }
    if proof.files.len() > 20 {
        text.push_str(&format!("and in {} other files\n", proof.files.len() - 20));
    }
    if proof.is_complete == Some(false) {
        text.push_str(&format!(
            "copies stay until {}; the first `inferwatch compact` after that removes them\n",
            time(receipt.last_copy_until)
        ));
    }
    if proof.holds() {
        text.push_str("nothing is left");
        if proof.files_read > 0 {
            text.push_str(&format!(
                ": {} files of the store were read, decompressed",
                proof.files_read
            ));
        }
        text.push('\n');
    }
    text
}

fn proof_json(proof: &Proof) -> Value {
    let rows: serde_json::Map<String, Value> = proof
        .rows
        .iter()
        .map(|(table, rows)| (table.name().to_owned(), json!(rows)))
        .collect();
    let files: Vec<String> = proof
        .files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    json!({
        "nothing_left": proof.holds(),
        "rows": rows,
        "files": files,
        "files_read": proof.files_read,
        "copies_removed": proof.is_complete,
    })
}

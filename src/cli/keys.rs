//! `inferwatch keys`: which tables are encrypted, and with what.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::compact::parse_table;
use super::run::parse_time;
use super::store::{Report, draw, json_text, rfc3339};
use super::{CLEAR, FOUND, Global};
use crate::keys::KeySource;
use crate::output::{self, bar};
use crate::schema::Table;
use crate::store::{Store, TableKeyStatus, ToEncrypt, WriteOptions};

const LONG: &str = "\
Examples:
  Encrypt prompts and answers from now on; the key file is made, and must not be lost:
    inferwatch --key-file ~/.config/inferwatch/content.key keys init
  Read them again:
    inferwatch --key-file ~/.config/inferwatch/content.key sql \"SELECT text FROM content LIMIT 10\"
  With a key from a key service:
    inferwatch --key-command \"vault kv get -field=key secret/inferwatch\" keys init
  What is encrypted, and what is not yet; then what was there before as well:
    inferwatch keys status
    inferwatch keys encrypt
  Another key, after which the old one opens nothing; no data is written anew:
    inferwatch --key-file old.key keys rotate --new-key-file new.key

Keys:
  A key is 32 random bytes in base64 or hexadecimal. It comes from `--key-file`, from `--key-command` or
  from the environment variable INFERWATCH_KEY, and never from the store or an argument. What touches no
  encrypted table needs none. That an encrypted table is opened is an event in `audit`.

  A lost key is lost text: nobody can restore it. Keep a copy where the store's backup is not.";

/// Encrypt tables, and change their keys
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Encrypt what is written to `content`, or to other tables, from now on
    ///
    /// What was written before stays as it is until `keys encrypt`, or a compaction, writes it anew.
    Init {
        /// Encrypt this table; can be given again [default: content]
        #[arg(long = "table", env = "INFERWATCH_KEYS_TABLE", value_name = "TABLE", value_delimiter = ',', value_parser = parse_table)]
        tables: Vec<Table>,
        /// Act as if it were this time
        #[arg(long, env = "INFERWATCH_KEYS_AT", value_name = "TIME", value_parser = parse_time)]
        at: Option<i64>,
    },
    /// Change the key, and begin new keys for what is written from now on
    ///
    /// Files have keys of their own, which the table's keys encrypt; those are encrypted anew with the new
    /// key, so no file is touched, and the old key opens nothing in this store any more. Who has the old key
    /// and an old copy of the store can read what that copy holds, and what was written before the change:
    /// `keys encrypt --renew` writes that with the new keys. Without a new key only the table's keys are new.
    Rotate {
        /// File with the new key; it is made if it is not there
        #[arg(long, env = "INFERWATCH_NEW_KEY_FILE", value_name = "FILE")]
        new_key_file: Option<PathBuf>,
        /// Command that prints the new key
        #[arg(long, env = "INFERWATCH_NEW_KEY_COMMAND", value_name = "COMMAND")]
        new_key_command: Option<String>,
        /// Only of this table; can be given again
        #[arg(long = "table", env = "INFERWATCH_KEYS_TABLE", value_name = "TABLE", value_delimiter = ',', value_parser = parse_table)]
        tables: Vec<Table>,
        /// Act as if it were this time
        #[arg(long, env = "INFERWATCH_KEYS_AT", value_name = "TIME", value_parser = parse_time)]
        at: Option<i64>,
    },
    /// Show which tables are encrypted, with which keys, and what is not encrypted yet
    ///
    /// Needs no key; with one it says whether that is the right one.
    Status {
        /// Table or JSON; by default a table on a terminal
        #[arg(long, env = "INFERWATCH_KEYS_FORMAT", value_name = "FORMAT")]
        format: Option<Report>,
    },
    /// Write files anew that were there before their table was encrypted
    ///
    /// The files as they were go after the grace period, with the next `inferwatch compact`.
    Encrypt {
        /// Also files that are not encrypted with the newest key
        #[arg(long, env = "INFERWATCH_KEYS_RENEW", value_parser = FalseyValueParser::new())]
        renew: bool,
        /// Show what would be done, and do nothing
        #[arg(long, env = "INFERWATCH_KEYS_PLAN", value_parser = FalseyValueParser::new())]
        plan: bool,
        /// Table or JSON; by default a table on a terminal
        #[arg(long, env = "INFERWATCH_KEYS_FORMAT", value_name = "FORMAT")]
        format: Option<Report>,
        /// Act as if it were this time
        #[arg(long, env = "INFERWATCH_KEYS_AT", value_name = "TIME", value_parser = parse_time)]
        at: Option<i64>,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// When a key is missing or wrong, or the store cannot be read or written.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let now = |at: &Option<i64>| at.unwrap_or_else(|| chrono::Utc::now().timestamp_micros());
    match &args.action {
        Action::Init { tables, at } => init(tables, now(at), global),
        Action::Rotate {
            new_key_file,
            new_key_command,
            tables,
            at,
        } => {
            let store = global.open_store()?;
            let (file, command) = (new_key_file.as_deref(), new_key_command.as_deref());
            let new = KeySource::choose(file, command, "INFERWATCH_NEW_KEY")?;
            let is_made = file.is_some_and(|file| !file.exists());
            let tables = store.rotate_keys(tables, &new, now(at))?;
            if is_made {
                global.note(&made(file));
            }
            global.note(&match new {
                KeySource::Nowhere => format!("new keys for {}", names(&tables)),
                _ => format!(
                    "{} now needs the new key, and the old one opens nothing of it any more",
                    names(&tables)
                ),
            });
            Ok(ExitCode::from(CLEAR))
        }
        Action::Status { format } => {
            let status = global.open_store()?.key_status()?;
            let text = match Report::or_default(*format) {
                Report::Table => status_table(&status)?,
                Report::Json => json_text(&Value::Array(status.iter().map(status_json).collect()))?,
            };
            output::data(text.trim_end())?;
            // A key that was given and opens nothing of what it should is worth an exit code.
            let is_wrong = status.iter().any(|table| table.is_open == Some(false));
            Ok(ExitCode::from(if is_wrong { FOUND } else { CLEAR }))
        }
        Action::Encrypt {
            renew,
            plan,
            format,
            at,
        } => encrypt(*renew, *plan, Report::or_default(*format), now(at), global),
    }
}

fn init(tables: &[Table], at: i64, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.open_or_create_store()?;
    let tables = match tables {
        [] => vec![Table::Content],
        some => some.to_vec(),
    };
    let is_made = global.key_file.as_ref().is_some_and(|file| !file.exists());
    store.init_keys(&tables, at)?;
    if is_made {
        global.note(&made(global.key_file.as_deref()));
    }
    global.note(&format!(
        "what is written to {} is encrypted from now on",
        names(&tables)
    ));
    let plain = store.to_encrypt(false)?;
    if !plain.is_empty() {
        let files: usize = plain.iter().map(|task| task.files.len()).sum();
        global.note(&format!(
            "{files} files from before are not: `inferwatch keys encrypt` writes them anew"
        ));
    }
    Ok(ExitCode::from(CLEAR))
}

fn made(file: Option<&std::path::Path>) -> String {
    format!(
        "`{}` has a new key; without it what it encrypts is lost, so keep a copy, and not with the store's backup",
        file.unwrap_or(std::path::Path::new("")).display()
    )
}

fn names(tables: &[Table]) -> String {
    let names: Vec<String> = tables
        .iter()
        .map(|table| format!("`{}`", table.name()))
        .collect();
    names.join(", ")
}

fn encrypt(
    renew: bool,
    is_plan: bool,
    format: Report,
    at: i64,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let store = global.open_store()?;
    let plan = store.to_encrypt(renew)?;
    if !is_plan {
        write_anew(&store, &plan, at, global)?;
    }
    for warning in store.take_warnings() {
        global.note(&format!("warning: {warning}"));
    }
    let text = match format {
        Report::Json => json_text(&json!({
            "done": !is_plan,
            "periods": plan.iter().map(|task| json!({
                "table": task.table.name(),
                "period": task.period,
                "files": task.files.len(),
                "rows": task.rows,
                "bytes": task.bytes,
            })).collect::<Vec<_>>(),
        }))?,
        Report::Table if plan.is_empty() => "nothing to encrypt\n".to_owned(),
        Report::Table => plan_table(&plan, is_plan)?,
    };
    output::data(text.trim_end())?;
    Ok(ExitCode::from(CLEAR))
}

fn write_anew(store: &Store, plan: &[ToEncrypt], at: i64, global: &Global) -> anyhow::Result<()> {
    let files: usize = plan.iter().map(|task| task.files.len()).sum();
    let progress = Arc::new(AtomicU64::new(0));
    let bar = bar::steps(files as u64, &progress, global.quiet);
    let result = store.encrypt(plan, &WriteOptions::default(), &progress, at);
    drop(bar);
    Ok(result?)
}

fn plan_table(plan: &[ToEncrypt], is_plan: bool) -> anyhow::Result<String> {
    let text = |of: &dyn Fn(&ToEncrypt) -> String| -> ArrayRef {
        Arc::new(
            plan.iter()
                .map(|task| Some(of(task)))
                .collect::<StringArray>(),
        )
    };
    let number = |of: &dyn Fn(&ToEncrypt) -> u64| -> ArrayRef {
        let numbers = plan.iter().map(|task| i64::try_from(of(task)).ok());
        Arc::new(numbers.collect::<Int64Array>())
    };
    let mut table = draw([
        ("table", text(&|task| task.table.name().to_owned())),
        ("period", text(&|task| task.period.clone())),
        ("files", number(&|task| task.files.len() as u64)),
        ("rows", number(&|task| task.rows)),
        ("size", text(&|task| HumanBytes(task.bytes).to_string())),
    ])?;
    table.push_str(match is_plan {
        true => "nothing was done; without `--plan` these are written anew\n",
        false => {
            "encrypted; the files as they were go with the first `inferwatch compact` after the grace period\n"
        }
    });
    Ok(table)
}

/// A row for each key, and one for what has none.
fn status_table(status: &[TableKeyStatus]) -> anyhow::Result<String> {
    struct Row {
        table: &'static str,
        key: Option<String>,
        created: Option<String>,
        master: Option<String>,
        is_open: Option<bool>,
        files: (u64, u64),
    }
    let mut rows = Vec::new();
    let mut waiting = (0, 0);
    for table in status {
        let row = |key: Option<String>, created: Option<i64>, files| Row {
            table: table.table.name(),
            created: created.and_then(rfc3339),
            master: key.as_ref().and(table.master.clone()),
            is_open: key.as_ref().and(table.is_open),
            key,
            files,
        };
        for key in &table.keys {
            rows.push(row(Some(key.name.clone()), Some(key.created), key.files));
        }
        if table.master.is_none() || table.plain.0 > 0 {
            rows.push(row(None, None, table.plain));
        }
        waiting.0 += table.plain_waiting.0;
        waiting.1 += table.plain_waiting.1;
    }
    let text = |of: &dyn Fn(&Row) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    let files = rows.iter().map(|row| i64::try_from(row.files.0).ok());
    let is_open = rows.iter().map(|row| row.is_open);
    let mut drawn = draw([
        ("table", text(&|row| Some(row.table.to_owned()))),
        (
            "key",
            text(&|row| Some(row.key.clone().unwrap_or("not encrypted".to_owned()))),
        ),
        ("made", text(&|row| row.created.clone())),
        ("files", Arc::new(files.collect::<Int64Array>())),
        (
            "size",
            text(&|row| Some(HumanBytes(row.files.1).to_string())),
        ),
        ("opened by", text(&|row| row.master.clone())),
        (
            "the key given opens it",
            Arc::new(is_open.collect::<BooleanArray>()),
        ),
    ])?;
    if waiting.0 > 0 {
        drawn.push_str(&format!(
            "{} files ({}) that are not encrypted were replaced and are still on the disk: `inferwatch compact` removes them \
             after the grace period\n",
            waiting.0,
            HumanBytes(waiting.1)
        ));
    }
    Ok(drawn)
}

fn status_json(status: &TableKeyStatus) -> Value {
    let keys: Vec<Value> = status
        .keys
        .iter()
        .map(|key| {
            json!({
                "key": key.name,
                "created": rfc3339(key.created),
                "files": key.files.0,
                "bytes": key.files.1,
            })
        })
        .collect();
    json!({
        "table": status.table.name(),
        "encrypted": status.master.is_some(),
        "master": status.master,
        "opened": status.is_open,
        "keys": keys,
        "plain_files": status.plain.0,
        "plain_bytes": status.plain.1,
        "plain_waiting_files": status.plain_waiting.0,
        "plain_waiting_bytes": status.plain_waiting.1,
    })
}

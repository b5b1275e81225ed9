//! `inferwatch hold`: what must stay, whatever retention and erasure say.

use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::StringArray;
use clap::Subcommand;
use serde_json::{Value, json};

use super::compact::parse_table;
use super::run::parse_time;
use super::store::{Report, draw, json_text, rfc3339};
use super::{CLEAR, Global};
use crate::output;
use crate::schema::Table;
use crate::store::Hold;

const LONG: &str = "\
Examples:
  Keep everything of one caller, for a matter:
    inferwatch hold add matter-17 --caller arn:aws:iam::1:user/ada --reason \"letter of 3 March\"
  Keep the audit of a month:
    inferwatch hold add audit-feb --table audit --from 2026-02-01 --until 2026-03-01 --reason \"inspection\"
  See all, and end one:
    inferwatch hold list
    inferwatch hold release matter-17 --reason \"settled\"

What holds:
  While a hold is in force no tier expires, empties or redacts what it covers, and an erasure that would
  touch it is refused. A partition that may have a held row among others stays as a whole. Holds are in
  the system table `legal_holds`, and adding and releasing one is an event in `audit`.";

/// Keep rows from retention and erasure, for a legal matter
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a hold; what is not said is not limited
    Add {
        /// A name for it
        #[arg(value_name = "NAME")]
        id: String,
        /// Only rows of this caller
        #[arg(long, env = "INFERWATCH_HOLD_CALLER", value_name = "CALLER")]
        caller: Option<String>,
        /// Only rows of this end user
        #[arg(
            long,
            env = "INFERWATCH_HOLD_END_USER",
            value_name = "ID",
            conflicts_with = "caller"
        )]
        end_user: Option<String>,
        /// Only this table
        #[arg(long, env = "INFERWATCH_HOLD_TABLE", value_name = "TABLE", value_parser = parse_table)]
        table: Option<Table>,
        /// Only from this time on
        #[arg(long, env = "INFERWATCH_HOLD_FROM", value_name = "TIME", value_parser = parse_time)]
        from: Option<i64>,
        /// Only before this time
        #[arg(long, env = "INFERWATCH_HOLD_UNTIL", value_name = "TIME", value_parser = parse_time)]
        until: Option<i64>,
        /// Why
        #[arg(long, env = "INFERWATCH_HOLD_REASON", value_name = "TEXT")]
        reason: String,
        /// Who answers for it
        #[arg(long, env = "INFERWATCH_HOLD_OWNER", value_name = "NAME")]
        owner: Option<String>,
        /// Act as if it were this time
        #[arg(long, env = "INFERWATCH_HOLD_AT", value_name = "TIME", value_parser = parse_time)]
        at: Option<i64>,
    },
    /// Show all holds, the released ones as well
    List {
        /// A table for people or JSON; by default a table on a terminal
        #[arg(long, env = "INFERWATCH_HOLD_FORMAT", value_name = "FORMAT")]
        format: Option<Report>,
    },
    /// End a hold
    Release {
        /// Its name
        #[arg(value_name = "NAME")]
        id: String,
        /// Why
        #[arg(long, env = "INFERWATCH_HOLD_REASON", value_name = "TEXT")]
        reason: String,
        /// Act as if it were this time
        #[arg(long, env = "INFERWATCH_HOLD_AT", value_name = "TIME", value_parser = parse_time)]
        at: Option<i64>,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// When the holds cannot be read or written.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.open_store()?;
    let now = || chrono::Utc::now().timestamp_micros();
    match &args.action {
        Action::Add {
            id,
            caller,
            end_user,
            table,
            from,
            until,
            reason,
            owner,
            at,
        } => {
            store.add_hold(Hold {
                id: id.clone(),
                caller: caller.clone(),
                end_user: end_user.clone(),
                table: table.map(|table| table.name().to_owned()),
                from: *from,
                until: *until,
                reason: reason.clone(),
                owner: owner.clone(),
                added: at.unwrap_or_else(now),
                released: None,
            })?;
            global.note(&format!("hold `{id}` is in force"));
        }
        Action::Release { id, reason, at } => {
            store.release_hold(id, at.unwrap_or_else(now), reason)?;
            global.note(&format!("hold `{id}` is released"));
        }
        Action::List { format } => {
            let holds = store.holds()?;
            let text = match Report::or_default(*format) {
                Report::Table if holds.is_empty() => "no hold\n".to_owned(),
                Report::Table => table_of(&holds)?,
                Report::Json => json_text(&Value::Array(holds.iter().map(to_json).collect()))?,
            };
            output::data(text.trim_end())?;
        }
    }
    Ok(ExitCode::from(CLEAR))
}

fn table_of(holds: &[Hold]) -> anyhow::Result<String> {
    let column = |of: &dyn Fn(&Hold) -> Option<String>| -> arrow::array::ArrayRef {
        Arc::new(holds.iter().map(of).collect::<StringArray>())
    };
    let time = |of: Option<i64>| of.and_then(rfc3339);
    draw([
        ("hold", column(&|hold| Some(hold.id.clone()))),
        ("caller", column(&|hold| hold.caller.clone())),
        ("end user", column(&|hold| hold.end_user.clone())),
        ("table", column(&|hold| hold.table.clone())),
        ("from", column(&|hold| time(hold.from))),
        ("until", column(&|hold| time(hold.until))),
        ("reason", column(&|hold| Some(hold.reason.clone()))),
        ("owner", column(&|hold| hold.owner.clone())),
        ("added", column(&|hold| time(Some(hold.added)))),
        ("released", column(&|hold| time(hold.released))),
    ])
}

fn to_json(hold: &Hold) -> Value {
    json!({
        "id": hold.id,
        "caller": hold.caller,
        "end_user": hold.end_user,
        "table": hold.table,
        "from": hold.from.and_then(rfc3339),
        "until": hold.until.and_then(rfc3339),
        "reason": hold.reason,
        "owner": hold.owner,
        "added": rfc3339(hold.added),
        "released": hold.released.and_then(rfc3339),
    })
}

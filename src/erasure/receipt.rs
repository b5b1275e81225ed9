//! What was erased, for whoever asked for it.

use serde::{Deserialize, Serialize};

use super::Target;
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::Store;

/// What was erased of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// The table.
    pub table: String,
    /// Rows that went.
    pub rows: u64,
    /// Rows that stay, without what they said of the subject.
    pub cleaned: u64,
    /// Files that were written anew.
    pub files_rewritten: u64,
    /// Files of which nothing was left.
    pub files_removed: u64,
    /// Bytes of both, as they were: they are unlinked when the grace period is over.
    pub bytes: u64,
}

impl Erased {
    pub(super) fn new(table: Table) -> Erased {
        Erased {
            table: table.name().to_owned(),
            rows: 0,
            cleaned: 0,
            files_rewritten: 0,
            files_removed: 0,
            bytes: 0,
        }
    }
}

/// A receipt. It names the subject, and is kept outside of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The erasure's name in the store; empty when there was nothing to erase.
    pub id: String,
    /// Where the store was.
    pub store: String,
    /// `caller`, `end-user` or `where`.
    pub kind: String,
    /// Whose rows.
    pub subject: String,
    /// The tables that were looked at.
    pub looked_at: Vec<String>,
    /// When, microseconds since the epoch.
    pub at: i64,
    /// From when on the last copies may go: the next `compact` after that removes them.
    pub last_copy_until: i64,
    /// What was erased.
    pub tables: Vec<Erased>,
    /// What must give no row.
    pub query: String,
}

impl Target {
    /// Its word.
    pub fn kind(&self) -> &'static str {
        match self {
            Target::Caller(_) => "caller",
            Target::EndUser(_) => "end-user",
            Target::Where(_) => "where",
        }
    }
}

impl Receipt {
    pub(super) fn new(
        store: &Store,
        target: &Target,
        tables: &[Table],
        at: i64,
        due: i64,
    ) -> Receipt {
        let quoted = |name: &str| format!("'{}'", name.replace('\'', "''"));
        let (subject, condition) = match target {
            Target::Caller(name) => (name, format!("caller = {}", quoted(name))),
            Target::EndUser(name) => (name, format!("end_user_id = {}", quoted(name))),
            Target::Where(sql) => (sql, sql.clone()),
        };
        Receipt {
            id: String::new(),
            store: store.root().display().to_string(),
            kind: target.kind().to_owned(),
            subject: subject.clone(),
            looked_at: tables.iter().map(|table| table.name().to_owned()).collect(),
            at,
            last_copy_until: due,
            tables: Vec::new(),
            query: format!("SELECT count(*) FROM calls WHERE {condition}"),
        }
    }

    /// What was asked for.
    ///
    /// # Errors
    /// When the receipt is of a kind that is not known.
    pub fn target(&self) -> Result<Target> {
        let subject = self.subject.clone();
        match self.kind.as_str() {
            "caller" => Ok(Target::Caller(subject)),
            "end-user" => Ok(Target::EndUser(subject)),
            "where" => Ok(Target::Where(subject)),
            other => Err(Error::Usage {
                message: format!("the receipt is of a kind that is not known, `{other}`"),
                hint: None,
            }),
        }
    }
}

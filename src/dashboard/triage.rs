//! What people make of findings: acknowledged, a false positive, closed, or open again after all.
//!
//! Each word is a row of `audit` with the finding's id, so it is durable, says who said it when, and is never changed;
//! the view `triage` has the last one of each finding. Findings themselves stay what rules found.

use datafusion::prelude::SessionContext;
use serde_json::{Map, Value};

use crate::detect::rows;
use crate::error::{Error, Result};
use crate::store::{Entry, Store};
use crate::suggest::nearest;

/// Longer notes belong into a ticket.
pub const LONGEST_NOTE: usize = 4_000;

/// What became of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Triage {
    /// Somebody looks at it.
    Acknowledged,
    /// It was right to look, and there was nothing.
    FalsePositive,
    /// It was dealt with.
    Closed,
    /// What was said before no longer holds.
    Reopened,
}

impl Triage {
    /// Every word, with its name.
    pub const ALL: [(&'static str, Triage); 4] = [
        ("acknowledged", Triage::Acknowledged),
        ("false_positive", Triage::FalsePositive),
        ("closed", Triage::Closed),
        ("reopened", Triage::Reopened),
    ];

    /// The word of that name.
    ///
    /// # Errors
    /// When there is none; the nearest is named.
    pub fn from_name(name: &str) -> Result<Triage> {
        let known = Triage::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, triage)| *triage).ok_or_else(|| {
            let names = Triage::ALL.map(|(name, _)| name);
            Error::Usage {
                message: format!("a finding cannot be `{name}`"),
                hint: Some(match nearest(name, names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("one of {}", names.join(", ")),
                }),
            }
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    /// Writes it down for a finding: once this returns, it is in the store.
    ///
    /// # Errors
    /// When the note is too long or the store cannot be written. Whether there is such a finding, the caller knows.
    pub fn write(self, store: &Store, finding: &str, note: &str, who: &str, at: i64) -> Result<()> {
        let note = note.trim();
        if note.len() > LONGEST_NOTE {
            return Err(Error::Usage {
                message: format!("a note has {LONGEST_NOTE} bytes at most"),
                hint: Some("put the rest into a ticket, and its address here".into()),
            });
        }
        let mut entry = Entry::new("triage", at)
            .resource(finding)
            .by(who)
            .detail("state", self.name());
        if !note.is_empty() {
            entry = entry.detail("note", note);
        }
        entry.write(store)
    }
}

/// Every word on a finding, the newest first.
///
/// # Errors
/// When the store cannot be read.
pub async fn history(context: &SessionContext, finding: &str) -> Result<Vec<Map<String, Value>>> {
    if !context.table_exist("audit")? {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT event_time AS at, json_get_str(request_params, 'state') AS state, \
         json_get_str(request_params, 'note') AS note, caller AS who FROM audit \
         WHERE action_class = 'store.triage' AND resource_id = {} ORDER BY event_time DESC, event_id DESC",
        quoted(finding)
    );
    rows(context, &sql).await
}

/// Whether a session has a finding of that id.
///
/// # Errors
/// When the store cannot be read.
pub async fn is_known(context: &SessionContext, finding: &str) -> Result<bool> {
    let sql = format!(
        "SELECT 1 AS one FROM findings WHERE finding_id = {} LIMIT 1",
        quoted(finding)
    );
    Ok(!rows(context, &sql).await?.is_empty())
}

/// A text as an SQL literal.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

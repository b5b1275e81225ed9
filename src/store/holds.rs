//! Legal holds: whose rows stay, whatever retention and erasure say.
//!
//! They are a file of the store, since a table would forget them with age. While one holds, neither a tier nor an
//! erasure touches what it names; a released hold stays in the list, for whoever asks why something was kept.

use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::disk::{self, Access};
use crate::store::journal::Entry;
use crate::store::{Partition, Store};

const FILE: &str = "holds.json";

/// What must stay. What is not said is not limited: a hold on nobody in particular is a hold on everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name.
    pub id: String,
    /// The principal.
    pub caller: Option<String>,
    /// The person behind an application's principal.
    pub end_user: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// First instant, microseconds since the epoch.
    pub from: Option<i64>,
    /// First instant after it.
    pub until: Option<i64>,
    /// Why, as a file number of the matter.
    pub reason: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// When it was added.
    pub added: i64,
    /// When it was released.
    pub released: Option<i64>,
}

impl Hold {
    /// Whether it holds now.
    pub fn is_active(&self) -> bool {
        self.released.is_none()
    }

    /// Whether it is about a table.
    pub fn covers_table(&self, table: Table) -> bool {
        self.table
            .as_deref()
            .is_none_or(|name| name == table.name())
    }

    /// Whether it is about an instant between two, the second not included.
    pub fn covers_time(&self, from: i64, until: i64) -> bool {
        self.from.is_none_or(|first| first < until) && self.until.is_none_or(|end| end > from)
    }

    /// Whether rows of a partition may be held, as far as its name tells. Who an end user's callers are is not known
    /// here: for those every partition may be.
    pub(crate) fn may_cover(&self, partition: &Partition) -> bool {
        match (&self.caller, &partition.caller) {
            (Some(held), Some(caller)) => held == caller,
            _ => true,
        }
    }
}

impl Store {
    /// Every hold there was, the released ones as well.
    ///
    /// # Errors
    /// When the list cannot be read: then nothing is known to be free.
    pub fn holds(&self) -> Result<Vec<Hold>> {
        let path = self.root().join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        serde_json::from_slice(&bytes).map_err(|error| Error::Store {
            message: format!("legal holds in `{}`: {error}", path.display()),
            hint: Some(
                "restore the file from a backup: nothing is deleted before it can be read".into(),
            ),
        })
    }

    /// Adds a hold.
    ///
    /// # Errors
    /// When one of that name was there, or it cannot be written.
    pub fn add_hold(&self, hold: Hold) -> Result<()> {
        self.change_holds(|holds| {
            if holds.iter().any(|known| known.id == hold.id) {
                return Err(Error::Usage {
                    message: format!("there is a hold `{}` already", hold.id),
                    hint: Some(
                        "`inferwatch hold list` shows all; a released one keeps its name".into(),
                    ),
                });
            }
            let entry = Entry::new("hold.add", hold.added)
                .resource(&hold.id)
                .detail("reason", hold.reason.as_str());
            holds.push(hold);
            Ok(entry)
        })
    }

    /// Releases a hold.
    ///
    /// # Errors
    /// When there is none of that name that holds, or it cannot be written.
    pub fn release_hold(&self, id: &str, at: i64, reason: &str) -> Result<()> {
        self.change_holds(|holds| {
            let active = |hold: &&mut Hold| hold.id == id && hold.is_active();
            let Some(hold) = holds.iter_mut().find(active) else {
                return Err(Error::Usage {
                    message: format!("no hold `{id}` is in force"),
                    hint: Some("`inferwatch hold list` shows all".into()),
                });
            };
            hold.released = Some(at);
            Ok(Entry::new("hold.release", at)
                .resource(id)
                .detail("reason", reason))
        })
    }

    /// Takes a name out of the holds that are released.
    pub(crate) fn forget_in_holds(&self, name: &str) -> Result<()> {
        let mut holds = self.holds()?;
        let mut is_changed = false;
        for hold in holds.iter_mut().filter(|hold| !hold.is_active()) {
            for value in [&mut hold.caller, &mut hold.end_user] {
                if value.as_deref() == Some(name) {
                    *value = Some("(erased)".into());
                    is_changed = true;
                }
            }
        }
        if is_changed {
            self.write_holds(&holds)?;
        }
        Ok(())
    }

    fn write_holds(&self, holds: &[Hold]) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(holds).map_err(|error| Error::Store {
            message: format!("legal holds: {error}"),
            hint: None,
        })?;
        let path = self.root().join(FILE);
        disk::replace(&path, &bytes, Access::Private)?;
        // Of one that was killed here: nobody else is at it.
        disk::remove_temporary(self.root())
    }

    fn change_holds(&self, change: impl FnOnce(&mut Vec<Hold>) -> Result<Entry>) -> Result<()> {
        // Not while something is deleted that the hold may be about.
        let patience = crate::store::WriteOptions::default().lock_timeout;
        let _maintenance = self.lock_maintenance(patience)?;
        let mut holds = self.holds()?;
        let entry = change(&mut holds)?;
        self.write_holds(&holds)?;
        entry.write(self)
    }
}

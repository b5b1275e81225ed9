//! What was erased and is not gone yet: the store remembers that it has to remove the last copies, and when.
//!
//! The list says nothing of whose rows they were.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::disk::{self, Access};
use crate::store::log::{checkpoint_versions, commit_versions};
use crate::store::sweep::removed_files;
use crate::store::{Store, TableCommit};

/// An erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Erasure {
    /// Its name.
    pub(crate) id: String,
    /// When the last copies may go, microseconds since the epoch.
    pub(crate) due: i64,
    /// The commits that erased. Unknown when the program was killed in between.
    pub(crate) versions: Option<BTreeMap<String, u64>>,
    /// When the last copies had gone.
    pub(crate) done: Option<i64>,
}

impl Erasure {
    /// The commit to a table that erased.
    pub(super) fn version_in(&self, table: Table) -> Option<u64> {
        self.versions.as_ref()?.get(table.name()).copied()
    }
}

impl Store {
    fn erasures_folder(&self) -> std::path::PathBuf {
        self.root().join("erasures")
    }

    fn write_erasure(&self, erasure: &Erasure) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(erasure).map_err(|error| Error::Store {
            message: format!("erasure: {error}"),
            hint: None,
        })?;
        disk::create_folder(&self.erasures_folder(), Access::Private)?;
        let path = self.erasures_folder().join(format!("{}.json", erasure.id));
        disk::replace(&path, &bytes, Access::Private)
    }

    /// Notes that something is about to be erased, before it is.
    pub(crate) fn begin_erasure(&self, due: i64) -> Result<Erasure> {
        let erasure = Erasure {
            id: disk::random_name()?,
            due,
            versions: None,
            done: None,
        };
        self.write_erasure(&erasure)?;
        Ok(erasure)
    }

    /// Notes by which commits it was.
    pub(crate) fn note_erasure(
        &self,
        mut erasure: Erasure,
        commits: &[TableCommit],
    ) -> Result<Erasure> {
        let versions = commits
            .iter()
            .map(|commit| (commit.table.name().to_owned(), commit.version));
        erasure.versions = Some(versions.collect());
        self.write_erasure(&erasure)?;
        Ok(erasure)
    }

    /// Takes the note back: nothing was erased.
    pub(crate) fn forget_erasure(&self, erasure: &Erasure) -> Result<()> {
        let path = self.erasures_folder().join(format!("{}.json", erasure.id));
        disk::remove_file(&path).map_err(Error::io("remove", &path))?;
        disk::sync_folder(&self.erasures_folder())
    }

    /// Every erasure there was.
    pub(crate) fn erasures(&self) -> Result<Vec<Erasure>> {
        let folder = self.erasures_folder();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("list", &folder)(error)),
        };
        let mut erasures = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io("list", &folder))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
            erasures.push(
                serde_json::from_slice(&bytes).map_err(|error| Error::Store {
                    message: format!("erasure `{}`: {error}", path.display()),
                    hint: Some(
                        "without it nobody knows which copies have to go; restore it".into(),
                    ),
                })?,
            );
        }
        Ok(erasures)
    }

    /// Those whose last copies are not known to have gone. One that was killed before it could say by which commits it
    /// erased has done so, if at all, by those that there are.
    pub(super) fn known_erasures(&self) -> Result<Vec<Erasure>> {
        let mut erasures = self.open_erasures()?;
        if erasures.iter().all(|erasure| erasure.versions.is_some()) {
            return Ok(erasures);
        }
        // Whoever is at it holds the lock.
        if let Ok(_maintenance) = self.lock_maintenance(Duration::ZERO) {
            for erasure in erasures
                .iter_mut()
                .filter(|erasure| erasure.versions.is_none())
            {
                let mut versions = BTreeMap::new();
                for table in Table::ALL {
                    if let Some(version) = self.snapshot(table)?.version() {
                        versions.insert(table.name().to_owned(), version);
                    }
                }
                erasure.versions = Some(versions);
                self.write_erasure(erasure)?;
            }
        }
        erasures.retain(|erasure| erasure.versions.is_some());
        Ok(erasures)
    }

    fn open_erasures(&self) -> Result<Vec<Erasure>> {
        let mut erasures = self.erasures()?;
        erasures.retain(|erasure| erasure.done.is_none());
        Ok(erasures)
    }

    /// Notes that an erasure is complete, when it is.
    pub(super) fn complete_erasure(&self, mut erasure: Erasure, at: i64) -> Result<()> {
        for table in Table::ALL {
            let folder = self.table_folder(table);
            let Some(version) = erasure.version_in(table) else {
                continue;
            };
            let commits = commit_versions(&folder)?;
            let checkpoints = checkpoint_versions(&folder)?;
            let tells = |versions: &[u64]| versions.first().is_some_and(|first| *first <= version);
            let mut removed = removed_files(&folder)?.into_iter();
            if tells(&commits)
                || tells(&checkpoints)
                || removed.any(|file| file.version <= version && folder.join(file.path).exists())
            {
                return Ok(());
            }
        }
        erasure.done = Some(at);
        self.write_erasure(&erasure)
    }
}

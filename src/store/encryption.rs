//! Which tables are encrypted: begins it, changes the keys, tells how far it is, and brings older files up to date.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::keys::{self, KeySource, Ring, Secret};
use crate::schema::Table;
use crate::store::disk::{self, Access};
use crate::store::journal::Entry;
use crate::store::log::{Operation, log_folder};
use crate::store::sweep::data_files;
use crate::store::{MARKER, Marker, Store, WriteOptions, commit};

/// How long to wait for another that changes the keys.
const PATIENCE: Duration = Duration::from_secs(10);

/// The keys of a table, and what is encrypted with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableKeyStatus {
    /// The table.
    pub table: Table,
    /// The name of the master key that opens it; `None` when the table is not encrypted.
    pub master: Option<String>,
    /// Whether the key that was given opens it; `None` when none was given, or none is needed.
    pub is_open: Option<bool>,
    /// Its keys, oldest first; new files get the last.
    pub keys: Vec<KeyStatus>,
    /// Files that are not encrypted, and their bytes.
    pub plain: (u64, u64),
    /// Files that are not encrypted and no longer part of the table, but still on the disk, and their bytes.
    pub plain_waiting: (u64, u64),
}

/// A key of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its name.
    pub name: String,
    /// When it was made, microseconds since the epoch.
    pub created: i64,
    /// Files that are encrypted with it, and their bytes.
    pub files: (u64, u64),
}

/// Files of one period that are to be encrypted, or with another key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToEncrypt {
    /// The table.
    pub table: Table,
    /// The period.
    pub period: String,
    /// Paths below the table's folder.
    pub files: Vec<String>,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Encrypts what is written to some tables from now on, under the master key that the store was opened with. A key
    /// file that is not there yet is made, with a new key.
    ///
    /// # Errors
    /// When there is no key, or several; when one of the tables is encrypted already; when the ring was lost.
    pub fn init_keys(&self, tables: &[Table], at: i64) -> Result<()> {
        let _lock = commit::lock(&self.lock_path("keys"), PATIENCE)?;
        let mut ring = match self.keychain().ring() {
            Ok(ring) => ring,
            // Begun and not ended, unless something is encrypted already.
            Err(error) => match self.any_encrypted()? {
                false if !Ring::path(self.root()).exists() => Ring::default(),
                _ => return Err(error),
            },
        };
        if let Some(table) = tables.iter().find(|table| ring.table(**table).is_some()) {
            return Err(Error::Usage {
                message: format!("table `{}` is encrypted already", table.name()),
                hint: Some(
                    "`inferwatch keys status` says with what, `inferwatch keys rotate` changes the key".to_owned(),
                ),
            });
        }
        let master = self.one_master(self.keychain().source())?;
        for table in tables {
            ring.add(*table, &master, at)?;
        }
        // First, so that a ring that was lost is missed.
        let marker = self.root().join(MARKER);
        disk::replace(&marker, &Marker::bytes(true), Access::Shared)?;
        self.write_ring(&ring)?;
        let names: Vec<&str> = tables.iter().map(|table| table.name()).collect();
        Entry::new("keys.init", at)
            .resource(&master.name())
            .detail("tables", names)
            .write(self)
    }

    /// Puts the keys of every encrypted table, or of some, under the master key of another source, and begins a new key
    /// for files that are written from now on. No data file is touched. Without another source the master key stays. Gives
    /// the tables.
    ///
    /// # Errors
    /// When a table is not encrypted, or its master key is not at hand.
    pub fn rotate_keys(&self, tables: &[Table], new: &KeySource, at: i64) -> Result<Vec<Table>> {
        let _lock = commit::lock(&self.lock_path("keys"), PATIENCE)?;
        let keychain = self.keychain();
        let mut ring = keychain.ring()?;
        let tables = match tables {
            [] => ring.tables().collect(),
            some => some.to_vec(),
        };
        if tables.is_empty() {
            return Err(Error::Usage {
                message: "no table is encrypted".to_owned(),
                hint: Some("`inferwatch keys init` begins it".to_owned()),
            });
        }
        let mut opened = Vec::new();
        for table in &tables {
            let Some(sealed) = ring.table(*table) else {
                return Err(Error::Usage {
                    message: format!("table `{}` is not encrypted", table.name()),
                    hint: Some(format!(
                        "`inferwatch keys init --table {}` begins it",
                        table.name()
                    )),
                });
            };
            let master = keychain.master(*table, sealed)?;
            opened.push((*table, keychain.open(*table, sealed, &master)?, master));
        }
        let new = match new {
            KeySource::Nowhere => None,
            source => Some(self.one_master(source)?),
        };
        for (table, keys, old) in &opened {
            let master = new.as_ref().unwrap_or(old);
            ring.rotate(*table, keys, master, at)?;
            // The old ring is gone in a moment.
            if let Some(sealed) = ring.table(*table) {
                keychain.open(*table, sealed, master)?;
            }
        }
        self.write_ring(&ring)?;
        let names: Vec<&str> = tables.iter().map(|table| table.name()).collect();
        let masters: HashSet<String> = tables
            .iter()
            .filter_map(|table| Some(ring.table(*table)?.master.clone()))
            .collect();
        Entry::new("keys.rotate", at)
            .resource(&masters.into_iter().collect::<Vec<_>>().join(","))
            .detail("tables", names)
            .detail("is_new_master", new.is_some())
            .write(self)?;
        Ok(tables)
    }

    fn write_ring(&self, ring: &Ring) -> Result<()> {
        disk::replace(&Ring::path(self.root()), &ring.to_bytes()?, Access::Private)
    }

    /// The only key of a source. A file that is not there is made.
    fn one_master(&self, source: &KeySource) -> Result<Secret> {
        if let KeySource::File(path) = source
            && !path.exists()
        {
            source.refuse_inside(self.root())?;
            let text = format!("{}\n", Secret::random()?.to_text().as_str());
            disk::write_new(path, text.as_bytes(), Access::Private)?;
        }
        let mut masters = self.keychain().with_source(source.clone()).masters()?;
        match masters.len() {
            0 => Err(Error::Usage {
                message: "no key was given".to_owned(),
                hint: Some(
                    "`--key-file PATH` names a file, which is made if it is not there; `--key-command` and the environment \
                     variable INFERWATCH_KEY give a key of your own, as `openssl rand -base64 32` makes one"
                        .to_owned(),
                ),
            }),
            1 => Ok(masters.remove(0)),
            keys => Err(Error::Usage {
                message: format!("{source} holds {keys} keys, and one is needed"),
                hint: Some("several serve to read tables that have different ones".to_owned()),
            }),
        }
    }

    /// The keys of every table, and what is encrypted with them. Files are asked which key they need; no key is needed for
    /// that.
    ///
    /// # Errors
    /// When a log or a file cannot be read.
    pub fn key_status(&self) -> Result<Vec<TableKeyStatus>> {
        let ring = self.keychain().ring()?;
        let masters = self.keychain().masters()?;
        let of_table = |table: Table| {
            let sealed = ring.table(table);
            let mut status = TableKeyStatus {
                table,
                master: sealed.map(|sealed| sealed.master.clone()),
                is_open: sealed
                    .filter(|_| !masters.is_empty())
                    .map(|sealed| masters.iter().any(|master| master.name() == sealed.master)),
                keys: Vec::new(),
                plain: (0, 0),
                plain_waiting: (0, 0),
            };
            for key in sealed.into_iter().flat_map(|sealed| &sealed.keys) {
                status.keys.push(KeyStatus {
                    name: key.name.clone(),
                    created: key.created,
                    files: (0, 0),
                });
            }
            let folder = self.table_folder(table);
            let snapshot = self.snapshot(table)?;
            let mut live = HashSet::new();
            for file in snapshot.iter() {
                let path = folder.join(file.path());
                let key = named_in(&path)?;
                let of_key = status
                    .keys
                    .iter_mut()
                    .find(|known| Some(&known.name) == key.as_ref());
                let count = match (of_key, key) {
                    (Some(of_key), _) => &mut of_key.files,
                    (None, None) => &mut status.plain,
                    (None, Some(key)) => return Err(keys::unknown_key(&path, &key)),
                };
                *count = (count.0 + 1, count.1 + file.size().unsigned_abs());
                live.insert(path);
            }
            if status.master.is_some() && log_folder(&folder).is_dir() {
                for path in data_files(&folder)? {
                    if !live.contains(&path) && named_in(&path)?.is_none() {
                        let bytes = path.metadata().map_or(0, |metadata| metadata.len());
                        let waiting = &mut status.plain_waiting;
                        *waiting = (waiting.0 + 1, waiting.1 + bytes);
                    }
                }
            }
            Ok(status)
        };
        Table::ALL.into_iter().map(of_table).collect()
    }

    /// Writes files anew, with the newest key. The files as they were go after the grace period, as others that were
    /// replaced.
    ///
    /// # Errors
    /// When somebody else is at it, a key is missing, or a file cannot be read or written: what was done until then stays
    /// done.
    pub fn encrypt(
        &self,
        plan: &[ToEncrypt],
        options: &WriteOptions,
        progress: &AtomicU64,
        at: i64,
    ) -> Result<()> {
        let _maintenance = self.lock_maintenance(options.lock_timeout)?;
        let _writing = commit::lock_shared(&self.lock_path("writing"), options.lock_timeout)?;
        commit::complete(self)?;
        for task in plan {
            let (table, period) = (task.table, &task.period);
            let mut same = |batch| Ok(batch);
            let mut change = self.edit(table, period, &task.files, options, progress, &mut same)?;
            // The same rows in another form.
            change.operation = Operation::Optimize;
            commit::commit_if(self, &[change], &[], || Ok(()))?;
        }
        if plan.is_empty() {
            return Ok(());
        }
        let files: usize = plan.iter().map(|task| task.files.len()).sum();
        Entry::new("keys.encrypt", at)
            .detail("files", files)
            .write(self)
    }

    /// Files of encrypted tables that are not encrypted, or, to `renew`, not with the newest key.
    ///
    /// # Errors
    /// When a log or a file cannot be read.
    pub fn to_encrypt(&self, renew: bool) -> Result<Vec<ToEncrypt>> {
        let ring = self.keychain().ring()?;
        let mut plan: BTreeMap<(Table, String), ToEncrypt> = BTreeMap::new();
        for table in ring.tables() {
            let folder = self.table_folder(table);
            let newest = ring.table(table).and_then(|sealed| sealed.keys.last());
            for file in self.snapshot(table)?.iter() {
                let key = named_in(&folder.join(file.path()))?;
                let is_current = match &key {
                    None => false,
                    Some(name) => !renew || newest.is_some_and(|newest| newest.name == *name),
                };
                if is_current {
                    continue;
                }
                let period = file.period().to_owned();
                let task = plan.entry((table, period.clone())).or_insert(ToEncrypt {
                    table,
                    period,
                    files: Vec::new(),
                    rows: 0,
                    bytes: 0,
                });
                task.files.push(file.path().to_owned());
                task.rows += file.rows().unsigned_abs();
                task.bytes += file.size().unsigned_abs();
            }
        }
        Ok(plan.into_values().collect())
    }

    /// Whether any data file is encrypted, whatever the ring says.
    fn any_encrypted(&self) -> Result<bool> {
        for table in Table::ALL {
            let folder = self.table_folder(table);
            if !folder.is_dir() {
                continue;
            }
            for path in data_files(&folder)? {
                if named_in(&path)?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Which key a file needs; one that is gone needs none.
fn named_in(path: &Path) -> Result<Option<String>> {
    match keys::key_named_in(path) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        named => named,
    }
}

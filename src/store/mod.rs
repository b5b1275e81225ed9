//! The store: a folder of Delta tables, one per [`Table`], that other engines can open as they are.
//!
//! ```text
//! store/
//!   inferwatch.json        marks the folder as a store; its version
//!   keys/input-hash.key    secret for keyed hashes of text
//!   keys/ring.json         keys of encrypted tables, themselves encrypted: see `keys`
//!   locks/ pending/ spill/ see `commit` and `sort`
//!   sinks/                 what each sink was told of findings, and what is still to be
//!   calls/
//!     _delta_log/          the transaction log
//!     period=2026-11-20T10/partition_model=gpt-4o/partition_caller=alice/part-….parquet
//!   content/ filters/ …
//! ```
//!
//! [`StoreWriter`] takes rows and commits them; [`Store::provider`] and [`Store::register`] let DataFusion read them;
//! [`Store::compact`] writes small files anew as large ones, [`Store::sweep`] removes what nobody reads any more.

mod access;
mod cache;
mod changes;
mod commit;
mod compact;
mod data_file;
mod disk;
mod durable;
mod edit;
mod encryption;
mod erased;
#[doc(hidden)]
pub mod faults;
mod fingerprint;
mod holds;
mod info;
mod journal;
mod layout;
mod log;
mod notebook;
mod period;
mod presence;
mod provider;
mod receipts;
mod repair;
mod rewrite;
mod snapshot;
mod sort;
mod statistics;
mod sweep;
mod system;
mod tail;
mod tokens;
mod verify;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::keys::{KeySource, Keychain};
use crate::schema::Table;
use disk::Access;
use log::{DeltaLog, TableLog};

pub use changes::AddedFile;
pub use commit::{Outcome, TableCommit};
pub(crate) use commit::{TableChange, commit_if};
pub use compact::{CompactOptions, CompactReport, CompactTask};
pub use data_file::DataFile;
pub use encryption::{KeyStatus, TableKeyStatus, ToEncrypt};
pub use holds::Hold;
pub use info::{StoreInfo, TableInfo};
pub(crate) use journal::{Entry, FORMAT as JOURNAL};
pub(crate) use layout::component;
pub use layout::{Grain, Partition, Period};
pub use log::Operation;
pub(crate) use notebook::{Notebook, Pages};
pub use presence::Presence;
pub(crate) use receipts::{Receipts, Request, Seen};
pub use repair::Repair;
pub use snapshot::{FileEntry, TableSnapshot};
pub use statistics::{Bound, ColumnStatistics};
pub use sweep::{SweepOptions, SweepReport};
pub(crate) use system::partitions_schema;
pub use tokens::{Rights, Token};
pub use verify::{Fault, Problem, VerifyReport};
pub use writer::{StoreWriter, WriteOptions};

/// A checkpoint of a table's log is written after as many commits.
pub(crate) const CHECKPOINT_INTERVAL: u64 = 50;
/// As much may be read on top of a saved snapshot: files, with some for a commit.
const UNSAVED: usize = 128;
/// Marks a folder as a store.
const MARKER: &str = "inferwatch.json";
/// What the marker says of the layout of the folder.
const FORMAT: u64 = 1;

/// What is in the marker.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u64,
    /// Whether the store has a key ring, so that it is missed when it is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    has_keys: bool,
}

impl Marker {
    fn bytes(has_keys: bool) -> Vec<u8> {
        let marker = Marker {
            format: FORMAT,
            has_keys,
        };
        let text = serde_json::to_string(&marker).expect("a number and a switch are JSON");
        format!("{text}\n").into_bytes()
    }
}
/// Folders beside those of the tables.
const FOLDERS: [&str; 4] = ["keys", "locks", "pending", "spill"];

/// A store. Cheap to clone; clones share what they have read.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    root: PathBuf,
    secret: [u8; 32],
    access: access::Access,
    snapshots: Mutex<HashMap<Table, Arc<TableSnapshot>>>,
    warnings: Mutex<Vec<String>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("root", &self.0.root)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a store.
    ///
    /// # Errors
    /// When the folder is not a store, is of a later version, or its secret is gone.
    pub fn open(root: &Path) -> Result<Store> {
        let root = std::path::absolute(root).map_err(Error::io("open", root))?;
        let marker = root.join(MARKER);
        let text = match std::fs::read(&marker) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Store {
                    message: format!("`{}` is not a store", root.display()),
                    hint: Some(
                        "`inferwatch ingest` makes one; `--store` names another folder".into(),
                    ),
                });
            }
            Err(error) => return Err(Error::io("read", &marker)(error)),
        };
        let known = serde_json::from_slice::<Marker>(&text).ok();
        let Some(known) = known.filter(|known| known.format == FORMAT) else {
            return Err(Error::Store {
                message: format!(
                    "`{}` does not name a store's version that is known",
                    marker.display()
                ),
                hint: Some("the store may be newer than this program".into()),
            });
        };
        let secret = read_secret(&root)?;
        let keychain = Keychain::new(&root, known.has_keys, KeySource::Nowhere);
        let access = access::Access::new(keychain, "");
        Ok(Store::made(root, secret, access))
    }

    fn made(root: PathBuf, secret: [u8; 32], access: access::Access) -> Store {
        Store(Arc::new(Inner {
            root,
            secret,
            access,
            snapshots: Mutex::default(),
            warnings: Mutex::default(),
        }))
    }

    /// Whether there is a store at `root`, of whatever version.
    pub fn is_at(root: &Path) -> bool {
        root.join(MARKER).exists()
    }

    /// Opens a store, or makes an empty one where there is nothing, or an empty folder.
    ///
    /// # Errors
    /// As [`Store::open`]; also when the folder holds something else, or cannot be written.
    pub fn open_or_create(root: &Path) -> Result<Store> {
        let absolute = std::path::absolute(root).map_err(Error::io("open", root))?;
        if !Store::is_at(&absolute) {
            create(&absolute)?;
        }
        Store::open(root)
    }

    /// The store's folder, absolute.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// The secret for keyed hashes of text; random, made with the store.
    pub fn secret(&self) -> &[u8; 32] {
        &self.0.secret
    }

    /// What was found and mended since this was last asked, for a person to read.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.warnings.lock().expect("no thread panics with it"))
    }

    /// A table as it is now. A table that was never written is empty.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn snapshot(&self, table: Table) -> Result<Arc<TableSnapshot>> {
        self.refresh(table)
    }

    /// Takes rows to commit them. What a crash has left of another commit is completed first.
    ///
    /// # Errors
    /// When another writer holds the store, and both ask to be the only one; when rows could not be spilled; when what
    /// was left cannot be completed.
    pub fn writer(&self, options: WriteOptions) -> Result<StoreWriter> {
        StoreWriter::new(self.clone(), options)
    }

    /// The table for DataFusion; each query sees the newest version.
    pub fn provider(&self, table: Table) -> Arc<dyn TableProvider> {
        Arc::new(provider::StoreTable::new(self.clone(), table))
    }

    /// Registers every table, and the system tables `partitions`, `files` and `ingests`.
    ///
    /// # Errors
    /// When the context has no place for them.
    pub fn register(&self, context: &SessionContext) -> Result<()> {
        for table in Table::ALL {
            context.register_table(table.name(), self.provider(table))?;
        }
        for (name, table) in system::tables(self) {
            context.register_table(name, Arc::new(table))?;
        }
        Ok(())
    }

    /// A table or system table, for who registers some of them only.
    pub(crate) fn table_by_name(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        if let Some(table) = Table::from_name(name) {
            return Some(self.provider(table));
        }
        let (_, table) = system::tables(self).find(|(known, _)| *known == name)?;
        Some(Arc::new(table))
    }

    pub(crate) fn table_folder(&self, table: Table) -> PathBuf {
        self.0.root.join(table.name())
    }

    pub(crate) fn lock_path(&self, name: &str) -> PathBuf {
        self.0.root.join("locks").join(name)
    }

    fn pending_folder(&self) -> PathBuf {
        self.0.root.join("pending")
    }

    fn spill_folder(&self) -> PathBuf {
        self.0.root.join("spill")
    }

    fn log(&self, table: Table) -> Box<dyn TableLog> {
        Box::new(DeltaLog::new(table, self.table_folder(table)))
    }

    /// The newest version of a table, by the shortest way: what is known, else what was saved, with the commits since
    /// on top, else the log.
    fn refresh(&self, table: Table) -> Result<Arc<TableSnapshot>> {
        let folder = self.table_folder(table);
        let known = self
            .0
            .snapshots
            .lock()
            .expect("no thread panics with it")
            .get(&table)
            .cloned();
        if let Some(known) = &known
            && let Some(version) = known.version()
            && !log::commit_path(&folder, version + 1).exists()
            // Old commits go, oldest first: while this one is there, the next has never been.
            && log::commit_path(&folder, version).exists()
        {
            return Ok(Arc::clone(known));
        }
        if !log::log_folder(&folder).is_dir() {
            return Ok(Arc::new(TableSnapshot::absent(table)));
        }
        let followed = match known.filter(|known| known.version().is_some()) {
            Some(known) => tail::follow(&known, &folder)?,
            None => match cache::load(table, &folder) {
                Some(saved) => tail::follow(&saved, &folder)?,
                None => None,
            },
        };
        let snapshot = match followed {
            Some(snapshot) => snapshot,
            None => {
                self.set_torn_commit_aside(table)?;
                match self.read_log(table)? {
                    Some(snapshot) => {
                        cache::save(&snapshot, &folder);
                        snapshot
                    }
                    None => TableSnapshot::absent(table),
                }
            }
        };
        Ok(self.remember(snapshot))
    }

    /// Reads the log, and once more when old commits were cleaned up meanwhile.
    fn read_log(&self, table: Table) -> Result<Option<TableSnapshot>> {
        let folder = self.table_folder(table);
        let oldest = || log::commit_versions(&folder).ok()?.first().copied();
        let before = oldest();
        match self.log(table).read() {
            Err(_) if oldest() != before => self.log(table).read(),
            read => read,
        }
    }

    /// Keeps a version for whoever asks next, in this process and, now and then, in the next.
    fn remember(&self, snapshot: TableSnapshot) -> Arc<TableSnapshot> {
        let snapshot = if snapshot.unsaved() > UNSAVED {
            cache::save(&snapshot, &self.table_folder(snapshot.table()));
            Arc::new(snapshot.saved())
        } else {
            Arc::new(snapshot)
        };
        let mut known = self.0.snapshots.lock().expect("no thread panics with it");
        known.insert(snapshot.table(), Arc::clone(&snapshot));
        snapshot
    }

    /// See [`Self::take_warnings`].
    fn warn(&self, warning: String) {
        self.0
            .warnings
            .lock()
            .expect("no thread panics with it")
            .push(warning);
    }

    /// A crash may leave a commit's file whose bytes never reached the disk. Nobody was told that it had succeeded,
    /// and while it is there no log can be read.
    fn set_torn_commit_aside(&self, table: Table) -> Result<()> {
        let folder = self.table_folder(table);
        let Some(newest) = log::commit_versions(&folder)?.pop() else {
            return Ok(());
        };
        let path = log::commit_path(&folder, newest);
        let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
        if !tail::is_torn(&text) {
            return Ok(());
        }
        let aside =
            path.with_file_name(format!(".torn-{newest:020}-{}.json", disk::random_name()?));
        match disk::rename(&path, &aside) {
            Ok(()) => disk::sync_parent(&path)?,
            // Somebody else was faster.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("rename", &path)(error)),
        }
        self.warn(format!(
            "table `{}`: commit {newest} was cut off by a crash before it was acknowledged; it is now `{}`, and what \
             it was to add can be ingested again",
            table.name(),
            aside.display()
        ));
        Ok(())
    }
}

fn secret_path(root: &Path) -> PathBuf {
    root.join("keys").join("input-hash.key")
}

fn read_secret(root: &Path) -> Result<[u8; 32]> {
    let path = secret_path(root);
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    bytes.try_into().map_err(|bytes: Vec<u8>| Error::Store {
        message: format!("`{}` has {} bytes, not 32", path.display(), bytes.len()),
        hint: Some("restore it from a backup: without it new hashes match no old one".into()),
    })
}

fn create(root: &Path) -> Result<()> {
    let occupied = match std::fs::read_dir(root) {
        // What an interrupted creation left is no obstacle.
        Ok(entries) => entries.flatten().any(|entry| {
            let name = entry.file_name();
            let is_folder = FOLDERS.iter().any(|folder| name == *folder);
            !is_folder && !disk::is_temporary(&name, MARKER)
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(Error::io("open", root)(error)),
    };
    if occupied {
        return Err(Error::Store {
            message: format!("`{}` is not a store, and not empty", root.display()),
            hint: Some("name an empty or a new folder".into()),
        });
    }
    disk::create_folder(root, Access::Shared)?;
    for private in FOLDERS {
        disk::create_folder(&root.join(private), Access::Private)?;
    }
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).map_err(|error| Error::Store {
        message: format!("no randomness from the system: {error}"),
        hint: None,
    })?;
    // When two create the store at once, the first secret stays.
    disk::write_new(&secret_path(root), &secret, Access::Private)?;
    disk::write_new(&root.join(MARKER), &Marker::bytes(false), Access::Shared).map(|_| ())
}

//! The keys of one store's tables, for who has the master key.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use parquet::encryption::decrypt::{FileDecryptionProperties, KeyRetriever};
use parquet::errors::ParquetError;

use super::material;
use super::ring::{Ring, TableKeys};
use super::secret::{Secret, TableKey};
use super::source::KeySource;
use crate::error::{Error, Result};
use crate::schema::Table;

/// Opens the keys of tables, when they are needed, and remembers them.
#[derive(Debug)]
pub(crate) struct Keychain {
    store: PathBuf,
    /// Whether the store is known to have a ring.
    has_ring: bool,
    source: KeySource,
    /// As they stood in the ring, and opened.
    opened: Mutex<HashMap<Table, Opened>>,
}

/// The keys of a table as they stand in the ring, and opened.
type Opened = (TableKeys, Arc<[TableKey]>);

impl Keychain {
    /// For the store in a folder.
    pub(crate) fn new(store: &Path, has_ring: bool, source: KeySource) -> Keychain {
        Keychain {
            store: store.to_path_buf(),
            has_ring,
            source,
            opened: Mutex::default(),
        }
    }

    /// The same store's, with keys from elsewhere.
    pub(crate) fn with_source(&self, source: KeySource) -> Keychain {
        Keychain::new(&self.store, self.has_ring, source)
    }

    /// Where master keys come from.
    pub(crate) fn source(&self) -> &KeySource {
        &self.source
    }

    /// The key ring as it is now.
    pub(crate) fn ring(&self) -> Result<Ring> {
        Ring::read(&self.store, self.has_ring)
    }

    /// The master keys that were given, which must not lie in the store.
    pub(crate) fn masters(&self) -> Result<Vec<Secret>> {
        self.source.refuse_inside(&self.store)?;
        self.source.read()
    }

    /// The keys of a table, oldest first; `None` when it is not encrypted. Every time the ring is looked at again, so
    /// that a program which goes on for long sees that keys were changed.
    pub(crate) fn keys(&self, table: Table) -> Result<Option<Arc<[TableKey]>>> {
        let ring = self.ring()?;
        let Some(sealed) = ring.table(table) else {
            return Ok(None);
        };
        let mut opened = self.opened.lock().expect("no thread panics with it");
        if let Some((known, keys)) = opened.get(&table)
            && known == sealed
        {
            return Ok(Some(Arc::clone(keys)));
        }
        let keys = self.open(table, sealed, &self.master(table, sealed)?)?;
        let keys: Arc<[TableKey]> = keys.into();
        opened.insert(table, (sealed.clone(), Arc::clone(&keys)));
        Ok(Some(keys))
    }

    /// The master key of a table.
    pub(crate) fn master(&self, table: Table, sealed: &TableKeys) -> Result<Secret> {
        let (name, wanted) = (table.name(), &sealed.master);
        let mut masters = self.masters()?;
        let Some(place) = masters.iter().position(|master| master.name() == *wanted) else {
            let (message, hint) = match masters.as_slice() {
                [] => (
                    format!("table `{name}` is encrypted, and no key was given"),
                    format!(
                        "`--key-file`, `--key-command` or the environment variable INFERWATCH_KEY gives the key `{wanted}`; \
                         what does not touch `{name}` needs none"
                    ),
                ),
                others => {
                    let others: Vec<String> = others
                        .iter()
                        .map(|other| format!("`{}`", other.name()))
                        .collect();
                    (
                        format!(
                            "table `{name}` is encrypted, and {} does not hold its key",
                            self.source
                        ),
                        format!(
                            "it is opened by the key `{wanted}`, and given was {}",
                            others.join(", ")
                        ),
                    )
                }
            };
            return Err(Error::Locked { message, hint });
        };
        Ok(masters.swap_remove(place))
    }

    /// The keys of a table, with its master key.
    pub(crate) fn open(
        &self,
        table: Table,
        sealed: &TableKeys,
        master: &Secret,
    ) -> Result<Vec<TableKey>> {
        sealed.open(master).ok_or_else(|| Error::Store {
            message: format!(
                "`{}` is damaged: the keys of table `{}` cannot be opened, though the master key is theirs",
                Ring::path(&self.store).display(),
                table.name()
            ),
            hint: Some("restore it from a backup".to_owned()),
        })
    }

    /// What the files of a table are read with; `None` when it is not encrypted.
    pub(crate) fn decryption(
        self: &Arc<Self>,
        table: Table,
    ) -> Result<Option<Arc<FileDecryptionProperties>>> {
        if self.keys(table)?.is_none() {
            return Ok(None);
        }
        let retriever = Arc::new(OfTable {
            keychain: Arc::clone(self),
            table,
        });
        Ok(Some(
            FileDecryptionProperties::with_key_retriever(retriever).build()?,
        ))
    }
}

/// A file needs a key that the ring does not have: the ring was replaced.
pub(crate) fn unknown_key(path: &Path, key: &str) -> Error {
    Error::Locked {
        message: format!(
            "`{}` is encrypted with the key `{key}`, which the store's key ring does not have",
            path.display()
        ),
        hint: "restore `keys/ring.json` from a backup".to_owned(),
    }
}

/// Finds the keys of one table's files, and of no other's.
struct OfTable {
    keychain: Arc<Keychain>,
    table: Table,
}

impl OfTable {
    fn key(&self, material: &[u8]) -> Result<Vec<u8>> {
        let wrong = |what: String| {
            Error::Store {
            message: format!("table `{}`: a file {what}", self.table.name()),
            hint: Some(
                "if `keys/ring.json` was replaced, restore it from a backup; else the file is damaged".to_owned(),
            ),
        }
        };
        let Some((name, wrapped)) = material::read(material) else {
            return Err(wrong("is encrypted by another program".to_owned()));
        };
        let keys = self.keychain.keys(self.table)?.unwrap_or_default();
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            return Err(unknown_key(Path::new(self.table.name()), &name));
        };
        match key.secret.unwrap(&wrapped, &name) {
            Some(own) => Ok(own.bytes().to_vec()),
            None => Err(wrong(format!(
                "says that its key is encrypted with `{name}`, and it is not"
            ))),
        }
    }
}

impl KeyRetriever for OfTable {
    fn retrieve_key(&self, material: &[u8]) -> parquet::errors::Result<Vec<u8>> {
        self.key(material)
            .map_err(|error| ParquetError::External(Box::new(error)))
    }
}

//! The key ring: the keys of a store's tables, each encrypted with a master key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::secret::{Secret, TableKey};
use crate::error::{Error, Result};
use crate::schema::Table;

/// What the file says of its own form.
const FORMAT: u64 = 1;

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ring {
    format: u64,
    /// The tables that are encrypted.
    tables: BTreeMap<String, TableKeys>,
}

/// The keys of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableKeys {
    /// Which master key opens them.
    pub(crate) master: String,
    /// Oldest first; files are written with the last.
    pub(crate) keys: Vec<WrappedKey>,
}

/// A key of a table, encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WrappedKey {
    /// Its name: the table, a number, and something random, so that no two stores have a name in common.
    pub(crate) name: String,
    /// When it was made, microseconds since the epoch.
    pub(crate) created: i64,
    /// Encrypted with the master key, with its name as the purpose.
    wrapped: String,
}

impl Default for Ring {
    fn default() -> Ring {
        Ring {
            format: FORMAT,
            tables: BTreeMap::new(),
        }
    }
}

impl Ring {
    /// Where a store has it.
    pub(crate) fn path(store: &Path) -> PathBuf {
        store.join("keys").join("ring.json")
    }

    /// The ring of a store; empty when it has none and `is_expected` to have none.
    pub(crate) fn read(store: &Path, is_expected: bool) -> Result<Ring> {
        let path = Ring::path(store);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let damaged = |what: String| Error::Store {
            message: format!("`{}` {what}", path.display()),
            hint: Some(
                "restore it from a backup: without it no encrypted file can be read".to_owned(),
            ),
        };
        let Some(bytes) = bytes else {
            // Nothing may be written in clear because the ring was lost.
            return match is_expected {
                true => Err(damaged("is gone".to_owned())),
                false => Ok(Ring::default()),
            };
        };
        let ring: Ring = serde_json::from_slice(&bytes)
            .map_err(|error| damaged(format!("is damaged: {error}")))?;
        if ring.format != FORMAT {
            return Err(damaged(
                "is of a version that this program does not know".to_owned(),
            ));
        }
        Ok(ring)
    }

    /// What to write to the file.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| Error::Store {
            message: format!("key ring: {error}"),
            hint: None,
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The keys of a table; `None` when it is not encrypted.
    pub(crate) fn table(&self, table: Table) -> Option<&TableKeys> {
        self.tables.get(table.name())
    }

    /// The tables that are encrypted.
    pub(crate) fn tables(&self) -> impl Iterator<Item = Table> + '_ {
        self.tables.keys().filter_map(|name| Table::from_name(name))
    }

    /// Begins to encrypt a table.
    pub(crate) fn add(&mut self, table: Table, master: &Secret, at: i64) -> Result<()> {
        let mut keys = TableKeys {
            master: master.name(),
            keys: Vec::new(),
        };
        keys.begin(table, master, at)?;
        self.tables.insert(table.name().to_owned(), keys);
        Ok(())
    }

    /// Puts a table's keys under another master key, and begins a new one.
    pub(crate) fn rotate(
        &mut self,
        table: Table,
        keys: &[TableKey],
        master: &Secret,
        at: i64,
    ) -> Result<()> {
        let Some(of_table) = self.tables.get_mut(table.name()) else {
            return Ok(());
        };
        of_table.master = master.name();
        for (wrapped, key) in of_table.keys.iter_mut().zip(keys) {
            wrapped.wrapped = master.wrap(&key.secret, &key.name)?;
        }
        of_table.begin(table, master, at)
    }
}

/// The table that a key is for, by the key's name.
pub(crate) fn table_of(key: &str) -> Option<Table> {
    Table::from_name(key.split('.').next()?)
}

impl TableKeys {
    fn begin(&mut self, table: Table, master: &Secret, at: i64) -> Result<()> {
        let key = Secret::random()?;
        let name = format!(
            "{}.{}.{}",
            table.name(),
            self.keys.len() + 1,
            &Secret::random()?.name()[..8]
        );
        self.keys.push(WrappedKey {
            wrapped: master.wrap(&key, &name)?,
            name,
            created: at,
        });
        Ok(())
    }

    /// The keys, opened; `None` when one cannot be opened with this master key.
    pub(crate) fn open(&self, master: &Secret) -> Option<Vec<TableKey>> {
        self.keys
            .iter()
            .map(|key| {
                Some(TableKey {
                    secret: master.unwrap(&key.wrapped, &key.name)?,
                    name: key.name.clone(),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_master_key_opens_the_same_keys_and_the_old_one_none() {
        let (old, new) = (
            Secret::random().expect("a key"),
            Secret::random().expect("a key"),
        );
        let mut ring = Ring::default();
        ring.add(Table::Content, &old, 1).expect("added");
        let before = ring.table(Table::Content).expect("there").open(&old);
        let before = before.expect("opened");
        ring.rotate(Table::Content, &before, &new, 2)
            .expect("rotated");
        let keys = ring.table(Table::Content).expect("there");
        assert_eq!(keys.master, new.name());
        assert!(keys.open(&old).is_none());
        let after = keys.open(&new).expect("opened");
        assert_eq!(after.len(), 2);
        assert_eq!(after[0].secret, before[0].secret);
        assert_ne!(after[1].secret, before[0].secret);
        assert!(after[1].name.starts_with("content.2."), "{}", after[1].name);
    }

    #[test]
    fn a_ring_is_read_as_it_was_written_and_never_guessed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Ring::path(folder.path());
        std::fs::create_dir(path.parent().expect("a folder")).expect("made");
        assert_eq!(
            Ring::read(folder.path(), false).expect("none"),
            Ring::default()
        );
        assert!(Ring::read(folder.path(), true).is_err(), "it was lost");
        let master = Secret::random().expect("a key");
        let mut ring = Ring::default();
        ring.add(Table::Content, &master, 7).expect("added");
        std::fs::write(&path, ring.to_bytes().expect("bytes")).expect("written");
        assert_eq!(Ring::read(folder.path(), true).expect("read"), ring);
        for damaged in ["", "{}", r#"{"format": 2, "tables": {}}"#] {
            std::fs::write(&path, damaged).expect("written");
            assert!(Ring::read(folder.path(), false).is_err(), "{damaged}");
        }
    }
}

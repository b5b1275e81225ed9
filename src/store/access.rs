//! Reading and writing tables that are encrypted: which need a key, and that it is told when one is opened.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::common::config::EncryptionFactoryOptions;
use datafusion::error::Result as QueryResult;
use datafusion::execution::parquet_encryption::EncryptionFactory;
use object_store::path::Path as ObjectPath;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::encryption::decrypt::FileDecryptionProperties;
use parquet::encryption::encrypt::FileEncryptionProperties;

use crate::error::{Error, Result};
use crate::keys::{self, KeySource, Keychain, TableKey};
use crate::schema::Table;
use crate::store::Store;
use crate::store::data_file;
use crate::store::journal::Entry;
use crate::store::verify::chain;

/// What the files of a table are read with; `None` when it is not encrypted.
pub(crate) type Reading = Option<Arc<FileDecryptionProperties>>;

/// Who opens tables, with what, and which were opened.
#[derive(Debug)]
pub(super) struct Access {
    keychain: Arc<Keychain>,
    /// What they are opened for, as the name of a command.
    purpose: String,
    told: Mutex<BTreeSet<Table>>,
}

impl Access {
    pub(super) fn new(keychain: Keychain, purpose: &str) -> Access {
        Access {
            keychain: Arc::new(keychain),
            purpose: purpose.to_owned(),
            told: Mutex::default(),
        }
    }
}

impl Store {
    /// The same store, with a source of keys, for a purpose that `audit` names when they are used: the name of a command.
    /// Tables that are not encrypted need none.
    #[must_use]
    pub fn with_keys(&self, source: KeySource, purpose: &str) -> Store {
        let access = Access::new(self.keychain().with_source(source), purpose);
        Store::made(self.root().to_path_buf(), *self.secret(), access)
    }

    pub(crate) fn keychain(&self) -> &Keychain {
        &self.0.access.keychain
    }

    /// Whether new files of a table are encrypted.
    ///
    /// # Errors
    /// When the key ring cannot be read.
    pub fn is_encrypted(&self, table: Table) -> Result<bool> {
        Ok(self.keychain().ring()?.table(table).is_some())
    }

    /// Why a table cannot be read or written: it is encrypted, and its key is not at hand. `None` when it can.
    ///
    /// # Errors
    /// When the key ring cannot be read, or the source of keys does not work.
    pub fn lock_on(&self, table: Table) -> Result<Option<Error>> {
        match self.keychain().keys(table) {
            Ok(_) => Ok(None),
            Err(error @ Error::Locked { .. }) => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    /// The key that new files of a table are encrypted with.
    pub(super) fn writing(&self, table: Table) -> Result<Option<TableKey>> {
        let keys = self.keychain().keys(table)?;
        Ok(keys.and_then(|keys| keys.last().cloned()))
    }

    /// What files of a table are read with. The first time that a table is opened so, it becomes a row of `audit`, and
    /// when that cannot be written the table stays shut.
    pub(crate) fn reading(&self, table: Table) -> Result<Reading> {
        let access = &self.0.access;
        let Some(reading) = access.keychain.decryption(table)? else {
            return Ok(None);
        };
        // Whoever comes second waits until it is written down.
        let mut told = access.told.lock().expect("no thread panics with it");
        if !told.contains(&table) {
            let mut entry = Entry::new("unlock", chrono::Utc::now().timestamp_micros())
                .resource(table.name())
                .detail("command", access.purpose.as_str())
                .detail("key_from", access.keychain.source().kind());
            if let Some(user) = user_id() {
                entry = entry.detail("uid", user);
            }
            entry.write(self).map_err(|error| Error::Locked {
                message: format!(
                    "table `{}` stays shut: that it is opened cannot be written to `audit`: {}",
                    table.name(),
                    chain(&error)
                ),
                hint: "an encrypted table is read only where that leaves a trace; copy the store to where it can be written"
                    .to_owned(),
            })?;
            told.insert(table);
        }
        Ok(Some(reading))
    }
}

/// Who the system says this is: names in the environment are easily changed.
#[cfg(target_os = "linux")]
fn user_id() -> Option<u32> {
    let of_process = std::fs::metadata("/proc/self").ok()?;
    Some(std::os::unix::fs::MetadataExt::uid(&of_process))
}

#[cfg(not(target_os = "linux"))]
fn user_id() -> Option<u32> {
    None
}

impl Store {
    /// All rows of a data file: see [`data_file::read`].
    pub(crate) fn read_file(
        &self,
        table: Table,
        path: &Path,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        data_file::read(table, path, &self.reading(table)?)
    }

    /// Opens a Parquet file of the store, whatever it is part of. If it is encrypted it says itself of which table.
    pub(crate) fn open_any(&self, path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
        let key = keys::key_named_in(path)?;
        let table = key.as_deref().and_then(keys::table_of);
        let reading = table.map_or(Ok(None), |table| self.reading(table))?;
        data_file::open(path, &reading)
    }
}

/// Gives DataFusion's scan what it reads files with.
#[derive(Debug)]
pub(super) struct FileKeys(pub(super) Arc<FileDecryptionProperties>);

#[async_trait]
impl EncryptionFactory for FileKeys {
    async fn get_file_encryption_properties(
        &self,
        _config: &EncryptionFactoryOptions,
        _schema: &SchemaRef,
        _file_path: &ObjectPath,
    ) -> QueryResult<Option<Arc<FileEncryptionProperties>>> {
        // Queries write nothing.
        Ok(None)
    }

    async fn get_file_decryption_properties(
        &self,
        _config: &EncryptionFactoryOptions,
        _file_path: &ObjectPath,
    ) -> QueryResult<Option<Arc<FileDecryptionProperties>>> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

//! The key of a data file, in the file: as the key material that Arrow, parquet-java and Spark write and read, with the
//! table's key as what they call the master key. Their readers need a client for a key service that unwraps with it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex};

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::encryption::decrypt::{FileDecryptionProperties, KeyRetriever};
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};

use super::secret::{Secret, TableKey};
use crate::error::{Error, Result};

/// What a file that is encrypted as a whole ends with.
const MAGIC: &[u8; 4] = b"PARE";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyMaterial {
    key_material_type: String,
    internal_storage: bool,
    is_footer_key: bool,
    #[serde(rename = "kmsInstanceID")]
    kms_instance_id: String,
    #[serde(rename = "kmsInstanceURL")]
    kms_instance_url: String,
    #[serde(rename = "masterKeyID")]
    master_key_id: String,
    #[serde(rename = "wrappedDEK")]
    wrapped_dek: String,
    double_wrapping: bool,
}

/// How to encrypt one more file: with a key of its own.
pub(crate) fn encryption(key: &TableKey) -> Result<Arc<FileEncryptionProperties>> {
    let own = Secret::random()?;
    let material = KeyMaterial {
        key_material_type: "PKMT1".to_owned(),
        internal_storage: true,
        is_footer_key: true,
        kms_instance_id: "inferwatch".to_owned(),
        kms_instance_url: "DEFAULT".to_owned(),
        master_key_id: key.name.clone(),
        wrapped_dek: key.secret.wrap(&own, &key.name)?,
        double_wrapping: false,
    };
    let material = serde_json::to_vec(&material).map_err(|error| Error::Store {
        message: format!("key material: {error}"),
        hint: None,
    })?;
    Ok(FileEncryptionProperties::builder(own.bytes().to_vec())
        .with_footer_key_metadata(material)
        .build()?)
}

/// The table's key that a file was encrypted with, and its own key encrypted with that.
pub(super) fn read(material: &[u8]) -> Option<(String, String)> {
    let material: KeyMaterial = serde_json::from_slice(material).ok()?;
    (!material.double_wrapping).then_some((material.master_key_id, material.wrapped_dek))
}

/// Which key a file needs, by its name; `None` for one that is not encrypted. No key is needed to know.
pub(crate) fn key_named_in(path: &Path) -> Result<Option<String>> {
    let failed = || Error::io("read", path);
    let mut file = File::open(path).map_err(failed())?;
    let mut end = [0; 4];
    let length = file.metadata().map_err(failed())?.len();
    if length < 4 {
        return Ok(None);
    }
    file.seek(SeekFrom::End(-4))
        .and_then(|_| file.read_exact(&mut end))
        .map_err(failed())?;
    if end != *MAGIC {
        return Ok(None);
    }
    // The reader finds the key material, and asks for the key; that it gets none is no matter.
    let asked = Arc::new(Asked::default());
    let retriever = Arc::clone(&asked) as Arc<dyn KeyRetriever>;
    let keys = FileDecryptionProperties::with_key_retriever(retriever).build()?;
    let options = ArrowReaderOptions::new().with_file_decryption_properties(keys);
    let _ = ArrowReaderMetadata::load(&file, options);
    let material = asked.0.lock().expect("no thread panics with it").take();
    match material.as_deref().and_then(read) {
        Some((name, _)) => Ok(Some(name)),
        None => Err(Error::Store {
            message: format!(
                "`{}` is encrypted, and does not say with which key",
                path.display()
            ),
            hint: Some("it is damaged, or another program has written it".to_owned()),
        }),
    }
}

/// Remembers what it was asked for.
#[derive(Default)]
struct Asked(Mutex<Option<Vec<u8>>>);

impl KeyRetriever for Asked {
    fn retrieve_key(&self, material: &[u8]) -> parquet::errors::Result<Vec<u8>> {
        *self.0.lock().expect("no thread panics with it") = Some(material.to_vec());
        Err(ParquetError::General("no key".to_owned()))
    }
}

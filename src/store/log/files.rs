//! The files of a log, by their names.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::store::cache;

/// The folder of a table's log.
pub(in crate::store) fn log_folder(table_folder: &Path) -> PathBuf {
    table_folder.join("_delta_log")
}

/// The file of a commit.
pub(in crate::store) fn commit_path(table_folder: &Path, version: u64) -> PathBuf {
    log_folder(table_folder).join(format!("{version:020}.json"))
}

/// Whether a table has a log. A crash may have left the log's folder with nothing in it, or with a first version that
/// never got its name. But where a snapshot was saved there was a version, and that it is gone is for the kernel to say.
pub(super) fn is_begun(table_folder: &Path) -> Result<bool> {
    let folder = log_folder(table_folder);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("list", &folder)(error)),
    };
    for entry in entries {
        let name = entry.map_err(Error::io("list", &folder))?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            return Ok(true);
        }
    }
    Ok(cache::is_saved(table_folder))
}

/// The versions of the commits in a log, in order.
pub(in crate::store) fn commit_versions(table_folder: &Path) -> Result<Vec<u64>> {
    let folder = log_folder(table_folder);
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
        let name = entry.map_err(Error::io("list", &folder))?.file_name();
        let version = name.to_str().and_then(|name| name.strip_suffix(".json"));
        versions.extend(
            version
                .filter(|version| version.len() == 20)
                .and_then(|version| version.parse::<u64>().ok()),
        );
    }
    versions.sort_unstable();
    Ok(versions)
}

/// The versions that a log has checkpoints of, in order.
pub(in crate::store) fn checkpoint_versions(table_folder: &Path) -> Result<Vec<u64>> {
    let folder = log_folder(table_folder);
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
        let name = entry.map_err(Error::io("list", &folder))?.file_name();
        let version = name
            .to_str()
            .and_then(|name| name.strip_suffix(".checkpoint.parquet"));
        versions.extend(version.and_then(|version| version.parse::<u64>().ok()));
    }
    versions.sort_unstable();
    Ok(versions)
}

/// The file of a checkpoint.
pub(in crate::store) fn checkpoint_path(table_folder: &Path, version: u64) -> PathBuf {
    log_folder(table_folder).join(format!("{version:020}.checkpoint.parquet"))
}

//! Folders that a test fills once and uses often.

use std::fs;
use std::path::{Path, PathBuf};

/// Copies all that is in a folder into another.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.expect("listed");
        let target = to.join(entry.path().strip_prefix(from).expect("below"));
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target).expect("a folder");
        } else {
            fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}

/// The files below a folder, as far as they stay there while somebody looks.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.into_path())
        .collect()
}

/// How many files and folders the store `store` of a folder has. They come and go while they are counted.
pub(crate) fn entries(folder: &Path) -> usize {
    let store = walkdir::WalkDir::new(folder.join("store"));
    store.into_iter().filter_map(Result::ok).count()
}

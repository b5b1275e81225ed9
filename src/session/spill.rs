//! Where a query puts rows that do not fit in memory.
//!
//! Such rows may hold prompts, so the folder is open to its owner alone and goes with the session. One that a killed
//! process left behind is removed by the next session.

use std::fs::File;
use std::path::Path;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use tempfile::TempDir;

use crate::error::{Error, Result};

/// Names of spill folders: this and a random part.
const PREFIX: &str = ".inferwatch-spill-";
/// The file in it that its session keeps locked. A lock, unlike a process id, also holds between containers.
const LOCK: &str = "lock";

/// A private folder that is removed when dropped.
#[derive(Debug)]
pub(super) struct SpillFolder {
    folder: TempDir,
    _lock: File,
}

impl SpillFolder {
    /// Makes one in `parent`, or in the system's temporary folder when that is absent or cannot be written.
    pub(super) fn create(parent: Option<&Path>) -> Result<SpillFolder> {
        if let Some(parent) = parent.filter(|parent| parent.is_dir())
            && let Ok(spill) = make(parent)
        {
            return Ok(spill);
        }
        let parent = std::env::temp_dir();
        make(&parent).map_err(Error::io("make a spill folder in", &parent))
    }

    /// Tells DataFusion to spill here.
    pub(super) fn disk_manager(&self) -> DiskManagerBuilder {
        DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![
            self.folder.path().to_path_buf(),
        ]))
    }
}

fn make(parent: &Path) -> std::io::Result<SpillFolder> {
    remove_abandoned(parent);
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    let folder = builder.tempdir_in(parent)?;
    let lock = File::create_new(folder.path().join(LOCK))?;
    lock.lock()?;
    Ok(SpillFolder {
        folder,
        _lock: lock,
    })
}

/// Removes folders whose session is gone. One without a lock file is just being made.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    let spills = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
    });
    for entry in spills {
        if let Ok(lock) = File::open(entry.path().join(LOCK))
            && lock.try_lock().is_ok()
        {
            // Another session may be removing it too, or it may belong to someone else: either way it is not ours.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_folder_is_private_and_goes_with_its_owner() {
        use std::os::unix::fs::PermissionsExt;

        let parent = TempDir::new().unwrap();
        let spill = SpillFolder::create(Some(parent.path())).unwrap();
        let path = spill.folder.path().to_path_buf();
        assert!(path.starts_with(parent.path()));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        drop(spill);
        assert!(!path.exists());
    }

    #[test]
    fn folders_of_dead_sessions_are_removed_and_live_ones_kept() {
        let parent = TempDir::new().unwrap();
        let dead = parent.path().join(format!("{PREFIX}dead"));
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join(LOCK), "").unwrap();
        let live = SpillFolder::create(Some(parent.path())).unwrap();
        assert!(!dead.exists());
        let second = SpillFolder::create(Some(parent.path())).unwrap();
        assert!(live.folder.path().exists() && second.folder.path().exists());
    }

    #[test]
    fn a_missing_parent_falls_back_to_the_systems_folder() {
        let spill = SpillFolder::create(Some(Path::new("/nowhere/at/all"))).unwrap();
        assert!(spill.folder.path().starts_with(std::env::temp_dir()));
    }
}

//! Locks on files of the store, which end with their process.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Waits for the lock at `path`; it is free again when the file is dropped, or its process dies.
pub(crate) fn lock(path: &Path, patience: Duration) -> Result<File> {
    wait_for(path, patience, File::try_lock)
}

/// As [`lock`], beside others that ask for no more than this.
pub(crate) fn lock_shared(path: &Path, patience: Duration) -> Result<File> {
    wait_for(path, patience, File::try_lock_shared)
}

fn wait_for(
    path: &Path,
    patience: Duration,
    attempt: fn(&File) -> std::result::Result<(), TryLockError>,
) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(Error::io("open", path))?;
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match attempt(&file) {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() < patience => {
                std::thread::sleep(pause);
                pause = (2 * pause).min(Duration::from_millis(100));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Store {
                    message: format!("the store is in use: `{}` is locked", path.display()),
                    hint: Some(
                        "another inferwatch is at work on this store; wait until it has ended"
                            .into(),
                    ),
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
        }
    }
}

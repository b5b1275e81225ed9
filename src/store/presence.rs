//! Who is at work on a store: a process says so for as long as it lives, and leaves a note for who asks.
//!
//! The note means nothing without the lock beside it, which the system takes back however the process ends.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::store::disk::{self, Access};
use crate::store::{Store, commit};

/// A process at work; until it is dropped.
#[derive(Debug)]
pub struct Presence {
    lock_path: PathBuf,
    /// Held, not read.
    _lock: File,
}

impl Presence {
    /// Leaves a note in place of the last one. It need not survive a crash, as the process would not either.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&self, note: &Value) -> Result<()> {
        let text = format!("{note}\n");
        disk::replace_unsynced(
            &note_path(&self.lock_path),
            text.as_bytes(),
            Access::Private,
        )
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        remove(&self.lock_path);
    }
}

fn note_path(lock_path: &Path) -> PathBuf {
    lock_path.with_extension("json")
}

/// The note goes first: without it nobody looks at the lock.
fn remove(lock_path: &Path) {
    let _ = std::fs::remove_file(note_path(lock_path));
    let _ = std::fs::remove_file(lock_path);
}

impl Store {
    /// Says that this process is at work as something, as `scheduler`. Any number can be.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn announce(&self, role: &str) -> Result<Presence> {
        let lock_path = self.lock_path(&format!("{role}-{}", disk::random_name()?));
        let lock = commit::lock(&lock_path, Duration::from_secs(10))?;
        Ok(Presence {
            lock_path,
            _lock: lock,
        })
    }

    /// The right to do something that one process does for all; `None` while another has it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn try_alone(&self, task: &str) -> Result<Option<File>> {
        let path = self.lock_path(task);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        }
    }

    /// The notes of those that are at work as something, in no order. What the dead have left is removed.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn present(&self, role: &str) -> Result<Vec<Value>> {
        let folder = self.root().join("locks");
        let mut notes = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
            let path = entry.map_err(Error::io("list", &folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_of_role = name
                .strip_prefix(role)
                .is_some_and(|rest| rest.starts_with('-') && rest.ends_with(".json"));
            if !is_of_role {
                continue;
            }
            let lock_path = path.with_extension("");
            let is_alive = File::open(&lock_path).is_ok_and(|lock| lock.try_lock_shared().is_err());
            if !is_alive {
                remove(&lock_path);
                continue;
            }
            // It may end between one look and the next.
            let note = std::fs::read(&path).ok();
            notes.extend(note.and_then(|note| serde_json::from_slice::<Value>(&note).ok()));
        }
        Ok(notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_there_for_as_long_as_its_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
        let present = |role| store.present(role).expect("a list");
        let (one, two) = (
            store.announce("scheduler").expect("announced"),
            store.announce("scheduler").expect("announced"),
        );
        assert_eq!(present("scheduler"), [Value::Null; 0]);
        one.note(&1.into()).expect("a note");
        one.note(&2.into()).expect("a note");
        two.note(&3.into()).expect("a note");
        let mut notes = present("scheduler");
        notes.sort_by_key(Value::as_i64);
        assert_eq!(notes, [Value::from(2), Value::from(3)]);
        assert_eq!(present("server"), [Value::Null; 0]);
        let alone = store.try_alone("upkeep").expect("a lock");
        assert!(alone.is_some());
        assert!(store.try_alone("upkeep").expect("a lock").is_none());
        drop(two);
        assert_eq!(present("scheduler"), [Value::from(2)]);
        // Killed: the lock is gone, and what it wrote is still there.
        let lock_path = one.lock_path.clone();
        let note = std::fs::read(note_path(&lock_path)).expect("a note");
        drop(one);
        std::fs::write(&lock_path, b"").expect("written");
        std::fs::write(note_path(&lock_path), note).expect("written");
        assert_eq!(present("scheduler"), [Value::Null; 0]);
        assert!(!note_path(&lock_path).exists());
    }
}

//! A durable notebook beside the tables: a file with a JSON value a line, which is appended to and now and then
//! written anew as a whole.
//!
//! An append returns once it is on the disk, so a line that is there has happened. A crash may leave the last line cut
//! off; whoever was writing it was never told that it is there, and the next reader leaves it out. Writers hold the
//! notebook's lock.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Store;
use super::commit;
use super::disk::{self, Access};
use crate::error::{Error, Result};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Notebook {
    path: PathBuf,
    lock: PathBuf,
    /// What was read, and how far: which file, and its length.
    read: Option<(u64, u64)>,
}

/// What a reader finds.
#[derive(Debug)]
pub(crate) enum Pages<T> {
    /// Nobody has written since it was last read or written here.
    Same,
    /// All lines, in order.
    Anew(Vec<T>),
}

impl Notebook {
    /// The notebook of that name in a folder of the store.
    pub(crate) fn of(store: &Store, folder: &str, name: &str) -> Notebook {
        Notebook {
            path: store.root().join(folder).join(name),
            lock: store.lock_path(&format!("{folder}-{name}")),
            read: None,
        }
    }

    /// Keeps others from writing until it is dropped; `None` when somebody else is.
    pub(crate) fn lock(&self, patience: Duration) -> Result<Option<File>> {
        match commit::lock(&self.lock, patience) {
            Ok(file) => Ok(Some(file)),
            Err(Error::Store { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the lines, if there is any that is not known.
    pub(crate) fn read<T: DeserializeOwned>(&mut self) -> Result<Pages<T>> {
        let identity = identity(&self.path)?;
        if identity.is_some() && identity == self.read {
            return Ok(Pages::Same);
        }
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("read", &self.path)(error)),
        };
        let mut lines = Vec::new();
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', &bytes) {
            match serde_json::from_slice(&bytes[begin..end]) {
                Ok(line) => lines.push(line),
                // Cut off by a crash, or never on the disk.
                Err(_) if end + 1 == bytes.len() => break,
                Err(error) => {
                    return Err(Error::Store {
                        message: format!(
                            "`{}` is damaged at byte {begin}: {error}",
                            self.path.display()
                        ),
                        hint: Some("restore it from a backup, or move it away: then it begins anew from now".into()),
                    });
                }
            }
            begin = end + 1;
        }
        self.read = identity.map(|(file, _)| (file, begin as u64));
        Ok(Pages::Anew(lines))
    }

    /// Adds a line. For who holds the lock and has read.
    pub(crate) fn append<T: Serialize>(&mut self, line: &T) -> Result<()> {
        let bytes = bytes_of(line)?;
        let Some((file_id, length)) = self.read else {
            return self.rewrite(line);
        };
        let wrong = || Error::io("write", &self.path);
        let mut file = OpenOptions::new()
            .append(true)
            .open(&self.path)
            .map_err(wrong())?;
        // What a crash or a full disk has left of a line goes first.
        if file.metadata().map_err(wrong())?.len() > length {
            file.set_len(length).map_err(wrong())?;
        }
        file.write_all(&bytes)
            .and_then(|()| file.sync_data())
            .map_err(wrong())?;
        self.read = Some((file_id, length + bytes.len() as u64));
        Ok(())
    }

    /// Writes it anew with one line. For who holds the lock.
    pub(crate) fn rewrite<T: Serialize>(&mut self, line: &T) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        disk::create_folder(folder, Access::Private)?;
        disk::replace(&self.path, &bytes_of(line)?, Access::Private)?;
        self.read = identity(&self.path)?;
        Ok(())
    }
}

fn bytes_of<T: Serialize>(line: &T) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line).map_err(|error| Error::Store {
        message: format!("cannot be written as JSON: {error}"),
        hint: None,
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Which file it is, and its length; `None` when there is none.
fn identity(path: &Path) -> Result<Option<(u64, u64)>> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    #[cfg(unix)]
    let file = std::os::unix::fs::MetadataExt::ino(&metadata);
    // Elsewhere a file that was replaced is told by its time.
    #[cfg(not(unix))]
    let file = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_nanos() as u64);
    Ok(Some((file, metadata.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notebook() -> (tempfile::TempDir, Notebook) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open_or_create(&folder.path().join("s")).expect("a store");
        let notebook = Notebook::of(&store, "sinks", "one");
        (folder, notebook)
    }

    fn lines(notebook: &mut Notebook) -> Vec<i64> {
        match notebook.read().expect("reads") {
            Pages::Anew(lines) => lines,
            Pages::Same => panic!("it has changed"),
        }
    }

    #[test]
    fn what_was_appended_is_there() {
        let (_folder, mut notebook) = notebook();
        assert_eq!(lines(&mut notebook), [0_i64; 0]);
        for line in 1..=3 {
            notebook.append(&line).expect("appends");
        }
        assert!(matches!(notebook.read::<i64>(), Ok(Pages::Same)));
        notebook.read = None;
        assert_eq!(lines(&mut notebook), [1, 2, 3]);
        notebook.rewrite(&9).expect("writes");
        notebook.append(&10).expect("appends");
        notebook.read = None;
        assert_eq!(lines(&mut notebook), [9, 10]);
    }

    #[test]
    fn a_line_that_was_cut_off_was_never_there() {
        let (_folder, mut notebook) = notebook();
        notebook.append(&1).expect("appends");
        notebook.append(&2).expect("appends");
        for tail in ["[1, 2", "[1, 2\n", "\0\0\0\0"] {
            let mut file = OpenOptions::new()
                .append(true)
                .open(&notebook.path)
                .expect("opens");
            file.write_all(tail.as_bytes()).expect("writes");
            notebook.read = None;
            assert_eq!(lines(&mut notebook), [1, 2], "{tail:?}");
            notebook.append(&3).expect("appends over it");
            notebook.read = None;
            assert_eq!(lines(&mut notebook), [1, 2, 3], "{tail:?}");
            notebook.rewrite(&1).expect("writes");
            notebook.append(&2).expect("appends");
        }
    }

    #[test]
    fn damage_before_the_end_is_told() {
        let (_folder, mut notebook) = notebook();
        notebook.append(&1).expect("appends");
        std::fs::write(&notebook.path, "1\nx\n3\n").expect("writes");
        let error = notebook.read::<i64>().expect_err("is damaged");
        assert!(
            error.to_string().contains("is damaged at byte 2"),
            "{error}"
        );
    }

    #[test]
    fn what_another_has_written_is_read() {
        let (_folder, mut one) = notebook();
        one.append(&1).expect("appends");
        let mut other = Notebook {
            path: one.path.clone(),
            lock: one.lock.clone(),
            read: None,
        };
        assert_eq!(lines(&mut other), [1]);
        other.append(&2).expect("appends");
        assert_eq!(lines(&mut one), [1, 2]);
        let _held = one.lock(Duration::ZERO).expect("locks").expect("is free");
        assert!(other.lock(Duration::ZERO).expect("tries").is_none());
    }
}

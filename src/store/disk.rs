//! Files that survive a crash: every function here returns only once its effect is on the disk.
//!
//! A file is durable when its bytes are synchronised and so is every folder that had to change for its name to be
//! found. Permissions are the owner's alone for whatever is private. Reading needs none of this and is not here.
//!
//! Whatever changes the disk is done by the functions at the end of this file, and nowhere else in the store, so that
//! tests can stop the program before any of it: see [`faults`].

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::faults;

/// Who may open a folder or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Whatever the process's mask says.
    Shared,
    /// The owner alone.
    Private,
}

/// Who may open the folders and files of a table.
pub(super) fn access(table: Table) -> Access {
    if table.is_restricted() {
        Access::Private
    } else {
        Access::Shared
    }
}

/// Creates the folder and every missing one above it.
pub(super) fn create_folder(path: &Path, access: Access) -> Result<()> {
    create_folders(path, access, &sync_parent)
}

/// As [`create_folder`], for who synchronises every folder later.
pub(super) fn create_folder_unsynced(path: &Path, access: Access) -> Result<()> {
    create_folders(path, access, &|_| Ok(()))
}

fn create_folders(
    path: &Path,
    access: Access,
    created: &dyn Fn(&Path) -> Result<()>,
) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    match make_folder(path, access) {
        Ok(()) => created(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = path.parent().ok_or(error);
            create_folders(parent.map_err(Error::io("create", path))?, access, created)?;
            create_folders(path, access, created)
        }
        Err(error) => Err(Error::io("create", path)(error)),
    }
}

/// Makes a file last that somebody else has written, and gives it the permissions it should have.
pub(super) fn sync_file(path: &Path, access: Access) -> Result<()> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    #[cfg(unix)]
    if access == Access::Private {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        file.set_permissions(mode)
            .map_err(Error::io("set the permissions of", path))?;
    }
    faults::created(path);
    faults::written(path);
    sync(&file, path).map_err(Error::io("synchronise", path))?;
    sync_parent(path)
}

/// Synchronises a folder, so that the names in it last.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let sync = || {
        faults::before(path)?;
        if !faults::is_armed(path) {
            File::open(path)?.sync_all()?;
        }
        faults::synced_folder(path);
        Ok(())
    };
    sync().map_err(Error::io("synchronise", path))
}

/// Synchronises the folder that holds `path`.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// Writes a file as a whole: a reader sees all of `bytes` or no such file. Says `false`, and changes nothing, when
/// the file exists already.
pub(super) fn write_new(path: &Path, bytes: &[u8], access: Access) -> Result<bool> {
    let temporary = write_temporary(path, bytes, access)?;
    // A link, unlike a rename, fails when the name is taken.
    let linked = link(&temporary, path);
    remove_file(&temporary).map_err(Error::io("remove", &temporary))?;
    match linked {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::io("create", path)(error)),
    }
}

/// Writes a file as a whole, in place of one that may exist.
pub(super) fn replace(path: &Path, bytes: &[u8], access: Access) -> Result<()> {
    let temporary = write_temporary(path, bytes, access)?;
    rename(&temporary, path).map_err(Error::io("rename", &temporary))?;
    sync_parent(path)
}

/// As [`replace`], for what can be made again: it may be lost or torn by a crash.
pub(super) fn replace_unsynced(path: &Path, bytes: &[u8], access: Access) -> Result<()> {
    let temporary = temporary_name(path)?;
    create_file(&temporary, access)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| rename(&temporary, path))
        .map_err(Error::io("write", path))
}

fn write_temporary(path: &Path, bytes: &[u8], access: Access) -> Result<PathBuf> {
    let temporary = temporary_name(path)?;
    create_file(&temporary, access)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync()
        })
        .map_err(Error::io("write", &temporary))?;
    Ok(temporary)
}

/// A name beside `path` that nobody else uses. It begins with a dot, which every reader of Delta tables skips, and
/// names the process, so that what a dead one left can be told from what a live one writes.
fn temporary_name(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(path.with_file_name(format!(
        ".{name}.{}.{}.tmp",
        std::process::id(),
        random_name()?
    )))
}

/// Whether a file is one that was to become `target`, beside it.
pub(super) fn is_temporary(name: &OsStr, target: &str) -> bool {
    let name = name.to_string_lossy();
    let rest = name.strip_prefix('.');
    let rest = rest.and_then(|name| name.strip_prefix(target));
    rest.is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".tmp"))
}

/// Removes the temporary files in a folder. For who knows that nobody is writing there: what is left is of the dead.
pub(super) fn remove_temporary(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') && name.ends_with(".tmp") {
            remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Sixteen random bytes in hexadecimal.
pub(super) fn random_name() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Store {
        message: format!("no randomness from the system: {error}"),
        hint: None,
    })?;
    Ok(hex(&bytes))
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct NewFile {
    file: File,
    path: PathBuf,
}

impl NewFile {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until its bytes are on the disk. Its name is not, before its folder is synchronised.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync(&self.file, &self.path)
    }

    /// Another handle of the same file.
    pub(super) fn try_clone(&self) -> io::Result<NewFile> {
        Ok(NewFile {
            file: self.file.try_clone()?,
            path: self.path.clone(),
        })
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(crash) = faults::before(&self.path) {
            if crash.is_first {
                self.file.write_all(&bytes[..bytes.len() / 2])?;
            }
            return Err(crash.into());
        }
        let written = self.file.write(bytes)?;
        faults::written(&self.path);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a file that must not exist yet.
pub(super) fn create_file(path: &Path, access: Access) -> io::Result<NewFile> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Private {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    faults::before(path)?;
    let file = options.open(path)?;
    faults::created(path);
    Ok(NewFile {
        file,
        path: path.to_path_buf(),
    })
}

fn make_folder(path: &Path, access: Access) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    if access == Access::Private {
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    }
    faults::before(path)?;
    builder.create(path)?;
    faults::created(path);
    Ok(())
}

fn sync(file: &File, path: &Path) -> io::Result<()> {
    faults::before(path)?;
    if !faults::is_armed(path) {
        file.sync_all()?;
    }
    faults::synced_file(path);
    Ok(())
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    faults::before(to)?;
    std::fs::hard_link(from, to)?;
    faults::created(to);
    Ok(())
}

/// Gives a file another name, in place of whatever has it.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    faults::before(to)?;
    let before = faults::content_of(to);
    std::fs::rename(from, to)?;
    faults::renamed(from, to, before);
    Ok(())
}

/// Removes a file.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    faults::before(path)?;
    let before = faults::content_of(path);
    std::fs::remove_file(path)?;
    faults::removed(path, before);
    Ok(())
}

/// Removes a folder that has nothing in it.
pub(super) fn remove_folder(path: &Path) -> io::Result<()> {
    faults::before(path)?;
    std::fs::remove_dir(path)?;
    faults::removed_folder(path);
    Ok(())
}

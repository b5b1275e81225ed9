//! Crashes on demand: what tests of the store die of. In debug builds alone; in others nothing of it is left.
//!
//! Everything that changes the disk goes through `store::disk`, which asks here before it does, and tells here what it
//! has done. A folder that is [`Armed`] dies at a given operation: that one and all later ones fail, so that nothing of
//! what a program does on its way out reaches the disk, as if it had been killed there. A power cut takes more: whatever
//! was not synchronised by then. The variable `INFERWATCH_FAULT=NUMBER` makes the program itself abort at an operation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard};

/// Whether any folder is armed: all that is asked for when none is.
static IS_ANY: AtomicBool = AtomicBool::new(false);
static ARMED: Mutex<Vec<Plan>> = Mutex::new(Vec::new());

/// At which operation the program aborts.
static ABORT_AT: LazyLock<Option<u64>> = LazyLock::new(|| {
    let at = std::env::var("INFERWATCH_FAULT").ok()?;
    at.parse().ok()
});
static DONE: AtomicU64 = AtomicU64::new(0);

/// What was done and may be undone by a power cut: until then it is in the system's memory only.
#[derive(Debug)]
enum Unsynced {
    /// A file or folder has come; lasts when the folder that holds it is synchronised.
    Created(PathBuf),
    /// A file has content; lasts when it is synchronised.
    Written(PathBuf),
    /// A file has another name, and what was there before is gone.
    Renamed(PathBuf, PathBuf, Option<Vec<u8>>),
    /// A file is gone.
    Removed(PathBuf, Vec<u8>),
    /// An empty folder is gone.
    RemovedFolder(PathBuf),
}

struct Plan {
    root: PathBuf,
    at: u64,
    done: u64,
    unsynced: Vec<Unsynced>,
}

impl Plan {
    fn is_dead(&self) -> bool {
        self.done >= self.at
    }
}

/// A folder in which a crash is due.
#[derive(Debug)]
pub struct Armed(PathBuf);

impl Armed {
    /// Everything below a folder fails from an operation on, counted from one.
    pub fn new(root: &Path, at: u64) -> Armed {
        plans().push(Plan {
            root: root.to_path_buf(),
            at,
            done: 0,
            unsynced: Vec::new(),
        });
        IS_ANY.store(true, Ordering::SeqCst);
        Armed(root.to_path_buf())
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        let plans = plans();
        let plan = plans.iter().find(|plan| plan.root == self.0);
        plan.map_or(0, |plan| plan.done)
    }

    /// Takes from the disk whatever was not synchronised: of files a half, of the rest all.
    ///
    /// # Errors
    /// When the disk cannot be changed.
    pub fn cut_power(self) -> io::Result<()> {
        let unsynced = {
            let mut plans = plans();
            let plan = plans.iter_mut().find(|plan| plan.root == self.0);
            plan.map(|plan| std::mem::take(&mut plan.unsynced))
        };
        for effect in unsynced.unwrap_or_default().into_iter().rev() {
            match effect {
                Unsynced::Created(path) if path.is_dir() => std::fs::remove_dir_all(path)?,
                Unsynced::Created(path) => gone_is_fine(std::fs::remove_file(path))?,
                Unsynced::Written(path) => {
                    let Ok(file) = std::fs::File::options().write(true).open(path) else {
                        continue;
                    };
                    file.set_len(file.metadata()?.len() / 2)?;
                }
                Unsynced::Renamed(from, to, before) => {
                    gone_is_fine(std::fs::rename(&to, from))?;
                    if let Some(before) = before {
                        std::fs::write(to, before)?;
                    }
                }
                Unsynced::Removed(path, content) => {
                    std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
                    std::fs::write(path, content)?;
                }
                Unsynced::RemovedFolder(path) => std::fs::create_dir_all(path)?,
            }
        }
        Ok(())
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        let mut plans = plans();
        plans.retain(|plan| plan.root != self.0);
        IS_ANY.store(!plans.is_empty(), Ordering::SeqCst);
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn plans() -> MutexGuard<'static, Vec<Plan>> {
    ARMED.lock().expect("no thread panics with it")
}

/// Does something to the plan of the folder that a path is in.
fn with_plan<T>(path: &Path, act: impl FnOnce(&mut Plan) -> T) -> Option<T> {
    if cfg!(not(debug_assertions)) || !IS_ANY.load(Ordering::SeqCst) {
        return None;
    }
    let mut plans = plans();
    let plan = plans.iter_mut().find(|plan| path.starts_with(&plan.root))?;
    Some(act(plan))
}

/// Before an operation on a file or folder. Says whether it may be done; when not, whether it was under way.
pub(super) fn before(path: &Path) -> Result<(), Crash> {
    if cfg!(debug_assertions)
        && ABORT_AT.is_some_and(|at| DONE.fetch_add(1, Ordering::SeqCst) + 1 == at)
    {
        std::process::abort();
    }
    let verdict = with_plan(path, |plan| {
        if plan.is_dead() {
            return Err(Crash { is_first: false });
        }
        plan.done += 1;
        match plan.is_dead() {
            true => Err(Crash { is_first: true }),
            false => Ok(()),
        }
    });
    verdict.unwrap_or(Ok(()))
}

/// The program is dead.
#[derive(Debug)]
pub(super) struct Crash {
    /// It dies at this very operation.
    pub(super) is_first: bool,
}

impl From<Crash> for io::Error {
    fn from(_: Crash) -> io::Error {
        io::Error::other("the program was killed here")
    }
}

/// Whether synchronising is only noted, not done: a crash is made up, so nothing has to last.
pub(super) fn is_armed(path: &Path) -> bool {
    with_plan(path, |_| ()).is_some()
}

fn note(path: &Path, effect: impl FnOnce() -> Unsynced) {
    with_plan(path, |plan| plan.unsynced.push(effect()));
}

/// A file or folder has come.
pub(super) fn created(path: &Path) {
    note(path, || Unsynced::Created(path.to_path_buf()));
}

/// A file was written to.
pub(super) fn written(path: &Path) {
    with_plan(path, |plan| {
        let known = |effect: &Unsynced| matches!(effect, Unsynced::Written(known) if known == path);
        if !plan.unsynced.iter().any(known) {
            plan.unsynced.push(Unsynced::Written(path.to_path_buf()));
        }
    });
}

/// A file is about to be renamed; what it replaces is lost.
pub(super) fn renamed(from: &Path, to: &Path, before: Option<Vec<u8>>) {
    with_plan(to, |plan| {
        // Its content comes along, on the disk or not.
        for effect in &mut plan.unsynced {
            match effect {
                Unsynced::Written(path) if path == from => *path = to.to_path_buf(),
                _ => {}
            }
        }
        let effect = Unsynced::Renamed(from.to_path_buf(), to.to_path_buf(), before);
        plan.unsynced.push(effect);
    });
}

/// A file was removed.
pub(super) fn removed(path: &Path, content: Option<Vec<u8>>) {
    if let Some(content) = content {
        note(path, || Unsynced::Removed(path.to_path_buf(), content));
    }
}

/// What a file has in it that is about to go, when that may have to come back.
pub(super) fn content_of(path: &Path) -> Option<Vec<u8>> {
    match is_armed(path) {
        true => std::fs::read(path).ok(),
        false => None,
    }
}

/// A folder was removed.
pub(super) fn removed_folder(path: &Path) {
    note(path, || Unsynced::RemovedFolder(path.to_path_buf()));
}

/// A file's content lasts.
pub(super) fn synced_file(path: &Path) {
    with_plan(path, |plan| {
        plan.unsynced
            .retain(|effect| !matches!(effect, Unsynced::Written(known) if known == path));
    });
}

/// The names in a folder last.
pub(super) fn synced_folder(folder: &Path) {
    with_plan(folder, |plan| {
        plan.unsynced.retain(|effect| match effect {
            Unsynced::Written(_) => true,
            Unsynced::Created(path)
            | Unsynced::Renamed(_, path, _)
            | Unsynced::Removed(path, _)
            | Unsynced::RemovedFolder(path) => path.parent() != Some(folder),
        });
    });
}

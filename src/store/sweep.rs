//! Removes from the disk what nobody reads any more: data files that were removed from their table, files that a crash
//! left, and old commits of the log.
//!
//! A file goes because a commit says that it was removed, and when; that it merely lies there and no log names it is
//! reason enough only when nobody is writing, and long after. Commits go once a checkpoint stands in for them and every
//! file that they remove is gone, so that none is forgotten.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::commit::{self, PATIENCE, TableChange};
use crate::store::erased::Erasure;
use crate::store::log::{
    Operation, checkpoint_path, checkpoint_versions, commit_path, commit_versions, log_folder,
};
use crate::store::{Store, cache, disk, layout};

const HOUR: i64 = 3_600_000_000;

/// What may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepOptions {
    /// What time it is, microseconds since the epoch.
    pub at: i64,
    /// How long a removed file stays for those who still read an older version, in microseconds.
    pub grace: i64,
    /// How long commits stay, in microseconds. Who asks for changes since an older one reads everything again.
    pub log_retention: i64,
    /// How long a file that no log names stays, in microseconds.
    pub orphan_age: i64,
}

impl Default for SweepOptions {
    fn default() -> SweepOptions {
        SweepOptions {
            at: chrono::Utc::now().timestamp_micros(),
            grace: 24 * HOUR,
            log_retention: 7 * 24 * HOUR,
            orphan_age: 24 * HOUR,
        }
    }
}

/// What has gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Removed files that are gone from the disk now.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Removed files that have to wait.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// When the last of them may go, microseconds since the epoch.
    pub waiting_until: Option<i64>,
    /// Files that a crash had left, and are gone now.
    pub orphans: u64,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Commits and checkpoints of the log that are gone now.
    pub log_files: u64,
}

#[derive(Deserialize)]
struct Line {
    remove: Option<Remove>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remove {
    path: String,
    deletion_timestamp: Option<i64>,
}

/// A file that a commit removed.
pub(super) struct Removed {
    /// The commit.
    pub(super) version: u64,
    /// On disk, below the table's folder.
    pub(super) path: String,
    /// When, microseconds since the epoch.
    pub(super) at: i64,
}

/// Every file that the commits which are left have removed.
pub(super) fn removed_files(folder: &Path) -> Result<Vec<Removed>> {
    let mut removed = Vec::new();
    for version in commit_versions(folder)? {
        let path = commit_path(folder, version);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        for line in text.split(|byte| *byte == b'\n') {
            let Ok(Line {
                remove: Some(remove),
            }) = serde_json::from_slice(line)
            else {
                continue;
            };
            let Some(disk_path) = layout::disk_path(&remove.path) else {
                continue;
            };
            let at = match remove.deletion_timestamp {
                Some(millis) => millis.saturating_mul(1000),
                None => modified(&path)?,
            };
            removed.push(Removed {
                version,
                path: disk_path,
                at,
            });
        }
    }
    Ok(removed)
}

/// When a file was written, microseconds since the epoch.
fn modified(path: &Path) -> Result<i64> {
    let time = path
        .metadata()
        .and_then(|metadata| metadata.modified())
        .map_err(Error::io("read", path))?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

impl Store {
    /// Removes what may go.
    ///
    /// # Errors
    /// When a log cannot be read, or a file cannot be removed.
    pub fn sweep(&self, options: &SweepOptions) -> Result<SweepReport> {
        commit::complete(self)?;
        let mut report = SweepReport::default();
        let erasures = self.known_erasures()?;
        for table in Table::ALL {
            let folder = self.table_folder(table);
            if !log_folder(&folder).is_dir() {
                continue;
            }
            self.sweep_removed(table, options, &erasures, &mut report)?;
            self.sweep_orphans(table, options, &mut report)?;
            // History that tells of what was erased goes, however young.
            let mut erased = None;
            for erasure in erasures.iter().filter(|erasure| erasure.due <= options.at) {
                erased = erased.max(erasure.version_in(table));
            }
            if let Some(erased) = erased {
                self.seal(table, erased)?;
            }
            self.sweep_log(table, options, erased, &mut report)?;
        }
        for erasure in erasures
            .into_iter()
            .filter(|erasure| erasure.due <= options.at)
        {
            self.complete_erasure(erasure, options.at)?;
        }
        Ok(report)
    }

    /// Makes a commit after the one that erased, so that a checkpoint can stand in for that as well.
    fn seal(&self, table: Table, erased: u64) -> Result<()> {
        if self.snapshot(table)?.version() != Some(erased) {
            return Ok(());
        }
        let nothing = TableChange {
            table,
            added: Vec::new(),
            removed: Vec::new(),
            operation: Operation::Optimize,
        };
        commit::commit_if(self, &[nothing], &[], || Ok(())).map(drop)
    }

    fn live_files(&self, table: Table) -> Result<HashSet<String>> {
        let snapshot = self.snapshot(table)?;
        Ok(snapshot.iter().map(|file| file.path().to_owned()).collect())
    }

    fn sweep_removed(
        &self,
        table: Table,
        options: &SweepOptions,
        erasures: &[Erasure],
        report: &mut SweepReport,
    ) -> Result<()> {
        let folder = self.table_folder(table);
        let removed = removed_files(&folder)?;
        if removed.is_empty() {
            return Ok(());
        }
        // After the removals were read: a file that was added again since is live by now.
        let live = self.live_files(table)?;
        // One that was removed, added and removed again is as old as its last removal.
        let mut latest: HashMap<&str, i64> = HashMap::new();
        for file in &removed {
            let mut due = file.at.saturating_add(options.grace);
            // What was erased goes when the receipt says so: also from files that had been replaced before.
            for erasure in erasures {
                if erasure.version_in(table) >= Some(file.version) {
                    due = due.min(erasure.due);
                }
            }
            let latest = latest.entry(&file.path).or_insert(due);
            *latest = due.max(*latest);
        }
        let mut emptied = BTreeSet::new();
        for (path, due) in latest.into_iter().filter(|(path, _)| !live.contains(*path)) {
            let full = folder.join(path);
            let Ok(metadata) = full.metadata() else {
                continue;
            };
            if due > options.at {
                report.waiting += 1;
                report.waiting_bytes += metadata.len();
                report.waiting_until = report.waiting_until.max(Some(due));
                continue;
            }
            disk::remove_file(&full).map_err(Error::io("remove", &full))?;
            report.files += 1;
            report.bytes += metadata.len();
            emptied.extend(full.parent().map(Path::to_path_buf));
        }
        tidy(&folder, emptied)
    }

    /// Files that no log names: a writer was killed before its commit. While another writes, or may be the one whose
    /// files these are, nothing goes.
    fn sweep_orphans(
        &self,
        table: Table,
        options: &SweepOptions,
        report: &mut SweepReport,
    ) -> Result<()> {
        let Ok(_alone) = commit::lock(&self.lock_path("writing"), Duration::ZERO) else {
            return Ok(());
        };
        let folder = self.table_folder(table);
        let live = self.live_files(table)?;
        let removed: HashSet<String> = removed_files(&folder)?
            .into_iter()
            .map(|file| file.path)
            .collect();
        let pending = commit::pending_files(self, table)?;
        let mut emptied = BTreeSet::new();
        for path in data_files(&folder)? {
            let Some(name) = path.strip_prefix(&folder).ok().and_then(Path::to_str) else {
                continue;
            };
            if live.contains(name) || removed.contains(name) || pending.contains(name) {
                continue;
            }
            if modified(&path)?.saturating_add(options.orphan_age) > options.at {
                continue;
            }
            let bytes = path.metadata().map_or(0, |metadata| metadata.len());
            disk::remove_file(&path).map_err(Error::io("remove", &path))?;
            report.orphans += 1;
            report.orphan_bytes += bytes;
            emptied.extend(path.parent().map(Path::to_path_buf));
        }
        // A writer may die between making a folder and writing into it.
        emptied.extend(empty_folders(&folder));
        tidy(&folder, emptied)
    }

    fn sweep_log(
        &self,
        table: Table,
        options: &SweepOptions,
        erased: Option<u64>,
        report: &mut SweepReport,
    ) -> Result<()> {
        let folder = self.table_folder(table);
        // Nobody commits meanwhile, so that whoever does finds the commits that it has listed.
        let _lock = commit::lock(&self.lock_path("commit"), PATIENCE)?;
        let old = |path: &Path, version: u64| -> Result<bool> {
            let is_erased = erased.is_some_and(|erased| version <= erased);
            Ok(is_erased || modified(path)?.saturating_add(options.log_retention) <= options.at)
        };
        let commits = commit_versions(&folder)?;
        let (Some(first), Some(newest)) = (commits.first(), commits.last()) else {
            return Ok(());
        };
        let last = checkpoint_versions(&folder)?.last().copied();
        let worth = newest.saturating_sub(last.unwrap_or(*first)) >= super::CHECKPOINT_INTERVAL;
        let tells = erased.is_some_and(|erased| last.is_none_or(|last| last <= erased));
        if newest > first && old(&commit_path(&folder, *first), *first)? && (worth || tells) {
            self.log(table).checkpoint()?;
        }
        let Some(checkpoint) = checkpoint_versions(&folder)?.last().copied() else {
            return Ok(());
        };
        let present: HashSet<u64> = removed_files(&folder)?
            .into_iter()
            .filter(|file| folder.join(&file.path).exists())
            .map(|file| file.version)
            .collect();
        let mut doomed: Vec<PathBuf> = Vec::new();
        let mut kept = *first;
        for version in commits
            .iter()
            .copied()
            .take_while(|version| *version < checkpoint)
        {
            let path = commit_path(&folder, version);
            // Without a gap: what is left is the end of the history.
            if present.contains(&version) || !old(&path, version)? {
                break;
            }
            kept = version + 1;
            doomed.push(path);
        }
        for version in checkpoint_versions(&folder)? {
            // A checkpoint without the commits after it is of no use.
            if version < checkpoint && version < kept.max(1) {
                doomed.push(checkpoint_path(&folder, version));
            }
        }
        doomed.extend(left_over(&folder, options, erased.is_some())?);
        if doomed.is_empty() && erased.is_none() {
            return Ok(());
        }
        // It must not be believed should its commit be back after a crash, and others not.
        cache::forget(&folder)?;
        for path in &doomed {
            disk::remove_file(path).map_err(Error::io("remove", path))?;
        }
        disk::sync_folder(&log_folder(&folder))?;
        report.log_files += doomed.len() as u64;
        Ok(())
    }
}

/// What the log's folder holds beside the log: torn commits that were set aside, and parts of what was never finished.
fn left_over(folder: &Path, options: &SweepOptions, all: bool) -> Result<Vec<PathBuf>> {
    let log = log_folder(folder);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&log).map_err(Error::io("list", &log))? {
        let path = entry.map_err(Error::io("list", &log))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Nobody is writing a commit while this looks.
        let is_partial = name.starts_with('.') && name.ends_with(".tmp");
        if (is_partial || name.starts_with(".torn-"))
            && (all || modified(&path)?.saturating_add(options.log_retention) <= options.at)
        {
            found.push(path);
        }
    }
    Ok(found)
}

/// The folders of a table that have nothing in them.
fn empty_folders(folder: &Path) -> Vec<PathBuf> {
    let log = log_folder(folder);
    let is_empty =
        |path: &Path| std::fs::read_dir(path).is_ok_and(|mut list| list.next().is_none());
    walkdir::WalkDir::new(folder)
        .min_depth(1)
        .into_iter()
        // Others come and go.
        .filter_map(std::result::Result::ok)
        .filter(|entry| entry.file_type().is_dir() && !entry.path().starts_with(&log))
        .map(walkdir::DirEntry::into_path)
        .filter(|path| is_empty(path))
        .collect()
}

/// The data files in a table's folder, whether a log names them or not.
pub(super) fn data_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let log = log_folder(folder);
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            // Others come and go.
            Err(_) => continue,
        };
        let name = entry.file_name().to_string_lossy();
        if entry.file_type().is_file()
            && name.ends_with(".parquet")
            && !entry.path().starts_with(&log)
        {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// Makes it last that files are gone, and removes folders that have nothing in them: their names tell of callers.
pub(super) fn tidy(table_folder: &Path, folders: BTreeSet<PathBuf>) -> Result<()> {
    let mut above = BTreeSet::new();
    for folder in folders {
        if folder == table_folder || !folder.starts_with(table_folder) {
            continue;
        }
        match disk::remove_folder(&folder) {
            Ok(()) => above.extend(folder.parent().map(Path::to_path_buf)),
            // It has other files, or somebody else was faster.
            Err(_) if folder.is_dir() => disk::sync_folder(&folder)?,
            Err(_) => {}
        }
    }
    if above.is_empty() {
        return Ok(());
    }
    for folder in &above {
        if folder.is_dir() {
            disk::sync_folder(folder)?;
        }
    }
    tidy(table_folder, above)
}

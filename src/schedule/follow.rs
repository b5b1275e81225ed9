//! Folders that logs land in: what is new there is ingested, file by file, again and again.
//!
//! What was read is known to the store by its content, so nothing that is forgotten here is read twice into it. What is
//! remembered here, how large and how old each file was, only saves looking: a file that has not changed since is not
//! opened.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::catalog::Span;
use crate::error::Result;
use crate::ingest::format::Format;
use crate::ingest::{self, Options, Progress, Source, Summary};
use crate::schema::Micros;
use crate::store::{Store, WriteOptions};

/// A folder, or a single file, that logs land in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where.
    pub path: PathBuf,
    /// The format of every record, when it is not to be recognised.
    pub format: Option<Format>,
}

/// Which folders, and how.
#[derive(Debug, Clone)]
pub struct Follow {
    /// The folders.
    pub folders: Vec<Folder>,
    /// How files are read; the format is the folder's, the time the tick's.
    pub options: Options,
    /// How long a file has to rest that is only whole as a whole: a table in CSV or Parquet.
    pub settle: Span,
}

/// So many bytes on disk are ingested at a time, and committed together,
const BATCH_BYTES: u64 = 512 << 20;
/// or so many files.
const BATCH_FILES: usize = 2_000;
/// How long to wait for another scheduler that is reading.
const PATIENCE: Duration = Duration::from_secs(60);
/// A file that has grown is read from its beginning, to know it again. So it rests for as many times as long as that
/// took,
const REST: i64 = 20;
/// but no longer than this, in microseconds.
const LONGEST_REST: i64 = 60_000_000;

/// What a file looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    bytes: u64,
    /// Microseconds since the epoch.
    modified: i64,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    state: State,
    /// When it was first seen like that, by the clock.
    since: i64,
    /// Whether it was read like that.
    is_read: bool,
    /// Not to be read again before.
    rests_until: i64,
}

/// Goes through folders, and remembers what it saw.
pub(super) struct Follower {
    follow: Follow,
    files: HashMap<PathBuf, Seen>,
    /// What was told of as unreadable, with the folder that was followed.
    unreadable: HashSet<(PathBuf, PathBuf)>,
    rests_until: i64,
}

impl Follower {
    pub(super) fn new(follow: Follow) -> Follower {
        Follower {
            follow,
            files: HashMap::new(),
            unreadable: HashSet::new(),
            rests_until: i64::MIN,
        }
    }

    /// Ingests what has come since the last pass, and tells each batch that is committed. Gives what cannot be looked at,
    /// and why, the first time.
    ///
    /// # Errors
    /// When the store cannot be written; what was not committed is read again by the next pass.
    pub(super) fn pass(
        &mut self,
        store: &Store,
        now: i64,
        is_stopped: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(&Summary),
    ) -> Result<Vec<(PathBuf, String)>> {
        let mut unreadable = Vec::new();
        if now < self.rests_until {
            return Ok(unreadable);
        }
        let started = Instant::now();
        let mut there = HashSet::new();
        let (mut is_complete, mut has_read) = (true, false);
        for folder in self.follow.folders.clone() {
            let (listing, failed) = ingest::look(&folder.path);
            is_complete &= failed.is_empty();
            self.unreadable.retain(|(of, path)| {
                *of != folder.path || failed.iter().any(|failed| failed.0 == *path)
            });
            for (path, error) in failed {
                if self.unreadable.insert((folder.path.clone(), path.clone())) {
                    unreadable.push((path, format!("{:#}", anyhow::Error::from(error))));
                }
            }
            let mut due = Vec::new();
            for source in listing.sources {
                let Source::File(path) = source else { continue };
                there.insert(path.clone());
                if let Some(state) = self.is_due(&path, now) {
                    due.push((path, state));
                }
            }
            has_read |= !due.is_empty();
            self.read(store, &folder, due, now, is_stopped, tell)?;
            if is_stopped() {
                return Ok(unreadable);
            }
        }
        if is_complete {
            self.files.retain(|path, _| there.contains(path));
        }
        if !has_read {
            self.rests_until = now + (REST * micros(started)).min(LONGEST_REST);
        }
        Ok(unreadable)
    }

    /// What a file looks like, if it is to be read.
    fn is_due(&mut self, path: &Path, now: i64) -> Option<State> {
        // It may be gone by now.
        let state = state_of(path)?;
        let seen = self.files.entry(path.to_path_buf()).or_insert(Seen {
            state,
            since: now,
            is_read: false,
            rests_until: i64::MIN,
        });
        if seen.state != state {
            (seen.state, seen.since, seen.is_read) = (state, now, false);
        }
        if seen.is_read || now < seen.rests_until {
            return None;
        }
        let age = now.saturating_sub(state.modified.max(seen.since));
        // One that has not been written to for long was whole before anybody looked.
        let is_old = now.saturating_sub(state.modified) >= 10 * self.follow.settle.0.max(1_000_000);
        let is_settled = is_old || age >= self.follow.settle.0;
        (is_settled || !ingest::is_table(path).unwrap_or(false)).then_some(state)
    }

    fn read(
        &mut self,
        store: &Store,
        folder: &Folder,
        due: Vec<(PathBuf, State)>,
        now: i64,
        is_stopped: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(&Summary),
    ) -> Result<()> {
        let options = Options {
            format: folder.format,
            now: Micros(now),
            secret: *store.secret(),
            ..self.follow.options.clone()
        };
        for batch in batches(due) {
            let started = Instant::now();
            let sources = batch.iter().map(|(path, _)| Source::File(path.clone()));
            let summary = ingest::into_store(
                store,
                sources.collect(),
                &options,
                WriteOptions {
                    // Of two that follow one folder, the second finds in the log what the first has read.
                    exclusive: true,
                    lock_timeout: PATIENCE,
                    min_file_rows: 1_000,
                    ..WriteOptions::default()
                },
                &Progress::default(),
                is_stopped,
            )?;
            let Some(summary) = summary else {
                return Ok(());
            };
            let rest = REST * micros(started) / batch.len().max(1) as i64;
            let rests_until = now + rest.min(LONGEST_REST);
            for (path, state) in batch {
                // What it looked like before it was read: what has come to it meanwhile is for the next pass.
                if let Some(seen) = self.files.get_mut(&path) {
                    (seen.state, seen.is_read) = (state, true);
                    seen.rests_until = rests_until;
                }
            }
            if summary.files > 0 {
                tell(&summary);
            }
        }
        Ok(())
    }
}

fn micros(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX / 1_000)
}

fn state_of(path: &Path) -> Option<State> {
    let metadata = path.metadata().ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH);
    let modified = modified.map_or(0, |since| since.as_micros());
    Some(State {
        bytes: metadata.len(),
        modified: i64::try_from(modified).unwrap_or(i64::MAX),
    })
}

/// Files that are committed together, in the order in which they came.
fn batches(due: Vec<(PathBuf, State)>) -> Vec<Vec<(PathBuf, State)>> {
    let mut batches: Vec<Vec<(PathBuf, State)>> = Vec::new();
    let mut bytes = 0;
    for file in due {
        let fits = batches
            .last()
            .is_some_and(|batch| batch.len() < BATCH_FILES && bytes < BATCH_BYTES);
        if !fits {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += file.1.bytes;
        batches.last_mut().expect("made above").push(file);
    }
    batches
}

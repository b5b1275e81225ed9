//! The scheduler: a process that goes on, evaluates rules when they are due, ingests what lands in folders, and keeps the
//! store in shape in quiet times.
//!
//! [`run`] is all of it: it returns when it is told to [`Stop`]. [`spawn`] does the same beside a server. One step is
//! [`Scheduler::tick`], which takes the time from who calls it. Nothing is printed here: what happens is told as
//! [`Event`]s, in order, on the thread of the scheduler; who listens must not dwell on them, as rules wait meanwhile.
//!
//! Any number of schedulers may run on one store, and be killed at any time: what counts is in the store's log, and two
//! that evaluate the same window commit it once.

mod follow;
mod maintain;
mod rules;
mod scheduler;
mod stop;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use follow::{Folder, Follow};
pub use maintain::{Maintenance, Retention, Step, Withheld};
pub use scheduler::{Scheduler, Ticked};
pub use stop::Stop;

use crate::catalog::{Pack, RuleFile, Span};
use crate::detect::{RuleOutcome, RunOptions, time_text};
use crate::error::{Error, Result};
use crate::ingest::Summary;
use crate::store::{Presence, Store};

/// How to go on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How rules are evaluated. Its range, its time and whether anything is stored are the scheduler's to say.
    pub run: RunOptions,
    /// How long to sleep between two steps.
    pub tick: Duration,
    /// No log from longer ago than this is missing, by the clock: windows close even if nothing comes at all.
    pub closed_after: Option<Span>,
    /// Folders to ingest from.
    pub follow: Option<Follow>,
    /// What is done in quiet times.
    pub maintenance: Maintenance,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            run: RunOptions::default(),
            tick: Duration::from_secs(5),
            closed_after: None,
            follow: None,
            maintenance: Maintenance::default(),
        }
    }
}

/// What a scheduler does, by the part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Ingesting from folders.
    Follow,
    /// Evaluating rules.
    Evaluate,
    /// Compaction, removal of replaced files, retention.
    Maintain,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'e> {
    /// Files that landed were ingested.
    Followed(&'e Summary),
    /// A folder cannot be looked at. Told once, until it can.
    Unreadable {
        /// Which.
        folder: &'e Path,
        /// Why.
        why: &'e str,
    },
    /// Rules were evaluated, and what came of it is stored: the moment to deliver findings.
    Evaluated {
        /// What came of each.
        outcomes: &'e [RuleOutcome<'e>],
        /// How long it took.
        elapsed: Duration,
    },
    /// Something was done to keep the store in shape.
    Maintained(&'e Step),
    /// Something could not be done; it is tried again.
    Failed {
        /// What.
        task: Task,
        /// Why not.
        error: &'e Error,
    },
    /// Something to know.
    Warning(&'e str),
}

/// The role by which [`Store::present`] knows schedulers.
pub const ROLE: &str = "scheduler";
/// After failures it sleeps twice as long each time, up to this.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Goes on until it is told to stop. What is being evaluated then is brought to its end and committed; what is being
/// read is left, and read again by the next scheduler.
///
/// It blocks, so a server calls [`spawn`].
///
/// # Errors
/// When the store or its views cannot be read at the start. Later failures are told as events.
pub fn run(
    runtime: &Handle,
    store: &Store,
    rules: &[&RuleFile],
    settings: Settings,
    stop: &Stop,
    tell: &mut dyn FnMut(&Event<'_>),
) -> Result<()> {
    let mut note = Note::begin(store, &settings)?;
    let tick = settings.tick;
    let mut scheduler = Scheduler::new(runtime, store, rules, settings)?;
    let mut sleep = tick;
    while !stop.is_stopped() {
        let now = chrono::Utc::now().timestamp_micros();
        let ticked = scheduler.tick(now, stop, tell);
        note.ticked(now, ticked, scheduler.next_maintenance());
        sleep = match ticked.failed {
            true => (2 * sleep).clamp(tick, LONGEST_SLEEP.max(tick)),
            false => tick,
        };
        if ticked.failed || !ticked.more {
            stop.sleep(sleep);
        }
    }
    Ok(())
}

/// [`run`] on a thread of its own among those of a runtime, for who does other things as well.
pub fn spawn(
    runtime: &Handle,
    store: Store,
    pack: Arc<Pack>,
    settings: Settings,
    stop: Stop,
    mut tell: impl FnMut(&Event<'_>) + Send + 'static,
) -> JoinHandle<Result<()>> {
    let handle = runtime.clone();
    runtime.spawn_blocking(move || {
        let rules: Vec<&RuleFile> = pack.rules.iter().collect();
        run(&handle, &store, &rules, settings, &stop, &mut tell)
    })
}

fn to_the_second(time: i64) -> String {
    time_text(time.div_euclid(1_000_000) * 1_000_000)
}

/// What `inferwatch status` can say of a scheduler.
struct Note {
    presence: Presence,
    note: Value,
}

impl Note {
    fn begin(store: &Store, settings: &Settings) -> Result<Note> {
        let folders = settings.follow.iter().flat_map(|follow| &follow.folders);
        let folders: Vec<String> = folders
            .map(|folder| folder.path.display().to_string())
            .collect();
        let now = chrono::Utc::now().timestamp_micros();
        let note = json!({
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "since": to_the_second(now),
            "tick_seconds": settings.tick.as_secs_f64(),
            "follows": folders,
        });
        let note = Note {
            presence: store.announce(ROLE)?,
            note,
        };
        note.write();
        Ok(note)
    }

    fn ticked(&mut self, now: i64, ticked: Ticked, [compaction, retention]: [Option<i64>; 2]) {
        let at = |at: Option<i64>| at.map(|at| to_the_second(at.max(now)));
        let now = to_the_second(now);
        self.note["last_tick"] = now.as_str().into();
        if ticked.rules > 0 {
            self.note["last_evaluation"] = now.into();
        }
        self.note["is_failing"] = ticked.failed.into();
        self.note["next_compaction"] = at(compaction).into();
        self.note["next_retention"] = at(retention).into();
        self.write();
    }

    /// A full disk is told of by what it keeps from being done.
    fn write(&self) {
        let _ = self.presence.note(&self.note);
    }
}

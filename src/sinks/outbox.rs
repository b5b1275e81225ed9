//! The outbox of one sink: how far it has looked at the findings of the store, what it still has to tell, and what it
//! has told. It holds names and revisions of findings and never their words, so that what is erased or expires in the
//! store is gone here too.
//!
//! Every change is a line of a durable notebook before it counts, and the state is what all lines come to. A kill at
//! any moment loses at most the line that a delivery was acknowledged with: that delivery is made again, with the same
//! key.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::detect::Event;
use crate::error::Result;
use crate::store::{Notebook, Pages, Store};

/// The folder of the store.
const FOLDER: &str = "sinks";
/// What was told is forgotten so long after it was last heard of: nothing that old is taken back.
const REMEMBERED: i64 = 90 * 86_400_000_000;
/// The notebook is written anew when it has so many lines more than there is to remember.
const SLACK: usize = 512;

/// How far a sink has looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// Everything up to this version of the table of findings.
    Version(u64),
    /// Nothing but what was evaluated before this instant.
    Before(i64),
}

/// One revision of a finding that is still to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The finding.
    pub finding: String,
    /// Its revision.
    pub revision: i64,
    /// What happened to it.
    pub event: String,
    /// How severe it is.
    #[serde(default)]
    pub severity: String,
    /// The rule.
    pub rule: String,
    /// End of its last window: where in the table it is found.
    pub window_end: i64,
    /// When it was taken in.
    pub taken: i64,
    /// Not to be tried before.
    pub due: i64,
    /// How often it was tried.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// What it is held back by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it was given up.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_dead: bool,
    /// Whether a person asked for it again: then it goes out whatever was told before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_replay: bool,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Item {
    /// What it is known by.
    pub fn key(&self) -> Key {
        (self.finding.clone(), self.revision)
    }

    /// Whether it ends what was told before.
    pub fn is_end(&self) -> bool {
        matches!(
            Event::from_name(&self.event),
            Some(Event::Resolved | Event::Retracted)
        )
    }
}

/// A finding and its revision.
pub(super) type Key = (String, i64);

/// What a sink knows of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The highest revision that was taken in.
    pub taken: i64,
    /// How severe it was when it was last told; `None` when it never was.
    pub told: Option<String>,
    /// When it was last heard of.
    pub at: i64,
}

/// What has become of deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Revisions that were told.
    pub sent: u64,
    /// Deliveries that failed, each attempt counted.
    pub failed: u64,
    /// Revisions that were given up.
    pub dead: u64,
    /// Revisions that nobody was told of, by a silence or because they were taken back first.
    pub dropped: u64,
}

/// One change: a line of the notebook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    /// All that was, in one line.
    State(Box<State>),
    /// Looked so far, and has these to tell.
    Took {
        seen: Seen,
        at: i64,
        items: Vec<Item>,
    },
    /// The other side has them.
    Sent { keys: Vec<(Key, String)>, at: i64 },
    /// The other side does not.
    Failed {
        keys: Vec<Key>,
        at: i64,
        error: String,
        due: i64,
        is_dead: bool,
    },
    /// Nobody is asked again before.
    Paused { until: i64, failures: u32 },
    /// Held back.
    Held {
        keys: Vec<Key>,
        until: i64,
        by: String,
    },
    /// Nobody is told.
    Dropped { keys: Vec<Key> },
    /// To be told again.
    Replayed { items: Vec<Item> },
}

/// What an outbox holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// When the sink began.
    pub began: i64,
    /// How far it has looked; `None` before it has begun.
    pub seen: Option<Seen>,
    /// When it last looked and found something, or began.
    pub looked: i64,
    /// What it has to tell, and what it gave up, in the order of findings and revisions.
    #[serde(with = "items")]
    pub items: BTreeMap<Key, Item>,
    /// What it knows of findings.
    pub known: BTreeMap<String, Known>,
    /// What has become of the rest.
    pub counts: Counts,
    /// Nobody is asked before.
    pub paused: Option<i64>,
    /// How often the other side could not be reached, one time after the other.
    pub failures: u32,
    /// When something was last delivered.
    pub last_sent: Option<i64>,
    /// What went wrong last, and when, unless something was delivered since.
    pub last_error: Option<(i64, String)>,
}

/// Keys of JSON objects are texts: the items are written as a list.
mod items {
    use super::{BTreeMap, Item, Key};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        items: &BTreeMap<Key, Item>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        items.values().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Key, Item>, D::Error> {
        let items = Vec::<Item>::deserialize(deserializer)?;
        Ok(items.into_iter().map(|item| (item.key(), item)).collect())
    }
}

impl State {
    /// What is still to be told.
    pub fn pending(&self) -> impl DoubleEndedIterator<Item = &Item> {
        self.items.values().filter(|item| !item.is_dead)
    }

    /// What was given up.
    pub fn dead(&self) -> impl Iterator<Item = &Item> {
        self.items.values().filter(|item| item.is_dead)
    }

    /// Whether the sink was told of a finding.
    pub fn was_told(&self, finding: &str) -> bool {
        let known = self.known.get(finding);
        known.is_some_and(|known| known.told.is_some())
    }

    /// When there is something to do next, if nothing new comes.
    pub fn next_due(&self) -> Option<i64> {
        let due = self.pending().map(|item| item.due).min()?;
        Some(due.max(self.paused.unwrap_or(i64::MIN)))
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::State(state) => *self = *state,
            Change::Took { seen, at, items } => {
                if self.seen.is_none() {
                    self.began = at;
                }
                self.seen = Some(seen);
                self.looked = at;
                for item in items {
                    let known = self.known.entry(item.finding.clone()).or_insert(Known {
                        taken: 0,
                        told: None,
                        at,
                    });
                    known.taken = known.taken.max(item.revision);
                    known.at = at;
                    self.items.insert(item.key(), item);
                }
            }
            Change::Sent { keys, at } => {
                for (key, severity) in keys {
                    self.items.remove(&key);
                    self.counts.sent += 1;
                    let (finding, revision) = key;
                    let known = self.known.entry(finding).or_insert(Known {
                        taken: revision,
                        told: None,
                        at,
                    });
                    known.told = Some(severity);
                    known.at = at;
                }
                (self.paused, self.failures) = (None, 0);
                (self.last_sent, self.last_error) = (Some(at), None);
            }
            Change::Failed {
                keys,
                at,
                error,
                due,
                is_dead,
            } => {
                self.counts.failed += 1;
                for key in keys {
                    if let Some(item) = self.items.get_mut(&key) {
                        item.attempts += 1;
                        item.due = due;
                        item.is_dead = is_dead;
                        item.error = Some(error.clone());
                        self.counts.dead += u64::from(is_dead);
                    }
                }
                self.last_error = Some((at, error));
            }
            Change::Paused { until, failures } => {
                (self.paused, self.failures) = (Some(until), failures);
            }
            Change::Held { keys, until, by } => {
                for key in keys {
                    if let Some(item) = self.items.get_mut(&key) {
                        item.due = until;
                        item.held = Some(by.clone());
                    }
                }
            }
            Change::Dropped { keys } => {
                for key in keys {
                    if self.items.remove(&key).is_some() {
                        self.counts.dropped += 1;
                    }
                }
            }
            Change::Replayed { items } => {
                for item in items {
                    self.items.insert(item.key(), item);
                }
                (self.paused, self.failures) = (None, 0);
            }
        }
    }

    /// Forgets findings that nothing was heard of for long.
    fn forget(&mut self, now: i64) {
        let items = &self.items;
        self.known.retain(|finding, known| {
            let has_item = || {
                let first = (finding.clone(), i64::MIN)..=(finding.clone(), i64::MAX);
                items.range(first).next().is_some()
            };
            known.at > now - REMEMBERED || has_item()
        });
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Outbox {
    notebook: Notebook,
    state: State,
    lines: usize,
}

impl Outbox {
    /// The outbox of a sink; nothing is read yet.
    pub(super) fn of(store: &Store, sink: &str) -> Outbox {
        Outbox {
            notebook: Notebook::of(store, FOLDER, sink),
            state: State::default(),
            lines: 0,
        }
    }

    /// Keeps other processes out until what it gives is dropped; `None` when one is in.
    pub(super) fn lock(&self, patience: Duration) -> Result<Option<File>> {
        self.notebook.lock(patience)
    }

    /// Reads what others have written.
    pub(super) fn read(&mut self) -> Result<()> {
        if let Pages::Anew(lines) = self.notebook.read::<Change>()? {
            self.lines = lines.len();
            self.state = State::default();
            for change in lines {
                self.state.apply(change);
            }
        }
        Ok(())
    }

    /// What it holds.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Looked so far, and has these to tell.
    pub(super) fn took(&mut self, seen: Seen, at: i64, items: Vec<Item>) -> Result<()> {
        self.write(Change::Took { seen, at, items })?;
        self.state.forget(at);
        Ok(())
    }

    /// The other side has these, each with the severity it was told with.
    pub(super) fn sent(&mut self, keys: Vec<(Key, String)>, at: i64) -> Result<()> {
        self.write(Change::Sent { keys, at })
    }

    /// A delivery failed. Without a next time it is given up.
    pub(super) fn failed(
        &mut self,
        keys: Vec<Key>,
        at: i64,
        error: String,
        next: Option<i64>,
    ) -> Result<()> {
        self.write(Change::Failed {
            keys,
            at,
            error,
            due: next.unwrap_or(at),
            is_dead: next.is_none(),
        })
    }

    /// Nobody is asked again before an instant.
    pub(super) fn paused(&mut self, until: i64, failures: u32) -> Result<()> {
        self.write(Change::Paused { until, failures })
    }

    /// Holds some back.
    pub(super) fn held(&mut self, keys: Vec<Key>, until: i64, by: String) -> Result<()> {
        self.write(Change::Held { keys, until, by })
    }

    /// Nobody is told of these.
    pub(super) fn dropped(&mut self, keys: Vec<Key>) -> Result<()> {
        self.write(Change::Dropped { keys })
    }

    /// These are to be told again.
    pub(super) fn replayed(&mut self, items: Vec<Item>) -> Result<()> {
        self.write(Change::Replayed { items })
    }

    fn write(&mut self, change: Change) -> Result<()> {
        self.notebook.append(&change)?;
        self.lines += 1;
        self.state.apply(change);
        // The state is a line as well; what is to be told or remembered needs one each, more or less.
        let needed = 1 + self.state.items.len() + self.state.known.len() / 8;
        if self.lines > needed + SLACK {
            let state = Change::State(Box::new(self.state.clone()));
            self.notebook.rewrite(&state)?;
            self.lines = 1;
        }
        Ok(())
    }
}

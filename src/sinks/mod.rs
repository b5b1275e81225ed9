//! Tells findings to people and machines: webhooks, chat, pagers, files, mail, programs.
//!
//! The table `findings` is the truth. Each sink has an outbox (`outbox`) with how far it has looked at that table and
//! what it still has to tell, so that nothing is lost when a process dies, and only what was not acknowledged is told
//! again. A telling is known by finding and revision. [`Settings`] says which findings go where.
//!
//! [`Deliverer::open`] before the first evaluation: a sink that is new is told of what comes from then on. Then
//! [`deliver`] is one pass at some time, and [`start`] goes on with that on a thread of its own, until it is stopped.
//! Nothing here prints.
//!
//! ```no_run
//! # fn main() -> inferwatch::Result<()> {
//! # let runtime = tokio::runtime::Runtime::new().expect("threads");
//! use inferwatch::{catalog::Pack, sinks::{Deliverer, Settings, start}, store::Store};
//!
//! let store = Store::open("inferwatch-store".as_ref())?;
//! let settings = Settings::read("inferwatch.toml".as_ref())?;
//! let deliverer = runtime.block_on(Deliverer::open(&store, settings, Pack::embedded().rules, None))?;
//! let running = start(deliverer, |_pass| { /* say what it came to */ })?;
//! // … evaluate rules …
//! running.stop();
//! # Ok(())
//! # }
//! ```

mod content;
mod failure;
mod finding;
mod kind;
mod matching;
mod outbox;
mod secret;
mod settings;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use datafusion::prelude::SessionContext;
use futures::future::join_all;
use tokio::sync::{Mutex, watch};

pub use failure::{Answer, Failure, Reason};
pub use finding::Told;
pub use kind::{Kind, Message};
pub use matching::{Days, Maintenance, Matcher, Pattern, Silence};
pub use outbox::{Counts, Item, Known, Seen, State};
pub use settings::{KEYS, Retry, Route, Settings, Sink};
pub use worker::Clock;

use crate::catalog::{RuleFile, RuleKind};
use crate::detect::{context_of, time_text};
use crate::error::{Error, Result};
use crate::store::Store;
use content::Contents;
use worker::Worker;

/// How often a delivery that goes on looks for new findings.
const POLL: Duration = Duration::from_secs(1);
/// How long it waits when the store or an outbox could not be read or written.
const AFTER_ERROR: Duration = Duration::from_secs(30);
/// How long it may go on with what it is at when it is stopped.
const GRACE: Duration = Duration::from_secs(2);

/// What all sinks of a store have in common.
struct Shared {
    store: Store,
    settings: Settings,
    rules: Vec<RuleFile>,
    context: SessionContext,
    contents: Mutex<Contents>,
    seed: String,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("store", &self.store)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The rule by which a finding was found: none, when it has another version by now.
    fn rule_of(&self, told: &Told) -> Option<&RuleFile> {
        let mut rules = self.rules.iter();
        rules.find(|file| file.rule.id == told.rule && file.rule.version == told.rule_version)
    }

    fn add_rule(&self, told: &mut Told) {
        // Its words for routes are the rule's as it is now.
        if let Some(file) = self.rules.iter().find(|file| file.rule.id == told.rule) {
            told.add_rule(&file.rule);
        }
    }

    /// By which route a finding goes to a sink: what all that lead there say together. One that it was told of
    /// before goes there whatever routes say now.
    fn route(&self, sink: &Sink, told: &Told, is_heard: bool) -> Option<Route> {
        let routes = &self.settings.routes;
        let mut joined: Option<Route> = None;
        for route in routes {
            if !route.sinks.contains(&sink.name) || !route.matcher.matches(told) {
                continue;
            }
            match &mut joined {
                None => joined = Some(route.clone()),
                Some(joined) => {
                    joined.include_content |= route.include_content;
                    joined.events = match (joined.events.take(), &route.events) {
                        (Some(mut events), Some(more)) => {
                            events.extend(
                                more.iter()
                                    .filter(|event| !events.contains(event))
                                    .copied()
                                    .collect::<Vec<_>>(),
                            );
                            Some(events)
                        }
                        // One of them leaves it to the sink.
                        (None, more) => more.clone(),
                        (events, None) => events,
                    };
                }
            }
        }
        let is_named = told.sinks.contains(&sink.name);
        joined.or_else(|| (routes.is_empty() || is_named || is_heard).then(Route::default))
    }
}

/// Tells the findings of a store to sinks.
#[derive(Debug)]
pub struct Deliverer {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
}

/// What one pass did for one sink.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pass {
    /// The sink.
    pub sink: String,
    /// Revisions that are new and to be told.
    pub taken: usize,
    /// Revisions that the other side has.
    pub sent: usize,
    /// Revisions whose delivery failed, to be tried again.
    pub failed: usize,
    /// Revisions that were given up.
    pub dead: usize,
    /// Revisions that nobody is told of.
    pub dropped: usize,
    /// Revisions that are held back.
    pub held: usize,
    /// Revisions that are still to be told.
    pub pending: usize,
    /// When there is something to do next, if nothing new comes.
    pub next: Option<i64>,
    /// What went wrong.
    pub failures: Vec<Failure>,
    /// What else there is to say.
    pub notes: Vec<String>,
    /// Whether another process was at it, so that nothing was done.
    pub is_busy: bool,
}

impl Pass {
    fn of(sink: &str) -> Pass {
        Pass {
            sink: sink.to_string(),
            ..Pass::default()
        }
    }

    /// Whether there is anything to say of it.
    pub fn is_news(&self) -> bool {
        self.sent + self.failed + self.dead + self.dropped + self.held > 0 || !self.notes.is_empty()
    }
}

impl Deliverer {
    /// Opens the outboxes of all sinks. Sinks that are new begin now. `seed` decides the random part of pauses; it is
    /// random itself unless given. Without `rules`, or with others than those that evaluate, no text of findings is
    /// told.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn open(
        store: &Store,
        settings: Settings,
        rules: Vec<RuleFile>,
        seed: Option<u64>,
    ) -> Result<Deliverer> {
        let seed = match seed {
            Some(seed) => seed,
            None => getrandom::u64().map_err(|error| Error::Store {
                message: format!("no randomness from the system: {error}"),
                hint: None,
            })?,
        };
        let shared = Arc::new(Shared {
            context: context_of(store).await?,
            store: store.clone(),
            settings,
            rules,
            contents: Mutex::default(),
            seed: seed.to_string(),
        });
        let sinks = 0..shared.settings.sinks.len();
        Ok(Deliverer {
            workers: sinks.map(|sink| Worker::new(&shared, sink)).collect(),
            shared,
        })
    }

    /// Makes sinks that are new begin at `now`, and takes in what is new for the others; nothing is told yet. To be
    /// done before the first evaluation, or its findings are from before a new sink.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn begin(&mut self, now: i64) -> Result<Vec<Pass>> {
        let mut passes = Vec::with_capacity(self.workers.len());
        for worker in &mut self.workers {
            passes.push(worker.look(now).await?);
        }
        Ok(passes)
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// What the outbox of each sink holds, in the order of the sinks.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn states(&mut self) -> Result<Vec<(&str, &State)>> {
        let names = self.shared.settings.sinks.iter();
        let names = names.map(|sink| sink.name.as_str());
        names
            .zip(&mut self.workers)
            .map(|(name, worker)| Ok((name, worker.state()?)))
            .collect()
    }

    /// Puts what was given up, or the last revision of a finding, into outboxes again. Gives how many for each sink.
    ///
    /// # Errors
    /// When an outbox cannot be written, or a delivery is under way for long.
    pub async fn replay(
        &mut self,
        sink: Option<&str>,
        dead: bool,
        finding: Option<&str>,
        now: i64,
    ) -> Result<Vec<(String, usize)>> {
        let mut replayed = Vec::new();
        for (worker, of) in self.workers.iter_mut().zip(&self.shared.settings.sinks) {
            if sink.is_none_or(|name| name == of.name) {
                let count = worker.replay(dead, finding, now).await?;
                replayed.push((of.name.clone(), count));
            }
        }
        Ok(replayed)
    }

    /// Sends a finding that never was, and gives what the other side answered.
    ///
    /// # Errors
    /// When there is no such sink.
    pub async fn test(&self, sink: &str, now: i64) -> Result<std::result::Result<Answer, Failure>> {
        let settings = &self.shared.settings;
        let sink = settings.sink(sink).ok_or_else(|| settings.unknown(sink))?;
        Ok(sink.test(now).await)
    }

    /// What is odd about the settings at a time: silences that have ended, sinks that nothing goes to, names in rules
    /// that are of no sink.
    pub fn remarks(&self, now: i64) -> Vec<String> {
        self.shared.settings.remarks(&self.shared.rules, now)
    }
}

impl Sink {
    /// Sends a finding that never was.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn test(&self, now: i64) -> std::result::Result<Answer, Failure> {
        let message = Message {
            sink: &self.name,
            now,
            group: Vec::new(),
            findings: vec![Told::made_up(now)],
            timeout: Duration::from_micros(self.timeout.0.unsigned_abs()),
        };
        self.kind.send(&message).await
    }
}

impl Settings {
    /// The error for a sink that is none.
    pub fn unknown(&self, name: &str) -> Error {
        let names = || self.sinks.iter().map(|sink| sink.name.as_str());
        let hint = match crate::suggest::nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.sinks.is_empty() => {
                "there is none: `[sinks.<name>]` in inferwatch.toml makes one".into()
            }
            None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
        };
        Error::Usage {
            message: format!("no sink is named `{name}`"),
            hint: Some(hint),
        }
    }

    /// See [`Deliverer::remarks`].
    pub fn remarks(&self, rules: &[RuleFile], now: i64) -> Vec<String> {
        let mut remarks = Vec::new();
        for silence in self.silences.iter().filter(|silence| silence.until <= now) {
            remarks.push(format!(
                "the silence in line {} ended at {}: \"{}\" of {}; take it out",
                silence.line,
                time_text(silence.until),
                silence.reason,
                silence.owner
            ));
        }
        for file in rules {
            if file.rule.kind == RuleKind::Signal {
                continue;
            }
            for name in &file.rule.sinks {
                if self.sink(name).is_none() {
                    remarks.push(format!(
                        "rule `{}` names a sink `{name}`, and there is none",
                        file.rule.id
                    ));
                }
            }
        }
        for sink in &self.sinks {
            let is_named = rules
                .iter()
                .any(|file| file.rule.sinks.contains(&sink.name));
            let is_routed = self.routes.is_empty()
                || self
                    .routes
                    .iter()
                    .any(|route| route.sinks.contains(&sink.name));
            if !is_named && !is_routed {
                remarks.push(format!(
                    "no route and no rule leads to sink `{}`",
                    sink.name
                ));
            }
        }
        remarks
    }
}

/// One pass over what is due at `now`, all sinks at the same time. What could not be delivered is in the passes; an
/// error is that of a sink whose outbox, or of a store that, cannot be read or written, and of no other's concern.
pub async fn deliver(deliverer: &mut Deliverer, now: i64) -> Vec<Result<Pass>> {
    let clock: Clock = Arc::new(move || now);
    let passes = deliverer.workers.iter_mut();
    join_all(passes.map(|worker| worker.pass(&clock))).await
}

/// Delivers until it is stopped: each sink on its own, looking every second for what is new and when its next delivery
/// is due. `told` hears of every pass that did something, and of what made one impossible.
pub async fn keep_delivering(
    deliverer: Deliverer,
    stop: watch::Receiver<bool>,
    told: impl Fn(Result<&Pass, &Error>) + Send + Sync,
) {
    let told = &told;
    let clock: Clock = Arc::new(|| chrono::Utc::now().timestamp_micros());
    let clock = &clock;
    let going = deliverer.workers.into_iter().map(|mut worker| {
        let mut stop = stop.clone();
        async move {
            while !*stop.borrow() {
                let passed = {
                    let pass = worker.pass(clock);
                    tokio::select! {
                        passed = pass => passed,
                        () = patience(&mut stop) => return,
                    }
                };
                match &passed {
                    Ok(pass) if pass.is_news() => told(Ok(pass)),
                    Ok(_) => {}
                    Err(error) => told(Err(error)),
                }
                let wait = match (worker.next_due(), &passed) {
                    (_, Err(_)) => AFTER_ERROR,
                    (Some(due), _) => {
                        let wait = Duration::from_micros((due - clock()).max(0).unsigned_abs());
                        // What is left over goes on at once, but never in a circle.
                        wait.clamp(Duration::from_millis(50), POLL)
                    }
                    (None, _) => POLL,
                };
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = stop.changed() => {}
                }
            }
        }
    });
    join_all(going).await;
}

/// Ends some time after it is to stop.
async fn patience(stop: &mut watch::Receiver<bool>) {
    // Nobody left who could say so means the same.
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(GRACE).await;
}

/// A delivery that goes on.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Ends it; returns when it has ended.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Delivers on a thread of its own until [`Running::stop`]: nothing that a sink does can delay evaluation.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(
    deliverer: Deliverer,
    told: impl Fn(Result<&Pass, &Error>) + Send + Sync + 'static,
) -> Result<Running> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start", "the thread of the sinks"))?;
    let (stop, stopped) = watch::channel(false);
    let thread = std::thread::Builder::new()
        .name("sinks".into())
        .spawn(move || runtime.block_on(keep_delivering(deliverer, stopped, told)))
        .map_err(Error::io("start", "the thread of the sinks"))?;
    Ok(Running {
        stop,
        thread: Some(thread),
    })
}

//! One commit for all requests that came while the last one was made.
//!
//! A thread of its own: commits wait for the disk. It alone knows what has been taken, so that of two requests that are
//! the same, at whatever distance, one adds rows.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::super::metrics::Metrics;
use super::super::problem::Problem;
use super::{IntakeOptions, Taken, full};
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::{Outcome, Receipts, Request, Seen, Store, WriteOptions};

/// Rows of one commit, and with them its memory: beyond it, the next one takes the rest.
const MOST_ROWS: usize = 200_000;
const SORT_MEMORY: usize = 64 << 20;

/// Rows on their way into the store.
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) batches: Vec<(Table, RecordBatch)>,
    /// Told whether it had been taken before.
    pub(super) reply: oneshot::Sender<Result<bool, Problem>>,
    /// Held until it is done.
    pub(super) room: OwnedSemaphorePermit,
}

impl Job {
    fn rows(&self) -> usize {
        self.batches.iter().map(|(_, batch)| batch.num_rows()).sum()
    }
}

/// The thread, and the way to it.
pub(super) struct Committer {
    jobs: Mutex<Option<SyncSender<Job>>>,
    receipts: Arc<Mutex<Receipts>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    metrics: Arc<Metrics>,
}

impl Committer {
    pub(super) fn start(
        store: &Store,
        options: &IntakeOptions,
        metrics: &Arc<Metrics>,
    ) -> Result<Committer> {
        let receipts = Receipts::open(store, now())?;
        let receipts = Arc::new(Mutex::new(receipts));
        let (jobs, queue) = sync_channel(options.queue);
        let work = Work {
            store: store.clone(),
            receipts: Arc::clone(&receipts),
            metrics: Arc::clone(metrics),
            every: options.every,
        };
        let thread = std::thread::Builder::new()
            .name("commit".into())
            .spawn(move || work.run(&queue))
            .map_err(Error::io("start", "a thread for commits"))?;
        Ok(Committer {
            jobs: Mutex::new(Some(jobs)),
            receipts,
            thread: Mutex::new(Some(thread)),
            metrics: Arc::clone(metrics),
        })
    }

    /// The answer to a request that has been taken already.
    pub(super) fn known(&self, request: &Request) -> Result<Option<Taken>, Problem> {
        let receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        match receipts.seen(request) {
            Seen::Never => Ok(None),
            Seen::Taken => Ok(Some(Taken {
                is_known: true,
                ..Taken::default()
            })),
            Seen::Otherwise => Err(used_otherwise()),
        }
    }

    /// Puts rows in the queue.
    pub(super) fn send(&self, job: Job) -> Result<(), Problem> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(jobs) = jobs.as_ref() else {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Problem::busy(status, "the server is stopping"));
        };
        self.metrics.queue.inc();
        jobs.try_send(job).map_err(|error| {
            self.metrics.queue.dec();
            match error {
                TrySendError::Full(_) => full(),
                TrySendError::Disconnected(_) => {
                    Problem::internal("the thread for commits is gone")
                }
            }
        })
    }

    /// Takes no more, and waits until the rest is in the store.
    pub(super) fn close(&self) {
        drop(
            self.jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // It has panicked: whoever waited has been told.
            let _ = thread.join();
        }
    }
}

fn used_otherwise() -> Problem {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    Problem::new(status, "this `Idempotency-Key` was sent with other content")
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

struct Work {
    store: Store,
    receipts: Arc<Mutex<Receipts>>,
    metrics: Arc<Metrics>,
    every: Duration,
}

impl Work {
    fn run(&self, queue: &Receiver<Job>) {
        let mut last: Option<Instant> = None;
        while let Ok(first) = queue.recv() {
            let mut rows = first.rows();
            let mut group = vec![first];
            let due = last.map_or_else(Instant::now, |last| last + self.every);
            while rows < MOST_ROWS {
                let left = due.saturating_duration_since(Instant::now());
                match queue.recv_timeout(left) {
                    Ok(job) => {
                        rows += job.rows();
                        group.push(job);
                    }
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            last = Some(Instant::now());
            self.metrics.queue.dec_by(group.len() as i64);
            self.commit(group);
        }
    }

    /// Commits a group and tells its senders.
    fn commit(&self, group: Vec<Job>) {
        let started = Instant::now();
        let mut fresh: HashMap<[u8; 16], usize> = HashMap::new();
        let mut requests: Vec<Request> = Vec::new();
        let mut rows = Vec::new();
        let mut waiting = Vec::new();
        {
            let receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
            for job in group {
                match receipts.seen(&job.request) {
                    Seen::Taken => tell(job.reply, Ok(true)),
                    Seen::Otherwise => tell(job.reply, Err(used_otherwise())),
                    Seen::Never => match fresh.get(&job.request.key) {
                        // Twice in one group: the second waits for the first one's rows.
                        Some(at) if requests[*at] == job.request => {
                            waiting.push((job.reply, true, job.room));
                        }
                        Some(_) => tell(job.reply, Err(used_otherwise())),
                        None => {
                            fresh.insert(job.request.key, requests.len());
                            requests.push(job.request);
                            rows.extend(job.batches);
                            waiting.push((job.reply, false, job.room));
                        }
                    },
                }
            }
        }
        if requests.is_empty() {
            return;
        }
        let count = requests.len();
        let committed = self.write(rows, requests);
        self.metrics
            .committed(committed.is_ok(), count, started.elapsed());
        let problem = committed.err().map(|error| {
            let mut problem = Problem::from(error);
            problem.status = StatusCode::SERVICE_UNAVAILABLE;
            problem.retry_after = Some(5);
            problem
        });
        for (reply, is_known, room) in waiting {
            tell(reply, problem.clone().map_or(Ok(is_known), Err));
            drop(room);
        }
    }

    /// All rows in one commit, with word of the requests they are of.
    fn write(&self, rows: Vec<(Table, RecordBatch)>, requests: Vec<Request>) -> Result<()> {
        let mut writer = self.store.writer(WriteOptions {
            memory_budget: SORT_MEMORY,
            // A few rows at a time, into one file an hour: who deserves a partition is decided when files are compacted.
            max_partitions_per_hour: 0,
            threads: 1,
            ..WriteOptions::default()
        })?;
        for (table, batch) in rows {
            writer.write(table, batch)?;
        }
        let mut receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        let (application, sequence) = receipts.begin(&requests, now())?;
        // Not held while files are written: requests that are known are answered meanwhile.
        drop(receipts);
        let committed = writer.commit(&[(application, sequence)]);
        let receipts = || self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        match committed {
            Ok(tables) => {
                let is_ours = tables
                    .iter()
                    .all(|table| table.outcome == Outcome::Committed);
                if !is_ours {
                    return Err(Error::Moved {
                        message: "another process takes requests into this store".into(),
                    });
                }
                receipts().done(sequence, requests, now());
                Ok(())
            }
            // It may have come far enough to be completed, and then it has been.
            Err(error) => match receipts().settle(sequence, requests, now())? {
                true => Ok(()),
                false => Err(error),
            },
        }
    }
}

/// Whoever asked may be gone.
fn tell(reply: oneshot::Sender<Result<bool, Problem>>, answer: Result<bool, Problem>) {
    let _ = reply.send(answer);
}

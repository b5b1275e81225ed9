//! Provider logs in, rows out.
//!
//! One thread reads ([`reader`](self)), as many as there are processors decode, and the calling thread writes. Blocks of
//! whole values travel between them through short queues, so memory stays the same whatever the size of the input.
//! What was read is remembered by content (`ledger`), in the same commit as the rows: reading it again changes nothing.
//!
//! In the order in which a byte meets them: `source` opens, `reader` cuts with `split`, `worker` parses (`json`,
//! `envelope`), recognises (`format`), decodes (one file per format), enriches (`enrich`) and appends.

pub mod format;
pub mod json;
pub mod record;
pub mod time;

mod access_log;
mod action_class;
mod address;
mod arn;
mod azure;
mod bedrock;
mod body;
mod cloudflare;
mod cloudtrail;
mod columnar;
mod conversation;
mod csv_rows;
mod enrich;
mod envelope;
mod envoy;
mod explain;
mod gcp_audit;
mod generic;
mod guardrail;
mod helicone;
mod into_store;
mod kong;
mod langfuse;
mod ledger;
mod litellm;
mod live;
mod mask;
#[cfg(test)]
mod mutate;
#[cfg(test)]
mod mutation;
mod names;
mod otlp;
mod prices;
mod provider_audit;
mod reader;
mod residue;
mod source;
mod split;
#[cfg(test)]
mod testing;
mod tokens;
mod vertex;
mod worker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;

pub use explain::{Explained, explain};
pub use generic::Mapping;
pub use into_store::into_store;
pub use ledger::{Ledger, Mark, Tier};
pub use live::{Decoded, Decoder, TooLarge, otlp_to_json};
pub use prices::PriceList;
pub use reader::is_table;
pub use source::{Listing, Source, list, look};
pub use worker::Tally;

use crate::error::Result;
use crate::schema::{Micros, Table};
use format::Format;
use reader::{Block, Ending, Stopped};
use worker::{Output, Settings, Worker};

/// What becomes of prompt and response text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ContentMode {
    /// Measured, then dropped.
    #[default]
    Off,
    /// Kept with personal data and secrets replaced.
    Redacted,
    /// Kept as it is.
    Raw,
}

/// How to ingest.
#[derive(Debug, Clone)]
pub struct Options {
    /// The format of every record, when it is not to be recognised.
    pub format: Option<Format>,
    /// What becomes of text.
    pub content: ContentMode,
    /// Threads that decode.
    pub threads: usize,
    /// Keys the hashes.
    pub secret: [u8; 32],
    /// The time that `quarantine` rows carry.
    pub now: Micros,
    /// What calls cost whose log does not say.
    pub prices: Arc<PriceList>,
    /// Where columns are looked for in records of no known format.
    pub mapping: Arc<Mapping>,
}

impl Options {
    fn tiers(&self) -> &'static [Tier] {
        match self.content {
            ContentMode::Off => &[Tier::Metadata],
            ContentMode::Redacted | ContentMode::Raw => &[Tier::Metadata, Tier::Content],
        }
    }
}

/// Where the rows go.
pub trait Sink {
    /// Takes rows of a table, in any order.
    ///
    /// # Errors
    /// When they cannot be kept.
    fn write(&mut self, table: Table, batch: RecordBatch) -> Result<()>;

    /// Makes everything written since the last commit durable, in one step with the marks of what was read.
    ///
    /// # Errors
    /// When that fails; nothing of it is then visible.
    fn commit(&mut self, marks: &[Mark]) -> Result<()>;
}

/// How an ingest went.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Summary {
    /// Sources that were read, at least in part.
    pub files: u64,
    /// Sources all of whose content was known.
    pub already_ingested: u64,
    /// Files that hold no records by their place.
    pub passed_over: u64,
    /// Sources whose last record is not complete yet: file and offset.
    pub pending: Vec<(String, u64)>,
    /// Sources that could not be read to their end: file and reason.
    pub failed: Vec<(String, String)>,
    /// Bytes of new content, decompressed.
    pub bytes: u64,
    /// What was counted.
    #[serde(flatten)]
    pub tally: Tally,
}

/// How far an ingest is, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes taken from disk.
    pub bytes: Arc<AtomicU64>,
    /// Records decoded.
    pub records: AtomicU64,
}

enum Event {
    /// A block is on its way to the workers.
    Sent,
    /// What a worker made of a block, or of a part of it.
    Output(Output),
    /// A worker is done with a block.
    Done,
    /// A source has ended.
    Ended { source: Source, ending: Ending },
    /// The reader waits: everything so far is to be committed, an unfinished source under these marks.
    Checkpoint(Vec<Mark>),
}

/// Reads `sources` into `sink`.
///
/// # Errors
/// When the sink fails. Sources that cannot be read are in the summary instead.
pub fn ingest(
    sources: Vec<Source>,
    options: &Options,
    ledger: &Ledger,
    progress: &Progress,
    sink: &mut dyn Sink,
) -> Result<Summary> {
    let tiers = options.tiers();
    let threads = options.threads.max(1);
    let (blocks, queue) = sync_channel::<Block>(threads);
    let (events, inbox) = sync_channel::<Event>(2 * threads);
    let (resume, resumed) = sync_channel::<()>(1);
    let queue = Arc::new(Mutex::new(queue));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (queue, events) = (Arc::clone(&queue), events.clone());
            let settings = Settings {
                content: options.content,
                secret: options.secret,
                now: options.now,
                prices: Arc::clone(&options.prices),
                mapping: Arc::clone(&options.mapping),
            };
            scope.spawn(move || work(&mut Worker::new(settings), &queue, &events));
        }
        drop(queue);
        scope.spawn(move || {
            let mut feed = Feed {
                blocks,
                events,
                resumed,
                uncommitted: 0,
            };
            for source in sources {
                let ending = reader::read(
                    &source,
                    options.format,
                    ledger,
                    tiers,
                    &progress.bytes,
                    &mut feed,
                );
                if ending
                    .and_then(|ending| feed.ended(source, ending))
                    .is_err()
                {
                    return;
                }
            }
        });
        // Dropped when this closure ends, also by an error: whoever waits for a place in a queue then learns that
        // nobody reads it any more.
        Collector {
            sink,
            summary: Summary::default(),
            marks: Vec::new(),
            outstanding: 0,
        }
        .run(inbox, &resume, progress)
    })
}

fn work(worker: &mut Worker, queue: &Mutex<Receiver<Block>>, events: &SyncSender<Event>) {
    loop {
        let block = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(block) = block else { return };
        // Whether anybody still listens is asked once, at the end.
        worker.process(&block, &mut |output| {
            drop(events.send(Event::Output(output)))
        });
        if events.send(Event::Done).is_err() {
            return;
        }
    }
}

/// A long run is committed on the way, so that a killed one need not begin anew.
const CHECKPOINT: u64 = 2 << 30;

/// The reader's side of the queues.
struct Feed {
    blocks: SyncSender<Block>,
    events: SyncSender<Event>,
    resumed: Receiver<()>,
    uncommitted: u64,
}

impl Feed {
    fn ended(&mut self, source: Source, ending: Ending) -> Result<(), Stopped> {
        self.events
            .send(Event::Ended { source, ending })
            .map_err(|_| Stopped)?;
        self.commit_if_due(|| Some(Vec::new()))
    }

    fn commit_if_due(&mut self, marks: impl FnOnce() -> Option<Vec<Mark>>) -> Result<(), Stopped> {
        if self.uncommitted < CHECKPOINT {
            return Ok(());
        }
        let Some(marks) = marks() else {
            return Ok(());
        };
        self.uncommitted = 0;
        self.events
            .send(Event::Checkpoint(marks))
            .map_err(|_| Stopped)?;
        self.resumed.recv().map_err(|_| Stopped)
    }
}

impl reader::Sink for Feed {
    fn block(
        &mut self,
        block: Block,
        marks: &mut dyn FnMut() -> Option<Vec<Mark>>,
    ) -> Result<(), Stopped> {
        self.uncommitted += block.bytes.len() as u64;
        self.events.send(Event::Sent).map_err(|_| Stopped)?;
        self.blocks.send(block).map_err(|_| Stopped)?;
        self.commit_if_due(marks)
    }
}

/// The writing side.
struct Collector<'s> {
    sink: &'s mut dyn Sink,
    summary: Summary,
    marks: Vec<Mark>,
    /// Blocks that the workers have not answered yet.
    outstanding: usize,
}

impl Collector<'_> {
    fn run(
        mut self,
        inbox: Receiver<Event>,
        resume: &SyncSender<()>,
        progress: &Progress,
    ) -> Result<Summary> {
        let mut waiting = None;
        for event in inbox {
            match event {
                Event::Sent => self.outstanding += 1,
                Event::Output(output) => {
                    progress
                        .records
                        .fetch_add(output.tally.total_records(), Ordering::Relaxed);
                    self.summary.tally.add(&output.tally);
                    for (table, batch) in output.batches {
                        self.sink.write(table, batch)?;
                    }
                }
                Event::Done => self.outstanding -= 1,
                Event::Ended { source, ending } => self.ended(&source, ending),
                Event::Checkpoint(marks) => {
                    self.marks.extend(marks);
                    waiting = Some(());
                }
            }
            if self.outstanding == 0 && waiting.take().is_some() {
                self.commit()?;
                // A reader that is gone has nothing to resume.
                let _ = resume.send(());
            }
        }
        self.commit()?;
        Ok(self.summary)
    }

    fn ended(&mut self, source: &Source, ending: Ending) {
        let unread = ending.marks.is_empty() && ending.pending.is_none() && ending.error.is_none();
        if unread && ending.known {
            self.summary.already_ingested += 1;
        } else {
            self.summary.files += 1;
        }
        self.summary.bytes += ending.new_bytes;
        self.marks.extend(ending.marks);
        self.summary
            .pending
            .extend(ending.pending.map(|offset| (source.name(), offset)));
        self.summary
            .failed
            .extend(ending.error.map(|error| (source.name(), error)));
    }

    fn commit(&mut self) -> Result<()> {
        let marks = std::mem::take(&mut self.marks);
        if marks.is_empty() {
            Ok(())
        } else {
            self.sink.commit(&marks)
        }
    }
}

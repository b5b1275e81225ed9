//! Reads one source from its first byte to its last and hands it on in blocks of whole values.
//!
//! The reader alone knows what is new: it compares the content with the ledger, passes over what every table has, and
//! at the end says under which mark the rest is to be remembered.

mod frames;
mod framing;
mod tables;
mod values;

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::format::Format;
use super::ledger::{self, HEAD, Ledger, Mark, Tier};
use super::source::{self, Content, Source};
use crate::schema::Table;
use framing::Framing;

/// Blocks are about this large: enough to be worth a thread's while, little enough to hold several.
const BLOCK: usize = 2 << 20;

/// Where rows come from, and which of them are wanted.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) name: String,
    /// The format that was asked for.
    pub(super) format: Option<Format>,
    /// The tiers that are wanted, and up to where each has this content already.
    had: Vec<(Tier, u64)>,
}

impl Origin {
    /// Whether a table lacks the rows of the value at `offset`.
    pub(super) fn wants(&self, table: Table, offset: u64) -> bool {
        self.had
            .iter()
            .any(|(tier, length)| *tier == Tier::of(table) && offset >= *length)
    }
}

/// A stretch of whole values.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) origin: Arc<Origin>,
    /// Offset of the first byte in the content.
    pub(super) base: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) pieces: Pieces,
}

/// How a block is cut.
#[derive(Debug)]
pub(super) enum Pieces {
    /// One value a line.
    Lines,
    /// Values at these places of the block, with their offsets in the content.
    Values(Vec<(u64, Range<usize>)>),
    /// No value at all, for this reason.
    Unreadable(&'static str),
}

/// How a source ended.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// What to remember it by, for each tier that got something new.
    pub(super) marks: Vec<Mark>,
    /// Offset of a last value that is not complete yet.
    pub(super) pending: Option<u64>,
    /// Why reading stopped before the end.
    pub(super) error: Option<String>,
    /// Bytes of content that are new.
    pub(super) new_bytes: u64,
    /// Whether some of the content was known.
    pub(super) known: bool,
}

/// What takes the blocks.
pub(super) trait Sink {
    /// Takes a block. `marks` name the content up to its end, should this be the moment to commit; `None` when only the
    /// whole of it can be named.
    fn block(
        &mut self,
        block: Block,
        marks: &mut dyn FnMut() -> Option<Vec<Mark>>,
    ) -> Result<(), Stopped>;
}

/// The receiving side is gone.
#[derive(Debug)]
pub(super) struct Stopped;

/// Reads a source.
pub(super) fn read(
    source: &Source,
    format: Option<Format>,
    ledger: &Ledger,
    tiers: &[Tier],
    progress: &Arc<AtomicU64>,
    sink: &mut dyn Sink,
) -> Result<Ending, Stopped> {
    match try_read(source, format, ledger, tiers, progress, sink) {
        Ok(ending) => ending,
        Err(error) => Ok(Ending {
            error: Some(error.to_string()),
            ..Ending::default()
        }),
    }
}

fn try_read(
    source: &Source,
    format: Option<Format>,
    ledger: &Ledger,
    tiers: &[Tier],
    progress: &Arc<AtomicU64>,
    sink: &mut dyn Sink,
) -> io::Result<Result<Ending, Stopped>> {
    let Content { reader, can_grow } = source::open(source, progress)?;
    let (head, mut reader) = source::peek(reader, HEAD)?;
    if ledger.candidates(&head).is_empty() {
        let had = tiers.iter().map(|tier| (*tier, 0)).collect();
        return Ok(Reading::new(source, format, had, can_grow, head, sink).run(Box::new(reader)));
    }
    // Its beginning is known: once through to see how much of it is, and once more for the rest.
    let (mut first, second): (Box<dyn Read + Send>, Box<dyn Read + Send>) = match source {
        Source::File(_) | Source::Request { .. } => (
            source::open(source, &Arc::default())?.reader,
            Box::new(reader),
        ),
        Source::Stdin => {
            // Standard input cannot be read twice; a file of its own can, and is gone with the last handle.
            let mut file = tempfile::NamedTempFile::new()?;
            io::copy(&mut reader, &mut file)?;
            (Box::new(file.reopen()?), Box::new(file.reopen()?))
        }
    };
    let had = compare(ledger, &head, &mut first, tiers)?;
    Ok(Reading::new(source, format, had, can_grow, head, sink).run(second))
}

/// Up to where each table has the content, by the longest known beginning of it.
fn compare(
    ledger: &Ledger,
    head: &[u8],
    mut reader: &mut dyn Read,
    tiers: &[Tier],
) -> io::Result<Vec<(Tier, u64)>> {
    let mut had: Vec<(Tier, u64)> = tiers.iter().map(|tier| (*tier, 0)).collect();
    let mut hash = blake3::Hasher::new();
    let mut read = 0;
    for known in ledger.candidates(head) {
        let copied = io::copy(&mut (&mut reader).take(known.length - read), &mut hash)?;
        read += copied;
        if read < known.length {
            break;
        }
        if hash.finalize().to_hex().as_str() == known.hash {
            for (tier, length) in &mut had {
                if known.tiers.contains(tier) {
                    *length = known.length;
                }
            }
        }
    }
    Ok(had)
}

/// Whether a file is a table, which is only whole as a whole: a row of it may be cut where a line ends.
///
/// # Errors
/// When it cannot be read.
pub fn is_table(path: &Path) -> io::Result<bool> {
    let content = source::open(&Source::File(path.to_path_buf()), &Arc::default())?;
    let (head, _) = source::peek(content.reader, 1 << 16)?;
    let framing = Framing::of(&head, head.len() < 1 << 16);
    Ok(matches!(framing, Framing::Csv | Framing::Parquet))
}

/// What to remember content by: a mark for each tier that lacked some of it.
fn marks(origin: &Origin, head: &[u8], hash: &blake3::Hasher, done: u64) -> Vec<Mark> {
    let lacking = origin.had.iter().filter(|(_, had)| done > *had);
    lacking
        .map(|(tier, _)| ledger::mark(*tier, head, hash, done))
        .collect()
}

struct Reading<'s> {
    origin: Arc<Origin>,
    sink: &'s mut dyn Sink,
    can_grow: bool,
    head: Vec<u8>,
    hash: blake3::Hasher,
    /// Content that is done with: hashed, and handed over unless every table has it.
    done: u64,
    /// Up to where every table has the content.
    start: u64,
    /// Whether what was read is known by the whole of it alone, since nobody can say how far in bytes a row reaches.
    is_indivisible: bool,
}

impl<'s> Reading<'s> {
    fn new(
        source: &Source,
        format: Option<Format>,
        had: Vec<(Tier, u64)>,
        can_grow: bool,
        head: Vec<u8>,
        sink: &'s mut dyn Sink,
    ) -> Self {
        let start = had.iter().map(|(_, length)| *length).min().unwrap_or(0);
        let origin = Arc::new(Origin {
            name: source.name(),
            format,
            had,
        });
        Reading {
            origin,
            sink,
            can_grow,
            head,
            hash: blake3::Hasher::new(),
            done: 0,
            start,
            is_indivisible: false,
        }
    }

    fn run(mut self, mut reader: Box<dyn Read + Send>) -> Result<Ending, Stopped> {
        let mut ending = Ending::default();
        let result = self.copy(&mut *reader, &mut ending);
        match result {
            Ok(Ok(())) => {}
            Ok(Err(Stopped)) => return Err(Stopped),
            // What was read before the damage stays read: the mark says how far that is.
            Err(error) => ending.error = Some(error.to_string()),
        }
        ending.known = self.start > 0;
        ending.new_bytes = self.done.saturating_sub(self.start);
        ending.marks = marks(&self.origin, &self.head, &self.hash, self.done);
        Ok(ending)
    }

    fn copy(
        &mut self,
        reader: &mut dyn Read,
        ending: &mut Ending,
    ) -> io::Result<Result<(), Stopped>> {
        let mut buffer = Vec::new();
        let mut at_end = false;
        while !at_end && buffer.len() < BLOCK {
            at_end = !fill(reader, &mut buffer, 1 << 16)?;
            if memchr::memchr(b'\n', buffer.trim_ascii_start()).is_some() {
                break;
            }
        }
        match Framing::of(&buffer, at_end) {
            Framing::Nothing => {
                self.advance(&buffer);
                Ok(Ok(()))
            }
            Framing::Foreign(what) => Err(io::Error::new(io::ErrorKind::InvalidData, what)),
            Framing::Lines => self.lines(reader, buffer, ending),
            Framing::Stream => self.stream(reader, buffer, ending),
            Framing::Lengths => self.lengths(reader, buffer, ending),
            Framing::Csv => {
                self.is_indivisible = true;
                self.csv(reader, buffer)
            }
            Framing::Parquet => {
                self.is_indivisible = true;
                self.parquet(reader, buffer)
            }
        }
    }

    /// Counts bytes as done.
    fn advance(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.done += bytes.len() as u64;
    }

    /// Hands over a block whose bytes begin at the current place, and counts them as done.
    fn hand_over(&mut self, bytes: Vec<u8>, pieces: Pieces) -> Result<(), Stopped> {
        let base = self.done;
        self.advance(&bytes);
        if self.done <= self.start {
            return Ok(());
        }
        let pieces = match pieces {
            Pieces::Values(mut values) => {
                values.retain(|(offset, _)| *offset >= self.start);
                Pieces::Values(values)
            }
            other => other,
        };
        self.send(Block {
            origin: Arc::clone(&self.origin),
            base,
            bytes,
            pieces,
        })
    }

    fn send(&mut self, block: Block) -> Result<(), Stopped> {
        let Reading {
            sink,
            origin,
            head,
            hash,
            done,
            is_indivisible,
            ..
        } = self;
        sink.block(block, &mut || {
            (!*is_indivisible).then(|| marks(origin, head, hash, *done))
        })
    }
}

const TOO_LARGE: &str = "value is larger than 32 MiB";

/// Reads about `size` more bytes; `false` at the end.
fn fill(reader: &mut dyn Read, buffer: &mut Vec<u8>, size: usize) -> io::Result<bool> {
    let before = buffer.len();
    buffer.reserve(size);
    reader.take(size as u64).read_to_end(buffer)?;
    Ok(buffer.len() - before == size)
}

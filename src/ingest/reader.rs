//! Reads one source from its first byte to its last and hands it on in blocks of whole values.
//!
//! The reader alone knows what is new: it compares the content with the ledger, passes over what every table has, and
//! at the end says under which mark the rest is to be remembered.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::access_log;
use super::columnar;
use super::csv_rows::{self, RowEnds};
use super::format::Format;
use super::json::Arena;
use super::ledger::{self, HEAD, Ledger, Mark, Tier};
use super::otlp::protobuf;
use super::source::{self, Content, Source};
use super::split::{MAX_VALUE, Piece, Scanner};
use crate::schema::Table;

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

    fn lines(
        &mut self,
        reader: &mut dyn Read,
        mut buffer: Vec<u8>,
        ending: &mut Ending,
    ) -> io::Result<Result<(), Stopped>> {
        let mut passing_over = false;
        let mut failure = None;
        loop {
            let more = match fill(reader, &mut buffer, BLOCK) {
                Ok(more) => more,
                Err(error) => {
                    failure = Some(error);
                    false
                }
            };
            // Content that every table has ends at the end of a line, and so must a block.
            let limit = match usize::try_from(self.start.saturating_sub(self.done)) {
                Ok(0) | Err(_) => buffer.len(),
                Ok(known) => known.min(buffer.len()),
            };
            if limit < buffer.len() && self.done + limit as u64 == self.start {
                let rest = buffer.split_off(limit);
                self.advance(&buffer);
                buffer = rest;
            }
            if let Some(end) = memchr::memrchr(b'\n', &buffer) {
                let rest = buffer.split_off(end + 1);
                let mut block = std::mem::replace(&mut buffer, rest);
                if std::mem::take(&mut passing_over) {
                    let end = memchr::memchr(b'\n', &block).map_or(block.len(), |end| end + 1);
                    let rest = block.split_off(end);
                    self.advance(&block);
                    block = rest;
                }
                if let Err(stopped) = self.hand_over(block, Pieces::Lines) {
                    return Ok(Err(stopped));
                }
            } else if passing_over {
                let bytes = std::mem::take(&mut buffer);
                self.advance(&bytes);
            } else if buffer.len() > MAX_VALUE {
                passing_over = true;
                let bytes = std::mem::take(&mut buffer);
                if let Err(stopped) = self.hand_over(bytes, Pieces::Unreadable(TOO_LARGE)) {
                    return Ok(Err(stopped));
                }
            }
            if !more {
                break;
            }
        }
        if let Some(error) = failure {
            // The line that the damage cut is not done with: should the file come again whole, it is read then.
            return Err(error);
        }
        if passing_over || buffer.trim_ascii().is_empty() {
            self.advance(&buffer);
            return Ok(Ok(()));
        }
        Ok(self.last(buffer, ending))
    }

    /// A last line without its end: whole, still being written, or cut off for good.
    fn last(&mut self, line: Vec<u8>, ending: &mut Ending) -> Result<(), Stopped> {
        if self.can_grow && Arena::new().parse(line.trim_ascii()).is_err() {
            ending.pending = Some(self.done);
            return Ok(());
        }
        self.hand_over(line, Pieces::Lines)
    }

    fn stream(
        &mut self,
        reader: &mut dyn Read,
        mut buffer: Vec<u8>,
        ending: &mut Ending,
    ) -> io::Result<Result<(), Stopped>> {
        let mut scanner = Scanner::new();
        let mut failure = None;
        loop {
            let more = match fill(reader, &mut buffer, BLOCK) {
                Ok(more) => more,
                Err(error) => {
                    failure = Some(error);
                    false
                }
            };
            let base = self.done;
            let (mut values, mut oversized) = (Vec::new(), false);
            let done = scanner.scan(&buffer, |piece| match piece {
                Piece::Value { start, end } => values.push((base + start as u64, start..end)),
                Piece::Oversized { .. } => oversized = true,
            });
            let rest = buffer.split_off(done);
            let block = std::mem::replace(&mut buffer, rest);
            let pieces = if oversized && values.is_empty() {
                Pieces::Unreadable(TOO_LARGE)
            } else {
                Pieces::Values(values)
            };
            if let Err(stopped) = self.hand_over(block, pieces) {
                return Ok(Err(stopped));
            }
            if !more {
                break;
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        if buffer.trim_ascii().is_empty() {
            self.advance(&buffer);
        } else if self.can_grow {
            ending.pending = Some(self.done);
        } else {
            let whole = 0..buffer.len();
            let pieces = Pieces::Values(vec![(self.done, whole)]);
            if let Err(stopped) = self.hand_over(buffer, pieces) {
                return Ok(Err(stopped));
            }
        }
        Ok(Ok(()))
    }

    /// The collector's file exporter, compressed or in Protobuf: each message behind its length in four bytes.
    fn lengths(
        &mut self,
        reader: &mut dyn Read,
        mut buffer: Vec<u8>,
        ending: &mut Ending,
    ) -> io::Result<Result<(), Stopped>> {
        loop {
            while buffer.len() < 4 && fill(reader, &mut buffer, BLOCK)? {}
            let Some(length) = buffer
                .first_chunk::<4>()
                .map(|bytes| u32::from_be_bytes(*bytes) as usize)
            else {
                break;
            };
            if length > MAX_VALUE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LARGE));
            }
            while buffer.len() < 4 + length && fill(reader, &mut buffer, BLOCK)? {}
            if buffer.len() < 4 + length {
                break;
            }
            let rest = buffer.split_off(4 + length);
            let message = std::mem::replace(&mut buffer, rest);
            let offset = self.done;
            self.advance(&message);
            if self.done <= self.start {
                continue;
            }
            let mut reason = None;
            let mut text = unpacked(&message[4..]).unwrap_or_else(|_| {
                // The next frame begins where its length says.
                reason = Some(DAMAGED_FRAME);
                message[4..].to_vec()
            });
            let is_json = text.trim_ascii_start().starts_with(b"{");
            if reason.is_none() && !is_json && text.len() <= MAX_VALUE {
                match protobuf::to_json(&text) {
                    Some(json) => text = json.into_bytes(),
                    None => reason = Some(protobuf::DAMAGED),
                }
            }
            // Either step may have made it larger.
            if text.len() > MAX_VALUE {
                text.truncate(MAX_VALUE);
                reason = Some(TOO_LARGE);
            }
            let pieces = match reason {
                Some(reason) => Pieces::Unreadable(reason),
                None => Pieces::Values(vec![(offset, 0..text.len())]),
            };
            let block = Block {
                origin: Arc::clone(&self.origin),
                base: offset,
                bytes: text,
                pieces,
            };
            if let Err(stopped) = self.send(block) {
                return Ok(Err(stopped));
            }
        }
        if !buffer.is_empty() {
            ending.pending = Some(self.done);
        }
        Ok(Ok(()))
    }

    /// Rows of a Parquet file. They lie behind their index, which is at the end: what cannot be read twice is kept in a
    /// file until then. A row's offset is its number.
    fn parquet(
        &mut self,
        reader: &mut dyn Read,
        buffer: Vec<u8>,
    ) -> io::Result<Result<(), Stopped>> {
        let mut whole = Hashing {
            inner: io::Cursor::new(buffer).chain(reader),
            hash: blake3::Hasher::new(),
            read: 0,
        };
        // Only a plain file can grow.
        let file = if self.can_grow {
            io::copy(&mut whole, &mut io::sink())?;
            File::open(&self.origin.name)?
        } else {
            let mut file = tempfile::tempfile()?;
            io::copy(&mut whole, &mut file)?;
            file
        };
        (self.hash, self.done) = (whole.hash, whole.read);
        let is_known = self.done <= self.start;
        let rows = if is_known {
            None
        } else {
            Some(columnar::Rows::open(file, BLOCK)?)
        };
        let mut number = 0;
        for batch in rows.into_iter().flatten() {
            let (bytes, places) = batch?;
            let values = places
                .into_iter()
                .zip(number..)
                .map(|(place, row)| (row, place));
            let values: Vec<_> = values.collect();
            number += values.len() as u64;
            let block = Block {
                origin: Arc::clone(&self.origin),
                base: 0,
                bytes,
                pieces: Pieces::Values(values),
            };
            if let Err(stopped) = self.send(block) {
                return Ok(Err(stopped));
            }
        }
        Ok(Ok(()))
    }

    /// Rows of a CSV export, each as the object it stands for.
    fn csv(
        &mut self,
        reader: &mut dyn Read,
        mut buffer: Vec<u8>,
    ) -> io::Result<Result<(), Stopped>> {
        let (mut ends, mut names) = (RowEnds::default(), None);
        let (mut scanned, mut passing_over) = (0, false);
        loop {
            let (more, failure) = match fill(reader, &mut buffer, BLOCK) {
                Ok(more) => (more, None),
                Err(error) => (false, Some(error)),
            };
            let found = ends.scan(&buffer[scanned..]);
            let mut end = found.map_or(0, |(_, last)| scanned + last);
            if passing_over {
                let over = found.map_or(buffer.len(), |(first, _)| scanned + first);
                let rest = buffer.split_off(over);
                self.advance(&buffer);
                (buffer, end) = (rest, end.saturating_sub(over));
                passing_over = found.is_none();
            }
            // What the damage cut is not done with: should the file come again whole, it is read then.
            if !more && failure.is_none() {
                end = buffer.len();
            }
            let rest = buffer.split_off(end);
            if let Err(stopped) = self.rows(&mut names, &buffer)? {
                return Ok(Err(stopped));
            }
            self.advance(&buffer);
            buffer = rest;
            if buffer.len() > MAX_VALUE {
                if names.is_none() {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LARGE));
                }
                passing_over = true;
                let bytes = std::mem::take(&mut buffer);
                if let Err(stopped) = self.hand_over(bytes, Pieces::Unreadable(TOO_LARGE)) {
                    return Ok(Err(stopped));
                }
            }
            scanned = buffer.len();
            match failure {
                Some(error) => return Err(error),
                None if !more => return Ok(Ok(())),
                None => {}
            }
        }
    }

    /// Hands over whole rows of a CSV export, without counting them as done.
    fn rows(
        &mut self,
        names: &mut Option<csv::ByteRecord>,
        text: &[u8],
    ) -> io::Result<Result<(), Stopped>> {
        let (base, start) = (self.done, self.start);
        csv_rows::read(names, text, BLOCK, |bytes, mut places| {
            places.retain_mut(|(offset, _)| {
                *offset += base;
                *offset >= start
            });
            if places.is_empty() {
                return Ok(());
            }
            self.send(Block {
                origin: Arc::clone(&self.origin),
                base,
                bytes,
                pieces: Pieces::Values(places),
            })
        })
    }
}

/// How a frame of zstd begins.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

const TOO_LARGE: &str = "value is larger than 32 MiB";

const DAMAGED_FRAME: &str = "damaged zstd frame";

/// What is in a frame, compressed or not; a byte too many where that would be too large.
fn unpacked(frame: &[u8]) -> io::Result<Vec<u8>> {
    if !frame.starts_with(ZSTD) {
        return Ok(frame.to_vec());
    }
    let mut text = Vec::new();
    zstd::stream::read::Decoder::new(frame)?
        .take(MAX_VALUE as u64 + 1)
        .read_to_end(&mut text)?;
    Ok(text)
}

/// Reads about `size` more bytes; `false` at the end.
fn fill(reader: &mut dyn Read, buffer: &mut Vec<u8>, size: usize) -> io::Result<bool> {
    let before = buffer.len();
    buffer.reserve(size);
    reader.take(size as u64).read_to_end(buffer)?;
    Ok(buffer.len() - before == size)
}

struct Hashing<R> {
    inner: R,
    hash: blake3::Hasher,
    read: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

enum Framing {
    Nothing,
    Lines,
    Stream,
    Lengths,
    Csv,
    Parquet,
    Foreign(&'static str),
}

impl Framing {
    /// How a content is framed, by how it begins.
    fn of(beginning: &[u8], at_end: bool) -> Framing {
        let text = beginning.trim_ascii_start();
        let line = match memchr::memchr(b'\n', text) {
            Some(end) => Some(&text[..end]),
            None => at_end.then_some(text),
        };
        match text {
            [] => Framing::Nothing,
            _ if beginning.starts_with(columnar::MAGIC) => Framing::Parquet,
            // JSON, Protobuf, or either of them compressed.
            [0, _, _, _, b'{' | 0x0a, ..] => Framing::Lengths,
            [0, _, _, _, frame @ ..] if frame.starts_with(ZSTD) => Framing::Lengths,
            [b'{', ..]
                if line.is_some_and(|line| Arena::new().parse(line.trim_ascii()).is_ok()) =>
            {
                Framing::Lines
            }
            // A line may begin with a bracket.
            [b'[', ..] if access_log::is_log(text) => Framing::Lines,
            [b'{' | b'[' | 0x1e, ..] => Framing::Stream,
            _ if line.is_some_and(is_csv_header) => Framing::Csv,
            // Text that holds no object in its first stretch is something else altogether.
            _ if memchr::memchr(b'{', text).is_none() && !access_log::is_log(text) => {
                Framing::Foreign("not a log: no JSON in it, and no request")
            }
            _ => Framing::Lines,
        }
    }
}

/// A header names at least three columns, one of them a time or an id that the known exports have.
fn is_csv_header(line: &[u8]) -> bool {
    let names: Vec<&[u8]> = line
        .split(|byte| *byte == b',')
        .map(|name| name.trim_ascii())
        .collect();
    let known: [&[u8]; 8] = [
        b"TimeGenerated",
        b"timestamp",
        b"time",
        b"startTime",
        b"start_time",
        b"request_id",
        b"request_created_at",
        b"event_time",
    ];
    let bare = |name: &[u8]| {
        name.strip_prefix(b"\"")
            .and_then(|name| name.strip_suffix(b"\""))
            .unwrap_or(name)
            .to_ascii_lowercase()
    };
    names.len() >= 3
        && names.iter().any(|name| {
            known
                .iter()
                .any(|known| bare(name).starts_with(&known.to_ascii_lowercase()))
        })
}

//! Rows of tables: of CSV exports and of Parquet files.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use super::{BLOCK, Block, Pieces, Reading, Stopped, TOO_LARGE, fill};
use crate::ingest::columnar;
use crate::ingest::csv_rows::{self, RowEnds};
use crate::ingest::split::MAX_VALUE;

impl Reading<'_> {
    /// Rows of a Parquet file. They lie behind their index, which is at the end: what cannot be read twice is kept in a
    /// file until then. A row's offset is its number.
    pub(super) fn parquet(
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
    pub(super) fn csv(
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

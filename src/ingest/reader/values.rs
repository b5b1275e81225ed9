//! Lines and streams of values, cut into blocks.

use std::io::{self, Read};

use super::{BLOCK, Ending, Pieces, Reading, Stopped, TOO_LARGE, fill};
use crate::ingest::json::Arena;
use crate::ingest::split::{MAX_VALUE, Piece, Scanner};

impl Reading<'_> {
    pub(super) fn lines(
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

    pub(super) fn stream(
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
}

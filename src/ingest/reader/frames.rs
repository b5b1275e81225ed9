//! Messages behind their lengths, compressed or not.

use std::io::{self, Read};
use std::sync::Arc;

use super::framing::ZSTD;
use super::{BLOCK, Block, Ending, Pieces, Reading, Stopped, TOO_LARGE, fill};
use crate::ingest::otlp::protobuf;
use crate::ingest::split::MAX_VALUE;

impl Reading<'_> {
    /// The collector's file exporter, compressed or in Protobuf: each message behind its length in four bytes.
    pub(super) fn lengths(
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
}

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

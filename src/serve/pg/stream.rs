//! A stream of messages none of which is larger than a message of a client's may be. The library reads a message once
//! all of it is in memory, and takes up to a gigabyte.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A statement is text that somebody wrote.
const LONGEST: u32 = 4 << 20;

/// Reads along, and ends a stream that announces more.
pub(super) struct Bounded<S> {
    stream: S,
    frames: Frames,
}

/// Where in which message a stream is.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes of the head that have come: a type, which the first message lacks, and a length.
    head: Vec<u8>,
    /// Bytes of the message that have not.
    left: u32,
    is_begun: bool,
}

impl Frames {
    /// Takes the next bytes.
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = bytes.len().min(self.left as usize);
                self.left -= taken as u32;
                bytes = &bytes[taken..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            let typed = usize::from(self.is_begun);
            if let [a, b, c, d] = self.head[typed.min(self.head.len())..] {
                let length = u32::from_be_bytes([a, b, c, d]);
                // The length counts itself.
                if !(4..=LONGEST).contains(&length) {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a message that is too long, or no message",
                    ));
                }
                self.left = length - 4;
                self.head.clear();
                self.is_begun = true;
            }
        }
        Ok(())
    }
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S) -> Bounded<S> {
        Bounded {
            stream,
            frames: Frames::default(),
        }
    }

    /// Counts bytes that were read before. They are no more than the beginning of a first message.
    pub(super) fn count(&mut self, bytes: &[u8]) {
        if self.frames.take(bytes).is_err() {
            // Then so is whatever comes next.
            self.frames.head = vec![0; 5];
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.frames.take(&buffer.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        // A first message of 9 bytes, then two of type Q and X.
        let mut text = vec![0, 0, 0, 9, 1, 2, 3, 4, 5];
        text.extend([b'Q', 0, 0, 0, 6, 7, 8]);
        text.extend([b'X', 0, 0, 0, 4]);
        for size in 1..=text.len() {
            let mut frames = Frames::default();
            for piece in text.chunks(size) {
                frames.take(piece).expect("short messages");
            }
            assert!(frames.head.is_empty() && frames.left == 0, "{size}");
            assert!(frames.take(&[b'Q', 0, 0x40, 0, 1]).is_err());
        }
        for wrong in [[0, 0, 0, 3], [0xff, 0xff, 0xff, 0xff]] {
            assert!(Frames::default().take(&wrong).is_err());
        }
    }
}

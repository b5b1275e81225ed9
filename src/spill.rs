//! Bytes that do not fit in memory, on disk for as long as somebody needs them.
//!
//! They may hold prompts, so a spill file has no name, which leaves nothing behind when the process dies, and is
//! encrypted with a key that only this process has and never writes down. It is written once from its beginning to its
//! end, and may be read from anywhere meanwhile, by several at a time, up to where the writer last flushed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, RwLock};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Bytes that are encrypted together.
const FRAME: usize = 64 << 10;
/// What each frame is longer on disk.
const TAG: u64 = 16;

/// A file that one writes and many may read.
pub(crate) struct SpillFile {
    file: File,
    key: LessSafeKey,
    /// Where each frame that is on disk ends, counted without tags.
    ends: RwLock<Vec<u64>>,
}

impl SpillFile {
    /// A new file in a folder, and who writes it.
    pub(crate) fn create_in(folder: &Path) -> io::Result<(Arc<SpillFile>, SpillWriter)> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("it has the length of a key");
        let file = Arc::new(SpillFile {
            file: tempfile::tempfile_in(folder)?,
            key: LessSafeKey::new(key),
            ends: RwLock::default(),
        });
        let writer = SpillWriter {
            file: Arc::clone(&file),
            buffer: Vec::new(),
        };
        Ok((file, writer))
    }

    /// Reads it from the beginning.
    pub(crate) fn reader(self: &Arc<Self>) -> SpillReader {
        SpillReader {
            file: Arc::clone(self),
            position: 0,
            held: None,
            frame: Vec::new(),
        }
    }

    /// Bytes that can be read.
    pub(crate) fn len(&self) -> u64 {
        let ends = self.ends.read().expect("no thread panics with it");
        ends.last().copied().unwrap_or(0)
    }

    /// Each frame has a number of its own, and each file a key of its own, so no nonce comes twice.
    fn nonce(frame: usize) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&(frame as u64).to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// The frame that holds a position, with where it begins and ends; `None` at the end of what there is.
    fn frame_at(&self, position: u64) -> Option<(usize, u64, u64)> {
        let ends = self.ends.read().expect("no thread panics with it");
        let frame = ends.partition_point(|end| *end <= position);
        let begin = frame.checked_sub(1).map_or(0, |before| ends[before]);
        Some((frame, begin, *ends.get(frame)?))
    }
}

/// Writes a spill file. Bytes can be read once they are flushed.
pub(crate) struct SpillWriter {
    file: Arc<SpillFile>,
    buffer: Vec<u8>,
}

impl SpillWriter {
    fn write_frame(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let file = &self.file;
        let begin = file.len();
        let frame = file.ends.read().expect("no thread panics with it").len();
        let end = begin + self.buffer.len() as u64;
        file.key
            .seal_in_place_append_tag(SpillFile::nonce(frame), Aad::empty(), &mut self.buffer)
            .map_err(|_| io::Error::other("a spill file cannot be encrypted"))?;
        write_at(&file.file, &self.buffer, begin + TAG * frame as u64)?;
        self.buffer.clear();
        let mut ends = file.ends.write().expect("no thread panics with it");
        ends.push(end);
        Ok(())
    }
}

impl Write for SpillWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(FRAME - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == FRAME {
            self.write_frame()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_frame()
    }
}

/// Reads a spill file.
pub(crate) struct SpillReader {
    file: Arc<SpillFile>,
    position: u64,
    /// Which frame is at hand, and where it begins.
    held: Option<(usize, u64)>,
    frame: Vec<u8>,
}

impl Read for SpillReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((frame, begin, end)) = self.file.frame_at(self.position) else {
            return Ok(0);
        };
        if self.held != Some((frame, begin)) {
            self.held = None;
            let length = usize::try_from(end - begin + TAG).map_err(io::Error::other)?;
            self.frame.resize(length, 0);
            read_at(&self.file.file, &mut self.frame, begin + TAG * frame as u64)?;
            let key = &self.file.key;
            let plain = key
                .open_in_place(SpillFile::nonce(frame), Aad::empty(), &mut self.frame)
                .map_err(|_| {
                    io::Error::new(io::ErrorKind::InvalidData, "a spill file was changed")
                })?
                .len();
            self.frame.truncate(plain);
            self.held = Some((frame, begin));
        }
        let rest = usize::try_from(self.position - begin).map_err(io::Error::other)?;
        let rest = &self.frame[rest..];
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for SpillReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.file.len().checked_add_signed(offset),
        }
        .ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        (bytes, offset) = (&bytes[written..], offset + written as u64);
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (bytes, offset) = (&mut bytes[read..], offset + read as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_from_anywhere_and_is_not_on_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, mut writer) = SpillFile::create_in(folder.path()).expect("a file");
        let text: Vec<u8> = b"the quick brown fox "
            .iter()
            .copied()
            .cycle()
            .take(3 * FRAME + 7)
            .collect();
        writer.write_all(&text).expect("written");
        assert_eq!(file.len(), 3 * FRAME as u64, "the rest waits");
        writer.flush().expect("flushed");
        writer.write_all(b"and the end").expect("written");
        writer.flush().expect("flushed");

        let mut all = Vec::new();
        file.reader().read_to_end(&mut all).expect("read");
        assert_eq!(all, [&text[..], b"and the end"].concat());
        for position in [0, 1, FRAME - 1, FRAME, 2 * FRAME + 5, text.len(), all.len()] {
            let mut reader = file.reader();
            reader
                .seek(SeekFrom::Start(position as u64))
                .expect("sought");
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).expect("read");
            assert_eq!(rest, all[position..], "from {position}");
        }
        let mut raw = vec![0; text.len()];
        read_at(&file.file, &mut raw, 0).expect("read");
        assert!(!raw.windows(9).any(|window| window == b"brown fox"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0);
    }

    #[test]
    fn a_reader_goes_on_when_more_is_flushed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, mut writer) = SpillFile::create_in(folder.path()).expect("a file");
        let mut reader = file.reader();
        let mut read = Vec::new();
        for part in ["one", "two", "three"] {
            assert_eq!(reader.read(&mut [0; 8]).expect("read"), 0);
            writer.write_all(part.as_bytes()).expect("written");
            assert_eq!(
                reader.read(&mut [0; 8]).expect("read"),
                0,
                "not flushed yet"
            );
            writer.flush().expect("flushed");
            reader.read_to_end(&mut read).expect("read");
        }
        assert_eq!(read, b"onetwothree");
    }

    #[test]
    fn what_was_changed_on_disk_is_not_believed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, mut writer) = SpillFile::create_in(folder.path()).expect("a file");
        writer.write_all(b"rows").expect("written");
        writer.flush().expect("flushed");
        write_at(&file.file, b"R", 0).expect("changed");
        let error = file.reader().read_to_end(&mut Vec::new());
        assert!(error.is_err());
    }
}

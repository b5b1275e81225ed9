//! Opens what a person names: files, folders and standard input, whatever they are compressed with or encoded in.
//!
//! What a file is called decides nothing; its first bytes do. Folders are walked in the order of their names, so that
//! a run is the same on every machine.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs_io::DecodeReaderBytesBuilder;

use crate::error::{Error, Result};

/// One thing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, named as the person would name it.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// What somebody has sent, and what its rows are to say of where they are from.
    Request {
        /// The name.
        name: String,
        /// All of it.
        content: Arc<[u8]>,
    },
}

impl Source {
    /// The name in `source_file` and in messages.
    pub fn name(&self) -> String {
        match self {
            Source::File(path) => path.to_string_lossy().into_owned(),
            Source::Stdin => "-".into(),
            Source::Request { name, .. } => name.clone(),
        }
    }
}

/// What a walk over the named paths found.
#[derive(Debug, Default)]
pub struct Listing {
    /// What is to be read.
    pub sources: Vec<Source>,
    /// Files that hold no records by their place: offloaded bodies, permission probes, hidden files.
    pub passed_over: u64,
    /// Bytes on disk of all sources.
    pub bytes: u64,
}

/// Lists the files behind `paths`.
///
/// # Errors
/// When a named path does not exist or a folder cannot be read.
pub fn list(paths: &[PathBuf]) -> Result<Listing> {
    let mut listing = Listing::default();
    for path in paths {
        if path.as_os_str() == "-" {
            if !listing.sources.contains(&Source::Stdin) {
                listing.sources.push(Source::Stdin);
            }
            continue;
        }
        let (below, failed) = look(path);
        if let Some((_, error)) = failed.into_iter().next() {
            return Err(error);
        }
        listing.sources.extend(below.sources);
        listing.passed_over += below.passed_over;
        listing.bytes += below.bytes;
    }
    Ok(listing)
}

/// Lists a file, or the files in a folder, and what cannot be looked at.
pub fn look(path: &Path) -> (Listing, Vec<(PathBuf, Error)>) {
    let (mut listing, mut failed) = (Listing::default(), Vec::new());
    for entry in walkdir::WalkDir::new(path)
        .follow_links(true)
        .sort_by_file_name()
    {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(path).to_path_buf();
                let cause = error.into_io_error();
                let cause = cause.unwrap_or_else(|| io::Error::other("its links lead in a circle"));
                let error = Error::io("read", &path)(cause);
                failed.push((path, error));
                continue;
            }
        };
        if !entry.file_type().is_dir() && entry.depth() == 0 {
            // What was named is read, whatever it is called, and whatever it is: a pipe has no place in a folder.
        } else if !entry.file_type().is_file() {
            continue;
        } else {
            let below = entry.path().strip_prefix(path).unwrap_or(entry.path());
            if holds_no_records(below) {
                listing.passed_over += 1;
                continue;
            }
        }
        listing.bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        listing.sources.push(Source::File(entry.into_path()));
    }
    (listing, failed)
}

/// Bedrock puts bodies it offloads beside its logs, under `data/`, and leaves a probe of its permissions.
fn holds_no_records(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_body = name.contains("_input") || name.contains("_output");
    let in_data = path.parent().is_some_and(|folder| folder.ends_with("data"));
    name.starts_with('.') || name == "amazon-bedrock-logs-permission-check" || (in_data && is_body)
}

/// An opened source: plain UTF-8 bytes, whatever was on disk.
pub(super) struct Content {
    /// The bytes, decompressed and decoded.
    pub(super) reader: Box<dyn Read + Send>,
    /// Whether more may be appended later: a plain file, not a stream or a compressed one.
    pub(super) can_grow: bool,
}

type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

/// Opens a source; `progress` counts the bytes taken from disk.
pub(super) fn open(source: &Source, progress: &Arc<AtomicU64>) -> io::Result<Content> {
    match source {
        Source::File(path) => content(
            Counted {
                inner: File::open(path)?,
                count: Arc::clone(progress),
            },
            true,
        ),
        Source::Stdin => content(
            Counted {
                inner: io::stdin(),
                count: Arc::clone(progress),
            },
            false,
        ),
        Source::Request { content: bytes, .. } => content(Cursor::new(Arc::clone(bytes)), false),
    }
}

fn content(reader: impl Read + Send + 'static, is_file: bool) -> io::Result<Content> {
    let (magic, reader) = peek(reader, 4)?;
    let reader = BufReader::with_capacity(1 << 18, reader);
    let (decompressed, is_plain): (Box<dyn Read + Send>, bool) = match magic[..] {
        [0x1f, 0x8b, ..] => (
            Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
            false,
        ),
        [0x28, 0xb5, 0x2f, 0xfd] => (
            Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
            false,
        ),
        _ => (Box::new(reader), true),
    };
    // A byte order mark is dropped, UTF-16 becomes UTF-8, and everything else passes as it is.
    let decoded = DecodeReaderBytesBuilder::new()
        .utf8_passthru(true)
        .strip_bom(true)
        .bom_override(true)
        .build(decompressed);
    Ok(Content {
        reader: Box::new(decoded),
        can_grow: is_file && is_plain,
    })
}

/// The first bytes of a reader, and a reader that gives them again.
pub(super) fn peek<R: Read>(mut reader: R, bytes: usize) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut first = Vec::with_capacity(bytes);
    reader.by_ref().take(bytes as u64).read_to_end(&mut first)?;
    Ok((first.clone(), Cursor::new(first).chain(reader)))
}

/// Counts what passes, for the progress bar.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn text(bytes: Vec<u8>) -> String {
        let mut out = String::new();
        content(Cursor::new(bytes), true)
            .unwrap()
            .reader
            .read_to_string(&mut out)
            .unwrap();
        out
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_compression_and_encoding_gives_the_same_text() {
        let expected = "{\"a\":\"é\"}\n{}\n";
        assert_eq!(text(expected.into()), expected);
        assert_eq!(
            text([gzip("{\"a\":\"é\"}\n"), gzip("{}\n")].concat()),
            expected
        );
        assert_eq!(
            text(zstd::encode_all(expected.as_bytes(), 1).unwrap()),
            expected
        );
        assert_eq!(text(format!("\u{feff}{expected}").into()), expected);
        let utf16 = |mark: u16, swap: bool| {
            std::iter::once(mark)
                .chain(
                    expected
                        .encode_utf16()
                        .map(|unit| if swap { unit.swap_bytes() } else { unit }),
                )
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<u8>>()
        };
        assert_eq!(text(utf16(0xfeff, false)), expected);
        assert_eq!(text(utf16(0xfffe, true)), expected);
        assert_eq!(text(gzip("\u{feff}{}")), "{}");
    }

    #[test]
    fn offloaded_bodies_and_probes_are_no_records() {
        for path in [
            "eu/2026/data/1_input.json.gz",
            "a/data/2_input_media_00.pdf",
            "amazon-bedrock-logs-permission-check",
            ".DS_Store",
        ] {
            assert!(holds_no_records(Path::new(path)), "{path}");
        }
        for path in [
            "data/log.json",
            "a/1_input.json.gz",
            "2026/03/02/09/x.json.gz",
        ] {
            assert!(!holds_no_records(Path::new(path)), "{path}");
        }
    }
}

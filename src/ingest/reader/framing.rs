//! How a content is framed, by how it begins.

use crate::ingest::json::Arena;
use crate::ingest::{access_log, columnar};

/// How a frame of zstd begins.
pub(super) const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

pub(super) enum Framing {
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
    pub(super) fn of(beginning: &[u8], at_end: bool) -> Framing {
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

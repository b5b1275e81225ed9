//! Shows a person how the first records of a file are read: which field filled which column, and what was left over.

use std::io::Read as _;

use super::envelope::{self, Unwrapped};
use super::format::Format;
use super::json::{Arena, Mapping};
use super::record::Rows;
use super::source::{self, Source};
use super::split::{Piece, Scanner};
use crate::error::{Error, Result};

/// So much of a file is looked at.
const LOOK: u64 = 8 << 20;

/// How one record was read.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Explained {
    /// The format it was read as.
    pub format: Option<&'static str>,
    /// Field and column, in the order of the fields.
    pub fields: Vec<(String, &'static str)>,
    /// What no column took and `attributes` keeps, as JSON.
    pub left_over: Option<String>,
    /// Rows it gave: calls and audit events.
    pub rows: usize,
    /// Why it is not a row.
    pub reason: Option<String>,
}

/// Explains the first `limit` records of a file.
///
/// # Errors
/// When the file cannot be read.
pub fn explain(source: &Source, format: Option<Format>, limit: usize) -> Result<Vec<Explained>> {
    let name = source.name();
    let mut text = Vec::new();
    source::open(source, &Default::default())
        .and_then(|content| content.reader.take(LOOK).read_to_end(&mut text))
        .map_err(Error::io("read", &name))?;
    let mut ranges = Vec::new();
    let done = Scanner::new().scan(&text, |piece| {
        if let Piece::Value { start, end } = piece {
            ranges.push(start..end);
        }
    });
    if ranges.len() < limit && !text[done..].trim_ascii().is_empty() {
        ranges.push(done..text.len());
    }
    let mut explained = Vec::new();
    for range in ranges {
        let arena = Arena::explaining();
        match arena.parse(text[range].trim_ascii()) {
            Err(error) => explained.push(unreadable(error.to_string())),
            Ok(value) => envelope::unwrap(&arena, value, &mut |inner| {
                if explained.len() < limit {
                    explained.push(match inner {
                        Unwrapped::Record(record) => one(&arena, record, format),
                        Unwrapped::Broken(_) => {
                            unreadable("text in an envelope is not JSON".into())
                        }
                        Unwrapped::Skipped(reason) => unreadable(format!("skipped: {reason}")),
                    });
                }
            }),
        }
        if explained.len() >= limit {
            break;
        }
    }
    Ok(explained)
}

fn unreadable(reason: String) -> Explained {
    Explained {
        format: None,
        fields: Vec::new(),
        left_over: None,
        rows: 0,
        reason: Some(reason),
    }
}

fn one<'a>(arena: &'a Arena, record: super::json::Value<'a>, format: Option<Format>) -> Explained {
    let Some(format) = format.or_else(|| Format::sniff(record)) else {
        return unreadable("not a record of any known format".into());
    };
    arena.take_trail();
    let mut rows = Rows::default();
    let result = format.decode(record, &mut rows);
    let mut fields = arena.take_trail();
    fields.sort();
    fields.dedup();
    let made = rows.calls.len() + rows.audits.len();
    let reason = match result {
        Err(reject) => Some(format!("quarantined: {reject}")),
        Ok(()) if made == 0 => Some(
            rows.skipped
                .first()
                .map_or("holds no event".to_owned(), |reason| {
                    format!("skipped: {reason}")
                }),
        ),
        Ok(()) => None,
    };
    Explained {
        format: Some(format.name()),
        fields: fields
            .into_iter()
            .map(|Mapping { path, column }| (path, column))
            .collect(),
        left_over: record.leftover().map(str::to_owned),
        rows: made,
        reason,
    }
}

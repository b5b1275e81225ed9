//! Shows a person how the first records of a file are read: which field filled which column, and what was left over.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::access_log;
use super::envelope::{self, Unwrapped};
use super::format::Format;
use super::generic::Mapping;
use super::json::{Arena, Value};
use super::ledger::{Ledger, Mark, Tier};
use super::reader::{self, Block, Ending, Pieces, Stopped};
use super::record::Rows;
use super::source::Source;
use crate::error::{Error, Result};

/// How one record was read.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Explained {
    /// The format it was read as.
    pub format: Option<&'static str>,
    /// Which field went where, in the order of the fields.
    pub fields: Vec<ExplainedField>,
    /// What no column took and `attributes` keeps, as JSON.
    pub left_over: Option<String>,
    /// Rows it gave: calls and audit events.
    pub rows: usize,
    /// Why it is not a row.
    pub reason: Option<String>,
}

/// Where one field went.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ExplainedField {
    /// The field.
    pub path: String,
    /// The column, or `-` for what is not kept.
    pub column: &'static str,
    /// The file of the user that says so, if one does.
    pub mapped_by: Option<PathBuf>,
}

/// Explains the first `limit` records of a file.
///
/// # Errors
/// When the file cannot be read.
pub fn explain(
    source: &Source,
    format: Option<Format>,
    mapping: &Mapping,
    limit: usize,
) -> Result<Vec<Explained>> {
    let mut explaining = Explaining {
        format,
        mapping,
        limit,
        explained: Vec::new(),
    };
    // Read as an ingest reads it, whatever the file is made of; `Stopped` when there is enough.
    let ended = reader::read(
        source,
        format,
        &Ledger::default(),
        &[Tier::Metadata],
        &Arc::default(),
        &mut explaining,
    );
    match ended {
        Ok(Ending {
            error: Some(error), ..
        }) => Err(Error::Usage {
            message: format!("cannot read `{}`: {error}", source.name()),
            hint: None,
        }),
        Ok(ending) => {
            if ending.pending.is_some() && explaining.explained.len() < limit {
                let reason = "ends in the middle of a record".to_owned();
                explaining.explained.push(unreadable(reason));
            }
            Ok(explaining.explained)
        }
        Err(Stopped) => Ok(explaining.explained),
    }
}

/// Takes the first records of what is read.
struct Explaining<'m> {
    format: Option<Format>,
    mapping: &'m Mapping,
    limit: usize,
    explained: Vec<Explained>,
}

impl reader::Sink for Explaining<'_> {
    fn block(
        &mut self,
        block: Block,
        _: &mut dyn FnMut() -> Option<Vec<Mark>>,
    ) -> Result<(), Stopped> {
        match block.pieces {
            Pieces::Lines => block
                .bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.trim_ascii().is_empty())
                .try_for_each(|line| match object_of(line) {
                    Some(object) => self.text(object.as_bytes()),
                    None => self.text(line),
                }),
            Pieces::Values(values) => values
                .into_iter()
                .try_for_each(|(_, place)| self.text(&block.bytes[place])),
            Pieces::Unreadable(reason) => self.add(unreadable(reason.to_owned())),
        }
    }
}

/// The object that a line of text stands for, or that stands behind a time.
fn object_of(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?.trim();
    match envelope::behind_time(line) {
        json if json.starts_with('{') => Some(json.to_owned()),
        _ => access_log::to_json(line, None),
    }
}

impl Explaining<'_> {
    fn add(&mut self, explained: Explained) -> Result<(), Stopped> {
        if self.explained.len() < self.limit {
            self.explained.push(explained);
        }
        if self.explained.len() < self.limit {
            Ok(())
        } else {
            Err(Stopped)
        }
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Stopped> {
        let arena = Arena::explaining();
        let value = match arena.parse(text.trim_ascii()) {
            Ok(value) => value,
            Err(error) => {
                let is_message = std::str::from_utf8(text).is_ok_and(access_log::is_server_message);
                return self.add(unreadable(if is_message {
                    "skipped: server message".to_owned()
                } else {
                    error.to_string()
                }));
            }
        };
        let mut found = Vec::new();
        envelope::unwrap(&arena, value, &mut |inner| {
            if found.len() < self.limit {
                found.push(match inner {
                    Unwrapped::Record(record) => one(&arena, record, self.format, self.mapping),
                    Unwrapped::Broken(_, reason) => unreadable(reason.into()),
                    Unwrapped::Skipped(reason) => unreadable(format!("skipped: {reason}")),
                });
            }
        });
        found
            .into_iter()
            .try_for_each(|explained| self.add(explained))
    }
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

fn one<'a>(
    arena: &'a Arena,
    record: Value<'a>,
    format: Option<Format>,
    mapping: &Mapping,
) -> Explained {
    let Some(format) = format.or_else(|| Format::sniff(record, mapping)) else {
        return unreadable("not a record of any known format".into());
    };
    arena.take_trail();
    let mut rows = Rows::default();
    let result = format.decode(record, mapping, &mut rows);
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
            .map(|field| ExplainedField {
                mapped_by: mapping
                    .file_behind(&field.path, field.column)
                    .filter(|_| format == Format::Generic)
                    .map(Path::to_path_buf),
                path: field.path,
                column: field.column,
            })
            .collect(),
        left_over: record.leftover().map(str::to_owned),
        rows: made,
        reason,
    }
}

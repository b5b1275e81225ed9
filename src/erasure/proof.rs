//! Whether what was erased is gone: from the rows, from the files as they were, from the log, from every byte.

use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;

use super::matching::{Matcher, is_in};
use super::{Receipt, Target};
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::{Store, component};

/// What was found of a subject that was erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// Rows that queries still give, by table.
    pub rows: Vec<(Table, u64)>,
    /// Files that still name the subject, in their name or in what they hold, decompressed.
    pub files: Vec<PathBuf>,
    /// Files that were looked at.
    pub files_read: u64,
    /// Whether the store has removed the last copies. `None`: it knows of no such erasure.
    pub is_complete: Option<bool>,
}

impl Proof {
    /// Whether nothing is left.
    pub fn holds(&self) -> bool {
        self.rows.is_empty() && self.files.is_empty() && self.is_complete != Some(false)
    }
}

/// Looks for what a receipt says was erased. For a predicate, only rows can be looked for, and whether the files as they
/// were are gone.
///
/// # Errors
/// When the store cannot be read.
pub fn verify(store: &Store, receipt: &Receipt) -> Result<Proof> {
    let target = receipt.target()?;
    let mut proof = Proof::default();
    let tables = receipt
        .looked_at
        .iter()
        .filter_map(|name| Table::from_name(name));
    let tables: Vec<Table> = tables.collect();
    let mut matcher = Matcher::new(store, &target, &tables)?;
    for table in &tables {
        let mut rows = 0;
        let folder = store.root().join(table.name());
        for file in store.snapshot(*table)?.iter() {
            for batch in store.read_file(*table, &folder.join(file.path()))? {
                let matched = matcher.find(*table, &batch?)?;
                rows += matched.erase.true_count() as u64 + matched.clean;
            }
        }
        if rows > 0 {
            proof.rows.push((*table, rows));
        }
    }
    if !receipt.id.is_empty() {
        let known = store
            .erasures()?
            .into_iter()
            .find(|erasure| erasure.id == receipt.id);
        proof.is_complete = known.map(|erasure| erasure.done.is_some());
    }
    if let Target::Caller(name) | Target::EndUser(name) = &target {
        let words = words(name);
        for entry in walkdir::WalkDir::new(store.root()).sort_by_file_name() {
            let Ok(entry) = entry else {
                continue;
            };
            let relative = entry
                .path()
                .strip_prefix(store.root())
                .unwrap_or(entry.path());
            let mut is_named = words.is_in(relative.to_string_lossy().as_bytes());
            if entry.file_type().is_file() {
                proof.files_read += 1;
                is_named = is_named || names(store, entry.path(), &words)?;
            }
            if is_named {
                proof.files.push(relative.to_path_buf());
            }
        }
    }
    Ok(proof)
}

/// The ways in which a name is written.
struct Words(Vec<Vec<u8>>);

fn words(name: &str) -> Words {
    let json = serde_json::Value::from(name).to_string();
    let folder = component(Some(name));
    let mut words: Vec<Vec<u8>> = [
        name.to_owned(),
        json[1..json.len() - 1].to_owned(),
        folder.replace('%', "%25"),
        folder,
    ]
    .map(String::into_bytes)
    .to_vec();
    words.sort();
    words.dedup();
    Words(words)
}

impl Words {
    fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|word| is_in(bytes, word))
    }
}

/// Whether a file names somebody.
fn names(store: &Store, path: &Path, words: &Words) -> Result<bool> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    if words.is_in(&bytes) {
        return Ok(true);
    }
    if path
        .extension()
        .is_none_or(|extension| extension != "parquet")
    {
        return Ok(false);
    }
    let builder = match store.open_any(path) {
        // Encrypted, and nobody can say what is in it.
        Err(error @ Error::Locked { .. }) => return Err(error),
        // One that cannot be read as Parquet was looked at as it is.
        Err(_) => return Ok(false),
        Ok(builder) => builder,
    };
    for batch in builder.with_batch_size(256).build()? {
        let batch: RecordBatch = batch?;
        if batch.columns().iter().any(|column| is_named(column, words)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a text in a column, or in what is nested in it, names somebody.
fn is_named(column: &ArrayRef, words: &Words) -> bool {
    match column.data_type() {
        DataType::Utf8 => column
            .as_string::<i32>()
            .iter()
            .flatten()
            .any(|text| words.is_in(text.as_bytes())),
        DataType::LargeUtf8 => column
            .as_string::<i64>()
            .iter()
            .flatten()
            .any(|text| words.is_in(text.as_bytes())),
        DataType::Utf8View => column
            .as_string_view()
            .iter()
            .flatten()
            .any(|text| words.is_in(text.as_bytes())),
        DataType::Binary => column
            .as_binary::<i32>()
            .iter()
            .flatten()
            .any(|bytes| words.is_in(bytes)),
        DataType::Struct(_) => column
            .as_struct()
            .columns()
            .iter()
            .any(|column| is_named(column, words)),
        DataType::List(_) => is_named(column.as_list::<i32>().values(), words),
        DataType::LargeList(_) => is_named(column.as_list::<i64>().values(), words),
        DataType::Map(_, _) => column
            .as_map()
            .entries()
            .columns()
            .iter()
            .any(|column| is_named(column, words)),
        _ => false,
    }
}

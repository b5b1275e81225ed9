//! A table's newest snapshot in one file beside its log, so that a cold process need not replay the log.
//!
//! The file is derived: it is never synchronised, may be deleted at any time, and is believed only when its checksum
//! holds and the commit it stands for is the very file that it was made from. Later commits are read on top of it
//! (see `tail`), and whatever is odd falls back to the log.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use flate2::Crc;

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::disk;
use crate::store::log::commit_path;
use crate::store::snapshot::{TableSnapshot, files_schema, transactions_schema};

/// First bytes of the file; the number is that of this layout.
const MAGIC: &[u8; 8] = b"iwsnap02";
/// Magic, then version, size and time of the commit and the length of the file list, checksum, and zeros: the columns
/// after it begin where they can be used as they lie.
const HEADER: usize = 64;
const NUMBERS: std::ops::Range<usize> = 8..40;
const CHECKSUM: std::ops::Range<usize> = 40..44;

fn path(table_folder: &Path) -> PathBuf {
    table_folder.join("_inferwatch").join("snapshot")
}

/// Whether a snapshot was ever saved, to be believed or not.
pub(super) fn is_saved(table_folder: &Path) -> bool {
    path(table_folder).exists()
}

/// What tells a commit's file from another of the same name: its size, and when it was written in nanoseconds.
fn identity(table_folder: &Path, version: u64) -> Option<[u64; 2]> {
    let metadata = std::fs::metadata(commit_path(table_folder, version)).ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some([metadata.len(), u64::try_from(modified.as_nanos()).ok()?])
}

/// The snapshot that was saved last, if it can be believed.
pub(super) fn load(table: Table, table_folder: &Path) -> Option<TableSnapshot> {
    let mut bytes = Vec::new();
    File::open(path(table_folder))
        .ok()?
        .read_to_end(&mut bytes)
        .ok()?;
    let (header, body) = bytes.split_at_checked(HEADER)?;
    let numbers = &header[NUMBERS];
    if !header.starts_with(MAGIC) || header[CHECKSUM] != crc(numbers, body).to_le_bytes() {
        return None;
    }
    let mut numbers = numbers
        .chunks_exact(8)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
    let (version, size, modified, length) = (
        numbers.next()?,
        numbers.next()?,
        numbers.next()?,
        numbers.next()?,
    );
    if identity(table_folder, version)? != [size, modified] {
        return None;
    }
    let body = Buffer::from_vec(bytes).slice(HEADER);
    let length = usize::try_from(length).ok()?;
    let rest = body.len().checked_sub(length)?;
    let files = read_batch(body.slice_with_length(0, length))?;
    let transactions = read_batch(body.slice_with_length(length, rest))?;
    // A table's statistics columns may have changed with the program.
    let same =
        files.schema() == files_schema(table) && transactions.schema() == transactions_schema();
    same.then(|| TableSnapshot::new(table, version, files, transactions))
}

/// Saves a snapshot; whether that worked matters to nobody.
pub(super) fn save(snapshot: &TableSnapshot, table_folder: &Path) {
    let _ = try_save(snapshot, table_folder);
}

fn try_save(snapshot: &TableSnapshot, table_folder: &Path) -> Result<Option<()>> {
    let Some(version) = snapshot.version() else {
        return Ok(None);
    };
    let Some([size, modified]) = identity(table_folder, version) else {
        return Ok(None);
    };
    let files = write_batch(snapshot.files())?;
    let transactions = write_batch(&snapshot.encode_transactions()?)?;
    let numbers: Vec<u8> = [version, size, modified, files.len() as u64]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let body = [files, transactions].concat();
    let mut header = [0; HEADER];
    header[..MAGIC.len()].copy_from_slice(MAGIC);
    header[NUMBERS].copy_from_slice(&numbers);
    header[CHECKSUM].copy_from_slice(&crc(&numbers, &body).to_le_bytes());
    let bytes = [&header[..], &body].concat();
    let path = path(table_folder);
    let access = disk::access(snapshot.table());
    disk::create_folder(path.parent().expect("it has a folder"), access)?;
    disk::replace_unsynced(&path, &bytes, access).map(Some)
}

fn crc(header: &[u8], body: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(header);
    crc.update(body);
    crc.sum()
}

/// The rows in place: megabytes, which a cold process would have to copy before its first query.
fn read_batch(mut bytes: Buffer) -> Option<RecordBatch> {
    StreamDecoder::new().decode(&mut bytes).ok()?
}

fn write_batch(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

/// Removes what was saved, and what was about to be: whoever was at it saves it another time.
pub(super) fn forget(table_folder: &Path) -> Result<()> {
    let path = path(table_folder);
    let folder = path.parent().expect("it has a folder");
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("list", folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(Error::io("list", folder))?.path();
        match disk::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    disk::sync_folder(folder)
}

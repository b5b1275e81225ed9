//! Where a query puts rows that do not fit in memory: see [`crate::spill`].

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::spill_file::{SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;

use crate::spill;

/// Most bytes that the queries of a session may have on disk.
const MOST_BYTES: u64 = 100 << 30;
/// Bytes to read at a time.
const READ_BYTES: usize = 128 << 10;

/// Tells DataFusion to spill to a folder, or to the system's temporary one when that is absent or cannot be written.
pub(super) fn disk_manager(parent: Option<&Path>) -> DiskManagerBuilder {
    let is_usable = |folder: &&Path| folder.is_dir() && tempfile::tempfile_in(folder).is_ok();
    let folder = match parent.filter(is_usable) {
        Some(folder) => folder.to_path_buf(),
        None => std::env::temp_dir(),
    };
    DiskManagerBuilder::default().with_temp_file_factory(Arc::new(Factory {
        folder,
        used: Arc::default(),
    }))
}

struct Factory {
    folder: PathBuf,
    used: Arc<AtomicU64>,
}

impl TempFileFactory for Factory {
    fn create_temp_file(&self, _description: &str) -> Result<Arc<dyn SpillFile>> {
        let (file, writer) = spill::SpillFile::create_in(&self.folder)?;
        Ok(Arc::new(QuerySpill {
            file,
            writer: Mutex::new(Some(writer)),
            used: Arc::clone(&self.used),
        }))
    }
}

struct QuerySpill {
    file: Arc<spill::SpillFile>,
    /// Until somebody writes.
    writer: Mutex<Option<spill::SpillWriter>>,
    used: Arc<AtomicU64>,
}

impl SpillFile for QuerySpill {
    fn size(&self) -> Option<u64> {
        Some(self.file.len())
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let mut reader = self.file.reader();
        Ok(Box::pin(futures::stream::poll_fn(move |_| {
            let mut bytes = Vec::with_capacity(READ_BYTES);
            let read = reader
                .by_ref()
                .take(READ_BYTES as u64)
                .read_to_end(&mut bytes);
            std::task::Poll::Ready(match read {
                Ok(0) => None,
                Ok(_) => Some(Ok(Bytes::from(bytes))),
                Err(error) => Some(Err(DataFusionError::IoError(error))),
            })
        })))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        let writer = self.writer.lock().expect("no thread panics with it").take();
        let writer = writer
            .ok_or_else(|| DataFusionError::Internal("a spill file is written once".to_owned()))?;
        Ok(Box::new(Limited {
            writer,
            used: Arc::clone(&self.used),
        }))
    }
}

impl Drop for QuerySpill {
    fn drop(&mut self) {
        self.used.fetch_sub(self.file.len(), Ordering::Relaxed);
    }
}

/// Keeps a session from filling the disk.
struct Limited {
    writer: spill::SpillWriter,
    used: Arc<AtomicU64>,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.writer.write(bytes)? as u64;
        if self.used.fetch_add(written, Ordering::Relaxed) + written > MOST_BYTES {
            return Err(std::io::Error::new(
                std::io::ErrorKind::QuotaExceeded,
                "the queries of this session have 100 GiB on disk, and may not have more",
            ));
        }
        Ok(usize::try_from(written).unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

impl SpillWriter for Limited {
    fn finish(&mut self) -> Result<()> {
        Ok(self.flush()?)
    }
}

//! The transaction log of one table, behind a small trait, and its implementation with the Delta kernel.
//!
//! The kernel replays and writes the log; it never sees a row. Version 0 alone is written here, because the kernel
//! creates tables with reader version 3 and writer version 7 only, and nothing we write needs more than 1 and 2,
//! which every reader of Delta tables knows.

mod actions;
mod files;
mod first;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::Int64Type;
use delta_kernel::committer::FileSystemCommitter;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::schema::{StructField, StructType, ToSchema};
use delta_kernel::snapshot::{Snapshot, SnapshotRef};
use delta_kernel::transaction::{CommitResult, UpdateTableOperation};
use delta_kernel::{Engine as _, EngineData, KernelError, KernelResult};
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use delta_kernel_default_engine::{DefaultEngine, DefaultEngineBuilder};

pub(super) use files::{
    checkpoint_path, checkpoint_versions, commit_path, commit_versions, log_folder,
};

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::data_file::DataFile;
use crate::store::disk;
use crate::store::durable::DurableFileSystem;
use crate::store::snapshot::{TableSnapshot, encode, transaction_columns};
use files::is_begun;

/// Why a commit was made; it stands in the table's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Operation {
    /// New rows.
    Write,
    /// The same rows in other files.
    Optimize,
    /// Rows that are gone.
    Delete,
    /// Rows that were changed.
    Update,
}

/// What one commit does to a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) added: &'a [DataFile],
    /// Paths on disk below the table's folder.
    pub(super) removed: &'a [String],
    pub(super) transactions: &'a [(String, i64)],
    pub(super) operation: Operation,
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    /// As this version.
    At(u64),
    /// Somebody else took the version: read the table again, and decide again.
    Conflict,
}

/// The log of one table.
pub(super) trait TableLog: Send + Sync {
    /// The newest version, from what the log holds; `None` when there is no table.
    fn read(&self) -> Result<Option<TableSnapshot>>;
    /// Makes an empty table; nothing happens when there is one.
    fn create(&self) -> Result<()>;
    /// Commits on top of `base`.
    fn commit(&self, base: &TableSnapshot, change: Change<'_>) -> Result<Committed>;
    /// Sums the log up, so that readers need not replay it from the start.
    fn checkpoint(&self) -> Result<()>;
}

type Engine = DefaultEngine<TokioMultiThreadExecutor>;

/// What the kernel's engines run on: one for the process, started when a log is first read or written through the
/// kernel. Never dropped, since a runtime may not be dropped where a store may be, in another runtime.
fn executor() -> KernelResult<Arc<TokioMultiThreadExecutor>> {
    static EXECUTOR: OnceLock<Arc<TokioMultiThreadExecutor>> = OnceLock::new();
    if let Some(executor) = EXECUTOR.get() {
        return Ok(Arc::clone(executor));
    }
    // A runtime of its own: the kernel blocks on it, also while a checkpoint's writer waits for its reader.
    let executor = Arc::new(TokioMultiThreadExecutor::new_owned_runtime(
        Some(2),
        Some(4),
    )?);
    Ok(Arc::clone(EXECUTOR.get_or_init(|| executor)))
}

/// Where the kernel finds the table, in the file system that [`DeltaLog::engine`] shows it. The real path stays out of
/// it: the kernel takes a path with a percent sign for one that is encoded.
const TABLE_URL: &str = "file:///";

/// Runs what waits for the kernel on a thread that belongs to no runtime: the kernel refuses to wait on a
/// single-threaded one, and would hold up its other tasks.
fn outside_runtime<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if tokio::runtime::Handle::try_current().is_err() {
        return work();
    }
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// A Delta log in a folder.
pub(super) struct DeltaLog {
    table: Table,
    folder: PathBuf,
}

impl DeltaLog {
    /// The log of the table in a folder.
    pub(super) fn new(table: Table, folder: PathBuf) -> DeltaLog {
        DeltaLog { table, folder }
    }

    /// The kernel's view of the table's folder, and of nothing else.
    fn engine(&self) -> Result<Engine> {
        let executor = executor().map_err(|error| self.error(error))?;
        let files = DurableFileSystem::new(&self.folder, disk::access(self.table))
            .map_err(|error| self.error(error.into()))?;
        Ok(DefaultEngineBuilder::new(Arc::new(files))
            .with_task_executor(executor)
            .build())
    }

    fn error(&self, source: KernelError) -> Error {
        Error::Log {
            table: self.table.name().to_owned(),
            source: Box::new(delta_kernel::Error::Kernel(source)),
        }
    }

    fn kernel_snapshot(&self) -> Result<SnapshotRef> {
        let engine = self.engine()?;
        Snapshot::builder_for(TABLE_URL)
            .build(&engine)
            .map_err(|error| self.error(error))
    }

    /// Goes through the kernel's scan: batches, each with which of its rows are files of the snapshot.
    fn scan(
        &self,
        snapshot: &SnapshotRef,
        mut each: impl FnMut(RecordBatch, &[bool]) -> Result<()>,
    ) -> Result<()> {
        let engine = self.engine()?;
        let scan = Arc::clone(snapshot)
            .scan_builder()
            .build()
            .map_err(|error| self.error(error))?;
        for batch in scan
            .scan_metadata(&engine)
            .map_err(|error| self.error(error))?
        {
            let (data, selection) = batch
                .map_err(|error| self.error(error))?
                .scan_files
                .into_parts();
            let batch = record_batch(data).map_err(|error| self.error(error))?;
            each(batch, &selection)?;
        }
        Ok(())
    }

    fn read_files(&self, snapshot: &SnapshotRef) -> Result<Vec<DataFile>> {
        let mut files = Vec::new();
        self.scan(snapshot, |batch, selection| {
            for row in 0..batch.num_rows() {
                if selection.get(row).copied().unwrap_or(true) {
                    files.push(self.scan_row(&batch, row)?);
                }
            }
            Ok(())
        })?;
        Ok(files)
    }

    /// The newest version of every application's transaction. The kernel looks up one application at a time, each
    /// time from the start; this is the same replay, once for all.
    fn read_transactions(&self, snapshot: &SnapshotRef) -> Result<HashMap<String, i64>> {
        let engine = self.engine()?;
        replay_transactions(snapshot, &engine).map_err(|error| self.error(error))
    }

    fn commit_kernel(&self, base: u64, change: Change<'_>) -> Result<Committed> {
        let engine = self.engine()?;
        let snapshot = self.kernel_snapshot()?;
        if snapshot.version() != base {
            return Ok(Committed::Conflict);
        }
        let (operation, data_change) = match change.operation {
            Operation::Write => (UpdateTableOperation::Write, true),
            Operation::Optimize => (UpdateTableOperation::Optimize, false),
            Operation::Delete => (UpdateTableOperation::Delete, true),
            Operation::Update => (UpdateTableOperation::Update, true),
        };
        let engine_info = concat!("inferwatch/", env!("CARGO_PKG_VERSION"));
        let mut builder = Arc::clone(&snapshot).update_table(operation, engine_info, data_change);
        for (application, version) in change.transactions {
            builder = builder.with_transaction_id(application, *version);
        }
        for column in self.new_columns(&snapshot)? {
            builder = builder.add_column(column);
        }
        let mut transaction = builder
            .build(&engine, Box::new(FileSystemCommitter::new()))
            .map_err(|error| self.error(error))?;
        if !change.added.is_empty() {
            transaction.add_files(Box::new(ArrowEngineData::new(
                self.add_actions(change.added)?,
            )));
        }
        if !change.removed.is_empty() {
            for removed in self.remove_actions(&snapshot, change.removed)? {
                transaction.remove_files(removed);
            }
        }
        match transaction
            .commit(&engine)
            .map_err(|error| self.error(error))?
        {
            CommitResult::Committed(committed) => Ok(Committed::At(committed.commit_version())),
            CommitResult::Conflicted(_) => Ok(Committed::Conflict),
            CommitResult::Retryable(retryable) => Err(self.error(retryable.error)),
        }
    }
}

impl TableLog for DeltaLog {
    fn read(&self) -> Result<Option<TableSnapshot>> {
        if !is_begun(&self.folder)? {
            return Ok(None);
        }
        outside_runtime(|| {
            let snapshot = self.kernel_snapshot()?;
            let files = encode(self.table, &self.read_files(&snapshot)?)?;
            let transactions = self.read_transactions(&snapshot)?;
            let transactions = transaction_columns(&transactions)?;
            Ok(Some(TableSnapshot::new(
                self.table,
                snapshot.version(),
                files,
                transactions,
            )))
        })
    }

    fn create(&self) -> Result<()> {
        let log = self.folder.join("_delta_log");
        let first = log.join(format!("{:020}.json", 0));
        // The first commit of a log that has gone on for long is cleaned up.
        if first.exists() || is_begun(&self.folder)? {
            return Ok(());
        }
        let access = disk::access(self.table);
        disk::create_folder(&log, access)?;
        disk::write_new(&first, self.first_commit()?.as_bytes(), access).map(|_| ())
    }

    fn commit(&self, base: &TableSnapshot, change: Change<'_>) -> Result<Committed> {
        let base = base.version().ok_or_else(|| Error::Store {
            message: format!("table `{}` does not exist", self.table.name()),
            hint: None,
        })?;
        outside_runtime(|| self.commit_kernel(base, change))
    }

    fn checkpoint(&self) -> Result<()> {
        let (version, actions) = outside_runtime(|| {
            let engine = self.engine()?;
            let snapshot = self.kernel_snapshot()?;
            let version = snapshot.version();
            write_checkpoint(snapshot, &engine)
                .map(|actions| (version, actions))
                .map_err(|error| self.error(error))
        })?;
        let hint = serde_json::json!({"version": version, "size": actions});
        let path = log_folder(&self.folder).join("_last_checkpoint");
        disk::replace(&path, hint.to_string().as_bytes(), disk::access(self.table))
    }
}

/// Writes a checkpoint without the files that were removed: commits name them for as long as they are there, and what
/// was erased must not live on in a checkpoint. The number of its actions.
fn write_checkpoint(snapshot: SnapshotRef, engine: &Engine) -> KernelResult<usize> {
    let writer = snapshot.create_checkpoint_writer(engine)?;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let live = writer.checkpoint_data(engine)?.map(move |batch| {
        let (data, selection) = batch?.into_parts();
        let batch = record_batch(data)?;
        let removed = batch.column_by_name("remove");
        let keep: BooleanArray = (0..batch.num_rows())
            .map(|row| {
                let selected = selection.get(row).copied().unwrap_or(true);
                Some(selected && removed.is_none_or(|removed| removed.is_null(row)))
            })
            .collect();
        let batch = arrow::compute::filter_record_batch(&batch, &keep)?;
        counted.fetch_add(batch.num_rows(), Ordering::Relaxed);
        Ok(Box::new(ArrowEngineData::new(batch)) as Box<dyn EngineData>)
    });
    engine
        .parquet_handler()
        .write_parquet_file(writer.checkpoint_path()?, Box::new(live))?;
    Ok(count.load(Ordering::Relaxed))
}

fn replay_transactions(
    snapshot: &SnapshotRef,
    engine: &Engine,
) -> KernelResult<HashMap<String, i64>> {
    let schema = StructType::try_new([StructField::nullable(
        "txn",
        delta_kernel::actions::SetTransaction::to_schema(),
    )])?;
    let mut newest = HashMap::new();
    for batch in snapshot
        .log_segment()
        .read_actions(engine, Arc::new(schema))?
    {
        let batch = record_batch(batch?.actions)?;
        let actions = batch.column(0).as_struct();
        let (Some(ids), Some(versions)) = (
            actions.column_by_name("appId"),
            actions.column_by_name("version"),
        ) else {
            continue;
        };
        let (ids, versions) = (ids.as_string::<i32>(), versions.as_primitive::<Int64Type>());
        for row in (0..batch.num_rows()).filter(|row| actions.is_valid(*row) && ids.is_valid(*row))
        {
            // Newest first.
            newest
                .entry(ids.value(row).to_owned())
                .or_insert_with(|| versions.value(row));
        }
    }
    Ok(newest)
}

/// The rows of the kernel's data; its default engine has Arrow beneath.
fn record_batch(data: Box<dyn EngineData>) -> KernelResult<RecordBatch> {
    Ok((*ArrowEngineData::try_from_engine_data(data)?).into())
}

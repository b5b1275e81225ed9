//! The transaction log of one table, behind a small trait, and its implementation with the Delta kernel.
//!
//! The kernel replays and writes the log; it never sees a row. Version 0 alone is written here, because the kernel
//! creates tables with reader version 3 and writer version 7 only, and nothing we write needs more than 1 and 2,
//! which every reader of Delta tables knows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, MapBuilder, MapFieldNames, RecordBatch,
    StringArray, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use delta_kernel::committer::FileSystemCommitter;
use delta_kernel::engine::arrow_conversion::TryFromArrow;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::schema::{StructField, StructType, ToSchema};
use delta_kernel::snapshot::{Snapshot, SnapshotRef};
use delta_kernel::transaction::{CommitResult, UpdateTableOperation};
use delta_kernel::{Engine as _, EngineData, FilteredEngineData, KernelError, KernelResult};
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use delta_kernel_default_engine::{DefaultEngine, DefaultEngineBuilder};

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::cache;
use crate::store::data_file::DataFile;
use crate::store::disk;
use crate::store::durable::DurableFileSystem;
use crate::store::layout::{self, Partition};
use crate::store::snapshot::{TableSnapshot, encode, log_statistics, transaction_columns};

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

    /// One file from a row of the kernel's scan.
    fn scan_row(&self, batch: &RecordBatch, row: usize) -> Result<DataFile> {
        let strings = |name: &str| {
            batch
                .column_by_name(name)
                .map(|column| column.as_string::<i32>())
        };
        let integer = |name: &str| {
            let column = batch
                .column_by_name(name)?
                .as_primitive_opt::<Int64Type>()?;
            column.is_valid(row).then(|| column.value(row))
        };
        let path = strings("path")
            .map(|column| column.value(row))
            .unwrap_or_default();
        let damaged = |what: &str| Error::Store {
            message: format!(
                "table `{}`: file `{path}` in the log {what}",
                self.table.name()
            ),
            hint: Some(
                "another program has written to this table; restore its `_delta_log` folder".into(),
            ),
        };
        let disk_path =
            layout::disk_path(path).ok_or_else(|| damaged("lies outside the table's folder"))?;
        let stats = strings("stats")
            .filter(|column| column.is_valid(row))
            .map(|column| column.value(row));
        let (rows, statistics) = log_statistics::from_json(self.table, stats);
        let constants = batch
            .column_by_name("fileConstantValues")
            .map(|column| column.as_struct());
        let values = constants
            .and_then(|column| column.column_by_name("partitionValues"))
            .map(|column| column.as_map());
        let mut partition = Partition::default();
        if let Some(values) = values.filter(|values| values.is_valid(row)) {
            let entries = values.value(row);
            let (keys, values) = (
                entries.column(0).as_string::<i32>(),
                entries.column(1).as_string::<i32>(),
            );
            for entry in 0..entries.len() {
                let value = values
                    .is_valid(entry)
                    .then(|| values.value(entry).to_owned());
                match keys.value(entry) {
                    "period" => partition.period = value.unwrap_or_default(),
                    "partition_model" => partition.model = value,
                    "partition_caller" => partition.caller = value,
                    _ => {}
                }
            }
        }
        Ok(DataFile {
            path: disk_path,
            size: integer("size").ok_or_else(|| damaged("has no size"))?,
            rows: rows.ok_or_else(|| damaged("has no row count"))?,
            modified: integer("modificationTime").unwrap_or_default(),
            partition,
            statistics,
        })
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

    /// Columns that the table has got since its log was begun. The next commit makes them known to other readers; in
    /// the files of before they are null.
    fn new_columns(&self, snapshot: &SnapshotRef) -> Result<Vec<StructField>> {
        let known = snapshot.schema();
        let schema = self.delta_schema()?;
        let fields = schema
            .fields()
            .filter(|field| known.field(field.name()).is_none());
        Ok(fields.cloned().collect())
    }

    /// The kernel removes what its own scan has returned.
    fn remove_actions(
        &self,
        snapshot: &SnapshotRef,
        paths: &[String],
    ) -> Result<Vec<FilteredEngineData>> {
        let mut wanted: HashSet<String> = paths.iter().map(|path| layout::log_path(path)).collect();
        let mut removed = Vec::new();
        self.scan(snapshot, |batch, selection| {
            let column = batch
                .column_by_name("path")
                .map(|column| column.as_string::<i32>().clone());
            let Some(column) = column else {
                return Ok(());
            };
            let chosen: Vec<bool> = (0..batch.num_rows())
                .map(|row| {
                    selection.get(row).copied().unwrap_or(true) && wanted.remove(column.value(row))
                })
                .collect();
            if chosen.contains(&true) {
                let data: Box<dyn EngineData> = Box::new(ArrowEngineData::new(batch));
                removed.push(
                    FilteredEngineData::try_new(data, chosen).map_err(|error| self.error(error))?,
                );
            }
            Ok(())
        })?;
        match wanted.into_iter().next() {
            None => Ok(removed),
            Some(path) => Err(Error::Store {
                message: format!(
                    "table `{}` has no file `{path}` to remove",
                    self.table.name()
                ),
                hint: Some("somebody else has rewritten it meanwhile; run again".into()),
            }),
        }
    }

    /// Files in the shape the kernel takes them. Times are text already: the log's JSON has no other form for them.
    fn add_actions(&self, files: &[DataFile]) -> Result<RecordBatch> {
        let names = MapFieldNames {
            entry: "key_value".into(),
            key: "key".into(),
            value: "value".into(),
        };
        let mut partitions =
            MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
        for file in files {
            for column in layout::partition_columns(self.table) {
                partitions.keys().append_value(column);
                partitions
                    .values()
                    .append_option(file.partition.value(column));
            }
            partitions.append(true)?;
        }
        let integers = |value: fn(&DataFile) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(files.iter().map(value)))
        };
        let paths = files.iter().map(|file| layout::log_path(&file.path));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("path", Arc::new(StringArray::from_iter_values(paths))),
            ("partitionValues", Arc::new(partitions.finish())),
            ("size", integers(|file| file.size)),
            ("modificationTime", integers(|file| file.modified)),
            ("stats", Arc::new(self.stats_column(files)?)),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }

    fn stats_column(&self, files: &[DataFile]) -> Result<StructArray> {
        let schema = self.table.schema();
        let encoded = encode(self.table, files)?;
        let group = |prefix: &str| -> Result<StructArray> {
            let mut fields = Vec::new();
            let mut columns: Vec<ArrayRef> = Vec::new();
            for (position, name) in self.table.statistics_columns().iter().enumerate() {
                let bounds = encoded
                    .column_by_name(&format!("{prefix}.{name}"))
                    .expect("a column of every file list");
                let time = matches!(
                    schema.field_with_name(name)?.data_type(),
                    DataType::Timestamp(_, _)
                );
                let column: ArrayRef = if time && prefix != "nulls" {
                    let text = files.iter().map(|file| {
                        let column = file.statistics.get(position)?;
                        let bound = if prefix == "min" {
                            column.min.as_ref()
                        } else {
                            column.max.as_ref()
                        };
                        log_statistics::to_json(bound?).as_str().map(str::to_owned)
                    });
                    Arc::new(StringArray::from_iter(text))
                } else {
                    Arc::clone(bounds)
                };
                fields.push(Field::new(*name, column.data_type().clone(), true));
                columns.push(column);
            }
            Ok(StructArray::try_new(fields.into(), columns, None)?)
        };
        let (nulls, min, max) = (group("nulls")?, group("min")?, group("max")?);
        let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(
            files.iter().map(|file| file.rows),
        ));
        let fields: Fields = vec![
            Field::new("numRecords", DataType::Int64, true),
            Field::new("nullCount", nulls.data_type().clone(), true),
            Field::new("minValues", min.data_type().clone(), true),
            Field::new("maxValues", max.data_type().clone(), true),
        ]
        .into();
        Ok(StructArray::try_new(
            fields,
            vec![rows, Arc::new(nulls), Arc::new(min), Arc::new(max)],
            None,
        )?)
    }

    /// The table's schema in the log: the columns of the rows, then the partition columns. All may be null, since
    /// Delta makes a constraint of what may not, and that is a protocol feature.
    fn delta_schema(&self) -> Result<StructType> {
        let schema = self.table.schema();
        let partition_columns = layout::partition_columns(self.table);
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .chain(
                partition_columns
                    .iter()
                    .map(|name| Field::new(*name, DataType::Utf8, true)),
            )
            .collect();
        StructType::try_from_arrow(&arrow::datatypes::Schema::new(fields)).map_err(Into::into)
    }

    fn first_commit(&self) -> Result<String> {
        let now = chrono::Utc::now().timestamp_millis();
        let schema =
            serde_json::to_string(&self.delta_schema()?).map_err(|error| Error::Store {
                message: format!("schema of table `{}`: {error}", self.table.name()),
                hint: None,
            })?;
        let configuration = BTreeMap::from([
            (
                "delta.dataSkippingStatsColumns",
                self.table.statistics_columns().join(","),
            ),
            // Ours are made after a number of commits; other writers should not make more.
            (
                "delta.checkpointInterval",
                super::CHECKPOINT_INTERVAL.to_string(),
            ),
        ]);
        let actions = [
            serde_json::json!({"commitInfo": {
                "timestamp": now,
                "operation": "CREATE TABLE",
                "operationParameters": {},
                "engineInfo": concat!("inferwatch/", env!("CARGO_PKG_VERSION")),
            }}),
            serde_json::json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
            serde_json::json!({"metaData": {
                "id": uuid()?,
                "name": self.table.name(),
                "format": {"provider": "parquet", "options": {}},
                "schemaString": schema,
                "partitionColumns": layout::partition_columns(self.table),
                "configuration": configuration,
                "createdTime": now,
            }}),
        ];
        Ok(actions.iter().map(|action| format!("{action}\n")).collect())
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

/// A random identifier in the form that tables have.
fn uuid() -> Result<String> {
    let name = disk::random_name()?;
    Ok(format!(
        "{}-{}-4{}-8{}-{}",
        &name[..8],
        &name[8..12],
        &name[13..16],
        &name[17..20],
        &name[20..]
    ))
}

/// The folder of a table's log.
pub(super) fn log_folder(table_folder: &Path) -> PathBuf {
    table_folder.join("_delta_log")
}

/// The file of a commit.
pub(super) fn commit_path(table_folder: &Path, version: u64) -> PathBuf {
    log_folder(table_folder).join(format!("{version:020}.json"))
}

/// Whether a table has a log. A crash may have left the log's folder with nothing in it, or with a first version that
/// never got its name. But where a snapshot was saved there was a version, and that it is gone is for the kernel to say.
fn is_begun(table_folder: &Path) -> Result<bool> {
    let folder = log_folder(table_folder);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("list", &folder)(error)),
    };
    for entry in entries {
        let name = entry.map_err(Error::io("list", &folder))?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            return Ok(true);
        }
    }
    Ok(cache::is_saved(table_folder))
}

/// The versions of the commits in a log, in order.
pub(super) fn commit_versions(table_folder: &Path) -> Result<Vec<u64>> {
    let folder = log_folder(table_folder);
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
        let name = entry.map_err(Error::io("list", &folder))?.file_name();
        let version = name.to_str().and_then(|name| name.strip_suffix(".json"));
        versions.extend(
            version
                .filter(|version| version.len() == 20)
                .and_then(|version| version.parse::<u64>().ok()),
        );
    }
    versions.sort_unstable();
    Ok(versions)
}

/// The versions that a log has checkpoints of, in order.
pub(super) fn checkpoint_versions(table_folder: &Path) -> Result<Vec<u64>> {
    let folder = log_folder(table_folder);
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
        let name = entry.map_err(Error::io("list", &folder))?.file_name();
        let version = name
            .to_str()
            .and_then(|name| name.strip_suffix(".checkpoint.parquet"));
        versions.extend(version.and_then(|version| version.parse::<u64>().ok()));
    }
    versions.sort_unstable();
    Ok(versions)
}

/// The file of a checkpoint.
pub(super) fn checkpoint_path(table_folder: &Path, version: u64) -> PathBuf {
    log_folder(table_folder).join(format!("{version:020}.checkpoint.parquet"))
}

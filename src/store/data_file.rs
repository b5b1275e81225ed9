//! Writes the Parquet files of a table, and says what the log has to know of each.

use std::collections::HashSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array as _, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::keys::{self, TableKey};
use crate::schema::Table;
use crate::store::access::Reading;
use crate::store::disk::{self, NewFile};
use crate::store::layout::{self, Partition};
use crate::store::statistics::{Collector, ColumnStatistics};

/// Most rows of a row group: small, so that one caller's rows are few groups of a file that many share.
pub(super) const ROW_GROUP_ROWS: usize = 16 * 1024;
/// Most bytes of a row group before compression, since one prompt may be a hundred thousand characters.
const ROW_GROUP_BYTES: usize = 16 << 20;
/// Bytes of rows to read at a time.
const READ_BYTES: i64 = 4 << 20;
/// A file that has grown to this is closed, and the next one begun.
pub(super) const FILE_BYTES: usize = 256 << 20;

/// A data file as the log knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFile {
    /// Path below the table's folder, as it is on disk.
    pub path: String,
    /// Bytes.
    pub size: i64,
    /// Rows.
    pub rows: i64,
    /// When it was written, in milliseconds since the epoch.
    pub modified: i64,
    /// The values of its partition columns.
    pub partition: Partition,
    /// One for each of [`Table::statistics_columns`].
    pub statistics: Vec<ColumnStatistics>,
}

/// How the files of a table are encoded.
pub(super) fn properties(table: Table) -> Arc<WriterProperties> {
    static ALL: LazyLock<Vec<Arc<WriterProperties>>> = LazyLock::new(|| {
        Table::ALL
            .into_iter()
            .map(|table| Arc::new(build_properties(table)))
            .collect()
    });
    let position = Table::ALL.iter().position(|known| *known == table);
    Arc::clone(&ALL[position.expect("every table is in the list")])
}

/// As [`properties`], for a file that begins with `batch`. Most columns of a log are empty in most files, and to set up a
/// compressor for each of them takes longer than to write a small file.
fn properties_for(table: Table, batch: &RecordBatch) -> WriterProperties {
    static LEAVES: LazyLock<Vec<Vec<Vec<ColumnPath>>>> =
        LazyLock::new(|| Table::ALL.into_iter().map(leaves).collect());
    let position = Table::ALL.iter().position(|known| *known == table);
    let leaves = &LEAVES[position.expect("every table is in the list")];
    let empty = batch
        .columns()
        .iter()
        .zip(leaves)
        .filter(|(column, _)| column.null_count() == column.len());
    let mut properties = properties(table).as_ref().clone().into_builder();
    for leaf in empty.flat_map(|(_, leaves)| leaves) {
        properties = properties.set_column_compression(leaf.clone(), Compression::UNCOMPRESSED);
    }
    properties.build()
}

/// The Parquet columns of each column of a table.
fn leaves(table: Table) -> Vec<Vec<ColumnPath>> {
    let schema = table.schema();
    let parquet = ArrowSchemaConverter::new()
        .convert(&schema)
        .expect("every table has a Parquet schema");
    let mut leaves = vec![Vec::new(); schema.fields().len()];
    for leaf in 0..parquet.num_columns() {
        leaves[parquet.get_column_root_idx(leaf)].push(parquet.column(leaf).path().clone());
    }
    leaves
}

/// Columns whose values seldom repeat, so that a dictionary is work for nothing.
const WITHOUT_DICTIONARY: &[&str] = &[
    "attributes",
    "correlation_id",
    "event_id",
    "evidence",
    "finding_id",
    "input_sha256",
    "input_sketch",
    "line",
    "output_sha256",
    "request_id",
    "request_params",
    "response",
    "response_id",
    "span_id",
    "text",
    "tool_arguments",
    "tool_call_id",
    "trace_id",
];

fn build_properties(table: Table) -> WriterProperties {
    let schema = table.schema();
    let sorted_by = layout::sort_columns(table);
    let statistics: HashSet<&str> = table.statistics_columns().iter().copied().collect();
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("inferwatch ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(
            ZstdLevel::try_new(1).expect("a level of zstd"),
        ))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .set_sorting_columns(leaf_sorting_columns(table, &sorted_by));
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        if statistics.contains(field.name().as_str()) {
            properties =
                properties.set_column_statistics_enabled(column.clone(), EnabledStatistics::Page);
        }
        match field.data_type() {
            // Neighbours are close in time and place, so differences are small.
            DataType::Timestamp(_, _) => {
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
            }
            DataType::Int64 if field.name() == "source_offset" => {
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
            }
            _ if WITHOUT_DICTIONARY.contains(&field.name().as_str()) => {
                properties = properties.set_column_dictionary_enabled(column, false);
            }
            _ => {}
        }
    }
    properties.build()
}

/// Parquet counts leaves, not columns.
fn leaf_sorting_columns(table: Table, sorted_by: &[usize]) -> Option<Vec<SortingColumn>> {
    fn leaves(data_type: &DataType) -> usize {
        match data_type {
            DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
            DataType::List(element) | DataType::Map(element, _) => leaves(element.data_type()),
            _ => 1,
        }
    }
    let schema = table.schema();
    let columns = sorted_by.iter().map(|column| {
        let before: usize = schema.fields()[..*column]
            .iter()
            .map(|field| leaves(field.data_type()))
            .sum();
        SortingColumn {
            column_idx: i32::try_from(before).unwrap_or(i32::MAX),
            descending: false,
            nulls_first: false,
        }
    });
    Some(columns.collect())
}

/// Opens a data file. The one place where rows are read without a query.
pub(super) fn open(
    path: &Path,
    reading: &Reading,
) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut options = ArrowReaderOptions::new();
    if let Some(keys) = reading {
        options = options.with_file_decryption_properties(Arc::clone(keys));
    }
    let opened = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options);
    opened.map_err(|error| match error {
        // What the keychain said, as it said it.
        ParquetError::External(source) if source.is::<Error>() => *source
            .downcast::<Error>()
            .expect("it was asked whether it is one"),
        error => match keys::key_named_in(path) {
            Ok(Some(key)) if reading.is_none() => keys::unknown_key(path, &key),
            _ => error.into(),
        },
    })
}

/// All rows of a data file with every column of its table, in batches of a few megabytes at most where rows are of one
/// size, and of a row group's worth at most in any case.
pub(super) fn read(
    table: Table,
    path: &Path,
    reading: &Reading,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let builder = open(path, reading).map_err(|error| match error {
        Error::Query(source) => Error::Store {
            message: format!("`{}` cannot be read: {source}", path.display()),
            hint: Some("`inferwatch store verify` says what else is damaged".into()),
        },
        other => other,
    })?;
    if !is_of_table(table, builder.schema()) {
        return Err(Error::Store {
            message: format!(
                "`{}` has columns that this program does not know",
                path.display()
            ),
            hint: Some("the store may be newer than this program".into()),
        });
    }
    let groups = builder.metadata().row_groups();
    let rows: i64 = groups.iter().map(|group| group.num_rows()).sum();
    let bytes: i64 = groups.iter().map(|group| group.total_byte_size()).sum();
    let batch = (READ_BYTES * rows / bytes.max(1)).clamp(1, 8 * 1024);
    let reader = builder
        .with_batch_size(usize::try_from(batch).unwrap_or(1))
        .build()?;
    let name = path.to_path_buf();
    Ok(reader.map(move |batch| {
        let batch = batch.and_then(|batch| completed(table, &batch));
        batch.map_err(|error| Error::Store {
            message: format!("`{}` cannot be read: {error}", name.display()),
            hint: Some("`inferwatch store verify --deep` says what else is damaged".into()),
        })
    }))
}

/// Whether a file's columns are the table's. A file from before a column came lacks it.
pub(super) fn is_of_table(table: Table, file: &Schema) -> bool {
    let schema = table.schema();
    let known = |field: &Arc<Field>| {
        schema
            .field_with_name(field.name())
            .is_ok_and(|known| known == field.as_ref())
    };
    let in_file = |field: &&Arc<Field>| file.field_with_name(field.name()).is_ok();
    file.fields().iter().all(known)
        && schema
            .fields()
            .iter()
            .all(|field| field.is_nullable() || in_file(&field))
}

/// The rows with every column of the table; those that the file lacks are null.
pub(super) fn completed(
    table: Table,
    batch: &RecordBatch,
) -> std::result::Result<RecordBatch, ArrowError> {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name()).cloned();
        column.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
    });
    let columns = columns.collect();
    RecordBatch::try_new(schema, columns)
}

/// Writes the rows of one partition, in as many files as it takes.
pub(super) struct PartitionWriter<'a> {
    table: Table,
    table_folder: &'a Path,
    partition: Partition,
    key: Option<&'a TableKey>,
    open: Option<OpenFile>,
}

struct OpenFile {
    path: String,
    writer: ArrowWriter<NewFile>,
    statistics: Collector,
    rows: i64,
}

impl<'a> PartitionWriter<'a> {
    /// Writes to a table's folder, encrypted when there is a key.
    pub(super) fn new(
        table: Table,
        table_folder: &'a Path,
        partition: Partition,
        key: Option<&'a TableKey>,
    ) -> Self {
        PartitionWriter {
            table,
            table_folder,
            partition,
            key,
            open: None,
        }
    }

    pub(super) fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Adds rows, which follow those before in the table's order.
    pub(super) fn write(
        &mut self,
        batch: &RecordBatch,
        done: &mut impl FnMut(DataFile, NewFile) -> Result<()>,
    ) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.open.is_none() {
            self.open = Some(self.open_file(batch)?);
        }
        let open = self.open.as_mut().expect("just opened");
        open.writer.write(batch)?;
        open.statistics.update(batch);
        open.rows += i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
        if open.writer.bytes_written() >= FILE_BYTES {
            self.finish(done)?;
        }
        Ok(())
    }

    /// Closes the file that is open.
    pub(super) fn finish(
        &mut self,
        done: &mut impl FnMut(DataFile, NewFile) -> Result<()>,
    ) -> Result<()> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        open.writer.finish()?;
        let size = i64::try_from(open.writer.bytes_written()).unwrap_or(i64::MAX);
        let file = open
            .writer
            .inner()
            .try_clone()
            .map_err(Error::io("write", self.table_folder.join(&open.path)))?;
        let data_file = DataFile {
            size,
            rows: open.rows,
            modified: chrono::Utc::now().timestamp_millis(),
            partition: self.partition.clone(),
            statistics: open.statistics.finish(),
            path: open.path,
        };
        done(data_file, file)
    }

    /// Opens a file whose first rows are `batch`.
    fn open_file(&self, batch: &RecordBatch) -> Result<OpenFile> {
        let access = disk::access(self.table);
        let folder = self.partition.folder(self.table);
        // Synchronised with the file, later: an hour may have many folders.
        let parent = self.table_folder.join(&folder);
        let path = format!("{folder}/part-{}.parquet", disk::random_name()?);
        let full = self.table_folder.join(&path);
        let mut attempts = 0;
        let file = loop {
            disk::create_folder_unsynced(&parent, access)?;
            match disk::create_file(&full, access) {
                // A folder that has become empty may be removed at any time.
                Err(error) if error.kind() == ErrorKind::NotFound && attempts < 100 => {
                    attempts += 1
                }
                created => break created.map_err(Error::io("create", &full))?,
            }
        };
        let mut properties = properties_for(self.table, batch);
        if let Some(key) = self.key {
            properties = properties
                .into_builder()
                .with_file_encryption_properties(keys::encryption(key)?)
                .build();
        }
        Ok(OpenFile {
            path,
            writer: ArrowWriter::try_new(file, self.table.schema(), Some(properties))?,
            statistics: Collector::new(self.table),
            rows: 0,
        })
    }
}

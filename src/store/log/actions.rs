//! Files and columns as the log has them: read from rows of the kernel's scan, and written for its commits.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, MapBuilder, MapFieldNames, RecordBatch, StringArray,
    StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::schema::StructField;
use delta_kernel::snapshot::SnapshotRef;
use delta_kernel::{EngineData, FilteredEngineData};

use super::DeltaLog;
use crate::error::{Error, Result};
use crate::store::data_file::DataFile;
use crate::store::layout::{self, Partition};
use crate::store::snapshot::{encode, log_statistics};

impl DeltaLog {
    /// One file from a row of the kernel's scan.
    pub(super) fn scan_row(&self, batch: &RecordBatch, row: usize) -> Result<DataFile> {
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

    /// Columns that the table has got since its log was begun. The next commit makes them known to other readers; in
    /// the files of before they are null.
    pub(super) fn new_columns(&self, snapshot: &SnapshotRef) -> Result<Vec<StructField>> {
        let known = snapshot.schema();
        let schema = self.delta_schema()?;
        let fields = schema
            .fields()
            .filter(|field| known.field(field.name()).is_none());
        Ok(fields.cloned().collect())
    }

    /// The kernel removes what its own scan has returned.
    pub(super) fn remove_actions(
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
    pub(super) fn add_actions(&self, files: &[DataFile]) -> Result<RecordBatch> {
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
}

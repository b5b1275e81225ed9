//! A table of the store for DataFusion.
//!
//! It only chooses files: by the statistics in the log, before any is opened. What is left is planned as the stock
//! Parquet scan, with each file's statistics and order, so that DataFusion does the rest and a plan can be shipped
//! with DataFusion's own codec.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, UInt32Array, UInt64Array};
use arrow::compute::{SortOptions, sum, take};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricBuilder;
use object_store::ObjectMeta;
use object_store::path::Path as ObjectPath;

use crate::schema::Table;
use crate::store::Store;
use crate::store::access::FileKeys;
use crate::store::layout::{self, Grain, Period};
use crate::store::snapshot::TableSnapshot;

/// Bytes to read from a file's end at first: enough for the footer and page index of a file of the usual size.
const FOOTER_BYTES: usize = 64 << 10;
/// A thread should have as many bytes to read.
const GROUP_BYTES: u64 = 1 << 20;
/// Statistics of one file take some 30 kB, being a list of all columns. With more files than this they are given for
/// the scan as a whole only; the files were chosen by them already.
const FILES_WITH_STATISTICS: usize = 256;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct StoreTable {
    store: Store,
    table: Table,
    schema: SchemaRef,
}

impl StoreTable {
    pub(super) fn new(store: Store, table: Table) -> StoreTable {
        StoreTable {
            store,
            table,
            schema: layout::scan_schema(table),
        }
    }

    fn plan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let snapshot = self
            .store
            .snapshot(self.table)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let predicate = conjunction(filters.iter().cloned())
            .map(|filter| state.create_physical_expr(filter, &schema))
            .transpose()?;
        let chosen = self.choose_files(&snapshot, predicate.as_ref(), limit)?;
        let mut options = state.table_options().parquet.clone();
        // Rows that a filter on a narrow column drops are never decoded in the wide ones.
        options.global.pushdown_filters = true;
        options.global.reorder_filters = true;
        // The planner hands it the filters itself.
        let mut source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(options)
            .with_metadata_size_hint(FOOTER_BYTES)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(
                state
                    .runtime_env()
                    .object_store(ObjectStoreUrl::local_filesystem())?,
                state.runtime_env().cache_manager.get_file_metadata_cache(),
            )));
        if !chosen.is_empty() {
            let reading = self.store.reading(self.table);
            let reading = reading.map_err(|error| DataFusionError::External(Box::new(error)))?;
            if let Some(keys) = reading {
                source = source.with_encryption_factory(Arc::new(FileKeys(keys)));
            }
        }
        MetricBuilder::new(source.metrics())
            .global_counter("files_in_table")
            .add(snapshot.len());
        MetricBuilder::new(source.metrics())
            .global_counter("files_in_scan")
            .add(chosen.len());
        let groups = self.file_groups(&snapshot, &chosen, state.config().target_partitions())?;
        // Rows are in order within a file. DataFusion would prove it for files one after the other as well, by their
        // smallest and largest values, but without a thought for nulls, which come last in each.
        let ordering = match groups.iter().all(|group| group.len() <= 1) {
            true => self.ordering()?.into_iter().collect(),
            false => Vec::new(),
        };
        let config =
            FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
                .with_statistics(self.statistics(&snapshot, &chosen)?)
                .with_output_ordering(ordering)
                .with_file_groups(groups)
                .with_projection_indices(projection.cloned())?
                // With a filter, what the scan gives is not yet what the query asks for.
                .with_limit(limit.filter(|_| filters.is_empty()))
                .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Positions of the files that may have rows for the query.
    fn choose_files(
        &self,
        snapshot: &TableSnapshot,
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        limit: Option<usize>,
    ) -> Result<Vec<u32>, DataFusionError> {
        let all = 0..u32::try_from(snapshot.len())
            .map_err(|error| DataFusionError::External(error.into()))?;
        let Some(predicate) = predicate else {
            // Without a filter the first files that have enough rows will do.
            let mut missing =
                limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
            return Ok(all
                .take_while(|index| {
                    let wanted = missing > 0;
                    missing = missing.saturating_sub(snapshot.file(*index as usize).rows());
                    wanted
                })
                .collect());
        };
        let pruning = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&self.schema))
            .try_build(Arc::clone(predicate))?;
        let keep = pruning.prune(&Files(snapshot))?;
        Ok(all
            .zip(keep)
            .filter(|(_, keep)| *keep)
            .map(|(index, _)| index)
            .collect())
    }

    /// The files in groups of about the same size, no more than are worth a thread.
    fn file_groups(
        &self,
        snapshot: &TableSnapshot,
        chosen: &[u32],
        target_partitions: usize,
    ) -> Result<Vec<FileGroup>, DataFusionError> {
        let size = |index: u32| u64::try_from(snapshot.file(index as usize).size()).unwrap_or(0);
        let total: u64 = chosen.iter().map(|index| size(*index)).sum();
        let count = usize::try_from(total / GROUP_BYTES + 1).unwrap_or(usize::MAX);
        let count = count.min(target_partitions).min(chosen.len()).max(1);
        let mut largest_first = chosen.to_vec();
        largest_first.sort_by_key(|index| std::cmp::Reverse(size(*index)));
        let mut groups: Vec<(u64, Vec<u32>)> = vec![(0, Vec::new()); count];
        for index in largest_first {
            let smallest = groups
                .iter_mut()
                .min_by_key(|(bytes, _)| *bytes)
                .expect("at least one group");
            smallest.0 += size(index);
            smallest.1.push(index);
        }
        let folder = self.store.table_folder(self.table);
        let each = chosen.len() <= FILES_WITH_STATISTICS;
        groups
            .into_iter()
            .map(|(_, mut indexes)| {
                indexes.sort_unstable();
                let files = indexes.into_iter().map(|index| {
                    let entry = snapshot.file(index as usize);
                    let mut file = PartitionedFile::new_from_meta(ObjectMeta {
                        location: ObjectPath::from_absolute_path(folder.join(entry.path()))?,
                        last_modified: DateTime::from_timestamp_millis(entry.modified())
                            .unwrap_or_default(),
                        size: size(index),
                        e_tag: None,
                        version: None,
                    });
                    if each {
                        file = file.with_statistics(Arc::new(self.statistics(snapshot, &[index])?));
                    }
                    Ok(file)
                });
                files
                    .collect::<Result<Vec<_>, DataFusionError>>()
                    .map(FileGroup::new)
            })
            .collect()
    }

    /// The order of the rows within a file.
    fn ordering(&self) -> Result<Option<LexOrdering>, DataFusionError> {
        let nulls_last = SortOptions {
            descending: false,
            nulls_first: false,
        };
        let columns = layout::sort_columns(self.table).into_iter().map(|column| {
            let expression = col(self.schema.field(column).name(), &self.schema)?;
            Ok(PhysicalSortExpr::new(expression, nulls_last))
        });
        Ok(LexOrdering::new(
            columns.collect::<Result<Vec<_>, DataFusionError>>()?,
        ))
    }

    /// What the log knows of some files, together.
    fn statistics(
        &self,
        snapshot: &TableSnapshot,
        chosen: &[u32],
    ) -> Result<Statistics, DataFusionError> {
        let files = chosen.iter().map(|index| snapshot.file(*index as usize));
        let (rows, bytes) = files.fold((0, 0), |(rows, bytes), file| {
            (rows + file.rows(), bytes + file.size())
        });
        let count = |number: i64| Precision::Exact(usize::try_from(number).unwrap_or(0));
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = count(rows);
        statistics.total_byte_size = count(bytes).to_inexact();
        let indexes = UInt32Array::from(chosen.to_vec());
        for name in self.table.statistics_columns() {
            let Some([min, max, nulls]) = snapshot.column(name) else {
                continue;
            };
            let field = self.schema.index_of(name)?;
            let data_type = self.schema.field(field).data_type();
            let column = &mut statistics.column_statistics[field];
            let nulls = take(nulls, &indexes, None)?;
            if nulls.null_count() == 0 && !chosen.is_empty() {
                column.null_count = count(sum(nulls.as_primitive::<Int64Type>()).unwrap_or(0));
            }
            // A file without a bound leaves none for all, unless it has no value at all.
            let empty = |position: usize| {
                let nulls = nulls.as_primitive::<Int64Type>();
                nulls.is_valid(position)
                    && nulls.value(position) == snapshot.file(chosen[position] as usize).rows()
            };
            let bound = |bounds: &ArrayRef,
                         largest: bool|
             -> Result<Precision<ScalarValue>, DataFusionError> {
                let bounds = take(bounds, &indexes, None)?;
                if (0..bounds.len()).any(|position| bounds.is_null(position) && !empty(position)) {
                    return Ok(Precision::Absent);
                }
                let value = extreme(&bounds, largest)?.cast_to(data_type)?;
                Ok(match data_type {
                    _ if value.is_null() => Precision::Absent,
                    DataType::Int64 | DataType::Int32 => Precision::Exact(value),
                    // Cut, or rounded: see `statistics`.
                    _ => Precision::Inexact(value),
                })
            };
            column.min_value = bound(min, false)?;
            column.max_value = bound(max, true)?;
        }
        Ok(statistics)
    }
}

/// The smallest or the largest value.
fn extreme(values: &ArrayRef, largest: bool) -> Result<ScalarValue, DataFusionError> {
    use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
    use datafusion::logical_expr::Accumulator;
    let mut accumulator: Box<dyn Accumulator> = if largest {
        Box::new(MaxAccumulator::try_new(values.data_type())?)
    } else {
        Box::new(MinAccumulator::try_new(values.data_type())?)
    };
    accumulator.update_batch(std::slice::from_ref(values))?;
    accumulator.evaluate()
}

#[async_trait]
impl TableProvider for StoreTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.plan(state, projection, filters, limit)
    }
}

/// The file list as DataFusion's pruning sees it.
struct Files<'a>(&'a TableSnapshot);

impl Files<'_> {
    /// The hour column has no statistics of its own: the period says it.
    fn hours(&self, first: bool) -> ArrayRef {
        let periods = self
            .0
            .files()
            .column_by_name("period")
            .expect("a column of every file list");
        let bound = |period: &str| {
            let period = Period::parse(period)?;
            let instant = if first { period.start } else { period.end - 1 };
            Some(Grain::Hour.name_at(instant))
        };
        let hours = periods.as_string::<i32>().iter();
        Arc::new(StringArray::from_iter(
            hours.map(|period| period.and_then(bound)),
        ))
    }
}

impl PruningStatistics for Files<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        match self.0.column(&column.name) {
            Some([min, _, _]) => Some(Arc::clone(min)),
            None => (column.name == "hour").then(|| self.hours(true)),
        }
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        match self.0.column(&column.name) {
            Some([_, max, _]) => Some(Arc::clone(max)),
            None => (column.name == "hour").then(|| self.hours(false)),
        }
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.0.column(&column.name).map(|[_, _, nulls]| {
            let nulls: Vec<Option<u64>> = nulls
                .as_primitive::<Int64Type>()
                .iter()
                .map(|nulls| nulls.and_then(|nulls| u64::try_from(nulls).ok()))
                .collect();
            Arc::new(UInt64Array::from(nulls)) as ArrayRef
        })
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let rows = self.0.iter().map(|file| u64::try_from(file.rows()).ok());
        Some(Arc::new(UInt64Array::from_iter(rows)))
    }

    fn contained(
        &self,
        _column: &Column,
        _values: &std::collections::HashSet<ScalarValue>,
    ) -> Option<BooleanArray> {
        None
    }
}

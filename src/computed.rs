//! Tables whose rows are made when a query asks for them: what the program knows of itself, as SQL.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::Result;

/// A table of few rows, computed anew for every scan.
pub(crate) struct ComputedTable {
    schema: SchemaRef,
    columns: Box<dyn Fn() -> Result<Vec<ArrayRef>> + Send + Sync>,
}

impl ComputedTable {
    /// A table whose columns, in the order of `schema`, are what `columns` gives.
    pub(crate) fn new(
        schema: SchemaRef,
        columns: impl Fn() -> Result<Vec<ArrayRef>> + Send + Sync + 'static,
    ) -> Self {
        ComputedTable {
            schema,
            columns: Box::new(columns),
        }
    }

    fn plan(
        &self,
        projection: Option<&Vec<usize>>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let columns =
            (self.columns)().map_err(|error| DataFusionError::External(Box::new(error)))?;
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        Ok(MemorySourceConfig::try_new_exec(
            &[vec![rows]],
            Arc::clone(&self.schema),
            projection.cloned(),
        )?)
    }
}

impl fmt::Debug for ComputedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComputedTable")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for ComputedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.plan(projection)
    }
}

//! That a token reads text of prompts is told in `audit`: once an hour for each token and table, before a row leaves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as QueryResult};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use crate::catalog::Span;
use crate::error::Error;
use crate::schema::Table;
use crate::store::{Entry, Store};

/// The hour in which a reader was last told of, by reader and table.
pub(super) type Told = Arc<Mutex<HashMap<(String, Table), i64>>>;

/// A restricted table, as one reader has it.
#[derive(Debug)]
pub(super) struct Witnessed {
    pub(super) table: Arc<dyn TableProvider>,
    pub(super) name: Table,
    /// The token.
    pub(super) reader: String,
    pub(super) store: Store,
    pub(super) told: Told,
}

impl Witnessed {
    fn tell(&self, now: i64) -> Result<(), Error> {
        let hour = now.div_euclid(Span::hours(1).0);
        // Whoever comes second waits until it is written down.
        let mut told = self.told.lock().expect("no thread panics with it");
        let key = (self.reader.clone(), self.name);
        if told.get(&key) == Some(&hour) {
            return Ok(());
        }
        Entry::new("read", now)
            .resource(self.name.name())
            .by(&self.reader)
            .write(&self.store)?;
        told.retain(|_, last| *last == hour);
        told.insert(key, hour);
        Ok(())
    }
}

#[async_trait]
impl TableProvider for Witnessed {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> QueryResult<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        self.tell(chrono::Utc::now().timestamp_micros())
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        self.table.scan(state, projection, filters, limit).await
    }
}

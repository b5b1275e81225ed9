//! What is in a store, in numbers.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;

use crate::error::Result;
use crate::schema::Table;
use crate::store::Store;
use crate::store::system::{time_range, union};

/// One table in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// The table.
    pub table: Table,
    /// Version in its log; `None` when it was never written.
    pub version: Option<u64>,
    /// Files.
    pub files: usize,
    /// Rows.
    pub rows: i64,
    /// Bytes of its files.
    pub bytes: i64,
    /// First and last time of its rows, microseconds since the epoch, rounded outwards to milliseconds.
    pub time_range: Option<(i64, i64)>,
}

/// A store in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// Every table.
    pub tables: Vec<TableInfo>,
    /// Calls by the log they were read from, the most frequent first.
    pub formats: Vec<(String, i64)>,
    /// Different callers in `calls`.
    pub callers: i64,
}

impl Store {
    /// The store in numbers. Tables are counted from their logs; formats and callers are queried.
    ///
    /// # Errors
    /// When a log or a file cannot be read.
    pub async fn info(&self) -> Result<StoreInfo> {
        let tables = Table::ALL.map(|table| self.table_info(table));
        let context = SessionContext::new();
        context.register_table("calls", self.provider(Table::Calls))?;
        let mut formats = Vec::new();
        let sql = "SELECT CAST(source_format AS VARCHAR), count(*) FROM calls GROUP BY 1 ORDER BY 2 DESC, 1";
        for batch in context.sql(sql).await?.collect().await? {
            let names = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
            let counts = batch.column(1).as_primitive::<Int64Type>();
            let names = names
                .as_string::<i32>()
                .iter()
                .map(|name| name.unwrap_or_default().to_owned());
            formats.extend(names.zip(counts.values().iter().copied()));
        }
        let mut callers = 0;
        for batch in context
            .sql("SELECT count(DISTINCT caller) FROM calls")
            .await?
            .collect()
            .await?
        {
            let counts = batch.column(0).as_primitive::<Int64Type>();
            callers += counts.values().iter().sum::<i64>();
        }
        Ok(StoreInfo {
            tables: tables.into_iter().collect::<Result<_>>()?,
            formats,
            callers,
        })
    }

    fn table_info(&self, table: Table) -> Result<TableInfo> {
        let snapshot = self.snapshot(table)?;
        Ok(TableInfo {
            table,
            version: snapshot.version(),
            files: snapshot.len(),
            rows: snapshot.rows(),
            bytes: snapshot.bytes(),
            time_range: snapshot
                .iter()
                .fold(None, |range, file| union(range, time_range(&file))),
        })
    }
}

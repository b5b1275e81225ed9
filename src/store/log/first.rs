//! The first commit of a table, which is written without the kernel.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field};
use delta_kernel::engine::arrow_conversion::TryFromArrow;
use delta_kernel::schema::StructType;

use super::DeltaLog;
use crate::error::{Error, Result};
use crate::store::disk;
use crate::store::layout;

impl DeltaLog {
    /// The table's schema in the log: the columns of the rows, then the partition columns. All may be null, since
    /// Delta makes a constraint of what may not, and that is a protocol feature.
    pub(super) fn delta_schema(&self) -> Result<StructType> {
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

    pub(super) fn first_commit(&self) -> Result<String> {
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
                crate::store::CHECKPOINT_INTERVAL.to_string(),
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

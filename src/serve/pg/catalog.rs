//! The catalog of Postgres beside the tables of a session: what psql, Grafana, Metabase and drivers ask before they ask
//! for rows. It lists what the session has, and nothing else.
//!
//! The most of it is `datafusion-pg-catalog`'s. Here are what clients miss there (functions that say of everything that
//! there is nothing to say) and an information schema in the words of Postgres: the one of DataFusion has its own names
//! of types and none of the keys.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::information_schema::{
    INFORMATION_SCHEMA, INFORMATION_SCHEMA_TABLES, InformationSchemaProvider,
};
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider as _};
use datafusion::common::ScalarValue;
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::setup_pg_catalog;

use super::words;

/// Functions that have one answer here: no comment, no size, and all there is can be seen.
fn constants() -> impl Iterator<Item = Constant> {
    let unknown = [
        "col_description",
        "obj_description",
        "pg_get_function_arguments",
        "pg_get_function_result",
        "pg_get_viewdef",
        "pg_size_pretty",
        "pg_tablespace_location",
        "shobj_description",
    ];
    let unknown = unknown.map(|name| (name, ScalarValue::Utf8(None)));
    let sizes = ["pg_database_size", "pg_table_size"].map(|name| (name, ScalarValue::Int64(None)));
    let visible = ["pg_function_is_visible", "pg_type_is_visible"]
        .map(|name| (name, ScalarValue::Boolean(Some(true))));
    unknown
        .into_iter()
        .chain(sizes)
        .chain(visible)
        .map(|(name, value)| Constant {
            name,
            value,
            signature: Signature::variadic_any(Volatility::Immutable),
        })
}

/// A function that gives the same whatever it is asked about.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// Columns as the standard and Postgres have them. Types are those under which rows are sent: what nests is JSON in text.
const COLUMNS: &str = r#"
SELECT
    table_catalog, table_schema, table_name, column_name,
    CAST(ordinal_position AS INT) + 1 AS ordinal_position,
    column_default, is_nullable,
    CASE udt_name
        WHEN 'bool' THEN 'boolean'
        WHEN 'int2' THEN 'smallint'
        WHEN 'int4' THEN 'integer'
        WHEN 'int8' THEN 'bigint'
        WHEN 'float4' THEN 'real'
        WHEN 'float8' THEN 'double precision'
        WHEN 'timestamptz' THEN 'timestamp with time zone'
        WHEN 'timestamp' THEN 'timestamp without time zone'
        WHEN '_text' THEN 'ARRAY'
        ELSE udt_name
    END AS data_type,
    CAST(character_maximum_length AS INT) AS character_maximum_length,
    CAST(character_octet_length AS INT) AS character_octet_length,
    CAST(numeric_precision AS INT) AS numeric_precision,
    CAST(numeric_precision_radix AS INT) AS numeric_precision_radix,
    CAST(numeric_scale AS INT) AS numeric_scale,
    CAST(datetime_precision AS INT) AS datetime_precision,
    table_catalog AS udt_catalog, 'pg_catalog' AS udt_schema, udt_name,
    'NO' AS is_identity, 'NEVER' AS is_generated, 'NO' AS is_updatable
FROM (
    SELECT
        *,
        CASE
            WHEN data_type = 'Boolean' THEN 'bool'
            WHEN data_type IN ('Int8', 'Int16', 'UInt8') THEN 'int2'
            WHEN data_type IN ('Int32', 'UInt16') THEN 'int4'
            WHEN data_type IN ('Int64', 'UInt32') THEN 'int8'
            WHEN data_type = 'UInt64' OR data_type LIKE 'Decimal%' THEN 'numeric'
            WHEN data_type IN ('Float16', 'Float32') THEN 'float4'
            WHEN data_type = 'Float64' THEN 'float8'
            WHEN data_type LIKE 'Date%' THEN 'date'
            WHEN data_type LIKE 'Timestamp%"%' THEN 'timestamptz'
            WHEN data_type LIKE 'Timestamp%' THEN 'timestamp'
            WHEN data_type LIKE 'Time%' THEN 'time'
            WHEN data_type LIKE 'Interval%' OR data_type LIKE 'Duration%' THEN 'interval'
            WHEN data_type LIKE '%Binary%' AND data_type NOT LIKE '%(%' THEN 'bytea'
            WHEN data_type LIKE 'List(%Utf8%' AND data_type NOT LIKE '%Struct%' THEN '_text'
            ELSE 'text'
        END AS udt_name
    FROM information_schema.columns
)"#;

/// What speaks of keys: there are none.
const WITHOUT_ROWS: [(&str, &[&str]); 2] = [
    (
        "table_constraints",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "constraint_type",
        ],
    ),
    (
        "key_column_usage",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
        ],
    ),
];

/// Puts the catalog beside the tables of a session.
pub(in super::super) async fn add(context: &SessionContext) -> Result<(), DataFusionError> {
    let catalog = context.state().config().options().catalog.clone();
    setup_pg_catalog(context, &catalog.default_catalog, EmptyContextProvider)
        .map_err(|error| *error)?;
    context.register_udf(words::current_setting());
    for constant in constants() {
        context.register_udf(ScalarUDF::from(constant));
    }
    let schema = MemorySchemaProvider::new();
    let state = context.state();
    let given = InformationSchemaProvider::new(Arc::clone(state.catalog_list()));
    for name in INFORMATION_SCHEMA_TABLES {
        if let Some(table) = given.table(name).await? {
            schema.register_table((*name).to_owned(), table)?;
        }
    }
    schema.deregister_table("columns")?;
    let columns = context.sql(COLUMNS).await?.into_view();
    schema.register_table("columns".to_owned(), columns)?;
    for (name, columns) in WITHOUT_ROWS {
        let field = |name: &&str| Field::new(*name, DataType::Utf8, true);
        let columns = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
        let table = Arc::new(EmptyTable::new(Arc::new(columns)));
        schema.register_table(name.to_owned(), table)?;
    }
    // From here on that name leads to ours.
    let state = context.state_ref();
    let mut state = state.write();
    let options = state.config_mut().options_mut();
    options.catalog.information_schema = false;
    drop(state);
    let of_store = context.catalog(&catalog.default_catalog);
    let of_store = of_store.ok_or_else(|| DataFusionError::Internal("no catalog".to_owned()))?;
    of_store.register_schema(INFORMATION_SCHEMA, Arc::new(schema))?;
    Ok(())
}

//! Questions to a store whose answers are numbers, and answers as lines.

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::util::display::array_value_to_string;
use datafusion::prelude::SessionContext;
use inferwatch::store::Store;

/// The first row of the answer, as whole numbers.
pub(crate) async fn numbers(store: &Store, sql: &str) -> Vec<i64> {
    let context = SessionContext::new();
    store.register(&context).expect("tables register");
    let query = context.sql(sql).await.expect(sql);
    let batches = query.collect().await.expect(sql);
    let mut batches = batches.iter();
    let batch = batches.find(|batch| batch.num_rows() > 0).expect("a row");
    let columns = batch.columns().iter();
    columns
        .map(|column| {
            let column = cast(column, &DataType::Int64).expect("a number");
            column.as_primitive::<Int64Type>().value(0)
        })
        .collect()
}

/// The rows of an answer, with a space between cells.
pub(crate) fn lines(batch: &RecordBatch) -> Vec<String> {
    let line = |row: usize| {
        let cells = batch
            .columns()
            .iter()
            .map(|column| array_value_to_string(column, row).expect("prints"));
        cells.collect::<Vec<_>>().join(" ")
    };
    (0..batch.num_rows()).map(line).collect()
}

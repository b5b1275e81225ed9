//! Calls that a test writes into a store itself.

use arrow::array::RecordBatch;
use inferwatch::schema::{Call, CallBuilder, Table};
use inferwatch::store::{Store, WriteOptions};

pub(crate) fn batch<'a>(rows: impl IntoIterator<Item = Call<'a>>) -> RecordBatch {
    let mut builder = CallBuilder::default();
    for row in rows {
        builder.append(&row);
    }
    builder.finish()
}

/// Writes them, as one commit.
pub(crate) fn commit<'a>(store: &Store, rows: impl IntoIterator<Item = Call<'a>>) {
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    writer
        .write(Table::Calls, batch(rows))
        .expect("rows are taken");
    writer.commit(&[]).expect("a commit");
}

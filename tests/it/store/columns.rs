//! A store that is older than a column.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use inferwatch::schema::Call;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{SECOND, TEN, assert_sound, call, calls, commit, files_below, number, open};

/// Takes a column out of a table's files and its log, as if it had never been there.
fn forget_column(table: &Path, column: &str) {
    let log = table.join("_delta_log");
    std::fs::remove_dir_all(table.join("_inferwatch")).ok();
    for path in files_below(&log) {
        let text = std::fs::read_to_string(&path).expect("text");
        let mut actions: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        for action in &mut actions {
            if let Some(schema) = action.pointer_mut("/metaData/schemaString") {
                let mut known: serde_json::Value =
                    serde_json::from_str(schema.as_str().expect("text")).expect("JSON");
                let fields = known["fields"].as_array_mut().expect("fields");
                let before = fields.len();
                fields.retain(|field| field["name"] != column);
                assert_eq!(fields.len(), before - 1);
                *schema = known.to_string().into();
            }
            if let Some(add) = action.get_mut("add") {
                let file = table.join(add["path"].as_str().expect("a path"));
                add["size"] = without_column(&file, column).into();
            }
        }
        let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
        std::fs::write(&path, lines).expect("written");
    }
}

/// Writes a file anew without a column; its size.
fn without_column(path: &Path, column: &str) -> u64 {
    let file = std::fs::File::open(path).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .expect("Parquet");
    let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("rows")).collect();
    let schema = batches[0].schema();
    let kept: Vec<usize> = (0..schema.fields().len())
        .filter(|index| schema.field(*index).name() != column)
        .collect();
    let schema = Arc::new(schema.project(&kept).expect("columns"));
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, schema, None).expect("a writer");
    for batch in batches {
        writer
            .write(&batch.project(&kept).expect("columns"))
            .expect("rows");
    }
    writer.close().expect("written");
    path.metadata().expect("a file").len()
}

#[tokio::test]
async fn a_store_from_before_a_column_came_is_read_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = |from: i64, source: Option<&'static str>| {
        calls((from..from + 10).map(|n| Call {
            cost_source: source,
            ..call(TEN + n * SECOND, Some("a"), Some("m"), n)
        }))
    };
    commit(&open(folder.path()), rows(0, None), 1);
    let table = folder.path().join("store/calls");
    forget_column(&table, "cost_source");

    let store = open(folder.path());
    assert_sound(&store);
    let without = "SELECT count(*) FROM calls WHERE cost_source IS NULL";
    let with = "SELECT count(*) FROM calls WHERE cost_source = 'list'";
    assert_eq!(number(&store, without).await, 10);
    assert_eq!(
        number(&store, "SELECT sum(input_tokens) FROM calls").await,
        45
    );

    commit(&store, rows(10, Some("list")), 2);
    commit(&store, rows(20, Some("list")), 3);
    for store in [store, open(folder.path())] {
        assert_eq!(number(&store, without).await, 10);
        assert_eq!(number(&store, with).await, 20);
        assert_sound(&store);
    }
    // Other readers learn of the column from the first commit that has it, and once.
    let told = |version: u64| {
        let path = table.join(format!("_delta_log/{version:020}.json"));
        let text = std::fs::read_to_string(path).expect("a commit");
        text.contains("metaData") && text.contains("cost_source")
    };
    assert_eq!(
        [told(0), told(1), told(2), told(3)],
        [false, false, true, false]
    );
}

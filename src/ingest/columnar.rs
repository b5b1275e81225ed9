//! Rows of a Parquet file, as the objects they stand for.
//!
//! Observability tools export their records in columns. A row is written as one line of JSON and goes the way of every
//! other record, so that an export is read alike in whatever form it comes. Rows are taken in batches of about the size of
//! a block: prompts make rows of any size. A prompt that stands in a thousand rows stands in the file once, and so it does
//! in memory: texts are read as views, and a few rows are written out at a time.

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow_json::LineDelimitedWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};

/// How a Parquet file begins.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// So many rows at most, however short they are.
const MOST_ROWS: usize = 4096;

/// Rows that are written out together.
const WRITTEN: usize = 16;

/// Batches of rows, each as the bytes of its objects and their places.
pub(super) struct Rows {
    reader: ParquetRecordBatchReader,
    size: usize,
    /// What is not written out yet of the batch that was read last.
    rest: Option<RecordBatch>,
}

impl Rows {
    /// Opens a file; batches have about `size` bytes.
    pub(super) fn open(file: File, size: usize) -> io::Result<Rows> {
        let metadata = metadata(&file)?;
        let groups = metadata.metadata().row_groups();
        // By the group with the longest rows: a file may begin with short ones.
        let longest = groups
            .iter()
            .filter_map(|group| {
                let rows = usize::try_from(group.num_rows())
                    .ok()
                    .filter(|rows| *rows > 0)?;
                Some(usize::try_from(group.total_byte_size()).ok()? / rows)
            })
            .max();
        let rows = (size / longest.unwrap_or(1).max(1)).clamp(1, MOST_ROWS);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_batch_size(rows)
            .build()
            .map_err(invalid)?;
        Ok(Rows {
            reader,
            size,
            rest: None,
        })
    }
}

impl Iterator for Rows {
    type Item = io::Result<(Vec<u8>, Vec<Range<usize>>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self.reader.next()? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(invalid(error))),
            },
        };
        let (mut bytes, mut written) = (Vec::new(), 0);
        while written < batch.num_rows() && bytes.len() < self.size {
            let rows = (batch.num_rows() - written).min(WRITTEN);
            if let Err(error) = write_objects(&batch.slice(written, rows), &mut bytes) {
                return Some(Err(error));
            }
            written += rows;
        }
        if written < batch.num_rows() {
            self.rest = Some(batch.slice(written, batch.num_rows() - written));
        }
        // Strings have their line breaks escaped, so that every line is a row.
        let mut start = 0;
        let places = memchr::memchr_iter(b'\n', &bytes)
            .map(|end| std::mem::replace(&mut start, end + 1)..end)
            .collect();
        Some(Ok((bytes, places)))
    }
}

/// The index of a file, with its texts as views, unless it has them in a place where they cannot be.
fn metadata(file: &File) -> io::Result<ArrowReaderMetadata> {
    let plain = ArrowReaderMetadata::load(file, ArrowReaderOptions::new()).map_err(invalid)?;
    let schema = Schema::new(views(plain.schema().fields()));
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    Ok(ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), options).unwrap_or(plain))
}

fn views(fields: &Fields) -> Fields {
    fields.iter().map(|field| view(field)).collect()
}

fn view(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Struct(fields) => DataType::Struct(views(fields)),
        DataType::List(item) => DataType::List(Arc::new(view(item))),
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

fn write_objects(batch: &RecordBatch, out: &mut Vec<u8>) -> io::Result<()> {
    let mut writer = LineDelimitedWriter::new(&mut *out);
    writer.write(batch).map_err(invalid)?;
    writer.finish().map_err(invalid)?;
    out.flush()
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatchReader as _;
    use arrow::array::{
        ArrayRef, Int64Array, MapBuilder, StringArray, StringBuilder, TimestampMicrosecondArray,
        UInt64Builder,
    };
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn a_row_is_an_object_whatever_its_columns() {
        let mut usage = MapBuilder::new(None, StringBuilder::new(), UInt64Builder::new());
        usage.keys().append_value("input");
        usage.values().append_value(7);
        usage.append(true).unwrap();
        usage.append(false).unwrap();
        let time = TimestampMicrosecondArray::from(vec![1_772_446_530_250_000, 0]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "n",
                Arc::new(Int64Array::from(vec![9_007_199_254_740_993, 2])),
            ),
            (
                "text",
                Arc::new(StringArray::from(vec!["a \"line\"\nand more", ""])),
            ),
            ("at", Arc::new(time.with_timezone("UTC"))),
            ("usage", Arc::new(usage.finish())),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();

        let mut rows = Vec::new();
        // Bytes for one row only: batches do not change what is read.
        for batch in Rows::open(file, 1).unwrap() {
            let (bytes, places) = batch.unwrap();
            rows.extend(
                places
                    .into_iter()
                    .map(|place| String::from_utf8(bytes[place].to_vec()).unwrap()),
            );
        }
        assert_eq!(
            rows,
            [
                r#"{"n":9007199254740993,"text":"a \"line\"\nand more","at":"2026-03-02T10:15:30.250Z","usage":{"input":7}}"#,
                r#"{"n":2,"text":"","at":"1970-01-01T00:00:00Z"}"#,
            ]
        );
    }

    #[test]
    fn a_text_that_stands_in_every_row_is_not_written_out_for_all_at_once() {
        let text = "p".repeat(16 << 10);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![text.as_str(); 1000]));
        let batch = RecordBatch::try_from_iter([("prompt", texts)]).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        assert!(file.metadata().unwrap().len() < 64 << 10);

        let rows = Rows::open(file, 64 << 10).unwrap();
        assert_eq!(
            rows.reader.schema().field(0).data_type(),
            &DataType::Utf8View
        );
        let mut count = 0;
        for batch in rows {
            let (bytes, places) = batch.unwrap();
            assert!(bytes.len() < (64 << 10) + (WRITTEN + 1) * text.len());
            count += places.len();
        }
        assert_eq!(count, 1000);
    }
}

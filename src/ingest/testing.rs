//! For the tests of decoders: records in, readable rows out.

use arrow::array::{Array as _, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::format::Format;
use super::json::Arena;
use super::record::Rows;
use crate::schema::{AuditBuilder, CallBuilder};

/// Decodes records, one a line, each by the format it is recognised as, and writes every column that is not null, one
/// a line, then the parts, skipped and rejected records.
pub(super) fn decode_lines(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        out.push_str(&decode_record(line.as_bytes()));
    }
    out
}

/// The same for one record.
pub(super) fn decode_record(record: &[u8]) -> String {
    let arena = Arena::new();
    let record = arena.parse(record).expect("a fixture is JSON");
    let Some(format) = Format::sniff(record) else {
        return "== not recognised\n".into();
    };
    let mut rows = Rows::default();
    let mut out = format!("== {}\n", format.name());
    if let Err(reject) = format.decode(record, &mut rows) {
        out.push_str(&format!("rejected: {reject}\n"));
    }
    for row in &rows.calls {
        let mut call = row.call.clone();
        if call.attributes.is_none() {
            call.attributes = record.leftover();
        }
        let mut builder = CallBuilder::default();
        builder.append(&call);
        out.push_str("-- call\n");
        out.push_str(&columns(&builder.finish()));
        for part in &row.parts {
            out.push_str(&format!("-- part {part:?}\n"));
        }
    }
    for audit in &rows.audits {
        let mut audit = audit.clone();
        if audit.attributes.is_none() {
            audit.attributes = record.leftover();
        }
        let mut builder = AuditBuilder::default();
        builder.append(&audit);
        out.push_str("-- audit\n");
        out.push_str(&columns(&builder.finish()));
    }
    for reason in &rows.skipped {
        out.push_str(&format!("-- skipped: {reason}\n"));
    }
    for (reject, _) in &rows.rejected {
        out.push_str(&format!("-- rejected: {reject}\n"));
    }
    out
}

fn columns(batch: &RecordBatch) -> String {
    let options = FormatOptions::default();
    let mut out = String::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if column.is_valid(0) {
            let formatter = ArrayFormatter::try_new(column, &options).expect("every column prints");
            let value = formatter.value(0).to_string();
            if !value.is_empty() {
                out.push_str(&format!("{}: {value}\n", field.name()));
            }
        }
    }
    out
}

//! Where rows live: the period and the pair of model and caller a row belongs to, and the folder they name.
//!
//! Folders are for people and for other engines; no query depends on them, since the true values are in the log and
//! in the rows. So a component may be escaped, cut and hashed freely, as long as it cannot leave its table's folder.

use arrow::datatypes::SchemaRef;
use chrono::DateTime;
use sha2::{Digest, Sha256};

use crate::schema::{Layout, Table};
use crate::store::disk::hex;

/// The partition columns of a table, in the order of the folders.
pub(super) fn partition_columns(table: Table) -> &'static [&'static str] {
    match table.layout() {
        Layout::CallerModelHour => &["period", "partition_model", "partition_caller"],
        Layout::Hour | Layout::Day => &["period"],
    }
}

/// The columns by which the rows of every file are sorted, ascending with nulls last.
pub(super) fn sort_columns(table: Table) -> Vec<usize> {
    let schema = table.schema();
    [
        "rule_id",
        "caller",
        "model",
        table.time_column(),
        "source_file",
        "source_offset",
    ]
    .iter()
    .filter_map(|name| schema.index_of(name).ok())
    .collect()
}

/// How many microseconds one period of a table spans.
pub(super) fn period_micros(table: Table) -> i64 {
    const HOUR: i64 = 3_600_000_000;
    match table.layout() {
        Layout::CallerModelHour | Layout::Hour => HOUR,
        Layout::Day => 24 * HOUR,
    }
}

/// A period's name: `2026-11-20T10` for an hour, `2026-11-20` for a day.
pub(super) fn period_name(table: Table, period: i64) -> String {
    let format = match table.layout() {
        Layout::CallerModelHour | Layout::Hour => "%Y-%m-%dT%H",
        Layout::Day => "%Y-%m-%d",
    };
    let start = period.saturating_mul(period_micros(table));
    match DateTime::from_timestamp_micros(start) {
        Some(start) => start.format(format).to_string(),
        // Beyond the calendar: no such time is in a log that can be trusted, yet nothing is refused.
        None => format!("unknown-{period}"),
    }
}

/// The values of a file's partition columns. Model and caller both null: the partition that many pairs share.
#[derive(
    Debug,
    Clone,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Partition {
    /// The hour, as `2026-11-20T10`, or the day, as `2026-11-20`.
    pub period: String,
    /// The model all rows have, where they have one in common.
    pub model: Option<String>,
    /// The caller all rows have, where they have one in common.
    pub caller: Option<String>,
}

impl Partition {
    /// The value of a partition column.
    pub(super) fn value(&self, column: &str) -> Option<&str> {
        match column {
            "period" => Some(&self.period),
            "partition_model" => self.model.as_deref(),
            "partition_caller" => self.caller.as_deref(),
            _ => None,
        }
    }

    /// The folder below the table's, in the style of Hive.
    pub(super) fn folder(&self, table: Table) -> String {
        let components: Vec<String> = partition_columns(table)
            .iter()
            .map(|column| format!("{column}={}", component(self.value(column))))
            .collect();
        components.join("/")
    }
}

/// The longest component, in bytes: file systems stop at 255, and there is a column's name before it.
const COMPONENT_BYTES: usize = 128;

/// A value as part of a folder's name: whatever is not plainly harmless is percent-encoded, and what is too long is
/// cut and told apart by a hash of the whole.
fn component(value: Option<&str>) -> String {
    let Some(value) = value else {
        return "__HIVE_DEFAULT_PARTITION__".to_owned();
    };
    let mut name = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
        if name.len() > COMPONENT_BYTES {
            // Never in the middle of an escape.
            let cut = name[..COMPONENT_BYTES - 17]
                .rfind('%')
                .filter(|escape| escape + 3 > COMPONENT_BYTES - 17)
                .unwrap_or(COMPONENT_BYTES - 17);
            name.truncate(cut);
            name.push('-');
            name.push_str(&hex(&Sha256::digest(value)[..8]));
            break;
        }
    }
    name
}

/// A path as the log writes it, which is URL-encoded, from one on disk.
pub(super) fn log_path(path: &str) -> String {
    path.replace('%', "%25")
}

/// A path on disk from one in the log. `None` when it does not lie in the table's folder.
pub(super) fn disk_path(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    let path = String::from_utf8(decoded).ok()?;
    let inside = !path.contains("://")
        && !path.contains('\0')
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
    inside.then_some(path)
}

/// The table's schema with string views in place of strings, which is how scans hand them out.
pub(super) fn scan_schema(table: Table) -> SchemaRef {
    use arrow::datatypes::{DataType, Field, Schema};
    fn view(field: &Field) -> Field {
        let data_type = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            other => other.clone(),
        };
        field.clone().with_data_type(data_type)
    }
    let schema = table.schema();
    let fields: Vec<Field> = schema.fields().iter().map(|field| view(field)).collect();
    Schema::new(fields).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_in_their_folder() {
        assert_eq!(component(Some("../../x")), "..%2F..%2Fx");
        assert_eq!(component(Some("a=b/c%")), "a%3Db%2Fc%25");
        assert_eq!(component(Some("\0")), "%00");
        assert_eq!(component(Some("é")), "%C3%A9");
        assert_eq!(component(None), "__HIVE_DEFAULT_PARTITION__");
        assert_eq!(component(Some("alice")), "alice");
    }

    #[test]
    fn long_names_are_cut_between_escapes_and_told_apart() {
        for unit in ["a", "é", "\u{1F600}"] {
            let one = component(Some(&unit.repeat(10_000)));
            let two = component(Some(&unit.repeat(10_001)));
            assert!(one.len() <= COMPONENT_BYTES && two.len() <= COMPONENT_BYTES);
            assert_ne!(one, two);
            let (name, hash) = one.rsplit_once('-').expect("the hash follows a dash");
            assert_eq!(hash.len(), 16);
            assert!(disk_path(name).is_some() || unit != "a");
            for (at, _) in name.match_indices('%') {
                assert!(name[at..].len() >= 3, "{name}");
            }
        }
    }

    #[test]
    fn log_paths_round_trip_and_cannot_escape() {
        let path = "period=2026-11-20T10/partition_model=m/partition_caller=a%2Fb/part-1.parquet";
        assert_eq!(disk_path(&log_path(path)).as_deref(), Some(path));
        for bad in [
            "../x",
            "a/../b",
            "/etc/passwd",
            "s3://b/c",
            "a/%2E%2E/b",
            "%2",
            "a//b",
            "%00",
        ] {
            assert_eq!(disk_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn periods_are_utc_hours_and_days() {
        let micros = 1_795_168_800_000_000_i64; // 2026-11-20T10:00:00Z, from `date -u -d @1795168800`
        assert_eq!(
            period_name(Table::Calls, micros.div_euclid(period_micros(Table::Calls))),
            "2026-11-20T10"
        );
        assert_eq!(
            period_name(
                Table::Findings,
                micros.div_euclid(period_micros(Table::Findings))
            ),
            "2026-11-20"
        );
        assert_eq!(period_name(Table::Calls, -1), "1969-12-31T23");
    }
}

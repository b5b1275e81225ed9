//! Where rows live: the period and the pair of model and caller a row belongs to, and the folder they name.
//!
//! Folders are for people and for other engines; no query depends on them, since the true values are in the log and
//! in the rows. So a component may be escaped, cut and hashed freely, as long as it cannot leave its table's folder.

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Datelike};
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

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// How much time a partition spans: as much as the table's layout says while it is fresh, more as it ages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grain {
    /// A UTC hour, as `2026-11-20T10`.
    Hour,
    /// A UTC day, as `2026-11-20`.
    Day,
    /// A UTC month, as `2026-11`.
    Month,
}

impl Grain {
    /// That of a table's fresh rows.
    pub fn of(table: Table) -> Grain {
        match table.layout() {
            Layout::CallerModelHour | Layout::Hour => Grain::Hour,
            Layout::Day => Grain::Day,
        }
    }

    /// The number of the period that a time lies in; periods of one grain follow one another.
    pub(super) fn index(self, micros: i64) -> i64 {
        match self {
            Grain::Hour => micros.div_euclid(HOUR),
            Grain::Day => micros.div_euclid(DAY),
            Grain::Month => match DateTime::from_timestamp_micros(micros) {
                Some(time) => i64::from(time.year()) * 12 + i64::from(time.month0()),
                None => micros.div_euclid(31 * DAY),
            },
        }
    }

    /// First instant of a period, and first after it; `None` beyond the calendar.
    fn range(self, index: i64) -> Option<(i64, i64)> {
        let span = |span: i64| Some((index.checked_mul(span)?, (index + 1).checked_mul(span)?));
        match self {
            Grain::Hour => span(HOUR),
            Grain::Day => span(DAY),
            Grain::Month => {
                let first = |index: i64| {
                    let month = u32::try_from(index.rem_euclid(12)).ok()? + 1;
                    let year = i32::try_from(index.div_euclid(12)).ok()?;
                    let day = chrono::NaiveDate::from_ymd_opt(year, month, 1)?;
                    Some(
                        day.and_time(chrono::NaiveTime::MIN)
                            .and_utc()
                            .timestamp_micros(),
                    )
                };
                Some((first(index)?, first(index + 1)?))
            }
        }
    }

    /// A period's name.
    pub(super) fn name(self, index: i64) -> String {
        let format = match self {
            Grain::Hour => "%Y-%m-%dT%H",
            Grain::Day => "%Y-%m-%d",
            Grain::Month => "%Y-%m",
        };
        let start = self.range(index).map(|(start, _)| start);
        match start.and_then(DateTime::from_timestamp_micros) {
            Some(start) => start.format(format).to_string(),
            // Beyond the calendar: no such time is in a log that can be trusted, yet nothing is refused.
            None => format!("unknown-{index}"),
        }
    }

    /// The name of the period that a time lies in.
    pub(crate) fn name_at(self, micros: i64) -> String {
        self.name(self.index(micros))
    }
}

/// A period, read back from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// How long it is.
    pub grain: Grain,
    /// Its first instant, microseconds since the epoch.
    pub start: i64,
    /// The first instant after it.
    pub end: i64,
}

impl Period {
    /// The period of that name; `None` for a time beyond the calendar, whose files are left as they are.
    pub fn parse(name: &str) -> Option<Period> {
        let (grain, rest) = match name.len() {
            13 => (Grain::Hour, ":00:00Z"),
            10 => (Grain::Day, "T00:00:00Z"),
            7 => (Grain::Month, "-01T00:00:00Z"),
            _ => return None,
        };
        let start = DateTime::parse_from_rfc3339(&format!("{name}{rest}")).ok()?;
        let (start, end) = grain.range(grain.index(start.timestamp_micros()))?;
        (grain.name_at(start) == name).then_some(Period { grain, start, end })
    }

    /// The period of a grain that has this one in it.
    pub(super) fn within(self, grain: Grain) -> String {
        grain.name_at(self.start)
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
pub(crate) fn component(value: Option<&str>) -> String {
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
    fn periods_are_utc_hours_days_and_months() {
        let micros = 1_795_168_800_000_000_i64; // 2026-11-20T10:00:00Z, from `date -u -d @1795168800`
        assert_eq!(Grain::of(Table::Calls).name_at(micros), "2026-11-20T10");
        assert_eq!(Grain::of(Table::Findings).name_at(micros), "2026-11-20");
        assert_eq!(Grain::Month.name_at(micros), "2026-11");
        assert_eq!(Grain::Hour.name_at(-1), "1969-12-31T23");
        assert_eq!(Grain::Month.name_at(-1), "1969-12");
    }

    #[test]
    fn periods_are_read_back_from_their_names() {
        // Lengths by the calendar: 2028 has a leap day, 2100 has none, and no month knows of summer time.
        for (name, days) in [
            ("2028-02", 29),
            ("2100-02", 28),
            ("2026-03", 31),
            ("2026-12", 31),
            ("2028-02-29", 1),
        ] {
            let period = Period::parse(name).expect(name);
            assert_eq!(period.end - period.start, days * DAY, "{name}");
            assert_eq!(period.grain.name_at(period.start), name);
            assert_eq!(period.grain.name_at(period.end - 1), name);
            assert_ne!(period.grain.name_at(period.end), name);
        }
        let hour = Period::parse("2026-10-25T01").expect("an hour");
        assert_eq!(hour.end - hour.start, HOUR);
        assert_eq!(hour.within(Grain::Day), "2026-10-25");
        assert_eq!(hour.within(Grain::Month), "2026-10");
        for bad in [
            "unknown-7",
            "2026-02-30",
            "2026-13",
            "2026-1-02",
            "",
            "2026-11-20T24",
        ] {
            assert_eq!(Period::parse(bad), None, "{bad}");
        }
    }
}

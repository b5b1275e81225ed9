//! The system tables: what the logs say of the store itself, made anew for every query.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::computed::ComputedTable;
use crate::error::Result;
use crate::schema::Table;
use crate::store::holds::Hold;
use crate::store::snapshot::FileEntry;
use crate::store::{Partition, Period, Store};

#[derive(Debug, Clone, Copy)]
enum Kind {
    Partitions,
    Files,
    Ingests,
    LegalHolds,
}

/// Every system table of a store, with its name in SQL.
pub(super) fn tables(store: &Store) -> impl Iterator<Item = (&'static str, ComputedTable)> {
    [
        ("partitions", Kind::Partitions),
        ("files", Kind::Files),
        ("ingests", Kind::Ingests),
        ("legal_holds", Kind::LegalHolds),
    ]
    .into_iter()
    .map(|(name, kind)| {
        let logs = Logs(store.clone());
        let columns = move || match kind {
            Kind::Partitions => logs.partitions(),
            Kind::Files => logs.files(),
            Kind::Ingests => logs.ingests(),
            Kind::LegalHolds => logs.legal_holds(),
        };
        (name, ComputedTable::new(schema(kind), columns))
    })
}

/// The logs of a store's tables.
struct Logs(Store);

impl Logs {
    fn partitions(&self) -> Result<Vec<ArrayRef>> {
        #[derive(Default)]
        struct Sum {
            files: i64,
            rows: i64,
            bytes: i64,
            range: Option<(i64, i64)>,
        }
        let mut sums: BTreeMap<(&str, Partition), Sum> = BTreeMap::new();
        for table in Table::ALL {
            for file in self.0.snapshot(table)?.iter() {
                let sum = sums.entry((table.name(), file.partition())).or_default();
                sum.files += 1;
                sum.rows += file.rows();
                sum.bytes += file.size();
                sum.range = union(sum.range, time_range(&file));
            }
        }
        let keys = || sums.keys();
        let text = |value: fn(&Partition) -> Option<&str>| {
            strings(keys().map(|(_, partition)| value(partition)))
        };
        let number = |value: fn(&Sum) -> i64| integers(sums.values().map(value));
        Ok(vec![
            strings(keys().map(|(table, _)| Some(*table))),
            text(|partition| partition.caller.as_deref()),
            text(|partition| partition.model.as_deref()),
            text(|partition| Some(&partition.period)),
            number(|sum| sum.files),
            number(|sum| sum.rows),
            number(|sum| sum.bytes),
            times(sums.values().map(|sum| sum.range.map(|range| range.0))),
            times(sums.values().map(|sum| sum.range.map(|range| range.1))),
            times(keys().map(|(_, partition)| Some(Period::parse(&partition.period)?.start))),
            times(keys().map(|(_, partition)| Some(Period::parse(&partition.period)?.end))),
        ])
    }

    fn files(&self) -> Result<Vec<ArrayRef>> {
        let snapshots = Table::ALL.map(|table| self.0.snapshot(table));
        let snapshots = snapshots.into_iter().collect::<Result<Vec<_>>>()?;
        let files = || snapshots.iter().flat_map(|snapshot| snapshot.iter());
        let of_table = || {
            snapshots
                .iter()
                .flat_map(|snapshot| snapshot.iter().map(|_| Some(snapshot.table().name())))
        };
        let written = |file: FileEntry<'_>| file.modified().checked_mul(1000);
        Ok(vec![
            strings(of_table()),
            strings(files().map(|file| Some(file.path()))),
            strings(files().map(|file| file.partition_caller())),
            strings(files().map(|file| file.partition_model())),
            strings(files().map(|file| Some(file.period()))),
            integers(files().map(|file| file.rows())),
            integers(files().map(|file| file.size())),
            times(files().map(|file| time_range(&file).map(|range| range.0))),
            times(files().map(|file| time_range(&file).map(|range| range.1))),
            times(files().map(written)),
        ])
    }

    fn ingests(&self) -> Result<Vec<ArrayRef>> {
        let mut rows = Vec::new();
        for table in Table::ALL {
            let snapshot = self.0.snapshot(table)?;
            let version = snapshot.version();
            let transactions = snapshot.transactions().iter();
            rows.extend(
                transactions.map(|(source, at)| (table.name(), source.clone(), *at, version)),
            );
        }
        rows.sort_unstable();
        Ok(vec![
            strings(rows.iter().map(|(table, ..)| Some(*table))),
            strings(rows.iter().map(|(_, source, ..)| Some(source.as_str()))),
            integers(rows.iter().map(|(_, _, at, _)| *at)),
            Arc::new(UInt64Array::from_iter(
                rows.iter().map(|(.., version)| *version),
            )),
        ])
    }
}

impl Logs {
    fn legal_holds(&self) -> Result<Vec<ArrayRef>> {
        let holds = self.0.holds()?;
        let text = |of: fn(&Hold) -> Option<&str>| strings(holds.iter().map(of));
        let time = |of: fn(&Hold) -> Option<i64>| times(holds.iter().map(of));
        Ok(vec![
            text(|hold| Some(&hold.id)),
            text(|hold| hold.caller.as_deref()),
            text(|hold| hold.end_user.as_deref()),
            text(|hold| hold.table.as_deref()),
            time(|hold| hold.from),
            time(|hold| hold.until),
            text(|hold| Some(&hold.reason)),
            text(|hold| hold.owner.as_deref()),
            time(|hold| Some(hold.added)),
            time(|hold| hold.released),
        ])
    }
}

/// First and last time of a file's rows. Where another program has written the log, its last time may be a
/// millisecond early, so the bound lies almost one later; a person wants the millisecond.
pub(super) fn time_range(file: &FileEntry<'_>) -> Option<(i64, i64)> {
    let (first, last) = file.time_range()?;
    Some((first, last.div_euclid(1000) * 1000))
}

/// The range that has both.
pub(super) fn union(one: Option<(i64, i64)>, other: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
    }
}

/// The columns of `partitions`.
pub(crate) fn partitions_schema() -> SchemaRef {
    schema(Kind::Partitions)
}

fn schema(kind: Kind) -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let number = |name| Field::new(name, DataType::Int64, true);
    let time = |name| {
        Field::new(
            name,
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            true,
        )
    };
    let fields = match kind {
        Kind::Partitions => vec![
            text("table"),
            text("caller"),
            text("model"),
            text("period"),
            number("files"),
            number("rows"),
            number("bytes"),
            time("first_event"),
            time("last_event"),
            time("period_start"),
            time("period_end"),
        ],
        Kind::Files => vec![
            text("table"),
            text("path"),
            text("caller"),
            text("model"),
            text("period"),
            number("rows"),
            number("bytes"),
            time("first_event"),
            time("last_event"),
            time("written"),
        ],
        Kind::Ingests => vec![
            text("table"),
            text("source"),
            number("position"),
            Field::new("version", DataType::UInt64, true),
        ],
        Kind::LegalHolds => vec![
            text("id"),
            text("caller"),
            text("end_user"),
            text("table"),
            time("from_time"),
            time("until_time"),
            text("reason"),
            text("owner"),
            time("added"),
            time("released"),
        ],
    };
    Schema::new(fields).into()
}

fn strings<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values))
}

fn integers(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(values).with_timezone("UTC"))
}

//! A day of ordinary traffic, as rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{cast, concat_batches};

use super::rows::Rows;
use crate::error::{Error, Result};
use crate::generate::{Plan, Platform, generate};
use crate::ingest::{
    ContentMode, Ledger, Mapping, Mark, Options, PriceList, Progress, Sink, ingest, list,
};
use crate::schema::{Micros, Table};

const HOUR: i64 = 3_600_000_000;
/// A Monday, so that the day is a working day: 2026-01-05.
const START: i64 = 1_767_571_200_000_000;
const HOURS: usize = 24;
/// Enough that every caller and model has several calls.
const CALLS: u64 = 600;

/// Rows of ordinary traffic: nothing in it is for a rule to find.
#[derive(Debug)]
pub(super) struct Benign {
    rows: Rows,
}

impl Benign {
    /// Makes logs of all platforms in their own formats and reads them, as any others are read.
    pub(super) fn make() -> Result<Benign> {
        let folder = tempfile::tempdir().map_err(Error::io("make a folder in", "."))?;
        let plan = Plan {
            callers: 20,
            models: 3,
            hours: HOURS,
            rows: CALLS,
            seed: 1,
            start: START,
            platforms: Platform::ALL.to_vec(),
            incidents: Vec::new(),
        };
        generate(&plan, folder.path(), |_| ())?;
        let options = Options {
            format: None,
            content: ContentMode::Redacted,
            threads: crate::parallel::processors(),
            secret: [7; 32],
            now: Micros(START),
            prices: Arc::new(PriceList::builtin()),
            mapping: Arc::new(Mapping::builtin().clone()),
        };
        let sources = list(&[folder.path().to_path_buf()])?.sources;
        let mut collected = Collected::default();
        ingest(
            sources,
            &options,
            &Ledger::default(),
            &Progress::default(),
            &mut collected,
        )?;
        let mut tables = BTreeMap::new();
        for (table, batches) in collected.0 {
            tables.insert(table, concat_batches(&table.schema(), &batches)?);
        }
        let signals = None;
        Ok(Benign {
            rows: Rows { tables, signals },
        })
    }

    /// The day that ends at some time.
    pub(super) fn until(&self, end: i64) -> Result<BTreeMap<Table, RecordBatch>> {
        let by = end - START - HOURS as i64 * HOUR;
        Ok(self.rows.later(by)?.tables)
    }
}

/// Rows as they come.
#[derive(Debug, Default)]
struct Collected(BTreeMap<Table, Vec<RecordBatch>>);

impl Sink for Collected {
    fn write(&mut self, table: Table, batch: RecordBatch) -> Result<()> {
        let schema = table.schema();
        let columns = schema.fields().iter().map(|field| {
            let column = batch.column(batch.schema().index_of(field.name())?);
            cast(column, field.data_type())
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let batch = RecordBatch::try_new(schema, columns)?;
        self.0.entry(table).or_default().push(batch);
        Ok(())
    }

    fn commit(&mut self, _: &[Mark]) -> Result<()> {
        Ok(())
    }
}

//! The rows of a test, and what is done to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, StringArray, UInt32Array, new_null_array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::error::Result;
use crate::schema::Table;

/// Rows of tables, and of the signals of a correlation.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) tables: BTreeMap<Table, RecordBatch>,
    pub(super) signals: Option<RecordBatch>,
}

impl Rows {
    /// The same with something done to each batch.
    fn each(&self, change: impl Fn(&RecordBatch) -> Result<RecordBatch>) -> Result<Rows> {
        let tables = self.tables.iter();
        let tables = tables.map(|(table, batch)| Ok((*table, change(batch)?)));
        Ok(Rows {
            tables: tables.collect::<Result<_>>()?,
            signals: self.signals.as_ref().map(&change).transpose()?,
        })
    }

    /// The same with something done to each column.
    pub(super) fn each_column(
        &self,
        change: impl Fn(&str, &ArrayRef) -> Result<ArrayRef>,
    ) -> Result<Rows> {
        self.each(|batch| {
            let schema = batch.schema();
            let columns = schema.fields().iter().zip(batch.columns());
            let columns = columns.map(|(field, column)| change(field.name(), column));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Ok(RecordBatch::try_new(schema, columns)?)
        })
    }

    /// In another order; each seed has its own.
    pub(super) fn shuffled(&self, seed: u64) -> Result<Rows> {
        self.each(|batch| {
            let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
            order.shuffle(&mut StdRng::seed_from_u64(seed));
            Ok(take_record_batch(batch, &UInt32Array::from(order))?)
        })
    }

    /// Each once more.
    pub(super) fn twice(&self) -> Result<Rows> {
        self.each(|batch| Ok(concat_batches(&batch.schema(), [batch, batch])?))
    }

    /// All that happened, so much later.
    pub(super) fn later(&self, by: i64) -> Result<Rows> {
        self.each_column(|_, column| {
            let DataType::Timestamp(TimeUnit::Microsecond, zone) = column.data_type() else {
                return Ok(Arc::clone(column));
            };
            let times = column.as_primitive::<TimestampMicrosecondType>();
            let times = times.unary::<_, TimestampMicrosecondType>(|time| time + by);
            Ok(Arc::new(times.with_timezone_opt(zone.clone())))
        })
    }

    /// With some texts replaced by others wherever they stand, in whatever case: in cells, lists, and JSON.
    pub(super) fn renamed(&self, names: &[(String, String)]) -> Result<Rows> {
        self.each_column(|_, column| renamed(column, names))
    }

    /// Whether a text stands in a cell or list.
    pub(super) fn mentions(&self, text: &str) -> bool {
        let batches = self.tables.values().chain(&self.signals);
        batches
            .flat_map(RecordBatch::columns)
            .any(|column| mentions(column, text))
    }

    /// With a column of a table empty.
    pub(super) fn without(&self, table: Table, column: &str) -> Result<Rows> {
        let mut rows = self.clone();
        if let Some(batch) = rows.tables.get_mut(&table) {
            let index = batch.schema().index_of(column)?;
            let mut columns = batch.columns().to_vec();
            columns[index] = new_null_array(columns[index].data_type(), batch.num_rows());
            *batch = RecordBatch::try_new(batch.schema(), columns)?;
        }
        Ok(rows)
    }

    /// With those of others.
    pub(super) fn with(&self, others: &BTreeMap<Table, RecordBatch>) -> Result<Rows> {
        let mut rows = self.clone();
        for (table, batch) in &mut rows.tables {
            if let Some(other) = others.get(table) {
                *batch = concat_batches(&batch.schema(), [&*batch, other])?;
            }
        }
        Ok(rows)
    }

    /// The times of a table's rows.
    pub(super) fn times(&self, table: Table) -> Vec<i64> {
        let batch = self.tables.get(&table);
        batch.map_or(Vec::new(), |batch| times_of(batch, table.time_column()))
    }

    /// The rows of a table for which `wanted` says so by their place, and the others.
    pub(super) fn split(&self, table: Table, wanted: impl Fn(usize) -> bool) -> Result<[Rows; 2]> {
        let (mut those, mut others) = (self.clone(), self.clone());
        others.tables.clear();
        if let Some(batch) = those.tables.get_mut(&table) {
            let places = 0..batch.num_rows();
            let (a, b): (Vec<usize>, Vec<usize>) = places.partition(|place| wanted(*place));
            let taken = |places: Vec<usize>| {
                let places: UInt32Array = places.into_iter().map(|place| place as u32).collect();
                take_record_batch(batch, &places)
            };
            others.tables.insert(table, taken(a)?);
            let rest = taken(b)?;
            *batch = rest;
        }
        Ok([others, those])
    }
}

/// The times in a column.
pub(super) fn times_of(batch: &RecordBatch, column: &str) -> Vec<i64> {
    let column = batch.column_by_name(column);
    let times = column.map(|column| column.as_primitive::<TimestampMicrosecondType>());
    times.map_or(Vec::new(), |times| times.values().to_vec())
}

fn replaced(text: &str, names: &[(String, String)]) -> String {
    let mut known = names.iter();
    if let Some((_, new)) = known.find(|(old, _)| old.eq_ignore_ascii_case(text)) {
        return new.clone();
    }
    let mut text = text.to_string();
    for (old, new) in names {
        let quoted = format!("\"{old}\"");
        if text.contains(&quoted) {
            text = text.replace(&quoted, &format!("\"{new}\""));
        }
    }
    text
}

fn renamed(column: &ArrayRef, names: &[(String, String)]) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>().iter();
            let texts = texts.map(|text| text.map(|text| replaced(text, names)));
            Arc::new(texts.collect::<StringArray>())
        }
        DataType::List(field) => {
            let list = column.as_list::<i32>();
            Arc::new(ListArray::try_new(
                Arc::clone(field),
                list.offsets().clone(),
                renamed(list.values(), names)?,
                list.nulls().cloned(),
            )?)
        }
        _ => Arc::clone(column),
    })
}

fn mentions(column: &ArrayRef, text: &str) -> bool {
    match column.data_type() {
        DataType::Utf8 => {
            let mut texts = column.as_string::<i32>().iter();
            texts.any(|cell| cell.is_some_and(|cell| cell.eq_ignore_ascii_case(text)))
        }
        DataType::List(_) => mentions(column.as_list::<i32>().values(), text),
        _ => false,
    }
}

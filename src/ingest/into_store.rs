//! Sources into a store, each stretch of content once.

use arrow::array::RecordBatch;

use super::{ContentMode, Ledger, Mark, Options, Progress, Sink, Source, Summary, ingest};
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::{Store, StoreWriter, WriteOptions};

/// Reads sources into a store. What the store has already is passed over, as its own log says, and what is new is
/// committed together with the marks of what was read. `None` when `is_stopped` said so on the way: then nothing was
/// committed since the last of the commits that a long run makes.
///
/// # Errors
/// When the store cannot be written, or a table that would be has a key that is not there. Sources that cannot be read
/// are in the summary instead.
pub fn into_store(
    store: &Store,
    sources: Vec<Source>,
    options: &Options,
    write: WriteOptions,
    progress: &Progress,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Option<Summary>> {
    // Not after hours of reading.
    for table in Table::ALL {
        let is_written = table != Table::Content || options.content != ContentMode::Off;
        if let Some(lock) = store.lock_on(table)?.filter(|_| is_written) {
            return Err(lock);
        }
    }
    let mut sink = StoreSink {
        // Before it is asked what the store has: what a killed run left half committed is there then.
        writer: store.writer(write)?,
        is_stopped,
        was_stopped: false,
    };
    let mut ledger = Ledger::default();
    for (id, version) in store.snapshot(Table::Calls)?.transactions() {
        ledger.note(id, *version);
    }
    match ingest(sources, options, &ledger, progress, &mut sink) {
        Err(_) if sink.was_stopped => Ok(None),
        result => result.map(Some),
    }
}

struct StoreSink<'s> {
    writer: StoreWriter,
    is_stopped: &'s dyn Fn() -> bool,
    was_stopped: bool,
}

impl StoreSink<'_> {
    fn go_on(&mut self) -> Result<()> {
        self.was_stopped = (self.is_stopped)();
        match self.was_stopped {
            false => Ok(()),
            true => Err(Error::Usage {
                message: "stopped".into(),
                hint: None,
            }),
        }
    }
}

impl Sink for StoreSink<'_> {
    fn write(&mut self, table: Table, batch: RecordBatch) -> Result<()> {
        self.go_on()?;
        self.writer.write(table, batch)
    }

    fn commit(&mut self, marks: &[Mark]) -> Result<()> {
        self.go_on()?;
        // Two names of one content are one source.
        let mut transactions: Vec<(String, i64)> = marks
            .iter()
            .map(|mark| (mark.id.clone(), mark.length))
            .collect();
        transactions.sort();
        transactions.dedup();
        self.writer.commit(&transactions).map(drop)
    }
}

//! Decodes what came over the network: a request's worth at a time, on the caller's thread, with nothing of the files'
//! way but its parts. What is remembered of a request, so that it is taken once, is not a matter of this module.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::format::Format;
use super::ledger::Ledger;
use super::otlp::protobuf;
use super::reader::{self, Block, Stopped};
use super::source::Source;
use super::worker::{Settings, Worker};
use super::{Mark, Options, Tally, Tier};
use crate::schema::{Micros, Table};

/// Decodes requests, one after the other. Making one costs far more than a request.
pub struct Decoder {
    worker: Worker,
    tiers: &'static [Tier],
    format: Option<Format>,
}

/// What came of a request.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Its rows.
    pub batches: Vec<(Table, RecordBatch)>,
    /// What was counted.
    pub tally: Tally,
    /// Why it could not be read to its end; what came before is in the rows.
    pub failed: Option<String>,
}

/// It becomes more than was allowed once it is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

impl Decoder {
    /// For records as the options have them.
    pub fn new(options: &Options) -> Decoder {
        Decoder {
            worker: Worker::new(Settings {
                content: options.content,
                secret: options.secret,
                now: options.now,
                prices: Arc::clone(&options.prices),
                mapping: Arc::clone(&options.mapping),
            }),
            tiers: options.tiers(),
            format: options.format,
        }
    }

    /// Decodes the content of a request. `name` is what `source_file` says of its rows, `now` what `quarantine` says,
    /// `format` is asked for in place of the one of the options, `limit` is the most bytes that it may unpack to.
    ///
    /// # Errors
    /// When it is larger.
    pub fn decode(
        &mut self,
        name: &str,
        content: Arc<[u8]>,
        format: Option<Format>,
        now: Micros,
        limit: usize,
    ) -> Result<Decoded, TooLarge> {
        self.worker.set_now(now);
        let source = Source::Request {
            name: name.to_owned(),
            content,
        };
        let mut sink = Sink {
            worker: &mut self.worker,
            decoded: Decoded::default(),
            left: limit,
        };
        let format = format.or(self.format);
        let ending = reader::read(
            &source,
            format,
            &Ledger::default(),
            self.tiers,
            &Arc::default(),
            &mut sink,
        );
        let mut decoded = sink.decoded;
        decoded.failed = ending.map_err(|Stopped| TooLarge)?.error;
        Ok(decoded)
    }
}

struct Sink<'s> {
    worker: &'s mut Worker,
    decoded: Decoded,
    left: usize,
}

impl reader::Sink for Sink<'_> {
    fn block(
        &mut self,
        block: Block,
        _marks: &mut dyn FnMut() -> Option<Vec<Mark>>,
    ) -> Result<(), Stopped> {
        self.left = self.left.checked_sub(block.bytes.len()).ok_or(Stopped)?;
        let decoded = &mut self.decoded;
        self.worker.process(&block, &mut |output| {
            decoded.tally.add(&output.tally);
            decoded.batches.extend(output.batches);
        });
        Ok(())
    }
}

/// An OTLP message in Protobuf as OTLP/JSON; `None` when it is none.
pub fn otlp_to_json(message: &[u8]) -> Option<String> {
    protobuf::to_json(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::{ContentMode, Mapping, PriceList};

    fn decode(content: ContentMode, name: &str, text: String) -> Decoded {
        let mut decoder = Decoder::new(&Options {
            format: None,
            content,
            threads: 1,
            secret: [0; 32],
            now: Micros(0),
            prices: Arc::new(PriceList::builtin()),
            mapping: Arc::new(Mapping::builtin().clone()),
        });
        let content = text.into_bytes().into();
        decoder
            .decode(name, content, None, Micros(0), 64 << 20)
            .expect("is not too large")
    }

    /// Rows of a table, batch by batch.
    fn batches(decoded: &Decoded, table: Table) -> Vec<usize> {
        let of_table = decoded.batches.iter().filter(|(of, _)| *of == table);
        of_table.map(|(_, batch)| batch.num_rows()).collect()
    }

    #[test]
    fn a_value_of_many_records_is_handed_on_in_pieces() {
        // A name of a kilobyte in each row: 300 MB that stand in half a megabyte.
        let text = format!("{{\"Records\":[{}0]}}\n", "0,".repeat(299_999));
        let decoded = decode(ContentMode::Off, &"n".repeat(1024), text);
        let rows = batches(&decoded, Table::Quarantine);
        assert_eq!(rows.iter().sum::<usize>(), 300_000);
        assert!(
            rows.iter().all(|rows| *rows <= (16 << 20) / 1024 + 1),
            "{rows:?}"
        );
        assert_eq!(decoded.tally.total_records(), 300_000);
    }

    #[test]
    fn of_several_values_on_a_line_none_is_lost() {
        let text = "{\"a\":1}\n{\"a\":1} {\"b\":2}{\"c\":\n".to_owned();
        let decoded = decode(ContentMode::Off, "request", text);
        let reasons = decoded.tally.quarantined.iter();
        let reasons: Vec<_> = reasons
            .map(|(reason, count)| (reason.as_str(), *count))
            .collect();
        assert_eq!(
            reasons,
            [
                ("ends in the middle of a value", 1),
                ("not a record of any known format", 3)
            ]
        );
    }

    #[test]
    fn a_record_of_many_parts_is_handed_on_in_pieces() {
        let caller = "c".repeat(1 << 20);
        let message = r#"{"role":"user","content":"x"}"#;
        let messages = vec![message; 200].join(",");
        let text = format!(
            r#"{{"time":"2026-03-02T09:15:04Z","model":"m","user":"{caller}","messages":[{messages}]}}"#
        );
        let decoded = decode(ContentMode::Raw, "request", text);
        let rows = batches(&decoded, Table::Content);
        assert_eq!(rows.iter().sum::<usize>(), 200);
        assert!(rows.iter().all(|rows| *rows <= 16), "{rows:?}");
        assert_eq!(batches(&decoded, Table::Calls), [1]);
    }
}

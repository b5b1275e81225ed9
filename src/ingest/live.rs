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
        let output = self.worker.process(&block);
        self.decoded.tally.add(&output.tally);
        self.decoded.batches.extend(output.batches);
        Ok(())
    }
}

/// An OTLP message in Protobuf as OTLP/JSON; `None` when it is none.
pub fn otlp_to_json(message: &[u8]) -> Option<String> {
    protobuf::to_json(message)
}

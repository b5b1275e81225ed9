//! From a block of values to record batches: parse, unwrap, recognise, decode, enrich, append.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use inferwatch_udfs::pii;

use super::access_log;
use super::enrich::{self, Enricher};
use super::envelope::{self, Unwrapped};
use super::format::Format;
use super::generic::Mapping;
use super::json::{Arena, JsonError, Value};
use super::mask::mask;
use super::prices::{PriceList, Pricer};
use super::reader::{Block, Origin, Pieces};
use super::record::{CallRow, Rows};
use super::split::{Piece, Scanner};
use super::{ContentMode, time};
use crate::schema::{
    Audit, AuditBuilder, Call, CallBuilder, Content, ContentBuilder, Filter, FilterBuilder, Micros,
    Quarantine, QuarantineBuilder, Table,
};

/// What an ingest counted. Sums of several are added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Records read, by format.
    pub records: BTreeMap<&'static str, u64>,
    /// Rows made, by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// Records that could not be read, by reason.
    pub quarantined: BTreeMap<String, u64>,
    /// Records that are of no interest, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Parts whose text was not written because it could not be redacted.
    pub unredactable: u64,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: &Tally) {
        fn merge<K: Clone + Ord>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, count) in from {
                *into.entry(key.clone()).or_default() += count;
            }
        }
        merge(&mut self.records, &other.records);
        merge(&mut self.rows, &other.rows);
        merge(&mut self.quarantined, &other.quarantined);
        merge(&mut self.skipped, &other.skipped);
        self.unredactable += other.unredactable;
    }

    /// Records read, of any format.
    pub fn total_records(&self) -> u64 {
        self.records.values().sum()
    }
}

/// What every worker must know.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) content: ContentMode,
    pub(super) secret: [u8; 32],
    pub(super) now: Micros,
    pub(super) prices: Arc<PriceList>,
    pub(super) mapping: Arc<Mapping>,
}

/// Rows are handed on when they have become about as large as this: a block may hold a record that becomes far more.
const MAX_PENDING: usize = 16 << 20;

/// What a row takes beside its texts, about.
const ROW: usize = 256;

/// Takes what a worker makes of a block, in one piece or in several.
type Emit<'e> = &'e mut dyn FnMut(Output);

/// What a worker made of a block, or of a part of it.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) batches: Vec<(Table, RecordBatch)>,
    pub(super) tally: Tally,
}

/// Decodes blocks on one thread.
pub(super) struct Worker {
    arena: Arena,
    maker: Maker,
}

/// What appends rows; apart from the arena, whose borrows it must outlive.
struct Maker {
    settings: Settings,
    enricher: Enricher,
    pricer: Pricer,
    pii: pii::Scratch,
    redacted: String,
    redacted_arguments: String,
    calls: CallBuilder,
    content: ContentBuilder,
    filters: FilterBuilder,
    audit: AuditBuilder,
    quarantine: QuarantineBuilder,
    tally: Tally,
    /// About how large the rows are that were not handed on yet.
    pending: usize,
}

impl Worker {
    pub(super) fn new(settings: Settings) -> Self {
        Worker {
            arena: Arena::new(),
            maker: Maker {
                enricher: Enricher::new(&settings.secret),
                pricer: Pricer::new(Arc::clone(&settings.prices)),
                pii: pii::Scratch::default(),
                redacted: String::new(),
                redacted_arguments: String::new(),
                calls: CallBuilder::default(),
                content: ContentBuilder::default(),
                filters: FilterBuilder::default(),
                audit: AuditBuilder::default(),
                quarantine: QuarantineBuilder::default(),
                tally: Tally::default(),
                pending: 0,
                settings,
            },
        }
    }

    /// The time that `quarantine` rows carry from now on.
    pub(super) fn set_now(&mut self, now: Micros) {
        self.maker.settings.now = now;
    }

    /// Decodes a block. Nothing of it stays behind: a commit may come after any block.
    pub(super) fn process(&mut self, block: &Block, emit: Emit<'_>) {
        match &block.pieces {
            Pieces::Lines => {
                let mut start = 0;
                while start < block.bytes.len() {
                    let end = memchr::memchr(b'\n', &block.bytes[start..])
                        .map_or(block.bytes.len(), |ahead| start + ahead);
                    self.line(
                        &block.origin,
                        block.base + start as u64,
                        &block.bytes[start..end],
                        emit,
                    );
                    start = end + 1;
                }
            }
            Pieces::Values(values) => {
                for (offset, range) in values {
                    self.value(&block.origin, *offset, &block.bytes[range.clone()], emit);
                }
            }
            Pieces::Unreadable(reason) => {
                self.maker.quarantine(
                    &block.origin,
                    block.base,
                    block.origin.format,
                    reason,
                    &block.bytes,
                );
            }
        }
        emit(self.maker.flush());
    }

    fn line(&mut self, origin: &Arc<Origin>, offset: u64, line: &[u8], emit: Emit<'_>) {
        let blank = line
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x1e)
            .count();
        let text = line[blank..].trim_ascii_end();
        if text.is_empty() {
            return;
        }
        let json = match std::str::from_utf8(text) {
            Ok(text) if text.as_bytes()[0].is_ascii_digit() => {
                envelope::behind_time(text).as_bytes()
            }
            _ => text,
        };
        if json[0] != b'{'
            && let Ok(text) = std::str::from_utf8(text)
        {
            if let Some(object) = access_log::to_json(text, Some(offset)) {
                return self.value(origin, offset, object.as_bytes(), emit);
            }
            if access_log::is_server_message(text) {
                return self.maker.skip(Format::AccessLog.name(), "server message");
            }
        }
        // Several values on one line are rare, and cost a second look only where the first fails.
        if self.try_value(origin, offset, json, emit) {
            return;
        }
        let mut pieces = Vec::new();
        let done = Scanner::new().scan(json, |piece| pieces.push(piece));
        let several = pieces.len() > 1 && pieces.iter().all(|piece| matches!(piece, Piece::Value { start, .. } if matches!(json[*start], b'{' | b'[')));
        if !several {
            return self.value(origin, offset, json, emit);
        }
        // The last may have been cut off.
        let rest = Piece::Value {
            start: done,
            end: json.len(),
        };
        for piece in pieces.into_iter().chain([rest]) {
            if let Piece::Value { start, end } = piece
                && !json[start..end].trim_ascii().is_empty()
            {
                self.value(
                    origin,
                    offset + blank as u64 + start as u64,
                    &json[start..end],
                    emit,
                );
            }
        }
    }

    fn value(&mut self, origin: &Arc<Origin>, offset: u64, text: &[u8], emit: Emit<'_>) {
        if let Err(error) = self.decode(origin, offset, text, emit) {
            self.maker
                .quarantine(origin, offset, origin.format, &error.to_string(), text);
            self.maker.hand_on(emit);
        }
        self.arena.reset();
    }

    fn try_value(
        &mut self,
        origin: &Arc<Origin>,
        offset: u64,
        text: &[u8],
        emit: Emit<'_>,
    ) -> bool {
        let decoded = self.decode(origin, offset, text, emit).is_ok();
        self.arena.reset();
        decoded
    }

    fn decode(
        &mut self,
        origin: &Arc<Origin>,
        offset: u64,
        text: &[u8],
        emit: Emit<'_>,
    ) -> Result<(), JsonError> {
        let Worker { arena, maker } = self;
        let arena = &*arena;
        let value = arena.parse(text)?;
        envelope::unwrap(arena, value, &mut |inner| {
            match inner {
                Unwrapped::Record(record) => maker.record(arena, origin, offset, record, emit),
                Unwrapped::Broken(text, reason) => {
                    maker.quarantine(origin, offset, origin.format, reason, text.as_bytes());
                }
                Unwrapped::Skipped(reason) => maker.skip("envelope", reason),
            }
            maker.hand_on(emit);
        });
        Ok(())
    }
}

impl Maker {
    /// Counts a row with its texts.
    fn made(&mut self, table: Table, texts: usize) {
        *self.tally.rows.entry(table.name()).or_default() += 1;
        self.pending += ROW + texts;
    }

    /// Hands rows on once they are many.
    fn hand_on(&mut self, emit: Emit<'_>) {
        if self.pending >= MAX_PENDING {
            emit(self.flush());
        }
    }

    fn flush(&mut self) -> Output {
        self.pending = 0;
        let mut batches = Vec::new();
        let mut push = |table, batch: RecordBatch| {
            if batch.num_rows() > 0 {
                batches.push((table, batch));
            }
        };
        push(Table::Calls, self.calls.finish());
        push(Table::Content, self.content.finish());
        push(Table::Filters, self.filters.finish());
        push(Table::Audit, self.audit.finish());
        push(Table::Quarantine, self.quarantine.finish());
        Output {
            batches,
            tally: std::mem::take(&mut self.tally),
        }
    }

    fn skip(&mut self, format: &'static str, reason: &'static str) {
        *self.tally.records.entry(format).or_default() += 1;
        *self.tally.skipped.entry(reason).or_default() += 1;
    }

    fn quarantine(
        &mut self,
        origin: &Origin,
        offset: u64,
        format: Option<Format>,
        reason: &str,
        line: &[u8],
    ) {
        *self
            .tally
            .records
            .entry(format.map_or("unknown", Format::name))
            .or_default() += 1;
        // Positions are for the row; the summary counts kinds of damage.
        let kind = reason.split(" at byte ").next().unwrap_or(reason);
        *self.tally.quarantined.entry(kind.to_owned()).or_default() += 1;
        if !origin.wants(Table::Quarantine, offset) {
            return;
        }
        let line = mask(line);
        self.made(
            Table::Quarantine,
            origin.name.len() + reason.len() + line.len(),
        );
        self.quarantine.append(&Quarantine {
            ingest_time: self.settings.now,
            source_file: &origin.name,
            source_offset: i64::try_from(offset).unwrap_or(i64::MAX),
            format: format.map(Format::name),
            reason,
            line: Some(&line),
            ..Quarantine::default()
        });
    }

    fn record<'a>(
        &mut self,
        arena: &'a Arena,
        origin: &Origin,
        offset: u64,
        record: Value<'a>,
        emit: Emit<'_>,
    ) {
        let mut rows = Rows::default();
        let Some(format) = origin
            .format
            .or_else(|| Format::sniff(record, &self.settings.mapping))
        else {
            return self.quarantine(
                origin,
                offset,
                None,
                "not a record of any known format",
                record.to_json().as_bytes(),
            );
        };
        let result = format.decode(record, &self.settings.mapping, &mut rows);
        let made = rows.calls.len() + rows.audits.len();
        *self.tally.records.entry(format.name()).or_default() += made as u64;
        let empty = made + rows.skipped.len() + rows.rejected.len() == 0;
        let odd = record.has_duplicate_keys().then_some("duplicate_key");
        for (index, mut row) in rows.calls.into_iter().enumerate() {
            if row.call.event_id.is_empty() {
                row.call.event_id = self.event_id(arena, row.call.source_format, record, index);
            }
            row.call.parse_warnings.extend(odd);
            self.call(arena, origin, offset, record, row, emit);
        }
        for (index, mut audit) in rows.audits.into_iter().enumerate() {
            if audit.event_id.is_empty() {
                audit.event_id = self.event_id(arena, audit.source_format, record, index);
            }
            audit.parse_warnings.extend(odd);
            self.audit(arena, origin, offset, record, audit);
            self.hand_on(emit);
        }
        for reason in rows.skipped {
            self.skip(format.name(), reason);
        }
        for (reject, value) in rows.rejected {
            self.quarantine(
                origin,
                offset,
                Some(format),
                &reject.to_string(),
                value.to_json().as_bytes(),
            );
            self.hand_on(emit);
        }
        match result {
            Err(reject) => self.quarantine(
                origin,
                offset,
                Some(format),
                &reject.to_string(),
                record.to_json().as_bytes(),
            ),
            Ok(()) if empty => self.skip(format.name(), "holds no event"),
            Ok(()) => {}
        }
    }

    /// A stable id for a record whose vendor gave none: keyed, as the record may hold a prompt that could be guessed.
    fn event_id<'a>(
        &self,
        arena: &'a Arena,
        source_format: &str,
        record: Value<'_>,
        index: usize,
    ) -> &'a str {
        let mut hash = blake3::Hasher::new_keyed(&self.settings.secret);
        hash.update(source_format.as_bytes());
        hash.update(&(index as u64).to_le_bytes());
        hash.update(record.to_json().as_bytes());
        arena.keep(&hash.finalize().to_hex()[..32])
    }

    fn call<'a>(
        &mut self,
        arena: &'a Arena,
        origin: &Origin,
        offset: u64,
        record: Value<'a>,
        mut row: CallRow<'a>,
        emit: Emit<'_>,
    ) {
        self.enricher.enrich(&mut row);
        self.pricer.fill(&mut row.call);
        let CallRow { mut call, parts } = row;
        let hour = time::hour(call.event_time);
        if call.attributes.is_none() {
            call.attributes = record.leftover();
        }
        call.source_file = Some(arena.keep(&origin.name));
        call.source_offset = i64::try_from(offset).ok();
        call.hour = arena.keep(&hour);
        if !parts.is_empty() {
            call.content_state
                .get_or_insert(match self.settings.content {
                    ContentMode::Off => "not_ingested",
                    ContentMode::Redacted => "redacted",
                    ContentMode::Raw => "inline",
                });
        }
        if origin.wants(Table::Calls, offset) {
            let attributes = call.attributes.map_or(0, str::len);
            self.made(Table::Calls, names(&call) + attributes);
            self.calls.append(&call);
            self.hand_on(emit);
        }
        if origin.wants(Table::Filters, offset) {
            self.filter_rows(&call, emit);
        }
        if self.settings.content != ContentMode::Off && origin.wants(Table::Content, offset) {
            self.content_rows(&call, &parts, emit);
        }
    }

    fn filter_rows(&mut self, call: &Call<'_>, emit: Emit<'_>) {
        for finding in &call.guardrail_findings {
            self.made(Table::Filters, names(call));
            self.filters.append(&Filter {
                event_time: call.event_time,
                event_id: call.event_id,
                caller: call.caller,
                model: call.model,
                source_format: call.source_format,
                source_file: call.source_file,
                source_offset: call.source_offset,
                direction: finding.direction,
                policy: finding.policy,
                category: finding.category,
                action: finding.action,
                confidence: finding.confidence,
                score: finding.score,
                hour: call.hour,
                ..Filter::default()
            });
            self.hand_on(emit);
        }
    }

    fn content_rows(&mut self, call: &Call<'_>, parts: &[super::record::Part<'_>], emit: Emit<'_>) {
        let history = enrich::history_end(parts);
        for (seq, part) in parts.iter().enumerate() {
            let (mut text, mut arguments) = (part.text, part.tool_arguments);
            let mut kinds = Vec::new();
            if self.settings.content == ContentMode::Redacted {
                for (field, out) in [
                    (&mut text, &mut self.redacted),
                    (&mut arguments, &mut self.redacted_arguments),
                ] {
                    let Some(original) = *field else { continue };
                    *field = match pii::redact_checked(original, &mut self.pii, out) {
                        Ok(counts) => {
                            for (kind, _) in counts
                                .iter()
                                .filter(|(kind, _)| !kinds.contains(&kind.name()))
                                .collect::<Vec<_>>()
                            {
                                kinds.push(kind.name());
                            }
                            Some(out.as_str())
                        }
                        // Fails closed: what could not be redacted is not written.
                        Err(pii::Unredactable) => {
                            self.tally.unredactable += 1;
                            kinds.push("unredactable");
                            None
                        }
                    };
                }
            }
            let texts = text.map_or(0, str::len) + arguments.map_or(0, str::len);
            *self.tally.rows.entry(Table::Content.name()).or_default() += 1;
            self.pending += ROW + names(call) + texts;
            self.content.append(&Content {
                event_time: call.event_time,
                event_id: call.event_id,
                caller: call.caller,
                model: call.model,
                source_format: call.source_format,
                source_file: call.source_file,
                source_offset: call.source_offset,
                direction: part.direction.name(),
                seq: i32::try_from(seq).unwrap_or(i32::MAX),
                role: part.role,
                part_type: part.part_type.name(),
                is_history: enrich::is_history(part, history),
                text,
                tool_name: part.tool_name,
                tool_call_id: part.tool_call_id,
                tool_arguments: arguments,
                mime_type: part.mime_type,
                uri: part.uri,
                text_length: part.text.map(|text| text.chars().count() as i64),
                truncated: part.truncated,
                redacted_kinds: kinds,
                hour: call.hour,
                ..Content::default()
            });
            self.hand_on(emit);
        }
    }

    fn audit<'a>(
        &mut self,
        arena: &'a Arena,
        origin: &Origin,
        offset: u64,
        record: Value<'a>,
        mut audit: Audit<'a>,
    ) {
        let hour = time::hour(audit.event_time);
        if audit.attributes.is_none() {
            audit.attributes = record.leftover();
        }
        audit.source_file = Some(arena.keep(&origin.name));
        audit.source_offset = i64::try_from(offset).ok();
        audit.hour = arena.keep(&hour);
        if origin.wants(Table::Audit, offset) {
            self.made(Table::Audit, audit.attributes.map_or(0, str::len));
            self.audit.append(&audit);
        }
    }
}

/// The length of what each row of a call repeats.
fn names(call: &Call<'_>) -> usize {
    let names = [call.caller, call.model, call.source_file];
    names.into_iter().flatten().map(str::len).sum()
}

//! Records of every format: whatever stands in them, each is a row, a skip or a quarantine row, and none is lost.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use inferwatch::ingest::format::Format;
use inferwatch::ingest::json::Arena;
use inferwatch::ingest::{
    ContentMode, Decoded, Decoder, Mapping, Options, PriceList, otlp_to_json,
};
use inferwatch::schema::{Micros, Table};
use inferwatch_udfs::pii;

/// What an input may unpack to. Inputs are small, so it is only reached by what grows without bound.
pub(super) const LIMIT: usize = 256 << 20;

/// Stands in the texts of the kept inputs, and in no name.
const MARKS: [&str; 2] = ["QUOKKA", "zqxj"];

fn decoder(content: ContentMode) -> Decoder {
    Decoder::new(&Options {
        format: None,
        content,
        threads: 1,
        secret: [7; 32],
        now: Micros(1_772_445_600_000_000),
        prices: Arc::new(PriceList::builtin()),
        mapping: Arc::new(Mapping::builtin().clone()),
    })
}

/// Decodes with decoders that have seen every input before, as those of a server have.
pub(super) fn decode(content: ContentMode, format: Option<Format>, data: &[u8]) -> Decoded {
    thread_local! {
        static DECODERS: RefCell<[Decoder; 3]> = RefCell::new(
            [ContentMode::Off, ContentMode::Redacted, ContentMode::Raw].map(decoder),
        );
    }
    DECODERS.with_borrow_mut(|decoders| {
        decoders[content as usize]
            .decode(
                "request",
                data.into(),
                format,
                Micros(1_772_445_600_000_000),
                LIMIT,
            )
            .expect("a small input unpacks to little")
    })
}

/// All rows of a column, over batches.
pub(super) fn columns<'d>(
    decoded: &'d Decoded,
    table: Table,
    name: &'d str,
) -> impl Iterator<Item = &'d ArrayRef> {
    batches(decoded, table).filter_map(move |batch| batch.column_by_name(name))
}

fn batches(decoded: &Decoded, table: Table) -> impl Iterator<Item = &RecordBatch> {
    decoded
        .batches
        .iter()
        .filter(move |(of, _)| *of == table)
        .map(|(_, batch)| batch)
}

/// The texts of a column that are not null.
pub(super) fn texts<'d>(
    decoded: &'d Decoded,
    table: Table,
    name: &'d str,
) -> impl Iterator<Item = &'d str> {
    columns(decoded, table, name).flat_map(|column| -> Box<dyn Iterator<Item = &str>> {
        match column.as_string_opt::<i64>() {
            // Of texts a batch may hold more than 32 bits count.
            Some(long) => Box::new(long.iter().flatten()),
            None => Box::new(column.as_string::<i32>().iter().flatten()),
        }
    })
}

/// How many rows a table got.
pub(super) fn rows(decoded: &Decoded, table: Table) -> u64 {
    batches(decoded, table)
        .map(|batch| batch.num_rows() as u64)
        .sum()
}

/// What holds of everything that was decoded.
pub(super) fn check(decoded: &Decoded, content: ContentMode) {
    let tally = &decoded.tally;
    for table in Table::ALL {
        let counted = tally.rows.get(table.name()).copied().unwrap_or(0);
        assert_eq!(rows(decoded, table), counted, "rows of {}", table.name());
    }
    let quarantined: u64 = tally.quarantined.values().sum();
    let skipped: u64 = tally.skipped.values().sum();
    let made = rows(decoded, Table::Calls) + rows(decoded, Table::Audit);
    assert_eq!(
        tally.total_records(),
        made + quarantined + skipped,
        "every record is a row, a skip or in quarantine: {tally:?}"
    );
    assert_eq!(rows(decoded, Table::Quarantine), quarantined);
    for table in [Table::Calls, Table::Audit] {
        assert!(texts(decoded, table, "event_id").all(|id| !id.is_empty()));
        // It becomes the name of a folder.
        for hour in texts(decoded, table, "hour") {
            let shape: String = hour
                .chars()
                .map(|c| if c.is_ascii_digit() { '0' } else { c })
                .collect();
            assert_eq!(shape, "0000-00-00T00", "{hour}");
        }
    }
    for name in ["line", "reason"] {
        for text in texts(decoded, Table::Quarantine, name) {
            let told = MARKS.iter().find(|mark| text.contains(**mark));
            assert_eq!(told, None, "quarantine says what stood there: {text}");
        }
    }
    match content {
        ContentMode::Off => assert_eq!(rows(decoded, Table::Content), 0),
        ContentMode::Redacted => {
            let mut scratch = pii::Scratch::default();
            for name in ["text", "tool_arguments"] {
                for text in texts(decoded, Table::Content, name) {
                    let found = pii::scan(text, &mut scratch);
                    assert!(found.is_empty(), "kept: {found:?}");
                }
            }
        }
        ContentMode::Raw => {}
    }
}

/// Rows as they are in whatever way text is kept.
fn metadata(decoded: &Decoded) -> Vec<(Table, RecordBatch)> {
    let kept = decoded
        .batches
        .iter()
        .filter(|(table, _)| *table != Table::Content);
    kept.map(|(table, batch)| {
        let schema = batch.schema();
        let all = (0..batch.num_columns())
            .filter(|column| schema.field(*column).name() != "content_state");
        let all: Vec<usize> = all.collect();
        (*table, batch.project(&all).expect("columns of the batch"))
    })
    .collect()
}

/// Decodes as one of some formats, and as what it looks like.
fn family(formats: &[Format], data: &[u8]) {
    let format = formats[data.len() % formats.len()];
    let raw = decode(ContentMode::Raw, Some(format), data);
    check(&raw, ContentMode::Raw);
    let redacted = decode(ContentMode::Redacted, Some(format), data);
    check(&redacted, ContentMode::Redacted);
    assert_eq!(
        metadata(&raw),
        metadata(&redacted),
        "whether text is redacted changes nothing beside it, and neither does reading it again"
    );
    check(&decode(ContentMode::Off, None, data), ContentMode::Off);
}

pub(super) fn bedrock(data: &[u8]) {
    family(&[Format::BedrockInvocation], data);
}

pub(super) fn cloudtrail(data: &[u8]) {
    family(&[Format::CloudTrail], data);
}

pub(super) fn azure(data: &[u8]) {
    family(&[Format::Azure], data);
}

pub(super) fn google(data: &[u8]) {
    family(&[Format::GcpAudit, Format::VertexRequestResponse], data);
}

pub(super) fn otlp(data: &[u8]) {
    family(&[Format::Otlp], data);
}

pub(super) fn litellm(data: &[u8]) {
    family(&[Format::LiteLlm], data);
}

pub(super) fn gateways(data: &[u8]) {
    let formats = [
        Format::Langfuse,
        Format::Helicone,
        Format::Kong,
        Format::Envoy,
        Format::Cloudflare,
        Format::ProviderAudit,
    ];
    family(&formats, data);
}

pub(super) fn generic(data: &[u8]) {
    family(&[Format::Generic], data);
}

/// Lines of servers, and tables: with a first line that makes it one, whatever follows.
pub(super) fn access_log(data: &[u8]) {
    family(&[Format::AccessLog, Format::Generic], data);
    let table = [b"time,model,user,prompt,status\n", data].concat();
    check(&decode(ContentMode::Raw, None, &table), ContentMode::Raw);
}

/// A message of Protobuf is rewritten as JSON, or is none; in a frame it is read as its JSON is.
pub(super) fn otlp_protobuf(data: &[u8]) {
    let json = otlp_to_json(data);
    let length = u32::try_from(data.len()).expect("a small input");
    let frame = [&length.to_be_bytes()[..], data].concat();
    let framed = decode(ContentMode::Raw, None, &frame);
    check(&framed, ContentMode::Raw);
    let Some(json) = json else { return };
    let parsed = Arena::new().parse(json.as_bytes()).map(drop);
    assert_eq!(parsed, Ok(()), "what was rewritten is JSON");
    let plain = decode(ContentMode::Raw, None, json.as_bytes());
    check(&plain, ContentMode::Raw);
    // Where the first byte of a message is another's, the frame is not taken for one.
    if data.starts_with(&[0x0a]) {
        assert_eq!(
            (rows(&framed, Table::Calls), rows(&framed, Table::Audit)),
            (rows(&plain, Table::Calls), rows(&plain, Table::Audit)),
        );
    }
}

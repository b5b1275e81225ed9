//! What records come in: neighbours, envelopes, compression and encodings change nothing of what is read.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use inferwatch::ingest::{ContentMode, Decoded};
use inferwatch::schema::Table;

use super::records::{check, decode, rows, texts};

fn neighbour(id: &str) -> String {
    format!(
        r#"{{"schemaType":"ModelInvocationLog","timestamp":"2026-03-02T09:15:04Z","accountId":"1","identity":{{"arn":"arn:aws:iam::1:user/u"}},"region":"us-east-1","requestId":"{id}","operation":"Converse","modelId":"m","input":{{"inputTokenCount":1}},"output":{{"outputTokenCount":3}}}}"#
    )
}

/// How many rows each table got.
fn counts(decoded: &Decoded) -> Vec<u64> {
    let tables = [Table::Calls, Table::Audit, Table::Content, Table::Filters];
    tables.map(|table| rows(decoded, table)).to_vec()
}

/// Between two good lines stands one of any kind: both are read. In an envelope a record is what it is without.
pub(super) fn envelopes(data: &[u8]) {
    let line: Vec<u8> = data
        .iter()
        .map(|byte| if *byte == b'\n' { b' ' } else { *byte })
        .collect();
    let (first, last) = (neighbour("first-neighbour"), neighbour("last-neighbour"));
    let lines = [first.as_bytes(), &line, last.as_bytes(), b""].join(&b"\n"[..]);
    let decoded = decode(ContentMode::Off, None, &lines);
    check(&decoded, ContentMode::Off);
    assert_eq!(decoded.failed, None);
    let mut found =
        texts(&decoded, Table::Calls, "request_id").filter(|id| id.ends_with("-neighbour"));
    assert_eq!(found.next(), Some("first-neighbour"));
    assert_eq!(found.last(), Some("last-neighbour"));

    let Some(record) = record(&line) else { return };
    let bare = decode(ContentMode::Raw, None, record.as_bytes());
    check(&bare, ContentMode::Raw);
    let is_read = bare.tally.quarantined.is_empty()
        && rows(&bare, Table::Calls) + rows(&bare, Table::Audit) > 0;
    if !is_read {
        return;
    }
    for enveloped in in_envelopes(record) {
        let decoded = decode(ContentMode::Raw, None, enveloped.as_bytes());
        check(&decoded, ContentMode::Raw);
        assert_eq!(counts(&bare), counts(&decoded), "{enveloped}");
    }
}

/// An object that is no envelope itself.
fn record(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line).ok()?.trim();
    let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).ok()?;
    let of_envelopes = [
        "awslogs", "data", "detail", "entries", "event", "log", "message", "record", "result",
        "table",
    ];
    let is_bare = object.keys().all(|key| {
        let key = key.to_ascii_lowercase();
        of_envelopes.iter().all(|name| !key.starts_with(name))
    });
    is_bare.then_some(text)
}

fn in_envelopes(record: &str) -> [String; 8] {
    let quoted = serde_json::Value::from(record).to_string();
    [
        format!("[{record}]"),
        format!(r#"{{"Records":[{record}]}}"#),
        format!(r#"{{"entries":[{record}],"nextPageToken":"x"}}"#),
        format!(
            r#"{{"messageType":"DATA_MESSAGE","logEvents":[{{"id":"1","timestamp":1,"message":{quoted}}}]}}"#
        ),
        format!(r#"{{"log":{quoted},"stream":"stdout","time":"2026-03-02T09:15:04Z"}}"#),
        format!(r#"{{"event":{record},"sourcetype":"_json"}}"#),
        format!(
            r#"{{"version":"0","detail-type":"AWS API Call via CloudTrail","detail":{record}}}"#
        ),
        format!(r#"{{"message":{quoted}}}"#),
    ]
}

/// The first byte says how the rest comes; the same in another encoding gives the same rows.
pub(super) fn sources(data: &[u8]) {
    let Some((way, content)) = data.split_first() else {
        return;
    };
    let plain = decode(ContentMode::Off, None, content);
    check(&plain, ContentMode::Off);
    // What is compressed is unpacked once, and a mark of byte order is taken away once.
    let is_packed = [
        &b"\x1f\x8b"[..],
        b"\x28\xb5\x2f\xfd",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff",
    ]
    .iter()
    .any(|magic| content.starts_with(magic));
    if is_packed {
        return;
    }
    let (front, back) = content.split_at(content.len() / 2);
    let same = match way % 6 {
        0 => gzip(content),
        1 => [gzip(front), gzip(back)].concat(),
        2 => zstd(content),
        3 => [zstd(front), zstd(back)].concat(),
        4 => [b"\xef\xbb\xbf", content].concat(),
        _ => {
            let Ok(text) = std::str::from_utf8(content) else {
                return;
            };
            let is_little = way / 6 % 2 == 0;
            let units = std::iter::once(0xfeff).chain(text.encode_utf16());
            let bytes = units.flat_map(|unit| match is_little {
                true => unit.to_le_bytes(),
                false => unit.to_be_bytes(),
            });
            bytes.collect()
        }
    };
    let unpacked = decode(ContentMode::Off, None, &same);
    check(&unpacked, ContentMode::Off);
    assert_eq!(plain.tally, unpacked.tally);
    assert_eq!(plain.failed, unpacked.failed);
    assert_eq!(plain.batches, unpacked.batches);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory takes it")
}

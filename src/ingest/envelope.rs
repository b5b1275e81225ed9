//! Takes records out of the envelopes that platforms deliver them in, however deep they are nested.

use base64::Engine as _;
use std::io::Read as _;

use super::json::{Arena, Value};

/// Envelopes in envelopes end here: CloudWatch in Firehose in a shipper's wrapper is three.
const MAX_NESTING: u8 = 8;

/// A subscription record of CloudWatch is a few megabytes at most; what unpacks to more, in one piece or in many, is an
/// attack.
const MAX_UNPACKED: usize = 64 << 20;

const NO_JSON: &str = "text in an envelope is not JSON";
const TOO_LARGE: &str = "an envelope unpacks to more than 64 MiB";

/// What an envelope gave.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unwrapped<'a> {
    /// A record.
    Record(Value<'a>),
    /// Text that should have been a record, and why it is none.
    Broken(&'a str, &'static str),
    /// Something that is known to be no record.
    Skipped(&'static str),
}

/// Calls `each` for every record in `value`, in order.
pub(super) fn unwrap<'a>(arena: &'a Arena, value: Value<'a>, each: &mut dyn FnMut(Unwrapped<'a>)) {
    let mut opening = Opening {
        arena,
        left: MAX_UNPACKED,
        each,
    };
    opening.open(value, MAX_NESTING);
}

/// One value being opened, with all that is in it.
struct Opening<'a, 'e> {
    arena: &'a Arena,
    /// How much longer than the value its contents may still become.
    left: usize,
    each: &'e mut dyn FnMut(Unwrapped<'a>),
}

impl<'a> Opening<'a, '_> {
    fn broken(&mut self, text: &'a str) {
        (self.each)(Unwrapped::Broken(text, NO_JSON));
    }

    fn all(&mut self, values: impl Iterator<Item = Value<'a>>, depth: u8) {
        for value in values {
            self.open(value, depth);
        }
    }

    fn open(&mut self, value: Value<'a>, depth: u8) {
        let Some(depth) = depth.checked_sub(1) else {
            return (self.each)(Unwrapped::Record(value));
        };
        if value.is_array() {
            return self.all(value.items(), depth);
        }
        if !value.is_object() {
            return match value.as_str() {
                Some(text) => self.open_text(text, depth),
                None => (self.each)(Unwrapped::Record(value)),
            };
        }
        // CloudTrail and Event Hub, which differ in case alone; the Logging API.
        for key in ["Records", "entries"] {
            if let Some(records) = value.get(key).filter(|records| records.is_array()) {
                return self.all(records.items(), depth);
            }
        }
        if let Some(kind) = value.get("messageType").and_then(Value::as_str)
            && (value.get("logEvents").is_some() || kind.ends_with("_MESSAGE"))
        {
            if kind != "DATA_MESSAGE" {
                return (self.each)(Unwrapped::Skipped("CloudWatch control message"));
            }
            return self.messages(value.get("logEvents"), depth);
        }
        if let Some(data) = value.find("awslogs/data").and_then(Value::as_str) {
            return self.packed(data, depth);
        }
        if let Some(events) = value.get("events").filter(|events| are_messages(*events)) {
            return self.messages(Some(events), depth);
        }
        // Cloudflare's API.
        if let Some(listed) = value.get("result").filter(|listed| listed.is_array())
            && value.get("success").and_then(Value::as_bool).is_some()
            && (value.get("result_info").is_some() || value.get("errors").is_some())
        {
            return self.all(listed.items(), depth);
        }
        if let Some(results) = value
            .get("results")
            .filter(|results| results.items().all(Value::is_array))
        {
            let mut any = false;
            for row in results.items() {
                let cell = row
                    .items()
                    .find(|cell| cell.get("field").and_then(Value::as_str) == Some("@message"));
                if let Some(text) = cell
                    .and_then(|cell| cell.get("value"))
                    .and_then(Value::as_str)
                {
                    any = true;
                    self.open_text(text, depth);
                }
            }
            if any {
                return;
            }
        }
        if let Some(tables) = value
            .get("tables")
            .filter(|tables| tables.items().any(|table| table.get("columns").is_some()))
        {
            return tables.items().for_each(|table| self.rows(table, depth));
        }
        match inner(value) {
            Some(Inner::Value(inner)) => self.open(inner, depth),
            Some(Inner::Text(text)) => self.open_text(text, depth),
            None => (self.each)(Unwrapped::Record(value)),
        }
    }

    fn messages(&mut self, events: Option<Value<'a>>, depth: u8) {
        for event in events.into_iter().flat_map(Value::items) {
            match event.get("message") {
                Some(message) if message.is_object() => self.open(message, depth),
                Some(message) => match message.as_str() {
                    Some(text) => self.open_text(text, depth),
                    None => self.broken(""),
                },
                None => self.broken(""),
            }
        }
    }

    /// Text inside an envelope: JSON, JSON behind a time, or JSON in Base64.
    fn open_text(&mut self, text: &'a str, depth: u8) {
        let json = behind_time(text.trim());
        if json.starts_with(['{', '[']) {
            return match self.arena.parse(json.as_bytes()) {
                Ok(value) => self.open(value, depth),
                Err(_) => self.broken(text),
            };
        }
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(json)
            .ok()
            .filter(|bytes| bytes.trim_ascii_start().starts_with(b"{"));
        match decoded.and_then(|bytes| self.arena.parse(&bytes).ok()) {
            Some(value) => self.open(value, depth),
            None => self.broken(text),
        }
    }

    /// A subscription record: JSON, compressed, in Base64.
    fn packed(&mut self, data: &'a str, depth: u8) {
        let Ok(text) = unpack(data, self.left) else {
            return self.broken(data);
        };
        let Some(left) = self.left.checked_sub(text.len()) else {
            self.left = 0;
            return (self.each)(Unwrapped::Broken(data, TOO_LARGE));
        };
        self.left = left;
        match self.arena.parse(&text) {
            Ok(inner) => self.open(inner, depth),
            Err(_) => self.broken(data),
        }
    }

    /// Rows of a table of the Log Analytics API, each as the object it stands for.
    fn rows(&mut self, table: Value<'a>, depth: u8) {
        let names: Vec<&str> = table
            .get("columns")
            .into_iter()
            .flat_map(Value::items)
            .map(|column| column.get("name").and_then(Value::as_str).unwrap_or(""))
            .collect();
        for row in table.get("rows").into_iter().flat_map(Value::items) {
            let cells = || {
                names
                    .iter()
                    .zip(row.items())
                    .filter(|(_, cell)| !cell.is_null())
            };
            // The names stand once in the table, and in every object.
            let repeated = cells().map(|(name, _)| name.len()).sum();
            let Some(left) = self.left.checked_sub(repeated) else {
                (self.each)(Unwrapped::Broken("", TOO_LARGE));
                continue;
            };
            self.left = left;
            let mut text = String::from("{");
            for (name, cell) in cells() {
                if text.len() > 1 {
                    text.push(',');
                }
                super::json::write_string(&mut text, name);
                text.push(':');
                text.push_str(cell.to_json());
            }
            text.push('}');
            match self.arena.parse(text.as_bytes()) {
                Ok(record) => self.open(record, depth),
                Err(_) => self.broken(""),
            }
        }
    }
}

enum Inner<'a> {
    Value(Value<'a>),
    Text(&'a str),
}

/// The record inside a shipper's wrapper: Docker's `log`, Splunk's `event`, EventBridge's `detail`, Pub/Sub's
/// `message.data`, and a bare `message` that holds JSON.
fn inner(value: Value<'_>) -> Option<Inner<'_>> {
    let holds_object = |text: &str| text.trim_start().starts_with('{');
    if (value.get("stream").is_some()
        || value.get("time").is_some()
        || value.entries().count() <= 2)
        && let Some(text) = value
            .get("log")
            .and_then(Value::as_str)
            .filter(|text| holds_object(text))
    {
        return Some(Inner::Text(text));
    }
    if let Some(detail) = value.get("detail").filter(|detail| detail.is_object())
        && value.get("detail-type").is_some()
    {
        return Some(Inner::Value(detail));
    }
    if let Some(event) = value.get("event")
        && (value.get("sourcetype").is_some()
            || value.get("host").is_some()
            || value.entries().count() == 1)
    {
        if event.is_object() {
            return Some(Inner::Value(event));
        }
        if let Some(text) = event.as_str().filter(|text| holds_object(text)) {
            return Some(Inner::Text(text));
        }
    }
    match value.get("message") {
        Some(message) if message.is_object() && message.get("data").is_some() => {
            message.get("data").and_then(Value::as_str).map(Inner::Text)
        }
        Some(message) => message
            .as_str()
            .filter(|text| holds_object(text))
            .map(Inner::Text),
        None => None,
    }
}

fn are_messages(events: Value<'_>) -> bool {
    events
        .items()
        .next()
        .is_some_and(|event| event.get("message").is_some() && event.get("timestamp").is_some())
}

/// The JSON in `2026-08-10T21:12:39.000Z {…}`, or the text itself.
pub(super) fn behind_time(text: &str) -> &str {
    match text.split_once(' ') {
        Some((time, json))
            if text.starts_with(|letter: char| letter.is_ascii_digit())
                && super::time::parse(time).is_some() =>
        {
            json.trim_start()
        }
        _ => text,
    }
}

/// What is in a subscription record; one byte more than `most` where that would not be all.
fn unpack(data: &str, most: usize) -> std::io::Result<Vec<u8>> {
    let packed = base64::engine::general_purpose::STANDARD
        .decode(data)
        .map_err(std::io::Error::other)?;
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(&packed[..])
        .take(most as u64 + 1)
        .read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Vec<String> {
        let arena = Arena::new();
        let mut found = Vec::new();
        unwrap(
            &arena,
            arena.parse(text.as_bytes()).unwrap(),
            &mut |inner| {
                found.push(match inner {
                    Unwrapped::Record(value) => value.to_json().to_owned(),
                    Unwrapped::Broken(_, NO_JSON) => "broken".to_owned(),
                    Unwrapped::Broken(_, reason) => reason.to_owned(),
                    Unwrapped::Skipped(reason) => reason.to_owned(),
                });
            },
        );
        found
    }

    #[test]
    fn every_envelope_gives_its_records() {
        let a = r#"{"a":1}"#;
        for text in [
            r#"{"a":1}"#,
            r#"[{"a":1}]"#,
            r#"{"Records":[{"a":1}]}"#,
            r#"{"records":[{"a":1}]}"#,
            r#"{"entries":[{"a":1}],"nextPageToken":"x"}"#,
            r#"{"messageType":"DATA_MESSAGE","owner":"1","logEvents":[{"id":"1","timestamp":1,"message":"{\"a\":1}"}]}"#,
            r#"{"events":[{"timestamp":1,"message":"{\"a\":1}","ingestionTime":2}]}"#,
            r#"{"results":[[{"field":"@timestamp","value":"x"},{"field":"@message","value":"{\"a\":1}"}]],"status":"Complete"}"#,
            r#"{"tables":[{"name":"t","columns":[{"name":"a","type":"int"},{"name":"b","type":"string"}],"rows":[[1,null]]}]}"#,
            r#"{"result":[{"a":1}],"success":true,"errors":[],"result_info":{"page":1}}"#,
            r#"{"message":"{\"a\":1}"}"#,
            r#"{"log":"{\"a\":1}\n","stream":"stdout","time":"2026-03-02T09:15:04Z"}"#,
            r#"{"event":{"a":1},"sourcetype":"_json"}"#,
            r#"{"version":"0","detail-type":"AWS API Call via CloudTrail","detail":{"a":1}}"#,
            r#"{"message":{"data":"eyJhIjoxfQ==","messageId":"1"},"subscription":"s"}"#,
        ] {
            assert_eq!(records(text), [a], "{text}");
        }
        assert_eq!(
            records(r#"{"messageType":"CONTROL_MESSAGE","logEvents":[]}"#),
            ["CloudWatch control message"]
        );
    }

    #[test]
    fn a_packed_subscription_is_unpacked() {
        use std::io::Write as _;
        let inner = r#"{"messageType":"DATA_MESSAGE","logEvents":[{"message":"{\"a\":1}"},{"message":"oops"}]}"#;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(inner.as_bytes()).unwrap();
        let data = base64::engine::general_purpose::STANDARD.encode(encoder.finish().unwrap());
        assert_eq!(
            records(&format!(r#"{{"awslogs":{{"data":"{data}"}}}}"#)),
            [r#"{"a":1}"#, "broken"]
        );
    }

    #[test]
    fn many_packed_texts_unpack_to_no_more_than_one() {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(br#"{"a":1}"#).unwrap();
        encoder.write_all(&vec![b' '; MAX_UNPACKED / 3]).unwrap();
        let data = base64::engine::general_purpose::STANDARD.encode(encoder.finish().unwrap());
        let packed = format!(r#"{{"awslogs":{{"data":"{data}"}}}}"#);
        let a = r#"{"a":1}"#;
        assert_eq!(
            records(&format!("[{}]", vec![packed; 5].join(","))),
            [a, a, TOO_LARGE, TOO_LARGE, TOO_LARGE]
        );
    }

    #[test]
    fn long_names_of_columns_do_not_multiply_with_rows() {
        let name = "n".repeat(MAX_UNPACKED / 3);
        let table = format!(
            r#"{{"tables":[{{"columns":[{{"name":"{name}"}}],"rows":[[1],[2],[3],[4],[5]]}}]}}"#
        );
        let rows: Vec<usize> = records(&table).iter().map(String::len).collect();
        let object = name.len() + r#"{"":1}"#.len();
        assert_eq!(
            rows,
            [object, object, object, TOO_LARGE.len(), TOO_LARGE.len()]
        );
    }

    #[test]
    fn a_time_before_the_json_is_passed_over() {
        assert_eq!(
            behind_time(r#"2026-08-10T21:12:39.000Z {"a":1}"#),
            r#"{"a":1}"#
        );
        assert_eq!(behind_time("2 {"), "2 {");
    }

    #[test]
    fn a_record_that_merely_looks_like_an_envelope_stays_whole() {
        for text in [
            r#"{"message":"hello","model":"m"}"#,
            r#"{"events":[1],"a":2}"#,
            r#"{"results":[{"outputText":"x"}]}"#,
            r#"{"event":"login","user":"u"}"#,
        ] {
            assert_eq!(records(text), [text]);
        }
    }
}

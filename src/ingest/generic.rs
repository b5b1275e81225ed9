//! Any record with a time and something about a model: classifiers, home-made gateways, application logs.
//!
//! Keys are compared without case and separators and along nested objects, so that `input_stats.text_length`,
//! `{"inputStats": {"textLength": …}}` and `input-stats-text-length` are one path. For each column the first path that
//! can be read wins; which paths those are is data (`columns`) that a file may change (`mapping`). Texts are parts; what is
//! left is sieved like every other log's.
//!
//! Keys that are names of OpenTelemetry's conventions are read as these, and only what they leave empty by default paths;
//! a column that the user's file maps is the file's in any case.
//!
//! Left out: guessing. A duration without a unit in its name or value is no duration.

mod columns;
mod fields;
mod mapping;

use super::body::parts::{Turn, code, warn};
use super::json::Value;
use super::record::{CallRow, PartType, Reject, Rows};
use super::residue::sieve;
use super::{address, conversation, guardrail, names, otlp};
use columns::Kind;
use fields::Fields;

pub use mapping::Mapping;

/// Whether a record is of this format: it has a time, and a model, a request's id, a prediction or token counts.
pub(super) fn recognises(record: Value<'_>, mapping: &Mapping) -> bool {
    if !record.is_object() {
        return false;
    }
    let fields = Fields::of(record);
    let has = |paths| {
        fields
            .find(paths, |value| value.as_text().map(drop))
            .is_some()
    };
    let has_time = fields
        .find(mapping.paths("event_time"), Value::as_time)
        .is_some();
    has_time
        && (otlp::is_flat(record)
            || has(mapping.request_ids())
            || ["model", "prediction_class", "input_tokens", "output_tokens"]
                .into_iter()
                .any(|column| has(mapping.paths(column))))
}

/// Decodes one record.
pub(super) fn decode<'a>(
    record: Value<'a>,
    mapping: &Mapping,
    rows: &mut Rows<'a>,
) -> Result<(), Reject> {
    if !record.is_object() {
        return Err(Reject::Shape);
    }
    let fields = Fields::of(record);
    let mut row = CallRow::default();
    let time = |column: &'static str| {
        let (at, time) = fields.find(mapping.paths(column), Value::as_time)?;
        if time.exact {
            at.mark(column);
        }
        Some(time.micros)
    };
    row.call.event_time = time("event_time").ok_or(Reject::Time)?;
    row.call.log_time = time("log_time");
    row.call.source_format = "generic";
    row.call.record_role = "primary";
    let is_flat = otlp::is_flat(record);
    if is_flat {
        row.call.record_role = otlp::flat(record, &mut row);
    }
    plain(&fields, mapping, &mut row);
    named(&fields, mapping, &mut row);
    constants(record, mapping, &mut row);
    let call = &mut row.call;
    if let Some(raw) = call.model_id_raw {
        let (model, family) = names::clean_model(raw);
        call.model = Some(model).filter(|model| !model.is_empty());
        call.model_family = Some(family).filter(|family| !family.is_empty());
    }
    if call.operation.is_none_or(|known| known == "other") || mapping.maps("operation_raw") {
        call.operation = call.operation_raw.map(names::operation);
    }
    source(&fields, record, mapping, &mut row);
    prediction(&fields, mapping, &mut row);
    texts(&fields, mapping, &mut row);
    outcome(&fields, mapping, &mut row);
    sieve(record, &mut row);
    if is_flat {
        guardrail::settle(&mut row.call);
    }
    row.complete();
    rows.calls.push(row);
    Ok(())
}

/// Fills a column that nothing filled yet, or that the user's file maps.
fn put<T>(slot: &mut Option<T>, is_mapped: bool, find: impl FnOnce() -> Option<T>) {
    if is_mapped || slot.is_none() {
        *slot = find();
    }
}

/// Columns that take what they find.
fn plain<'a>(fields: &Fields<'a>, mapping: &Mapping, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    for (column, kind, paths) in mapping.plain() {
        let is_mapped = mapping.maps(column);
        match kind {
            Kind::Text(slot) => put(slot(call), is_mapped, || {
                fields.take(paths, column, |value| {
                    let text = value.as_text()?;
                    (column != "caller" || !is_source_line(text)).then_some(text)
                })
            }),
            Kind::Name(slot) => put(slot(call), is_mapped, || {
                fields.take(paths, column, |value| value.as_text().and_then(code))
            }),
            Kind::Count(slot) => put(slot(call), is_mapped, || {
                fields.take(paths, column, |value| {
                    value.as_int().filter(|count| *count >= 0)
                })
            }),
            Kind::Float(slot) => put(slot(call), is_mapped, || {
                fields.take(paths, column, Value::as_float)
            }),
            Kind::Amount(slot) => put(slot(call), is_mapped, || {
                fields.take(paths, column, |value| {
                    value.as_float().filter(|number| *number >= 0.0)
                })
            }),
            Kind::Duration(slot) => put(slot(call), is_mapped, || fields.duration(paths, column)),
            Kind::Flag(slot) => put(slot(call), is_mapped, || {
                fields.take(paths, column, Value::as_bool)
            }),
            Kind::Own => {}
        }
    }
}

/// Whether a text names a line of a program, as `server/chat.go:88`: loggers write under `caller` where they were called.
fn is_source_line(text: &str) -> bool {
    const ENDINGS: [&str; 9] = [
        ".c", ".cc", ".cpp", ".cs", ".go", ".java", ".js", ".py", ".rs",
    ];
    text.rsplit_once(':').is_some_and(|(file, line)| {
        line.bytes().all(|byte| byte.is_ascii_digit())
            && ENDINGS.iter().any(|ending| file.ends_with(ending))
    })
}

/// Names that are cleaned, and lists of names.
fn named<'a>(fields: &Fields<'a>, mapping: &Mapping, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    let name = |column: &str, marked| {
        fields.take(mapping.paths(column), marked, |value| {
            value.as_text().and_then(code)
        })
    };
    put(&mut call.provider, mapping.maps("provider"), || {
        name("provider", "provider").map(names::provider)
    });
    put(&mut call.model_id_raw, mapping.maps("model"), || {
        name("model", "model_id_raw")
    });
    put(
        &mut call.operation_raw,
        mapping.maps("operation_raw"),
        || name("operation_raw", "operation_raw"),
    );
    // Where nobody says that it is an id, a number is a kind of event.
    let is_mapped = mapping.maps("event_id");
    let id = |value: Value<'a>| {
        value
            .as_text()
            .filter(|_| is_mapped || value.as_str().is_some())
    };
    if let Some(id) = fields.take(mapping.paths("event_id"), "event_id", id) {
        call.event_id = id;
    }
    let list = |column: &'static str| {
        fields.take(mapping.paths(column), column, |value| {
            let names = value.structure().items_or_self();
            let names: Vec<_> = names
                .filter_map(|name| name.as_text().and_then(code))
                .collect();
            (!names.is_empty()).then_some(names)
        })
    };
    for (column, names) in [
        ("finish_reasons", &mut call.finish_reasons),
        ("tool_names", &mut call.tool_names),
    ] {
        if names.is_empty() || mapping.maps(column) {
            *names = list(column).unwrap_or_default();
        }
    }
}

/// What the log never says, where the user does.
fn constants<'a>(record: Value<'a>, mapping: &Mapping, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    for (column, value) in &mapping.constants {
        let value = record.keep(value);
        let slot = match *column {
            "provider" => {
                call.provider.get_or_insert(names::provider(value));
                continue;
            }
            "model" => &mut call.model_id_raw,
            "operation_raw" => &mut call.operation_raw,
            name => match columns::COLUMNS.iter().find(|column| column.name == name) {
                Some(columns::Column {
                    kind: Kind::Text(slot) | Kind::Name(slot),
                    ..
                }) => slot(call),
                _ => continue,
            },
        };
        slot.get_or_insert(value);
    }
}

fn source<'a>(fields: &Fields<'a>, record: Value<'a>, mapping: &Mapping, row: &mut CallRow<'a>) {
    let first = |value: Value<'a>| {
        value
            .as_text()?
            .split(',')
            .next()
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    let is_known = row.call.source_ip.is_some() && !mapping.maps("source_ip");
    if !is_known && let Some(text) = fields.take(mapping.paths("source_ip"), "source_ip", first) {
        let address = address::judge(record, text);
        row.call.source_ip = Some(address.text);
        row.call.source_ip_valid = Some(address.valid);
        row.call.source_ip_prefix = address.prefix;
    }
}

fn prediction<'a>(fields: &Fields<'a>, mapping: &Mapping, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    call.prediction_class = fields.take(
        mapping.paths("prediction_class"),
        "prediction_class",
        |value| value.as_text().and_then(code),
    );
    let scale = |value: Value<'a>| {
        value
            .as_float()
            .filter(|number| (0.0..=100.0).contains(number))
    };
    call.prediction_confidence = fields.take(
        mapping.paths("prediction_confidence"),
        "prediction_confidence",
        scale,
    );
    if let Some(percent) = call.prediction_confidence.filter(|number| *number > 1.0) {
        call.prediction_confidence = Some(percent / 100.0);
        warn(call, "confidence_in_percent");
    }
}

fn texts<'a>(fields: &Fields<'a>, mapping: &Mapping, row: &mut CallRow<'a>) {
    for (path, direction) in &mapping.texts {
        let Some(value) = fields.at(&path.folded) else {
            continue;
        };
        // Numbers are features, not text.
        let inner = value.structure();
        let is_text = inner.as_str().is_some()
            || inner.is_object()
            || inner.items().any(|item| item.as_float().is_none());
        if value.is_taken() || !is_text {
            continue;
        }
        conversation::read(value, *direction, row);
    }
}

fn outcome<'a>(fields: &Fields<'a>, mapping: &Mapping, row: &mut CallRow<'a>) {
    let call = &mut row.call;
    let is_status = |value: Value<'a>| value.as_int().filter(|status| (100..600).contains(status));
    let is_mapped = mapping.maps("http_status_code");
    put(&mut call.http_status_code, is_mapped, || {
        let paths = mapping.paths("http_status_code");
        let status = fields.take(paths, "http_status_code", is_status)?;
        i32::try_from(status).ok()
    });
    let word = fields.take(mapping.paths("outcome"), "outcome", |value| {
        value.as_text().and_then(code)
    });
    call.error_type = fields.take(mapping.paths("error_type"), "error_type", |value| {
        value
            .as_str()
            .and_then(code)
            .filter(|word| !matches!(*word, "null" | "none" | "None" | "false"))
    });
    let error = ["error", "errormessage"]
        .iter()
        .find_map(|name| fields.at(name));
    let has_error =
        error.is_some_and(|error| error.as_text().is_some() && error.as_bool() != Some(false));
    for name in ["error", "errormessage", "exception", "traceback"] {
        let prose = fields.at(name).and_then(|error| {
            let text = error.as_str().filter(|text| code(text).is_none())?;
            error.mark("content");
            Some(text)
        });
        if let Some(text) = prose {
            Turn::ERROR.text(row, PartType::Text, text);
        }
    }
    let call = &mut row.call;
    let said = word.and_then(|word| mapping.outcome(word));
    if call.outcome.is_empty() || said.is_some() {
        call.outcome = match (said, call.http_status_code) {
            (Some(said), _) => said,
            (None, Some(400..)) => "failure",
            _ if call.error_type.is_some() || has_error => "failure",
            (None, Some(_)) => "success",
            // A prediction that was made is an answer, and so is whatever came to an end.
            _ if call.prediction_class.is_some()
                || call.output_tokens.is_some()
                || !call.finish_reasons.is_empty() =>
            {
                "success"
            }
            _ => "unknown",
        };
    }
    otlp::blocked(row);
}

#[cfg(test)]
mod tests {
    use super::super::json::Arena;
    use super::super::testing::decode_lines;
    use super::*;

    #[test]
    fn records_of_every_style() {
        insta::assert_snapshot!(decode_lines(include_str!(
            "../../testdata/formats/generic/records.jsonl"
        )));
    }

    #[test]
    fn every_column_is_found_by_its_own_name() {
        let rows = decode_lines(include_str!(
            "../../testdata/formats/generic/own_names.jsonl"
        ));
        let (all, odd) = rows.rsplit_once("== generic").unwrap();
        for column in columns::COLUMNS {
            assert!(
                all.contains(&format!("\n{}: ", column.name)),
                "{} in {all}",
                column.name
            );
        }
        assert!(!odd.contains("\ncaller: "), "{odd}");
        insta::assert_snapshot!(rows);
    }

    #[test]
    fn names_of_open_telemetry_as_keys() {
        insta::assert_snapshot!(decode_lines(include_str!(
            "../../testdata/formats/generic/open_telemetry.jsonl"
        )));
    }

    #[test]
    fn a_file_has_the_last_word_on_a_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mapping.toml");
        std::fs::write(&path, "caller = \"tenant\"\ninput_tokens = []").unwrap();
        let rows = super::super::testing::decode_lines_with(
            r#"{"time":"2026-03-02T10:00:00Z","gen_ai.request.model":"gpt-4o","gen_ai.usage.input_tokens":7,"user.id":"dana","tenant":"t-7"}"#,
            &Mapping::with_file(&path).unwrap(),
        );
        assert!(rows.contains("\ncaller: t-7\n"), "{rows}");
        assert!(!rows.contains("\ninput_tokens: "), "{rows}");
    }

    #[test]
    fn a_file_says_where_columns_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mapping.toml");
        std::fs::write(
            &path,
            include_str!("../../testdata/formats/generic/mapping.toml"),
        )
        .unwrap();
        insta::assert_snapshot!(super::super::testing::decode_lines_with(
            include_str!("../../testdata/formats/generic/mapped.jsonl"),
            &Mapping::with_file(&path).unwrap(),
        ));
    }

    #[test]
    fn a_time_and_an_id_alone_are_any_log() {
        let arena = Arena::new();
        for (text, expected) in [
            (r#"{"time":"2026-03-02T10:00:00Z","id":"1"}"#, false),
            (
                r#"{"time":"2026-03-02T10:00:00Z","level":"info","msg":"started"}"#,
                false,
            ),
            (r#"{"model":"m","prediction":"x"}"#, false),
            (r#"{"ts":1772445600,"request-ID":"1"}"#, true),
            (r#"{"ts":1772445600,"model":"m"}"#, true),
            (r#"{"ts":1772445600,"Prediction":{"Label":"spam"}}"#, true),
            (r#"[1]"#, false),
        ] {
            assert_eq!(
                recognises(arena.parse(text.as_bytes()).unwrap(), Mapping::builtin()),
                expected,
                "{text}"
            );
        }
    }
}

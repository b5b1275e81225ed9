//! Fields of a record by paths that do not care for style.

use super::super::json::Value;

/// Deeper than this a field is no header of a record.
const DEEPEST: usize = 4;

/// More fields than this is data, not a record.
const MOST: usize = 1024;

/// Every field of a record with its path, folded.
pub(super) struct Fields<'a> {
    fields: Vec<(String, Value<'a>)>,
}

impl<'a> Fields<'a> {
    /// Looks through nested objects, and into the first element of lists, where the best of several predictions is.
    pub(super) fn of(record: Value<'a>) -> Self {
        let mut fields = Vec::new();
        collect(record, &mut String::new(), 0, &mut fields);
        Fields { fields }
    }

    /// The field at the first of `paths` that can be read. Of duplicate keys the last wins.
    pub(super) fn find<T>(
        &self,
        paths: &[&str],
        read: impl Fn(Value<'a>) -> Option<T>,
    ) -> Option<(Value<'a>, T)> {
        paths.iter().find_map(|path| {
            let mut wanted = String::with_capacity(path.len());
            fold(path, &mut wanted);
            let (_, value) = self.fields.iter().rev().find(|(name, _)| *name == wanted)?;
            Some((*value, read(*value)?))
        })
    }

    /// The same, marked as taken.
    pub(super) fn take<T>(
        &self,
        paths: &[&str],
        column: &'static str,
        read: impl Fn(Value<'a>) -> Option<T>,
    ) -> Option<T> {
        let (value, found) = self.find(paths, read)?;
        value.mark(column);
        Some(found)
    }
}

fn collect<'a>(
    value: Value<'a>,
    path: &mut String,
    depth: usize,
    fields: &mut Vec<(String, Value<'a>)>,
) {
    for (key, inner) in value.entries() {
        if fields.len() >= MOST || inner.is_null() {
            continue;
        }
        let length = path.len();
        fold(key, path);
        fields.push((path.clone(), inner));
        let below = if inner.is_array() {
            inner.items().next()
        } else {
            inner.object()
        };
        if let Some(below) = below.filter(|below| below.is_object() && depth < DEEPEST) {
            collect(below, path, depth + 1, fields);
        }
        path.truncate(length);
    }
}

/// Lower case without separators.
fn fold(name: &str, out: &mut String) {
    out.extend(
        name.chars()
            .filter(|letter| letter.is_alphanumeric())
            .flat_map(char::to_lowercase),
    );
}

/// Units of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// A duration in milliseconds: a number in the unit that the field's name says, or a text that says its own, as
/// `"12ms"`. Without any unit it is none.
pub(super) fn milliseconds(value: Value<'_>, named: Option<Unit>) -> Option<f64> {
    let (number, unit) = match value.as_float() {
        Some(number) => (number, named?),
        None => {
            let text = value.as_str()?.trim();
            let end = text.find(|letter: char| letter.is_alphabetic())?;
            let (number, unit) = text.split_at(end);
            let unit = match unit.to_ascii_lowercase().as_str() {
                "s" | "sec" | "secs" | "second" | "seconds" => Unit::Seconds,
                "ms" | "msec" | "millis" | "milliseconds" => Unit::Milliseconds,
                "us" | "µs" | "μs" | "micros" | "microseconds" => Unit::Microseconds,
                "ns" | "nanos" | "nanoseconds" => Unit::Nanoseconds,
                _ => return None,
            };
            (number.trim().parse().ok()?, unit)
        }
    };
    let scaled = match unit {
        Unit::Seconds => number * 1e3,
        Unit::Milliseconds => number,
        Unit::Microseconds => number / 1e3,
        Unit::Nanoseconds => number / 1e6,
    };
    (scaled.is_finite() && scaled >= 0.0).then_some(scaled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::json::Arena;

    #[test]
    fn one_path_in_every_style() {
        let arena = Arena::new();
        for text in [
            r#"{"input_stats":{"text_length":4}}"#,
            r#"{"input_stats.text_length":4}"#,
            r#"{"inputStats":{"textLength":"4"}}"#,
            r#"{"Input-Stats-Text-Length":4}"#,
            r#"{"input_stats":[{"text_length":4},{"text_length":5}]}"#,
            r#"{"input_stats":"{\"text_length\":4}"}"#,
        ] {
            let fields = Fields::of(arena.parse(text.as_bytes()).unwrap());
            let found = fields.take(&["other", "input_stats.text_length"], "c", Value::as_int);
            assert_eq!(found, Some(4), "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        let arena = Arena::new();
        for (text, named, expected) in [
            ("12.5", Some(Unit::Milliseconds), Some(12.5)),
            ("12.5", None, None),
            (r#""12ms""#, None, Some(12.0)),
            (r#""1.5 s""#, Some(Unit::Milliseconds), Some(1500.0)),
            (r#""250""#, Some(Unit::Microseconds), Some(0.25)),
            (r#""900µs""#, None, Some(0.9)),
            (r#""12 parsecs""#, None, None),
            ("-3", Some(Unit::Seconds), None),
            ("NaN", Some(Unit::Seconds), None),
        ] {
            let value = arena.parse(text.as_bytes()).unwrap();
            assert_eq!(milliseconds(value, named), expected, "{text}");
        }
    }
}

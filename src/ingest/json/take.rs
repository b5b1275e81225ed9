//! Values that have a column of their own: marked, so that what is left over is known.

use std::fmt;

use super::{Mapping, Value, format_in};
use crate::schema::Micros;

/// Mapping: every one of these marks the value as taken if it could be read, and leaves it in `attributes` if not.
impl<'a> Value<'a> {
    /// Whether this value as a whole has a column already.
    pub(crate) fn is_taken(self) -> bool {
        self.doc.taken[self.at as usize].get()
    }

    /// Marks this value, with all that is inside it, as having a column of its own.
    pub fn mark(self, column: &'static str) -> Value<'a> {
        self.doc.taken[self.at as usize].set(true);
        if let Some(trail) = self.doc.trail {
            trail.borrow_mut().push(Mapping {
                path: self.path(),
                column,
            });
        }
        self
    }

    /// The value at `path`, marked.
    pub fn take(self, path: &str, column: &'static str) -> Option<Value<'a>> {
        self.find(path).map(|value| value.mark(column))
    }

    /// Marks the value at `path` as known and deliberately not kept.
    pub fn drop_field(self, path: &str) {
        if let Some(value) = self.find(path) {
            value.mark("-");
        }
    }

    /// Text at `path`; an empty string counts as absent.
    pub fn text(self, path: &str, column: &'static str) -> Option<&'a str> {
        self.read(path, column, Value::as_text)
    }

    /// Text at the first of `paths` that has one.
    pub fn text_of(self, paths: &[&str], column: &'static str) -> Option<&'a str> {
        paths.iter().find_map(|path| self.text(path, column))
    }

    /// Whole number at `path`.
    pub fn int(self, path: &str, column: &'static str) -> Option<i64> {
        self.read(path, column, Value::as_int)
    }

    /// Whole number at the first of `paths` that has one.
    pub fn int_of(self, paths: &[&str], column: &'static str) -> Option<i64> {
        paths.iter().find_map(|path| self.int(path, column))
    }

    /// Whole number of 32 bits at `path`.
    pub fn int32(self, path: &str, column: &'static str) -> Option<i32> {
        self.read(path, column, |value| i32::try_from(value.as_int()?).ok())
    }

    /// Number at `path`.
    pub fn float(self, path: &str, column: &'static str) -> Option<f64> {
        self.read(path, column, Value::as_float)
    }

    /// Number at `path` that cannot be negative, as a duration.
    pub fn positive(self, path: &str, column: &'static str) -> Option<f64> {
        self.read(path, column, |value| {
            value.as_float().filter(|number| *number >= 0.0)
        })
    }

    /// Boolean at `path`.
    pub fn flag(self, path: &str, column: &'static str) -> Option<bool> {
        self.read(path, column, Value::as_bool)
    }

    /// Time at `path`. Where microseconds in UTC cannot hold all that was written, the original stays in
    /// `attributes` as well.
    pub fn time(self, path: &str, column: &'static str) -> Option<Micros> {
        let value = self.find(path)?;
        let read = value.as_time()?;
        if read.exact {
            value.mark(column);
        } else if let Some(trail) = self.doc.trail {
            trail.borrow_mut().push(Mapping {
                path: value.path(),
                column,
            });
        }
        Some(read.micros)
    }

    /// Texts of an array, or of a lone value, at `path`.
    pub fn texts(self, path: &str, column: &'static str) -> Vec<&'a str> {
        match self.take(path, column) {
            Some(value) => value.items_or_self().filter_map(Value::as_text).collect(),
            None => Vec::new(),
        }
    }

    fn read<T>(
        self,
        path: &str,
        column: &'static str,
        read: impl Fn(Value<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.find(path)?;
        let found = read(value)?;
        value.mark(column);
        Some(found)
    }

    /// Where this value stands: keys and positions from the record's root, joined by `/`.
    pub fn path(self) -> String {
        let mut steps = match self.doc.outer {
            Some(outer) => outer.path(),
            None => String::new(),
        };
        let mut place = self.place(0);
        'down: while place.at != self.at {
            for (index, child) in place.items().enumerate() {
                if (child.at..child.end()).contains(&self.at) {
                    push_step(&mut steps, &index.to_string());
                    place = child;
                    continue 'down;
                }
            }
            for (key, child) in place.entries() {
                if (child.at..child.end()).contains(&self.at) {
                    push_step(&mut steps, key);
                    place = child;
                    continue 'down;
                }
            }
            break;
        }
        steps
    }

    /// Keeps a text as long as the record.
    pub fn keep(self, text: &str) -> &'a str {
        self.doc.bump.alloc_str(text)
    }

    /// Formats a text that lives as long as the record.
    pub fn format(self, arguments: fmt::Arguments<'_>) -> &'a str {
        format_in(self.doc.bump, arguments)
    }
}

fn push_step(path: &mut String, step: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(step);
}

#[cfg(test)]
mod tests {
    use crate::ingest::json::Arena;
    use crate::schema::Micros;

    #[test]
    fn an_inexact_time_stays_left_over() {
        let arena = Arena::new();
        let value = arena
            .parse(br#"{"t":"2026-03-02T10:00:00.123456789Z"}"#)
            .unwrap();
        assert_eq!(
            value.time("t", "event_time"),
            Some(Micros(1_772_445_600_123_456))
        );
        assert_eq!(
            value.leftover(),
            Some(r#"{"t":"2026-03-02T10:00:00.123456789Z"}"#)
        );
    }
}

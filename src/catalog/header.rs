//! Typed reading of a block's TOML: every value with its line, every unknown key an error that names the nearest known.
//!
//! A [`Section`] remembers which keys were asked for; those are the known ones, so that no list of names is kept
//! beside the code that reads them. All problems of a block are collected, not only the first.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

use super::block::Block;
use super::problem::Problem;
use super::span::Span;
use crate::suggest::nearest;

/// Reads one block.
#[derive(Debug)]
pub struct Header<'a> {
    block: &'a Block,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Header<'a> {
    /// Parses the TOML, gives its root to `read`, and returns what that made of it unless there were problems.
    ///
    /// # Errors
    /// Every problem of the block.
    pub fn read<T>(
        block: &'a Block,
        read: impl FnOnce(&Section<'_, 'a>) -> Option<T>,
    ) -> Result<T, Vec<Problem>> {
        let header = Header {
            block,
            problems: RefCell::default(),
        };
        let value = match DeTable::parse(&block.toml) {
            Ok(table) => {
                let span = table.span();
                let section = Section::new(&header, String::new(), table.get_ref(), span);
                let value = read(&section);
                section.finish();
                value
            }
            Err(error) => {
                header.error(error.span(), error.message().to_string(), None);
                None
            }
        };
        match (value, header.problems.into_inner()) {
            (Some(value), problems) if problems.is_empty() => Ok(value),
            (_, problems) => Err(problems),
        }
    }

    /// The line in the file of a place in the block's TOML.
    fn line(&self, span: Option<Range<usize>>) -> usize {
        let offset = span.map_or(0, |span| span.start).min(self.block.toml.len());
        self.block.line
            + 1
            + self.block.toml.as_bytes()[..offset]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count()
    }

    fn error(&self, span: Option<Range<usize>>, message: String, hint: Option<String>) {
        let line = self.line(span);
        self.problems
            .borrow_mut()
            .push(Problem::error("L-HEADER", Some(line), message).hint(hint));
    }
}

/// A table of the block's TOML.
#[derive(Debug)]
pub struct Section<'h, 'a> {
    header: &'h Header<'a>,
    /// With a dot behind, for messages.
    prefix: String,
    table: &'h DeTable<'h>,
    span: Range<usize>,
    asked: RefCell<BTreeSet<&'static str>>,
    /// Whether keys that were not asked for are somebody else's.
    is_shared: Cell<bool>,
}

/// A value with its place.
pub(super) type Place<'h> = &'h Spanned<DeValue<'h>>;

impl<'h, 'a> Section<'h, 'a> {
    fn new(
        header: &'h Header<'a>,
        prefix: String,
        table: &'h DeTable<'h>,
        span: Range<usize>,
    ) -> Self {
        Section {
            header,
            prefix,
            table,
            span,
            asked: RefCell::default(),
            is_shared: Cell::new(false),
        }
    }

    /// Keys that are not asked for are read by somebody else, and no fault.
    pub fn share(&self) {
        self.is_shared.set(true);
    }

    /// Reports every key that was not asked for.
    pub fn finish(&self) {
        if self.is_shared.get() {
            return;
        }
        let asked = self.asked.borrow();
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !asked.contains(name) {
                let hint = match nearest(name, asked.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!(
                        "known here: {}",
                        asked.iter().copied().collect::<Vec<_>>().join(", ")
                    ),
                };
                self.header.error(
                    Some(key.span()),
                    format!("unknown key `{}{name}`", self.prefix),
                    Some(hint),
                );
            }
        }
    }

    /// The line of the section in the file.
    pub fn line(&self) -> usize {
        self.header.line(Some(self.span.clone()))
    }

    /// The line of a value in the file.
    pub fn line_of(&self, value: Place<'_>) -> usize {
        self.header.line(Some(value.span()))
    }

    /// Reports a problem at a value.
    pub fn fault(&self, value: Place<'_>, message: impl Into<String>) {
        self.header.error(Some(value.span()), message.into(), None);
    }

    /// Reports a problem with a key, at its value if it has one.
    pub fn fault_at(&self, key: &str, message: impl Into<String>) {
        let span = self.table.get(key).map_or(self.span.clone(), Spanned::span);
        self.header.error(Some(span), message.into(), None);
    }

    /// The value of a key.
    pub fn get(&self, key: &'static str) -> Option<Place<'h>> {
        self.asked.borrow_mut().insert(key);
        self.table.get(key)
    }

    /// The value of a key that must be there.
    pub fn required<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Self, &'static str) -> Option<T>,
    ) -> Option<T> {
        if self.table.contains_key(key) {
            return read(self, key);
        }
        self.asked.borrow_mut().insert(key);
        self.header.error(
            Some(self.span.clone()),
            format!("`{}{key}` is missing", self.prefix),
            None,
        );
        None
    }

    fn expected<T>(&self, key: &str, value: Place<'_>, what: &str) -> Option<T> {
        let found = match value.get_ref() {
            DeValue::Array(_) => "an array",
            DeValue::Integer(_) => "an integer",
            other => {
                return self.fault_none(
                    value,
                    format!(
                        "`{}{key}` must be {what}, not a {}",
                        self.prefix,
                        other.type_str()
                    ),
                );
            }
        };
        self.fault_none(
            value,
            format!("`{}{key}` must be {what}, not {found}", self.prefix),
        )
    }

    fn fault_none<T>(&self, value: Place<'_>, message: String) -> Option<T> {
        self.fault(value, message);
        None
    }

    /// A text.
    pub fn text(&self, key: &'static str) -> Option<String> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(text.trim().to_string()),
            _ => self.expected(key, value, "a text"),
        }
    }

    /// A list of texts; none when the key is absent.
    pub fn texts(&self, key: &'static str) -> Vec<String> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            return self
                .expected(key, value, "a list of texts")
                .unwrap_or_default();
        };
        items
            .iter()
            .filter_map(|item| match item.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                _ => self.expected(key, item, "a list of texts"),
            })
            .collect()
    }

    /// A text or a list of texts.
    pub fn text_or_texts(&self, key: &'static str) -> Vec<String> {
        match self.get(key).map(Spanned::get_ref) {
            Some(DeValue::String(text)) => vec![text.to_string()],
            _ => self.texts(key),
        }
    }

    /// A whole number.
    pub fn integer(&self, key: &'static str) -> Option<i64> {
        let value = self.get(key)?;
        match integer(value.get_ref()) {
            Some(number) => Some(number),
            None => self.expected(key, value, "a whole number"),
        }
    }

    /// A number, whole or not.
    pub fn number(&self, key: &'static str) -> Option<f64> {
        let value = self.get(key)?;
        match number(value.get_ref()) {
            Some(number) => Some(number),
            None => self.expected(key, value, "a number"),
        }
    }

    /// True or false; false when the key is absent.
    pub fn flag(&self, key: &'static str) -> bool {
        match self.get(key) {
            None => false,
            Some(value) => value
                .get_ref()
                .as_bool()
                .or_else(|| self.expected(key, value, "true or false"))
                .unwrap_or_default(),
        }
    }

    /// A duration.
    pub fn span(&self, key: &'static str) -> Option<Span> {
        let value = self.get(key)?;
        let DeValue::String(text) = value.get_ref() else {
            return self.expected(key, value, "a duration such as \"5m\"");
        };
        match text.parse() {
            Ok(span) => Some(span),
            Err(message) => self.fault_none(value, format!("`{}{key}`: {message}", self.prefix)),
        }
    }

    /// A date and time with its offset, or a date; in microseconds since the epoch.
    pub fn instant(&self, key: &'static str) -> Option<i64> {
        let value = self.get(key)?;
        match value.get_ref().as_datetime().and_then(micros) {
            Some(micros) => Some(micros),
            None => self.expected(
                key,
                value,
                "a time with its offset, such as 2026-01-01T01:00:00Z",
            ),
        }
    }

    /// One of a closed list of words.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        let value = self.get(key)?;
        let DeValue::String(text) = value.get_ref() else {
            return self.expected(key, value, "a text");
        };
        if let Some((_, choice)) = choices.iter().find(|(name, _)| name == text) {
            return Some(*choice);
        }
        let names = choices.iter().map(|(name, _)| *name);
        let hint = match nearest(text, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of {}", names.collect::<Vec<_>>().join(", ")),
        };
        self.header.error(
            Some(value.span()),
            format!("`{}{key}` cannot be `{text}`", self.prefix),
            Some(hint),
        );
        None
    }

    /// Reads the table under a key; its unknown keys are reported when `read` returns.
    pub fn section<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Section<'h, 'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key)?;
        self.table_at(key, value, read)
    }

    /// The entries of the table under a key, each a table itself: name and what `read` makes of it.
    pub fn entries<T>(
        &self,
        key: &'static str,
        mut read: impl FnMut(&str, &Section<'h, 'a>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let DeValue::Table(table) = value.get_ref() else {
            return self.expected(key, value, "a table").unwrap_or_default();
        };
        table
            .iter()
            .filter_map(|(name, value)| {
                let name: &str = name.get_ref();
                self.table_at(&format!("{key}.{name}"), value, |section| {
                    read(name, section)
                })
            })
            .collect()
    }

    /// The tables of the list under a key, as `[[key]]` makes them: what `read` makes of each.
    pub fn tables<T>(
        &self,
        key: &'static str,
        mut read: impl FnMut(&Section<'h, 'a>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            let what = format!("a list of tables: [[{key}]]");
            return self.expected(key, value, &what).unwrap_or_default();
        };
        let items = items.iter();
        items
            .filter_map(|item| self.table_at(key, item, &mut read))
            .collect()
    }

    /// The entries of the table under a key, whose names are free: name and what `read` makes of the value.
    pub(crate) fn table<T>(
        &self,
        key: &'static str,
        read: impl Fn(Place<'h>) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let Some(value) = self.get(key) else {
            return BTreeMap::new();
        };
        let DeValue::Table(table) = value.get_ref() else {
            return self.expected(key, value, "a table").unwrap_or_default();
        };
        table
            .iter()
            .filter_map(|(name, value)| match read(value) {
                Some(entry) => Some((name.get_ref().to_string(), entry)),
                None => self.expected(key, value, "a text or a list of texts"),
            })
            .collect()
    }

    fn table_at<T>(
        &self,
        key: &str,
        value: Place<'h>,
        read: impl FnOnce(&Section<'h, 'a>) -> Option<T>,
    ) -> Option<T> {
        let DeValue::Table(table) = value.get_ref() else {
            return self.expected(key, value, "a table");
        };
        let section = Section::new(
            self.header,
            format!("{}{key}.", self.prefix),
            table,
            value.span(),
        );
        let read = read(&section);
        section.finish();
        read
    }
}

/// A TOML integer as a number, when it fits.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A TOML number of either kind.
pub(super) fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        other => integer(other).map(|number| number as f64),
    }
}

/// A TOML date with time and offset, or a lone date, in microseconds since the epoch.
pub(super) fn micros(datetime: &Datetime) -> Option<i64> {
    let text = match (&datetime.date, &datetime.time, &datetime.offset) {
        (Some(_), Some(_), Some(_)) => datetime.to_string(),
        (Some(date), None, None) => format!("{date}T00:00:00Z"),
        _ => return None,
    };
    chrono::DateTime::parse_from_rfc3339(&text)
        .ok()
        .map(|time| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(toml: &str) -> Block {
        Block {
            kind: "rule".into(),
            line: 10,
            toml: toml.into(),
        }
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest_and_their_line() {
        let block =
            block("title = \"x\"\n\nseverty = \"high\"\n[params]\nmaximum = { defualt = 1 }\n");
        let problems = Header::read(&block, |section| {
            section.text("title");
            section.text("severity");
            section.entries("params", |_, section| section.integer("default"));
            Some(())
        })
        .expect_err("two unknown keys");
        let told: Vec<_> = problems
            .iter()
            .map(|p| (p.line, p.message.as_str(), p.hint.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                (
                    Some(15),
                    "unknown key `params.maximum.defualt`",
                    Some("did you mean `default`?")
                ),
                (
                    Some(13),
                    "unknown key `severty`",
                    Some("did you mean `severity`?")
                ),
            ]
        );
    }

    #[test]
    fn toml_errors_keep_their_line() {
        let problems = Header::read(&block("a = 1\nb = \n"), |_| Some(())).expect_err("no value");
        assert_eq!(problems[0].line, Some(12));
    }

    #[test]
    fn wrong_types_say_what_was_expected() {
        let block = block("a = 1\nb = [1]\nc = \"5 minutes\"\n");
        let problems = Header::read(&block, |section| {
            section.text("a");
            section.texts("b");
            section.span("c");
            Some(())
        })
        .expect_err("three");
        assert_eq!(problems[0].message, "`a` must be a text, not an integer");
        assert_eq!(problems[1].line, Some(12));
        assert!(
            problems[2]
                .message
                .starts_with("`c`: `5 minutes` is not a duration")
        );
    }
}

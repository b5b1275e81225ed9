//! Errors for the person who wrote the query: what is wrong, in which line and column, and the name that was meant.

use std::fmt;
use std::ops::Range;

use arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError, Span};
use unicode_width::UnicodeWidthStr;

use super::lexer::{Kind, Token, tokens};
use super::{Audience, Engine, Source, function_names, policy};
use crate::output::escape::visible;
use crate::schema::Table;
use crate::session;
use crate::suggest::nearest;

/// A query that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    place: Option<Place>,
    hint: Option<String>,
    /// What the asker over a network is not told.
    internal: Option<String>,
}

/// A place in SQL text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, if the text is from one.
    pub file: Option<String>,
    /// Line, counted from one.
    pub line: usize,
    /// Character in the line, counted from one.
    pub column: usize,
    /// The line's text.
    text: String,
    /// How many characters of it are meant.
    length: usize,
}

impl std::error::Error for Failure {}

impl Failure {
    /// What is wrong.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            place: None,
            hint: None,
            internal: None,
        }
    }

    /// What to try.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Where it is.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Failure {
        self.place = place;
        self
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What is told to nobody over a network: then it is the engine that failed, and not the query.
    pub fn internal(&self) -> Option<&str> {
        self.internal.as_deref()
    }

    /// What to try, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Where it is, where that is known.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The place of the first token of the statement whose text is wanted.
    pub(super) fn place_of(
        source: Source<'_>,
        range: &Range<usize>,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<Place> {
        let statement = &source.text[range.clone()];
        let token = tokens(statement)
            .into_iter()
            .find(|token| token.is_significant() && wanted(token.text(statement)))?;
        Some(Place::new(
            source,
            range.start + token.range.start..range.start + token.range.end,
        ))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.place.as_ref().map_or(Ok(()), |place| place.fmt(f))
    }
}

impl Place {
    fn new(source: Source<'_>, bytes: Range<usize>) -> Place {
        let before = &source.text[..bytes.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let text = source.text[line_start..].lines().next().unwrap_or("");
        // What is meant may go on over line ends; the mark does not.
        let end = bytes.end.min(line_start + text.len()).max(bytes.start);
        Place {
            file: source.name.map(str::to_string),
            line: before.matches('\n').count() + 1,
            column: source.text[line_start..bytes.start].chars().count() + 1,
            text: text.to_string(),
            length: source.text[bytes.start..end].chars().count().max(1),
        }
    }
}

/// The line with a mark under what is meant, both by display width.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |skip: usize, take: usize| {
            let part: String = self.text.chars().skip(skip).take(take).collect();
            visible(&part).width()
        };
        let (line, column) = (self.line, self.column);
        match &self.file {
            Some(file) => write!(f, "\n --> {}:{line}:{column}", visible(file))?,
            None => write!(f, "\n --> line {line}, column {column}")?,
        }
        let number = line.to_string();
        let indent = " ".repeat(number.len());
        write!(f, "\n {indent} |\n {number} | {}", visible(&self.text))?;
        write!(
            f,
            "\n {indent} | {}{}",
            " ".repeat(width(0, column - 1)),
            "^".repeat(width(column - 1, self.length).max(1))
        )
    }
}

/// Turns an engine error into one that points.
pub(super) fn explain(
    error: &DataFusionError,
    source: Source<'_>,
    range: &Range<usize>,
    engine: &Engine,
) -> Failure {
    let statement = &source.text[range.clone()];
    let all = tokens(statement);
    let root = error.iter().next().unwrap_or(error).find_root();
    if let Audience::Remote { .. } = engine.audience
        && !is_about_the_query(root)
    {
        let mut failure = Failure::new("the server could not answer");
        failure.internal = Some(root.strip_backtrace());
        return failure;
    }
    let (mut message, mut hint) = describe(root, engine);
    let told = error
        .diagnostic()
        .and_then(|diagnostic| diagnostic.span)
        .and_then(|span| bytes_of(statement, span))
        .or_else(|| parsed_place(&mut message, statement, &all))
        .or_else(|| quoted_name(&message, statement, &all));
    if hint.is_none()
        && let Some(bytes) = &told
    {
        hint = misspelt_keyword(root, statement, &all, bytes);
    }
    Failure {
        message,
        place: told
            .map(|bytes| Place::new(source, range.start + bytes.start..range.start + bytes.end)),
        hint,
        internal: None,
    }
}

/// Whether an error comes of the query and its rows, and not of files, whose names may tell of rows.
fn is_about_the_query(root: &DataFusionError) -> bool {
    match root {
        DataFusionError::ArrowError(error, _) => !matches!(
            error.as_ref(),
            ArrowError::ExternalError(_)
                | ArrowError::IoError(..)
                | ArrowError::ParquetError(_)
                | ArrowError::IpcError(_)
        ),
        DataFusionError::SQL(..)
        | DataFusionError::SchemaError(..)
        | DataFusionError::Plan(_)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::Execution(_)
        | DataFusionError::ResourcesExhausted(_) => true,
        _ => false,
    }
}

/// Message and hint.
fn describe(root: &DataFusionError, engine: &Engine) -> (String, Option<String>) {
    if let DataFusionError::External(source) = root
        && let Some(error) = source.downcast_ref::<crate::Error>()
    {
        return (error.to_string(), error.hint().map(str::to_owned));
    }
    match root {
        DataFusionError::SQL(error, _) => {
            let message = error.to_string();
            let message = message
                .strip_prefix("sql parser error: ")
                .unwrap_or(&message);
            (lower_first(message), None)
        }
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound {
                field,
                valid_fields,
            } => {
                let names = valid_fields.iter().map(|column| column.name.as_str());
                let hint = nearest(&field.name, names).map(|name| {
                    // A name with capitals is found only in quotes.
                    if name.chars().any(|c| c.is_uppercase()) {
                        format!("did you mean `\"{name}\"`? names with capitals need quotes")
                    } else {
                        format!("did you mean `{name}`?")
                    }
                });
                let hint = hint.or_else(|| all_of(valid_fields));
                let message = match &field.relation {
                    Some(table) => format!("column `{}` not found in `{table}`", field.name),
                    None => format!("column `{}` not found", field.name),
                };
                (message, hint)
            }
            SchemaError::AmbiguousReference { field } => (
                format!("column `{}` is in more than one table", field.name),
                Some(format!("say which: `table.{}`", field.name)),
            ),
            other => (lower_first(&other.to_string()), None),
        },
        DataFusionError::Plan(message) => {
            if let Some(name) = between(message, "table '", "' not found") {
                return missing_table(name, engine);
            }
            if let Some(name) = between(message, "Invalid function '", "'") {
                return missing_function(name, engine);
            }
            (first_paragraph(message), None)
        }
        DataFusionError::ResourcesExhausted(message) => (
            format!("not enough memory: {}", first_paragraph(message)),
            Some(match engine.audience {
                Audience::Local => {
                    "raise `--memory-limit`, or ask for fewer rows or columns".into()
                }
                Audience::Remote { .. } => "ask for fewer rows or columns".into(),
            }),
        ),
        DataFusionError::Execution(message)
        | DataFusionError::NotImplemented(message)
        | DataFusionError::Configuration(message) => (first_paragraph(message), None),
        DataFusionError::ArrowError(error, _) => (first_paragraph(&error.to_string()), None),
        other => (first_paragraph(&other.strip_backtrace()), None),
    }
}

/// The columns that there are, if they are few.
fn all_of(fields: &[Column]) -> Option<String> {
    let names: Vec<&str> = fields.iter().map(|column| column.name.as_str()).collect();
    (1..=12)
        .contains(&names.len())
        .then(|| format!("columns here: {}", names.join(", ")))
}

fn missing_table(name: &str, engine: &Engine) -> (String, Option<String>) {
    let options = engine.context.state();
    let catalog = &options.config().options().catalog;
    let prefix = format!("{}.{}.", catalog.default_catalog, catalog.default_schema);
    let name = name.strip_prefix(&prefix).unwrap_or(name);
    let message = format!("table `{name}` not found");
    if let Audience::Remote { .. } = engine.audience {
        // The same for a table that is not there and for one that is not for this token.
        let known = engine.table_names();
        let hint = nearest(name, known.iter().map(String::as_str))
            .map(|name| format!("did you mean `{name}`?"));
        let hint = hint.or_else(|| {
            (!known.is_empty()).then(|| format!("tables for you: {}", known.join(", ")))
        });
        return (message, hint);
    }
    if policy::is_store_table(name) {
        let store = engine.store.display();
        let hint = if engine.store.is_dir() {
            format!("the store at `{store}` has no rows for it yet: run `inferwatch ingest`")
        } else {
            format!(
                "no store at `{store}`: run `inferwatch ingest`, or name another with `--store`"
            )
        };
        return (message, Some(hint));
    }
    if session::is_path(name) {
        return if !name.contains('*') && !std::path::Path::new(name).exists() {
            (format!("no such file: `{name}`"), None)
        } else {
            (
                format!("no table can be read from `{name}`"),
                Some("files end in .parquet, .csv, .json, .ndjson, .jsonl or .arrow".to_string()),
            )
        };
    }
    let mut known = engine.table_names();
    known.extend(Table::ALL.map(|table| table.name().to_string()));
    let hint = nearest(name, known.iter().map(String::as_str))
        .map(|name| format!("did you mean `{name}`?"));
    (message, hint)
}

fn missing_function(name: &str, engine: &Engine) -> (String, Option<String>) {
    let known = function_names(&engine.context);
    (
        format!("function `{name}` not found"),
        nearest(name, known.iter().map(String::as_str))
            .map(|name| format!("did you mean `{name}`?")),
    )
}

/// Bytes of a span of lines and columns, both counted from one.
fn bytes_of(text: &str, span: Span) -> Option<Range<usize>> {
    let byte = |line: u64, column: u64| {
        let mut start = 0;
        for _ in 1..line {
            start += text[start..].find('\n')? + 1;
        }
        let column = usize::try_from(column).ok()?.checked_sub(1)?;
        let rest = &text[start..];
        let at = rest.char_indices().map(|(at, _)| at).nth(column);
        Some(start + at.unwrap_or(rest.len()))
    };
    let start = byte(span.start.line, span.start.column)?;
    let end = byte(span.end.line, span.end.column)?;
    Some(start..end.max(start))
}

/// Takes ` at Line: 1, Column: 8` off the message and finds the token there.
fn parsed_place(message: &mut String, statement: &str, all: &[Token]) -> Option<Range<usize>> {
    if let Some(at) = message.rfind(" at Line: ") {
        let (line, column) = message[at + " at Line: ".len()..].split_once(", Column: ")?;
        let digits = column.find(|c: char| !c.is_ascii_digit());
        let location = datafusion::common::Location {
            line: line.parse().ok()?,
            column: column[..digits.unwrap_or(column.len())].parse().ok()?,
        };
        message.truncate(at);
        let start = bytes_of(statement, Span::new(location, location))?.start;
        let token = all.iter().find(|token| token.range.start == start);
        return Some(token.map_or(start..start + 1, |token| token.range.clone()));
    }
    if message.ends_with("found: EOF") {
        message.truncate(message.len() - "EOF".len());
        message.push_str("the end");
        let end = statement.trim_end().len();
        return Some(end..end);
    }
    None
}

/// The first name in the message's quotes that stands in the statement.
fn quoted_name(message: &str, statement: &str, all: &[Token]) -> Option<Range<usize>> {
    message
        .split(['\'', '`', '"'])
        .skip(1)
        .step_by(2)
        .find_map(|name| {
            let token = all.iter().find(|token| {
                matches!(
                    token.kind,
                    Kind::Word | Kind::QuotedName | Kind::String | Kind::Placeholder
                ) && token
                    .text(statement)
                    .trim_matches(['"', '`', '\''])
                    .eq_ignore_ascii_case(name)
            })?;
            Some(token.range.clone())
        })
}

/// `SELCT 1`: the word at or just before the place is near a keyword that starts or joins clauses.
fn misspelt_keyword(
    root: &DataFusionError,
    statement: &str,
    all: &[Token],
    bytes: &Range<usize>,
) -> Option<String> {
    if !matches!(root, DataFusionError::SQL(..)) {
        return None;
    }
    let at = all
        .iter()
        .position(|token| token.range.start >= bytes.start)
        .unwrap_or(all.len());
    let here = all.get(at);
    let before = all[..at].iter().rev().find(|token| token.is_significant());
    here.into_iter()
        .chain(before)
        .filter(|token| token.kind == Kind::Word)
        .map(|token| token.text(statement))
        .find_map(|word| {
            let keyword = nearest(word, CLAUSES.iter().copied())?;
            (!keyword.eq_ignore_ascii_case(word)).then(|| format!("did you mean `{keyword}`?"))
        })
}

const CLAUSES: [&str; 26] = [
    "SELECT", "FROM", "WHERE", "GROUP", "ORDER", "BY", "HAVING", "LIMIT", "OFFSET", "JOIN", "LEFT",
    "INNER", "UNION", "WITH", "EXPLAIN", "ANALYZE", "DESCRIBE", "SHOW", "TABLES", "CREATE",
    "EXTERNAL", "TABLE", "VIEW", "INSERT", "COPY", "VALUES",
];

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let length = text[start..].find(after)?;
    Some(&text[start..start + length])
}

/// Without the paragraphs that only a developer of the query engine can use.
fn first_paragraph(message: &str) -> String {
    let message = message
        .split("\nThis issue was likely caused by a bug")
        .next()
        .unwrap_or(message);
    lower_first(&message.trim().replace('\t', "  "))
}

/// Messages begin in lower case, unless their first word is written in capitals.
fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first
            .to_lowercase()
            .chain(message.chars().skip(1))
            .collect(),
        _ => message.to_string(),
    }
}

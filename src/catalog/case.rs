//! An inline test: rows that are given, and what the rule must make of them.

use serde_json::{Map, Value};
use toml::de::DeValue;

use super::block::Block;
use super::header::{Header, Place, Section};
use super::problem::Problem;
use super::rule::json;
use super::span::Span;

/// One given row, as written: sparse, its times relative.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The table.
    pub table: String,
    /// Column and value; not yet typed.
    pub columns: Map<String, Value>,
    /// How many of it.
    pub repeat: i64,
    /// Time between them.
    pub every: Span,
    /// Where it is written.
    pub line: usize,
}

/// How an evaluation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It found something.
    Fired,
    /// It found nothing, on data that would have shown it.
    Clear,
    /// What it found has too little history to be judged.
    Learning,
    /// The data says nothing either way.
    NotCovered,
    /// It could not run.
    Error,
    /// Too little of the data is there to go on from what was found before.
    Frozen,
    /// It was passed over.
    Gap,
}

impl State {
    pub(crate) const CHOICES: &'static [(&'static str, State)] = &[
        ("fired", State::Fired),
        ("clear", State::Clear),
        ("learning", State::Learning),
        ("not_covered", State::NotCovered),
        ("error", State::Error),
        ("frozen", State::Frozen),
        ("gap", State::Gap),
    ];

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<State> {
        Self::CHOICES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, state)| *state)
    }

    /// The word in files and tables.
    pub fn name(self) -> &'static str {
        Self::CHOICES[self as usize].0
    }
}

/// An inline test of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What it claims.
    pub name: String,
    /// End of the window, in microseconds since the epoch.
    pub at: i64,
    /// The rows.
    pub given: Vec<Given>,
    /// What must come out, one object a finding.
    pub expect: Option<Vec<Map<String, Value>>>,
    /// How the evaluation must end.
    pub expect_state: Option<State>,
    /// Whether findings may have columns that `expect` does not name.
    pub exact: bool,
    /// Parameters that differ from their defaults, as written.
    pub params: Vec<(String, String)>,
    /// Line of the opening fence.
    pub line: usize,
}

impl Case {
    /// Reads a `test` block.
    ///
    /// # Errors
    /// Every problem of the block.
    pub fn read(block: &Block) -> Result<Case, Vec<Problem>> {
        Header::read(block, |section| {
            let name = section.required("name", Section::text);
            let at = section.required("at", Section::instant);
            let given = given(section);
            let expect = section
                .get("expect")
                .map(|value| objects(section, "expect", value));
            let expect_state = section.choice("expect_state", State::CHOICES);
            let exact = section.flag("exact");
            let params = match section.get("params") {
                None => Vec::new(),
                Some(value) => match value.get_ref() {
                    DeValue::Table(table) => table
                        .iter()
                        .map(|(name, value)| (name.get_ref().to_string(), plain(&json(value))))
                        .collect(),
                    _ => {
                        section.fault(value, "`params` must be a table");
                        Vec::new()
                    }
                },
            };
            if expect.is_none() && expect_state.is_none() {
                section.fault_at("name", "a test needs `expect` or `expect_state`");
            }
            Some(Case {
                name: name?,
                at: at?,
                given,
                expect: expect.map(|rows| rows.into_iter().map(|(row, _)| row).collect()),
                expect_state,
                exact,
                params,
                line: block.line,
            })
        })
    }
}

/// A value as one would type it on the command line.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn given(section: &Section<'_, '_>) -> Vec<Given> {
    let Some(value) = section.get("given") else {
        return Vec::new();
    };
    let DeValue::Table(tables) = value.get_ref() else {
        section.fault(value, "`given` must be a table: `given.calls = [...]`");
        return Vec::new();
    };
    let mut rows = Vec::new();
    for (table, value) in tables {
        for (mut columns, line) in objects(section, table.get_ref(), value) {
            let repeat = match columns.remove("repeat") {
                None => 1,
                Some(repeat) => repeat
                    .as_i64()
                    .filter(|repeat| (1..=1_000_000).contains(repeat))
                    .unwrap_or_else(|| {
                        section.fault(value, "`repeat` must be a whole number from 1 to 1,000,000");
                        1
                    }),
            };
            let every = match columns.remove("every") {
                None => Span(0),
                Some(every) => every
                    .as_str()
                    .and_then(|every| every.parse().ok())
                    .unwrap_or_else(|| {
                        section.fault(value, "`every` must be a duration such as \"100ms\"");
                        Span(0)
                    }),
            };
            rows.push(Given {
                table: table.get_ref().to_string(),
                columns,
                repeat,
                every,
                line,
            });
        }
    }
    rows
}

fn objects(
    section: &Section<'_, '_>,
    key: &str,
    value: Place<'_>,
) -> Vec<(Map<String, Value>, usize)> {
    let DeValue::Array(items) = value.get_ref() else {
        section.fault(
            value,
            format!("`{key}` must be a list of rows: [{{ column = value }}]"),
        );
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| match json(item) {
            Value::Object(row) => Some((row, section.line_of(item))),
            _ => {
                section.fault(
                    item,
                    format!("a row of `{key}` must be {{ column = value }}"),
                );
                None
            }
        })
        .collect()
}

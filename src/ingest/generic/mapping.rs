//! Where the columns of a record of no known format are looked for: by default, or as a file of the user says.
//!
//! ```toml
//! # A column and the paths that may hold it; the first that can be read wins. Paths given here replace the defaults
//! # of that column, and an empty list leaves it empty. Keys are compared without case and separators.
//! event_time  = "meta.receivedAt"
//! caller      = ["auth.principal", "auth.key_name"]
//! duration_ms = { paths = ["took"], unit = "s" }
//!
//! [content]          # prompts and responses
//! input  = ["payload.question"]
//! output = ["payload.reply"]
//!
//! [constants]        # what the log does not say because it is always the same
//! provider = "openai"
//!
//! [outcome_words]    # words of this log for the four outcomes
//! blocked = ["REFUSED"]
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;
use toml::Value as Toml;

use super::columns::{COLUMNS, Kind, NAMED_REQUEST_IDS};
use super::fields::{Unit, fold};
use crate::error::{Error, Result};
use crate::ingest::record::Direction;
use crate::schema::Call;
use crate::suggest::nearest;

/// Texts by the names that say which way they went.
const TEXTS: [(&str, Direction); 18] = [
    ("system_prompt", Direction::Input),
    ("messages", Direction::Input),
    ("prompt", Direction::Input),
    ("input_text", Direction::Input),
    ("input", Direction::Input),
    ("inputs", Direction::Input),
    ("query", Direction::Input),
    ("question", Direction::Input),
    ("text", Direction::Input),
    ("request_body", Direction::Input),
    ("message", Direction::Input),
    ("completion", Direction::Output),
    ("output_text", Direction::Output),
    ("output", Direction::Output),
    ("answer", Direction::Output),
    ("generated_text", Direction::Output),
    ("response_body", Direction::Output),
    ("response", Direction::Output),
];

/// The words of the four outcomes that many logs use.
const WORDS: [(&str, &str); 15] = [
    ("ok", "success"),
    ("success", "success"),
    ("succeeded", "success"),
    ("completed", "success"),
    ("complete", "success"),
    ("blocked", "blocked"),
    ("filtered", "blocked"),
    ("denied", "blocked"),
    ("rejected", "blocked"),
    ("error", "failure"),
    ("failed", "failure"),
    ("failure", "failure"),
    ("timeout", "failure"),
    // Whoever asked left before the end, which says nothing of the service.
    ("cancelled", "unknown"),
    ("canceled", "unknown"),
];

const OUTCOMES: [&str; 4] = ["success", "blocked", "failure", "unknown"];

/// One way to a field.
#[derive(Debug, Clone)]
pub(super) struct FieldPath {
    /// As it is compared.
    pub(super) folded: String,
    /// The unit of a duration that stands there.
    pub(super) unit: Option<Unit>,
}

impl FieldPath {
    pub(super) fn new(path: &str, unit: Option<Unit>) -> FieldPath {
        let mut folded = String::with_capacity(path.len());
        fold(path, &mut folded);
        FieldPath {
            unit: unit.or_else(|| Unit::of_name(path)),
            folded,
        }
    }
}

/// Where columns are looked for.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// In the order of [`COLUMNS`].
    columns: Vec<Vec<FieldPath>>,
    pub(super) texts: Vec<(FieldPath, Direction)>,
    /// Column and value.
    pub(super) constants: Vec<(&'static str, String)>,
    /// Word in lower case, and the outcome it stands for.
    words: Vec<(String, &'static str)>,
    /// The file, where there is one, and which columns it maps.
    file: Option<(PathBuf, Vec<&'static str>)>,
}

impl Mapping {
    /// The mapping that ships.
    pub fn builtin() -> &'static Mapping {
        static BUILTIN: LazyLock<Mapping> = LazyLock::new(|| Mapping {
            columns: COLUMNS
                .iter()
                .map(|column| {
                    let mut paths: Vec<_> = column
                        .paths
                        .iter()
                        .map(|path| FieldPath::new(path, None))
                        .collect();
                    // Whoever writes a column's name means the column.
                    let own = FieldPath::new(column.name, None);
                    if paths.iter().all(|path| path.folded != own.folded) {
                        paths.push(own);
                    }
                    paths
                })
                .collect(),
            texts: TEXTS
                .map(|(path, direction)| (FieldPath::new(path, None), direction))
                .to_vec(),
            constants: Vec::new(),
            words: WORDS
                .map(|(word, outcome)| (word.to_owned(), outcome))
                .to_vec(),
            file: None,
        });
        &BUILTIN
    }

    /// The mapping that ships, with what a file says in its place.
    ///
    /// # Errors
    /// When the file cannot be read, or says something that is no mapping.
    pub fn with_file(path: &Path) -> Result<Mapping> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        Mapping::read(&text, path)
    }

    fn read(text: &str, path: &Path) -> Result<Mapping> {
        let table: BTreeMap<toml::Spanned<String>, toml::Spanned<Toml>> = toml::from_str(text)
            .map_err(|error: toml::de::Error| {
                let span = error.span().map(|span| span.start);
                Wrong::new(error.message()).at(text, span, path)
            })?;
        let mut mapping = Mapping::builtin().clone();
        let mut mapped = Vec::new();
        for (key, value) in table {
            let at = key.span().start;
            mapping
                .apply(key.get_ref(), value.into_inner(), &mut mapped)
                .map_err(|wrong| wrong.at(text, Some(at), path))?;
        }
        mapping.file = Some((path.to_path_buf(), mapped));
        Ok(mapping)
    }

    fn apply(
        &mut self,
        key: &str,
        value: Toml,
        mapped: &mut Vec<&'static str>,
    ) -> Result<(), Wrong> {
        match key {
            "content" => self.content(value),
            "constants" => self.constants(value),
            "outcome_words" => self.outcome_words(value),
            _ => {
                let index = column(key)?;
                let is_duration = matches!(COLUMNS[index].kind, Kind::Duration(_));
                self.columns[index] = field_paths(key, value, is_duration)?;
                mapped.push(COLUMNS[index].name);
                Ok(())
            }
        }
    }

    fn content(&mut self, value: Toml) -> Result<(), Wrong> {
        for (key, value) in section("content", value)? {
            let direction = match key.as_str() {
                "input" => Direction::Input,
                "output" => Direction::Output,
                _ => return Err(unknown("content", &key, ["input", "output"])),
            };
            let paths = field_paths(&format!("content.{key}"), value, false)?;
            self.texts.retain(|(_, known)| *known != direction);
            self.texts
                .extend(paths.into_iter().map(|path| (path, direction)));
        }
        Ok(())
    }

    fn constants(&mut self, value: Toml) -> Result<(), Wrong> {
        for (key, value) in section("constants", value)? {
            let column = &COLUMNS[column(&key)?];
            let takes_text = matches!(column.kind, Kind::Text(_) | Kind::Name(_))
                || ["provider", "model", "operation_raw"].contains(&column.name);
            let text = value.as_str().filter(|text| takes_text && !text.is_empty());
            let Some(text) = text else {
                let message = if takes_text {
                    format!("`constants.{key}` is not a text")
                } else {
                    format!("`{key}` cannot be constant: only names and ids can")
                };
                return Err(Wrong::new(&message));
            };
            self.constants.push((column.name, text.to_owned()));
        }
        Ok(())
    }

    fn outcome_words(&mut self, value: Toml) -> Result<(), Wrong> {
        for (key, value) in section("outcome_words", value)? {
            let Some(outcome) = OUTCOMES.into_iter().find(|outcome| *outcome == key) else {
                return Err(unknown("outcome_words", &key, OUTCOMES));
            };
            for word in texts(&format!("outcome_words.{key}"), value)? {
                let word = word.to_ascii_lowercase();
                self.words.retain(|(known, _)| *known != word);
                self.words.push((word, outcome));
            }
        }
        Ok(())
    }

    /// The paths of a column.
    pub(super) fn paths(&self, name: &str) -> &[FieldPath] {
        let index = COLUMNS.iter().position(|column| column.name == name);
        index.map_or(&[], |index| &self.columns[index])
    }

    /// Whether the user's file says where this column is.
    pub(super) fn maps(&self, name: &str) -> bool {
        let file = self.file.as_ref();
        file.is_some_and(|(_, mapped)| mapped.contains(&name))
    }

    /// Paths that hold the id of a request: any log has an id, and only one that is named a request's says what the
    /// record is. What the user says is one, is one.
    pub(super) fn request_ids(&self) -> &[FieldPath] {
        let paths = self.paths("request_id");
        let named = if self.maps("request_id") {
            paths.len()
        } else {
            NAMED_REQUEST_IDS
        };
        &paths[..named.min(paths.len())]
    }

    /// Columns that need no code of their own, with their paths.
    pub(super) fn plain(&self) -> impl Iterator<Item = (&'static str, Kind, &[FieldPath])> {
        COLUMNS
            .iter()
            .zip(&self.columns)
            .filter(|(column, _)| !matches!(column.kind, Kind::Own))
            .map(|(column, paths)| (column.name, column.kind, paths.as_slice()))
    }

    /// The outcome that a word of the log stands for.
    pub(super) fn outcome(&self, word: &str) -> Option<&'static str> {
        let word = word.to_ascii_lowercase();
        let found = self.words.iter().find(|(known, _)| *known == word);
        found.map(|(_, outcome)| *outcome)
    }

    /// The file that sent the field at `path` to this column, if one did.
    pub(crate) fn file_behind(&self, path: &str, name: &str) -> Option<&Path> {
        let (file, mapped) = self.file.as_ref()?;
        let mut folded = String::new();
        fold(path, &mut folded);
        let name = if name == "model_id_raw" {
            "model"
        } else {
            name
        };
        let of_column =
            mapped.contains(&name) && self.paths(name).iter().any(|path| path.folded == folded);
        let of_content = name == "content"
            && self.texts.iter().any(|(path, _)| path.folded == folded)
            && Mapping::builtin()
                .texts
                .iter()
                .all(|(path, _)| path.folded != folded);
        (of_column || of_content).then_some(file)
    }
}

/// What is wrong with a file, before its place is known.
struct Wrong {
    message: String,
    hint: Option<String>,
}

impl Wrong {
    fn new(message: &str) -> Wrong {
        Wrong {
            message: message.to_owned(),
            hint: None,
        }
    }

    fn at(self, text: &str, byte: Option<usize>, path: &Path) -> Error {
        Error::Catalog {
            path: path.to_path_buf(),
            line: byte.map(|byte| text[..byte].matches('\n').count() + 1),
            message: self.message,
            hint: self.hint,
        }
    }
}

/// The position of a column that can be mapped.
fn column(name: &str) -> Result<usize, Wrong> {
    if let Some(index) = COLUMNS.iter().position(|column| column.name == name) {
        return Ok(index);
    }
    let exists = Call::DESCRIPTIONS.iter().any(|(known, _)| *known == name);
    if exists {
        return Err(Wrong::new(&format!(
            "`{name}` is worked out at ingest and cannot be mapped"
        )));
    }
    let names =
        COLUMNS
            .iter()
            .map(|column| column.name)
            .chain(["content", "constants", "outcome_words"]);
    Err(Wrong {
        message: format!("no column is called `{name}`"),
        hint: Some(match nearest(name, names) {
            Some(known) => format!("did you mean `{known}`?"),
            None => "`inferwatch sql \"DESCRIBE calls\"` lists the columns".into(),
        }),
    })
}

fn unknown<const N: usize>(section: &str, key: &str, known: [&str; N]) -> Wrong {
    Wrong {
        message: format!("unknown key `{section}.{key}`"),
        hint: Some(match nearest(key, known) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known here: {}", known.join(", ")),
        }),
    }
}

fn section(name: &str, value: Toml) -> Result<toml::Table, Wrong> {
    match value {
        Toml::Table(table) => Ok(table),
        _ => Err(Wrong::new(&format!("`{name}` is not a table"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithUnit {
    paths: Toml,
    unit: Option<String>,
}

/// A path, a list of paths, or paths with the unit of what stands there.
fn field_paths(key: &str, value: Toml, is_duration: bool) -> Result<Vec<FieldPath>, Wrong> {
    let (value, unit) = match value {
        Toml::Table(table) => {
            let given: WithUnit = table.try_into().map_err(|error: toml::de::Error| {
                Wrong::new(&format!("`{key}`: {}", error.message()))
            })?;
            let unit = match given.unit {
                Some(_) if !is_duration => {
                    return Err(Wrong::new(&format!(
                        "`{key}` is no duration and has no unit"
                    )));
                }
                Some(unit) => Some(Unit::from_name(&unit).ok_or_else(|| Wrong {
                    message: format!("`{key}`: no unit is called `{unit}`"),
                    hint: Some("units are `s`, `ms`, `us` and `ns`".into()),
                })?),
                None => None,
            };
            (given.paths, unit)
        }
        value => (value, None),
    };
    let paths = texts(key, value)?;
    Ok(paths
        .iter()
        .map(|path| FieldPath::new(path, unit))
        .collect())
}

/// A text or a list of texts.
fn texts(key: &str, value: Toml) -> Result<Vec<String>, Wrong> {
    let items = match value {
        Toml::Array(items) => items,
        item => vec![item],
    };
    let text = |item: &Toml| {
        let text = item
            .as_str()
            .filter(|text| text.chars().any(char::is_alphanumeric));
        text.map(str::to_owned)
    };
    items
        .iter()
        .map(text)
        .collect::<Option<_>>()
        .ok_or_else(|| Wrong::new(&format!("`{key}` is not a name or a list of names")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> (String, Option<String>) {
        let error = Mapping::read(text, Path::new("m.toml")).unwrap_err();
        (error.to_string(), error.hint().map(str::to_owned))
    }

    #[test]
    fn every_column_that_can_be_mapped_is_one_of_calls() {
        for column in COLUMNS {
            assert!(
                Call::schema().field_with_name(column.name).is_ok(),
                "{}",
                column.name
            );
        }
    }

    #[test]
    fn mistakes_are_told_with_line_and_nearest_name() {
        assert_eq!(
            told("caller = 'a'\nevnt_time = 'b'"),
            (
                "m.toml:2: no column is called `evnt_time`".into(),
                Some("did you mean `event_time`?".into())
            )
        );
        assert_eq!(
            told("input_entropy = 'a'").0,
            "m.toml:1: `input_entropy` is worked out at ingest and cannot be mapped"
        );
        assert_eq!(
            told("[content]\ninptu = 'a'").1.as_deref(),
            Some("did you mean `input`?")
        );
        for (text, expected) in [
            ("caller = 5", "`caller` is not a name or a list of names"),
            (
                "caller = ['a', '']",
                "`caller` is not a name or a list of names",
            ),
            (
                "caller = { paths = 'a', unit = 's' }",
                "`caller` is no duration and has no unit",
            ),
            (
                "duration_ms = { paths = 'a', unit = 'h' }",
                "`duration_ms`: no unit is called `h`",
            ),
            (
                "duration_ms = { path = 'a' }",
                "`duration_ms`: unknown field `path`, expected `paths` or `unit`",
            ),
            ("constants = 'a'", "`constants` is not a table"),
            (
                "[constants]\ninput_tokens = '5'",
                "`input_tokens` cannot be constant: only names and ids can",
            ),
            (
                "[outcome_words]\nfine = ['a']",
                "unknown key `outcome_words.fine`",
            ),
        ] {
            assert!(told(text).0.ends_with(expected), "{text}: {}", told(text).0);
        }
        assert!(told("caller =").0.starts_with("m.toml:1: "));
    }

    #[test]
    fn a_field_knows_the_file_that_mapped_it() {
        let text = "caller = 'auth.principal'\nmodel = 'svc'\n[content]\ninput = ['q']";
        let mapping = Mapping::read(text, Path::new("m.toml")).unwrap();
        for (path, column, expected) in [
            ("auth/Principal", "caller", true),
            ("svc", "model_id_raw", true),
            ("q", "content", true),
            ("completion", "content", false),
            ("auth/principal", "team", false),
            ("timestamp", "event_time", false),
        ] {
            assert_eq!(
                mapping.file_behind(path, column).is_some(),
                expected,
                "{path}"
            );
        }
    }
}

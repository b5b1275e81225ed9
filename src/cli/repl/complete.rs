//! What Tab offers: tables where a table belongs, columns of the statement's tables first, then functions and
//! keywords; shell commands after a backslash; paths inside `FROM '…'`.

use std::collections::BTreeSet;
use std::path::Path;

use datafusion::prelude::SessionContext;
use rustyline::completion::Pair;
use tokio::runtime::Handle;

use super::command::COMMANDS;
use super::highlight::KEYWORDS;
use crate::query::lexer::{Kind, Token, tokens};
use crate::query::{function_names, table_names};
use crate::schema::Table;

/// Looks names up in a session.
pub(super) struct Completer {
    context: SessionContext,
    runtime: Handle,
    functions: Vec<String>,
}

/// After these a table or file is named.
const BEFORE_TABLE: [&str; 6] = ["FROM", "JOIN", "INTO", "TABLE", "DESCRIBE", "VIEW"];
/// After these a string is a path.
const BEFORE_PATH: [&str; 4] = ["FROM", "JOIN", "LOCATION", "TO"];

impl Completer {
    pub(super) fn new(context: &SessionContext, runtime: &Handle) -> Completer {
        Completer {
            context: context.clone(),
            runtime: runtime.clone(),
            functions: function_names(context),
        }
    }

    /// Where the completed text begins, and what could stand there.
    pub(super) fn complete(&self, line: &str, position: usize) -> (usize, Vec<Pair>) {
        let before = &line[..position];
        if before.trim_start().starts_with('\\') {
            return self.complete_command(before);
        }
        let tokens = tokens(before);
        let last = tokens.last();
        match last {
            Some(token) if token.kind == Kind::String && !token.closed => {
                let start = token.range.start + 1;
                let is_path = previous_word(&tokens[..tokens.len() - 1], before)
                    .is_some_and(|word| BEFORE_PATH.contains(&word.to_uppercase().as_str()));
                let pairs = if is_path {
                    paths(&before[start..])
                } else {
                    Vec::new()
                };
                (start, pairs)
            }
            Some(token) if matches!(token.kind, Kind::Comment | Kind::QuotedName) => {
                (position, Vec::new())
            }
            Some(token) if token.kind == Kind::Word => {
                let start = token.range.start;
                (
                    start,
                    self.names(line, before, &tokens[..tokens.len() - 1], &before[start..]),
                )
            }
            _ => (position, self.names(line, before, &tokens, "")),
        }
    }

    fn complete_command(&self, before: &str) -> (usize, Vec<Pair>) {
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = &before[start..];
        let name = before.trim_start().trim_start_matches('\\');
        let candidates: Vec<String> = match name.split_once(char::is_whitespace) {
            None => COMMANDS
                .iter()
                .map(|(_, name, ..)| format!("\\{name}"))
                .collect(),
            Some(("d", _)) => self.tables(),
            Some(("df", _)) => self.functions.clone(),
            Some(("format", _)) => ["table", "json", "ndjson", "csv"]
                .map(String::from)
                .to_vec(),
            Some(("i" | "o", _)) => return (start, paths(word)),
            Some(_) => Vec::new(),
        };
        (start, matching(candidates.iter().map(String::as_str), word))
    }

    /// Names that begin with the prefix, fit for the place after the tokens.
    fn names(&self, line: &str, before: &str, tokens: &[Token], prefix: &str) -> Vec<Pair> {
        let previous = tokens.iter().rev().find(|token| token.is_significant());
        let statement = current_statement(line, before.len());
        if let Some(dot) = previous
            && dot.text(before) == "."
        {
            let qualifier = previous_word(&tokens[..tokens.len() - 1], before).unwrap_or_default();
            let columns = self.columns_of(statement, Some(qualifier));
            return matching(columns.iter().map(String::as_str), prefix);
        }
        let after_table_word = previous.is_some_and(|token| {
            token.kind == Kind::Word
                && BEFORE_TABLE.contains(&token.text(before).to_uppercase().as_str())
        });
        if after_table_word {
            return matching(self.tables().iter().map(String::as_str), prefix);
        }
        let columns = self.columns_of(statement, None);
        let mut pairs = matching(columns.iter().map(String::as_str), prefix);
        if prefix.is_empty() {
            return pairs;
        }
        pairs.extend(
            matching(self.functions.iter().map(String::as_str), prefix)
                .into_iter()
                .map(|pair| Pair {
                    replacement: format!("{}(", pair.replacement),
                    display: format!("{}()", pair.display),
                }),
        );
        pairs.extend(matching(self.tables().iter().map(String::as_str), prefix));
        // Keywords as the person writes them.
        let is_lower = !prefix.contains(|c: char| c.is_uppercase());
        pairs.extend(
            matching(KEYWORDS.iter().copied(), prefix)
                .into_iter()
                .map(|pair| match is_lower {
                    true => Pair {
                        display: pair.display.to_lowercase(),
                        replacement: pair.replacement.to_lowercase(),
                    },
                    false => pair,
                }),
        );
        let mut seen = BTreeSet::new();
        pairs.retain(|pair| seen.insert(pair.replacement.clone()));
        pairs
    }

    fn tables(&self) -> Vec<String> {
        let mut names = table_names(&self.context);
        names.push("information_schema".to_string());
        names
    }

    /// Columns of the tables that the statement names, or of the one that the qualifier stands for. In a statement
    /// without a table yet, the columns of `calls`: most questions are about it.
    fn columns_of(&self, statement: &str, qualifier: Option<&str>) -> Vec<String> {
        let named = named_tables(statement);
        let is_wanted = |table: &str, alias: Option<&str>| {
            qualifier.is_none_or(|wanted| {
                wanted.eq_ignore_ascii_case(table)
                    || alias.is_some_and(|alias| alias.eq_ignore_ascii_case(wanted))
            })
        };
        let mut columns = Vec::new();
        for (table, alias) in &named {
            if !is_wanted(table, alias.as_deref()) {
                continue;
            }
            let provider = self
                .runtime
                .block_on(self.context.table_provider(table.as_str()));
            if let Ok(provider) = provider {
                columns.extend(
                    provider
                        .schema()
                        .fields()
                        .iter()
                        .map(|field| field.name().clone()),
                );
            }
        }
        if named.is_empty() {
            columns.extend(
                Table::Calls
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| field.name().clone()),
            );
        }
        let mut seen = BTreeSet::new();
        columns.retain(|column| seen.insert(column.clone()));
        columns
    }
}

/// The tables that a statement reads, each with its alias.
fn named_tables(statement: &str) -> Vec<(String, Option<String>)> {
    let significant: Vec<Token> = tokens(statement)
        .into_iter()
        .filter(Token::is_significant)
        .collect();
    let text = |at: usize| significant.get(at).map(|token| token.text(statement));
    let is_name = |at: usize| {
        significant.get(at).is_some_and(|token| match token.kind {
            Kind::QuotedName => true,
            Kind::Word => !super::highlight::is_keyword(token.text(statement)),
            _ => false,
        })
    };
    let mut tables = Vec::new();
    for at in 0..significant.len() {
        let introduces = text(at).is_some_and(|word| {
            ["FROM", "JOIN", "DESCRIBE"].contains(&word.to_uppercase().as_str())
        });
        let is_file = significant
            .get(at + 1)
            .is_some_and(|token| token.kind == Kind::String && token.closed);
        if !introduces || !(is_name(at + 1) || is_file) {
            continue;
        }
        let name = text(at + 1).unwrap_or_default();
        let name = match name.strip_prefix('\'') {
            // The name of a file goes between quotes, so that its dots separate nothing.
            Some(path) => format!("\"{}\"", path.trim_end_matches('\'')),
            None => name.to_string(),
        };
        let skip = usize::from(text(at + 2).is_some_and(|word| word.eq_ignore_ascii_case("AS")));
        let alias = is_name(at + 2 + skip)
            .then(|| text(at + 2 + skip))
            .flatten();
        tables.push((name, alias.map(str::to_string)));
    }
    tables
}

/// The statement around a position.
fn current_statement(line: &str, position: usize) -> &str {
    let semicolons = tokens(line)
        .into_iter()
        .filter(|token| token.kind == Kind::Semicolon)
        .map(|token| token.range);
    let (mut start, mut end) = (0, line.len());
    for range in semicolons {
        if range.end <= position {
            start = range.end;
        } else {
            end = range.start;
            break;
        }
    }
    &line[start..end.max(start)]
}

fn previous_word<'a>(tokens: &[Token], text: &'a str) -> Option<&'a str> {
    let token = tokens.iter().rev().find(|token| token.is_significant())?;
    (token.kind == Kind::Word).then(|| token.text(text))
}

/// Candidates that begin with the prefix, whatever the case. Names that need quotes get them.
fn matching<'a>(candidates: impl Iterator<Item = &'a str>, prefix: &str) -> Vec<Pair> {
    let prefix = prefix.to_lowercase();
    candidates
        .filter(|candidate| candidate.to_lowercase().starts_with(&prefix))
        .map(|candidate| {
            let is_plain = KEYWORDS.contains(&candidate)
                || candidate.starts_with('\\')
                || candidate
                    .chars()
                    .all(|c| c.is_lowercase() || c.is_ascii_digit() || c == '_');
            Pair {
                display: crate::output::escape::visible(candidate).into_owned(),
                replacement: if is_plain {
                    candidate.to_string()
                } else {
                    format!("\"{}\"", candidate.replace('"', "\"\""))
                },
            }
        })
        .collect()
}

/// Files and folders that a path may go on with.
fn paths(typed: &str) -> Vec<Pair> {
    let (folder, prefix) = typed
        .rsplit_once('/')
        .map_or(("", typed), |(folder, prefix)| {
            (if folder.is_empty() { "/" } else { folder }, prefix)
        });
    let kept = &typed[..typed.len() - prefix.len()];
    let Ok(entries) = std::fs::read_dir(Path::new(if folder.is_empty() { "." } else { folder }))
    else {
        return Vec::new();
    };
    let mut pairs: Vec<Pair> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let is_shown =
                name.starts_with(prefix) && (!name.starts_with('.') || prefix.starts_with('.'));
            let slash = if entry.path().is_dir() { "/" } else { "" };
            is_shown.then(|| Pair {
                display: format!("{}{slash}", crate::output::escape::visible(&name)),
                replacement: format!("{kept}{name}{slash}"),
            })
        })
        .collect();
    pairs.sort_by(|a, b| a.replacement.cmp(&b.replacement));
    pairs
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::MemTable;

    use super::*;

    /// A session with the tables `people(name, birth_year, Home)` and `orders(id, name, price)`.
    fn with_completer<T>(test: impl FnOnce(&Completer) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let context = SessionContext::new();
        for (table, columns) in [
            ("people", ["name", "birth_year", "Home"]),
            ("orders", ["id", "name", "price"]),
        ] {
            let fields: Vec<Field> = columns
                .iter()
                .map(|column| Field::new(*column, DataType::Utf8, true))
                .collect();
            let schema = Arc::new(Schema::new(fields));
            let rows = MemTable::try_new(schema, vec![vec![]]).unwrap();
            context.register_table(table, Arc::new(rows)).unwrap();
        }
        test(&Completer::new(&context, runtime.handle()))
    }

    /// Completes at `|`.
    fn offers(marked: &str) -> Vec<String> {
        let position = marked.find('|').unwrap();
        let line = marked.replacen('|', "", 1);
        with_completer(|completer| {
            let (_, pairs) = completer.complete(&line, position);
            pairs.into_iter().map(|pair| pair.replacement).collect()
        })
    }

    #[test]
    fn tables_follow_from() {
        assert_eq!(offers("SELECT * FROM p|"), ["people"]);
        assert_eq!(
            offers("SELECT * FROM |"),
            ["orders", "people", "information_schema"]
        );
        assert_eq!(offers("SELECT 1; DESCRIBE o|"), ["orders"]);
    }

    #[test]
    fn columns_of_the_statements_tables_come_first() {
        assert_eq!(offers("SELECT b| FROM people")[0], "birth_year");
        assert_eq!(
            offers("SELECT | FROM people"),
            ["name", "birth_year", "\"Home\""]
        );
        // Another statement's tables do not count.
        assert!(
            !offers("SELECT * FROM orders; SELECT pri| FROM people").contains(&"price".to_string())
        );
    }

    #[test]
    fn a_qualifier_narrows_to_its_table() {
        let sql = "SELECT o.| FROM people p JOIN orders AS o ON true";
        assert_eq!(offers(sql), ["id", "name", "price"]);
        let sql = "SELECT p.b| FROM people p JOIN orders AS o ON true";
        assert_eq!(offers(sql), ["birth_year"]);
        assert_eq!(offers("SELECT people.n| FROM people"), ["name"]);
        // Before the table is named, it is most likely `calls`.
        assert_eq!(offers("SELECT c.calle|"), ["caller"]);
    }

    #[test]
    fn functions_and_keywords_follow_the_case_of_the_person() {
        let found = offers("SELECT sub|");
        assert!(found.contains(&"substr(".to_string()), "{found:?}");
        assert!(offers("SELECT * FROM people WH|").contains(&"WHERE".to_string()));
        assert!(offers("select * from people wh|").contains(&"where".to_string()));
    }

    #[test]
    fn commands_and_their_arguments() {
        assert_eq!(offers(r"\ti|"), [r"\timing"]);
        assert_eq!(offers(r"\d pe|"), ["people"]);
        assert_eq!(offers(r"\format nd|"), ["ndjson"]);
    }

    #[test]
    fn paths_only_where_a_path_belongs() {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("log.ndjson"), "").unwrap();
        std::fs::write(folder.path().join(".hidden"), "").unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        let root = folder.path().display();
        assert_eq!(
            offers(&format!("SELECT * FROM '{root}/l|")),
            [format!("{root}/log.ndjson"), format!("{root}/logs/")]
        );
        assert_eq!(offers(&format!("SELECT * FROM '{root}/|")).len(), 2);
        assert!(offers(&format!("SELECT '{root}/l|")).is_empty());
    }
}

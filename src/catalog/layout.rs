//! The layout of versioned SQL files: keys in one order, blocks one blank line apart, nothing at the ends of lines.
//!
//! Only what carries no meaning is changed. Values, comments and the author's own layout of the SQL stay; so do spaces
//! and line ends inside of texts, which a small scanner of both languages knows. What comes out is read again and
//! compared with what went in, so a file whose meaning would change is left alone and said to be.

use super::block::{Block, Split, split};
use super::problem::Problem;

/// Keys of a rule in the order in which they are written.
const RULE: [&str; 44] = [
    "id",
    "title",
    "version",
    "kind",
    "status",
    "replaced_by",
    "severity",
    "confidence",
    "source",
    "requires",
    "signals",
    "signals_required",
    "order",
    "absent",
    "within",
    "window",
    "every",
    "by",
    "on",
    "mode",
    "tumbling_reason",
    "lateness",
    "late_horizon",
    "baseline",
    "min_history",
    "quiet",
    "entity",
    "dedup",
    "early",
    "for",
    "keep",
    "noise",
    "atlas",
    "owasp",
    "attack",
    "owner",
    "author",
    "description",
    "false_positives",
    "evasion",
    "references",
    "runbook",
    "tags",
    "sinks",
];

/// Those of a test; what is given and expected stands in the author's order.
const TEST: [&str; 2] = ["name", "at"];

/// Those of a tier.
const TIER: [&str; 9] = [
    "id",
    "title",
    "version",
    "table",
    "action",
    "columns",
    "grain",
    "minimum_age",
    "description",
];

/// Those of a panel.
const PANEL: [&str; 14] = [
    "id",
    "title",
    "board",
    "position",
    "size",
    "chart",
    "unit",
    "scale",
    "bucket",
    "empty",
    "thresholds",
    "refresh",
    "drill_down",
    "description",
];

/// Those of a board.
const BOARD: [&str; 5] = ["id", "title", "position", "range", "description"];

/// Those of a view.
const VIEW: [&str; 4] = ["name", "description", "margin", "span_ms"];

/// Those of a test of a tier.
const TIER_TEST: [&str; 5] = ["name", "now", "periods", "megabytes", "expect"];

/// Those of an exception.
const EXCEPTION: [&str; 5] = ["id", "rules", "reason", "owner", "expires"];

/// The file as it is to be written.
///
/// # Errors
/// What is wrong with its blocks.
pub fn formatted(text: &str) -> Result<String, Vec<Problem>> {
    let text = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .replace("\r\n", "\n");
    let before = split(&text)?;
    let mut out = String::with_capacity(text.len());
    let mut was_header = false;
    for part in parts(&text, &before) {
        let (written, is_header) = match part {
            Part::Block(block) => (block_text(block), block.kind != "test"),
            Part::Sql(sql) => (sql_text(sql), false),
        };
        if written.is_empty() {
            continue;
        }
        // The query follows its header; all else stands apart.
        let follows = was_header && matches!(part, Part::Sql(_));
        if !out.is_empty() && !follows {
            out.push('\n');
        }
        out.push_str(&written);
        was_header = is_header;
    }
    match split(&out) {
        Ok(after) if is_same(&before, &after) => Ok(out),
        _ => Err(vec![Problem::error(
            "L-HEADER",
            None,
            "this file cannot be laid out without changing what it says",
        )]),
    }
}

/// A piece of a file.
#[derive(Debug, Clone, Copy)]
enum Part<'t> {
    Block(&'t Block),
    Sql(&'t str),
}

/// Blocks and the SQL between them, in order.
fn parts<'t>(text: &'t str, split: &'t Split) -> Vec<Part<'t>> {
    let starts: Vec<usize> = std::iter::once(0)
        .chain(text.match_indices('\n').map(|(at, _)| at + 1))
        .collect();
    let at = |line: usize| starts.get(line).copied().unwrap_or(text.len());
    let (mut parts, mut line) = (Vec::new(), 0);
    for block in &split.blocks {
        parts.push(Part::Sql(&text[at(line)..at(block.line - 1)]));
        parts.push(Part::Block(block));
        // The fences and what is between them.
        line = block.line + block.toml.lines().count() + 1;
    }
    parts.push(Part::Sql(&text[at(line).min(text.len())..]));
    parts
}

/// Whether two files say the same, but for layout.
fn is_same(before: &Split, after: &Split) -> bool {
    let squeezed = |sql: &str| -> Vec<String> {
        let lines = sql_text(sql);
        lines
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(str::to_string)
            .collect()
    };
    let table = |block: &Block| toml::from_str::<toml::Table>(&block.toml).ok();
    before.blocks.len() == after.blocks.len()
        && before
            .blocks
            .iter()
            .zip(&after.blocks)
            .all(|(before, after)| {
                before.kind == after.kind
                    && table(before).is_some()
                    && table(before) == table(after)
            })
        && squeezed(&before.sql) == squeezed(&after.sql)
        && tokens(&before.sql) == tokens(&after.sql)
}

/// The tokens of a query, without layout and comments; `None` for what is no SQL, which then has to be the same text.
fn tokens(sql: &str) -> Option<Vec<String>> {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().ok()?;
    let kept = tokens
        .into_iter()
        .filter(|token| !matches!(token, Token::Whitespace(_)));
    Some(kept.map(|token| token.to_string()).collect())
}

/// A key with its value, or a comment, with the comments above it.
#[derive(Debug, Default)]
struct Entry {
    /// `None` for comments at the end.
    key: Option<String>,
    lines: Vec<String>,
}

fn block_text(block: &Block) -> String {
    let (order, width): (&[&str], usize) = match block.kind.as_str() {
        "rule" => (&RULE, 11),
        "test" if block.toml.lines().any(|line| line.starts_with("periods")) => (&TIER_TEST, 7),
        "test" => (&TEST, 4),
        "tier" => (&TIER, 11),
        "exception" => (&EXCEPTION, 7),
        "view" => (&VIEW, 11),
        "panel" => (&PANEL, 11),
        "board" => (&BOARD, 11),
        _ => (&[], 0),
    };
    let mut text = format!("-- /// {}\n", block.kind);
    for (place, section) in sections(&block.toml).into_iter().enumerate() {
        let mut entries = section.entries;
        if let Some(head) = section.head {
            if place > 0 && text.lines().count() > 1 {
                text.push_str("--\n");
            }
            for line in section.above.iter().chain([&head]) {
                push(&mut text, line);
            }
        } else {
            let rank = |entry: &Entry| match &entry.key {
                None => usize::MAX,
                Some(key) => {
                    let known = order.iter().position(|name| name == key);
                    known.unwrap_or(order.len())
                }
            };
            entries.sort_by_key(rank);
        }
        let width = if place == 0 { width } else { 0 };
        for entry in entries {
            for line in aligned(entry, width) {
                push(&mut text, &line);
            }
        }
    }
    text.push_str("-- ///\n");
    text
}

fn push(text: &mut String, line: &str) {
    text.push_str("--");
    if !line.is_empty() {
        text.push(' ');
        text.push_str(line);
    }
    text.push('\n');
}

/// `key = value` with the sign of equality under those of its neighbours.
fn aligned(entry: Entry, width: usize) -> Vec<String> {
    let Entry { key, mut lines } = entry;
    let Some(key) = key else {
        return lines;
    };
    let first = lines
        .iter_mut()
        .find(|line| !line.trim_start().starts_with('#'));
    if let Some(line) = first
        && let Some((name, value)) = line.split_once('=')
        && name.trim() == key
    {
        *line = format!("{key:<width$} = {}", value.trim_start());
    }
    lines
}

/// A table of a block: the root, or one with a head such as `[params]`.
#[derive(Debug, Default)]
struct Tables {
    head: Option<String>,
    /// Comments above the head.
    above: Vec<String>,
    entries: Vec<Entry>,
}

/// Takes the TOML of a block apart, line by line. Blank lines go, but for those inside of values.
fn sections(toml: &str) -> Vec<Tables> {
    let mut all = vec![Tables::default()];
    let mut entry = Entry::default();
    let mut value = Scanner::default();
    for line in toml.lines() {
        if value.is_open() {
            let is_text = value.is_in_text();
            value.take(line);
            // A text of several lines keeps what is at the ends of its lines.
            let kept = if is_text || value.is_in_text() {
                line
            } else {
                line.trim_end()
            };
            entry.lines.push(kept.to_string());
            if !value.is_open() {
                close(&mut all, &mut entry);
            }
            continue;
        }
        let bare = line.trim();
        if bare.is_empty() {
            continue;
        }
        if bare.starts_with('#') {
            entry.lines.push(bare.to_string());
        } else if bare.starts_with('[') {
            let above = std::mem::take(&mut entry.lines);
            all.push(Tables {
                head: Some(bare.to_string()),
                above,
                entries: Vec::new(),
            });
        } else {
            let (name, rest) = bare.split_once('=').unwrap_or((bare, ""));
            entry.key = Some(name.trim().to_string());
            value = Scanner::default();
            value.take(rest);
            entry.lines.push(match value.is_in_text() {
                true => line.trim_start().to_string(),
                false => bare.to_string(),
            });
            if !value.is_open() {
                close(&mut all, &mut entry);
            }
        }
    }
    close(&mut all, &mut entry);
    all
}

fn close(all: &mut [Tables], entry: &mut Entry) {
    let entry = std::mem::take(entry);
    if let Some(table) = all.last_mut().filter(|_| !entry.lines.is_empty()) {
        table.entries.push(entry);
    }
}

/// Knows whether a value of TOML goes on in the next line.
#[derive(Debug, Default)]
struct Scanner {
    /// Brackets and braces that are open.
    depth: usize,
    /// The quotes that end the text that is open.
    text: Option<&'static str>,
}

impl Scanner {
    fn is_open(&self) -> bool {
        self.depth > 0 || self.text.is_some()
    }

    fn is_in_text(&self) -> bool {
        self.text.is_some()
    }

    fn take(&mut self, line: &str) {
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            if let Some(end) = self.text {
                if end.starts_with('"') && c == '\\' {
                    rest = rest.get(2..).unwrap_or("");
                    continue;
                }
                if rest.starts_with(end) {
                    rest = &rest[end.len()..];
                    self.text = None;
                    continue;
                }
            } else if let Some(quotes) = ["\"\"\"", "'''", "\"", "'"]
                .into_iter()
                .find(|it| rest.starts_with(it))
            {
                self.text = Some(quotes);
                rest = &rest[quotes.len()..];
                continue;
            } else {
                match c {
                    '#' => return,
                    '[' | '{' => self.depth += 1,
                    ']' | '}' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
            }
            rest = &rest[c.len_utf8()..];
        }
        // A text in single quotes ends with its line, or it is no TOML.
        if self.text.is_some_and(|quotes| quotes.len() == 1) {
            self.text = None;
        }
    }
}

/// SQL without spaces at the ends of lines, tabs in front of them, or more than one blank line in a row.
fn sql_text(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut state = Sql::Plain;
    let mut blank = 0;
    for line in sql.lines() {
        let was = state;
        state = state.after(line);
        let mut line = line.to_string();
        if !was.is_text() {
            let indent = line.len() - line.trim_start().len();
            line = line[..indent].replace('\t', "    ") + &line[indent..];
        }
        if !state.is_text() {
            line.truncate(line.trim_end().len());
        }
        if line.is_empty() && !was.is_text() && !state.is_text() {
            blank += 1;
            continue;
        }
        if blank > 0 && !text.is_empty() {
            text.push('\n');
        }
        blank = 0;
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// What a line of SQL begins in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sql {
    Plain,
    /// A text, or a quoted name, and the character that ends it.
    Text(char),
    /// A comment of several lines, and how many are open.
    Comment(usize),
}

impl Sql {
    fn is_text(self) -> bool {
        matches!(self, Sql::Text(_))
    }

    fn after(self, line: &str) -> Sql {
        let mut state = self;
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            let next = rest.peek().copied();
            state = match (state, c, next) {
                (Sql::Text(end), c, _) if c == end => Sql::Plain,
                (Sql::Plain, '-', Some('-')) => return state,
                (Sql::Plain, '\'' | '"', _) => Sql::Text(c),
                (Sql::Plain, '/', Some('*')) => {
                    rest.next();
                    Sql::Comment(1)
                }
                (Sql::Comment(depth), '/', Some('*')) => {
                    rest.next();
                    Sql::Comment(depth + 1)
                }
                (Sql::Comment(depth), '*', Some('/')) => {
                    rest.next();
                    match depth {
                        1 => Sql::Plain,
                        deep => Sql::Comment(deep - 1),
                    }
                }
                (state, ..) => state,
            };
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::EMBEDDED;
    use proptest::prelude::*;

    #[test]
    fn keys_come_in_order_and_blocks_apart() {
        let text = "\u{feff}-- /// rule\r\n-- # who\r\n-- title = \"t\"  \r\n-- id=\"a\"\r\n--\r\n-- description = \"\"\"\r\n--  two  \r\n-- lines\"\"\"\r\n-- [params]\r\n-- b = { default = 1, doc = \"x = y\" }\r\n-- a = { default = [\"#\", \"]\"],   doc = \"d\" }\r\n-- ///\r\n\r\n\r\n\tSELECT 'a  \r\n  b' AS x, -- why \t\r\n\r\n\r\n\r\n  1\r\n-- /// test\r\n-- expect = [\r\n--   { a = 1 },  \r\n-- ]\r\n-- at = 2026-01-01T00:00:00Z\r\n-- name = \"n\"\r\n-- ///\r\n-- /// test\r\n-- name=\"m\"\r\n-- ///\r\n\r\n\r\n";
        let wanted = "-- /// rule\n-- id          = \"a\"\n-- # who\n-- title       = \"t\"\n-- description = \"\"\"\n--  two  \n-- lines\"\"\"\n--\n-- [params]\n-- b = { default = 1, doc = \"x = y\" }\n-- a = { default = [\"#\", \"]\"],   doc = \"d\" }\n-- ///\n    SELECT 'a  \n  b' AS x, -- why\n\n  1\n\n-- /// test\n-- name = \"n\"\n-- at   = 2026-01-01T00:00:00Z\n-- expect = [\n--   { a = 1 },\n-- ]\n-- ///\n\n-- /// test\n-- name = \"m\"\n-- ///\n";
        assert_eq!(formatted(text).as_deref(), Ok(wanted));
        assert_eq!(formatted(wanted).as_deref(), Ok(wanted));
    }

    #[test]
    fn what_is_no_block_is_said_and_left() {
        let problems = formatted("-- /// rule\n-- id = 1\n").expect_err("never closed");
        assert_eq!(problems[0].line, Some(1));
        // Broken TOML cannot be compared, so nothing is written.
        let problems = formatted("-- /// rule\n-- id = \n-- ///\nSELECT 1\n").expect_err("no TOML");
        assert!(
            problems[0].message.contains("without changing"),
            "{problems:?}"
        );
    }

    /// What ships is laid out as it should be.
    #[test]
    fn every_shipped_file_stays_as_it_is() {
        for (path, text) in EMBEDDED.iter().filter(|(path, _)| path.ends_with(".sql")) {
            assert_eq!(formatted(text).as_deref(), Ok(*text), "{path}");
        }
    }

    /// The same file as somebody careless would leave it: spaces at the ends of lines outside of texts, other line ends,
    /// more blank lines, keys of the header in another order.
    fn careless(text: &str, dice: &mut impl FnMut(usize) -> usize) -> String {
        let mut out = String::new();
        let mut block: Option<Vec<String>> = None;
        let mut state = Sql::Plain;
        for line in text.lines() {
            if line.starts_with("-- /// ") {
                block = Some(Vec::new());
                out.push_str(line);
                out.push('\n');
                continue;
            }
            if line == "-- ///" {
                let mut entries: Vec<Vec<String>> = Vec::new();
                let mut value = Scanner::default();
                let mut has_section = false;
                let lines = block.take().unwrap_or_default();
                for line in lines {
                    let toml = line.strip_prefix("-- ").unwrap_or("");
                    has_section |= !value.is_open() && toml.starts_with('[');
                    let goes_on = value.is_open() || (has_section && !entries.is_empty());
                    value.take(toml);
                    match entries.last_mut().filter(|_| goes_on) {
                        Some(entry) => entry.push(line),
                        None => entries.push(vec![line]),
                    }
                }
                // Only keys of the root may change places, and none behind a section.
                if !has_section {
                    let known = |entry: &Vec<String>| {
                        let key = entry[0][3..]
                            .split('=')
                            .next()
                            .unwrap_or("")
                            .trim()
                            .to_string();
                        let orders: [&[&str]; 7] =
                            [&RULE, &TIER, &VIEW, &PANEL, &BOARD, &TEST, &TIER_TEST];
                        orders.iter().any(|order| order.contains(&key.as_str()))
                    };
                    let last = entries.iter().rposition(known).map_or(0, |place| place + 1);
                    if entries[..last].iter().all(known) && last > 1 {
                        let (a, b) = (dice(last), dice(last));
                        entries.swap(a, b);
                    }
                }
                for line in entries.into_iter().flatten() {
                    out.push_str(&line);
                    out.push('\n');
                }
                out.push_str("-- ///");
                out.push_str(&" ".repeat(dice(3)));
                out.push('\n');
                continue;
            }
            if let Some(lines) = &mut block {
                lines.push(line.to_string());
                continue;
            }
            let was = state;
            state = state.after(line);
            out.push_str(line);
            if !state.is_text() && !was.is_text() {
                out.push_str(["", " ", "\t", "  \t "][dice(4)]);
                if line.is_empty() {
                    out.push_str(&"\n".repeat(dice(3)));
                }
            }
            out.push('\n');
        }
        match dice(2) {
            0 => out,
            _ => out.replace('\n', "\r\n"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn carelessness_is_undone(file in any::<prop::sample::Index>(), seed in any::<u64>()) {
            let files: Vec<&(&str, &str)> = EMBEDDED.iter().filter(|(path, _)| path.ends_with(".sql")).collect();
            let (path, text) = files[file.index(files.len())];
            let mut state = seed | 1;
            let mut dice = |sides: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % sides
            };
            let changed = careless(text, &mut dice);
            let once = formatted(&changed).expect("is laid out");
            prop_assert_eq!(&once, text, "{}", path);
            let twice = formatted(&once);
            prop_assert_eq!(twice.as_deref(), Ok(once.as_str()));
        }

        /// Whatever stands in a file: it is laid out once and for all, or not at all.
        #[test]
        fn twice_is_once(text in "(-- /// (rule|test)\n(-- [a-z]{1,3}( )?=( )?(1|\"x {0,2}\")[ \t]{0,2}\n){0,3}-- ///\n|[ \t]{0,2}(SELECT 1|'a {0,2}\n b'|-- c {0,2}|)[ \t]{0,2}\n|/\\*\n \\*/\n){0,6}") {
            if let Ok(once) = formatted(&text) {
                let twice = formatted(&once);
                prop_assert_eq!(twice.as_deref(), Ok(once.as_str()));
            }
        }
    }
}

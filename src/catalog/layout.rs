//! The layout of versioned SQL files: keys in one order, blocks one blank line apart, nothing at the ends of lines.
//!
//! Only what carries no meaning is changed. Values, comments and the author's own layout of the SQL stay; so do spaces
//! and line ends inside of texts, which a small scanner of both languages knows. What comes out is read again and
//! compared with what went in, so a file whose meaning would change is left alone and said to be.

mod block;
mod sql;

use super::block::{Block, Split, split};
use super::problem::Problem;
use block::block_text;
use sql::sql_text;

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

#[cfg(test)]
mod tests {
    use super::block::{BOARD, PANEL, RULE, Scanner, TEST, TIER, TIER_TEST, VIEW};
    use super::sql::Sql;
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
        fn twice_is_once(text in "(-- /// (rule|test)\n(-- [a-z]{1,3}( )?=( )?(1|\"x {0,2}\")[ \t]{0,2}\n){0,3}-- ///\n|[ \t]{0,2}(SELECT 1|'a {0,2}\n b'|it's|-- c {0,2}|)[ \t]{0,2}\n|/\\*\n \\*/\n){0,6}") {
            if let Ok(once) = formatted(&text) {
                let twice = formatted(&once);
                prop_assert_eq!(twice.as_deref(), Ok(once.as_str()));
            }
        }
    }
}

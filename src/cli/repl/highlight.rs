//! Colours for SQL as it is typed.

use std::fmt::Write as _;

use crate::query::lexer::{Kind, tokens};

/// Words with a meaning of their own. Types and rarely used ones are left out: a column may well be called so.
pub(super) const KEYWORDS: [&str; 97] = [
    "ALL",
    "ANALYZE",
    "AND",
    "ANTI",
    "ANY",
    "ARRAY",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COLUMNS",
    "COPY",
    "CREATE",
    "CROSS",
    "CURRENT",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXTERNAL",
    "EXTRACT",
    "FALSE",
    "FILTER",
    "FIRST",
    "FOLLOWING",
    "FROM",
    "FULL",
    "FUNCTIONS",
    "GROUP",
    "HAVING",
    "IF",
    "ILIKE",
    "IN",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "LAST",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOCATION",
    "NATURAL",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OPTIONS",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PARTITIONED",
    "PRECEDING",
    "QUALIFY",
    "RANGE",
    "RECURSIVE",
    "REPLACE",
    "RIGHT",
    "ROWS",
    "SELECT",
    "SEMI",
    "SET",
    "SHOW",
    "SIMILAR",
    "STORED",
    "TABLE",
    "TABLES",
    "THEN",
    "TO",
    "TRUE",
    "UNBOUNDED",
    "UNION",
    "UNNEST",
    "UPDATE",
    "USING",
    "VALUES",
    "VIEW",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
    "WITHIN",
];

/// Whether the word is a keyword, however it is written.
pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS
        .binary_search(&word.to_ascii_uppercase().as_str())
        .is_ok()
}

const KEYWORD: &str = "1;34";
const STRING: &str = "32";
const NUMBER: &str = "36";
const FUNCTION: &str = "35";
const PARAMETER: &str = "33";
const COMMENT: &str = "2";

/// The text with colours, of the same width.
pub(super) fn highlight(sql: &str) -> String {
    let tokens = tokens(sql);
    let mut colored = String::with_capacity(sql.len() * 2);
    for (position, token) in tokens.iter().enumerate() {
        let text = token.text(sql);
        let is_called = || {
            tokens[position + 1..]
                .iter()
                .find(|next| next.is_significant())
                .is_some_and(|next| next.text(sql) == "(")
        };
        let color = match token.kind {
            Kind::Word if is_keyword(text) => Some(KEYWORD),
            Kind::Word if is_called() => Some(FUNCTION),
            Kind::String => Some(STRING),
            Kind::Number => Some(NUMBER),
            Kind::Placeholder => Some(PARAMETER),
            Kind::Comment => Some(COMMENT),
            _ => None,
        };
        match color {
            Some(color) => {
                let _ = write!(colored, "\u{1b}[{color}m{text}\u{1b}[0m");
            }
            None => colored.push_str(text),
        }
    }
    colored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_in_order_for_the_search() {
        assert!(KEYWORDS.is_sorted());
        assert!(is_keyword("select") && !is_keyword("caller"));
    }

    #[test]
    fn each_kind_has_its_colour() {
        assert_eq!(
            highlight("select count (x) from 'f' -- c"),
            "\u{1b}[1;34mselect\u{1b}[0m \u{1b}[35mcount\u{1b}[0m (x) \u{1b}[1;34mfrom\u{1b}[0m \
             \u{1b}[32m'f'\u{1b}[0m \u{1b}[2m-- c\u{1b}[0m"
        );
        assert_eq!(
            highlight("$x 1.5"),
            "\u{1b}[33m$x\u{1b}[0m \u{1b}[36m1.5\u{1b}[0m"
        );
    }

    #[test]
    fn without_the_colours_the_text_is_the_same() {
        let sql = "SELECT \"A\", 'it''s', $$x;$$ FROM t /* open";
        let mut plain = highlight(sql);
        for color in [KEYWORD, STRING, NUMBER, FUNCTION, PARAMETER, COMMENT, "0"] {
            plain = plain.replace(&format!("\u{1b}[{color}m"), "");
        }
        assert_eq!(plain, sql);
    }
}

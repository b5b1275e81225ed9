//! Cuts SQL text into tokens with their place: enough to split statements, to know whether one is complete, to colour
//! it and to complete names in it.
//!
//! It never fails and leaves nothing out: the tokens, put together, are the text. Whether the text is valid SQL is the
//! parser's business. It agrees with the parser on what can hide a semicolon: `'strings'` (with `''` inside, and
//! backslashes when written `E'…'`), `"identifiers"`, `` `identifiers` ``, `$tag$ strings $tag$`, `-- comments` and
//! `/* nested /* comments */ */`.

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Blanks and line ends.
    Space,
    /// `-- …` or `/* … */`.
    Comment,
    /// A bare word: keyword, name or function.
    Word,
    /// `"…"` or `` `…` ``.
    QuotedName,
    /// `'…'` or `$$…$$`.
    String,
    /// A number.
    Number,
    /// `$name`, to be given a value.
    Placeholder,
    /// `;`
    Semicolon,
    /// Any other character.
    Symbol,
}

/// A token and its bytes in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub range: Range<usize>,
    /// Whether its end was seen; an open string or comment has none.
    pub closed: bool,
}

impl Token {
    /// The token's text.
    pub fn text<'a>(&self, sql: &'a str) -> &'a str {
        &sql[self.range.clone()]
    }

    /// Whether the parser sees it at all.
    pub fn is_significant(&self) -> bool {
        !matches!(self.kind, Kind::Space | Kind::Comment)
    }
}

/// The tokens of the text, in order and without gaps.
pub fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while start < sql.len() {
        let token = next(sql, start);
        start = token.range.end;
        tokens.push(token);
    }
    tokens
}

/// The statements of the text: what stands between semicolons, without blanks and comments around it, and without
/// those that are empty. The second value tells whether the last one lacks its semicolon.
pub fn statements(sql: &str) -> (Vec<Range<usize>>, bool) {
    let mut statements = Vec::new();
    let mut open: Option<Range<usize>> = None;
    for token in tokens(sql) {
        match token.kind {
            Kind::Semicolon => statements.extend(open.take()),
            _ if token.is_significant() || !token.closed => {
                let start = open.map_or(token.range.start, |open| open.start);
                open = Some(start..token.range.end);
            }
            _ => {}
        }
    }
    let is_open = open.is_some();
    statements.extend(open);
    (statements, is_open)
}

fn next(sql: &str, start: usize) -> Token {
    let rest = &sql[start..];
    let first = rest.chars().next().unwrap_or(' ');
    let token = |kind, length: Option<usize>| Token {
        kind,
        range: start..start + length.unwrap_or(rest.len()),
        closed: length.is_some(),
    };
    let run = |accepts: fn(char) -> bool| rest.find(|c| !accepts(c)).unwrap_or(rest.len());
    match first {
        ';' => token(Kind::Semicolon, Some(1)),
        '\'' => token(Kind::String, quoted(rest, '\'', false)),
        'e' | 'E' if rest[1..].starts_with('\'') => token(
            Kind::String,
            quoted(&rest[1..], '\'', true).map(|length| length + 1),
        ),
        '"' | '`' => token(Kind::QuotedName, quoted(rest, first, false)),
        '-' if rest.starts_with("--") => {
            token(Kind::Comment, Some(rest.find('\n').unwrap_or(rest.len())))
        }
        '/' if rest.starts_with("/*") => token(Kind::Comment, block_comment(rest)),
        '$' => dollar(rest).map_or_else(
            || token(Kind::Symbol, Some(1)),
            |(kind, length)| token(kind, length),
        ),
        c if c.is_whitespace() => token(Kind::Space, Some(run(char::is_whitespace))),
        c if c.is_ascii_digit() => token(Kind::Number, Some(number(rest))),
        c if c.is_alphabetic() || c == '_' => token(Kind::Word, Some(run(is_word))),
        c => token(Kind::Symbol, Some(c.len_utf8())),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Length of a quoted run that begins with its quote; a doubled quote stands for itself.
fn quoted(text: &str, quote: char, backslash: bool) -> Option<usize> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            if chars.next_if(|(_, next)| *next == quote).is_none() {
                return Some(at + c.len_utf8());
            }
        } else if backslash && c == '\\' {
            chars.next();
        }
    }
    None
}

/// Length of a comment that may hold comments.
fn block_comment(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    None
}

/// `$$…$$`, `$tag$…$tag$` or `$name`.
fn dollar(text: &str) -> Option<(Kind, Option<usize>)> {
    let name = text[1..]
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len() - 1);
    if text[1 + name..].starts_with('$') {
        let delimiter = &text[..name + 2];
        let length = text[delimiter.len()..]
            .find(delimiter)
            .map(|at| at + 2 * delimiter.len());
        return Some((Kind::String, length));
    }
    (name > 0).then_some((Kind::Placeholder, Some(1 + name)))
}

fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        from + bytes[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit() || **byte == b'_')
            .count()
    };
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1 + sign);
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(sql: &str) -> Vec<&str> {
        let (ranges, _) = statements(sql);
        ranges.into_iter().map(|range| &sql[range]).collect()
    }

    #[test]
    fn semicolons_split_only_outside_of_quotes_and_comments() {
        assert_eq!(split("SELECT 1; SELECT 2"), ["SELECT 1", "SELECT 2"]);
        assert_eq!(split("SELECT ';''; ' ; x"), ["SELECT ';''; '", "x"]);
        assert_eq!(
            split("SELECT \"a;b\", `c;d`; x"),
            ["SELECT \"a;b\", `c;d`", "x"]
        );
        assert_eq!(
            split("SELECT $$a;b$$ ; $q$ ; $$ ; $q$"),
            ["SELECT $$a;b$$", "$q$ ; $$ ; $q$"]
        );
        assert_eq!(
            split("a -- b;c\n d; /* e; /* f; */ g; */ h"),
            ["a -- b;c\n d", "h"]
        );
        assert_eq!(
            split(r"SELECT E'it\'s;', 'a\'; x"),
            [r"SELECT E'it\'s;', 'a\'", "x"]
        );
        assert_eq!(split(" ;; -- nothing\n ; "), [""; 0]);
    }

    #[test]
    fn an_unfinished_statement_is_told_apart() {
        assert!(!statements("SELECT 1;").1);
        assert!(!statements("SELECT 1; -- done").1);
        assert!(!statements("").1);
        assert!(statements("SELECT 1").1);
        assert!(statements("SELECT 'a;").1);
        assert!(statements("SELECT 1; /* and").1);
        assert!(statements("SELECT $x$ ; $y$ ;").1);
    }

    #[test]
    fn every_kind_is_told_apart() {
        let sql = "SELECT 1.5e-3, x1, $start FROM 'f' -- c";
        let kinds: Vec<(Kind, &str)> = tokens(sql)
            .iter()
            .filter(|token| token.kind != Kind::Space)
            .map(|token| (token.kind, token.text(sql)))
            .collect();
        assert_eq!(
            kinds,
            [
                (Kind::Word, "SELECT"),
                (Kind::Number, "1.5e-3"),
                (Kind::Symbol, ","),
                (Kind::Word, "x1"),
                (Kind::Symbol, ","),
                (Kind::Placeholder, "$start"),
                (Kind::Word, "FROM"),
                (Kind::String, "'f'"),
                (Kind::Comment, "-- c"),
            ]
        );
    }

    proptest! {
        #[test]
        fn tokens_put_together_are_the_text(sql in "[a-eE'\"`$;/*\\-\\\\ \n.0-9é🦀_]{0,40}") {
            let joined: String = tokens(&sql).iter().map(|token| token.text(&sql)).collect();
            prop_assert_eq!(joined, sql);
        }
    }
}

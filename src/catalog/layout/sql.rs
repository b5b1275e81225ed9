//! SQL between blocks, which keeps the layout of its author.

/// SQL without spaces at the ends of lines, tabs in front of them, or more than one blank line in a row.
pub(super) fn sql_text(sql: &str) -> String {
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
    // A text that nobody ends keeps its blank lines, but those that part it from the next block are not its own.
    while text.ends_with("\n\n") {
        text.pop();
    }
    text
}

/// What a line of SQL begins in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sql {
    Plain,
    /// A text, or a quoted name, and the character that ends it.
    Text(char),
    /// A comment of several lines, and how many are open.
    Comment(usize),
}

impl Sql {
    pub(super) fn is_text(self) -> bool {
        matches!(self, Sql::Text(_))
    }

    pub(super) fn after(self, line: &str) -> Sql {
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

//! All boards and panels: those inside the program, and those of a folder in their place.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::files_below;
use super::panel::{Board, Content, Panel, read};
use super::problem::{Level, Problem};
use super::span::Span;
use crate::error::{Error, Result};
use crate::query::lexer::{Kind, tokens};
use crate::suggest::nearest;

/// What a panel's query may ask for; that of a drill-down `$series` as well.
pub const PANEL_PARAMS: [&str; 7] = [
    "from",
    "to",
    "previous",
    "bucket",
    "bucket_seconds",
    "caller",
    "model",
];

/// Boards and panels that were read together.
#[derive(Debug, Clone, Default)]
pub struct Dashboards {
    /// By their position.
    pub boards: Vec<Board>,
    /// By board and position.
    pub panels: Vec<Panel>,
    /// What is wrong with the files.
    pub problems: Vec<Problem>,
}

impl Dashboards {
    /// Those inside the program.
    pub fn embedded() -> Dashboards {
        let files = super::EMBEDDED
            .iter()
            .filter(|(name, _)| name.starts_with("queries/dashboards/"))
            .map(|(name, text)| (PathBuf::from(name), Cow::Borrowed(*text)));
        Dashboards::from_files(files)
    }

    /// Those in files and folders, and nothing else.
    ///
    /// # Errors
    /// A path that is not there or cannot be read. What is wrong inside a file is a problem of the whole.
    pub fn read(paths: &[PathBuf]) -> Result<Dashboards> {
        let mut files = Vec::new();
        for path in files_below(paths, &["sql"])? {
            let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            files.push((path, Cow::Owned(text)));
        }
        Ok(Dashboards::from_files(files.into_iter()))
    }

    /// Those in files given as path and text.
    pub fn from_files<'a>(files: impl Iterator<Item = (PathBuf, Cow<'a, str>)>) -> Dashboards {
        let mut all = Dashboards::default();
        for (path, text) in files {
            match read(&path, &text) {
                Ok(Some(Content::Board(board))) => {
                    let known = all.boards.iter().find(|known| known.id == board.id);
                    match known.map(|known| taken(&board.id, board.line, &known.path)) {
                        Some(problem) => all.problems.push(problem.at(&path)),
                        None => all.boards.push(board),
                    }
                }
                Ok(Some(Content::Panel(panel))) => {
                    let known = all.panels.iter().find(|known| known.id == panel.id);
                    match known.map(|known| taken(&panel.id, panel.line, &known.path)) {
                        Some(problem) => all.problems.push(problem.at(&path)),
                        None => all.panels.push(*panel),
                    }
                }
                Ok(None) => {}
                Err(problems) => {
                    let problems = problems.into_iter().map(|problem| problem.at(&path));
                    all.problems.extend(problems);
                }
            }
        }
        all.sort();
        all
    }

    /// Puts others in the place of those with their names, and beside the rest.
    #[must_use]
    pub fn with(mut self, others: Dashboards) -> Dashboards {
        let has_board = |id: &str| others.boards.iter().any(|other| other.id == id);
        self.boards.retain(|board| !has_board(&board.id));
        let has_panel = |id: &str| others.panels.iter().any(|other| other.id == id);
        self.panels.retain(|panel| !has_panel(&panel.id));
        self.boards.extend(others.boards);
        self.panels.extend(others.panels);
        self.problems.extend(others.problems);
        self.sort();
        self
    }

    fn sort(&mut self) {
        self.boards
            .sort_by(|a, b| (a.position, &a.id).cmp(&(b.position, &b.id)));
        self.panels
            .sort_by(|a, b| (&a.board, a.position, &a.id).cmp(&(&b.board, b.position, &b.id)));
    }

    /// Fails on the first error, for what cannot go on with half of them.
    ///
    /// # Errors
    /// The first problem that is an error.
    pub fn into_valid(self) -> Result<Dashboards> {
        let error = |problem: &&Problem| problem.level == Level::Error;
        match self.problems.iter().find(error) {
            Some(problem) => Err(problem.clone().into()),
            None => Ok(self),
        }
    }

    /// The board of that name.
    ///
    /// # Errors
    /// When there is none; the nearest is named.
    pub fn board(&self, id: &str) -> Result<&Board> {
        let ids = || self.boards.iter().map(|board| board.id.as_str());
        self.boards
            .iter()
            .find(|board| board.id == id)
            .ok_or_else(|| Error::Usage {
                message: format!("no board `{id}`"),
                hint: Some(match nearest(id, ids()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are: {}", ids().collect::<Vec<_>>().join(", ")),
                }),
            })
    }

    /// The panels of a board, in order.
    pub fn panels_of<'d>(&'d self, board: &'d str) -> impl Iterator<Item = &'d Panel> {
        self.panels.iter().filter(move |panel| panel.board == board)
    }

    /// The panel of that name.
    pub fn panel(&self, id: &str) -> Option<&Panel> {
        self.panels.iter().find(|panel| panel.id == id)
    }
}

fn taken(id: &str, line: usize, other: &Path) -> Problem {
    let message = format!("id `{id}` is also that of {}", other.display());
    Problem::error("L-HEADER", Some(line), message)
}

/// What stands in for the parameters of a panel's query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// First instant, in microseconds.
    pub from: i64,
    /// Instant after the last.
    pub to: i64,
    /// The step in time.
    pub bucket: Span,
    /// Only this caller.
    pub caller: Option<String>,
    /// Only this model.
    pub model: Option<String>,
    /// Only this series; for drill-downs.
    pub series: Option<String>,
}

impl Values {
    /// The literal for a parameter. Texts come from outside: in them a quote is the one character that could end one.
    fn literal(&self, name: &str) -> Option<String> {
        let time = |micros: i64| {
            let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
            let text = time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
            format!("TIMESTAMP '{text}'")
        };
        let text = |text: &Option<String>| match text {
            Some(text) => format!("'{}'", text.replace('\'', "''")),
            None => "NULL".to_string(),
        };
        Some(match name {
            "from" => time(self.from),
            "to" => time(self.to),
            "previous" => time(self.from.saturating_sub(self.to.saturating_sub(self.from))),
            "bucket" => format!("INTERVAL '{} seconds'", self.bucket.0 / 1_000_000),
            // With a point, so that no division is one of whole numbers.
            "bucket_seconds" => format!("{}.0", self.bucket.0 / 1_000_000),
            "caller" => text(&self.caller),
            "model" => text(&self.model),
            "series" => text(&self.series),
            _ => return None,
        })
    }

    /// The text with literals in the place of parameters: what runs, and what a person can run again. Its lines stay.
    pub fn fill(&self, sql: &str) -> String {
        fill(sql, |name| self.literal(name))
    }
}

/// The text with something in the place of each parameter that `value` knows.
pub fn fill(sql: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(sql.len() + 64);
    for token in tokens(sql) {
        let text = token.text(sql);
        let literal = match token.kind {
            Kind::Placeholder => value(&text[1..]),
            _ => None,
        };
        filled.push_str(literal.as_deref().unwrap_or(text));
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values {
            from: 1_772_409_600_000_000,
            to: 1_772_413_200_000_000,
            bucket: Span::minutes(5),
            caller: Some("O'Brien' OR '1'='1".into()),
            model: None,
            series: None,
        }
    }

    #[test]
    fn values_stand_as_literals_and_nothing_breaks_out_of_them() {
        let filled = values().fill(
            "SELECT '$from', date_bin($bucket, t) -- $to\nFROM c WHERE t >= $from AND t < $to AND p > $previous\n\
             AND ($caller IS NULL OR caller = $caller) AND $model IS NULL AND n / $bucket_seconds > $else",
        );
        assert_eq!(
            filled,
            "SELECT '$from', date_bin(INTERVAL '300 seconds', t) -- $to\n\
             FROM c WHERE t >= TIMESTAMP '2026-03-02T00:00:00Z' AND t < TIMESTAMP '2026-03-02T01:00:00Z' \
             AND p > TIMESTAMP '2026-03-01T23:00:00Z'\n\
             AND ('O''Brien'' OR ''1''=''1' IS NULL OR caller = 'O''Brien'' OR ''1''=''1') AND NULL IS NULL \
             AND n / 300.0 > $else"
        );
    }

    #[test]
    fn a_file_of_the_user_takes_the_place_of_the_one_inside() {
        let embedded = Dashboards::embedded();
        assert_eq!(embedded.problems, []);
        let file = |title: &str, board: &str| {
            format!(
                "-- /// panel\n-- id = \"latency\"\n-- title = \"{title}\"\n-- board = \"{board}\"\n-- position = 0\n\
                 -- chart = \"stat\"\n-- description = \"d\"\n-- ///\nSELECT 1.0 AS value\n"
            )
        };
        let own = Dashboards::from_files(
            [
                ("own/latency.sql", file("Ours", "security")),
                ("own/more/latency.sql", file("Twice", "security")),
            ]
            .into_iter()
            .map(|(path, text)| (PathBuf::from(path), Cow::Owned(text))),
        );
        assert_eq!(own.problems.len(), 1);
        assert!(own.problems[0].message.contains("own/latency.sql"));
        let count = embedded.panels.len();
        let both = embedded.with(own);
        assert_eq!(both.panels.len(), count);
        let first = both
            .panels_of("security")
            .next()
            .map(|panel| panel.title.as_str());
        assert_eq!(first, Some("Ours"));
        assert!(
            both.board("securty")
                .is_err_and(|error| { error.hint() == Some("did you mean `security`?") })
        );
    }
}

//! A panel of a dashboard: a `panel` block and one `SELECT`; and a board, which has a block alone.
//!
//! What the columns of the query mean follows from the chart. Over time (`line`, `bar`, `stacked`, `heat`) the first is
//! `time`; then either `series` and `value`, a row for each series, or a column for each series, by its name. A `stat`
//! is one row with `value`, and `previous` for what it was in the range before. A `table` is whatever it is. Whether the
//! query does give that is for [`super::check`].

use std::path::{Path, PathBuf};

use super::block::{Block, split};
use super::header::{Header, Section};
use super::problem::Problem;
use super::span::Span;

/// A dashboard: a page of panels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// Its name in addresses.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// Its place among the boards.
    pub position: i64,
    /// How much time it shows at first.
    pub range: Span,
    /// What it answers.
    pub description: String,
    /// Where it was read from.
    pub path: PathBuf,
    /// Its line in that file.
    pub line: usize,
}

/// How a panel is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chart {
    /// Lines over time.
    Line,
    /// Bars over time, side by side.
    Bar,
    /// Bars over time, on top of each other.
    Stacked,
    /// One number.
    Stat,
    /// Rows.
    Table,
    /// Classes over time, the darker the more.
    Heat,
}

impl Chart {
    const CHOICES: &'static [(&'static str, Chart)] = &[
        ("line", Chart::Line),
        ("bar", Chart::Bar),
        ("stacked", Chart::Stacked),
        ("stat", Chart::Stat),
        ("table", Chart::Table),
        ("heat", Chart::Heat),
    ];

    /// The word in files.
    pub fn name(self) -> &'static str {
        Self::CHOICES[self as usize].0
    }

    /// Whether its rows are points in time.
    pub fn is_over_time(self) -> bool {
        !matches!(self, Chart::Stat | Chart::Table)
    }
}

/// What the numbers of a panel count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Things a second.
    PerSecond,
    /// Things a minute.
    PerMinute,
    /// Things an hour.
    PerHour,
    /// Tokens.
    Tokens,
    /// US dollars.
    Usd,
    /// US dollars an hour.
    UsdPerHour,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// A share, 0 to 1, shown as percent.
    Percent,
    /// Multiples of something.
    Times,
    /// Bytes.
    Bytes,
    /// Bits.
    Bits,
    /// A probability that is mostly tiny.
    PValue,
    /// A plain number.
    Number,
}

impl Unit {
    const CHOICES: &'static [(&'static str, Unit)] = &[
        ("count", Unit::Count),
        ("per_second", Unit::PerSecond),
        ("per_minute", Unit::PerMinute),
        ("per_hour", Unit::PerHour),
        ("tokens", Unit::Tokens),
        ("usd", Unit::Usd),
        ("usd_per_hour", Unit::UsdPerHour),
        ("ms", Unit::Milliseconds),
        ("seconds", Unit::Seconds),
        ("percent", Unit::Percent),
        ("times", Unit::Times),
        ("bytes", Unit::Bytes),
        ("bits", Unit::Bits),
        ("p_value", Unit::PValue),
        ("number", Unit::Number),
    ];

    /// The word in files.
    pub fn name(self) -> &'static str {
        Self::CHOICES[self as usize].0
    }
}

/// How much of the width a panel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A quarter.
    Quarter,
    /// A third.
    Third,
    /// A half.
    Half,
    /// Two thirds.
    TwoThirds,
    /// All of it.
    Full,
}

impl Size {
    const CHOICES: &'static [(&'static str, Size)] = &[
        ("quarter", Size::Quarter),
        ("third", Size::Third),
        ("half", Size::Half),
        ("two-thirds", Size::TwoThirds),
        ("full", Size::Full),
    ];

    /// The word in files.
    pub fn name(self) -> &'static str {
        Self::CHOICES[self as usize].0
    }
}

/// What a step without a row means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// Nothing happened: zero.
    Zero,
    /// Nothing is known: a gap.
    Gap,
}

impl Empty {
    /// The word in files.
    pub fn name(self) -> &'static str {
        match self {
            Empty::Zero => "zero",
            Empty::Gap => "gap",
        }
    }
}

/// A line that is drawn across a panel, and the colour of a number beyond it.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// Where.
    pub value: f64,
    /// `info`, `warning` or `critical`.
    pub level: &'static str,
    /// Whether what is below is beyond it.
    pub below: bool,
}

/// What a click on a panel leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrillDown {
    /// A page of the dashboard, as `/findings?rule=token-burn`; `$series` in it is what was clicked on.
    Link(String),
    /// A query for the SQL page. Its `$from` and `$to` are the step that was clicked on, `$series` the series.
    Sql(String),
}

/// A panel file.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Its name: that of the file.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// The board that it is on.
    pub board: String,
    /// Its place on the board.
    pub position: i64,
    /// How wide it is.
    pub size: Size,
    /// How it is drawn.
    pub chart: Chart,
    /// What its numbers count.
    pub unit: Unit,
    /// Whether the axis of its numbers is logarithmic.
    pub is_log: bool,
    /// The shortest step in time that makes sense.
    pub bucket: Option<Span>,
    /// What a step without a row means.
    pub empty: Empty,
    /// Lines across it.
    pub thresholds: Vec<Threshold>,
    /// How often it is asked for again while somebody looks.
    pub refresh: Span,
    /// What a click leads to.
    pub drill_down: Option<DrillDown>,
    /// What it shows, and how it counts.
    pub description: String,
    /// Its query, on the lines of the file.
    pub sql: String,
    /// Where it was read from.
    pub path: PathBuf,
    /// Line of its block.
    pub line: usize,
}

/// What a file of the dashboards holds.
#[derive(Debug)]
pub(super) enum Content {
    Board(Board),
    Panel(Box<Panel>),
}

/// Reads a file; `None` when there is neither a panel nor a board in it.
pub(super) fn read(path: &Path, text: &str) -> Result<Option<Content>, Vec<Problem>> {
    let file = split(text)?;
    let mut blocks = file
        .blocks
        .iter()
        .filter(|block| block.kind == "panel" || block.kind == "board");
    let Some(block) = blocks.next() else {
        return Ok(None);
    };
    if let Some(second) = blocks.next() {
        let message = "a file holds one panel, or one board";
        return Err(vec![Problem::error("L-HEADER", Some(second.line), message)]);
    }
    if block.kind == "board" {
        return board(block, path).map(|board| Some(Content::Board(board)));
    }
    panel(block, path, file.sql).map(|panel| Some(Content::Panel(Box::new(panel))))
}

fn board(block: &Block, path: &Path) -> Result<Board, Vec<Problem>> {
    Header::read(block, |section| {
        let id = section.required("id", name);
        let title = section.required("title", Section::text);
        let position = section.required("position", Section::integer);
        let range = section.span("range").unwrap_or(Span::hours(24));
        let description = section.required("description", Section::text);
        Some(Board {
            id: id?,
            title: title?,
            position: position?,
            range,
            description: description?,
            path: path.to_path_buf(),
            line: block.line,
        })
    })
}

fn panel(block: &Block, path: &Path, sql: String) -> Result<Panel, Vec<Problem>> {
    Header::read(block, |section| {
        let id = section.required("id", name);
        let title = section.required("title", Section::text);
        let board = section.required("board", Section::text);
        let position = section.required("position", Section::integer);
        let size = section.choice("size", Size::CHOICES).unwrap_or(Size::Half);
        let chart = section.required("chart", |section, key| section.choice(key, Chart::CHOICES));
        let unit = section.choice("unit", Unit::CHOICES);
        let scales = [("linear", false), ("log", true)];
        let is_log = section.choice("scale", &scales).unwrap_or(false);
        let bucket = section.span("bucket");
        let empties = [("zero", Empty::Zero), ("gap", Empty::Gap)];
        let empty = section.choice("empty", &empties);
        let thresholds = section.tables("thresholds", threshold);
        let refresh = section.span("refresh").unwrap_or(Span::minutes(1));
        let drill_down = section.text("drill_down");
        let description = section.required("description", Section::text);
        let file = path.file_stem().unwrap_or_default().to_string_lossy();
        if id.as_ref().is_some_and(|id| *id != file) {
            section.fault_at("id", format!("the file is named `{file}`"));
        }
        let chart = chart?;
        if refresh < Span(1_000_000) {
            section.fault_at("refresh", "`refresh` must be a second at least");
        }
        if bucket.is_some_and(|bucket| bucket < Span(1_000_000)) {
            section.fault_at("bucket", "`bucket` must be a second at least");
        }
        // A key that does nothing is a mistake.
        for (key, is_of_use) in [
            ("unit", chart != Chart::Table),
            ("scale", matches!(chart, Chart::Line | Chart::Bar)),
            ("bucket", chart.is_over_time()),
            ("empty", chart.is_over_time()),
            ("thresholds", !matches!(chart, Chart::Table | Chart::Heat)),
        ] {
            if !is_of_use && section.get(key).is_some() {
                section.fault_at(key, format!("a `{}` has no `{key}`", chart.name()));
            }
        }
        if is_log && thresholds.iter().any(|threshold| threshold.value <= 0.0) {
            section.fault_at("thresholds", "zero is nowhere on a logarithmic scale");
        }
        let drill_down = drill_down.map(|text| match text.starts_with('/') {
            true => DrillDown::Link(text),
            false => DrillDown::Sql(text),
        });
        Some(Panel {
            id: id?,
            title: title?,
            board: board?,
            position: position?,
            size,
            chart,
            unit: unit.unwrap_or(Unit::Number),
            is_log,
            bucket,
            empty: empty.unwrap_or(match chart {
                Chart::Line => Empty::Gap,
                _ => Empty::Zero,
            }),
            thresholds,
            refresh,
            drill_down,
            description: description?,
            sql,
            path: path.to_path_buf(),
            line: block.line,
        })
    })
}

/// A name that may stand in an address.
fn name(section: &Section<'_, '_>, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || !text.chars().all(is_plain) {
        section.fault_at(key, format!("`{key}` is made of a-z, 0-9 and `-`"));
    }
    Some(text)
}

fn threshold(section: &Section<'_, '_>) -> Option<Threshold> {
    let levels = ["info", "warning", "critical"].map(|level| (level, level));
    let value = section.required("value", Section::number);
    let level = section.required("level", |section, key| section.choice(key, &levels));
    let below = section.flag("below");
    Some(Threshold {
        value: value?,
        level: level?,
        below,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(header: &str) -> Vec<(Option<usize>, String, Option<String>)> {
        let lines: String = header.lines().map(|line| format!("-- {line}\n")).collect();
        let text = format!("-- /// panel\n{lines}-- ///\nSELECT 1 AS value\n");
        let found = read(Path::new("queries/dashboards/b/p.sql"), &text).expect_err("wrong");
        let told = |problem: Problem| (problem.line, problem.message, problem.hint);
        found.into_iter().map(told).collect()
    }

    const WHOLE: &str =
        "id = \"p\"\ntitle = \"P\"\nboard = \"b\"\nposition = 1\ndescription = \"d\"\n";

    #[test]
    fn a_header_says_what_there_is_to_know() {
        let text = "-- /// panel\n-- id = \"p\"\n-- title = \"P\"\n-- board = \"b\"\n-- position = 3\n-- size = \"third\"\n\
            -- chart = \"line\"\n-- unit = \"p_value\"\n-- scale = \"log\"\n-- bucket = \"10m\"\n\
            -- thresholds = [{ value = 0.01, level = \"critical\", below = true }]\n-- refresh = \"30s\"\n\
            -- drill_down = \"/rules/x\"\n-- description = \"d\"\n-- ///\nSELECT 1\n";
        let Ok(Some(Content::Panel(panel))) = read(Path::new("b/p.sql"), text) else {
            panic!("a panel");
        };
        assert_eq!((panel.position, panel.size), (3, Size::Third));
        assert_eq!((panel.chart, panel.unit), (Chart::Line, Unit::PValue));
        assert!(panel.is_log);
        assert_eq!(panel.empty, Empty::Gap);
        assert_eq!(panel.bucket, Some(Span::minutes(10)));
        assert_eq!(panel.refresh, Span(30_000_000));
        assert_eq!(panel.drill_down, Some(DrillDown::Link("/rules/x".into())));
        let [threshold] = &panel.thresholds[..] else {
            panic!("one threshold");
        };
        assert_eq!(
            (threshold.value, threshold.level, threshold.below),
            (0.01, "critical", true)
        );
        assert!(panel.sql.ends_with("SELECT 1\n"));
    }

    #[test]
    fn unknown_keys_and_words_name_the_nearest() {
        let found = problems(&format!(
            "{WHOLE}chart = \"lines\"\ntreshold = 1\nthresholds = [{{ value = 1, levl = \"info\" }}]"
        ));
        let hint = |message: &str| {
            let problem = found.iter().find(|(_, told, _)| told.contains(message));
            problem
                .unwrap_or_else(|| panic!("{message}: {found:?}"))
                .2
                .clone()
        };
        assert_eq!(
            hint("`chart` cannot be"),
            Some("did you mean `line`?".into())
        );
        assert_eq!(
            hint("unknown key `treshold`"),
            Some("did you mean `thresholds`?".into())
        );
        assert_eq!(
            hint("unknown key `thresholds.levl`"),
            Some("did you mean `level`?".into())
        );
        assert_eq!(hint("`thresholds.level` is missing"), None);
    }

    #[test]
    fn what_does_nothing_is_a_mistake() {
        for (keys, message) in [
            (
                "chart = \"table\"\nunit = \"ms\"",
                "a `table` has no `unit`",
            ),
            (
                "chart = \"stat\"\nbucket = \"1h\"",
                "a `stat` has no `bucket`",
            ),
            (
                "chart = \"line\"\nrefresh = \"100ms\"",
                "`refresh` must be a second at least",
            ),
            (
                "chart = \"line\"\nscale = \"log\"\nthresholds = [{ value = 0, level = \"info\" }]",
                "zero is nowhere on a logarithmic scale",
            ),
        ] {
            let found = problems(&format!("{WHOLE}{keys}"));
            assert!(
                found.iter().any(|(_, told, _)| told == message),
                "{found:?}"
            );
        }
        let found = problems(&WHOLE.replace("\"p\"", "\"other\""));
        assert!(
            found
                .iter()
                .any(|(_, told, _)| told == "the file is named `p`")
        );
    }
}

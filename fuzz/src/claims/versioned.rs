//! Versioned SQL files: whatever stands in one, it is read or its problems are told with their lines, and laid out it
//! says the same.

use std::borrow::Cow;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use inferwatch::catalog::{
    Dashboards, DrillDown, Level, Pack, Problem, Span, Tier, Values, View, check, formatted, split,
};

/// A file is named as its first block says, or reading it ends there.
fn path(text: &str) -> PathBuf {
    let toml = split(text)
        .ok()
        .and_then(|file| file.blocks.into_iter().next());
    let table = toml.and_then(|block| toml::from_str::<toml::Table>(&block.toml).ok());
    let id = table
        .as_ref()
        .and_then(|table| table.get("id").or(table.get("name")))
        .and_then(toml::Value::as_str);
    format!("{}.sql", id.unwrap_or("file")).into()
}

/// A value as text without the lines of the file, which layout moves.
fn without_lines(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    let mut parts = text.split("line: ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

/// SQL without layout: only the space between what stands there.
fn words(sql: &str) -> Vec<&str> {
    sql.split_whitespace().collect()
}

/// What is told of a file lies in it.
fn lines_are_there(text: &str, problems: &[Problem]) {
    let lines = text.lines().count().max(1);
    for problem in problems {
        assert!(
            problem.line.is_none_or(|line| (1..=lines).contains(&line)),
            "{problem:?} of {lines} lines"
        );
    }
}

/// The file laid out; laying it out again changes nothing.
fn laid_out(text: &str) -> Option<String> {
    match formatted(text) {
        Ok(once) => {
            assert_eq!(formatted(&once).as_ref(), Ok(&once), "laid out twice");
            Some(once)
        }
        Err(problems) => {
            lines_are_there(text, &problems);
            None
        }
    }
}

fn pack(path: &Path, text: &str) -> Pack {
    Pack::from_files(std::iter::once((path.to_path_buf(), Cow::Borrowed(text))))
}

/// Rules, correlations, exceptions and their tests.
pub(super) fn rule(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let path = path(text);
    let before = pack(&path, text);
    lines_are_there(text, &before.problems);
    let is_valid = |pack: &Pack| {
        pack.problems
            .iter()
            .all(|problem| problem.level != Level::Error)
    };
    for file in &before.rules {
        let _ = check::one_select(&file.sql);
    }
    let Some(laid_out) = laid_out(text) else {
        return;
    };
    let after = pack(&path, &laid_out);
    assert_eq!(
        is_valid(&before),
        is_valid(&after),
        "{:?} {:?}",
        before.problems,
        after.problems
    );
    assert_eq!(before.rules.len(), after.rules.len());
    for (before, after) in before.rules.iter().zip(&after.rules) {
        assert_eq!(without_lines(&before.rule), without_lines(&after.rule));
        assert_eq!(without_lines(&before.cases), without_lines(&after.cases));
        assert_eq!(words(&before.sql), words(&after.sql));
    }
    assert_eq!(before.exceptions.len(), after.exceptions.len());
}

/// Tiers of retention and their tests.
pub(super) fn tier(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let path = path(text);
    let read = |text: &str| Tier::read(path.clone(), text);
    let before = read(text);
    if let Err(problems) = &before {
        lines_are_there(text, problems);
    }
    let Some(laid_out) = laid_out(text) else {
        return;
    };
    match (before, read(&laid_out)) {
        (Ok(before), Ok(after)) => assert_eq!(without_lines(&before), without_lines(&after)),
        (before, after) => assert_eq!(before.is_ok(), after.is_ok(), "{before:?} {after:?}"),
    }
}

/// Panels and boards, and views. Values that come from outside stay literals in a panel's query.
pub(super) fn panel(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let path = path(text);
    let read = |text: &str| {
        Dashboards::from_files(std::iter::once((path.clone(), Cow::Owned(text.to_owned()))))
    };
    let before = read(text);
    lines_are_there(text, &before.problems);
    let view = View::read(path.clone(), text);
    if let Err(problems) = &view {
        lines_are_there(text, problems);
    }
    for panel in &before.panels {
        let values = |caller: &str| Values {
            from: 1_772_409_600_000_000,
            to: 1_772_413_200_000_000,
            bucket: Span::minutes(5),
            caller: Some(caller.to_owned()),
            model: None,
            series: Some(caller.to_owned()),
        };
        let of_drill_down = match &panel.drill_down {
            Some(DrillDown::Sql(sql)) => Some(sql),
            _ => None,
        };
        for sql in [&panel.sql].into_iter().chain(of_drill_down) {
            let harmless = values("x").fill(sql);
            let Ok(plain) = check::one_select(&harmless) else {
                continue;
            };
            let hostile = values("' OR 1 = 1 -- $to */ \\' \"").fill(sql);
            let quoted = check::one_select(&hostile).expect("a literal in the place of another");
            let plain = plain.to_string().matches("'x'").count();
            let kept = quoted
                .to_string()
                .matches("' OR 1 = 1 -- $to */ \\'")
                .count();
            assert!(plain <= kept || plain == 0, "{hostile}");
        }
    }
    let Some(laid_out) = laid_out(text) else {
        return;
    };
    let after = read(&laid_out);
    assert_eq!(
        before.problems.is_empty(),
        after.problems.is_empty(),
        "{:?} {:?}",
        before.problems,
        after.problems
    );
    assert_eq!(without_lines(&before.boards), without_lines(&after.boards));
    assert_eq!(before.panels.len(), after.panels.len());
    for (before, after) in before.panels.iter().zip(&after.panels) {
        assert_eq!(words(&before.sql), words(&after.sql));
        assert_eq!(
            (
                &before.id,
                &before.title,
                &before.board,
                &before.description
            ),
            (&after.id, &after.title, &after.board, &after.description)
        );
    }
    assert_eq!(view.is_ok(), View::read(path.clone(), &laid_out).is_ok());
}

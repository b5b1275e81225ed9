//! The line editor: when a text is complete, its colours, its completion, and the history.

use std::borrow::Cow;
use std::path::PathBuf;

use rustyline::completion::{Completer as Complete, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper, Hinter};

use super::complete::Completer;
use super::highlight::highlight;
use crate::query::lexer;

pub(super) type LineEditor = Editor<SqlHelper, FileHistory>;

/// What the editor asks about the text.
#[derive(Helper, Hinter)]
pub(super) struct SqlHelper {
    pub(super) completer: Completer,
    pub(super) colors: bool,
}

/// The editor, with the history that is on disk.
pub(super) fn editor(helper: SqlHelper) -> rustyline::Result<LineEditor> {
    let config = Config::builder()
        .history_ignore_space(true)
        .history_ignore_dups(true)?
        .max_history_size(10_000)?
        .completion_type(CompletionType::List)
        .color_mode(if helper.colors {
            ColorMode::Enabled
        } else {
            ColorMode::Disabled
        })
        .bracketed_paste(true)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(helper));
    Ok(editor)
}

/// The history's file, made readable by its owner alone. `None` where there is no place for it.
pub(super) fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(std::env::home_dir()?.join(".local").join("state")))?;
    let folder = state.join("inferwatch");
    let file = folder.join("history");
    private_file(&folder, &file).ok()?;
    Some(file)
}

/// Queries name people and quote prompts: nobody else reads them.
fn private_file(folder: &std::path::Path, file: &std::path::Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
        builder.mode(0o700).create(folder)?;
        let file = options.mode(0o600).open(file)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))
    }
    #[cfg(not(unix))]
    {
        builder.create(folder)?;
        options.open(file).map(drop)
    }
}

/// Whether the text can be run as it is: a command, nothing at all, or statements that all have their semicolon.
pub(super) fn is_complete(text: &str) -> bool {
    text.trim_start().starts_with('\\') || !lexer::statements(text).1
}

impl Validator for SqlHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Highlighter for SqlHelper {
    fn highlight<'l>(&self, line: &'l str, _position: usize) -> Cow<'l, str> {
        if self.colors && !line.trim_start().starts_with('\\') {
            Cow::Owned(highlight(line))
        } else {
            Cow::Borrowed(line)
        }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        _default: bool,
    ) -> Cow<'b, str> {
        if self.colors {
            Cow::Owned(format!("\u{1b}[1m{prompt}\u{1b}[0m"))
        } else {
            Cow::Borrowed(prompt)
        }
    }

    fn highlight_char(&self, _line: &str, _position: usize, kind: CmdKind) -> bool {
        self.colors && kind != CmdKind::MoveCursor
    }
}

impl Complete for SqlHelper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        Ok(self.completer.complete(line, position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_goes_on_until_its_semicolon() {
        for text in [
            "",
            "  ",
            "SELECT 1;",
            "\\d calls",
            "SELECT 1; -- done",
            "-- only a comment",
            "SELECT ';';",
        ] {
            assert!(is_complete(text), "{text}");
        }
        for text in [
            "SELECT 1",
            "SELECT ';",
            "SELECT 1; SELECT",
            "/* ;",
            "SELECT $$ ;",
            "SELECT 1 -- ;",
        ] {
            assert!(!is_complete(text), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_history_is_private_even_if_it_was_not() {
        use std::os::unix::fs::PermissionsExt;

        let root = tempfile::TempDir::new().unwrap();
        let folder = root.path().join("inferwatch");
        let file = folder.join("history");
        private_file(&folder, &file).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        private_file(&folder, &file).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            folder.metadata().unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
}

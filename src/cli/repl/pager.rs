//! Text that does not fit the screen goes through the person's pager.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use unicode_width::UnicodeWidthStr;

use crate::output::Stdout;

/// Prints the text, through the pager if it is taller or wider than the screen.
pub(super) fn show(text: &[u8]) -> std::io::Result<()> {
    let shown = String::from_utf8_lossy(text);
    if let Some((terminal_size::Width(width), terminal_size::Height(height))) =
        terminal_size::terminal_size()
        && !fits(&shown, usize::from(width), usize::from(height))
        && let Some(pager) = command()
        && page(&pager, text).is_ok()
    {
        return Ok(());
    }
    Stdout.write_all(text)?;
    Stdout.flush()
}

/// Whether the text leaves room for the prompt below it and no line wraps.
fn fits(text: &str, width: usize, height: usize) -> bool {
    text.lines().count() + 2 < height
        && text
            .lines()
            .all(|line| line.len() <= width || line.width() <= width)
}

/// `$PAGER`, else `less` where there is one. An empty `$PAGER` asks for none.
fn command() -> Option<String> {
    match std::env::var("PAGER") {
        Ok(pager) => Some(pager).filter(|pager| !pager.trim().is_empty()),
        Err(_) => {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path)
                .any(|folder| Path::new(&folder).join("less").is_file())
                .then(|| "less".to_string())
        }
    }
}

fn page(pager: &str, text: &[u8]) -> std::io::Result<()> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(pager).stdin(Stdio::piped());
    // Long lines are cut rather than wrapped, a short text stays on the screen, and colours are colours.
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", "SRFX");
    }
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A reader who leaves early has seen enough.
        let _ = stdin.write_all(text);
    }
    child.wait().map(drop)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_text_fits_when_no_line_wraps_and_the_prompt_has_room() {
        assert!(fits("ab\ncd\n", 2, 5));
        assert!(!fits("ab\ncd\nef\n", 2, 5));
        assert!(!fits("abc\n", 2, 5));
        // Three bytes each, two columns each.
        assert!(fits("火火\n", 4, 5));
        assert!(!fits("火火火\n", 5, 5));
    }
}

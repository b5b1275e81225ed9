//! Makes hidden and commanding characters visible.
//!
//! Prompts and log lines are written by strangers. Printed raw, an escape sequence in them can recolour, overwrite or
//! retitle the terminal of the person who investigates; bidirectional controls and tag characters can make text look
//! like something else. What a person reads therefore never holds such a character: it shows as `\u{1b}`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether the character steers a terminal, reorders text or cannot be seen at all.
///
/// Zero-width joiners and the first sixteen variation selectors are left alone: scripts and emoji are written with
/// them.
pub fn is_hidden(c: char) -> bool {
    match c {
        ' '..='~' => false,
        // C0, delete and C1 controls.
        c if c.is_control() => true,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' => true,
        // Line and paragraph separators, bidirectional embeddings and overrides.
        '\u{2028}'..='\u{202e}' => true,
        // Invisible operators, bidirectional isolates, deprecated format characters.
        '\u{2060}'..='\u{206f}' => true,
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' => true,
        // Tag characters and the variation selectors that can carry bytes.
        '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

/// The text with every hidden character written out; line ends and tabs as `\n`, `\r`, `\t`.
///
/// ```
/// use inferwatch::output::escape::visible;
///
/// assert_eq!(visible("\u{1b}[31mred\u{7}"), r"\u{1b}[31mred\u{7}");
/// assert_eq!(visible("naïve 火"), "naïve 火");
/// ```
pub fn visible(text: &str) -> Cow<'_, str> {
    escape(text, |_| false)
}

/// As [`visible`], but line ends stay: for text of several lines that is our own in its shape, such as a plan.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c == '\n')
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_escaped = |c: char| is_hidden(c) && !keep(c);
    let Some(first) = text.find(is_escaped) else {
        return Cow::Borrowed(text);
    };
    let mut escaped = String::with_capacity(text.len() + 16);
    escaped.push_str(&text[..first]);
    for c in text[first..].chars() {
        match c {
            c if !is_escaped(c) => escaped.push(c),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_become_visible() {
        assert_eq!(visible("\u{1b}]0;title\u{7}"), r"\u{1b}]0;title\u{7}");
        assert_eq!(visible("a\u{9b}31mb\u{7f}"), r"a\u{9b}31mb\u{7f}");
        assert_eq!(visible("one\ntwo\r\n\tthree"), r"one\ntwo\r\n\tthree");
        assert_eq!(visible_lines("one\ntwo\u{1b}"), "one\ntwo\\u{1b}");
    }

    #[test]
    fn text_that_reorders_or_hides_becomes_visible() {
        assert_eq!(visible("a\u{202e}b\u{2066}c"), r"a\u{202e}b\u{2066}c");
        assert_eq!(visible("x\u{200b}y\u{feff}z"), r"x\u{200b}y\u{feff}z");
        assert_eq!(visible("\u{e0041}\u{e0100}"), r"\u{e0041}\u{e0100}");
    }

    #[test]
    fn ordinary_text_is_borrowed() {
        for text in ["", "SELECT 'x\\n'", "naïve 火 👩‍💻 می‌خواهم ❤️"] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
    }
}

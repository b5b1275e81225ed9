//! Characters that a reader does not see but a model reads: the carriers of smuggled instructions.
//!
//! Counted are Unicode tags, zero-width and other invisible characters, runs of variation selectors, and the controls
//! that reverse or override the direction of text (Unicode Technical Report 36; CVE-2021-42574). Lawful uses are not:
//! a joiner inside an emoji, a joiner or non-joiner in scripts that need it, the tags of a flag emoji, one variation
//! selector after a character, direction marks, a byte order mark at the start.

/// How many hidden characters `text` has; 0 for nearly every text.
///
/// ```
/// use inferwatch_udfs::text::hidden::hidden_characters;
///
/// assert_eq!(hidden_characters("pass\u{200b}word"), 1);
/// assert_eq!(hidden_characters("\u{e0068}\u{e0069}"), 2);
/// assert_eq!(hidden_characters("family 👨\u{200d}👩\u{200d}👧, flag 🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}"), 0);
/// ```
pub fn hidden_characters(text: &str) -> usize {
    if text.is_ascii() || !may_hide(text.as_bytes()) {
        return 0;
    }
    let mut count = 0;
    let mut chars = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .chars()
        .peekable();
    // What stands before the current character.
    let mut last = ' ';
    // Tags since a black flag, which become hidden characters when no cancel tag ends them.
    let mut flag_tags = None;
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        match c {
            '\u{1f3f4}' => {
                count += flag_tags.unwrap_or(0);
                flag_tags = Some(0);
                last = c;
                continue;
            }
            '\u{e007f}' if flag_tags.is_some_and(|tags| (1..=6).contains(&tags)) => {
                flag_tags = None;
                last = c;
                continue;
            }
            '\u{e0020}'..='\u{e007e}' if flag_tags.is_some() => {
                flag_tags = flag_tags.map(|tags| tags + 1);
                last = c;
                continue;
            }
            '\u{e0000}'..='\u{e007f}' => count += 1,
            '\u{200b}'
            | '\u{2060}'..='\u{2064}'
            | '\u{feff}'
            | '\u{180e}'
            | '\u{3164}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{206f}' => count += 1,
            '\u{200c}' | '\u{200d}' if !joins(last) || !joins(next) => count += 1,
            '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'
                if is_selector(last) || last.is_whitespace() =>
            {
                count += 1;
            }
            _ => {}
        }
        count += flag_tags.take().unwrap_or(0);
        last = c;
    }
    count + flag_tags.unwrap_or(0)
}

/// Every character above starts with one of these bytes in UTF-8; Latin, Greek, Cyrillic, Arabic, Indic and nearly all
/// East Asian text has none of them, save U+20xx punctuation.
fn may_hide(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| {
        matches!(
            pair,
            [0xe2, 0x80 | 0x81] | [0xef, 0xb8 | 0xbb] | [0xf3, 0xa0] | [0xe1, 0xa0] | [0xe3, 0x85]
        )
    })
}

/// True for characters that a joiner may stand beside: letters beyond Latin, symbols, selectors, other scripts' marks.
fn joins(c: char) -> bool {
    u32::from(c) >= 0x590
        && !c.is_whitespace()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

fn is_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn smuggled_text_is_counted() {
        let tags: String = "ignore"
            .chars()
            .map(|c| char::from_u32(0xe0000 + u32::from(c)).expect("a tag"))
            .collect();
        for (text, expected) in [
            (format!("hello{tags}"), 6),
            (format!("🏴{tags}{tags}"), 12),
            (format!("🏴{tags}"), 6),
            ("a\u{200b}b\u{200b}c".to_owned(), 2),
            ("a\u{200d}b".to_owned(), 1),
            ("a\u{200c}\u{200c}\u{200d}b".to_owned(), 3),
            ("\u{202e}desrever\u{202c}".to_owned(), 2),
            ("x\u{2066}y\u{2069}".to_owned(), 2),
            ("☺\u{fe0f}\u{e0101}\u{e0102}".to_owned(), 2),
            ("in\u{feff}side".to_owned(), 1),
        ] {
            assert_eq!(
                hidden_characters(&text),
                expected,
                "{}",
                text.escape_unicode()
            );
        }
    }

    #[test]
    fn lawful_uses_are_not_counted() {
        for text in [
            "",
            "plain",
            "naïve — “quoted” … text",
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
            "👩\u{200d}💻 ❤\u{fe0f} 1\u{fe0f}\u{20e3}",
            "👩🏽\u{200d}🚒",
            "🏳\u{fe0f}\u{200d}🌈",
            "\u{feff}with a byte order mark",
            "שלום\u{200f} (x)",
            "東京、日本",
            "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f} Scotland",
            "🏴 flag",
        ] {
            assert_eq!(hidden_characters(text), 0, "{}", text.escape_unicode());
        }
    }

    proptest! {
        #[test]
        fn never_more_than_the_characters(text in "[a\\u{200b}-\\u{200f}\\u{e0020}-\\u{e007f}\\u{fe0f}\\u{1f3f4} é]{0,40}") {
            prop_assert!(hidden_characters(&text) <= text.chars().count());
        }
    }
}

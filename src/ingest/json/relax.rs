//! What is no JSON and is written all the same: halves of characters, `NaN`, endless integers.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Writes the replacement character over every escape of half a surrogate pair, which Python's `json.dumps` writes for a
/// text that was cut in the middle of a character, and which stands for no character.
pub(super) fn replace_lone_surrogates(text: &mut [u8]) {
    static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br"\u"));
    const LENGTH: usize = r"\u0000".len();
    let unit = |text: &[u8], at: usize| {
        let escape = text.get(at..at + LENGTH)?.strip_prefix(br"\u")?;
        let digits = std::str::from_utf8(escape).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut at = 0;
    while let Some(ahead) = ESCAPE.find(&text[at..]) {
        let start = at + ahead;
        let before = text[..start].iter().rev();
        let is_escaped = before.take_while(|byte| **byte == b'\\').count() % 2 == 1;
        let behind = start + LENGTH;
        at = start + 2;
        match unit(text, start).filter(|_| !is_escaped) {
            Some(0xd800..=0xdbff) if matches!(unit(text, behind), Some(0xdc00..=0xdfff)) => {
                at = behind + LENGTH;
            }
            Some(0xd800..=0xdfff) => text[start..behind].copy_from_slice(br"\ufffd"),
            _ => {}
        }
    }
}

/// Rewrites what is no JSON but is written all the same: `NaN`, `Infinity` and endless integers become strings.
/// `None` when there is nothing to rewrite.
pub(super) fn relax(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut changed = false;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => {
                let end = string_end(text, at)?;
                out.extend_from_slice(&text[at..end]);
                at = end;
            }
            b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                let end = text[at..]
                    .iter()
                    .position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z'))
                    .map_or(text.len(), |length| at + length);
                let word = &text[at..end];
                let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
                let odd = matches!(
                    word,
                    b"NaN" | b"nan" | b"Infinity" | b"-Infinity" | b"inf" | b"-inf"
                ) || (digits > 19
                    && word
                        .iter()
                        .all(|byte| byte.is_ascii_digit() || *byte == b'-'));
                if odd {
                    changed = true;
                    out.push(b'"');
                    out.extend_from_slice(word);
                    out.push(b'"');
                } else {
                    out.extend_from_slice(word);
                }
                at = end;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    changed.then_some(out)
}

/// The byte after the string that opens at `start`.
pub(in crate::ingest) fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use crate::ingest::json::Arena;

    #[test]
    fn half_a_surrogate_pair_is_the_replacement_character() {
        let arena = Arena::new();
        for (text, expected) in [
            (r#"["\ud83d\ude00"]"#, "\u{1f600}"),
            (r#"["a\ud800"]"#, "a\u{fffd}"),
            (r#"["\uDFFFb"]"#, "\u{fffd}b"),
            (r#"["\ud800 \udfff"]"#, "\u{fffd} \u{fffd}"),
            (r#"["\udfff\ud800"]"#, "\u{fffd}\u{fffd}"),
            (r#"["\ud800\ud83d\ude00"]"#, "\u{fffd}\u{1f600}"),
            (r#"["\ud800\u0041"]"#, "\u{fffd}A"),
            (r#"["\ud800\n"]"#, "\u{fffd}\n"),
            // A backslash that is escaped begins no escape.
            (r#"["\\ud800"]"#, r"\ud800"),
            (r#"["\\\ud800"]"#, "\\\u{fffd}"),
            (r#"["\u0000\ud7ff\ue000"]"#, "\0\u{d7ff}\u{e000}"),
        ] {
            let value = arena.parse(text.as_bytes()).unwrap();
            assert_eq!(value.as_text(), Some(expected), "{text}");
        }
        let embedded = arena.parse(br#"{"p":"{\"q\":\"\\ud800\"}"}"#).unwrap();
        assert_eq!(embedded.text("p/q", "c"), Some("\u{fffd}"));
        for text in [r#"["\ud8"]"#, r#"["\ud80g"]"#, r#"["\u+800"]"#] {
            assert!(arena.parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}

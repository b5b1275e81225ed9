//! From a logged body to JSON values: an object, a list of streamed chunks, JSON in a string, server-sent events, or
//! any of these cut off at some byte.

use crate::ingest::json::Value;

/// A body, opened.
#[derive(Debug, Default)]
pub(crate) struct Opened<'a> {
    /// The body's one value, or the chunks of a stream. Empty when there is no JSON in it.
    pub(crate) values: Vec<Value<'a>>,
    /// What stands among the chunks and is none.
    pub(crate) loose: Vec<Value<'a>>,
    /// Whether the text ended in the middle.
    pub(crate) truncated: bool,
}

/// Opens a body. What is read from a string that is not JSON as a whole is no part of `attributes`: that string is
/// marked as content here, and so is whatever stands among chunks and is none.
pub(crate) fn open(body: Value<'_>) -> Opened<'_> {
    let mut opened = Opened::default();
    collect(body, false, &mut opened);
    opened
}

/// `inside` a list, a text of any kind may stand between the chunks.
fn collect<'a>(holder: Value<'a>, inside: bool, opened: &mut Opened<'a>) {
    let value = holder.structure();
    if value.is_object() {
        return opened.values.push(value);
    }
    if value.is_array() {
        return value.items().for_each(|item| collect(item, true, opened));
    }
    let before = opened.values.len();
    if let Some(text) = holder.as_str().map(str::trim) {
        if text.starts_with(['{', '[']) && text != "[DONE]" {
            // Else `structure` would have read it.
            opened.truncated = true;
            if let Some(value) = repair(text).and_then(|whole| holder.parse_within(&whole)) {
                collect(value, true, opened);
            }
        } else {
            events(holder, text, opened);
        }
    }
    if inside || opened.values.len() > before {
        holder.mark("content");
        let is_end = holder.as_str().is_some_and(|text| text.trim() == "[DONE]");
        if opened.values.len() == before && !is_end {
            opened.loose.push(holder);
        }
    }
}

/// The `data:` lines of server-sent events.
fn events<'a>(holder: Value<'a>, text: &str, opened: &mut Opened<'a>) {
    for line in text.lines() {
        let Some(data) = line.trim_start().strip_prefix("data:") else {
            continue;
        };
        let data = data.trim();
        if data.is_empty() || data == "[DONE]" {
            continue;
        }
        let value = match holder.parse_within(data) {
            Some(value) => Some(value),
            None => {
                opened.truncated = true;
                repair(data).and_then(|whole| holder.parse_within(&whole))
            }
        };
        opened
            .values
            .extend(value.filter(|value| value.is_object()));
    }
}

/// Completes a JSON text that was cut: keeps every whole value and the beginning of a cut string, and closes what is
/// open. A cut number is left out, since its end may be missing.
pub(crate) fn repair(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut open: Vec<u8> = Vec::new();
    // Up to here the text is whole once everything open is closed.
    let mut whole = 0;
    // After `{` or `,` in an object a string is a key.
    let mut key_next = false;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => {
                key_next = bytes[at] == b'{';
                open.push(if key_next { b'}' } else { b']' });
                whole = at + 1;
            }
            b'}' | b']' => {
                if open.pop() != Some(bytes[at]) {
                    return None;
                }
                key_next = false;
                whole = at + 1;
                if open.is_empty() {
                    break;
                }
            }
            b',' => {
                whole = at;
                key_next = open.last() == Some(&b'}');
            }
            b':' => key_next = false,
            b'"' => match crate::ingest::json::string_end(bytes, at) {
                Some(end) if end <= bytes.len() => {
                    if !key_next {
                        whole = end;
                    }
                    at = end;
                    continue;
                }
                _ => {
                    let mut out = text[..if key_next { whole } else { at }].to_owned();
                    if !key_next {
                        out.push_str(&text[at..at + whole_characters(&text[at..])]);
                        out.push('"');
                    }
                    close(&mut out, &open);
                    return Some(out);
                }
            },
            _ => {}
        }
        at += 1;
    }
    let mut out = text[..whole].to_owned();
    close(&mut out, &open);
    (!out.is_empty()).then_some(out)
}

fn close(out: &mut String, open: &[u8]) {
    out.extend(open.iter().rev().map(|byte| char::from(*byte)));
}

/// How much of a cut string literal, its opening quote included, can be kept: all but a cut escape sequence or the
/// first half of a surrogate pair.
fn whole_characters(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        let length = match (byte, bytes.get(at + 1)) {
            (b'\\', Some(b'u')) => {
                let high = bytes.get(at + 2..at + 4).is_some_and(|digits| {
                    matches!(
                        digits,
                        [b'd' | b'D', b'8' | b'9' | b'a'..=b'b' | b'A'..=b'B']
                    )
                });
                if high { 12 } else { 6 }
            }
            (b'\\', _) => 2,
            _ => 1,
        };
        if at + length > bytes.len() {
            return at;
        }
        at += length;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::json::Arena;

    #[test]
    fn a_cut_body_keeps_every_whole_value_and_the_start_of_a_cut_text() {
        for (cut, whole) in [
            (r#"{"a":[{"b":"hel"#, r#"{"a":[{"b":"hel"}]}"#),
            (r#"{"a":1,"b":12"#, r#"{"a":1}"#),
            (r#"{"a":"x","b"#, r#"{"a":"x"}"#),
            (r#"{"a":"x","b":"#, r#"{"a":"x"}"#),
            (r#"{"a":"x\"#, r#"{"a":"x"}"#),
            (r#"{"a":"x\u00e"#, r#"{"a":"x"}"#),
            (r#"{"a":"x\ud83d\ude0"#, r#"{"a":"x"}"#),
            (r#"{"a":"x\"y"#, r#"{"a":"x\"y"}"#),
            (r#"["a","b"#, r#"["a","b"]"#),
            (r#"{"a":{"b":"x"},"#, r#"{"a":{"b":"x"}}"#),
            (r#"{"a":[1,2"#, r#"{"a":[1]}"#),
            ("{", "{}"),
            (r#"{"a":"é"#, r#"{"a":"é"}"#),
        ] {
            assert_eq!(repair(cut).as_deref(), Some(whole), "{cut}");
        }
    }

    #[test]
    fn every_cut_of_a_body_is_read_again() {
        let body = r#"{"messages":[{"role":"user","content":"caf\u00e9 \ud83d\ude00 \"q\" é, {x}: [y]"}],"n":12.5,"o":{"p":[true,null]}}"#;
        let arena = Arena::new();
        for end in (1..body.len()).filter(|end| body.is_char_boundary(*end)) {
            let whole = repair(&body[..end]).expect("starts as an object");
            assert!(arena.parse(whole.as_bytes()).is_ok(), "{whole}");
        }
    }

    #[test]
    fn streams_are_opened_from_text_and_from_lists() {
        let arena = Arena::new();
        for (body, values, truncated) in [
            (r#"{"a":1}"#, 1, false),
            (r#""{\"a\":1}""#, 1, false),
            (r#"[{"a":1},"{\"a\":2}","[DONE]"]"#, 2, false),
            (
                r#""event: x\ndata: {\"a\":1}\n\ndata:{\"a\":2}\r\n\r\ndata: [DONE]\n""#,
                2,
                false,
            ),
            (r#""data: {\"a\":1}\n\ndata: {\"a\":\"cu""#, 2, true),
            (r#""{\"a\":\"cu""#, 1, true),
            (r#""plain words""#, 0, false),
            ("7", 0, false),
        ] {
            let opened = open(arena.parse(body.as_bytes()).unwrap());
            assert_eq!(
                (opened.values.len(), opened.truncated),
                (values, truncated),
                "{body}"
            );
        }
    }
}

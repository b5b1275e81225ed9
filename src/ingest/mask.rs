//! Shows the shape of a line that could not be read without showing what it says.
//!
//! The line may hold a prompt, and where it is damaged nothing tells where the prompt begins. So every letter becomes
//! `x`, every digit `0`, and only the names of keys that log formats use stay legible.

/// Longer lines are cut.
const MAX_SHOWN: usize = 512;

const KEYS: [&str; 34] = [
    "Records",
    "accountId",
    "attributes",
    "call_type",
    "category",
    "correlationId",
    "endTime",
    "errorCode",
    "eventName",
    "eventSource",
    "eventTime",
    "id",
    "input",
    "inputBodyJson",
    "inputTokenCount",
    "insertId",
    "logName",
    "logging_time",
    "messages",
    "model",
    "modelId",
    "operation",
    "operationName",
    "output",
    "properties",
    "protoPayload",
    "records",
    "requestId",
    "request_id",
    "resourceId",
    "resourceSpans",
    "schemaType",
    "time",
    "timestamp",
];

/// The masked beginning of a line.
pub(super) fn mask(line: &[u8]) -> String {
    let shown = &line[..line.len().min(MAX_SHOWN)];
    let mut out = String::with_capacity(shown.len() + 4);
    let mut at = 0;
    while at < shown.len() {
        if shown[at] == b'"'
            && let Some(key) = KEYS.iter().find(|key| is_key(&shown[at + 1..], key))
        {
            out.push('"');
            out.push_str(key);
            out.push('"');
            at += key.len() + 2;
            continue;
        }
        out.push(match shown[at] {
            b'0'..=b'9' => '0',
            byte
            @ (b'{' | b'}' | b'[' | b']' | b'"' | b':' | b',' | b'\\' | b' ' | b'.' | b'-') => {
                char::from(byte)
            }
            byte if byte.is_ascii_control() => '.',
            _ => 'x',
        });
        at += 1;
    }
    if shown.len() < line.len() {
        out.push('…');
    }
    out
}

/// Whether `text` goes on with `key`, its closing quote and a colon.
fn is_key(text: &[u8], key: &str) -> bool {
    text.strip_prefix(key.as_bytes())
        .is_some_and(|rest| rest.starts_with(b"\":") || rest.starts_with(b"\" :"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_keys_stay_legible() {
        assert_eq!(
            mask(br#"{"timestamp":"2026-03-02","secret":"Kr0kodil","messages":[{"x": nope"#),
            r#"{"timestamp":"0000-00-00","xxxxxx":"xx0xxxxx","messages":[{"x": xxxx"#
        );
        assert_eq!(mask("\u{1b}[31mé\n".as_bytes()), ".[00xxx.");
        let long = mask(&[b'a'; 4000]);
        assert_eq!(long.chars().count(), MAX_SHOWN + 1);
    }
}

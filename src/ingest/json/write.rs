//! Values written back: as they were, or what no column took.

use std::fmt;

use simd_json::{Node, StaticNode};

use super::Value;

/// Writing back.
impl<'a> Value<'a> {
    /// This value as compact JSON.
    pub fn to_json(self) -> &'a str {
        let mut text = String::new();
        self.write(&mut text, false);
        self.doc.bump.alloc_str(&text)
    }

    /// Everything in this value that has no column of its own, as compact JSON; `None` when nothing is left.
    pub fn leftover(self) -> Option<&'a str> {
        let mut text = String::new();
        self.write(&mut text, true)
            .then(|| &*self.doc.bump.alloc_str(&text))
    }

    /// Keys that stand more than once on the top level of this object.
    pub fn has_duplicate_keys(self) -> bool {
        let mut keys: Vec<&str> = self.entries().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Appends this value; with `untaken` only what no column took, `null` and empty containers left out too. Returns
    /// whether anything was written.
    pub(super) fn write(self, out: &mut String, untaken: bool) -> bool {
        use fmt::Write as _;
        if untaken && (self.doc.taken[self.at as usize].get() || self.is_null()) {
            return false;
        }
        if untaken && let Some(Some(inner)) = self.doc.embedded_at(self.at) {
            return inner.write(out, true);
        }
        match self.node() {
            Node::String(text) => write_string(out, text),
            Node::Static(StaticNode::F64(number)) => {
                // The shortest decimal that reads back as the same double.
                match serde_json::Number::from_f64(number) {
                    Some(number) => drop(write!(out, "{number}")),
                    None => out.push_str("null"),
                }
            }
            Node::Static(number) => {
                let _ = write!(out, "{number}");
            }
            Node::Array { .. } => {
                let parts = self.items().map(|item| (None, item));
                return write_parts(out, untaken, ['[', ']'], parts);
            }
            Node::Object { .. } => {
                let parts = self.entries().map(|(key, value)| (Some(key), value));
                return write_parts(out, untaken, ['{', '}'], parts);
            }
        }
        true
    }
}

/// Appends the items or entries of a value; with `untaken` nothing at all when none of them is left.
fn write_parts<'a>(
    out: &mut String,
    untaken: bool,
    [open, close]: [char; 2],
    parts: impl Iterator<Item = (Option<&'a str>, Value<'a>)>,
) -> bool {
    let start = out.len();
    out.push(open);
    let mut any = false;
    for (key, value) in parts {
        let before = out.len();
        if any {
            out.push(',');
        }
        if let Some(key) = key {
            write_string(out, key);
            out.push(':');
        }
        if value.write(out, untaken) {
            any = true;
        } else {
            out.truncate(before);
        }
    }
    if untaken && !any {
        out.truncate(start);
        return false;
    }
    out.push(close);
    true
}

/// Appends a JSON string literal.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest
        .bytes()
        .position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte => {
                use fmt::Write as _;
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use crate::ingest::json::Arena;

    #[test]
    fn what_no_column_took_is_left_over() {
        let arena = Arena::explaining();
        let value = arena
            .parse(br#"{"a":1,"b":{"c":"x","d":null,"e":[]},"p":"{\"q\":\"\\\"r\\\"\",\"s\":2}","F":true}"#)
            .unwrap();
        assert_eq!(value.int("a", "first"), Some(1));
        assert_eq!(value.text("p/q", "second"), Some("\"r\""));
        assert_eq!(value.flag("f", "third"), Some(true));
        assert_eq!(value.leftover(), Some(r#"{"b":{"c":"x"},"p":{"s":2}}"#));
        let trail: Vec<_> = arena
            .take_trail()
            .into_iter()
            .map(|m| (m.path, m.column))
            .collect();
        assert_eq!(
            trail,
            [
                ("a".into(), "first"),
                ("p/q".into(), "second"),
                ("F".into(), "third")
            ]
        );
    }
}

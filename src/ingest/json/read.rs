//! What a value is, leniently.

use simd_json::{Node, StaticNode};

use super::Value;
use super::parse::parse_in;
use crate::ingest::time;

/// Reading. Nothing here marks a value as taken.
impl<'a> Value<'a> {
    pub(super) fn node(self) -> Node<'a> {
        self.doc.nodes[self.at as usize]
    }

    pub(super) fn place(self, at: u32) -> Value<'a> {
        Value { doc: self.doc, at }
    }

    /// The node after this value.
    pub(super) fn end(self) -> u32 {
        match self.node() {
            Node::Object { count, .. } | Node::Array { count, .. } => self.at + 1 + count as u32,
            _ => self.at + 1,
        }
    }

    /// Whether this is an object.
    pub fn is_object(self) -> bool {
        matches!(self.node(), Node::Object { .. })
    }

    /// Whether this is an array.
    pub fn is_array(self) -> bool {
        matches!(self.node(), Node::Array { .. })
    }

    /// Whether this is `null`.
    pub fn is_null(self) -> bool {
        matches!(self.node(), Node::Static(StaticNode::Null))
    }

    /// The string, if this is one, as it stands.
    pub fn as_str(self) -> Option<&'a str> {
        match self.node() {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a non-empty string, a number or a boolean; of an array of one, its element's.
    pub fn as_text(self) -> Option<&'a str> {
        match self.node() {
            Node::String("") => None,
            Node::String(text) => Some(text),
            Node::Static(StaticNode::Null) | Node::Object { .. } => None,
            Node::Static(StaticNode::Bool(flag)) => Some(if flag { "true" } else { "false" }),
            Node::Static(_) => {
                let mut text = String::new();
                self.write(&mut text, false);
                Some(self.doc.bump.alloc_str(&text))
            }
            Node::Array { .. } => self.only_item()?.as_text(),
        }
    }

    /// A whole number, also from a decimal string, a double without a fraction, or an array of one.
    pub fn as_int(self) -> Option<i64> {
        match self.node() {
            Node::Static(StaticNode::I64(number)) => Some(number),
            Node::Static(StaticNode::U64(number)) => i64::try_from(number).ok(),
            Node::Static(StaticNode::F64(number)) => {
                // Beyond 2^53 a double no longer names one integer.
                (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0)
                    .then_some(number as i64)
            }
            Node::String(text) => {
                let text = text.trim();
                text.parse().ok().or_else(|| {
                    let (whole, fraction) = text.split_once('.')?;
                    if fraction.bytes().all(|digit| digit == b'0') {
                        whole.parse().ok()
                    } else {
                        None
                    }
                })
            }
            Node::Array { .. } => self.only_item()?.as_int(),
            _ => None,
        }
    }

    /// A finite number, also from a decimal string or an array of one.
    pub fn as_float(self) -> Option<f64> {
        let number = match self.node() {
            Node::Static(StaticNode::F64(number)) => number,
            Node::Static(StaticNode::I64(number)) => number as f64,
            Node::Static(StaticNode::U64(number)) => number as f64,
            Node::Static(StaticNode::I128(number)) => number as f64,
            Node::Static(StaticNode::U128(number)) => number as f64,
            Node::String(text) => text.trim().parse().ok()?,
            Node::Array { .. } => self.only_item()?.as_float()?,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }

    /// A boolean, also from `"true"`, `"False"`, `0`, `1`.
    pub fn as_bool(self) -> Option<bool> {
        match self.node() {
            Node::Static(StaticNode::Bool(flag)) => Some(flag),
            Node::Static(StaticNode::I64(0) | StaticNode::U64(0)) => Some(false),
            Node::Static(StaticNode::I64(1) | StaticNode::U64(1)) => Some(true),
            Node::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Node::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A point in time in any of the spellings that logs use.
    pub fn as_time(self) -> Option<time::Read> {
        match self.node() {
            Node::String(text) => time::parse(text),
            Node::Static(StaticNode::F64(number)) => time::from_float(number),
            Node::Array { .. } => self.only_item()?.as_time(),
            _ => time::from_int(self.as_int()?),
        }
    }

    fn only_item(self) -> Option<Value<'a>> {
        match self.node() {
            Node::Array { len: 1, .. } => Some(self.place(self.at + 1)),
            _ => None,
        }
    }

    /// The elements of an array; nothing for any other value.
    pub fn items(self) -> impl Iterator<Item = Value<'a>> {
        let (mut next, end) = if self.is_array() {
            (self.at + 1, self.end())
        } else {
            (0, 0)
        };
        std::iter::from_fn(move || {
            let item = (next < end).then(|| self.place(next))?;
            next = item.end();
            Some(item)
        })
    }

    /// The elements of an array, or the value itself where a lone one stands for a list. `null` is no element.
    pub fn items_or_self(self) -> impl Iterator<Item = Value<'a>> {
        let lone = (!self.is_array() && !self.is_null()).then_some(self);
        self.items().chain(lone)
    }

    /// Keys and values of an object; nothing for any other value.
    pub fn entries(self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        let (mut next, end) = if self.is_object() {
            (self.at + 1, self.end())
        } else {
            (0, 0)
        };
        std::iter::from_fn(move || {
            let Node::String(key) = *self.doc.nodes.get(next as usize).filter(|_| next < end)?
            else {
                return None;
            };
            let value = self.place(next + 1);
            next = value.end();
            Some((key, value))
        })
    }

    /// The value of a key: spelled exactly so, else in another case; of duplicate keys the last. A string that holds
    /// a JSON object is looked into. `null` counts as absent.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        let mut exact = None;
        let mut folded = None;
        for (name, value) in self.object()?.entries() {
            if name.len() == key.len() && name.eq_ignore_ascii_case(key) {
                if name == key {
                    exact = Some(value);
                } else {
                    folded = Some(value);
                }
            }
        }
        exact.or(folded).filter(|value| !value.is_null())
    }

    /// The value at a path of keys joined by `/`, as `input/inputTokenCount`.
    pub fn find(self, path: &str) -> Option<Value<'a>> {
        path.split('/').try_fold(self, |value, key| value.get(key))
    }

    /// This value if it is an object, or the object that its string holds.
    pub fn object(self) -> Option<Value<'a>> {
        if self.is_object() {
            Some(self)
        } else {
            self.unembed().filter(|value| value.is_object())
        }
    }

    /// This value, or the JSON object or array that its string holds.
    pub fn structure(self) -> Value<'a> {
        self.unembed().unwrap_or(self)
    }

    /// The JSON object or array inside a string, parsed once.
    fn unembed(self) -> Option<Value<'a>> {
        let text = self.as_str()?.trim();
        let looks_like_json = (text.starts_with('{') && text.ends_with('}'))
            || (text.starts_with('[') && text.ends_with(']'));
        if !looks_like_json || self.nesting() >= 4 {
            return None;
        }
        let doc = self.doc;
        if let Some(known) = doc.embedded_at(self.at) {
            return known;
        }
        let value = parse_in(
            doc.bump,
            doc.scratch,
            doc.trail,
            text.as_bytes(),
            Some(self),
        )
        .ok();
        let mut embedded = doc.embedded.borrow_mut();
        let place = embedded.partition_point(|(at, _)| *at < self.at);
        embedded.insert(place, (self.at, value));
        value
    }

    /// Parses a text made from this value's: one event of a stream, the whole part of a cut body. The result lives as
    /// long as the record, and is no part of [`Self::leftover`]: mark this value. `None` when it is no JSON.
    pub(crate) fn parse_within(self, text: &str) -> Option<Value<'a>> {
        if self.nesting() >= 4 {
            return None;
        }
        let doc = self.doc;
        parse_in(
            doc.bump,
            doc.scratch,
            doc.trail,
            text.as_bytes(),
            Some(self),
        )
        .ok()
    }

    /// How many texts this one is embedded in.
    fn nesting(self) -> usize {
        std::iter::successors(self.doc.outer, |outer| outer.doc.outer).count()
    }
}

#[cfg(test)]
mod tests {
    use crate::ingest::json::Arena;

    #[test]
    fn numbers_keep_every_digit() {
        let arena = Arena::new();
        let value = arena
            .parse(br#"{"ticks":638515262815394150,"id":5374205265901353984,"text":"42","one":[7],"f":3.0,"nan":NaN,"huge":123456789012345678901234567890123456789012345}"#)
            .unwrap();
        assert_eq!(value.int("ticks", "t"), Some(638_515_262_815_394_150));
        assert_eq!(value.text("id", "t"), Some("5374205265901353984"));
        assert_eq!(value.int("text", "t"), Some(42));
        assert_eq!(value.int("one", "t"), Some(7));
        assert_eq!(value.int("f", "t"), Some(3));
        assert_eq!(value.float("nan", "t"), None);
        assert_eq!(
            value.text("huge", "t"),
            Some("123456789012345678901234567890123456789012345")
        );
    }

    #[test]
    fn the_last_of_duplicate_keys_wins() {
        let arena = Arena::new();
        let value = arena.parse(br#"{"a":1,"a":2}"#).unwrap();
        assert!(value.has_duplicate_keys());
        assert_eq!(value.int("a", "t"), Some(2));
    }

    /// To look through all of them for each would take minutes.
    #[test]
    fn a_hundred_thousand_texts_of_json_are_each_found_at_once() {
        let arena = Arena::new();
        let texts = vec![r#""{\"a\":1}""#; 100_000].join(",");
        let value = arena.parse(format!("[{texts}]").as_bytes()).unwrap();
        let sum: i64 = value.items().filter_map(|item| item.int("a", "c")).sum();
        assert_eq!((sum, value.leftover()), (100_000, None));
    }
}

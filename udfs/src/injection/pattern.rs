//! The little language of patterns: vocabulary classes and words in order, with bounded gaps between them.
//!
//! ```text
//! {override} ..3 {prior} ..2 {instructions}     at most 3, then at most 2 words between
//! {reveal} ..4 {own|the} {prompt}?              alternatives; `?` marks an item that may be missing
//! {ai|=he|=so_called} ..3 {prompt}              in braces `=` marks a word that stands for itself, `_` a blank
//! from now on ..6 {unrestricted}                bare words stand for themselves, `*` ends a prefix, `a|b` are alternatives
//! ```
//!
//! Items without a gap between them are neighbours. A sentence end counts as [`SENTENCE`] words, so that a gap stays within its sentence
//! unless it is wider than that.

/// How many words a sentence end counts as.
pub(crate) const SENTENCE: u32 = 8;

/// One item: any of `terms` or of `classes`, at most `gap` words after the item before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Item {
    pub(crate) classes: Vec<String>,
    pub(crate) terms: Vec<String>,
    pub(crate) gap: u32,
}

/// Parses `text` to items, each with whether it may be missing.
///
/// # Errors
/// A message that says what is wrong with the pattern.
pub(crate) fn parse(text: &str) -> Result<Vec<(Item, bool)>, String> {
    let mut items: Vec<(Item, bool)> = Vec::new();
    let mut gap = 0;
    let mut words: Vec<&str> = Vec::new();
    let flush = |words: &mut Vec<&str>, gap: &mut u32, items: &mut Vec<(Item, bool)>| {
        for word in words.drain(..) {
            let terms = word.split('|').map(str::to_owned).collect();
            items.push((
                Item {
                    classes: Vec::new(),
                    terms,
                    gap: std::mem::take(gap),
                },
                false,
            ));
        }
    };
    for part in text.split_whitespace() {
        if let Some(width) = part.strip_prefix("..") {
            flush(&mut words, &mut gap, &mut items);
            gap = width
                .parse()
                .map_err(|_| format!("`{part}` is not a gap, write `..3`"))?;
        } else if let Some(class) = part.strip_prefix('{') {
            flush(&mut words, &mut gap, &mut items);
            let (class, optional) = class
                .strip_suffix('?')
                .map_or((class, false), |class| (class, true));
            let class = class
                .strip_suffix('}')
                .ok_or_else(|| format!("`{part}` has no closing brace"))?;
            if class.is_empty() {
                return Err(format!("`{part}` names no class"));
            }
            let (terms, classes): (Vec<_>, Vec<_>) = class
                .split('|')
                .map(str::to_owned)
                .partition(|name| name.starts_with('='));
            let terms = terms
                .iter()
                .map(|term| term[1..].replace('_', " "))
                .collect();
            items.push((
                Item {
                    classes,
                    terms,
                    gap: std::mem::take(&mut gap),
                },
                optional,
            ));
        } else {
            words.push(part);
        }
    }
    flush(&mut words, &mut gap, &mut items);
    if gap > 0 {
        return Err("a gap must be followed by an item".to_owned());
    }
    if items.iter().all(|(_, optional)| *optional) {
        return Err("at least one item must not be optional".to_owned());
    }
    let optional = items.iter().filter(|(_, optional)| *optional).count();
    if optional > 4 {
        return Err("more than four optional items".to_owned());
    }
    Ok(items)
}

/// One sequence for each choice of the items that may be missing.
pub(crate) fn sequences(items: &[(Item, bool)]) -> Vec<Vec<Item>> {
    let optional = items.iter().filter(|(_, optional)| *optional).count();
    let mut sequences = Vec::new();
    for choice in 0..1_u32 << optional {
        let mut sequence: Vec<Item> = Vec::new();
        let (mut seen, mut pending) = (0, 0);
        for (item, optional) in items {
            let absent = *optional && choice >> seen & 1 == 1;
            seen += u32::from(*optional);
            if absent {
                // The gap before a missing item is kept, in addition to the gap behind it.
                pending += item.gap;
                continue;
            }
            let mut item = item.clone();
            item.gap = if sequence.is_empty() {
                0
            } else {
                item.gap + pending
            };
            pending = 0;
            sequence.push(item);
        }
        sequences.push(sequence);
    }
    sequences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences_of(text: &str) -> Vec<Vec<Item>> {
        sequences(&parse(text).expect("valid"))
    }

    #[test]
    fn classes_gaps_and_words() {
        let sequences = sequences_of("{a|b|=so_far} ..3 {c} now|then");
        assert_eq!(sequences.len(), 1);
        let items = &sequences[0];
        assert_eq!(items[0].classes, ["a", "b"]);
        assert_eq!(items[0].terms, ["so far"]);
        assert_eq!((items[1].gap, items[2].gap), (3, 0));
        assert_eq!(items[2].terms, ["now", "then"]);
    }

    #[test]
    fn an_optional_item_gives_two_sequences_and_leaves_its_gap() {
        let sequences = sequences_of("{a} ..2 {b}? ..1 {c}");
        assert_eq!(sequences.len(), 2);
        assert_eq!(
            sequences[0].iter().map(|item| item.gap).collect::<Vec<_>>(),
            [0, 2, 1]
        );
        assert_eq!(
            sequences[1].iter().map(|item| item.gap).collect::<Vec<_>>(),
            [0, 3]
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (pattern, part) in [
            ("{a", "brace"),
            ("{}", "no class"),
            ("a ..x b", "gap"),
            ("a ..2", "followed"),
            ("{a}?", "optional"),
            ("", "optional"),
        ] {
            let message = parse(pattern).expect_err(pattern);
            assert!(message.contains(part), "{pattern}: {message}");
        }
    }
}

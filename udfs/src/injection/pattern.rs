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

use std::borrow::Cow;

/// How many words a sentence end counts as.
pub(crate) const SENTENCE: u32 = 8;

/// One item: any of `terms` or of `classes`, at most `gap` words after the item before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Item<'a> {
    pub(crate) classes: Vec<&'a str>,
    pub(crate) terms: Vec<Cow<'a, str>>,
    pub(crate) gap: u32,
}

/// Parses `text` to items, each with whether it may be missing.
///
/// # Errors
/// A message that says what is wrong with the pattern.
pub(crate) fn parse(text: &str) -> Result<Vec<(Item<'_>, bool)>, String> {
    let mut items: Vec<(Item<'_>, bool)> = Vec::new();
    let mut gap = 0;
    let mut words: Vec<&str> = Vec::new();
    fn flush<'a>(words: &mut Vec<&'a str>, gap: &mut u32, items: &mut Vec<(Item<'a>, bool)>) {
        for word in words.drain(..) {
            let terms = word.split('|').map(Cow::Borrowed).collect();
            items.push((
                Item {
                    classes: Vec::new(),
                    terms,
                    gap: std::mem::take(gap),
                },
                false,
            ));
        }
    }
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
            let (mut classes, mut terms) = (Vec::new(), Vec::new());
            for name in class.split('|') {
                match name.strip_prefix('=') {
                    Some(term) if term.contains('_') => terms.push(term.replace('_', " ").into()),
                    Some(term) => terms.push(term.into()),
                    None => classes.push(name),
                }
            }
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

/// One sequence for each choice of the items that may be missing: the numbers of the items that are there, with their gaps.
pub(crate) fn sequences(items: &[(Item<'_>, bool)]) -> Vec<Vec<(usize, u32)>> {
    let optional = items.iter().filter(|(_, optional)| *optional).count();
    let mut sequences = Vec::with_capacity(1 << optional);
    for choice in 0..1_u32 << optional {
        let mut sequence: Vec<(usize, u32)> = Vec::with_capacity(items.len());
        let (mut seen, mut pending) = (0, 0);
        for (number, (item, optional)) in items.iter().enumerate() {
            let absent = *optional && choice >> seen & 1 == 1;
            seen += u32::from(*optional);
            // The gap before a missing item is kept, in addition to the gap behind it.
            pending += item.gap;
            if !absent {
                let gap = if sequence.is_empty() { 0 } else { pending };
                sequence.push((number, gap));
                pending = 0;
            }
        }
        sequences.push(sequence);
    }
    sequences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_gaps_and_words() {
        let items = parse("{a|b|=so_far} ..3 {c} now|then").expect("valid");
        assert_eq!(sequences(&items), [[(0, 0), (1, 3), (2, 0)]]);
        let items: Vec<Item<'_>> = items.into_iter().map(|(item, _)| item).collect();
        assert_eq!(items[0].classes, ["a", "b"]);
        assert_eq!(items[0].terms, ["so far"]);
        assert_eq!(items[2].terms, ["now", "then"]);
    }

    #[test]
    fn an_optional_item_gives_two_sequences_and_leaves_its_gap() {
        let items = parse("{a} ..2 {b}? ..1 {c}").expect("valid");
        assert_eq!(
            sequences(&items),
            [vec![(0, 0), (1, 2), (2, 1)], vec![(0, 0), (2, 3)]]
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

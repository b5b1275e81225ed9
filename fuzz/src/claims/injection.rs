//! The matcher: whatever the text, a score between 0 and 1 and hits inside of it, the same however often it is asked.

use std::cell::RefCell;

use inferwatch_udfs::injection::{Matcher, Recall, Role, Scratch, normalize_text};

const ROLES: [Role; 6] = [
    Role::User,
    Role::System,
    Role::Assistant,
    Role::Tool,
    Role::Retrieved,
    Role::Unknown,
];

thread_local! {
    /// Buffers that have seen every text before, and what remembers texts.
    static USED: RefCell<(Scratch, Recall)> =
        RefCell::new((Scratch::default(), Recall::new(Matcher::builtin())));
}

/// The first byte is the role, the rest the text.
pub(super) fn injection(data: &[u8]) {
    let Some((role, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let role = ROLES[usize::from(*role) % ROLES.len()];
    let matcher = Matcher::builtin();
    let mut fresh = Scratch::default();
    let verdict = matcher.scan(&mut fresh, text, role);
    assert!((0.0..=1.0).contains(&verdict.score));
    for hit in &verdict.hits {
        assert!(text.get(hit.start..hit.end).is_some(), "{hit:?}");
        assert!((hit.signature as usize) < matcher.signatures().len());
    }
    USED.with_borrow_mut(|(scratch, recall)| {
        assert_eq!(verdict, matcher.scan(scratch, text, role));
        assert_eq!(verdict, recall.scan(text, role));
        assert_eq!(verdict, recall.scan(text, role));
    });
    let _ = normalize_text(text);
}

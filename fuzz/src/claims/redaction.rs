//! Redaction: what is found is gone afterwards, and what is known to be a secret is found among whatever else.

use inferwatch_udfs::pii::{self, Scratch};

/// Neither could be a part of a word around it.
const PLANTED: [&str; 2] = [
    "maria.quokka@example.org",
    concat!("AKI", "AQ7QUOKKAZ5EXAMPL"),
];

/// Left out of every input, so that the kept ones hold nothing that looks like a key to who searches for them.
const BREAK: char = '\u{7f}';

/// Redacted text holds nothing that is found, redacting it again changes nothing, and findings lie in the text, apart.
pub(super) fn redaction(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let text = &text.replace(BREAK, "");
    let mut scratch = Scratch::default();
    let mut end = 0;
    for finding in pii::scan(text, &mut scratch).as_slice() {
        assert!(finding.start >= end && finding.start < finding.end);
        assert!(text.get(finding.start..finding.end).is_some());
        end = finding.end;
    }
    is_clean(text, &mut scratch);

    let mut middle = text.len() / 2;
    while !text.is_char_boundary(middle) {
        middle -= 1;
    }
    let (front, back) = text.split_at(middle);
    for secret in PLANTED {
        let redacted = is_clean(&format!("{front}\n\n{secret}\n\n{back}"), &mut scratch);
        // The text may hold it of its own, in a form that is no secret.
        let is_of_text = text.contains(secret);
        assert!(is_of_text || !redacted.contains(secret), "{redacted}");
    }
}

/// Redacts; empty where that cannot be done, as it is then not written.
fn is_clean(text: &str, scratch: &mut Scratch) -> String {
    let (mut once, mut twice) = (String::new(), String::new());
    match pii::redact_checked(text, scratch, &mut once) {
        Ok(counts) => {
            assert_eq!(counts.total() == 0, once == text);
            assert!(pii::scan(&once, scratch).is_empty());
            pii::redact(&once, scratch, &mut twice);
            assert_eq!(once, twice);
        }
        Err(pii::Unredactable) => assert_eq!(once, ""),
    }
    once
}

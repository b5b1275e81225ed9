//! E-mail addresses: a local part, `@`, and a domain that ends in a plausible top-level domain.
//!
//! Latin, Greek and Cyrillic letters count as letters; other scripts do not, since they may touch an address without a
//! space. Quoted local parts and addresses of hosts without a dot are left out.

use memchr::memchr_iter;

use super::{Finding, Kind, at};

/// Endings of files that are named like `icon@2x.png`.
const FILE_ENDINGS: [&[u8]; 10] = [
    b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"html", b"json",
];

pub(super) fn find(text: &[u8], out: &mut Vec<Finding>) {
    // Both sides stop at the next `@`, so every byte is looked at twice at most.
    for sign in memchr_iter(b'@', text) {
        let start = local_part(text, sign);
        // `git@host` is how repositories are addressed, not a mailbox.
        if start == sign || &text[start..sign] == b"git" {
            continue;
        }
        if let Some(end) = domain(text, sign + 1) {
            out.push(Finding {
                kind: Kind::Email,
                start,
                end,
            });
        }
    }
}

/// Where the local part that ends at `sign` starts; `sign` when there is none.
fn local_part(text: &[u8], sign: usize) -> usize {
    let mut start = sign;
    loop {
        let (byte, lead) = (
            super::before(text, start),
            super::before(text, start.saturating_sub(1)),
        );
        if byte.is_ascii_alphanumeric() || b"._%+-'".contains(&byte) {
            start -= 1;
        } else if is_letter_pair(lead, byte) {
            start -= 2;
        } else {
            break;
        }
    }
    // Quotation marks, list dashes and full stops before the address are not a part of it.
    while start < sign
        && !(text[start].is_ascii_alphanumeric() || text[start] >= 0x80 || text[start] == b'_')
    {
        start += 1;
    }
    start
}

/// Where the domain that starts at `start` ends. Labels of letters, digits and hyphens, joined by dots; the last one
/// that can be a top-level domain ends it.
fn domain(text: &[u8], start: usize) -> Option<usize> {
    let mut place = start;
    let mut label = start;
    let mut end = None;
    loop {
        let byte = at(text, place);
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            place += 1;
        } else if is_letter_pair(byte, at(text, place + 1)) {
            place += 2;
        } else {
            if label > start
                && let Some(length) = top_level(&text[label..place])
            {
                end = Some(label + length);
            }
            if byte != b'.' || label == place {
                return end;
            }
            place += 1;
            label = place;
        }
    }
}

/// How many bytes of a last label are a top-level domain: letters, two at least, or `xn--` and what follows.
fn top_level(label: &[u8]) -> Option<usize> {
    let letters = label
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic() || **byte >= 0x80)
        .count();
    if label.starts_with(b"xn--") && label.len() > 4 {
        return Some(label.len());
    }
    // What follows the letters within the label must be a hyphen: `example.com-` is an address, `1.2.b3` is not.
    let ends = letters == label.len() || label[letters] == b'-';
    let file = FILE_ENDINGS
        .iter()
        .any(|ending| ending.eq_ignore_ascii_case(&label[..letters]));
    (letters >= 2 && ends && !file).then_some(letters)
}

/// The two bytes of a Latin, Greek or Cyrillic letter (U+00C0 to U+052F).
fn is_letter_pair(lead: u8, byte: u8) -> bool {
    matches!(lead, 0xc3..=0xd4) && matches!(byte, 0x80..=0xbf)
}

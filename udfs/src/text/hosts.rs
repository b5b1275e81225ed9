//! Hosts of the links in a text.

use memchr::memchr_iter;

/// Calls `found` with the host of every absolute `http`, `https`, `ws`, `wss` or `ftp` link in `text`, in order and as
/// written: without user, port and final dot, an IPv6 address without its brackets.
///
/// Links in Markdown, HTML and JSON (`https:\/\/`) are read the same way. Links without a scheme are left out, since
/// any file name looks like one.
///
/// ```
/// use inferwatch_udfs::text::hosts::each_url_host;
///
/// let mut hosts = Vec::new();
/// each_url_host("see ![](https://user@Example.com:8443/a?b) or http://[2001:db8::1]/", |host| hosts.push(host));
/// assert_eq!(hosts, ["Example.com", "2001:db8::1"]);
/// ```
pub fn each_url_host<'a>(text: &'a str, mut found: impl FnMut(&'a str)) {
    const SCHEMES: [&str; 5] = ["http", "https", "ws", "wss", "ftp"];
    let bytes = text.as_bytes();
    for slashes in memchr_iter(b'/', bytes) {
        // Before the second slash the first, before that a colon.
        let Some(first) = before(bytes, slashes).filter(|&place| bytes[place] == b'/') else {
            continue;
        };
        let Some(scheme_end) = before(bytes, first).filter(|&place| bytes[place] == b':') else {
            continue;
        };
        let letters = bytes[..scheme_end]
            .iter()
            .rev()
            .take(6)
            .take_while(|byte| byte.is_ascii_alphabetic())
            .count();
        let scheme = &text[scheme_end - letters..scheme_end];
        if SCHEMES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(scheme))
            && let Some(host) = host(&text[slashes + 1..])
        {
            found(host);
        }
    }
}

/// The place of the byte before `place`, backslashes of JSON left aside.
fn before(bytes: &[u8], place: usize) -> Option<usize> {
    let escapes = bytes[..place]
        .iter()
        .rev()
        .take(8)
        .take_while(|&&byte| byte == b'\\')
        .count();
    (place - escapes).checked_sub(1)
}

/// The host at the start of what follows `//`.
fn host(rest: &str) -> Option<&str> {
    let end = rest.bytes().position(ends_authority).unwrap_or(rest.len());
    let authority = &rest[..end];
    // What follows the last `@` is the host: `https://bank.example@evil.example`.
    let address = authority.rsplit('@').next().unwrap_or_default();
    let host = match address.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?.0,
        None => address.split([':', ']', '[']).next().unwrap_or_default(),
    };
    let host = host.trim_end_matches(['.', ',', ';', '!', '*', '_']);
    (!host.is_empty()
        && host
            .bytes()
            .any(|byte| byte.is_ascii_alphanumeric() || byte >= 0x80))
    .then_some(host)
}

/// What ends the part of a link between `//` and its path; also what ends a link in prose and markup.
fn ends_authority(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"/?#\\\"'`<>(){}|^,;".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(text: &str) -> Vec<&str> {
        let mut hosts = Vec::new();
        each_url_host(text, |host| hosts.push(host));
        hosts
    }

    #[test]
    fn hosts_of_links_in_prose_and_markup() {
        for (text, expected) in [
            ("go to https://example.com.", vec!["example.com"]),
            (
                "![x](https://cdn.example.org/a.png?q=secret)",
                vec!["cdn.example.org"],
            ),
            ("<a href=\"HTTP://Example.com:8080\">", vec!["Example.com"]),
            (
                r#"{"u":"https:\/\/a.example\/b","v":"wss://b.example"}"#,
                vec!["a.example", "b.example"],
            ),
            (
                "https://bank.example@evil.example/login",
                vec!["evil.example"],
            ),
            ("http://user:pw@10.0.0.1:80/", vec!["10.0.0.1"]),
            ("ftp://[2001:db8::1]:21/x", vec!["2001:db8::1"]),
            ("https://müller.example/ü", vec!["müller.example"]),
            ("**https://example.com**", vec!["example.com"]),
            (
                "https://r.example/?to=https://s.example/",
                vec!["r.example", "s.example"],
            ),
        ] {
            assert_eq!(hosts(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_link_has_no_host() {
        for text in [
            "",
            "//",
            "://x",
            "http:/x.example",
            "http://",
            "https:///path",
            "file:///etc/passwd",
            "s3://bucket/key",
            "a // b",
            "example.com/x",
            "http://[::1",
        ] {
            assert_eq!(hosts(text), [""; 0], "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r"([a-z]|https?|:|/|\\|\[|\]|@|é|日|\.| ){0,40}") {
            for host in hosts(&text) {
                prop_assert!(text.contains(host) && !host.is_empty());
            }
        }
    }
}

//! Internet addresses as logs write them: with leading zeros, with a masked last octet, IPv4 inside IPv6.
//!
//! Ports, ranges, names and zone identifiers are not addresses here; a log that carries them keeps its own text.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that `text` is, or `None` when it is anything else.
///
/// Leading zeros are decimal, as some load balancers write them (`035.249.253.232` is `35.249.253.232`); the standard
/// library refuses them because C's `inet_aton` takes them for octal. An IPv4-mapped IPv6 address is its IPv4 address.
///
/// ```
/// use inferwatch_udfs::text::ip;
///
/// assert_eq!(ip::parse("035.249.253.232"), "35.249.253.232".parse().ok());
/// assert_eq!(ip::parse("::ffff:192.0.2.7"), "192.0.2.7".parse().ok());
/// assert_eq!(ip::parse("192.0.2.7:443"), None);
/// ```
pub fn parse(text: &str) -> Option<IpAddr> {
    match octets(text) {
        Some(Octets {
            values: [a, b, c, Some(d)],
        }) => Some(Ipv4Addr::new(a?, b?, c?, d).into()),
        Some(_) => None,
        None => text
            .parse::<Ipv6Addr>()
            .ok()
            .map(|address| IpAddr::V6(address).to_canonical()),
    }
}

/// Appends the network of `text` to `out`, /24 for IPv4 and /48 for IPv6, and tells whether there was one.
///
/// The written form is that of RFC 4632 and RFC 5952: `81.2.69.0/24`, `2001:db8:1::/48`. An address whose last octet is
/// masked (`81.2.69.***`, `81.2.69.x`) has the same network as the whole address; that is why the prefix, not the
/// address, is what rules group by. `out` is left as it was when there is none.
///
/// ```
/// use inferwatch_udfs::text::ip;
///
/// let mut prefix = String::new();
/// assert!(ip::prefix("81.2.69.***", &mut prefix));
/// assert_eq!(prefix, "81.2.69.0/24");
/// assert!(!ip::prefix("AWS Internal", &mut prefix));
/// ```
pub fn prefix(text: &str, out: &mut String) -> bool {
    let network = match octets(text) {
        Some(Octets {
            values: [Some(a), Some(b), Some(c), _],
        }) => IpAddr::V4(Ipv4Addr::new(a, b, c, 0)),
        Some(_) => return false,
        None => match parse(text) {
            Some(IpAddr::V4(address)) => {
                let [a, b, c, _] = address.octets();
                Ipv4Addr::new(a, b, c, 0).into()
            }
            Some(IpAddr::V6(address)) => {
                let [a, b, c, ..] = address.segments();
                Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
            }
            None => return false,
        },
    };
    let bits = if network.is_ipv4() { 24 } else { 48 };
    write!(out, "{network}/{bits}").expect("a String takes any text");
    true
}

/// Four dotted parts; `None` for one that is masked.
struct Octets {
    values: [Option<u8>; 4],
}

/// Reads dotted quads, the last part masked or not. `None` when `text` has another shape.
fn octets(text: &str) -> Option<Octets> {
    let mut values = [None; 4];
    let mut parts = text.split('.');
    for (place, value) in values.iter_mut().enumerate() {
        let part = parts.next()?.as_bytes();
        if !(1..=3).contains(&part.len()) {
            return None;
        }
        if place == 3 && part.iter().all(|byte| matches!(byte, b'*' | b'x' | b'X')) {
            continue;
        }
        let mut number = 0_u16;
        for byte in part {
            if !byte.is_ascii_digit() {
                return None;
            }
            number = number * 10 + u16::from(byte - b'0');
        }
        *value = Some(u8::try_from(number).ok()?);
    }
    parts.next().is_none().then_some(Octets { values })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix_of(text: &str) -> Option<String> {
        let mut out = String::new();
        prefix(text, &mut out).then_some(out)
    }

    #[test]
    fn prefixes_have_one_written_form() {
        for (text, expected) in [
            ("81.2.69.142", "81.2.69.0/24"),
            ("81.2.69.***", "81.2.69.0/24"),
            ("81.2.69.*", "81.2.69.0/24"),
            ("81.2.69.xxx", "81.2.69.0/24"),
            ("035.249.253.232", "35.249.253.0/24"),
            ("::ffff:81.2.69.142", "81.2.69.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
            ("2001:0DB8:0001::1", "2001:db8:1::/48"),
            ("2001:db8::1", "2001:db8::/48"),
            ("::1", "::/48"),
        ] {
            assert_eq!(prefix_of(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_has_neither_value_nor_prefix() {
        for text in [
            "",
            "AWS Internal",
            "private",
            "gce-internal-ip",
            "bedrock.amazonaws.com",
            "10.0.0.1:8080",
            "[::1]:80",
            "127.0.0.0/8",
            "256.1.1.1",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.",
            "1.2.*.*",
            "*.*.*.*",
            "1..2.3",
            "+1.2.3.4",
            "1.2.3.4 ",
            "fe80::1%eth0",
            "2001:db8::/32",
            "１.2.3.4",
            "0001.2.3.4",
        ] {
            assert_eq!(parse(text), None, "{text}");
            assert_eq!(prefix_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_masked_address_is_not_valid() {
        assert_eq!(parse("81.2.69.***"), None);
    }

    #[test]
    fn failure_leaves_the_output_as_it_was() {
        let mut out = "kept".to_owned();
        assert!(!prefix("nowhere", &mut out));
        assert_eq!(out, "kept");
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library(address in any::<IpAddr>()) {
            prop_assert_eq!(parse(&address.to_string()), Some(address.to_canonical()));
        }

        #[test]
        fn leading_zeros_are_decimal([a, b, c, d] in any::<[u8; 4]>()) {
            prop_assert_eq!(parse(&format!("{a:03}.{b:03}.{c:03}.{d:03}")), Some(Ipv4Addr::new(a, b, c, d).into()));
            prop_assert_eq!(prefix_of(&format!("{a:03}.{b}.{c}.***")), Some(format!("{a}.{b}.{c}.0/24")));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            prop_assert_eq!(prefix_of(&text).is_some(), parse(&text).is_some() || octets(&text).is_some());
        }
    }
}

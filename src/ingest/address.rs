//! Client addresses as logs write them: masked, padded, with a port, or no address at all.
//!
//! The text stays as it was logged; here it is only judged. An address is *valid* when it is one plain IPv4 or IPv6
//! address; leading zeros are read as decimal, as every log that pads means them. Its *prefix* is the network that is
//! stable enough to compare callers by, /24 or /48, also where the last octet was masked. What a port, a range or a
//! service name means is not guessed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::json::Value;

/// What a logged address is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    /// For `source_ip`: as logged.
    pub(crate) text: &'a str,
    /// For `source_ip_valid`.
    pub(crate) valid: bool,
    /// For `source_ip_prefix`: `203.0.113.0/24`, `2001:db8:7::/48`.
    pub(crate) prefix: Option<&'a str>,
}

/// Reads the address at the first of `paths` that has one, as `source_ip` and what follows from it.
pub(crate) fn read<'a>(record: Value<'a>, paths: &[&str]) -> Option<Address<'a>> {
    let text = record.text_of(paths, "source_ip")?;
    Some(judge(record, text))
}

/// Judges an address; `keeper` is any value of the record, whose memory keeps the prefix.
pub(crate) fn judge<'a>(keeper: Value<'a>, text: &'a str) -> Address<'a> {
    let plain = parse(text);
    let prefix = match plain {
        Some(IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            Some(keeper.format(format_args!("{a}.{b}.{c}.0/24")))
        }
        Some(IpAddr::V6(address)) => {
            let [a, b, c, ..] = address.segments();
            let network = Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0);
            Some(keeper.format(format_args!("{network}/48")))
        }
        None => masked(text).map(|[a, b, c]| keeper.format(format_args!("{a}.{b}.{c}.0/24"))),
    };
    Address {
        text,
        valid: plain.is_some(),
        prefix,
    }
}

/// One plain address. IPv4 inside IPv6 counts as the IPv4 address it is.
fn parse(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        let address: Ipv6Addr = text.parse().ok()?;
        return Some(match address.to_ipv4_mapped() {
            Some(inner) => IpAddr::V4(inner),
            None => IpAddr::V6(address),
        });
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for slot in &mut octets {
        *slot = octet(parts.next()?)?;
    }
    parts
        .next()
        .is_none()
        .then(|| IpAddr::V4(Ipv4Addr::from(octets)))
}

/// The network of `81.2.69.***`, `81.2.69.x`.
fn masked(text: &str) -> Option<[u8; 3]> {
    let mut octets = [0; 3];
    let mut parts = text.split('.');
    for slot in &mut octets {
        *slot = octet(parts.next()?)?;
    }
    let mask = parts.next()?;
    let is_mask = (1..=3).contains(&mask.len())
        && mask.bytes().all(|byte| matches!(byte, b'*' | b'x' | b'X'));
    (is_mask && parts.next().is_none()).then_some(octets)
}

/// One decimal octet of one to three digits. The standard library refuses leading zeros; logs do not.
fn octet(text: &str) -> Option<u8> {
    let plain = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::json::Arena;

    fn judged(text: &str) -> (bool, Option<String>) {
        let arena = Arena::new();
        let keeper = arena.parse(b"{}").unwrap();
        let address = judge(keeper, arena.keep(text));
        assert_eq!(address.text, text);
        (address.valid, address.prefix.map(str::to_owned))
    }

    #[test]
    fn plain_addresses_are_valid_and_have_a_network() {
        for (text, prefix) in [
            ("203.0.113.9", "203.0.113.0/24"),
            ("035.249.253.232", "35.249.253.0/24"),
            ("000.0.0.00", "0.0.0.0/24"),
            ("2001:db8:7:1::9", "2001:db8:7::/48"),
            ("::1", "::/48"),
            ("2001:DB8::", "2001:db8::/48"),
            ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ] {
            assert_eq!(judged(text), (true, Some(prefix.into())), "{text}");
        }
    }

    #[test]
    fn a_masked_last_octet_has_a_network_and_is_not_valid() {
        for text in ["81.2.69.***", "81.2.69.*", "081.2.69.xxx", "81.2.69.X"] {
            assert_eq!(judged(text), (false, Some("81.2.69.0/24".into())), "{text}");
        }
    }

    #[test]
    fn everything_else_is_kept_and_not_believed() {
        for text in [
            "AWS Internal",
            "bedrock.amazonaws.com",
            "203.0.113.9:443",
            "[2001:db8::1]:443",
            "127.0.0.0/8",
            "private",
            "gce-internal-ip",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "0001.2.3.4",
            "81.2.*.***",
            "81.2.69.****",
            "81.2.69.",
            "+1.2.3.4",
            "fe80::1%eth0",
            "²³.1.1.1",
            "203.0.113.9, 10.0.0.1",
        ] {
            assert_eq!(judged(text), (false, None), "{text}");
        }
    }
}

//! International bank account numbers, ISO 13616: country, two check digits, and an account of the country's own length.
//!
//! The check is MOD 97-10 of ISO 7064. Lengths are those of the SWIFT registry, release 99.

use super::{at, before};

/// Country and total length.
const COUNTRIES: [(&[u8; 2], u8); 88] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
];

/// The end of the account number whose check digits start at `digits`, its country standing before them.
pub(super) fn at_digits(text: &[u8], digits: usize) -> Option<usize> {
    let country: [u8; 2] = text.get(digits.checked_sub(2)?..digits)?.try_into().ok()?;
    let country = country.map(|byte| byte.to_ascii_uppercase());
    if before(text, digits - 2).is_ascii_alphanumeric() || !at(text, digits + 1).is_ascii_digit() {
        return None;
    }
    let &(_, length) = COUNTRIES.iter().find(|(known, _)| **known == country)?;
    // Account first, then country and check digits: the order in which the remainder is taken.
    let (mut remainder, mut taken, mut place) = (0, 4, digits + 2);
    while taken < length {
        match at(text, place) {
            b' ' | b'-' if at(text, place + 1).is_ascii_alphanumeric() => {}
            byte if byte.is_ascii_alphanumeric() => {
                remainder = append(remainder, byte);
                taken += 1;
            }
            _ => return None,
        }
        place += 1;
    }
    for byte in [country[0], country[1], text[digits], text[digits + 1]] {
        remainder = append(remainder, byte);
    }
    (remainder == 1 && !at(text, place).is_ascii_alphanumeric()).then_some(place)
}

/// The remainder by 97 after appending a digit, or a letter as its two digits from 10 on.
fn append(remainder: u32, byte: u8) -> u32 {
    let value = char::from(byte).to_digit(36).unwrap_or(0);
    (remainder * if value < 10 { 10 } else { 100 } + value) % 97
}

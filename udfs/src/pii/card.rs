//! Payment card numbers: 13 to 19 digits of a known issuer with a valid check digit, in one piece or in groups.
//!
//! Issuer ranges and lengths: ISO/IEC 7812 identification numbers as the card schemes publish them.

use super::number::{Joint, Sequence};
use super::{at, before};
use crate::text::luhn::digits_are_valid;

/// How cards print their digits, longest first so that a long number is not cut short.
const LAYOUTS: [&[usize]; 8] = [
    &[4, 4, 4, 4, 3],
    &[6, 13],
    &[4, 4, 4, 4],
    &[8, 8],
    &[4, 6, 5],
    &[4, 6, 4],
    &[4, 3, 3, 3],
    &[4, 4, 5],
];

/// How many groups from `first` on are a card number.
pub(super) fn matches(sequence: Sequence<'_>, first: usize) -> Option<usize> {
    let groups = sequence.from(first);
    if first == 0 && before(sequence.text, groups[0].start).is_ascii_alphanumeric() {
        return None;
    }
    // A fraction: 0.4111111111111111.
    if first > 0 && sequence.groups[first - 1].joint == Joint::Dot && groups[0].len() > 6 {
        return None;
    }
    let is_card = |count: usize| -> bool {
        let last = &groups[count - 1];
        let total: usize = groups[..count].iter().map(|group| group.len()).sum();
        let whole = first + count < sequence.groups.len()
            || !at(sequence.text, last.end).is_ascii_alphanumeric();
        if !whole || !(13..=19).contains(&total) {
            return false;
        }
        let (digits, length) = sequence.digits(first, count);
        issuer_numbers(&digits[..length]) && digits_are_valid(&digits[..length])
    };
    if (13..=19).contains(&groups[0].len()) {
        return is_card(1).then_some(1);
    }
    // One joint throughout.
    let alike = 1 + groups
        .windows(2)
        .take_while(|pair| pair[0].joint == groups[0].joint)
        .count();
    if matches!(groups[0].joint, Joint::Slash | Joint::Bracket) {
        return None;
    }
    for layout in LAYOUTS {
        let fits = layout.len() <= alike
            && layout
                .iter()
                .zip(groups)
                .all(|(&length, group)| group.len() == length);
        if fits && is_card(layout.len()) {
            return Some(layout.len());
        }
    }
    // Digits spelled out singly or in pairs, and any other grouping that has the sequence to itself.
    let starts = first == 0 || sequence.groups[first - 1].len() != groups[0].len();
    let even = groups[..alike]
        .iter()
        .take_while(|group| group.len() == groups[0].len())
        .count();
    if starts && groups[0].len() <= 2 && even > 6 && is_card(even) {
        return Some(even);
    }
    let alone = first == 0
        && alike == sequence.groups.len()
        && before(sequence.text, groups[0].start) != b'+';
    (alone && alike <= 7 && groups.iter().all(|group| group.len() <= 6) && is_card(alike))
        .then_some(alike)
}

/// True when an issuer gives out numbers of this length that start so.
fn issuer_numbers(digits: &[u8]) -> bool {
    let lead = digits[..6]
        .iter()
        .fold(0_u32, |value, &digit| value * 10 + u32::from(digit));
    let (two, three, four) = (lead / 10_000, lead / 1_000, lead / 100);
    match digits.len() {
        // Visa; Maestro.
        13 => two / 10 == 4 || is_maestro(two, four),
        // Diners Club.
        14 => {
            matches!(three, 300..=305 | 309) || matches!(two, 36 | 38 | 39) || is_maestro(two, four)
        }
        // American Express.
        15 => matches!(two, 34 | 37) || is_maestro(two, four),
        length => {
            // Visa.
            (two / 10 == 4 && matches!(length, 16 | 19))
                // Mastercard.
                || (length == 16 && (matches!(two, 51..=55) || matches!(four, 2221..=2720)))
                // Discover, RuPay, UnionPay.
                || four == 6011
                || matches!(three, 644..=649 | 508 | 353 | 356)
                || matches!(two, 60 | 62 | 65 | 81 | 82)
                // JCB, Mir, Troy, Verve, Diners Club.
                || matches!(four, 3528..=3589 | 2200..=2204 | 9792)
                || matches!(lead, 506_099..=506_198)
                || two == 36
                || is_maestro(two, four)
        }
    }
}

fn is_maestro(two: u32, four: u32) -> bool {
    matches!(two, 50 | 56..=58 | 67) || matches!(four, 6304 | 6759 | 6761..=6763)
}

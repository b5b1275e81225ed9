//! Telephone numbers as people write them, of any country.
//!
//! Taken as they stand: `+` and a country code; North American numbers in their groups; an area code in brackets;
//! national numbers with a leading 0 in groups; Chinese mobile numbers in groups. Other digits count only after a word
//! such as *phone*. Numbering: ITU-T E.164 (at most 15 digits), North American Numbering Plan (area code and exchange
//! start with 2 to 9 and do not end in 11).

use super::number::{Group, Joint, Sequence};
use super::{at, before, card};

const NAMES: [&str; 22] = [
    "phone",
    "tel",
    "telephone",
    "telefon",
    "telefono",
    "teléfono",
    "telefone",
    "mobile",
    "móvil",
    "movil",
    "cell",
    "fax",
    "whatsapp",
    "sms",
    "handy",
    "call me",
    "call us",
    "reach me",
    "text me",
    "电话",
    "手机",
    "電話",
];

/// How many groups from `first` on are a telephone number.
pub(super) fn matches(sequence: Sequence<'_>, first: usize) -> Option<usize> {
    let groups = sequence.from(first);
    let start = groups[0].start;
    let count = if is_plus_before(sequence.text, start) {
        international(sequence, first)
    } else if !sequence.is_open_before(first) {
        None
    } else {
        north_american(sequence, first)
            .or_else(|| bracketed_area(sequence, first))
            .or_else(|| trunk_zero(sequence, first))
            .or_else(|| chinese_mobile(sequence, first))
            .or_else(|| named(sequence, first))
    }?;
    // An extension may follow at once: 555-0100x12.
    let last = first + count - 1;
    let end = sequence.groups[last].end;
    let extension = matches!(at(sequence.text, end), b'x' | b'X')
        && at(sequence.text, end + 1).is_ascii_digit();
    (extension || sequence.is_open_after(last)).then_some(count)
}

/// Where the number with the digits `start..end` begins: a plus sign before it is its own, a bracket if it closes within.
pub(super) fn lead(text: &[u8], start: usize, end: usize) -> usize {
    let closes = text[start..end]
        .iter()
        .find(|&&byte| byte == b'(' || byte == b')')
        == Some(&b')');
    let bracket = |lead: usize| lead - usize::from(closes && before(text, lead) == b'(');
    // `(+49)` and `+(49)`.
    let lead = bracket(start);
    if before(text, lead) != b'+' {
        lead
    } else if lead == start {
        bracket(lead - 1)
    } else {
        lead - 1
    }
}

fn is_plus_before(text: &[u8], start: usize) -> bool {
    let plus = start - usize::from(before(text, start) == b'(');
    before(text, plus) == b'+' && !before(text, plus - 1).is_ascii_alphanumeric()
}

/// `+44 20 7946 0958`: eight to fifteen digits.
fn international(sequence: Sequence<'_>, first: usize) -> Option<usize> {
    let groups = sequence.from(first);
    if sequence.text[groups[0].start] == b'0' {
        return None;
    }
    let mut total = 0;
    let mut count = 0;
    for (place, group) in groups.iter().enumerate() {
        // A complete number ends before a card or another number that follows it.
        let complete = total >= 10 && (count == 1 || is_start_of_other(sequence, first + place));
        if total + group.len() > 15 || complete {
            break;
        }
        total += group.len();
        count += 1;
    }
    // +1.25 and +3.14159265 are numbers with a fraction.
    let fraction = count == 2 && groups[0].joint == Joint::Dot;
    (total >= 8 && !fraction).then_some(count)
}

fn is_start_of_other(sequence: Sequence<'_>, first: usize) -> bool {
    let lengths = |groups: &[Group]| matches!(groups, [a, b, c, ..] if (a.len(), b.len(), c.len()) == (3, 2, 4));
    card::matches(sequence, first).is_some() || lengths(sequence.from(first))
}

/// `(415) 555-0100`, `415.555.0100`, `1-415-555-0100`.
fn north_american(sequence: Sequence<'_>, first: usize) -> Option<usize> {
    let groups = sequence.from(first);
    let country = usize::from(groups[0].len() == 1 && sequence.text[groups[0].start] == b'1');
    let number = &groups[country..];
    let in_brackets = number.first().is_some_and(|group| {
        before(sequence.text, group.start) == b'(' && group.joint == Joint::Bracket
    });
    let count = match number {
        [a, b, c, ..] if (a.len(), b.len(), c.len()) == (3, 3, 4) => 3,
        [a, b, ..] if in_brackets && (a.len(), b.len()) == (3, 7) => 2,
        _ => return None,
    };
    let (digits, _) = sequence.digits(first + country, count);
    let is_code = |code: &[u8]| code[0] >= 2 && code[1..] != [1, 1];
    if number[..count - 1]
        .iter()
        .any(|group| group.joint == Joint::Slash)
        || !is_code(&digits[..3])
        || !is_code(&digits[3..6])
    {
        return None;
    }
    // Three columns of a table look the same, so a number in spaces must stand alone or be named.
    let spaced = !in_brackets
        && number[..count - 1]
            .iter()
            .all(|group| group.joint == Joint::Spaces);
    let alone = first == 0 && country + count == sequence.groups.len();
    (!spaced || alone || sequence.has_context(first, &NAMES)).then_some(country + count)
}

/// `(030) 1234 5678`, `(11) 91234-5678`: an area code in brackets and seven to twelve digits in all.
fn bracketed_area(sequence: Sequence<'_>, first: usize) -> Option<usize> {
    let groups = sequence.from(first);
    let area = &groups[0];
    if before(sequence.text, area.start) != b'('
        || area.joint != Joint::Bracket
        || !(2..=5).contains(&area.len())
    {
        return None;
    }
    let (total, count) = take(groups, 12);
    ((8..=12).contains(&total) && (2..=5).contains(&count)).then_some(count)
}

/// `020 7946 0958`, `06 12 34 56 78`, `030/1234567`, `0044 20 7946 0958`: a leading 0, groups, nothing after them.
fn trunk_zero(sequence: Sequence<'_>, first: usize) -> Option<usize> {
    let groups = sequence.from(first);
    let digits = &sequence.text[groups[0].start..groups[0].end];
    let abroad = digits.starts_with(b"00") && digits.len() > 2 && digits[2] != b'0';
    let national = digits.len() >= 2 && digits[0] == b'0' && digits[1] != b'0';
    let (total, count) = take(groups, if abroad { 15 } else { 12 });
    let lengths = if abroad { 11..=15 } else { 9..=12 };
    let grouped =
        count >= 2 && digits.len() <= 5 && groups[1..count].iter().all(|group| group.len() >= 2);
    // Dots join versions and addresses; only pairs of digits are written with them.
    let dotted = groups[..count.max(1) - 1]
        .iter()
        .any(|group| group.joint == Joint::Dot);
    let pairs = groups[..count].iter().all(|group| group.len() == 2);
    ((abroad || national)
        && lengths.contains(&total)
        && grouped
        && (!dotted || pairs)
        && first + count == sequence.groups.len()
        && !is_date(sequence.text, &groups[..count]))
    .then_some(count)
}

/// `138 1234 5678`.
fn chinese_mobile(sequence: Sequence<'_>, first: usize) -> Option<usize> {
    let [a, b, c] = sequence.from(first).get(..3)? else {
        return None;
    };
    let mobile = matches!(sequence.text[a.start..], [b'1', b'3'..=b'9', ..]);
    ((a.len(), b.len(), c.len()) == (3, 4, 4)
        && mobile
        && a.joint == b.joint
        && a.joint != Joint::Dot)
        .then_some(3)
}

/// Seven to fifteen digits after a word that says what they are.
fn named(sequence: Sequence<'_>, first: usize) -> Option<usize> {
    let groups = sequence.from(first);
    let (total, count) = take(groups, 15);
    let dotted_quad = count == 4 && groups[..3].iter().all(|group| group.joint == Joint::Dot);
    (first == 0
        && (7..=15).contains(&total)
        && !dotted_quad
        && !is_date(sequence.text, &groups[..count])
        && sequence.has_context(first, &NAMES))
    .then_some(count)
}

/// Digits and groups from the start of `groups`, as many as stay within `most` digits.
fn take(groups: &[Group], most: usize) -> (usize, usize) {
    let (mut total, mut count) = (0, 0);
    for group in groups {
        if total + group.len() > most {
            break;
        }
        total += group.len();
        count += 1;
    }
    (total, count)
}

/// True when three groups in a row are day, month and year in some order, or the first two day and year (`Aug 09 2013`).
fn is_date(text: &[u8], groups: &[Group]) -> bool {
    let value = |group: &Group| {
        text[group.start..group.end]
            .iter()
            .fold(0_u64, |value, byte| value * 10 + u64::from(byte - b'0'))
    };
    let is_year = |group: &Group| group.len() == 4 && (1900..2100).contains(&value(group));
    let is_part = |group: &Group| group.len() <= 2 && (1..=31).contains(&value(group));
    let starts_with_day_and_year =
        matches!(groups, [a, b, ..] if a.len() == 2 && is_part(a) && is_year(b));
    starts_with_day_and_year
        || groups.windows(3).any(|three| match three {
            [a, b, c] => {
                (is_year(a) && is_part(b) && is_part(c)) || (is_part(a) && is_part(b) && is_year(c))
            }
            _ => false,
        })
}

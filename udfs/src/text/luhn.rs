//! The Luhn check digit of ISO/IEC 7812-1, annex B: what payment cards, IMEIs and some national numbers end in.

/// True when `digits` (values 0 to 9, check digit last) satisfy the Luhn formula.
///
/// Counted from the right, every second digit is doubled, 9 taken off when that exceeds 9, and the sum of all must be
/// a multiple of ten. An empty slice is not valid, nor is one that holds only zeros: no issuer numbers that way.
pub(crate) fn digits_are_valid(digits: &[u8]) -> bool {
    let mut sum = 0_u32;
    let mut any = 0_u8;
    for (from_right, &digit) in digits.iter().rev().enumerate() {
        any |= digit;
        let doubled = u32::from(digit) << (from_right & 1);
        sum += if doubled > 9 { doubled - 9 } else { doubled };
    }
    any != 0 && sum.is_multiple_of(10)
}

/// True when `text` is a number with a right Luhn check digit: at least two ASCII digits, with single spaces or
/// hyphens between digits allowed, nothing else.
///
/// ```
/// use inferwatch_udfs::text::luhn::luhn_valid;
///
/// assert!(luhn_valid("4111 1111 1111 1111"));
/// assert!(!luhn_valid("4111 1111 1111 1112"));
/// assert!(!luhn_valid("4111 1111 1111 1111 expires 12/27"));
/// ```
pub fn luhn_valid(text: &str) -> bool {
    // From the right, so that no buffer is needed whatever the length.
    let (mut sum, mut count, mut any) = (0_u32, 0_usize, 0_u8);
    let mut after_separator = true;
    for byte in text.bytes().rev() {
        match byte {
            b'0'..=b'9' => {
                let digit = byte - b'0';
                let doubled = u32::from(digit) << (count & 1);
                // Only the residue matters, so no length can overflow the sum.
                sum = (sum + if doubled > 9 { doubled - 9 } else { doubled }) % 10;
                any |= digit;
                count += 1;
                after_separator = false;
            }
            b' ' | b'-' if !after_separator => after_separator = true,
            _ => return false,
        }
    }
    count >= 2 && any != 0 && !after_separator && sum == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_test_numbers_are_valid() {
        // The worked example of the formula, an IMEI, and the card schemes' published test numbers.
        for number in [
            "79927398713",
            "490154203237518",
            "4111111111111111",
            "5555-5555-5555-4444",
            "3782 822463 10005",
        ] {
            assert!(luhn_valid(number), "{number}");
        }
    }

    #[test]
    fn one_wrong_digit_is_always_caught() {
        let number = *b"4111111111111111";
        for place in 0..number.len() {
            for digit in b'0'..=b'9' {
                let mut changed = number;
                changed[place] = digit;
                let text = std::str::from_utf8(&changed).expect("digits are UTF-8");
                assert_eq!(luhn_valid(text), changed == number, "{text}");
            }
        }
    }

    #[test]
    fn only_digits_and_single_separators_count() {
        for text in [
            "",
            "0",
            "00",
            "0000 0000",
            "-18",
            "18-",
            "1  8",
            "1--8",
            "١٨",
            "18a",
            "1.8",
        ] {
            assert!(!luhn_valid(text), "{text:?}");
        }
        assert!(luhn_valid("18") && luhn_valid("1 8"));
        assert!(!digits_are_valid(&[]));
    }
}

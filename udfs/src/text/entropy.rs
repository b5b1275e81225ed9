//! Shannon entropy of the characters of a text, in bits per character.
//!
//! With `n` characters, of which the distinct ones occur `c` times each,
//! `H = log2(n) - (sum of c * log2(c)) / n`, the usual `-sum p * log2(p)` with `p = c / n` multiplied out
//! (Shannon, *A Mathematical Theory of Communication*, 1948, section 6). The multiplied-out form needs one division in
//! all and takes `c * log2(c)` from a table, `c` being a small whole number nearly always.

use std::cell::RefCell;
use std::sync::LazyLock;

/// Counts up to here have their `c * log2(c)` in a table of 16 KiB.
const TABLED: usize = 2048;

static C_LOG2_C: LazyLock<Box<[f64]>> = LazyLock::new(|| {
    (0..TABLED)
        .map(|count| {
            if count < 2 {
                0.0
            } else {
                count as f64 * (count as f64).log2()
            }
        })
        .collect()
});

fn c_log2_c(table: &[f64], count: usize) -> f64 {
    match table.get(count) {
        Some(&value) => value,
        None => count as f64 * (count as f64).log2(),
    }
}

/// The entropy from the number of characters and the sum of `c * log2(c)`.
fn finish(total: usize, sum: f64) -> f64 {
    if total == 0 {
        return 0.0;
    }
    let total = total as f64;
    // Rounding may leave a trace below zero when one character has nearly all of the text.
    (total.log2() - sum / total).max(0.0)
}

/// Shannon entropy of the Unicode scalar values of `text`, in bits per character; 0 for an empty text.
///
/// English prose has about 4.2, hexadecimal at most 4, base64 close to 6.
///
/// ```
/// use inferwatch_udfs::text::entropy::text_entropy;
///
/// assert_eq!(text_entropy("aabb"), 1.0);
/// assert_eq!(text_entropy("aaaa"), 0.0);
/// assert_eq!(text_entropy("abcdabcd"), 2.0);
/// ```
pub fn text_entropy(text: &str) -> f64 {
    if text.is_ascii() {
        ascii_entropy(text.as_bytes())
    } else {
        SPARSE.with_borrow_mut(|counts| counts.entropy(text))
    }
}

/// The entropy of ASCII bytes.
fn ascii_entropy(bytes: &[u8]) -> f64 {
    let table: &[f64] = &C_LOG2_C;
    let mut sum = 0.0;
    // Four histograms: with one, a repeated byte waits for the store of its last increment. 16-bit counters keep all four
    // in 1 KiB, which is what a short text pays to clear; longer texts are counted in pieces that cannot overflow them.
    if bytes.len() <= usize::from(u16::MAX) {
        let counts = histogram(bytes);
        for count in counts {
            if usize::from(count) == bytes.len() {
                return 0.0;
            }
            sum += c_log2_c(table, usize::from(count));
        }
    } else {
        let mut totals = [0_usize; 128];
        for piece in bytes.chunks(usize::from(u16::MAX)) {
            for (total, count) in totals.iter_mut().zip(histogram(piece)) {
                *total += usize::from(count);
            }
        }
        for count in totals {
            if count == bytes.len() {
                return 0.0;
            }
            sum += c_log2_c(table, count);
        }
    }
    finish(bytes.len(), sum)
}

/// How often each ASCII byte occurs in at most 65,535 bytes.
fn histogram(bytes: &[u8]) -> [u16; 128] {
    debug_assert!(bytes.len() <= usize::from(u16::MAX) && bytes.is_ascii());
    let mut lanes = [[0_u16; 128]; 4];
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        for place in 0..8 {
            // The mask tells the compiler that no bounds check is needed.
            lanes[place & 3][(word >> (8 * place)) as usize & 127] += 1;
        }
    }
    for &byte in rest {
        lanes[0][usize::from(byte) & 127] += 1;
    }
    let [mut counts, second, third, fourth] = lanes;
    for byte in 0..128 {
        counts[byte] += second[byte] + third[byte] + fourth[byte];
    }
    counts
}

thread_local! {
    static SPARSE: RefCell<SparseCounts> = RefCell::new(SparseCounts::default());
}

/// Characters per page of [`SparseCounts`].
const PAGE: usize = 256;

/// Counters for any Unicode scalar value, in pages made when first needed and kept for the next text. The list of
/// characters seen makes clearing cost what counting did, however wide the script.
#[derive(Default)]
struct SparseCounts {
    /// For every block of 256 code points one more than its place in `pages`; 0 before its first use.
    page_of: Vec<u16>,
    pages: Vec<[u32; PAGE]>,
    seen: Vec<char>,
}

impl SparseCounts {
    fn slot(&mut self, c: char) -> &mut u32 {
        let block = c as usize / PAGE;
        let page = match self.page_of[block] {
            0 => {
                self.pages.push([0; PAGE]);
                // At most 4,352 blocks exist.
                self.page_of[block] = self.pages.len() as u16;
                self.pages.len() - 1
            }
            one_more => usize::from(one_more) - 1,
        };
        &mut self.pages[page][c as usize % PAGE]
    }

    fn entropy(&mut self, text: &str) -> f64 {
        self.page_of.resize(char::MAX as usize / PAGE + 1, 0);
        let mut ascii = [0_u32; 128];
        let mut total = 0;
        for c in text.chars() {
            total += 1;
            if let Some(count) = ascii.get_mut(c as usize) {
                // A text of 2^32 equal characters is 4 GiB; its count stays at the limit.
                *count = count.saturating_add(1);
                continue;
            }
            let slot = self.slot(c);
            let first = *slot == 0;
            *slot = slot.saturating_add(1);
            if first {
                self.seen.push(c);
            }
        }
        let table: &[f64] = &C_LOG2_C;
        let mut sum: f64 = ascii
            .iter()
            .map(|&count| c_log2_c(table, count as usize))
            .sum();
        let mut seen = std::mem::take(&mut self.seen);
        let mut highest = 0;
        for c in seen.drain(..) {
            let count = std::mem::take(self.slot(c)) as usize;
            highest = highest.max(count);
            sum += c_log2_c(table, count);
        }
        self.seen = seen;
        if highest == total {
            0.0
        } else {
            finish(total, sum)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// The definition, word for word.
    fn by_definition(text: &str) -> f64 {
        let mut counts = HashMap::<char, usize>::new();
        for c in text.chars() {
            *counts.entry(c).or_default() += 1;
        }
        let total: usize = counts.values().sum();
        let parts = counts.values().map(|&count| {
            let p = count as f64 / total as f64;
            -p * p.log2()
        });
        parts.sum::<f64>().max(0.0)
    }

    #[test]
    fn known_values() {
        // scipy.stats.entropy([..counts..], base=2)
        for (text, expected) in [
            ("", 0.0),
            ("a", 0.0),
            ("aaaaaaaaaa", 0.0),
            ("日日日", 0.0),
            ("ab", 1.0),
            ("日本", 1.0),
            ("mississippi", 1.823_067_982_273_661),
            ("0123456789abcdef", 4.0),
            ("héé", 0.918_295_834_054_489_6),
        ] {
            assert!(
                (text_entropy(text) - expected).abs() < 1e-12,
                "{text:?}: {}",
                text_entropy(text)
            );
        }
    }

    #[test]
    fn one_repeated_character_is_exactly_zero_at_any_length() {
        for length in [1, 3, 7, 100, 65_535, 65_536, 200_001] {
            assert_eq!(text_entropy(&"x".repeat(length)), 0.0);
            assert_eq!(text_entropy(&"ж".repeat(length)), 0.0);
        }
    }

    #[test]
    fn long_texts_are_counted_across_pieces() {
        let text = "abcd".repeat(50_000);
        assert!((text_entropy(&text) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_text_leaves_nothing_behind_for_the_next() {
        let before = text_entropy("žluťoučký kůň");
        text_entropy("完全に別の文章");
        assert_eq!(text_entropy("žluťoučký kůň"), before);
    }

    proptest! {
        #[test]
        fn equals_the_definition(text in "\\PC*") {
            prop_assert!((text_entropy(&text) - by_definition(&text)).abs() < 1e-12);
        }

        #[test]
        fn equals_the_definition_in_ascii(text in "[ -~]{0,3000}") {
            prop_assert!((text_entropy(&text) - by_definition(&text)).abs() < 1e-12);
        }
    }
}

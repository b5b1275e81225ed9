//! Long runs of bytes of one class, found without looking at most of the others.

/// Membership by byte.
pub(crate) struct Class([bool; 256]);

impl Class {
    /// ASCII letters, digits and the bytes of `others`.
    pub(crate) const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut members = [false; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            members[byte as usize] = byte.is_ascii_alphanumeric();
            byte += 1;
        }
        let mut place = 0;
        while place < others.len() {
            members[others[place] as usize] = true;
            place += 1;
        }
        Self(members)
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    /// The first run of at least `least` members, 15 or more, that starts at `from` or later.
    ///
    /// Such a run covers one whole word of eight bytes, wherever words begin, so the others are passed over: nearly
    /// all of prose at eight bytes a step, since a space or a comma shows without a look at the table.
    pub(crate) fn next_run(
        &self,
        text: &[u8],
        from: usize,
        least: usize,
    ) -> Option<(usize, usize)> {
        debug_assert!(least >= 2 * WORD - 1);
        let mut place = from;
        loop {
            let word: &[u8; WORD] = text.get(place..place + WORD)?.try_into().ok()?;
            if has_byte_below_plus(u64::from_le_bytes(*word))
                || !word.iter().all(|&byte| self.has(byte))
            {
                place += WORD;
                continue;
            }
            // At most seven bytes back: the word before was not all members.
            let start = place
                - text[from..place]
                    .iter()
                    .rev()
                    .take_while(|&&byte| self.has(byte))
                    .count();
            place += WORD;
            place += text[place..]
                .iter()
                .take_while(|&&byte| self.has(byte))
                .count();
            if place - start >= least {
                return Some((start, place));
            }
        }
    }
}

const WORD: usize = 8;

/// True when one of the eight bytes is less than `+`, the first of all separators within runs. Subtracting `+` from each
/// borrows into the top bit of those below it (Warren, *Hacker's Delight*, section 6-1).
fn has_byte_below_plus(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    word.wrapping_sub(ONES * b'+' as u64) & !word & (ONES << 7) != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_loop_finds(text in "[ab ]{0,40}|([a-c]{0,30} ){0,9}", least in 15..30_usize) {
            let class = Class::alphanumeric_and(b"");
            let mut expected = Vec::new();
            let mut start = 0;
            for piece in text.split(' ') {
                if piece.len() >= least {
                    expected.push((start, start + piece.len()));
                }
                start += piece.len() + 1;
            }
            let mut found = Vec::new();
            let mut from = 0;
            while let Some((start, end)) = class.next_run(text.as_bytes(), from, least) {
                found.push((start, end));
                from = end;
            }
            prop_assert_eq!(found, expected);
        }
    }
}

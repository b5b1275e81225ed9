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

    /// The first run of at least `least` members that starts at `from` or later.
    ///
    /// Looks at the byte where such a run would reach its length, then backwards: in prose nearly every look ends the
    /// matter for a whole word and the next. No byte is looked at twice.
    pub(crate) fn next_run(
        &self,
        text: &[u8],
        from: usize,
        least: usize,
    ) -> Option<(usize, usize)> {
        let mut start = from;
        let mut known = from;
        loop {
            let reach = start + least;
            match text
                .get(known..reach)?
                .iter()
                .rposition(|&byte| !self.has(byte))
            {
                Some(break_at) => {
                    start = known + break_at + 1;
                    known = reach;
                }
                None => {
                    let rest = text[reach..]
                        .iter()
                        .take_while(|&&byte| self.has(byte))
                        .count();
                    return Some((start, reach + rest));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_loop_finds(text in "[ab ]{0,120}", least in 1..20_usize) {
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

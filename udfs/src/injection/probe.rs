//! How a word is looked up: by its first eight bytes, letters of ASCII in lower case.

use std::num::NonZeroU32;

/// How a word shows itself: some of its first eight bytes, and the beginning of the word before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Probe {
    pub(super) value: u64,
    /// The bytes that count; all of them where the word must be no longer than it is.
    pub(super) mask: u64,
    /// The first four bytes of the word before, if they matter.
    pub(super) before: Option<NonZeroU32>,
}

impl Probe {
    /// A whole word. Of one longer than eight bytes the beginning.
    pub(super) fn word(word: &[u8]) -> Self {
        Self {
            value: key(word),
            mask: u64::MAX,
            before: None,
        }
    }

    /// Any word that begins so; none if that is too little to look for.
    pub(super) fn beginning(stem: &[u8]) -> Option<Self> {
        (stem.len() >= SHORTEST_STEM).then(|| Self {
            value: key(stem),
            mask: LENGTHS[stem.len().min(8)],
            before: None,
        })
    }

    /// The same behind a word that begins as `word` does in its first four bytes.
    pub(super) fn behind(self, word: &[u8]) -> Self {
        let before = NonZeroU32::new(key(word) as u32);
        Self { before, ..self }
    }

    /// Whether a word with this key is found behind one that begins with `before`.
    #[inline]
    pub(super) fn finds(&self, key: u64, before: u32) -> bool {
        key & self.mask == self.value && self.before.is_none_or(|own| own.get() == before)
    }

    /// How many bytes count: [`WHOLE`] if all do.
    pub(super) fn length(&self) -> u32 {
        if self.mask == u64::MAX {
            WHOLE
        } else {
            self.mask.count_ones() / 8
        }
    }
}

/// Fewer bytes are not looked up by themselves.
pub(super) const SHORTEST_STEM: usize = 3;

/// The length of a probe for a whole word.
pub(super) const WHOLE: u32 = 8;

/// The key of a word: its first eight bytes, letters in lower case, unused bytes zero.
pub(super) fn key(word: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = word.len().min(8);
    bytes[..length].copy_from_slice(&word[..length]);
    (u64::from_le_bytes(bytes) | LOWER) & LENGTHS[length]
}

/// Turns letters of ASCII to lower case, and other bytes to something that is the same in texts and in terms.
pub(super) const LOWER: u64 = 0x2020_2020_2020_2020;

/// For each length the bytes of a key that count.
pub(super) static LENGTHS: [u64; 9] = {
    let mut masks = [0; 9];
    let mut length = 1;
    while length < 9 {
        masks[length] = u64::MAX >> (64 - 8 * length);
        length += 1;
    }
    masks
};

//! What a scan says: the score, the hits behind it, and cheap signals that need no signature.

use std::fmt;

/// Who wrote the text. The same words mean different things in different mouths: a system prompt names the attacks it forbids, a tool
/// result has no business giving orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// A person's or calling program's message.
    User,
    /// The operator's instructions.
    System,
    /// What the model answered.
    Assistant,
    /// The result of a tool call.
    Tool,
    /// A retrieved document, web page, mail or file.
    Retrieved,
    /// Not known; read as a user's message.
    #[default]
    Unknown,
}

impl Role {
    /// Reads the role names that providers' logs use, in any case; any other name is [`Role::Unknown`].
    pub fn from_name(name: &str) -> Self {
        const NAMES: [(&str, Role); 15] = [
            ("user", Role::User),
            ("human", Role::User),
            ("system", Role::System),
            ("developer", Role::System),
            ("assistant", Role::Assistant),
            ("model", Role::Assistant),
            ("ai", Role::Assistant),
            ("bot", Role::Assistant),
            ("tool", Role::Tool),
            ("function", Role::Tool),
            ("ipython", Role::Tool),
            ("retrieved", Role::Retrieved),
            ("document", Role::Retrieved),
            ("context", Role::Retrieved),
            ("search_result", Role::Retrieved),
        ];
        let name = name.trim();
        NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map_or(Self::Unknown, |(_, role)| *role)
    }

    pub(crate) fn bit(self) -> u8 {
        1 << match self {
            Self::User => 0,
            Self::System => 1,
            Self::Assistant => 2,
            Self::Tool => 3,
            Self::Retrieved => 4,
            Self::Unknown => 5,
        }
    }

    /// An instruction in text that only should inform weighs more.
    pub(crate) fn emphasis(self) -> f64 {
        match self {
            Self::Tool | Self::Retrieved => 1.3,
            _ => 1.0,
        }
    }
}

/// The spelling in which a signature was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// As written, but for case and blanks.
    Plain,
    /// After folding styled, look-alike or invisible characters.
    Normalized,
    /// After reading leetspeak.
    Leet,
    /// After joining spaced-out letters.
    Joined,
    /// After putting quoted pieces together.
    Concatenated,
    /// Read backwards.
    Reversed,
    /// Hidden in Unicode tag characters.
    Tags,
    /// Hidden in variation selectors.
    VariationSelectors,
    /// Decoded from Base64.
    Base64,
    /// Decoded from hexadecimal, binary or decimal character codes.
    Codes,
    /// Decoded from percent, backslash or HTML escapes.
    Escapes,
    /// Decoded from ROT13, another rotation, or Atbash.
    Rotated,
    /// Decoded from Morse code.
    Morse,
}

impl Via {
    /// The name used in SQL results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Normalized => "normalized",
            Self::Leet => "leet",
            Self::Joined => "joined",
            Self::Concatenated => "concatenated",
            Self::Reversed => "reversed",
            Self::Tags => "decoded(tags)",
            Self::VariationSelectors => "decoded(variation-selectors)",
            Self::Base64 => "decoded(base64)",
            Self::Codes => "decoded(codes)",
            Self::Escapes => "decoded(escapes)",
            Self::Rotated => "decoded(rotated)",
            Self::Morse => "decoded(morse)",
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One signature found in a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Index for [`Matcher::signature`](super::Matcher::signature).
    pub signature: u32,
    /// First byte of the match in the original text. For decoded text, where the encoded run begins.
    pub start: usize,
    /// The byte after the match in the original text. Best effort: a character that folds to several, or a match that ends in removed
    /// characters, is included whole or not at all; offsets always lie on character boundaries.
    pub end: usize,
    /// The spelling in which it was found.
    pub via: Via,
    pub(crate) weight: f64,
}

/// Counts that need no signature. They say how a text is dressed, not what it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signals {
    /// Unicode tag characters, those of the flags of England, Scotland and Wales aside.
    pub tags: u32,
    /// Invisible characters that are not tags, bidirectional controls or variation selectors.
    pub zero_width: u32,
    /// Bidirectional overrides, embeddings and isolates.
    pub bidi: u32,
    /// Variation selectors.
    pub variation_selectors: u32,
    /// Longest run of invisible characters next to each other, variation selectors that follow a visible character aside.
    pub longest_invisible_run: u32,
    run: u32,
    run_at: usize,
}

impl Signals {
    /// Counts one invisible character; `at` is the folded length so far, which grows with every visible character.
    pub(crate) fn note_invisible(&mut self, letter: char, at: usize) {
        let count = match u32::from(letter) {
            0xE0000..=0xE007F => &mut self.tags,
            0xFE00..=0xFE0F | 0xE0100..=0xE01EF => &mut self.variation_selectors,
            0x202A..=0x202E | 0x2066..=0x2069 => &mut self.bidi,
            _ => &mut self.zero_width,
        };
        *count = count.saturating_add(1);
        self.run = if at == self.run_at {
            self.run.saturating_add(1)
        } else {
            1
        };
        self.run_at = at;
        self.longest_invisible_run = self.longest_invisible_run.max(self.run);
    }
}

/// The result of a scan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// 0 for no hit, towards 1 for many or heavy ones. Not a probability: an order, with 0.5 as the line that the shipped signatures
    /// are weighted for.
    pub score: f64,
    /// What was found, heaviest first; each signature at most once.
    pub hits: Vec<Hit>,
    /// How the text is dressed.
    pub signals: Signals,
}

impl Verdict {
    pub(crate) fn clear(&mut self) {
        self.score = 0.0;
        self.hits.clear();
        self.signals = Signals::default();
    }

    /// Keeps one hit of each signature, the heaviest, and sums up: independent pieces of evidence multiply the doubt that is left.
    pub(crate) fn conclude(&mut self) {
        self.hits.sort_by(|a, b| {
            a.signature
                .cmp(&b.signature)
                .then(b.weight.total_cmp(&a.weight))
                .then(a.start.cmp(&b.start))
        });
        self.hits.dedup_by_key(|hit| hit.signature);
        self.hits.sort_by(|a, b| {
            b.weight
                .total_cmp(&a.weight)
                .then(a.start.cmp(&b.start))
                .then(a.signature.cmp(&b.signature))
        });
        // Hits below zero are no evidence of attack: text about attacks counts for less, and is not reported.
        let prose: f64 = self
            .hits
            .iter()
            .filter(|hit| hit.weight < 0.0)
            .map(|hit| 1.0 + hit.weight)
            .product();
        self.hits.retain(|hit| hit.weight > 0.0);
        let doubt: f64 = self.hits.iter().map(|hit| 1.0 - hit.weight).product();
        self.score = (1.0 - doubt) * prose;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(signature: u32, weight: f64) -> Hit {
        Hit {
            signature,
            start: 0,
            end: 1,
            via: Via::Plain,
            weight,
        }
    }

    #[test]
    fn evidence_adds_up_and_a_repeated_signature_counts_once() {
        let mut verdict = Verdict {
            hits: vec![hit(1, 0.5), hit(2, 0.5), hit(1, 0.25)],
            ..Verdict::default()
        };
        verdict.conclude();
        assert_eq!(verdict.hits.len(), 2);
        assert!((verdict.score - 0.75).abs() < 1e-12);
    }

    #[test]
    fn prose_about_attacks_takes_its_share_and_is_not_reported() {
        let mut verdict = Verdict {
            hits: vec![hit(1, 0.8), hit(2, -0.5)],
            ..Verdict::default()
        };
        verdict.conclude();
        assert_eq!(verdict.hits.len(), 1);
        assert!((verdict.score - 0.4).abs() < 1e-12);
    }

    #[test]
    fn no_hit_scores_zero() {
        let mut verdict = Verdict::default();
        verdict.conclude();
        assert_eq!(verdict.score, 0.0);
    }

    #[test]
    fn role_names_of_providers_are_known() {
        assert_eq!(Role::from_name("Human"), Role::User);
        assert_eq!(Role::from_name("developer"), Role::System);
        assert_eq!(Role::from_name("whoever"), Role::Unknown);
    }
}

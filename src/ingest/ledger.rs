//! Which content has been read already, and how far.
//!
//! A source is known by what is in it, not by its name: each commit carries, as a Delta application transaction, a
//! hash of the content up to where it was read, and that length. A file that was copied, renamed or compressed is the
//! same source; a file that has grown is recognised by its beginning and read on from there.
//!
//! The hash of the first bytes stands in the id as well, so that a look-up needs no more than those.

use std::collections::HashMap;

use crate::schema::Table;

/// So many first bytes find the candidates.
pub(super) const HEAD: usize = 256;

/// What is remembered apart: text may be wanted later from a log whose metadata the store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Every table but `content`.
    Metadata,
    /// `content`.
    Content,
}

impl Tier {
    /// The tier of a table.
    pub fn of(table: Table) -> Tier {
        if table == Table::Content {
            Tier::Content
        } else {
            Tier::Metadata
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Tier::Metadata => "source",
            Tier::Content => "source-content",
        }
    }
}

/// The identity of content up to some length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The application id of the transaction.
    pub id: String,
    /// How many bytes of the content it stands for: the transaction's version.
    pub length: i64,
}

/// Names content: `hash` of its first `length` bytes, `head` being the first of them.
pub(super) fn mark(tier: Tier, head: &[u8], hash: &blake3::Hasher, length: u64) -> Mark {
    let head = &head[..head
        .len()
        .min(HEAD)
        .min(usize::try_from(length).unwrap_or(usize::MAX))];
    let id = format!(
        "{}:{}:{}:{}",
        tier.prefix(),
        head.len(),
        short(blake3::hash(head)),
        hash.finalize().to_hex()
    );
    Mark {
        id,
        length: i64::try_from(length).unwrap_or(i64::MAX),
    }
}

fn short(hash: blake3::Hash) -> String {
    hash.to_hex()[..16].to_owned()
}

/// One stretch of content that a tier has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Its length.
    pub(super) length: u64,
    /// The hash of the content up to there, in hex.
    pub(super) hash: String,
    /// The tiers that have its rows.
    pub(super) tiers: Vec<Tier>,
}

/// All content that the store knows.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By length and hash of the first bytes.
    by_head: HashMap<(usize, String), Vec<Known>>,
    head_lengths: Vec<usize>,
}

impl Ledger {
    /// Notes one application transaction; those that are no sources are passed over.
    pub fn note(&mut self, id: &str, version: i64) {
        let mut fields = id.split(':');
        let (Some(prefix), Some(head_length), Some(head), Some(hash)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return;
        };
        let Some(tier) = [Tier::Metadata, Tier::Content]
            .into_iter()
            .find(|tier| tier.prefix() == prefix)
        else {
            return;
        };
        let (Ok(head_length), Ok(length)) = (head_length.parse(), u64::try_from(version)) else {
            return;
        };
        if !self.head_lengths.contains(&head_length) {
            self.head_lengths.push(head_length);
        }
        let known = self
            .by_head
            .entry((head_length, head.to_owned()))
            .or_default();
        match known
            .iter_mut()
            .find(|entry| entry.length == length && entry.hash == hash)
        {
            Some(entry) => entry.tiers.push(tier),
            None => known.push(Known {
                length,
                hash: hash.to_owned(),
                tiers: vec![tier],
            }),
        }
    }

    /// What may be the beginning of content that begins with `head`, shortest first.
    pub(super) fn candidates(&self, head: &[u8]) -> Vec<&Known> {
        let mut found: Vec<&Known> = self
            .head_lengths
            .iter()
            .filter(|length| **length <= head.len())
            .filter_map(|length| {
                self.by_head
                    .get(&(*length, short(blake3::hash(&head[..*length]))))
            })
            .flatten()
            .collect();
        found.sort_by_key(|known| known.length);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark_of(tier: Tier, content: &[u8]) -> Mark {
        mark(
            tier,
            content,
            blake3::Hasher::new().update(content),
            content.len() as u64,
        )
    }

    #[test]
    fn content_is_found_by_its_beginning_and_told_apart_by_the_rest() {
        let mut ledger = Ledger::default();
        let long: Vec<u8> = (0..1000_u32).map(|number| number as u8).collect();
        for content in [&b"{}\n"[..], &long] {
            for tier in [Tier::Metadata, Tier::Content] {
                let Mark { id, length } = mark_of(tier, content);
                ledger.note(&id, length);
            }
        }
        ledger.note("rule:token-burn:1:2026", 1);

        let grown = ledger.candidates(b"{}\n{}\n");
        assert_eq!(grown.len(), 1);
        assert_eq!(grown[0].length, 3);
        assert_eq!(grown[0].hash, blake3::hash(b"{}\n").to_hex().as_str());
        assert_eq!(grown[0].tiers, [Tier::Metadata, Tier::Content]);
        assert_eq!(ledger.candidates(&long)[0].length, 1000);
        assert!(ledger.candidates(b"{\n").is_empty());
        assert!(ledger.candidates(b"").is_empty());
    }
}

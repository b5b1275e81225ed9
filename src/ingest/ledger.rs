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

const PREFIX: &str = "source";

/// The identity of content up to some length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The application id of the transaction.
    pub id: String,
    /// How many bytes of the content it stands for: the transaction's version.
    pub length: i64,
}

/// Names content: `hash` of its first `length` bytes, `head` being the first of them.
pub(super) fn mark(head: &[u8], hash: &blake3::Hasher, length: u64) -> Mark {
    let head = &head[..head
        .len()
        .min(HEAD)
        .min(usize::try_from(length).unwrap_or(usize::MAX))];
    let id = format!(
        "{PREFIX}:{}:{}:{}",
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

/// One stretch of content that some tables have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Its length.
    pub(super) length: u64,
    /// The hash of the content up to there, in hex.
    pub(super) hash: String,
    /// The tables that have its rows.
    pub(super) tables: Vec<Table>,
}

/// All content that the store knows.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By length and hash of the first bytes.
    by_head: HashMap<(usize, String), Vec<Known>>,
    head_lengths: Vec<usize>,
}

impl Ledger {
    /// Notes one application transaction of a table; those that are no sources are passed over.
    pub fn note(&mut self, table: Table, id: &str, version: i64) {
        let mut fields = id.split(':');
        let (Some(PREFIX), Some(head_length), Some(head), Some(hash)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
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
            Some(entry) => entry.tables.push(table),
            None => known.push(Known {
                length,
                hash: hash.to_owned(),
                tables: vec![table],
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

    fn mark_of(content: &[u8]) -> Mark {
        mark(
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
            let Mark { id, length } = mark_of(content);
            ledger.note(Table::Calls, &id, length);
            ledger.note(Table::Audit, &id, length);
        }
        ledger.note(Table::Calls, "rule:token-burn:1:2026", 1);

        let grown = ledger.candidates(b"{}\n{}\n");
        assert_eq!(grown.len(), 1);
        assert_eq!(grown[0].length, 3);
        assert_eq!(grown[0].hash, blake3::hash(b"{}\n").to_hex().as_str());
        assert_eq!(grown[0].tables, [Table::Calls, Table::Audit]);
        assert_eq!(ledger.candidates(&long)[0].length, 1000);
        assert!(ledger.candidates(b"{\n").is_empty());
        assert!(ledger.candidates(b"").is_empty());
    }
}

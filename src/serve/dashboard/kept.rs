//! Answers of panels, kept for as long as the store stays as it is: who looks at the same range of the same data asks
//! once, and a board that is opened again is there at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::super::Server;
use super::super::grant::Grant;
use super::super::problem::Problem;
use crate::schema::Table;

/// Answers at a time. When there are more, all go: what is looked at is soon there again.
const MOST: usize = 512;
/// Rows of all of them.
const MOST_ROWS: usize = 400_000;

/// The answers.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Answers>);

#[derive(Default)]
struct Answers {
    by_key: HashMap<blake3::Hash, Value>,
    rows: usize,
}

impl Kept {
    pub(super) fn get(&self, key: &blake3::Hash) -> Option<Value> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.by_key.get(key).cloned()
    }

    pub(super) fn put(&self, key: blake3::Hash, answer: Value) {
        let rows = 1 + answer["rows"].as_array().map_or(0, Vec::len);
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.by_key.len() >= MOST || answers.rows + rows > MOST_ROWS {
            *answers = Answers::default();
        }
        answers.rows += rows;
        answers.by_key.insert(key, answer);
    }
}

/// What an answer follows from: the question, what the token opens, and the state of every table.
pub(super) fn key(server: &Server, grant: &Grant, question: &str) -> Result<blake3::Hash, Problem> {
    let mut hasher = blake3::Hasher::new();
    for table in Table::ALL {
        let version = server.store().snapshot(table)?.version();
        hasher.update(&version.map_or(0, |version| version + 1).to_le_bytes());
    }
    let rights = serde_json::to_vec(&grant.rights).map_err(Problem::internal)?;
    // Lengths keep one part from running into the next.
    // That text is read is told of each who reads it, so nobody has it from another.
    let reader = match grant.rights.content {
        true => grant.id.as_bytes(),
        false => &[],
    };
    for part in [rights.as_slice(), reader, question.as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_kept_is_bounded() {
        let kept = Kept::default();
        let key = |n: usize| blake3::hash(&n.to_le_bytes());
        for n in 0..MOST {
            kept.put(key(n), json!({"rows": []}));
        }
        assert_eq!(kept.get(&key(0)), Some(json!({"rows": []})));
        kept.put(key(MOST), json!({"rows": [1]}));
        assert_eq!(kept.get(&key(0)), None);
        assert_eq!(kept.get(&key(MOST)), Some(json!({"rows": [1]})));
        let large = json!({"rows": vec![0; MOST_ROWS - 2]});
        kept.put(key(1), large.clone());
        assert_eq!(kept.get(&key(MOST)), None);
        assert_eq!(kept.get(&key(1)), Some(large));
    }
}

//! The lock file: which version of which rule meant what, so that no rule changes its meaning in silence.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::problem::Problem;
use super::rule::Rule;

/// One line of the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// The version.
    pub version: i64,
    /// Its [`meaning`].
    pub meaning: String,
}

/// `rules.lock`: a line `id version meaning` for each rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// By id.
    pub rules: BTreeMap<String, Locked>,
}

const HEAD: &str =
    "# Written by `inferwatch check --lock`: rule, version, hash of what that version means.\n";

impl Lock {
    /// Reads a lock file.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn parse(text: &str) -> Result<Lock, Problem> {
        let mut rules = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                [id, version, meaning] if version.parse::<i64>().is_ok() => {
                    let version = version.parse().unwrap_or_default();
                    let meaning = meaning.to_string();
                    rules.insert(id.to_string(), Locked { version, meaning });
                }
                _ => {
                    return Err(Problem::error(
                        "L-VERSION",
                        Some(index + 1),
                        "a line is `rule version hash`",
                    ));
                }
            }
        }
        Ok(Lock { rules })
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let lines = self
            .rules
            .iter()
            .map(|(id, locked)| format!("{id} {} {}\n", locked.version, locked.meaning));
        std::iter::once(HEAD.to_string()).chain(lines).collect()
    }
}

/// Hash of what decides a rule's findings: the query without layout and comments, and the keys that matter. Titles,
/// prose and mappings may change under the same version.
pub fn meaning(rule: &Rule, canonical_sql: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(rule.meaning());
    hash.update([0]);
    hash.update(canonical_sql);
    hash.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_round_trips() {
        let text = "# note\n\nb-rule 2 00ff\na-rule 1 abcd\n";
        let lock = Lock::parse(text).expect("valid");
        assert_eq!(
            lock.rules["b-rule"],
            Locked {
                version: 2,
                meaning: "00ff".into()
            }
        );
        assert_eq!(Lock::parse(&lock.render()), Ok(lock));
        assert_eq!(
            Lock::parse("a one two\n").expect_err("no version").line,
            Some(1)
        );
    }
}

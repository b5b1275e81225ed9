//! The technique ids that are known, from pinned lists: an id is checked against a version, not against the web.

use std::collections::HashSet;
use std::sync::LazyLock;

/// A list of ids with the version it was taken from.
#[derive(Debug)]
pub(super) struct Pinned {
    /// As the file's first line says.
    pub(super) version: &'static str,
    /// The ids.
    pub(super) ids: HashSet<&'static str>,
}

impl Pinned {
    fn load(path: &str) -> Pinned {
        let text = super::embedded(path).unwrap_or_default();
        Pinned {
            version: text
                .lines()
                .next()
                .unwrap_or_default()
                .trim_start_matches("# "),
            ids: text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .collect(),
        }
    }
}

/// MITRE ATLAS techniques.
pub(super) static ATLAS: LazyLock<Pinned> =
    LazyLock::new(|| Pinned::load("queries/pinned/atlas.txt"));

/// OWASP entries, each with its year.
pub(super) static OWASP: LazyLock<Pinned> =
    LazyLock::new(|| Pinned::load("queries/pinned/owasp.txt"));

/// Every ATLAS technique and every OWASP entry that is known.
pub fn techniques() -> (Vec<&'static str>, Vec<&'static str>) {
    let all = |pinned: &'static Pinned| pinned.ids.iter().copied().collect();
    (all(&ATLAS), all(&OWASP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_there() {
        assert!(ATLAS.ids.contains("AML.T0051.000"));
        assert!(OWASP.ids.contains("LLM10:2025"));
        assert!(ATLAS.version.contains("ATLAS"));
    }
}

//! Blocks of TOML: keys in one order, their signs of equality one under the other.

use crate::catalog::block::Block;

/// Keys of a rule in the order in which they are written.
pub(super) const RULE: [&str; 44] = [
    "id",
    "title",
    "version",
    "kind",
    "status",
    "replaced_by",
    "severity",
    "confidence",
    "source",
    "requires",
    "signals",
    "signals_required",
    "order",
    "absent",
    "within",
    "window",
    "every",
    "by",
    "on",
    "mode",
    "tumbling_reason",
    "lateness",
    "late_horizon",
    "baseline",
    "min_history",
    "quiet",
    "entity",
    "dedup",
    "early",
    "for",
    "keep",
    "noise",
    "atlas",
    "owasp",
    "attack",
    "owner",
    "author",
    "description",
    "false_positives",
    "evasion",
    "references",
    "runbook",
    "tags",
    "sinks",
];

/// Those of a test; what is given and expected stands in the author's order.
pub(super) const TEST: [&str; 2] = ["name", "at"];

/// Those of a tier.
pub(super) const TIER: [&str; 9] = [
    "id",
    "title",
    "version",
    "table",
    "action",
    "columns",
    "grain",
    "minimum_age",
    "description",
];

/// Those of a panel.
pub(super) const PANEL: [&str; 14] = [
    "id",
    "title",
    "board",
    "position",
    "size",
    "chart",
    "unit",
    "scale",
    "bucket",
    "empty",
    "thresholds",
    "refresh",
    "drill_down",
    "description",
];

/// Those of a board.
pub(super) const BOARD: [&str; 5] = ["id", "title", "position", "range", "description"];

/// Those of a view.
pub(super) const VIEW: [&str; 4] = ["name", "description", "margin", "span_ms"];

/// Those of a test of a tier.
pub(super) const TIER_TEST: [&str; 5] = ["name", "now", "periods", "megabytes", "expect"];

/// Those of an exception.
const EXCEPTION: [&str; 5] = ["id", "rules", "reason", "owner", "expires"];

/// A key with its value, or a comment, with the comments above it.
#[derive(Debug, Default)]
struct Entry {
    /// `None` for comments at the end.
    key: Option<String>,
    lines: Vec<String>,
}

pub(super) fn block_text(block: &Block) -> String {
    let (order, width): (&[&str], usize) = match block.kind.as_str() {
        "rule" => (&RULE, 11),
        "test" if block.toml.lines().any(|line| line.starts_with("periods")) => (&TIER_TEST, 7),
        "test" => (&TEST, 4),
        "tier" => (&TIER, 11),
        "exception" => (&EXCEPTION, 7),
        "view" => (&VIEW, 11),
        "panel" => (&PANEL, 11),
        "board" => (&BOARD, 11),
        _ => (&[], 0),
    };
    let mut text = format!("-- /// {}\n", block.kind);
    for (place, section) in sections(&block.toml).into_iter().enumerate() {
        let mut entries = section.entries;
        if let Some(head) = section.head {
            if place > 0 && text.lines().count() > 1 {
                text.push_str("--\n");
            }
            for line in section.above.iter().chain([&head]) {
                push(&mut text, line);
            }
        } else {
            let rank = |entry: &Entry| match &entry.key {
                None => usize::MAX,
                Some(key) => {
                    let known = order.iter().position(|name| name == key);
                    known.unwrap_or(order.len())
                }
            };
            entries.sort_by_key(rank);
        }
        let width = if place == 0 { width } else { 0 };
        for entry in entries {
            for line in aligned(entry, width) {
                push(&mut text, &line);
            }
        }
    }
    text.push_str("-- ///\n");
    text
}

fn push(text: &mut String, line: &str) {
    text.push_str("--");
    if !line.is_empty() {
        text.push(' ');
        text.push_str(line);
    }
    text.push('\n');
}

/// `key = value` with the sign of equality under those of its neighbours.
fn aligned(entry: Entry, width: usize) -> Vec<String> {
    let Entry { key, mut lines } = entry;
    let Some(key) = key else {
        return lines;
    };
    let first = lines
        .iter_mut()
        .find(|line| !line.trim_start().starts_with('#'));
    if let Some(line) = first
        && let Some((name, value)) = line.split_once('=')
        && name.trim() == key
    {
        *line = format!("{key:<width$} = {}", value.trim_start());
    }
    lines
}

/// A table of a block: the root, or one with a head such as `[params]`.
#[derive(Debug, Default)]
struct Tables {
    head: Option<String>,
    /// Comments above the head.
    above: Vec<String>,
    entries: Vec<Entry>,
}

/// Takes the TOML of a block apart, line by line. Blank lines go, but for those inside of values.
fn sections(toml: &str) -> Vec<Tables> {
    let mut all = vec![Tables::default()];
    let mut entry = Entry::default();
    let mut value = Scanner::default();
    for line in toml.lines() {
        if value.is_open() {
            let is_text = value.is_in_text();
            value.take(line);
            // A text of several lines keeps what is at the ends of its lines.
            let kept = if is_text || value.is_in_text() {
                line
            } else {
                line.trim_end()
            };
            entry.lines.push(kept.to_string());
            if !value.is_open() {
                close(&mut all, &mut entry);
            }
            continue;
        }
        let bare = line.trim();
        if bare.is_empty() {
            continue;
        }
        if bare.starts_with('#') {
            entry.lines.push(bare.to_string());
        } else if bare.starts_with('[') {
            let above = std::mem::take(&mut entry.lines);
            all.push(Tables {
                head: Some(bare.to_string()),
                above,
                entries: Vec::new(),
            });
        } else {
            let (name, rest) = bare.split_once('=').unwrap_or((bare, ""));
            entry.key = Some(name.trim().to_string());
            value = Scanner::default();
            value.take(rest);
            entry.lines.push(match value.is_in_text() {
                true => line.trim_start().to_string(),
                false => bare.to_string(),
            });
            if !value.is_open() {
                close(&mut all, &mut entry);
            }
        }
    }
    close(&mut all, &mut entry);
    all
}

fn close(all: &mut [Tables], entry: &mut Entry) {
    let entry = std::mem::take(entry);
    if let Some(table) = all.last_mut().filter(|_| !entry.lines.is_empty()) {
        table.entries.push(entry);
    }
}

/// Knows whether a value of TOML goes on in the next line.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Brackets and braces that are open.
    depth: usize,
    /// The quotes that end the text that is open.
    text: Option<&'static str>,
}

impl Scanner {
    pub(super) fn is_open(&self) -> bool {
        self.depth > 0 || self.text.is_some()
    }

    pub(super) fn is_in_text(&self) -> bool {
        self.text.is_some()
    }

    pub(super) fn take(&mut self, line: &str) {
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            if let Some(end) = self.text {
                if end.starts_with('"') && c == '\\' {
                    rest = rest.get(2..).unwrap_or("");
                    continue;
                }
                if rest.starts_with(end) {
                    rest = &rest[end.len()..];
                    self.text = None;
                    continue;
                }
            } else if let Some(quotes) = ["\"\"\"", "'''", "\"", "'"]
                .into_iter()
                .find(|it| rest.starts_with(it))
            {
                self.text = Some(quotes);
                rest = &rest[quotes.len()..];
                continue;
            } else {
                match c {
                    '#' => return,
                    '[' | '{' => self.depth += 1,
                    ']' | '}' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
            }
            rest = &rest[c.len_utf8()..];
        }
        // A text in single quotes ends with its line, or it is no TOML.
        if self.text.is_some_and(|quotes| quotes.len() == 1) {
            self.text = None;
        }
    }
}

//! Splits a versioned SQL file into its comment blocks and its SQL. Knows the fences, not what stands between them.
//!
//! A block starts with a line `-- /// <type>`, ends with `-- ///`, and every line between is `--` or `-- text`. What
//! is left over is SQL, and keeps its line numbers: block lines become empty lines.

use super::problem::Problem;

/// One comment block: its TOML text, line for line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// `rule`, `test`, ...
    pub kind: String,
    /// Line of the opening fence, counted from one. Line `n` of `toml` is line `line + n` of the file.
    pub line: usize,
    /// What stands between the fences, without the comment marks.
    pub toml: String,
}

/// A file, split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The blocks in order.
    pub blocks: Vec<Block>,
    /// The SQL, with an empty line for each line of a block.
    pub sql: String,
}

/// The block types there are.
pub(super) const KINDS: [&str; 8] = [
    "rule",
    "test",
    "exception",
    "tier",
    "pack",
    "panel",
    "board",
    "view",
];

/// Splits a file.
///
/// # Errors
/// Every fence that is open, misplaced or unknown, with its line.
pub fn split(text: &str) -> Result<Split, Vec<Problem>> {
    let mut split = Split {
        blocks: Vec::new(),
        sql: String::with_capacity(text.len()),
    };
    let mut problems = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .lines()
        .enumerate()
    {
        let number = index + 1;
        let error = |message: String| Problem::error("L-HEADER", Some(number), message);
        match (&mut open, fence(line)) {
            (None, Some("")) => problems.push(error("`-- ///` closes no block".into())),
            (None, Some(kind)) => {
                if !KINDS.contains(&kind) {
                    problems.push(unknown_kind(kind, number));
                }
                open = Some(Block {
                    kind: kind.to_string(),
                    line: number,
                    toml: String::new(),
                });
            }
            (Some(_), Some("")) => split.blocks.extend(open.take()),
            (Some(block), Some(kind)) => {
                problems.push(error(format!(
                    "block `{kind}` opens inside the block `{}` of line {}",
                    block.kind, block.line
                )));
            }
            (Some(block), None) => match comment(line) {
                Some(text) => {
                    block.toml.push_str(text);
                    block.toml.push('\n');
                }
                None => {
                    problems.push(
                        error(format!(
                            "a line of the block `{}` is not `-- text`",
                            block.kind
                        ))
                        .hint(Some(
                            "end the block with `-- ///` before the SQL".to_string(),
                        )),
                    );
                    return Err(problems);
                }
            },
            (None, None) => {
                if is_stray_fence(line) {
                    problems.push(
                        error("a block fence that is no `-- ///` line: was the header turned into a block comment?".into())
                            .hint(Some("write every line of the block as `-- text`".to_string())),
                    );
                }
                split.sql.push_str(line);
            }
        }
        split.sql.push('\n');
    }
    if let Some(block) = open {
        problems.push(
            Problem::error(
                "L-HEADER",
                Some(block.line),
                format!("block `{}` is never closed", block.kind),
            )
            .hint(Some("end it with a line `-- ///`".to_string())),
        );
    }
    if problems.is_empty() {
        Ok(split)
    } else {
        Err(problems)
    }
}

fn unknown_kind(kind: &str, line: usize) -> Problem {
    let hint = crate::suggest::nearest(kind, KINDS)
        .map(|near| format!("did you mean `{near}`?"))
        .unwrap_or_else(|| format!("one of {}", KINDS.join(", ")));
    Problem::error(
        "L-HEADER",
        Some(line),
        format!("unknown block type `{kind}`"),
    )
    .hint(hint)
}

/// The block type after a fence, empty for a closing fence; `None` for any other line.
fn fence(line: &str) -> Option<&str> {
    line.trim_end()
        .strip_prefix("-- ///")
        .filter(|rest| rest.is_empty() || rest.starts_with(' '))
        .map(str::trim)
}

/// A fence that is no `--` line of its own: what a formatter makes of a header when it merges line comments.
fn is_stray_fence(line: &str) -> bool {
    line.trim_start_matches([' ', '\t', '/', '*', '-'])
        .split_whitespace()
        .next()
        .is_none_or(|word| KINDS.contains(&word) || word == "*/")
        && line.contains("///")
}

/// The text of a comment line.
fn comment(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("--")?;
    rest.strip_prefix(' ')
        .or((rest.trim_end().is_empty()).then_some(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_leave_the_sql_on_its_lines() {
        let split = split("-- /// rule\n-- id = \"a\"\n--\n-- ///\nSELECT 1;\n-- /// test\n-- name = \"t\"\n-- ///\n").expect("valid");
        assert_eq!(split.sql, "\n\n\n\nSELECT 1;\n\n\n\n");
        assert_eq!(split.blocks.len(), 2);
        assert_eq!(
            split.blocks[0],
            Block {
                kind: "rule".into(),
                line: 1,
                toml: "id = \"a\"\n\n".into()
            }
        );
        assert_eq!(
            (split.blocks[1].kind.as_str(), split.blocks[1].line),
            ("test", 6)
        );
    }

    fn first_problem(text: &str) -> (Option<usize>, String, Option<String>) {
        let problem = split(text).expect_err("invalid").remove(0);
        (problem.line, problem.message, problem.hint)
    }

    #[test]
    fn broken_fences_are_named_by_line() {
        assert_eq!(first_problem("\n-- /// rule\n-- id = 1\n").0, Some(2));
        assert_eq!(first_problem("-- /// rule\nSELECT 1;\n").0, Some(2));
        assert_eq!(first_problem("SELECT 1;\n-- ///\n").0, Some(2));
        assert_eq!(
            first_problem("-- /// rule\n-- /// test\n-- ///\n").0,
            Some(2)
        );
        let (line, message, hint) = first_problem("-- /// rul\n-- ///\n");
        assert_eq!(
            (line, message.as_str(), hint.as_deref()),
            (
                Some(1),
                "unknown block type `rul`",
                Some("did you mean `rule`?")
            )
        );
    }

    #[test]
    fn a_header_in_a_block_comment_is_noticed() {
        for text in [
            "/* /// rule\n id = 1\n/// */\nSELECT 1",
            "/*\n * /// rule\n */",
            "--/// rule\n-- ///",
            "/// rule",
        ] {
            let (_, message, _) = first_problem(text);
            assert!(message.contains("block comment"), "{text}: {message}");
        }
    }
}

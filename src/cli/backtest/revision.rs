//! A rule file as it was at another revision, from git.

use std::borrow::Cow;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::catalog::{Pack, RuleFile};
use crate::error::Error;

/// Reads the rule of a file at a revision.
///
/// # Errors
/// When there is no git, no repository, no such revision, no such file in it, or it is no rule of that id.
pub(super) fn rule_at(file: &RuleFile, revision: &str) -> Result<RuleFile, Error> {
    let id = &file.rule.id;
    if file.rule.correlation.is_some() {
        return Err(usage(
            format!("`{id}` is a correlation, and hangs on the rules that it names"),
            "compare its signals with `--diff`, each by itself",
        ));
    }
    let text = text_at(&file.path, revision)?;
    let pack = Pack::from_files(std::iter::once((file.path.clone(), Cow::Owned(text))));
    if let Some(problem) = pack.problems.first() {
        return Err(usage(
            format!("`{id}` at `{revision}` is no rule that this version reads: {problem}"),
            "a revision whose rule this version reads",
        ));
    }
    pack.rules.into_iter().next().ok_or_else(|| Error::Usage {
        message: format!("`{}` holds no rule at `{revision}`", file.path.display()),
        hint: None,
    })
}

fn usage(message: String, hint: &str) -> Error {
    Error::Usage {
        message,
        hint: Some(hint.to_string()),
    }
}

/// The text of a file at a revision. `cat-file` runs nothing of what a repository may configure.
fn text_at(path: &Path, revision: &str) -> Result<String, Error> {
    if revision.starts_with('-') || revision.contains(':') || revision.is_empty() {
        return Err(usage(
            format!("`{revision}` is no revision"),
            "a commit, a branch, a tag, or `HEAD~1`",
        ));
    }
    if !path.is_file() {
        return Err(usage(
            format!("`{}` is no file here", path.display()),
            "`--rules PATH` names rule files inside of a git repository",
        ));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["cat-file", "blob"])
        .arg(format!("{revision}:./{name}"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(usage(
                "cannot run `git`".to_string(),
                "`--diff` reads the other revision with git: install it, or put it on the PATH",
            ));
        }
        other => other.map_err(Error::io("run", "git"))?,
    };
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|_| {
            let path = path.display();
            usage(
                format!("`{path}` is no text at `{revision}`"),
                "a rule file",
            )
        });
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("fatal: ");
    let shown = path.display();
    Err(if said.contains("not a git repository") {
        usage(
            format!("`{shown}` is not inside of a git repository"),
            "`--diff` compares with the same file at another revision",
        )
    } else if said.contains("but not in") || said.contains("does not exist in") {
        usage(
            format!("`{shown}` is not in `{revision}`"),
            "`git log -- FILE` lists the revisions that it is in",
        )
    } else if said.contains("invalid object name") || said.contains("Not a valid object name") {
        usage(
            format!("no revision `{revision}` in the repository of `{shown}`"),
            "a commit, a branch, a tag, or `HEAD~1`",
        )
    } else {
        usage(
            format!("git cannot read `{shown}` at `{revision}`: {said}"),
            "a commit, a branch, a tag, or `HEAD~1`",
        )
    })
}

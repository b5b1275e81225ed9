//! `inferwatch new`: a rule file to begin with, that passes `check` and `test` as it stands.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{CLEAR, Global};
use crate::error::Error;

/// Write a rule file to begin with
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its id: lower-case letters, digits, `-`
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: String,
    /// The folder for it
    #[arg(
        long,
        env = "INFERWATCH_NEW_FOLDER",
        value_name = "PATH",
        default_value = "."
    )]
    folder: PathBuf,
}

fn parse_id(text: &str) -> Result<String, String> {
    let is_id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match !text.is_empty() && text.len() <= 80 && text.chars().all(is_id) {
        true => Ok(text.to_string()),
        false => Err("an id has lower-case letters, digits and `-`".to_string()),
    }
}

/// Runs the subcommand.
///
/// # Errors
/// When there is such a file, or it cannot be written.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.folder)
        .with_context(|| format!("making the folder `{}`", args.folder.display()))?;
    let path = args.folder.join(format!("{}.sql", args.id));
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path);
    let mut file = match file {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::Usage {
                message: format!("`{}` is there", path.display()),
                hint: Some("an id is never used for another rule".into()),
            }
            .into());
        }
        other => other.with_context(|| format!("writing `{}`", path.display()))?,
    };
    file.write_all(scaffold(&args.id).as_bytes())
        .with_context(|| format!("writing `{}`", path.display()))?;
    let path = path.display();
    global.note(&format!(
        "wrote `{path}`\nhint: `inferwatch check {path} && inferwatch test {path}`, and `inferwatch backtest --rules {path}`"
    ));
    Ok(ExitCode::from(CLEAR))
}

fn scaffold(id: &str) -> String {
    format!(
        r#"-- /// rule
-- id          = "{id}"
-- title       = "A caller failed many times in an hour"
-- version     = 1
-- status      = "experimental"
-- severity    = "low"
-- confidence  = "low"
-- source      = ["calls_merged"]
-- requires    = ["caller", "outcome"]
-- window      = "1h"
-- every       = "5m"
-- entity      = ["caller"]
-- atlas       = []
-- owasp       = []
-- description = "What it finds, and why that matters."
-- false_positives = ["What is harmless and looks the same"]
-- evasion     = ["How somebody goes unseen"]
-- runbook     = "What to do about a finding"
--
-- [params]
-- max_failures = {{ default = 20, min = 0, doc = "failures of one caller that are tolerated in an hour" }}
-- ///
SELECT
    caller,
    count(*) AS event_count,
    min(event_time) AS first_seen,
    max(event_time) AS last_seen
FROM calls_merged
WHERE event_time >= $window_start AND event_time < $window_end
    AND caller IS NOT NULL
    AND outcome = 'failure'
GROUP BY caller
HAVING count(*) > $max_failures;

-- /// test
-- name = "one failure above the line"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [{{ event_time = "-50m", caller = "a", outcome = "failure", repeat = 21, every = "1m" }}]
-- expect = [{{ caller = "a", event_count = 21 }}]
-- ///

-- /// test
-- name = "on the line"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [{{ event_time = "-50m", caller = "a", outcome = "failure", repeat = 20, every = "1m" }}]
-- expect = []
-- ///

-- /// test
-- name = "calls that were answered are no failures"
-- at   = 2026-01-01T01:00:00Z
-- given.calls = [{{ event_time = "-50m", caller = "a", repeat = 50, every = "1m" }}]
-- expect = []
-- expect_state = "clear"
-- ///
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Pack;
    use crate::catalog::check::Checker;
    use crate::detect::run_cases;
    use std::borrow::Cow;

    #[test]
    fn the_scaffold_passes_check_and_test() {
        let files = [(
            PathBuf::from("my-rule.sql"),
            Cow::Owned(scaffold("my-rule")),
        )];
        let pack = Pack::from_files(files.into_iter());
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let report =
            runtime.block_on(async { Checker::new().await.expect("plans").check(&pack).await });
        assert_eq!(report.problems, []);
        let file = pack.rule("my-rule").expect("is there");
        let results = run_cases(runtime.handle(), vec![file], 1).expect("the views plan");
        assert_eq!(results[0].len(), 3);
        for result in &results[0] {
            assert_eq!(result.failure, None);
        }
    }

    #[test]
    fn an_id_is_no_path() {
        for text in ["../x", "a/b", "A", "", "a.b"] {
            assert!(parse_id(text).is_err(), "{text}");
        }
        assert_eq!(parse_id("my-rule-2"), Ok("my-rule-2".to_string()));
    }
}

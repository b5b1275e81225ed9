//! A program that is started for each finding: a rollback, a ticket. The finding is in its environment and, as JSON, on
//! its standard input. There is no shell in between, so that nothing in a finding is ever a command.
//!
//! The environment holds nothing else but `PATH`, `HOME`, `LANG`, `TZ`, and what `pass_env` names: secrets of other
//! sinks are nobody's business.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{Message, cut};
use crate::catalog::Section;
use crate::detect::time_text;
use crate::output::escape::visible;
use crate::sinks::failure::{Answer, Failure};
use crate::sinks::finding::{Told, plain};

/// Variables that every program gets if they are there.
const PASSED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];
/// As much of what it printed is kept.
const MOST_OUTPUT: u64 = 4096;

/// See the module's documentation.
#[derive(Debug)]
pub struct Command {
    program: PathBuf,
    arguments: Vec<String>,
    passed: Vec<String>,
    folder: Option<PathBuf>,
}

impl Command {
    pub(super) fn read(section: &Section<'_, '_>, folder: &Path) -> Option<Command> {
        let command = section.required("command", |section, key| Some(section.texts(key)))?;
        let passed = section.texts("pass_env");
        if passed.iter().any(|name| name.starts_with("INFERWATCH_")) {
            section.fault_at(
                "pass_env",
                "`INFERWATCH_…` is the finding's here, and never the program's own keys",
            );
        }
        let working = crate::sinks::settings::path(section, "folder", folder);
        let Some((program, arguments)) = command.split_first() else {
            section.fault_at(
                "command",
                "`command` is a list: the program, then its arguments",
            );
            return None;
        };
        // A bare name is looked for in `PATH`; anything with a separator is a file.
        let program = match Path::new(program).components().count() {
            1 => PathBuf::from(program),
            _ => folder.join(program),
        };
        Some(Command {
            program,
            arguments: arguments.to_vec(),
            passed,
            folder: working,
        })
    }

    pub(super) fn place(&self) -> String {
        self.program.display().to_string()
    }

    pub(super) async fn send(&self, message: &Message<'_>) -> Result<Answer, Failure> {
        let told = message.first();
        let broken = |error: std::io::Error| Failure::unreachable(error.to_string());
        // Files instead of pipes: what a program leaves running cannot keep us waiting for its end.
        let input = input(told).map_err(broken)?;
        let mut output = tempfile::tempfile().map_err(broken)?;
        let to_output = || output.try_clone().map(Stdio::from);
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(environment(told))
            .stdin(Stdio::from(input))
            .stdout(to_output().map_err(broken)?)
            .stderr(to_output().map_err(broken)?)
            // When the time is over, whoever waits is dropped, and with it the program.
            .kill_on_drop(true);
        for name in PASSED
            .into_iter()
            .chain(self.passed.iter().map(String::as_str))
        {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        #[cfg(unix)]
        command.process_group(0);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let mut child = command.spawn().map_err(|error| {
            let why = format!("`{}` cannot be started: {error}", self.program.display());
            match error.kind() {
                ErrorKind::NotFound | ErrorKind::PermissionDenied => Failure::settings(why),
                _ => Failure::unreachable(why),
            }
        })?;
        let status = child.wait().await.map_err(broken)?;
        let text = printed(&mut output).unwrap_or_default();
        if status.success() {
            return Ok(Answer {
                status: "ended with 0".into(),
                text,
            });
        }
        let why = match status.code() {
            Some(code) => format!("it ended with {code}"),
            None => "it was killed".to_string(),
        };
        Err(Failure {
            answer: Some(text).filter(|text| !text.is_empty()),
            ..Failure::broken(why)
        })
    }
}

/// The finding as a file to read from.
fn input(told: &Told) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(told.json().to_string().as_bytes())?;
    file.write_all(b"\n")?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn printed(output: &mut File) -> std::io::Result<String> {
    output.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    output.take(MOST_OUTPUT).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(cut(text.trim_end(), 500))
}

/// The finding as variables. A value has no line end and no other control character.
fn environment(told: &Told) -> Vec<(String, String)> {
    let time = |time: Option<i64>| time.map(time_text).unwrap_or_default();
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    let mut variables: Vec<(String, String)> = [
        ("FINDING", told.finding.clone()),
        ("REVISION", told.revision.to_string()),
        ("KEY", told.key()),
        ("EVENT", told.event.name().into()),
        ("STATUS", told.status.clone()),
        ("RULE", told.rule.clone()),
        ("RULE_VERSION", told.rule_version.to_string()),
        ("SEVERITY", told.severity.name().into()),
        ("TITLE", told.title.clone()),
        ("EVENT_COUNT", number(told.event_count)),
        ("FIRST_SEEN", time(told.first_seen)),
        ("LAST_SEEN", time(told.last_seen)),
        ("WINDOW_START", time_text(told.window_start)),
        ("WINDOW_END", time_text(told.window_end)),
        ("TAGS", told.tags.join(",")),
        ("LINK", told.link.clone().unwrap_or_default()),
        ("TEST", told.is_test.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (format!("INFERWATCH_{name}"), value))
    .collect();
    let columns = told
        .entity
        .iter()
        .map(|(name, value)| ("ENTITY", name, value));
    let evidence = told.evidence.iter();
    let columns = columns.chain(evidence.map(|(name, value)| ("EVIDENCE", name, value)));
    for (kind, name, value) in columns {
        let name: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        variables.push((
            format!("INFERWATCH_{kind}_{name}"),
            cut(&plain(value), 2000),
        ));
    }
    for (_, value) in &mut variables {
        *value = visible(value).into_owned();
    }
    debug_assert!(
        variables
            .iter()
            .all(|(name, _)| !OsStr::new(name).is_empty())
    );
    variables
}

//! The config file: any long flag, under its own name, as a new default.
//!
//! ```toml
//! store = "/var/lib/inferwatch"
//! color = "never"
//!
//! [sql]
//! memory-limit = "4GiB"
//! max-rows = 200
//! ```
//!
//! Top-level keys are the global flags; a table holds the flags of the subcommand of that name. Since values become
//! defaults of the parser, a flag wins over its environment variable, that over the file, the file over what is built
//! in, and every value is checked as if it had been typed. Relative paths count from the file's folder.
//!
//! Some keys are no flags: what the file says of sinks is read by [`crate::sinks`], when it is needed.

use std::path::{Path, PathBuf};

use clap::builder::ValueHint;
use clap::{Arg, Command};
use toml::Value;

use crate::error::{Error, Result};
use crate::suggest::nearest;

/// The file's name, in the working folder or in the user's config folder.
pub const FILE_NAME: &str = "inferwatch.toml";

/// Keys that are read elsewhere.
const ELSEWHERE: [&str; 4] = crate::sinks::KEYS;

/// Flags that a file cannot give: they decide about the file itself, or make sense only once.
const NOT_IN_FILE: [&str; 4] = ["config", "no-config", "help", "version"];

/// The config file that applies when none is named: the working folder's, else the user's.
pub fn find() -> Option<PathBuf> {
    let user = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(std::env::home_dir()?.join(".config")))
        .map(|folder| folder.join("inferwatch").join(FILE_NAME));
    [Some(PathBuf::from(FILE_NAME)), user]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
}

/// Reads the file and makes its values the command's defaults.
///
/// # Errors
/// When the file cannot be read, is not TOML, has a key that is no flag, or a value that the flag does not take.
pub fn apply(command: Command, path: &Path) -> Result<Command> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    apply_text(command, path, &text)
}

fn apply_text(mut command: Command, path: &Path, text: &str) -> Result<Command> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error
            .span()
            .map(|span| text[..span.start].matches('\n').count() + 1);
        wrong(path, line, error.message().to_string(), None)
    })?;
    for (key, value) in table {
        if ELSEWHERE.contains(&key.as_str()) {
            continue;
        }
        command = match (value, command.find_subcommand(&key).cloned()) {
            (Value::Table(section), Some(mut subcommand)) => {
                for (flag, value) in section {
                    let shown = format!("{key}.{flag}");
                    subcommand = set(subcommand, path, &flag, &shown, &value, &[])?;
                }
                command.mut_subcommand(&key, |_| subcommand)
            }
            (value, _) => {
                let sections: Vec<String> = command
                    .get_subcommands()
                    .map(|subcommand| subcommand.get_name().to_string())
                    .chain(ELSEWHERE.map(str::to_string))
                    .collect();
                set(command, path, &key, &key, &value, &sections)?
            }
        };
    }
    Ok(command)
}

/// Makes the value the default of the flag.
fn set(
    command: Command,
    path: &Path,
    flag: &str,
    shown: &str,
    value: &Value,
    sections: &[String],
) -> Result<Command> {
    let known = || {
        command
            .get_arguments()
            .filter_map(Arg::get_long)
            .filter(|long| !NOT_IN_FILE.contains(long))
    };
    let Some(arg) = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(flag) && !NOT_IN_FILE.contains(&flag))
    else {
        let names = known().chain(sections.iter().map(String::as_str));
        let hint = match nearest(flag, names) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
        };
        return Err(wrong(
            path,
            None,
            format!("unknown key `{shown}`"),
            Some(hint),
        ));
    };
    let values: Vec<String> = match value {
        Value::Array(items) => items.iter().map(text_of).collect::<Option<_>>(),
        item => text_of(item).map(|text| vec![text]),
    }
    .ok_or_else(|| {
        let message = format!("`{shown}` is not a text, number or boolean");
        wrong(path, None, message, None)
    })?;
    let values: Vec<String> = match arg.get_value_hint() {
        ValueHint::AnyPath | ValueHint::DirPath | ValueHint::FilePath => {
            let folder = path.parent().unwrap_or(Path::new(""));
            values
                .into_iter()
                .map(|value| folder.join(value).display().to_string())
                .collect()
        }
        _ => values,
    };
    check(arg, &values)
        .map_err(|reason| wrong(path, None, format!("`{shown}`: {reason}"), None))?;
    let id = arg.get_id().clone();
    // Defaults live as long as the program, and so does what the file says.
    let values: Vec<&'static str> = values
        .into_iter()
        .map(|value| &*Box::leak(value.into_boxed_str()))
        .collect();
    Ok(command.mut_arg(id, |arg| arg.default_values(values)))
}

/// Parses the values as if they stood on a command line.
fn check(arg: &Arg, values: &[String]) -> std::result::Result<(), String> {
    let arg = arg.clone().global(false).env(None::<&str>);
    let long = arg.get_long().unwrap_or_default().to_string();
    let takes_values = arg.get_action().takes_values();
    let probe = Command::new("probe").no_binary_name(true);
    let parsed = if takes_values {
        let line = values.iter().map(|value| format!("--{long}={value}"));
        probe.arg(arg).try_get_matches_from(line)
    } else {
        // A switch has no value on the command line, but its environment variable has: the same parser reads both.
        let value = arg.action(clap::ArgAction::Set).num_args(1);
        let line = values.iter().map(|value| format!("--{long}={value}"));
        probe.arg(value).try_get_matches_from(line)
    };
    parsed.map(drop).map_err(|error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        let choices = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("[possible values: "))
            .map(|choices| format!(", expected one of {}", choices.trim_end_matches(']')));
        line.trim_start_matches("error: ").to_string() + &choices.unwrap_or_default()
    })
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(switch) => Some(switch.to_string()),
        _ => None,
    }
}

fn wrong(path: &Path, line: Option<usize>, message: String, hint: Option<String>) -> Error {
    Error::Catalog {
        path: path.to_path_buf(),
        line,
        message,
        hint,
    }
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    fn command() -> Command {
        Command::new("program")
            .arg(
                Arg::new("store")
                    .long("store")
                    .global(true)
                    .value_parser(clap::value_parser!(PathBuf))
                    .default_value("here"),
            )
            .arg(
                Arg::new("no_config")
                    .long("no-config")
                    .action(ArgAction::SetTrue),
            )
            .subcommand(
                Command::new("sql")
                    .arg(
                        Arg::new("max_rows")
                            .long("max-rows")
                            .value_parser(clap::value_parser!(usize))
                            .default_value("7"),
                    )
                    .arg(Arg::new("timing").long("timing").action(ArgAction::SetTrue)),
            )
    }

    fn apply(text: &str) -> Result<Command> {
        apply_text(command(), Path::new("/etc/inferwatch.toml"), text)
    }

    fn message(text: &str) -> (String, Option<String>) {
        let error = apply(text).unwrap_err();
        (error.to_string(), error.hint().map(str::to_string))
    }

    #[test]
    fn values_become_defaults_and_flags_still_win() {
        let command = apply("store = 'data'\n[sql]\nmax-rows = 9\ntiming = true").unwrap();
        let matches = command.clone().get_matches_from(["program", "sql"]);
        let sql = matches.subcommand_matches("sql").unwrap();
        assert_eq!(sql.get_one::<usize>("max_rows"), Some(&9));
        assert!(sql.get_flag("timing"));
        // Relative to the file, not to the working folder.
        assert_eq!(
            sql.get_one::<PathBuf>("store").map(PathBuf::as_path),
            Some(Path::new("/etc/data"))
        );
        let matches = command.get_matches_from(["program", "sql", "--max-rows=1"]);
        let sql = matches.subcommand_matches("sql").unwrap();
        assert_eq!(sql.get_one::<usize>("max_rows"), Some(&1));
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        assert_eq!(
            message("[sql]\nmax-row = 1"),
            (
                "/etc/inferwatch.toml: unknown key `sql.max-row`".into(),
                Some("did you mean `max-rows`?".into())
            )
        );
        assert_eq!(
            message("stroe = 'x'").1.as_deref(),
            Some("did you mean `store`?")
        );
        assert_eq!(message("sq = 1").1.as_deref(), Some("did you mean `sql`?"));
        // What decides about the file cannot stand in it.
        assert_eq!(
            message("no-config = true").1.as_deref(),
            Some("known here: store")
        );
    }

    #[test]
    fn what_is_read_elsewhere_is_no_fault() {
        let text = "store = 'x'\n[sinks.chat]\nkind = 'slack'\n[[routes]]\nsinks = ['chat']";
        assert!(apply(text).is_ok());
        assert_eq!(
            message("[[route]]\nsinks = []").1.as_deref(),
            Some("did you mean `routes`?")
        );
    }

    #[test]
    fn values_are_checked_like_flags() {
        let (text, _) = message("[sql]\nmax-rows = 'many'");
        assert!(
            text.contains("`sql.max-rows`: invalid value 'many'"),
            "{text}"
        );
        let (text, _) = message("store = { a = 1 }");
        assert!(
            text.ends_with("`store` is not a text, number or boolean"),
            "{text}"
        );
        let (text, _) = message("x = 1\nstore =\n");
        assert!(text.starts_with("/etc/inferwatch.toml:2: "), "{text}");
    }
}

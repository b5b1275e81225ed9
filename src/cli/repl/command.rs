//! Backslash commands: their names, what they take, what they do.

use crate::suggest::nearest;

/// What a person can ask of the shell besides SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Describe,
    Tables,
    Views,
    Functions,
    Expanded,
    Format,
    Timing,
    Include,
    Output,
    Watch,
    Edit,
    Set,
    Unset,
    SqlHelp,
    Help,
    Quit,
}

/// Name, argument and description of every command, in the order of the help.
pub(super) const COMMANDS: [(Command, &str, &str, &str); 16] = [
    (
        Command::Describe,
        "d",
        "[TABLE]",
        "columns of a table with what they mean; without one, the tables",
    ),
    (Command::Tables, "dt", "", "tables"),
    (Command::Views, "dv", "", "views and what they stand for"),
    (
        Command::Functions,
        "df",
        "[PATTERN]",
        "functions; the pattern is a part of the name, or has `*`",
    ),
    (
        Command::Expanded,
        "x",
        "",
        "one line per value instead of one per row, or back",
    ),
    (
        Command::Format,
        "format",
        "[NAME]",
        "table, json, ndjson or csv",
    ),
    (
        Command::Timing,
        "timing",
        "",
        "rows and time after each result, or not",
    ),
    (
        Command::Include,
        "i",
        "FILE",
        "run statements and commands from a file",
    ),
    (
        Command::Output,
        "o",
        "[FILE]",
        "write results to a file; without one, here again",
    ),
    (
        Command::Watch,
        "watch",
        "[SECONDS]",
        "run the last statement again and again, until Ctrl-C",
    ),
    (
        Command::Edit,
        "e",
        "",
        "edit the last statement in $VISUAL or $EDITOR",
    ),
    (
        Command::Set,
        "set",
        "[NAME VALUE]",
        "give `$name` in statements a value; without one, show them",
    ),
    (Command::Unset, "unset", "NAME", "take the value back"),
    (
        Command::SqlHelp,
        "h",
        "[STATEMENT]",
        "the form of a SQL statement; without one, a list",
    ),
    (Command::Help, "?", "", "this list"),
    (Command::Quit, "q", "", "leave, as does Ctrl-D"),
];

/// A line that begins with a backslash: the command and the rest, or a message and a hint.
pub(super) fn parse(line: &str) -> Result<(Command, &str), (String, Option<String>)> {
    let line = line.trim().trim_start_matches('\\');
    let line = line.trim_end_matches(';').trim_end();
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim();
    let unknown = || {
        let known = COMMANDS.iter().map(|(_, known, ..)| *known);
        let hint = match nearest(name, known) {
            Some(known) => format!("did you mean `\\{known}`?"),
            None => "`\\?` lists the commands".to_string(),
        };
        (format!("unknown command `\\{name}`"), Some(hint))
    };
    let (command, _, takes, _) = COMMANDS
        .iter()
        .find(|(_, known, ..)| *known == name)
        .ok_or_else(unknown)?;
    match (argument.is_empty(), *takes) {
        (false, "") => Err((format!("`\\{name}` takes nothing after it"), None)),
        (true, takes) if !takes.is_empty() && !takes.starts_with('[') => {
            Err((format!("`\\{name}` needs {takes}"), None))
        }
        _ => Ok((*command, argument)),
    }
}

/// The list that `\?` prints.
pub(super) fn help() -> String {
    let lines = COMMANDS.iter().map(|(_, name, takes, what)| {
        let call = format!("\\{name} {takes}");
        format!("  {call:<20} {what}\n")
    });
    let mut text: String = lines.collect();
    text.push_str(
        "\nStatements end with `;` and may take several lines. Tab completes, Ctrl-R searches the\n\
         history, Ctrl-C stops a query. A line that begins with a space is not kept in the history.\n",
    );
    text
}

/// The forms of the statements that `\h` explains.
const FORMS: [(&str, &str); 12] = [
    (
        "SELECT",
        "[WITH name AS (SELECT …)]\nSELECT [DISTINCT] expression [AS name], …\nFROM table | 'file.parquet' | 'folder/*.csv' [AS alias]\n[[LEFT | RIGHT | FULL | CROSS] JOIN table ON condition]\n[WHERE condition]\n[GROUP BY expression, …] [HAVING condition]\n[QUALIFY condition]\n[ORDER BY expression [DESC] [NULLS LAST], …]\n[LIMIT count [OFFSET start]]",
    ),
    (
        "WINDOW",
        "function(…) OVER ([PARTITION BY expression, …] [ORDER BY expression, …]\n  [ROWS | RANGE | GROUPS BETWEEN start AND end])\nwhere start and end are UNBOUNDED PRECEDING, n PRECEDING, CURRENT ROW, n FOLLOWING, UNBOUNDED FOLLOWING",
    ),
    (
        "COPY",
        "COPY table | (SELECT …) TO 'path'\n[STORED AS PARQUET | CSV | JSON] [PARTITIONED BY (column, …)] [OPTIONS (…)]",
    ),
    (
        "CREATE EXTERNAL TABLE",
        "CREATE EXTERNAL TABLE name [(column type, …)]\nSTORED AS PARQUET | CSV | JSON | NDJSON\n[PARTITIONED BY (column, …)] LOCATION 'path' [OPTIONS ('format.has_header' 'true')]",
    ),
    (
        "CREATE TABLE",
        "CREATE [OR REPLACE] TABLE name AS SELECT …\nThe table lives in memory until you leave.",
    ),
    (
        "CREATE VIEW",
        "CREATE [OR REPLACE] VIEW name AS SELECT …\nThe view lives until you leave.",
    ),
    ("DESCRIBE", "DESCRIBE table | SELECT …"),
    ("DROP", "DROP TABLE | VIEW [IF EXISTS] name"),
    (
        "EXPLAIN",
        "EXPLAIN [ANALYZE] [VERBOSE] [FORMAT indent | tree] SELECT …",
    ),
    (
        "INSERT",
        "INSERT INTO table SELECT … | VALUES (…)\nOnly into tables of your own: those of the store are filled by `inferwatch ingest`.",
    ),
    (
        "SET",
        "SET name = value\nSHOW ALL lists the settings, SHOW name shows one.",
    ),
    (
        "SHOW",
        "SHOW TABLES | COLUMNS FROM table | FUNCTIONS [LIKE 'pattern'] | ALL | name",
    ),
];

/// The form of a statement, or the list of those that are explained.
pub(super) fn sql_help(topic: &str) -> Result<String, (String, Option<String>)> {
    if topic.is_empty() {
        let names: Vec<&str> = FORMS.iter().map(|(name, _)| *name).collect();
        return Ok(format!(
            "`\\h STATEMENT` explains one of:\n  {}\n",
            names.join("\n  ")
        ));
    }
    let topic = topic.to_uppercase();
    match FORMS.iter().find(|(name, _)| *name == topic) {
        Some((_, form)) => Ok(format!("{form}\n")),
        None => Err((
            format!("no help on `{topic}`"),
            nearest(&topic, FORMS.iter().map(|(name, _)| *name))
                .map(|name| format!("did you mean `\\h {name}`?")),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_apart_by_their_whole_name() {
        assert_eq!(parse(r"\d calls"), Ok((Command::Describe, "calls")));
        assert_eq!(parse(r"\d"), Ok((Command::Describe, "")));
        assert_eq!(parse(r" \dt ;"), Ok((Command::Tables, "")));
        assert_eq!(parse(r"\df  text_*"), Ok((Command::Functions, "text_*")));
        assert_eq!(
            parse(r"\set who alice smith"),
            Ok((Command::Set, "who alice smith"))
        );
        assert_eq!(parse(r"\?"), Ok((Command::Help, "")));
    }

    #[test]
    fn a_wrong_command_names_the_nearest() {
        let (message, hint) = parse(r"\timng").unwrap_err();
        assert_eq!(message, r"unknown command `\timng`");
        assert_eq!(hint.as_deref(), Some(r"did you mean `\timing`?"));
        assert_eq!(
            parse(r"\nothing").unwrap_err().1.as_deref(),
            Some(r"`\?` lists the commands")
        );
        assert_eq!(parse(r"\i").unwrap_err().0, r"`\i` needs FILE");
        assert_eq!(
            parse(r"\x on").unwrap_err().0,
            r"`\x` takes nothing after it"
        );
    }

    #[test]
    fn help_names_every_command_and_every_form_parses() {
        let text = help();
        for (_, name, ..) in COMMANDS {
            assert!(text.contains(&format!("\\{name} ")), "{name}");
        }
        for (name, form) in FORMS {
            assert_eq!(sql_help(&name.to_lowercase()), Ok(format!("{form}\n")));
        }
        assert_eq!(
            sql_help("selct").unwrap_err().1.as_deref(),
            Some("did you mean `\\h SELECT`?")
        );
    }
}

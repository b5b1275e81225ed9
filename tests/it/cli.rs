//! The command line as a person or a script meets it: standard output, standard error and exit code together.

use std::path::Path;
use std::process::{Command, Stdio};

use inferwatch::schema::{Call, CallBuilder, Micros, Table};
use inferwatch::store::{Store, WriteOptions};
use insta::assert_snapshot;
use tempfile::TempDir;

use crate::command::bare;

/// Runs the program in the folder and shows everything that it did.
fn run_in(folder: &Path, arguments: &[&str]) -> String {
    run_with(folder, arguments, |command| command)
}

fn run_with(
    folder: &Path,
    arguments: &[&str],
    prepare: impl FnOnce(&mut Command) -> &mut Command,
) -> String {
    let mut command = program(folder);
    prepare(command.args(arguments));
    let output = command.output().expect("the program starts");
    format!(
        "exit: {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().expect("it ends by itself"),
        String::from_utf8(output.stdout).expect("text"),
        String::from_utf8(output.stderr).expect("text"),
    )
    .replace(&folder.display().to_string(), "[folder]")
}

/// The program, with nothing of the person's own settings.
fn program(folder: &Path) -> Command {
    let mut command = bare(folder);
    command.env("XDG_CONFIG_HOME", folder.join("config"));
    command
}

fn run(arguments: &[&str]) -> String {
    run_in(TempDir::new().unwrap().path(), arguments)
}

fn write(folder: &TempDir, name: &str, text: &str) {
    std::fs::write(folder.path().join(name), text).unwrap();
}

#[test]
fn short_help_fits_a_screen() {
    for arguments in [&["-h"][..], &["sql", "-h"], &["completions", "-h"]] {
        let text = run(arguments);
        let lines = text.lines().filter(|line| !line.starts_with("---")).count();
        assert!(lines <= 50, "{arguments:?}: {lines} lines\n{text}");
    }
}

#[test]
fn help_of_sql() {
    assert_snapshot!(run(&["sql", "--help"]));
}

#[test]
fn a_query_gives_lines_of_json_to_a_program() {
    assert_snapshot!(run(&[
        "sql",
        "SELECT 1 AS one, 'x' AS text, NULL AS nothing; SELECT true AS second"
    ]));
}

/// Values of every shape, with the JSON and text that their definition demands.
const SHAPES: &str = r#"
SELECT
    9223372036854775807 AS big,
    1.10::decimal(10, 2) AS price,
    0.1::float AS narrow,
    'nan'::double AS nan,
    [1, NULL, 3] AS list,
    {city: 'Zürich', size: 2} AS struct,
    MAP {'k': 1, 'l': 2} AS map,
    X'00ff' AS bytes,
    arrow_cast('word', 'Dictionary(Int32, Utf8)') AS dictionary,
    arrow_cast('2026-01-31T12:00:00.5Z', 'Timestamp(Microsecond, Some("UTC"))') AS at,
    DATE '2026-01-31' AS day,
    INTERVAL '90 minutes' AS pause,
    '' AS empty,
    NULL AS nothing
"#;

#[test]
fn every_format_prints_every_shape() {
    for format in ["json", "ndjson", "csv", "table"] {
        assert_snapshot!(
            format!("every_shape_as_{format}"),
            run(&["sql", SHAPES, "--format", format])
        );
    }
}

#[test]
fn no_rows_in_every_format() {
    for format in ["json", "ndjson", "csv", "table"] {
        assert_snapshot!(
            format!("no_rows_as_{format}"),
            run(&["sql", "SELECT 1 AS n WHERE false", "--format", format])
        );
    }
}

#[test]
fn planted_escape_sequences_reach_no_terminal() {
    // Colour, window title, bell, a C1 control sequence, a bidirectional override, a tag character.
    let query = "SELECT chr(27) || '[31mred' || chr(27) || ']0;title' || chr(7) || chr(155) || '2J' \
                 || chr(8238) || 'txt' || chr(917569) AS \"a\u{1b}[1mb\"";
    for format in ["table", "ndjson"] {
        let text = run(&["sql", query, "--format", format]);
        let hidden: Vec<char> = text
            .chars()
            .filter(|c| *c != '\n' && (c.is_control() || ['\u{202e}', '\u{e0041}'].contains(c)))
            .collect();
        assert!(hidden.is_empty(), "{format}: {hidden:?}");
        assert_snapshot!(format!("planted_escapes_as_{format}"), text);
    }
    // A file must hold what the log held.
    let csv = run(&["sql", query, "--format", "csv"]);
    assert!(csv.contains("\u{1b}[31mred\u{1b}]0;title\u{7}\u{9b}2J\u{202e}txt\u{e0041}"));
    // Errors quote the query, so they are escaped too.
    let error = run(&["sql", "SELECT \"\u{1b}[31mx\" FROM (VALUES (1)) AS t(a)"]);
    assert!(
        !error.contains('\u{1b}') && error.contains(r"\u{1b}[31mx"),
        "{error}"
    );
}

#[test]
fn errors_point_at_their_place_and_suggest_a_name() {
    for (name, query) in [
        ("keyword", "SELCT 1"),
        ("unfinished", "SELECT count(1, FROM"),
        (
            "column",
            "SELECT 1;\nSELECT calller\n  FROM (VALUES (1)) AS t(caller)",
        ),
        ("capitals", "SELECT home FROM (VALUES (1)) AS t(\"Home\")"),
        ("table", "SELECT * FROM cals"),
        ("no_store", "SELECT count(*) FROM calls"),
        ("no_file", "SELECT * FROM 'nothing.parquet'"),
        ("function", "SELECT lenght('x')"),
        ("arguments", "SELECT\n  sqrt('a', 'b')"),
        ("wide", "SELECT '火火', x"),
        (
            "ambiguous",
            "SELECT a FROM (VALUES (1)) AS t(a), (VALUES (1)) AS u(a)",
        ),
        ("division", "SELECT 1 / 0"),
        ("cast", "SELECT CAST('x' AS INT)"),
    ] {
        assert_snapshot!(format!("error_{name}"), run(&["sql", query]));
    }
}

#[test]
fn an_error_in_a_file_names_the_file() {
    let folder = TempDir::new().unwrap();
    write(
        &folder,
        "query.sql",
        "-- a comment\nSELECT 1 AS a;\n\nSELECT b FROM (VALUES (1)) AS t(a);\n",
    );
    assert_snapshot!(run_in(folder.path(), &["sql", "-f", "query.sql"]));
}

#[test]
fn tables_of_the_store_cannot_be_changed() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("inferwatch-store")).unwrap();
    for (name, query) in [
        ("create", "CREATE TABLE calls AS SELECT 1"),
        ("view", "CREATE VIEW partitions AS SELECT 1"),
        ("drop", "DROP TABLE IF EXISTS findings"),
        (
            "copy",
            "COPY (SELECT 1) TO 'inferwatch-store/calls/x.parquet'",
        ),
        (
            "copy_analyzed",
            "EXPLAIN ANALYZE COPY (SELECT 1) TO 'inferwatch-store/../inferwatch-store/x.csv'",
        ),
        (
            "external",
            "CREATE EXTERNAL TABLE mine STORED AS CSV LOCATION 'inferwatch-store/x.csv'",
        ),
    ] {
        assert_snapshot!(
            format!("refused_{name}"),
            run_in(folder.path(), &["sql", query])
        );
    }
    let left = std::fs::read_dir(folder.path().join("inferwatch-store"))
        .unwrap()
        .count();
    assert_eq!(
        left, 0,
        "nothing was written into the store, and no spill folder stays"
    );
}

#[test]
fn files_are_tables() {
    let folder = TempDir::new().unwrap();
    write(&folder, "calls.csv", "caller,tokens\nalice,5\nbob,7\n");
    write(&folder, "a.ndjson", "{\"n\":1}\n{\"n\":2}\n");
    write(&folder, "b.ndjson", "{\"n\":39}\n");
    for (name, query) in [
        (
            "csv",
            "SELECT caller, tokens FROM 'calls.csv' ORDER BY tokens",
        ),
        ("glob", "SELECT sum(n) AS sum FROM '*.ndjson'"),
        (
            "copy",
            "COPY (SELECT * FROM 'calls.csv') TO 'out.parquet'; SELECT sum(tokens) AS sum FROM 'out.parquet'",
        ),
        (
            "external",
            "CREATE EXTERNAL TABLE mine STORED AS NDJSON LOCATION 'a.ndjson'; SELECT max(n) AS n FROM mine; DROP TABLE mine",
        ),
        ("describe", "DESCRIBE 'calls.csv'"),
    ] {
        assert_snapshot!(
            format!("file_{name}"),
            run_in(folder.path(), &["sql", query])
        );
    }
}

#[test]
fn a_bare_name_never_reads_a_folder() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("calls")).unwrap();
    write(&folder, "calls/x.csv", "a\n1\n");
    let text = run_in(folder.path(), &["sql", "SELECT * FROM calls"]);
    assert!(text.contains("table `calls` not found"), "{text}");
}

#[test]
fn parameters_take_the_type_of_their_place() {
    let query = "SELECT count(*) AS n FROM (VALUES \
                 (TIMESTAMP '2026-01-31T10:00:00'), (TIMESTAMP '2026-02-01T10:00:00')) AS t(at) \
                 WHERE at >= $since";
    let with = |values: &[&str]| {
        let mut arguments = vec!["sql", query];
        for value in values {
            arguments.extend(["--param", value]);
        }
        run(&arguments)
    };
    assert!(with(&["since=2026-02-01"]).contains("{\"n\":1}"));
    assert!(with(&["since=2026-01-01T00:00:00"]).contains("{\"n\":2}"));
    assert_snapshot!("parameter_missing", with(&[]));
    assert_snapshot!("parameter_of_wrong_type", with(&["since=yesterday"]));
    assert_snapshot!("parameter_misspelt", with(&["sinec=2026-01-31"]));
    assert_snapshot!(
        "parameter_without_type",
        run(&[
            "sql",
            "SELECT $a AS a, $b AS b",
            "-p",
            "a=1",
            "-p",
            "b=x;'y"
        ])
    );
}

#[test]
fn output_goes_to_a_file_whose_name_tells_the_format() {
    let folder = TempDir::new().unwrap();
    let query = "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t(n, t) ORDER BY n";
    for name in ["out.csv", "out.json", "out.ndjson", "out.parquet"] {
        let text = run_in(folder.path(), &["sql", query, "--output", name]);
        assert_eq!(text, "exit: 0\n--- stdout\n--- stderr\n");
    }
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("out.csv"), "n,t\n1,a\n2,b\n");
    assert_eq!(
        read("out.json"),
        "[\n{\"n\":1,\"t\":\"a\"},\n{\"n\":2,\"t\":\"b\"}\n]\n"
    );
    assert_eq!(
        read("out.ndjson"),
        "{\"n\":1,\"t\":\"a\"}\n{\"n\":2,\"t\":\"b\"}\n"
    );
    let text = run_in(
        folder.path(),
        &["sql", "SELECT sum(n) AS n, max(t) AS t FROM 'out.parquet'"],
    );
    assert!(text.contains("{\"n\":3,\"t\":\"b\"}"), "{text}");
}

#[test]
fn a_failed_query_leaves_the_former_output() {
    let folder = TempDir::new().unwrap();
    write(&folder, "out.csv", "kept\n");
    let text = run_in(
        folder.path(),
        &["sql", "SELECT 1 AS a; SELECT 1 / 0", "--output", "out.csv"],
    );
    assert!(text.starts_with("exit: 2"), "{text}");
    assert_eq!(
        std::fs::read_to_string(folder.path().join("out.csv")).unwrap(),
        "kept\n"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no half file stays"
    );
}

#[test]
fn a_table_shows_a_beginning_and_says_so() {
    let query = "SELECT value AS n FROM generate_series(1, 100000) ORDER BY n DESC";
    let arguments = ["sql", query, "--format", "table", "--max-rows", "2"];
    assert_snapshot!(run(&arguments));
    assert_snapshot!("quiet_table", run(&[&arguments[..], &["--quiet"]].concat()));
}

#[test]
fn sorting_more_than_memory_spills() {
    let folder = TempDir::new().unwrap();
    let query = "SELECT count(*) AS n, min(ok) AS ok FROM (\
                   SELECT text >= lag(text) OVER (ORDER BY text) AS ok \
                   FROM (SELECT md5(value::varchar) || repeat('x', 100) AS text FROM generate_series(1, 200000)))";
    let text = run_in(
        folder.path(),
        // Little more than half of what the rows take.
        &["sql", query, "--memory-limit", "16MiB", "--threads", "1"],
    );
    assert!(text.contains("{\"n\":200000,\"ok\":true}"), "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn statements_come_from_a_pipe() {
    use std::io::Write;

    let folder = TempDir::new().unwrap();
    let mut child = program(folder.path())
        .arg("sql")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"SET datafusion.execution.batch_size = 7; SHOW datafusion.execution.batch_size")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "{\"name\":\"datafusion.execution.batch_size\",\"value\":\"7\"}\n"
    );
    assert!(output.status.success());
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    use std::io::Read;

    let folder = TempDir::new().unwrap();
    let mut child = program(folder.path())
        .args(["sql", "SELECT value FROM generate_series(1, 1000000)"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut beginning = [0; 12];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut beginning).unwrap();
    assert_eq!(&beginning, b"{\"value\":1}\n");
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_a_query() {
    use std::io::Read;

    let folder = TempDir::new().unwrap();
    // The first row tells that the query runs; the rest would take hours.
    let query = "SELECT 'running' AS state; \
                 SELECT count(*) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b \
                 WHERE (a.value * b.value) % 7 = 3";
    let mut child = program(folder.path())
        .args(["sql", query])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut beginning = [0; 20];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut beginning)
        .unwrap();
    let signal = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(signal.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn the_config_file_gives_defaults_that_the_rest_overrides() {
    let folder = TempDir::new().unwrap();
    write(&folder, "inferwatch.toml", "[sql]\nformat = \"csv\"\n");
    let query = ["sql", "SELECT 1 AS n"];
    let csv = "exit: 0\n--- stdout\nn\n1\n--- stderr\n";
    let ndjson = "exit: 0\n--- stdout\n{\"n\":1}\n--- stderr\n";
    let json = "exit: 0\n--- stdout\n[\n{\"n\":1}\n]\n--- stderr\n";
    assert_eq!(run_in(folder.path(), &query), csv);
    assert_eq!(
        run_in(folder.path(), &[&query[..], &["--no-config"]].concat()),
        ndjson
    );
    let environment = |command: &mut Command| {
        command.env("INFERWATCH_SQL_FORMAT", "json");
    };
    let with_environment = |more: &[&str]| {
        run_with(folder.path(), &[&query[..], more].concat(), |command| {
            environment(command);
            command
        })
    };
    assert_eq!(with_environment(&[]), json);
    assert_eq!(with_environment(&["--format", "ndjson"]), ndjson);
}

#[test]
fn a_wrong_config_file_is_told() {
    let folder = TempDir::new().unwrap();
    for (name, text) in [
        ("unknown_key", "[sql]\nmax-row = 1\n"),
        ("wrong_value", "[sql]\nformat = \"xml\"\n"),
        ("no_toml", "store = \n"),
    ] {
        write(&folder, "inferwatch.toml", text);
        assert_snapshot!(
            format!("config_{name}"),
            run_in(folder.path(), &["sql", "SELECT 1"])
        );
    }
}

#[test]
fn wrong_usage_is_told_in_the_same_form() {
    for (name, arguments) in [
        ("subcommand", &["sq"][..]),
        ("flag", &["sql", "--frmat", "csv"]),
        ("value", &["sql", "SELECT 1", "--format", "xml"]),
        ("size", &["sql", "SELECT 1", "--memory-limit", "lots"]),
        ("parameter", &["sql", "SELECT 1", "--param", "x"]),
        ("both", &["sql", "SELECT 1", "--file", "x.sql"]),
        ("no_file", &["sql", "--file", "missing.sql"]),
        (
            "two_results",
            &["sql", "SELECT 1; SELECT 2", "--output", "x.parquet"],
        ),
    ] {
        assert_snapshot!(format!("usage_{name}"), run(arguments));
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = run(&["completions", shell]);
        assert!(text.starts_with("exit: 0"), "{text}");
        assert!(text.contains("memory-limit"), "{shell}");
    }
}

/// A store with two calls, in the folder that the program looks in by itself.
fn store_in(folder: &TempDir) -> Store {
    let store = Store::open_or_create(&folder.path().join("inferwatch-store")).unwrap();
    let mut rows = CallBuilder::default();
    for (second, caller) in [(0, "alice"), (1, "b\u{1b}[31mob")] {
        rows.append(&Call {
            // 2026-11-20T10:00:00Z
            event_time: Micros(1_795_168_800_000_000 + second * 1_000_000),
            event_id: caller,
            source_format: "test",
            record_role: "primary",
            caller: Some(caller),
            model: Some("m"),
            outcome: "success",
            hour: "2026-11-20T10",
            ..Call::default()
        });
    }
    let mut writer = store.writer(WriteOptions::default()).unwrap();
    writer.write(Table::Calls, rows.finish()).unwrap();
    writer.commit(&[("test".to_owned(), 1)]).unwrap();
    store
}

#[test]
fn a_store_is_queried_by_the_names_of_its_tables() {
    let folder = TempDir::new().unwrap();
    store_in(&folder);
    let query = "SELECT caller, event_time FROM calls ORDER BY event_time";
    assert_snapshot!("store_query", run_in(folder.path(), &["sql", query]));
    assert_snapshot!(
        "store_insert",
        run_in(
            folder.path(),
            &["sql", "INSERT INTO quarantine SELECT * FROM quarantine"]
        )
    );
    assert_snapshot!(
        "store_column",
        run_in(folder.path(), &["sql", "SELECT callr FROM calls"])
    );
}

#[test]
fn a_store_tells_what_is_in_it() {
    let folder = TempDir::new().unwrap();
    assert_snapshot!(
        "store_info_without_store",
        run_in(folder.path(), &["store", "info"])
    );
    store_in(&folder);
    // Sizes of files are not ours to fix.
    insta::with_settings!({filters => vec![
        (r#""bytes": [1-9]\d*"#, r#""bytes": [bytes]"#),
        (r"\d+\.\d+ KiB", "[ size  ]"),
    ]}, {
        for format in ["table", "json"] {
            let text = run_in(folder.path(), &["store", "info", "--format", format]);
            assert_snapshot!(format!("store_info_as_{format}"), text);
        }
    });
}

#[test]
fn a_missing_file_is_a_finding() {
    let folder = TempDir::new().unwrap();
    let store = store_in(&folder);
    let sound = run_in(
        folder.path(),
        &["store", "verify", "--deep", "--format", "table"],
    );
    assert_eq!(
        sound,
        "exit: 0\n--- stdout\nsound: 2 files, 2 rows\n--- stderr\n"
    );
    let snapshot = store.snapshot(Table::Calls).unwrap();
    let file = store.root().join("calls").join(snapshot.file(0).path());
    std::fs::remove_file(&file).unwrap();
    let damaged = run_in(folder.path(), &["store", "verify", "--format", "json"]);
    assert!(damaged.starts_with("exit: 1\n"), "{damaged}");
    let stdout = damaged.split("--- stderr").next().unwrap();
    let report: serde_json::Value =
        serde_json::from_str(stdout.split_once("--- stdout\n").unwrap().1).unwrap();
    assert_eq!(
        report["problems"].as_array().map(Vec::len),
        Some(1),
        "{damaged}"
    );
    assert_eq!(report["problems"][0]["table"], "calls");
    assert!(
        report["problems"][0]["file"]
            .as_str()
            .is_some_and(|path| path.ends_with(&*file.file_name().unwrap().to_string_lossy())),
        "{damaged}"
    );
}

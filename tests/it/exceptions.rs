//! What an environment adds to rules: exceptions, and values of parameters.

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;

use inferwatch::catalog::{Exception, Pack};
use inferwatch::detect::{Event, Excepted, RunOptions, check_exceptions};

use super::correlation::{File, TestStore, complete, correlation, runtime, signal, tick};

const MINUTE: i64 = 60_000_000;

/// An exception of the rule `one`, until some minutes after 1970.
fn exception(minute: i64, sql: &str) -> File {
    let expires = chrono::DateTime::from_timestamp_micros(minute * MINUTE).expect("a time");
    let text = format!(
        "-- /// exception\n-- id = \"batch\"\n-- rules = [\"one\"]\n-- reason = \"a batch job\"\n\
         -- owner = \"ml\"\n-- expires = {}\n-- ///\n{sql}",
        expires.format("%Y-%m-%dT%H:%M:%SZ")
    );
    (PathBuf::from("batch.sql"), Cow::Owned(text))
}

fn pack(files: Vec<File>) -> Pack {
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    pack
}

fn options(exceptions: &[Exception]) -> RunOptions {
    RunOptions {
        exceptions: runtime()
            .block_on(Excepted::resolve(exceptions))
            .expect("resolve"),
        ..complete()
    }
}

#[test]
fn what_is_excepted_is_recorded_and_nobody_is_told() {
    let pack = pack(vec![
        signal("one", "one", ""),
        exception(10_000, "SELECT 'x' AS caller"),
    ]);
    let store = TestStore::new();
    store.commit(&[(1, 600, "x", "one"), (2, 600, "y", "one"), tick(3, 700)]);
    let outcome = store
        .run(&pack, &options(&pack.exceptions))
        .into_iter()
        .next()
        .expect("one rule");
    // One is told; both are stored.
    assert_eq!(outcome.episodes.len(), 1);
    assert_eq!(outcome.excepted(), 1);
    assert_eq!(
        store.query("SELECT entity, suppressed, excepted FROM findings_now"),
        ["{\"caller\":\"x\"} true batch", "{\"caller\":\"y\"} false "]
    );
    assert_eq!(
        store.query("SELECT exception_id, rule_id, findings, subjects FROM exceptions"),
        ["batch one 1 1"]
    );
}

#[test]
fn what_happens_after_an_exception_has_expired_is_told() {
    let pack = pack(vec![
        signal("one", "one", "quiet = \"5m\""),
        exception(
            650,
            "SELECT caller FROM (VALUES ('x'), ('z')) AS keys(caller)",
        ),
    ]);
    let store = TestStore::new();
    // Windows of the second finding end at 645 first, then, with later calls, at 660: it goes on beyond the date.
    store.commit(&[(1, 600, "x", "one"), (2, 641, "x", "one"), tick(3, 646)]);
    store.run(&pack, &options(&pack.exceptions));
    let told =
        "SELECT first_window_end, suppressed, excepted FROM findings_now ORDER BY window_end";
    let excepted = |line: &String| line.ends_with(" true batch");
    assert!(
        store.query(told).iter().all(excepted),
        "{:?}",
        store.query(told)
    );
    store.commit(&[(4, 649, "x", "one"), (5, 652, "x", "one"), tick(6, 700)]);
    let outcome = store
        .run(&pack, &options(&pack.exceptions))
        .into_iter()
        .next()
        .expect("one rule");
    assert_eq!(outcome.episodes.len(), 1);
    assert!(
        outcome
            .changes
            .iter()
            .any(|change| change.event == Event::Updated)
    );
    let lines = store.query(told);
    assert_eq!(
        lines.iter().filter(|line| excepted(line)).count(),
        1,
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2);
}

#[test]
fn an_excepted_finding_is_no_signal() {
    let files = |with: bool| {
        let mut files = vec![
            signal("one", "one", ""),
            signal("two", "two", ""),
            correlation(
                "signals = [\"one\", \"two\"]\nsignals_required = 2\nwithin = \"10m\"\nby = [\"caller\"]",
                "",
            ),
        ];
        if with {
            files.push(exception(10_000, "SELECT 'x' AS caller"));
        }
        pack(files)
    };
    let correlated = |pack: &Pack| {
        let store = TestStore::new();
        store.commit(&[(1, 600, "x", "one"), (2, 604, "x", "two"), tick(3, 700)]);
        store.run(pack, &options(&pack.exceptions));
        store.findings().len()
    };
    assert_eq!(correlated(&files(false)), 1);
    assert_eq!(correlated(&files(true)), 0);
}

#[test]
fn exceptions_are_checked() {
    let problems = |minute: i64, sql: &str, rule: &str| -> Vec<String> {
        let (path, text) = exception(minute, sql);
        let text = text.replace("[\"one\"]", &format!("[\"{rule}\"]"));
        let pack = pack(vec![signal("one", "one", ""), (path, Cow::Owned(text))]);
        let entity = |id: &str| pack.rule(id).ok().map(|file| file.rule.entity.clone());
        let found = check_exceptions(&pack.exceptions, entity, 500 * MINUTE);
        let found = runtime().block_on(found).expect("a context");
        found
            .iter()
            .map(|problem| format!("{}: {}", problem.code, problem.message))
            .collect()
    };
    let key = "SELECT 'x' AS caller";
    assert_eq!(problems(501, key, "one"), [""; 0]);
    assert_eq!(
        problems(500, key, "one"),
        ["L-EXPIRED: expired on 1970-01-01T08:20:00Z"]
    );
    assert_eq!(problems(501, key, "two"), ["L-REF: no rule `two`"]);
    assert_eq!(
        problems(501, "SELECT 'x' AS model", "one"),
        ["L-REF: `model` is not a column of the entity of `one`"]
    );
    assert_eq!(
        problems(501, "SELECT NULL AS caller", "one"),
        ["L-EXCEPTION: a key is null: nothing is named by it"]
    );
    // Without tables, nobody can write himself into a list of exceptions.
    let found = problems(501, "SELECT text AS caller FROM content", "one");
    assert!(found[0].starts_with("L-EXCEPTION: "), "{found:?}");
    // A date is mandatory.
    let (path, text) = exception(501, key);
    let text: String = text
        .lines()
        .filter(|line| !line.contains("expires"))
        .map(|line| format!("{line}\n"))
        .collect();
    let pack = Pack::from_files([(path, Cow::Owned(text))].into_iter());
    assert_eq!(pack.problems[0].message, "`expires` is missing");
}

#[test]
fn an_environment_sets_parameters_and_says_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("params.toml");
    let read = |text: &str| {
        fs::write(&path, text).expect("ours");
        let mut pack = Pack::embedded();
        pack.read_settings(&path).expect("is there");
        pack
    };
    let pack = read("# limits\n[token-burn]\nmax_tokens = 100_000\n");
    assert_eq!(pack.problems, []);
    let [setting] = &pack.settings[..] else {
        panic!("{:?}", pack.settings);
    };
    assert_eq!(
        (setting.rule.as_str(), setting.param.as_str(), setting.line),
        ("token-burn", "max_tokens", 3)
    );
    assert_eq!(setting.value.json(), 100_000);
    for (text, line, message) in [
        ("[token-brn]\nmax_tokens = 1\n", 1, "no rule `token-brn`"),
        (
            "[token-burn]\n\nmax_token = 1\n",
            3,
            "`token-burn` has no parameter `max_token`",
        ),
        (
            "[token-burn]\nmax_tokens = \"many\"\n",
            2,
            "`max_tokens` is a whole number, not `many`",
        ),
        (
            "[token-burn]\nmax_tokens = 0\n",
            2,
            "`max_tokens` must lie between 1 and any",
        ),
    ] {
        let problem = &read(text).problems[0];
        assert_eq!(problem.code, "L-PARAM");
        assert_eq!(
            (problem.line, problem.message.as_str()),
            (Some(line), message)
        );
    }
}

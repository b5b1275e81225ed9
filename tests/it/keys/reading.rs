//! With the key it is as if nothing were encrypted; without it everything else works.

use std::fs;

use serde_json::Value;

use super::{Bench, COUNT, MARKER, logs, ran};
use crate::command::bare;

#[test]
fn no_byte_of_the_store_has_a_text_that_is_encrypted() {
    let bench = Bench::with_content(60);
    let formats = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/formats");
    bench
        .with("a.key", &["ingest", "--content", "raw", formats])
        .expect(0);
    let texts = bench.ask("a.key", "SELECT text FROM content WHERE length(text) > 30");
    let texts: Vec<&str> = texts
        .lines()
        .skip(1)
        .map(|line| line.trim_matches('"'))
        .collect();
    assert!(texts.len() > 60, "{}", texts.len());
    let mut words: Vec<&str> = texts.iter().filter_map(|text| text.get(..30)).collect();
    words.push(MARKER);
    assert_eq!(bench.files_with(&words), []);
    // Nor is there anything else to read: no schema, no statistics.
    for (path, bytes) in bench.content_files() {
        assert!(
            memchr::memmem::find(&bytes, b"event_time").is_none(),
            "{}",
            path.display()
        );
    }
    // The search finds it where it is.
    let plain = Bench::new();
    logs(plain.path(), "first", 3);
    let warned = plain
        .run(&["ingest", "--content", "raw", "first.jsonl"])
        .expect(0);
    assert!(
        warned.told.contains("inferwatch keys init"),
        "{}",
        warned.told
    );
    assert!(!plain.files_with(&[MARKER]).is_empty());
    let answer = bench.ask(
        "a.key",
        "SELECT count(*) AS n FROM content WHERE text LIKE '%xyzzyquokka%'",
    );
    assert_eq!(answer, "n\n120\n");
}

#[test]
fn without_the_key_all_else_works_and_content_says_what_it_needs() {
    let bench = Bench::with_content(60);
    let calls = bench
        .run(&["sql", "--format", "csv", "SELECT count(*) AS n FROM calls"])
        .expect(0);
    assert_eq!(calls.out, "n\n60\n");
    let status = bench.status();
    let master = status["content"]["master"]
        .as_str()
        .expect("a name")
        .to_owned();

    let shut = bench.run(&["sql", COUNT]).expect(2);
    assert!(
        shut.told
            .contains("table `content` is encrypted, and no key was given"),
        "{}",
        shut.told
    );
    assert!(
        shut.told.contains("hint: `--key-file`") && shut.told.contains(&master),
        "{}",
        shut.told
    );

    fs::write(bench.path().join("b.key"), "ab".repeat(32)).expect("written");
    let wrong = bench.with("b.key", &["sql", COUNT]).expect(2);
    assert!(
        wrong
            .told
            .contains("the key file `b.key` does not hold its key"),
        "{}",
        wrong.told
    );
    assert!(
        wrong.told.contains(&master) && !wrong.told.contains("abab"),
        "{}",
        wrong.told
    );

    // Rules that read no text are evaluated, and those that do wait.
    let rules = bench.run(&["run", "--once"]);
    assert!([1, 2].contains(&rules.code), "{}", rules.told);
    let states = bench.run(&[
        "sql",
        "--format",
        "csv",
        "SELECT count(*) FILTER (WHERE state <> 'error') > 0 AS some, \
         count(DISTINCT rule_id) FILTER (WHERE state = 'error') > 3 AS waiting, \
         bool_and(detail LIKE '%no key was given%') FILTER (WHERE state = 'error') AS told FROM evaluations",
    ]);
    assert_eq!(states.expect(0).out, "some,waiting,told\ntrue,true,true\n");

    let sound = bench
        .run(&["store", "verify", "--deep", "--format", "table"])
        .expect(0);
    assert!(
        sound.out.contains("of `content` were not opened"),
        "{}",
        sound.out
    );
    let repaired = bench
        .run(&["store", "repair", "--deep", "--apply", "--format", "table"])
        .expect(0);
    assert!(
        repaired.out.contains("nothing to repair"),
        "{}",
        repaired.out
    );

    let before = bench.content_files();
    let compacted = bench.run(&["compact", "--at", "2026-03-10"]).expect(1);
    assert!(
        compacted.told.contains("table `content`") && compacted.told.contains("not compacted"),
        "{}",
        compacted.told
    );
    assert_eq!(bench.content_files(), before);

    logs(bench.path(), "second", 6);
    let refused = bench
        .run(&["ingest", "--content", "redacted", "second.jsonl"])
        .expect(2);
    assert!(
        refused.told.contains("no key was given"),
        "{}",
        refused.told
    );
    bench.run(&["ingest", "second.jsonl"]).expect(0);
    let erased = bench
        .run(&["erase", "--caller", "arn:aws:iam::1:user/u1"])
        .expect(2);
    assert!(erased.told.contains("no key was given"), "{}", erased.told);

    // Whole partitions go without a key.
    bench
        .run(&[
            "retention",
            "apply",
            "--tier",
            "content-expire",
            "--at",
            "2027-01-01",
        ])
        .expect(0);
    assert_eq!(bench.ask("a.key", COUNT), "n,texts\n0,0\n");
}

#[test]
fn with_the_key_it_is_as_if_nothing_were_encrypted_and_that_is_told() {
    let bench = Bench::with_content(60);
    assert_eq!(bench.ask("a.key", COUNT), "n,texts\n120,61\n");
    // As many pages as there are, in order, through the spill: the sort has less memory than rows.
    let sound = bench
        .with("a.key", &["store", "verify", "--deep", "--format", "table"])
        .expect(0);
    assert!(!sound.out.contains("not opened"), "{}", sound.out);
    bench
        .with("a.key", &["compact", "--at", "2026-03-10"])
        .expect(0);
    assert_eq!(
        bench.content_files().len(),
        15 + 3,
        "the days, and the hours until the grace period is over"
    );
    assert_eq!(bench.ask("a.key", COUNT), "n,texts\n120,61\n");

    let events = "SELECT resource_id, json_get_str(request_params, 'command') AS command, \
        json_get_str(request_params, 'key_from') AS key, count(*) AS n FROM audit \
        WHERE action_class = 'store.unlock' GROUP BY 1, 2, 3 ORDER BY command";
    let told = bench.run(&["sql", "--format", "csv", events]).expect(0);
    assert_eq!(
        told.out,
        "resource_id,command,key,n\ncontent,compact,file,1\ncontent,sql,file,2\ncontent,store,file,1\n"
    );
}

#[test]
fn a_key_comes_from_the_environment_or_a_command_as_well() {
    let bench = Bench::with_content(6);
    let key = fs::read_to_string(bench.path().join("a.key")).expect("a key");
    let sql = ["sql", "--format", "csv", COUNT];
    let mut command = bench.command(&sql);
    command.env("INFERWATCH_KEY", key.trim());
    assert_eq!(ran(command).expect(0).out, "n,texts\n12,7\n");
    let mut command = bench.command(&sql);
    command.args(["--key-command", "cat a.key"]);
    assert_eq!(ran(command).expect(0).out, "n,texts\n12,7\n");
    // From the config file, relative to it.
    fs::write(bench.path().join("c.toml"), "key-file = \"a.key\"\n").expect("written");
    let mut command = bare(bench.path());
    command
        .args(["--config", "c.toml", "--store", "store"])
        .args(sql);
    assert_eq!(ran(command).expect(0).out, "n,texts\n12,7\n");

    let mut command = bench.command(&sql);
    command
        .env("INFERWATCH_KEY", key.trim())
        .args(["--key-file", "a.key"]);
    let twice = ran(command).expect(2);
    assert!(
        twice.told.contains("given twice") && !twice.told.contains(key.trim()),
        "{}",
        twice.told
    );
    for (wrong, reason) in [
        ("echo hunter2", "holds no key"),
        ("exit 7", "the key command failed"),
    ] {
        let mut command = bench.command(&sql);
        command.args(["--key-command", wrong]);
        let told = ran(command).expect(2).told;
        assert!(told.contains(reason) && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn other_tables_have_keys_of_their_own() {
    let bench = Bench::with_content(6);
    bench
        .with("b.key", &["keys", "init", "--table", "calls,audit"])
        .expect(0);
    logs(bench.path(), "second", 6);
    let one = bench.with("a.key", &["ingest", "second.jsonl"]).expect(2);
    assert!(
        one.told.contains("table `calls` is encrypted"),
        "{}",
        one.told
    );
    bench.with("b.key", &["ingest", "second.jsonl"]).expect(0);
    assert_eq!(
        bench.ask("b.key", "SELECT count(*) AS n FROM calls"),
        "n\n12\n"
    );
    // To open `content` leaves a trace in `audit`, which is encrypted now.
    bench.with("a.key", &["sql", COUNT]).expect(2);
    let keys =
        ["a.key", "b.key"].map(|key| fs::read_to_string(bench.path().join(key)).expect("a key"));
    fs::write(bench.path().join("both.key"), keys.concat()).expect("written");
    assert_eq!(bench.ask("both.key", COUNT), "n,texts\n12,7\n");
    let mut given: Vec<(String, bool)> = Vec::new();
    let status = bench
        .with("b.key", &["keys", "status", "--format", "json"])
        .expect(1);
    for table in serde_json::from_str::<Vec<Value>>(&status.out).expect("JSON") {
        if let Some(opened) = table["opened"].as_bool() {
            given.push((table["table"].as_str().expect("a name").to_owned(), opened));
        }
    }
    given.sort();
    let expected = [("audit", true), ("calls", true), ("content", false)];
    assert_eq!(
        given,
        expected.map(|(name, opened)| (name.to_owned(), opened))
    );
}

#[cfg(unix)]
#[test]
fn what_is_restricted_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let bench = Bench::with_content(6);
    bench
        .with("a.key", &["compact", "--at", "2026-03-10"])
        .expect(0);
    let mut files = 0;
    for folder in ["content", "quarantine", "keys", "locks", "pending", "spill"] {
        let path = bench.path().join("store").join(folder);
        if !path.exists() {
            continue;
        }
        for entry in walkdir::WalkDir::new(path) {
            let entry = entry.expect("listed");
            let mode = entry.metadata().expect("there").permissions().mode() & 0o777;
            let wanted = if entry.file_type().is_dir() {
                0o700
            } else {
                0o600
            };
            // Locks are empty.
            if entry.file_type().is_dir() || folder != "locks" {
                assert_eq!(mode, wanted, "{}", entry.path().display());
            }
            files += 1;
        }
    }
    assert!(files > 10);
    let key = fs::metadata(bench.path().join("a.key")).expect("there");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

//! Keys: without one nothing of a text can be read from the store's bytes, and everything else works.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::util::pretty::pretty_format_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{bare, program};

/// Stands in every prompt and answer of these tests.
const MARKER: &str = "xyzzyquokka";

/// Bedrock logs of 2026-03-02: as many calls of three callers, an hour each, with text.
fn logs(folder: &Path, name: &str, calls: usize) {
    let line = |number: usize| {
        format!(
            r#"{{"schemaType":"ModelInvocationLog","timestamp":"2026-03-02T{:02}:15:04Z","accountId":"1","identity":{{"arn":"arn:aws:iam::1:user/u{}"}},"region":"us-east-1","requestId":"{name}-{number}","operation":"Converse","modelId":"anthropic.claude-3-haiku-20240307-v1:0","input":{{"inputBodyJson":{{"messages":[{{"role":"user","content":[{{"text":"{MARKER} question {number} of {name}"}}]}}]}},"inputTokenCount":5}},"output":{{"outputBodyJson":{{"output":{{"message":{{"role":"assistant","content":[{{"text":"{MARKER} answer"}}]}}}},"stopReason":"end_turn"}},"outputTokenCount":3}}}}
"#,
            number % 5,
            number % 3,
        )
    };
    let text: String = (0..calls).map(line).collect();
    fs::write(folder.join(format!("{name}.jsonl")), text).expect("written");
}

struct Bench {
    folder: TempDir,
}

struct Ran {
    out: String,
    told: String,
    code: i32,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            folder: TempDir::new().expect("a folder"),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        program(self.path(), arguments)
    }

    /// Runs without a key.
    fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments))
    }

    /// Runs with a key file.
    fn with(&self, key: &str, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        command.args(["--key-file", key]);
        ran(command)
    }

    /// The answer to a query.
    fn ask(&self, key: &str, sql: &str) -> String {
        let ran = self.with(key, &["sql", "--format", "csv", sql]);
        assert_eq!(ran.code, 0, "{}", ran.told);
        ran.out
    }

    /// A store with encrypted content, and the key in `a.key`.
    fn with_content(calls: usize) -> Bench {
        let bench = Bench::new();
        logs(bench.path(), "first", calls);
        bench.with("a.key", &["keys", "init"]).expect(0);
        bench
            .with("a.key", &["ingest", "--content", "raw", "first.jsonl"])
            .expect(0);
        bench
    }

    /// Files of the store whose bytes have a word in them, decoded where they are Parquet that can be read.
    fn files_with(&self, words: &[&str]) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        for entry in walkdir::WalkDir::new(self.path().join("store")) {
            let entry = entry.expect("listed");
            if !entry.file_type().is_file() {
                continue;
            }
            let mut bytes = fs::read(entry.path()).expect("read");
            bytes.extend(decoded(entry.path()));
            for word in words {
                if memchr::memmem::find(&bytes, word.as_bytes()).is_some() {
                    found.push((entry.path().to_path_buf(), (*word).to_owned()));
                }
            }
        }
        found
    }

    fn status(&self) -> BTreeMap<String, Value> {
        let ran = self.run(&["keys", "status", "--format", "json"]).expect(0);
        let tables: Vec<Value> = serde_json::from_str(&ran.out).expect("JSON");
        tables
            .into_iter()
            .map(|table| (table["table"].as_str().expect("a name").to_owned(), table))
            .collect()
    }

    /// The data files of `content` with their bytes.
    fn content_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        walkdir::WalkDir::new(self.path().join("store/content"))
            .into_iter()
            .map(|entry| entry.expect("listed").into_path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "parquet")
            })
            .map(|path| (path.clone(), fs::read(path).expect("read")))
            .collect()
    }
}

fn ran(mut command: Command) -> Ran {
    let output = command.output().expect("it starts");
    Ran {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        told: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code().unwrap_or(-1),
    }
}

impl Ran {
    #[track_caller]
    fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{}{}", self.out, self.told);
        self
    }
}

/// What a Parquet file says; nothing when it cannot be read.
fn decoded(path: &Path) -> Vec<u8> {
    if path
        .extension()
        .is_none_or(|extension| extension != "parquet")
    {
        return Vec::new();
    }
    let file = fs::File::open(path).expect("opened");
    let Ok(builder) = ParquetRecordBatchReaderBuilder::try_new(file) else {
        assert!(
            fs::read(path).expect("read").ends_with(b"PARE"),
            "{}",
            path.display()
        );
        return Vec::new();
    };
    let batches: Vec<_> = builder
        .build()
        .expect("a reader")
        .map(|batch| batch.expect("rows"))
        .collect();
    let text = pretty_format_batches(&batches).expect("text").to_string();
    text.into_bytes()
}

const COUNT: &str = "SELECT count(*) AS n, count(DISTINCT text) AS texts FROM content";

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
fn rotation_writes_no_data_and_the_old_key_opens_nothing() {
    let bench = Bench::with_content(30);
    let before = bench.content_files();
    bench
        .with("a.key", &["keys", "rotate", "--new-key-file", "b.key"])
        .expect(0);
    assert_eq!(bench.content_files(), before);
    fs::rename(bench.path().join("a.key"), bench.path().join("old.key")).expect("renamed");
    assert_eq!(bench.ask("b.key", COUNT), "n,texts\n60,31\n");
    let old = bench.with("old.key", &["sql", COUNT]).expect(2);
    assert!(old.told.contains("does not hold its key"), "{}", old.told);
    bench
        .with("old.key", &["keys", "rotate", "--new-key-file", "c.key"])
        .expect(2);

    logs(bench.path(), "second", 6);
    bench
        .with("b.key", &["ingest", "--content", "raw", "second.jsonl"])
        .expect(0);
    let files = |status: &BTreeMap<String, Value>| -> Vec<u64> {
        let keys = status["content"]["keys"].as_array().expect("keys");
        keys.iter()
            .map(|key| key["files"].as_u64().expect("a number"))
            .collect()
    };
    let counts = files(&bench.status());
    assert_eq!(counts[0], before.len() as u64);
    assert!(counts[1] > 0 && counts.len() == 2, "{counts:?}");

    // What the old key has opened is written with the new one, when asked.
    bench
        .with("b.key", &["keys", "encrypt", "--renew"])
        .expect(0);
    assert_eq!(files(&bench.status())[0], 0);
    assert_eq!(bench.ask("b.key", COUNT), "n,texts\n72,37\n");
    let again = bench
        .with(
            "b.key",
            &["keys", "encrypt", "--renew", "--format", "table"],
        )
        .expect(0);
    assert_eq!(again.out, "nothing to encrypt\n");
    let events = "SELECT action FROM audit WHERE action LIKE 'keys.%' ORDER BY event_time";
    assert_eq!(
        bench.ask("b.key", events),
        "action\nkeys.init\nkeys.rotate\nkeys.encrypt\n"
    );
}

#[test]
fn what_was_there_before_is_encrypted_when_asked() {
    let bench = Bench::new();
    logs(bench.path(), "first", 30);
    bench
        .run(&["ingest", "--content", "raw", "first.jsonl"])
        .expect(0);
    let init = bench.with("a.key", &["keys", "init"]).expect(0);
    assert!(
        init.told.contains("inferwatch keys encrypt"),
        "{}",
        init.told
    );
    // Both kinds of files are read.
    logs(bench.path(), "second", 6);
    bench
        .with("a.key", &["ingest", "--content", "raw", "second.jsonl"])
        .expect(0);
    assert_eq!(bench.ask("a.key", COUNT), "n,texts\n72,37\n");
    let plain = bench.status()["content"]["plain_files"]
        .as_u64()
        .expect("a number");
    assert!(plain > 0);
    let shut = bench.run(&["keys", "encrypt"]).expect(2);
    assert!(shut.told.contains("no key was given"), "{}", shut.told);
    let plan = bench
        .run(&["keys", "encrypt", "--plan", "--format", "json"])
        .expect(0);
    let plan: Value = serde_json::from_str(&plan.out).expect("JSON");
    assert_eq!(plan["done"], false);

    bench.with("a.key", &["keys", "encrypt"]).expect(0);
    let status = &bench.status()["content"];
    assert_eq!(
        (
            status["plain_files"].as_u64(),
            status["plain_waiting_files"].as_u64()
        ),
        (Some(0), Some(plain))
    );
    assert_eq!(bench.ask("a.key", COUNT), "n,texts\n72,37\n");
    bench.with("a.key", &["compact", "--grace", "0s"]).expect(0);
    assert_eq!(bench.status()["content"]["plain_waiting_files"], 0);
    assert_eq!(bench.files_with(&[MARKER]), []);
    // Rules saw nothing new.
    assert_eq!(bench.ask("a.key", COUNT), "n,texts\n72,37\n");
}

#[test]
fn erasure_works_on_encrypted_text_and_is_proved_with_the_key() {
    let bench = Bench::with_content(30);
    let caller = "arn:aws:iam::1:user/u1";
    bench
        .with(
            "a.key",
            &[
                "erase",
                "--caller",
                caller,
                "--grace",
                "0s",
                "--receipt",
                "u1.json",
            ],
        )
        .expect(0);
    bench.with("a.key", &["compact"]).expect(0);
    let shut = bench.run(&["erase", "verify", "u1.json"]).expect(2);
    assert!(shut.told.contains("no key was given"), "{}", shut.told);
    let proof = bench.with("a.key", &["erase", "verify", "u1.json", "--format", "json"]);
    assert_eq!(proof.code, 0, "{}{}", proof.out, proof.told);
    assert_eq!(bench.files_with(&[caller]), []);
    let left = "SELECT count(*) AS n, count(*) FILTER (WHERE caller = 'arn:aws:iam::1:user/u1') AS u1 FROM content";
    assert_eq!(bench.ask("a.key", left), "n,u1\n40,0\n");
}

#[test]
fn nothing_is_overwritten_and_nothing_written_in_clear_when_the_ring_is_lost() {
    let bench = Bench::with_content(6);
    let again = bench.with("b.key", &["keys", "init"]).expect(2);
    assert!(
        again.told.contains("`content` is encrypted already"),
        "{}",
        again.told
    );
    assert!(!bench.path().join("b.key").exists());
    let inside = bench
        .with("store/keys/a.key", &["keys", "init", "--table", "calls"])
        .expect(2);
    assert!(inside.told.contains("lies in the store"), "{}", inside.told);
    let none = bench.run(&["keys", "init", "--table", "calls"]).expect(2);
    assert!(
        none.told.contains("no key was given") && none.told.contains("hint: `--key-file"),
        "{}",
        none.told
    );

    let ring = bench.path().join("store/keys/ring.json");
    let aside = bench.path().join("ring.json");
    fs::rename(&ring, &aside).expect("moved");
    logs(bench.path(), "second", 6);
    for arguments in [
        &["ingest", "--content", "raw", "second.jsonl"][..],
        &["sql", COUNT],
        &["keys", "init"],
        &["store", "repair", "--apply"],
    ] {
        let lost = bench.with("a.key", arguments).expect(2);
        assert!(lost.told.contains("ring.json` is gone"), "{}", lost.told);
    }
    assert_eq!(bench.files_with(&[MARKER]), []);
    fs::rename(&aside, &ring).expect("moved");
    assert_eq!(bench.ask("a.key", COUNT), "n,texts\n12,7\n");

    // One of another store opens nothing, and no file is taken for damaged.
    let other = Bench::with_content(6);
    fs::copy(other.path().join("store/keys/ring.json"), &ring).expect("copied");
    fs::copy(other.path().join("a.key"), bench.path().join("other.key")).expect("copied");
    let files = bench.content_files();
    let shut = bench.with("other.key", &["sql", COUNT]).expect(2);
    assert!(
        shut.told
            .contains("which the store's key ring does not have"),
        "{}",
        shut.told
    );
    bench
        .with("other.key", &["store", "repair", "--apply"])
        .expect(0);
    assert_eq!(bench.content_files(), files);
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

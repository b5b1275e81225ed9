//! Keys: without one nothing of a text can be read from the store's bytes, and everything else works.

mod changing;
mod reading;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::util::pretty::pretty_format_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;

use crate::command::program;

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

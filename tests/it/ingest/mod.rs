//! Ingest as a whole: what a run leaves behind when it is repeated, continued or killed.

mod formats;
mod once;
mod secrecy;

use std::fs;
use std::path::Path;

use crate::command::run;

/// Stands in every prompt that a test writes, and must be in no store that keeps no text.
const MARKER: &str = "xyzzyquokka";

fn query(folder: &Path, sql: &str) -> String {
    let (code, out, error) = run(folder, &["sql", "--format", "csv", sql]);
    assert_eq!(code, 0, "{error}");
    out
}

/// Counts and sums of everything that an ingest writes.
fn sums(folder: &Path) -> String {
    query(
        folder,
        "SELECT 'calls' AS name, count(*) AS n, count(DISTINCT event_id) AS ids, sum(source_offset) AS offsets, \
         sum(input_tokens) AS input, sum(output_tokens) AS output FROM calls \
         UNION ALL SELECT 'content', count(*), 0, sum(source_offset), 0, 0 FROM content \
         UNION ALL SELECT 'quarantine', count(*), 0, sum(source_offset), 0, 0 FROM quarantine ORDER BY name",
    )
}

fn line(number: usize) -> String {
    format!(
        r#"{{"schemaType":"ModelInvocationLog","timestamp":"2026-03-02T{:02}:15:04Z","accountId":"1","identity":{{"arn":"arn:aws:iam::1:user/u{}"}},"region":"us-east-1","requestId":"r{number}","operation":"Converse","modelId":"anthropic.claude-3-haiku-20240307-v1:0","input":{{"inputBodyJson":{{"messages":[{{"role":"user","content":[{{"text":"{MARKER} question {number}, ada@example.org"}}]}}]}},"inputTokenCount":{}}},"output":{{"outputBodyJson":{{"output":{{"message":{{"role":"assistant","content":[{{"text":"{MARKER} answer"}}]}}}},"stopReason":"end_turn"}},"outputTokenCount":3}}}}
"#,
        number % 24,
        number % 7,
        number % 100
    )
}

fn logs(folder: &Path, files: usize, lines: usize) {
    fs::create_dir_all(folder.join("logs")).unwrap();
    for file in 0..files {
        let mut text: String = (0..lines)
            .map(|number| line(file * lines + number))
            .collect();
        text += &format!("{{\"{MARKER}\": broken\n");
        fs::write(folder.join(format!("logs/{file}.jsonl")), text).unwrap();
    }
}

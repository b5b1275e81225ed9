//! Ingest as a whole: what a run leaves behind when it is repeated, continued or killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use inferwatch::schema::Table;
use inferwatch::store::Store;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use crate::ask::lines;
use crate::command::{bare, program, run};
use crate::folder::entries;

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

#[test]
fn the_same_content_under_any_name_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    logs(folder, 2, 40);
    let ingest = ["ingest", "--content", "redacted", "logs"];
    assert_eq!(run(folder, &ingest).0, 0);
    let once = sums(folder);
    assert!(once.contains("calls,80,80,"), "{once}");
    fs::copy(folder.join("logs/0.jsonl"), folder.join("logs/copy.jsonl")).unwrap();
    let (code, _, told) = run(folder, &ingest);
    assert_eq!(code, 0);
    assert!(
        told.contains("3  files whose content the store has already"),
        "{told}"
    );
    assert_eq!(sums(folder), once);
}

#[test]
fn a_growing_file_is_read_on_from_where_it_ended() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let whole: String = (0..30).map(line).collect();
    let log = folder.join("live.jsonl");
    let cut = whole.len() / 2;
    fs::write(&log, &whole[..cut]).unwrap();
    let (code, _, told) = run(folder, &["ingest", "live.jsonl"]);
    assert_eq!(code, 0);
    assert!(told.contains("pending"), "{told}");
    fs::write(&log, &whole).unwrap();
    assert_eq!(run(folder, &["ingest", "live.jsonl"]).0, 0);
    let count = "SELECT count(*) AS n, count(DISTINCT request_id) AS ids FROM calls";
    assert_eq!(query(folder, count), "n,ids\n30,30\n");
}

#[test]
fn text_can_be_added_later_without_a_second_row_of_metadata() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    logs(folder, 1, 10);
    assert_eq!(run(folder, &["ingest", "logs"]).0, 0);
    assert_eq!(
        run(folder, &["ingest", "--content", "redacted", "logs"]).0,
        0
    );
    let counts =
        "SELECT (SELECT count(*) FROM calls) AS calls, (SELECT count(*) FROM content) AS parts";
    assert_eq!(query(folder, counts), "calls,parts\n10,20\n");
}

#[test]
fn a_run_killed_at_any_moment_and_run_again_is_as_if_run_once() {
    const MOMENTS: usize = 50;
    let input = |folder: &Path| {
        fs::create_dir_all(folder.join("logs")).unwrap();
        for file in 0..2 {
            // Two hours of three callers each: six partitions in two tables, and one of what cannot be read.
            let lines = (0..12).map(|n| line(168 * (2 * file + n / 6) + 24 * (n / 2 % 3) + n % 2));
            let text = lines.collect::<String>() + &format!("{{\"{MARKER}\": broken\n");
            fs::write(folder.join(format!("logs/{file}.jsonl")), text).unwrap();
        }
    };
    let ingest = ["ingest", "--content", "redacted", "logs"];
    let reference = TempDir::new().unwrap();
    input(reference.path());
    let (code, _, told) = run(reference.path(), &ingest);
    assert_eq!(code, 0, "the clean run said: {told}");
    let once = records(reference.path());
    let counts = |table: Table| once.iter().filter(|(of, _)| *of == table).count();
    let tables = [Table::Calls, Table::Content, Table::Quarantine];
    assert_eq!(tables.map(counts), [24, 48, 2], "{once:#?}");
    let whole = entries(reference.path());

    // A moment is a number of files and folders in the store, from none to all that a whole run leaves there. Nothing
    // depends on how long anything takes: a run that was over before it could be killed is tried again, to be killed
    // when half as much is there.
    let next = AtomicUsize::new(0);
    let kills = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(moment) = Some(next.fetch_add(1, Ordering::Relaxed))
                    && moment < MOMENTS
                {
                    let mut wanted = whole * moment / MOMENTS;
                    let (killed, found) = loop {
                        let folder = TempDir::new().unwrap();
                        input(folder.path());
                        match killed_with(folder.path(), &ingest, wanted) {
                            Some(found) => break (folder, found),
                            None if wanted > 0 => wanted /= 2,
                            None => panic!("a run was over before it could be killed at all"),
                        }
                    };
                    let what = format!(
                        "killed when {wanted} files and folders were asked for, and {found} of {whole} there"
                    );
                    let (code, _, told) = run(killed.path(), &ingest);
                    assert_eq!(code, 0, "{what}; run again, it said: {told}");
                    let differ = difference(&once, &records(killed.path()));
                    assert!(differ.is_empty(), "{what}; run again: {told}\n{differ:#?}");
                    let store = Store::open(&killed.path().join("store")).expect(&what);
                    let report = store.verify(false).expect(&what);
                    assert!(report.problems.is_empty(), "{what}: {:?}", report.problems);
                    kills.lock().unwrap().push(found);
                }
            });
        }
    });
    let mut kills = kills.into_inner().unwrap();
    kills.sort_unstable();
    assert_eq!(kills.len(), MOMENTS, "{kills:?}");
    // How much was there when they were killed. Were it mostly the same, most moments would not have been tested.
    let mut stages = kills.clone();
    stages.dedup();
    assert!(stages.len() > 10, "of {whole} were there: {kills:?}");
    let is_midway = |found: &&usize| (whole / 10..whole).contains(*found);
    let midway = kills.iter().filter(is_midway).count();
    assert!(midway >= MOMENTS / 2, "of {whole} were there: {kills:?}");
}

/// The records that are in one more often than in the other, and how much more often in the second.
fn difference(
    first: &[(Table, String)],
    second: &[(Table, String)],
) -> BTreeMap<(Table, String), i64> {
    let mut counts = BTreeMap::new();
    for (records, one) in [(first, -1), (second, 1)] {
        for record in records {
            *counts.entry(record.clone()).or_default() += one;
        }
    }
    counts.retain(|_, count| *count != 0);
    counts
}

/// Runs the program until its store has so many files and folders, and kills it: how many there were then, or `None`
/// when it was over before.
fn killed_with(folder: &Path, arguments: &[&str], wanted: usize) -> Option<usize> {
    let mut child = program(folder, arguments)
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    while entries(folder) < wanted && child.try_wait().expect("it is ours").is_none() {
        std::thread::yield_now();
    }
    child.kill().expect("it is ours");
    let status = child.wait().expect("it ended");
    status.code().is_none().then(|| entries(folder))
}

/// What was read from the logs, record by record, as the files of the store have it. Ids are left out: their key is the
/// store's own.
fn records(folder: &Path) -> Vec<(Table, String)> {
    let columns = [
        "event_time",
        "request_id",
        "caller",
        "input_tokens",
        "text",
        "line",
        "source_file",
        "source_offset",
    ];
    let store = Store::open(&folder.join("store")).expect("a store");
    let mut records = Vec::new();
    for table in [Table::Calls, Table::Content, Table::Quarantine] {
        for entry in store.snapshot(table).expect("a snapshot").iter() {
            let path = store.root().join(table.name()).join(entry.path());
            let file = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap());
            let file = file.expect("a Parquet file");
            let wanted = ProjectionMask::columns(file.parquet_schema(), columns);
            for batch in file.with_projection(wanted).build().expect("it is read") {
                let batch = batch.expect("rows");
                records.extend(lines(&batch).into_iter().map(|line| (table, line)));
            }
        }
    }
    records.sort_unstable();
    records
}

#[test]
fn no_byte_of_a_prompt_is_in_a_store_that_keeps_no_text() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    logs(folder, 1, 20);
    assert_eq!(run(folder, &["ingest", "logs"]).0, 0);
    for entry in walkdir::WalkDir::new(folder.join("store")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            let found = bytes
                .windows(MARKER.len())
                .any(|window| window == MARKER.as_bytes());
            assert!(!found, "{}", entry.path().display());
        }
    }
    // Pages are compressed, so every value of every table is looked at as well.
    for table in [
        "calls",
        "content",
        "filters",
        "audit",
        "quarantine",
        "files",
        "partitions",
        "ingests",
    ] {
        let rows = query(folder, &format!("SELECT * FROM {table}"));
        assert!(!rows.contains(MARKER), "{table}");
    }
}

#[test]
fn kept_text_is_in_the_text_column_of_content_and_nowhere_else() {
    for mode in ["redacted", "raw"] {
        let folder = TempDir::new().unwrap();
        let folder = folder.path();
        logs(folder, 1, 20);
        assert_eq!(run(folder, &["ingest", "--content", mode, "logs"]).0, 0);
        let kept = query(
            folder,
            "SELECT count(*) AS parts FROM content WHERE text LIKE '%xyzzyquokka%'",
        );
        assert_eq!(kept, "parts\n40\n", "{mode}");
        let rows = query(folder, "SELECT * EXCEPT (text) FROM content");
        assert!(!rows.contains(MARKER), "{mode}: {rows}");
        for table in [
            "calls",
            "filters",
            "audit",
            "quarantine",
            "files",
            "partitions",
            "ingests",
        ] {
            let rows = query(folder, &format!("SELECT * FROM {table}"));
            assert!(!rows.contains(MARKER), "{mode}: {table}");
        }
        let marked = |bytes: &[u8]| memchr::memmem::find(bytes, MARKER.as_bytes()).is_some();
        for entry in walkdir::WalkDir::new(folder.join("store")) {
            let entry = entry.unwrap();
            let path = entry.path().strip_prefix(folder).unwrap();
            assert!(
                !marked(path.as_os_str().as_encoded_bytes()),
                "{}",
                path.display()
            );
            if !entry.file_type().is_file() {
                continue;
            }
            let bytes = fs::read(entry.path()).unwrap();
            let is_content = path.starts_with("store/content")
                && path.extension().is_some_and(|is| is == "parquet");
            let beside_pages = if is_content {
                &bytes[end_of_pages(entry.path())..]
            } else {
                &bytes[..]
            };
            assert!(!marked(beside_pages), "{mode}: {}", path.display());
        }
    }
}

/// Where the pages of a Parquet file end, and its indexes and footer begin.
fn end_of_pages(path: &Path) -> usize {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let ends = reader.metadata().row_groups().iter().flat_map(|group| {
        group.columns().iter().map(|column| {
            let (start, length) = column.byte_range();
            usize::try_from(start + length).unwrap()
        })
    });
    ends.max().expect("a file has columns")
}

#[test]
fn redacted_text_holds_no_address() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    logs(folder, 1, 5);
    assert_eq!(
        run(folder, &["ingest", "--content", "redacted", "logs"]).0,
        0
    );
    let text = query(
        folder,
        "SELECT text FROM content WHERE direction = 'input' ORDER BY text LIMIT 1",
    );
    assert_eq!(text, format!("text\n\"{MARKER} question 0, [EMAIL]\"\n"));
    let rows = query(folder, "SELECT * FROM content") + &query(folder, "SELECT * FROM calls");
    assert!(!rows.contains("ada@example.org"));
}

#[test]
fn a_damaged_archive_is_told_and_what_came_before_is_kept() {
    use std::io::Write as _;
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let text: String = (0..3_000).map(line).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    fs::write(folder.join("cut.json.gz"), &whole[..whole.len() / 2]).unwrap();
    let (code, _, told) = run(folder, &["ingest", "cut.json.gz"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("failed      `cut.json.gz`"), "{told}");
    // Delivered again whole, it is read on.
    fs::write(folder.join("cut.json.gz"), &whole).unwrap();
    assert_eq!(run(folder, &["ingest", "cut.json.gz"]).0, 0);
    let count = "SELECT count(*) AS n, count(DISTINCT request_id) AS ids FROM calls";
    assert_eq!(query(folder, count), "n,ids\n3000,3000\n");
}

/// Of a table that is cut the rows that were kept are known when it comes whole, also where another file made the commit.
#[test]
fn a_damaged_archive_of_a_table_gives_no_row_twice() {
    use std::io::Write as _;
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let mut table = "time,model,request_id\n".to_owned();
    for number in 0..100_000 {
        table += &format!("2026-03-02T09:15:04Z,m,request-number-{number:06}-of-a-table\n");
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(table.as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    fs::write(folder.join("cut.csv.gz"), &whole[..whole.len() / 4 * 3]).unwrap();
    fs::write(folder.join("other.jsonl"), line(1)).unwrap();
    let (code, _, told) = run(folder, &["ingest", "cut.csv.gz", "other.jsonl"]);
    assert_eq!(code, 1, "{told}");
    let kept = "SELECT count(*) > 10000 AND count(*) < 99999 AS kept FROM calls WHERE source_file = 'cut.csv.gz'";
    assert_eq!(query(folder, kept), "kept\ntrue\n");
    fs::write(folder.join("cut.csv.gz"), &whole).unwrap();
    assert_eq!(run(folder, &["ingest", "cut.csv.gz"]).0, 0);
    let count = "SELECT count(*) AS n, count(DISTINCT request_id) AS ids FROM calls WHERE source_file = 'cut.csv.gz'";
    assert_eq!(query(folder, count), "n,ids\n100000,100000\n");
}

/// Fixture of a format.
fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/formats")
        .join(name);
    fs::read_to_string(path).unwrap()
}

/// A call of Azure OpenAI with 1,000 tokens in and 100 out, of which the log reports no cost.
fn azure_line(id: &str, deployment: &str, model: &str) -> String {
    format!(
        r#"{{"time":"2026-03-02T09:40:00.1234567Z","resourceId":"/SUBSCRIPTIONS/S/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A","category":"RequestResponse","operationName":"ChatCompletions_Create","resultSignature":"200","correlationId":"{id}","properties":{{"callerObjectId":"o","modelDeploymentName":"{deployment}"{model},"promptTokens":1000,"completionTokens":100}}}}
"#
    )
}

#[test]
fn a_call_without_a_reported_cost_is_priced_from_the_list() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let logs = [
        azure_line("listed", "prod", r#","modelName":"gpt-4o""#),
        azure_line("unlisted", "prod", r#","modelName":"gpt-77""#),
        azure_line("deployed", "gpt-4o", ""),
        r#"{"id":"x","litellm_call_id":"reported","call_type":"acompletion","status":"success","custom_llm_provider":"openai","model":"gpt-4o","startTime":1772445600.25,"endTime":1772445600.75,"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"response_cost":0.5,"metadata":{}}
"#.to_owned(),
    ];
    fs::write(folder.join("calls.jsonl"), logs.concat()).unwrap();
    fs::write(
        folder.join("prices.toml"),
        "[[price]]\nproviders = ['azure.ai.openai']\nmodels = ['gpt-*']\nvalid_from = 2026-01-01\ninput = 1\noutput = 10\nsource = 'contract'\n",
    )
    .unwrap();
    let ask =
        "SELECT request_id, round(cost_usd, 9) AS cost, cost_source FROM calls ORDER BY request_id";
    assert_eq!(run(folder, &["ingest", "calls.jsonl"]).0, 0);
    // 1000 x 2.50 + 100 x 10 millionths.
    assert_eq!(
        query(folder, ask),
        "request_id,cost,cost_source\ndeployed,,\nlisted,0.0035,list\nreported,0.5,reported\nunlisted,,\n"
    );
    fs::remove_dir_all(folder.join("store")).unwrap();
    let (code, _, told) = run(
        folder,
        &["ingest", "--prices", "prices.toml", "calls.jsonl"],
    );
    assert_eq!(code, 0, "{told}");
    // 1000 x 1 + 100 x 10 millionths, whatever the model.
    assert_eq!(
        query(folder, ask),
        "request_id,cost,cost_source\ndeployed,,\nlisted,0.002,list\nreported,0.5,reported\nunlisted,0.002,list\n"
    );
    fs::write(folder.join("wrong.toml"), "[[price]]\nmodel = 'x'\n").unwrap();
    let (code, _, told) = run(folder, &["ingest", "--prices", "wrong.toml", "calls.jsonl"]);
    assert_eq!(code, 2);
    assert!(
        told.contains("wrong.toml:2: unknown field `model`"),
        "{told}"
    );
}

#[test]
fn a_mapping_reads_a_log_of_ones_own_and_explains_itself() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("own.jsonl"), fixture("generic/mapped.jsonl")).unwrap();
    fs::write(folder.join("mapping.toml"), fixture("generic/mapping.toml")).unwrap();
    let (code, out, told) = run(
        folder,
        &[
            "ingest",
            "--mapping",
            "mapping.toml",
            "--explain",
            "own.jsonl",
        ],
    );
    assert_eq!(code, 0, "{told}");
    let line = out
        .lines()
        .find(|line| line.contains("auth/principal"))
        .unwrap();
    assert!(line.ends_with("caller  (by `mapping.toml`)"), "{line}");
    // From the config file as well, whose paths count from its folder.
    fs::write(
        folder.join("inferwatch.toml"),
        "[ingest]\nmapping = 'mapping.toml'\n",
    )
    .unwrap();
    let mut configured = bare(folder);
    configured.args(["--store", "store", "ingest", "own.jsonl"]);
    assert!(configured.output().unwrap().status.success());
    // 56 x 0.15 + 64 x 0.075 + 30 x 0.60 = 31.2 millionths of a dollar, and 5 x 0.15.
    assert_eq!(
        query(
            folder,
            "SELECT request_id, caller, model, duration_ms, outcome, provider, round(cost_usd * 1e9) AS nanodollars, input_text_length AS length FROM calls ORDER BY request_id"
        ),
        "request_id,caller,model,duration_ms,outcome,provider,nanodollars,length\na-1,dana,gpt-4o-mini,1250.0,success,openai,31200.0,43\n,k-7,gpt-4o-mini,300.0,blocked,openai,750.0,\n"
    );
    fs::write(folder.join("wrong.toml"), "calller = 'a'\n").unwrap();
    let (code, _, told) = run(folder, &["ingest", "--mapping", "wrong.toml", "own.jsonl"]);
    assert_eq!(code, 2);
    assert!(
        told.contains("wrong.toml:1: no column is called `calller`")
            && told.contains("did you mean `caller`?"),
        "{told}"
    );
}

#[test]
fn an_access_log_gives_the_calls_of_models_and_counts_the_rest() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("access.log"), fixture("access_log/lines.txt")).unwrap();
    let (code, _, told) = run(folder, &["ingest", "access.log"]);
    assert_eq!(code, 0, "{told}");
    for (count, what) in [
        (8, "calls"),
        (2, "quarantine"),
        (5, "request that called no model"),
        (4, "server message"),
        (1, "no time that can be read"),
    ] {
        let found = told.lines().any(|line| {
            let mut words = line
                .trim()
                .trim_start_matches(char::is_alphabetic)
                .trim_start()
                .splitn(2, "  ");
            words.next() == Some(&count.to_string()) && words.next() == Some(what)
        });
        assert!(found, "{count} {what} in\n{told}");
    }
    assert_eq!(
        query(
            folder,
            "SELECT operation, count(*) AS n, count(DISTINCT event_id) AS ids, count(duration_ms) AS timed FROM calls GROUP BY operation ORDER BY operation"
        ),
        "operation,n,ids,timed\nchat,4,4,2\nembeddings,2,2,0\ntext_completion,2,2,1\n"
    );
    let rows = query(folder, "SELECT * FROM calls") + &query(folder, "SELECT * FROM quarantine");
    assert!(!rows.contains("a-secret"), "{rows}");
}

#[test]
fn the_same_observations_as_lines_csv_and_parquet_are_the_same_rows() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let lines = r#"{"id":"o1","trace_id":"t","type":"GENERATION","start_time":"2026-03-02 10:15:30.250000","end_time":"2026-03-02 10:15:31.500000","provided_model_name":"gpt-4o","usage_details":"{\"input\":10,\"output\":5,\"total\":15}","input":"what, is \"open\" today","output":"all is\nopen"}
{"id":"o2","trace_id":"t","type":"SPAN","start_time":"2026-03-02 10:15:30.250000","end_time":"2026-03-02 10:15:31.500000","provided_model_name":"","usage_details":"{}","input":"","output":""}
"#;
    fs::write(folder.join("o.jsonl"), lines).unwrap();
    // Our own reader of JSON and writers of CSV and Parquet make the other two.
    for name in ["o.csv", "o.parquet"] {
        let (code, _, told) = run(
            folder,
            &["sql", "SELECT * FROM 'o.jsonl'", "--output", name],
        );
        assert_eq!(code, 0, "{told}");
    }
    let ask = "SELECT event_id, record_role, model, input_tokens, output_tokens, duration_ms, input_text_length, output_text_length FROM calls ORDER BY event_id";
    let expected = "event_id,record_role,model,input_tokens,output_tokens,duration_ms,input_text_length,output_text_length\no1,primary,gpt-4o,10,5,1250.0,21,11\no2,supplement,,,,1250.0,,\n";
    for name in ["o.jsonl", "o.csv", "o.parquet"] {
        let (code, _, told) = run(folder, &["ingest", "--content", "raw", name]);
        assert_eq!(code, 0, "{told}");
        assert_eq!(query(folder, ask), expected, "{name}");
        let (_, _, told) = run(folder, &["ingest", name]);
        assert!(
            told.contains("files whose content the store has already"),
            "{told}"
        );
        let (code, out, told) = run(folder, &["ingest", "--explain", name]);
        assert_eq!(code, 0, "{told}");
        assert!(out.contains("record 1: langfuse"), "{out}");
        fs::remove_dir_all(folder.join("store")).unwrap();
    }
    // From a pipe, where nothing can be read twice, and damaged.
    let bytes = fs::read(folder.join("o.parquet")).unwrap();
    let mut child = program(folder, &["ingest", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &bytes).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(query(folder, ask), expected);
    fs::write(folder.join("cut.parquet"), &bytes[..bytes.len() / 2]).unwrap();
    let (code, _, told) = run(folder, &["ingest", "cut.parquet"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("`cut.parquet`: "), "{told}");
}

#[test]
fn a_call_of_gateway_and_service_is_one_call() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let service = azure_line("c-1", "prod", r#","modelName":"gpt-4o""#)
        + &azure_line("c-2", "prod", r#","modelName":"gpt-4o""#);
    // The same calls as the gateway tells of them, the second under an id of its own.
    let gateway = |own: &str, service: &str| {
        format!(
            r#"{{"time":"2026-03-02T09:40:01.0000000Z","resourceId":"/SUBSCRIPTIONS/S/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/G","category":"GatewayLogs","operationName":"Microsoft.ApiManagement/GatewayLogs","correlationId":"{own}","callerIpAddress":"198.51.100.7","isRequestSuccess":true,"properties":{{"method":"POST","url":"https://g.example.com/openai/deployments/prod/chat/completions?api-version=1","responseCode":200,"responseHeaders":{{"apim-request-id":"{service}"}},"responseBody":"{{\"model\":\"gpt-4o-2024-11-20\",\"usage\":{{\"prompt_tokens\":1000,\"completion_tokens\":100,\"total_tokens\":1100,\"prompt_tokens_details\":{{\"cached_tokens\":400}}}}}}"}}}}
"#
        )
    };
    let gateways = gateway("c-1", "c-1") + &gateway("own", "c-2") + &gateway("c-3", "c-3");
    fs::write(folder.join("service.json"), service).unwrap();
    fs::write(folder.join("gateway.json"), gateways).unwrap();
    assert_eq!(
        run(folder, &["ingest", "gateway.json", "service.json"]).0,
        0
    );
    let count = "SELECT count(*) AS n, sum(input_tokens) AS tokens, sum(cache_read_input_tokens) AS cached, sum(input_tokens_uncached) AS uncached, round(sum(cost_usd), 9) AS cost FROM";
    assert_eq!(
        query(
            folder,
            &format!("{count} calls WHERE record_role = 'primary'")
        ),
        // Twice 1000 x 2.50 + 100 x 10 = 3500, thrice 600 x 2.50 + 400 x 1.25 + 1000 = 3000 millionths.
        "n,tokens,cached,uncached,cost\n5,5000,1200,3800,0.016\n"
    );
    assert_eq!(
        query(folder, &format!("{count} calls_merged")),
        // Three calls, at the price that knows of the cache.
        "n,tokens,cached,uncached,cost\n3,3000,1200,1800,0.009\n"
    );
    assert_eq!(
        query(
            folder,
            "SELECT correlation_id, source_format, source_ip, match FROM calls_merged ORDER BY correlation_id"
        ),
        "correlation_id,source_format,source_ip,match\nc-1,azure.openai.request_response,198.51.100.7,exact\nc-2,azure.openai.request_response,198.51.100.7,exact\nc-3,azure.apim.gateway,198.51.100.7,\n"
    );
}

#[test]
fn a_filter_that_only_the_gateway_saw_blocked_the_call() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let lines = [
        r#"{"time":"2026-03-02T09:40:00.0000000Z","resourceId":"/SUBSCRIPTIONS/S/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A","category":"RequestResponse","operationName":"ChatCompletions_Create","resultSignature":"400","correlationId":"c-1","properties":{"callerObjectId":"object-1","modelDeploymentName":"prod","modelName":"gpt-4o"}}"#,
        r#"{"time":"2026-03-02T09:40:00.5000000Z","resourceId":"/SUBSCRIPTIONS/S/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.APIMANAGEMENT/SERVICE/G","category":"GatewayLogs","operationName":"Microsoft.ApiManagement/GatewayLogs","correlationId":"c-1","isRequestSuccess":false,"properties":{"method":"POST","url":"https://g.example.com/openai/deployments/prod/chat/completions?api-version=1","responseCode":400,"responseBody":"{\"error\":{\"code\":\"content_filter\",\"message\":\"filtered\"}}"}}"#,
    ];
    fs::write(folder.join("azure.json"), lines.join("\n")).unwrap();
    assert_eq!(run(folder, &["ingest", "azure.json"]).0, 0);
    assert_eq!(
        query(
            folder,
            "SELECT caller, outcome, guardrail_action, http_status_code, count(*) AS n FROM calls_merged GROUP BY ALL"
        ),
        "caller,outcome,guardrail_action,http_status_code,n\nobject-1,blocked,blocked,400,1\n"
    );
}

/// A field of Protobuf: bytes behind their length, which is below 16,384 here.
fn length_delimited(number: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut field = vec![number << 3 | 2, length as u8 & 0x7f];
    if length > 127 {
        field[1] |= 0x80;
        field.push((length >> 7) as u8);
    }
    field.extend_from_slice(content);
    field
}

#[test]
fn frames_with_a_length_are_read_as_json_or_protobuf_packed_or_not() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let text = |key: &str, value: &str| {
        let value = length_delimited(2, &length_delimited(1, value.as_bytes()));
        length_delimited(9, &[length_delimited(1, key.as_bytes()), value].concat())
    };
    let fixed = |number: u8, value: u64| [&[number << 3 | 1][..], &value.to_le_bytes()].concat();
    let span = [
        length_delimited(1, &[0x0a; 16]),
        length_delimited(2, &[0xb7; 8]),
        length_delimited(5, b"chat gpt-4o"),
        fixed(7, 1_772_445_600_000_000_000),
        fixed(8, 1_772_445_601_250_000_000),
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.request.model", "gpt-4o"),
    ]
    .concat();
    let protobuf = length_delimited(1, &length_delimited(2, &length_delimited(2, &span)));
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01","spanId":"02","name":"chat","startTimeUnixNano":"1772445600000000000","endTimeUnixNano":"1772445600500000000","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"gen_ai.request.model","value":{"stringValue":"gpt-4o"}}]}]}]}]}"#;
    let packed = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let frames = [
        json.to_vec(),
        packed(json),
        protobuf.clone(),
        packed(&protobuf),
        b"\x0anonsense".to_vec(),
    ];
    let bytes: Vec<u8> = frames
        .iter()
        .flat_map(|frame| [&(frame.len() as u32).to_be_bytes()[..], frame].concat())
        .collect();
    fs::write(folder.join("traces.bin"), bytes).unwrap();
    let (code, _, told) = run(folder, &["ingest", "traces.bin"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(
        query(
            folder,
            "SELECT span_id, operation, model, duration_ms, count(*) AS n FROM calls GROUP BY ALL ORDER BY span_id"
        ),
        "span_id,operation,model,duration_ms,n\n02,chat,gpt-4o,500.0,2\nb7b7b7b7b7b7b7b7,chat,gpt-4o,1250.0,2\n"
    );
    assert_eq!(
        query(
            folder,
            "SELECT reason, count(*) AS n FROM quarantine GROUP BY reason"
        ),
        "reason,n\nneither JSON nor OTLP in Protobuf,1\n"
    );
}

//! Files that were made to do harm: the program says what it could not read, keeps every good line beside it, and never
//! holds in memory what it was told to unpack.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::command::program;

/// What a run may take, of which half is the program itself in a debug build with two blocks for each of two threads.
/// Every file here that is about memory unpacks to more.
const MEMORY: u64 = 576 << 20;
const UNPACKED: usize = 640 << 20;

const TOO_LARGE: &str = "value is larger than 32 MiB";

fn query(folder: &Path, sql: &str) -> String {
    let output = program(folder, &["sql", "--format", "csv", sql])
        .output()
        .expect("the program starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a run of the program came to: exit code, what it told, and the most memory it had.
struct Run {
    code: i32,
    told: String,
    peak: u64,
}

/// Reads a file in.
fn ingest(folder: &Path, file: &str) -> Run {
    let told = File::create(folder.join("told")).expect("a file");
    let mut child = program(folder, &["ingest", "--threads", "2", file])
        .stdout(Stdio::null())
        .stderr(told)
        .spawn()
        .expect("the program starts");
    let mut peak = 0;
    // What the system says of a child that has ended counts the memory of this process as well, which it began as. So
    // it is asked as long as the child runs; what comes in the last instant is missed.
    let status = loop {
        peak = peak_of(child.id()).unwrap_or(peak);
        match child.try_wait().expect("a child") {
            Some(status) => break status,
            None => std::thread::park_timeout(Duration::from_millis(1)),
        }
    };
    let told = fs::read_to_string(folder.join("told")).expect("what was told");
    let code = status.code().unwrap_or(-1);
    Run { code, told, peak }
}

/// The most memory that a running process has had, where the system is Linux.
fn peak_of(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes << 10)
}

fn good(id: &str) -> String {
    format!(
        r#"{{"schemaType":"ModelInvocationLog","timestamp":"2026-03-02T09:15:04Z","accountId":"1","identity":{{"arn":"arn:aws:iam::1:user/u"}},"region":"us-east-1","requestId":"{id}","operation":"Converse","modelId":"m","input":{{"inputTokenCount":1}},"output":{{"outputTokenCount":3}}}}"#
    )
}

/// The good lines of a file are calls, and this is what quarantine says of the rest.
fn is_answered(folder: &Path, file: &str, good: usize, quarantine: &[(&str, usize)]) -> Run {
    let run = ingest(folder, file);
    assert_eq!(run.code, 0, "{}", run.told);
    assert_eq!(
        query(folder, "SELECT count(*) AS n FROM calls"),
        format!("n\n{good}\n"),
        "{file}: {}",
        run.told
    );
    let expected: String = quarantine
        .iter()
        .map(|(reason, count)| format!("{reason},{count}\n"))
        .collect();
    assert_eq!(
        query(
            folder,
            "SELECT reason, count(*) AS n FROM quarantine GROUP BY reason ORDER BY reason"
        ),
        format!("reason,n\n{expected}"),
        "{file}"
    );
    run
}

fn is_bounded(run: &Run) {
    let peak = run.peak >> 20;
    assert!(run.peak < MEMORY, "{peak} MiB");
}

/// How a stream is written: packed in parts, which are one stream to whoever unpacks it, so that one part is made once.
#[derive(Debug, Clone, Copy)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Packing::Plain => bytes.to_vec(),
            Packing::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(bytes).expect("memory takes it");
                encoder.finish().expect("memory takes it")
            }
            Packing::Zstd => zstd::encode_all(bytes, 1).expect("memory takes it"),
        }
    }
}

/// Writes `before`, then [`UNPACKED`] bytes of one letter, then `after`.
fn bomb(path: &Path, packing: Packing, before: &str, letter: u8, after: &str) {
    const PART: usize = 8 << 20;
    let part = packing.pack(&vec![letter; PART]);
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    file.write_all(&packing.pack(before.as_bytes()))
        .expect("written");
    for _ in 0..UNPACKED / PART {
        file.write_all(&part).expect("written");
    }
    file.write_all(&packing.pack(after.as_bytes()))
        .expect("written");
    file.flush().expect("written");
}

#[test]
fn a_line_without_end_is_set_aside_packed_or_not() {
    for (packing, letter) in [
        (Packing::Plain, b'x'),
        (Packing::Gzip, 0),
        (Packing::Zstd, b'{'),
    ] {
        let folder = TempDir::new().expect("a folder");
        let folder = folder.path();
        let before = format!("{}\n{{\"prompt\":\"", good("before"));
        let after = format!("\"}}\n{}\n", good("after"));
        bomb(&folder.join("log"), packing, &before, letter, &after);
        if !matches!(packing, Packing::Plain) {
            let size = fs::metadata(folder.join("log")).expect("a file").len();
            assert!(
                size < UNPACKED as u64 / 64,
                "{packing:?} packs to {size} bytes"
            );
        }
        is_bounded(&is_answered(folder, "log", 2, &[(TOO_LARGE, 1)]));
    }
}

#[test]
fn a_value_without_end_is_set_aside_between_others() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    // No line is a value here: what is one is found by its brackets.
    let before = format!("[\n{},\n{{\"prompt\":\n\"", good("before"));
    let after = format!("\"}},\n{}\n]\n", good("after"));
    bomb(&folder.join("log"), Packing::Zstd, &before, b'x', &after);
    is_bounded(&is_answered(folder, "log", 2, &[(TOO_LARGE, 1)]));
}

#[test]
fn a_row_of_a_table_without_end_is_set_aside() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let before =
        "time,model,user,prompt\n2026-03-02T09:15:04Z,m,u,hello\n2026-03-02T09:15:05Z,m,u,\"";
    let after = "\"\n2026-03-02T09:15:06Z,m,u,hello\n";
    bomb(&folder.join("log"), Packing::Zstd, before, b'\n', after);
    is_bounded(&is_answered(folder, "log", 2, &[(TOO_LARGE, 1)]));

    // Without the names of its columns nothing can be said of a table.
    let unnamed = TempDir::new().expect("a folder");
    let unnamed = unnamed.path();
    bomb(
        &unnamed.join("log"),
        Packing::Zstd,
        "time,model,\"\n",
        b'n',
        after,
    );
    let run = ingest(unnamed, "log");
    assert_eq!(run.code, 1, "{}", run.told);
    assert!(run.told.contains(TOO_LARGE), "{}", run.told);
    is_bounded(&run);
}

/// Each unpacks to as much as one may, and all are one line of a few megabytes.
#[test]
fn a_line_of_packed_texts_unpacks_to_no_more_than_one() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let text = format!("{}{}", good("packed"), " ".repeat(60 << 20));
    let packed = Packing::Gzip.pack(text.as_bytes());
    let data = base64::engine::general_purpose::STANDARD.encode(packed);
    let subscription = format!(r#"{{"awslogs":{{"data":"{data}"}}}}"#);
    let bombs = vec![subscription; 32].join(",");
    let lines = format!("{}\n[{bombs}]\n{}\n", good("before"), good("after"));
    fs::write(folder.join("log"), lines).expect("written");
    let reason = "an envelope unpacks to more than 64 MiB";
    is_bounded(&is_answered(folder, "log", 3, &[(reason, 31)]));
}

/// What a few bytes become is handed on before it is too much: rows of quarantine here, with a long name in each, which
/// are sorted in memory beside all else.
#[test]
fn a_line_of_a_million_values_is_a_million_rows_in_pieces() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let many = 1 << 20;
    let zeros = "0,".repeat(many - 1);
    let lines = format!("{}\n[{zeros}0]\n{}\n", good("before"), good("after"));
    let name = "n".repeat(200);
    fs::write(folder.join(&name), lines).expect("written");
    let run = is_answered(
        folder,
        &name,
        2,
        &[("not a record of any known format", many)],
    );
    assert!(run.peak < 1 << 30, "{} MiB", run.peak >> 20);
}

#[test]
fn damage_is_told_by_its_kind_and_what_is_beside_it_is_kept() {
    let deep = 10_000;
    let objects = r#"{"a":"#.repeat(deep) + "1" + &"}".repeat(deep);
    let arrays = format!(r#"{{"a":{}{}}}"#, "[".repeat(deep), "]".repeat(deep));
    let quoted = serde_json::Value::from(objects.as_str()).to_string();
    let bad: [(&[u8], &str); 8] = [
        (objects.as_bytes(), "nested deeper than 192 levels"),
        (arrays.as_bytes(), "nested deeper than 192 levels"),
        (b"{\"prompt\":\"\xff\xfe\xc3\"}", "not valid UTF-8"),
        (b"{\"a\":1}\xf0\x9f", "not valid UTF-8"),
        (b"\0\0\0\0\0\0", "not valid JSON"),
        (b"{\"a\":\"\0\"}", "not valid JSON"),
        (b"{\"a\":\0}", "not valid JSON"),
        (&b"{".repeat(10_000), "ends in the middle of a value"),
    ];
    for is_stream in [false, true] {
        for (line, reason) in bad {
            let folder = TempDir::new().expect("a folder");
            let folder = folder.path();
            // A first line that is no value by itself makes a stream of it, in which a value ends with its brackets.
            let first = match is_stream {
                true => good("first").replacen(',', ",\n", 1),
                false => good("first"),
            };
            let lines = [first.as_bytes(), line, good("last").as_bytes(), b""].join(&b'\n');
            fs::write(folder.join("log"), lines).expect("written");
            let run = ingest(folder, "log");
            let shown = String::from_utf8_lossy(&line[..line.len().min(20)]);
            assert_eq!(run.code, 0, "{shown}: {}", run.told);
            assert_eq!(
                query(folder, "SELECT request_id FROM calls ORDER BY request_id"),
                "request_id\nfirst\nlast\n",
                "{shown}"
            );
            let reasons = query(folder, "SELECT DISTINCT reason FROM quarantine");
            assert!(reasons.contains(reason), "{shown}: {reasons}");
            is_bounded(&run);
        }
    }
    // In a text it is a text that holds no record: the line is read, and what is in the text stays what it is.
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let embedding = good("deep").replacen(
        "\"input\":{",
        &format!("\"input\":{{\"inputBodyJson\":{quoted},"),
        1,
    );
    fs::write(
        folder.join("log"),
        format!("{embedding}\n{}\n", good("last")),
    )
    .expect("written");
    is_bounded(&is_answered(folder, "log", 2, &[]));
}

#[test]
fn a_key_that_stands_twice_is_read_once_and_said_to() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let twice = good("once").replacen(
        "\"modelId\":\"m\"",
        "\"modelId\":\"first\",\"modelId\":\"last\"",
        1,
    );
    let many = good("many").replacen(
        '{',
        &format!("{{{}", "\"modelId\":\"x\",".repeat(100_000)),
        1,
    );
    fs::write(
        folder.join("log"),
        format!("{twice}\n{many}\n{}\n", good("plain")),
    )
    .expect("written");
    is_bounded(&is_answered(folder, "log", 3, &[]));
    let warned = "SELECT request_id, model_id_raw, array_to_string(parse_warnings, ' ') AS warnings FROM calls ORDER BY request_id";
    assert_eq!(
        query(folder, warned),
        "request_id,model_id_raw,warnings\nmany,m,duplicate_key\nonce,last,duplicate_key\nplain,m,\n"
    );
}

#[test]
fn a_text_may_hold_nul_and_is_kept_whole() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let caller = good("nul").replacen("user/u", "user/a\\u0000b", 1);
    fs::write(folder.join("log"), format!("{caller}\n")).expect("written");
    is_answered(folder, "log", 1, &[]);
    let kept = "SELECT encode(caller, 'hex') LIKE '%610062%' AS kept FROM calls";
    assert_eq!(query(folder, kept), "kept\ntrue\n");
}

#[test]
fn a_damaged_frame_is_set_aside_and_the_next_is_read() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let span = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01","spanId":"02","name":"chat","startTimeUnixNano":"1772445600000000000","endTimeUnixNano":"1772445600500000000","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"gen_ai.request.model","value":{"stringValue":"gpt-4o"}}]}]}]}]}"#;
    let packed = Packing::Zstd.pack(span);
    let cut = &packed[..packed.len() / 2];
    let bomb = Packing::Zstd.pack(&vec![b' '; 64 << 20]);
    let mut file = Vec::new();
    for frame in [&span[..], cut, &bomb, &packed] {
        file.extend((frame.len() as u32).to_be_bytes());
        file.extend(frame);
    }
    fs::write(folder.join("log"), file).expect("written");
    let quarantine = [("damaged zstd frame", 1), (TOO_LARGE, 1)];
    is_bounded(&is_answered(folder, "log", 2, &quarantine));
}

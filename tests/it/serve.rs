//! The server through its two ports: who may ask, what a token opens and nothing else, records that are taken once, and
//! what does no harm.

mod fuzz;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::ipc::reader::StreamReader;
use inferwatch::schema::{
    Call, CallBuilder, Content, ContentBuilder, Filter, FilterBuilder, Micros, Table,
};
use inferwatch::store::{Rights, Store, Token, WriteOptions};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::runs::{BOUNDS, rule};

/// What no token without `--content` may see, and what no token for Alice's rows may.
const SECRET: &str = "the swordfish prompt";
const BOB: &str = "bob-the-other-caller";
/// 2026-03-02T10:00:00Z.
const NOON: i64 = 1_772_445_600_000_000;

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    /// Three calls of Alice and two of Bob, with a prompt each.
    fn new() -> Fixture {
        let fixture = Fixture::empty();
        let store = fixture.store();
        let (mut calls, mut content) = (CallBuilder::default(), ContentBuilder::default());
        let mut filters = FilterBuilder::default();
        for (number, caller) in ["alice", "alice", "alice", BOB, BOB].iter().enumerate() {
            let id = format!("event-{number}");
            let event_time = Micros(NOON + number as i64 * 1_000_000);
            calls.append(&Call {
                event_time,
                event_id: &id,
                source_format: "test",
                record_role: "primary",
                caller: Some(caller),
                model: Some("gpt-4o"),
                team: Some(if *caller == "alice" {
                    "search"
                } else {
                    "other"
                }),
                input_tokens: Some(100 + number as i64),
                outcome: "success",
                hour: "2026-03-02T10",
                ..Call::default()
            });
            content.append(&Content {
                event_time,
                event_id: &id,
                source_format: "test",
                caller: Some(caller),
                direction: "input",
                part_type: "text",
                text: Some(SECRET),
                hour: "2026-03-02T10",
                ..Content::default()
            });
            filters.append(&Filter {
                event_time,
                event_id: &id,
                source_format: "test",
                caller: Some(caller),
                direction: Some("input"),
                policy: Some("jailbreak"),
                action: Some("blocked"),
                hour: "2026-03-02T10",
                ..Filter::default()
            });
        }
        let mut writer = store.writer(WriteOptions::default()).expect("a writer");
        for (table, rows) in [
            (Table::Calls, calls.finish()),
            (Table::Content, content.finish()),
            (Table::Filters, filters.finish()),
        ] {
            writer.write(table, rows).expect("rows are taken");
        }
        writer.commit(&[]).expect("a commit");
        fixture
    }

    fn empty() -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let fixture = Fixture { folder };
        Store::open_or_create(&fixture.path()).expect("a store");
        fixture
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Opened anew each time, as by another process.
    fn store(&self) -> Store {
        Store::open(&self.path()).expect("a store")
    }

    fn token(&self, name: &str, rights: Rights) -> String {
        let (token, secret) = Token::issue(name, rights, 1, None).expect("a token");
        self.store().add_token(token).expect("it is kept");
        secret
    }

    fn reader(&self) -> String {
        self.token("reader", all())
    }
}

fn all() -> Rights {
    Rights {
        all: true,
        ..Rights::default()
    }
}

fn ingest() -> Rights {
    Rights {
        ingest: true,
        ..Rights::default()
    }
}

/// The program, serving.
struct Running {
    child: Child,
    http: SocketAddr,
    postgres: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serving alone: rules take their time, and most of what is tried here has nothing to do with them.
fn serve(store: &Path, flags: &[&str]) -> Running {
    start(store, &[&["--no-schedule"], flags].concat())
}

fn start(store: &Path, flags: &[&str]) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_inferwatch"))
        .args(["--no-config", "--store"])
        .arg(store)
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--pg-listen",
            "127.0.0.1:0",
        ])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut said = String::new();
    let (http, postgres) = loop {
        let mut line = String::new();
        let read = lines.read_line(&mut line).expect("text");
        assert!(read > 0, "it ended: {said}");
        said.push_str(&line);
        if let Some(rest) = line.strip_prefix("inferwatch: listening http=") {
            let (http, postgres) = rest.trim().split_once(" postgres=").expect("two addresses");
            break (
                http.parse().expect("an address"),
                postgres.parse().expect("an address"),
            );
        }
    };
    let log = Arc::new(Mutex::new(said));
    let kept = Arc::clone(&log);
    std::thread::spawn(move || {
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
            kept.lock().expect("no panic").push_str(&line);
            line.clear();
        }
    });
    Running {
        child,
        http,
        postgres,
        log,
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl Running {
    /// One request on a connection of its own.
    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_call(method, path, headers, body)
            .expect("an answer")
    }

    fn try_call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        request(self.http, method, path, headers, body)
    }

    fn as_token(&self, token: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let bearer = format!("Bearer {token}");
        self.call(method, path, &[("authorization", &bearer)], body)
    }

    fn query(&self, token: &str, sql: &str) -> Answer {
        self.as_token(token, "POST", "/api/query", sql.as_bytes())
    }

    fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    /// Tells it to stop, and waits until it has.
    fn terminate(&mut self) {
        let told = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(told.is_ok_and(|status| status.success()));
        let ended = self.child.wait().expect("it ends");
        assert!(ended.success(), "{}", self.log());
    }

    /// The one number of a query's answer.
    fn number(&self, token: &str, sql: &str) -> i64 {
        let answer = self.query(token, sql);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let rows = answer.json()["rows"].clone();
        let row = rows[0].as_object().expect("a row");
        row.values()
            .next()
            .and_then(Value::as_i64)
            .expect("a number")
    }
}

fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        text.push_str(&format!("host: {}\r\n", address));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(text.as_bytes())?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .ok_or_else(cut)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut body = bytes.split_off(end + 4);
    if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        body = dechunked(&body).ok_or_else(cut)?;
    }
    Ok(Answer {
        status: status.ok_or_else(cut)?,
        head,
        body,
    })
}

fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 4 + size..)?;
    }
}

/// Asks over the Postgres protocol; all that came back, as text.
fn postgres(address: SocketAddr, password: &str, sql: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a limit");
    let message = |kind: &[u8], body: &[u8]| {
        let mut bytes = kind.to_vec();
        bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    };
    let startup = [
        &[0, 3, 0, 0][..],
        b"user\0somebody\0database\0datafusion\0\0",
    ]
    .concat();
    let text = |text: &str| [text.as_bytes(), b"\0"].concat();
    for bytes in [
        message(b"", &startup),
        message(b"p", &text(password)),
        message(b"Q", &text(sql)),
        message(b"X", b""),
    ] {
        // A peer that was sent away cannot be told the rest.
        let _ = stream.write_all(&bytes);
    }
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn without_a_token_nothing_but_health_answers() {
    let fixture = Fixture::new();
    let running = serve(&fixture.path(), &[]);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(running.call("GET", path, &[], b"").status, 200, "{path}");
    }
    let paths = [
        "/",
        "/api/query?sql=SELECT+1",
        "/api/findings",
        "/api/findings/abc",
        "/api/rules",
        "/api/rules/token-burn",
        "/api/status",
        "/metrics",
        "/openapi.json",
        "/v1/traces",
        "/v1/logs",
        "/v1/ingest",
        "/nothing",
        "/api/../metrics",
    ];
    for path in paths {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
            for authorization in [
                "",
                "Bearer ",
                "Bearer iwt_000000000000_x",
                "Basic eDp5",
                "Bearer null",
            ] {
                let headers = [("authorization", authorization)];
                let answer = running.call(method, path, &headers, b"{}");
                assert_eq!(answer.status, 401, "{method} {path}");
                assert!(!answer.text().contains("alice"));
            }
        }
    }
    let answer = running.call("GET", "/", &[("accept", "text/html")], b"");
    assert_eq!(answer.status, 401);
    assert!(
        answer.text().contains("action=\"/login\""),
        "{}",
        answer.text()
    );
    let said = postgres(running.postgres, "iwt_000000000000_x", "SELECT 40 + 2");
    assert!(said.contains("28P01") && !said.contains("42\0"), "{said}");
}

#[test]
fn every_answer_has_the_headers_that_browsers_heed() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let running = serve(&fixture.path(), &[]);
    for answer in [
        running.call("GET", "/healthz", &[], b""),
        running.call("GET", "/nothing", &[], b""),
        running.query(&token, "SELECT 1"),
        running.query(&token, "SELEC 1"),
    ] {
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[test]
fn pages_of_other_sites_are_not_answered() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let running = serve(&fixture.path(), &["--allow-host", "logs.example.com"]);
    let bearer = format!("Bearer {token}");
    let ask = |headers: &[(&str, &str)]| {
        let headers = [&[("authorization", bearer.as_str())], headers].concat();
        running
            .call("GET", "/api/query?sql=SELECT+1", &headers, b"")
            .status
    };
    let ours = running.http.to_string();
    let origin = format!("http://{ours}");
    assert_eq!(ask(&[]), 200);
    assert_eq!(ask(&[("host", "localhost:7437")]), 200);
    assert_eq!(ask(&[("host", "logs.example.com")]), 200);
    assert_eq!(ask(&[("host", "evil.example.com")]), 421);
    assert_eq!(ask(&[("host", ""), ("x", "y")]), 421);
    assert_eq!(ask(&[("origin", &origin)]), 200);
    assert_eq!(ask(&[("origin", "http://evil.example.com")]), 403);
    assert_eq!(ask(&[("origin", "null")]), 403);
    assert_eq!(ask(&[("sec-fetch-site", "cross-site")]), 403);

    // A cookie alone, from nowhere in particular, changes nothing.
    let form = format!("token={token}");
    let login = running.call("POST", "/login", &[], form.as_bytes());
    assert_eq!(login.status, 303, "{}", login.text());
    let cookie = login.header("set-cookie").expect("a cookie").to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let get = running.call(
        "GET",
        "/api/query?sql=SELECT+1",
        &[("cookie", &cookie)],
        b"",
    );
    assert_eq!(get.status, 200);
    let post = |headers: &[(&str, &str)]| {
        let headers = [&[("cookie", cookie.as_str())], headers].concat();
        running
            .call("POST", "/api/query", &headers, b"SELECT 1")
            .status
    };
    assert_eq!(post(&[]), 403);
    assert_eq!(post(&[("origin", "http://evil.example.com")]), 403);
    assert_eq!(post(&[("origin", &origin)]), 200);
    running.call("POST", "/logout", &[("cookie", &cookie)], b"");
    assert_eq!(post(&[("origin", &origin)]), 401);
    assert_eq!(
        running.call("POST", "/login", &[], b"token=wrong").status,
        401
    );
}

#[test]
fn what_is_revoked_is_out_with_the_next_request() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let running = serve(&fixture.path(), &[]);
    assert_eq!(running.query(&token, "SELECT 1").status, 200);
    fixture.store().revoke_token("reader", 2).expect("revoked");
    assert_eq!(running.query(&token, "SELECT 1").status, 401);
    assert!(postgres(running.postgres, &token, "SELECT 1").contains("28P01"));
}

/// Ways to a table that is not for the asker.
fn attempts(table: &str, column: &str) -> Vec<String> {
    [
        "SELECT * FROM {t}",
        "SELECT {c} FROM datafusion.public.{t}",
        "SELECT {c} FROM \"{t}\"",
        "SELECT c.{c} FROM calls JOIN {t} c ON c.event_id = calls.event_id",
        "SELECT * FROM calls WHERE event_id IN (SELECT event_id FROM {t} WHERE {c} LIKE '%sword%')",
        "SELECT (SELECT max({c}) FROM {t})",
        "SELECT * FROM calls WHERE EXISTS (SELECT 1 FROM {t})",
        "WITH x AS (SELECT * FROM {t}) SELECT * FROM x",
        "WITH RECURSIVE x AS (SELECT {c} FROM {t} UNION ALL SELECT {c} FROM x) SELECT * FROM x LIMIT 3",
        "SELECT event_id FROM calls UNION ALL SELECT {c} FROM {t}",
        "CREATE VIEW v AS SELECT * FROM {t}",
        "CREATE TABLE calls2 AS SELECT * FROM {t}",
        "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '{s}/{t}/'",
        "COPY (SELECT * FROM {t}) TO '{s}/out.csv'",
        "COPY calls TO '{s}/out.csv'",
        "INSERT INTO calls SELECT * FROM {t}",
        "SELECT * FROM '{s}/{t}/**/*.parquet'",
        "SELECT * FROM read_parquet('{s}/{t}')",
        "SELECT * FROM parquet_metadata('{s}/{t}')",
        "SET datafusion.catalog.information_schema = false",
        "SET datafusion.catalog.location = '{s}'",
        "PREPARE p AS SELECT * FROM {t}",
        "EXECUTE p",
        "EXPLAIN SELECT * FROM {t}",
        "EXPLAIN ANALYZE SELECT * FROM {t}",
        "DESCRIBE {t}",
        "SHOW COLUMNS FROM {t}",
        "SHOW CREATE TABLE {t}",
        "SELECT * FROM information_schema.columns WHERE table_name = '{t}'",
        "SELECT * FROM information_schema.tables WHERE table_name = '{t}'",
        "SELECT * FROM information_schema.views WHERE definition LIKE '%{t}%'",
        "SELECT * FROM partitions WHERE \"table\" = '{t}'",
        "SELECT * FROM files WHERE \"table\" = '{t}'",
        "SELECT * FROM ingests WHERE \"table\" = '{t}'",
        "SELECT * FROM pg_catalog.pg_class WHERE relname = '{t}'",
        "DROP TABLE calls",
        "DELETE FROM calls",
        "SELECT CAST({c} AS BIGINT) FROM {t}",
        "SELECT 1; SELECT * FROM {t}",
    ]
    .map(|sql| sql.replace("{t}", table).replace("{c}", column))
    .to_vec()
}

#[test]
fn a_token_for_metadata_reads_no_content_in_any_way() {
    let fixture = Fixture::new();
    let metadata = fixture.reader();
    let reader = Rights {
        content: true,
        ..all()
    };
    let content = fixture.token("content", reader);
    let running = serve(&fixture.path(), &[]);
    // It is there, for who may read it.
    let sql = "SELECT count(*) FROM content WHERE text LIKE '%sword%'";
    assert_eq!(running.number(&content, sql), 5);
    let root = fixture.path();
    let secret = root.to_string_lossy();
    for sql in attempts("content", "text") {
        let sql = sql.replace("{s}", &secret);
        let answer = running.query(&metadata, &sql);
        let text = answer.text();
        assert!(!text.contains("swordfish"), "{sql}: {text}");
        // Either refused, or an answer without a row of it or about it.
        if answer.status == 200 {
            assert_eq!(answer.json()["row_count"], 0, "{sql}: {text}");
        } else {
            assert_eq!(answer.status, 400, "{sql}: {text}");
        }
        // Told is the asker's own text, and nothing that it does not have.
        assert!(!text.replace(&sql, "").contains("part-"), "{sql}: {text}");
        let said = postgres(running.postgres, &metadata, &sql);
        assert!(!said.contains("swordfish"), "{sql}: {said}");
        assert!(!said.contains("part-"), "{sql}: {said}");
    }
    let names = running.query(
        &metadata,
        "SELECT table_name FROM information_schema.tables",
    );
    assert!(names.text().contains("calls"));
    assert!(!names.text().contains("content") && !names.text().contains("quarantine"));
    // A name that is nearly right is not completed to one that is not there.
    let answer = running.query(&metadata, "SELECT * FROM contents");
    assert_eq!(answer.status, 400);
    assert!(!answer.text().contains("`content`"), "{}", answer.text());
    assert!(!root.join("out.csv").exists());
    assert_eq!(running.number(&metadata, "SELECT count(*) FROM calls"), 5);
}

#[test]
fn a_row_filter_holds_against_every_way_of_asking() {
    let fixture = Fixture::new();
    let rights = |filter: &str| Rights {
        tables: vec!["calls".into(), "filters".into()],
        filter: Some(filter.into()),
        ..Rights::default()
    };
    let alice = fixture.token("alice", rights("caller = 'alice'"));
    let running = serve(&fixture.path(), &[]);
    assert_eq!(running.number(&alice, "SELECT count(*) FROM calls"), 3);
    assert_eq!(running.number(&alice, "SELECT count(*) FROM filters"), 3);
    assert_eq!(
        running.number(&alice, "SELECT count(*) FROM calls_merged"),
        3
    );
    assert_eq!(
        running.number(&alice, "SELECT max(input_tokens) FROM calls"),
        102
    );
    assert_eq!(
        running.number(&alice, "SELECT count(DISTINCT caller) FROM calls"),
        1
    );
    assert_eq!(
        running.number(
            &alice,
            "SELECT count(*) FROM calls WHERE input_tokens >= 102"
        ),
        1
    );
    for sql in [
        "SELECT caller FROM calls",
        "SELECT * FROM calls ORDER BY event_time DESC LIMIT 1",
        "SELECT caller FROM calls WHERE caller <> 'alice'",
        "SELECT caller FROM calls WHERE caller = 'alice' OR true",
        "SELECT max(caller), min(caller) FROM calls",
        // A condition that fails on a value tells it, if it ever sees the row.
        "SELECT count(*) FROM calls WHERE CAST(caller AS BIGINT) = 1",
        "SELECT CAST(caller AS BIGINT) FROM calls",
        "SELECT count(*) FROM calls WHERE CASE WHEN caller LIKE 'b%' THEN CAST(caller AS BIGINT) = 1 ELSE true END",
        "SELECT count(*) FROM calls WHERE input_tokens / (104 - input_tokens) > 0",
        "SELECT count(*) FROM (SELECT CAST(caller AS BIGINT) AS n, input_tokens FROM calls) WHERE n > 0",
        "SELECT a.caller FROM calls a FULL JOIN calls b ON a.event_id = b.event_id",
        "SELECT * FROM filters",
        "SELECT caller FROM calls_merged",
        "EXPLAIN SELECT * FROM calls",
        "EXPLAIN ANALYZE SELECT count(*) FROM calls",
        "SELECT * FROM partitions",
        "SELECT * FROM files",
    ] {
        let text = running.query(&alice, sql).text();
        assert!(!text.contains("bob"), "{sql}: {text}");
        let said = postgres(running.postgres, &alice, sql);
        assert!(!said.contains("bob"), "{sql}: {said}");
    }
    // What would divide by nothing for the row of 104 tokens does so for nobody who cannot see it.
    let sql = "SELECT count(*) FROM calls WHERE input_tokens / (104 - input_tokens) >= 0";
    assert_eq!(running.number(&alice, sql), 3);
    // Those that can fail on Alice's own rows tell of these.
    let own = running.query(&alice, "SELECT CAST(caller AS BIGINT) FROM calls");
    assert_eq!(own.status, 400);
    assert!(own.text().contains("alice"), "{}", own.text());
}

#[test]
fn answers_have_the_form_that_is_asked_for() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let running = serve(&fixture.path(), &["--max-rows", "4"]);
    let bearer = format!("Bearer {token}");
    let question = json!({
        "sql": "SELECT caller, input_tokens FROM calls WHERE input_tokens >= $least ORDER BY input_tokens",
        "params": {"least": 102},
    });
    let post = |accept: &str, body: &Value| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("accept", accept),
        ];
        running.call("POST", "/api/query", &headers, body.to_string().as_bytes())
    };
    let json = post("application/json", &question).json();
    assert_eq!(json["columns"][0]["name"], "caller");
    assert_eq!(json["columns"][0]["type"], "string");
    assert_eq!(json["columns"][1]["type"], "integer");
    assert_eq!(
        json["rows"][0],
        json!({"caller": "alice", "input_tokens": 102})
    );
    assert_eq!(
        (&json["row_count"], &json["truncated"]),
        (&json!(3), &json!(false))
    );

    let lines = post("application/x-ndjson", &question).text();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(Value::Array(lines), json["rows"]);

    let arrow = post("application/vnd.apache.arrow.stream", &question);
    let reader = StreamReader::try_new(&arrow.body[..], None).expect("a stream");
    let rows: usize = reader.map(|batch| batch.expect("a batch").num_rows()).sum();
    assert_eq!(rows, 3);

    let all = running.query(&token, "SELECT * FROM calls").json();
    assert_eq!(
        (&all["row_count"], &all["truncated"]),
        (&json!(4), &json!(true))
    );
    let two = post("*/*", &json!({"sql": "SELECT * FROM calls", "max_rows": 2})).json();
    assert_eq!(
        (&two["row_count"], &two["truncated"]),
        (&json!(2), &json!(true))
    );
    let path = "/api/query?sql=SELECT+$a+AS+a&param.a=7";
    assert_eq!(
        running.as_token(&token, "GET", path, b"").json()["rows"][0]["a"],
        7
    );

    let wrong = running.query(&token, "SELECT caller,\n  modle FROM calls");
    assert_eq!(wrong.status, 400);
    assert_eq!(
        wrong.header("content-type"),
        Some("application/problem+json")
    );
    let wrong = wrong.json();
    assert_eq!((&wrong["line"], &wrong["column"]), (&json!(2), &json!(3)));
    assert_eq!(wrong["hint"], "did you mean `model`?");
    let slow = json!({"sql": "SELECT count(*) FROM range(100000000) a CROSS JOIN range(100000) b", "timeout_ms": 200});
    assert_eq!(post("*/*", &slow).status, 503);
    assert_eq!(
        post("*/*", &json!({"sql": "SELECT 1", "sgl": 1})).status,
        400
    );
}

#[test]
fn findings_rules_status_metrics_and_their_description_answer() {
    let fixture = Fixture::new();
    let token = fixture.token(
        "all",
        Rights {
            metrics: true,
            ..all()
        },
    );
    let narrow = fixture.token(
        "narrow",
        Rights {
            tables: vec!["calls".into()],
            ..Rights::default()
        },
    );
    let running = serve(&fixture.path(), &[]);
    let get = |token: &str, path: &str| running.as_token(token, "GET", path, b"");
    assert_eq!(
        get(&token, "/api/findings?status=open&limit=5").json(),
        json!({"findings": [], "next": null})
    );
    assert_eq!(get(&token, "/api/findings?colour=red").status, 400);
    assert_eq!(get(&token, "/api/findings/0123").status, 404);
    assert_eq!(get(&narrow, "/api/findings").status, 403);
    assert_eq!(get(&narrow, "/metrics").status, 403);
    assert_eq!(get(&narrow, "/api/status").status, 403);
    let rules = get(&token, "/api/rules").json();
    let first = rules["rules"][0]["id"].as_str().expect("an id").to_owned();
    let rule = get(&token, &format!("/api/rules/{first}")).json();
    assert_eq!(rule["rule"], rules["rules"][0]);
    assert!(
        rule["sql"]
            .as_str()
            .is_some_and(|sql| sql.contains("SELECT"))
    );
    assert_eq!(rule["evaluations"], json!([]));
    assert!(
        get(&narrow, &format!("/api/rules/{first}"))
            .json()
            .get("evaluations")
            .is_none()
    );
    let status = get(&token, "/api/status?rule=token-burn").json();
    assert_eq!(status["sources"][0]["source"], "test");
    let metrics = get(&token, "/metrics").text();
    assert!(
        metrics.contains("inferwatch_store_files{table=\"calls\"} "),
        "{metrics}"
    );
    assert!(metrics.ends_with("# EOF\n"));
    let described = get(&token, "/openapi.json").json();
    for path in described["paths"].as_object().expect("paths").keys() {
        let path = path.replace("{id}", "x");
        // There is such a path: what is wrong is at most the method or the question.
        let answer = get(&token, &path);
        let missing = answer.text().contains(&format!("`{path}`")) && answer.status == 404;
        assert!(!missing, "{path}");
    }
}

fn span(id: u64) -> String {
    format!(
        r#"{{"traceId":"{id:032x}","spanId":"{id:016x}","name":"chat gpt-4o","startTimeUnixNano":"1772445600000000000","endTimeUnixNano":"1772445601000000000","attributes":[{{"key":"gen_ai.operation.name","value":{{"stringValue":"chat"}}}},{{"key":"gen_ai.request.model","value":{{"stringValue":"gpt-4o"}}}},{{"key":"gen_ai.usage.input_tokens","value":{{"intValue":"7"}}}}]}}"#
    )
}

fn traces(ids: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let spans: Vec<String> = ids.into_iter().map(span).collect();
    format!(
        r#"{{"resourceSpans":[{{"resource":{{}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    )
    .into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn rows(fixture: &Fixture, table: Table) -> i64 {
    fixture.store().snapshot(table).expect("a snapshot").rows()
}

#[test]
fn records_are_durable_when_they_are_acknowledged_and_taken_once() {
    let fixture = Fixture::empty();
    let token = fixture.token("collector", ingest());
    let running = serve(&fixture.path(), &[]);
    let bearer = format!("Bearer {token}");
    let send = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let headers = [&[("authorization", bearer.as_str())], headers].concat();
        running.call("POST", path, &headers, body)
    };
    let json = [("content-type", "application/json")];
    let answer = send("/v1/traces", &json, &traces(1..=3));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "{}"),
        "{answer:?}"
    );
    assert_eq!(rows(&fixture, Table::Calls), 3);
    // The same again, packed, and once more as lines: the first is known, the others are other requests.
    let packed = gzip(&traces(1..=3));
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    assert_eq!(send("/v1/traces", &headers, &packed).status, 200);
    assert_eq!(rows(&fixture, Table::Calls), 3);

    // Under a name of the sender's, whatever is in it counts once.
    let key = [("idempotency-key", "batch-7")];
    let line = br#"{"timestamp":"2026-03-02T10:00:00Z","model":"m","caller":"c","input_tokens":1}"#;
    let answer = send("/v1/ingest", &key, line);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["duplicate"], false);
    assert_eq!(answer.json()["rows"]["calls"], 1);
    assert_eq!(send("/v1/ingest", &key, line).json()["duplicate"], true);
    assert_eq!(
        send(
            "/v1/ingest",
            &key,
            b"{\"timestamp\":\"2026-03-02T11:00:00Z\"}"
        )
        .status,
        422
    );
    assert_eq!(rows(&fixture, Table::Calls), 4);

    // Protobuf: a span without a field that a call needs is put aside, and counted in the answer.
    let bytes = |number: u8, value: &[u8]| [&[number << 3 | 2, value.len() as u8], value].concat();
    let bad = bytes(1, &bytes(2, &bytes(2, &bytes(5, b"chat gpt-4o"))));
    let proto = [("content-type", "application/x-protobuf")];
    let answer = send("/v1/traces", &proto, &bad);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-protobuf")
    );
    assert_eq!(send("/v1/traces", &proto, b"").body, b"");
    assert_eq!(send("/v1/traces", &proto, b"nonsense").status, 400);
    assert_eq!(
        send("/v1/traces", &[("content-type", "text/plain")], b"x").status,
        415
    );

    // Damage is put aside, not dropped.
    let answer = send(
        "/v1/ingest",
        &[],
        b"{\"timestamp\":\"2026-03-02T10:00:00Z\",\"model\":\"m\",\"caller\":\"d\"}\n{broken\n",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(rows(&fixture, Table::Quarantine) >= 1);
    assert_eq!(send("/v1/ingest", &[], b"no log at all").status, 400);
    assert_eq!(send("/v1/ingest?format=nonsense", &[], b"{}").status, 400);

    // Who may send may not ask.
    assert_eq!(
        running.query(&token, "SELECT count(*) FROM calls").status,
        403
    );
    let reader = fixture.reader();
    assert_eq!(
        running.as_token(&reader, "POST", "/v1/ingest", line).status,
        403
    );
}

#[test]
fn what_is_too_large_is_refused_and_what_was_known_before_a_restart_is_known_after() {
    let fixture = Fixture::empty();
    let token = fixture.token("collector", ingest());
    let flags = ["--max-body", "64KiB", "--max-unpacked", "128KiB"];
    let running = serve(&fixture.path(), &flags);
    let send =
        |running: &Running, body: &[u8]| running.as_token(&token, "POST", "/v1/ingest", body);
    let bomb = gzip(&vec![b' '; 1 << 20]);
    assert!(bomb.len() < 64 << 10);
    assert_eq!(send(&running, &bomb).status, 413);
    let large = running.try_call(
        "POST",
        "/v1/ingest",
        &[("authorization", &format!("Bearer {token}"))],
        &vec![b' '; 1 << 20],
    );
    // It may be gone before it has read what it does not want.
    assert!(large.is_err() || large.is_ok_and(|answer| answer.status == 413));
    assert_eq!(send(&running, &traces(1..=2)).status, 200);
    drop(running);
    let running = serve(&fixture.path(), &flags);
    assert_eq!(send(&running, &traces(1..=2)).json()["duplicate"], true);
    assert_eq!(rows(&fixture, Table::Calls), 2);
}

#[test]
fn killed_ten_times_every_acknowledged_row_is_there_once() {
    let fixture = Fixture::empty();
    let token = fixture.token("collector", ingest());
    let bearer = Arc::new(format!("Bearer {token}"));
    let mut random = StdRng::seed_from_u64(7);
    let mut acknowledged = Vec::new();
    // What was sent and not acknowledged, which is sent again, and the next that was never sent.
    let next = Arc::new(Mutex::new((Vec::<u64>::new(), 0_u64)));
    for _ in 0..10 {
        let mut running = serve(&fixture.path(), &["--commit-every", "5ms", "--quiet"]);
        let (tell, told) = std::sync::mpsc::channel();
        for _ in 0..4 {
            let (address, tell) = (running.http, tell.clone());
            let (bearer, next) = (Arc::clone(&bearer), Arc::clone(&next));
            std::thread::spawn(move || {
                loop {
                    let id = {
                        let mut next = next.lock().expect("no panic");
                        next.0.pop().unwrap_or_else(|| {
                            next.1 += 1;
                            next.1
                        })
                    };
                    let headers = [("authorization", bearer.as_str())];
                    let body = traces([2 * id, 2 * id + 1]);
                    let answer = request(address, "POST", "/v1/ingest", &headers, &body);
                    if answer.is_ok_and(|answer| answer.status == 200) {
                        tell.send(id).expect("somebody counts");
                    } else {
                        next.lock().expect("no panic").0.push(id);
                        return;
                    }
                }
            });
        }
        drop(tell);
        let enough = random.random_range(1..15);
        acknowledged.extend(told.iter().take(enough));
        running.child.kill().expect("killed");
        running.child.wait().expect("it ends");
        // Until the last sender has found out.
        acknowledged.extend(told);
    }
    // The rest is sent once more, and now all of it is there, once.
    let running = serve(&fixture.path(), &[]);
    let (again, _) = next.lock().expect("no panic").clone();
    for id in again {
        let body = traces([2 * id, 2 * id + 1]);
        assert_eq!(
            running.as_token(&token, "POST", "/v1/ingest", &body).status,
            200
        );
        acknowledged.push(id);
    }
    let reader = fixture.reader();
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    let expected = 2 * acknowledged.len() as i64;
    assert_eq!(
        running.number(&reader, "SELECT count(*) FROM calls"),
        expected
    );
    assert_eq!(
        running.number(&reader, "SELECT count(DISTINCT span_id) FROM calls"),
        expected
    );
    let report = fixture.store().verify(true).expect("a report");
    assert_eq!(report.problems.len(), 0);
}

#[test]
fn noise_on_either_port_does_no_harm() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let running = serve(&fixture.path(), &["--max-connections", "64"]);
    let mut random = StdRng::seed_from_u64(11);
    let startup = b"\0\0\0\x17\0\x03\0\0user\0somebody\0\0\0";
    for round in 0..120 {
        for address in [running.http, running.postgres] {
            let mut stream = TcpStream::connect(address).expect("a connection");
            let mut noise = vec![0; random.random_range(1..2000)];
            random.fill_bytes(&mut noise);
            let text: Vec<u8> = match round % 6 {
                0 => noise,
                1 => [b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n", &noise[..]].concat(),
                2 => [b"POST /v1/ingest HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n", &noise[..]].concat(),
                3 => [&startup[..], b"p", &noise].concat(),
                4 => [&0x7fff_ffff_u32.to_be_bytes()[..], &noise].concat(),
                _ => [&startup[..], b"Q\0\0\0\x0dSELECT 1;\0", b"P", &noise].concat(),
            };
            let _ = stream.write_all(&text);
            // Some stay open, and say nothing more.
            if round % 7 == 0 {
                std::mem::forget(stream);
            }
        }
    }
    assert_eq!(running.call("GET", "/healthz", &[], b"").status, 200);
    assert_eq!(running.number(&token, "SELECT count(*) FROM calls"), 5);
    assert!(postgres(running.postgres, &token, "SELECT 40 + 2").contains("42"));
    let log = running.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_server_that_is_told_to_stop_answers_what_it_has() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let mut running = serve(&fixture.path(), &[]);
    assert_eq!(running.query(&token, "SELECT 1").status, 200);
    running.terminate();
    assert!(TcpStream::connect(running.http).is_err());
}

#[test]
fn what_is_sent_is_looked_at_by_rules_beside() {
    let fixture = Fixture::empty();
    let token = fixture.token(
        "both",
        Rights {
            ingest: true,
            ..all()
        },
    );
    let sql = format!(
        "SELECT caller, count(*) AS event_count FROM calls WHERE {BOUNDS} GROUP BY caller HAVING count(*) >= 3"
    );
    let (name, text) = rule("thrice", "", &sql);
    let rules = fixture.folder.path().join(name);
    std::fs::write(&rules, text.as_bytes()).expect("written");
    let flags = ["--tick", "20ms", "--rules", rules.to_str().expect("text")];
    let mut running = start(&fixture.path(), &flags);
    let line = |time: &str, caller: &str| {
        format!(
            "{{\"timestamp\":\"2026-03-02T{time}Z\",\"model\":\"m\",\"caller\":\"{caller}\",\"input_tokens\":1}}\n"
        )
    };
    // The last of them says that the time of the others is over.
    let lines = [
        line("10:00:01", "eve"),
        line("10:00:02", "eve"),
        line("10:00:03", "eve"),
        line("10:00:04", "ada"),
        line("12:00:00", "ada"),
    ];
    let sent = running.as_token(&token, "POST", "/v1/ingest", lines.concat().as_bytes());
    assert_eq!(sent.status, 200, "{}", sent.text());
    let begun = Instant::now();
    let findings = loop {
        let answer = running
            .as_token(&token, "GET", "/api/findings?rule=thrice", b"")
            .json();
        let findings = answer["findings"].as_array().expect("a list").clone();
        if !findings.is_empty() {
            break findings;
        }
        // Long enough for a busy machine; nothing waits for it to pass.
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "{}",
            running.log()
        );
    };
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0]["entity"], json!({"caller": "eve"}));
    assert_eq!(findings[0]["event_count"], 3);
    let id = findings[0]["finding_id"].as_str().expect("an id");
    let one = running
        .as_token(&token, "GET", &format!("/api/findings/{id}"), b"")
        .json();
    assert_eq!(one["history"][0]["event"], "opened");
    running.terminate();
}

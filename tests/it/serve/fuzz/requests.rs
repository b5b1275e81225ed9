//! Requests that are broken in their head or their body.

use inferwatch::store::Rights;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, RngCore, SeedableRng};

use super::{answer_to, memory};
use crate::serve::intake::{gzip, traces};
use crate::serve::program::serve;
use crate::serve::{Fixture, all};

struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn new(token: &str, line: &str, body: &[u8]) -> Request {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut headers = vec![
            header("host", "127.0.0.1"),
            header("connection", "close"),
            header("authorization", &format!("Bearer {token}")),
        ];
        if !body.is_empty() {
            headers.push(header("content-length", &body.len().to_string()));
        }
        Request {
            line: format!("{line} HTTP/1.1"),
            headers,
            body: body.to_vec(),
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.line).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

fn requests(token: &str) -> Vec<Request> {
    let request = |line: &str, body: &[u8]| Request::new(token, line, body);
    let json = |line: &str, body: &[u8]| {
        let mut request = request(line, body);
        request.set("content-type", "application/json");
        request
    };
    let mut packed = json("POST /v1/traces", &gzip(&traces([1])));
    packed.set("content-encoding", "gzip");
    vec![
        request("POST /api/query", b"SELECT count(*) FROM calls"),
        json(
            "POST /api/query",
            br#"{"sql": "SELECT $a", "params": {"a": "1"}}"#,
        ),
        request("GET /api/query?sql=SELECT%201", b""),
        request("GET /api/status", b""),
        request("GET /api/boards", b""),
        request(
            "POST /v1/ingest",
            b"{\"request_id\": \"r1\", \"model\": \"m\"}\n",
        ),
        packed,
    ]
}

/// A request with something wrong, whether an answer of success would be a lie, and whether more of it is waited for.
fn broken_request(random: &mut StdRng, mut request: Request) -> (Vec<u8>, bool, bool) {
    let has_body = !request.body.is_empty();
    let kinds = if has_body { 20 } else { 12 };
    let kind = random.random_range(0..kinds);
    match kind {
        // The head.
        0 => request.line = request.line.replace("HTTP/1.1", "HTTP/9.9"),
        1 => request.line = request.line.replace(' ', "\0"),
        2 => request.line = format!("{}{}", "G".repeat(40_000), request.line),
        3 => request.headers.retain(|(name, _)| name != "host"),
        4 => request.headers.retain(|(name, _)| name != "authorization"),
        5 => request.set(
            "authorization",
            &format!("Bearer iwt_{}", random.next_u64()),
        ),
        6 => request.headers.push(("no colon\r\nx".into(), "y".into())),
        7 => request.headers.push(("a\0b".into(), "c".into())),
        8 => {
            let flood = (0..2000).map(|n| (format!("x-{n}"), "y".to_owned()));
            request.headers.extend(flood);
        }
        9 => request.headers.push(("x".into(), "y".repeat(100_000))),
        10 => {
            let bytes = request.bytes();
            let end = random.random_range(1..bytes.len());
            return (bytes[..end].to_vec(), true, true);
        }
        11 => {
            let mut bytes = request.bytes();
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
            return (bytes, false, true);
        }
        // The body.
        12 => {
            let more = request.body.len() + random.random_range(1..1_000_000);
            request.set("content-length", &more.to_string());
        }
        13 => {
            let lie = [
                "-1",
                "1e3",
                "99999999999999999999999",
                "18446744073709551615",
                "0x10",
            ];
            request.set("content-length", lie.choose(random).expect("one"));
        }
        14 => {
            let other = (request.body.len() + 1).to_string();
            request.headers.push(("content-length".into(), other));
        }
        15 => request.set("transfer-encoding", "chunked"),
        16 => {
            request.headers.retain(|(name, _)| name != "content-length");
            request.set("transfer-encoding", "chunked");
            let size = ["ffffffffffffffff", "7fffffff", "-5", "5; x\r\nx", "zz"];
            let size = size.choose(random).expect("one");
            let body = [size.as_bytes(), b"\r\n", &request.body].concat();
            request.body = body;
        }
        17 => {
            // Packed, and torn.
            let mut body = gzip(&[b' '; 5000]);
            body.truncate(body.len() - random.random_range(5..20));
            request.set("content-length", &body.len().to_string());
            request.set("content-encoding", "gzip");
            request.body = body;
        }
        18 => {
            let depth = random.random_range(1000..200_000);
            let body = ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes();
            request.set("content-length", &body.len().to_string());
            request.set("content-type", "application/json");
            request.body = body;
            // What takes records puts one aside that it cannot read, and says so with success.
            let must_fail = request.line.contains("/api/");
            return (request.bytes(), must_fail, false);
        }
        _ => {
            request.set("content-length", "3");
            // The rest would be the next request, which never was one.
            return (request.bytes(), false, false);
        }
    }
    // The server waits for what was announced, and would for as long as a request may take.
    (request.bytes(), true, matches!(kind, 12 | 13 | 16))
}

#[test]
fn broken_requests_do_no_harm_and_are_not_answered_with_success() {
    let fixture = Fixture::new();
    let rights = Rights {
        ingest: true,
        ..all()
    };
    let token = fixture.token("both", rights);
    // Small enough that a flood meets the limits.
    let flags = [
        "--max-connections",
        "64",
        "--rate",
        "100000",
        "--max-unpacked",
        "8MiB",
    ];
    let running = serve(&fixture.path(), &flags);
    for request in requests(&token) {
        let answer = answer_to(running.http, &request.bytes(), false);
        let told = String::from_utf8_lossy(&answer);
        assert!(told.starts_with("HTTP/1.1 200"), "{}: {told}", request.line);
    }
    let before = memory(&running, "VmHWM");
    let mut random = StdRng::seed_from_u64(5);
    for round in 0..400 {
        let mut all = requests(&token);
        let request = all.swap_remove(random.random_range(0..all.len()));
        let line = request.line.clone();
        let (bytes, must_fail, ends) = broken_request(&mut random, request);
        let answer = answer_to(running.http, &bytes, ends);
        let head = String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned();
        assert!(
            !must_fail || !head.starts_with("HTTP/1.1 2"),
            "round {round}: {line}: {head}\nfor {}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(600)])
        );
    }
    let of_fixture = "SELECT count(*) FROM calls WHERE source_format = 'test'";
    assert_eq!(running.number(&token, of_fixture), 5);
    assert_eq!(running.call("GET", "/healthz", &[], b"").status, 200);
    assert!(!running.log().contains("panicked"), "{}", running.log());
    let grown = memory(&running, "VmHWM").saturating_sub(before);
    assert!(grown < 256 << 20, "{} MiB more", grown >> 20);
}

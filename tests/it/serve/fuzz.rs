//! Requests and messages that were right and then broken, in the ways in which programs and people break them: lengths
//! that lie, ends that do not come, parts in another order, parts without end. Whatever is sent, the server goes on, takes
//! no memory for what was only announced, and says of nothing broken that it was done.

use super::*;
use rand::seq::IndexedRandom as _;

/// What the process holds and has held in memory, in bytes.
fn memory(running: &Running, name: &str) -> u64 {
    let path = format!("/proc/{}/status", running.child.id());
    let text = std::fs::read_to_string(path).expect("it runs");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("known");
    let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    number.parse::<u64>().expect("a number") << 10
}

/// All that comes back for some bytes. `ends`: nothing more is sent, which the server is told.
fn answer_to(address: SocketAddr, bytes: &[u8], ends: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let limit = Some(Duration::from_secs(60));
    stream.set_read_timeout(limit).expect("a limit");
    // A peer may have closed before it has read all.
    let _ = stream.write_all(bytes);
    if ends {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// That it is alive and well, and has not grown by what was sent.
fn is_unharmed(running: &Running, token: &str, before: u64) {
    assert_eq!(running.call("GET", "/healthz", &[], b"").status, 200);
    assert_eq!(running.number(token, "SELECT count(*) FROM calls"), 5);
    assert!(postgres(running.postgres, token, "SELECT 40 + 2").contains("42"));
    let grown = memory(running, "VmHWM").saturating_sub(before);
    assert!(grown < 256 << 20, "{} MiB more", grown >> 20);
}

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

/// Each of these was planned until the stack ended, and the process with it, or for minutes.
#[test]
fn statements_without_measure_are_refused_before_they_are_planned() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let running = serve(&fixture.path(), &[]);
    let before = memory(&running, "VmHWM");
    let n = 20_000;
    let doubled: String = (1..=40)
        .map(|n| {
            let before = n - 1;
            format!(", a{n} AS (SELECT l.x FROM a{before} AS l CROSS JOIN a{before} AS r)")
        })
        .collect();
    for (what, sql) in [
        ("operators", format!("SELECT 1{}", "+1".repeat(n))),
        ("casts", format!("SELECT 1{}", "::int".repeat(n))),
        ("signs", format!("SELECT {}1", "- ".repeat(n))),
        (
            "brackets",
            format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)),
        ),
        ("negations", format!("SELECT {}true", "NOT ".repeat(n))),
        (
            "joins",
            format!(
                "SELECT 1 FROM calls a0{}",
                (1..300)
                    .map(|n| format!(" CROSS JOIN calls a{n}"))
                    .collect::<String>()
            ),
        ),
        ("unions", vec!["SELECT 1"; 300].join(" UNION ALL ")),
        (
            "subqueries",
            format!(
                "{}SELECT 1{}",
                "SELECT * FROM (".repeat(300),
                ")".repeat(300)
            ),
        ),
        (
            "doublings",
            format!("WITH a0 AS (SELECT 1 AS x){doubled} SELECT x FROM a40"),
        ),
    ] {
        let answer = running.query(&token, &sql);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        let told = postgres(running.postgres, &token, &sql);
        assert!(told.contains("SERROR"), "{what}: {told}");
    }
    // What is just within the bounds is deep all the same.
    let deep = format!("SELECT 1{} AS x", "+1".repeat(400));
    assert_eq!(running.number(&token, &deep), 401);
    assert!(!running.log().contains("panicked"), "{}", running.log());
    is_unharmed(&running, &token, before);
}

/// A message of the Postgres protocol.
#[derive(Clone)]
struct Message {
    /// What the first of a connection lacks.
    kind: Option<u8>,
    body: Vec<u8>,
}

impl Message {
    fn bytes(&self) -> Vec<u8> {
        self.with_length(self.body.len() as u32 + 4)
    }

    fn with_length(&self, length: u32) -> Vec<u8> {
        let kind = self.kind.as_slice();
        [kind, &length.to_be_bytes(), &self.body].concat()
    }
}

/// A start, the password, and the same question twice over: plainly, and by a prepared statement with a parameter.
fn conversation(token: &str) -> Vec<Message> {
    let message = |kind: u8, parts: &[&[u8]]| Message {
        kind: Some(kind),
        body: parts.concat(),
    };
    let start = [
        &[0, 3, 0, 0][..],
        b"user\0somebody\0database\0datafusion\0\0",
    ];
    vec![
        Message {
            kind: None,
            body: start.concat(),
        },
        message(b'p', &[token.as_bytes(), b"\0"]),
        message(b'Q', &[b"SELECT 123400 + 56\0"]),
        message(b'P', &[b"s\0SELECT 123400 + CAST($1 AS BIGINT)\0", &[0, 0]]),
        message(b'D', &[b"Ss\0"]),
        message(
            b'B',
            &[b"p\0s\0", &[0, 0, 0, 1, 0, 0, 0, 2], b"56", &[0, 0]],
        ),
        message(b'E', &[b"p\0", &[0, 0, 0, 0]]),
        message(b'S', &[]),
        message(b'X', &[]),
    ]
}

/// The bytes of a conversation with something wrong, and from which message on no answer may come.
fn broken_conversation(random: &mut StdRng, mut all: Vec<Message>) -> (Vec<u8>, usize) {
    let at = random.random_range(0..all.len() - 1);
    let joined = |all: &[Message]| all.iter().flat_map(Message::bytes).collect::<Vec<u8>>();
    let length = all[at].body.len() as u32 + 4;
    match random.random_range(0..10) {
        // Its length says something else; what follows is read as something else.
        0 => {
            let lies = [
                0,
                1,
                3,
                length - 1,
                length + 1,
                length + 1000,
                4 << 20,
                u32::MAX / 2,
                u32::MAX,
            ];
            let lie = *lies.choose(random).expect("one");
            let bytes = [
                joined(&all[..at]),
                all[at].with_length(lie),
                joined(&all[at + 1..]),
            ];
            (bytes.concat(), at)
        }
        1 => {
            let whole = joined(&all[..=at]);
            let cut = whole.len() - random.random_range(1..=all[at].bytes().len());
            (whole[..cut].to_vec(), at)
        }
        2 => {
            all[at].kind = Some(random.random());
            (joined(&all), at)
        }
        3 => {
            let other = random.random_range(0..all.len());
            all.swap(at, other);
            (joined(&all), at.min(other))
        }
        4 => {
            all.remove(at);
            (joined(&all), at)
        }
        5 => {
            // Counts of parameters and formats that nothing follows.
            let end = all[at].body.len();
            let from = end.saturating_sub(random.random_range(1..9));
            all[at].body[from..].fill(0xff);
            (joined(&all), at)
        }
        6 => {
            // Texts without an end.
            all[at].body.retain(|byte| *byte != 0);
            (joined(&all), at)
        }
        7 => {
            let body = &mut all[at].body;
            let noise = random.random_range(1..200_000);
            body.extend(std::iter::repeat_n(random.random::<u8>(), noise));
            (joined(&all), at)
        }
        8 => {
            let again = all[at].clone();
            let often = random.random_range(2..200);
            all.splice(at..at, std::iter::repeat_n(again, often));
            (joined(&all), at)
        }
        _ => {
            let mut bytes = joined(&all);
            let place = random.random_range(0..bytes.len());
            bytes[place] = random.random();
            let mut end = 0;
            let at = all.iter().position(|message| {
                end += message.bytes().len();
                place < end
            });
            (bytes, at.expect("within"))
        }
    }
}

#[test]
fn broken_messages_of_postgres_do_no_harm_and_open_nothing() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let flags = [
        "--max-connections",
        "64",
        "--rate",
        "100000",
        "--request-time",
        "5s",
    ];
    let running = serve(&fixture.path(), &flags);
    let answers = |bytes: &[u8]| {
        let answer = answer_to(running.postgres, bytes, true);
        answer.windows(6).filter(|six| six == b"123456").count()
    };
    let whole = conversation(&token);
    let bytes: Vec<u8> = whole.iter().flat_map(Message::bytes).collect();
    assert_eq!(answers(&bytes), 2);
    let before = memory(&running, "VmHWM");
    let mut random = StdRng::seed_from_u64(6);
    for round in 0..300 {
        let (bytes, at) = broken_conversation(&mut random, conversation(&token));
        let told = answers(&bytes);
        // Only the password opens anything, and only as it was given out.
        let mut windows = bytes.windows(token.len());
        let has_password = windows.any(|window| window == token.as_bytes());
        assert!(told == 0 || has_password, "round {round}: {told}");
        // What ends before the password has come gets nowhere.
        let is_cut = bytes.len() < whole[0].bytes().len() + whole[1].bytes().len();
        assert!(told == 0 || !is_cut, "round {round}, message {at}: {told}");
    }
    let wrong = conversation("iwt_wrong");
    let bytes: Vec<u8> = wrong.iter().flat_map(Message::bytes).collect();
    assert_eq!(answers(&bytes), 0);
    is_unharmed(&running, &token, before);
}

/// All places are taken by peers that say a little and then nothing; whoever comes after them waits for no longer than
/// a request may take.
#[test]
fn peers_that_say_little_are_sent_away() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let flags = ["--max-connections", "12", "--request-time", "3s"];
    let running = serve(&fixture.path(), &flags);
    let head = format!(
        "POST /api/query HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\ncontent-length: 100\r\n\r\n"
    );
    let start = conversation(&token)[0].bytes();
    let begin = |address: SocketAddr, bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).expect("a limit");
        stream.write_all(bytes).expect("it listens");
        stream
    };
    let mut slow = Vec::new();
    for number in 0..12 {
        slow.push(match number % 3 {
            0 => begin(running.http, b"GET /healthz HTTP/1.1\r\nhost: 127."),
            1 => begin(running.http, head.as_bytes()),
            _ => begin(running.http, format!("{head}SELECT 1").as_bytes()),
        });
    }
    let slow_postgres: Vec<TcpStream> = (0..12)
        .map(|number| match number % 3 {
            0 => begin(running.postgres, b"\0\0"),
            1 => begin(running.postgres, &start),
            _ => begin(running.postgres, &[&start[..], b"p\0\0\0\x50iwt_"].concat()),
        })
        .collect();
    assert_eq!(running.number(&token, "SELECT count(*) FROM calls"), 5);
    assert!(postgres(running.postgres, &token, "SELECT 40 + 2").contains("42"));
    for (number, mut stream) in slow.into_iter().enumerate() {
        let mut answer = Vec::new();
        // The end, or a connection that is gone: but not that it lasted a minute.
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock);
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
        if number % 3 != 0 {
            assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        }
    }
    for mut stream in slow_postgres {
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock);
        }
        // Asked for a password at most.
        assert!(answer.len() < 100, "{}", String::from_utf8_lossy(&answer));
    }
}

//! Requests and messages that were right and then broken, in the ways in which programs and people break them: lengths
//! that lie, ends that do not come, parts in another order, parts without end. Whatever is sent, the server goes on, takes
//! no memory for what was only announced, and says of nothing broken that it was done.

mod messages;
mod requests;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::Fixture;
use super::program::{Running, postgres, serve};
use messages::conversation;

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

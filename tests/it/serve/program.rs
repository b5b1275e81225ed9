//! The program, serving, and how it is asked over either port.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// The program, serving.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) http: SocketAddr,
    pub(super) postgres: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serving alone: rules take their time, and most of what is tried here has nothing to do with them.
pub(super) fn serve(store: &Path, flags: &[&str]) -> Running {
    start(store, &[&["--no-schedule"], flags].concat())
}

pub(super) fn start(store: &Path, flags: &[&str]) -> Running {
    start_with(&["--no-config"], store, flags)
}

/// Serving with settings.
pub(super) fn start_with(settings: &[&str], store: &Path, flags: &[&str]) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_inferwatch"))
        .args(settings)
        .arg("--store")
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
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl Running {
    /// One request on a connection of its own.
    pub(super) fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_call(method, path, headers, body)
            .expect("an answer")
    }

    pub(super) fn try_call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        request(self.http, method, path, headers, body)
    }

    pub(super) fn as_token(&self, token: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let bearer = format!("Bearer {token}");
        self.call(method, path, &[("authorization", &bearer)], body)
    }

    pub(super) fn query(&self, token: &str, sql: &str) -> Answer {
        self.as_token(token, "POST", "/api/query", sql.as_bytes())
    }

    pub(super) fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    /// Tells it to stop, and waits until it has.
    pub(super) fn terminate(&mut self) {
        let told = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(told.is_ok_and(|status| status.success()));
        let ended = self.child.wait().expect("it ends");
        assert!(ended.success(), "{}", self.log());
    }

    /// The one number of a query's answer.
    pub(super) fn number(&self, token: &str, sql: &str) -> i64 {
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

pub(super) fn request(
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
pub(super) fn postgres(address: SocketAddr, password: &str, sql: &str) -> String {
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

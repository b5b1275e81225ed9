//! Syslog as RFC 5424 has it, by UDP, by TCP with octet counting, or to a socket of this machine. Facts are structured
//! data, the line is for people; neither can end early, whatever strangers wrote.
//!
//! Nobody acknowledges syslog: a message by UDP may be lost unseen, one by TCP when the other side dies.

use std::io::ErrorKind;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, lookup_host};

use super::{Message, cut, headline};
use crate::catalog::{Section, Severity};
use crate::output::escape::visible;
use crate::sinks::failure::{Answer, Failure};

/// The names of facilities, in the order of their numbers.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];
/// The number that is set aside for examples: there is none of our own.
const STRUCTURED: &str = "inferwatch@32473";
/// Two thousand bytes are what every receiver takes.
const MOST_MESSAGE: usize = 900;
const MOST_VALUE: usize = 200;

/// See the module's documentation.
#[derive(Debug)]
pub struct Syslog {
    to: To,
    facility: usize,
    hostname: String,
    app: String,
}

#[derive(Debug)]
enum To {
    Udp(String),
    Tcp(String),
    #[cfg(unix)]
    Socket(std::path::PathBuf),
}

impl Syslog {
    pub(super) fn read(section: &Section<'_, '_>) -> Option<Syslog> {
        let address = section.required("address", Section::text);
        let choices: Vec<(&'static str, usize)> = FACILITIES
            .iter()
            .enumerate()
            .map(|(number, name)| (*name, number))
            .collect();
        let facility = section.choice("facility", &choices).unwrap_or(16);
        let hostname = section.text("hostname").unwrap_or_else(hostname);
        let app = section.text("app").unwrap_or_else(|| "inferwatch".into());
        let Some(to) = To::parse(&address?) else {
            section.fault_at(
                "address",
                "`address` is `udp://host:port`, `tcp://host:port` or `unix:/path`",
            );
            return None;
        };
        Some(Syslog {
            to,
            facility,
            hostname: name(&hostname, 255),
            app: name(&app, 48),
        })
    }

    pub(super) fn place(&self) -> String {
        match &self.to {
            To::Udp(address) => format!("udp://{address}"),
            To::Tcp(address) => format!("tcp://{address}"),
            #[cfg(unix)]
            To::Socket(path) => format!("unix:{}", path.display()),
        }
    }

    pub(super) async fn send(&self, message: &Message<'_>) -> Result<Answer, Failure> {
        let line = self.line(message);
        let result = match &self.to {
            To::Udp(address) => send_udp(address, line.as_bytes()).await,
            To::Tcp(address) => send_tcp(address, line.as_bytes()).await,
            #[cfg(unix)]
            To::Socket(path) => send_to_socket(path, line.as_bytes()).await,
        };
        result.map_err(|error| Failure::unreachable(format!("{}: {error}", self.place())))?;
        Ok(Answer::plain(format!("{} bytes sent", line.len())))
    }

    /// The message, without what frames it.
    fn line(&self, message: &Message<'_>) -> String {
        let told = message.first();
        let priority = self.facility * 8 + severity(told.severity);
        let time = chrono::DateTime::from_timestamp_micros(message.now)
            .map(|time| time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
            .unwrap_or_else(|| "-".into());
        let mut facts: Vec<(String, String)> = [
            ("finding", told.finding.clone()),
            ("revision", told.revision.to_string()),
            ("event", told.event.name().into()),
            ("status", told.status.clone()),
            ("rule", told.rule.clone()),
            ("severity", told.severity.name().into()),
        ]
        .map(|(key, value)| (key.to_string(), value))
        .into();
        if told.is_test {
            facts.push(("test".into(), "true".into()));
        }
        for (column, value) in &told.entity {
            let key = format!("entity_{}", name(column, 24));
            facts.push((key, crate::sinks::finding::plain(value)));
        }
        let facts: String = facts
            .iter()
            .map(|(key, value)| format!(" {key}=\"{}\"", quoted(value)))
            .collect();
        let text = cut(&headline(message), MOST_MESSAGE);
        format!(
            "<{priority}>1 {time} {} {} - {} [{STRUCTURED}{facts}] \u{feff}{text}",
            self.hostname,
            self.app,
            told.event.name(),
        )
    }
}

impl To {
    fn parse(address: &str) -> Option<To> {
        let with_port = |address: &str| {
            let (host, port) = address.rsplit_once(':')?;
            (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| address.to_string())
        };
        if let Some(address) = address.strip_prefix("udp://") {
            return with_port(address).map(To::Udp);
        }
        if let Some(address) = address.strip_prefix("tcp://") {
            return with_port(address).map(To::Tcp);
        }
        #[cfg(unix)]
        if let Some(path) = address.strip_prefix("unix:") {
            return Some(To::Socket(path.into()));
        }
        None
    }
}

async fn send_udp(address: &str, line: &[u8]) -> std::io::Result<()> {
    let to = lookup_host(address).await?.next();
    let to = to.ok_or_else(|| std::io::Error::from(ErrorKind::NotFound))?;
    let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(from).await?;
    socket.send_to(line, to).await.map(drop)
}

async fn send_tcp(address: &str, line: &[u8]) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut framed = format!("{} ", line.len()).into_bytes();
    framed.extend_from_slice(line);
    stream.write_all(&framed).await?;
    stream.shutdown().await
}

#[cfg(unix)]
async fn send_to_socket(path: &std::path::Path, line: &[u8]) -> std::io::Result<()> {
    let socket = tokio::net::UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.send(line).await.map(drop)
}

/// What this machine calls itself.
fn hostname() -> String {
    let text = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let text = text.trim();
    if text.is_empty() { "-" } else { text }.to_string()
}

/// A word of printable ASCII.
fn name(text: &str, most: usize) -> String {
    let word: String = text
        .chars()
        .filter(|c| c.is_ascii_graphic() && !matches!(c, '=' | ']' | '"'))
        .take(most)
        .collect();
    if word.is_empty() { "-".into() } else { word }
}

/// A value between quotes.
fn quoted(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 8);
    for c in cut(&visible(value), MOST_VALUE).chars() {
        if matches!(c, '"' | '\\' | ']') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

fn severity(severity: Severity) -> usize {
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        Severity::Info => 6,
    }
}

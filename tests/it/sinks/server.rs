//! Servers for one test, each on a thread: HTTP, SMTP, syslog. They keep what they were sent, and answer as told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What came in one HTTP request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// The keys of the findings in it.
    pub(super) fn keys(&self) -> Vec<String> {
        let body = self.json();
        let findings = body["findings"].as_array().expect("findings");
        let keys = findings.iter().map(|finding| finding["key"].as_str());
        keys.map(|key| key.expect("a key").to_string()).collect()
    }
}

/// An HTTP server.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// A status and a body; `None` closes the connection without a word.
pub(super) type Reply = Option<(u16, String)>;

/// A certificate that signed itself, and its key, both as PEM.
pub(super) struct Identity {
    pub(super) certificate: String,
    key: String,
}

impl Identity {
    pub(super) fn of(name: &str) -> Identity {
        let made = rcgen::generate_simple_self_signed([name.to_string()]).expect("a certificate");
        Identity {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }

    fn settings(&self) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        let settings = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.expect("a certificate")], key);
        Arc::new(settings.expect("settings"))
    }
}

impl Server {
    /// One that takes everything.
    pub(super) fn new() -> Server {
        Server::answering(|_| Some((200, String::new())))
    }

    /// One that answers as told, after it has kept the request.
    pub(super) fn answering(reply: impl FnMut(&Request) -> Reply + Send + 'static) -> Server {
        Server::serving(None, "", reply)
    }

    /// One inside TLS that takes everything.
    pub(super) fn inside_tls(identity: &Identity) -> Server {
        Server::serving(Some(identity.settings()), "", |_| {
            Some((200, String::new()))
        })
    }

    /// One that always wants to be left alone for so many seconds.
    pub(super) fn busy_for(seconds: u32) -> Server {
        let header = format!("retry-after: {seconds}\r\n");
        Server::serving(None, &header, |_| Some((429, String::new())))
    }

    /// `headers` are added to each answer, with their line ends.
    fn serving(
        tls: Option<Arc<ServerConfig>>,
        headers: &str,
        mut reply: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> Server {
        let headers = headers.to_string();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut answer = |stream: &mut dyn Stream| {
                let request = read_request(stream)?;
                kept.lock().expect("no panic").push(request.clone());
                let (status, body) = reply(&request)?;
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}connection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).ok()
            };
            for mut stream in listener.incoming().map_while(Result::ok) {
                match &tls {
                    None => answer(&mut stream),
                    Some(settings) => {
                        let inside = ServerConnection::new(Arc::clone(settings)).expect("TLS");
                        let mut stream = StreamOwned::new(inside, stream);
                        let answered = answer(&mut stream);
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                        answered
                    }
                };
            }
        });
        Server { address, seen }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Its address inside TLS, by the name that is in a certificate.
    pub(super) fn tls_url(&self, name: &str) -> String {
        format!("https://{name}:{}/hook", self.address.port())
    }

    /// What came so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.seen.lock().expect("no panic").clone()
    }

    /// The keys of all findings that came, in order.
    pub(super) fn keys(&self) -> Vec<String> {
        let requests = self.requests();
        requests.iter().flat_map(Request::keys).collect()
    }
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

fn read_request(stream: &mut dyn Stream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_string();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_string()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?;
    let mut body = vec![0; length.1.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        path,
        headers,
        body: String::from_utf8(body).ok()?,
    })
}

/// An SMTP server without TLS that takes mail until it is told not to: `refuse` is answered to the sender's address.
pub(super) struct MailServer {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    pub(super) fn new(refuse: Option<&'static str>) -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                receive(&stream, refuse, &kept);
            }
        });
        MailServer { port, seen }
    }

    /// Envelope and text of every mail, without the line ends of the protocol.
    pub(super) fn mails(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }
}

/// Keeps the mail before it says so.
fn receive(stream: &TcpStream, refuse: Option<&str>, kept: &Mutex<Vec<String>>) -> Option<()> {
    let mut lines = BufReader::new(stream);
    let say = |text: &str| write!(&mut &*stream, "{text}\r\n").ok();
    let mut mail = String::new();
    say("220 test")?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        match line.split([' ', ':']).next()? {
            "EHLO" => say("250-test\r\n250 8BITMIME")?,
            "MAIL" if refuse.is_some() => say(refuse?)?,
            "MAIL" | "RCPT" => {
                mail.push_str(line);
                mail.push('\n');
                say("250 ok")?;
            }
            "DATA" => {
                say("354 go on")?;
                loop {
                    let mut line = String::new();
                    lines.read_line(&mut line).ok()?;
                    let line = line.trim_end_matches(['\r', '\n']);
                    if line == "." {
                        break;
                    }
                    mail.push_str(line.strip_prefix('.').unwrap_or(line));
                    mail.push('\n');
                }
                kept.lock().ok()?.push(std::mem::take(&mut mail));
                say("250 queued as 1")?;
            }
            "QUIT" => {
                return say("221 bye");
            }
            _ => say("250 ok")?,
        }
    }
}

/// Receives syslog by UDP.
pub(super) struct Datagrams(UdpSocket);

impl Datagrams {
    pub(super) fn new() -> Datagrams {
        Datagrams(UdpSocket::bind("127.0.0.1:0").expect("a port"))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    /// The next message; waits for it.
    pub(super) fn next(&self) -> Vec<u8> {
        let mut bytes = vec![0; 65_536];
        let length = self.0.recv(&mut bytes).expect("a message");
        bytes.truncate(length);
        bytes
    }
}

/// Receives whole connections by TCP.
pub(super) struct Connections {
    pub(super) address: SocketAddr,
    seen: std::sync::mpsc::Receiver<Vec<u8>>,
}

impl Connections {
    pub(super) fn new() -> Connections {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, seen) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut bytes = Vec::new();
                if stream.read_to_end(&mut bytes).is_ok() && sender.send(bytes).is_err() {
                    return;
                }
            }
        });
        Connections { address, seen }
    }

    /// What came in the next one; waits for it.
    pub(super) fn next(&self) -> Vec<u8> {
        self.seen.recv().expect("a connection")
    }
}

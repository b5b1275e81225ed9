//! E-mail by SMTP: plain text, over TLS unless the server is on this machine. The same telling has the same message
//! id, and all of one finding refer to it, so that mail programs show them as one thread and doubles once.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::{Message, cut, headline};
use crate::catalog::Section;
use crate::detect::time_text;
use crate::output::escape::visible;
use crate::sinks::failure::{Answer, Failure};
use crate::sinks::finding::{Told, plain};
use crate::sinks::secret::SecretRef;
use crate::sinks::settings;

/// See the module's documentation.
#[derive(Debug)]
pub struct Email {
    host: String,
    port: u16,
    tls: Encryption,
    from: Mailbox,
    to: Vec<Mailbox>,
    login: Option<(String, SecretRef)>,
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// From the first byte.
    Tls,
    /// After a greeting, and never without.
    StartTls,
    /// Not at all: to this machine.
    None,
}

impl Email {
    pub(super) fn read(section: &Section<'_, '_>, folder: &Path) -> Option<Email> {
        let host = section.required("host", Section::text);
        let tls = section
            .choice(
                "tls",
                &[
                    ("starttls", Encryption::StartTls),
                    ("tls", Encryption::Tls),
                    ("none", Encryption::None),
                ],
            )
            .unwrap_or(Encryption::StartTls);
        let port = match section.integer("port") {
            None => Some(match tls {
                Encryption::Tls => 465,
                Encryption::StartTls => 587,
                Encryption::None => 25,
            }),
            Some(port) => u16::try_from(port).ok(),
        };
        if port.is_none() {
            section.fault_at("port", "`port` is no number of a port");
        }
        // Not `from`, which is when a sink begins.
        let from = section.required("sender", Section::text);
        let to = section.required("to", |section, key| Some(section.text_or_texts(key)));
        let mailbox = |key: &'static str, text: &str| match text.parse::<Mailbox>() {
            Ok(mailbox) => Some(mailbox),
            Err(error) => {
                section.fault_at(key, format!("`{text}` is no address: {error}"));
                None
            }
        };
        let from = from.and_then(|text| mailbox("sender", &text));
        let to: Option<Vec<Mailbox>> =
            to.and_then(|to| to.iter().map(|text| mailbox("to", text)).collect());
        if to.as_ref().is_some_and(Vec::is_empty) {
            section.fault_at("to", "`to` must name at least one");
        }
        let login = settings::login(section, folder);
        let ca_file = settings::path(section, "ca_file", folder);
        let host = host?;
        let is_local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if tls == Encryption::None && !is_local {
            section.fault_at(
                "tls",
                "findings would go over the network in clear: `none` is for `localhost` alone",
            );
        }
        Some(Email {
            host,
            port: port?,
            tls,
            from: from?,
            to: to?,
            login,
            ca_file,
        })
    }

    pub(super) fn secrets(&self) -> Vec<&SecretRef> {
        self.login.iter().map(|(_, password)| password).collect()
    }

    pub(super) fn place(&self) -> String {
        let to: Vec<String> = self.to.iter().map(ToString::to_string).collect();
        format!("{} by {}:{}", to.join(", "), self.host, self.port)
    }

    pub(super) async fn send(&self, message: &Message<'_>) -> Result<Answer, Failure> {
        let mail = self.mail(message)?;
        let response = self
            .transport(message.timeout)?
            .send(mail)
            .await
            .map_err(|error| failed(&error))?;
        let code = response.code().to_string();
        let text: Vec<&str> = response.message().collect();
        Ok(Answer {
            status: code,
            text: cut(&text.join(" "), 500),
        })
    }

    fn transport(&self, timeout: Duration) -> Result<AsyncSmtpTransport<Tokio1Executor>, Failure> {
        let wrong = |what: String| Failure::settings(format!("TLS: {what}"));
        let parameters = || {
            let mut builder = TlsParameters::builder(self.host.clone());
            if let Some(path) = &self.ca_file {
                let pem = std::fs::read(path)
                    .map_err(|error| wrong(format!("`{}`: {}", path.display(), error.kind())))?;
                let certificate =
                    Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?;
                builder = builder.add_root_certificate(certificate);
            }
            builder.build().map_err(|error| wrong(error.to_string()))
        };
        let tls = match self.tls {
            Encryption::Tls => Tls::Wrapper(parameters()?),
            Encryption::StartTls => Tls::Required(parameters()?),
            Encryption::None => Tls::None,
        };
        // Dangerous is only that the default is no encryption.
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port)
            .tls(tls)
            .timeout(Some(timeout));
        if let Some((user, password)) = &self.login {
            let password = password.read()?.reveal().to_string();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(builder.build())
    }

    fn mail(&self, message: &Message<'_>) -> Result<lettre::Message, Failure> {
        let date = u64::try_from(message.now).unwrap_or(0);
        let severity = message.severity().name().to_uppercase();
        // Line ends are escaped in it, so a subject ends no header.
        let subject = cut(&format!("[{severity}] {}", headline(message)), 200);
        let mut builder: MessageBuilder = lettre::Message::builder()
            .from(self.from.clone())
            .subject(subject)
            .date(UNIX_EPOCH + Duration::from_micros(date))
            .message_id(Some(format!("<{}@inferwatch>", message.key())))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        if let [told] = message.findings.as_slice() {
            builder = builder.references(format!("<{}@inferwatch>", told.finding));
        }
        builder
            .body(body(message))
            .map_err(|error| Failure::settings(format!("no mail: {error}")))
    }
}

/// The text for people: lines of `name: value`.
fn body(message: &Message<'_>) -> String {
    let findings: Vec<String> = message.findings.iter().map(paragraph).collect();
    format!(
        "{}\n\n-- \nsink `{}` of inferwatch\n",
        findings.join("\n\n"),
        message.sink
    )
}

fn paragraph(told: &Told) -> String {
    let mut lines = vec![visible(&told.title).into_owned(), String::new()];
    let mut fact = |name: &str, value: String| {
        lines.push(format!("{}: {}", visible(name), visible(&value)));
    };
    fact(
        "severity",
        format!("{} ({})", told.severity.name(), told.event.name()),
    );
    for (name, value) in &told.entity {
        fact(name, plain(value));
    }
    if let Some(count) = told.event_count {
        fact("events", count.to_string());
    }
    if let (Some(first), Some(last)) = (told.first_seen, told.last_seen) {
        fact(
            "seen",
            format!("{} to {}", time_text(first), time_text(last)),
        );
    }
    for (name, value) in &told.evidence {
        if !told.entity.contains_key(name) && !OWN_COLUMNS.contains(&name.as_str()) {
            fact(name, cut(&plain(value), 500));
        }
    }
    if told.folded > 0 {
        fact("folded", told.folded.to_string());
    }
    if !told.withheld.is_empty() {
        fact("withheld", told.withheld.join(", "));
    }
    fact(
        "rule",
        format!("{} version {}", told.rule, told.rule_version),
    );
    fact("finding", told.key());
    if let Some(runbook) = &told.runbook {
        fact("runbook", runbook.clone());
    }
    if let Some(link) = &told.link {
        fact("link", link.clone());
    }
    lines.join("\n")
}

/// Columns that rules return and that are said already.
const OWN_COLUMNS: [&str; 6] = [
    "event_count",
    "first_seen",
    "last_seen",
    "severity",
    "title",
    "evidence",
];

fn failed(error: &lettre::transport::smtp::Error) -> Failure {
    let Some(code) = error.status() else {
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        return Failure::unreachable(cut(&format!("cannot be reached: {cause}"), 500));
    };
    let why = format!("it answered {code}");
    let answer = std::error::Error::source(error).map(|cause| cut(&cause.to_string(), 500));
    let failure = match u16::from(code) {
        // Who one is, is for the settings to say.
        530..=539 => Failure::settings(why),
        500..=599 => Failure::refused(why),
        _ => Failure::broken(why),
    };
    Failure { answer, ..failure }
}

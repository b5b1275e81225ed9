//! The kinds of sinks: each a file with its settings, what it sends, and how it escapes what strangers wrote.

mod alertmanager;
mod command;
mod email;
mod file;
mod http;
mod ocsf;
mod pagerduty;
mod slack;
mod syslog;
mod webhook;

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use super::failure::{Answer, Failure};
use super::finding::Told;
use super::secret::{Scrub, SecretRef};
use crate::catalog::{Section, Severity, Span};
use crate::detect::Event;

/// What goes to one sink at once.
#[derive(Debug, Clone)]
pub struct Message<'m> {
    /// The sink.
    pub sink: &'m str,
    /// The time by the clock of whoever delivers, in microseconds.
    pub now: i64,
    /// What the findings have in common: names and values.
    pub group: Vec<(String, String)>,
    /// The findings, oldest revision first; at least one.
    pub findings: Vec<Told>,
    /// How long it may take.
    pub timeout: Duration,
}

impl Message<'_> {
    /// The first finding.
    fn first(&self) -> &Told {
        &self.findings[0]
    }

    /// What the message is known by: the same findings have the same.
    fn key(&self) -> String {
        match self.findings.as_slice() {
            [one] => one.key(),
            several => {
                let keys: Vec<String> = several.iter().map(Told::key).collect();
                format!("group-{}", &sha256(keys.join(",").as_bytes())[..32])
            }
        }
    }

    /// The worst severity in it.
    fn severity(&self) -> Severity {
        let severities = self.findings.iter().map(|told| told.severity);
        severities.max().unwrap_or(Severity::Info)
    }

    /// What they have in common, as an object.
    fn group_json(&self) -> Value {
        let entries = self.group.iter();
        let entries = entries.map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        Value::Object(entries.collect::<Map<_, _>>())
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first characters of a text, with a sign that there was more.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_string(),
        Some(_) => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            format!("{kept}…")
        }
    }
}

/// The subject of a message of one finding or several, in a line without hidden characters.
fn headline(message: &Message<'_>) -> String {
    let first = message.first();
    let line = match message.findings.len() {
        1 => {
            let subject = first.subject();
            let about = if subject.is_empty() { "" } else { ": " };
            let what = match first.event {
                Event::Opened | Event::Updated => String::new(),
                event => format!(" ({})", event.name()),
            };
            format!("{}{what}{about}{subject}", first.title)
        }
        count => {
            let group: Vec<&str> = message
                .group
                .iter()
                .map(|(_, value)| value.as_str())
                .collect();
            let of = if group.is_empty() { "" } else { ": " };
            format!("{count} findings{of}{}", group.join(" · "))
        }
    };
    crate::output::escape::visible(&line).into_owned()
}

/// A sink's kind and the settings that only it has.
#[derive(Debug)]
pub enum Kind {
    /// HTTP with JSON or a template, signed.
    Webhook(webhook::Webhook),
    /// Slack's incoming webhooks.
    Slack(slack::Slack),
    /// PagerDuty Events API v2.
    PagerDuty(pagerduty::PagerDuty),
    /// Prometheus Alertmanager API v2.
    Alertmanager(alertmanager::Alertmanager),
    /// Lines appended to a file.
    File(file::Lines),
    /// RFC 5424.
    Syslog(syslog::Syslog),
    /// SMTP.
    Email(email::Email),
    /// A program.
    Command(command::Command),
}

impl Kind {
    /// Reads `kind` and what belongs to it.
    pub(super) fn read(section: &Section<'_, '_>, folder: &Path) -> Option<Kind> {
        const KINDS: [(&str, usize); 8] = [
            ("webhook", 0),
            ("slack", 1),
            ("pagerduty", 2),
            ("alertmanager", 3),
            ("file", 4),
            ("syslog", 5),
            ("email", 6),
            ("command", 7),
        ];
        Some(
            match section.required("kind", |section, key| section.choice(key, &KINDS))? {
                0 => Kind::Webhook(webhook::Webhook::read(section, folder)?),
                1 => Kind::Slack(slack::Slack::read(section, folder)?),
                2 => Kind::PagerDuty(pagerduty::PagerDuty::read(section, folder)?),
                3 => Kind::Alertmanager(alertmanager::Alertmanager::read(section, folder)?),
                4 => Kind::File(file::Lines::read(section, folder)?),
                5 => Kind::Syslog(syslog::Syslog::read(section)?),
                6 => Kind::Email(email::Email::read(section, folder)?),
                _ => Kind::Command(command::Command::read(section, folder)?),
            },
        )
    }

    /// The word in the settings.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Webhook(_) => "webhook",
            Kind::Slack(_) => "slack",
            Kind::PagerDuty(_) => "pagerduty",
            Kind::Alertmanager(_) => "alertmanager",
            Kind::File(_) => "file",
            Kind::Syslog(_) => "syslog",
            Kind::Email(_) => "email",
            Kind::Command(_) => "command",
        }
    }

    /// Where it goes, as far as that is no secret.
    pub fn place(&self) -> String {
        match self {
            Kind::Webhook(webhook) => webhook.http.place(),
            Kind::Slack(slack) => slack.http.place(),
            Kind::PagerDuty(pagerduty) => pagerduty.http.place(),
            Kind::Alertmanager(alertmanager) => alertmanager.http.place(),
            Kind::File(lines) => lines.path.display().to_string(),
            Kind::Syslog(syslog) => syslog.place(),
            Kind::Email(email) => email.place(),
            Kind::Command(command) => command.place(),
        }
    }

    /// What it is told when nobody says otherwise. People are told of beginnings and ends, a rollback of beginnings
    /// alone, machines of everything.
    pub fn default_events(&self) -> &'static [Event] {
        match self {
            Kind::Slack(_) | Kind::PagerDuty(_) | Kind::Email(_) => {
                &[Event::Opened, Event::Resolved, Event::Retracted]
            }
            Kind::Command(_) => &[Event::Opened],
            _ => &Event::ALL,
        }
    }

    /// How long a delivery may take when nobody says otherwise.
    pub(super) fn default_timeout(&self) -> Span {
        match self {
            Kind::Command(_) => Span(60_000_000),
            Kind::Email(_) => Span(30_000_000),
            _ => Span(10_000_000),
        }
    }

    /// How many findings one message holds.
    pub(super) fn most(&self) -> usize {
        match self {
            Kind::Webhook(_) | Kind::Slack(_) | Kind::Email(_) | Kind::Alertmanager(_) => 100,
            Kind::File(_) => 1000,
            // One event of theirs is about one.
            Kind::PagerDuty(_) | Kind::Syslog(_) | Kind::Command(_) => 1,
        }
    }

    fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Kind::Webhook(webhook) => {
                let mut secrets = webhook.http.secrets();
                secrets.extend(&webhook.secret);
                secrets
            }
            Kind::Slack(slack) => slack.http.secrets(),
            Kind::PagerDuty(pagerduty) => {
                let mut secrets = pagerduty.http.secrets();
                secrets.push(&pagerduty.key);
                secrets
            }
            Kind::Alertmanager(alertmanager) => alertmanager.http.secrets(),
            Kind::Email(email) => email.secrets(),
            Kind::File(_) | Kind::Syslog(_) | Kind::Command(_) => Vec::new(),
        }
    }

    /// What must not be shown of what this sink says.
    fn scrub(&self) -> Scrub {
        let mut scrub = Scrub::default();
        for secret in self.secrets() {
            // One that cannot be read was not sent either.
            if let Ok(secret) = secret.read() {
                scrub.add(&secret);
            }
        }
        scrub
    }

    /// Tries what can be tried without the other side.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, now: i64) -> Result<(), Failure> {
        for secret in self.secrets() {
            secret.read()?;
        }
        match self {
            Kind::Webhook(webhook) => {
                let message = Message {
                    sink: "check",
                    now,
                    group: Vec::new(),
                    findings: vec![Told::made_up(now)],
                    timeout: Duration::ZERO,
                };
                webhook.body(&message).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Sends a message, and waits until the other side has it.
    ///
    /// # Errors
    /// What went wrong, with nothing secret in it.
    pub(super) async fn send(&self, message: &Message<'_>) -> Result<Answer, Failure> {
        let sending = async {
            match self {
                Kind::Webhook(webhook) => webhook.send(message).await,
                Kind::Slack(slack) => slack.send(message).await,
                Kind::PagerDuty(pagerduty) => pagerduty.send(message).await,
                Kind::Alertmanager(alertmanager) => alertmanager.send(message).await,
                Kind::File(lines) => lines.send(message),
                Kind::Syslog(syslog) => syslog.send(message).await,
                Kind::Email(email) => email.send(message).await,
                Kind::Command(command) => command.send(message).await,
            }
        };
        // Whatever it waits for: a name that resolves slowly is no less slow.
        let result = match tokio::time::timeout(message.timeout, sending).await {
            Ok(result) => result,
            Err(_) => Err(Failure::unreachable(format!(
                "no answer within {:?}",
                message.timeout
            ))),
        };
        let scrub = self.scrub();
        result
            .map(|answer| Answer {
                status: scrub.clean(&answer.status),
                text: scrub.clean(&answer.text),
            })
            .map_err(|failure| Failure {
                why: scrub.clean(&failure.why),
                answer: failure.answer.map(|answer| scrub.clean(&answer)),
                ..failure
            })
    }
}

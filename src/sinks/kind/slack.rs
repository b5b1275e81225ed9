//! Slack's incoming webhooks: blocks, in which everything that strangers wrote is plain text.
//!
//! Plain text objects know no markup, links or mentions. Only the line for notifications is markup, and there the
//! characters that mean something are escaped or broken up.

use std::path::Path;

use serde_json::{Value, json};

use super::http::Http;
use super::{Message, cut, headline};
use crate::catalog::{Section, Severity};
use crate::detect::time_text;
use crate::output::escape::visible;
use crate::sinks::failure::{Answer, Failure};
use crate::sinks::finding::{Told, plain};

/// As many findings of a group are shown; Slack takes fifty blocks.
const MOST_SHOWN: usize = 10;

/// See the module's documentation.
#[derive(Debug)]
pub struct Slack {
    pub(super) http: Http,
}

impl Slack {
    pub(super) fn read(section: &Section<'_, '_>, folder: &Path) -> Option<Slack> {
        Some(Slack {
            http: Http::secret(section, folder)?,
        })
    }

    pub(super) async fn send(&self, message: &Message<'_>) -> Result<Answer, Failure> {
        let body = payload(message).to_string().into_bytes();
        self.http
            .post(message, "", "application/json", body, &[])
            .await
    }
}

/// What is sent.
fn payload(message: &Message<'_>) -> Value {
    let title = format!("{} {}", sign(message.severity()), headline(message));
    let mut blocks = vec![json!({
        "type": "header",
        "text": text(&title, 150),
    })];
    for told in message.findings.iter().take(MOST_SHOWN) {
        blocks.push(finding(told, message.findings.len() > 1));
        blocks.push(context(told));
    }
    if message.findings.len() > MOST_SHOWN {
        let more = format!("and {} more", message.findings.len() - MOST_SHOWN);
        blocks.push(json!({ "type": "section", "text": text(&more, 100) }));
    }
    json!({
        "text": cut(&markup(&title), 1000),
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": blocks,
    })
}

/// A finding: its facts, two in a row.
fn finding(told: &Told, is_one_of_many: bool) -> Value {
    let mut facts = Vec::new();
    if is_one_of_many {
        facts.push(("finding", told.title.clone()));
    }
    facts.push((
        "severity",
        format!("{} ({})", told.severity.name(), told.event.name()),
    ));
    for (name, value) in told.entity.iter().take(3) {
        facts.push((name.as_str(), plain(value)));
    }
    if let Some(count) = told.event_count {
        facts.push(("events", count.to_string()));
    }
    if let (Some(first), Some(last)) = (told.first_seen, told.last_seen) {
        let span = match first == last {
            true => time_text(first),
            false => format!("{} to {}", time_text(first), time_text(last)),
        };
        facts.push(("seen", span));
    }
    if told.folded > 0 {
        facts.push(("folded", told.folded.to_string()));
    }
    let fields: Vec<Value> = facts
        .iter()
        .take(10)
        .map(|(name, value)| text(&format!("{name}: {value}"), 500))
        .collect();
    json!({ "type": "section", "fields": fields })
}

/// Which rule it was, and where to look.
fn context(told: &Told) -> Value {
    let mut elements = vec![text(
        &format!("{} · {} · {}", told.rule, told.finding, told.revision),
        300,
    )];
    if let Some(link) = &told.link {
        elements.push(json!({ "type": "mrkdwn", "text": format!("<{}|open>", address(link)) }));
    }
    if let Some(runbook) = &told.runbook {
        elements.push(text(&format!("runbook: {runbook}"), 300));
    }
    json!({ "type": "context", "elements": elements })
}

/// A text without any markup.
fn text(value: &str, most: usize) -> Value {
    json!({ "type": "plain_text", "text": cut(&visible(value), most), "emoji": false })
}

fn sign(severity: Severity) -> String {
    format!("[{}]", severity.name().to_uppercase())
}

/// A text where markup is read.
fn markup(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len() + 16);
    for c in visible(value).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // A word joiner, which nobody sees, takes their meaning.
            '@' | '#' | '*' | '_' | '~' | '`' | ':' => {
                escaped.push(c);
                escaped.push('\u{2060}');
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// An address between `<` and `|`.
fn address(link: &str) -> String {
    link.replace('&', "&amp;")
        .replace(['<', '>', '|', ' ', '\n'], "")
}

//! A webhook: one POST of JSON, or of what a template makes of it, signed with a shared secret.
//!
//! The signature is `HMAC-SHA256(secret, "<time>.<body>")`, in hexadecimal, in the header
//! `Inferwatch-Signature: t=<time>,v1=<signature>`. The time, in seconds, is part of what is signed, so that whoever
//! receives can refuse what is old.

use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Value, json};

use super::http::Http;
use super::{Message, hex};
use crate::catalog::Section;
use crate::detect::time_text;
use crate::sinks::failure::{Answer, Failure};
use crate::sinks::secret::SecretRef;
use crate::sinks::settings;

/// See the module's documentation.
#[derive(Debug)]
pub struct Webhook {
    pub(super) http: Http,
    pub(super) secret: Option<SecretRef>,
    content_type: String,
    template: Option<Template>,
}

#[derive(Debug)]
enum Template {
    Inline(String),
    File(PathBuf),
}

impl Webhook {
    pub(super) fn read(section: &Section<'_, '_>, folder: &Path) -> Option<Webhook> {
        let secret = settings::secret(section, ["secret", "secret_env", "secret_file"], folder);
        let template = match (
            section.text("template"),
            settings::path(section, "template_file", folder),
        ) {
            (Some(_), Some(_)) => {
                section.fault_at("template", "`template` or `template_file`, not both");
                None
            }
            (Some(text), None) => Some(Template::Inline(text)),
            (None, path) => path.map(Template::File),
        };
        let content_type = section.text("content_type");
        Some(Webhook {
            http: Http::read(section, folder, "")?,
            secret,
            content_type: content_type.unwrap_or_else(|| "application/json".into()),
            template,
        })
    }

    pub(super) async fn send(&self, message: &Message<'_>) -> Result<Answer, Failure> {
        let body = self.body(message)?;
        let mut headers = vec![("inferwatch-delivery", message.key())];
        if let Some(secret) = &self.secret {
            let seconds = message.now.div_euclid(1_000_000);
            let signature = signature(secret.read()?.reveal(), seconds, &body);
            headers.push((
                "inferwatch-signature",
                format!("t={seconds},v1={signature}"),
            ));
        }
        let content_type = &self.content_type;
        self.http
            .post(message, "", content_type, body, &headers)
            .await
    }

    /// What is sent.
    ///
    /// # Errors
    /// When the template cannot be read or does not fit.
    pub(super) fn body(&self, message: &Message<'_>) -> Result<Vec<u8>, Failure> {
        let value = body(message);
        let source = match &self.template {
            None => return Ok(value.to_string().into_bytes()),
            Some(Template::Inline(text)) => text.clone(),
            Some(Template::File(path)) => std::fs::read_to_string(path).map_err(|error| {
                Failure::settings(format!(
                    "the template `{}`: {}",
                    path.display(),
                    error.kind()
                ))
            })?,
        };
        let text = self.render(&source, &value)?;
        // What strangers wrote cannot break out of JSON, but a template can forget a comma.
        if self.is_json()
            && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text)
        {
            return Err(Failure::settings(format!(
                "the template makes no JSON: {error}"
            )));
        }
        Ok(text.into_bytes())
    }

    fn is_json(&self) -> bool {
        self.content_type.contains("json")
    }

    fn render(&self, source: &str, value: &Value) -> Result<String, Failure> {
        let escape = match self.content_type.as_str() {
            _ if self.is_json() => AutoEscape::Json,
            kind if kind.contains("html") || kind.contains("xml") => AutoEscape::Html,
            _ => AutoEscape::None,
        };
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(move |_| escape);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.render_str(source, value).map_err(|error| {
            let line = error.line().map(|line| format!(" in line {line}"));
            let detail = error.detail().map(|detail| format!(": {detail}"));
            Failure::settings(format!(
                "the template fails{}: {}{}",
                line.unwrap_or_default(),
                error.kind(),
                detail.unwrap_or_default()
            ))
        })
    }
}

/// What templates see, and what is sent without one.
fn body(message: &Message<'_>) -> Value {
    let findings = message.findings.iter();
    json!({
        "format": "inferwatch.findings.v1",
        "sink": message.sink,
        "sent_at": time_text(message.now),
        "group": message.group_json(),
        "count": message.findings.len(),
        "findings": findings.map(|told| told.json()).collect::<Vec<_>>(),
    })
}

/// The signature of a body at a time.
fn signature(secret: &str, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes())
        .expect("a key of any length will do");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    /// By Python: `hmac.new(b"whsec-1", b"1795000000." + b'{"a":1}', hashlib.sha256).hexdigest()`.
    #[test]
    fn a_signature_is_that_of_time_and_body() {
        assert_eq!(
            super::signature("whsec-1", 1_795_000_000, b"{\"a\":1}"),
            "9d315bc0968cf1e2c06e6c37a3ddf46adf7f834ac245e59cfab919cba5449543"
        );
    }
}

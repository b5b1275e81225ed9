//! What all sinks over HTTP have in common: an address, credentials, one POST, and what the answer means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, StatusCode, Url, redirect};

use super::{Message, cut};
use crate::catalog::Section;
use crate::sinks::failure::{Answer, Failure};
use crate::sinks::secret::{Secret, SecretRef};
use crate::sinks::settings;

/// As much of an answer is looked at.
const MOST_ANSWER: usize = 4096;
/// As much of it is shown.
const MOST_SHOWN: usize = 500;

/// Where to post to, and as whom.
#[derive(Debug)]
pub(super) struct Http {
    address: Address,
    headers: BTreeMap<String, String>,
    secret_headers: BTreeMap<String, SecretRef>,
    bearer: Option<SecretRef>,
    basic: Option<(String, SecretRef)>,
    ca_file: Option<PathBuf>,
    client: OnceLock<Client>,
}

#[derive(Debug)]
enum Address {
    Plain(Url),
    Secret(SecretRef),
}

impl Http {
    /// An address in the settings, or one that is a secret.
    pub(super) fn read(section: &Section<'_, '_>, folder: &Path, default: &str) -> Option<Http> {
        let secret = settings::secret(section, ["", "url_env", "url_file"], folder);
        let plain = section.text("url");
        let address = match (plain, secret) {
            (Some(_), Some(_)) => {
                section.fault_at("url", "`url`, or where it is as a secret: not both");
                None
            }
            (None, Some(secret)) => Some(Address::Secret(secret)),
            (Some(text), None) => read_plain(section, &text),
            (None, None) if !default.is_empty() => read_plain(section, default),
            (None, None) => {
                section.fault_at("kind", "`url`, `url_env` or `url_file` is missing");
                None
            }
        };
        let bearer = settings::secret(section, ["bearer", "bearer_env", "bearer_file"], folder);
        let basic = settings::login(section, folder);
        let headers = settings::texts(section, "headers");
        let secret_headers = settings::texts(section, "headers_env");
        for name in headers.keys().chain(secret_headers.keys()) {
            if HeaderName::try_from(name.as_str()).is_err() {
                section.fault_at("headers", format!("`{name}` is no name of a header"));
            }
        }
        for name in headers.keys() {
            if name.eq_ignore_ascii_case("authorization") {
                section.fault_at("headers", "`Authorization` is a secret: name the variable in `headers_env`, or use `bearer_env`");
            }
        }
        let ca_file = settings::path(section, "ca_file", folder);
        let http = Http {
            address: address?,
            headers,
            secret_headers: secret_headers
                .into_iter()
                .map(|(name, variable)| (name, SecretRef::Env(variable)))
                .collect(),
            bearer,
            basic,
            ca_file,
            client: OnceLock::new(),
        };
        if http.is_in_clear() && !http.secrets().is_empty() {
            section.fault_at(
                "url",
                "a secret would go over the network in clear: use https",
            );
        }
        Some(http)
    }

    /// An address that is always a secret.
    pub(super) fn secret(section: &Section<'_, '_>, folder: &Path) -> Option<Http> {
        let Some(address) = settings::secret(section, ["url", "url_env", "url_file"], folder)
        else {
            section.fault_at("kind", "`url_env` or `url_file` is missing");
            return None;
        };
        Some(Http {
            address: Address::Secret(address),
            headers: BTreeMap::new(),
            secret_headers: BTreeMap::new(),
            bearer: None,
            basic: None,
            ca_file: settings::path(section, "ca_file", folder),
            client: OnceLock::new(),
        })
    }

    /// Everything that must not be shown.
    pub(super) fn secrets(&self) -> Vec<&SecretRef> {
        let mut secrets: Vec<&SecretRef> = self.secret_headers.values().collect();
        secrets.extend(&self.bearer);
        secrets.extend(self.basic.as_ref().map(|(_, password)| password));
        if let Address::Secret(address) = &self.address {
            secrets.push(address);
        }
        secrets
    }

    /// Whether others on the network could read what is sent.
    pub(super) fn is_in_clear(&self) -> bool {
        matches!(&self.address, Address::Plain(url) if in_clear(url))
    }

    /// Where it goes, as far as that may be shown.
    pub(super) fn place(&self) -> String {
        match &self.address {
            Address::Plain(url) => url.to_string(),
            Address::Secret(secret) => format!("address in {secret}"),
        }
    }

    /// Posts a body.
    ///
    /// # Errors
    /// When nobody took it.
    pub(super) async fn post(
        &self,
        message: &Message<'_>,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
        more: &[(&'static str, String)],
    ) -> Result<Answer, Failure> {
        let mut url = match &self.address {
            Address::Plain(url) => url.clone(),
            Address::Secret(secret) => secret_url(&secret.read()?)?,
        };
        if !path.is_empty() {
            let base = url.path().trim_end_matches('/').to_string();
            url.set_path(&format!("{base}{path}"));
        }
        let mut request = self
            .client()?
            .post(url)
            .timeout(message.timeout)
            .headers(self.headers(content_type, more)?)
            .body(body);
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer.read()?.reveal());
        }
        if let Some((user, password)) = &self.basic {
            request = request.basic_auth(user, Some(password.read()?.reveal()));
        }
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok())
            .map(|seconds| i64::from(seconds) * 1_000_000);
        let mut text = Vec::new();
        while text.len() < MOST_ANSWER {
            // The status is the answer; what comes after it is for people.
            let Ok(Some(chunk)) = response.chunk().await else {
                break;
            };
            text.extend_from_slice(&chunk);
        }
        text.truncate(MOST_ANSWER);
        let text = cut(&String::from_utf8_lossy(&text), MOST_SHOWN);
        judge(status, text, after)
    }

    fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let mut builder = Client::builder()
            .user_agent(concat!("inferwatch/", env!("CARGO_PKG_VERSION")))
            // What was signed for one address is not for another.
            .redirect(redirect::Policy::none());
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path).map_err(|error| {
                Failure::settings(format!("`{}`: {}", path.display(), error.kind()))
            })?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| {
                Failure::settings(format!("`{}` holds no certificate", path.display()))
            })?;
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder
            .build()
            .map_err(|error| Failure::settings(format!("no HTTP client: {error}")))?;
        Ok(self.client.get_or_init(|| client))
    }

    fn headers(
        &self,
        content_type: &str,
        more: &[(&'static str, String)],
    ) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        let mut set = |name: &str, value: &str, is_secret: bool| {
            let wrong = || Failure::settings(format!("the header `{name}` is not one"));
            let name = HeaderName::try_from(name).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(is_secret);
            headers.insert(name, value);
            Ok(())
        };
        set("content-type", content_type, false)?;
        for (name, value) in &self.headers {
            set(name, value, false)?;
        }
        for (name, value) in more {
            set(name, value, false)?;
        }
        for (name, secret) in &self.secret_headers {
            set(name, secret.read()?.reveal(), true)?;
        }
        Ok(headers)
    }
}

fn read_plain(section: &Section<'_, '_>, text: &str) -> Option<Address> {
    match Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
            section.fault_at("url", "`url` begins with `https://` or `http://`");
            None
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            section.fault_at(
                "url",
                "a user or password does not stand in `url`: use `username` and `password_env`",
            );
            None
        }
        Ok(url) => Some(Address::Plain(url)),
        Err(error) => {
            section.fault_at("url", format!("`url` is not one: {error}"));
            None
        }
    }
}

/// Whether others on the network can read what is sent there.
fn in_clear(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() != "https" && !is_loopback
}

fn secret_url(secret: &Secret) -> Result<Url, Failure> {
    // Not even the parser's message: it may repeat the text.
    let url = Url::parse(secret.reveal())
        .map_err(|_| Failure::settings("the secret address is not a URL"))?;
    match in_clear(&url) {
        true => Err(Failure::settings(
            "the secret address would go over the network in clear: use https",
        )),
        false => Ok(url),
    }
}

/// A request that got no answer.
fn failed(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if error.is_builder() {
        return Failure::settings("the request cannot be built from the settings");
    }
    // The innermost cause says it: refused, no such host, a certificate.
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let what = if error.is_timeout() {
        "no answer in time".to_string()
    } else {
        format!("cannot be reached: {cause}")
    };
    Failure::unreachable(cut(&what, MOST_SHOWN))
}

/// What a status means for the delivery.
fn judge(status: StatusCode, text: String, after: Option<i64>) -> Result<Answer, Failure> {
    let said = match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    };
    if status.is_success() {
        return Ok(Answer { status: said, text });
    }
    let why = format!("it answered {said}");
    let failure = match status.as_u16() {
        // Who one is and where one asks is for the settings to say, not for the finding.
        301..=308 | 401 | 403 | 404 | 405 | 407 => Failure::settings(why),
        408 | 425 | 429 => Failure::broken(why),
        400..=499 => Failure::refused(why),
        _ => Failure::broken(why),
    };
    Err(Failure {
        answer: Some(text).filter(|text| !text.is_empty()),
        after,
        ..failure
    })
}

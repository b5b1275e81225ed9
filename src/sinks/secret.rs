//! Secrets: named in the settings, read from the environment or a file when they are needed, and shown to nobody.
//!
//! They are read anew for every pass, so that one that was changed is used without a restart. What is said about a
//! sink, and what its other side answered, goes through [`Scrub`] first: servers like to repeat what they were sent.

use std::fmt;
use std::path::PathBuf;

use super::Failure;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecretRef {
    /// In a variable of the environment.
    Env(String),
    /// In a file, without the line end.
    File(PathBuf),
}

impl SecretRef {
    /// Reads it.
    ///
    /// # Errors
    /// When it is not there, or empty.
    pub(super) fn read(&self) -> Result<Secret, Failure> {
        let text = match self {
            SecretRef::Env(name) => std::env::var(name)
                .map_err(|_| Failure::settings(format!("the variable `{name}` is not set"))),
            SecretRef::File(path) => std::fs::read_to_string(path).map_err(|error| {
                Failure::settings(format!(
                    "the secret in `{}`: {}",
                    path.display(),
                    error.kind()
                ))
            }),
        }?;
        let text = text.trim_end_matches(['\r', '\n']);
        match text.is_empty() {
            true => Err(Failure::settings(format!("{self} is empty"))),
            false => Ok(Secret(text.to_string())),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "the variable `{name}`"),
            SecretRef::File(path) => write!(f, "the file `{}`", path.display()),
        }
    }
}

/// A secret. It has no way to be shown but [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    /// The text itself, for the one place that needs it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Takes secrets out of texts.
#[derive(Debug, Default)]
pub(super) struct Scrub(Vec<Secret>);

impl Scrub {
    /// Keeps these out.
    pub(super) fn add(&mut self, secret: &Secret) {
        self.0.push(secret.clone());
        // Of an address, servers and libraries repeat the part behind the host.
        if let Ok(url) = url::Url::parse(secret.reveal()) {
            let path = url.path().trim_start_matches('/');
            let tail = path.rsplit('/').next().unwrap_or_default();
            for part in [path, tail, url.query().unwrap_or_default()] {
                if part.len() >= 8 {
                    self.0.push(Secret(part.to_string()));
                }
            }
        }
    }

    /// The text without them.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_string();
        for Secret(secret) in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "(secret)");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_to_nobody() {
        let secret = Secret("hunter2-hunter2".into());
        assert_eq!(format!("{secret:?}"), "Secret");
        let mut scrub = Scrub::default();
        scrub.add(&secret);
        scrub.add(&Secret(
            "https://hooks.example/services/T0/B0/abcdefghijkl".into(),
        ));
        assert_eq!(
            scrub.clean("denied: hunter2-hunter2 at /services/T0/B0/abcdefghijkl (abcdefghijkl)"),
            "denied: (secret) at /(secret) ((secret))"
        );
        assert!(!format!("{scrub:?}").contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_read_names_the_place() {
        let failure = SecretRef::Env("INFERWATCH_NO_SUCH_SECRET".into()).read();
        assert_eq!(
            failure.expect_err("not set").to_string(),
            "the variable `INFERWATCH_NO_SUCH_SECRET` is not set"
        );
    }

    #[test]
    fn the_line_end_of_a_file_is_no_secret() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "key\n").expect("writes");
        let secret = SecretRef::File(file.path().to_path_buf()).read();
        assert_eq!(secret.expect("is there").reveal(), "key");
    }
}

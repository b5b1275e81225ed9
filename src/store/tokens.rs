//! Tokens: who may ask the server for what.
//!
//! They are a file of the store that only its owner may open, and hold no secret: of each token's secret there is a
//! SHA-256, which is enough for 256 random bits. The token itself is shown once, when it is made. One that was revoked
//! stays in the list, so that a name in the `audit` table can be looked up.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::commit;
use crate::store::disk::{self, Access};
use crate::store::journal::Entry;

const FILE: &str = "tokens.json";
/// How every token begins, so that one that has leaked is recognised by whoever finds it.
const PREFIX: &str = "iwt_";
const LONGEST_NAME: usize = 64;

/// What a token is for, and what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Finds it; stands in the token itself, and is no secret.
    pub id: String,
    /// Who or what it was made for.
    pub name: String,
    /// SHA-256 of the token, in hexadecimal.
    pub hash: String,
    /// What it opens.
    #[serde(flatten)]
    pub rights: Rights,
    /// When it was made, microseconds since the epoch.
    pub issued: i64,
    /// From when on it opens nothing.
    pub expires: Option<i64>,
    /// When it was revoked.
    pub revoked: Option<i64>,
}

/// What a token opens. By default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rights {
    /// Every table and system table that holds no text of prompts, also those that later versions will have.
    #[serde(default)]
    pub all: bool,
    /// Tables and system tables, by name.
    #[serde(default)]
    pub tables: Vec<String>,
    /// The tables that hold text, which `all` leaves out.
    #[serde(default)]
    pub content: bool,
    /// A condition in SQL that every row of every table must meet to exist.
    #[serde(default)]
    pub filter: Option<String>,
    /// Whether it may send records.
    #[serde(default)]
    pub ingest: bool,
    /// Whether it may say what became of a finding.
    #[serde(default)]
    pub triage: bool,
    /// Whether it may read the server's own numbers, which count everybody's rows.
    #[serde(default)]
    pub metrics: bool,
}

impl Token {
    /// Whether it opens anything at a time, in microseconds since the epoch.
    pub fn is_valid_at(&self, now: i64) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|end| now < end)
    }

    /// A new token, and its secret, which is nowhere else.
    ///
    /// # Errors
    /// When the name is no name, or the system has no randomness.
    pub fn issue(
        name: &str,
        rights: Rights,
        issued: i64,
        expires: Option<i64>,
    ) -> Result<(Token, String)> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_plain) {
            return Err(Error::Usage {
                message: format!("`{name}` is no name for a token"),
                hint: Some(format!(
                    "up to {LONGEST_NAME} letters, digits, `.`, `_`, `-` and `@`"
                )),
            });
        }
        let mut random = [0_u8; 38];
        getrandom::fill(&mut random).map_err(|error| Error::Store {
            message: format!("no randomness from the system: {error}"),
            hint: None,
        })?;
        let (id, secret) = random.split_at(6);
        let id = disk::hex(id);
        let secret = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        let token = Token {
            hash: disk::hex(&Sha256::digest(secret.as_bytes())),
            id,
            name: name.to_owned(),
            rights,
            issued,
            expires,
            revoked: None,
        };
        Ok((token, secret))
    }

    /// The token of that secret among some, if there is one; valid or not.
    pub fn find<'t>(
        tokens: impl IntoIterator<Item = &'t Token>,
        secret: &str,
    ) -> Option<&'t Token> {
        let (id, _) = secret.strip_prefix(PREFIX)?.split_once('_')?;
        let token = tokens.into_iter().find(|token| token.id == id)?;
        let given: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        // Compared in constant time, as this type does.
        let known = blake3::Hash::from_hex(&token.hash).ok()?;
        (known == blake3::Hash::from_bytes(given)).then_some(token)
    }
}

impl Store {
    /// Every token there was, the revoked ones as well.
    ///
    /// # Errors
    /// When the list cannot be read: then nobody is let in.
    pub fn tokens(&self) -> Result<Vec<Token>> {
        let path = self.tokens_path();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        serde_json::from_slice(&bytes).map_err(|error| Error::Store {
            message: format!("tokens in `{}`: {error}", path.display()),
            hint: Some("restore the file from a backup, or remove it and make new tokens".into()),
        })
    }

    /// Changes whenever the list of tokens does: its time and length.
    pub(crate) fn tokens_version(&self) -> Option<(SystemTime, u64)> {
        let metadata = std::fs::metadata(self.tokens_path()).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    /// Keeps a token.
    ///
    /// # Errors
    /// When one of that name is valid, or the list cannot be written.
    pub fn add_token(&self, token: Token) -> Result<()> {
        self.change_tokens(|tokens| {
            let now = token.issued;
            if tokens
                .iter()
                .any(|known| known.name == token.name && known.is_valid_at(now))
            {
                return Err(Error::Usage {
                    message: format!("there is a token `{}` already", token.name),
                    hint: Some("`inferwatch token revoke` ends it, or choose another name".into()),
                });
            }
            let rights = serde_json::to_value(&token.rights).unwrap_or_default();
            let entry = Entry::new("token.new", now)
                .resource(&token.name)
                .detail("token", token.id.as_str())
                .detail("rights", rights)
                .detail("expires", token.expires.map(crate::detect::time_text));
            tokens.push(token);
            Ok(entry)
        })
    }

    /// Ends every valid token of a name or an id, and says how many there were.
    ///
    /// # Errors
    /// When there is none, or the list cannot be written.
    pub fn revoke_token(&self, name: &str, at: i64) -> Result<usize> {
        let mut revoked = 0;
        self.change_tokens(|tokens| {
            for token in tokens
                .iter_mut()
                .filter(|token| (token.name == name || token.id == name) && token.revoked.is_none())
            {
                token.revoked = Some(at);
                revoked += 1;
            }
            if revoked == 0 {
                return Err(Error::Usage {
                    message: format!("no token `{name}` is in force"),
                    hint: Some("`inferwatch token list` shows all".into()),
                });
            }
            Ok(Entry::new("token.revoke", at).resource(name))
        })?;
        Ok(revoked)
    }

    fn tokens_path(&self) -> PathBuf {
        self.root().join(FILE)
    }

    fn change_tokens(&self, change: impl FnOnce(&mut Vec<Token>) -> Result<Entry>) -> Result<()> {
        let patience = crate::store::WriteOptions::default().lock_timeout;
        let _lock = commit::lock(&self.lock_path("tokens"), patience)?;
        let mut tokens = self.tokens()?;
        let entry = change(&mut tokens)?;
        let bytes = serde_json::to_vec_pretty(&tokens).map_err(|error| Error::Store {
            message: format!("tokens: {error}"),
            hint: None,
        })?;
        // Told first: a token that opens something and stands in no journal must not be.
        entry.write(self)?;
        disk::replace(&self.tokens_path(), &bytes, Access::Private)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_secret_alone_and_the_file_does_not_hold_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
        let (token, secret) = Token::issue("ada", Rights::default(), 5, Some(10)).expect("a token");
        let (other, _) = Token::issue("bob", Rights::default(), 5, None).expect("a token");
        store.add_token(token.clone()).expect("kept");
        store.add_token(other).expect("kept");
        let tokens = store.tokens().expect("the list");
        assert_eq!(Token::find(&tokens, &secret), Some(&token));
        assert!(token.is_valid_at(9) && !token.is_valid_at(10));
        for wrong in [
            format!("{secret}x"),
            secret[..secret.len() - 1].to_owned(),
            secret.replacen(PREFIX, "", 1),
            format!("{PREFIX}{}_", token.id),
            String::new(),
        ] {
            assert_eq!(Token::find(&tokens, &wrong), None, "{wrong}");
        }
        let text = std::fs::read_to_string(store.tokens_path()).expect("a file");
        assert!(!text.contains(secret.splitn(3, '_').nth(2).expect("three parts")));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(store.tokens_path()).expect("a file");
            assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_name_is_valid_once_and_free_again_when_revoked() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open_or_create(&folder.path().join("store")).expect("a store");
        let issue = || {
            Token::issue("ada", Rights::default(), 5, None)
                .expect("a token")
                .0
        };
        store.add_token(issue()).expect("kept");
        assert!(store.add_token(issue()).is_err());
        assert_eq!(store.revoke_token("ada", 7).expect("revoked"), 1);
        assert!(store.revoke_token("ada", 8).is_err());
        store.add_token(issue()).expect("kept");
        let audit = store.snapshot(crate::schema::Table::Audit).expect("audit");
        assert_eq!(audit.rows(), 3);
        assert!(Token::issue("a b", Rights::default(), 5, None).is_err());
    }
}

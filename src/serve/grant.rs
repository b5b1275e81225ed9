//! Who asks: the token of a request, found by its secret or by a browser's session.
//!
//! There is no anonymous asker, on loopback neither: every user, container and browser page of a machine reaches that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::problem::Problem;
use crate::error::Result;
use crate::store::{Rights, Store, Token};

/// The cookie of a browser's session.
pub(super) const COOKIE: &str = "inferwatch_session";
/// A browser is asked for its token again after so long.
pub(super) const SESSION_TIME: Duration = Duration::from_secs(12 * 3600);
/// Sessions at a time; the oldest goes first.
const MOST_SESSIONS: usize = 10_000;

/// A token that opens something now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The token's id.
    pub(crate) id: String,
    /// Its name, as `audit` and the log say it.
    pub(crate) name: String,
    /// What it opens.
    pub(crate) rights: Rights,
    /// Whether it came by a browser's cookie, which the browser sends whoever has written the page.
    pub(crate) by_cookie: bool,
}

/// The tokens of a store as they are now, and the sessions of browsers.
pub(super) struct Grants {
    store: Store,
    known: RwLock<Known>,
    sessions: Mutex<HashMap<blake3::Hash, Session>>,
    /// A token for this run only.
    passing: Option<Token>,
}

#[derive(Default)]
struct Known {
    version: Option<(SystemTime, u64)>,
    tokens: Arc<Vec<Token>>,
}

struct Session {
    token: String,
    ends: Instant,
}

impl Grants {
    pub(super) fn new(store: Store, passing: Option<Token>) -> Grants {
        Grants {
            store,
            known: RwLock::default(),
            sessions: Mutex::default(),
            passing,
        }
    }

    /// The grant of a request.
    pub(super) fn of_request(&self, headers: &HeaderMap) -> Result<Grant, Problem> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let secret = value.to_str().ok().and_then(|value| {
                let (scheme, secret) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
            });
            return self.of_secret(secret.unwrap_or_default());
        }
        let id = cookie(headers).and_then(|value| {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let session = sessions.get(&blake3::hash(value.as_bytes()))?;
            (Instant::now() < session.ends).then(|| session.token.clone())
        });
        let id = id.ok_or_else(Problem::unauthorized)?;
        let tokens = self.tokens()?;
        let token = tokens
            .iter()
            .chain(&self.passing)
            .find(|token| token.id == id);
        grant(token, true)
    }

    /// The grant of a token.
    pub(super) fn of_secret(&self, secret: &str) -> Result<Grant, Problem> {
        let tokens = self.tokens()?;
        grant(
            Token::find(tokens.iter().chain(&self.passing), secret),
            false,
        )
    }

    /// A grant as it is now: what it was may have been revoked, or have ended.
    pub(super) fn again(&self, known: &Grant) -> Result<Grant, Problem> {
        let tokens = self.tokens()?;
        let mut all = tokens.iter().chain(&self.passing);
        grant(all.find(|token| token.id == known.id), known.by_cookie)
    }

    /// Begins a browser's session: the value of its cookie.
    pub(super) fn begin(&self, grant: &Grant) -> Result<String, Problem> {
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random).map_err(Problem::internal)?;
        let value = URL_SAFE_NO_PAD.encode(random);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        sessions.retain(|_, session| now < session.ends);
        if sessions.len() >= MOST_SESSIONS
            && let Some(oldest) = sessions
                .iter()
                .min_by_key(|(_, session)| session.ends)
                .map(|(key, _)| *key)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(
            blake3::hash(value.as_bytes()),
            Session {
                token: grant.id.clone(),
                ends: now + SESSION_TIME,
            },
        );
        Ok(value)
    }

    /// Ends the browser's session of a request.
    pub(super) fn end(&self, headers: &HeaderMap) {
        if let Some(value) = cookie(headers) {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.remove(&blake3::hash(value.as_bytes()));
        }
    }

    /// The list, read again when it has changed: who was revoked is out with the next request.
    fn tokens(&self) -> Result<Arc<Vec<Token>>> {
        let version = self.store.tokens_version();
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if known.version.is_some() && known.version == version {
                return Ok(Arc::clone(&known.tokens));
            }
        }
        let tokens = Arc::new(self.store.tokens()?);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.version = version;
        known.tokens = Arc::clone(&tokens);
        Ok(tokens)
    }
}

fn grant(token: Option<&Token>, by_cookie: bool) -> Result<Grant, Problem> {
    let now = chrono::Utc::now().timestamp_micros();
    let token = token
        .filter(|token| token.is_valid_at(now))
        .ok_or_else(Problem::unauthorized)?;
    Ok(Grant {
        id: token.id.clone(),
        name: token.name.clone(),
        rights: token.rights.clone(),
        by_cookie,
    })
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

//! What goes wrong, for whoever asked: a problem document (RFC 9457) with a hint where there is one.
//!
//! What an error says of the server's own files and of the system stays here: it goes to the log, under a number that
//! the answer repeats.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::query::Failure;

/// An answer that is none.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// Line and column in the SQL that was sent.
    pub(crate) place: Option<(usize, usize)>,
    /// Seconds after which to try again.
    pub(crate) retry_after: Option<u64>,
    /// For the log alone.
    pub(crate) internal: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, title: &'static str) -> Problem {
        Problem {
            status,
            title,
            detail: None,
            hint: None,
            place: None,
            retry_after: None,
            internal: None,
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "the request is not understood").detail(detail)
    }

    pub(crate) fn unauthorized() -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "a token is needed")
            .hint("send `Authorization: Bearer …`; `inferwatch token new` makes a token")
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "not for this token").detail(detail)
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "there is no such thing").detail(what)
    }

    /// Too much at a time.
    pub(crate) fn busy(status: StatusCode, title: &'static str) -> Problem {
        let mut problem = Problem::new(status, title);
        problem.retry_after = Some(1);
        problem
    }

    pub(crate) fn too_slow() -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "it took too long")
            .hint("ask for less at a time: a shorter range, fewer columns, an aggregate")
    }

    /// Why a body could not be read; nothing when it is longer than it may be, of which its reader knows more.
    pub(crate) fn of_body(error: &axum::Error) -> Option<Problem> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            // Its type is of a library that is nowhere else of use.
            if error.to_string() == "length limit exceeded" {
                return None;
            }
            if error.is::<tokio::time::error::Elapsed>() {
                let title = "the request came too slowly";
                return Some(Problem::new(StatusCode::REQUEST_TIMEOUT, title));
            }
            cause = error.source();
        }
        Some(Problem::bad_request("the body ended too early"))
    }

    /// Our own fault, or the system's.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Problem {
        let mut problem = Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server could not do it",
        )
        .hint("the server's log says why");
        problem.internal = Some(error.to_string());
        problem
    }

    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// The document.
    pub(crate) fn json(&self) -> Value {
        let mut value = json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
        });
        let mut set = |name: &str, text: &Option<String>| {
            if let Some(text) = text {
                value[name] = text.as_str().into();
            }
        };
        set("detail", &self.detail);
        set("hint", &self.hint);
        if let Some((line, column)) = self.place {
            value["line"] = line.into();
            value["column"] = column.into();
        }
        value
    }
}

impl From<Failure> for Problem {
    /// Of SQL that was sent: the text of a failure speaks of the query and of what its session has.
    fn from(failure: Failure) -> Problem {
        if let Some(internal) = failure.internal() {
            return Problem::internal(internal);
        }
        let mut problem = Problem::new(StatusCode::BAD_REQUEST, "the query cannot be run")
            .detail(failure.message());
        problem.place = failure.place().map(|place| (place.line, place.column));
        problem.hint = failure.hint().map(str::to_owned);
        problem
    }
}

impl From<crate::Error> for Problem {
    fn from(error: crate::Error) -> Problem {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Problem::internal(text)
    }
}

/// Carried along with the answer, for the log.
#[derive(Debug, Clone)]
pub(super) struct Internal(pub(super) String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(format!("{}\n", self.json())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"inferwatch\""),
            );
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(internal) = self.internal {
            response.extensions_mut().insert(Internal(internal));
        }
        response
    }
}

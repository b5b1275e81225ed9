//! What every request passes: from which page it comes, how many there are, how long it may take; and on the way out,
//! the headers that keep a browser from doing what nobody meant.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, stream};

use super::grant::Grant;
use super::problem::{Internal, Problem};
use super::{Event, Server};

/// On every answer. A page may add to them, as it must to show anything.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// Who a request was found to be of, carried along with the answer for the log.
#[derive(Debug, Clone)]
pub(super) struct Name(pub(super) String);

/// The endpoint that a request was for, carried along likewise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path(pub(super) &'static str);

/// The outermost layer.
pub(super) async fn all(
    State(server): State<Server>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = match admitted(&server, &request) {
        Err(problem) => problem.into_response(),
        Ok(()) => match server.requests().try_acquire() {
            Err(_) => Problem::busy(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once")
                .into_response(),
            Ok(_permit) => {
                let limits = server.limits();
                let request = request.map(|body| within(limits.request_time, body));
                let limit = limits.request_time + limits.query_time;
                match tokio::time::timeout(limit, next.run(request)).await {
                    Ok(response) => response,
                    Err(_) => Problem::too_slow().into_response(),
                }
            }
        },
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    let extensions = response.extensions();
    let status = response.status().as_u16();
    let endpoint = extensions.get::<Path>().map(|path| path.0);
    server.metrics().answered(endpoint, status);
    server.tell(&Event::Request {
        peer,
        token: extensions.get::<Name>().map(|name| name.0.as_str()),
        method: method.as_str(),
        path: &path,
        status,
        elapsed: started.elapsed(),
        trouble: extensions.get::<Internal>().map(|text| text.0.as_str()),
    });
    response
}

/// A body that has to have come by then: one byte a second would hold a place for as long as a query may take. What did
/// not come is an error, and never the end.
fn within(limit: Duration, body: Body) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let deadline = Instant::now() + limit;
    let chunks = stream::unfold(Some(body.into_data_stream()), move |chunks| async move {
        let mut chunks = chunks?;
        match tokio::time::timeout_at(deadline.into(), chunks.next()).await {
            Ok(chunk) => chunk.map(|chunk| (chunk, Some(chunks))),
            Err(late) => Some((Err(axum::Error::new(late)), None)),
        }
    });
    Body::from_stream(chunks)
}

/// Against pages of other sites: one whose name was made to point here (DNS rebinding) does not know our name, and one
/// that sends a browser here (CSRF) says where it is from.
fn admitted(server: &Server, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let host = host(request).ok_or_else(|| Problem::bad_request("no `Host`"))?;
    if !is_our_name(server, host) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this server has another name",
        )
        .hint("`inferwatch serve --allow-host NAME` gives it one more"));
    }
    let is_ours = |origin: &str| {
        origin
            .split_once("://")
            .is_some_and(|(_, from)| from == host)
    };
    let site = text(headers, "sec-fetch-site");
    let allowed = match (text(headers, "origin"), site) {
        // A form under our policy about referrers has no origin.
        (Some("null"), site) => site == Some("same-origin"),
        (Some(origin), _) => is_ours(origin),
        (None, Some("cross-site" | "same-site")) => {
            // A link from elsewhere may be followed.
            request.method() == Method::GET && text(headers, "sec-fetch-mode") == Some("navigate")
        }
        (None, _) => true,
    };
    match allowed {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "requests of other sites' pages are not answered",
        )),
    }
}

/// A browser sends its cookie whoever made it ask: what changes something must say that it is from a page of ours.
pub(super) fn check_page(
    grant: &Grant,
    method: &Method,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let says_so = text(headers, "origin").is_some_and(|origin| origin != "null")
        || text(headers, "sec-fetch-site") == Some("same-origin");
    if grant.by_cookie && !method.is_safe() && !says_so {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the browser does not say which page this is from",
        ));
    }
    Ok(())
}

fn host(request: &Request) -> Option<&str> {
    match text(request.headers(), "host") {
        Some(host) => Some(host),
        None => request
            .uri()
            .authority()
            .map(|authority| authority.as_str()),
    }
}

fn is_our_name(server: &Server, host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    // An address cannot be made to point elsewhere.
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || server
            .hosts()
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// How many requests a token may make: so many a second, and for a moment twice as many.
pub(super) struct Rates {
    a_second: f64,
    buckets: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Rates {
    pub(super) fn new(a_second: u32) -> Rates {
        Rates {
            a_second: f64::from(a_second),
            buckets: Mutex::default(),
        }
    }

    /// Counts a request at a time.
    pub(super) fn take(&self, token: &str, now: Instant) -> Result<(), Problem> {
        let most = 2.0 * self.a_second;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = buckets.entry(token.to_owned()).or_insert((most, now));
        let refilled = now.saturating_duration_since(*since).as_secs_f64() * self.a_second;
        (*left, *since) = ((*left + refilled).min(most), now);
        if *left < 1.0 {
            return Err(Problem::busy(
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests a second for this token",
            ));
        }
        *left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_token_that_asks_too_often_waits_and_no_other_does() {
        let rates = Rates::new(2);
        let start = Instant::now();
        let taken = |token: &str, at: Instant| rates.take(token, at).is_ok();
        assert_eq!((0..6).filter(|_| taken("a", start)).count(), 4);
        assert!(taken("b", start));
        let later = start + Duration::from_millis(1600);
        assert_eq!((0..6).filter(|_| taken("a", later)).count(), 3);
    }
}

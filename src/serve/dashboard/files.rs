//! The files of the front end, as they were built into the program.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use serde_json::Value;

use super::super::endpoint::{Endpoint, Needs};
use crate::dashboard::App;

/// Addresses that are pages: all of them are the same file, which draws itself by the address.
const PAGES: [&str; 8] = [
    "/",
    "/boards",
    "/boards/{id}",
    "/findings",
    "/findings/{id}",
    "/rules",
    "/rules/{id}",
    "/sql",
];

/// The page. No text of a log is ever in it.
const INDEX: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <title>inferwatch</title>\n<link rel=\"icon\" href=\"/assets/icon.svg\" type=\"image/svg+xml\">\n\
    <link rel=\"stylesheet\" href=\"/assets/app.css\">\n<script src=\"/assets/app.js\" defer></script>\n</head>\n\
    <body>\n<noscript>The dashboard draws itself with JavaScript. The same answers: <code>inferwatch dashboard render</code>, \
    <code>/api/query</code>, psql.</noscript>\n</body>\n</html>\n";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let endpoint = |path, handler| Endpoint {
        path,
        method: Method::GET,
        needs: Needs::Token,
        handler,
        // For people.
        operation: Value::Null,
    };
    let App {
        script,
        style,
        icon,
    } = App::BUILT;
    let mut all: Vec<Endpoint> = PAGES
        .into_iter()
        .map(|path| {
            let page = async |headers: HeaderMap| file(&headers, INDEX, "text/html; charset=utf-8");
            endpoint(path, get(page))
        })
        .collect();
    for (path, text, kind) in [
        ("/assets/app.js", script, "text/javascript; charset=utf-8"),
        ("/assets/app.css", style, "text/css; charset=utf-8"),
        ("/assets/icon.svg", icon, "image/svg+xml"),
    ] {
        let handler = get(async move |headers: HeaderMap| file(&headers, text, kind));
        all.push(endpoint(path, handler));
    }
    all
}

/// A file, or word that the asker has it.
fn file(headers: &HeaderMap, text: &'static str, kind: &'static str) -> Response {
    let tag = format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex()[..24]);
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().trim_start_matches("W/") == tag);
    let mut response = match known {
        true => Response::new(Body::empty()),
        false => Response::new(Body::from(text)),
    };
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // Kept by the browser, and asked about each time: a new program is a new page.
    let cache = HeaderValue::from_static("private, no-cache");
    headers.insert(header::CACHE_CONTROL, cache);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_known_is_not_sent_again() {
        let first = file(&HeaderMap::new(), INDEX, "text/html");
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].clone();
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, tag.clone());
        assert_eq!(
            file(&headers, INDEX, "text/html").status(),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(
            file(&headers, "other", "text/html").status(),
            StatusCode::OK
        );
        let weak = format!("\"x\", W/{}", tag.to_str().expect("ASCII"));
        headers.insert(header::IF_NONE_MATCH, weak.parse().expect("a value"));
        assert_eq!(
            file(&headers, INDEX, "text/html").status(),
            StatusCode::NOT_MODIFIED
        );
    }

    /// The policy of every answer lets no script and no style run that stands in a page.
    #[test]
    fn the_page_has_no_script_of_its_own() {
        assert!(!INDEX.contains("<style") && !INDEX.contains(" style="));
        assert_eq!(INDEX.matches("<script").count(), 1);
        assert!(INDEX.contains("<script src=\"/assets/app.js\" defer></script>"));
    }
}

//! A browser trades a token for a cookie that pages cannot read and other sites cannot use.

use axum::body::Body;
use axum::extract::State;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::HtmlEscape;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Server;
use super::endpoint::{Endpoint, Needs};
use super::grant::{COOKIE, SESSION_TIME};
use super::problem::Problem;

/// A token is some sixty characters.
const LONGEST_FORM: usize = 4 << 10;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;display:grid;place-content:center;min-height:90vh;margin:0 1rem}\
form{display:grid;gap:.75rem;width:min(24rem,90vw)}\
input,button{font:inherit;padding:.5rem .75rem;border:1px solid #8888;border-radius:.375rem}\
button{cursor:pointer}\
[role=alert]{color:light-dark(#b00020,#ff8a80)}";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint {
            path: "/login",
            method: Method::POST,
            needs: Needs::Nothing,
            handler: post(login),
            operation: Value::Null,
        },
        Endpoint {
            path: "/logout",
            method: Method::POST,
            needs: Needs::Nothing,
            handler: post(logout),
            operation: Value::Null,
        },
    ]
}

/// The form that a browser without a session gets, whatever it asked for, and from which it goes on to that.
pub(super) fn form(wanted: Option<&PathAndQuery>, was_wrong: bool) -> Response {
    let next = HtmlEscape(wanted.map_or("/", PathAndQuery::as_str));
    let alert = match was_wrong {
        true => "<p role=\"alert\">This token opens nothing, or does so no longer.</p>",
        false => "",
    };
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>inferwatch</title>\
         <style>{STYLE}</style></head><body><main><h1>inferwatch</h1>{alert}\
         <form method=\"post\" action=\"/login\"><label for=\"token\">Token</label>\
         <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus>\
         <input name=\"next\" type=\"hidden\" value=\"{next}\">\
         <button>Open</button></form></main></body></html>"
    );
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

async fn login(State(server): State<Server>, body: Body) -> Response {
    let Ok(body) = axum::body::to_bytes(body, LONGEST_FORM).await else {
        return Problem::bad_request("a form with one field, `token`").into_response();
    };
    let field = |name: &str| {
        let (_, value) = url::form_urlencoded::parse(&body).find(|(field, _)| field == name)?;
        Some(value.trim().to_owned())
    };
    let next = field("next").as_deref().and_then(page_of_ours);
    let grant = match server
        .grants()
        .of_secret(&field("token").unwrap_or_default())
    {
        Ok(grant) => grant,
        Err(_) => return form(next.as_ref(), true),
    };
    match server.grants().begin(&grant) {
        Ok(value) => see(&server, next.as_ref(), &value, SESSION_TIME.as_secs()),
        Err(problem) => problem.into_response(),
    }
}

async fn logout(State(server): State<Server>, headers: HeaderMap) -> Response {
    server.grants().end(&headers);
    see(&server, None, "", 0)
}

/// A path on this server. Browsers read two slashes at the beginning, or one of them the other way round, as the name
/// of another.
fn page_of_ours(text: &str) -> Option<PathAndQuery> {
    let rest = text.strip_prefix('/')?;
    match rest.starts_with(['/', '\\']) {
        true => None,
        false => text.parse().ok(),
    }
}

/// To a page, or the first one, with the cookie set anew.
fn see(server: &Server, page: Option<&PathAndQuery>, value: &str, seconds: u64) -> Response {
    let page = page.and_then(|page| HeaderValue::from_str(page.as_str()).ok());
    let secure = if server.is_tls() { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::LOCATION,
        page.unwrap_or(HeaderValue::from_static("/")),
    );
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_ours_are_gone_on_to() {
        for page in ["/", "/findings?status=open&q=%22", "/boards/security"] {
            let next = page_of_ours(page).expect("a page");
            assert_eq!(next.as_str(), page);
        }
        for page in [
            "",
            "findings",
            "//evil.example.com",
            "/\\evil.example.com",
            "/\t/evil.example.com",
            "https://evil.example.com/",
            "/a\r\nSet-Cookie: a=b",
        ] {
            assert!(page_of_ours(page).is_none(), "{page}");
        }
    }

    #[test]
    fn what_was_asked_for_is_text_in_the_form() {
        let wanted = page_of_ours("/find\"ings?a=1&b=2");
        let form = page_text(form(wanted.as_ref(), false));
        let value = "value=\"&#x2f;find&quot;ings?a=1&amp;b=2\"";
        assert!(form.contains(value), "{form}");
    }

    fn page_text(response: Response) -> String {
        let body = axum::body::to_bytes(response.into_body(), usize::MAX);
        let body = tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(body);
        String::from_utf8(body.expect("a body").to_vec()).expect("UTF-8")
    }
}

//! Who may ask: nobody without a token, no page of another site, and nobody any more whose token was revoked.

use super::Fixture;
use super::program::{postgres, serve};

#[test]
fn without_a_token_nothing_but_health_answers() {
    let fixture = Fixture::new();
    let running = serve(&fixture.path(), &[]);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(running.call("GET", path, &[], b"").status, 200, "{path}");
    }
    let paths = [
        "/",
        "/api/query?sql=SELECT+1",
        "/api/findings",
        "/api/findings/abc",
        "/api/rules",
        "/api/rules/token-burn",
        "/api/status",
        "/metrics",
        "/openapi.json",
        "/v1/traces",
        "/v1/logs",
        "/v1/ingest",
        "/nothing",
        "/api/../metrics",
    ];
    for path in paths {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
            for authorization in [
                "",
                "Bearer ",
                "Bearer iwt_000000000000_x",
                "Basic eDp5",
                "Bearer null",
            ] {
                let headers = [("authorization", authorization)];
                let answer = running.call(method, path, &headers, b"{}");
                assert_eq!(answer.status, 401, "{method} {path}");
                assert!(!answer.text().contains("alice"));
            }
        }
    }
    let answer = running.call("GET", "/", &[("accept", "text/html")], b"");
    assert_eq!(answer.status, 401);
    assert!(
        answer.text().contains("action=\"/login\""),
        "{}",
        answer.text()
    );
    let said = postgres(running.postgres, "iwt_000000000000_x", "SELECT 40 + 2");
    assert!(said.contains("28P01") && !said.contains("42\0"), "{said}");
}

#[test]
fn every_answer_has_the_headers_that_browsers_heed() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let running = serve(&fixture.path(), &[]);
    for answer in [
        running.call("GET", "/healthz", &[], b""),
        running.call("GET", "/nothing", &[], b""),
        running.query(&token, "SELECT 1"),
        running.query(&token, "SELEC 1"),
    ] {
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[test]
fn pages_of_other_sites_are_not_answered() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let running = serve(&fixture.path(), &["--allow-host", "logs.example.com"]);
    let bearer = format!("Bearer {token}");
    let ask = |headers: &[(&str, &str)]| {
        let headers = [&[("authorization", bearer.as_str())], headers].concat();
        running
            .call("GET", "/api/query?sql=SELECT+1", &headers, b"")
            .status
    };
    let ours = running.http.to_string();
    let origin = format!("http://{ours}");
    assert_eq!(ask(&[]), 200);
    assert_eq!(ask(&[("host", "localhost:7437")]), 200);
    assert_eq!(ask(&[("host", "logs.example.com")]), 200);
    assert_eq!(ask(&[("host", "evil.example.com")]), 421);
    assert_eq!(ask(&[("host", ""), ("x", "y")]), 421);
    assert_eq!(ask(&[("origin", &origin)]), 200);
    assert_eq!(ask(&[("origin", "http://evil.example.com")]), 403);
    assert_eq!(ask(&[("origin", "null")]), 403);
    assert_eq!(ask(&[("sec-fetch-site", "cross-site")]), 403);

    // A cookie alone, from nowhere in particular, changes nothing.
    let form = format!("token={token}");
    let login = running.call("POST", "/login", &[], form.as_bytes());
    assert_eq!(login.status, 303, "{}", login.text());
    assert_eq!(login.header("location"), Some("/"));
    let form = running.call(
        "GET",
        "/rules/a?from=1&to=2",
        &[("accept", "text/html")],
        b"",
    );
    assert!(form.text().contains("rules"), "{}", form.text());
    let form_from_there = format!("token={token}&next=%2Frules%2Fa%3Ffrom%3D1%26to%3D2");
    let there = running.call("POST", "/login", &[], form_from_there.as_bytes());
    assert_eq!(there.header("location"), Some("/rules/a?from=1&to=2"));
    let elsewhere = format!("token={token}&next=%2F%2Fevil.example.com");
    let elsewhere = running.call("POST", "/login", &[], elsewhere.as_bytes());
    assert_eq!(elsewhere.header("location"), Some("/"));
    let cookie = login.header("set-cookie").expect("a cookie").to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let get = running.call(
        "GET",
        "/api/query?sql=SELECT+1",
        &[("cookie", &cookie)],
        b"",
    );
    assert_eq!(get.status, 200);
    let post = |headers: &[(&str, &str)]| {
        let headers = [&[("cookie", cookie.as_str())], headers].concat();
        running
            .call("POST", "/api/query", &headers, b"SELECT 1")
            .status
    };
    assert_eq!(post(&[]), 403);
    assert_eq!(post(&[("origin", "http://evil.example.com")]), 403);
    assert_eq!(post(&[("origin", &origin)]), 200);
    running.call("POST", "/logout", &[("cookie", &cookie)], b"");
    assert_eq!(post(&[("origin", &origin)]), 401);
    assert_eq!(
        running.call("POST", "/login", &[], b"token=wrong").status,
        401
    );
}

#[test]
fn what_is_revoked_is_out_with_the_next_request() {
    let fixture = Fixture::new();
    let token = fixture.reader();
    let running = serve(&fixture.path(), &[]);
    assert_eq!(running.query(&token, "SELECT 1").status, 200);
    fixture.store().revoke_token("reader", 2).expect("revoked");
    assert_eq!(running.query(&token, "SELECT 1").status, 401);
    assert!(postgres(running.postgres, &token, "SELECT 1").contains("28P01"));
}

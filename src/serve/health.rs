//! Whether the process is alive, and whether it can do its work: the only answers for who has no token.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::routing::get;
use serde_json::json;

use super::Server;
use super::endpoint::{Endpoint, Needs};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let operation = |summary: &str, not: &str| {
        json!({
            "summary": summary,
            "security": [],
            "responses": {
                "200": {"description": "yes", "content": {"text/plain": {}}},
                "503": {"description": not, "content": {"text/plain": {}}},
            },
        })
    };
    vec![
        Endpoint {
            path: "/healthz",
            method: Method::GET,
            needs: Needs::Nothing,
            handler: get(async || "ok\n"),
            operation: operation("Whether the process is alive", "never said"),
        },
        Endpoint {
            path: "/readyz",
            method: Method::GET,
            needs: Needs::Nothing,
            handler: get(ready),
            operation: operation(
                "Whether it can do its work",
                "it is stopping, or cannot read its store",
            ),
        },
    ]
}

async fn ready(State(server): State<Server>) -> (StatusCode, &'static str) {
    match server.is_ready() {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

//! `/api/status`: how far rules and sources have come, as `inferwatch status` says it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::super::Server;
use super::super::endpoint::{Endpoint, Needs};
use super::super::problem::Problem;
use super::{json_answer, operation, parameter, parameters};
use crate::catalog::{RuleFile, Span};
use crate::detect::{Source, Sources, status};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        path: "/api/status",
        method: Method::GET,
        needs: Needs::Overview,
        handler: get(state),
        operation: operation(
            "How far rules and sources have come",
            vec![parameter(
                "rule",
                "string",
                "only this rule; can be given again",
            )],
            "`rules` with lag, gaps, open findings and cost; `sources` with their watermarks",
        ),
    }]
}

/// As `run` has them where nothing else is said.
const LATENESS: Span = Span::minutes(15);
const IDLE_AFTER: Span = Span::hours(1);

async fn state(State(server): State<Server>, request: Request) -> Result<Response, Problem> {
    let mut ids = Vec::new();
    for (name, value) in parameters(request.uri().query()) {
        match name.as_str() {
            "rule" => ids.push(value),
            _ => return Err(Problem::bad_request(format!("`{name}` is not known here"))),
        }
    }
    let asked = server.clone();
    let of_store = server.query_threads().spawn(async move {
        let pack = Arc::clone(asked.pack());
        let rules = pack.rules.iter();
        let rules: Vec<&RuleFile> = rules
            .filter(|file| ids.is_empty() || ids.contains(&file.rule.id))
            .collect();
        let statuses = status(asked.store(), &rules).await?;
        let context = asked.own_session().await?;
        let sources = Sources::of(asked.store(), &context, None).await?;
        Ok::<_, crate::Error>((statuses, sources))
    });
    let (rules, Sources(sources)) = of_store.await.map_err(Problem::internal)??;
    let now = sources.iter().map(Source::reached).max().unwrap_or(0);
    let rules: Vec<Value> = rules.iter().map(|status| status.json()).collect();
    let sources: Vec<Value> = sources
        .iter()
        .map(|source| source.json(now, LATENESS, IDLE_AFTER))
        .collect();
    Ok(json_answer(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "rules": rules,
        "sources": sources,
    })))
}

//! `/api/rules`: the rules that the server evaluates; of one its query, its evaluations and what it could not look at.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::super::Server;
use super::super::ask::Question;
use super::super::endpoint::{Endpoint, Needs};
use super::super::grant::Grant;
use super::super::problem::Problem;
use super::{json_answer, number, objects, operation, parameter, parameters};
use crate::catalog::{Rule, RuleFile};
use crate::query::Parameters;

/// Evaluations of a rule that are shown with it.
const USUAL: usize = 200;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}});
    let limit = parameter(
        "limit",
        "integer",
        "evaluations, the last first; up to 10000",
    );
    vec![
        Endpoint {
            path: "/api/rules",
            method: Method::GET,
            needs: Needs::Table,
            handler: get(list),
            operation: operation("The rules that the server evaluates", vec![], "`rules`"),
        },
        Endpoint {
            path: "/api/rules/{id}",
            method: Method::GET,
            needs: Needs::Table,
            handler: get(one),
            operation: operation(
                "One rule, its evaluations and its gaps",
                vec![id, limit],
                "`rule`, `sql`, `evaluations`, `gaps`; the last two only where the token opens `evaluations`",
            ),
        },
    ]
}

fn header(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "title": rule.title,
        "version": rule.version,
        "status": rule.status.name(),
        "severity": rule.severity.name(),
        "confidence": rule.confidence.name(),
        "source": rule.source,
        "requires": rule.requires,
        "window": rule.window.to_string(),
        "every": rule.every.to_string(),
        "baseline": rule.baseline.map(|span| span.to_string()),
        "entity": rule.entity,
        "atlas": rule.atlas,
        "owasp": rule.owasp,
        "attack": rule.attack,
        "tags": rule.tags,
        "sinks": rule.sinks,
        "description": rule.description.trim(),
        "false_positives": rule.false_positives,
        "evasion": rule.evasion,
        "references": rule.references,
        "runbook": rule.runbook,
    })
}

async fn list(State(server): State<Server>) -> Response {
    let rules = server.pack().rules.iter();
    let rules: Vec<Value> = rules.map(|file| header(&file.rule)).collect();
    json_answer(&json!({"rules": rules}))
}

async fn one(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let mut limit = USUAL;
    for (name, value) in parameters(request.uri().query()) {
        match name.as_str() {
            "limit" => limit = number("limit", &value, 1..=10_000)?,
            _ => return Err(Problem::bad_request(format!("`{name}` is not known here"))),
        }
    }
    let mut rules = server.pack().rules.iter();
    let file = rules
        .find(|file| file.rule.id == id)
        .ok_or_else(|| Problem::not_found("no rule has this id"))?;
    let mut answer = json!({
        "rule": header(&file.rule),
        "sql": file.sql.trim(),
        "path": file.path.to_string_lossy(),
    });
    if grant.rights.opens("evaluations") {
        answer["evaluations"] = rows(&server, &grant, file, "state <> 'gap'", limit).await?;
        answer["gaps"] = rows(&server, &grant, file, "state = 'gap'", limit).await?;
    }
    Ok(json_answer(&answer))
}

/// The last evaluations of a rule, of its version as it is.
async fn rows(
    server: &Server,
    grant: &Grant,
    file: &RuleFile,
    condition: &str,
    limit: usize,
) -> Result<Value, Problem> {
    let mut parameters = Parameters::default();
    parameters.set("rule", file.rule.id.as_str());
    parameters.set("version", file.rule.version.to_string());
    let question = Question {
        parameters,
        ..Question::new(format!(
            "SELECT window_start, window_end, revision, run, state, findings, detail, late_dropped, is_early, elapsed_ms, \
             evaluated_at FROM evaluations WHERE rule_id = $rule AND rule_version = $version AND {condition} \
             ORDER BY window_end DESC, revision DESC LIMIT {limit}"
        ))
    };
    let (batches, _) = server.ask(grant, question).await?.collect().await?;
    Ok(objects(&batches, &[])?.into())
}

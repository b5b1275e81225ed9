//! `/api/findings`: what rules found, as it stands; and all that happened to one of them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::Server;
use super::super::ask::Question;
use super::super::endpoint::{Endpoint, Needs};
use super::super::grant::Grant;
use super::super::problem::Problem;
use super::{json_answer, number, objects, operation, parameter, parameters};
use crate::query::Parameters;

/// Columns that hold JSON.
const NESTED: [&str; 2] = ["entity", "evidence"];

const MOST: usize = 1000;
const USUAL: usize = 100;

/// What a list can be narrowed by: the name, the condition, what it is.
const FILTERS: [(&str, &str, &str); 8] = [
    ("rule", "rule_id = $rule", "the rule's id"),
    (
        "severity",
        "severity = $severity",
        "`info`, `low`, `medium`, `high` or `critical`",
    ),
    ("status", "status = $status", "`open` or `resolved`"),
    (
        "since",
        "window_end >= $since",
        "last window ended at this time or later",
    ),
    (
        "until",
        "window_end < $until",
        "last window ended before this time",
    ),
    (
        "risk_object",
        "risk_object = $risk_object",
        "the subject that its points are for",
    ),
    (
        "entity",
        "strpos(lower(entity), lower($entity)) > 0",
        "text in the entity's columns",
    ),
    (
        "suppressed",
        "suppressed = $suppressed",
        "`true` or `false`: those that nobody is told of",
    ),
];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut known: Vec<Value> = FILTERS
        .iter()
        .map(|(name, _, about)| parameter(name, "string", about))
        .collect();
    known.push(parameter(
        "limit",
        "integer",
        "findings of a page, up to 1000",
    ));
    known.push(parameter("cursor", "string", "`next` of the page before"));
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}});
    vec![
        Endpoint {
            path: "/api/findings",
            method: Method::GET,
            needs: Needs::Table,
            handler: get(list),
            operation: operation(
                "Findings as they stand, the last first",
                known,
                "`findings`, and `next` when there are more",
            ),
        },
        Endpoint {
            path: "/api/findings/{id}",
            method: Method::GET,
            needs: Needs::Table,
            handler: get(one),
            operation: operation(
                "One finding and all that happened to it",
                vec![id],
                "`finding` as it stands, `history` from its first revision on",
            ),
        },
    ]
}

async fn list(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    request: Request,
) -> Result<Response, Problem> {
    let mut conditions = Vec::new();
    let mut values = Parameters::default();
    let mut limit = USUAL;
    for (name, value) in parameters(request.uri().query()) {
        match name.as_str() {
            "limit" => limit = number("limit", &value, 1..=MOST)?,
            "cursor" => {
                let (end, id) = read_cursor(&value)
                    .ok_or_else(|| Problem::bad_request("`cursor` is not one of ours"))?;
                conditions.push(
                    "(window_end < $cursor_end OR (window_end = $cursor_end AND finding_id > $cursor_id))",
                );
                values.set("cursor_end", end);
                values.set("cursor_id", id);
            }
            _ => {
                let (_, condition, _) = FILTERS
                    .iter()
                    .find(|(known, ..)| *known == name)
                    .ok_or_else(|| Problem::bad_request(format!("`{name}` is not known here")))?;
                conditions.push(condition);
                values.set(name, value);
            }
        }
    }
    let condition = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    let sql = format!(
        "SELECT * FROM findings_now{condition} ORDER BY window_end DESC, finding_id LIMIT {}",
        limit + 1
    );
    let mut rows = ask(&server, &grant, sql, values).await?;
    let next = (rows.len() > limit).then(|| {
        rows.truncate(limit);
        rows.last().and_then(cursor)
    });
    Ok(json_answer(
        &json!({"findings": rows, "next": next.flatten()}),
    ))
}

async fn one(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let mut values = Parameters::default();
    values.set("id", id);
    let sql = "SELECT * FROM findings WHERE finding_id = $id ORDER BY revision".to_owned();
    let rows = ask(&server, &grant, sql, values).await?;
    match rows.last() {
        None => Err(Problem::not_found("no finding has this id")),
        Some(last) => Ok(json_answer(&json!({"finding": last, "history": rows}))),
    }
}

type Row = serde_json::Map<String, Value>;

async fn ask(
    server: &Server,
    grant: &Grant,
    sql: String,
    parameters: Parameters,
) -> Result<Vec<Row>, Problem> {
    if !grant.rights.opens("findings") {
        return Err(Problem::forbidden("it does not open `findings`"));
    }
    let question = Question {
        parameters,
        ..Question::new(sql)
    };
    let (batches, _) = server.ask(grant, question).await?.collect().await?;
    objects(&batches, &NESTED)
}

/// Where a page ends: time and id of its last finding.
fn cursor(row: &Row) -> Option<String> {
    let text = format!(
        "{} {}",
        row["window_end"].as_str()?,
        row["finding_id"].as_str()?
    );
    Some(URL_SAFE_NO_PAD.encode(text))
}

fn read_cursor(text: &str) -> Option<(String, String)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (end, id) = text.split_once(' ')?;
    Some((end.to_owned(), id.to_owned()))
}

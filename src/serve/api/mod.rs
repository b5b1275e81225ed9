//! The JSON API: questions, findings, rules, state.

mod findings;
mod openapi;
mod query;
mod rules;
mod status;

use std::fmt::Write as _;

use arrow::array::RecordBatch;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::endpoint::Endpoint;
use super::problem::Problem;
use crate::output;

pub(super) fn endpoints() -> Vec<Endpoint> {
    [
        query::endpoints(),
        findings::endpoints(),
        rules::endpoints(),
        status::endpoints(),
        openapi::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An answer in JSON.
pub(super) fn json_answer(value: &Value) -> Response {
    let mut response = Response::new(Body::from(format!("{value}\n")));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// Rows as objects. Columns of `nested` hold JSON, and become what it says.
pub(super) fn objects(
    batches: &[RecordBatch],
    nested: &[&str],
) -> Result<Vec<Map<String, Value>>, Problem> {
    let mut rows = Vec::new();
    for batch in batches {
        let mut text = Vec::new();
        let writer = output::RowWriter::new(batch).map_err(Problem::internal)?;
        for row in 0..batch.num_rows() {
            text.clear();
            writer.write(row, &mut text).map_err(Problem::internal)?;
            let mut object: Map<String, Value> =
                serde_json::from_slice(&text).map_err(Problem::internal)?;
            for name in nested {
                if let Some(value) = object.get_mut(*name)
                    && let Some(inner) = value.as_str()
                    && let Ok(inner) = serde_json::from_str(inner)
                {
                    *value = inner;
                }
            }
            rows.push(object);
        }
    }
    Ok(rows)
}

/// The parameters of a request's address.
pub(super) fn parameters(query: Option<&str>) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

/// A number within bounds.
fn number(
    name: &str,
    text: &str,
    range: std::ops::RangeInclusive<usize>,
) -> Result<usize, Problem> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let mut detail = format!("`{name}` is a number from {} to ", range.start());
            let _ = write!(detail, "{}", range.end());
            Problem::bad_request(detail)
        })
}

/// The description of a parameter in the address.
pub(super) fn parameter(name: &str, kind: &str, description: &str) -> Value {
    json!({"name": name, "in": "query", "required": false, "description": description, "schema": {"type": kind}})
}

/// The description of an operation that answers in JSON.
pub(super) fn operation(summary: &str, parameters: Vec<Value>, answer: &str) -> Value {
    json!({
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": answer, "content": {"application/json": {"schema": {"type": "object"}}}},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    })
}

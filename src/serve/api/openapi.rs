//! `/openapi.json`: the description of the API, made of the same list as the router.

use axum::http::Method;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::super::endpoint::{Endpoint, Needs};
use super::json_answer;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        path: "/openapi.json",
        method: Method::GET,
        needs: Needs::Token,
        handler: get(async || json_answer(&document(&super::super::endpoints()))),
        operation: super::operation("This description", vec![], "an OpenAPI document"),
    }]
}

/// The document for some endpoints.
fn document(endpoints: &[Endpoint]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints
        .iter()
        .filter(|endpoint| !endpoint.operation.is_null())
    {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_ascii_lowercase()] = endpoint.operation.clone();
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "inferwatch",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {"Problem": {
                "description": "what is wrong, and what to try",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }},
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["type", "title", "status"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "hint": {"type": "string"},
                        "line": {"type": "integer", "description": "in the statement, counted from 1"},
                        "column": {"type": "integer", "description": "in the line, counted from 1"},
                    },
                },
                "Question": {
                    "type": "object",
                    "required": ["sql"],
                    "properties": {
                        "sql": {"type": "string"},
                        "params": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
                        "max_rows": {"type": "integer"},
                        "timeout_ms": {"type": "integer"},
                    },
                },
                "Rows": {
                    "type": "object",
                    "properties": {
                        "columns": {"type": "array", "items": {
                            "type": "object",
                            "properties": {
                                "name": {"type": "string"},
                                "type": {"type": "string", "description": "boolean, integer, number, string, timestamp, date, array, object or null"},
                                "arrow": {"type": "string", "description": "the type as Arrow names it"},
                            },
                        }},
                        "rows": {"type": "array", "items": {"type": "object"}},
                        "row_count": {"type": "integer"},
                        "truncated": {"type": "boolean", "description": "whether there are more rows"},
                        "elapsed_ms": {"type": "number"},
                    },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_routed_and_every_parameter_of_a_path_is_named() {
        let endpoints = super::super::super::endpoints();
        let document = document(&endpoints);
        let paths = document["paths"].as_object().expect("paths");
        for endpoint in &endpoints {
            let operation = &paths
                .get(endpoint.path)
                .map(|path| path[endpoint.method.as_str().to_ascii_lowercase()].clone());
            if endpoint.operation.is_null() {
                continue;
            }
            let operation = operation.as_ref().expect("a described path");
            assert!(operation["summary"].is_string(), "{}", endpoint.path);
            assert!(operation["responses"].is_object(), "{}", endpoint.path);
            let in_path = operation["parameters"].as_array().into_iter().flatten();
            let in_path = in_path
                .filter(|parameter| parameter["in"] == "path")
                .count();
            assert_eq!(
                in_path,
                endpoint.path.matches('{').count(),
                "{}",
                endpoint.path
            );
        }
        let described: usize = paths
            .values()
            .map(|path| path.as_object().map_or(0, Map::len))
            .sum();
        let listed = endpoints
            .iter()
            .filter(|endpoint| !endpoint.operation.is_null());
        assert_eq!(described, listed.count());
    }

    #[test]
    fn only_health_and_the_form_are_for_who_has_no_token() {
        let open: Vec<&str> = super::super::super::endpoints()
            .iter()
            .filter(|endpoint| endpoint.needs == Needs::Nothing)
            .map(|endpoint| endpoint.path)
            .collect();
        assert_eq!(open, ["/healthz", "/readyz", "/login", "/logout"]);
    }
}

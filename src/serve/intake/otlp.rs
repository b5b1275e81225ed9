//! OTLP over HTTP, in Protobuf or JSON: its answers are in the encoding of the request, and say how many spans or log
//! records were put aside.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Server;
use super::super::grant::Grant;
use super::super::problem::Problem;
use super::body::{self, Unpacked};
use super::{Taken, take};
use crate::ingest::format::Format;
use crate::ingest::otlp_to_json;

pub(super) fn operation(what: &str) -> Value {
    let both = json!({"application/x-protobuf": {}, "application/json": {}});
    json!({
        "summary": format!("Take {what} as OTLP/HTTP"),
        "description": "Protobuf or JSON, also packed by gzip or zstd. Answered once the rows are durable, in the encoding of \
                        the request. Sending it again adds nothing.",
        "requestBody": {"required": true, "content": both},
        "responses": {
            "200": {"description": "taken, with the count of those that could not be read", "content": both},
            "400": {"description": "not OTLP; sending it again will not help", "content": both},
            "429": {"description": "no room; come again after `Retry-After`", "content": both},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    })
}

pub(super) async fn traces(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    request: Request,
) -> Response {
    export(&server, &grant, request, "rejectedSpans").await
}

pub(super) async fn logs(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    request: Request,
) -> Response {
    export(&server, &grant, request, "rejectedLogRecords").await
}

/// What a message is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Option<Encoding> {
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        match kind.split(';').next()?.trim() {
            "application/x-protobuf" | "application/protobuf" => Some(Encoding::Protobuf),
            "application/json" => Some(Encoding::Json),
            _ => None,
        }
    }

    fn answer(self, status: StatusCode, body: Vec<u8>) -> Response {
        let kind = match self {
            Encoding::Protobuf => "application/x-protobuf",
            Encoding::Json => "application/json",
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

async fn export(server: &Server, grant: &Grant, request: Request, rejected: &str) -> Response {
    let (parts, body) = request.into_parts();
    let Some(encoding) = Encoding::of(&parts.headers) else {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Problem::new(status, "this `Content-Type` is not OTLP")
            .hint("`application/x-protobuf` and `application/json` are")
            .into_response();
    };
    match taken(server, grant, &parts.headers, body, encoding).await {
        Ok(taken) => encoding.answer(StatusCode::OK, success(encoding, rejected, &taken)),
        Err(problem) => {
            let (status, text) = (problem.status, problem.title);
            let message = match &problem.detail {
                Some(detail) => format!("{text}: {detail}"),
                None => text.to_owned(),
            };
            // The problem's own headers, as when to come again, with a body that exporters read.
            let mut response = problem.into_response();
            let answer = encoding.answer(status, failure(encoding, &message));
            let kind = answer.headers()[header::CONTENT_TYPE].clone();
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            *response.body_mut() = answer.into_body();
            response
        }
    }
}

async fn taken(
    server: &Server,
    grant: &Grant,
    headers: &HeaderMap,
    body: Body,
    encoding: Encoding,
) -> Result<Taken, Problem> {
    let Unpacked { mut content, room } = body::read(server.intake()?, headers, body).await?;
    // A message of no field at all is one without spans.
    if content.is_empty() {
        return Ok(Taken::default());
    }
    if encoding == Encoding::Protobuf {
        let json = tokio::task::spawn_blocking(move || otlp_to_json(&content))
            .await
            .map_err(Problem::internal)?;
        let json = json.ok_or_else(|| Problem::bad_request("not OTLP in Protobuf"))?;
        content = Arc::from(json.into_bytes());
    }
    let unpacked = Unpacked { content, room };
    let format = Some(Format::Otlp);
    take(
        server,
        grant,
        headers,
        unpacked,
        format,
        Format::Otlp.name(),
    )
    .await
}

/// The answer to an export: empty, unless some of it was put aside.
fn success(encoding: Encoding, rejected: &str, taken: &Taken) -> Vec<u8> {
    let count: u64 = taken.tally.quarantined.values().sum();
    let reasons: Vec<&str> = taken.tally.quarantined.keys().map(String::as_str).collect();
    let message = match count {
        0 => String::new(),
        _ => format!("put aside in `quarantine`: {}", reasons.join(", ")),
    };
    match (encoding, count) {
        (Encoding::Json, 0) => b"{}".to_vec(),
        (Encoding::Json, _) => {
            // 64-bit numbers are text in this mapping.
            let partial = json!({rejected: count.to_string(), "errorMessage": message});
            json!({"partialSuccess": partial}).to_string().into_bytes()
        }
        (Encoding::Protobuf, 0) => Vec::new(),
        (Encoding::Protobuf, _) => {
            let mut partial = vec![1 << 3];
            varint(count, &mut partial);
            bytes(2, message.as_bytes(), &mut partial);
            let mut answer = Vec::new();
            bytes(1, &partial, &mut answer);
            answer
        }
    }
}

/// A `google.rpc.Status`, of which exporters show the message.
fn failure(encoding: Encoding, message: &str) -> Vec<u8> {
    match encoding {
        Encoding::Json => json!({"message": message}).to_string().into_bytes(),
        Encoding::Protobuf => {
            let mut status = Vec::new();
            bytes(2, message.as_bytes(), &mut status);
            status
        }
    }
}

fn bytes(field: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_aside_is_counted_in_both_encodings() {
        let mut taken = Taken::default();
        assert_eq!(success(Encoding::Protobuf, "rejectedSpans", &taken), b"");
        assert_eq!(success(Encoding::Json, "rejectedSpans", &taken), b"{}");
        taken.tally.quarantined.insert("no time".into(), 300);
        let json = success(Encoding::Json, "rejectedSpans", &taken);
        let json: Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["partialSuccess"]["rejectedSpans"], "300");
        // By hand: field 1, a message of 41 bytes: field 1, 300 as two bytes; field 2, a text of 36.
        let text = "put aside in `quarantine`: no time";
        let mut expected = vec![
            0x0a,
            text.len() as u8 + 5,
            0x08,
            0xac,
            0x02,
            0x12,
            text.len() as u8,
        ];
        expected.extend_from_slice(text.as_bytes());
        assert_eq!(
            success(Encoding::Protobuf, "rejectedSpans", &taken),
            expected
        );
    }
}

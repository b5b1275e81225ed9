//! `/api/query`: one statement in SQL, and its rows as JSON, lines of JSON, or an Arrow stream.
//!
//! Rows are sent as they come. Should the query fail when some of them are on their way, the connection ends without
//! an end of the answer, so that no part of it is taken for the whole.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::Server;
use super::super::ask::{Answer, Part, Question};
use super::super::endpoint::{Endpoint, Needs};
use super::super::grant::Grant;
use super::super::problem::Problem;
use crate::output;
use crate::query::Parameters;

/// A statement is text that somebody wrote.
const LONGEST: usize = 1 << 20;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let of = |method: Method, handler, operation| Endpoint {
        path: "/api/query",
        method,
        needs: Needs::Table,
        handler,
        operation,
    };
    vec![
        of(Method::GET, get(by_address), described(true)),
        of(Method::POST, post(by_body), described(false)),
    ]
}

fn described(by_address: bool) -> Value {
    let rows = json!({
        "description": "the rows, as they come",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Rows"}},
            "application/x-ndjson": {"schema": {"type": "string"}},
            "application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}},
        },
    });
    let mut operation = json!({
        "summary": "Ask one question in SQL",
        "description": "What the answer is written in is chosen by `Accept`.",
        "responses": {"200": rows, "default": {"$ref": "#/components/responses/Problem"}},
    });
    if by_address {
        operation["parameters"] = json!([
            super::parameter("sql", "string", "the statement"),
            super::parameter("param.NAME", "string", "the value of `$NAME` in it"),
            super::parameter("max_rows", "integer", "most rows"),
            super::parameter("timeout_ms", "integer", "how long it may take"),
        ]);
    } else {
        operation["requestBody"] = json!({"required": true, "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Question"}},
            "application/sql": {"schema": {"type": "string"}},
        }});
    }
    operation
}

/// A question as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    sql: String,
    #[serde(default)]
    params: Map<String, Value>,
    max_rows: Option<usize>,
    timeout_ms: Option<u64>,
}

impl Asked {
    fn question(self) -> Result<Question, Problem> {
        let mut parameters = Parameters::default();
        for (name, value) in self.params {
            let text = match value {
                Value::String(text) => text,
                Value::Array(_) | Value::Object(_) => {
                    let detail = format!("parameter `{name}` is a text, number or boolean");
                    return Err(Problem::bad_request(detail));
                }
                other => other.to_string(),
            };
            parameters.set(name, text);
        }
        Ok(Question {
            parameters,
            rows: self.max_rows,
            time: self.timeout_ms.map(Duration::from_millis),
            ..Question::new(self.sql)
        })
    }
}

async fn by_address(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = of_pairs(super::parameters(request.uri().query()))?
        .ok_or_else(|| Problem::bad_request("no `sql`"))?;
    answer(&server, &grant, asked, request.headers()).await
}

async fn by_body(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let unread = |error: axum::Error| {
        let status = axum::http::StatusCode::PAYLOAD_TOO_LARGE;
        let too_long = || Problem::new(status, "the statement is longer than a statement is");
        Problem::of_body(&error).unwrap_or_else(too_long)
    };
    let body = axum::body::to_bytes(body, LONGEST).await.map_err(unread)?;
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let text = || {
        let text = std::str::from_utf8(&body);
        text.map_err(|_| Problem::bad_request("the statement is not UTF-8"))
    };
    let asked = match kind.as_str() {
        "application/json" => serde_json::from_slice(&body)
            .map_err(|error| Problem::bad_request(format!("the question: {error}")))?,
        // What `curl --data` says of whatever it sends.
        "application/x-www-form-urlencoded" => match of_pairs(super::parameters(Some(text()?)))? {
            Some(asked) => asked,
            None => of_text(text()?),
        },
        _ => of_text(text()?),
    };
    answer(&server, &grant, asked, &headers).await
}

fn of_text(sql: &str) -> Asked {
    Asked {
        sql: sql.to_owned(),
        params: Map::new(),
        max_rows: None,
        timeout_ms: None,
    }
}

/// A question as names and values, if there is one among them.
fn of_pairs(pairs: Vec<(String, String)>) -> Result<Option<Asked>, Problem> {
    let Some((_, sql)) = pairs.iter().find(|(name, _)| name == "sql") else {
        return Ok(None);
    };
    let mut asked = of_text(sql);
    for (name, value) in pairs {
        match name.as_str() {
            "sql" => {}
            "max_rows" => asked.max_rows = Some(super::number(&name, &value, 0..=usize::MAX >> 1)?),
            "timeout_ms" => {
                asked.timeout_ms = Some(super::number(&name, &value, 1..=86_400_000)? as u64);
            }
            _ => match name.strip_prefix("param.") {
                Some(parameter) => {
                    asked.params.insert(parameter.to_owned(), value.into());
                }
                None => return Err(Problem::bad_request(format!("`{name}` is not known here"))),
            },
        }
    }
    Ok(Some(asked))
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Ndjson,
    Arrow,
}

impl Form {
    fn asked_for(headers: &HeaderMap) -> Form {
        let accept = headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        let accept = accept.unwrap_or_default();
        if accept.contains("application/vnd.apache.arrow.stream") {
            Form::Arrow
        } else if accept.contains("ndjson") || accept.contains("jsonl") {
            Form::Ndjson
        } else {
            Form::Json
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Form::Json => "application/json",
            Form::Ndjson => "application/x-ndjson",
            Form::Arrow => "application/vnd.apache.arrow.stream",
        })
    }
}

async fn answer(
    server: &Server,
    grant: &Grant,
    asked: Asked,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let form = Form::asked_for(headers);
    let mut answer = server.ask(grant, asked.question()?).await?;
    let mut writer = Writer::new(form, &answer)?;
    // What fails before the first row has the status of a failure.
    let first = match answer.next().await {
        None => return Err(Problem::internal("a query ended without an end")),
        Some(part) => writer.write(part?)?,
    };
    let rest = futures::stream::unfold((answer, writer), |(mut answer, mut writer)| async move {
        if writer.is_done {
            return None;
        }
        let bytes = match answer.next().await {
            None => Err(Problem::internal("a query ended without an end")),
            Some(part) => part.and_then(|part| writer.write(part)),
        };
        let bytes = bytes.map_err(|problem| std::io::Error::other(problem.title));
        writer.is_done |= bytes.is_err();
        Some((bytes, (answer, writer)))
    });
    let first = futures::stream::once(std::future::ready(Ok(first)));
    let body = Body::from_stream(futures::StreamExt::chain(first, rest));
    Ok(([(header::CONTENT_TYPE, form.content_type())], body).into_response())
}

/// Writes the parts of an answer.
struct Writer {
    form: Form,
    schema: SchemaRef,
    started: std::time::Instant,
    arrow: Option<StreamWriter<Vec<u8>>>,
    rows: usize,
    has_begun: bool,
    is_done: bool,
}

impl Writer {
    fn new(form: Form, answer: &Answer) -> Result<Writer, Problem> {
        let schema = Arc::clone(&answer.schema);
        let arrow = match form {
            Form::Arrow => {
                Some(StreamWriter::try_new(Vec::new(), &schema).map_err(Problem::internal)?)
            }
            Form::Json | Form::Ndjson => None,
        };
        Ok(Writer {
            form,
            schema,
            started: answer.started,
            arrow,
            rows: 0,
            has_begun: false,
            is_done: false,
        })
    }

    fn write(&mut self, part: Part) -> Result<Bytes, Problem> {
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.has_begun, true) && self.form == Form::Json {
            let columns = self.schema.fields().iter().map(|field| {
                json!({"name": field.name(), "type": type_name(field.data_type()), "arrow": field.data_type().to_string()})
            });
            let columns = Value::Array(columns.collect());
            out.extend_from_slice(format!("{{\"columns\":{columns},\"rows\":[").as_bytes());
        }
        match part {
            Part::Rows(batch) => {
                if let Some(arrow) = &mut self.arrow {
                    arrow.write(&batch).map_err(Problem::internal)?;
                } else {
                    let writer = output::RowWriter::new(&batch).map_err(Problem::internal)?;
                    for row in 0..batch.num_rows() {
                        if self.form == Form::Json && self.rows + row > 0 {
                            out.push(b',');
                        }
                        writer.write(row, &mut out).map_err(Problem::internal)?;
                        if self.form == Form::Ndjson {
                            out.push(b'\n');
                        }
                    }
                }
                self.rows += batch.num_rows();
            }
            Part::End { is_cut } => {
                self.is_done = true;
                if let Some(arrow) = &mut self.arrow {
                    arrow.finish().map_err(Problem::internal)?;
                } else if self.form == Form::Json {
                    let elapsed = self.started.elapsed().as_secs_f64() * 1e3;
                    let end = format!(
                        "],\"row_count\":{},\"truncated\":{is_cut},\"elapsed_ms\":{elapsed:.3}}}\n",
                        self.rows
                    );
                    out.extend_from_slice(end.as_bytes());
                }
            }
        }
        if let Some(arrow) = &mut self.arrow {
            out = std::mem::take(arrow.get_mut());
        }
        Ok(out.into())
    }
}

/// A type as a reader of JSON needs it: what the values are, and how they are written.
fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "boolean",
        kind if kind.is_integer() => "integer",
        kind if kind.is_floating() || kind.is_decimal() => "number",
        DataType::Timestamp(..) => "timestamp",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Dictionary(_, value) => type_name(value),
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => "array",
        DataType::Struct(_) | DataType::Map(..) => "object",
        DataType::Null => "null",
        _ => "string",
    }
}

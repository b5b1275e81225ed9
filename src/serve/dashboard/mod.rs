//! The dashboard: its files, and what they ask for. Pages are one file that draws itself by the address.

mod files;
mod kept;

use std::future::Future;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Server;
use super::api::{json_answer, operation, parameter, parameters};
use super::endpoint::{Endpoint, Needs};
use super::grant::Grant;
use super::problem::Problem;
use crate::dashboard::{self, Asked, LONGEST_NOTE, Triage};
use crate::detect::time_text;
use crate::query::{Audience, Engine};

pub(super) use kept::Kept;

/// A note, and what is around it.
const LONGEST_WORD: usize = 4 * LONGEST_NOTE;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let range = || {
        vec![
            parameter("from", "string", "first instant, as `2026-03-02T00:00:00Z`"),
            parameter("to", "string", "instant after the last"),
        ]
    };
    let one = |name: &str, about: &str| json!({"name": name, "in": "path", "required": true, "description": about, "schema": {"type": "string"}});
    let endpoint = |path, needs, handler, operation| Endpoint {
        path,
        method: Method::GET,
        needs,
        handler,
        operation,
    };
    let with = |first: Value, mut rest: Vec<Value>| {
        rest.insert(0, first);
        rest
    };
    let mut panel = with(one("id", "the panel"), range());
    panel.push(parameter("caller", "string", "only calls of this caller"));
    panel.push(parameter("model", "string", "only calls of this model"));
    let mut all = files::endpoints();
    all.extend([
        endpoint(
            "/api/boards",
            Needs::Token,
            get(boards),
            operation("Boards with their panels", vec![], "`boards`, and first and last event"),
        ),
        endpoint(
            "/api/boards/{id}",
            Needs::Token,
            get(board),
            operation("One board", vec![one("id", "the board")], "its panels"),
        ),
        endpoint(
            "/api/panels/{id}",
            Needs::Table,
            get(answer),
            operation("The rows of a panel", panel, "`columns`, `rows`, the query and its time"),
        ),
        endpoint(
            "/api/dashboard/findings",
            Needs::Table,
            get(findings),
            operation("Findings with what became of them", range(), "`findings`"),
        ),
        endpoint(
            "/api/dashboard/findings/{id}",
            Needs::Table,
            get(finding),
            operation(
                "A finding with all that belongs to it",
                vec![one("id", "the finding")],
                "revisions, windows, events, related findings, triage, the rule",
            ),
        ),
        endpoint(
            "/api/dashboard/rules",
            Needs::Overview,
            get(rules),
            operation("Rules with what came of them", range(), "`rules`"),
        ),
        endpoint(
            "/api/dashboard/rules/{id}",
            Needs::Overview,
            get(rule),
            operation(
                "A rule with its windows and gaps",
                with(one("id", "the rule"), range()),
                "the rule, `windows`, `gaps`, `findings`",
            ),
        ),
        Endpoint {
            path: "/api/findings/{id}/triage",
            method: Method::POST,
            needs: Needs::Triage,
            handler: post(triage),
            operation: {
                let mut operation = operation(
                    "Say what became of a finding",
                    vec![one("id", "the finding")],
                    "what was written down",
                );
                let names = Triage::ALL.map(|(name, _)| name);
                operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": {
                    "type": "object",
                    "required": ["state"],
                    "properties": {
                        "state": {"type": "string", "enum": names},
                        "note": {"type": "string", "maxLength": LONGEST_NOTE},
                    },
                }}}});
                operation
            },
        },
    ]);
    all
}

/// A task that ends with whoever waits for it.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    /// Runs what asks several things, or one of a panel, over the tables of a token: on the threads and within the limits
    /// of queries.
    async fn work<T, F>(
        &self,
        grant: &Grant,
        work: impl FnOnce(Engine, Server) -> F + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Problem>> + Send,
    {
        let deadline = tokio::time::Instant::now() + self.limits().query_time;
        let place = tokio::time::timeout_at(deadline, Arc::clone(self.queries()).acquire_owned());
        let Ok(Ok(place)) = place.await else {
            let title = "too many queries at once";
            return Err(Problem::busy(StatusCode::SERVICE_UNAVAILABLE, title));
        };
        let (server, grant) = (self.clone(), grant.clone());
        let mut task = Owned(self.query_threads().spawn(async move {
            let _place = place;
            let engine = Engine {
                context: server.session(&grant, false).await?,
                store: server.store().root().to_owned(),
                parameters: crate::query::Parameters::default(),
                audience: Audience::Remote {
                    plans: grant.rights.filter.is_none(),
                },
            };
            match tokio::time::timeout_at(deadline, work(engine, server)).await {
                Ok(done) => done,
                Err(_) => Err(Problem::too_slow()),
            }
        }));
        match (&mut task.0).await {
            Ok(done) => done,
            Err(error) => Err(Problem::internal(error)),
        }
    }
}

async fn boards(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
) -> Result<Response, Problem> {
    let key = kept::key(&server, &grant, "extent")?;
    let extent = match server.kept().get(&key) {
        Some(extent) => extent,
        None => {
            let extent = server
                .work(&grant, |engine, _| async move {
                    let extent = dashboard::extent(&engine.context).await?;
                    let text = |time: Option<i64>| json!(time.map(time_text));
                    let (first, last) = extent.unzip();
                    Ok(json!({"first": text(first), "last": text(last)}))
                })
                .await?;
            server.kept().put(key, extent.clone());
            extent
        }
    };
    let dashboards = server.dashboards();
    let boards = dashboards
        .boards
        .iter()
        .map(|board| dashboard::board_meta(dashboards, board));
    Ok(json_answer(&json!({
        "boards": boards.collect::<Vec<_>>(),
        "first": extent["first"],
        "last": extent["last"],
        "who": grant.name,
        "may_triage": grant.rights.triage,
    })))
}

async fn board(State(server): State<Server>, Path(id): Path<String>) -> Result<Response, Problem> {
    let dashboards = server.dashboards();
    match dashboards.board(&id) {
        Ok(board) => Ok(json_answer(&dashboard::board_meta(dashboards, board))),
        Err(error) => {
            let mut problem = Problem::not_found(error.to_string());
            problem.hint = error.hint().map(str::to_owned);
            Err(problem)
        }
    }
}

/// The range and the filters of an address.
fn asked(request: &Request) -> Result<Asked, Problem> {
    let now = chrono::Utc::now().timestamp_micros();
    let (mut from, mut to) = (None, None);
    let (mut caller, mut model) = (None, None);
    for (name, value) in parameters(request.uri().query()) {
        match name.as_str() {
            "from" => from = Some(value),
            "to" => to = Some(value),
            "caller" => caller = Some(value).filter(|value| !value.is_empty()),
            "model" => model = Some(value).filter(|value| !value.is_empty()),
            _ => return Err(Problem::bad_request(format!("`{name}` is not known here"))),
        }
    }
    let time = |text: Option<String>, end: i64, otherwise: i64| match text {
        Some(text) => dashboard::moment(&text, end).map_err(Problem::bad_request),
        None => Ok(otherwise),
    };
    let to = time(to, now, now)?;
    let from = time(from, to, to - crate::catalog::Span::hours(24).0)?;
    let asked = Asked::new(from, to).map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(Asked {
        caller,
        model,
        ..asked
    })
}

async fn answer(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = asked(&request)?;
    let panel = server.dashboards().panel(&id);
    let Some(panel) = panel.cloned() else {
        return Err(Problem::not_found(format!("no panel `{id}`")));
    };
    let sql = asked.values(&panel).fill(&panel.sql);
    let key = kept::key(&server, &grant, &format!("{id}\n{sql}"))?;
    if let Some(mut kept) = server.kept().get(&key) {
        kept["is_cached"] = true.into();
        return Ok(json_answer(&kept));
    }
    let answer = server
        .work(&grant, move |engine, _| async move {
            Ok(dashboard::answer(&engine, &panel, &asked).await?.json())
        })
        .await?;
    server.kept().put(key, answer.clone());
    Ok(json_answer(&answer))
}

/// Findings are for who may read them.
async fn opens_findings(engine: &Engine) -> Result<(), Problem> {
    match engine.context.table_exist("findings_now") {
        Ok(true) => Ok(()),
        _ => Err(Problem::forbidden("it does not open `findings`")),
    }
}

async fn findings(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = asked(&request)?;
    let list = server
        .work(&grant, move |engine, _| async move {
            opens_findings(&engine).await?;
            Ok(dashboard::findings(&engine.context, asked.from, asked.to).await?)
        })
        .await?;
    Ok(json_answer(&list))
}

async fn finding(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let found = server
        .work(&grant, move |engine, server| async move {
            opens_findings(&engine).await?;
            let found = dashboard::finding(&engine.context, server.pack(), &id).await?;
            found.ok_or_else(|| Problem::not_found("no finding has this id"))
        })
        .await?;
    Ok(json_answer(&found))
}

async fn rules(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = asked(&request)?;
    let list = server
        .work(&grant, move |engine, server| async move {
            Ok(dashboard::rules(&engine.context, server.pack(), &asked).await?)
        })
        .await?;
    Ok(json_answer(&list))
}

async fn rule(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = asked(&request)?;
    let found = server
        .work(&grant, move |engine, server| async move {
            let found = dashboard::rule(&engine.context, server.pack(), &id, &asked).await?;
            found.ok_or_else(|| Problem::not_found(format!("no rule `{id}`")))
        })
        .await?;
    Ok(json_answer(&found))
}

/// What somebody says of a finding.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    state: String,
    #[serde(default)]
    note: String,
}

async fn triage(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let body = axum::body::to_bytes(body, LONGEST_WORD).await;
    let too_long = || Problem::bad_request("the note is too long");
    let body = body.map_err(|error| Problem::of_body(&error).unwrap_or_else(too_long))?;
    let word: Word = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("not a word on a finding: {error}")))?;
    let refused = |error: crate::Error| {
        let mut problem = Problem::bad_request(error.to_string());
        problem.hint = error.hint().map(str::to_owned);
        problem
    };
    let state = Triage::from_name(&word.state).map_err(refused)?;
    if word.note.trim().len() > LONGEST_NOTE {
        let detail = format!("a note has {LONGEST_NOTE} bytes at most");
        return Err(Problem::bad_request(detail));
    }
    let who = grant.name.clone();
    let said = server
        .work(&grant, move |engine, server| async move {
            opens_findings(&engine).await?;
            // Only of what this token can see.
            if !dashboard::is_known(&engine.context, &id).await? {
                return Err(Problem::not_found("no finding has this id"));
            }
            let at = chrono::Utc::now().timestamp_micros();
            // A commit waits for the disk, and may wait for another writer.
            let write = move || state.write(server.store(), &id, &word.note, &who, at);
            let written = tokio::task::spawn_blocking(write).await;
            written.map_err(Problem::internal)??;
            Ok(json!({"state": state.name(), "at": time_text(at)}))
        })
        .await?;
    let mut response = json_answer(&said);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response.into_response())
}

//! What the server answers: a list of endpoints, each with what it needs and what it is, from which the router and the
//! description of the API are both made. So neither knows a path that the other lacks, and none is left unguarded.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde_json::Value;

use super::guard::{self, Name, Path};
use super::login;
use super::problem::Problem;
use super::{Server, grant::Grant};

/// What a token must open for a request to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Not even a token.
    Nothing,
    /// Any token.
    Token,
    /// One that opens some table.
    Table,
    /// One that sees every row of what rules found: their state counts over all of them.
    Overview,
    /// One that may send records.
    Ingest,
    /// One that may say what became of a finding.
    Triage,
    /// One that may read the server's own numbers.
    Metrics,
}

impl Needs {
    fn check(self, grant: &Grant) -> Result<(), Problem> {
        let rights = &grant.rights;
        let (is_met, what) = match self {
            Needs::Nothing | Needs::Token => (true, ""),
            Needs::Table => (rights.reads(), "it opens no table"),
            Needs::Overview => (
                rights.filter.is_none() && rights.opens("findings") && rights.opens("evaluations"),
                "it needs all rows of `findings` and `evaluations`",
            ),
            Needs::Ingest => (rights.ingest, "it was made without `--ingest`"),
            Needs::Triage => (rights.triage, "it was made without `--triage`"),
            Needs::Metrics => (rights.metrics, "it was made without `--metrics`"),
        };
        match is_met {
            true => Ok(()),
            false => Err(Problem::forbidden(what)),
        }
    }
}

/// One path and method.
pub(crate) struct Endpoint {
    /// As the router writes it: `/api/findings/{id}`.
    pub(crate) path: &'static str,
    pub(crate) method: Method,
    pub(crate) needs: Needs,
    pub(crate) handler: MethodRouter<Server>,
    /// Its operation object in the description; `null` leaves it out, as a page for people.
    pub(crate) operation: Value,
}

/// The router of all endpoints.
pub(super) fn router(server: &Server, endpoints: Vec<Endpoint>) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints {
        let state: Gate = (server.clone(), endpoint.needs, endpoint.path);
        // Not for other methods of the path: those are answered by the fallback, to who has a token.
        let guarded = endpoint.handler.layer(from_fn_with_state(state, authorize));
        router = router.route(endpoint.path, guarded);
    }
    router
        .method_not_allowed_fallback(no_such_method)
        .fallback(nothing_here)
        .layer(from_fn_with_state(server.clone(), guard::all))
        .with_state(server.clone())
}

/// What stands before the handler of one endpoint.
type Gate = (Server, Needs, &'static str);

async fn authorize(
    State((server, needs, path)): State<Gate>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = admitted(&server, needs, request, next).await;
    response.extensions_mut().insert(Path(path));
    response
}

async fn admitted(server: &Server, needs: Needs, mut request: Request, next: Next) -> Response {
    if needs == Needs::Nothing {
        return next.run(request).await;
    }
    let grant = match admit(server, needs, request.method(), request.headers()) {
        Ok(grant) => grant,
        Err(problem) => return refused(&problem, request.uri(), request.headers()),
    };
    let name = Name(grant.name.clone());
    request.extensions_mut().insert(Arc::new(grant));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(name);
    response
}

fn admit(
    server: &Server,
    needs: Needs,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Grant, Problem> {
    let grant = server.grants().of_request(headers)?;
    guard::check_page(&grant, method, headers)?;
    needs.check(&grant)?;
    server.rates().take(&grant.id, Instant::now())?;
    Ok(grant)
}

/// A person with a browser gets a form in which to put a token, with the same status.
fn refused(problem: &Problem, uri: &Uri, headers: &HeaderMap) -> Response {
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    if problem.status.as_u16() == 401
        && accepts.is_some_and(|accepts| accepts.contains("text/html"))
    {
        return login::form(uri.path_and_query(), false);
    }
    problem.clone().into_response()
}

/// What is not there is so only for who may know.
async fn nothing_here(
    State(server): State<Server>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match admit(&server, Needs::Token, &method, &headers) {
        Ok(_) => Problem::not_found(format!("`{}`", uri.path())).into_response(),
        Err(problem) => refused(&problem, &uri, &headers),
    }
}

async fn no_such_method(
    State(server): State<Server>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match admit(&server, Needs::Token, &method, &headers) {
        Ok(_) => {
            let status = axum::http::StatusCode::METHOD_NOT_ALLOWED;
            Problem::new(status, "this path takes another method").into_response()
        }
        Err(problem) => refused(&problem, &uri, &headers),
    }
}

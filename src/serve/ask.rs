//! Runs a query for a token: on threads of its own, so that a heavy one holds up no other answer, with limits on rows,
//! time and how many there are at once.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use axum::http::StatusCode;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};

use super::Server;
use super::grant::Grant;
use super::problem::Problem;
use crate::query::{Audience, Engine, Parameters, Planned, Source, lexer};

/// A question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Question {
    pub(crate) statement: Statement,
    /// Whether the catalog of Postgres is beside the tables.
    pub(crate) is_postgres: bool,
    /// Values of `$name`.
    pub(crate) parameters: Parameters,
    /// Most rows; never more than the server's limit.
    pub(crate) rows: Option<usize>,
    /// How long it may take; never longer than the server's limit.
    pub(crate) time: Option<Duration>,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    /// One statement.
    Text(String),
    /// What [`Server::prepare`] made of one, with its parameters in their places.
    Plan(Box<LogicalPlan>),
}

impl Default for Statement {
    fn default() -> Self {
        Statement::Text(String::new())
    }
}

impl Question {
    /// One without parameters.
    pub(crate) fn new(sql: impl Into<String>) -> Question {
        Question {
            statement: Statement::Text(sql.into()),
            ..Question::default()
        }
    }
}

/// Rows as they come. Dropping it ends the query.
pub(crate) struct Answer {
    pub(crate) schema: SchemaRef,
    parts: mpsc::Receiver<Result<Part, Problem>>,
    pub(crate) started: Instant,
}

/// What comes of an answer.
#[derive(Debug)]
pub(crate) enum Part {
    Rows(RecordBatch),
    /// All of them have come. `is_cut`: there are more than was asked for.
    End {
        is_cut: bool,
    },
}

impl Answer {
    /// The next part; after the end, or a problem, there is none.
    pub(crate) async fn next(&mut self) -> Option<Result<Part, Problem>> {
        self.parts.recv().await
    }

    /// All of it, and whether there is more.
    pub(crate) async fn collect(mut self) -> Result<(Vec<RecordBatch>, bool), Problem> {
        let mut batches = Vec::new();
        while let Some(part) = self.next().await {
            match part? {
                Part::Rows(batch) => batches.push(batch),
                Part::End { is_cut } => return Ok((batches, is_cut)),
            }
        }
        // The sender goes without an end only when its task is gone.
        Err(Problem::internal("a query ended without an end"))
    }
}

impl Server {
    /// Runs a question over the tables of a token.
    pub(crate) async fn ask(&self, grant: &Grant, question: Question) -> Result<Answer, Problem> {
        let started = Instant::now();
        let limits = self.limits();
        let deadline = started
            + question
                .time
                .map_or(limits.query_time, |time| time.min(limits.query_time));
        let rows = question
            .rows
            .map_or(limits.rows, |rows| rows.min(limits.rows));
        let place =
            tokio::time::timeout_at(deadline.into(), Arc::clone(self.queries()).acquire_owned());
        let Ok(Ok(place)) = place.await else {
            return Err(Problem::busy(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many queries at once",
            ));
        };
        let (tell, told) = oneshot::channel();
        let (send, parts) = mpsc::channel(2);
        let (server, grant) = (self.clone(), grant.clone());
        self.query_threads().spawn(async move {
            let _place = place;
            let work = run(&server, &grant, question, rows, tell, &send);
            // Whoever asked may be gone; then nobody needs the rest.
            tokio::select! {
                () = send.closed() => {}
                done = tokio::time::timeout_at(deadline.into(), work) => {
                    if done.is_err() {
                        server.metrics().queried(false, started.elapsed());
                        // There is room, or nobody reads: then the connection ends without an end.
                        let _ = send.try_send(Err(Problem::too_slow()));
                    }
                }
            }
        });
        match told.await {
            Ok(schema) => Ok(Answer {
                schema,
                parts,
                started,
            }),
            // It did not start: the reason comes in place of rows.
            Err(_) => {
                let mut parts = parts;
                match parts.recv().await {
                    Some(Err(problem)) => Err(problem),
                    _ => Err(Problem::internal("a query ended before it began")),
                }
            }
        }
    }
}

impl Server {
    /// Plans a statement for the tables of a token, and leaves its parameters open.
    pub(crate) async fn prepare(&self, grant: &Grant, sql: &str) -> Result<LogicalPlan, Problem> {
        let (server, grant, text) = (self.clone(), grant.clone(), sql.to_owned());
        let prepared = self.query_threads().spawn(async move {
            let engine = server.engine(&grant, true).await?;
            let range = only_statement(&text)?;
            let source = Source {
                name: None,
                text: &text,
            };
            Ok(engine.prepare(source, &range).await?)
        });
        prepared.await.map_err(Problem::internal)?
    }

    async fn engine(&self, grant: &Grant, is_postgres: bool) -> Result<Engine, Problem> {
        Ok(Engine {
            context: self.session(grant, is_postgres).await?,
            store: self.store().root().to_owned(),
            parameters: Parameters::default(),
            audience: Audience::Remote {
                plans: grant.rights.filter.is_none(),
            },
        })
    }
}

fn only_statement(text: &str) -> Result<Range<usize>, Problem> {
    let mut statements = lexer::statements(text).0.into_iter();
    match (statements.next(), statements.next()) {
        (Some(range), None) => Ok(range),
        _ => Err(Problem::bad_request("one statement at a time")),
    }
}

type Parts = mpsc::Sender<Result<Part, Problem>>;

async fn run(
    server: &Server,
    grant: &Grant,
    question: Question,
    rows: usize,
    tell: oneshot::Sender<SchemaRef>,
    send: &Parts,
) {
    let started = Instant::now();
    let done = try_run(server, grant, question, rows, tell, send).await;
    server.metrics().queried(done.is_ok(), started.elapsed());
    if let Err(problem) = done {
        let _ = send.send(Err(problem)).await;
    }
}

async fn try_run(
    server: &Server,
    grant: &Grant,
    question: Question,
    rows: usize,
    tell: oneshot::Sender<SchemaRef>,
    send: &Parts,
) -> Result<(), Problem> {
    let mut engine = server.engine(grant, question.is_postgres).await?;
    engine.parameters = question.parameters;
    let (text, planned) = match question.statement {
        Statement::Plan(plan) => (String::new(), Planned::of(*plan)),
        Statement::Text(text) => {
            engine.parameters.check_used(&text)?;
            let range = only_statement(&text)?;
            let source = Source {
                name: None,
                text: &text,
            };
            let planned = engine.plan(source, range).await?;
            (text, planned)
        }
    };
    let source = Source {
        name: None,
        text: &text,
    };
    let range = 0..text.len();
    // One more than is sent tells whether there are more.
    let mut stream = engine.start(planned, source, Some(rows + 1)).await?;
    if tell.send(stream.schema()).is_err() {
        return Ok(());
    }
    let mut left = rows;
    let mut is_cut = false;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| engine.explain(error, source, &range))?;
        is_cut = batch.num_rows() > left;
        let batch = batch.slice(0, batch.num_rows().min(left));
        left -= batch.num_rows();
        if batch.num_rows() > 0 && send.send(Ok(Part::Rows(batch))).await.is_err() {
            return Ok(());
        }
        if is_cut {
            break;
        }
    }
    let _ = send.send(Ok(Part::End { is_cut })).await;
    Ok(())
}

//! Records over HTTP: OTLP at `/v1/traces` and `/v1/logs`, lines of any format at `/v1/ingest`.
//!
//! A request is answered with 200 once its rows are in the store for good. On the way it is unpacked (`body`), decoded on
//! a thread beside (here), and waits for its commit with all others that came meanwhile (`commit`). What is on the way
//! is bounded in bytes: when there is no room, the sender is told to come again.

mod body;
mod commit;
mod otlp;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Server;
use super::endpoint::{Endpoint, Needs};
use super::grant::Grant;
use super::problem::Problem;
use crate::error::Result;
use crate::ingest::format::Format;
use crate::ingest::{self, ContentMode, Decoded, Decoder, Mapping, PriceList, Tally};
use crate::schema::Micros;
use crate::store::{self, Store};
use body::Unpacked;
use commit::{Committer, Job};

/// What there is at most of records on their way, and how they are read.
#[derive(Debug, Clone)]
pub struct IntakeOptions {
    /// What becomes of text.
    pub content: ContentMode,
    /// What calls cost whose log does not say.
    pub prices: Arc<PriceList>,
    /// Where columns are looked for in records of no known format.
    pub mapping: Arc<Mapping>,
    /// Bytes of a request as it is sent.
    pub body: usize,
    /// Bytes of a request once it is unpacked.
    pub unpacked: usize,
    /// Bytes of memory for all requests on their way.
    pub memory: usize,
    /// Requests that wait for a commit.
    pub queue: usize,
    /// Commits follow one another at this distance at least; a lone request does not wait.
    pub every: std::time::Duration,
}

impl Default for IntakeOptions {
    fn default() -> Self {
        IntakeOptions {
            content: ContentMode::Off,
            prices: Arc::new(PriceList::builtin()),
            mapping: Arc::new(Mapping::builtin().clone()),
            body: 16 << 20,
            unpacked: 32 << 20,
            memory: 256 << 20,
            queue: 1024,
            every: std::time::Duration::from_millis(100),
        }
    }
}

/// Rows take about as many times the space of their text, on the way.
const SPACE: usize = 3;
/// Permits are for so many bytes.
const UNIT: usize = 1 << 10;

/// Takes records in.
pub(super) struct Intake {
    options: IntakeOptions,
    decoding: ingest::Options,
    /// Decoders that nobody uses right now.
    decoders: Mutex<Vec<Decoder>>,
    room: Arc<Semaphore>,
    committer: Committer,
}

impl Intake {
    /// Begins to take records into a store; no other process may do so at a time.
    pub(super) fn open(
        store: &Store,
        options: IntakeOptions,
        metrics: &Arc<super::metrics::Metrics>,
    ) -> Result<Intake> {
        Ok(Intake {
            decoding: ingest::Options {
                format: None,
                content: options.content,
                threads: 1,
                secret: *store.secret(),
                now: Micros(0),
                prices: Arc::clone(&options.prices),
                mapping: Arc::clone(&options.mapping),
            },
            decoders: Mutex::default(),
            room: Arc::new(Semaphore::new(options.memory / UNIT)),
            committer: Committer::start(store, &options, metrics)?,
            options,
        })
    }

    /// Takes no more, and waits for what is on its way.
    pub(super) fn close(&self) {
        self.committer.close();
    }

    /// Room for some bytes, or word that there is none.
    fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        Arc::clone(&self.room)
            .try_acquire_many_owned(units)
            .map_err(|_| full())
    }
}

fn full() -> Problem {
    Problem::busy(
        StatusCode::TOO_MANY_REQUESTS,
        "more records are on their way than there is room for",
    )
}

/// What became of a request.
#[derive(Debug, Default)]
struct Taken {
    tally: Tally,
    /// Why it could not be read to its end.
    failed: Option<String>,
    /// Whether it had been taken before, and nothing was added.
    is_known: bool,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let of = |path, handler, operation| Endpoint {
        path,
        method: Method::POST,
        needs: Needs::Ingest,
        handler,
        operation,
    };
    vec![
        of("/v1/traces", post(otlp::traces), otlp::operation("spans")),
        of("/v1/logs", post(otlp::logs), otlp::operation("log records")),
        of("/v1/ingest", post(lines), described()),
    ]
}

fn described() -> Value {
    json!({
        "summary": "Take records of any known format",
        "description": "What `inferwatch ingest` reads from a file: lines of JSON, one document, CSV, Parquet; also packed by gzip \
                        or zstd. Answered once the rows are durable. Sending it again, or again under the same \
                        `Idempotency-Key`, adds nothing.",
        "parameters": [
            super::api::parameter("format", "string", "the format of every record, when it is not to be recognised"),
            {"name": "Idempotency-Key", "in": "header", "required": false, "schema": {"type": "string"},
             "description": "by what the request is known; by its content when not given"},
        ],
        "requestBody": {"required": true, "content": {"application/x-ndjson": {}, "application/json": {}}},
        "responses": {
            "200": {"description": "the rows are in the store: what was counted", "content": {"application/json": {}}},
            "413": {"description": "more than is taken at once"},
            "429": {"description": "no room; come again after `Retry-After`"},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    })
}

async fn lines(
    State(server): State<Server>,
    Extension(grant): Extension<Arc<Grant>>,
    request: Request,
) -> Result<Response, Problem> {
    let mut format = None;
    for (name, value) in super::api::parameters(request.uri().query()) {
        match name.as_str() {
            "format" if value == "auto" => format = None,
            "format" => {
                let known = Format::from_name(&value);
                format = Some(known.ok_or_else(|| {
                    Problem::bad_request(format!("no format is called `{value}`"))
                })?);
            }
            _ => return Err(Problem::bad_request(format!("`{name}` is not known here"))),
        }
    }
    let intake = server.intake()?;
    let (parts, body) = request.into_parts();
    let unpacked = body::read(intake, &parts.headers, body).await?;
    let label = format.map_or("any", Format::name);
    let taken = take(&server, &grant, &parts.headers, unpacked, format, label).await?;
    let mut answer = json!({
        "records": taken.tally.total_records(),
        "rows": taken.tally.rows,
        "quarantined": taken.tally.quarantined,
        "skipped": taken.tally.skipped,
        "duplicate": taken.is_known,
    });
    if let Some(failed) = taken.failed {
        answer["failed"] = failed.into();
    }
    Ok(super::api::json_answer(&answer))
}

/// Decodes an unpacked request and waits until its rows are in the store.
async fn take(
    server: &Server,
    grant: &Grant,
    headers: &HeaderMap,
    unpacked: Unpacked,
    format: Option<Format>,
    label: &'static str,
) -> Result<Taken, Problem> {
    let request = identity(grant, headers, &unpacked.content, label)?;
    let intake = server.intake()?;
    if let Some(answer) = intake.committer.known(&request)? {
        return Ok(answer);
    }
    let Unpacked { content, room } = unpacked;
    let bytes = content.len();
    let asked = server.clone();
    let name = format!("http:{}", grant.name);
    // Parsing takes long enough to hold up others that share the thread.
    let decoded = tokio::task::spawn_blocking(move || asked.decode(&name, content, format));
    let decoded = decoded.await.map_err(Problem::internal)??;
    server.metrics().decoded(label, &decoded, bytes);
    if let (Some(failed), true) = (&decoded.failed, decoded.tally.total_records() == 0) {
        return Err(Problem::bad_request(failed.clone()));
    }
    let (reply, replied) = oneshot::channel();
    intake.committer.send(Job {
        request,
        batches: decoded.batches,
        reply,
        room,
    })?;
    let is_known = replied
        .await
        .map_err(|_| Problem::internal("no commit is made any more"))??;
    Ok(match is_known {
        true => Taken {
            is_known,
            ..Taken::default()
        },
        false => Taken {
            tally: decoded.tally,
            failed: decoded.failed,
            is_known,
        },
    })
}

impl Server {
    fn decode(
        &self,
        name: &str,
        content: Arc<[u8]>,
        format: Option<Format>,
    ) -> Result<Decoded, Problem> {
        let intake = self.intake()?;
        let idle = || {
            intake
                .decoders
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let decoder = idle().pop();
        let mut decoder = decoder.unwrap_or_else(|| Decoder::new(&intake.decoding));
        let now = Micros(chrono::Utc::now().timestamp_micros());
        let decoded = decoder.decode(name, content, format, now, intake.options.unpacked);
        // One that has panicked is not given back.
        idle().push(decoder);
        decoded.map_err(|_| body::too_large(intake.options.unpacked))
    }
}

/// By what a request is known.
fn identity(
    grant: &Grant,
    headers: &HeaderMap,
    content: &[u8],
    label: &str,
) -> Result<store::Request, Problem> {
    let mut of_content = blake3::Hasher::new();
    of_content
        .update(label.as_bytes())
        .update(&[0])
        .update(content);
    let of_content = of_content.finalize();
    let key = match headers.get("idempotency-key") {
        None => of_content,
        Some(key) if key.len() > 256 => {
            return Err(Problem::bad_request(
                "`Idempotency-Key` is longer than 256 bytes",
            ));
        }
        // A name that one sender has chosen means nothing to another.
        Some(key) => {
            let mut hash = blake3::Hasher::new();
            hash.update(b"key\0").update(grant.name.as_bytes());
            hash.update(&[0]).update(key.as_bytes());
            hash.finalize()
        }
    };
    let mut request = store::Request {
        key: [0; 16],
        content: [0; 8],
    };
    request.key.copy_from_slice(&key.as_bytes()[..16]);
    request.content.copy_from_slice(&of_content.as_bytes()[..8]);
    Ok(request)
}

//! The server's own numbers, as Prometheus reads them. Labels are names from short lists, and never values of rows.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};
use serde_json::json;

use super::Server;
use super::endpoint::{Endpoint, Needs};
use super::problem::Problem;
use crate::detect::Sources;
use crate::ingest::Decoded;
use crate::schema::Table;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFormat {
    format: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTable {
    table: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRequest {
    path: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySource {
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySeverity {
    severity: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// In microseconds.
const DAY: i64 = 86_400_000_000;

/// Metrics in the making: the registry knows each as soon as there is one.
struct Making(Registry);

impl Making {
    fn plain<M: Metric + Clone + Default>(&mut self, name: &str, about: &str) -> M {
        let metric = M::default();
        self.0.register(name, about, metric.clone());
        metric
    }

    fn of_unit<M: Metric + Clone + Default>(&mut self, name: &str, about: &str, unit: Unit) -> M {
        let metric = M::default();
        self.0.register_with_unit(name, about, unit, metric.clone());
        metric
    }

    /// From a millisecond to half a minute.
    fn times(&mut self, name: &str, about: &str) -> Histogram {
        let metric = Histogram::new(exponential_buckets(0.001, 2.0, 16));
        self.0
            .register_with_unit(name, about, Unit::Seconds, metric.clone());
        metric
    }

    /// From one to two thousand.
    fn sizes(&mut self, name: &str, about: &str) -> Histogram {
        let metric = Histogram::new(exponential_buckets(1.0, 2.0, 12));
        self.0.register(name, about, metric.clone());
        metric
    }
}

/// What is counted as it happens, and what is looked up when somebody asks.
pub(super) struct Metrics {
    registry: Mutex<Registry>,
    records: Family<ByFormat, Counter>,
    rows: Family<ByTable, Counter>,
    bytes: Family<ByFormat, Counter>,
    quarantined: Family<ByFormat, Counter>,
    requests: Family<ByRequest, Counter>,
    commits: Family<ByResult, Counter>,
    commit_time: Histogram,
    commit_requests: Histogram,
    /// Requests that wait for a commit.
    pub(super) queue: Gauge,
    queries: Family<ByResult, Counter>,
    query_time: Histogram,
    lag: Family<BySource, Gauge<f64, AtomicU64>>,
    /// How far each source has come, as far as is known.
    reached: Mutex<BTreeMap<String, i64>>,
    findings: Family<BySeverity, Gauge>,
    files: Family<ByTable, Gauge>,
    file_bytes: Family<ByTable, Gauge>,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let mut all = Making(Registry::with_prefix("inferwatch"));
        let metrics = Metrics {
            registry: Mutex::default(),
            records: all.plain("ingest_records", "Records decoded"),
            rows: all.plain("ingest_rows", "Rows made of them"),
            bytes: all.of_unit("ingest", "Bytes of records, unpacked", Unit::Bytes),
            quarantined: all.plain("ingest_quarantined", "Records that could not be read"),
            requests: all.plain("http_requests", "Requests answered"),
            commits: all.plain("commits", "Commits of records"),
            commit_time: all.times("commit_duration", "Time that a commit takes"),
            commit_requests: all.sizes("commit_requests", "Requests that share a commit"),
            queue: all.plain("ingest_queue", "Requests that wait for a commit"),
            queries: all.plain("queries", "Queries"),
            query_time: all.times("query_duration", "Time until the last row of a query"),
            lag: all.of_unit(
                "source_lag",
                "Time since the last event of a source",
                Unit::Seconds,
            ),
            reached: Mutex::default(),
            findings: all.plain("findings_open", "Findings that are open"),
            files: all.plain("store_files", "Files of a table"),
            file_bytes: all.of_unit("store", "Bytes of a table's files", Unit::Bytes),
        };
        let build: Family<Build, Gauge> = all.plain("build_info", "The version that runs");
        build
            .get_or_create(&Build {
                version: env!("CARGO_PKG_VERSION"),
            })
            .set(1);
        Metrics {
            registry: Mutex::new(all.0),
            ..metrics
        }
    }

    /// A request's records were decoded.
    pub(super) fn decoded(&self, label: &'static str, decoded: &Decoded, bytes: usize) {
        for (format, count) in &decoded.tally.records {
            self.records
                .get_or_create(&ByFormat { format })
                .inc_by(*count);
        }
        for (table, count) in &decoded.tally.rows {
            self.rows.get_or_create(&ByTable { table }).inc_by(*count);
        }
        self.bytes
            .get_or_create(&ByFormat { format: label })
            .inc_by(bytes as u64);
        let quarantined: u64 = decoded.tally.quarantined.values().sum();
        self.quarantined
            .get_or_create(&ByFormat { format: label })
            .inc_by(quarantined);
    }

    /// A commit was made, or was not.
    pub(super) fn committed(&self, is_done: bool, requests: usize, elapsed: Duration) {
        self.commits.get_or_create(&result(is_done)).inc();
        self.commit_time.observe(elapsed.as_secs_f64());
        self.commit_requests.observe(requests as f64);
    }

    /// A request was answered. `path` is the endpoint's, not what was asked for.
    pub(super) fn answered(&self, path: Option<&str>, status: u16) {
        let path = path.unwrap_or("other").to_owned();
        self.requests
            .get_or_create(&ByRequest { path, status })
            .inc();
    }

    /// A query has ended.
    pub(super) fn queried(&self, is_done: bool, elapsed: Duration) {
        self.queries.get_or_create(&result(is_done)).inc();
        self.query_time.observe(elapsed.as_secs_f64());
    }
}

fn result(is_done: bool) -> ByResult {
    ByResult {
        result: if is_done { "ok" } else { "failed" },
    }
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        path: "/metrics",
        method: Method::GET,
        needs: Needs::Metrics,
        handler: get(text),
        operation: json!({
            "summary": "The server's own numbers, for Prometheus",
            "responses": {
                "200": {"description": "in the OpenMetrics format", "content": {"application/openmetrics-text": {}}},
                "default": {"$ref": "#/components/responses/Problem"},
            },
        }),
    }]
}

async fn text(State(server): State<Server>) -> Result<Response, Problem> {
    let asked = server.clone();
    let looked_up = server
        .query_threads()
        .spawn(async move { look_up(&asked).await });
    looked_up.await.map_err(Problem::internal)??;
    let mut text = String::new();
    let registry = server.metrics().registry.lock();
    let registry = registry.unwrap_or_else(PoisonError::into_inner);
    encode(&mut text, &registry).map_err(Problem::internal)?;
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    );
    Ok(response)
}

/// What is known of the store when it is asked.
async fn look_up(server: &Server) -> Result<(), Problem> {
    let (store, metrics) = (server.store(), server.metrics());
    for table in Table::ALL {
        let snapshot = store.snapshot(table)?;
        let table = ByTable {
            table: table.name(),
        };
        metrics
            .files
            .get_or_create(&table)
            .set(snapshot.len() as i64);
        metrics
            .file_bytes
            .get_or_create(&table)
            .set(snapshot.bytes());
    }
    let context = server.own_session().await?;
    let now = chrono::Utc::now().timestamp_micros();
    let reached = || {
        metrics
            .reached
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    };
    // All that there is, once; from then on what may have come since.
    let since = (!reached().is_empty()).then_some(now - DAY);
    let Sources(sources) = Sources::of(store, &context, since).await?;
    for source in sources {
        let come = source.reached();
        let mut reached = reached();
        let known = reached.entry(source.name).or_insert(come);
        *known = come.max(*known);
    }
    for (source, at) in reached().iter() {
        let source = BySource {
            source: source.clone(),
        };
        let lag = now.saturating_sub(*at) as f64 / 1e6;
        metrics.lag.get_or_create(&source).set(lag);
    }
    let sql = "SELECT severity, count(*) AS findings FROM findings_now WHERE status = 'open' GROUP BY severity";
    let rows = async { context.sql(sql).await?.collect().await };
    let rows = rows.await.map_err(crate::Error::from)?;
    let mut open: Vec<(&str, i64)> = ["info", "low", "medium", "high", "critical"]
        .map(|severity| (severity, 0))
        .into();
    for row in super::api::objects(&rows, &[])? {
        let severity = open
            .iter_mut()
            .find(|(severity, _)| row["severity"].as_str() == Some(severity));
        if let (Some((_, count)), Some(number)) = (severity, row["findings"].as_i64()) {
            *count = number;
        }
    }
    for (severity, count) in open {
        let severity = BySeverity {
            severity: severity.to_owned(),
        };
        metrics.findings.get_or_create(&severity).set(count);
    }
    Ok(())
}

//! `inferwatch serve`: the store over the network, for who has a token.
//!
//! In the order in which a request meets them: `listen` takes the connection (with `tls`), `guard` looks at where it is
//! from and counts, `endpoint` finds the handler and checks the token (`grant`), `tables` makes the session in which
//! nothing exists but what the token opens (`barrier` for rows), `ask` runs a query in it. What goes wrong is a
//! `problem`.
//!
//! A new endpoint is an entry in the list of its module, and that list an entry of `endpoints` below: path, method, what
//! a token needs, handler, description. The handler takes `Extension<Arc<Grant>>` for who asks and `State<Server>` for
//! `Server::ask`.

mod api;
mod ask;
mod barrier;
mod dashboard;
mod endpoint;
mod grant;
mod guard;
mod health;
mod intake;
mod listen;
mod login;
mod metrics;
mod pg;
mod problem;
mod reads;
mod tables;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datafusion::prelude::SessionContext;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::catalog::{Dashboards, Pack};
use crate::error::{Error, Result};
use crate::session::SessionOptions;
use crate::store::{Rights, Store, Token};
use dashboard::Kept;
use endpoint::Endpoint;
use grant::{Grant, Grants};
use guard::Rates;
use intake::Intake;
use metrics::Metrics;
use pg::Postgres;
use problem::Problem;
use tables::Sessions;
use tls::Tls;

pub use intake::IntakeOptions;
pub(crate) use tables::{is_restricted, names, opened};
pub use tls::TlsFiles;

/// What there is at most of everything.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Requests at a time.
    pub requests: usize,
    /// Requests a second of one token, with twice as many for a moment.
    pub rate: u32,
    /// Until the headers of a request are there, and until the next request begins.
    pub header_time: Duration,
    /// Until all of a request has come. Until it is answered there is [`Self::query_time`] beside.
    pub request_time: Duration,
    /// Until a peer takes more of what it is sent.
    pub write_time: Duration,
    /// Until requests that are being answered have ended, once the server stops.
    pub stop_time: Duration,
    /// Queries at a time.
    pub queries: usize,
    /// Until a query has given its last row.
    pub query_time: Duration,
    /// Rows of one query.
    pub rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 512,
            requests: 256,
            rate: 1000,
            header_time: Duration::from_secs(10),
            request_time: Duration::from_secs(60),
            write_time: Duration::from_secs(30),
            stop_time: Duration::from_secs(20),
            queries: 8,
            query_time: Duration::from_secs(30),
            rows: 100_000,
        }
    }
}

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen for HTTP.
    pub listen: SocketAddr,
    /// Where to listen for the Postgres protocol; not at all when `None`.
    pub postgres: Option<SocketAddr>,
    /// Whether a password may come in clear text from another machine.
    pub insecure: bool,
    /// By which names, beside addresses and `localhost`, the server is called.
    pub hosts: Vec<String>,
    /// For TLS.
    pub tls: Option<TlsFiles>,
    /// The session of queries, but for its tables.
    pub session: SessionOptions,
    /// What there is at most.
    pub limits: Limits,
    /// How records are taken in; not at all when `None`.
    pub intake: Option<IntakeOptions>,
    /// The rules that it tells of.
    pub rules: Arc<Pack>,
    /// The boards that it shows.
    pub dashboards: Arc<Dashboards>,
    /// A token for this run only.
    pub passing_token: Option<Token>,
}

/// Something to tell the person who runs the server.
#[derive(Debug)]
pub enum Event<'e> {
    /// Connections are taken.
    Listening {
        /// For HTTP.
        http: SocketAddr,
        /// For the Postgres protocol.
        postgres: Option<SocketAddr>,
    },
    /// The files for TLS are others than before.
    Certificate {
        /// Why they cannot be used: those from before are.
        trouble: Option<&'e str>,
    },
    /// A request was answered.
    Request {
        /// Who asked.
        peer: SocketAddr,
        /// With which token.
        token: Option<&'e str>,
        /// How.
        method: &'e str,
        /// For what.
        path: &'e str,
        /// With what success.
        status: u16,
        /// After how long.
        elapsed: Duration,
        /// What the asker was not told.
        trouble: Option<&'e str>,
    },
}

/// Who is told.
pub type Observer = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// What every request has at hand. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Server(Arc<Inner>);

struct Inner {
    store: Store,
    options: Options,
    grants: Grants,
    sessions: Sessions,
    rates: Rates,
    requests: Semaphore,
    queries: Arc<Semaphore>,
    query_threads: Handle,
    intake: Option<Intake>,
    kept: Kept,
    metrics: Arc<Metrics>,
    observer: Observer,
    is_stopping: AtomicBool,
}

impl Server {
    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// The session of a token: the tables in it are those that it opens, with the rows that it opens.
    async fn session(&self, grant: &Grant, is_postgres: bool) -> Result<SessionContext> {
        self.0
            .sessions
            .of(&grant.rights, &grant.name, is_postgres)
            .await
    }

    pub(crate) fn pack(&self) -> &Arc<Pack> {
        &self.0.options.rules
    }

    fn dashboards(&self) -> &Dashboards {
        &self.0.options.dashboards
    }

    fn kept(&self) -> &Kept {
        &self.0.kept
    }

    /// The session for what the server asks itself: everything is in it but text.
    async fn own_session(&self) -> Result<SessionContext> {
        let rights = Rights {
            all: true,
            ..Rights::default()
        };
        self.0.sessions.of(&rights, "", false).await
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn intake(&self) -> Result<&Intake, Problem> {
        let none = || Problem::not_found("this server takes no records");
        self.0.intake.as_ref().ok_or_else(none)
    }

    fn grants(&self) -> &Grants {
        &self.0.grants
    }

    fn rates(&self) -> &Rates {
        &self.0.rates
    }

    fn limits(&self) -> &Limits {
        &self.0.options.limits
    }

    fn requests(&self) -> &Semaphore {
        &self.0.requests
    }

    fn queries(&self) -> &Arc<Semaphore> {
        &self.0.queries
    }

    fn query_threads(&self) -> &Handle {
        &self.0.query_threads
    }

    fn hosts(&self) -> &[String] {
        &self.0.options.hosts
    }

    fn is_tls(&self) -> bool {
        self.0.options.tls.is_some()
    }

    fn is_ready(&self) -> bool {
        !self.0.is_stopping.load(Ordering::Relaxed)
            && self.0.store.snapshot(crate::schema::Table::Calls).is_ok()
    }

    /// For the next connection that is encrypted.
    fn acceptor(&self, tls: &Tls) -> TlsAcceptor {
        tls.acceptor(|read| {
            let trouble = read.err().map(|error| error.to_string());
            let trouble = trouble.as_deref();
            self.tell(&Event::Certificate { trouble });
        })
    }

    fn tell(&self, event: &Event<'_>) {
        (self.0.observer)(event);
    }
}

/// Everything that is answered.
fn endpoints() -> Vec<Endpoint> {
    [
        health::endpoints(),
        login::endpoints(),
        api::endpoints(),
        dashboard::endpoints(),
        intake::endpoints(),
        metrics::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Serves a store until `stop` is done; what is being answered then is answered to its end.
///
/// # Errors
/// When the address cannot be listened on, or certificate and key cannot be used.
pub async fn serve(
    store: Store,
    options: Options,
    observer: Observer,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let read = |protocols| match &options.tls {
        Some(files) => Tls::read(files, protocols).map(Some),
        None => Ok(None),
    };
    let tls = read(&["http/1.1"])?;
    let pg_tls = read(&["postgresql"])?.map(Arc::new);
    let (listener, http) = bind(options.listen).await?;
    let (pg_listener, postgres) = match options.postgres {
        None => (None, None),
        Some(address) => {
            let (listener, address) = bind(address).await?;
            (Some(listener), Some(address))
        }
    };
    let insecure = options.insecure;
    let limits = options.limits.clone();
    // Threads of their own: a query computes for seconds without a pause in which others could be answered.
    let query_threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.session.target_partitions.unwrap_or_else(threads))
        .thread_name("query")
        .thread_stack_size(crate::session::STACK)
        .enable_all()
        .build()
        .map_err(Error::io("start threads for", "queries"))?;
    let metrics = Arc::new(Metrics::new());
    let server = Server(Arc::new(Inner {
        grants: Grants::new(store.clone(), options.passing_token.clone()),
        sessions: Sessions::new(store.clone(), &options.session)?,
        rates: Rates::new(limits.rate),
        requests: Semaphore::new(limits.requests),
        queries: Arc::new(Semaphore::new(limits.queries)),
        intake: match &options.intake {
            Some(intake) => Some(Intake::open(&store, intake.clone(), &metrics)?),
            None => None,
        },
        kept: Kept::default(),
        metrics,
        query_threads: query_threads.handle().clone(),
        store,
        options,
        observer,
        is_stopping: AtomicBool::new(false),
    }));
    let router = endpoint::router(&server, endpoints());
    let (tell_stop, told_stop) = watch::channel(false);
    server.tell(&Event::Listening { http, postgres });
    let accepting = listen::accept(listener, &limits, told_stop.clone(), |stream, peer| {
        listen::http(
            stream,
            peer,
            tls.as_ref().map(|tls| server.acceptor(tls)),
            router.clone(),
            limits.clone(),
            told_stop.clone(),
        )
    });
    let of_postgres = Postgres {
        server: server.clone(),
        tls: pg_tls,
        connections: Arc::default(),
        insecure,
    };
    let accepting_postgres = async {
        let Some(listener) = pg_listener else { return };
        let each =
            |stream, peer| pg::connection(stream, peer, of_postgres.clone(), told_stop.clone());
        listen::accept(listener, &limits, told_stop.clone(), each).await;
    };
    let stopping = async {
        stop.await;
        server.0.is_stopping.store(true, Ordering::Relaxed);
        // Whoever listens for it is in this function.
        let _ = tell_stop.send(true);
    };
    tokio::join!(accepting, accepting_postgres, stopping);
    if let Ok(intake) = server.intake() {
        intake.close();
    }
    query_threads.shutdown_background();
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let failed = || Error::io("listen on", address.to_string());
    let listener = TcpListener::bind(address).await.map_err(failed())?;
    let address = listener.local_addr().map_err(failed())?;
    Ok((listener, address))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

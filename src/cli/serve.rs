//! `inferwatch serve`: the store over the network.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueHint;
use clap::builder::FalseyValueParser;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::dashboard::DashboardFiles;
use super::ingest::warn_of_clear_text;
use super::run::Evaluation;
use super::schedule::{self, Going, Teller};
use super::{CLEAR, Global, interrupt};
use crate::catalog::{Pack, Span};
use crate::error::{Error, Result};
use crate::ingest;
use crate::output::{self, escape::visible};
use crate::schedule::Stop;
use crate::serve::{Event, IntakeOptions, Limits, Options, TlsFiles, serve};
use crate::session::SessionOptions;
use crate::sinks::Running;
use crate::size;
use crate::store::{Rights, Store, Token};

const LONG: &str = "\
Nothing but `/healthz` and `/readyz` answers without a token, on loopback neither: every user, container and
browser page of a machine reaches that. `inferwatch token new` makes one. While there is none, and on a
terminal, one for this run is printed.

Examples:
  On this machine, for this machine; the dashboard is at http://127.0.0.1:7437/ and asks for the token:
    inferwatch serve
    curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:7437/api/query --data 'SELECT count(*) FROM calls'
  For others, with TLS:
    inferwatch serve --listen 0.0.0.0:7437 --tls-cert chain.pem --tls-key key.pem --allow-host logs.example.com

Beside that it does what `inferwatch run` does, with the same flags: rules when they are due, landing folders
(`--follow`), maintenance, sinks; `--no-schedule` leaves that out. `--content`, `--prices` and `--mapping` hold
for what is sent as for what lands.

On standard error: one line a request (status, time, method, path, peer, token), but not with `--quiet`.
The first line says where it listens; port 0 takes any that is free. Ctrl-C or SIGTERM stops it when what is
being answered has been.";

/// Do what `run` does, with the dashboard, HTTP and the Postgres protocol
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    /// Address and port for HTTP
    #[arg(
        long,
        env = "INFERWATCH_SERVE_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:7437"
    )]
    listen: SocketAddr,
    /// Address and port for the Postgres protocol, or `none`
    #[arg(
        long,
        env = "INFERWATCH_SERVE_PG_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:5437",
        value_parser = parse_postgres
    )]
    pg_listen: Postgres,
    /// A name by which the server is called, beside addresses and `localhost`; can be given again
    #[arg(
        long,
        env = "INFERWATCH_SERVE_ALLOW_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    allow_host: Vec<String>,
    /// Certificate chain for TLS, in PEM
    #[arg(long, env = "INFERWATCH_SERVE_TLS_CERT", value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, env = "INFERWATCH_SERVE_TLS_KEY", value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Listen beyond this machine without TLS, as behind a proxy that has it
    #[arg(long, env = "INFERWATCH_SERVE_INSECURE", value_parser = FalseyValueParser::new())]
    insecure: bool,
    /// Only answer: evaluate no rule, follow no folder, keep nothing in shape
    #[arg(long, env = "INFERWATCH_SERVE_NO_SCHEDULE", value_parser = FalseyValueParser::new())]
    no_schedule: bool,
    #[command(flatten)]
    dashboards: DashboardFiles,

    /// Least time from one commit to the next; what is sent meanwhile shares one
    #[arg(
        long,
        env = "INFERWATCH_SERVE_COMMIT_EVERY",
        value_name = "SPAN",
        default_value = "100ms",
        help_heading = "Records"
    )]
    commit_every: Span,
    /// Largest request, as it is sent
    #[arg(
        long,
        env = "INFERWATCH_SERVE_MAX_BODY",
        value_name = "SIZE",
        default_value = "16MiB",
        value_parser = size::parse,
        help_heading = "Records"
    )]
    max_body: usize,
    /// Largest request, once it is unpacked
    #[arg(
        long,
        env = "INFERWATCH_SERVE_MAX_UNPACKED",
        value_name = "SIZE",
        default_value = "32MiB",
        value_parser = size::parse,
        help_heading = "Records"
    )]
    max_unpacked: usize,
    /// Memory for records on their way; beyond it senders are told to come again
    #[arg(
        long,
        env = "INFERWATCH_SERVE_INGEST_MEMORY",
        value_name = "SIZE",
        default_value = "256MiB",
        value_parser = size::parse,
        help_heading = "Records"
    )]
    ingest_memory: usize,

    /// Memory for all queries together; beyond it they spill to disk
    #[arg(
        long,
        env = "INFERWATCH_SERVE_MEMORY_LIMIT",
        value_name = "SIZE",
        default_value = "1GiB",
        value_parser = size::parse,
        help_heading = "Limits"
    )]
    memory_limit: usize,
    /// Threads for queries; one per processor by default
    #[arg(
        long,
        env = "INFERWATCH_SERVE_QUERY_THREADS",
        value_name = "N",
        value_parser = super::sql::parse_threads,
        help_heading = "Limits"
    )]
    query_threads: Option<usize>,
    /// Queries at a time
    #[arg(
        long,
        env = "INFERWATCH_SERVE_MAX_QUERIES",
        value_name = "N",
        default_value_t = 8,
        help_heading = "Limits"
    )]
    max_queries: usize,
    /// How long a query may take
    #[arg(
        long,
        env = "INFERWATCH_SERVE_QUERY_TIME",
        value_name = "SPAN",
        default_value = "30s",
        help_heading = "Limits"
    )]
    query_time: Span,
    /// How long a request may take to come; its headers, and a password of Postgres, ten seconds at most
    #[arg(
        long,
        env = "INFERWATCH_SERVE_REQUEST_TIME",
        value_name = "SPAN",
        default_value = "60s",
        help_heading = "Limits"
    )]
    request_time: Span,
    /// Most rows that a query gives
    #[arg(
        long,
        env = "INFERWATCH_SERVE_MAX_ROWS",
        value_name = "N",
        default_value_t = 100_000,
        help_heading = "Limits"
    )]
    max_rows: usize,
    /// Requests a second of one token; twice as many for a moment
    #[arg(
        long,
        env = "INFERWATCH_SERVE_RATE",
        value_name = "N",
        default_value_t = 1000,
        help_heading = "Limits"
    )]
    rate: u32,
    /// Connections at a time
    #[arg(
        long,
        env = "INFERWATCH_SERVE_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = 512,
        help_heading = "Limits"
    )]
    max_connections: usize,

    #[command(flatten)]
    evaluation: Evaluation,
    #[command(flatten)]
    going: Going,
}

/// Where the Postgres protocol is spoken, if it is.
#[derive(Debug, Clone, Copy)]
struct Postgres(Option<SocketAddr>);

fn parse_postgres(text: &str) -> Result<Postgres, String> {
    match text {
        "none" => Ok(Postgres(None)),
        address => match address.parse() {
            Ok(address) => Ok(Postgres(Some(address))),
            Err(_) => Err("expected an address with a port, as 127.0.0.1:5437, or `none`".into()),
        },
    }
}

/// Serves until it is told to stop.
///
/// # Errors
/// When the store cannot be opened, or the address is not to be listened on.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let runtime = super::runtime(None)?;
    let store = global.open_or_create_store()?;
    let decoding = args.going.decoding(1)?;
    warn_of_clear_text(&store, decoding.content, global)?;
    let pack = Arc::new(args.evaluation.pack()?);
    let options = options(args, global, &store, &decoding, &pack)?;
    let signal = interrupt::signalled(&runtime)?;
    let stop = Stop::default();
    let beside = match args.no_schedule {
        true => None,
        false => Some(Beside::start(args, global, &runtime, &store, &pack, &stop)?),
    };
    let quiet = global.quiet;
    let observer = Arc::new(move |event: &Event<'_>| tell(event, quiet));
    let served = runtime.block_on(serve(store, options, observer, async {
        signal.await;
        stop.stop();
    }));
    // Also when it could not begin.
    stop.stop();
    let scheduled = beside.map_or(Ok(()), |beside| beside.end(&runtime));
    served?;
    scheduled?;
    runtime.shutdown_background();
    Ok(ExitCode::from(CLEAR))
}

/// What goes on beside the answers: the scheduler, and delivery to sinks.
struct Beside {
    scheduler: JoinHandle<Result<()>>,
    delivery: Option<Running>,
}

impl Beside {
    fn start(
        args: &Args,
        global: &Global,
        runtime: &Runtime,
        store: &Store,
        pack: &Pack,
        stop: &Stop,
    ) -> anyhow::Result<Beside> {
        let settings = args.evaluation.options(runtime, pack)?;
        let settings = args.going.settings(settings)?;
        let rules = args.evaluation.rules(pack)?;
        // Before the first evaluation: what it finds is told by sinks that are new as well.
        let delivery = schedule::deliver(runtime, store, &rules, global)?;
        let wanted = Pack {
            rules: rules.into_iter().cloned().collect(),
            ..pack.clone()
        };
        let mut teller = Teller::new(global.clone());
        let scheduler = crate::schedule::spawn(
            runtime.handle(),
            store.clone(),
            Arc::new(wanted),
            settings,
            stop.clone(),
            move |event| teller.tell(event),
        );
        Ok(Beside {
            scheduler,
            delivery,
        })
    }

    /// Waits for what has begun. It has been told to stop.
    fn end(self, runtime: &Runtime) -> anyhow::Result<()> {
        let scheduled = runtime.block_on(self.scheduler);
        if let Some(delivery) = self.delivery {
            delivery.stop();
        }
        Ok(scheduled.context("the scheduler")??)
    }
}

fn options(
    args: &Args,
    global: &Global,
    store: &Store,
    decoding: &ingest::Options,
    pack: &Arc<Pack>,
) -> anyhow::Result<Options> {
    let now = chrono::Utc::now().timestamp_micros();
    let has_token = store.tokens()?.iter().any(|token| token.is_valid_at(now));
    let mut addresses = std::iter::once(args.listen).chain(args.pg_listen.0);
    let elsewhere = addresses.find(|address| !address.ip().is_loopback());
    if let (Some(address), false) = (elsewhere, has_token) {
        return Err(Error::Usage {
            message: format!("`{address}` is reached from elsewhere, and there is no token"),
            hint: Some("make one first: `inferwatch token new NAME --all`".into()),
        }
        .into());
    }
    if let (Some(address), None, false) = (elsewhere, &args.tls_cert, args.insecure) {
        return Err(Error::Usage {
            message: format!("`{address}` is reached from elsewhere, and there is no TLS"),
            hint: Some(
                "give `--tls-cert` and `--tls-key`, or `--insecure` behind a proxy that has it"
                    .into(),
            ),
        }
        .into());
    }
    let passing_token = match has_token {
        true => None,
        false => passing_token(global, now)?,
    };
    let request_time = duration(args.request_time);
    Ok(Options {
        listen: args.listen,
        postgres: args.pg_listen.0,
        insecure: args.insecure,
        hosts: args.allow_host.clone(),
        tls: args
            .tls_cert
            .clone()
            .zip(args.tls_key.clone())
            .map(|(certificate, key)| TlsFiles { certificate, key }),
        session: SessionOptions {
            memory_limit: args.memory_limit,
            target_partitions: args.query_threads,
            spill_parent: Some(global.store.join("spill")),
            ..SessionOptions::default()
        },
        limits: Limits {
            header_time: request_time.min(Limits::default().header_time),
            request_time,
            connections: args.max_connections.max(1),
            rate: args.rate.max(1),
            queries: args.max_queries.max(1),
            query_time: duration(args.query_time),
            rows: args.max_rows,
            ..Limits::default()
        },
        intake: Some(intake(args, decoding)),
        rules: Arc::clone(pack),
        dashboards: Arc::new(args.dashboards.read()?),
        passing_token,
    })
}

fn duration(span: Span) -> Duration {
    Duration::from_micros(span.0.unsigned_abs())
}

fn intake(args: &Args, decoding: &ingest::Options) -> IntakeOptions {
    IntakeOptions {
        content: decoding.content,
        prices: Arc::clone(&decoding.prices),
        mapping: Arc::clone(&decoding.mapping),
        body: args.max_body,
        unpacked: args.max_unpacked,
        // Room for one request at least.
        memory: args.ingest_memory.max(4 * args.max_unpacked),
        every: duration(args.commit_every),
        ..IntakeOptions::default()
    }
}

/// For who tries it out: a token that is nowhere but on this screen, and ends with the process. Where nobody watches,
/// what is printed ends in a log, and so there is none.
fn passing_token(global: &Global, now: i64) -> Result<Option<Token>> {
    if !std::io::stderr().is_terminal() {
        global.note(
            "no token yet: only health is answered; `inferwatch token new NAME --all` makes one",
        );
        return Ok(None);
    }
    let rights = Rights {
        all: true,
        ingest: true,
        triage: true,
        metrics: true,
        ..Rights::default()
    };
    let (token, secret) = Token::issue("this-run", rights, now, None)?;
    output::note(&format!(
        "no token yet; for this run, and for all but prompts: {secret}"
    ));
    Ok(Some(token))
}

fn tell(event: &Event<'_>, quiet: bool) {
    match event {
        Event::Listening { http, postgres } => {
            let postgres = postgres.map(|address| format!(" postgres={address}"));
            let postgres = postgres.unwrap_or_default();
            output::note(&format!("inferwatch: listening http={http}{postgres}"));
        }
        Event::Certificate { trouble: None } => {
            output::note("inferwatch: certificate and key were read again");
        }
        Event::Certificate {
            trouble: Some(trouble),
        } => output::note(&format!(
            "inferwatch: certificate and key stay as they were: {trouble}"
        )),
        Event::Request {
            peer,
            token,
            method,
            path,
            status,
            elapsed,
            trouble,
        } => {
            if let Some(trouble) = trouble {
                output::note(&format!(
                    "inferwatch: {method} {}: {}",
                    visible(path),
                    visible(trouble)
                ));
            }
            if !quiet {
                let milliseconds = elapsed.as_secs_f64() * 1e3;
                output::note(&format!(
                    "{status} {milliseconds:.1}ms {method} {} {} {}",
                    visible(path),
                    peer.ip(),
                    token.unwrap_or("-"),
                ));
            }
        }
    }
}

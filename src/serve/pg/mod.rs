//! The Postgres wire protocol, for psql, drivers and what is built on them.
//!
//! `pgwire` reads and writes messages; here is what comes before them (TLS, limits on size and time) and the loop over
//! them. Nothing but a password is looked at before it was found to be a token, and a peer whose password is wrong is
//! sent away at once.

mod catalog;
mod phrases;
mod session;
mod stream;
mod words;

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use pgwire::api::cancel::DefaultCancelHandler;
use pgwire::api::{
    ClientInfo as _, ConnectionManager, DefaultClient, NoopHandler, PgWireConnectionState,
};
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::{Framed, FramedParts};

use super::Server;
use super::listen::{Timed, stopped};
use super::tls::Tls;
pub(super) use catalog::add as add_catalog;
use session::{Prepared, Session};
use stream::Bounded;

/// A pool keeps connections open; one that says nothing for so long is gone.
const IDLE: Duration = Duration::from_secs(3600);
/// What the first message may ask for in place of beginning.
const TLS_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// What all connections have in common.
#[derive(Clone)]
pub(super) struct Postgres {
    pub(super) server: Server,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) connections: Arc<ConnectionManager>,
    /// Whether a password may come in clear text from another machine.
    pub(super) insecure: bool,
}

/// Answers one connection.
pub(super) async fn connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    postgres: Postgres,
    stop: watch::Receiver<bool>,
) {
    let limits = postgres.server.limits().clone();
    let deadline = Instant::now() + limits.header_time;
    let beginning = match timeout_at(deadline, begin(&mut stream, postgres.tls.is_some())).await {
        Ok(Ok(beginning)) => beginning,
        // Too slow, or gone.
        _ => return,
    };
    let stream = Timed::new(stream, limits.write_time);
    // What goes wrong on the wire ends the connection; there is nobody to tell.
    let _ = match (beginning, &postgres.tls) {
        (Beginning::Tls, Some(tls)) => {
            let tls = postgres.server.acceptor(tls);
            let Ok(Ok(stream)) = timeout_at(deadline, tls.accept(stream)).await else {
                return;
            };
            messages(
                Bounded::new(stream),
                &[],
                peer,
                true,
                &postgres,
                deadline,
                stop,
            )
            .await
        }
        (Beginning::Tls, None) => return,
        (Beginning::Plain(first), _) => {
            messages(
                Bounded::new(stream),
                &first,
                peer,
                false,
                &postgres,
                deadline,
                stop,
            )
            .await
        }
    };
}

enum Beginning {
    Tls,
    /// The first bytes of a message, which have been read.
    Plain([u8; 8]),
}

/// Answers what is asked before the first message.
async fn begin(stream: &mut TcpStream, has_tls: bool) -> io::Result<Beginning> {
    // A client asks once for each.
    for _ in 0..3 {
        let mut first = [0; 8];
        stream.read_exact(&mut first).await?;
        let [a, b, c, d, e, f, g, h] = first;
        match (
            u32::from_be_bytes([a, b, c, d]),
            u32::from_be_bytes([e, f, g, h]),
        ) {
            (8, TLS_REQUEST) if has_tls => {
                stream.write_all(b"S").await?;
                return Ok(Beginning::Tls);
            }
            (8, TLS_REQUEST | GSS_REQUEST) => stream.write_all(b"N").await?,
            _ => return Ok(Beginning::Plain(first)),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

async fn messages<S>(
    stream: Bounded<S>,
    first: &[u8],
    peer: SocketAddr,
    is_secure: bool,
    postgres: &Postgres,
    deadline: Instant,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
{
    let may_send_password = is_secure || peer.ip().is_loopback() || postgres.insecure;
    let session = Arc::new(Session::new(postgres, peer, may_send_password));
    let cancel = Arc::new(DefaultCancelHandler::new(Arc::clone(&postgres.connections)));
    let codec = PgWireMessageServerCodec::<Prepared>::new(DefaultClient::new(peer, is_secure));
    let mut parts = FramedParts::new::<PgWireBackendMessage>(stream, codec);
    parts.io.count(first);
    parts.read_buf.extend_from_slice(first);
    let mut socket = Framed::from_parts(parts);
    socket.set_state(PgWireConnectionState::AwaitingStartup);
    loop {
        let is_open = session.is_open();
        let until = match is_open {
            true => Instant::now() + IDLE,
            false => deadline,
        };
        let message = tokio::select! {
            biased;
            _ = stopped(&mut stop) => return bye(&mut socket, "57P01", "the server is stopping").await,
            // The library takes counts inside a message at their word, and panics where nothing follows them. What it has
            // read by then is of no use, and the connection ends.
            message = timeout_at(until, AssertUnwindSafe(socket.next()).catch_unwind()) => message,
        };
        let message = match message {
            Ok(Ok(Some(Ok(message)))) => message,
            Ok(Ok(Some(Err(error)))) => return bye(&mut socket, "08P01", &error.to_string()).await,
            Ok(Err(_)) => return bye(&mut socket, "08P01", "a message that is none").await,
            Ok(Ok(None)) | Err(_) => return Ok(()),
        };
        if matches!(message, PgWireFrontendMessage::Terminate(_)) {
            return Ok(());
        }
        let is_extended = message.is_extended_query();
        let done = process_message(
            message,
            &mut socket,
            Arc::clone(&session),
            Arc::clone(&session),
            Arc::clone(&session),
            Arc::new(NoopHandler),
            Arc::clone(&cancel),
        )
        .await;
        let Err(error) = done else { continue };
        if !session.is_open() {
            let ErrorInfo { code, message, .. } = ErrorInfo::from(error);
            return bye(&mut socket, &code, &message).await;
        }
        timeout(
            postgres.server.limits().write_time,
            process_error(&mut socket, error, is_extended),
        )
        .await??;
    }
}

/// Says why the connection ends, and ends it.
async fn bye<S>(
    socket: &mut Framed<S, PgWireMessageServerCodec<Prepared>>,
    code: &str,
    message: &str,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
{
    let error = ErrorInfo::new("FATAL".into(), code.into(), message.into());
    socket
        .send(PgWireBackendMessage::ErrorResponse(error.into()))
        .await?;
    socket.close().await
}

/// An error that ends a connection.
fn fatal(code: &str, message: &str) -> PgWireError {
    let error = ErrorInfo::new("FATAL".into(), code.into(), message.into());
    PgWireError::UserError(Box::new(error))
}

//! Ctrl-C: the first stops the work, the second stops the program.

use std::future::Future;

use anyhow::Context as _;
use tokio::sync::oneshot;

use super::INTERRUPTED;
use crate::schedule::Stop;

/// The work's result, or `None` when Ctrl-C came first; the work has then been dropped.
///
/// Work that computes without ever yielding cannot be stopped this way, so a second Ctrl-C ends the process.
pub(super) async fn cancellable<T>(work: impl Future<Output = T>) -> Option<T> {
    let (tell, told) = oneshot::channel();
    let listener = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            let _ = tell.send(());
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(i32::from(INTERRUPTED));
            }
        } else {
            // Nothing will ever be told; keep the channel open, so that the work is not taken for stopped.
            std::future::pending::<()>().await;
        }
    });
    let result = tokio::select! {
        biased;
        _ = told => None,
        result = work => Some(result),
    };
    listener.abort();
    result
}

/// Stops what goes on with the first Ctrl-C or SIGTERM, in its own time; the second ends the program.
///
/// # Errors
/// When the system does not tell of signals.
pub(super) fn stop_on_signals(runtime: &tokio::runtime::Runtime, stop: Stop) -> anyhow::Result<()> {
    let _inside = runtime.enter();
    let mut signals = Signals::new().context("cannot wait for signals")?;
    runtime.spawn(async move {
        signals.next().await;
        stop.stop();
        let code = signals.next().await;
        std::process::exit(i32::from(code));
    });
    Ok(())
}

/// As [`stop_on_signals`], for who waits for the first signal itself.
///
/// # Errors
/// When the system does not tell of signals.
pub(super) fn signalled(
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let _inside = runtime.enter();
    let mut signals = Signals::new().context("cannot wait for signals")?;
    Ok(async move {
        signals.next().await;
        tokio::spawn(async move {
            let code = signals.next().await;
            std::process::exit(i32::from(code));
        });
    })
}

/// The signals that end a program, as the exit codes that shells report for them.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = self.terminate.recv() => TERMINATED,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {})
    }

    async fn next(&mut self) -> u8 {
        if tokio::signal::ctrl_c().await.is_err() {
            // Nothing will ever be told.
            std::future::pending::<()>().await;
        }
        INTERRUPTED
    }
}

/// Stopped by SIGTERM, as shells report it.
#[cfg(unix)]
const TERMINATED: u8 = 143;

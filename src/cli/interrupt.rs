//! Ctrl-C: the first stops the work, the second stops the program.

use std::future::Future;

use tokio::sync::oneshot;

use super::INTERRUPTED;

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

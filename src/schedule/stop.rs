//! How a scheduler is told to end, and how it sleeps until then.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Ends what goes on, from any thread. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Says that it is to end: what has begun is brought to its end, and nothing new is begun.
    pub fn stop(&self) {
        *self.state() = true;
        self.0.changed.notify_all();
    }

    /// Whether it is to end.
    pub fn is_stopped(&self) -> bool {
        *self.state()
    }

    /// Sleeps for some time, or until somebody stops it.
    pub(super) fn sleep(&self, time: Duration) {
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.state(), time, |is_stopped| !*is_stopped);
        drop(waited.expect("no thread panics with it"));
    }

    fn state(&self) -> MutexGuard<'_, bool> {
        self.0.is_stopped.lock().expect("no thread panics with it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_stopped_does_not_sleep() {
        let long = Duration::from_secs(600);
        let stop = Stop::default();
        let other = stop.clone();
        std::thread::scope(|scope| {
            scope.spawn(|| other.stop());
            stop.sleep(long);
        });
        assert!(stop.is_stopped());
        stop.sleep(long);
    }
}

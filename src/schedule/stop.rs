//! How a scheduler is told to end, and how it sleeps until then.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Ends what goes on, from any thread. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_stopped: bool,
    is_woken: bool,
}

impl Stop {
    /// Says that it is to end: what has begun is brought to its end, and nothing new is begun.
    pub fn stop(&self) {
        self.state().is_stopped = true;
        self.0.changed.notify_all();
    }

    /// Whether it is to end.
    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// Ends the sleep: there is something new to look at.
    pub fn wake(&self) {
        self.state().is_woken = true;
        self.0.changed.notify_all();
    }

    /// Sleeps for some time, or until somebody wakes or stops it.
    pub(super) fn sleep(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut state = self.state();
        while !state.is_stopped && !state.is_woken {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.expect("no thread panics with it").0;
        }
        state.is_woken = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no thread panics with it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_stopped_or_woken_does_not_sleep() {
        let long = Duration::from_secs(600);
        let stop = Stop::default();
        let other = stop.clone();
        other.wake();
        stop.sleep(long);
        std::thread::scope(|scope| {
            scope.spawn(|| other.stop());
            stop.sleep(long);
        });
        assert!(stop.is_stopped());
        stop.sleep(long);
    }
}

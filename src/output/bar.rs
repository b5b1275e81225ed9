//! A progress bar on stderr, drawn only for a person who watches.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that follows a counter until it is dropped.
#[derive(Debug)]
pub struct Bar {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

/// Follows `done` towards `total` bytes with rate and time left; without a total, as of standard input, with the rate
/// alone. Draws nothing when `quiet` or when stderr is no terminal.
pub fn bytes(total: u64, done: &Arc<AtomicU64>, quiet: bool) -> Bar {
    let (bar, template) = if total > 0 {
        (
            ProgressBar::new(total),
            "{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
        )
    } else {
        (
            ProgressBar::new_spinner(),
            "{spinner} {bytes}  {bytes_per_sec}",
        )
    };
    follow(bar, template, done, quiet)
}

/// Follows `done` towards `total` steps.
pub fn steps(total: u64, done: &Arc<AtomicU64>, quiet: bool) -> Bar {
    follow(
        ProgressBar::new(total),
        "{bar:32} {percent}%  {eta} left",
        done,
        quiet,
    )
}

fn follow(bar: ProgressBar, template: &str, done: &Arc<AtomicU64>, quiet: bool) -> Bar {
    if quiet || !std::io::stderr().is_terminal() {
        return Bar { running: None };
    }
    bar.set_style(
        ProgressStyle::with_template(template)
            .expect("the template is tested by every run on a terminal"),
    );
    let (stop, stopped) = channel();
    let done = Arc::clone(done);
    let thread = std::thread::spawn(move || {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_millis(100))
        {
            bar.set_position(done.load(Ordering::Relaxed));
        }
        bar.finish_and_clear();
    });
    Bar {
        running: Some((stop, thread)),
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // A bar that failed to draw is no reason to fail.
            let _ = thread.join();
        }
    }
}

//! Work on many items by several threads.

use std::convert::Infallible;
use std::panic::resume_unwind;
use std::sync::Mutex;

/// Works on items, several at a time; results come in the order of the items.
pub(crate) fn in_parallel<T: Send, R: Send>(
    items: Vec<T>,
    threads: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let start = || Ok::<_, Infallible>(());
    match in_parallel_with(items, threads, start, |(), item| work(item)) {
        Ok(results) => results,
        Err(never) => match never {},
    }
}

/// The same with something that each thread makes for itself and has for all of its items.
///
/// # Errors
/// When one cannot be made.
pub(crate) fn in_parallel_with<T: Send, R: Send, S, E: Send>(
    items: Vec<T>,
    threads: usize,
    start: impl Fn() -> Result<S, E> + Sync,
    work: impl Fn(&mut S, T) -> R + Sync,
) -> Result<Vec<R>, E> {
    let threads = threads.clamp(1, items.len().max(1));
    let next = Mutex::new(items.into_iter().enumerate());
    let run = || {
        let mut state = start()?;
        let mut results = Vec::new();
        // The guard must not live while an item is worked on.
        let take = || next.lock().expect("nothing panics with it").next();
        while let Some((index, item)) = take() {
            results.push((index, work(&mut state, item)));
        }
        Ok(results)
    };
    let mut results = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        for worker in workers {
            results.extend(worker.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(())
    })?;
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// As many threads as there are processors.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        for threads in [0, 1, 3, 100] {
            let squares = in_parallel((0..50_u64).collect(), threads, |n| n * n);
            assert_eq!(squares, (0..50).map(|n| n * n).collect::<Vec<_>>());
        }
        assert_eq!(in_parallel(Vec::<u64>::new(), 2, |n| n), [0; 0]);
    }

    #[test]
    fn a_thread_that_cannot_start_is_an_error() {
        let result = in_parallel_with(vec![1, 2], 2, || Err::<(), _>("no"), |(), n| n);
        assert_eq!(result, Err("no"));
    }
}

//! Rows that several rules read, loaded once.

use datafusion::prelude::SessionContext;

use super::Job;
use crate::detect::evaluate::Window;
use crate::detect::source::{Extents, Needs};
use crate::error::Result;

/// Rules whose ranges, as far as there are events, differ in length by a factor of two at most. Sharing would have
/// the others read what they do not need.
pub(super) fn groups<'j, 'a>(
    jobs: &'j mut [Job<'a>],
    extents: &Extents,
) -> Vec<Vec<&'j mut Job<'a>>> {
    let mut ranged: Vec<(Window, &mut Job<'a>)> = jobs
        .iter_mut()
        .filter_map(|job| {
            let mut range = job.range()?;
            let tables = job.needs.tables.keys();
            if let Some(first) = extents.first(tables) {
                range.start = range.start.max(first).min(range.end);
            }
            Some((range, job))
        })
        .collect();
    ranged.sort_by_key(|(range, _)| range.end - range.start);
    let mut groups: Vec<(i64, Window, Vec<&mut Job<'a>>)> = Vec::new();
    for (range, job) in ranged {
        if let Some((shortest, joined, members)) = groups.last_mut() {
            let wider = Window {
                start: joined.start.min(range.start),
                end: joined.end.max(range.end),
            };
            if wider.end - wider.start <= 2 * *shortest {
                *joined = wider;
                members.push(job);
                continue;
            }
        }
        groups.push((range.end - range.start, range, vec![job]));
    }
    groups.into_iter().map(|(_, _, members)| members).collect()
}

/// Loads what several rules read; `None` when it does not fit.
pub(super) async fn load_for(
    store: &SessionContext,
    jobs: &[&mut Job<'_>],
    memory: u64,
) -> Result<Option<SessionContext>> {
    let mut needs = Needs::default();
    let mut range: Option<Window> = None;
    for job in jobs {
        needs.join(&job.needs);
        range = match (range, job.range()) {
            (Some(a), Some(b)) => Some(Window {
                start: a.start.min(b.start),
                end: a.end.max(b.end),
            }),
            (a, b) => a.or(b),
        };
    }
    match range {
        Some(range) => needs.load(store, range, memory).await,
        None => Ok(None),
    }
}

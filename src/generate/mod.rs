//! Makes logs that look like a company's: in the providers' own formats, with day and night, large and small callers,
//! and, when asked, incidents planted among them. The same seed makes the same bytes.
//!
//! A minute of traffic is drawn at a time (`traffic`) and written straight away (`writers`), so that millions of rows
//! need no more memory than a few. What is planted is in [`incidents`]; every prompt and answer comes from `text`.

pub mod incidents;
mod records;
mod text;
mod traffic;
mod writers;

use std::path::Path;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::error::{Error, Result};
use incidents::Incident;
use traffic::Traffic;
use writers::Writers;

/// Microseconds in a minute.
pub(crate) const MINUTE: i64 = 60_000_000;

/// Which logs to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Platform {
    /// Bedrock invocation logs and CloudTrail, gzip.
    Bedrock,
    /// Azure OpenAI behind API Management.
    Azure,
    /// Vertex AI audit and request-response logs.
    Vertex,
    /// OpenTelemetry spans.
    Otlp,
    /// LiteLLM payloads.
    Litellm,
    /// A classifier's own records.
    Generic,
}

impl Platform {
    /// Every platform.
    pub const ALL: [Platform; 6] = [
        Platform::Bedrock,
        Platform::Azure,
        Platform::Vertex,
        Platform::Otlp,
        Platform::Litellm,
        Platform::Generic,
    ];
}

/// What to make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Principals that call.
    pub callers: usize,
    /// Models they call.
    pub models: usize,
    /// Hours from `start`.
    pub hours: usize,
    /// Calls in all, planted ones aside.
    pub rows: u64,
    /// Chooses everything that is left to chance.
    pub seed: u64,
    /// First instant, in microseconds since the epoch; a whole hour.
    pub start: i64,
    /// Platforms to spread the callers over.
    pub platforms: Vec<Platform>,
    /// Incidents to plant.
    pub incidents: Vec<Incident>,
}

/// What was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Made {
    /// Calls, planted ones included.
    pub calls: u64,
    /// Management events.
    pub events: u64,
    /// Files.
    pub files: u64,
    /// Bytes, before compression.
    pub bytes: u64,
}

/// Writes logs below `folder`; `each_minute` hears how many minutes are done.
///
/// # Errors
/// When the plan is empty or the folder cannot be written.
pub fn generate(plan: &Plan, folder: &Path, mut each_minute: impl FnMut(u64)) -> Result<Made> {
    if plan.callers == 0 || plan.models == 0 || plan.hours == 0 || plan.platforms.is_empty() {
        return Err(Error::Usage {
            message: "callers, models, hours and platforms must be at least one each".into(),
            hint: None,
        });
    }
    let mut random = StdRng::seed_from_u64(plan.seed);
    let traffic = Traffic::new(plan, &mut random);
    let mut writers = Writers::new(folder);
    let mut calls = Vec::new();
    let minutes = plan.hours as u64 * 60;
    for minute in 0..minutes {
        let start = plan.start + minute as i64 * MINUTE;
        calls.clear();
        traffic.minute(minute, start, &mut random, &mut calls);
        for incident in &plan.incidents {
            incident.minute(
                plan.start,
                start,
                &traffic,
                &mut random,
                &mut calls,
                &mut writers,
            )?;
        }
        calls.sort_by_key(|call| call.time);
        for call in &calls {
            writers.call(call)?;
        }
        each_minute(minute + 1);
    }
    writers.finish()
}

//! `inferwatch test --noise`: what rules find in a day on which nothing happened.

use anyhow::Context;
use serde_json::{Value, json};

use super::{Global, generate, ingest};
use crate::catalog::{Noise, RuleFile, noise_bound};
use crate::detect::{Episode, Range, RunOptions, run, time_text};
use crate::generate::{Plan, Platform};
use crate::ingest::{ContentMode, list};
use crate::output;
use crate::output::escape::visible;
use crate::output::words::plural;
use crate::store::Store;

/// 2026-03-02T00:00:00Z, a Monday.
const MONDAY: i64 = 1_772_409_600_000_000;

/// What one rule found.
#[derive(Debug)]
pub(super) struct Quiet {
    /// The rule.
    pub(super) rule: String,
    /// Findings that say what they are.
    pub(super) episodes: Vec<Episode>,
    /// Calls of the day.
    pub(super) calls: u64,
    /// What is allowed.
    pub(super) allowed: Noise,
    /// Whether the rule says so itself.
    pub(super) is_declared: bool,
    /// Why it could not be evaluated.
    pub(super) error: Option<String>,
}

impl Quiet {
    /// Why the gate is closed to it.
    pub(super) fn failure(&self) -> Option<String> {
        if let Some(error) = &self.error {
            return Some(error.clone());
        }
        let is_exceeded = self
            .allowed
            .is_exceeded_by(self.episodes.len() as u64, self.calls);
        is_exceeded.then(|| self.words())
    }

    fn words(&self) -> String {
        let findings = self.episodes.len() as u64;
        let per = |number: f64| number * 10_000.0 / self.calls.max(1) as f64;
        let source = if self.is_declared { "" } else { ", as usual" };
        format!(
            "{} in {} calls: {:.2} per 10k, below {:.2} with 95 % confidence; allowed {}{source}",
            plural(self.episodes.len(), "finding"),
            self.calls,
            per(findings as f64),
            per(noise_bound(findings)),
            self.allowed
        )
    }

    pub(super) fn json(&self) -> Value {
        let findings = self.episodes.len() as u64;
        json!({
            "rule": self.rule,
            "findings": findings,
            "calls": self.calls,
            "bound_per_call": noise_bound(findings) / self.calls.max(1) as f64,
            "allowed": self.allowed.to_string(),
            "is_declared": self.is_declared,
            "passed": self.failure().is_none(),
            "failure": self.failure(),
        })
    }
}

/// Makes a day without incidents, and runs rules over it.
///
/// # Errors
/// When the day cannot be made, read or evaluated.
pub(super) fn quiet_day(
    runtime: &tokio::runtime::Runtime,
    rules: &[&RuleFile],
    calls: u64,
    global: &Global,
) -> anyhow::Result<Vec<Quiet>> {
    let folder = tempfile::tempdir().context("making a folder for a quiet day")?;
    let plan = Plan {
        callers: 60,
        models: 4,
        hours: 24,
        rows: calls,
        seed: 1,
        start: MONDAY,
        platforms: Platform::ALL.to_vec(),
        incidents: Vec::new(),
    };
    let logs = folder.path().join("logs");
    let made = generate::with_bar(&plan, &logs, global)?;
    let store = Store::open_or_create(&folder.path().join("store"))?;
    let quiet = Global {
        quiet: true,
        ..global.clone()
    };
    let reading = ingest::Reading::with_content(ContentMode::Redacted);
    ingest::into_store(&store, list(&[logs])?, &reading, &quiet)?;
    let options = RunOptions {
        range: Range::SinceLast,
        is_complete: true,
        dry_run: true,
        ..RunOptions::default()
    };
    let outcomes = run(runtime.handle(), &store, rules, &options)?;
    let quiet = outcomes.into_iter().map(|outcome| Quiet {
        rule: outcome.file.rule.id.clone(),
        calls: made.calls,
        allowed: outcome.file.rule.noise.unwrap_or(Noise::USUAL),
        is_declared: outcome.file.rule.noise.is_some(),
        error: outcome.states.contains_key("error").then(|| {
            format!(
                "it failed: {}",
                outcome.detail.as_deref().unwrap_or_default()
            )
        }),
        episodes: outcome.episodes,
    });
    Ok(quiet.collect())
}

/// Prints rules that are too noisy, and with `all` those that are not.
pub(super) fn print(quiet: &[Quiet], all: bool, global: &Global) -> crate::Result<()> {
    let mut failed = 0;
    for it in quiet {
        let failure = it.failure();
        failed += usize::from(failure.is_some());
        let word = if failure.is_some() { "noisy" } else { "quiet" };
        if failure.is_some() || all || !it.episodes.is_empty() {
            let text = failure.unwrap_or_else(|| it.words());
            output::data(&visible(&format!("{word} {}: {text}", it.rule)))?;
            for episode in &it.episodes {
                let entity = Value::Object(episode.entity.clone());
                let at = time_text(episode.first_window.end);
                output::data(&visible(&format!(
                    "  {entity} in the window that ends at {at}"
                )))?;
            }
        }
    }
    if !global.quiet {
        let findings = quiet.iter().map(|it| it.episodes.len()).sum();
        let calls = quiet.first().map_or(0, |it| it.calls);
        output::data(&format!(
            "noise of {} on a quiet day of {calls} calls: {}, {failed} noisier than allowed",
            plural(quiet.len(), "rule"),
            plural(findings, "finding")
        ))?;
    }
    Ok(())
}

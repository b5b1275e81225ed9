//! `inferwatch demo`: a day of logs, seven incidents, and what the rules make of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args as ClapArgs;

use super::run as rules;
use super::{CLEAR, FOUND, Global, generate, ingest};
use crate::catalog::Pack;
use crate::detect::{Episode, Range, time_text};
use crate::error::Error;
use crate::generate::incidents::Incident;
use crate::generate::{Plan, Platform};
use crate::ingest::{ContentMode, list};
use crate::output;
use crate::store::Store;

/// Says that a folder was made by a demo, and may be made anew.
const MARKER: &str = ".inferwatch-demo";

/// 2026-03-02T00:00:00Z, a Monday.
const MONDAY: i64 = 1_772_409_600_000_000;

/// Make a day of logs with seven incidents, ingest it, run the rules, show what they found.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Folder for logs and store; one that an earlier demo made is made anew.
    #[arg(
        long,
        env = "INFERWATCH_DEMO_DIR",
        default_value = "inferwatch-demo",
        value_name = "DIR"
    )]
    dir: PathBuf,
    /// Ordinary calls in the day.
    #[arg(
        long,
        env = "INFERWATCH_DEMO_ROWS",
        default_value_t = 60_000,
        value_name = "R"
    )]
    rows: u64,
    /// Chooses everything that is left to chance.
    #[arg(
        long,
        env = "INFERWATCH_DEMO_SEED",
        default_value_t = 1,
        value_name = "S"
    )]
    seed: u64,
}

/// Runs the subcommand: exit code 0 when every incident was found, 1 when one was missed.
///
/// # Errors
/// When the folder is something else, or cannot be written.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    prepare(&args.dir)?;
    let plan = Plan {
        callers: 60,
        models: 4,
        hours: 24,
        rows: args.rows,
        seed: args.seed,
        start: MONDAY,
        platforms: Platform::ALL.to_vec(),
        incidents: Incident::ALL.to_vec(),
    };
    let (logs, folder) = (args.dir.join("logs"), args.dir.join("store"));
    global.note(&format!(
        "a day of logs, {} callers on {} platforms",
        plan.callers,
        plan.platforms.len()
    ));
    let made = generate::with_bar(&plan, &logs, global)?;
    global.note(&format!("  {}\n", generate::describe(made, &logs)));

    global.note(&format!(
        "inferwatch --store {} ingest --content redacted {}",
        folder.display(),
        logs.display()
    ));
    let store = Store::open_or_create(&folder)?;
    ingest::into_store(
        &store,
        list(&[logs])?,
        &ingest::Reading::with_content(ContentMode::Redacted),
        global,
    )?;

    global.note(&format!(
        "\ninferwatch --store {} run --once",
        folder.display()
    ));
    let started = Instant::now();
    let pack = Pack::embedded().into_valid().context("reading rules")?;
    let all: Vec<_> = pack.rules.iter().collect();
    let outcomes = rules::evaluate(&store, &all, Range::SinceLast)?;
    rules::summary(global, &outcomes, started.elapsed());
    let mut episodes: Vec<&Episode> = outcomes
        .iter()
        .flat_map(|outcome| &outcome.episodes)
        .collect();
    episodes.sort_by_key(|episode| episode.first_window.end);

    let missed = report(&episodes, made.calls)?;
    output::data(&format!(
        "\nNow try:\n  inferwatch --store {store} sql\n  inferwatch --store {store} sql \"SELECT caller, model, hour, max(injection_score) AS score \
         FROM calls GROUP BY ALL ORDER BY score DESC LIMIT 5\"\n  inferwatch --store {store} run --once --rule token-burn \
         --param token-burn.max_tokens=100000 --from 2026-03-02 --dry-run",
        store = folder.display()
    ))?;
    Ok(ExitCode::from(if missed == 0 { CLEAR } else { FOUND }))
}

fn prepare(folder: &Path) -> anyhow::Result<()> {
    let occupied = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !folder.join(MARKER).exists() {
        return Err(Error::Usage {
            message: format!("`{}` is not empty, and no demo made it", folder.display()),
            hint: Some("name another folder with `--dir`".into()),
        }
        .into());
    }
    for part in ["logs", "store"] {
        let part = folder.join(part);
        if part.exists() {
            fs::remove_dir_all(&part).with_context(|| format!("remove `{}`", part.display()))?;
        }
    }
    fs::create_dir_all(folder).with_context(|| format!("create `{}`", folder.display()))?;
    fs::write(folder.join(MARKER), "").with_context(|| format!("write to `{}`", folder.display()))
}

/// Prints what was planted beside what was found, and returns how many incidents were missed.
fn report(episodes: &[&Episode], calls: u64) -> anyhow::Result<usize> {
    let mut explained = vec![false; episodes.len()];
    let mut missed = 0;
    output::data("\nPlanted, and what found it:")?;
    for incident in Incident::ALL {
        let minutes = incident.minutes();
        let clock = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
        output::data(&format!(
            "\n  {} at {} to {}",
            incident.title(),
            clock(minutes.start),
            clock(minutes.end)
        ))?;
        let mut found = false;
        for (index, episode) in episodes.iter().enumerate() {
            // A finding belongs to an incident when it names the same subject and begins while it goes on.
            let begin = episode.first_seen.unwrap_or(episode.first_window.start);
            let end = episode.last_seen.unwrap_or(episode.last_window.end);
            let during = begin < MONDAY + minutes.end * 60_000_000
                && end >= MONDAY + minutes.start * 60_000_000;
            if !during
                || !episode
                    .entity
                    .values()
                    .any(|value| value.to_string().contains(incident.entity()))
            {
                continue;
            }
            explained[index] = true;
            found |= episode.rule_id == incident.rule();
            output::data(&format!("    {}", describe(episode)))?;
        }
        if !found {
            missed += 1;
            output::data(&format!("    MISSED by {}", incident.rule()))?;
        }
    }
    let others: Vec<_> = episodes
        .iter()
        .zip(&explained)
        .filter(|(_, explained)| !**explained)
        .map(|(episode, _)| episode)
        .collect();
    output::data(&format!(
        "\nBesides: {} findings in {calls} calls, {:.2} per 10,000",
        others.len(),
        others.len() as f64 * 10_000.0 / calls.max(1) as f64
    ))?;
    for episode in others {
        output::data(&format!("    {}", describe(episode)))?;
    }
    Ok(missed)
}

fn describe(episode: &Episode) -> String {
    let entity: Vec<String> = episode
        .entity
        .values()
        .map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        })
        .collect();
    let evidence: Vec<String> = episode
        .evidence
        .iter()
        .filter(|(name, value)| value.is_number() && !episode.entity.contains_key(*name))
        .map(|(name, value)| match value.as_f64() {
            Some(number) if number.fract() != 0.0 => format!("{name} {number:.4}"),
            _ => format!("{name} {value}"),
        })
        .take(4)
        .collect();
    let text = format!(
        "{:<8} {:<26} {}  {}  from {}",
        episode.severity.name(),
        episode.rule_id,
        entity.join(" "),
        evidence.join(", "),
        time_text(episode.first_seen.unwrap_or(episode.first_window.start)),
    );
    output::escape::visible(&text).into_owned()
}

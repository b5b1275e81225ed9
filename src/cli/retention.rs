//! `inferwatch retention`: what goes, is summed up or made less as it ages.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{ArrayRef, Int64Array, StringArray};
use clap::Subcommand;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::run::parse_time;
use super::store::{Report, draw, json_text, rfc3339};
use super::{CLEAR, FOUND, Global};
use crate::catalog::{Tier, TierAction};
use crate::error::Error;
use crate::output;
use crate::retention::{self, Applied, CaseResult, Plan};
use crate::schema::Table;
use crate::store::WriteOptions;

const LONG: &str = "\
Examples:
  What would go, be summed up or made less now:
    inferwatch retention plan
  Do it:
    inferwatch retention apply
  Let somebody look at the plan first; it is refused when the store has moved on since:
    inferwatch retention plan --format json > plan.json
    inferwatch retention apply --plan plan.json
  With tiers of your own, kept in git:
    inferwatch retention test --tiers retention/
    inferwatch retention plan --tiers retention/

What holds:
  A tier is an SQL file: a header with the table, the action and a minimum age, and a SELECT over
  `partitions`. Nothing is done to a row that is younger than the minimum age, whatever the SELECT says,
  and nothing to what is under a legal hold (`inferwatch hold`). Ages count in UTC, and a row of exactly
  the age is old enough. Files of what has expired stay on the disk for the grace period of
  `inferwatch compact`, which removes them.

Exit codes:
  0    done, or nothing to do; with `test`, all is well
  1    `plan`: there is something to do; `test`: a test fails; `apply`: the store has moved on
  2    could not run";

/// Plan and apply how long rows stay: tiers as versioned SQL files
#[derive(Debug, clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Tier files or folders instead of those inside the program
    #[arg(
        long,
        env = "INFERWATCH_TIERS",
        value_name = "PATH",
        value_delimiter = ','
    )]
    tiers: Vec<PathBuf>,
    /// Only this tier, with those that sum up what it lets go; can be given again
    #[arg(
        long,
        env = "INFERWATCH_RETENTION_TIER",
        value_name = "ID",
        value_delimiter = ','
    )]
    tier: Vec<String>,
    /// A table for people or JSON; by default a table on a terminal
    #[arg(long, env = "INFERWATCH_RETENTION_FORMAT", value_name = "FORMAT")]
    format: Option<Report>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show which partitions something would be done to: rows, bytes, oldest and newest row, and why
    Plan {
        #[command(flatten)]
        common: Common,
        /// Act as if it were this time
        #[arg(long, env = "INFERWATCH_RETENTION_AT", value_name = "TIME", value_parser = parse_time)]
        at: Option<i64>,
    },
    /// Do exactly what the plan says, or nothing
    Apply {
        #[command(flatten)]
        common: Common,
        /// Act as if it were this time
        #[arg(long, env = "INFERWATCH_RETENTION_AT", value_name = "TIME", value_parser = parse_time, conflicts_with = "plan")]
        at: Option<i64>,
        /// A plan as `retention plan --format json` has printed it: refuse if it would be another now
        #[arg(long, env = "INFERWATCH_RETENTION_PLAN", value_name = "FILE")]
        plan: Option<PathBuf>,
    },
    /// Show each tier: what is due, what is kept back and why
    Status {
        #[command(flatten)]
        common: Common,
        /// Act as if it were this time
        #[arg(long, env = "INFERWATCH_RETENTION_AT", value_name = "TIME", value_parser = parse_time)]
        at: Option<i64>,
    },
    /// Run the tests inside tier files; needs no store
    Test {
        #[command(flatten)]
        common: Common,
    },
}

impl Common {
    fn read(&self) -> anyhow::Result<Vec<Tier>> {
        let mut tiers = match self.tiers.is_empty() {
            true => Tier::embedded(),
            false => Tier::read_all(&self.tiers).context("reading tiers")?,
        };
        for id in &self.tier {
            if !tiers.iter().any(|tier| tier.id == *id) {
                let names: Vec<&str> = tiers.iter().map(|tier| tier.id.as_str()).collect();
                return Err(Error::Usage {
                    message: format!("no tier is called `{id}`"),
                    hint: Some(format!("there are {}", names.join(", "))),
                }
                .into());
            }
        }
        if !self.tier.is_empty() {
            let chosen = |tier: &Tier| self.tier.contains(&tier.id);
            let going: Vec<Table> = tiers
                .iter()
                .filter(|tier| chosen(tier) && tier.action == TierAction::Expire)
                .map(|tier| tier.table)
                .collect();
            // Nothing goes before it is summed up.
            tiers.retain(|tier| {
                let sums_up = matches!(tier.action, TierAction::Rollup { .. });
                chosen(tier) || (sums_up && going.contains(&tier.table))
            });
        }
        Ok(tiers)
    }

    /// Prints in the format that was asked for.
    fn print(
        &self,
        table: impl FnOnce() -> anyhow::Result<String>,
        json: impl FnOnce() -> Value,
    ) -> anyhow::Result<()> {
        let text = match Report::or_default(self.format) {
            Report::Table => table()?,
            Report::Json => json_text(&json())?,
        };
        output::data(text.trim_end())?;
        Ok(())
    }
}

/// Runs the subcommand.
///
/// # Errors
/// When tiers or the store cannot be read, or something cannot be done.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let runtime = super::runtime(None)?;
    let now = || chrono::Utc::now().timestamp_micros();
    match &args.action {
        Action::Plan { common, at } | Action::Status { common, at } => {
            let tiers = common.read()?;
            let store = global.open_store()?;
            let plan = runtime.block_on(retention::plan(&store, &tiers, at.unwrap_or_else(now)))?;
            let is_status = matches!(args.action, Action::Status { .. });
            let table = || match is_status {
                true => status_table(&plan),
                false => plan_table(&plan),
            };
            common.print(table, || plan_json(&plan))?;
            let is_empty = plan.tiers.iter().all(|tier| tier.partitions.is_empty());
            Ok(ExitCode::from(match is_status || is_empty {
                true => CLEAR,
                false => FOUND,
            }))
        }
        Action::Apply { common, at, plan } => {
            let tiers = common.read()?;
            let store = global.open_store()?;
            let saved = plan.as_deref().map(read_plan).transpose()?;
            let at = match &saved {
                Some(saved) => time_of(saved)?,
                None => match at {
                    Some(at) => *at,
                    None => retention::believed(&store, now())?,
                },
            };
            let expected = |plan: &Plan<'_>| {
                match &saved {
                Some(saved) if saved.get("tiers") != plan_json(plan).get("tiers") => {
                    Err(Error::Moved {
                        message: "the plan would be another now: the store, the tiers or the holds have changed since it was made".into(),
                    })
                }
                _ => Ok(()),
            }
            };
            let options = WriteOptions::default();
            let applied =
                runtime.block_on(retention::apply(&store, &tiers, at, expected, &options));
            for warning in store.take_warnings() {
                global.note(&format!("warning: {warning}"));
            }
            let applied = match applied {
                Ok(applied) => applied,
                Err(error @ Error::Moved { .. }) => {
                    output::error(&error.into());
                    return Ok(ExitCode::from(FOUND));
                }
                Err(error) => return Err(error.into()),
            };
            common.print(|| Ok(applied_text(&applied)), || applied_json(&applied))?;
            Ok(ExitCode::from(CLEAR))
        }
        Action::Test { common } => {
            let mut results = Vec::new();
            for tier in common.read()? {
                results.extend(runtime.block_on(retention::test(&tier))?);
            }
            let failed = results
                .iter()
                .filter(|result| result.found.is_some())
                .count();
            common.print(|| Ok(test_text(&results)), || test_json(&results))?;
            Ok(ExitCode::from(if failed == 0 { CLEAR } else { FOUND }))
        }
    }
}

fn read_plan(path: &std::path::Path) -> anyhow::Result<Value> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&bytes).with_context(|| format!("plan `{}`", path.display()))
}

fn time_of(plan: &Value) -> anyhow::Result<i64> {
    let text = plan.get("at").and_then(Value::as_str).unwrap_or_default();
    parse_time(text).map_err(|_| {
        let error = Error::Usage {
            message: "the plan does not say for what time it was made".into(),
            hint: Some("`inferwatch retention plan --format json` prints one".into()),
        };
        error.into()
    })
}

fn time(of: Option<i64>) -> Option<String> {
    of.and_then(rfc3339)
}

fn plan_json(plan: &Plan<'_>) -> Value {
    let tiers = plan.tiers.iter().map(|tier| {
        let partitions: Vec<Value> = tier
            .partitions
            .iter()
            .map(|it| {
                json!({
                    "period": it.partition.period,
                    "caller": it.partition.caller,
                    "model": it.partition.model,
                    "files": it.files.len(),
                    "rows": it.rows,
                    "bytes": it.bytes,
                    "oldest": time(it.times.map(|times| times.0)),
                    "newest": time(it.times.map(|times| times.1)),
                    "reason": it.reason,
                })
            })
            .collect();
        let kept: Vec<Value> = tier
            .kept
            .iter()
            .map(|it| {
                json!({
                    "period": it.partition.period,
                    "caller": it.partition.caller,
                    "model": it.partition.model,
                    "rows": it.rows,
                    "why": it.why,
                })
            })
            .collect();
        json!({
            "tier": tier.tier.id,
            "version": tier.tier.version,
            "table": tier.tier.table.name(),
            "action": tier.tier.action.name(),
            "minimum_age": tier.tier.minimum_age.to_string(),
            "rows": tier.partitions.iter().map(|it| it.rows).sum::<i64>(),
            "bytes": tier.partitions.iter().map(|it| it.bytes).sum::<i64>(),
            "partitions": partitions,
            "kept": kept,
        })
    });
    let tiers: Vec<Value> = tiers.collect();
    let versions: serde_json::Map<String, Value> = plan
        .versions
        .iter()
        .map(|(table, version)| (table.name().to_owned(), json!(version)))
        .collect();
    json!({"at": rfc3339(plan.at), "versions": versions, "tiers": tiers})
}

fn texts(values: Vec<Option<String>>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

fn plan_table(plan: &Plan<'_>) -> anyhow::Result<String> {
    let rows: Vec<_> = plan
        .tiers
        .iter()
        .flat_map(|tier| tier.partitions.iter().map(move |it| (tier.tier, it)))
        .collect();
    let mut text = String::new();
    if rows.is_empty() {
        text.push_str("nothing to do\n");
    } else {
        let column = |of: &dyn Fn(&(&Tier, &retention::Planned)) -> Option<String>| {
            texts(rows.iter().map(of).collect())
        };
        text = draw([
            ("tier", column(&|(tier, _)| Some(tier.id.clone()))),
            (
                "action",
                column(&|(tier, _)| Some(tier.action.name().to_owned())),
            ),
            (
                "period",
                column(&|(_, it)| Some(it.partition.period.clone())),
            ),
            ("caller", column(&|(_, it)| it.partition.caller.clone())),
            ("model", column(&|(_, it)| it.partition.model.clone())),
            (
                "rows",
                Arc::new(
                    rows.iter()
                        .map(|(_, it)| Some(it.rows))
                        .collect::<Int64Array>(),
                ) as ArrayRef,
            ),
            (
                "size",
                column(&|(_, it)| Some(HumanBytes(it.bytes.unsigned_abs()).to_string())),
            ),
            (
                "oldest",
                column(&|(_, it)| time(it.times.map(|times| times.0))),
            ),
            (
                "newest",
                column(&|(_, it)| time(it.times.map(|times| times.1))),
            ),
            ("why", column(&|(_, it)| Some(it.reason.clone()))),
        ])?;
    }
    for tier in &plan.tiers {
        let mut whys: std::collections::BTreeMap<&str, (u64, i64)> =
            std::collections::BTreeMap::new();
        for kept in &tier.kept {
            let sum = whys.entry(&kept.why).or_default();
            *sum = (sum.0 + 1, sum.1 + kept.rows);
        }
        for (why, (partitions, rows)) in whys {
            text.push_str(&format!(
                "{}: {partitions} partitions with {rows} rows stay: {why}\n",
                tier.tier.id
            ));
        }
    }
    Ok(text)
}

fn status_table(plan: &Plan<'_>) -> anyhow::Result<String> {
    let column = |of: &dyn Fn(&retention::TierPlan<'_>) -> Option<String>| {
        texts(plan.tiers.iter().map(of).collect())
    };
    let number = |of: &dyn Fn(&retention::TierPlan<'_>) -> i64| -> ArrayRef {
        Arc::new(
            plan.tiers
                .iter()
                .map(|tier| Some(of(tier)))
                .collect::<Int64Array>(),
        )
    };
    let bytes =
        |tier: &retention::TierPlan<'_>| -> i64 { tier.partitions.iter().map(|it| it.bytes).sum() };
    draw([
        ("tier", column(&|tier| Some(tier.tier.id.clone()))),
        (
            "table",
            column(&|tier| Some(tier.tier.table.name().to_owned())),
        ),
        (
            "action",
            column(&|tier| Some(tier.tier.action.name().to_owned())),
        ),
        (
            "minimum age",
            column(&|tier| Some(tier.tier.minimum_age.to_string())),
        ),
        ("due", number(&|tier| tier.partitions.len() as i64)),
        (
            "rows",
            number(&|tier| tier.partitions.iter().map(|it| it.rows).sum()),
        ),
        (
            "size",
            column(&|tier| Some(HumanBytes(bytes(tier).unsigned_abs()).to_string())),
        ),
        ("kept back", number(&|tier| tier.kept.len() as i64)),
        (
            "why",
            column(&|tier| tier.kept.first().map(|kept| kept.why.clone())),
        ),
    ])
}

fn applied_text(applied: &[Applied]) -> String {
    if applied.is_empty() {
        return "nothing to do".to_owned();
    }
    let lines = applied.iter().map(|it| {
        format!(
            "{}: {} {} of `{}`, {} rows, {}\n",
            it.tier,
            it.action,
            it.partitions,
            it.table.name(),
            it.rows,
            HumanBytes(it.bytes)
        )
    });
    lines.collect()
}

fn applied_json(applied: &[Applied]) -> Value {
    let applied = applied.iter().map(|it| {
        json!({
            "tier": it.tier,
            "action": it.action,
            "table": it.table.name(),
            "partitions": it.partitions,
            "rows": it.rows,
            "bytes": it.bytes,
        })
    });
    Value::Array(applied.collect())
}

fn test_text(results: &[CaseResult]) -> String {
    let mut text = String::new();
    for result in results {
        if let Some(found) = &result.found {
            text.push_str(&format!(
                "{}: {}\n  expected {}\n  found    {}\n",
                result.tier,
                result.name,
                result.expected.join(" "),
                found.join(" ")
            ));
        }
    }
    let failed = results
        .iter()
        .filter(|result| result.found.is_some())
        .count();
    text.push_str(&format!("{} tests, {failed} failed\n", results.len()));
    text
}

fn test_json(results: &[CaseResult]) -> Value {
    let results = results.iter().map(|result| {
        json!({
            "tier": result.tier,
            "test": result.name,
            "passed": result.found.is_none(),
            "expected": result.expected,
            "found": result.found.as_ref().unwrap_or(&result.expected),
        })
    });
    Value::Array(results.collect())
}

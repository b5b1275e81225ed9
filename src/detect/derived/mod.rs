//! Runs the tests that follow from the tests of a rule that fire: see [`Property`].
//!
//! What concerns the rule alone is tried over rows in memory, sorted and without copies as a run has them (`trial`). What
//! concerns runs is tried through a store of its own (`life`). Ordinary traffic is made by the generator and read by the
//! ingest, once (`benign`).

mod benign;
mod life;
#[cfg(test)]
mod orders;
mod rows;
mod trial;

use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::case::CaseRunner;
use super::evaluate::Prepared;
use crate::catalog::{Case, Mode, Property, RuleFile, RuleKind};
use crate::error::Result;
use crate::parallel::in_parallel_with;
use benign::Benign;
use trial::Trial;

/// How a test that follows from another ended.
#[derive(Debug, Clone)]
pub struct DerivedResult {
    /// What must hold.
    pub property: Property,
    /// Place of the test it follows from among the rule's; of the parameters' bounds, the first that fires.
    pub case: usize,
    /// Why it does not hold, for a person; `None` when it does.
    pub failure: Option<String>,
    /// Why the rule need not hold to it; it was not tried.
    pub exempt: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
}

impl DerivedResult {
    /// The name of the test.
    pub fn name(&self, file: &RuleFile) -> String {
        format!("{} / {}", file.cases[self.case].name, self.property.claim())
    }
}

/// Runs the tests that follow from those of rules, several rules at a time; `done` hears of each rule that is through.
/// Results are in the order of the rules, and for each in that of its tests.
///
/// # Errors
/// When the views do not plan, or no ordinary traffic can be made.
pub fn run_derived(
    runtime: &Handle,
    files: Vec<&RuleFile>,
    threads: usize,
    done: impl Fn() + Sync,
) -> Result<Vec<Vec<DerivedResult>>> {
    let benign = Benign::make()?;
    in_parallel_with(
        files,
        threads,
        || runtime.block_on(CaseRunner::new()),
        |runner, file| {
            let results = of_file(runtime, runner, &benign, file);
            done();
            results
        },
    )
}

/// The places of the tests that fire.
fn positives(file: &RuleFile) -> impl Iterator<Item = usize> {
    let fires = |case: &Case| case.expect.as_ref().is_some_and(|rows| !rows.is_empty());
    let cases = file.cases.iter().enumerate();
    cases
        .filter(move |(_, case)| fires(case))
        .map(|(place, _)| place)
}

/// Whether a property says anything about a rule of its kind.
fn applies(property: Property, file: &RuleFile) -> bool {
    let is_correlation = file.rule.kind == RuleKind::Correlation;
    match property {
        Property::HalfStep | Property::Edge => file.rule.mode == Mode::Hop,
        // Its rows are findings, which the engine makes: none comes twice, late, or without its columns.
        Property::Twice
        | Property::Benign
        | Property::Missing
        | Property::Late
        | Property::Revised
        | Property::OnePass => !is_correlation,
        Property::Bounds => {
            let mut params = file.rule.params.iter();
            params.any(|param| param.min.is_some() || param.max.is_some())
        }
        Property::Order | Property::Rename => true,
    }
}

/// Whether a property is tried for the first test that fires alone: it hangs on the rule more than on the rows, and is
/// dear.
fn is_once(property: Property) -> bool {
    matches!(
        property,
        Property::Late | Property::Revised | Property::OnePass | Property::Bounds
    )
}

fn of_file(
    runtime: &Handle,
    runner: &CaseRunner,
    benign: &Benign,
    file: &RuleFile,
) -> Vec<DerivedResult> {
    let signals = runner.signals_of(file);
    let mut results = Vec::new();
    let mut plans: Vec<(&[(String, String)], Prepared<'_>)> = Vec::new();
    for place in positives(file) {
        let case = &file.cases[place];
        let push = |results: &mut Vec<DerivedResult>, property: Property, tried: Tried| {
            results.push(DerivedResult {
                property,
                case: place,
                failure: tried.failure,
                exempt: file.rule.exemption(property).map(str::to_string),
                elapsed: tried.elapsed,
            });
        };
        let wanted: Vec<Property> = Property::ALL
            .into_iter()
            .filter(|property| applies(*property, file))
            .filter(|property| results.is_empty() || !is_once(*property))
            .collect();
        let known = plans.iter().position(|(params, _)| *params == case.params);
        let trial = runtime.block_on(async {
            let place = match known {
                Some(place) => place,
                None => {
                    plans.push((&case.params, runner.prepare(file, case).await?));
                    plans.len() - 1
                }
            };
            Trial::new(runner, signals.as_ref(), &plans[place].1, case).await
        });
        let trial = match trial {
            Ok(trial) => trial,
            // The test itself says so as well, and better.
            Err(error) => {
                let failure = Some(format!("{error:#}"));
                let tried = Tried {
                    failure,
                    elapsed: Duration::ZERO,
                };
                push(&mut results, wanted[0], tried);
                continue;
            }
        };
        let mut life = None;
        for property in wanted {
            if file.rule.exemption(property).is_some() {
                push(&mut results, property, Tried::default());
                continue;
            }
            let started = Instant::now();
            let failure = match property {
                Property::Late | Property::Revised | Property::OnePass => {
                    let life = life.get_or_insert_with(|| life::live(runtime, file, &trial));
                    match life {
                        Ok(life) => life.failure(property),
                        Err(error) => Some(format!("{error:#}")),
                    }
                }
                _ => match runtime.block_on(trial.failure(property, benign)) {
                    Ok(None) => continue,
                    Ok(Some(failure)) => failure,
                    Err(error) => Some(format!("{error:#}")),
                },
            };
            let elapsed = started.elapsed();
            push(&mut results, property, Tried { failure, elapsed });
        }
    }
    results
}

/// What came of trying.
#[derive(Debug, Default)]
struct Tried {
    failure: Option<String>,
    elapsed: Duration,
}

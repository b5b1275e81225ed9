//! A rule over the rows of one of its tests, and over what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

use serde_json::{Map, Value};

use super::benign::Benign;
use super::rows::{Rows, times_of};
use crate::catalog::{Case, Param, ParamValue, Property, RuleFile, State};
use crate::detect::case::CaseRunner;
use crate::detect::evaluate::{Evaluated, Found, Prepared, first_table};
use crate::detect::findings::same_rows;
use crate::detect::json::time_text;
use crate::detect::settle::same_answer;
use crate::detect::slice::SortedTable;
use crate::error::{Error, Result};

/// A rule, the rows of a test that fires, and what came of them.
pub(super) struct Trial<'t> {
    runner: &'t CaseRunner,
    signals: Option<&'t SortedTable>,
    prepared: &'t Prepared<'t>,
    pub(super) case: &'t Case,
    pub(super) rows: Rows,
    reference: Evaluated,
}

/// Columns with a fixed set of words: a rule may ask for some of them, so they cannot be renamed.
const WORDS: [&str; 15] = [
    "provider",
    "cloud_platform",
    "operation",
    "outcome",
    "action_class",
    "source_format",
    "record_role",
    "error_type",
    "error_class",
    "auth_method",
    "category",
    "policy",
    "cohort",
    "origin",
    "severity",
];

impl<'t> Trial<'t> {
    /// Evaluates the rows as they are given.
    ///
    /// # Errors
    /// When the rows do not fit their tables, or nothing is found in them.
    pub(super) async fn new(
        runner: &'t CaseRunner,
        signals: Option<&'t SortedTable>,
        prepared: &'t Prepared<'t>,
        case: &'t Case,
    ) -> Result<Trial<'t>> {
        let rows = runner.given(prepared.file, case).await?;
        let rows = Rows {
            tables: rows.0,
            signals: rows.1,
        };
        let mut trial = Trial {
            runner,
            signals,
            prepared,
            case,
            rows,
            reference: prepared.evaluate(case.at).await,
        };
        trial.reference = trial.evaluate(&trial.rows, case.at).await?;
        if trial.reference.state != State::Fired {
            let state = trial.reference.state.name();
            return Err(Error::Usage {
                message: format!("the test does not fire, it is `{state}`"),
                hint: None,
            });
        }
        Ok(trial)
    }

    pub(super) fn file(&self) -> &'t RuleFile {
        self.prepared.file
    }

    /// The parameters of the test.
    pub(super) fn params(&self) -> Vec<(String, ParamValue)> {
        let params = self.prepared.params.iter();
        params
            .map(|(param, value)| (param.name.clone(), value.clone()))
            .collect()
    }

    async fn evaluate(&self, rows: &Rows, at: i64) -> Result<Evaluated> {
        self.place(rows)?;
        Ok(self.prepared.evaluate(at).await)
    }

    /// Puts rows in place of those that the rule reads.
    fn place(&self, rows: &Rows) -> Result<()> {
        self.runner.place(&rows.tables)?;
        if let (Some(table), Some(batch)) = (self.signals, &rows.signals) {
            let batches = std::slice::from_ref(batch);
            table.replace(&SortedTable::new(batch.schema(), batches, "event_time")?)?;
        }
        Ok(())
    }

    /// Why a property does not hold; nothing inside when it does; nothing at all when it says nothing about these rows.
    pub(super) async fn failure(
        &self,
        property: Property,
        benign: &Benign,
    ) -> Result<Option<Option<String>>> {
        let rule = &self.file().rule;
        let (every, window) = (rule.every.0, rule.window.0);
        Ok(Some(match property {
            Property::Order => {
                let mut failure = None;
                for seed in [1, 2] {
                    let now = self
                        .evaluate(&self.rows.shuffled(seed)?, self.case.at)
                        .await?;
                    failure = failure.or(self.unlike(&now));
                }
                failure
            }
            Property::Twice => {
                let now = self.evaluate(&self.rows.twice()?, self.case.at).await?;
                self.unlike(&now)
            }
            // Windows promise to see a burst whole that is no longer than what they overlap by.
            Property::HalfStep | Property::Edge if self.burst() > window - every => {
                return Ok(None);
            }
            Property::HalfStep => self.fires_later(every / 2).await?,
            Property::Edge => match self.to_the_middle() {
                Some(by) => self.fires_later(by).await?,
                None => return Ok(None),
            },
            Property::Rename => match self.names() {
                names if names.is_empty() => return Ok(None),
                names => self.fires_for(&names).await?,
            },
            Property::Benign => {
                let among = self.rows.with(&benign.until(self.case.at)?)?;
                let now = self.evaluate(&among, self.case.at).await?;
                other_subjects(&subjects(&self.reference.found), &subjects(&now.found))
            }
            Property::Missing => return self.blind().await,
            Property::Bounds => self.bounds().await?,
            Property::Late | Property::Revised | Property::OnePass => None,
        }))
    }

    /// What differs from what the rows gave as they are.
    fn unlike(&self, now: &Evaluated) -> Option<String> {
        let was = &self.reference;
        if now.state == was.state && same_answer(&was.found, &now.found) {
            return None;
        }
        let mut text = format!(
            "{} findings (`{}`), were {}",
            now.found.len(),
            now.state.name(),
            was.found.len()
        );
        let lines = |text: &mut String, sign: char, these: &[Found], those: &[Found]| {
            for found in these {
                if !those
                    .iter()
                    .any(|it| same_rows(&it.columns, &found.columns))
                {
                    let _ = write!(text, "\n  {sign} {}", Value::Object(found.columns.clone()));
                }
            }
        };
        lines(&mut text, '-', &was.found, &now.found);
        lines(&mut text, '+', &now.found, &was.found);
        Some(text)
    }

    /// Looks for each subject in the windows that can hold what happened, so much later.
    async fn fires_later(&self, by: i64) -> Result<Option<String>> {
        let rule = &self.file().rule;
        let rows = self.rows.later(by)?;
        self.place(&rows)?;
        let (every, window) = (rule.every.0, rule.window.0);
        let mut left = subjects(&self.reference.found);
        // The window that ends next after all of it sees most of it; then those around.
        let next = (self.case.at + by + every - 1).div_euclid(every) * every;
        let mut ends = vec![next];
        for n in 1..=window / every {
            ends.extend([next - n * every, next + n * every]);
        }
        for end in ends {
            let now = self.prepared.evaluate(end).await;
            for subject in subjects(&now.found) {
                left.remove(&subject);
            }
            if left.is_empty() {
                return Ok(None);
            }
        }
        let left: Vec<String> = left.into_iter().collect();
        Ok(Some(format!(
            "no window from {} to {} finds {}",
            time_text(next - window),
            time_text(next + window),
            left.join(", ")
        )))
    }

    /// The times of what lies in the window, in order.
    fn times(&self) -> Vec<i64> {
        let window = self.prepared.window(self.case.at);
        let tables = self.rows.tables.keys();
        let mut times: Vec<i64> = match &self.rows.signals {
            Some(batch) => times_of(batch, "event_time"),
            None => tables.flat_map(|table| self.rows.times(*table)).collect(),
        };
        times.retain(|time| (window.start..window.end).contains(time));
        times.sort_unstable();
        times
    }

    /// How long what lies in the window takes from the first to the last.
    fn burst(&self) -> i64 {
        let times = self.times();
        times
            .last()
            .zip(times.first())
            .map_or(0, |(last, first)| last - first)
    }

    /// How much later the window's end lies in the middle of what happened in it; `None` for a single moment.
    fn to_the_middle(&self) -> Option<i64> {
        let times = self.times();
        let (first, last) = (times.first()?, times.last()?);
        (first < last).then(|| self.case.at - times[times.len() / 2])
    }

    /// The names of the subjects, as far as they stand in the rows, and others in their place.
    fn names(&self) -> Vec<(String, String)> {
        let mut names = BTreeMap::new();
        for found in &self.reference.found {
            for (column, value) in &found.entity {
                let Some(name) = value.as_str() else { continue };
                let is_free = !WORDS.contains(&column.as_str()) && self.rows.mentions(name);
                if is_free {
                    names.insert(name.to_string(), other_name(name));
                }
            }
        }
        names.into_iter().collect()
    }

    async fn fires_for(&self, names: &[(String, String)]) -> Result<Option<String>> {
        let now = self
            .evaluate(&self.rows.renamed(names)?, self.case.at)
            .await?;
        let renamed = |found: &Found| {
            let entity = found.entity.iter().map(|(column, value)| {
                let new = names.iter().find(|(old, _)| value.as_str() == Some(old));
                let is_free = !WORDS.contains(&column.as_str());
                let value = match new.filter(|_| is_free) {
                    Some((_, new)) => Value::from(new.as_str()),
                    None => value.clone(),
                };
                (column.clone(), value)
            });
            Value::Object(entity.collect::<Map<_, _>>()).to_string()
        };
        let wanted = self.reference.found.iter().map(renamed).collect();
        Ok(other_subjects(&wanted, &subjects(&now.found)))
    }

    /// Empties each required column that can be empty.
    async fn blind(&self) -> Result<Option<Option<String>>> {
        let rule = &self.file().rule;
        let Some(table) = first_table(rule) else {
            return Ok(None);
        };
        let schema = table.schema();
        let (mut tried, mut text) = (0, String::new());
        for column in &rule.requires {
            let field = schema.field_with_name(column);
            if !field.is_ok_and(|field| field.is_nullable()) {
                continue;
            }
            tried += 1;
            let rows = self.rows.without(table, column)?;
            let now = self.evaluate(&rows, self.case.at).await?;
            // What it finds all the same is there; what it does not find may be there unseen.
            if now.state == State::Clear {
                let _ = writeln!(text, "without `{column}` it is `clear`");
            }
        }
        if tried == 0 {
            return Ok(None);
        }
        Ok(Some(
            (!text.is_empty()).then(|| text.trim_end().to_string()),
        ))
    }

    /// Plans and runs with all parameters at their least, and at their most.
    async fn bounds(&self) -> Result<Option<String>> {
        type Bound = fn(&Param) -> Option<&ParamValue>;
        let ends: [(&str, Bound); 2] = [
            ("least", |param| param.min.as_ref()),
            ("most", |param| param.max.as_ref()),
        ];
        for (what, bound) in ends {
            let params = self.file().rule.params.iter();
            let params = params.filter_map(|param| {
                let value = bound(param)?.of_the_kind_of(&param.default);
                Some((param.name.clone(), value))
            });
            let params: Vec<(String, ParamValue)> = params.collect();
            if params.is_empty() {
                continue;
            }
            let told = |error: String| {
                let values: Vec<String> = params
                    .iter()
                    .map(|(name, value)| format!("{name} = {}", value.json()))
                    .collect();
                Ok(Some(format!(
                    "at their {what} ({}): {error}",
                    values.join(", ")
                )))
            };
            self.place(&self.rows)?;
            match self.runner.prepare_with(self.file(), &params).await {
                Ok(prepared) => {
                    let now = prepared.evaluate(self.case.at).await;
                    if now.state == State::Error {
                        return told(now.detail.unwrap_or_default());
                    }
                }
                Err(error) => return told(format!("{error:#}")),
            }
        }
        Ok(None)
    }
}

/// A name like another.
fn other_name(name: &str) -> String {
    match name.parse::<Ipv4Addr>() {
        Ok(address) => {
            let [a, b, c, d] = address.octets();
            Ipv4Addr::new(a, b, c, (d % 250) + 2).to_string()
        }
        Err(_) => format!("{name}-2"),
    }
}

/// The subjects of findings.
pub(super) fn subjects(found: &[Found]) -> BTreeSet<String> {
    let subjects = found.iter();
    subjects
        .map(|found| Value::Object(found.entity.clone()).to_string())
        .collect()
}

/// What differs between subjects that should be found and those that are.
fn other_subjects(wanted: &BTreeSet<String>, now: &BTreeSet<String>) -> Option<String> {
    let mut text = String::new();
    for missing in wanted.difference(now) {
        let _ = writeln!(text, "- {missing}");
    }
    for extra in now.difference(wanted) {
        let _ = writeln!(text, "+ {extra}");
    }
    (!text.is_empty()).then(|| format!("other subjects are found:\n{}", text.trim_end()))
}

//! Findings that were false, and those that were right: an exception or another value of a parameter that silences the
//! former and keeps the latter. Nothing is proposed that was not tried on the rows that the findings are made of.

use serde_json::{Map, Value};

use super::episode::Episode;
use super::exceptions::Excepted;
use super::run::{Range, RunOptions, run};
use super::status::history;
use super::stored;
use super::values::{between, number, value_of};
use crate::catalog::{Exception, Pack, Param, ParamValue, RuleFile};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::suggest::nearest;

/// The year 1900: before any finding.
const EVER: i64 = -2_208_988_800_000_000;

/// A stored finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its name.
    pub id: String,
    /// As it stands.
    pub episode: Episode,
}

/// The findings of these names, as they stand.
///
/// # Errors
/// A name that no finding has, or one whose rule is not there in that version.
pub async fn known(store: &Store, pack: &Pack, ids: &[String]) -> Result<Vec<Known>> {
    let context = super::context_of(store).await?;
    let mut known = Vec::with_capacity(ids.len());
    for id in ids {
        let events = history(store, id).await?;
        let text = |name: &str| events.last().and_then(|row| row.get(name)?.as_str());
        let Some(rule) = text("rule_id") else {
            return Err(Error::Usage {
                message: format!("no finding `{id}`"),
                hint: Some(
                    "`SELECT finding_id, rule_id, title FROM findings_now` lists them".into(),
                ),
            });
        };
        let file = pack.rule(rule)?;
        let findings = stored::findings(&context, &file.rule, EVER).await?;
        let finding = findings.into_iter().find(|finding| finding.id == *id);
        let finding = finding.ok_or_else(|| Error::Usage {
            message: format!(
                "finding `{id}` is of another version of `{rule}` than {}",
                file.rule.version
            ),
            hint: Some("`--rules` names the files of that version".to_string()),
        })?;
        if finding.is_retracted {
            return Err(Error::Usage {
                message: format!("finding `{id}` was taken back"),
                hint: None,
            });
        }
        known.push(Known {
            id: id.clone(),
            episode: finding.episode,
        });
    }
    Ok(known)
}

/// A change that was proved to do what is wanted of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Proposal {
    /// The subjects of the false findings are excepted.
    Exception(Vec<Map<String, Value>>),
    /// Another value of a parameter: its name, the value it had, and the one proposed.
    Parameter(String, ParamValue, ParamValue),
}

/// What is to be tuned.
pub struct Tuning<'t> {
    /// The runtime of the runs.
    pub runtime: &'t tokio::runtime::Handle,
    /// The store that holds the findings and their rows.
    pub store: &'t Store,
    /// The rule of the findings.
    pub file: &'t RuleFile,
    /// Findings that must go.
    pub wrong: &'t [Known],
    /// Findings that must stay.
    pub right: &'t [Known],
    /// How to run: parameters, exceptions, memory.
    pub options: RunOptions,
}

/// What a trial came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Names of the false findings that still fire.
    pub wrong: Vec<String>,
    /// Names of the right ones that no longer do.
    pub lost: Vec<String>,
}

impl Trial {
    /// Whether all that is wrong is silent and nothing that is right was lost.
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty() && self.lost.is_empty()
    }
}

impl Tuning<'_> {
    /// Whether the findings come out as they are stored, when nothing is changed. Where they do not, nothing can be
    /// proved.
    ///
    /// # Errors
    /// When the store cannot be read, or one does not.
    pub fn check(&self) -> Result<()> {
        let trial = self.tried(&[], &[])?;
        let silent = self.wrong.iter().find(|it| !trial.wrong.contains(&it.id));
        let silent = silent.map(|it| &it.id).or(trial.lost.first());
        match silent {
            None => Ok(()),
            Some(id) => Err(Error::Usage {
                message: format!("finding `{id}` does not come out again, so nothing can be proved of it"),
                hint: Some(
                    "its rows have gone, the rule or its parameters were others, or an exception holds".into(),
                ),
            }),
        }
    }

    /// The narrowest exception: the subjects of the false findings, whole. `None` where one of them is the subject of a
    /// right one too.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn exception(&self, form: &Exception) -> Result<Option<Proposal>> {
        let mut keys: Vec<Map<String, Value>> = Vec::new();
        for known in self.wrong {
            let entity = &known.episode.entity;
            // A key that is null names nobody.
            let key: Map<String, Value> = entity
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            if key.is_empty() {
                return Ok(None);
            }
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let excepted = Excepted {
            exception: form.clone(),
            keys: keys.clone(),
        };
        let trial = self.tried(&[], &[excepted])?;
        Ok(trial.is_good().then_some(Proposal::Exception(keys)))
    }

    /// The smallest change of a parameter, up or down. `tick` is called after each trial.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn parameter(&self, param: &Param, tick: &dyn Fn()) -> Result<Option<Proposal>> {
        let rule = &self.file.rule;
        let given = self.options.params.iter().rev();
        let mut given = given.filter(|(id, name, _)| *id == rule.id && *name == param.name);
        let now = given.next().map_or(&param.default, |(_, _, value)| value);
        let Some(start) = number(now) else {
            return Ok(None);
        };
        let mut best: Option<f64> = None;
        for is_up in [true, false] {
            if let Some(found) = self.towards(param, start, is_up, tick)? {
                let change = |value: f64| (value.max(1e-9) / start.max(1e-9)).ln().abs();
                if best.is_none_or(|best| change(found) < change(best)) {
                    best = Some(found);
                }
            }
        }
        Ok(best.map(|best| {
            Proposal::Parameter(param.name.clone(), now.clone(), value_of(param, best))
        }))
    }

    /// The nearest value on one side at which every false finding is silent, if the right ones are not.
    fn towards(
        &self,
        param: &Param,
        start: f64,
        is_up: bool,
        tick: &dyn Fn(),
    ) -> Result<Option<f64>> {
        /// A thousand times as much, or as little.
        const DOUBLINGS: i32 = 10;
        const HALVINGS: usize = 7;
        let trial = |value: f64| -> Result<Trial> {
            let params = [(
                self.file.rule.id.clone(),
                param.name.clone(),
                value_of(param, value),
            )];
            let trial = self.tried(&params, &[]);
            tick();
            trial
        };
        let mut near = start;
        let mut far = None;
        for step in 1..=DOUBLINGS {
            let next = match (start == 0.0, is_up) {
                (true, true) => f64::from(1 << (step - 1)),
                (true, false) => return Ok(None),
                (false, true) => start * 2f64.powi(step),
                (false, false) => start / 2f64.powi(step),
            };
            let next = number(&value_of(param, next)).unwrap_or(next);
            if next == near {
                break;
            }
            let tried = trial(next)?;
            if tried.wrong.is_empty() {
                far = Some((next, tried));
                break;
            }
            // What is right went before what is wrong did.
            if !tried.lost.is_empty() {
                return Ok(None);
            }
            near = next;
        }
        let Some((mut far, mut tried)) = far else {
            return Ok(None);
        };
        for _ in 0..HALVINGS {
            let Some(middle) = between(param, near, far) else {
                break;
            };
            let at_middle = trial(middle)?;
            match at_middle.wrong.is_empty() {
                true => (far, tried) = (middle, at_middle),
                false => near = middle,
            }
        }
        Ok(tried.is_good().then_some(far))
    }

    /// Runs the rule over the windows of all the findings, and stores nothing.
    fn tried(
        &self,
        params: &[(String, String, ParamValue)],
        exceptions: &[Excepted],
    ) -> Result<Trial> {
        let rule = &self.file.rule;
        let all = || {
            self.wrong
                .iter()
                .chain(self.right)
                .map(|known| &known.episode)
        };
        let first = all()
            .map(|it| it.first_window.end)
            .min()
            .unwrap_or_default();
        let last = all().map(|it| it.last_window.end).max().unwrap_or_default();
        let mut options = self.options.clone();
        options.range = Range::Between(Some(first - rule.every.0), Some(last));
        options.dry_run = true;
        options.is_complete = true;
        options.params.extend_from_slice(params);
        options.exceptions.extend_from_slice(exceptions);
        let outcomes = run(self.runtime, self.store, &[self.file], &options)?;
        let outcome = &outcomes[0];
        if outcome.states.contains_key("error") {
            return Err(Error::Usage {
                message: format!(
                    "`{}` failed: {}",
                    rule.id,
                    outcome.detail.as_deref().unwrap_or_default()
                ),
                hint: None,
            });
        }
        let fires = |known: &&Known| {
            outcome
                .episodes
                .iter()
                .any(|it| is_part(&known.episode, it))
        };
        let names = |of: Vec<&Known>| of.into_iter().map(|known| known.id.clone()).collect();
        Ok(Trial {
            wrong: names(self.wrong.iter().filter(fires).collect()),
            lost: names(self.right.iter().filter(|it| !fires(it)).collect()),
        })
    }
}

/// Whether what came out is a finding, or a part of it.
fn is_part(known: &Episode, now: &Episode) -> bool {
    known.entity == now.entity
        && known.first_window.end <= now.last_window.end
        && now.first_window.end <= known.last_window.end
}

/// The parameters that may be tuned: all numbers, or the one that is named.
///
/// # Errors
/// A name that the rule does not have.
pub fn tunable<'r>(file: &'r RuleFile, name: Option<&str>) -> Result<Vec<&'r Param>> {
    let numbers = file.rule.params.iter();
    let numbers: Vec<&Param> = numbers.filter(|it| number(&it.default).is_some()).collect();
    let Some(name) = name else {
        return Ok(numbers);
    };
    let known = numbers.iter().map(|it| it.name.as_str());
    match numbers.iter().find(|it| it.name == name) {
        Some(param) => Ok(vec![*param]),
        None => Err(Error::Usage {
            message: format!(
                "`{}` has no parameter `{name}` that is a number",
                file.rule.id
            ),
            hint: nearest(name, known).map(|near| format!("did you mean `{near}`?")),
        }),
    }
}

//! What came of a rule: what is shown, what is stored, and how far it has come.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Job, Range, RuleOutcome, Run};
use crate::catalog::State;
use crate::detect::episode::{Episode, episodes};
use crate::detect::evaluate::{first_table, params_json};
use crate::detect::exceptions::Excepted;
use crate::detect::findings::Change;
use crate::detect::record::{Circumstances, Record};
use crate::detect::settle::settle;
use crate::detect::signals::Left;
use crate::error::Result;

impl<'a> Job<'a> {
    pub(super) async fn outcome(mut self, run: &Run<'_>) -> Result<RuleOutcome<'a>> {
        let started = Instant::now();
        let rule = &self.file.rule;
        let mut states = BTreeMap::new();
        for evaluation in &self.evaluated {
            *states.entry(evaluation.state.name()).or_default() += 1;
        }
        let detail = self
            .evaluated
            .iter()
            .find(|e| !matches!(e.state, State::Fired | State::Clear))
            .and_then(|e| e.detail.clone());
        let shown = match run.options.range {
            Range::SinceLast => None,
            _ => Some(told(
                episodes(rule, &self.evaluated),
                &run.options.exceptions,
            )),
        };
        // A failed window must be tried again: it is stored as an error, and the next run begins with it.
        if let Some(failed) = self.evaluated.iter().position(|e| e.state == State::Error) {
            let first = self.evaluated[failed].window.end;
            let before = first - rule.every.0;
            match self.progress.last {
                // Late rows that could not be looked at are still to be looked at.
                Some(last) if first <= last => {
                    self.evaluated.clear();
                    self.gaps.clear();
                    self.next = self.progress.clone();
                }
                last => {
                    self.evaluated.truncate(failed + 1);
                    self.next.last = match failed == 0 && last.is_none() {
                        true => None,
                        false => last.max(self.next.last.map(|next| next.min(before))),
                    };
                    if self.next.last.is_none() {
                        self.next.first = None;
                    }
                }
            }
        }
        let settled = settle(
            &run.context,
            rule,
            &self.evaluated,
            &self.progress,
            self.closed,
            &run.options.exceptions,
        )
        .await?;
        let params = params_json(rule, &self.overrides);
        let store_version = first_table(rule)
            .and_then(|table| self.next.versions.get(&table))
            .and_then(|version| i64::try_from(*version).ok());
        let is_further = self.next.last > self.progress.last || self.again > 0;
        let has_news = !settled.entries.is_empty()
            || !settled.changes.is_empty()
            || !self.gaps.is_empty()
            || (is_further && !self.evaluated.is_empty());
        let record = has_news.then(|| {
            let circumstances = Circumstances {
                rule,
                params: &params,
                run: self.next.runs,
                store_version,
                evaluated_at: run.options.evaluated_at,
            };
            Record {
                findings: circumstances.findings(&settled.changes),
                evaluations: circumstances.evaluations(&settled.entries, &self.gaps),
                transactions: self.progress.transactions(&self.next, rule),
            }
        });
        let changes = settled.changes;
        let left = run.heard.contains(rule.id.as_str()).then(|| Left {
            progress: match record.is_some() {
                true => self.next,
                false => self.progress,
            },
            changes: changes.clone(),
            evaluated: self.evaluated,
            closed: self.closed,
        });
        Ok(RuleOutcome {
            file: self.file,
            states,
            detail,
            episodes: shown.unwrap_or_else(|| newest(&changes)),
            changes,
            gaps: self.gaps,
            again: self.again,
            is_explicit: run.options.range != Range::SinceLast,
            elapsed: self.elapsed + started.elapsed(),
            record,
            left,
        })
    }
}

/// Those of which somebody is told.
fn told(mut episodes: Vec<Episode>, exceptions: &[Excepted]) -> Vec<Episode> {
    episodes.retain(|episode| !exceptions.iter().any(|exception| exception.covers(episode)));
    episodes
}

/// The findings that changed and that somebody is told of, each as it is now.
fn newest(changes: &[Change]) -> Vec<Episode> {
    let mut findings: BTreeMap<&str, &Change> = BTreeMap::new();
    for change in changes {
        findings.insert(&change.finding.id, change);
    }
    let mut episodes: Vec<Episode> = findings
        .into_values()
        .filter(|change| !change.finding.is_retracted && change.finding.excepted.is_none())
        .map(|change| change.finding.episode.clone())
        .collect();
    episodes.sort_by_key(|episode| episode.first_window);
    episodes
}

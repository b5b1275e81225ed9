//! What a run leaves behind, as rows of the tables `findings` and `evaluations`.

use arrow::array::RecordBatch;
use serde_json::Value;

use super::evaluate::Evaluated;
use super::findings::Change;
use crate::catalog::{Rule, State};
use crate::error::Result;
use crate::schema::{Evaluation, EvaluationBuilder, Finding, FindingBuilder, Micros, Table};
use crate::store::{Outcome, Store, WriteOptions};

/// What one run of one rule leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Rows for `findings`: one for everything that happened to a finding.
    pub findings: RecordBatch,
    /// Rows for `evaluations`: one for every window whose answer is new, and for every gap.
    pub evaluations: RecordBatch,
    /// Applications and versions of Delta transactions: the same windows are never stored twice.
    pub transactions: Vec<(String, i64)>,
}

/// An evaluation to be written down.
#[derive(Debug, Clone)]
pub(super) struct Entry<'e> {
    pub(super) evaluated: &'e Evaluated,
    pub(super) revision: i64,
    pub(super) is_early: bool,
}

/// Windows that were not evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Ends of the first and the last of them.
    pub ends: (i64, i64),
    /// Why.
    pub reason: String,
    /// Rows that came too late to be looked at.
    pub late_dropped: i64,
}

/// What all evaluations of a run have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances<'c> {
    pub(super) rule: &'c Rule,
    pub(super) params: &'c Value,
    /// Counts the runs that stored something.
    pub(super) run: i64,
    /// Version of the first table it read.
    pub(super) store_version: Option<i64>,
    /// When the run began, in microseconds.
    pub(super) evaluated_at: i64,
}

impl Circumstances<'_> {
    /// Rows for evaluations and gaps.
    pub(super) fn evaluations(&self, entries: &[Entry<'_>], gaps: &[Gap]) -> RecordBatch {
        let mut rows = EvaluationBuilder::default();
        let params = self.params.to_string();
        let common = Evaluation {
            rule_id: &self.rule.id,
            rule_version: self.rule.version,
            params: Some(&params),
            run: self.run,
            store_version: self.store_version,
            evaluated_at: Micros(self.evaluated_at),
            ..Evaluation::default()
        };
        for entry in entries {
            let Evaluated {
                window,
                state,
                found,
                frozen,
                detail,
                elapsed,
            } = entry.evaluated;
            let told = || found.iter().chain(frozen);
            let returned = told().next().map(|_| {
                let columns = told().map(|found| Value::Object(found.columns.clone()));
                Value::Array(columns.collect()).to_string()
            });
            rows.append(&Evaluation {
                window_start: Micros(window.start),
                window_end: Micros(window.end),
                revision: entry.revision,
                state: state.name(),
                findings: found.len() as i64,
                detail: detail.as_deref(),
                returned: returned.as_deref(),
                is_early: entry.is_early,
                elapsed_ms: Some(elapsed.as_secs_f64() * 1e3),
                ..common.clone()
            });
        }
        for gap in gaps {
            rows.append(&Evaluation {
                window_start: Micros(gap.ends.0 - self.rule.window.0),
                window_end: Micros(gap.ends.1),
                revision: 1,
                state: State::Gap.name(),
                detail: Some(&gap.reason),
                late_dropped: (gap.late_dropped > 0).then_some(gap.late_dropped),
                ..common.clone()
            });
        }
        rows.finish()
    }

    /// Rows for what happened to findings.
    pub(super) fn findings(&self, changes: &[Change]) -> RecordBatch {
        let mut rows = FindingBuilder::default();
        let rule = self.rule;
        for Change { event, finding } in changes {
            let episode = &finding.episode;
            let entity = Value::Object(episode.entity.clone()).to_string();
            let evidence = Value::Object(episode.evidence.clone()).to_string();
            let risk_object = rule.risk.as_ref().map(|risk| {
                let value = episode
                    .entity
                    .get(&risk.object)
                    .cloned()
                    .unwrap_or_default();
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_string)
            });
            rows.append(&Finding {
                finding_id: &finding.id,
                revision: finding.revision,
                event: event.name(),
                status: finding.status(),
                rule_id: &rule.id,
                rule_version: rule.version,
                title: &episode.title,
                severity: episode.severity.name(),
                confidence: Some(rule.confidence.name()),
                window_start: Micros(episode.first_window.start),
                window_end: Micros(episode.last_window.end),
                first_window_end: Micros(episode.first_window.end),
                windows: episode.windows as i64,
                entity: Some(&entity),
                event_count: episode.event_count,
                first_seen: episode.first_seen.map(Micros),
                last_seen: episode.last_seen.map(Micros),
                score: episode.score,
                evidence: Some(&evidence),
                suppressed: finding.is_suppressed,
                folded: finding.folded,
                excepted: finding.excepted.as_deref(),
                risk: rule.risk.as_ref().map(|risk| risk.score),
                risk_object: risk_object.as_deref(),
                atlas: rule.atlas.iter().map(String::as_str).collect(),
                owasp: rule.owasp.iter().map(String::as_str).collect(),
                evaluated_at: Micros(self.evaluated_at),
                ..Finding::default()
            });
        }
        rows.finish()
    }
}

/// Stores the records of a run in one commit; `false` when another run was faster, and nothing was changed.
///
/// # Errors
/// When they cannot be stored, or another run was faster for some of the rules alone.
pub(super) fn commit(store: &Store, records: Vec<Record>) -> Result<bool> {
    let mut writer = store.writer(WriteOptions::default())?;
    let mut transactions = Vec::with_capacity(records.len());
    for record in records {
        // An empty batch would make an empty file.
        for (table, rows) in [
            (Table::Findings, record.findings),
            (Table::Evaluations, record.evaluations),
        ] {
            if rows.num_rows() > 0 {
                writer.write(table, rows)?;
            }
        }
        transactions.extend(record.transactions);
    }
    let commits = writer.commit_to(Table::Evaluations, &transactions)?;
    Ok(commits
        .iter()
        .all(|commit| commit.outcome == Outcome::Committed))
}

//! Evaluations as rows of the tables `findings` and `evaluations`, and the place that takes them.

use arrow::array::RecordBatch;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::evaluate::{Evaluated, Found};
use crate::catalog::Rule;
use crate::error::Result;
use crate::schema::{Evaluation, EvaluationBuilder, Finding, FindingBuilder, Micros, Table};
use crate::store::{Outcome, Store, WriteOptions};

/// What one run of one rule leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Rows for `findings`: one for every row of every window.
    pub findings: RecordBatch,
    /// Rows for `evaluations`: one for every window.
    pub evaluations: RecordBatch,
    /// Application and version of a Delta transaction: the same windows are never stored twice.
    pub transaction: (String, i64),
}

/// Takes the records of a run, all or nothing.
pub trait FindingSink {
    /// Stores records in one commit a table; `false` when they were stored before.
    ///
    /// # Errors
    /// When they cannot be stored.
    fn commit(&mut self, records: Vec<Record>) -> Result<bool>;
}

/// A sink in memory, for tests and dry runs.
#[derive(Debug, Default)]
pub struct MemorySink {
    /// What was stored.
    pub records: Vec<Record>,
}

impl FindingSink for MemorySink {
    fn commit(&mut self, records: Vec<Record>) -> Result<bool> {
        let is_known = |record: &Record| {
            let (application, version) = &record.transaction;
            self.records
                .iter()
                .any(|known| known.transaction.0 == *application && known.transaction.1 >= *version)
        };
        if !records.is_empty() && records.iter().all(is_known) {
            return Ok(false);
        }
        self.records.extend(records);
        Ok(true)
    }
}

/// Stores records in a store.
#[derive(Debug)]
pub struct StoreSink(pub Store);

impl FindingSink for StoreSink {
    fn commit(&mut self, records: Vec<Record>) -> Result<bool> {
        let mut writer = self.0.writer(WriteOptions::default())?;
        let mut transactions = Vec::with_capacity(records.len());
        for record in records {
            // An empty batch would make an empty file.
            if record.findings.num_rows() > 0 {
                writer.write(Table::Findings, record.findings)?;
            }
            writer.write(Table::Evaluations, record.evaluations)?;
            transactions.push(record.transaction);
        }
        let commits = writer.commit_to(Table::Evaluations, &transactions)?;
        Ok(commits
            .iter()
            .all(|commit| commit.outcome == Outcome::Committed))
    }
}

/// Whether windows go on from where the last run ended, or fill what lies before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// After everything stored: one transaction id whose version is the last instant.
    Forward,
    /// Anything else: an id of its own, as a version cannot go back.
    Backfill,
}

/// Writes evaluations as rows. `evaluated_at` is when the run began, in microseconds.
pub fn record(
    rule: &Rule,
    evaluated: &[Evaluated],
    params: &Value,
    evaluated_at: i64,
    order: Order,
) -> Record {
    let mut findings = FindingBuilder::default();
    let mut evaluations = EvaluationBuilder::default();
    let params = params.to_string();
    for evaluation in evaluated {
        for (row, found) in evaluation.found.iter().enumerate() {
            append(&mut findings, rule, evaluation, row, found, evaluated_at);
        }
        evaluations.append(&Evaluation {
            rule_id: &rule.id,
            rule_version: rule.version,
            window_start: Micros(evaluation.window.start),
            window_end: Micros(evaluation.window.end),
            state: evaluation.state.name(),
            findings: evaluation.found.len() as i64,
            detail: evaluation.detail.as_deref(),
            params: Some(&params),
            store_version: None,
            elapsed_ms: Some(evaluation.elapsed.as_secs_f64() * 1e3),
            evaluated_at: Micros(evaluated_at),
            ..Evaluation::default()
        });
    }
    let ends = || evaluated.iter().map(|evaluation| evaluation.window.end);
    let (first, last) = (ends().min().unwrap_or(0), ends().max().unwrap_or(0));
    let application = format!("rule/{}@{}", rule.id, rule.version);
    Record {
        findings: findings.finish(),
        evaluations: evaluations.finish(),
        transaction: match order {
            Order::Forward => (application, last),
            Order::Backfill => (format!("{application}/{first}-{last}"), last),
        },
    }
}

fn append(
    findings: &mut FindingBuilder,
    rule: &Rule,
    evaluation: &Evaluated,
    row: usize,
    found: &Found,
    evaluated_at: i64,
) {
    let entity = Value::Object(found.entity.clone()).to_string();
    let evidence = Value::Object(found.columns.clone()).to_string();
    let id = finding_id(rule, evaluation.window.end, &entity, row, evaluation);
    findings.append(&Finding {
        finding_id: &id,
        rule_id: &rule.id,
        rule_version: rule.version,
        title: &found.title,
        severity: found.severity.name(),
        confidence: Some(rule.confidence.name()),
        window_start: Micros(evaluation.window.start),
        window_end: Micros(evaluation.window.end),
        entity: Some(&entity),
        event_count: found.event_count,
        first_seen: found.first_seen.map(Micros),
        last_seen: found.last_seen.map(Micros),
        score: found.score,
        evidence: Some(&evidence),
        atlas: rule.atlas.iter().map(String::as_str).collect(),
        owasp: rule.owasp.iter().map(String::as_str).collect(),
        evaluated_at: Micros(evaluated_at),
        ..Finding::default()
    });
}

/// The same for the same rule, version, window and entity. Rows of one entity in one window are told apart by what
/// they are, not by the order in which they came.
fn finding_id(
    rule: &Rule,
    window_end: i64,
    entity: &str,
    row: usize,
    evaluation: &Evaluated,
) -> String {
    let mut hash = Sha256::new();
    for part in [
        rule.id.as_bytes(),
        &rule.version.to_le_bytes(),
        &window_end.to_le_bytes(),
        entity.as_bytes(),
    ] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let found = &evaluation.found[row];
    if evaluation
        .found
        .iter()
        .filter(|other| other.entity == found.entity)
        .count()
        > 1
    {
        hash.update(Value::Object(found.columns.clone()).to_string());
    }
    hash.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

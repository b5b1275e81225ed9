//! Sinks: findings reach people, once or again but never not at all, and nothing in them does harm on the way.
//!
//! The other sides are small servers on this machine (`server`); time is what the test says.

mod command_line;
mod delivery;
mod kinds;
mod routing;
mod server;
mod withheld;

use std::path::Path;

use inferwatch::catalog::{Pack, RuleFile};
use inferwatch::schema::{Finding, FindingBuilder, Micros, Table};
use inferwatch::sinks::{Deliverer, Pass, Settings, deliver};
use inferwatch::store::{Store, WriteOptions};
use tempfile::TempDir;

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
/// 2026-11-21, noon.
pub(super) const NOON: i64 = 1_795_262_400 * SECOND;

/// What strangers write.
pub(super) const HOSTILE: &str = "<img onerror=alert(1)> @channel `rm -rf` *x* <!here> \"]\\\r\nBcc: eve@example.com\u{1b}[31m\u{202e}";

/// One row of `findings`.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) id: &'static str,
    pub(super) revision: i64,
    pub(super) event: &'static str,
    pub(super) status: &'static str,
    pub(super) rule: &'static str,
    pub(super) severity: &'static str,
    pub(super) caller: &'static str,
    pub(super) title: &'static str,
    pub(super) evidence: &'static str,
    pub(super) suppressed: bool,
    /// Minutes after noon at which it was evaluated.
    pub(super) minute: i64,
}

/// A finding that opened.
pub(super) fn opened(id: &'static str) -> Event {
    Event {
        id,
        revision: 1,
        event: "opened",
        status: "open",
        rule: "token-burn",
        severity: "high",
        caller: "svc-a",
        title: "Caller used more tokens in one hour than allowed",
        evidence: "{\"caller\":\"svc-a\",\"total_tokens\":500001}",
        suppressed: false,
        minute: 0,
    }
}

/// The same later.
pub(super) fn then(before: &Event, event: &'static str) -> Event {
    Event {
        revision: before.revision + 1,
        event,
        status: match event {
            "resolved" => "resolved",
            "retracted" => "retracted",
            _ => "open",
        },
        minute: before.minute + 5,
        ..before.clone()
    }
}

/// A store in a folder of its own.
pub(super) struct TestStore {
    pub(super) folder: TempDir,
}

impl TestStore {
    pub(super) fn new() -> TestStore {
        let folder = tempfile::tempdir().expect("a folder");
        TestStore { folder }
    }

    /// Opened anew each time, as by another process.
    pub(super) fn open(&self) -> Store {
        Store::open_or_create(&self.folder.path().join("store")).expect("a store")
    }

    /// Commits rows of `findings`.
    pub(super) fn commit(&self, events: &[Event]) {
        let mut rows = FindingBuilder::default();
        for event in events {
            let at = NOON + event.minute * MINUTE;
            let subject = match event.rule {
                "canary-regression" => "model_deployment",
                "by-words" => "words",
                _ => "caller",
            };
            let entity = serde_json::json!({ subject: event.caller }).to_string();
            rows.append(&Finding {
                finding_id: event.id,
                revision: event.revision,
                event: event.event,
                status: event.status,
                rule_id: event.rule,
                rule_version: 1,
                title: event.title,
                severity: event.severity,
                confidence: Some("high"),
                window_start: Micros(at - 65 * MINUTE),
                window_end: Micros(at - 5 * MINUTE),
                first_window_end: Micros(at - 5 * MINUTE),
                windows: event.revision,
                entity: Some(&entity),
                event_count: Some(7),
                first_seen: Some(Micros(at - 30 * MINUTE)),
                last_seen: Some(Micros(at - 6 * MINUTE)),
                score: Some(0.5),
                evidence: Some(event.evidence),
                suppressed: event.suppressed,
                folded: 0,
                excepted: None,
                risk: None,
                risk_object: None,
                atlas: vec!["AML.T0034.000", "AML.T0029"],
                owasp: vec!["LLM10:2025"],
                evaluated_at: Micros(at),
                ..Finding::default()
            });
        }
        let mut writer = self
            .open()
            .writer(WriteOptions::default())
            .expect("a writer");
        writer
            .write(Table::Findings, rows.finish())
            .expect("rows are taken");
        writer.commit(&[]).expect("a commit");
    }

    /// What delivers, as a process that was just started has it.
    pub(super) fn deliverer(&self, settings: &str) -> Deliverer {
        self.deliverer_with(settings, rules())
    }

    pub(super) fn deliverer_with(&self, settings: &str, rules: Vec<RuleFile>) -> Deliverer {
        let store = self.open();
        let opening = Deliverer::open(&store, parse(settings), rules, Some(7));
        block_on(opening).expect("opens")
    }

    /// One pass of a process that was just started.
    pub(super) fn deliver(&self, settings: &str, now: i64) -> Vec<Pass> {
        pass(&mut self.deliverer(settings), now)
    }
}

/// One pass of a process that goes on.
pub(super) fn pass(deliverer: &mut Deliverer, now: i64) -> Vec<Pass> {
    let passes = block_on(deliver(deliverer, now)).into_iter();
    passes.map(|pass| pass.expect("the outbox works")).collect()
}

pub(super) fn parse(settings: &str) -> Settings {
    Settings::parse(Path::new("/etc/inferwatch.toml"), settings).expect("the settings are right")
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

/// The rules that ship, in version 1, as the rows here say.
pub(super) fn rules() -> Vec<RuleFile> {
    let mut rules = Pack::embedded().rules;
    for file in &mut rules {
        file.rule.version = 1;
    }
    rules
}

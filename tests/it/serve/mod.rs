//! The server through its two ports: who may ask, what a token opens and nothing else, records that are taken once, and
//! what does no harm.

mod answers;
mod canary;
mod fuzz;
mod intake;
mod program;
mod rights;
mod tokens;

use std::path::PathBuf;

use inferwatch::schema::{
    Call, CallBuilder, Content, ContentBuilder, Filter, FilterBuilder, Micros, Table,
};
use inferwatch::store::{Rights, Store, Token, WriteOptions};
use tempfile::TempDir;

/// What no token without `--content` may see, and what no token for Alice's rows may.
const SECRET: &str = "the swordfish prompt";
const BOB: &str = "bob-the-other-caller";
/// 2026-03-02T10:00:00Z.
const NOON: i64 = 1_772_445_600_000_000;

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    /// Three calls of Alice and two of Bob, with a prompt each.
    fn new() -> Fixture {
        let fixture = Fixture::empty();
        let store = fixture.store();
        let (mut calls, mut content) = (CallBuilder::default(), ContentBuilder::default());
        let mut filters = FilterBuilder::default();
        for (number, caller) in ["alice", "alice", "alice", BOB, BOB].iter().enumerate() {
            let id = format!("event-{number}");
            let event_time = Micros(NOON + number as i64 * 1_000_000);
            calls.append(&Call {
                event_time,
                event_id: &id,
                source_format: "test",
                record_role: "primary",
                caller: Some(caller),
                model: Some("gpt-4o"),
                team: Some(if *caller == "alice" {
                    "search"
                } else {
                    "other"
                }),
                input_tokens: Some(100 + number as i64),
                outcome: "success",
                hour: "2026-03-02T10",
                ..Call::default()
            });
            content.append(&Content {
                event_time,
                event_id: &id,
                source_format: "test",
                caller: Some(caller),
                direction: "input",
                part_type: "text",
                text: Some(SECRET),
                hour: "2026-03-02T10",
                ..Content::default()
            });
            filters.append(&Filter {
                event_time,
                event_id: &id,
                source_format: "test",
                caller: Some(caller),
                direction: Some("input"),
                policy: Some("jailbreak"),
                action: Some("blocked"),
                hour: "2026-03-02T10",
                ..Filter::default()
            });
        }
        let mut writer = store.writer(WriteOptions::default()).expect("a writer");
        for (table, rows) in [
            (Table::Calls, calls.finish()),
            (Table::Content, content.finish()),
            (Table::Filters, filters.finish()),
        ] {
            writer.write(table, rows).expect("rows are taken");
        }
        writer.commit(&[]).expect("a commit");
        fixture
    }

    fn empty() -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let fixture = Fixture { folder };
        Store::open_or_create(&fixture.path()).expect("a store");
        fixture
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Opened anew each time, as by another process.
    fn store(&self) -> Store {
        Store::open(&self.path()).expect("a store")
    }

    fn token(&self, name: &str, rights: Rights) -> String {
        let (token, secret) = Token::issue(name, rights, 1, None).expect("a token");
        self.store().add_token(token).expect("it is kept");
        secret
    }

    fn reader(&self) -> String {
        self.token("reader", all())
    }
}

fn all() -> Rights {
    Rights {
        all: true,
        ..Rights::default()
    }
}

fn ingest() -> Rights {
    Rights {
        ingest: true,
        ..Rights::default()
    }
}

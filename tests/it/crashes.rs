//! Crashes: whatever a program that changes a store was doing when it died, or when the power went, the store opens, what
//! was acknowledged is there exactly once, nothing that was erased comes back, and the next run ends the work.
//!
//! Each piece of work is done once to count the operations on the disk (writes, synchronisations, renames, removals, new
//! files and folders), and then once for each of them, killed there, and for two of three with the power cut as well.
//! `INFERWATCH_CRASHES=long cargo test --workspace --test it crashes -- --nocapture` does it with more rows, and cuts the
//! power at each.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use inferwatch::catalog::Tier;
use inferwatch::erasure::{EraseOptions, Target, erase};
use inferwatch::keys::KeySource;
use inferwatch::retention;
use inferwatch::schema::{
    Call, CallBuilder, Content, ContentBuilder, Filter, FilterBuilder, Micros, Table,
};
use inferwatch::store::faults::Armed;
use inferwatch::store::{CompactOptions, Store, SweepOptions, WriteOptions};
use tempfile::TempDir;

use crate::command::program;

type Failed = Box<dyn std::error::Error>;

/// 2026-03-02T10:00:00Z, from `date -u -d @1772445600`.
const TEN: i64 = 1_772_445_600_000_000;
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
const ALICE: &str = "alice-of-accounting";
const BOB: &str = "bob";

/// A source: a call of each of two callers, with text and a filter finding, in one hour.
fn ingest(store: &Store, number: i64) -> Result<(), Failed> {
    let (mut calls, mut content, mut filters) = (
        CallBuilder::default(),
        ContentBuilder::default(),
        FilterBuilder::default(),
    );
    for caller in [ALICE, BOB] {
        let id = format!("{number}-{}", caller.len());
        let text = format!("words {number}");
        let time = Micros(TEN + number % 3 * HOUR + number);
        calls.append(&Call {
            event_time: time,
            event_id: &id,
            source_format: "test",
            record_role: "primary",
            caller: Some(caller),
            model: Some("m"),
            outcome: "success",
            ..Call::default()
        });
        content.append(&Content {
            event_time: time,
            event_id: &id,
            caller: Some(caller),
            source_format: "test",
            direction: "input",
            part_type: "text",
            text: Some(&text),
            ..Content::default()
        });
        filters.append(&Filter {
            event_time: time,
            event_id: &id,
            caller: Some(caller),
            source_format: "test",
            category: Some("hate"),
            ..Filter::default()
        });
    }
    let mut writer = store.writer(options())?;
    writer.write(Table::Calls, calls.finish())?;
    writer.write(Table::Content, content.finish())?;
    writer.write(Table::Filters, filters.finish())?;
    writer.commit(&[(format!("source-{number}"), 1)])?;
    Ok(())
}

/// One thread, so that operations come in much the same order each time.
fn options() -> WriteOptions {
    WriteOptions {
        threads: 1,
        ..WriteOptions::default()
    }
}

fn sweep(store: &Store, after: i64) -> Result<(), Failed> {
    store.sweep(&SweepOptions {
        at: chrono::Utc::now().timestamp_micros() + after,
        ..SweepOptions::default()
    })?;
    Ok(())
}

fn compact(store: &Store) -> Result<(), Failed> {
    let options = CompactOptions {
        at: TEN + 3 * DAY,
        write: options(),
        ..CompactOptions::default()
    };
    let report = store.compact(store.plan_compaction(&options)?, &options)?;
    match report.failed.first() {
        None => Ok(()),
        Some((table, period, why)) => Err(format!("{} {period}: {why}", table.name()).into()),
    }
}

fn expire(store: &Store) -> Result<(), Failed> {
    let mut tiers = Tier::embedded();
    tiers.retain(|tier| {
        ["usage-rollup", "calls-expire", "content-expire"].contains(&tier.id.as_str())
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(retention::apply(
        store,
        &tiers,
        TEN + 100 * DAY,
        |_| Ok(()),
        &options(),
    ))?;
    Ok(())
}

fn erase_alice(store: &Store) -> Result<(), Failed> {
    let options = EraseOptions {
        at: chrono::Utc::now().timestamp_micros(),
        grace: 0,
        tables: Vec::new(),
        dry_run: false,
        write: options(),
    };
    erase(store, &Target::Caller(ALICE.to_owned()), &options)?;
    sweep(store, HOUR)
}

/// To the other of two keys.
fn rotate(store: &Store, folder: &Path) -> Result<(), Failed> {
    store.rotate_keys(&[], &KeySource::File(folder.join("b.key")), TEN)?;
    Ok(())
}

/// A piece of work.
struct Work {
    name: &'static str,
    /// What was done before.
    prepare: fn(&Store) -> Result<(), Failed>,
    run: fn(&Store, &Path) -> Result<(), Failed>,
}

static WORK: [Work; 7] = [
    Work {
        name: "ingest",
        prepare: |_| Ok(()),
        run: |store, _| ingest(store, 99),
    },
    Work {
        name: "compact",
        prepare: |_| Ok(()),
        run: |store, _| compact(store),
    },
    Work {
        name: "sweep",
        prepare: compact,
        run: |store, _| sweep(store, 8 * DAY),
    },
    Work {
        name: "expire",
        prepare: |_| Ok(()),
        run: |store, _| expire(store),
    },
    Work {
        name: "erase",
        prepare: |_| Ok(()),
        run: |store, _| erase_alice(store),
    },
    Work {
        name: "rotate",
        prepare: |_| Ok(()),
        run: rotate,
    },
    Work {
        name: "encrypt",
        prepare: |store| Ok(store.rotate_keys(&[], &KeySource::Nowhere, TEN).map(drop)?),
        run: |store, _| {
            let plan = store.to_encrypt(true)?;
            Ok(store.encrypt(&plan, &options(), &AtomicU64::new(0), TEN)?)
        },
    },
];

/// With either key: which of them opens the store depends on how far a change of keys came.
fn open(folder: &Path) -> Store {
    let store = Store::open(&folder.join("store")).expect("the store opens");
    store.with_keys(KeySource::File(folder.join("keys")), "test")
}

fn is_long() -> bool {
    std::env::var_os("INFERWATCH_CRASHES").is_some_and(|value| value == "long")
}

/// A store that has been at work: a few sources, in encrypted files.
fn prepared(work: &Work) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path();
    let _lasting = Armed::new(path, u64::MAX);
    let keys = ["ab", "cd"].map(|byte| byte.repeat(32) + "\n");
    fs::write(path.join("a.key"), &keys[0]).expect("written");
    fs::write(path.join("b.key"), &keys[1]).expect("written");
    fs::write(path.join("keys"), keys.concat()).expect("written");
    let store = Store::open_or_create(&path.join("store")).expect("a store");
    store
        .with_keys(KeySource::File(path.join("a.key")), "test")
        .init_keys(&[Table::Content], TEN)
        .expect("keys");
    let store = open(path);
    for number in 0..if is_long() { 40 } else { 4 } {
        ingest(&store, number).expect("rows");
    }
    (work.prepare)(&store).expect("prepared");
    // Replays each log and saves what it finds, so that those who come after need not.
    store_rows(&open(path));
    folder
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.expect("listed");
        let target = to.join(entry.path().strip_prefix(from).expect("below"));
        if entry.file_type().is_dir() {
            fs::create_dir_all(target).expect("made");
            continue;
        }
        fs::copy(entry.path(), &target).expect("copied");
        // What was saved of a log is believed only when the time of its newest commit is the same.
        let modified = entry.metadata().expect("there").modified().expect("a time");
        let copied = fs::File::options()
            .write(true)
            .open(&target)
            .expect("opened");
        copied.set_modified(modified).expect("dated");
    }
}

/// Rows of the tables that hold what was acknowledged.
fn rows(store: &Store) -> BTreeMap<&'static str, i64> {
    [Table::Calls, Table::Content, Table::Filters, Table::Usage]
        .into_iter()
        .map(|table| {
            (
                table.name(),
                store.snapshot(table).expect("a snapshot").rows(),
            )
        })
        .collect()
}

/// Dies at one operation, looks at what is left, and goes on with the work.
fn die_at(
    work: &Work,
    base: &Path,
    at: u64,
    is_cut: bool,
    before: &BTreeMap<&str, i64>,
    after: &BTreeMap<&str, i64>,
) {
    let told = format!(
        "{}, operation {at}, {}",
        work.name,
        if is_cut { "power cut" } else { "killed" }
    );
    let folder = TempDir::new().expect("a folder");
    let path = folder.path();
    copy(base, path);
    let armed = Armed::new(path, at);
    let result = (work.run)(&open(path), path);
    if is_cut {
        armed.cut_power().expect("cut");
    } else {
        drop(armed);
    }

    // What follows need not last: nothing waits for the disk.
    let _lasting = Armed::new(path, u64::MAX);
    let store = open(path);
    store
        .writer(options())
        .unwrap_or_else(|error| panic!("{told}: {error}"));
    let now = rows(&store);
    match result {
        Ok(()) => assert_eq!(&now, after, "{told}: it was acknowledged"),
        // Each tier is a commit, and calls go only once they are summed up.
        Err(_) if work.name == "expire" => {
            for (table, rows) in &now {
                assert!(
                    [before[table], after[table]].contains(rows),
                    "{told}: {now:?}"
                );
            }
            assert!(
                now["calls"] == before["calls"] || now["usage"] == after["usage"],
                "{told}: {now:?}"
            );
        }
        Err(_) => assert!(&now == before || &now == after, "{told}: {now:?}"),
    }
    (work.run)(&store, path).unwrap_or_else(|error| panic!("{told}: again: {error}"));
    assert_eq!(&rows(&store), after, "{told}: again");
    // Every byte is read now and then, since that takes longest.
    if is_long() || at.is_multiple_of(8) {
        let report = store.verify(true).expect("it can be verified");
        assert_eq!(report.problems, [], "{told}: again");
        assert_eq!(report.sealed, [], "{told}: again");
        assert_eq!(report.rows, store_rows(&store), "{told}: again");
    }
    if work.name == "erase" {
        // Files that no log names go a day later.
        sweep(&store, 3 * DAY).unwrap_or_else(|error| panic!("{told}: sweep: {error}"));
        for entry in walkdir::WalkDir::new(path.join("store")) {
            let entry = entry.expect("listed");
            let name = entry.path().to_string_lossy().into_owned();
            assert!(!name.contains(ALICE), "{told}: {name}");
            if entry.file_type().is_file() {
                let bytes = fs::read(entry.path()).expect("read");
                let found = memchr::memmem::find(&bytes, ALICE.as_bytes());
                assert!(found.is_none(), "{told}: {name} names who was erased");
            }
        }
    }
}

fn store_rows(store: &Store) -> i64 {
    Table::ALL
        .into_iter()
        .map(|table| store.snapshot(table).expect("a snapshot").rows())
        .sum()
}

/// A piece of work with a store to begin with, and what it comes to.
struct Measured {
    work: &'static Work,
    base: TempDir,
    operations: u64,
    before: BTreeMap<&'static str, i64>,
    after: BTreeMap<&'static str, i64>,
}

/// Does it once without dying, in a copy.
fn measured(work: &'static Work) -> Measured {
    let base = prepared(work);
    let whole = TempDir::new().expect("a folder");
    copy(base.path(), whole.path());
    let armed = Armed::new(whole.path(), u64::MAX);
    (work.run)(&open(whole.path()), whole.path()).expect("it works");
    Measured {
        operations: armed.operations(),
        before: rows(&open(base.path())),
        after: rows(&open(whole.path())),
        work,
        base,
    }
}

#[test]
fn any_operation_on_the_disk_may_be_the_last() {
    let works: Vec<Measured> = WORK.iter().map(measured).collect();
    let mut deaths = Vec::new();
    for of in &works {
        for at in 1..=of.operations {
            deaths.push((of, at, false));
            if is_long() || !at.is_multiple_of(3) {
                deaths.push((of, at, true));
            }
        }
    }
    assert!(deaths.len() >= 1_000, "{} are too few", deaths.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((of, at, is_cut)) = deaths.get(number) else {
                        return;
                    };
                    let base = of.base.path();
                    die_at(of.work, base, *at, *is_cut, &of.before, &of.after);
                }
            });
        }
    });
}

#[test]
fn the_program_itself_may_die_at_any_operation() {
    let logs = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/formats/bedrock");
    let run = |folder: &Path, fault: Option<u64>, arguments: &[&str]| {
        let mut command = program(folder, &["--quiet", "--key-file", "a.key"]);
        command.args(arguments);
        if let Some(at) = fault {
            command.env("INFERWATCH_FAULT", at.to_string());
        }
        let output = command.output().expect("it starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let count = "SELECT (SELECT count(*) FROM calls) AS calls, (SELECT count(DISTINCT event_id) FROM calls) AS ids, \
                 (SELECT count(*) FROM content) AS content, (SELECT count(*) FROM filters) AS filters";
    let asked = ["sql", "--format", "csv", count];
    let work: [&[&str]; 3] = [
        &["ingest", "--content", "raw", logs],
        &["compact", "--at", "2027-01-01", "--grace", "0s"],
        &["keys", "rotate"],
    ];
    let prepared = || {
        let folder = TempDir::new().expect("a folder");
        assert_eq!(run(folder.path(), None, &["keys", "init"]).0, Some(0));
        folder
    };
    let whole = prepared();
    for arguments in work {
        assert_eq!(run(whole.path(), None, arguments).0, Some(0));
    }
    let expected = run(whole.path(), None, &asked);
    assert_eq!(expected.0, Some(0));

    let folder = prepared();
    let mut deaths = 0;
    for arguments in work {
        let mut at = 1;
        // Killed further and further on, and each time in what is left of the time before.
        loop {
            let (code, told) = run(folder.path(), Some(at), arguments);
            match code {
                None => deaths += 1,
                Some(code) => {
                    assert_eq!(code, 0, "{arguments:?} at {at}: {told}");
                    break;
                }
            }
            at += at / 3 + 1;
        }
    }
    assert!(deaths > 20, "{deaths}");
    assert_eq!(run(folder.path(), None, &asked), expected);
    let (code, told) = run(folder.path(), None, &["store", "verify", "--deep"]);
    assert_eq!(code, Some(0), "{told}");
}

//! `inferwatch run` as a process that goes on: logs land while it runs, it is told to end, or killed, and started again.
#![cfg(unix)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use inferwatch::schema::Table;
use inferwatch::store::Store;
use tempfile::TempDir;

use crate::command::{bare, ended};

/// Long enough for a busy machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(300);

/// Rules that find something in what is made below, one that compares with a baseline, and a correlation.
const RULES: &str =
    "token-burn,guardrail-blocks,large-outputs,cost-spike,security-control-tampering";

fn done(folder: &Path, arguments: &[&str]) -> String {
    let (code, out, told) = ended(bare(folder).arg("--no-config").args(arguments));
    assert!(matches!(code, 0 | 1), "{arguments:?}: {told}");
    out
}

/// A scheduler on the folder's store, which follows its landing folder.
struct Running(Option<Child>);

impl Running {
    fn start(folder: &Path) -> Running {
        let child = bare(folder)
            .args(["--no-config", "--store", "live"])
            .args(["run", "--follow", "landing", "--tick", "20ms"])
            .args(["--rule", RULES, "--threads", "1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Running(Some(child.expect("it starts")))
    }

    fn signal(&self, name: &str) {
        let id = self.0.as_ref().expect("it runs").id();
        let sent = Command::new("kill").args([name, &id.to_string()]).status();
        assert!(sent.expect("there is such a program").success());
    }

    /// Waits for its end, with what it has said.
    fn end(mut self) -> Output {
        let mut child = self.0.take().expect("it runs");
        let begun = Instant::now();
        while child.try_wait().expect("it is ours").is_none() {
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::yield_now();
        }
        child.wait_with_output().expect("it has ended")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until something holds, while the program works.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn rows(folder: &Path, table: Table) -> i64 {
    // The store is made by whoever comes first.
    let store = Store::open(&folder.join("live")).ok();
    store
        .and_then(|store| store.snapshot(table).ok())
        .map_or(0, |snapshot| snapshot.rows())
}

/// How many schedulers that run have left a note with something in it.
fn noted(folder: &Path, what: &str) -> usize {
    let notes = Store::open(&folder.join("live")).and_then(|store| store.present("scheduler"));
    let notes = notes.unwrap_or_default();
    notes.iter().filter(|note| note[what].is_string()).count()
}

/// Logs of some hours, in the order of time, each with the place where it lands.
fn logs(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let plan = [
        "--hours",
        "12",
        "--rows",
        "600",
        "--callers",
        "6",
        "--platform",
        "litellm",
    ];
    done(
        folder,
        &[&["generate", "logs", "--incidents", "--quiet"], &plan[..]].concat(),
    );
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(folder.join("logs"))
        .into_iter()
        .map(|entry| entry.expect("a file").into_path())
        .filter(|path| path.is_file())
        .collect();
    // The hour is the name of the file, or of its folder.
    files.sort_by_key(|path| {
        let mut names = path
            .iter()
            .rev()
            .map(|name| name.to_string_lossy().replace(".jsonl", ""));
        names.find(|name| name.len() == 2)
    });
    assert!(files.len() >= 12, "{files:?}");
    std::fs::create_dir_all(folder.join("landing")).expect("made");
    let landing = |place: usize| folder.join("landing").join(format!("{place:03}"));
    files
        .into_iter()
        .enumerate()
        .map(|(place, path)| (path, landing(place)))
        .collect()
}

/// A file lands in two pieces, the first of which ends anywhere.
fn land(from: &Path, to: &Path) {
    let bytes = std::fs::read(from).expect("a log");
    let (first, rest) = bytes.split_at(bytes.len() / 3);
    std::fs::write(to, first).expect("written");
    let mut file = std::fs::File::options()
        .append(true)
        .open(to)
        .expect("there");
    file.write_all(rest).expect("written");
}

const FINDINGS: &str = "SELECT rule_id, entity, status, severity, window_start, first_window_end, window_end, windows, \
     event_count, first_seen, last_seen, evidence FROM findings_now ORDER BY rule_id, window_start, window_end, entity";

/// What a store holds in the end, when somebody has said that nothing is missing.
fn findings(folder: &Path, store: &str) -> String {
    done(
        folder,
        &[
            "--store",
            store,
            "run",
            "--once",
            "--complete",
            "--rule",
            RULES,
        ],
    );
    let once = done(
        folder,
        &[
            "--store",
            store,
            "sql",
            "SELECT count(*) - count(DISTINCT finding_id || '/' || revision) AS twice FROM findings; \
             SELECT count(*) - count(DISTINCT rule_id || '/' || window_end || '/' || revision) AS twice FROM evaluations; \
             SELECT count(*) - count(DISTINCT event_id) AS twice FROM calls",
        ],
    );
    assert_eq!(once, "{\"twice\":0}\n{\"twice\":0}\n{\"twice\":0}\n");
    done(folder, &["--store", store, "sql", FINDINGS])
}

/// Logs, what is found in them when all of them are there, and how many calls they hold.
fn whole(folder: &Path) -> (Vec<(PathBuf, PathBuf)>, String, i64) {
    let logs = logs(folder);
    done(folder, &["--store", "whole", "ingest", "--quiet", "logs"]);
    let wanted = findings(folder, "whole");
    let all = Store::open(&folder.join("whole")).expect("a store");
    let all = all.snapshot(Table::Calls).expect("a table").rows();
    (logs, wanted, all)
}

#[test]
fn what_lands_while_it_runs_is_found_as_if_it_had_been_there() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let (logs, wanted, all) = whole(folder);
    assert!(wanted.lines().count() > 2, "{wanted}");

    let running = Running::start(folder);
    wait_until("it says that it runs", || noted(folder, "last_tick") > 0);
    let status = ["--store", "live", "status", "--rule", "token-burn"];
    assert!(done(folder, &status).starts_with("scheduler "));
    for (from, to) in &logs {
        land(from, to);
    }
    wait_until("all rows are there", || rows(folder, Table::Calls) == all);
    wait_until("windows were evaluated", || {
        rows(folder, Table::Evaluations) > 0
    });
    running.signal("-TERM");
    let output = running.end();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.ends_with("stopped\n"), "{told}");
    assert!(done(folder, &status).starts_with("no scheduler is running"));
    assert_eq!(findings(folder, "live"), wanted);
}

#[test]
fn killed_at_any_moment_it_misses_nothing_and_does_nothing_twice() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let (logs, wanted, all) = whole(folder);

    let pieces: Vec<_> = logs.chunks(logs.len().div_ceil(4)).collect();
    for (kill, piece) in pieces.iter().enumerate() {
        let (calls, evaluations) = (rows(folder, Table::Calls), rows(folder, Table::Evaluations));
        let running = Running::start(folder);
        for (from, to) in *piece {
            land(from, to);
        }
        // As soon as it has read something, or evaluated something, or said so; and in the end at none of these.
        wait_until("it comes to that", || match kill {
            0 => rows(folder, Table::Calls) > calls,
            1 => rows(folder, Table::Evaluations) > evaluations,
            2 => noted(folder, "last_evaluation") > 0,
            _ => rows(folder, Table::Calls) == all,
        });
        running.signal("-KILL");
        assert_eq!(running.end().status.code(), None);
    }
    let running = Running::start(folder);
    wait_until("it listens", || noted(folder, "last_tick") > 0);
    wait_until("all rows are there", || rows(folder, Table::Calls) == all);
    running.signal("-INT");
    assert_eq!(running.end().status.code(), Some(0));
    assert_eq!(findings(folder, "live"), wanted);
}

#[test]
fn two_schedulers_on_one_store_do_each_thing_once() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let (logs, wanted, all) = whole(folder);
    let both = [Running::start(folder), Running::start(folder)];
    for (from, to) in &logs {
        land(from, to);
    }
    wait_until("all rows are there", || rows(folder, Table::Calls) >= all);
    // Before its first step nobody listens to signals.
    wait_until("both listen", || noted(folder, "last_tick") == 2);
    for running in both {
        running.signal("-TERM");
        assert_eq!(running.end().status.code(), Some(0));
    }
    assert_eq!(findings(folder, "live"), wanted);
}

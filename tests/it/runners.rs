//! Runs of the program itself on one store: two at once, and killed at any moment.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use inferwatch::detect::context_of;
use inferwatch::schema::{Call, CallBuilder, Micros, Table};
use inferwatch::store::{Store, WriteOptions};
use tempfile::TempDir;

use crate::ask::lines;
use crate::command::program;
use crate::folder::{copy, entries};

const MINUTE: i64 = 60_000_000;
/// How often a run is killed, each time further on.
const MOMENTS: usize = 5;

fn command(folder: &Path) -> Command {
    let mut command = program(folder, &["run", "--once", "--complete"]);
    command
        .args(["--rule", "token-burn,guardrail-blocks"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Exit codes 0 and 1 say that it ran.
fn has_run(child: Child) -> (bool, String) {
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (matches!(output.status.code(), Some(0 | 1)), told)
}

fn run(folder: &Path) {
    let child = command(folder).spawn().expect("the program starts");
    let (ran, told) = has_run(child);
    assert!(ran, "{told}");
}

/// An hour and a half of calls with a caller who burns tokens and is blocked; `part` of two.
fn commit(folder: &Path, part: usize) {
    let mut calls = CallBuilder::default();
    for number in (0..180_i64).filter(|number| number % 2 == part as i64) {
        let minute = number / 2;
        let is_bad = (30..50).contains(&minute);
        calls.append(&Call {
            event_time: Micros(minute * MINUTE + number),
            event_id: &format!("event-{number}"),
            source_format: "test",
            record_role: "primary",
            caller: Some(if is_bad { "burner" } else { "app" }),
            input_tokens: Some(if is_bad { 30_000 } else { 20 }),
            output_tokens: Some(0),
            outcome: if is_bad { "blocked" } else { "success" },
            hour: "1970-01-01T00",
            ..Call::default()
        });
    }
    let store = Store::open_or_create(&folder.join("store")).expect("a store");
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    writer.write(Table::Calls, calls.finish()).expect("rows");
    writer.commit(&[]).expect("a commit");
}

/// What is stored: every window with all that it came to, and every event of every finding, but for the clock.
fn kept(folder: &Path) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let store = Store::open(&folder.join("store")).expect("a store");
    let mut rows: Vec<String> = runtime.block_on(async {
        let context = context_of(&store).await.expect("a context");
        let mut found = Vec::new();
        for sql in [
            "SELECT rule_id, window_end, revision, state, returned FROM evaluations",
            "SELECT rule_id, finding_id, revision, event, status, windows, event_count, evidence FROM findings",
        ] {
            let batches = context.sql(sql).await.expect("plans").collect().await.expect("runs");
            found.extend(batches.iter().flat_map(lines));
        }
        found
    });
    rows.sort_unstable();
    rows
}

/// What two runs leave, one after each half of the rows.
fn clean() -> (TempDir, Vec<String>, Vec<String>) {
    let folder = TempDir::new().expect("a folder");
    commit(folder.path(), 0);
    run(folder.path());
    let half = kept(folder.path());
    commit(folder.path(), 1);
    run(folder.path());
    let whole = kept(folder.path());
    assert!(half.iter().any(|line| line.contains("opened")), "{half:?}");
    assert!(
        whole.iter().any(|line| line.contains("revised")),
        "the second half comes late"
    );
    (folder, half, whole)
}

#[test]
fn two_runners_and_killed_ones_leave_what_one_clean_run_leaves() {
    let (_whole, half, whole) = clean();

    // Two at once, after each half. One may find that the other was faster; it then says so and changes nothing.
    let folder = TempDir::new().expect("a folder");
    for (part, wanted) in [(0, &half), (1, &whole)] {
        commit(folder.path(), part);
        let both = [0, 1].map(|_| command(folder.path()).spawn().expect("the program starts"));
        let ended = both.map(has_run);
        assert!(ended.iter().any(|(ran, _)| *ran), "{ended:?}");
        assert_eq!(&kept(folder.path()), wanted, "{ended:?}");
    }

    // Killed when a part of the files and folders is there that a whole run leaves. One that was over before is no harm.
    let begin = TempDir::new().expect("a folder");
    commit(begin.path(), 0);
    let before = entries(begin.path());
    let done = TempDir::new().expect("a folder");
    copy(begin.path(), done.path());
    run(done.path());
    assert_eq!(kept(done.path()), half);
    let more = entries(done.path()) - before;
    let mut killed = 0;
    for moment in 0..MOMENTS {
        let folder = TempDir::new().expect("a folder");
        copy(begin.path(), folder.path());
        let wanted = before + more * moment / MOMENTS;
        let mut child = command(folder.path()).spawn().expect("the program starts");
        while entries(folder.path()) < wanted && child.try_wait().expect("ours").is_none() {
            std::thread::yield_now();
        }
        child.kill().expect("it is ours");
        let (ended, _) = has_run(child);
        killed += usize::from(!ended);
        run(folder.path());
        assert_eq!(
            kept(folder.path()),
            half,
            "killed with {wanted} files and folders"
        );
        let store = Store::open(&folder.path().join("store")).expect("a store");
        let report = store.verify(false).expect("is read");
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
    assert!(killed >= MOMENTS / 2, "{killed} of {MOMENTS} were killed");
}

//! How far the sources of a store have come, and which windows wait for them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use inferwatch::catalog::Pack;
use inferwatch::detect::{RunOptions, run};
use inferwatch::schema::{Call, CallBuilder, Micros, Table};
use inferwatch::store::{Store, WriteOptions};
use tempfile::TempDir;

use crate::command;

const MINUTE: i64 = 60_000_000;

/// Calls of a source at some minutes after midnight.
fn commit(folder: &Path, source: &str, minutes: &[i64]) {
    let mut calls = CallBuilder::default();
    for minute in minutes {
        calls.append(&Call {
            event_time: Micros(minute * MINUTE),
            event_id: &format!("{source}-{minute}"),
            source_format: source,
            record_role: "primary",
            caller: Some("a"),
            outcome: "success",
            hour: "1970-01-01T00",
            ..Call::default()
        });
    }
    let store = Store::open_or_create(&folder.join("store")).expect("a store");
    let mut writer = store.writer(WriteOptions::default()).expect("a writer");
    writer.write(Table::Calls, calls.finish()).expect("rows");
    writer.commit(&[]).expect("a commit");
}

/// A rule to whose findings more rows may add and take: it waits until its windows close.
fn waiting() -> Pack {
    let text = "-- /// rule\n-- id = \"share\"\n-- title = \"t\"\n-- description = \"d\"\n-- version = 1\n\
         -- status = \"test\"\n-- severity = \"low\"\n-- confidence = \"low\"\n-- source = [\"calls\"]\n\
         -- requires = [\"caller\"]\n-- window = \"30m\"\n-- every = \"5m\"\n-- entity = [\"caller\"]\n-- ///\n\
         SELECT caller, count(*) AS event_count FROM calls WHERE event_time >= $window_start AND event_time < $window_end \
         GROUP BY caller HAVING count(*) FILTER (WHERE outcome = 'failure') * 2 > count(*)";
    let files = [(PathBuf::from("share.sql"), Cow::Borrowed(text))];
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    pack
}

/// The minute at which the last window ends that a run has closed.
fn closed(folder: &Path, options: &RunOptions) -> i64 {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let store = Store::open(&folder.join("store")).expect("a store");
    let pack = waiting();
    let rules: Vec<_> = pack.rules.iter().collect();
    run(runtime.handle(), &store, &rules, options).expect("runs");
    let status = runtime
        .block_on(inferwatch::detect::status(&store, &rules))
        .expect("a status");
    status[0].last_closed.expect("it ran") / MINUTE
}

#[test]
fn a_window_waits_for_every_source_that_is_not_idle() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let minutes: Vec<i64> = (600..=700).collect();
    commit(folder, "quick", &minutes);
    commit(folder, "slow", &minutes[..61]);
    let options = RunOptions {
        threads: 1,
        ..RunOptions::default()
    };
    // `slow` has come to 11:00, and rows are expected for a quarter of an hour.
    assert_eq!(closed(folder, &options), 645);
    // The quick one goes on; more than an hour after its last event, `slow` is idle.
    commit(folder, "quick", &(701..=719).collect::<Vec<_>>());
    assert_eq!(closed(folder, &options), 645);
    commit(folder, "quick", &[721]);
    assert_eq!(closed(folder, &options), 705);
    // It is back, and late; windows never open again.
    commit(folder, "slow", &[702]);
    assert_eq!(closed(folder, &options), 705);
    // Its heartbeat says that nothing is missing up to 12:10, and the quick one comes to that.
    let (code, _, told) = command::run(
        folder,
        &["heartbeat", "slow", "--at", "1970-01-01T12:10:00Z"],
    );
    assert_eq!(code, 0, "{told}");
    commit(folder, "quick", &[730]);
    assert_eq!(closed(folder, &options), 715);
}

#[test]
fn heartbeats_are_for_sources_that_are_known_and_only_go_forward() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    commit(folder, "aws.bedrock.invocation", &[600, 610]);
    commit(folder, "litellm", &[500]);
    let at = ["--at", "1970-01-01T11:00:00Z"];
    let (code, _, told) = command::run(
        folder,
        &["heartbeat", "aws.bedrock.invocations", at[0], at[1]],
    );
    assert_eq!(code, 2);
    assert!(
        told.contains("did you mean `aws.bedrock.invocation`?"),
        "{told}"
    );
    let (code, _, told) = command::run(
        folder,
        &["heartbeat", "aws.bedrock.invocation", at[0], at[1]],
    );
    assert_eq!(
        (code, told.contains("has sent everything")),
        (0, true),
        "{told}"
    );
    let earlier = [
        "heartbeat",
        "aws.bedrock.invocation",
        "--at",
        "1970-01-01T10:30:00Z",
    ];
    let (code, _, told) = command::run(folder, &earlier);
    assert_eq!((code, told.contains("was known")), (0, true), "{told}");
    let (code, _, told) = command::run(folder, &["heartbeat", "gcp.audit", "--new", at[0], at[1]]);
    assert_eq!(code, 0, "{told}");
    let (_, out, _) = command::run(folder, &["status", "--sources", "--format", "ndjson"]);
    let lines: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let of = |name: &str| {
        let line = lines.iter().find(|line| line["source"] == name);
        let line = line.unwrap_or_else(|| panic!("{name} in {out}"));
        let text = |name: &str| line[name].as_str().unwrap_or("-").to_string();
        let idle = line["idle"].as_bool().expect("a flag");
        (
            text("last_event"),
            text("heartbeat"),
            text("watermark"),
            idle,
        )
    };
    let (ten, eleven, quarter) = (
        "1970-01-01T10:10:00Z".to_string(),
        "1970-01-01T11:00:00Z".to_string(),
        "1970-01-01T10:45:00Z".to_string(),
    );
    let none = || "-".to_string();
    assert_eq!(
        of("aws.bedrock.invocation"),
        (ten, eleven.clone(), quarter.clone(), false)
    );
    assert_eq!(of("gcp.audit"), (none(), eleven, quarter, false));
    let (last, watermark) = (
        "1970-01-01T08:20:00Z".to_string(),
        "1970-01-01T08:05:00Z".to_string(),
    );
    assert_eq!(of("litellm"), (last, none(), watermark, true));
}

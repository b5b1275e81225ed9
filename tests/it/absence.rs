//! Logs that stop, and promises that are broken: rules about what is missing, over stores.

use inferwatch::catalog::Pack;
use inferwatch::detect::{Event, RunOptions};

use super::correlation::{Row, TestStore, complete, tick};

const MINUTE: i64 = 60_000_000;

fn shipped(id: &str) -> Pack {
    let mut pack = Pack::embedded();
    pack.rules.retain(|file| file.rule.id == id);
    assert_eq!(pack.rules.len(), 1);
    pack
}

fn events(store: &TestStore, pack: &Pack, options: &RunOptions) -> Vec<Event> {
    let outcomes = store.run(pack, options);
    let changes = outcomes.iter().flat_map(|outcome| &outcome.changes);
    changes.map(|change| change.event).collect()
}

/// Nothing but events says how late it is, so a store in which all logs stop stands still, until somebody vouches that
/// nothing is missing.
#[test]
fn when_all_logs_stop_somebody_must_say_that_time_goes_on() {
    let pack = shipped("log-silence");
    let store = TestStore::new();
    // Thirteen hours, a call every five minutes.
    let steady: Vec<Row> = (0..156)
        .map(|n| (n as usize, 6_000 + 5 * n, "x", "one"))
        .collect();
    store.commit(&steady);
    let open = RunOptions {
        is_complete: false,
        ..complete()
    };
    assert_eq!(events(&store, &pack, &open), []);
    let last = 6_000 + 5 * 155;
    let vouched = |minute: i64| RunOptions {
        closed_until: Some(minute * MINUTE),
        ..open.clone()
    };
    // The call of minute 6,775 is in all windows that end by 6,790.
    assert_eq!(last, 6_775);
    assert_eq!(events(&store, &pack, &vouched(6_790)), []);
    assert_eq!(events(&store, &pack, &vouched(6_795)), [Event::Opened]);
    assert_eq!(events(&store, &pack, &vouched(6_800)), [Event::Updated]);
    // The log was only late after all.
    let late: Vec<Row> = (156..165)
        .map(|n| (n as usize, 6_000 + 5 * n, "x", "one"))
        .collect();
    store.commit(&late);
    assert_eq!(events(&store, &pack, &vouched(6_805)), [Event::Retracted]);
    assert_eq!(store.query("SELECT count(*) FROM findings_now"), ["0"]);
}

#[test]
fn a_burning_budget_is_a_finding_and_thin_data_ends_none() {
    let pack = shipped("slo-burn-rate");
    let store = TestStore::new();
    // Two days of calls, one a minute; for an hour at the end one in five fails.
    let mut rows: Vec<Row> = (0..2_880)
        .map(|n| (n as usize, 10_000 + n, "x", "one"))
        .collect();
    store.commit(&rows);
    let failures: Vec<Row> = (0..60)
        .map(|n| (3_000 + n as usize, 12_820 + n, "x", "one"))
        .collect();
    store.commit_failures(&failures);
    let at_end = RunOptions {
        range: inferwatch::detect::Range::At(12_880 * MINUTE),
        ..complete()
    };
    let outcome = store.run(&pack, &at_end).remove(0);
    assert_eq!(outcome.episodes.len(), 1);
    let episode = &outcome.episodes[0];
    // Sixty of a hundred and twenty calls of the hour: a hundred times the half percent that is allowed.
    assert_eq!(episode.severity.name(), "high");
    let burn = episode.score.expect("a rate");
    assert!((burn - 100.0).abs() < 1e-6, "{burn}");
    // An hour later there is nothing at all but the clock: not clear, frozen.
    rows = vec![tick(9_000, 12_941)];
    store.commit(&rows);
    let later = RunOptions {
        range: inferwatch::detect::Range::At(12_940 * MINUTE),
        ..complete()
    };
    let outcome = store.run(&pack, &later).remove(0);
    assert_eq!(
        outcome.states.get("frozen"),
        Some(&1),
        "{:?}",
        outcome.states
    );
}

#[test]
fn what_is_frozen_stays_open_while_others_end() {
    let pack = shipped("slo-burn-rate");
    let store = TestStore::new();
    // Two deployments, a call a minute each for two days, and failures of both in the last half hour.
    let of = |first: usize, minutes: std::ops::Range<i64>, model: &'static str| -> Vec<Row> {
        let rows = minutes.enumerate();
        rows.map(|(n, minute)| (first + n, minute, "x", model))
            .collect()
    };
    store.commit(&of(0, 10_000..12_880, "one"));
    store.commit(&of(10_000, 10_000..12_880, "two"));
    store.commit_failures(&of(20_000, 12_850..12_880, "one"));
    store.commit_failures(&of(30_000, 12_850..12_880, "two"));
    let since = |minute: i64| RunOptions {
        begin: Some(minute * MINUTE),
        ..complete()
    };
    store.run(&pack, &since(12_860));
    let open = "SELECT entity FROM findings_now WHERE status = 'open'";
    assert_eq!(
        store.query(open),
        ["{\"deployment\":\"one\"}", "{\"deployment\":\"two\"}"]
    );
    // The log of one stops; the other answers again, until no pair of windows burns and an hour more.
    store.commit(&of(40_000, 12_880..13_400, "two"));
    store.run(&pack, &since(12_860));
    assert_eq!(store.query(open), ["{\"deployment\":\"one\"}"]);
    let told =
        store.query("SELECT event FROM findings WHERE entity LIKE '%one%' AND event = 'resolved'");
    assert_eq!(told, [""; 0]);
    let frozen = store.query("SELECT count(*) > 0 FROM evaluations WHERE state = 'frozen'");
    assert_eq!(frozen, ["true"]);
}

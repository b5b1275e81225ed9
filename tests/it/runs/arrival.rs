//! Rows that come in any order, late, twice, or into a store that is compacted: what is found is the same in the end.

use inferwatch::catalog::Span;
use inferwatch::detect::{Range, RunOptions};
use inferwatch::store::{CompactOptions, Store, SweepOptions};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::{
    HOUR, MINUTE, Row, TestStore, assert_same, complete, in_pieces, open_ended, row, rules, traffic,
};

#[test]
fn any_order_of_arrival_ends_in_the_findings_of_one_clean_run() {
    let pack = rules();
    // One order a run of the tests; INFERWATCH_SEEDS asks for more.
    let seeds = std::env::var("INFERWATCH_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(1) {
        let rows = traffic(seed, 800);
        let clean = TestStore::with(&rows);
        clean.run(&pack, &complete());
        assert!(clean.findings().len() > 10, "{}", clean.findings().len());
        let mut random = StdRng::seed_from_u64(seed);

        // Commit after commit, as it happened.
        let chunks = |rows: &[Row], size: usize| -> Vec<Vec<Row>> {
            rows.chunks(size).map(<[Row]>::to_vec).collect()
        };
        let store = in_pieces(&pack, &chunks(&rows, 90), &open_ended());
        assert_same(&store, &clean, "in order");

        // Every commit has rows of all hours.
        let mut shuffled = rows.clone();
        shuffled.shuffle(&mut random);
        let store = in_pieces(&pack, &chunks(&shuffled, 130), &open_ended());
        assert_same(&store, &clean, "shuffled");

        // Each row late by up to two hours, and windows closed at once.
        let mut late: Vec<(i64, Row)> = rows
            .iter()
            .map(|row| (row.time + random.random_range(0..2 * HOUR), row.clone()))
            .collect();
        late.sort_by_key(|(arrives, _)| *arrives);
        let late: Vec<Row> = late.into_iter().map(|(_, row)| row).collect();
        let store = in_pieces(&pack, &chunks(&late, 90), &complete());
        assert_same(&store, &clean, "late");

        // Every row twice, once in its place and once anywhere.
        let mut twice = rows.clone();
        twice.extend(shuffled);
        let store = in_pieces(&pack, &chunks(&twice, 260), &open_ended());
        assert_same(&store, &clean, "twice");
    }
}

#[test]
fn a_compaction_makes_no_window_be_evaluated_again_and_hides_no_late_row() {
    let pack = rules();
    let compact = |store: &Store, at: i64| {
        let options = CompactOptions {
            at,
            ..CompactOptions::default()
        };
        let tasks = store.plan_compaction(&options).expect("a plan");
        let report = store.compact(tasks, &options).expect("it is compacted");
        assert!(report.periods > 0);
    };
    let store = TestStore::with(&traffic(9, 900));
    store.run(&pack, &complete());
    let answers = store.answers();
    compact(&store.open(), 10 * 24 * HOUR);
    let outcomes = store.run(&pack, &complete());
    assert!(outcomes.iter().all(|outcome| outcome.windows() == 0));
    // A row comes late, and is compacted away with the others before anybody has looked at it.
    let late: Vec<Row> = (0..12).map(|n| row(9_000 + n, 700, "late", 1)).collect();
    let without = TestStore::with(&traffic(9, 900));
    without.commit(&late);
    store.commit(&late);
    compact(&store.open(), 10 * 24 * HOUR);
    let outcomes = store.run(&pack, &complete());
    assert!(outcomes.iter().all(|outcome| outcome.windows() > 0));
    without.run(&pack, &complete());
    assert_eq!(store.answers(), without.answers());
    assert_ne!(store.answers(), answers);
    // The file that it came in is gone, and the log that told of it.
    store.commit(&[row(9_100, 701, "late", 1)]);
    compact(&store.open(), 10 * 24 * HOUR);
    let sweep = SweepOptions {
        at: chrono::Utc::now().timestamp_micros() + 30 * 24 * HOUR,
        ..SweepOptions::default()
    };
    assert!(store.open().sweep(&sweep).expect("it is swept").files > 0);
    store.run(&pack, &complete());
    without.commit(&[row(9_100, 701, "late", 1)]);
    without.run(&pack, &complete());
    assert_eq!(store.answers(), without.answers());
}

#[test]
fn late_rows_touch_exactly_their_windows() {
    let pack = rules();
    let counted = |store: &TestStore| {
        let outcomes = store.run(&pack, &complete());
        let outcome = outcomes
            .into_iter()
            .find(|outcome| outcome.file.rule.id == "counted");
        outcome.expect("one of them")
    };
    let mut rows: Vec<Row> = (0..300).map(|n| row(n, 600 + n as i64, "a", 1)).collect();
    let late = rows.remove(100);
    let store = TestStore::with(&rows);
    counted(&store);
    // 11:40 lies in the windows of half an hour that end from 11:45 to 12:10.
    store.commit(std::slice::from_ref(&late));
    let outcome = counted(&store);
    assert_eq!((outcome.again, outcome.windows()), (6, 6));
    assert_eq!(outcome.late_dropped(), 0);
    let revised = store.query(
        "SELECT window_end FROM evaluations WHERE rule_id = 'counted' AND revision = 2 ORDER BY 1",
    );
    let ends: Vec<String> = (0..6)
        .map(|n| {
            format!(
                "1970-01-01T{:02}:{:02}:00Z",
                11 + (45 + 5 * n) / 60,
                (45 + 5 * n) % 60
            )
        })
        .collect();
    assert_eq!(revised, ends);
    // It was in the store before: evaluated again, and nothing new.
    store.commit(&[late]);
    let outcome = counted(&store);
    assert_eq!((outcome.again, outcome.changes.len()), (6, 0));
    assert_eq!(counted(&store).windows(), 0);
}

#[test]
fn what_comes_beyond_the_horizon_is_counted_and_can_be_filled() {
    let pack = {
        let mut pack = rules();
        pack.rules.retain(|file| file.rule.id == "counted");
        pack
    };
    let mut rows: Vec<Row> = (0..300).map(|n| row(n, 600 + n as i64, "a", 1)).collect();
    let late: Vec<Row> = rows.drain(5..50).collect();
    let clean = TestStore::with(&[rows.clone(), late.clone()].concat());
    clean.run(&pack, &complete());
    let store = TestStore::with(&rows);
    let options = RunOptions {
        late_horizon: "2h".parse::<Span>().expect("a span"),
        ..complete()
    };
    store.run_one(&pack, &options);
    store.commit(&late);
    let outcome = store.run_one(&pack, &options);
    assert_eq!(
        (outcome.late_dropped(), outcome.again, outcome.gaps.len()),
        (45, 0, 1)
    );
    // 10:05 to 10:49 lie in windows that end from 10:10 to 11:15.
    let gap = "SELECT window_start, window_end, late_dropped FROM evaluations WHERE state = 'gap'";
    assert_eq!(
        store.query(gap),
        ["1970-01-01T09:40:00Z 1970-01-01T11:15:00Z 45"]
    );
    assert_ne!(store.findings(), clean.findings());
    let (first, last) = outcome.gaps[0].ends;
    let range = Range::Between(Some(first - 1), Some(last));
    store.run_one(&pack, &RunOptions { range, ..options });
    assert_same(&store, &clean, "filled");
}

#[test]
fn rows_older_than_all_others_leave_no_window_out() {
    let pack = rules();
    let rows = [
        row(0, 600, "a", 1),
        row(1, 720, "a", 1),
        row(2, 740, "a", 1),
    ];
    let clean = TestStore::with(&rows);
    clean.run(&pack, &complete());
    let store = TestStore::with(&rows[1..]);
    store.run(&pack, &complete());
    store.commit(&rows[..1]);
    store.run(&pack, &complete());
    // With an hour's patience, what lies between is a gap and no silence.
    assert_same(&store, &clean, "older");
    let impatient = RunOptions {
        late_horizon: Span::hours(1),
        ..complete()
    };
    let store = TestStore::with(&rows[1..]);
    store.run(&pack, &impatient);
    store.commit(&rows[..1]);
    let outcomes = store.run(&pack, &impatient);
    let counted = outcomes
        .iter()
        .find(|outcome| outcome.file.rule.id == "counted");
    let gaps = &counted.expect("one of them").gaps;
    assert_eq!(gaps.len(), 1);
    assert_eq!(
        (gaps[0].ends, gaps[0].late_dropped),
        ((605 * MINUTE, 680 * MINUTE), 1)
    );
}

#[test]
fn what_no_run_came_for_is_a_gap_beyond_the_catch_up() {
    let pack = {
        let mut pack = rules();
        pack.rules.retain(|file| file.rule.id == "counted");
        pack
    };
    let rows: Vec<Row> = (0..600).map(|n| row(n, n as i64, "a", 1)).collect();
    let clean = TestStore::with(&rows);
    clean.run(&pack, &complete());
    let store = TestStore::with(&rows[..100]);
    let options = RunOptions {
        max_catchup: "3h".parse::<Span>().expect("a span"),
        ..complete()
    };
    store.run_one(&pack, &options);
    store.commit(&rows[100..]);
    let outcome = store.run_one(&pack, &options);
    // Windows up to 01:35 were there; those up to 09:55 have closed; three hours of them are made good.
    assert_eq!((outcome.windows(), outcome.gaps.len()), (36, 1));
    assert_eq!(
        outcome.gaps[0].ends,
        (HOUR + 40 * MINUTE, 6 * HOUR + 55 * MINUTE)
    );
    let (first, last) = outcome.gaps[0].ends;
    let range = Range::Between(Some(first - 1), Some(last));
    store.run_one(&pack, &RunOptions { range, ..options });
    assert_same(&store, &clean, "filled");
}

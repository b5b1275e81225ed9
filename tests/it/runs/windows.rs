//! Which windows a run evaluates, when, and from where it reads them.

use std::borrow::Cow;

use inferwatch::catalog::{Pack, Severity, State};
use inferwatch::detect::{
    Episode, Needs, Prepared, Range, RuleOutcome, RunOptions, Window, context_of,
};

use super::{
    BOUNDS, HOUR, MINUTE, Row, TestStore, complete, open_ended, row, rule, rules, shipped, traffic,
};

#[test]
fn a_run_after_a_run_changes_nothing() {
    let pack = rules();
    let store = TestStore::with(&traffic(9, 900));
    store.run(&pack, &complete());
    let count =
        "SELECT (SELECT count(*) FROM findings) AS f, (SELECT count(*) FROM evaluations) AS e";
    let before = store.query(count);
    for options in [complete(), open_ended()] {
        let outcomes = store.run(&pack, &options);
        assert!(
            outcomes
                .iter()
                .all(|outcome| outcome.windows() == 0 && outcome.changes.is_empty())
        );
    }
    // Told to look again, it does, and stores nothing.
    let range = Range::Between(Some(620 * MINUTE), Some(880 * MINUTE));
    let outcomes = store.run(
        &pack,
        &RunOptions {
            range,
            ..complete()
        },
    );
    assert!(outcomes.iter().all(|outcome| outcome.windows() == 52));
    assert!(outcomes.iter().any(|outcome| !outcome.episodes.is_empty()));
    assert_eq!(store.query(count), before);
}

/// `burner` uses 400 tokens an hour more than it may, from 02:00 to 02:30.
fn six_hours() -> Vec<Row> {
    let mut rows = Vec::new();
    for minute in 0..360 {
        rows.push(row(rows.len(), minute, "app", 20));
        let is_burning = (120..150).contains(&minute);
        let tokens = if is_burning { 20_001 } else { 2 };
        rows.push(row(rows.len(), minute, "burner", tokens));
    }
    rows
}

#[test]
fn one_burst_is_one_finding_over_all_its_windows() {
    let pack = shipped("token-burn");
    let store = TestStore::with(&six_hours());
    let outcome = store.run_one(&pack, &complete());
    let [episode]: &[Episode] = &outcome.episodes else {
        panic!("{:?}", outcome.episodes)
    };
    assert_eq!(episode.severity, Severity::High);
    assert_eq!(episode.entity["caller"], "burner");
    let fired = |end: i64| {
        let tokens = |minute: i64| {
            if (120..150).contains(&minute) {
                20_001
            } else {
                2
            }
        };
        (end - 60..end).map(tokens).sum::<i64>() > 500_000
    };
    let ends: Vec<i64> = (1..)
        .map(|n| n * 5)
        .take_while(|end| *end <= 359)
        .filter(|end| fired(*end))
        .collect();
    assert_eq!(episode.first_window.end, ends[0] * MINUTE);
    assert_eq!(episode.last_window.end, ends[ends.len() - 1] * MINUTE);
    assert_eq!(episode.windows, ends.len());
    // The last event is at 05:59, so the window that ends at 05:55 is the last one closed: 71 windows.
    assert_eq!(outcome.windows(), 71);
    assert_eq!(outcome.states["fired"], ends.len());
    assert_eq!(store.query("SELECT count(*) FROM evaluations"), ["71"]);
    let events = "SELECT revision, event, status, windows FROM findings ORDER BY revision";
    let windows = ends.len();
    assert_eq!(
        store.query(events),
        [
            format!("1 opened open {windows}"),
            format!("2 resolved resolved {windows}")
        ]
    );
}

#[test]
fn memory_decides_how_a_range_is_read_but_not_what_is_found() {
    // Through the merged view, which is written out in memory and planned anew for each window that is read from the
    // store. Twenty minutes of `burner` burning are above the line, ten are not.
    let sql = format!(
        "SELECT caller, sum(input_tokens) AS tokens FROM calls_merged WHERE {BOUNDS} GROUP BY caller \
         HAVING sum(input_tokens) > 300000"
    );
    let (path, text) = rule("burning", "", &sql);
    let text = text
        .replace("[\"calls\"]", "[\"calls_merged\"]")
        .replace("window = \"30m\"", "window = \"20m\"")
        .replace("every = \"5m\"", "every = \"10m\"");
    let pack = Pack::from_files([(path, Cow::Owned(text))].into_iter());
    assert_eq!(pack.problems, []);
    let mut rows = Vec::new();
    for minute in 90..160 {
        let is_burning = (120..150).contains(&minute);
        let tokens = if is_burning { 20_001 } else { 2 };
        rows.push(row(rows.len(), minute, "burner", tokens));
        let first = rows.len();
        rows.extend((first..first + 30).map(|number| row(number, minute, "app", 20)));
    }
    let store = TestStore::with(&rows);
    let found = |memory: u64| {
        let options = RunOptions {
            range: Range::Between(Some(100 * MINUTE), Some(160 * MINUTE)),
            memory,
            dry_run: true,
            ..complete()
        };
        let outcome = store.run_one(&pack, &options);
        let told = format!("{:?}: {:?}", outcome.states, outcome.detail);
        assert!(!outcome.states.contains_key("error"), "{told}");
        (outcome.episodes, outcome.states)
    };
    let whole = found(1 << 30);
    assert_eq!(whole.0.len(), 1, "{:?}", whole.1);
    let (first, last) = (whole.0[0].first_window.end, whole.0[0].last_window.end);
    assert_eq!((first, last), (140 * MINUTE, 150 * MINUTE));
    assert_eq!(whole.1["fired"] + whole.1["clear"], 6, "{:?}", whole.1);

    // The least that does for three of the six windows does not for all.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let memory = runtime.block_on(async {
        let context = context_of(&store.open()).await.expect("a context");
        let prepared = Prepared::new(&context, &pack.rules[0], &[], None).await;
        let needs = Needs::of(&context, &prepared.expect("plans")).expect("plans");
        let fits = async |start: i64, end: i64, memory: u64| {
            let (start, end) = (start * MINUTE, end * MINUTE);
            let loaded = needs.load(&context, Window { start, end }, memory).await;
            loaded.expect("is read").is_some()
        };
        let mut memory = 100_000;
        while !(fits(90, 130, memory).await && fits(120, 160, memory).await) {
            memory += memory / 32;
        }
        assert!(!fits(90, 160, memory).await, "{memory}");
        memory
    });
    assert_eq!(found(memory), whole, "half by half");
    assert_eq!(found(1), whole, "from the store");
    assert_eq!(
        store.query("SELECT count(*) FROM evaluations"),
        ["0"],
        "dry"
    );
}

#[test]
fn a_store_without_rows_is_not_covered_and_not_clear() {
    let pack = shipped("token-burn");
    let range = Range::At(HOUR);
    let outcome = TestStore::new().run_one(
        &pack,
        &RunOptions {
            range,
            ..complete()
        },
    );
    let states: Vec<_> = outcome.states.keys().copied().collect();
    assert_eq!(states, [State::NotCovered.name()]);
}

#[test]
fn a_window_waits_for_its_rows_unless_more_can_only_add() {
    let pack = rules();
    let rows: Vec<Row> = (0..61)
        .map(|n| Row {
            outcome: "failure",
            ..row(n, 600 + n as i64, "a", 1)
        })
        .collect();
    let store = TestStore::with(&rows);
    let ends = |outcomes: &[RuleOutcome<'_>], id: &str| {
        let outcome = outcomes.iter().find(|outcome| outcome.file.rule.id == id);
        outcome.map(RuleOutcome::windows)
    };
    // The last event is at 11:00, and rows are expected for a quarter of an hour.
    let outcomes = store.run(&pack, &open_ended());
    assert_eq!(ends(&outcomes, "counted"), Some(12), "more rows only add");
    assert_eq!(ends(&outcomes, "failing"), Some(9), "a share may fall");
    assert_eq!(ends(&outcomes, "grown"), Some(9), "a baseline may rise");
    assert_eq!(
        ends(&outcomes, "merged"),
        Some(9),
        "a merged call may change"
    );
    // What was seen early is looked at again until it has closed, and stored again only when it came to something else.
    let early = "SELECT count(*) FROM evaluations WHERE is_early AND rule_id = 'counted'";
    assert_eq!(store.query(early), ["3"]);
    let outcomes = store.run(&pack, &open_ended());
    assert_eq!(ends(&outcomes, "counted"), Some(3));
    assert_eq!(ends(&outcomes, "failing"), Some(0));
    assert_eq!(store.query(early), ["3"]);
}

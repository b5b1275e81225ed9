//! What becomes of a correlation when its signals come late, change or are taken back.

use std::borrow::Cow;
use std::path::PathBuf;

use inferwatch::catalog::Pack;
use inferwatch::detect::{Event, Range, RuleOutcome, RunOptions, run};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::{
    File, Row, SIGNALS, TestStore, complete, correlation, open_ended, pack, runtime, signal,
    three_in_ten, tick,
};

#[test]
fn a_finding_names_the_findings_that_it_is_made_of() {
    let pack = three_in_ten();
    let store = TestStore::new();
    store.commit(&[
        (1, 600, "x", "one"),
        (2, 604, "x", "two"),
        (3, 609, "x", "three"),
        // Another caller has only two of them, and a third one all three, too far apart.
        (4, 604, "y", "two"),
        (5, 609, "y", "three"),
        (6, 600, "z", "one"),
        (7, 606, "z", "two"),
        (8, 611, "z", "three"),
        tick(9, 700),
    ]);
    store.run(&pack, &complete());
    let found = store.query(
        "SELECT entity, severity, event_count, json_get(evidence, 'rules') FROM findings_now \
         WHERE rule_id = 'together'",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("{\"caller\":\"x\"} critical 3 "),
        "{found:?}"
    );
    for rule in ["one", "two", "three"] {
        assert!(found[0].contains(&format!("\"{rule}\"")), "{found:?}");
    }
    store.assert_named_findings_stand();
    // Nothing is new, so nothing happens.
    let count = || store.query("SELECT count(*) FROM evaluations");
    let before = count();
    assert_eq!(store.events(&pack, &complete()), []);
    assert_eq!(count(), before);
}

#[test]
fn a_late_signal_completes_a_correlation_that_was_clear() {
    let pack = three_in_ten();
    let store = TestStore::new();
    store.commit(&[(1, 600, "x", "one"), (3, 609, "x", "three"), tick(9, 900)]);
    assert_eq!(store.events(&pack, &complete()), []);
    store.commit(&[(2, 604, "x", "two"), tick(10, 905)]);
    assert_eq!(
        store.events(&pack, &complete()),
        [Event::Opened, Event::Resolved]
    );
    store.assert_named_findings_stand();
}

#[test]
fn a_signal_that_is_taken_back_takes_the_correlation_back() {
    // Fires on a lone call; another that comes late makes it not so.
    let failing = signal("two", "two", "")
        .1
        .replace("GROUP BY caller", "GROUP BY caller HAVING count(*) < 2");
    let files = [
        signal("one", "one", ""),
        (PathBuf::from("two.sql"), Cow::Owned(failing)),
        signal("three", "three", ""),
        correlation(
            &format!("{SIGNALS}\nsignals_required = 3\nwithin = \"10m\"\nby = [\"caller\"]"),
            "",
        ),
    ];
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    let store = TestStore::new();
    store.commit(&[
        (1, 600, "x", "one"),
        (2, 604, "x", "two"),
        (3, 609, "x", "three"),
        tick(9, 900),
    ]);
    let events = store.events(&pack, &complete());
    assert_eq!(events, [Event::Opened, Event::Resolved]);
    // One more call in every window that held the one.
    store.commit(&[(4, 603, "x", "two"), tick(10, 905)]);
    assert_eq!(store.events(&pack, &complete()), [Event::Retracted]);
    assert_eq!(store.findings(), [""; 0]);
}

#[test]
fn what_only_the_old_version_of_a_signal_said_is_taken_back() {
    let keys = format!("{SIGNALS}\nsignals_required = 3\nwithin = \"10m\"\nby = [\"caller\"]");
    let version = |number: usize, model: &str| {
        let text = signal("two", model, "").1;
        let text = text.replace("version = 1", &format!("version = {number}"));
        let files = [
            signal("one", "one", ""),
            (PathBuf::from("two.sql"), Cow::Owned(text)),
            signal("three", "three", ""),
            correlation(&keys, ""),
        ];
        Pack::from_files(files.into_iter())
    };
    let store = TestStore::new();
    // Two days ago and today, `x` has the second signal as it was; today, `y` has it as it will be.
    let day = |first: usize, minute: i64| {
        [
            (first, minute, "x", "one"),
            (first + 1, minute + 4, "x", "two"),
            (first + 2, minute + 8, "x", "three"),
            (first + 3, minute, "y", "one"),
            (first + 4, minute + 4, "y", "other"),
            (first + 5, minute + 8, "y", "three"),
        ]
    };
    store.commit(&day(10, 600)[..3]);
    store.commit(&day(20, 600 + 2 * 1_440));
    store.commit(&[tick(9, 700 + 2 * 1_440)]);
    let found = |store: &TestStore| {
        store.query("SELECT entity, window_start FROM findings_now WHERE rule_id = 'together'")
    };
    store.run(&version(1, "two"), &complete());
    let (old, new) = ("1970-01-01T0", "1970-01-03T0");
    let is = |lines: &[String], wanted: &[(&str, &str)]| {
        let mut wanted = wanted.iter();
        let is_one = |line: &String| {
            let next = wanted.next();
            next.is_some_and(|(who, when)| line.contains(who) && line.contains(when))
        };
        assert!(
            lines.iter().all(is_one) && wanted.next().is_none(),
            "{lines:?}"
        );
    };
    is(&found(&store), &[("x", old), ("x", new)]);
    store.run(&version(2, "other"), &complete());
    is(&found(&store), &[("y", new)]);
    let before = store.query("SELECT count(*) FROM evaluations WHERE rule_id = 'together'");
    store.run(&version(2, "other"), &complete());
    let after = store.query("SELECT count(*) FROM evaluations WHERE rule_id = 'together'");
    assert_eq!(before, after);
}

#[test]
fn a_correlation_that_runs_later_than_its_signals_misses_nothing() {
    let pack = three_in_ten();
    let signals: Vec<_> = pack
        .rules
        .iter()
        .filter(|file| file.rule.correlation.is_none())
        .collect();
    let all: Vec<_> = pack.rules.iter().collect();
    let store = TestStore::new();
    let runtime = runtime();
    let run_of = |rules: &[&_]| {
        run(runtime.handle(), &store.open(), rules, &complete()).expect("runs");
    };
    store.commit(&[(1, 600, "x", "one"), (2, 604, "x", "two"), tick(8, 650)]);
    run_of(&all);
    // The third signal comes late, and for some runs nobody asks for the correlation.
    store.commit(&[(3, 603, "x", "three"), tick(9, 700)]);
    run_of(&signals);
    store.commit(&[tick(10, 750)]);
    run_of(&signals);
    assert_eq!(store.findings().len(), 0);
    run_of(&[all
        .iter()
        .find(|file| file.rule.id == "together")
        .expect("is there")]);
    assert_eq!(store.findings().len(), 1);
}

#[test]
fn without_data_a_correlation_says_nothing() {
    let absent = pack(&format!(
        "{SIGNALS}\nsignals_required = 2\nabsent = [\"c\"]\nwithin = \"10m\"\nby = [\"caller\"]"
    ));
    // `three` looks at a table that has no row.
    let mut files: Vec<File> = vec![signal("one", "one", ""), signal("two", "two", "")];
    let text = signal("three", "three", "")
        .1
        .replace("[\"calls\"]", "[\"audit\"]")
        .replace("FROM calls", "FROM audit")
        .replace("model = 'three'", "action = 'three'");
    files.push((PathBuf::from("three.sql"), Cow::Owned(text)));
    let keys = format!(
        "{SIGNALS}\nsignals_required = 2\nabsent = [\"c\"]\nwithin = \"10m\"\nby = [\"caller\"]"
    );
    files.push(correlation(&keys, ""));
    let blind = Pack::from_files(files.into_iter());
    assert_eq!(blind.problems, []);
    let rows = [(1, 600, "x", "one"), (2, 604, "x", "two"), tick(9, 700)];
    let states = |pack: &Pack| {
        let store = TestStore::new();
        store.commit(&rows);
        let outcome = store.of_correlation(pack, &complete());
        let count = |name: &str| outcome.states.get(name).copied().unwrap_or(0);
        (count("fired"), count("clear"), count("not_covered"))
    };
    // Windows that end before the first window of any signal have nothing to go by.
    let (fired, clear, unknown) = states(&absent);
    assert!(
        fired > 0 && clear > 50 && unknown < 15,
        "{fired} {clear} {unknown}"
    );
    let (fired, clear, unknown) = states(&blind);
    assert!(
        fired == 0 && clear == 0 && unknown > 50,
        "{fired} {clear} {unknown}"
    );
}

/// Two hours in which each caller does each thing now and then.
fn traffic(seed: u64) -> Vec<Row> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rows = Vec::new();
    for minute in 600..720 {
        for caller in ["x", "y", "z"] {
            for model in ["one", "two", "three"] {
                if random.random_bool(0.08) {
                    rows.push((rows.len(), minute, caller, model));
                }
            }
        }
        if minute % 10 == 0 {
            rows.push(tick(rows.len(), minute));
        }
    }
    rows.push(tick(rows.len(), 800));
    rows
}

#[test]
fn any_order_of_arrival_ends_in_the_correlations_of_one_clean_run() {
    for keys in [
        "signals_required = 3",
        "order = [\"a\", \"b\", \"c\"]",
        "signals_required = 2\nabsent = [\"c\"]",
    ] {
        let pack = pack(&format!(
            "{SIGNALS}\n{keys}\nwithin = \"10m\"\nby = [\"caller\"]\nquiet = \"5m\""
        ));
        let rows = traffic(7);
        let clean = TestStore::new();
        clean.commit(&rows);
        clean.run(&pack, &complete());
        assert!(clean.findings().len() >= 2, "{}", clean.findings().len());
        let mut random = StdRng::seed_from_u64(11);
        let mut shuffled = rows.clone();
        shuffled.shuffle(&mut random);
        let mut late: Vec<(i64, Row)> = rows
            .iter()
            .map(|row| (row.1 + random.random_range(0..60), *row))
            .collect();
        late.sort_by_key(|(arrives, _)| *arrives);
        let late: Vec<Row> = late.into_iter().map(|(_, row)| row).collect();
        // Each arrival with one of the kinds: debug builds are slow.
        let arrivals = [
            ("shuffled", &shuffled, open_ended(), "= 3"),
            ("late", &late, complete(), "absent"),
            ("in order", &rows, open_ended(), "absent"),
            ("late", &late, complete(), "order"),
        ];
        for (what, rows, options, kind) in arrivals {
            if !keys.contains(kind) {
                continue;
            }
            let store = TestStore::new();
            for chunk in rows.chunks(rows.len() / 3) {
                store.commit(chunk);
                store.run(&pack, &options);
            }
            store.run(&pack, &complete());
            assert_eq!(store.answers(), clean.answers(), "{what}, {keys}");
            assert_eq!(store.findings(), clean.findings(), "{what}, {keys}");
            if keys.contains("= 3") {
                store.assert_named_findings_stand();
            }
        }
    }
}

#[test]
fn a_correlation_can_be_a_signal_of_another() {
    let upper = correlation(
        "signals = [\"together\", \"late\"]\norder = [\"together\", \"late\"]\nwithin = \"30m\"\nby = [\"caller\"]",
        "",
    )
    .1
    .replace("id = \"together\"", "id = \"above\"");
    let files = [
        signal("one", "one", ""),
        signal("two", "two", ""),
        signal("three", "three", ""),
        signal("late", "late", ""),
        correlation(
            &format!("{SIGNALS}\nsignals_required = 3\nwithin = \"10m\"\nby = [\"caller\"]"),
            "",
        ),
        (PathBuf::from("above.sql"), Cow::Owned(upper)),
    ];
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    let store = TestStore::new();
    let above = "SELECT count(*) FROM findings_now WHERE rule_id = 'above'";
    store.commit(&[
        (1, 600, "x", "one"),
        (2, 604, "x", "two"),
        (4, 620, "x", "late"),
        tick(9, 700),
    ]);
    store.run(&pack, &complete());
    assert_eq!(store.query(above), ["0"]);
    // What the lower one is made of comes late, and in one run both are found.
    store.commit(&[(3, 609, "x", "three"), tick(10, 705)]);
    store.run(&pack, &complete());
    assert_eq!(store.findings().len(), 1);
    assert_eq!(store.query(above), ["1"]);
}

#[test]
fn a_backtest_finds_what_a_run_finds() {
    let pack = three_in_ten();
    let store = TestStore::new();
    store.commit(&traffic(3));
    let tried = store.of_correlation(
        &pack,
        &RunOptions {
            range: Range::Between(None, None),
            dry_run: true,
            ..complete()
        },
    );
    let found = store.of_correlation(&pack, &complete());
    let of = |outcome: &RuleOutcome<'_>| -> Vec<_> {
        let episodes = outcome.episodes.iter();
        let mut all: Vec<_> = episodes
            .map(|episode| {
                (
                    episode.first_seen,
                    episode.last_seen,
                    episode.entity.clone(),
                )
            })
            .map(|key| format!("{key:?}"))
            .collect();
        all.sort_unstable();
        all
    };
    assert!(!found.episodes.is_empty());
    assert_eq!(of(&tried), of(&found));
}

//! What lies together: windows, orders, absences, and what is refused before anything runs.

use std::borrow::Cow;
use std::path::PathBuf;

use inferwatch::catalog::check::Checker;
use inferwatch::catalog::{Level, Pack};
use inferwatch::detect::run_cases;

use super::{SIGNALS, correlation, runtime, signal};

/// How many findings an inline test gets of signals at these minutes: rule, minute before the end of the window.
fn found(keys: &str, signals: &[(&str, f64)]) -> usize {
    let rows: String = signals
        .iter()
        .map(|(rule, minute)| {
            let before = (minute * 60_000.0).round() as i64;
            format!(
                "--   {{ event_time = \"-{before}ms\", rule_id = \"{rule}\", caller = \"x\" }},\n"
            )
        })
        .collect();
    let test = format!(
        "-- /// test\n-- name = \"t\"\n-- at = 2026-01-01T02:00:00Z\n-- given.signals = [\n{rows}-- ]\n\
         -- expect = []\n-- ///\n"
    );
    let files = [
        signal("one", "one", ""),
        signal("two", "two", ""),
        signal("three", "three", ""),
        correlation(keys, &test),
    ];
    let pack = Pack::from_files(files.into_iter());
    assert_eq!(pack.problems, []);
    let file = pack.rule("together").expect("is there");
    let results = run_cases(runtime().handle(), vec![file], 1).expect("the views plan");
    // None are expected, so that the failure says how many there are.
    match &results[0][0].failure {
        None => 0,
        Some(failure) => {
            let count = failure
                .strip_prefix("expected 0 findings, got ")
                .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            count.unwrap_or_else(|| panic!("{failure}"))
        }
    }
}

/// Keys with `window` and `every` so wide that all that a test gives is in the last step.
fn keys(rest: &str) -> String {
    format!("{SIGNALS}\nevery = \"10m\"\nwithin = \"10m\"\nby = [\"caller\"]\n{rest}")
}

#[test]
fn signals_lie_together_when_they_are_less_than_within_apart() {
    let keys = keys("signals_required = 3");
    let found = |signals: &[(&str, f64)]| found(&keys, signals);
    assert_eq!(found(&[("one", 9.5), ("two", 5.5), ("three", 0.5)]), 1);
    assert_eq!(found(&[("one", 9.5), ("two", 3.5), ("three", 9.4)]), 1);
    // Exactly ten minutes are too many, a millisecond less is not.
    assert_eq!(found(&[("one", 10.5), ("two", 5.0), ("three", 0.5)]), 0);
    assert_eq!(
        found(&[("one", 10.499_99), ("two", 5.0), ("three", 0.5)]),
        1
    );
    assert_eq!(found(&[("one", 11.0), ("two", 5.0), ("three", 0.5)]), 0);
    // Three of a kind are one signal.
    assert_eq!(found(&[("one", 9.0), ("one", 5.0), ("one", 1.0)]), 0);
    assert_eq!(found(&[("one", 9.0), ("two", 5.0), ("two", 1.0)]), 0);
}

#[test]
fn what_was_the_last_of_an_earlier_step_is_not_told_again() {
    // The window also holds the ten minutes before its step, for what comes together with what is in it.
    let keys = keys("signals_required = 3");
    assert_eq!(
        found(&keys, &[("one", 19.0), ("two", 15.0), ("three", 11.0)]),
        0
    );
}

#[test]
fn an_order_is_kept_whatever_lies_between() {
    let keys = keys("order = [\"a\", \"b\", \"c\"]");
    let found = |signals: &[(&str, f64)]| found(&keys, signals);
    assert_eq!(found(&[("one", 9.0), ("two", 5.0), ("three", 1.0)]), 1);
    assert_eq!(found(&[("one", 9.0), ("three", 5.0), ("two", 1.0)]), 0);
    assert_eq!(found(&[("two", 9.0), ("one", 5.0), ("three", 1.0)]), 0);
    assert_eq!(
        found(&[("two", 9.0), ("one", 8.0), ("two", 5.0), ("three", 1.0)]),
        1
    );
    // The chain counts that began last.
    assert_eq!(
        found(&[("one", 12.0), ("one", 9.0), ("two", 5.0), ("three", 1.0)]),
        1
    );
    assert_eq!(
        found(&[("one", 12.0), ("two", 9.0), ("one", 5.0), ("three", 1.0)]),
        0
    );
    // At the same time is no other order.
    assert_eq!(found(&[("one", 5.0), ("two", 5.0), ("three", 5.0)]), 1);
    assert_eq!(found(&[("one", 11.0), ("two", 5.0), ("three", 1.0)]), 0);
}

#[test]
fn an_absent_signal_must_be_absent_for_as_long() {
    let keys = keys("signals_required = 2\nabsent = [\"c\"]");
    let found = |signals: &[(&str, f64)]| found(&keys, signals);
    assert_eq!(found(&[("one", 5.0), ("two", 1.0)]), 1);
    assert_eq!(found(&[("one", 5.0), ("three", 3.0), ("two", 1.0)]), 0);
    assert_eq!(found(&[("three", 10.5), ("one", 5.0), ("two", 1.0)]), 0);
    assert_eq!(found(&[("three", 11.0), ("one", 5.0), ("two", 1.0)]), 1);
    // After the last one it undoes nothing.
    assert_eq!(found(&[("one", 5.0), ("two", 2.0), ("three", 1.0)]), 1);
}

#[test]
fn so_many_rules_of_a_signal_can_be_required() {
    let keys = "signals = [\n  { rule = \"one\", as = \"a\" },\n  { rule = \"two\", as = \"a\" },\n  \
                { rule = \"three\", as = \"b\" },\n]\nevery = \"10m\"\nwithin = \"10m\"\nby = [\"caller\"]\n\
                signals_required = { a = 2, b = 1 }";
    let found = |signals: &[(&str, f64)]| found(keys, signals);
    assert_eq!(found(&[("one", 5.0), ("two", 3.0), ("three", 1.0)]), 1);
    assert_eq!(found(&[("one", 5.0), ("one", 3.0), ("three", 1.0)]), 0);
    assert_eq!(found(&[("one", 5.0), ("two", 3.0)]), 0);
}

fn refused(keys: &str, rest: &str) -> Vec<String> {
    let files = [
        signal("one", "one", ""),
        signal("two", "two", ""),
        signal("three", "three", ""),
        correlation(keys, rest),
    ];
    let pack = Pack::from_files(files.into_iter());
    let report =
        runtime().block_on(async { Checker::new().await.expect("plans").check(&pack).await });
    report
        .problems
        .iter()
        .filter(|problem| problem.level == Level::Error)
        .map(|problem| format!("{}: {}", problem.code, problem.message))
        .collect()
}

#[test]
fn a_correlation_is_checked_without_data() {
    let by = "within = \"10m\"\nby = [\"caller\"]";
    let good = format!("{SIGNALS}\nsignals_required = 2\n{by}");
    assert_eq!(refused(&good, ""), [""; 0]);
    let first = |keys: &str, rest: &str| refused(keys, rest).into_iter().next().unwrap_or_default();
    for (keys, wanted) in [
        (good.replace("\"two\"", "\"too\""), "L-REF: no rule `too`"),
        (
            format!("{good}\nabsent = [\"d\"]"),
            "L-HEADER: no signal is `d`",
        ),
        (
            good.replace("signals_required = 2", "signals_required = 4"),
            "L-HEADER: `signals_required` must lie between 1 and 3, the signals there are",
        ),
        (
            good.replace("signals_required = 2\n", ""),
            "L-HEADER: `signals_required` is missing: how many different signals must come together",
        ),
        (
            good.replace("[\"caller\"]", "[\"session\"]"),
            "L-REF: `session` is not a column of the entity of `one`",
        ),
        (
            format!("{good}\non = {{ \"one\" = \"calle\" }}"),
            "L-REF: `one` does not return `calle`",
        ),
        (
            format!("{good}\nwindow = \"1h\""),
            "L-HEADER: unknown key `window`",
        ),
        (
            format!("{good}\nevery = \"20m\""),
            "L-HEADER: `every` is longer than nothing and not longer than `within`",
        ),
    ] {
        assert_eq!(first(&keys, ""), wanted, "{keys}");
    }
    // A query of its own, in place of the one that the header means.
    let query =
        "SELECT caller FROM signals WHERE event_time >= $window_start AND event_time < $window_end";
    assert_eq!(refused(&format!("{SIGNALS}\n{by}"), query), [""; 0]);
    assert!(
        first(&good, query).contains("leave out"),
        "{}",
        first(&good, query)
    );
    assert_eq!(
        first(&format!("{SIGNALS}\n{by}"), "SELECT caller FROM signals"),
        "L-TIME: no lower bound on `event_time` of `signals` can be proved"
    );
}

#[test]
fn correlations_in_a_circle_are_refused() {
    let of = |id: &str, other: &str| {
        let text = correlation(
            &format!(
                "signals = [\"one\", \"{other}\"]\nsignals_required = 2\nwithin = \"10m\"\nby = [\"caller\"]"
            ),
            "",
        )
        .1
        .replace("\"together\"", &format!("\"{id}\""));
        (PathBuf::from(format!("{id}.sql")), Cow::Owned(text))
    };
    let circle = [signal("one", "one", ""), of("x", "y"), of("y", "x")];
    let pack = Pack::from_files(circle.into_iter());
    assert_eq!(pack.problems.len(), 2, "{:?}", pack.problems);
    let chain = [
        signal("one", "one", ""),
        signal("two", "two", ""),
        of("x", "y"),
        of("y", "two"),
    ];
    assert_eq!(Pack::from_files(chain.into_iter()).problems, []);
}

//! The rules that ship: without a problem, and each with tests that would notice a change.

use inferwatch::catalog::check::Checker;
use inferwatch::catalog::{Pack, RuleFile};
use inferwatch::detect::{CaseResult, run_cases};

use super::runtime;

#[test]
fn the_shipped_rules_have_no_error_and_no_warning() {
    let pack = Pack::embedded();
    assert!(pack.rules.len() >= 18, "{}", pack.rules.len());
    assert!(pack.lock.is_some());
    let report =
        runtime().block_on(async { Checker::new().await.expect("plans").check(&pack).await });
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, [""; 0]);
}

#[test]
fn every_test_of_every_shipped_rule_passes() {
    let pack = Pack::embedded();
    let results = cases(pack.rules.iter().collect());
    for (file, results) in pack.rules.iter().zip(results) {
        assert_eq!(file.cases.len(), results.len());
        for (case, result) in file.cases.iter().zip(results) {
            assert_eq!(result.failure, None, "{} / {}", file.rule.id, case.name);
        }
    }
}

/// What comes of the tests of rules.
fn cases(files: Vec<&RuleFile>) -> Vec<Vec<CaseResult>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    run_cases(runtime().handle(), files, threads).expect("the views plan")
}

#[test]
fn every_shipped_rule_has_a_test_that_fires_and_two_that_do_not() {
    for file in &Pack::embedded().rules {
        let silent = file
            .cases
            .iter()
            .filter(|case| case.expect.as_ref().is_some_and(Vec::is_empty))
            .count();
        let firing = file
            .cases
            .iter()
            .filter(|case| case.expect.as_ref().is_some_and(|rows| !rows.is_empty()))
            .count();
        assert!(
            firing >= 1 && silent >= 2,
            "{}: {firing} firing, {silent} silent",
            file.rule.id
        );
    }
}

/// A rule that never fires, and one that fires on everything, must both be noticed by a rule's own tests.
#[test]
fn tests_of_a_rule_fail_when_its_line_is_moved() {
    let pack = Pack::embedded();
    let file = pack.rule("token-burn").expect("ships");
    for (from, to) in [
        ("> $max_tokens", "> $max_tokens + 1"),
        ("> $max_tokens", ">= $max_tokens"),
    ] {
        let mut changed = file.clone();
        changed.sql = file.sql.replace(from, to);
        assert_ne!(changed.sql, file.sql);
        let results = cases(vec![&changed]).remove(0);
        let failed = results.iter().filter(|result| result.failure.is_some());
        assert!(failed.count() > 0, "{to}");
    }
}

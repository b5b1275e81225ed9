//! What is told of a finding, how often, and under which name.

use std::collections::BTreeSet;

use inferwatch::catalog::Pack;
use inferwatch::detect::{Event, RuleOutcome};

use super::{BOUNDS, Row, TestStore, complete, in_pieces, row, rule, rules, traffic};

#[test]
fn a_finding_is_opened_updated_revised_retracted_and_resolved() {
    let pack = {
        let mut pack = rules();
        pack.rules.retain(|file| file.rule.id == "failing");
        pack
    };
    let failing = |number: usize, minute: i64| Row {
        outcome: "failure",
        ..row(number, minute, "a", 1)
    };
    let events = |outcome: &RuleOutcome<'_>| -> Vec<(Event, usize)> {
        let changes = outcome.changes.iter();
        changes
            .map(|change| (change.event, change.finding.episode.windows))
            .collect()
    };
    let store = TestStore::new();
    // Two of three fail at 10:01; the window from 09:40 to 10:10 is the second that shows it.
    store.commit(&[
        failing(0, 601),
        failing(1, 601),
        row(2, 601, "a", 1),
        row(3, 610, "b", 1),
    ]);
    assert_eq!(
        events(&store.run_one(&pack, &complete())),
        [(Event::Opened, 2)]
    );
    store.commit(&[row(4, 620, "b", 1)]);
    assert_eq!(
        events(&store.run_one(&pack, &complete())),
        [(Event::Updated, 4)]
    );
    // Late: the finding is worse than was told.
    store.commit(&[failing(5, 602)]);
    assert_eq!(
        events(&store.run_one(&pack, &complete())),
        [(Event::Revised, 4)]
    );
    // Later still, calls that did not fail: it was nothing.
    store.commit(&[row(6, 602, "a", 1), row(7, 603, "a", 1)]);
    assert_eq!(
        events(&store.run_one(&pack, &complete())),
        [(Event::Retracted, 4)]
    );
    assert_eq!(store.findings(), [""; 0]);
    // And a failure again: the same finding, told again, and over after twenty quiet minutes.
    store.commit(&[failing(8, 603), failing(9, 604), failing(10, 604)]);
    assert_eq!(
        events(&store.run_one(&pack, &complete())),
        [(Event::Opened, 4)]
    );
    store.commit(&[row(11, 720, "b", 1)]);
    let last = store.run_one(&pack, &complete());
    assert_eq!(events(&last), [(Event::Updated, 6), (Event::Resolved, 6)]);
    let kept = store.query("SELECT DISTINCT finding_id FROM findings");
    assert_eq!(kept.len(), 1, "one name through all of it");
    let revisions = store.query("SELECT revision FROM findings ORDER BY 1");
    assert_eq!(revisions, ["1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn the_same_subject_is_told_once_unless_it_got_worse() {
    let having = "GROUP BY caller HAVING count(*) > 9";
    let sql = format!(
        "SELECT caller, count(*) AS event_count, CASE WHEN count(*) > 25 THEN 'high' ELSE 'low' END AS severity \
         FROM calls WHERE {BOUNDS} {having}"
    );
    let header = "quiet = \"5m\"\n[suppress]\nfor = \"6h\"\n[risk]\nscore = 40";
    let pack = Pack::from_files([rule("bursts", header, &sql)].into_iter());
    assert_eq!(pack.problems, []);
    let mut rows = Vec::new();
    for (hour, size) in [(1, 10), (3, 12), (5, 30), (6, 10), (12, 10)] {
        for n in 0..size {
            rows.push(row(
                rows.len(),
                hour * 60,
                if n < 100 { "a" } else { "b" },
                1,
            ));
        }
    }
    rows.push(row(rows.len(), 14 * 60, "b", 1));
    let clean = TestStore::with(&rows);
    clean.run(&pack, &complete());
    let told = "SELECT severity, suppressed, folded, risk, risk_object FROM findings_now ORDER BY window_end";
    let expected = [
        "low false 0 40.0 a",
        "low true 1 40.0 a",
        "high false 1 40.0 a",
        "low true 1 40.0 a",
        "low false 1 40.0 a",
    ];
    assert_eq!(clean.query(told), expected);
    let commits: Vec<Vec<Row>> = rows.chunks(7).map(<[Row]>::to_vec).collect();
    assert_eq!(
        in_pieces(&pack, &commits, &complete()).query(told),
        expected
    );
}

#[test]
fn names_of_findings_are_theirs_alone() {
    let pack = rules();
    let store = TestStore::with(&traffic(3, 900));
    store.run(&pack, &complete());
    let ids = store.query("SELECT finding_id FROM findings_now");
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
}

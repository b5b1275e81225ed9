//! What is found in rule files before they run.

use std::borrow::Cow;
use std::path::PathBuf;

use inferwatch::catalog::check::Checker;
use inferwatch::catalog::{Pack, Problem};

use super::runtime;

fn pack_of(name: &str, text: &str) -> Pack {
    Pack::from_files([(PathBuf::from(format!("{name}.sql")), Cow::Borrowed(text))].into_iter())
}

/// A header that is right, around a query.
fn rule_with(extra: &str, sql: &str) -> String {
    let keys = [
        "id = \"r\"",
        "title = \"t\"",
        "version = 1",
        "status = \"test\"",
        "severity = \"low\"",
        "confidence = \"low\"",
        "source = [\"calls\"]",
        "requires = [\"caller\"]",
        "window = \"1h\"",
        "every = \"5m\"",
        "entity = [\"caller\"]",
        "description = \"d\"",
    ];
    // A key given again replaces the one above.
    let replaced = |key: &&&str| {
        !extra
            .lines()
            .any(|line| line.split(' ').next() == key.split(' ').next())
    };
    let header: String = keys
        .iter()
        .filter(replaced)
        .map(|key| format!("-- {key}\n"))
        .collect();
    let extra: String = extra.lines().map(|line| format!("-- {line}\n")).collect();
    format!("-- /// rule\n{header}{extra}-- ///\n{sql}")
}

const BOUNDS: &str = "event_time >= $window_start AND event_time < $window_end";

fn problems(extra: &str, sql: &str) -> Vec<Problem> {
    let pack = pack_of("r", &rule_with(extra, sql));
    runtime()
        .block_on(async { Checker::new().await.expect("plans").check(&pack).await })
        .problems
}

fn codes(extra: &str, sql: &str) -> Vec<&'static str> {
    problems(extra, sql)
        .iter()
        .map(|problem| problem.code)
        .collect()
}

#[test]
fn a_rule_without_faults_has_no_problem() {
    assert_eq!(
        problems(
            "",
            &format!(
                "SELECT caller, count(*) AS event_count FROM calls WHERE {BOUNDS} GROUP BY caller"
            )
        ),
        []
    );
}

#[test]
fn time_must_be_bounded_on_both_sides_of_every_scan() {
    assert_eq!(codes("", "SELECT caller FROM calls"), ["L-TIME", "L-TIME"]);
    assert_eq!(
        codes(
            "",
            "SELECT caller FROM calls WHERE event_time >= $window_start"
        ),
        ["L-TIME"]
    );
    // Under `OR`, inside a function, on another column, or as a literal, a bound bounds nothing.
    assert_eq!(
        codes(
            "",
            &format!("SELECT caller FROM calls WHERE {BOUNDS} OR caller = 'x'")
        ),
        ["L-TIME", "L-TIME"]
    );
    assert_eq!(
        codes(
            "",
            "SELECT caller FROM calls WHERE date_trunc('hour', event_time) = date_trunc('hour', $window_start)"
        ),
        ["L-TIME", "L-TIME"]
    );
    assert_eq!(
        codes(
            "",
            "SELECT caller FROM calls WHERE log_time >= $window_start AND log_time < $window_end"
        ),
        ["L-TIME", "L-TIME"]
    );
    assert_eq!(
        codes(
            "",
            "SELECT caller FROM calls WHERE event_time >= TIMESTAMP '2020-01-01T00:00:00Z' AND event_time < $window_end"
        ),
        ["L-TIME"]
    );
    // One scan of two.
    let sql =
        format!("SELECT caller FROM calls WHERE {BOUNDS} AND caller IN (SELECT caller FROM audit)");
    assert_eq!(
        codes("source = [\"calls\", \"audit\"]", &sql),
        ["L-TIME", "L-TIME"]
    );
    // A bound that reaches the scan through a CTE, and arithmetic on the window.
    let sql = "WITH recent AS (SELECT caller, event_time FROM calls) SELECT caller FROM recent \
               WHERE event_time >= $window_end - INTERVAL '5 minutes' AND event_time < $window_end";
    assert_eq!(codes("", sql), [""; 0]);
}

#[test]
fn a_baseline_ends_where_the_window_starts() {
    let history = "event_time >= $baseline_start AND event_time <";
    let sql = |end: &str| {
        format!(
            "SELECT caller FROM calls WHERE {BOUNDS} AND caller NOT IN \
             (SELECT caller FROM calls WHERE caller IS NOT NULL AND {history} {end})"
        )
    };
    assert_eq!(codes("baseline = \"7d\"", &sql("$window_start")), [""; 0]);
    assert_eq!(codes("baseline = \"7d\"", &sql("$window_end")), ["L-BASE"]);
    // Without `baseline` in the header there is no history to read.
    assert_eq!(
        codes(
            "",
            "SELECT caller FROM calls WHERE event_time >= $window_start - INTERVAL '1 day' AND event_time < $window_end"
        ),
        ["L-TIME"]
    );
}

#[test]
fn answers_that_differ_from_run_to_run_are_refused() {
    for clock in ["now()", "current_timestamp", "current_date"] {
        assert!(
            codes(
                "",
                &format!("SELECT caller, {clock} AS t FROM calls WHERE {BOUNDS}")
            )
            .contains(&"L-VOLATILE"),
            "{clock}"
        );
    }
    assert_eq!(
        codes(
            "",
            &format!("SELECT caller FROM calls WHERE {BOUNDS} AND random() < 0.5")
        ),
        ["L-VOLATILE"]
    );
    assert_eq!(
        codes(
            "",
            &format!("SELECT caller, uuid() AS id FROM calls WHERE {BOUNDS}")
        ),
        ["L-VOLATILE"]
    );
}

#[test]
fn a_rule_only_selects() {
    for sql in [
        "DELETE FROM calls",
        "COPY calls TO 'x.parquet'",
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO calls SELECT * FROM calls",
        "SELECT caller INTO t FROM calls",
        "SELECT 1; SELECT 2",
        "EXPLAIN SELECT 1",
        "SET x = 1",
        "",
    ] {
        assert_eq!(codes("", sql), ["L-WRITE"], "{sql}");
    }
}

#[test]
fn what_the_schema_does_not_have_is_named_with_its_line() {
    let found = problems(
        "",
        &format!("SELECT\n    caller,\n    event_tme\nFROM calls\nWHERE {BOUNDS}"),
    );
    assert_eq!(
        (found[0].code, found[0].line),
        ("L-SCHEMA", Some(17)),
        "{}",
        found[0]
    );
    assert!(found[0].message.contains("event_tme"));
    assert_eq!(
        codes("", &format!("SELECT caller FROM cals WHERE {BOUNDS}")),
        ["L-SCHEMA"]
    );
    assert_eq!(
        codes(
            "",
            &format!("SELECT nosuch(caller) AS caller FROM calls WHERE {BOUNDS}")
        ),
        ["L-SCHEMA"]
    );
    // A type that does not fit, an entity that is not returned, an output column of the wrong type.
    assert_eq!(
        codes(
            "",
            &format!("SELECT caller FROM calls WHERE {BOUNDS} AND finish_reasons > 3")
        ),
        ["L-SCHEMA"]
    );
    assert_eq!(
        codes("", &format!("SELECT model FROM calls WHERE {BOUNDS}")),
        ["L-SCHEMA"]
    );
    assert_eq!(
        codes(
            "",
            &format!("SELECT caller, model AS event_count FROM calls WHERE {BOUNDS}")
        ),
        ["L-SCHEMA"]
    );
    // A table that the header does not declare, and the reverse.
    assert_eq!(
        codes(
            "source = [\"audit\"]",
            &format!("SELECT caller FROM calls WHERE {BOUNDS}")
        ),
        ["L-SCHEMA", "L-SCHEMA"]
    );
    let found = problems(
        "requires = [\"input_tokns\"]",
        &format!("SELECT caller FROM calls WHERE {BOUNDS}"),
    );
    assert_eq!(
        found[0].hint.as_deref(),
        Some("did you mean `input_tokens`?")
    );
    // A parameter that is not declared.
    let found = problems(
        "",
        "SELECT caller FROM calls WHERE event_time >= $window_strt AND event_time < $window_end",
    );
    assert_eq!(
        found[0].hint.as_deref(),
        Some("did you mean `$window_start`?")
    );
}

#[test]
fn rows_multiplied_before_a_count_are_refused() {
    let two_unnests = format!(
        "SELECT caller, count(*) AS event_count FROM (SELECT caller, a, unnest(guardrail_categories) AS b FROM \
         (SELECT caller, guardrail_categories, unnest(guardrail_policies) AS a FROM calls WHERE {BOUNDS})) GROUP BY caller"
    );
    assert_eq!(codes("", &two_unnests), ["L-CARTESIAN"]);
    let cross = format!(
        "SELECT a.caller, count(*) AS event_count FROM (SELECT caller FROM calls WHERE {BOUNDS}) a \
         CROSS JOIN (SELECT model FROM calls WHERE {BOUNDS}) b GROUP BY a.caller"
    );
    assert_eq!(codes("", &cross), ["L-CARTESIAN"]);
    let zipped = format!(
        "SELECT caller, count(*) AS event_count FROM (SELECT caller, unnest(guardrail_policies) AS a, \
         unnest(guardrail_categories) AS b FROM calls WHERE {BOUNDS}) GROUP BY caller"
    );
    assert_eq!(codes("", &zipped), [""; 0]);
    let single = format!(
        "SELECT a.caller, count(*) AS event_count FROM (SELECT caller FROM calls WHERE {BOUNDS}) a \
         CROSS JOIN (SELECT count(*) AS n FROM calls WHERE {BOUNDS}) b GROUP BY a.caller"
    );
    assert_eq!(codes("", &single), [""; 0]);
}

#[test]
fn headers_are_checked_key_by_key() {
    let ok = format!("SELECT caller FROM calls WHERE {BOUNDS}");
    let told = |extra: &str| {
        let found = problems(extra, &ok);
        (found[0].code, found[0].line, found[0].hint.clone())
    };
    assert_eq!(
        told("severty = \"high\""),
        (
            "L-HEADER",
            Some(14),
            Some("did you mean `severity`?".into())
        )
    );
    assert_eq!(
        told("severity = \"hgih\""),
        ("L-HEADER", Some(13), Some("did you mean `high`?".into()))
    );
    for extra in [
        "window = \"1 hour\"",
        "every = \"40m\"",
        "every = \"7m\"",
        "version = 0",
        "id = \"other\"",
        "entity = []",
        "mode = \"tumbling\"",
    ] {
        assert_eq!(told(extra).0, "L-HEADER", "{extra}");
    }
    assert_eq!(
        codes(
            "mode = \"tumbling\"\nevery = \"1h\"\ntumbling_reason = \"daily report\"",
            &ok
        ),
        ["L-STRADDLE"]
    );
}

#[test]
fn what_is_only_doubtful_is_a_warning() {
    let sql = format!(
        "SELECT caller, count(*) AS event_count FROM calls WHERE {BOUNDS} GROUP BY caller HAVING count(*) > 7"
    );
    assert_eq!(codes("", &sql), ["L-LITERAL"]);
    let sql =
        format!("SELECT max(caller) AS caller, count(*) AS event_count FROM calls WHERE {BOUNDS}");
    assert_eq!(codes("", &sql), ["L-NOENTITY"]);
    let ok = format!("SELECT caller FROM calls WHERE {BOUNDS}");
    assert_eq!(codes("atlas = [\"AML.T9999\"]", &ok), ["L-MAP"]);
    assert_eq!(codes("owasp = [\"LLM01\"]", &ok), ["L-MAP", "L-MAP"]);
    // Blind spots, false positives, runbook and tests are what makes a rule stable.
    assert_eq!(codes("status = \"stable\"", &ok), ["L-DOC"; 4]);
    assert_eq!(
        codes("[params]\nlimit = { default = 1, doc = \"d\" }", &ok),
        ["L-DEADCOL"]
    );
}

#[test]
fn a_rule_keeps_its_meaning_under_its_version() {
    let check = |text: &str, lock: &str| {
        let files = [
            (PathBuf::from("rules.lock"), Cow::Owned(lock.to_string())),
            (PathBuf::from("r.sql"), Cow::Owned(text.to_string())),
        ];
        let pack = Pack::from_files(files.into_iter());
        runtime().block_on(async { Checker::new().await.expect("plans").check(&pack).await })
    };
    let codes = |text: &str, lock: &str| {
        check(text, lock)
            .problems
            .iter()
            .map(|problem| problem.code)
            .collect::<Vec<_>>()
    };
    let sql = format!("SELECT caller FROM calls WHERE {BOUNDS}");
    let lock = check(&rule_with("", &sql), "").lock.render();
    assert_eq!(
        codes(&rule_with("", &sql), ""),
        ["L-VERSION"],
        "not in the lock"
    );
    assert_eq!(codes(&rule_with("", &sql), &lock), [""; 0]);
    // Layout, comments, keyword case and prose are no meaning.
    let same = sql.replace("SELECT", "-- who\nselect\n   ");
    assert_eq!(
        codes(&rule_with("title = \"another\"", &same), &lock),
        [""; 0]
    );
    let changed = format!("{sql} AND outcome = 'failure'");
    assert_eq!(codes(&rule_with("", &changed), &lock), ["L-VERSION"]);
    assert_eq!(
        codes(&rule_with("severity = \"high\"", &sql), &lock),
        ["L-VERSION"]
    );
    let raised = check(&rule_with("version = 2", &changed), &lock);
    assert!(
        raised.problems[0]
            .message
            .contains("not in the lock file yet")
    );
}

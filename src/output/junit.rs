//! Results of tests as JUnit XML, as build servers read it.

use std::fmt::Write;
use std::time::Duration;

/// The tests of one rule.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The rule, or the file where there is none.
    pub name: String,
    /// Its file.
    pub path: String,
    /// Its tests.
    pub cases: Vec<Case>,
}

/// One test.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it claims.
    pub name: String,
    /// Where it is written.
    pub line: usize,
    /// What differs.
    pub failure: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// The report of one run.
pub fn report(suites: &[Suite]) -> String {
    let cases = || suites.iter().flat_map(|suite| &suite.cases);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, "<testsuites name=\"inferwatch\"{}>", totals(cases()));
    for suite in suites {
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\"{} file=\"{}\">",
            escaped(&suite.name),
            totals(suite.cases.iter()),
            escaped(&suite.path)
        );
        for case in &suite.cases {
            let _ = write!(
                xml,
                "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{}\" time=\"{:.3}\"",
                escaped(&suite.name),
                escaped(&case.name),
                escaped(&suite.path),
                case.line,
                case.elapsed.as_secs_f64()
            );
            match &case.failure {
                None => xml.push_str("/>\n"),
                Some(failure) => {
                    let first = failure.lines().next().unwrap_or_default();
                    let _ = writeln!(
                        xml,
                        ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
                        escaped(first),
                        escaped(failure)
                    );
                }
            }
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>");
    xml
}

fn totals<'c>(cases: impl Iterator<Item = &'c Case> + Clone) -> String {
    let failures = cases.clone().filter(|case| case.failure.is_some()).count();
    let seconds: f64 = cases.clone().map(|case| case.elapsed.as_secs_f64()).sum();
    format!(
        " tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{seconds:.3}\"",
        cases.count()
    )
}

/// Text for an attribute or an element. What XML cannot hold becomes the replacement character.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(c),
            '\u{fffe}' | '\u{ffff}' => escaped.push(char::REPLACEMENT_CHARACTER),
            c if c.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_hostile_text_stays_text() {
        let case = |name: &str, failure: Option<&str>| Case {
            name: name.into(),
            line: 3,
            failure: failure.map(str::to_string),
            elapsed: Duration::from_millis(1500),
        };
        let xml = report(&[Suite {
            name: "a".into(),
            path: "a.sql".into(),
            cases: vec![
                case("fires", None),
                case("\"/><x>", Some("one\n  + {\"t\":\"\u{1b}]]></failure>\"}")),
            ],
        }]);
        let head = "<testsuites name=\"inferwatch\" tests=\"2\" failures=\"1\" errors=\"0\" time=\"3.000\">";
        assert!(xml.contains(head), "{xml}");
        assert!(xml.contains("name=\"&quot;/&gt;&lt;x&gt;\""), "{xml}");
        assert!(xml.contains("<failure message=\"one\">one"), "{xml}");
        assert!(
            !xml.contains('\u{1b}') && xml.matches("</failure>").count() == 1,
            "{xml}"
        );
    }
}

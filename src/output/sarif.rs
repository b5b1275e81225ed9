//! Problems of rule files as SARIF 2.1.0, for code scanning.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::catalog::{Level, Problem};

/// The report of one check.
pub fn report(problems: &[Problem]) -> Value {
    let codes: BTreeSet<&str> = problems.iter().map(|problem| problem.code).collect();
    let rules: Vec<Value> = codes.iter().map(|code| json!({ "id": code })).collect();
    let results: Vec<Value> = problems.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "inferwatch",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "results": results,
        }],
    })
}

fn result(problem: &Problem) -> Value {
    let level = match problem.level {
        Level::Error => "error",
        Level::Warning => "warning",
    };
    let text = match &problem.hint {
        Some(hint) => format!("{}\nhint: {hint}", problem.message),
        None => problem.message.clone(),
    };
    // A line is required to be at least one, and a region may be left out.
    let region = problem
        .line
        .map(|line| json!({ "startLine": line.max(1) }))
        .unwrap_or_else(|| json!({ "startLine": 1 }));
    json!({
        "ruleId": problem.code,
        "level": level,
        "message": { "text": text },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&problem.path) },
            "region": region,
        } }],
    })
}

/// A path as a relative or absolute URI.
fn uri(path: &Path) -> String {
    let path = path.to_string_lossy().replace('\\', "/");
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_a_result_at_its_line() {
        let problems = [
            Problem::error("L-TIME", Some(7), "no bound")
                .hint(Some("add one".to_string()))
                .at(Path::new("my rules/a.sql")),
            Problem::warning("L-DOC", None, "no runbook").at(Path::new("b.sql")),
        ];
        let report = report(&problems);
        let result = &report["runs"][0]["results"][0];
        assert_eq!(result["ruleId"], "L-TIME");
        assert_eq!(result["level"], "error");
        assert_eq!(result["message"]["text"], "no bound\nhint: add one");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "my%20rules/a.sql");
        assert_eq!(place["region"]["startLine"], 7);
        assert_eq!(report["runs"][0]["results"][1]["level"], "warning");
        let ids = &report["runs"][0]["tool"]["driver"]["rules"];
        assert_eq!(ids, &json!([{ "id": "L-DOC" }, { "id": "L-TIME" }]));
    }
}

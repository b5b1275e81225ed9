//! `inferwatch coverage`: which techniques of ATLAS and which OWASP entries the rules are about.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use clap::ValueEnum;
use serde_json::{Value, json};

use super::pack::RuleFiles;
use super::{CLEAR, Global};
use crate::catalog::{RuleFile, Status, techniques};
use crate::output::{self, table};

/// Show which ATLAS techniques and OWASP entries the rules are about
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: RuleFiles,
    /// How to print; `navigator` is a layer for the ATLAS Navigator
    #[arg(
        long,
        value_enum,
        default_value = "table",
        env = "INFERWATCH_COVERAGE_FORMAT"
    )]
    format: CoverageFormat,
}

/// How `coverage` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CoverageFormat {
    /// A table for people
    Table,
    /// One JSON object a line
    Ndjson,
    /// A layer of the ATLAS Navigator
    Navigator,
}

/// A technique or entry, and what looks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Covered<'a> {
    /// All rules that name it.
    rules: Vec<&'a str>,
    /// Those of them that are relied upon.
    stable: usize,
    /// Tests of all of them.
    tests: usize,
}

/// Runs the subcommand.
///
/// # Errors
/// When the rules cannot be read.
pub(super) fn run(args: &Args, _global: &Global) -> anyhow::Result<ExitCode> {
    let pack = args.files.read()?;
    let (atlas, owasp) = (
        covered(&pack.rules, techniques().0, |file| &file.rule.atlas),
        covered(&pack.rules, techniques().1, |file| &file.rule.owasp),
    );
    match args.format {
        CoverageFormat::Navigator => output::data(&navigator(&atlas).to_string())?,
        CoverageFormat::Ndjson => {
            for (framework, covered) in [("ATLAS", &atlas), ("OWASP", &owasp)] {
                for (id, it) in covered {
                    let line = json!({
                        "framework": framework,
                        "id": id,
                        "rules": it.rules,
                        "stable": it.stable,
                        "tests": it.tests,
                    });
                    output::data(&line.to_string())?;
                }
            }
        }
        CoverageFormat::Table => {
            let rows: Vec<(&str, &Covered<'_>)> = owasp
                .iter()
                .chain(&atlas)
                .map(|(id, covered)| (*id, covered))
                .collect();
            let batch = batch(&rows)?;
            let text = table::render(&batch.schema(), &[batch], table::Style::default())?;
            output::data(text.trim_end())?;
        }
    }
    Ok(ExitCode::from(CLEAR))
}

/// Every known id, and every one that a rule names.
fn covered<'a>(
    rules: &'a [RuleFile],
    known: Vec<&'a str>,
    ids: impl Fn(&'a RuleFile) -> &'a [String],
) -> BTreeMap<&'a str, Covered<'a>> {
    let mut covered: BTreeMap<&str, Covered<'_>> = BTreeMap::new();
    for id in known {
        covered.entry(id).or_default();
    }
    for file in rules {
        for id in ids(file) {
            let it = covered.entry(id).or_default();
            it.rules.push(&file.rule.id);
            it.stable += usize::from(file.rule.status == Status::Stable);
            it.tests += file.cases.len();
        }
    }
    covered
}

fn batch(rows: &[(&str, &Covered<'_>)]) -> anyhow::Result<RecordBatch> {
    let texts = |of: &dyn Fn(&(&str, &Covered<'_>)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
    };
    let count = |of: &dyn Fn(&Covered<'_>) -> usize| -> ArrayRef {
        let counts = rows.iter().map(|(_, covered)| of(covered) as i64);
        Arc::new(Int64Array::from_iter_values(counts))
    };
    // A technique with one rule is seen for as long as that rule sees.
    let named = |(_, covered): &(&str, &Covered<'_>)| match &covered.rules[..] {
        [only] => format!("only {only}"),
        [first, second] => format!("{first}, {second}"),
        [first, second, rest @ ..] => format!("{first}, {second} and {} more", rest.len()),
        [] => "none".to_string(),
    };
    Ok(RecordBatch::try_from_iter([
        ("id", texts(&|(id, _)| (*id).to_string())),
        ("rules", count(&|covered| covered.rules.len())),
        ("stable", count(&|covered| covered.stable)),
        ("tests", count(&|covered| covered.tests)),
        ("by", texts(&named)),
    ])?)
}

/// A layer: the score of a technique is the number of rules that name it.
fn navigator(covered: &BTreeMap<&str, Covered<'_>>) -> Value {
    let most = covered.values().map(|it| it.rules.len()).max().unwrap_or(0);
    let techniques: Vec<Value> = covered
        .iter()
        .map(|(id, it)| {
            json!({
                "techniqueID": id,
                "score": it.rules.len(),
                "comment": it.rules.join(", "),
                "enabled": true,
            })
        })
        .collect();
    json!({
        "name": "inferwatch rules",
        "versions": { "layer": "4.5", "navigator": "5.1.0" },
        "domain": "atlas-atlas",
        "description": "Score: how many rules look for the technique",
        "gradient": { "colors": ["#ffffff", "#2a9d8f"], "minValue": 0, "maxValue": most },
        "techniques": techniques,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Pack;

    #[test]
    fn every_mapping_of_every_rule_is_counted_once() {
        let pack = Pack::embedded();
        let atlas = covered(&pack.rules, techniques().0, |file| &file.rule.atlas);
        let counted: usize = atlas.values().map(|it| it.rules.len()).sum();
        let mapped: usize = pack.rules.iter().map(|file| file.rule.atlas.len()).sum();
        assert_eq!(counted, mapped);
        assert!(atlas["AML.T0070"].rules.contains(&"rag-source-changed"));
        let layer = navigator(&atlas);
        let scores = layer["techniques"].as_array().expect("a list");
        let sum: u64 = scores.iter().filter_map(|it| it["score"].as_u64()).sum();
        assert_eq!(sum, mapped as u64);
    }

    #[test]
    fn what_no_rule_is_about_is_told() {
        let owasp = covered(&[], techniques().1, |file| &file.rule.owasp);
        assert!(owasp["LLM01:2025"].rules.is_empty());
        assert_eq!(owasp.len(), 20);
    }
}

//! Finds the rules that correlations of a pack look for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::correlation::{EVERY_RULE, LinkedSignal};
use super::problem::Problem;
use super::rule::{Rule, RuleKind};
use super::{Pack, RuleFile};
use crate::suggest::nearest;

/// How many correlations may stand on each other.
const DEEPEST: usize = 3;

/// Links every correlation; what cannot be linked is a problem of the pack.
pub(super) fn link(pack: &mut Pack) {
    let rules: BTreeMap<String, Arc<Rule>> = pack
        .rules
        .iter()
        .map(|file| (file.rule.id.clone(), Arc::new(file.rule.clone())))
        .collect();
    for file in &mut pack.rules {
        let mut problems = Vec::new();
        file.signals = linked(file, &rules, &mut problems);
        if problems.is_empty() {
            problems.extend(depth(file, &rules));
        }
        pack.problems
            .extend(problems.into_iter().map(|problem| problem.at(&file.path)));
    }
}

fn linked(
    file: &RuleFile,
    rules: &BTreeMap<String, Arc<Rule>>,
    problems: &mut Vec<Problem>,
) -> Vec<LinkedSignal> {
    let Some(correlation) = &file.rule.correlation else {
        return Vec::new();
    };
    let line = Some(file.rule.line);
    let mut signals = Vec::new();
    for signal in &correlation.signals {
        let named = |rule: &Rule| {
            let on = correlation.on.get(&rule.id);
            on.unwrap_or(&correlation.by).clone()
        };
        if signal.rule == EVERY_RULE {
            let fitting = rules.values().filter(|rule| {
                let has_all = correlation.by.iter().all(|by| rule.entity.contains(by));
                rule.kind != RuleKind::Correlation
                    && (has_all || correlation.on.contains_key(&rule.id))
            });
            signals.extend(fitting.map(|rule| LinkedSignal {
                alias: signal.alias.clone(),
                columns: named(rule),
                rule: Arc::clone(rule),
            }));
            continue;
        }
        let Some(rule) = rules.get(&signal.rule) else {
            let hint = nearest(&signal.rule, rules.keys().map(String::as_str))
                .map(|near| format!("did you mean `{near}`?"));
            problems.push(
                Problem::error("L-REF", line, format!("no rule `{}`", signal.rule)).hint(hint),
            );
            continue;
        };
        let columns = named(rule);
        let is_named = correlation.on.contains_key(&rule.id);
        if let Some(column) = columns.iter().find(|column| !rule.entity.contains(column))
            && !is_named
        {
            let message = format!(
                "`{}` is not a column of the entity of `{}`",
                column, rule.id
            );
            let hint = format!(
                "say which column it is: on = {{ \"{}\" = \"...\" }}",
                rule.id
            );
            problems.push(Problem::error("L-REF", line, message).hint(Some(hint)));
        }
        signals.push(LinkedSignal {
            alias: signal.alias.clone(),
            rule: Arc::clone(rule),
            columns,
        });
    }
    signals
}

/// Whether correlations stand on each other in a circle, or too high.
fn depth(file: &RuleFile, rules: &BTreeMap<String, Arc<Rule>>) -> Option<Problem> {
    let mut above: BTreeSet<&str> = BTreeSet::from([file.rule.id.as_str()]);
    let below = |rule: &Rule| -> Vec<String> {
        let signals = rule.correlation.iter().flat_map(|it| &it.signals);
        signals.map(|signal| signal.rule.clone()).collect()
    };
    for height in 0.. {
        let next: Vec<&Arc<Rule>> = above
            .iter()
            .filter_map(|id| rules.get(*id))
            .flat_map(|rule| below(rule))
            .filter_map(|id| rules.get(&id))
            .filter(|rule| rule.kind == RuleKind::Correlation)
            .collect();
        let problem =
            |message: String| Some(Problem::error("L-REF", Some(file.rule.line), message));
        if next.iter().any(|rule| rule.id == file.rule.id) {
            return problem("the correlation is, by way of others, a signal of itself".into());
        }
        if next.is_empty() {
            return None;
        }
        if height + 1 >= DEEPEST {
            return problem(format!(
                "more than {DEEPEST} correlations stand on each other"
            ));
        }
        above = next.into_iter().map(|rule| rule.id.as_str()).collect();
    }
    None
}

//! Values of parameters for one environment: a TOML file with a table for each rule, so that nobody edits a rule.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::case::plain;
use super::problem::Problem;
use super::rule::{ParamValue, json};
use super::{Pack, RuleFile};
use crate::suggest::nearest;

/// A value that an environment sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The rule.
    pub rule: String,
    /// The parameter.
    pub param: String,
    /// Its value.
    pub value: ParamValue,
    /// The file.
    pub path: PathBuf,
    /// The line in it.
    pub line: usize,
}

/// Reads the settings of a file for the rules of a pack; what is wrong is a problem of the pack.
pub(super) fn read(pack: &mut Pack, path: &Path, text: &str) {
    let line = |offset: usize| {
        let before = &text.as_bytes()[..offset.min(text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    };
    let mut problems = Vec::new();
    let mut fault = |offset: usize, message: String, hint: Option<String>| {
        let problem = Problem::error("L-PARAM", Some(line(offset)), message).hint(hint);
        problems.push(problem.at(path));
    };
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            fault(offset, error.message().to_string(), None);
            pack.problems.extend(problems);
            return;
        }
    };
    for (rule, values) in root.get_ref() {
        let (id, at) = (rule.get_ref().as_ref(), rule.span().start);
        let Some(file) = pack.rules.iter().find(|file| file.rule.id == id) else {
            let ids = pack.rules.iter().map(|file| file.rule.id.as_str());
            let hint = nearest(id, ids).map(|near| format!("did you mean `{near}`?"));
            fault(at, format!("no rule `{id}`"), hint);
            continue;
        };
        let DeValue::Table(values) = values.get_ref() else {
            fault(at, format!("`{id}` must be a table: [{id}]"), None);
            continue;
        };
        for (name, value) in values {
            let (name, at) = (name.get_ref().as_ref(), name.span().start);
            let Some(param) = file.rule.param(name) else {
                fault(
                    at,
                    format!("`{id}` has no parameter `{name}`"),
                    known(file, name),
                );
                continue;
            };
            match param.parse(&plain(&json(value))) {
                Ok(value) => pack.settings.push(Setting {
                    rule: id.to_string(),
                    param: name.to_string(),
                    value,
                    path: path.to_path_buf(),
                    line: line(at),
                }),
                Err(message) => fault(at, message, Some(param.doc.clone())),
            }
        }
    }
    pack.problems.extend(problems);
}

fn known(file: &RuleFile, name: &str) -> Option<String> {
    let names = || file.rule.params.iter().map(|param| param.name.as_str());
    Some(match nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has: {}", names().collect::<Vec<_>>().join(", ")),
    })
}

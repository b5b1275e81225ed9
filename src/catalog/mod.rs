//! Reads versioned SQL files: header to metadata, SQL to a checked plan.
//!
//! A file is comment blocks and one `SELECT` (`block` splits it, `header` reads a block's TOML with the line of
//! every value). [`Rule`], [`Case`] and [`View`] are the blocks that mean something here. A [`Pack`] is many files
//! with their problems: one bad file never hides another. [`check`] plans and lints them without data. Evaluating
//! rules is for [`crate::detect`].

mod block;
mod bounds;
mod case;
pub mod check;
mod correlation;
mod dashboards;
mod derived;
mod environment;
mod exception;
mod header;
mod layout;
mod link;
mod listing;
mod lock;
mod noise;
mod panel;
mod pinned;
mod problem;
mod rule;
mod span;
mod tier;
mod view;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use block::{Block, Split, split};
pub use bounds::{Bounds, time_bounds};
pub(crate) use bounds::{comparisons, micros};
pub use case::{Case, Given, State};
pub use correlation::{Correlation, LinkedSignal, Required, SIGNALS, Signal};
pub use dashboards::{Dashboards, PANEL_PARAMS, Values, fill};
pub use derived::{Exemption, Property};
pub use environment::Setting;
pub use exception::Exception;
pub use header::{Header, Section};
pub use layout::formatted;
pub use listing::rules_table;
pub use lock::{Lock, Locked, meaning};
pub use noise::{Noise, upper_bound as noise_bound};
pub use panel::{Board, Chart, DrillDown, Empty, Panel, Size, Threshold, Unit};
pub use pinned::techniques;
pub use problem::{Level, Problem};
pub use rule::{
    Dedup, ENGINE_PARAMS, Escalate, FROZEN, Mode, Param, ParamValue, Risk, Rule, RuleBudget,
    RuleKind, Severity, Status, Suppress,
};
pub use span::Span;
pub use tier::{Tier, TierAction, TierCase};
pub use view::{BoundedView, View, register_views, views};
pub(crate) use view::{replace_placeholders, timestamp, typed};

use crate::error::{Error, Result};
use crate::suggest::nearest;

/// The files under `queries/`, as they were when the program was built.
static EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/queries.rs"));

/// The embedded file of that path, as `queries/rules.lock`.
pub(crate) fn embedded(path: &str) -> Option<&'static str> {
    EMBEDDED
        .iter()
        .find(|(name, _)| *name == path)
        .map(|(_, text)| *text)
}

/// A rule with its query and its tests.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its header.
    pub rule: Rule,
    /// Its query, on the lines of the file.
    pub sql: String,
    /// Its inline tests.
    pub cases: Vec<Case>,
    /// Of a correlation, the rules that it looks for.
    pub signals: Vec<LinkedSignal>,
}

/// Rules that were read together.
#[derive(Debug, Clone, Default)]
pub struct Pack {
    /// Files whose headers are right, sorted by id.
    pub rules: Vec<RuleFile>,
    /// What is wrong with the others.
    pub problems: Vec<Problem>,
    /// The versions that shipped, if the pack has a lock file, and where it is.
    pub lock: Option<(PathBuf, Lock)>,
    /// What nobody is told of.
    pub exceptions: Vec<Exception>,
    /// Values of parameters that the environment sets.
    pub settings: Vec<Setting>,
    /// Files read, with or without a rule.
    pub files: usize,
}

impl Pack {
    /// The rules that ship inside the binary.
    pub fn embedded() -> Pack {
        let files = EMBEDDED
            .iter()
            .filter(|(name, _)| name.starts_with("queries/rules"))
            .map(|(name, text)| (PathBuf::from(name), Cow::Borrowed(*text)));
        Pack::from_files(files)
    }

    /// Reads rule files, and folders of them.
    ///
    /// # Errors
    /// A path that is not there or cannot be read. What is wrong inside a file is a problem of the pack.
    pub fn read(paths: &[PathBuf]) -> Result<Pack> {
        let mut files = Vec::new();
        for path in files_below(paths, &["sql", "lock"])? {
            let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            files.push((path, Cow::Owned(text)));
        }
        Ok(Pack::from_files(files.into_iter()))
    }

    /// Reads files given as path and text.
    pub fn from_files<'a>(files: impl Iterator<Item = (PathBuf, Cow<'a, str>)>) -> Pack {
        let mut pack = Pack::default();
        for (path, text) in files {
            if path
                .extension()
                .is_some_and(|extension| extension == "lock")
            {
                match Lock::parse(&text) {
                    Ok(lock) => pack.lock = Some((path, lock)),
                    Err(problem) => pack.problems.push(problem.at(&path)),
                }
                continue;
            }
            pack.files += 1;
            match read_file(&path, &text) {
                Ok(Content::Rule(rule)) => pack.rules.push(*rule),
                Ok(Content::Exception(exception)) => pack.exceptions.push(exception),
                Ok(Content::Other) => {}
                Err(problems) => pack
                    .problems
                    .extend(problems.into_iter().map(|problem| problem.at(&path))),
            }
        }
        pack.rules.sort_by(|a, b| a.rule.id.cmp(&b.rule.id));
        let mut first: HashMap<&str, &Path> = HashMap::new();
        for file in &pack.rules {
            if let Some(other) = first.insert(&file.rule.id, &file.path) {
                pack.problems.push(
                    Problem::error(
                        "L-HEADER",
                        Some(file.rule.line),
                        format!("id `{}` is also that of {}", file.rule.id, other.display()),
                    )
                    .at(&file.path),
                );
            }
        }
        link::link(&mut pack);
        pack
    }

    /// Adds the exceptions of another pack, and what is wrong with its files.
    pub fn add_exceptions(&mut self, other: Pack) {
        self.exceptions.extend(other.exceptions);
        self.problems.extend(other.problems);
    }

    /// Reads values of parameters from a TOML file. What is wrong in it is a problem of the pack.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_settings(&mut self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        environment::read(self, path, &text);
        Ok(())
    }

    /// The rule of that id.
    ///
    /// # Errors
    /// When there is none; the nearest is named.
    pub fn rule(&self, id: &str) -> Result<&RuleFile> {
        self.rules
            .iter()
            .find(|file| file.rule.id == id)
            .ok_or_else(|| Error::Usage {
                message: format!("no rule `{id}`"),
                hint: nearest(id, self.rules.iter().map(|file| file.rule.id.as_str()))
                    .map(|near| format!("did you mean `{near}`?")),
            })
    }

    /// Fails on the first error, for what cannot go on with half a pack.
    ///
    /// # Errors
    /// The first problem that is an error.
    pub fn into_valid(self) -> Result<Pack> {
        match self
            .problems
            .iter()
            .find(|problem| problem.level == Level::Error)
        {
            Some(problem) => Err(problem.clone().into()),
            None => Ok(self),
        }
    }
}

/// The SQL files among paths and in folders, in order.
///
/// # Errors
/// A path that is not there or cannot be read.
pub fn sql_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    files_below(paths, &["sql"])
}

/// Files that are named, and those in folders that end in one of some ways.
fn files_below(paths: &[PathBuf], ends: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(path).to_path_buf();
                Error::io("read", path)(error.into())
            })?;
            let extension = entry.path().extension();
            let is_wanted = extension.is_some_and(|it| ends.iter().any(|end| it == *end));
            if entry.file_type().is_file() && (is_wanted || entry.depth() == 0) {
                files.push(entry.into_path());
            }
        }
    }
    Ok(files)
}

/// What a file holds.
enum Content {
    Rule(Box<RuleFile>),
    Exception(Exception),
    /// A view, a retention tier, a panel or a board, which is nothing here.
    Other,
}

/// Reads one file.
fn read_file(path: &Path, text: &str) -> Result<Content, Vec<Problem>> {
    let Split { blocks, sql } = split(text)?;
    let mut problems = Vec::new();
    let mut rules = Vec::new();
    let mut cases = Vec::new();
    for block in &blocks {
        match block.kind.as_str() {
            "rule" => match Rule::read(block) {
                Ok(rule) => rules.push(rule),
                Err(found) => problems.extend(found),
            },
            "test" => match Case::read(block) {
                Ok(case) => cases.push(case),
                Err(found) => problems.extend(found),
            },
            "pack" => problems.push(Problem::error(
                "L-HEADER",
                Some(block.line),
                format!("blocks of type `{}` are reserved", block.kind),
            )),
            _ => {}
        }
    }
    let has_other = blocks
        .iter()
        .any(|block| ["tier", "view", "panel", "board"].contains(&block.kind.as_str()));
    if let Some(block) = blocks.iter().find(|block| block.kind == "exception")
        && rules.is_empty()
        && problems.is_empty()
    {
        let exception = Exception::read(block, path.to_path_buf(), sql)?;
        return Ok(Content::Exception(exception));
    }
    match (rules.len(), problems.is_empty()) {
        (_, false) => return Err(problems),
        (0, _) if has_other => return Ok(Content::Other),
        (0, _) => {
            let hint =
                "start the file with `-- /// rule`, a TOML header in `-- ` lines, and `-- ///`";
            return Err(vec![
                Problem::error("L-HEADER", Some(1), "no `rule` block").hint(Some(hint.to_string())),
            ]);
        }
        (1, _) => {}
        _ => {
            return Err(vec![Problem::error(
                "L-HEADER",
                Some(rules[1].line),
                "a file holds one rule",
            )]);
        }
    }
    let mut rule = rules.remove(0);
    let mut sql = sql;
    let every = rule.every;
    if let Some(correlation) = &mut rule.correlation {
        // The table is the same for a query of the file and for that of the header.
        correlation.has_query = sql
            .lines()
            .any(|line| !matches!(line.trim(), "") && !line.trim().starts_with("--"));
        if let Err(message) = correlation.is_whole() {
            return Err(vec![Problem::error("L-HEADER", Some(rule.line), message)]);
        }
        if !correlation.has_query {
            sql = correlation.sql(every);
        }
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    if name != rule.id.as_str() {
        let message = format!("the file is named `{name}`, the rule `{}`", rule.id);
        return Err(vec![Problem::error("L-HEADER", Some(rule.line), message)]);
    }
    for case in &cases {
        if case.at % rule.every.0 != 0 {
            problems.push(Problem::error(
                "L-HEADER",
                Some(case.line),
                format!("`at` is not a multiple of `every` {}", rule.every),
            ));
        }
        for (name, value) in &case.params {
            let problem = match rule.param(name) {
                Some(param) => param.parse(value).err(),
                None => Some(format!("no parameter `{name}`")),
            };
            problems.extend(
                problem.map(|message| Problem::error("L-HEADER", Some(case.line), message)),
            );
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Content::Rule(Box::new(RuleFile {
        path: path.to_path_buf(),
        rule,
        sql,
        cases,
        signals: Vec::new(),
    })))
}

//! Exceptions: subjects that rules find and nobody wants to be told of, until a date, for a reason.
//!
//! A file with an `exception` block and a `SELECT` that lists keys: columns of the entity and their values. What is
//! excepted is still evaluated and stored, so what an exception costs can always be seen.

use std::path::PathBuf;

use super::block::Block;
use super::header::{Header, Section};
use super::problem::Problem;

/// An exception as its file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Its name: that of the file.
    pub id: String,
    /// The rules that it is from.
    pub rules: Vec<String>,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// The instant after which it holds no more, in microseconds: what happens later is told.
    pub expires: i64,
    /// The query that lists its keys.
    pub sql: String,
    /// Where it was read from.
    pub path: PathBuf,
    /// Line of the opening fence.
    pub line: usize,
}

impl Exception {
    /// Reads an `exception` block.
    ///
    /// # Errors
    /// Every problem of the block.
    pub(super) fn read(
        block: &Block,
        path: PathBuf,
        sql: String,
    ) -> Result<Exception, Vec<Problem>> {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Header::read(block, |section| {
            let id = section.required("id", Section::text);
            let rules = section.required("rules", |section, key| Some(section.texts(key)));
            let reason = section.required("reason", Section::text);
            let owner = section.required("owner", Section::text);
            let expires = section.required("expires", Section::instant);
            if rules.as_ref().is_some_and(Vec::is_empty) {
                section.fault_at("rules", "`rules` must name at least one");
            }
            if id.as_ref().is_some_and(|id| *id != name) {
                section.fault_at("id", format!("the file is named `{name}`"));
            }
            for (key, value) in [("reason", &reason), ("owner", &owner)] {
                if value.as_ref().is_some_and(String::is_empty) {
                    section.fault_at(key, format!("`{key}` is empty"));
                }
            }
            Some(Exception {
                id: id?,
                rules: rules?,
                reason: reason?,
                owner: owner?,
                expires: expires?,
                sql,
                path,
                line: block.line,
            })
        })
    }

    /// Whether it is from a rule.
    pub fn is_from(&self, rule: &str) -> bool {
        self.rules.iter().any(|id| id == rule)
    }
}

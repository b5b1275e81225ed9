//! Retention tiers: which partitions of a table something is done to as they age.
//!
//! A file with a `tier` block and one `SELECT` over `partitions`, which gives the periods, or the periods with caller and
//! model, that the action is for. A rollup has a second statement, `INSERT INTO … SELECT`, for one period of time at a
//! time. `test` blocks give partitions and the periods that are expected. The minimum age is a floor: whatever the query
//! says, nothing is done to a row that is younger.

use std::path::{Path, PathBuf};

use datafusion::sql::parser::{DFParser, Statement as Parsed};
use datafusion::sql::sqlparser::ast::{Statement, TableObject};

use super::block::{Block, split};
use super::header::{Header, Section};
use super::problem::Problem;
use super::span::Span;
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::Grain;

/// What a tier does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TierAction {
    /// Sums rows up into another table.
    Rollup {
        /// That table.
        into: Table,
        /// The query for the instants from `$period_start` to before `$period_end`.
        query: String,
    },
    /// Makes longer periods of short ones.
    Compact(Grain),
    /// Replaces personal data and secrets in columns of text.
    Redact(Vec<String>),
    /// Empties columns.
    DropColumns(Vec<String>),
    /// Removes the rows.
    Expire,
}

impl TierAction {
    /// Its name in a header.
    pub fn name(&self) -> &'static str {
        match self {
            TierAction::Rollup { .. } => "rollup",
            TierAction::Compact(_) => "compact",
            TierAction::Redact(_) => "redact",
            TierAction::DropColumns(_) => "drop-columns",
            TierAction::Expire => "expire",
        }
    }

    /// What is summed up before anything goes, and made less before it is compacted, comes first.
    pub fn order(&self) -> u8 {
        match self {
            TierAction::Rollup { .. } => 0,
            TierAction::Expire => 1,
            TierAction::DropColumns(_) => 2,
            TierAction::Redact(_) => 3,
            TierAction::Compact(_) => 4,
        }
    }
}

/// A test of a tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierCase {
    /// What it shows.
    pub name: String,
    /// The time that it is.
    pub now: i64,
    /// The periods that the tier's table has a partition of.
    pub periods: Vec<String>,
    /// How large each of them is.
    pub megabytes: i64,
    /// The periods that the action is for, in order.
    pub expect: Vec<String>,
    /// Line of its block.
    pub line: usize,
}

/// A tier file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Its name: that of the file.
    pub id: String,
    /// What it does, in a line.
    pub title: String,
    /// Counts its changes.
    pub version: i64,
    /// The table.
    pub table: Table,
    /// The floor.
    pub minimum_age: Span,
    /// What is done.
    pub action: TierAction,
    /// The query that chooses partitions.
    pub select: String,
    /// Its tests.
    pub cases: Vec<TierCase>,
    /// Where it was read from.
    pub path: PathBuf,
}

impl Tier {
    /// Reads a tier file; `None` when there is no `tier` block in it.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn read(path: PathBuf, text: &str) -> Result<Option<Tier>, Vec<Problem>> {
        Tier::parse(&path, text).map_err(|problems| {
            problems
                .into_iter()
                .map(|problem| problem.at(&path))
                .collect()
        })
    }

    fn parse(path: &Path, text: &str) -> Result<Option<Tier>, Vec<Problem>> {
        let file = split(text)?;
        let Some(block) = file.blocks.iter().find(|block| block.kind == "tier") else {
            return Ok(None);
        };
        let (select, insert) = statements(&file.sql).map_err(|(message, hint)| {
            vec![Problem::error("L-SQL", None, message).hint(hint.map(str::to_owned))]
        })?;
        let mut tier = header(block, path, select, insert)?;
        for block in file.blocks.iter().filter(|block| block.kind == "test") {
            tier.cases.push(case(block)?);
        }
        Ok(Some(tier))
    }

    /// The tiers inside the program.
    ///
    /// # Panics
    /// When an embedded tier is wrong, which a test rules out.
    pub fn embedded() -> Vec<Tier> {
        super::EMBEDDED
            .iter()
            .filter(|(name, _)| name.starts_with("queries/retention/"))
            .filter_map(|(name, text)| {
                Tier::read(name.into(), text).expect("embedded tiers are tested")
            })
            .collect()
    }

    /// The tiers in files and folders.
    ///
    /// # Errors
    /// When one cannot be read, is wrong, or has the name of another.
    pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Tier>> {
        let mut tiers: Vec<Tier> = Vec::new();
        for path in paths {
            for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
                let entry = entry.map_err(|error| {
                    let path = error.path().unwrap_or(path).to_path_buf();
                    Error::io("read", path)(error.into())
                })?;
                let extension = entry.path().extension();
                if extension.is_none_or(|extension| extension != "sql") {
                    continue;
                }
                let text = std::fs::read_to_string(entry.path())
                    .map_err(Error::io("read", entry.path()))?;
                let tier = Tier::read(entry.path().to_path_buf(), &text).map_err(|problems| {
                    let problem = problems.into_iter().next().expect("there is a problem");
                    Error::Catalog {
                        path: problem.path,
                        line: problem.line,
                        message: problem.message,
                        hint: problem.hint,
                    }
                })?;
                if let Some(tier) = tier {
                    if let Some(other) = tiers.iter().find(|other| other.id == tier.id) {
                        return Err(Error::Catalog {
                            path: tier.path,
                            line: None,
                            message: format!("`{}` has the same id", other.path.display()),
                            hint: None,
                        });
                    }
                    tiers.push(tier);
                }
            }
        }
        if tiers.is_empty() {
            return Err(Error::Usage {
                message: "no retention tier in the files that were named".into(),
                hint: Some("a tier is an `.sql` file with a block `-- /// tier`".into()),
            });
        }
        Ok(tiers)
    }
}

fn header(
    block: &Block,
    path: &Path,
    select: String,
    insert: Option<(String, String)>,
) -> Result<Tier, Vec<Problem>> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Header::read(block, |section| {
        let id = section.required("id", Section::text);
        let title = section.required("title", Section::text);
        let version = section.required("version", Section::integer);
        let tables = Table::ALL.map(|table| (table.name(), table));
        let table = section.required("table", |section, key| section.choice(key, &tables));
        let minimum_age = section.required("minimum_age", Section::span);
        let actions = ["rollup", "compact", "redact", "drop-columns", "expire"];
        let actions = actions.map(|action| (action, action));
        let action = section.required("action", |section, key| section.choice(key, &actions));
        let columns = section.texts("columns");
        let grain = section.choice("grain", &[("day", Grain::Day), ("month", Grain::Month)]);
        section.text("description");
        if id.as_ref().is_some_and(|id| *id != name) {
            section.fault_at("id", format!("the file is named `{name}`"));
        }
        let (table, action) = (table?, action?);
        if insert.is_some() && action != "rollup" {
            section.fault_at("action", "only a `rollup` has a second statement");
        }
        let action = match action {
            "rollup" => {
                let Some((into, query)) = insert else {
                    section.fault_at(
                        "action",
                        "a `rollup` needs a second statement, `INSERT INTO … SELECT`",
                    );
                    return None;
                };
                // Whole days are put in the place of days; other tables are not laid out for that.
                if into != Table::Usage.name() {
                    section.fault_at(
                        "action",
                        format!("a rollup goes into `usage`, not into `{into}`"),
                    );
                }
                TierAction::Rollup {
                    into: Table::Usage,
                    query,
                }
            }
            "compact" => TierAction::Compact(section.required("grain", |_, _| grain)?),
            "redact" | "drop-columns" => {
                if columns.is_empty() {
                    section.fault_at("columns", "`columns` must name at least one");
                }
                for column in &columns {
                    if let Some(why) = not_editable(table, column, action == "redact") {
                        section.fault_at("columns", why);
                    }
                }
                match action {
                    "redact" => TierAction::Redact(columns),
                    _ => TierAction::DropColumns(columns),
                }
            }
            _ => TierAction::Expire,
        };
        Some(Tier {
            id: id?,
            title: title?,
            version: version?,
            table,
            minimum_age: minimum_age?,
            action,
            select,
            cases: Vec::new(),
            path: path.to_path_buf(),
        })
    })
}

/// Why a column cannot be redacted or emptied.
fn not_editable(table: Table, column: &str, redact: bool) -> Option<String> {
    use arrow::datatypes::DataType;
    let schema = table.schema();
    let Ok(field) = schema.field_with_name(column) else {
        return Some(format!("table `{}` has no column `{column}`", table.name()));
    };
    let sorted = ["rule_id", "caller", "model", "source_file", "source_offset"];
    if !field.is_nullable() || sorted.contains(&column) {
        return Some(format!("`{column}` is needed to find the row, and stays"));
    }
    let is_text = matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8);
    (redact && !is_text).then(|| format!("`{column}` holds no text that could be redacted"))
}

fn case(block: &Block) -> Result<TierCase, Vec<Problem>> {
    Header::read(block, |section| {
        let name = section.required("name", Section::text);
        let now = section.required("now", Section::instant);
        let expect = section.required("expect", |section, key| Some(section.texts(key)));
        let periods = section.required("periods", |section, key| Some(section.texts(key)));
        let megabytes = section.integer("megabytes");
        Some(TierCase {
            name: name?,
            now: now?,
            periods: periods?,
            megabytes: megabytes.unwrap_or(1),
            expect: expect?,
            line: section.line(),
        })
    })
}

type Wrong = (String, Option<&'static str>);

/// The `SELECT`, and of an `INSERT` the table and its `SELECT`.
fn statements(sql: &str) -> Result<(String, Option<(String, String)>), Wrong> {
    let parsed = DFParser::parse_sql(sql).map_err(|error| (error.strip_backtrace(), None))?;
    let mut select = None;
    let mut insert = None;
    for statement in parsed {
        let Parsed::Statement(statement) = statement else {
            return Err((
                format!("`{statement}` is neither a SELECT nor an INSERT"),
                None,
            ));
        };
        match *statement {
            Statement::Query(query) if select.is_none() => select = Some(query.to_string()),
            Statement::Insert(into) if insert.is_none() => {
                let table = match &into.table {
                    TableObject::TableName(name) => name.to_string(),
                    other => other.to_string(),
                };
                let Some(source) = into.source else {
                    return Err(("the INSERT has no SELECT".into(), None));
                };
                insert = Some((table, source.to_string()));
            }
            other => {
                return Err((
                    format!("a tier has one SELECT, and a rollup one INSERT; what is `{other}`?"),
                    None,
                ));
            }
        }
    }
    match select {
        Some(select) => Ok((select, insert)),
        None => Err((
            "a tier needs a SELECT".into(),
            Some(
                "such as SELECT period FROM partitions WHERE \"table\" = 'calls' AND period_end <= $now - INTERVAL '90 days'",
            ),
        )),
    }
}

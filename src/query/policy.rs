//! What SQL may not do: change a table of the store, or write into its folder.
//!
//! Rows come in by `ingest`, exactly once and enriched; a table made by hand beside them, or a file dropped between
//! them, would break that promise in silence. Everything else is the person's own machine and is allowed.

use std::path::{Path, PathBuf};

use datafusion::common::TableReference;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{DdlStatement, LogicalPlan};

use super::Failure;
use crate::schema::Table;

/// Tables that are computed from the store when asked.
pub const SYSTEM_TABLES: [&str; 5] = ["partitions", "files", "ingests", "rules", "usage"];

/// Whether the store owns the name.
pub fn is_store_table(name: &str) -> bool {
    Table::from_name(name).is_some() || SYSTEM_TABLES.contains(&name)
}

/// Refuses a plan that would change the store.
pub(super) fn check(plan: &LogicalPlan, store: &Path) -> Result<(), Failure> {
    let mut refused = None;
    // The closure itself cannot fail.
    let _ = plan.apply(|node| {
        refused = refusal(node, store);
        Ok(if refused.is_some() {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    refused.map_or(Ok(()), Err)
}

/// Refuses a plan that does more than ask: what is allowed is listed, so that what is new is not.
pub(super) fn check_is_question(plan: &LogicalPlan, plans: bool) -> Result<(), Failure> {
    let mut refused = None;
    let visited = plan.apply_with_subqueries(|node| {
        refused = no_question(node, plans);
        Ok(if refused.is_some() {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    match (visited, refused) {
        (_, Some(refused)) => Err(refused),
        (Ok(_), None) => Ok(()),
        (Err(error), None) => Err(Failure::new(error.strip_backtrace())),
    }
}

fn no_question(plan: &LogicalPlan, plans: bool) -> Option<Failure> {
    match plan {
        LogicalPlan::Aggregate(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Projection(_)
        | LogicalPlan::RecursiveQuery(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Window(_) => None,
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) if plans => None,
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => Some(
            Failure::new("this token sees some of the rows, and so no plans")
                .with_hint("a plan names files and counts of rows that are not for it"),
        ),
        LogicalPlan::Copy(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Statement(_) => {
            Some(Failure::new("the server only answers questions").with_hint(
                "`SELECT`, `WITH`, `VALUES`, `DESCRIBE`, `SHOW` and `EXPLAIN` are for you",
            ))
        }
    }
}

fn refusal(plan: &LogicalPlan, store: &Path) -> Option<Failure> {
    match plan {
        LogicalPlan::Dml(statement) => owned(&statement.table_name),
        LogicalPlan::Copy(copy) => inside(&copy.output_url, store),
        LogicalPlan::Ddl(statement) => match statement {
            DdlStatement::CreateExternalTable(table) => owned(&table.name).or_else(|| {
                table
                    .locations
                    .iter()
                    .find_map(|location| inside(location, store))
            }),
            DdlStatement::CreateMemoryTable(table) => owned(&table.name),
            DdlStatement::CreateView(view) => owned(&view.name),
            DdlStatement::DropTable(table) => owned(&table.name),
            DdlStatement::DropView(view) => owned(&view.name),
            DdlStatement::CreateIndex(index) => owned(&index.table),
            DdlStatement::DropCatalogSchema(schema) => Some(Failure::new(format!(
                "schema `{}` cannot be dropped",
                schema.name
            ))),
            _ => None,
        },
        _ => None,
    }
}

fn owned(table: &TableReference) -> Option<Failure> {
    is_store_table(table.table()).then(|| {
        Failure::new(format!(
            "`{}` belongs to the store and cannot be changed by SQL",
            table.table()
        ))
        .with_hint("rows come in by `inferwatch ingest`; a table of your own needs another name")
    })
}

fn inside(location: &str, store: &Path) -> Option<Failure> {
    let path = Path::new(location.strip_prefix("file://").unwrap_or(location));
    let store = store.canonicalize().ok()?;
    nearest_existing(path)?.starts_with(&store).then(|| {
        Failure::new(format!("`{location}` lies inside the store"))
            .with_hint("SQL may not write there; choose a folder outside of it")
    })
}

/// The path, or its nearest parent that exists, without links and dots.
fn nearest_existing(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path)
        .ok()?
        .ancestors()
        .find_map(|ancestor| ancestor.canonicalize().ok())
}

//! Makes a damaged store usable again, at the price that it names.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::schema::Table;
use crate::store::commit::{self, TableChange};
use crate::store::disk::{self, Access};
use crate::store::journal::Entry;
use crate::store::log::Operation;
use crate::store::verify::{Fault, Problem};
use crate::store::{Store, cache};

/// What is done about one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The table.
    pub table: Table,
    /// The file, where it is one.
    pub path: Option<PathBuf>,
    /// What is wrong.
    pub problem: String,
    /// What is done; `None` when only a backup helps.
    pub action: Option<&'static str>,
    /// Rows that the table no longer has afterwards.
    pub rows_lost: i64,
    fault: Fault,
}

impl Store {
    /// What [`Self::repair`] would do about the problems of a verification.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn plan_repair(&self, problems: &[Problem]) -> Result<Vec<Repair>> {
        let plan = problems.iter().map(|problem| {
            let action = match problem.fault {
                Fault::Missing => Some("take the file out of the log"),
                Fault::Damaged => Some("take the file out of the log, and move it to `damaged`"),
                Fault::Saved => Some("remove the saved snapshot, which is made again"),
                Fault::Pending => Some("give the commit up, and move it to `damaged`"),
                Fault::Log => None,
            };
            let rows_lost = match (problem.fault, &problem.path) {
                (Fault::Missing | Fault::Damaged, Some(path)) => {
                    let folder = self.table_folder(problem.table);
                    let snapshot = self.snapshot(problem.table)?;
                    let file = snapshot
                        .iter()
                        .find(|file| folder.join(file.path()) == *path);
                    file.map_or(0, |file| file.rows())
                }
                _ => 0,
            };
            Ok(Repair {
                table: problem.table,
                path: problem.path.clone(),
                problem: problem.message.clone(),
                action,
                rows_lost,
                fault: problem.fault,
            })
        });
        plan.collect()
    }

    /// Does what was planned, and only that.
    ///
    /// # Errors
    /// When something cannot be written; what was done until then stays done.
    pub fn repair(&self, plan: &[Repair], at: i64) -> Result<()> {
        let _maintenance = self.lock_maintenance(super::WriteOptions::default().lock_timeout)?;
        // A commit that cannot be completed keeps every other from being made.
        for repair in plan.iter().filter(|repair| repair.fault == Fault::Pending) {
            if let Some(path) = &repair.path {
                self.set_aside(path)?;
            }
        }
        for repair in plan.iter().filter(|repair| repair.fault == Fault::Saved) {
            cache::forget(&self.table_folder(repair.table))?;
        }
        for table in Table::ALL {
            let of_table = || {
                plan.iter().filter(move |repair| {
                    repair.table == table && matches!(repair.fault, Fault::Missing | Fault::Damaged)
                })
            };
            let folder = self.table_folder(table);
            let removed: Vec<String> = of_table()
                .filter_map(|repair| {
                    let path = repair.path.as_ref()?.strip_prefix(&folder).ok()?;
                    path.to_str().map(str::to_owned)
                })
                .collect();
            if removed.is_empty() {
                continue;
            }
            let entry = Entry::new("repair", at)
                .resource(table.name())
                .detail("files", removed.clone())
                .detail(
                    "rows_lost",
                    of_table().map(|repair| repair.rows_lost).sum::<i64>(),
                );
            let change = TableChange {
                table,
                added: Vec::new(),
                removed,
                operation: Operation::Delete,
            };
            commit::commit_if(self, &[change], &[], || Ok(()))?;
            for repair in of_table().filter(|repair| repair.fault == Fault::Damaged) {
                if let Some(path) = &repair.path {
                    self.set_aside(path)?;
                }
            }
            entry.write(self)?;
        }
        Ok(())
    }

    /// Moves a file to where it is in nobody's way.
    fn set_aside(&self, path: &std::path::Path) -> Result<()> {
        let folder = self.root().join("damaged");
        disk::create_folder(&folder, Access::Private)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = folder.join(format!("{}-{name}", disk::random_name()?));
        disk::rename(path, &aside).map_err(Error::io("move", path))?;
        disk::sync_folder(&folder)?;
        disk::sync_parent(path)
    }
}

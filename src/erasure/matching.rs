//! Which rows are meant.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::kernels::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::common::DFSchema;
use datafusion::physical_expr::PhysicalExpr;

use super::Target;
use crate::error::{Error, Result};
use crate::schema::Table;
use crate::session::{self, SessionOptions};
use crate::store::{FileEntry, Hold, Store};

/// What is meant of a batch.
pub(super) struct Matched {
    /// Rows that go.
    pub(super) erase: BooleanArray,
    /// Rows that stay, without what they say of the target.
    pub(super) clean: u64,
}

/// Sixteen bytes of a hash: of one event among billions.
type Id = [u8; 16];

/// Finds the rows of a target.
pub(super) struct Matcher {
    target: Target,
    /// The predicate for each table.
    predicates: HashMap<Table, Arc<dyn PhysicalExpr>>,
    /// Calls that go: their text and filter findings go with them.
    events: HashSet<Id>,
    /// Calls of the end users that holds are on.
    held_events: HashMap<String, HashSet<Id>>,
}

/// Columns of `evaluations` that may name a subject; the row says that a window was looked at, and stays.
const CLEANED: [&str; 3] = ["detail", "returned", "params"];

impl Matcher {
    pub(super) fn new(store: &Store, target: &Target, tables: &[Table]) -> Result<Matcher> {
        let mut predicates = HashMap::new();
        if let Target::Where(sql) = target {
            let context = session::context(&SessionOptions::default())?;
            let mut first = None;
            for table in tables {
                let schema = table.schema();
                let named = DFSchema::try_from(Arc::clone(&schema))?;
                let expression = context
                    .parse_sql_expr(sql, &named)
                    .and_then(|expression| context.create_physical_expr(expression, &named));
                match expression {
                    Ok(expression)
                        if expression.data_type(&schema).ok() == Some(DataType::Boolean) =>
                    {
                        predicates.insert(*table, expression);
                    }
                    Ok(_) => {
                        return Err(Error::Usage {
                            message: format!("`{sql}` is not true or false"),
                            hint: None,
                        });
                    }
                    // It may be about columns that only some of the tables have.
                    Err(error) => first = first.or(Some(error)),
                }
            }
            if let (true, Some(error)) = (predicates.is_empty(), first) {
                return Err(error.into());
            }
        }
        let mut held_events = HashMap::new();
        for user in store
            .holds()?
            .into_iter()
            .filter(Hold::is_active)
            .filter_map(|hold| hold.end_user)
        {
            let events = events_of(store, &user)?;
            held_events.insert(user, events);
        }
        let events = match target {
            Target::EndUser(user) => events_of(store, user)?,
            _ => HashSet::new(),
        };
        Ok(Matcher {
            target: target.clone(),
            predicates,
            events,
            held_events,
        })
    }

    /// Whether a file may have such rows, by what the log says of it.
    pub(super) fn may_match(&self, table: Table, file: &FileEntry<'_>) -> bool {
        let has_caller = table.schema().index_of("caller").is_ok();
        match &self.target {
            Target::Caller(caller) if has_caller && self.events.is_empty() => {
                file.callers_between(caller)
            }
            _ => true,
        }
    }

    /// The rows that are meant; remembers which calls these are.
    pub(super) fn find(&mut self, table: Table, batch: &RecordBatch) -> Result<Matched> {
        let matched = self.matches(table, batch)?;
        // Their text and filter findings have not the columns that a predicate may name.
        if table == Table::Calls && matches!(self.target, Target::Where(_)) {
            let ids = column(batch, "event_id")?;
            let erased = (0..batch.num_rows()).filter(|row| matched.erase.value(*row));
            self.events.extend(erased.map(|row| id_of(ids.value(row))));
        }
        Ok(matched)
    }

    /// The rows that are meant.
    pub(super) fn matches(&self, table: Table, batch: &RecordBatch) -> Result<Matched> {
        let rows = batch.num_rows();
        let mut erase = vec![false; rows];
        let mut clean = 0;
        match &self.target {
            Target::Caller(name) | Target::EndUser(name) => {
                let own = match (&self.target, table) {
                    (
                        Target::Caller(_),
                        Table::Findings | Table::Evaluations | Table::Quarantine,
                    ) => None,
                    (Target::Caller(_), _) => Some("caller"),
                    (_, Table::Calls) => Some("end_user_id"),
                    _ => None,
                };
                if let Some(own) = own {
                    for (row, value) in column(batch, own)?.iter().enumerate() {
                        erase[row] = value == Some(name);
                    }
                }
                match table {
                    Table::Findings | Table::Quarantine => {
                        for texts in batch.columns().iter().filter_map(texts) {
                            for (row, text) in texts.iter().enumerate() {
                                erase[row] |= text.is_some_and(|text| mentions(text, name));
                            }
                        }
                    }
                    Table::Evaluations => {
                        let named = CLEANED.map(|name| column(batch, name));
                        for row in 0..rows {
                            let is_named = named.iter().flatten().any(|column| {
                                column.is_valid(row) && mentions(column.value(row), name)
                            });
                            clean += u64::from(is_named);
                        }
                    }
                    _ => {}
                }
            }
            Target::Where(_) => {
                if let Some(predicate) = self.predicates.get(&table) {
                    let values = predicate.evaluate(batch)?.into_array(rows)?;
                    for (row, value) in values.as_boolean().iter().enumerate() {
                        erase[row] = value == Some(true);
                    }
                }
            }
        }
        if matches!(table, Table::Content | Table::Filters) && !self.events.is_empty() {
            let ids = column(batch, "event_id")?;
            for (row, erase) in erase.iter_mut().enumerate() {
                *erase |= self.events.contains(&id_of(ids.value(row)));
            }
        }
        Ok(Matched {
            erase: BooleanArray::from(erase),
            clean,
        })
    }

    /// Rows that stay, without what they say of the target.
    pub(super) fn cleaned(&self, table: Table, batch: RecordBatch) -> Result<RecordBatch> {
        let (Table::Evaluations, Target::Caller(name) | Target::EndUser(name)) =
            (table, &self.target)
        else {
            return Ok(batch);
        };
        let mut columns = batch.columns().to_vec();
        for of in CLEANED {
            let index = batch.schema().index_of(of)?;
            let texts = column(&batch, of)?;
            let kept = texts
                .iter()
                .map(|text| text.filter(|text| !mentions(text, name)));
            columns[index] = Arc::new(StringArray::from_iter(kept)) as ArrayRef;
        }
        Ok(RecordBatch::try_new(batch.schema(), columns)?)
    }

    /// Which rows a hold covers.
    pub(super) fn held(&self, hold: &Hold, table: Table, batch: &RecordBatch) -> Result<Vec<bool>> {
        let schema = batch.schema();
        let times = batch.column(schema.index_of(table.time_column())?);
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let mut held: Vec<bool> = times
            .values()
            .iter()
            .map(|time| hold.covers_time(*time, time.saturating_add(1)))
            .collect();
        if let Some(caller) = &hold.caller
            && schema.index_of("caller").is_ok()
        {
            for (row, value) in column(batch, "caller")?.iter().enumerate() {
                held[row] &= value == Some(caller);
            }
        }
        if let Some(user) = &hold.end_user
            && schema.index_of("event_id").is_ok()
        {
            let ids = column(batch, "event_id")?;
            let events = self.held_events.get(user);
            for (row, held) in held.iter_mut().enumerate() {
                *held &= events.is_some_and(|events| events.contains(&id_of(ids.value(row))));
            }
        }
        Ok(held)
    }
}

/// The calls of an end user.
fn events_of(store: &Store, user: &str) -> Result<HashSet<Id>> {
    let mut events = HashSet::new();
    let folder = store.root().join(Table::Calls.name());
    for file in store.snapshot(Table::Calls)?.iter() {
        for batch in store.read_file(Table::Calls, &folder.join(file.path()))? {
            let batch = batch?;
            let (users, ids) = (column(&batch, "end_user_id")?, column(&batch, "event_id")?);
            for row in 0..batch.num_rows() {
                if users.is_valid(row) && users.value(row) == user {
                    events.insert(id_of(ids.value(row)));
                }
            }
        }
    }
    Ok(events)
}

fn id_of(event_id: &str) -> Id {
    let hash = blake3::hash(event_id.as_bytes());
    let (id, _) = hash.as_bytes().split_at(16);
    id.try_into().expect("sixteen bytes")
}

fn column(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let column = batch.column(batch.schema().index_of(name)?);
    Ok(column.as_string::<i32>().clone())
}

/// A column's texts, where it has some.
fn texts(column: &ArrayRef) -> Option<StringArray> {
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().clone()),
        DataType::LargeUtf8 => {
            let column = cast(column, &DataType::Utf8).ok()?;
            Some(column.as_string::<i32>().clone())
        }
        _ => None,
    }
}

/// Whether a text names somebody: as it is or as JSON writes it, and not as a part of a longer word.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    if is_in(text.as_bytes(), name.as_bytes()) {
        return true;
    }
    let json = serde_json::Value::from(name).to_string();
    let json = &json[1..json.len() - 1];
    json != name && is_in(text.as_bytes(), json.as_bytes())
}

/// Whether a word is in a text.
pub(super) fn is_in(text: &[u8], word: &[u8]) -> bool {
    let is_part =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
    !word.is_empty()
        && memchr::memmem::find_iter(text, word).any(|at| {
            let before = at.checked_sub(1).and_then(|at| text.get(at));
            let after = text.get(at + word.len());
            !is_part(before) && !is_part(after)
        })
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn a_name_is_found_as_a_word_and_not_in_another() {
        assert!(mentions(r#"{"caller":"ada"}"#, "ada"));
        assert!(mentions("calls of ada, ever more", "ada"));
        assert!(!mentions("nevada adam", "ada"));
        assert!(mentions(r#"{"caller":"a\"b"}"#, "a\"b"));
        assert!(!mentions("anything", ""));
    }
}

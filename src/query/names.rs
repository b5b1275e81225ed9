//! The names that exist in a session, for suggestions, completion and listings.

use std::collections::BTreeSet;

use datafusion::prelude::SessionContext;

use super::Engine;

impl Engine {
    /// Its tables, in order.
    pub fn table_names(&self) -> Vec<String> {
        table_names(&self.context)
    }
}

/// Functions of every kind, in order.
pub fn function_names(context: &SessionContext) -> Vec<String> {
    let state = context.state();
    let names: BTreeSet<&String> = state
        .scalar_functions()
        .keys()
        .chain(state.aggregate_functions().keys())
        .chain(state.window_functions().keys())
        .chain(state.table_functions().keys())
        .collect();
    names.into_iter().cloned().collect()
}

/// Tables of the current schema, in order.
pub fn table_names(context: &SessionContext) -> Vec<String> {
    let state = context.state();
    let catalog = &state.config().options().catalog;
    let mut names = context
        .catalog(&catalog.default_catalog)
        .and_then(|found| found.schema(&catalog.default_schema))
        .map(|schema| schema.table_names())
        .unwrap_or_default();
    names.sort();
    names
}

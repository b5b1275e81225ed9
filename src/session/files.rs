//! `FROM 'file.parquet'`: local files as tables, by their path.
//!
//! DataFusion's own switch for this tries every unknown name as a path, so that `FROM calls` would read a folder that
//! happens to be called `calls`. Here a name counts as a path only if it looks like one.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use datafusion::catalog::{DynamicFileCatalog, Session, TableProvider, UrlTableFactory};
use datafusion::common::{GetExt, Result};
use datafusion::datasource::dynamic_file::DynamicListTableFactory;
use datafusion::datasource::file_format::json::JsonFormatFactory;
use datafusion::datasource::file_format::{FileFormat, FileFormatFactory};
use datafusion::prelude::SessionContext;

/// Lets the context's queries name files.
pub(super) fn enable(context: &SessionContext) -> Result<()> {
    let state = context.state_ref();
    for extension in ["ndjson", "jsonl"] {
        state
            .write()
            .register_file_format(Arc::new(LineDelimitedJson::new(extension)), false)?;
    }
    let listing = DynamicListTableFactory::default();
    listing.session_store().with_state(context.state_weak_ref());
    let catalogs = Arc::clone(state.read().catalog_list());
    context.register_catalog_list(Arc::new(DynamicFileCatalog::new(
        catalogs,
        Arc::new(PathTables(listing)),
    )));
    Ok(())
}

/// Whether a table's name is meant as a path.
pub(crate) fn is_path(name: &str) -> bool {
    name.contains(['.', '/', '*', '\\'])
}

#[derive(Debug)]
struct PathTables(DynamicListTableFactory);

impl UrlTableFactory for PathTables {
    fn try_new<'a, 'b, 'c>(
        &'a self,
        url: &'b str,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Arc<dyn TableProvider>>>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        if is_path(url) {
            self.0.try_new(url)
        } else {
            Box::pin(std::future::ready(Ok(None)))
        }
    }
}

/// JSON, one value per line, under another extension than `json`.
struct LineDelimitedJson {
    extension: &'static str,
    json: JsonFormatFactory,
}

impl LineDelimitedJson {
    fn new(extension: &'static str) -> Self {
        LineDelimitedJson {
            extension,
            json: JsonFormatFactory::new(),
        }
    }
}

impl fmt::Debug for LineDelimitedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LineDelimitedJson({})", self.extension)
    }
}

impl GetExt for LineDelimitedJson {
    fn get_ext(&self) -> String {
        self.extension.to_string()
    }
}

impl FileFormatFactory for LineDelimitedJson {
    fn create(
        &self,
        state: &dyn Session,
        options: &std::collections::HashMap<String, String>,
    ) -> Result<Arc<dyn FileFormat>> {
        self.json.create(state, options)
    }

    fn default(&self) -> Arc<dyn FileFormat> {
        FileFormatFactory::default(&self.json)
    }
}

//! Runs a panel's query.

use std::time::{Duration, Instant};

use arrow::datatypes::DataType;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use serde_json::{Map, Value, json};

use super::asked::Asked;
use crate::catalog::Panel;
use crate::detect::{row, time_text};
use crate::error::Result;
use crate::query::{Engine, Failure, Source};

/// More rows than a person looks at; what is beyond is said to be there.
pub const MOST_ROWS: usize = 5_000;

/// The rows of a panel, and how they came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// First instant, in microseconds: that of the first step.
    pub from: i64,
    /// Instant after the last.
    pub to: i64,
    /// The step in seconds.
    pub bucket_seconds: i64,
    /// Name and kind of each column.
    pub columns: Vec<(String, &'static str)>,
    /// The values, in the order of the columns.
    pub rows: Vec<Vec<Value>>,
    /// Whether there were more.
    pub is_cut: bool,
    /// What it took to plan and run the query.
    pub elapsed: Duration,
    /// The query as it ran.
    pub sql: String,
}

impl Answer {
    /// As one JSON object.
    pub fn json(&self) -> Value {
        let columns = self.columns.iter();
        let columns = columns.map(|(name, kind)| json!({"name": name, "kind": kind}));
        json!({
            "from": time_text(self.from),
            "to": time_text(self.to),
            "bucket_seconds": self.bucket_seconds,
            "columns": columns.collect::<Vec<_>>(),
            "rows": self.rows,
            "is_cut": self.is_cut,
            "elapsed_ms": (self.elapsed.as_secs_f64() * 1e4).round() / 10.0,
            "sql": self.sql,
        })
    }
}

/// Asks for a panel. The engine's session decides what is seen.
///
/// # Errors
/// When the query cannot be planned or run, in words for a person.
pub async fn answer(engine: &Engine, panel: &Panel, asked: &Asked) -> Result<Answer, Failure> {
    let values = asked.values(panel);
    let sql = values
        .fill(&panel.sql)
        .trim()
        .trim_end_matches(';')
        .to_string();
    let started = Instant::now();
    let (columns, rows, is_cut) = run(engine, &sql).await?;
    Ok(Answer {
        from: values.from,
        to: values.to,
        bucket_seconds: values.bucket.0 / 1_000_000,
        columns,
        rows,
        is_cut,
        elapsed: started.elapsed(),
        sql,
    })
}

type Rows = (Vec<(String, &'static str)>, Vec<Vec<Value>>, bool);

async fn run(engine: &Engine, sql: &str) -> Result<Rows, Failure> {
    let source = Source {
        name: None,
        text: sql,
    };
    let planned = engine.plan(source, 0..sql.len()).await?;
    let mut stream: SendableRecordBatchStream =
        engine.start(planned, source, Some(MOST_ROWS + 1)).await?;
    let schema = stream.schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| (field.name().clone(), kind(field.data_type())))
        .collect();
    let mut rows = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| engine.explain(error, source, &(0..sql.len())))?;
        for index in 0..batch.num_rows() {
            let values: Map<String, Value> =
                row(&batch, index).map_err(|error| Failure::new(error.to_string()))?;
            rows.push(values.into_iter().map(|(_, value)| value).collect());
        }
    }
    let is_cut = rows.len() > MOST_ROWS;
    rows.truncate(MOST_ROWS);
    Ok((columns, rows, is_cut))
}

/// What a column is for whoever draws it.
fn kind(of: &DataType) -> &'static str {
    match of {
        DataType::Boolean => "flag",
        DataType::Timestamp(..) => "time",
        of if of.is_numeric() => "number",
        DataType::List(_) | DataType::LargeList(_) | DataType::Struct(_) => "list",
        _ => "text",
    }
}

/// An engine for panels over a session.
pub(crate) fn engine(context: &SessionContext, store: &std::path::Path) -> Engine {
    Engine {
        context: context.clone(),
        store: store.to_path_buf(),
        parameters: crate::query::Parameters::default(),
        audience: crate::query::Audience::Local,
    }
}

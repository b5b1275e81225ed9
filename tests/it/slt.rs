//! Runs `tests/slt/*.slt` through the engine, each file under several settings that must not matter.

use std::path::{Path, PathBuf};

use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;
use inferwatch::query::{Audience, Engine, Failure, Parameters, Source, lexer};
use inferwatch::session::{SessionOptions, context};
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};
use tokio::runtime::{Handle, Runtime};

/// Settings that change how a query runs, never what it gives.
const SETTINGS: [&str; 3] = [
    "",
    "SET datafusion.execution.batch_size = 1; SET datafusion.execution.target_partitions = 4",
    "SET datafusion.execution.target_partitions = 4; \
     SET datafusion.execution.skip_partial_aggregation_probe_rows_threshold = 1; \
     SET datafusion.execution.skip_partial_aggregation_probe_ratio_threshold = 0.0",
];

#[test]
fn scripts() {
    let mut scripts: Vec<PathBuf> =
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt"))
            .expect("the folder of scripts")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
            .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let runtime = Runtime::new().expect("threads");
    for script in scripts {
        for settings in SETTINGS {
            let connect = || std::future::ready(Session::new(runtime.handle(), settings));
            if let Err(error) = Runner::new(connect).run_file(&script) {
                panic!("under `{settings}`: {error}");
            }
        }
    }
}

struct Session {
    engine: Engine,
    runtime: Handle,
}

impl Session {
    fn new(runtime: &Handle, settings: &str) -> Result<Session, Failure> {
        let context = context(&SessionOptions {
            local_files: true,
            share_parts: true,
            ..SessionOptions::default()
        })
        .map_err(|error| Failure::new(error.to_string()))?;
        let mut session = Session {
            engine: Engine {
                context,
                store: PathBuf::from("no-store"),
                parameters: Parameters::default(),
                audience: Audience::Local,
            },
            runtime: runtime.clone(),
        };
        session.run(settings)?;
        Ok(session)
    }

    async fn run_all(&self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let source = Source {
            name: None,
            text: sql,
        };
        let mut types = Vec::new();
        let mut rows = Vec::new();
        let mut count = 0;
        for range in lexer::statements(sql).0 {
            let planned = self.engine.plan(source, range.clone()).await?;
            let mut stream = self.engine.start(planned, source, None).await?;
            types = stream
                .schema()
                .fields()
                .iter()
                .map(|field| match field.data_type() {
                    kind if kind.is_integer() => DefaultColumnType::Integer,
                    kind if kind.is_numeric() => DefaultColumnType::FloatingPoint,
                    _ => DefaultColumnType::Text,
                })
                .collect();
            rows.clear();
            while let Some(batch) = stream.next().await {
                let explain = |error| self.engine.explain(error, source, &range);
                let batch = batch.map_err(explain)?;
                count += batch.num_rows();
                let options = FormatOptions::new().with_null("NULL");
                let columns: Vec<ArrayFormatter<'_>> = batch
                    .columns()
                    .iter()
                    .map(|column| ArrayFormatter::try_new(column, &options))
                    .collect::<Result<_, _>>()
                    .map_err(|error| explain(error.into()))?;
                for row in 0..batch.num_rows() {
                    let cells = columns
                        .iter()
                        .map(|column| match column.value(row).to_string() {
                            text if text.is_empty() => "(empty)".to_string(),
                            text => text,
                        });
                    rows.push(cells.collect());
                }
            }
        }
        Ok(if types.is_empty() {
            DBOutput::StatementComplete(count as u64)
        } else {
            DBOutput::Rows { types, rows }
        })
    }
}

impl DB for Session {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<Self::ColumnType>, Self::Error> {
        self.runtime.block_on(self.run_all(sql))
    }

    fn engine_name(&self) -> &str {
        "inferwatch"
    }
}

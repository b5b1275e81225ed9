//! The normalised schema: every column of every table is written here once.
//!
//! A table is declared by the `table!` macro as a struct whose fields are its columns: the field's name is the column's name,
//! its kind (see `cell`) decides the Rust and the Arrow type, and its doc comment is the description that
//! the shell shows. The macro makes the row struct, the column builders and the Arrow schema from that one list.
//!
//! Names are OpenTelemetry's GenAI attribute names with dots as underscores; actor, cloud and source columns follow
//! ECS; enumerations use OCSF's words where it has them. Strings are plain `Utf8` on the way in: Parquet makes the
//! dictionaries, and the scan hands out string views.

mod cell;
mod tables;

pub use cell::Micros;
pub use tables::{
    Audit, AuditBuilder, Call, CallBuilder, Content, ContentBuilder, Evaluation, EvaluationBuilder,
    Filter, FilterBuilder, Finding, FindingBuilder, GuardrailFinding, InjectionFinding, Quarantine,
    QuarantineBuilder, Usage, UsageBuilder,
};

use arrow::datatypes::SchemaRef;

/// How the files of a table are laid out in folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// By hour, and within the hour by model and caller for the largest pairs.
    CallerModelHour,
    /// By hour alone.
    Hour,
    /// By day alone: few rows.
    Day,
}

/// A table of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// One model invocation, metadata only.
    Calls,
    /// One part of a prompt or response (restricted).
    Content,
    /// One guardrail or content-filter finding.
    Filters,
    /// One management event.
    Audit,
    /// One line that could not be read.
    Quarantine,
    /// What rules found.
    Findings,
    /// Every window that was evaluated, and how it ended.
    Evaluations,
    /// Calls by caller, model and hour, summed up.
    Usage,
}

impl Table {
    /// Every table, in the order in which an ingest commits them.
    pub const ALL: [Table; 8] = [
        Table::Calls,
        Table::Content,
        Table::Filters,
        Table::Audit,
        Table::Quarantine,
        Table::Findings,
        Table::Evaluations,
        Table::Usage,
    ];

    /// The name in SQL, and of the folder in the store.
    pub fn name(self) -> &'static str {
        match self {
            Table::Calls => "calls",
            Table::Content => "content",
            Table::Filters => "filters",
            Table::Audit => "audit",
            Table::Quarantine => "quarantine",
            Table::Findings => "findings",
            Table::Evaluations => "evaluations",
            Table::Usage => "usage",
        }
    }

    /// The table of that name.
    pub fn from_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The Arrow schema of the rows as they are written.
    pub fn schema(self) -> SchemaRef {
        match self {
            Table::Calls => Call::schema(),
            Table::Content => Content::schema(),
            Table::Filters => Filter::schema(),
            Table::Audit => Audit::schema(),
            Table::Quarantine => Quarantine::schema(),
            Table::Findings => Finding::schema(),
            Table::Evaluations => Evaluation::schema(),
            Table::Usage => Usage::schema(),
        }
    }

    /// Column name and description, in order.
    pub fn descriptions(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Table::Calls => Call::DESCRIPTIONS,
            Table::Content => Content::DESCRIPTIONS,
            Table::Filters => Filter::DESCRIPTIONS,
            Table::Audit => Audit::DESCRIPTIONS,
            Table::Quarantine => Quarantine::DESCRIPTIONS,
            Table::Findings => Finding::DESCRIPTIONS,
            Table::Evaluations => Evaluation::DESCRIPTIONS,
            Table::Usage => Usage::DESCRIPTIONS,
        }
    }

    /// The column that says when a row happened; it decides the partition.
    pub fn time_column(self) -> &'static str {
        match self {
            Table::Quarantine => "ingest_time",
            Table::Findings | Table::Evaluations => "window_end",
            _ => "event_time",
        }
    }

    /// How its files are laid out.
    pub fn layout(self) -> Layout {
        match self {
            Table::Calls | Table::Content | Table::Filters => Layout::CallerModelHour,
            Table::Audit => Layout::Hour,
            Table::Quarantine | Table::Findings | Table::Evaluations | Table::Usage => Layout::Day,
        }
    }

    /// The columns whose smallest and largest value may stand in the Delta log and in Parquet footers. Everything
    /// else has no statistics anywhere: a prompt in the log survives every delete.
    pub fn statistics_columns(self) -> &'static [&'static str] {
        match self {
            Table::Calls => &[
                "event_time",
                "caller",
                "model",
                "source_format",
                "record_role",
                "provider",
                "operation",
                "outcome",
                "http_status_code",
                "duration_ms",
                "input_tokens",
                "output_tokens",
                "total_tokens",
                "cost_usd",
                "injection_score",
                "source_offset",
            ],
            Table::Content | Table::Filters => &["event_time", "caller", "model", "source_format"],
            Table::Audit => &[
                "event_time",
                "caller",
                "action_class",
                "source_format",
                "source_offset",
            ],
            Table::Usage => &["event_time", "caller", "model"],
            Table::Quarantine => &["ingest_time"],
            Table::Findings => &["rule_id", "window_start", "window_end"],
            Table::Evaluations => &["rule_id", "window_start", "window_end"],
        }
    }

    /// Whether the table holds prompt or response text, and lives in a folder that only its owner may open.
    pub fn is_restricted(self) -> bool {
        matches!(self, Table::Content | Table::Quarantine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statistics_and_time_column_exists() {
        for table in Table::ALL {
            let schema = table.schema();
            for name in table
                .statistics_columns()
                .iter()
                .chain([&table.time_column()])
            {
                assert!(
                    schema.field_with_name(name).is_ok(),
                    "{}.{name}",
                    table.name()
                );
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for table in Table::ALL {
            assert_eq!(Table::from_name(table.name()), Some(table));
        }
    }
}

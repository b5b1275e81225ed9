//! Statements that clients send out of habit, and that change nothing here: there is one time zone, one encoding, and
//! nothing to commit.

use std::sync::Arc;

use arrow::array::{AsArray as _, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

/// What becomes of such a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// Done, under this tag.
    Done(&'static str),
    /// A transaction begins.
    Begin,
    /// A transaction ends, under this tag.
    End(&'static str),
    /// The value of a setting.
    Show { name: String, value: &'static str },
}

/// Settings that drivers ask for, as a server of the version that we say we are has them.
const SETTINGS: [(&str, &str); 21] = [
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("extra_float_digits", "1"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "off"),
    ("lc_collate", "C"),
    ("max_identifier_length", "63"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", super::session::SERVER_VERSION),
    ("server_version_num", "160006"),
    ("standard_conforming_strings", "on"),
    ("timezone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
];

/// `current_setting(name)`: the value of a setting, or null.
pub(super) fn current_setting() -> ScalarUDF {
    let value = |arguments: &[ColumnarValue]| {
        let names = ColumnarValue::values_to_arrays(arguments)?;
        let names = cast(&names[0], &DataType::Utf8)?;
        let value = |name: &str| {
            let (_, value) = SETTINGS
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
            Some(*value)
        };
        let values = names.as_string::<i32>().iter();
        let values: StringArray = values.map(|name| name.and_then(value)).collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    };
    create_udf(
        "current_setting",
        vec![DataType::Utf8],
        DataType::Utf8,
        Volatility::Stable,
        Arc::new(value),
    )
}

/// What a statement is, if it is one of those.
pub(super) fn read(statement: &str) -> Option<Word> {
    let mut words = statement
        .split(|c: char| c.is_whitespace() || matches!(c, ';' | '=' | '"' | '\''))
        .filter(|word| !word.is_empty());
    let first = words.next()?.to_ascii_uppercase();
    Some(match first.as_str() {
        "SET" => Word::Done("SET"),
        "RESET" => Word::Done("RESET"),
        "DISCARD" => Word::Done("DISCARD ALL"),
        "DEALLOCATE" => Word::Done("DEALLOCATE"),
        "UNLISTEN" => Word::Done("UNLISTEN"),
        "SAVEPOINT" => Word::Done("SAVEPOINT"),
        "RELEASE" => Word::Done("RELEASE"),
        "BEGIN" | "START" => Word::Begin,
        "COMMIT" | "END" => Word::End("COMMIT"),
        // To a savepoint, the transaction goes on.
        "ROLLBACK" if words.any(|word| word.eq_ignore_ascii_case("TO")) => Word::Done("ROLLBACK"),
        "ROLLBACK" | "ABORT" => Word::End("ROLLBACK"),
        "SHOW" => {
            let name = words.collect::<Vec<_>>().join("_").to_ascii_lowercase();
            let name = match name.as_str() {
                "transaction_isolation_level" => "transaction_isolation",
                "time_zone" => "timezone",
                other => other,
            };
            let (name, value) = SETTINGS.iter().find(|(known, _)| *known == name)?;
            Word::Show {
                name: (*name).to_owned(),
                value,
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_are_recognised_and_questions_are_not() {
        assert_eq!(read("set search_path = public;"), Some(Word::Done("SET")));
        assert_eq!(read("START TRANSACTION READ ONLY"), Some(Word::Begin));
        assert_eq!(
            read("rollback to savepoint a"),
            Some(Word::Done("ROLLBACK"))
        );
        assert_eq!(read("ROLLBACK;"), Some(Word::End("ROLLBACK")));
        let show = |name: &str, value| {
            let name = name.to_owned();
            Some(Word::Show { name, value })
        };
        assert_eq!(
            read("SHOW TRANSACTION ISOLATION LEVEL"),
            show("transaction_isolation", "read committed")
        );
        assert_eq!(read("show \"TimeZone\""), show("timezone", "UTC"));
        for other in [
            "SHOW TABLES",
            "SELECT 1",
            "",
            "SETTINGS",
            "COMMENT ON TABLE x IS 'y'",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}

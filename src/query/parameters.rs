//! Values for `$name`, given as text and typed by the place where they stand.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use datafusion::common::{DataFusionError, ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;

use super::lexer::{Kind, tokens};
use super::{Failure, Source};
use crate::suggest::nearest;

/// Named values, as text.
#[derive(Debug, Clone, Default)]
pub struct Parameters(BTreeMap<String, String>);

/// What can go wrong with them.
pub(super) enum Error {
    /// A value is missing or does not fit.
    Value(Failure),
    /// The plan could not take them.
    Plan(DataFusionError),
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        Error::Plan(error)
    }
}

impl Parameters {
    /// Sets a value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Forgets a value, and tells whether there was one.
    pub fn unset(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Names and values, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Refuses a value that the text has no use for: its name is most likely misspelt.
    ///
    /// # Errors
    /// Names the value.
    pub fn check_used(&self, sql: &str) -> Result<(), Failure> {
        let used: Vec<&str> = tokens(sql)
            .into_iter()
            .filter(|token| token.kind == Kind::Placeholder)
            .map(|token| &sql[token.range.start + 1..token.range.end])
            .collect();
        match self.0.keys().find(|name| !used.contains(&name.as_str())) {
            None => Ok(()),
            Some(unused) => {
                let failure = Failure::new(format!("the query has no parameter `${unused}`"));
                Err(match nearest(unused, used.iter().copied()) {
                    Some(name) => failure.with_hint(format!("did you mean `--param {name}=…`?")),
                    None => failure,
                })
            }
        }
    }

    /// Puts the values in their places.
    pub(super) fn fill(
        &self,
        plan: LogicalPlan,
        source: Source<'_>,
        range: &Range<usize>,
    ) -> Result<LogicalPlan, Error> {
        let wanted = plan.get_parameter_types()?;
        if wanted.is_empty() {
            return Ok(plan);
        }
        let mut values = HashMap::new();
        for (placeholder, kind) in wanted {
            let name = placeholder.trim_start_matches('$');
            let place = || Failure::place_of(source, range, |text| text == placeholder);
            let Some(text) = self.0.get(name) else {
                let failure = Failure::new(format!("parameter `{placeholder}` has no value"))
                    .with_hint(format!(
                        "give it one: `--param {name}=…`, or `\\set {name} …` in the shell"
                    ));
                return Err(Error::Value(failure.at(place())));
            };
            let value = match kind {
                None => inferred(text),
                Some(kind) => ScalarValue::from(text.as_str())
                    .cast_to(&kind)
                    .ok()
                    .filter(|value| !value.is_null())
                    .ok_or_else(|| {
                        let failure = Failure::new(format!(
                            "parameter `{placeholder}`: `{text}` is not a value of type {kind}"
                        ));
                        Error::Value(failure.at(place()))
                    })?,
            };
            values.insert(name.to_string(), value);
        }
        Ok(plan.with_param_values(ParamValues::from(values))?)
    }
}

/// The value of a text whose type nothing tells: a boolean, a whole number, a number, else the text.
fn inferred(text: &str) -> ScalarValue {
    if let Ok(value) = text.parse::<i64>() {
        return ScalarValue::from(value);
    }
    match text {
        "true" => return ScalarValue::from(true),
        "false" => return ScalarValue::from(false),
        "null" | "NULL" => return ScalarValue::Null,
        _ => {}
    }
    // `inf`, `nan` and the like are words before they are numbers.
    let looks_numeric = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.contains(|c: char| c.is_ascii_digit());
    match text.parse::<f64>() {
        Ok(value) if looks_numeric => ScalarValue::from(value),
        _ => ScalarValue::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_type_is_read_as_what_it_looks_like() {
        assert_eq!(inferred("42"), ScalarValue::Int64(Some(42)));
        assert_eq!(inferred("-1.5e3"), ScalarValue::Float64(Some(-1500.0)));
        assert_eq!(inferred("true"), ScalarValue::Boolean(Some(true)));
        assert_eq!(inferred("null"), ScalarValue::Null);
        for text in ["nan", "inf", "", "1.2.3", "alice", "0x10"] {
            assert_eq!(inferred(text), ScalarValue::from(text));
        }
    }

    #[test]
    fn a_value_without_use_is_refused() {
        let mut parameters = Parameters::default();
        parameters.set("start", "2026-01-01");
        assert!(parameters.check_used("SELECT $start").is_ok());
        let failure = parameters
            .check_used("SELECT $strat, '$start'")
            .unwrap_err();
        assert_eq!(failure.to_string(), "the query has no parameter `$start`");
        assert_eq!(failure.hint(), Some("did you mean `--param strat=…`?"));
    }
}

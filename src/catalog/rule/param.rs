//! Parameters: what an environment may set, and within which bounds.

use datafusion::common::ScalarValue;
use toml::de::DeValue;

use crate::catalog::header::{Section, integer, number};
use crate::catalog::span::Span;

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Flag(bool),
    /// A length of time: an interval in the query.
    Span(Span),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
}

impl ParamValue {
    fn read(value: &DeValue<'_>) -> Option<ParamValue> {
        Some(match value {
            DeValue::Integer(_) => ParamValue::Integer(integer(value)?),
            DeValue::Float(_) => ParamValue::Float(number(value)?),
            DeValue::Boolean(flag) => ParamValue::Flag(*flag),
            DeValue::String(text) => match text.parse() {
                Ok(span) => ParamValue::Span(span),
                Err(_) => ParamValue::Text(text.to_string()),
            },
            DeValue::Array(items) => ParamValue::Texts(
                items
                    .iter()
                    .map(|item| item.get_ref().as_str().map(str::to_string))
                    .collect::<Option<_>>()?,
            ),
            _ => return None,
        })
    }

    /// What the query gets.
    pub fn scalar(&self) -> ScalarValue {
        match self {
            ParamValue::Integer(number) => (*number).into(),
            ParamValue::Float(number) => (*number).into(),
            ParamValue::Flag(flag) => (*flag).into(),
            ParamValue::Span(span) => span.interval(),
            ParamValue::Text(text) => text.as_str().into(),
            ParamValue::Texts(texts) => {
                let texts: Vec<ScalarValue> =
                    texts.iter().map(|text| text.as_str().into()).collect();
                ScalarValue::List(ScalarValue::new_list_nullable(
                    &texts,
                    &arrow::datatypes::DataType::Utf8,
                ))
            }
        }
    }

    /// As JSON, for the record of what an evaluation ran with.
    pub fn json(&self) -> serde_json::Value {
        match self {
            ParamValue::Integer(number) => (*number).into(),
            ParamValue::Float(number) => (*number).into(),
            ParamValue::Flag(flag) => (*flag).into(),
            ParamValue::Span(span) => span.to_string().into(),
            ParamValue::Text(text) => text.as_str().into(),
            ParamValue::Texts(texts) => texts.clone().into(),
        }
    }

    /// As a number, for ranges; a duration in microseconds.
    fn number(&self) -> Option<f64> {
        match self {
            ParamValue::Integer(number) => Some(*number as f64),
            ParamValue::Float(number) => Some(*number),
            ParamValue::Span(span) => Some(span.0 as f64),
            _ => None,
        }
    }

    /// The same value as another kind has it: a bound of a fraction may be written as a whole number.
    pub(crate) fn of_the_kind_of(&self, other: &ParamValue) -> ParamValue {
        match (self, other) {
            (ParamValue::Integer(number), ParamValue::Float(_)) => {
                ParamValue::Float(*number as f64)
            }
            (value, _) => value.clone(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            ParamValue::Integer(_) => "a whole number",
            ParamValue::Float(_) => "a number",
            ParamValue::Flag(_) => "true or false",
            ParamValue::Span(_) => "a duration",
            ParamValue::Text(_) => "a text",
            ParamValue::Texts(_) => "a comma-separated list",
        }
    }
}

/// A number that an environment may set: `$name` in the query.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Without the dollar sign.
    pub name: String,
    /// When nobody sets it.
    pub default: ParamValue,
    /// Smallest value that makes sense.
    pub min: Option<ParamValue>,
    /// Largest value that makes sense.
    pub max: Option<ParamValue>,
    /// Meaning and unit.
    pub doc: String,
    /// Where it is declared.
    pub line: usize,
}

impl Param {
    /// One with these bounds, for tests of what is done with bounds.
    #[cfg(test)]
    pub(crate) fn bounded(
        default: ParamValue,
        min: Option<ParamValue>,
        max: Option<ParamValue>,
    ) -> Param {
        Param {
            name: "p".into(),
            default,
            min,
            max,
            doc: String::new(),
            line: 1,
        }
    }

    pub(super) fn read(name: &str, section: &Section<'_, '_>) -> Option<Param> {
        let value = |key: &'static str| {
            let place = section.get(key)?;
            let value = ParamValue::read(place.get_ref());
            if value.is_none() {
                section.fault(place, format!("`params.{name}.{key}` must be a number, a text, a duration, a flag or a list of texts"));
            }
            value
        };
        let is_word = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_word || ENGINE_PARAMS.contains(&name) {
            section.fault_at(
                "default",
                format!("`{name}` cannot be the name of a parameter"),
            );
        }
        let param = Param {
            name: name.to_string(),
            min: value("min"),
            max: value("max"),
            doc: section.required("doc", Section::text)?,
            line: section.line(),
            default: section.required("default", |_, key| value(key))?,
        };
        if let Err(message) = param.within(&param.default) {
            section.fault_at("default", message);
        }
        Some(param)
    }

    fn within(&self, value: &ParamValue) -> Result<(), String> {
        let outside = |bound: &Option<ParamValue>, is_outside: fn(f64, f64) -> bool| match (
            bound,
            value.number(),
        ) {
            (Some(bound), Some(number)) => {
                bound.number().is_none_or(|bound| is_outside(number, bound))
            }
            (Some(_), None) => true,
            (None, _) => false,
        };
        if outside(&self.min, |number, bound| number < bound)
            || outside(&self.max, |number, bound| number > bound)
        {
            let shown = |bound: &Option<ParamValue>| {
                bound
                    .as_ref()
                    .map_or("any".to_string(), |bound| bound.json().to_string())
            };
            return Err(format!(
                "`{}` must lie between {} and {}",
                self.name,
                shown(&self.min),
                shown(&self.max)
            ));
        }
        Ok(())
    }

    /// Reads a value as typed on a command line; the default decides the type.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(&self, text: &str) -> Result<ParamValue, String> {
        let value = match &self.default {
            ParamValue::Integer(_) => text.replace('_', "").parse().ok().map(ParamValue::Integer),
            ParamValue::Float(_) => text.parse().ok().map(ParamValue::Float),
            ParamValue::Flag(_) => text.parse().ok().map(ParamValue::Flag),
            ParamValue::Span(_) => text.parse().ok().map(ParamValue::Span),
            ParamValue::Text(_) => Some(ParamValue::Text(text.to_string())),
            ParamValue::Texts(_) => Some(ParamValue::Texts(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(str::to_string)
                    .collect(),
            )),
        };
        let value = value
            .ok_or_else(|| format!("`{}` is {}, not `{text}`", self.name, self.default.kind()))?;
        self.within(&value)?;
        Ok(value)
    }
}

/// The parameters that every query gets from the engine.
pub const ENGINE_PARAMS: [&str; 4] = [
    "window_start",
    "window_end",
    "baseline_start",
    "min_history",
];

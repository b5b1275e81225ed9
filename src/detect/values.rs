//! Values of a parameter between others, for whoever looks for a better one.

use crate::catalog::{Param, ParamValue, Span};

/// A parameter's value as a number; a duration in microseconds. `None` for texts, flags and lists.
pub fn number(value: &ParamValue) -> Option<f64> {
    match value {
        ParamValue::Integer(number) => Some(*number as f64),
        ParamValue::Float(number) => Some(*number),
        ParamValue::Span(span) => Some(span.0 as f64),
        _ => None,
    }
}

/// A number as a value of a parameter: whole where it is whole, within its bounds, and with two digits that matter, so
/// that a person can remember it.
pub fn value_of(param: &Param, wanted: f64) -> ParamValue {
    let bound = |bound: &Option<ParamValue>| bound.as_ref().and_then(number);
    let clamped = |number: f64| {
        let least = bound(&param.min).unwrap_or(f64::MIN);
        number.clamp(least, bound(&param.max).unwrap_or(f64::MAX).max(least))
    };
    match param.default {
        ParamValue::Float(_) => ParamValue::Float(clamped(two_digits(wanted))),
        ParamValue::Span(_) => {
            const UNITS: [f64; 4] = [86_400e6, 3_600e6, 60e6, 1e6];
            let unit = UNITS.into_iter().find(|unit| wanted >= 2.0 * unit);
            let unit = unit.unwrap_or(1e3);
            ParamValue::Span(Span(clamped((wanted / unit).round() * unit) as i64))
        }
        _ => ParamValue::Integer(clamped(two_digits(wanted).round()) as i64),
    }
}

/// The value half way between two, where that is another one.
pub fn between(param: &Param, a: f64, b: f64) -> Option<f64> {
    let middle = match a.min(b) > 0.0 {
        true => (a * b).sqrt(),
        false => (a + b) / 2.0,
    };
    let middle = number(&value_of(param, middle))?;
    (middle > a.min(b) && middle < a.max(b)).then_some(middle)
}

fn two_digits(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powf(number.abs().log10().floor() - 1.0);
    // Division by a power of ten is exact where multiplication by its inverse is not.
    match scale < 1.0 {
        true => (number * (1.0 / scale).round()).round() / (1.0 / scale).round(),
        false => (number / scale).round() * scale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_within_bounds_and_can_be_remembered() {
        let least = Some(ParamValue::Integer(1));
        let whole = Param::bounded(ParamValue::Integer(500_000), least, None);
        assert_eq!(value_of(&whole, 123_456.0), ParamValue::Integer(120_000));
        assert_eq!(value_of(&whole, 0.2), ParamValue::Integer(1));
        let (zero, one) = (ParamValue::Float(0.0), ParamValue::Float(1.0));
        let share = Param::bounded(ParamValue::Float(0.8), Some(zero), Some(one.clone()));
        assert_eq!(value_of(&share, 0.8345), ParamValue::Float(0.83));
        assert_eq!(value_of(&share, 7.0), one);
        let span = Param::bounded(ParamValue::Span(Span::minutes(10)), None, None);
        let fourteen = ParamValue::Span(Span::minutes(14));
        assert_eq!(value_of(&span, 14.4 * 60e6), fourteen);
        assert_eq!(between(&whole, 1.0, 4.0), Some(2.0));
        assert_eq!(between(&whole, 1.0, 2.0), None);
    }
}

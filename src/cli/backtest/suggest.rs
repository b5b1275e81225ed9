//! `backtest --suggest`: one parameter at many values, what each would have found, and one that is proposed.
//!
//! Nothing is known of what a parameter does in the query, so it is tried: first around its default, then where the
//! number of findings changes most from one value to the next.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};

use super::labelled;
use crate::catalog::{Param, ParamValue, Rule};
use crate::detect::{Share, between, number, value_of};
use crate::error::Error;
use crate::output::{self, table};

/// Values beside the first ones that are tried where the findings change.
pub(super) const REFINED: usize = 6;

/// What one value finds.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    pub(super) value: f64,
    pub(super) findings: usize,
    pub(super) subjects: usize,
    pub(super) per_day: f64,
    /// Against labels, where there are some that ask for something.
    pub(super) recall: Option<Share>,
    pub(super) precision: Option<Share>,
}

/// The value of a parameter as a number.
///
/// # Errors
/// When it is none.
pub(super) fn number_of(param: &Param, value: &ParamValue) -> Result<f64, Error> {
    number(value).ok_or_else(|| Error::Usage {
        message: format!(
            "`{}` is no number, so there are no values between others",
            param.name
        ),
        hint: Some("a parameter that is a number or a duration".to_string()),
    })
}

/// The values to begin with, in order.
pub(super) fn first_values(param: &Param, default: f64) -> Vec<f64> {
    let mut values: Vec<f64> = match (
        param.min.as_ref().and_then(number),
        param.max.as_ref().and_then(number),
    ) {
        (Some(least), Some(most)) if most <= 4.0 * default.max(least) => (0..=6)
            .map(|n| least + (most - least) * f64::from(n) / 6.0)
            .collect(),
        _ if default == 0.0 => vec![1.0, 2.0, 4.0, 8.0, 16.0],
        _ => [0.125, 0.25, 0.5, 2.0, 4.0, 8.0]
            .map(|factor| default * factor)
            .to_vec(),
    };
    values
        .iter_mut()
        .for_each(|it| *it = number(&value_of(param, *it)).unwrap_or(*it));
    values.push(default);
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// The value to try next: between those two neighbours that differ most in what they find.
pub(super) fn next_value(param: &Param, tried: &[Tried]) -> Option<f64> {
    let steps = tried.windows(2).filter_map(|pair| {
        let (a, b) = (pair[0].value, pair[1].value);
        let middle = between(param, a, b)?;
        let step = pair[0].findings.abs_diff(pair[1].findings);
        (step > 0).then_some((step, middle))
    });
    steps
        .max_by_key(|(step, _)| *step)
        .map(|(_, middle)| middle)
}

/// The place of the value that is proposed, and why.
pub(super) fn proposal(tried: &[Tried], default: f64) -> Option<(usize, String)> {
    let quality = |it: &Tried| -> Option<(f64, f64)> {
        let precision = it.precision.map_or(0.0, |share| share.value);
        Some((it.recall?.value, precision))
    };
    let best = tried
        .iter()
        .filter_map(quality)
        .max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    if let Some((recall, precision)) = best {
        let is_best: Vec<usize> = (0..tried.len())
            .filter(|place| quality(&tried[*place]) == best)
            .collect();
        let reason = format!(
            "no other finds more of what is labelled ({:.0}%) with as few that are false ({:.0}% are right)",
            recall * 100.0,
            precision * 100.0
        );
        return Some((middle(tried, &is_best, default), reason));
    }
    // Without labels: where the number of findings depends least on the value.
    let mut plateaus: Vec<Vec<usize>> = Vec::new();
    for place in 0..tried.len() {
        match plateaus.last_mut() {
            Some(plateau) if tried[plateau[0]].findings == tried[place].findings => {
                plateau.push(place)
            }
            _ => plateaus.push(vec![place]),
        }
    }
    plateaus.retain(|plateau| tried[plateau[0]].findings > 0);
    let length = |plateau: &Vec<usize>| {
        let (first, last) = (
            tried[plateau[0]].value,
            tried[plateau[plateau.len() - 1]].value,
        );
        ((last + f64::MIN_POSITIVE) / (first + f64::MIN_POSITIVE)).ln()
    };
    let longest = plateaus
        .into_iter()
        .max_by(|a, b| length(a).total_cmp(&length(b)))?;
    let reason = match longest.len() {
        1 => "findings change with every value that was tried, so there is no natural line; labels would tell".to_string(),
        count => format!("the findings are the same at {count} values in a row, so it cuts through nothing"),
    };
    Some((middle(tried, &longest, default), reason))
}

/// The default if it is among the places, else the one in the middle.
fn middle(tried: &[Tried], places: &[usize], default: f64) -> usize {
    let is_default = |place: &&usize| tried[**place].value == default;
    places
        .iter()
        .find(is_default)
        .copied()
        .unwrap_or(places[places.len() / 2])
}

/// Prints what was tried and what is proposed.
pub(super) fn print(
    rule: &Rule,
    param: &Param,
    tried: &[Tried],
    default: f64,
    proposed: Option<(usize, String)>,
    as_json: bool,
) -> anyhow::Result<()> {
    let shown = |it: &Tried| value_of(param, it.value).json();
    if as_json {
        for (place, it) in tried.iter().enumerate() {
            let object = serde_json::json!({
                "rule": rule.id,
                "param": param.name,
                "value": shown(it),
                "is_default": it.value == default,
                "is_proposed": proposed.as_ref().is_some_and(|(best, _)| *best == place),
                "findings": it.findings,
                "findings_per_day": it.per_day,
                "subjects": it.subjects,
                "recall": it.recall.map(Share::json),
                "precision": it.precision.map(Share::json),
            });
            output::data(&object.to_string())?;
        }
        return Ok(());
    }
    let texts = |of: &dyn Fn(usize, &Tried) -> Option<String>| -> ArrayRef {
        let values = tried.iter().enumerate().map(|(place, it)| of(place, it));
        Arc::new(values.collect::<StringArray>())
    };
    let counts = |of: &dyn Fn(&Tried) -> usize| -> ArrayRef {
        Arc::new(
            tried
                .iter()
                .map(|it| Some(of(it) as i64))
                .collect::<Int64Array>(),
        )
    };
    let plain = |value: serde_json::Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_string)
    };
    let marks = |place: usize, it: &Tried| {
        let is_proposed = proposed.as_ref().is_some_and(|(best, _)| *best == place);
        Some(match (it.value == default, is_proposed) {
            (true, true) => "as it is, proposed".to_string(),
            (true, false) => "as it is".to_string(),
            (false, true) => "proposed".to_string(),
            (false, false) => String::new(),
        })
    };
    let per_day = tried
        .iter()
        .map(|it| Some((it.per_day * 100.0).round() / 100.0));
    let mut columns = vec![
        (param.name.as_str(), texts(&|_, it| Some(plain(shown(it))))),
        ("findings", counts(&|it| it.findings)),
        (
            "a day",
            Arc::new(per_day.collect::<Float64Array>()) as ArrayRef,
        ),
        ("subjects", counts(&|it| it.subjects)),
    ];
    if tried
        .iter()
        .any(|it| it.recall.is_some() || it.precision.is_some())
    {
        columns.push(("recall", texts(&|_, it| Some(labelled::text(it.recall)))));
        columns.push((
            "precision",
            texts(&|_, it| Some(labelled::text(it.precision))),
        ));
    }
    columns.push(("", texts(&marks)));
    let batch = RecordBatch::try_from_iter(columns)?;
    let text = table::render(&batch.schema(), &[batch], table::Style::default())?;
    output::data(text.trim_end())?;
    let Some((place, reason)) = proposed else {
        output::data("no value that was tried finds anything, so none is proposed")?;
        return Ok(());
    };
    let proposed = value_of(param, tried[place].value);
    let (id, name) = (&rule.id, &param.name);
    if tried[place].value == default {
        output::data(&format!(
            "proposes to leave `{id}.{name}` as it is: {reason}"
        ))?;
        return Ok(());
    }
    let json = proposed.json();
    output::data(&format!("proposes `{id}.{name} = {json}`: {reason}"))?;
    output::data(&format!("for `--params FILE`:\n[{id}]\n{name} = {json}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(pairs: &[(f64, usize)]) -> Vec<Tried> {
        let tried = pairs.iter().map(|(value, findings)| Tried {
            value: *value,
            findings: *findings,
            subjects: 0,
            per_day: 0.0,
            recall: None,
            precision: None,
        });
        tried.collect()
    }

    #[test]
    fn values_begin_around_the_default() {
        let whole = Param::bounded(
            ParamValue::Integer(500_000),
            Some(ParamValue::Integer(1)),
            None,
        );
        let share = Param::bounded(
            ParamValue::Float(0.8),
            Some(ParamValue::Float(0.0)),
            Some(ParamValue::Float(1.0)),
        );
        assert_eq!(
            first_values(&whole, 500_000.0),
            [
                63_000.0,
                130_000.0,
                250_000.0,
                500_000.0,
                1_000_000.0,
                2_000_000.0,
                4_000_000.0
            ]
        );
        assert_eq!(
            first_values(&share, 0.8),
            [0.0, 0.17, 0.33, 0.5, 0.67, 0.8, 0.83, 1.0]
        );
    }

    #[test]
    fn the_next_value_lies_where_findings_change_most() {
        let whole = Param::bounded(ParamValue::Integer(10), None, None);
        assert_eq!(
            next_value(&whole, &tried(&[(1.0, 30), (4.0, 10), (16.0, 9)])),
            Some(2.0)
        );
        // Nothing lies between two neighbours.
        assert_eq!(next_value(&whole, &tried(&[(1.0, 30), (2.0, 10)])), None);
        assert_eq!(next_value(&whole, &tried(&[(1.0, 3), (9.0, 3)])), None);
    }

    #[test]
    fn without_labels_the_longest_plateau_is_proposed() {
        let values = tried(&[
            (1.0, 50),
            (2.0, 9),
            (4.0, 3),
            (8.0, 3),
            (16.0, 3),
            (32.0, 0),
            (640.0, 0),
        ]);
        let (place, reason) = proposal(&values, 2.0).expect("one");
        assert_eq!(values[place].value, 8.0);
        assert!(reason.contains("3 values in a row"), "{reason}");
        // The default stays when it is as good.
        assert_eq!(proposal(&values, 16.0).map(|it| it.0), Some(4));
        assert_eq!(proposal(&tried(&[(1.0, 0), (2.0, 0)]), 1.0), None);
    }

    #[test]
    fn with_labels_recall_comes_first_and_then_precision() {
        let scored = |value: f64, found: usize, right: usize| Tried {
            value,
            findings: 4,
            subjects: 0,
            per_day: 0.0,
            recall: Share::of(found, 4),
            precision: Share::of(right, 4),
        };
        let values = [
            scored(1.0, 4, 2),
            scored(2.0, 4, 3),
            scored(4.0, 4, 3),
            scored(8.0, 4, 3),
            scored(16.0, 3, 4),
        ];
        let (place, reason) = proposal(&values, 1.0).expect("one");
        assert_eq!(values[place].value, 4.0);
        assert!(
            reason.contains("(100%)") && reason.contains("75% are right"),
            "{reason}"
        );
        assert_eq!(proposal(&values, 2.0).map(|it| it.0), Some(1));
    }
}

//! Predicates of a plan in the words of the rule that they come from.
//!
//! The planner qualifies every column, writes types into literals and casts what it compares. A person wants to read
//! `outcome = 'blocked'`, and a number that is short of another with its thousands apart.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Between, Case, InList, Like};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use serde_json::Value;

use crate::catalog::{Span, micros};
use crate::detect::json::time_text;
use crate::detect::stored;

/// An expression as its author would have written it, but for layout.
pub(super) fn of(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => name(&column.name),
        Expr::Literal(value, _) => literal(value),
        Expr::Alias(alias) => of(&alias.expr),
        Expr::Cast(cast) => of(&cast.expr),
        Expr::TryCast(cast) => of(&cast.expr),
        Expr::Not(inner) => format!("NOT {}", within(inner)),
        Expr::Negative(inner) => format!("-{}", within(inner)),
        Expr::IsNull(inner) => format!("{} IS NULL", within(inner)),
        Expr::IsNotNull(inner) => format!("{} IS NOT NULL", within(inner)),
        Expr::IsTrue(inner) => format!("{} IS TRUE", within(inner)),
        Expr::IsNotTrue(inner) => format!("{} IS NOT TRUE", within(inner)),
        Expr::IsFalse(inner) => format!("{} IS FALSE", within(inner)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => format!("{} AND {}", of(left), of(right)),
            Operator::Or => format!("{} OR {}", of(left), of(right)),
            _ => format!("{} {op} {}", within(left), within(right)),
        },
        Expr::Like(Like {
            negated,
            expr,
            pattern,
            case_insensitive,
            ..
        }) => {
            let word = if *case_insensitive { "ILIKE" } else { "LIKE" };
            format!("{}{}{word} {}", of(expr), not(*negated), of(pattern))
        }
        Expr::InList(InList {
            expr,
            list,
            negated,
        }) => format!("{}{}IN ({})", of(expr), not(*negated), listed(list)),
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) => {
            let (low, high) = (of(low), of(high));
            format!("{}{}BETWEEN {low} AND {high}", of(expr), not(*negated))
        }
        Expr::ScalarFunction(call) if call.func.name() == "get_field" => {
            let parts: Vec<String> = call.args.iter().map(of).collect();
            parts.join(".").replace('\'', "")
        }
        Expr::ScalarFunction(call) => format!("{}({})", call.func.name(), listed(&call.args)),
        Expr::Case(Case {
            expr,
            when_then_expr,
            else_expr,
        }) => {
            let mut text = "CASE".to_string();
            if let Some(expr) = expr {
                text.push_str(&format!(" {}", of(expr)));
            }
            for (when, then) in when_then_expr {
                text.push_str(&format!(" WHEN {} THEN {}", of(when), of(then)));
            }
            if let Some(otherwise) = else_expr {
                text.push_str(&format!(" ELSE {}", of(otherwise)));
            }
            text + " END"
        }
        other => name(&other.to_string()),
    }
}

fn not(negated: bool) -> &'static str {
    if negated { " NOT " } else { " " }
}

fn listed(list: &[Expr]) -> String {
    let texts: Vec<String> = list.iter().map(of).collect();
    texts.join(", ")
}

/// A part of a larger expression, in brackets where it would be read otherwise without.
fn within(expr: &Expr) -> String {
    match expr {
        Expr::BinaryExpr(_) | Expr::Between(_) | Expr::Not(_) => format!("({})", of(expr)),
        Expr::Cast(cast) => within(&cast.expr),
        other => of(other),
    }
}

fn literal(value: &ScalarValue) -> String {
    if let Some(time) = micros(value) {
        return time_text(time);
    }
    match value {
        value if value.is_null() => "NULL".to_string(),
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => format!("'{text}'"),
        ScalarValue::Int64(Some(number)) => grouped(*number),
        other => other.to_string(),
    }
}

/// The name of a column. What an aggregate returns is called by its expression, qualifiers, types of literals and all.
fn name(name: &str) -> String {
    const TYPES: [&str; 8] = [
        "Utf8(",
        "Utf8View(",
        "Int64(",
        "UInt64(",
        "Int32(",
        "Float64(",
        "Boolean(",
        "Decimal128(",
    ];
    if !name.contains(['(', '.']) {
        return name.to_string();
    }
    // An item of a list that is taken apart.
    let item = name.strip_prefix("__unnest_placeholder(");
    if let Some((list, _)) = item.and_then(|item| item.rsplit_once(",depth=")) {
        return unqualified(list);
    }
    let mut text = name.to_string();
    for kind in TYPES {
        // Only a whole word: `to_Int64(` is none.
        while let Some(start) = text.find(kind) {
            let rest = &text[start + kind.len()..];
            let Some(end) = rest.find(')') else {
                break;
            };
            let value = rest[..end].replace('"', "'");
            text.replace_range(start..start + kind.len() + end + 1, &value);
        }
    }
    // What is counted where every row counts.
    unqualified(&text).replace("count(1)", "count(*)")
}

/// Without the `table.` in front of columns; numbers and texts stay.
fn unqualified(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut word = String::new();
    let mut is_quoted = false;
    for c in text.chars() {
        is_quoted ^= c == '\'';
        if !is_quoted && (c.is_alphanumeric() || c == '_') {
            word.push(c);
        } else if !is_quoted && c == '.' && word.starts_with(|c: char| c.is_alphabetic()) {
            word.clear();
        } else {
            kept.push_str(&word);
            word.clear();
            kept.push(c);
        }
    }
    kept + &word
}

/// A whole number with its thousands apart.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    if number < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A value of a row.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::String(text) if stored::time(value).is_some() => text.clone(),
        Value::String(text) => format!("'{}'", shortened(text)),
        Value::Number(number) => match number.as_i64() {
            Some(number) => grouped(number),
            None => rounded(number.as_f64().unwrap_or_default()),
        },
        other => shortened(&other.to_string()),
    }
}

fn rounded(number: f64) -> String {
    let places = if number.abs() >= 100.0 { 1 } else { 4 };
    let text = format!("{number:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// As much of a text as fits a line.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// How far `left <op> right` is from being true; `None` where there is no distance, or it is true.
pub(super) fn distance(left: &Value, op: Operator, right: &Value) -> Option<String> {
    let is_upwards = match op {
        Operator::Gt | Operator::GtEq => true,
        Operator::Lt | Operator::LtEq => false,
        _ => return None,
    };
    let is_strict = matches!(op, Operator::Gt | Operator::Lt);
    if let (Some(left), Some(right)) = (stored::time(left), stored::time(right)) {
        let short = if is_upwards {
            right - left
        } else {
            left - right
        };
        return (short >= i64::from(is_strict)).then(|| {
            let words = if is_upwards { "too early" } else { "too late" };
            format!("{} {words}", length(short))
        });
    }
    let words = if is_upwards { "short" } else { "too many" };
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        let short = if is_upwards {
            right - left
        } else {
            left - right
        };
        return match short {
            0 if is_strict => Some("exactly on the line, which is not enough".to_string()),
            short if short > 0 => Some(format!("{} {words}", grouped(short))),
            _ => None,
        };
    }
    let (left, right) = (left.as_f64()?, right.as_f64()?);
    let short = if is_upwards {
        right - left
    } else {
        left - right
    };
    let words = if is_upwards { "short" } else { "too much" };
    if short > 0.0 {
        return Some(format!("{} {words}", rounded(short)));
    }
    (short == 0.0 && is_strict).then(|| "exactly on the line, which is not enough".to_string())
}

/// A length of time in words that tell most of it.
pub(super) fn length(micros: i64) -> String {
    const UNITS: [(i64, &str); 4] = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
    ];
    let micros = micros.abs();
    let Some(place) = UNITS.iter().position(|(size, _)| micros >= *size) else {
        return Span(micros / 1_000 * 1_000).to_string();
    };
    let (size, unit) = UNITS[place];
    let mut text = format!("{}{unit}", micros / size);
    if let Some((next, unit)) = UNITS.get(place + 1)
        && micros % size >= *next
    {
        text.push_str(&format!(" {}{unit}", micros % size / next));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};
    use serde_json::json;

    #[test]
    fn a_predicate_reads_as_it_was_written() {
        for (expr, text) in [
            (
                col("calls.outcome").eq(lit("blocked")),
                "outcome = 'blocked'",
            ),
            (
                col("\"sum(calls.input_tokens + calls.output_tokens)\"").gt(lit(500_000_i64)),
                "sum(input_tokens + output_tokens) > 500,000",
            ),
            (
                col("\"count(*) FILTER (WHERE calls.outcome = Utf8(\"\"no.no\"\"))\"")
                    .gt(lit(1_i64)),
                "count(*) FILTER (WHERE outcome = 'no.no') > 1",
            ),
            (
                (col("a") + col("b")).gt_eq(lit(0.5)).or(col("c").is_null()),
                "(a + b) >= 0.5 OR c IS NULL",
            ),
            (
                col("a").in_list(vec![lit("x"), lit("y")], true),
                "a NOT IN ('x', 'y')",
            ),
            (col("a").like(lit("x%")), "a LIKE 'x%'"),
        ] {
            assert_eq!(of(&expr), text);
        }
    }

    #[test]
    fn a_distance_is_what_is_missing() {
        let of = |left: Value, op, right: Value| distance(&left, op, &right);
        let some = |text: &str| Some(text.to_string());
        assert_eq!(
            of(json!(412_000), Operator::Gt, json!(500_000)),
            some("88,000 short")
        );
        assert_eq!(
            of(json!(5), Operator::Gt, json!(5)),
            some("exactly on the line, which is not enough")
        );
        assert_eq!(of(json!(5), Operator::GtEq, json!(5)), None);
        assert_eq!(
            of(json!(0.74), Operator::GtEq, json!(0.8)),
            some("0.06 short")
        );
        assert_eq!(of(json!(12), Operator::Lt, json!(10)), some("2 too many"));
        assert_eq!(
            of(
                json!("2026-01-01T12:00:00Z"),
                Operator::LtEq,
                json!("2026-01-01T10:30:00Z")
            ),
            some("1h 30m too late")
        );
        assert_eq!(of(json!("a"), Operator::Gt, json!(1)), None);
    }

    #[test]
    fn lengths_tell_most_of_it() {
        assert_eq!(length(5 * 3_600_000_000), "5h");
        assert_eq!(length(-90_000_000), "1m 30s");
        assert_eq!(length(2 * 86_400_000_000 + 3_600_000_000), "2d 1h");
        assert_eq!(length(1_500), "1ms");
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            (0, "0"),
            (-999, "-999"),
            (1_000, "1,000"),
            (-1_234_567, "-1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}

//! `ks_p(value, side)`: do two samples of numbers have the same distribution?

use datafusion_common::types::{NativeType, logical_float64};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{Coercion, Signature, TypeSignatureClass, Volatility};
use datafusion_macros::user_doc;

use super::frequency::{Cell, Statistic, Values, frequency_function};
use super::interner::Keys;
use crate::stats::kolmogorov::two_sample_p;

/// `ks_p(value, side)`: the two-sample Kolmogorov–Smirnov test.
#[user_doc(
    doc_section(label = "Statistical Functions"),
    description = "P-value of the two-sided two-sample Kolmogorov-Smirnov test: the probability of distribution \
functions at least as far apart as these if both sides drew from one distribution. Notices any change: of location, of \
spread, of shape. Equal to SciPy's `ks_2samp(x, y)`: exact up to 10,000 values a side, beyond that by the one-sample \
distribution for n1 n2 / (n1 + n2) values, rounded. With ties the test is conservative, as everywhere. Rows where \
either argument is null are left out. Null with a single side, NaN if a value is NaN; more than two sides are an \
error. Memory grows with the number of distinct values.",
    syntax_example = "ks_p(value, side)",
    sql_example = r#"```sql
> SELECT round(ks_p(ms, release), 6) AS p
  FROM (VALUES (10, 'old'), (12, 'old'), (11, 'old'), (13, 'old'), (25, 'new'), (31, 'new'), (27, 'new'), (12, 'new'))
  AS calls(ms, release);
+----------+
| p        |
+----------+
| 0.228571 |
+----------+
```"#,
    argument(name = "value", description = "What is compared; any number."),
    argument(
        name = "side",
        description = "Which sample a row belongs to; any type, two values."
    ),
    related_udf(name = "psi")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct KsP {
    signature: Signature,
}

impl Default for KsP {
    fn default() -> Self {
        let number = Coercion::new_implicit(
            TypeSignatureClass::Native(logical_float64()),
            vec![TypeSignatureClass::Numeric],
            NativeType::Float64,
        );
        let side = Coercion::new_exact(TypeSignatureClass::Any);
        Self {
            signature: Signature::coercible(vec![number, side], Volatility::Immutable),
        }
    }
}

frequency_function!(KsP, "ks_p", KolmogorovSmirnov);

/// The distance only depends on how often each distinct value occurs on each side.
#[derive(Debug)]
struct KolmogorovSmirnov;

impl Statistic for KolmogorovSmirnov {
    fn evaluate(cells: &mut [Cell], values: &Values) -> Result<Option<f64>> {
        let Some([left_side, _]) = two_sides("ks_p", cells, values.keys(1))? else {
            return Ok(None);
        };
        let keys = values.keys(0);
        cells.sort_unstable_by(|one, other| keys.rank(one.row).cmp(&keys.rank(other.row)));
        if cells
            .last()
            .is_some_and(|cell| keys.double(cell.row).is_some_and(f64::is_nan))
        {
            return Ok(Some(f64::NAN));
        }
        let is_left = |cell: &&Cell| cell.column == left_side;
        let all: u64 = cells.iter().map(|cell| cell.count).sum();
        let left: u64 = cells.iter().filter(is_left).map(|cell| cell.count).sum();
        let right = all - left;
        // F₁ − F₂ = (c₁ n₂ − c₂ n₁) / (n₁ n₂): the largest difference is found in whole numbers.
        let (mut difference, mut distance) = (0_i128, 0);
        for tied in cells.chunk_by(|one, next| one.row == next.row) {
            for cell in tied {
                difference += if is_left(&cell) {
                    i128::from(cell.count) * i128::from(right)
                } else {
                    -(i128::from(cell.count) * i128::from(left))
                };
            }
            distance = distance.max(difference.unsigned_abs());
        }
        Ok(Some(two_sample_p(left, right, distance)))
    }
}

/// The two values of the second argument, the smaller one first; `None` if there are fewer.
pub(super) fn two_sides(function: &str, cells: &[Cell], sides: &Keys) -> Result<Option<[u32; 2]>> {
    let Some(first) = cells.first().map(|cell| cell.column) else {
        return Ok(None);
    };
    let Some(second) = cells
        .iter()
        .map(|cell| cell.column)
        .find(|&side| side != first)
    else {
        return Ok(None);
    };
    if cells
        .iter()
        .any(|cell| cell.column != first && cell.column != second)
    {
        return exec_err!(
            "`{function}` compares two sides, found more than two values of its second argument"
        );
    }
    Ok(Some(if sides.rank(first) < sides.rank(second) {
        [first, second]
    } else {
        [second, first]
    }))
}

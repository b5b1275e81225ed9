//! `chi_squared_p(observed, expected)`: do counts fit a known distribution?

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder};
use arrow::datatypes::DataType;
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_doc::Documentation;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion_macros::user_doc;

use super::number_lists::{NumberLists, coerce};
use crate::stats::chi_squared::survival;

/// `chi_squared_p(observed, expected)`: Pearson's test of goodness of fit.
#[user_doc(
    doc_section(label = "Math Functions"),
    description = "P-value of Pearson's chi-squared test of goodness of fit: the probability of counts at least as far \
from the expected ones if these were true. `expected` may be counts or shares: it is scaled to the total of \
`observed`; where the totals agree the result equals SciPy's `chisquare(observed, expected)`. A category neither \
observed nor expected is left out; one observed but not expected makes p zero. Null if a list or \
an item is null, if a total is zero, or if fewer than two categories are left. Lists of different length and \
negative, infinite and NaN counts are errors. The aggregate `chi_squared_p_agg(category, side)` compares samples row by row.",
    syntax_example = "chi_squared_p(observed, expected)",
    sql_example = r#"```sql
> SELECT round(chi_squared_p([16, 18, 16, 14, 12, 12], [16, 16, 16, 16, 16, 8]), 6) AS p;
+----------+
| p        |
+----------+
| 0.623388 |
+----------+
```"#,
    argument(
        name = "observed",
        description = "Counts, one for each category; a list of numbers."
    ),
    argument(
        name = "expected",
        description = "Expected counts or shares, in the same order; a list of numbers."
    )
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ChiSquaredP {
    signature: Signature,
}

impl Default for ChiSquaredP {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ChiSquaredP {
    fn name(&self) -> &str {
        "chi_squared_p"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [_, _] = take_function_args(self.name(), arg_types)?;
        coerce(self.name(), arg_types)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [observed, expected] = take_function_args(self.name(), &args.args)?;
        let (observed, expected) = match (observed, expected) {
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)) => {
                let p = p_value(
                    NumberLists::try_new(observed)?.row(0),
                    NumberLists::try_new(expected)?.row(0),
                )?;
                return Ok(ColumnarValue::Scalar(ScalarValue::Float64(p)));
            }
            _ => (
                NumberLists::try_new(observed)?,
                NumberLists::try_new(expected)?,
            ),
        };
        let mut results = Float64Builder::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            results.append_option(p_value(observed.row(row), expected.row(row))?);
        }
        Ok(ColumnarValue::Array(Arc::new(results.finish()) as ArrayRef))
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }
}

fn p_value(observed: Option<&[f64]>, expected: Option<&[f64]>) -> Result<Option<f64>> {
    let (Some(observed), Some(expected)) = (observed, expected) else {
        return Ok(None);
    };
    if observed.len() != expected.len() {
        return exec_err!(
            "`chi_squared_p` compares lists of equal length, found {} observed and {} expected counts",
            observed.len(),
            expected.len()
        );
    }
    if let Some(count) = observed
        .iter()
        .chain(expected)
        .find(|count| !(count.is_finite() && **count >= 0.0))
    {
        return exec_err!("`chi_squared_p` takes counts of at least 0, found {count}");
    }
    let (total, expected_total): (f64, f64) = (observed.iter().sum(), expected.iter().sum());
    if total == 0.0 || expected_total == 0.0 {
        return Ok(None);
    }
    let scale = total / expected_total;
    let (mut statistic, mut categories) = (0.0, 0_u64);
    for (&observed, &expected) in observed.iter().zip(expected) {
        if observed > 0.0 || expected > 0.0 {
            let expected = expected * scale;
            let difference = observed - expected;
            statistic += difference * (difference / expected);
            categories += 1;
        }
    }
    Ok((categories > 1).then(|| survival(statistic, categories - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_p(observed: &[f64], expected: &[f64], p: f64) {
        let actual = p_value(Some(observed), Some(expected)).unwrap().unwrap();
        assert!((actual - p).abs() <= 1e-12 * p, "{actual:e} is not {p:e}");
    }

    #[test]
    fn matches_scipy() {
        // scipy.stats.chisquare(observed, expected).pvalue
        assert_p(
            &[16.0, 18.0, 16.0, 14.0, 12.0, 12.0],
            &[16.0, 16.0, 16.0, 16.0, 16.0, 8.0],
            0.623_387_627_749_582_2,
        );
        // Shares are scaled: scipy.stats.chisquare([50, 30, 20], [40, 40, 20]).pvalue
        assert_p(
            &[50.0, 30.0, 20.0],
            &[0.4, 0.4, 0.2],
            0.082_084_998_623_898_8,
        );
        // scipy.stats.chisquare([900, 100], [500, 500]).pvalue
        assert_p(&[900.0, 100.0], &[1.0, 1.0], 3.341_488_038_641_387_3e-141);
    }

    #[test]
    fn degenerate_distributions() {
        let p = |observed: &[f64], expected: &[f64]| p_value(Some(observed), Some(expected));
        assert_eq!(p(&[1.0, 2.0], &[1.0, 0.0]).unwrap(), Some(0.0));
        assert_eq!(
            p(&[3.0, 0.0], &[1.0, 0.0]).unwrap(),
            None,
            "one category is left"
        );
        assert_eq!(p(&[0.0, 0.0], &[1.0, 1.0]).unwrap(), None);
        assert_eq!(p(&[], &[]).unwrap(), None);
        assert_eq!(p_value(None, Some(&[1.0])).unwrap(), None);
        assert!(
            p(&[1.0], &[1.0, 2.0])
                .unwrap_err()
                .to_string()
                .contains("1 observed and 2 expected")
        );
        assert!(p(&[1.0, -2.0], &[1.0, 1.0]).is_err());
        assert!(p(&[1.0, f64::NAN], &[1.0, 1.0]).is_err());
    }
}

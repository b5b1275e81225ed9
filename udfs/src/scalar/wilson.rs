//! `wilson_lower` and `wilson_upper`: what a share of few trials can and cannot mean.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Builder};
use arrow::datatypes::{DataType, Float64Type};
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_doc::Documentation;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion_macros::user_doc;

/// The 97.5 % point of the standard normal distribution, `scipy.stats.norm.ppf(0.975)`.
const Z: f64 = 1.959_963_984_540_054;

/// `wilson_lower(successes, total)`: the lower end of the 95 % score interval of a share.
#[user_doc(
    doc_section(label = "Math Functions"),
    description = "Lower end of Wilson's 95% score interval for the share of successes: the smallest true share that \
the counts do not contradict. 1 of 2 gives 0.09, 500 of 1000 gives 0.47: an alert on the lower end of an error rate \
does not fire on a handful of calls. Equal to SciPy's `binomtest(successes, total).proportion_ci(method=\"wilson\")`. \
Null if an argument is null or the total is zero. A negative number of successes, or one above the total, is an error.",
    syntax_example = "wilson_lower(successes, total)",
    sql_example = r#"```sql
> SELECT round(wilson_lower(1, 2), 6) AS low, round(wilson_lower(500, 1000), 6) AS sure;
+----------+----------+
| low      | sure     |
+----------+----------+
| 0.094531 | 0.46907  |
+----------+----------+
```"#,
    argument(
        name = "successes",
        description = "How many trials had the outcome in question."
    ),
    argument(name = "total", description = "How many trials there were."),
    related_udf(name = "wilson_upper")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct WilsonLower {
    signature: Signature,
}

/// `wilson_upper(successes, total)`: the upper end of the 95 % score interval of a share.
#[user_doc(
    doc_section(label = "Math Functions"),
    description = "Upper end of Wilson's 95% score interval for the share of successes: the largest true share that \
the counts do not contradict. Zero of 10 gives 0.28: no failure in ten calls does not make a service reliable. \
Null and errors as `wilson_lower`.",
    syntax_example = "wilson_upper(successes, total)",
    sql_example = r#"```sql
> SELECT round(wilson_upper(0, 10), 6) AS high;
+----------+
| high     |
+----------+
| 0.277533 |
+----------+
```"#,
    argument(
        name = "successes",
        description = "How many trials had the outcome in question."
    ),
    argument(name = "total", description = "How many trials there were."),
    related_udf(name = "wilson_lower")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct WilsonUpper {
    signature: Signature,
}

fn signature() -> Signature {
    Signature::exact(
        vec![DataType::Float64, DataType::Float64],
        Volatility::Immutable,
    )
}

impl Default for WilsonLower {
    fn default() -> Self {
        Self {
            signature: signature(),
        }
    }
}

impl Default for WilsonUpper {
    fn default() -> Self {
        Self {
            signature: signature(),
        }
    }
}

macro_rules! interval_end {
    ($function:ty, $name:literal, $end:expr) => {
        impl ScalarUDFImpl for $function {
            fn name(&self) -> &str {
                $name
            }

            fn signature(&self) -> &Signature {
                &self.signature
            }

            fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
                Ok(DataType::Float64)
            }

            fn is_strict(&self) -> bool {
                true
            }

            fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
                invoke($name, &args, $end)
            }

            fn documentation(&self) -> Option<&Documentation> {
                self.doc()
            }
        }
    };
}

interval_end!(WilsonLower, "wilson_lower", lower);
interval_end!(WilsonUpper, "wilson_upper", upper);

fn invoke(
    name: &str,
    args: &ScalarFunctionArgs,
    end: impl Fn(f64, f64) -> f64,
) -> Result<ColumnarValue> {
    let [successes, total] = take_function_args(name, &args.args)?;
    let is_scalar = [successes, total]
        .iter()
        .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if is_scalar { 1 } else { args.number_rows };
    let (successes, total) = (successes.to_array(rows)?, total.to_array(rows)?);
    let (successes, total) = (
        successes.as_primitive::<Float64Type>(),
        total.as_primitive::<Float64Type>(),
    );
    let mut results = Float64Builder::with_capacity(rows);
    for row in 0..rows {
        if successes.is_null(row) || total.is_null(row) {
            results.append_null();
            continue;
        }
        let (successes, total) = (successes.value(row), total.value(row));
        if !(0.0 <= successes && successes <= total && total.is_finite()) {
            return exec_err!(
                "`{name}` takes 0 to `total` successes, found {successes} of {total}"
            );
        }
        results.append_option((total > 0.0).then(|| end(successes, total)));
    }
    let results = results.finish();
    Ok(if is_scalar {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&results, 0)?)
    } else {
        ColumnarValue::Array(Arc::new(results) as ArrayRef)
    })
}

/// E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927):
/// (p + z²/2n ± z √(p (1 − p)/n + z²/4n²)) / (1 + z²/n), times n above and below.
fn upper(successes: f64, total: f64) -> f64 {
    if successes == total {
        return 1.0;
    }
    let spread = Z * (successes * (total - successes) / total + Z * Z / 4.0).sqrt();
    (successes + Z * Z / 2.0 + spread) / (total + Z * Z)
}

fn lower(successes: f64, total: f64) -> f64 {
    if successes == 0.0 {
        return 0.0;
    }
    // The upper end of the failures, turned round: (a - b) = (a² - b²)/(a + b) keeps the digits of small shares.
    let spread = Z * (successes * (total - successes) / total + Z * Z / 4.0).sqrt();
    successes * successes / total / (successes + Z * Z / 2.0 + spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_scipy() {
        // scipy.stats.binomtest(successes, total).proportion_ci(method="wilson")
        for (successes, total, low, high) in INTERVALS {
            let (actual_low, actual_high) = (lower(successes, total), upper(successes, total));
            assert!(
                (actual_low - low).abs() <= 1e-13 * low,
                "{successes}/{total}: {actual_low}"
            );
            assert!(
                (actual_high - high).abs() <= 1e-13 * high,
                "{successes}/{total}: {actual_high}"
            );
        }
    }

    const INTERVALS: [(f64, f64, f64, f64); 6] = [
        (1.0, 2.0, 0.09453120573423074, 0.9054687942657693),
        (500.0, 1000.0, 0.4690696003681042, 0.5309303996318958),
        (0.0, 10.0, 0.0, 0.27753279986288926),
        (10.0, 10.0, 0.7224672001371109, 1.0),
        (
            3.0,
            1000000.0,
            1.0202712409681223e-06,
            8.821149774312435e-06,
        ),
        (7.0, 9.0, 0.4525889691069889, 0.9367748928821533),
    ];
}

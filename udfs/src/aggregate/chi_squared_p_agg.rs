//! `chi_squared_p_agg(category, side)`: are two or more samples drawn from one distribution?

use datafusion_common::Result;
use datafusion_expr::{Signature, Volatility};
use datafusion_macros::user_doc;

use super::frequency::{Cell, Statistic, Values, frequency_function};
use crate::stats::contingency::Contingency;

/// `chi_squared_p_agg(category, side)`: Pearson's test of homogeneity.
#[user_doc(
    doc_section(label = "Statistical Functions"),
    description = "P-value of Pearson's chi-squared test of homogeneity: the probability of samples at least as \
different as these if all sides drew their categories from one distribution. Equal to SciPy's \
`chi2_contingency(table, correction=False)`, exact far into the tail. No correction for continuity is made; with \
expected counts below 5 the test is approximate. Rows where either argument is null are not counted. Null with \
fewer than two sides, 1 with a single category. The scalar `chi_squared_p(observed, expected)` tests lists of counts: \
DataFusion resolves a name to one kind of function, so this one carries `_agg`, as `array_agg` does.",
    syntax_example = "chi_squared_p_agg(category, side)",
    sql_example = r#"```sql
> SELECT round(chi_squared_p_agg(outcome, release), 6) AS p
  FROM (VALUES ('ok', 'old'), ('ok', 'old'), ('ok', 'old'), ('error', 'new'), ('error', 'new'), ('ok', 'new'))
  AS calls(outcome, release);
+----------+
| p        |
+----------+
| 0.083265 |
+----------+
```"#,
    argument(name = "category", description = "What is compared; any type."),
    argument(
        name = "side",
        description = "Which sample a row belongs to; any type, two or more values."
    ),
    related_udf(name = "cramers_v")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ChiSquaredPAgg {
    signature: Signature,
}

impl Default for ChiSquaredPAgg {
    fn default() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

frequency_function!(ChiSquaredPAgg, "chi_squared_p_agg", Homogeneity);

#[derive(Debug)]
struct Homogeneity;

impl Statistic for Homogeneity {
    fn evaluate(cells: &mut [Cell], _values: &Values) -> Result<Option<f64>> {
        Ok(Contingency::test(cells).map(|table| table.p_value()))
    }
}

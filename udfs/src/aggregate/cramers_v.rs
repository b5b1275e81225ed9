//! `cramers_v(category, side)`: how much two or more samples differ, whatever their size.

use datafusion_common::Result;
use datafusion_expr::{Signature, Volatility};
use datafusion_macros::user_doc;

use super::frequency::{Cell, Statistic, Values, frequency_function};
use crate::stats::contingency::Contingency;

/// `cramers_v(category, side)`: Cramér's V, the effect size that goes with the chi-squared test.
#[user_doc(
    doc_section(label = "Statistical Functions"),
    description = "Cramér's V: how strongly category and side are associated, from 0 (not at all) to 1 (the side \
determines the category or the other way round). With many rows any difference becomes significant; V tells whether \
it is large. Equal to SciPy's `contingency.association(table, method=\"cramer\")`, without correction for bias. Rows \
where either argument is null are not counted. Null with fewer than two sides, 0 with a single category.",
    syntax_example = "cramers_v(category, side)",
    sql_example = r#"```sql
> SELECT cramers_v(outcome, release) AS v
  FROM (VALUES ('ok', 'old'), ('ok', 'old'), ('error', 'new'), ('error', 'new')) AS calls(outcome, release);
+-----+
| v   |
+-----+
| 1.0 |
+-----+
```"#,
    argument(name = "category", description = "What is compared; any type."),
    argument(
        name = "side",
        description = "Which sample a row belongs to; any type, two or more values."
    ),
    related_udf(name = "chi_squared_p_agg")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CramersV {
    signature: Signature,
}

impl Default for CramersV {
    fn default() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

frequency_function!(CramersV, "cramers_v", Association);

#[derive(Debug)]
struct Association;

impl Statistic for Association {
    fn evaluate(cells: &mut [Cell], _values: &Values) -> Result<Option<f64>> {
        Ok(Contingency::test(cells).map(|table| table.cramers_v()))
    }
}

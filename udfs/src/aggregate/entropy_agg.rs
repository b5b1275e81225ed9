//! `entropy_agg(value)`: how evenly the values of a column are spread.

use datafusion_common::Result;
use datafusion_expr::{Signature, Volatility};
use datafusion_macros::user_doc;

use super::frequency::{Cell, Statistic, Values, frequency_function};
use crate::stats::entropy::entropy_bits;

/// `entropy_agg(value)`: Shannon entropy of the distribution of a column's values.
#[user_doc(
    doc_section(label = "Statistical Functions"),
    description = "Shannon entropy, in bits, of the distribution of the values: 0 when all are equal, log2(n) when n \
values are equally frequent. Values of any type are counted as GROUP BY tells them apart. Nulls are not counted; the \
result is null if nothing is left. The scalar `entropy(text)` is the entropy of the characters of one text.",
    syntax_example = "entropy_agg(value)",
    sql_example = r#"```sql
> SELECT entropy_agg(model) AS bits FROM (VALUES ('a'), ('a'), ('b'), ('c')) AS calls(model);
+------+
| bits |
+------+
| 1.5  |
+------+
```"#,
    argument(
        name = "value",
        description = "The column whose distribution is measured; any type."
    )
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct EntropyAgg {
    signature: Signature,
}

impl Default for EntropyAgg {
    fn default() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

frequency_function!(EntropyAgg, "entropy_agg", Entropy);

#[derive(Debug)]
struct Entropy;

impl Statistic for Entropy {
    fn evaluate(cells: &mut [Cell], _values: &Values) -> Result<Option<f64>> {
        let mut weights: Vec<_> = cells.iter().map(|cell| (cell.count as f64, 1)).collect();
        Ok(entropy_bits(&mut weights))
    }
}

//! `entropy_counts(n)`: the entropy of a distribution that was counted already, such as a rollup.

use datafusion_common::types::{NativeType, logical_int64};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{Coercion, Signature, TypeSignatureClass, Volatility};
use datafusion_macros::user_doc;

use super::frequency::{Cell, Statistic, Values, frequency_function};
use crate::stats::entropy::entropy_bits;

/// `entropy_counts(n)`: Shannon entropy of a distribution given as counts.
#[user_doc(
    doc_section(label = "Statistical Functions"),
    description = "Shannon entropy, in bits, of a distribution given as counts, one row for each value: \
`entropy_counts(n)` over `SELECT value, count(*) AS n ... GROUP BY value` equals `entropy_agg(value)` over the rows. \
Nulls and zeros are not counted; the result is null if nothing is left. A negative count is an error.",
    syntax_example = "entropy_counts(n)",
    sql_example = r#"```sql
> SELECT entropy_counts(n) AS bits FROM (VALUES ('a', 2), ('b', 1), ('c', 1)) AS models(model, n);
+------+
| bits |
+------+
| 1.5  |
+------+
```"#,
    argument(
        name = "n",
        description = "How often one value occurred; a whole number."
    )
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct EntropyCounts {
    signature: Signature,
}

impl Default for EntropyCounts {
    fn default() -> Self {
        let count = Coercion::new_implicit(
            TypeSignatureClass::Native(logical_int64()),
            vec![TypeSignatureClass::Integer],
            NativeType::Int64,
        );
        Self {
            signature: Signature::coercible(vec![count], Volatility::Immutable),
        }
    }
}

frequency_function!(EntropyCounts, "entropy_counts", EntropyOfCounts);

/// The frequencies here are of the counts: how many values occurred `n` times. Keeping them, rather than a running sum of
/// n log n, makes merging and retracting exact, and equal counts are common.
#[derive(Debug)]
struct EntropyOfCounts;

impl Statistic for EntropyOfCounts {
    fn evaluate(cells: &mut [Cell], values: &Values) -> Result<Option<f64>> {
        let counts = values.keys(0);
        let weights = cells.iter().map(|cell| match counts.signed(cell.row) {
            Some(n) if n >= 0 => Ok((n as f64, cell.count)),
            n => exec_err!(
                "`entropy_counts` takes counts of at least 0, found {}",
                n.unwrap_or_default()
            ),
        });
        Ok(entropy_bits(&mut weights.collect::<Result<Vec<_>>>()?))
    }
}

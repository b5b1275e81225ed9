//! `shannon_bits(counts)`: the entropy of a distribution given as a list.

use std::sync::Arc;

use arrow::array::Float64Builder;
use arrow::datatypes::DataType;
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_doc::Documentation;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion_macros::user_doc;

use super::number_lists::{NumberLists, coerce};
use crate::stats::entropy::entropy_bits;

/// `shannon_bits(counts)`: Shannon entropy of a list of counts.
#[user_doc(
    doc_section(label = "Math Functions"),
    description = "Shannon entropy, in bits, of a distribution given as a list of counts or weights: 0 when all weight \
is on one item, log2(n) when n items weigh the same. Null if the list or an item is null, or if nothing has any \
weight. Negative, infinite and NaN weights are errors.",
    syntax_example = "shannon_bits(counts)",
    sql_example = r#"```sql
> SELECT shannon_bits([2, 1, 1]) AS bits;
+------+
| bits |
+------+
| 1.5  |
+------+
```"#,
    argument(name = "counts", description = "Counts or weights; a list of numbers.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ShannonBits {
    signature: Signature,
}

impl Default for ShannonBits {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ShannonBits {
    fn name(&self) -> &str {
        "shannon_bits"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [_] = take_function_args(self.name(), arg_types)?;
        coerce(self.name(), arg_types)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [counts] = take_function_args(self.name(), &args.args)?;
        let lists = NumberLists::try_new(counts)?;
        let mut weights = Vec::new();
        if let ColumnarValue::Scalar(_) = counts {
            let bits = bits(lists.row(0), &mut weights)?;
            return Ok(ColumnarValue::Scalar(ScalarValue::Float64(bits)));
        }
        let mut results = Float64Builder::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            results.append_option(bits(lists.row(row), &mut weights)?);
        }
        Ok(ColumnarValue::Array(Arc::new(results.finish())))
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }
}

/// The entropy of one list; `weights` is memory to work in.
fn bits(counts: Option<&[f64]>, weights: &mut Vec<(f64, u64)>) -> Result<Option<f64>> {
    let Some(counts) = counts else {
        return Ok(None);
    };
    if let Some(count) = counts
        .iter()
        .find(|count| !(count.is_finite() && **count >= 0.0))
    {
        return exec_err!("`shannon_bits` takes counts of at least 0, found {count}");
    }
    weights.clear();
    weights.extend(counts.iter().map(|&count| (count, 1)));
    Ok(entropy_bits(weights))
}

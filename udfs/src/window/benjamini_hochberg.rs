//! `benjamini_hochberg(p)`: p-values that stay honest when many tests are made at once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{FieldRef, Float64Type};
use datafusion_common::{Result, exec_err};
use datafusion_doc::Documentation;
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{PartitionEvaluator, ReversedUDWF, Signature, WindowUDFImpl};
use datafusion_macros::user_doc;

use super::others;

/// `benjamini_hochberg(p)`: p-values adjusted for the number of tests in the partition.
#[user_doc(
    doc_section(label = "Analytical Functions"),
    description = "P-values adjusted for the number of tests by the method of Benjamini and Hochberg: keep the rows whose \
adjusted value is at most 0.05, and on average at most 5% of the rows kept are false discoveries. All rows of the \
partition are one family of tests, whatever the frame and the order. Equal to SciPy's `false_discovery_control(ps)`. \
Nulls are no tests and stay null; a p-value outside 0 to 1 is an error.",
    syntax_example = "benjamini_hochberg(p) OVER (...)",
    sql_example = r#"```sql
> SELECT caller, benjamini_hochberg(p) OVER () AS adjusted
  FROM (VALUES ('a', 0.01), ('b', 0.5), ('c', 0.02), ('d', 0.25)) AS tests(caller, p) ORDER BY caller;
+--------+---------------------+
| caller | adjusted            |
+--------+---------------------+
| a      | 0.04                |
| b      | 0.5                 |
| c      | 0.04                |
| d      | 0.3333333333333333  |
+--------+---------------------+
```"#,
    argument(name = "p", description = "The p-value of one test.")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct BenjaminiHochberg {
    signature: Signature,
}

impl Default for BenjaminiHochberg {
    fn default() -> Self {
        Self {
            signature: others::signature(),
        }
    }
}

impl WindowUDFImpl for BenjaminiHochberg {
    fn name(&self) -> &str {
        "benjamini_hochberg"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Adjustment))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(others::field(&args))
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::Identical
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }
}

#[derive(Debug)]
struct Adjustment;

impl PartitionEvaluator for Adjustment {
    fn evaluate_all(&mut self, values: &[ArrayRef], _num_rows: usize) -> Result<ArrayRef> {
        Ok(Arc::new(adjusted(values[0].as_primitive::<Float64Type>())?))
    }
}

/// Y. Benjamini, Y. Hochberg, "Controlling the False Discovery Rate" (1995): p × tests / rank, made monotone from the
/// largest p down.
fn adjusted(p_values: &Float64Array) -> Result<Float64Array> {
    if let Some(p) = p_values.iter().flatten().find(|p| !(0.0..=1.0).contains(p)) {
        return exec_err!("`benjamini_hochberg` takes p-values from 0 to 1, found {p}");
    }
    let mut rows: Vec<usize> = (0..p_values.len())
        .filter(|&row| p_values.is_valid(row))
        .collect();
    rows.sort_unstable_by(|&left, &right| p_values.value(left).total_cmp(&p_values.value(right)));
    let tests = rows.len() as f64;
    let mut results = vec![0.0; p_values.len()];
    let mut least = 1.0_f64;
    for (rank, &row) in rows.iter().enumerate().rev() {
        least = least.min(p_values.value(row) * (tests / (rank + 1) as f64));
        results[row] = least;
    }
    Ok(Float64Array::new(results.into(), p_values.nulls().cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_scipy() {
        // scipy.stats.false_discovery_control([0.0001, 0.0298, 0.0095, 0.0344, 0.0278, 0.4590, 1.0, 0.0004])
        let p = [0.0001, 0.0298, 0.0095, 0.0344, 0.0278, 0.4590, 1.0, 0.0004];
        let p: Vec<_> = p.into_iter().map(Some).chain([None]).collect();
        let actual = adjusted(&Float64Array::from(p)).unwrap();
        assert!(actual.is_null(8));
        for (row, expected) in EXPECTED.into_iter().enumerate() {
            assert!(
                (actual.value(row) - expected).abs() <= 1e-15,
                "{row}: {}",
                actual.value(row)
            );
        }
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        for p in [-0.1, 1.5, f64::NAN] {
            assert!(adjusted(&Float64Array::from(vec![p])).is_err());
        }
        assert_eq!(
            adjusted(&Float64Array::from(Vec::<f64>::new()))
                .unwrap()
                .len(),
            0
        );
    }

    const EXPECTED: [f64; 8] = [
        0.0008,
        0.04586666666666667,
        0.025333333333333333,
        0.04586666666666667,
        0.04586666666666667,
        0.5245714285714286,
        1.0,
        0.0016,
    ];
}

//! `psi(value, side)`: how far a distribution has drifted from its baseline.

use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_common::utils::take_function_args;
use datafusion_expr::{Signature, Volatility};
use datafusion_macros::user_doc;

use super::frequency::{Cell, Statistic, Values, frequency_function};
use super::interner::Keys;
use super::ks_p::two_sides;

/// How many quantile bins the baseline is cut into.
const BINS: usize = 10;

/// The least share a bin is given, so that an empty one does not make the index infinite.
const LEAST_SHARE: f64 = 1e-4;

/// `psi(value, side)`: the population stability index.
#[user_doc(
    doc_section(label = "Statistical Functions"),
    description = "Population stability index: the sum of (current - baseline) * ln(current / baseline) over the shares \
of bins. By custom, below 0.1 nothing happened, above 0.25 the population has changed. The baseline is the smaller side: \
false before true, 'baseline' before 'current'. Numbers are cut at the nine deciles of the baseline, interpolated \
linearly, equal ones merged; a bin holds its upper end. Any other type is compared value by \
value. A share counts as 0.0001 at least, so that an empty bin does not give infinity. Rows where either argument is null \
are left out. Null with a single side, NaN if a number is NaN; more than two sides are an error. Memory grows with \
the number of distinct values.",
    syntax_example = "psi(value, side)",
    sql_example = r#"```sql
> SELECT round(psi(model, day = 2), 6) AS drift
  FROM (VALUES ('small', 1), ('small', 1), ('large', 1), ('large', 1), ('small', 2), ('large', 2), ('large', 2), ('large', 2))
  AS calls(model, day);
+----------+
| drift    |
+----------+
| 0.274653 |
+----------+
```"#,
    argument(
        name = "value",
        description = "What is compared; numbers are binned, other types are categories."
    ),
    argument(
        name = "side",
        description = "Which sample a row belongs to; any type, two values, the smaller one being the baseline."
    ),
    related_udf(name = "ks_p")
)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Psi {
    signature: Signature,
}

impl Default for Psi {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

frequency_function!(Psi, "psi", Stability, |arg_types| {
    let [value, side] = take_function_args("psi", arg_types)?;
    let plain = match value {
        DataType::Dictionary(_, plain) => plain,
        plain => plain,
    };
    let value = if plain.is_numeric() {
        DataType::Float64
    } else {
        value.clone()
    };
    Ok(vec![value, side.clone()])
});

#[derive(Debug)]
struct Stability;

impl Statistic for Stability {
    fn evaluate(cells: &mut [Cell], values: &Values) -> Result<Option<f64>> {
        let Some([baseline, _]) = two_sides("psi", cells, values.keys(1))? else {
            return Ok(None);
        };
        let is_baseline = |cell: &Cell| cell.column == baseline;
        if *values.data_type(0) != DataType::Float64 {
            cells.sort_unstable();
            let pairs = cells
                .chunk_by(|one, next| one.row == next.row)
                .map(|cells| counts(cells, is_baseline));
            return Ok(Some(index(pairs.collect())));
        }
        let keys = values.keys(0);
        cells.sort_unstable_by(|one, other| keys.rank(one.row).cmp(&keys.rank(other.row)));
        if cells
            .last()
            .is_some_and(|cell| keys.double(cell.row).is_some_and(f64::is_nan))
        {
            return Ok(Some(f64::NAN));
        }
        let edges = deciles(cells, is_baseline, keys);
        let mut bins = vec![[0, 0]; edges.len() + 1];
        let mut bin = 0;
        for cell in cells.iter() {
            let value = keys.double(cell.row).unwrap_or(f64::NAN);
            while bin < edges.len() && value > edges[bin] {
                bin += 1;
            }
            bins[bin][usize::from(!is_baseline(cell))] += cell.count;
        }
        Ok(Some(index(bins)))
    }
}

/// How often the baseline and the current side occur in `cells`.
fn counts(cells: &[Cell], is_baseline: impl Fn(&Cell) -> bool) -> [u64; 2] {
    cells.iter().fold([0, 0], |mut counts, cell| {
        counts[usize::from(!is_baseline(cell))] += cell.count;
        counts
    })
}

/// The distinct deciles of the baseline's values in `cells`, which are in order: number i of n sits at (n − 1) i / 10,
/// between two values if need be.
fn deciles(cells: &[Cell], is_baseline: impl Fn(&Cell) -> bool, keys: &Keys) -> Vec<f64> {
    let double = |cell: &Cell| keys.double(cell.row).unwrap_or(f64::NAN);
    let [total, _] = counts(cells, &is_baseline);
    let mut edges = Vec::with_capacity(BINS - 1);
    let mut steps = cells.iter().filter(|cell| is_baseline(cell)).peekable();
    // How many values lie before the cell at hand.
    let mut passed = 0;
    for bin in 1..BINS as u64 {
        let position = (total - 1) * bin;
        let (rank, rest) = (position / BINS as u64, position % BINS as u64);
        while let Some(cell) = steps.next_if(|cell| passed + cell.count <= rank) {
            passed += cell.count;
        }
        let mut from_here = steps.clone();
        let Some(cell) = from_here.next() else { break };
        let lower = double(cell);
        // The next rank up is in this cell still, or is the first of the next one.
        let upper = match from_here.next() {
            Some(next) if passed + cell.count == rank + 1 => double(next),
            _ => lower,
        };
        let edge = if rest == 0 || lower == upper {
            lower
        } else {
            lower + (upper - lower) * (rest as f64 / BINS as f64)
        };
        if edges.last() != Some(&edge) {
            edges.push(edge);
        }
    }
    edges
}

/// The index of `bins`: baseline and current count of each.
fn index(bins: Vec<[u64; 2]>) -> f64 {
    let [baseline, current] = bins
        .iter()
        .fold([0, 0], |total, bin| [total[0] + bin[0], total[1] + bin[1]]);
    let share = |count: u64, total: u64| (count as f64 / total as f64).max(LEAST_SHARE);
    let terms = bins.iter().map(|bin| {
        let (before, now) = (share(bin[0], baseline), share(bin[1], current));
        (now - before) * (now / before).ln()
    });
    let mut terms: Vec<f64> = terms.collect();
    terms.sort_unstable_by(f64::total_cmp);
    terms.iter().sum::<f64>() + 0.0
}

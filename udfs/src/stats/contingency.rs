//! Pearson's chi-squared test of a contingency table: are the columns samples of one distribution over the rows?

use std::collections::BTreeMap;

use super::chi_squared::survival;

/// How often one pair of values occurred. With one value instead of a pair, `column` is always zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) row: u32,
    pub(crate) column: u32,
    pub(crate) count: u64,
}

/// The outcome of Pearson's test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Contingency {
    statistic: f64,
    rows: u64,
    columns: u64,
    total: u64,
}

impl Contingency {
    /// Tests the table of `cells`, whose pairs are distinct and whose counts are positive. `None` with fewer than two
    /// columns, when there is nothing to compare.
    ///
    /// Only cells that occurred are visited, so a million rows by a thousand columns cost what was counted. Differences
    /// from the expected count are whole numbers until the division, and terms are sorted before they are added: neither
    /// cancellation nor order touches the result.
    pub(crate) fn test(cells: &mut [Cell]) -> Option<Self> {
        cells.sort_unstable();
        let mut column_totals: BTreeMap<u32, u64> = BTreeMap::new();
        for &Cell { column, count, .. } in cells.iter() {
            *column_totals.entry(column).or_default() += count;
        }
        if column_totals.len() < 2 {
            return None;
        }
        let total: u64 = column_totals.values().sum();
        let mut terms = Vec::with_capacity(2 * cells.len());
        let mut rows = 0;
        for row in cells.chunk_by(|left, right| left.row == right.row) {
            rows += 1;
            let row_total: u64 = row.iter().map(|cell| cell.count).sum();
            let mut missing = total;
            for &Cell { column, count, .. } in row {
                let column_total = column_totals[&column];
                missing -= column_total;
                // (O - E)² / E with E = R C / N is (O N - R C)² / (N R C).
                let product = i128::from(row_total) * i128::from(column_total);
                let difference = i128::from(count) * i128::from(total) - product;
                terms.push(difference as f64 / product as f64 * (difference as f64 / total as f64));
            }
            // The cells that did not occur: (0 - E)² / E = E.
            terms.push(row_total as f64 * (missing as f64 / total as f64));
        }
        terms.sort_unstable_by(f64::total_cmp);
        let statistic = terms.iter().sum();
        Some(Self {
            statistic,
            rows,
            columns: column_totals.len() as u64,
            total,
        })
    }

    /// The probability of columns at least as different as these if they were samples of one distribution; 1 if there is
    /// a single row, since then they cannot differ.
    pub(crate) fn p_value(&self) -> f64 {
        match (self.rows - 1) * (self.columns - 1) {
            0 => 1.0,
            degrees => survival(self.statistic, degrees),
        }
    }

    /// Cramér's V: √(χ² / (N min(rows − 1, columns − 1))), 0 for no association and 1 for a complete one (H. Cramér,
    /// "Mathematical Methods of Statistics", 1946, page 282); 0 if there is a single row.
    pub(crate) fn cramers_v(&self) -> f64 {
        match (self.rows - 1).min(self.columns - 1) {
            0 => 0.0,
            degrees => (self.statistic / (self.total as f64 * degrees as f64))
                .sqrt()
                .min(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<const COLUMNS: usize>(rows: &[[u64; COLUMNS]]) -> Option<Contingency> {
        let mut cells = vec![];
        for (row, counts) in (0..).zip(rows) {
            let counts = (0..).zip(counts).filter(|(_, count)| **count > 0);
            cells.extend(counts.map(|(column, &count)| Cell { row, column, count }));
        }
        Contingency::test(&mut cells)
    }

    fn assert_close(actual: f64, expected: f64) {
        assert!(
            (actual - expected).abs() <= 1e-12 * expected,
            "{actual:e} is not {expected:e}"
        );
    }

    // p: scipy.stats.chi2_contingency(table, correction=False).pvalue
    // V: scipy.stats.contingency.association(table, method="cramer")
    #[test]
    fn matches_scipy() {
        for (rows, p, v) in CASES_2 {
            let result = table(rows).unwrap();
            assert_close(result.p_value(), p);
            assert_close(result.cramers_v(), v);
        }
        let result = table(&CASE_3.0).unwrap();
        assert_close(result.p_value(), CASE_3.1);
        assert_close(result.cramers_v(), CASE_3.2);
    }

    #[test]
    fn equal_columns_do_not_differ() {
        let result = table(&[[10, 20], [30, 60]]).unwrap();
        assert_eq!((result.p_value(), result.cramers_v()), (1.0, 0.0));
        let result = table(&[[10, 20]]).unwrap();
        assert_eq!((result.p_value(), result.cramers_v()), (1.0, 0.0));
    }

    #[test]
    fn disjoint_columns_are_associated_completely() {
        assert_eq!(table(&[[10, 0], [0, 20]]).unwrap().cramers_v(), 1.0);
    }

    #[test]
    fn one_column_is_no_comparison() {
        assert_eq!(table(&[[10], [20]]), None);
        assert_eq!(Contingency::test(&mut []), None);
    }

    type Case = (&'static [[u64; 2]], f64, f64);
    const CASES_2: [Case; 4] = [
        (
            &[[10, 20], [20, 10]],
            0.009823274507519235,
            0.33333333333333337,
        ),
        (
            &[[120, 90], [30, 60], [50, 50]],
            0.0007904903231199671,
            0.1889822365046136,
        ),
        (
            &[[7, 0], [0, 5], [3, 1]],
            0.0016615572731739363,
            0.8944271909999159,
        ),
        (
            &[[1000000, 900000], [2000, 3000]],
            2.2319483544730843e-71,
            0.012943201355464068,
        ),
    ];
    const CASE_3: ([[u64; 3]; 4], f64, f64) = (
        [[12, 7, 30], [0, 9, 11], [25, 25, 2], [1, 0, 0]],
        5.865652546721414e-09,
        0.4505021763374116,
    );
}

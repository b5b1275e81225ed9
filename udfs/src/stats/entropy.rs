//! Shannon entropy of a distribution given by weights.

use std::f64::consts::LN_2;

/// Shannon entropy, in bits, of a distribution: each pair is a weight, such as a count, and how many values have it.
/// Weights are finite and not negative; `None` when they add up to zero, since then there is no distribution.
///
/// H = −Σ p log₂ p (C. E. Shannon, "A Mathematical Theory of Communication", 1948). Every term is positive and they are
/// added in the order of the weights, which this sorts: nothing cancels, and the order in which values were met does
/// not matter.
pub(crate) fn entropy_bits(weights: &mut [(f64, u64)]) -> Option<f64> {
    weights.sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
    let total: f64 = weights
        .iter()
        .map(|&(weight, values)| weight * values as f64)
        .sum();
    if total == 0.0 {
        return None;
    }
    let bits = weights
        .iter()
        .filter(|&&(weight, _)| weight > 0.0)
        .map(|&(weight, values)| {
            let p = weight / total;
            let rest = (total - weight) / total;
            // Near one, log p is lost to the rounding of p; log1p of what is missing keeps it.
            let log = if rest < 0.5 { (-rest).ln_1p() } else { p.ln() };
            values as f64 * p * -log / LN_2
        });
    // An empty sum of floats is -0.
    Some(bits.sum::<f64>() + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_bits(counts: &[u32], expected: f64) {
        let mut weights: Vec<_> = counts.iter().map(|&count| (f64::from(count), 1)).collect();
        let actual = entropy_bits(&mut weights).unwrap();
        assert!(
            (actual - expected).abs() <= 1e-14 * expected,
            "{actual} is not {expected}"
        );
    }

    #[test]
    fn matches_scipy() {
        // scipy.stats.entropy([1, 2, 3, 4], base=2)
        assert_bits(&[4, 0, 1, 3, 2], 1.846_439_344_671_015_7);
        assert_bits(&[5, 5], 1.0);
        assert_bits(&[1; 8], 3.0);
        assert_eq!(entropy_bits(&mut [(3.0, 8)]), Some(3.0));
    }

    #[test]
    fn one_value_has_no_entropy_and_none_has_none() {
        assert_eq!(
            entropy_bits(&mut [(17.0, 1)]).unwrap().to_bits(),
            0.0_f64.to_bits()
        );
        assert_eq!(entropy_bits(&mut []), None);
        assert_eq!(entropy_bits(&mut [(0.0, 2)]), None);
    }

    #[test]
    fn a_rare_value_among_a_billion_keeps_its_digits() {
        // mpmath, 50 digits, p = 1/(10**9 + 1): -(p*log(p, 2) + (1-p)*log(1-p, 2))
        assert_bits(&[1_000_000_000, 1], 3.134_004_786_425_652e-8);
    }
}

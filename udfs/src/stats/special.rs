//! Two corrections that keep the digits which naive formulas for factorials and powers lose to cancellation.
//!
//! Both are from C. Loader, "Fast and Accurate Computation of Binomial Probabilities" (2000).

use std::f64::consts::PI;

/// k ln(k / mean) + mean − k for mean > 0, given `excess` = mean − k, which the caller may know better than as a
/// difference: how improbable a count of `k` is under a Poisson law, as an exponent.
pub(crate) fn deviance(k: f64, mean: f64, excess: f64) -> f64 {
    if excess.abs() > 0.25 * k {
        return if k == 0.0 {
            mean
        } else {
            excess - k * (mean / k).ln()
        };
    }
    // Near the mean the terms cancel. It is k (u − ln(1 + u)) with u = excess / k. With r = u / (2 + u):
    // ln(1 + u) = 2 (r + r³/3 + r⁵/5 + …) and u − 2r = u r.
    let u = excess / k;
    let r = u / (2.0 + u);
    let square = r * r;
    let mut power = r * square;
    let mut sum = 0.0;
    // |r| is at most 1/7, so twelve terms pass the last bit.
    for term in 1..=12 {
        sum += power / f64::from(2 * term + 1);
        power *= square;
    }
    k * (u * r - 2.0 * sum)
}

/// ln(n! / (√(2πn) (n/e)ⁿ)), the error of Stirling's formula, for n > 0, whole or half.
pub(crate) fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        // n! by its product, from 0! = 1 or (−1/2)! = √π.
        let (mut factorial, mut k) = if n.fract() == 0.0 {
            (1.0, 0.0)
        } else {
            (PI.sqrt(), -0.5)
        };
        while k < n {
            k += 1.0;
            factorial *= k;
        }
        return (factorial / (2.0 * PI * n).sqrt()).ln() - n * (n.ln() - 1.0);
    }
    // Stirling's series: B₂ₖ / (2k (2k−1) n²ᵏ⁻¹), NIST DLMF 5.11.1.
    let i = 1.0 / (n * n);
    (1.0 / 12.0 - i * (1.0 / 360.0 - i * (1.0 / 1260.0 - i * (1.0 / 1680.0 - i / 1188.0)))) / n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviance_matches_mpmath() {
        // mpmath, 50 digits: u - log1p(u)
        for (u, expected) in U_MINUS_LN_1P {
            let actual = deviance(4.0, 4.0 + 4.0 * u, 4.0 * u) / 4.0;
            assert!(
                (actual - expected).abs() <= 1e-14 * expected,
                "{u}: {actual}"
            );
        }
        assert_eq!(deviance(0.0, 2.5, 2.5), 2.5);
    }

    #[test]
    fn stirling_error_matches_mpmath() {
        // mpmath, 50 digits: loggamma(n+1) - (n*log(n) - n + log(2*pi*n)/2)
        for (n, expected) in STIRLING_ERROR {
            let actual = stirling_error(n);
            assert!((actual - expected).abs() <= 1e-14, "{n}: {actual}");
        }
    }

    const U_MINUS_LN_1P: [(f64, f64); 9] = [
        (-0.9, 1.402585092994046),
        (-0.3, 0.056674943938732375),
        (-0.24, 0.03443684570176029),
        (-1e-05, 5.0000333335833364e-11),
        (1e-09, 4.999999996666667e-19),
        (0.01, 4.966914683191715e-05),
        (0.2499, 0.026836451885960923),
        (0.26, 0.02888827903661337),
        (3.0, 1.6137056388801094),
    ];
    const STIRLING_ERROR: [(f64, f64); 7] = [
        (0.5, 0.15342640972002736),
        (1.0, 0.08106146679532726),
        (7.5, 0.011104559758206917),
        (15.5, 0.005375599032926835),
        (16.0, 0.0052076559196096404),
        (100.0, 0.0008333305556349147),
        (1000000.0, 8.333333333333056e-08),
    ];
}

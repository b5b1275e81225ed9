//! The Kolmogorov–Smirnov statistic of two samples: how probable is a distance at least as large?
//!
//! Up to 10,000 values a side the distribution is computed exactly, by counting lattice paths; beyond, by the
//! distribution of the one-sample statistic for as many values as the two samples are worth, n₁n₂/(n₁+n₂), rounded.
//! These are the choices of SciPy's `ks_2samp(x, y, method="auto")`, so that results agree.

use std::f64::consts::{PI, TAU};

use super::special::{deviance, stirling_error};

/// The largest sample for which the distribution is computed exactly.
const EXACT_LIMIT: u64 = 10_000;

/// The two-sided p-value for samples of `left` and `right` values, both positive, whose distribution functions are at
/// most `distance` / (`left` × `right`) apart.
pub(crate) fn two_sample_p(left: u64, right: u64, distance: u128) -> f64 {
    let divisor = gcd(left, right);
    // The distance is a multiple of 1 / lcm(left, right).
    let steps = (distance / u128::from(divisor)) as u64;
    if steps == 0 {
        return 1.0;
    }
    if left.max(right) > EXACT_LIMIT {
        let (left, right) = (left as f64, right as f64);
        let worth = (left * right / (left + right)).round_ties_even();
        return one_sample_p(worth as u64, distance as f64 / (left * right));
    }
    if left == right {
        equal_samples_p(left, steps)
    } else {
        unequal_samples_p(left.max(right), left.min(right), divisor, steps)
    }
    .clamp(0.0, 1.0)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// 2 (C(2n, n−h) − C(2n, n−2h) + …) / C(2n, n), the reflection principle (B. V. Gnedenko, V. S. Korolyuk, 1951). Each
/// binomial is a product of `steps` ratios times the next larger one; nesting them keeps the alternating sum positive.
fn equal_samples_p(n: u64, steps: u64) -> f64 {
    let mut p = 0.0;
    for k in (0..=n / steps).rev() {
        let ratio = |step| {
            let passed = k * steps + step;
            (n as f64 - passed as f64) / (n + passed + 1) as f64
        };
        p = (0..steps).map(ratio).product::<f64>() * (1.0 - p);
    }
    2.0 * p
}

/// The share of lattice paths from (0, 0) to (m, n), m > n, that leave the band |x/m − y/n| < steps/lcm(m, n).
///
/// The share p(x, y) for paths to (x, y) is one outside the band and the mean of p(x−1, y) and p(x, y−1), weighted by x
/// and y, inside it, so small shares are sums of positive terms (T. Viehmann, "Numerically more stable computation of
/// the p-values for the two-sample Kolmogorov-Smirnov test", 2021).
fn unequal_samples_p(m: u64, n: u64, divisor: u64, steps: u64) -> f64 {
    let (m_step, n_step, steps) = ((m / divisor) as i64, (n / divisor) as i64, steps as i64);
    let (m, n) = (m as i64, n as i64);
    // A column of p. Above the band it still says one; below the band it is not read again.
    let mut column = vec![1.0; n as usize + 1];
    for x in 0..=m {
        let first = ((n_step * x - steps).div_euclid(m_step) + 1).max(0);
        let end = ((n_step * x + steps - 1).div_euclid(m_step) + 1).min(n + 1);
        if first >= end {
            return 1.0;
        }
        let mut below = 1.0;
        for y in first..end {
            let p = &mut column[y as usize];
            below = match (x, y) {
                (0, 0) => 0.0,
                (0, _) => below,
                _ => (*p * x as f64 + below * y as f64) / (x + y) as f64,
            };
            *p = below;
        }
    }
    column[n as usize]
}

/// P(Dₙ ≥ x) for the two-sided one-sample statistic, by whichever method is exact or nearly so where it is asked for: the
/// plan of R. Simard, P. L'Ecuyer, "Computing the Two-Sided Kolmogorov-Smirnov Distribution" (2011).
fn one_sample_p(n: u64, x: f64) -> f64 {
    let count = n as f64;
    let (reach, squared) = (count * x, count * x * x);
    let p = if reach <= 0.5 {
        1.0
    } else if x >= 1.0 || squared >= 370.0 {
        0.0
    } else if reach <= 1.0 {
        // n! (2x − 1/n)ⁿ, with n!/nⁿ = √(2πn) e^(−n) up to Stirling's error.
        let log = stirling_error(count) + 0.5 * (TAU * count).ln() - count;
        1.0 - (log + count * (2.0 * reach - 1.0).ln()).exp()
    } else if reach >= count - 1.0 {
        2.0 * (1.0 - x).powf(count)
    } else if x >= 0.5 || squared > if n <= 140 { 4.0 } else { 2.2 } {
        2.0 * one_sided_p(n, x)
    } else if n <= 140 || (n <= 100_000 && count * x.powf(1.5) <= 1.4) {
        1.0 - durbin_matrix(n, x)
    } else {
        1.0 - pelz_good(count, x)
    };
    p.clamp(0.0, 1.0)
}

/// P(Dₙ⁺ ≥ x) = x Σⱼ C(n, j) (x + j/n)^(j−1) (1 − x − j/n)^(n−j) over j ≤ n(1 − x) (Z. W. Birnbaum, F. H. Tingey, 1951).
///
/// With q = x + j/n a term is a binomial probability over q, which Loader's formula gives without cancellation.
fn one_sided_p(n: u64, x: f64) -> f64 {
    let count = n as f64;
    let reach = count * x;
    let whole = stirling_error(count);
    let mut sum = 0.0;
    for j in 0..=((count - reach).floor() as u64) {
        let successes = j as f64;
        let failures = count - successes;
        let q = x + successes / count;
        let remaining = failures - reach;
        if remaining <= 0.0 {
            continue;
        }
        sum += if j == 0 {
            (count * (-x).ln_1p()).exp() / q
        } else {
            let exponent = whole
                - stirling_error(successes)
                - stirling_error(failures)
                - deviance(successes, successes + reach, reach)
                - deviance(failures, remaining, -reach);
            exponent.exp() * (count / (TAU * successes * failures)).sqrt() / q
        };
    }
    x * sum
}

/// P(Dₙ < x) as an entry of the n-th power of a matrix (J. Durbin, 1968; G. Marsaglia, W. W. Tsang, J. Wang, "Evaluating
/// Kolmogorov's Distribution", 2003), exact but for rounding. The matrix has 2⌈nx⌉ − 1 rows.
fn durbin_matrix(n: u64, x: f64) -> f64 {
    let reach = n as f64 * x;
    let k = reach.ceil() as usize;
    let h = k as f64 - reach;
    let size = 2 * k - 1;
    let mut matrix = vec![0.0; size * size];
    for row in 0..size {
        for column in 0..size.min(row + 2) {
            matrix[row * size + column] = 1.0;
        }
    }
    for index in 0..size {
        matrix[index * size] -= h.powi(index as i32 + 1);
        matrix[(size - 1) * size + index] -= h.powi((size - index) as i32);
    }
    matrix[(size - 1) * size] += (2.0 * h - 1.0).max(0.0).powi(size as i32);
    for row in 0..size {
        let mut factorial = 1.0;
        for distance in 1..=row + 1 {
            factorial *= distance as f64;
            matrix[row * size + row + 1 - distance] /= factorial;
        }
    }
    let (power, exponent) = matrix_power(&matrix, size, n);
    // times n!/nⁿ, in steps that neither overflow nor vanish
    let (mut p, mut exponent) = (power[(k - 1) * size + k - 1], exponent);
    for factor in 1..=n {
        p *= factor as f64 / n as f64;
        if p < SCALE.recip() {
            p *= SCALE;
            exponent -= 1;
        }
    }
    p * SCALE.powi(exponent)
}

/// What large numbers are divided by on the way: 2¹²⁸.
const SCALE: f64 = (1_u128 << 127) as f64 * 2.0;

/// The `n`-th power of a square matrix of non-negative numbers, and the power of [`SCALE`] it is to be multiplied by.
fn matrix_power(matrix: &[f64], size: usize, n: u64) -> (Vec<f64>, i32) {
    let mut result: Vec<f64> = (0..size * size)
        .map(|index| f64::from(index % (size + 1) == 0))
        .collect();
    let (mut square, mut n) = (matrix.to_vec(), n);
    let (mut result_scale, mut square_scale) = (0, 0);
    let mut product = vec![0.0; size * size];
    let middle = size / 2 * (size + 1);
    let multiply = |left: &[f64], right: &[f64], product: &mut [f64]| {
        product.fill(0.0);
        for row in 0..size {
            for inner in 0..size {
                let factor = left[row * size + inner];
                let target = &mut product[row * size..(row + 1) * size];
                for (target, value) in target.iter_mut().zip(&right[inner * size..]) {
                    *target += factor * value;
                }
            }
        }
    };
    let rescale = |matrix: &mut [f64], scale: &mut i32| {
        if matrix[middle] > SCALE {
            matrix.iter_mut().for_each(|value| *value /= SCALE);
            *scale += 1;
        }
    };
    while n > 0 {
        if n % 2 == 1 {
            multiply(&result, &square, &mut product);
            std::mem::swap(&mut result, &mut product);
            result_scale += square_scale;
            rescale(&mut result, &mut result_scale);
        }
        multiply(&square, &square, &mut product);
        std::mem::swap(&mut square, &mut product);
        square_scale *= 2;
        rescale(&mut square, &mut square_scale);
        n /= 2;
    }
    (result, result_scale)
}

/// P(Dₙ < x) by the expansion in 1/√n of W. Pelz, I. J. Good, "Approximating the Lower Tail-Areas of the
/// Kolmogorov-Smirnov One-Sample Statistic" (1976), whose first term is Kolmogorov's limit.
fn pelz_good(n: f64, x: f64) -> f64 {
    let z = x * n.sqrt();
    let (z2, z4, z6) = (z.powi(2), z.powi(4), z.powi(6));
    let mut sums = [0.0; 4];
    let (mut k2, mut k3) = (0.0, 0.0);
    for k in 0.. {
        // Powers of π(k + 1/2) and of π(k + 1): the sums run over all integers, in pairs of equal terms.
        let half = (PI * (f64::from(k) + 0.5)).powi(2);
        let whole = (PI * f64::from(k + 1)).powi(2);
        let weight = (-half / (2.0 * z2)).exp();
        if weight == 0.0 || weight < 1e-20 * sums[0] {
            break;
        }
        let (half2, half3) = (half * half, half * half * half);
        sums[0] += weight;
        sums[1] += weight * (half - z2);
        sums[2] += weight
            * (6.0 * z6 + 2.0 * z4 + half * (2.0 * z4 - 5.0 * z2) + half2 * (1.0 - 2.0 * z2));
        sums[3] += weight
            * (half3 * (5.0 - 30.0 * z2)
                + half2 * (-60.0 * z2 + 212.0 * z4)
                + half * (135.0 * z4 - 96.0 * z6)
                - 30.0 * z6
                - 90.0 * z4 * z4);
        let weight = (-whole / (2.0 * z2)).exp();
        k2 += weight * whole;
        k3 += weight * whole * (3.0 * z2 - whole);
    }
    let terms = [
        sums[0] / z,
        sums[1] / (6.0 * z4),
        sums[2] / (72.0 * z6 * z) - k2 / (36.0 * z2 * z),
        sums[3] / (6480.0 * z6 * z4) + k3 / (216.0 * z6),
    ];
    let root = n.sqrt();
    TAU.sqrt() * terms.iter().rev().fold(0.0, |sum, term| sum / root + term)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(actual: f64, expected: f64, call: &str) {
        // Where SciPy itself subtracts from one, near p = 1, both are good to 1e-12 or so.
        assert!(
            (actual - expected).abs() <= 1e-9 * expected,
            "{call} = {actual:e}, not {expected:e}"
        );
    }

    #[test]
    fn exact_p_matches_scipy() {
        // scipy.stats._stats_py._attempt_exact_2kssamp(n1, n2, gcd(n1, n2), distance/(n1*n2), "two-sided")[2]
        for (left, right, distance, expected) in EXACT {
            let call = format!("two_sample_p({left}, {right}, {distance})");
            assert_close(two_sample_p(left, right, distance), expected, &call);
            assert_close(two_sample_p(right, left, distance), expected, &call);
        }
    }

    #[test]
    fn one_sample_p_matches_scipy_wherever_the_method_changes() {
        // scipy.stats.kstwo.sf(x, n)
        for (n, x, expected) in ONE_SAMPLE {
            assert_close(
                one_sample_p(n, x),
                expected,
                &format!("one_sample_p({n}, {x})"),
            );
        }
    }

    #[test]
    fn equal_samples_do_not_differ() {
        assert_eq!(two_sample_p(5, 7, 0), 1.0);
        assert_eq!(two_sample_p(50_000, 70_000, 0), 1.0);
        assert_eq!(two_sample_p(50_000, 50_000, 50_000 * 50_000), 0.0);
    }

    const EXACT: [(u64, u64, u128, f64); 15] = [
        (3, 3, 9, 0.09999999999999999),
        (5, 5, 10, 0.873015873015873),
        (5, 7, 12, 0.7373737373737375),
        (8, 12, 36, 0.4477732793522267),
        (1, 1, 1, 1.0),
        (1, 6, 6, 0.2857142857142857),
        (100, 100, 2500, 0.0037294923618311367),
        (100, 250, 4000, 0.047106800926426655),
        (500, 500, 50000, 3.6740572722559346e-09),
        (97, 101, 3000, 0.00012773224562891004),
        (997, 1000, 80000, 0.0029729109168159336),
        (9999, 10000, 1500000, 0.2074101052530087),
        (10000, 10000, 4000000, 2.2429098114068944e-07),
        (2, 9000, 12000, 0.2223703648815744),
        (60, 90, 5400, 4.327601116217422e-43),
    ];

    const ONE_SAMPLE: [(u64, f64, f64); 36] = [
        (5, 0.09, 1.0),
        (5, 0.15, 0.9988),
        (5, 0.3, 0.664),
        (5, 0.45, 0.19399374999999963),
        (5, 0.6, 0.03008000000000001),
        (5, 0.9, 1.9999999999999978e-05),
        (5, 0.18, 0.987417088),
        (20, 0.1, 0.976255094592155),
        (20, 0.19, 0.4141181225917291),
        (20, 0.3, 0.04306706665851623),
        (100, 0.05, 0.9532159710635725),
        (100, 0.086, 0.42641062421491094),
        (100, 0.15, 0.019839242125643017),
        (100, 0.199, 0.0006024947156633567),
        (100, 0.21, 0.00023947345214651332),
        (140, 0.4, 9.968909167860116e-21),
        (139, 0.006, 1.0),
        (1000, 0.0009, 1.0),
        (1000, 0.01, 0.9999496745370611),
        (1000, 0.0125, 0.9971528020597908),
        (1000, 0.03, 0.3226902143914636),
        (1000, 0.0468, 0.02424094754563455),
        (1000, 0.047, 0.023344526390774382),
        (1000, 0.3, 2.590715705736845e-80),
        (50000, 0.0004, 1.0),
        (50000, 0.003, 0.7579000443487147),
        (50000, 0.0066, 0.02554591750974544),
        (50000, 0.02, 8.35587873542047e-18),
        (1000000, 0.0005, 0.9638386310076212),
        (1000000, 0.001, 0.26982107442589376),
        (1000000, 0.0016, 0.011939282537735608),
        (1000000, 0.01, 2.7373304415481205e-87),
        (6667, 0.55, 0.0),
        (300, 0.0017, 1.0),
        (300, 0.003, 1.0),
        (200, 0.00366, 1.0),
    ];
}

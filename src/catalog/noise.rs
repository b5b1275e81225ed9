//! How many findings a rule may have where nothing happens: `noise = "<= 1 per 10k calls"`.

use std::fmt;
use std::str::FromStr;

/// So many findings in so many ordinary calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noise {
    /// Findings.
    pub findings: u64,
    /// Calls.
    pub calls: u64,
}

impl Noise {
    /// What holds where a rule does not say.
    pub const USUAL: Noise = Noise {
        findings: 1,
        calls: 10_000,
    };

    /// Whether so many findings in so many calls are more than that.
    pub fn is_exceeded_by(self, findings: u64, calls: u64) -> bool {
        u128::from(findings) * u128::from(self.calls)
            > u128::from(self.findings) * u128::from(calls)
    }
}

impl FromStr for Noise {
    type Err = String;

    fn from_str(text: &str) -> Result<Noise, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let parsed = match words[..] {
            ["<=", findings, "per", calls, "calls"] => {
                count(findings).zip(count(calls).filter(|calls| *calls > 0))
            }
            _ => None,
        };
        let (findings, calls) =
            parsed.ok_or_else(|| format!("`{text}` is not like `<= 1 per 10k calls`"))?;
        Ok(Noise { findings, calls })
    }
}

/// A whole number, in thousands with `k`, in millions with `m`.
fn count(text: &str) -> Option<u64> {
    let (digits, scale) = match text.strip_suffix(['k', 'm']) {
        Some(digits) if text.ends_with('k') => (digits, 1_000),
        Some(digits) => (digits, 1_000_000),
        None => (text, 1),
    };
    digits
        .replace('_', "")
        .parse::<u64>()
        .ok()?
        .checked_mul(scale)
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = match self.calls {
            calls if calls % 1_000_000 == 0 => format!("{}m", calls / 1_000_000),
            calls if calls % 1_000 == 0 => format!("{}k", calls / 1_000),
            calls => calls.to_string(),
        };
        write!(f, "<= {} per {calls} calls", self.findings)
    }
}

/// The most findings that are expected, with 95 % confidence, where so many were seen: three for none, as the rule of
/// three has it.
pub fn upper_bound(findings: u64) -> f64 {
    /// What is left of the chance to see so few.
    const LEFT: f64 = 0.05;
    // The chance to see at most `findings` where `mean` are expected falls with the mean.
    let chance = |mean: f64| -> f64 {
        let (mut term, mut sum) = ((-mean).exp(), 0.0);
        for seen in 0..=findings {
            sum += term;
            term *= mean / (seen + 1) as f64;
        }
        sum
    };
    let (mut low, mut high) = (findings as f64, findings as f64 * 2.0 + 10.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        match chance(middle) > LEFT {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_reads_and_prints() {
        let usual: Noise = "<= 1 per 10k calls".parse().expect("is one");
        assert_eq!(usual, Noise::USUAL);
        assert_eq!(
            "<=  5 per 2_000_000 calls"
                .parse::<Noise>()
                .map(|it| it.to_string()),
            Ok("<= 5 per 2m calls".into())
        );
        for wrong in [
            "1 per 10k calls",
            "<= 1 per 0 calls",
            "<= one per 10k calls",
            "<= 1 per 10k",
            "",
        ] {
            assert!(wrong.parse::<Noise>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn as_many_as_allowed_are_not_too_many() {
        let noise = Noise::USUAL;
        assert!(!noise.is_exceeded_by(2, 20_000));
        assert!(noise.is_exceeded_by(3, 20_000));
        assert!(noise.is_exceeded_by(1, 9_999));
        assert!(!noise.is_exceeded_by(0, 0));
    }

    #[test]
    fn bounds_are_those_of_the_tables() {
        // Upper 95 % limits (one-sided) of a Poisson mean, as printed in tables of it.
        for (findings, bound) in [
            (0, 2.996),
            (1, 4.744),
            (2, 6.296),
            (5, 10.513),
            (10, 16.962),
        ] {
            let found = upper_bound(findings);
            assert!((found - bound).abs() < 5e-4, "{findings}: {found}");
        }
    }
}

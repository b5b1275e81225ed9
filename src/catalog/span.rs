//! Lengths of time as rule files write them: `500ms`, `5m`, `1h`, `72h`, `7d`.

use std::fmt;
use std::str::FromStr;

use datafusion::common::ScalarValue;

/// A length of time in microseconds, never negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i64);

const UNITS: [(&str, i64); 5] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
];

impl Span {
    /// That many minutes.
    pub const fn minutes(minutes: i64) -> Span {
        Span(minutes * 60_000_000)
    }

    /// That many hours.
    pub const fn hours(hours: i64) -> Span {
        Span(hours * 3_600_000_000)
    }

    /// As an SQL interval. Days are 24 hours, as event time is UTC.
    pub fn interval(self) -> ScalarValue {
        ScalarValue::new_interval_mdn(0, 0, self.0 * 1_000)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let scale = UNITS.iter().find(|(name, _)| *name == unit);
        let (Ok(number), Some((_, scale))) = (number.parse::<i64>(), scale) else {
            return Err(format!(
                "`{text}` is not a duration: a whole number and one of `ms`, `s`, `m`, `h`, `d`"
            ));
        };
        // A century: beyond it, timestamps in nanoseconds overflow.
        match number.checked_mul(*scale) {
            Some(micros) if micros <= 36_525 * UNITS[0].1 => Ok(Span(micros)),
            _ => Err(format!("`{text}` is longer than a century")),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The largest unit that divides wins.
        match UNITS.iter().find(|(_, scale)| self.0 % scale == 0) {
            Some((unit, scale)) if self.0 != 0 => write!(f, "{}{unit}", self.0 / scale),
            _ => write!(f, "{}ms", self.0 / 1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_reads_and_prints() {
        for (text, micros) in [
            ("100ms", 100_000),
            ("30s", 30_000_000),
            ("5m", 300_000_000),
            ("1h", 3_600_000_000),
            ("7d", 604_800_000_000),
        ] {
            assert_eq!(text.parse::<Span>(), Ok(Span(micros)));
            assert_eq!(Span(micros).to_string(), text);
        }
        assert_eq!("72h".parse::<Span>(), Ok(Span::hours(72)));
    }

    #[test]
    fn what_is_no_duration_says_so() {
        for text in [
            "",
            "5",
            "m",
            "5 m",
            "-5m",
            "5w",
            "1.5h",
            "99999999999999d",
            "40000d",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}

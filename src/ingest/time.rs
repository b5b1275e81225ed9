//! Points in time in every spelling that logs use, read without ever passing through a double where it would lose.
//!
//! RFC 3339 with any number of fractional digits, `T` or a space, with or without a zone (none means UTC), BigQuery's
//! ` UTC`, the month-first form of Azure's activity log, Unix seconds, milliseconds, microseconds and nanoseconds told
//! apart by magnitude, seconds as a decimal fraction, and .NET ticks.

use std::ops::Range;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use crate::schema::Micros;

/// A time that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// The instant.
    pub micros: Micros,
    /// Whether that is all that was written: no nanoseconds, no zone but UTC.
    pub exact: bool,
}

/// 100-nanosecond ticks from 0001-01-01 to 1970-01-01.
const DOTNET_EPOCH: i64 = 621_355_968_000_000_000;

/// Years of four digits, from 0000 to 9999: others have no name that a folder could have, and a zone may lead there.
const NAMED: Range<i64> = -62_167_219_200_000_000..253_402_300_800_000_000;

/// Reads a written time.
pub fn parse(text: &str) -> Option<Read> {
    read(text).filter(|read| NAMED.contains(&read.micros.0))
}

fn read(text: &str) -> Option<Read> {
    let text = text.trim();
    let bytes = text.as_bytes();
    if bytes.len() >= 16
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b't' | b' ')
    {
        return iso(text);
    }
    if bytes.first().is_some_and(u8::is_ascii_digit) && text.contains('/') {
        return month_first(text);
    }
    match text.split_once('.') {
        None => from_int(text.parse().ok()?),
        Some((whole, fraction)) => from_decimal(whole.parse().ok()?, fraction),
    }
}

/// Reads Unix time or .NET ticks; the magnitude says which.
pub fn from_int(number: i64) -> Option<Read> {
    let exact = |micros| {
        Some(Read {
            micros: Micros(micros),
            exact: true,
        })
    };
    match number {
        // 1973 to 5138 in seconds; smaller numbers are no date that a log of this kind can carry.
        100_000_000..100_000_000_000 => exact(number * 1_000_000),
        100_000_000_000..100_000_000_000_000 => exact(number * 1_000),
        100_000_000_000_000..100_000_000_000_000_000 => exact(number),
        630_000_000_000_000_000..700_000_000_000_000_000 => {
            let ticks = number - DOTNET_EPOCH;
            Some(Read {
                micros: Micros(ticks.div_euclid(10)),
                exact: ticks % 10 == 0,
            })
        }
        100_000_000_000_000_000.. => Some(Read {
            micros: Micros(number.div_euclid(1_000)),
            exact: number % 1_000 == 0,
        }),
        _ => None,
    }
}

/// Reads Unix seconds, or a larger unit by magnitude, that a producer wrote as a floating-point number.
pub fn from_float(number: f64) -> Option<Read> {
    // Above are no integers of 64 bits, and no times.
    if !(1e8..9e18).contains(&number) {
        return None;
    }
    let scale = if number < 1e11 {
        1e6
    } else if number < 1e14 {
        1e3
    } else {
        // Whole, as far as a double of this size can tell.
        return from_int(number as i64);
    };
    Some(Read {
        micros: Micros((number * scale).round() as i64),
        exact: true,
    })
}

fn from_decimal(whole: i64, fraction: &str) -> Option<Read> {
    if !(100_000_000..100_000_000_000).contains(&whole) {
        return from_float(format!("{whole}.{fraction}").parse().ok()?);
    }
    let (micros, exact) = fraction_micros(fraction)?;
    Some(Read {
        micros: Micros(whole * 1_000_000 + micros),
        exact,
    })
}

/// Digits after the point as microseconds, and whether nothing was cut.
fn fraction_micros(digits: &str) -> Option<(i64, bool)> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let mut micros = 0;
    for place in 0..6 {
        micros =
            micros * 10 + i64::from(digits.as_bytes().get(place).map_or(0, |digit| digit - b'0'));
    }
    Some((micros, digits.bytes().skip(6).all(|digit| digit == b'0')))
}

fn number(text: &str, from: usize, to: usize) -> Option<u32> {
    let digits = text.get(from..to)?;
    if digits.bytes().all(|digit| digit.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }
}

/// `2026-03-02T09:15:04.1234567Z`, `2026-03-02 09:15:04.123456 UTC`, `2026-03-02T09:15:04+01:00`, `2026-03-02T09:15Z`.
fn iso(text: &str) -> Option<Read> {
    let date = NaiveDate::from_ymd_opt(
        number(text, 0, 4)? as i32,
        number(text, 5, 7)?,
        number(text, 8, 10)?,
    )?;
    let (hour, minute) = (number(text, 11, 13)?, number(text, 14, 16)?);
    if text.as_bytes()[13] != b':' {
        return None;
    }
    let (second, rest) = match text.as_bytes().get(16) {
        Some(b':') => (number(text, 17, 19)?, &text[19..]),
        _ => (0, text.get(16..)?),
    };
    let (micros, exact, zone) = match rest.strip_prefix(['.', ',']) {
        Some(rest) => {
            let end = rest
                .bytes()
                .position(|byte| !byte.is_ascii_digit())
                .unwrap_or(rest.len());
            let (micros, exact) = fraction_micros(&rest[..end])?;
            (micros, exact, &rest[end..])
        }
        None => (0, true, rest),
    };
    finish(date, (hour, minute, second), micros, exact, zone)
}

/// `01/09/2007 09:41:00`, `1/9/2007 9:41:00 AM +01:00`, and with a comma behind the year, as Azure's portal exports it.
fn month_first(text: &str) -> Option<Read> {
    let mut words = text.split_ascii_whitespace();
    let mut date = words.next()?.trim_end_matches(',').split('/');
    let (month, day, year) = (
        date.next()?.parse().ok()?,
        date.next()?.parse().ok()?,
        date.next()?.parse().ok()?,
    );
    let date = NaiveDate::from_ymd_opt(year, month, day)?;
    let mut clock = words.next()?.split(':');
    let mut hour: u32 = clock.next()?.parse().ok()?;
    let minute = clock.next()?.parse().ok()?;
    let (second, fraction) = match clock.next() {
        Some(text) => text.split_once('.').unwrap_or((text, "0")),
        None => ("0", "0"),
    };
    let (micros, exact) = fraction_micros(fraction)?;
    let mut zone = words.next();
    if let Some(half) =
        zone.filter(|word| word.eq_ignore_ascii_case("AM") || word.eq_ignore_ascii_case("PM"))
    {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12
            + if half.eq_ignore_ascii_case("PM") {
                12
            } else {
                0
            };
        zone = words.next();
    }
    finish(
        date,
        (hour, minute, second.parse().ok()?),
        micros,
        exact,
        zone.unwrap_or_default(),
    )
}

fn finish(
    date: NaiveDate,
    (hour, minute, second): (u32, u32, u32),
    micros: i64,
    exact: bool,
    zone: &str,
) -> Option<Read> {
    // A leap second is read as the second after it; Unix time has no other name for it.
    let clock = date.and_hms_opt(hour, minute, second.min(59))?;
    let leap = i64::from(second == 60);
    if second > 60 {
        return None;
    }
    let offset = zone_seconds(zone.trim())?;
    let seconds = clock.and_utc().timestamp() + leap - offset;
    Some(Read {
        micros: Micros(seconds.checked_mul(1_000_000)?.checked_add(micros)?),
        exact: exact && offset == 0 && leap == 0,
    })
}

fn zone_seconds(zone: &str) -> Option<i64> {
    if zone.is_empty()
        || zone.eq_ignore_ascii_case("Z")
        || zone.eq_ignore_ascii_case("UTC")
        || zone.eq_ignore_ascii_case("GMT")
    {
        return Some(0);
    }
    let sign = match zone.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = zone[1..].chars().filter(|letter| *letter != ':').collect();
    let (hours, minutes) = match digits.len() {
        2 => (number(&digits, 0, 2)?, 0),
        4 => (number(&digits, 0, 2)?, number(&digits, 2, 4)?),
        _ => return None,
    };
    (hours <= 15 && minutes < 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

/// The UTC hour of an instant, as `2026-11-20T10`: the value of the `hour` columns.
pub fn hour(time: Micros) -> String {
    naive(time)
        .map(|time| time.format("%Y-%m-%dT%H").to_string())
        .unwrap_or_default()
}

/// An instant as RFC 3339 with microseconds, UTC.
pub fn format(time: Micros) -> String {
    naive(time)
        .map(|time| time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        .unwrap_or_default()
}

fn naive(time: Micros) -> Option<NaiveDateTime> {
    DateTime::<Utc>::from_timestamp_micros(time.0).map(|time| time.naive_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-02T09:15:04Z, from `date -u -d '2026-03-02 09:15:04' +%s`.
    const SECONDS: i64 = 1_772_442_904;

    fn micros(text: &str) -> Option<i64> {
        parse(text).map(|read| read.micros.0)
    }

    #[test]
    fn every_written_form_names_the_same_instant() {
        for text in [
            "2026-03-02T09:15:04Z",
            "2026-03-02T09:15:04",
            "2026-03-02 09:15:04 UTC",
            "2026-03-02T09:15:04.000Z",
            "2026-03-02T09:15:04.0000000Z",
            "2026-03-02 09:15:04.000000000",
            "2026-03-02T10:15:04+01:00",
            "2026-03-02T03:45:04.00-0530",
            "03/02/2026 09:15:04",
            "3/2/2026 9:15:04 AM",
            "3/2/2026, 9:15:04.000 AM",
            "3/2/2026 10:15:04 AM +01:00",
            "1772442904",
            "1772442904000",
            "1772442904000000",
            "1772442904000000000",
            "1772442904.000",
            "639080397040000000",
        ] {
            assert_eq!(micros(text), Some(SECONDS * 1_000_000), "{text}");
        }
    }

    #[test]
    fn fractions_are_cut_to_microseconds_and_the_cut_is_told() {
        let read = parse("2026-03-02T09:15:04.1234567Z").unwrap();
        assert_eq!(
            (read.micros.0, read.exact),
            (SECONDS * 1_000_000 + 123_456, false)
        );
        let read = parse("2026-03-02T09:15:04.123456000Z").unwrap();
        assert_eq!(
            (read.micros.0, read.exact),
            (SECONDS * 1_000_000 + 123_456, true)
        );
        assert!(!parse("2026-03-02T10:15:04+01:00").unwrap().exact);
    }

    #[test]
    fn noon_and_midnight_in_twelve_hours() {
        assert_eq!(
            micros("1/9/2007 12:00:00 AM"),
            micros("2007-01-09T00:00:00Z")
        );
        assert_eq!(
            micros("1/9/2007 12:00:00 PM"),
            micros("2007-01-09T12:00:00Z")
        );
        assert_eq!(
            micros("1/9/2007 11:59:59 PM"),
            micros("2007-01-09T23:59:59Z")
        );
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "now",
            "2026-13-02T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-03-02T25:00:00Z",
            "12",
            "99/99/2026 1:1:1",
            "2026-03-02T09:15:04+99:00",
            "2026-03-02T09:15:04.Z",
            "ééééééééééééééééééé",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn floating_point_is_read_by_its_magnitude() {
        for number in [
            1.772442904e9,
            1.772442904e12,
            1.772442904e15,
            1.772442904e18,
        ] {
            let read = from_float(number).unwrap();
            assert_eq!(read.micros, Micros(SECONDS * 1_000_000), "{number}");
        }
        assert_eq!(micros("1.772442904e18"), Some(SECONDS * 1_000_000));
        for number in [1e300, f64::INFINITY, f64::NAN, -1.0] {
            assert_eq!(from_float(number), None, "{number}");
        }
    }

    #[test]
    fn a_zone_leads_to_no_year_of_five_digits() {
        assert_eq!(
            hour(parse("9999-12-31T23:59:59Z").unwrap().micros),
            "9999-12-31T23"
        );
        assert_eq!(
            hour(parse("0000-01-01T00:00:00Z").unwrap().micros),
            "0000-01-01T00"
        );
        assert_eq!(parse("9999-12-31T23:59:59-01:00"), None);
        assert_eq!(parse("0000-01-01T00:00:00+01:00"), None);
    }

    #[test]
    fn hours_are_utc() {
        assert_eq!(hour(Micros(SECONDS * 1_000_000)), "2026-03-02T09");
        assert_eq!(
            format(Micros(SECONDS * 1_000_000 + 5)),
            "2026-03-02T09:15:04.000005Z"
        );
    }
}

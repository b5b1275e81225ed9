//! Sizes in bytes as people write them: `512MB`, `1GiB`, `2g`.

/// Bytes. `k`, `m`, `g`, `t`, alone or with `iB`, are powers of 1024; with `B`, of 1000.
///
/// # Errors
/// When it is no such size, or does not fit in memory's address space.
pub(crate) fn parse(text: &str) -> Result<usize, String> {
    let wrong = || "expected a size such as 512MB, 1GiB or 2g".to_string();
    let text = text.trim();
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    let (power, base) = match unit.as_str() {
        "" | "b" => (0, 1024.0_f64),
        _ => {
            let power = unit
                .chars()
                .next()
                .and_then(|letter| "kmgt".find(letter))
                .ok_or_else(wrong)?;
            match &unit[1..] {
                "" | "ib" => (power + 1, 1024.0),
                "b" => (power + 1, 1000.0),
                _ => return Err(wrong()),
            }
        }
    };
    let bytes = number * base.powi(power as i32);
    if bytes < 1.0 || bytes >= usize::MAX as f64 {
        return Err(wrong());
    }
    Ok(bytes as usize)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("1GiB"), Ok(1 << 30));
        assert_eq!(parse("2g"), Ok(2 << 30));
        assert_eq!(parse("512 MB"), Ok(512_000_000));
        assert_eq!(parse("1.5k"), Ok(1536));
        for text in ["", "x", "1x", "1GBB", "0", "-1", "1e9", "99999999999t"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

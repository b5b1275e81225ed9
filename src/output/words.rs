//! Numbers with what they count.

/// `1 rule`, `2 rules`: a number with its noun.
///
/// ```
/// use inferwatch::output::words::plural;
///
/// assert_eq!(plural(1, "finding"), "1 finding");
/// assert_eq!(plural(0, "finding"), "0 findings");
/// ```
pub fn plural(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}
